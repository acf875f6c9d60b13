//! The endpoint on a port of its own, and a client that asks it over HTTP.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use data_exporter::api::{
    ApiContext, Authenticator, Bearer, ConnectionLimits, LinkSettings, Proxies, RateLimit, RequestsReady,
    TokenSettings, router, serve_within,
};
use data_exporter::explain::Explainer;
use data_exporter::identity::{Actor, AuditLog, KeyStore, NewKey, Role};
use data_exporter::jobs::coverage::Coverage;
use data_exporter::jobs::days::Days;
use data_exporter::jobs::{Requests, Tenant};
use data_exporter::links::LinkBook;
use data_exporter::rules::RuleStore;
use data_exporter::schedule::{Calendar, CatchUp, Scheduler};
use data_exporter::storage::{
    ObjectKey, ObjectMeta, ObjectStore, PresignedLink, PutOutcome, StorageError, UploadId, UploadedPart,
};
use data_exporter::upkeep::exported::Exported;
use data_exporter::upkeep::{Notices, ScheduledRuns, StuckRequests};
use data_exporter::warehouse::Warehouse;
use metrics_exporter_prometheus::PrometheusBuilder;
use reqwest::{Client, Response};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::postgres::PgPool;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::metadata;

/// Links of this store work as long as asked for, those of keys with `short` in them half as long. It has no other
/// use, as the endpoint must have none for it.
#[derive(Debug)]
struct Signer;

#[async_trait]
impl ObjectStore for Signer {
    fn bucket(&self) -> &str {
        "bucket"
    }
    async fn check(&self) -> Result<(), StorageError> {
        unreachable!()
    }
    async fn put_if_absent(&self, _: &ObjectKey, _: Bytes, _: &str) -> Result<PutOutcome, StorageError> {
        unreachable!()
    }
    async fn replace(&self, _: &ObjectKey, _: &str, _: Bytes, _: &str) -> Result<PutOutcome, StorageError> {
        unreachable!()
    }
    async fn get(&self, _: &ObjectKey) -> Result<Bytes, StorageError> {
        unreachable!()
    }
    async fn get_range(&self, _: &ObjectKey, _: Range<u64>) -> Result<Bytes, StorageError> {
        unreachable!()
    }
    async fn head(&self, _: &ObjectKey) -> Result<Option<ObjectMeta>, StorageError> {
        unreachable!()
    }
    async fn copy(&self, _: &ObjectKey, _: &str, _: &ObjectKey) -> Result<(), StorageError> {
        unreachable!()
    }
    async fn open_uploads(&self, _: &ObjectKey) -> Result<Vec<UploadId>, StorageError> {
        unreachable!()
    }
    async fn list(&self, _: &ObjectKey) -> Result<Vec<String>, StorageError> {
        unreachable!()
    }
    async fn delete(&self, _: &ObjectKey) -> Result<(), StorageError> {
        unreachable!()
    }
    async fn create_multipart(&self, _: &ObjectKey, _: &str) -> Result<UploadId, StorageError> {
        unreachable!()
    }
    async fn upload_part(&self, _: &ObjectKey, _: &UploadId, _: u16, _: Bytes) -> Result<UploadedPart, StorageError> {
        unreachable!()
    }
    async fn complete_multipart(
        &self,
        _: &ObjectKey,
        _: &UploadId,
        _: &[UploadedPart],
        _: u64,
    ) -> Result<ObjectMeta, StorageError> {
        unreachable!()
    }
    async fn abort_multipart(&self, _: &ObjectKey, _: &UploadId) -> Result<(), StorageError> {
        unreachable!()
    }
    async fn presign_get(&self, key: &ObjectKey, valid_for: Duration) -> Result<PresignedLink, StorageError> {
        match key.as_str() {
            key if key.contains("denied") => Err(StorageError::Denied {
                action: "sign a link".to_owned(),
                bucket: "bucket".to_owned(),
                detail: "no credentials".to_owned(),
            }),
            // A fault of ours: a key that was published is always a key.
            key if key.contains("broken") => Err(StorageError::InvalidKey { key: key.to_owned() }),
            key => {
                let valid_for = if key.contains("short") { valid_for / 2 } else { valid_for };
                Ok(PresignedLink { url: format!("https://store/{key}?signature"), valid_for })
            }
        }
    }
}

/// What a test may want otherwise.
pub(crate) struct Options {
    pub(crate) graphiql: bool,
    pub(crate) introspection: bool,
    pub(crate) request_timeout: Duration,
    /// Whether callers show keys; else everybody is local.
    pub(crate) keys: bool,
    /// Whose tokens are believed.
    pub(crate) tokens: Option<TokenSettings>,
    pub(crate) rate: RateLimit,
    /// What explanations look at.
    pub(crate) warehouse: Option<Arc<dyn Warehouse>>,
    pub(crate) connections: ConnectionLimits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            graphiql: true,
            introspection: true,
            request_timeout: Duration::from_secs(20),
            keys: false,
            tokens: None,
            rate: RateLimit::NONE,
            warehouse: None,
            connections: ConnectionLimits::default(),
        }
    }
}

