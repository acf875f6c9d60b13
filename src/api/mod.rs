//! The endpoint: GraphQL over HTTP and websockets, GraphiQL where it is enabled, links, health and metrics.
//!
//! It queues requests and reads what became of them. It never runs an export, asks a warehouse for nothing but its
//! catalog and counts when somebody wants the rules explained or asks whether a day is out, and hands out links without
//! touching the objects behind them. Everything that arrives is limited before it is understood: how
//! long it may take to arrive, how large it is, how deep it nests, how long it may run.

pub mod auth;
mod client;
mod files;
mod graphiql;
mod graphql;
mod health;
mod problem;
mod scope;
mod server;
mod visitor;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};
use metrics_exporter_prometheus::PrometheusHandle;

pub use self::auth::{Authenticator, Bearer, Identity, RateLimit, Role, TokenSettings};
pub use self::client::{ForwardedHeader, Proxies};
use self::files::Files;
pub use self::graphql::{roles, sdl};
pub use self::health::{Readiness, RequestsReady};
pub use self::server::{ConnectionLimits, serve, serve_within};
use crate::explain::Explainer;
use crate::identity::AuditLog;
use crate::jobs::Requests;
use crate::jobs::coverage::Coverage;
use crate::links::LinkBook;
use crate::rules::RuleStore;
use crate::storage::ObjectStore;
use crate::upkeep::exported::Exported;
use crate::upkeep::{Notices, ScheduledRuns, StuckRequests};

/// How download links are made.
#[derive(Debug, Clone)]
pub struct LinkSettings {
    /// Links lead to this service at this address, such as `https://exports.example.com`, and are redirected from
    /// there; `None`: they lead to the object store.
    pub redirect_to: Option<String>,
    /// How long a link is to work; it works shorter when the credentials that sign it end earlier.
    pub ttl: Duration,
    /// After how long the files of a request on demand are deleted; no link is to work longer.
    pub retention: Duration,
}

/// Everything that the endpoint needs, chosen where the process is wired.
pub struct ApiContext {
    /// Submits requests and reads jobs.
    pub requests: Requests,
    /// Signs links. Nothing is read or written through it.
    pub store: Arc<dyn ObjectStore>,
    /// How links are made.
    pub links: LinkSettings,
    /// Requests that are stuck.
    pub stuck: StuckRequests,
    /// Starts days of the schedule.
    pub runs: ScheduledRuns,
    /// What the outside is told.
    pub notices: Notices,
    /// Which days are exported.
    pub coverage: Coverage,
    /// Says whether a day is safely out. It reads manifests, and asks whether the files that they list are there.
    pub exported: Exported,
    /// What administrators did.
    pub audit: AuditLog,
    /// What may leave.
    pub rules: RuleStore,
    /// Says what the rules do to the warehouse's tables.
    pub explainer: Explainer,
    /// Where it is written who was handed which, and who followed one.
    pub link_book: LinkBook,
    /// Finds out who asks.
    pub auth: Authenticator,
    /// How much one identity may ask.
    pub rate: RateLimit,
    /// Most websockets of one identity at once.
    pub websockets_of_identity: usize,
    /// The proxies in front of this service, whose word about addresses is taken.
    pub proxies: Proxies,
    /// Whether `GET /graphql` serves GraphiQL.
    pub graphiql: bool,
    /// Whether the schema may be asked about itself, and whether errors suggest names of it.
    pub introspection: bool,
    /// What `/readyz` asks.
    pub ready: Arc<dyn Readiness>,
    /// What `/metrics` renders.
    pub metrics: PrometheusHandle,
    /// How long the body of a request may take to arrive, and then how long the request may run.
    pub request_timeout: Duration,
}

impl fmt::Debug for ApiContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiContext")
            .field("auth", &self.auth)
            .field("graphiql", &self.graphiql)
            .field("introspection", &self.introspection)
            .field("request_timeout", &self.request_timeout)
            .finish_non_exhaustive()
    }
}

/// All routes of the endpoint.
pub fn router(context: ApiContext) -> Router {
    let endpoint = Arc::new(graphql::Endpoint::new(&context));
    let files = Files { book: context.link_book.clone(), store: Arc::clone(&context.store) };
    let auth = Arc::new(context.auth);
    let sockets = graphql::Sockets::new(Arc::clone(&endpoint), Arc::clone(&auth), context.websockets_of_identity);
    // Who asks is settled before a byte of the body is read.
    let asked =
        post(graphql::answer).with_state(endpoint).route_layer(middleware::from_fn_with_state(auth, auth::identify));
    let (graphql, assets) = if context.graphiql {
        (asked.get(graphiql::page), Router::new().route("/graphql/assets/{name}", get(graphiql::asset)))
    } else {
        (asked, Router::new())
    };
    let probes = Router::new()
        .route("/readyz", get(health::readyz))
        .with_state(context.ready)
        .merge(Router::new().route("/metrics", get(health::metrics)).with_state(context.metrics))
        .route("/livez", get(health::livez));
    Router::new()
        .route("/graphql", graphql)
        .route("/graphql/ws", get(graphql::upgrade).with_state(sockets))
        .merge(assets)
        .merge(Router::new().route("/v1/files/{token}", get(files::follow)).with_state(files))
        .merge(probes)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .fallback(problem::not_found)
        .layer(middleware::from_fn_with_state(Arc::new(context.proxies), scope::scope))
}