/// The endpoint, over a database of its own.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    pub(crate) pool: PgPool,
    pub(crate) client: Client,
    stop: CancellationToken,
    server: JoinHandle<std::io::Result<()>>,
}

impl Endpoint {
    /// Over the database `name`, with tables that are offered.
    pub(crate) async fn start(name: &str) -> Self {
        Self::with(name, Options::default()).await
    }

    pub(crate) async fn with(name: &str, options: Options) -> Self {
        let pool = metadata::database(name).await;
        metadata::offer_tables(&pool).await;
        let requests = Requests::new(pool.clone());
        let auth = match (options.keys, options.tokens) {
            (false, None) => Authenticator::None,
            (keys, tokens) => {
                Authenticator::Bearer(Bearer::new(keys.then(|| KeyStore::new(pool.clone())), tokens).unwrap())
            }
        };
        let recorder = PrometheusBuilder::new().build_recorder();
        let app = router(ApiContext {
            ready: Arc::new(RequestsReady(requests.clone())),
            requests,
            store: Arc::new(Signer),
            links: LinkSettings {
                redirect_to: None,
                ttl: Duration::from_secs(86_400),
                retention: Duration::from_secs(36_500 * 86_400),
            },
            link_book: LinkBook::new(pool.clone()),
            runs: ScheduledRuns::new(Scheduler::new(
                "daily",
                Calendar::new("0 0 2 * * *", "UTC").unwrap(),
                CatchUp::All,
                Duration::ZERO,
                Days::new(pool.clone()),
            )),
            stuck: StuckRequests::new(pool.clone(), Duration::from_secs(300)),
            notices: Notices::new(pool.clone()),
            coverage: Coverage::new(pool.clone(), "UTC"),
            audit: AuditLog::new(pool.clone()),
            rules: RuleStore::new(pool.clone()),
            exported: Exported::new(Coverage::new(pool.clone(), "UTC"), Arc::new(Signer), options.warehouse.clone()),
            explainer: Explainer::new(RuleStore::new(pool.clone()), options.warehouse, false),
            auth,
            rate: options.rate,
            websockets_of_identity: 16,
            proxies: Proxies::default(),
            graphiql: options.graphiql,
            introspection: options.introspection,
            metrics: recorder.handle(),
            request_timeout: options.request_timeout,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve_within(options.connections, listener, app, stop.clone()));
        Self { address, pool, client: Client::new(), stop, server }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sends this body as JSON.
    pub(crate) async fn post(&self, body: impl Into<reqwest::Body>) -> Response {
        let request = self.client.post(self.url("/graphql")).header("content-type", "application/json");
        request.body(body).send().await.unwrap()
    }

    /// Asks, and gives the whole answer.
    pub(crate) async fn ask(&self, query: &str, variables: Value) -> Value {
        let response = self.post(json!({"query": query, "variables": variables}).to_string()).await;
        assert_eq!(response.status(), 200, "{query}");
        response.json().await.unwrap()
    }

    /// Asks what must succeed, and gives its data.
    pub(crate) async fn data(&self, query: &str, variables: Value) -> Value {
        let mut answer = self.ask(query, variables).await;
        assert_eq!(answer.get("errors"), None, "{query}");
        answer["data"].take()
    }

    /// Asks what must fail, and gives the first error's code and message.
    pub(crate) async fn refusal(&self, query: &str, variables: Value) -> (String, String) {
        let answer = self.ask(query, variables).await;
        let error = &answer["errors"][0];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        assert!(error["extensions"]["retryable"].is_boolean(), "{answer}");
        assert!(!text(&error["extensions"]["requestId"]).is_empty(), "{answer}");
        (text(&error["extensions"]["code"]), text(&error["message"]))
    }

    /// A new key, by the name `test`.
    pub(crate) async fn key(&self, tenant: &str, role: Role, expires_days: Option<i32>) -> String {
        let wanted = NewKey { tenant: Tenant::new(tenant), role, name: "test".to_owned(), expires_days };
        let (secret, _) = KeyStore::new(self.pool.clone()).create(&wanted, &Actor::command_line("test")).await.unwrap();
        secret.text.expose_secret().to_owned()
    }

    /// Asks with this key or token, and gives the status and the body.
    pub(crate) async fn ask_as(&self, bearer: Option<&str>, query: &str, variables: Value) -> (u16, Value) {
        let mut request = self.client.post(self.url("/graphql"));
        if let Some(bearer) = bearer {
            request = request.bearer_auth(bearer);
        }
        let response = request.json(&json!({"query": query, "variables": variables})).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// Stops it, waits, and tells how it ended.
    pub(crate) async fn stop(self) -> std::io::Result<()> {
        self.stop.cancel();
        self.server.await.unwrap()
    }
}

/// Unwraps a problem document: status, code, detail.
pub(crate) async fn problem(response: Response) -> (u16, String, String) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["status"], status);
    assert_eq!(body["requestId"], id);
    (status, body["code"].as_str().unwrap().to_owned(), body["detail"].as_str().unwrap().to_owned())
}
