//! Wiring: the only place that knows every part. Commands ask for the services they need; nothing here decides what
//! an export is.

mod diagnosis;
mod scheduling;
mod telling;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::{ExposeSecret, SecretString};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::api::{
    self, ApiContext, Authenticator, Bearer, ForwardedHeader, LinkSettings, Proxies, RateLimit, RequestsReady,
    TokenSettings,
};
use crate::config::{AuthKind, ForwardedKind, LinksKind, Settings};
use crate::error::{ErrorCode, Failure};
use crate::explain::Explainer;
use crate::identity::{AuditLog, KeyStore};
use crate::jobs::coverage::Coverage;
use crate::jobs::{Heartbeat, Queue, QueueSettings, Requests, ToRetain};
use crate::links::LinkBook;
use crate::local::LocalEnvironment;
use crate::local::environment::LocalNeeds;
use crate::pipeline::{Layout, Pipeline, PipelineSettings, Retained, Worker, archive, retain};
use crate::rules::RuleStore;
use crate::storage::ObjectStore;
use crate::storage::s3::{S3Settings, S3Store};
use crate::upkeep::exported::Exported;
use crate::upkeep::{Notices, ScheduledRuns, StuckRequests};
use crate::warehouse::postgres::{PostgresOptions, PostgresWarehouse};
use crate::warehouse::{ReadLimits, Warehouse};

pub use diagnosis::diagnose;
pub use scheduling::{coverage, exported};

/// The schema of the metadata database, step by step.
static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Connections to the metadata database, at most. Heartbeats have one of their own beside these.
const METADATA_CONNECTIONS: u32 = 16;
/// Connections to the warehouse for whoever asks what the rules do, and what is out: a count can read much.
const ASKING_CONNECTIONS: u32 = 2;
/// How often the metrics drop what is too old to be rendered.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);
/// How long a GraphQL request may run.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// The parts of a running service.
#[derive(Debug)]
pub struct Services {
    /// The settings, with what local mode has filled in.
    pub settings: Settings,
    /// Submits requests and reads jobs.
    pub requests: Requests,
    /// The rules.
    pub rules: RuleStore,
    /// Where the files go.
    pub store: Arc<dyn ObjectStore>,
    pool: PgPool,
    database: PgConnectOptions,
    local: Option<LocalEnvironment>,
}

/// A process that is frozen or cut off in the middle of a transaction holds what it has locked, and everybody would wait
/// for it. The server ends its session instead; no transaction of ours is idle for so long between two statements, unless
/// it says so.
const LET_GO_OF_LOCKS: &str = "SET idle_in_transaction_session_timeout = '5s'";

/// Connects to the metadata database.
///
/// # Errors
/// `METADATA_UNAVAILABLE` when it does not answer, with no part of its address in the message.
pub async fn connect_metadata(url: &SecretString) -> Result<(PgPool, PgConnectOptions), Failure> {
    let unavailable = |what: String| {
        Failure::new(
            ErrorCode::MetadataUnavailable,
            format!("cannot use the metadata database: {what}; check DATABASE_URL and the server"),
        )
    };
    let options: PgConnectOptions =
        url.expose_secret().parse().map_err(|_| unavailable("its address cannot be read".to_owned()))?;
    let options = options.application_name("data-exporter");
    let pool = PgPoolOptions::new()
        .max_connections(METADATA_CONNECTIONS)
        .acquire_timeout(Duration::from_secs(10))
        .after_connect(|connection, _| {
            Box::pin(async move { sqlx::raw_sql(LET_GO_OF_LOCKS).execute(connection).await.map(drop) })
        })
        .connect_with(options.clone())
        .await
        .map_err(|error| {
            unavailable(match &error {
                sqlx::Error::Database(database) => {
                    format!("it refused the connection (SQLSTATE {})", database.code().unwrap_or_default())
                }
                sqlx::Error::Io(io) => io.kind().to_string(),
                sqlx::Error::PoolTimedOut => "it did not answer within 10 s".to_owned(),
                _ => "the connection failed".to_owned(),
            })
        })?;
    Ok((pool, options))
}

/// Connects to the metadata database of the settings, which must be up to date.
///
/// # Errors
/// `SETTINGS_INVALID` when it is not set or not up to date, `METADATA_UNAVAILABLE`.
pub async fn metadata(settings: &Settings) -> Result<PgPool, Failure> {
    let (pool, _) = connect_metadata(settings.database_url.as_ref().ok_or_else(|| missing("DATABASE_URL"))?).await?;
    check_migrated(&pool).await?;
    Ok(pool)
}

/// Brings the metadata database up to date. Returns how many steps were taken.
pub async fn migrate(pool: &PgPool) -> Result<usize, Failure> {
    let before = applied(pool).await.unwrap_or_default().len();
    MIGRATIONS.run(pool).await.map_err(|error| {
        Failure::new(
            ErrorCode::MetadataUnavailable,
            format!("the metadata database could not be brought up to date: {error}"),
        )
    })?;
    Ok(applied(pool).await?.len() - before)
}

async fn applied(pool: &PgPool) -> Result<Vec<i64>, Failure> {
    let versions: Result<Vec<i64>, sqlx::Error> =
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success ORDER BY version").fetch_all(pool).await;
    match versions {
        Ok(versions) => Ok(versions),
        // 42P01: the table is not there, so nothing was ever applied.
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P01") => Ok(Vec::new()),
        Err(error) => Err(crate::jobs::metadata_failure(error)),
    }
}

/// Makes sure that the metadata database has every step that this version needs.
async fn check_migrated(pool: &PgPool) -> Result<(), Failure> {
    let applied = applied(pool).await?;
    let missing = MIGRATIONS.iter().filter(|step| !applied.contains(&step.version)).count();
    if missing == 0 {
        return Ok(());
    }
    Err(Failure::new(
        ErrorCode::SettingsInvalid,
        format!("the metadata database lacks {missing} of this version's migrations; run `data-exporter migrate`"),
    ))
}

/// The rules, and what explains them, for a command.
///
/// # Errors
/// As [`metadata`], and `WAREHOUSE_DENIED` for an address that is none.
pub async fn explaining(settings: &Settings) -> Result<(RuleStore, Explainer), Failure> {
    let pool = metadata(settings).await?;
    let explainer = explainer(settings, &pool, asked(settings, settings.statement_timeout)?);
    Ok((RuleStore::new(pool), explainer))
}

/// Explains the rules of this metadata database against this warehouse.
fn explainer(settings: &Settings, pool: &PgPool, warehouse: Option<Arc<dyn Warehouse>>) -> Explainer {
    Explainer::new(RuleStore::new(pool.clone()), warehouse, settings.has_pseudonym_key)
}

/// The settings' warehouse for whoever asks for its catalog and counts, each of which may take this long.
///
/// # Errors
/// `WAREHOUSE_DENIED` for an address that is none.
fn asked(settings: &Settings, patience: Duration) -> Result<Option<Arc<dyn Warehouse>>, Failure> {
    let Some(url) = settings.warehouse_url.clone() else { return Ok(None) };
    let options = PostgresOptions {
        max_connections: ASKING_CONNECTIONS,
        statement_timeout: patience,
        max_replica_lag: settings.max_replica_lag,
        ..Default::default()
    };
    Ok(Some(Arc::new(PostgresWarehouse::new(url, options)?)))
}

/// The calendar of the settings' schedule in this database.
fn calendar(settings: &Settings, pool: &PgPool) -> Coverage {
    Coverage::new(pool.clone(), settings.schedule.calendar.zone().name())
}

impl Services {
    /// Connects to what the settings name; in local mode also starts what they do not.
    pub async fn start(mut settings: Settings, local: bool) -> Result<Self, Failure> {
        let environment = if local { Some(start_local(&mut settings).await?) } else { None };
        match Self::connect(&settings, environment.as_ref()).await {
            Ok((store, pool, database)) => Ok(Self {
                requests: requests(&settings, pool.clone()),
                rules: RuleStore::new(pool.clone()),
                settings,
                store,
                pool,
                database,
                local: environment,
            }),
            Err(failure) => {
                if let Some(environment) = environment {
                    environment.stop().await;
                }
                Err(failure)
            }
        }
    }

    async fn connect(
        settings: &Settings,
        local: Option<&LocalEnvironment>,
    ) -> Result<(Arc<dyn ObjectStore>, PgPool, PgConnectOptions), Failure> {
        let url = settings.database_url.as_ref().ok_or_else(|| missing("DATABASE_URL"))?;
        let (pool, database) = connect_metadata(url).await?;
        if local.is_some() {
            migrate(&pool).await?;
        } else {
            check_migrated(&pool).await?;
        }
        let store = match local.and_then(LocalEnvironment::s3_settings) {
            Some(ours) => S3Store::connect(ours).await?,
            None => store(settings).await?,
        };
        match store.check().await.map_err(Failure::from) {
            Ok(()) => {}
            // What will not pass by itself is said now, not when the first request fails.
            Err(failure) if !failure.code.retryable() => return Err(failure),
            Err(failure) => {
                tracing::warn!(code = %failure.code, message = %failure.message, "starting without the object store")
            }
        }
        Ok((Arc::new(store), pool, database))
    }

    /// A worker of this process.
    pub async fn worker(&self, only: Option<crate::jobs::JobId>) -> Result<Worker, Failure> {
        let settings = &self.settings;
        let warehouse = warehouse(settings)?;
        match warehouse.check().await.map_err(Failure::from) {
            Ok(()) => {}
            Err(failure) if !failure.code.retryable() => return Err(failure),
            Err(failure) => {
                tracing::warn!(code = %failure.code, message = %failure.message, "starting without the warehouse")
            }
        }
        let queue_settings = QueueSettings {
            max_attempts: settings.max_attempts,
            max_crashes: settings.max_crashes,
            max_active_jobs: settings.max_active_jobs_per_tenant,
            restate_grace: settings.link_ttl,
            max_warehouse_connections: settings.max_warehouse_connections,
            snapshot_max: settings.snapshot_max,
            ..QueueSettings::default()
        };
        let mut queue = Queue::new(self.pool.clone(), queue_settings);
        if let Some(job) = only {
            queue = queue.only(job);
        }
        let heartbeat = Heartbeat::start(self.database.clone(), queue_settings)
            .map_err(|error| Failure::new(ErrorCode::Internal, format!("no thread for heartbeats: {error}")))?;
        let pipeline = Pipeline {
            queue,
            rules: self.rules.clone(),
            warehouse: Arc::new(warehouse),
            store: Arc::clone(&self.store),
            layout: Layout::new(&settings.env),
            pseudonyms: settings.pseudonyms.clone(),
            settings: PipelineSettings {
                concurrent_partitions: settings.max_concurrent_partitions,
                partition_target_bytes: settings.partition_target_bytes,
                gate_sample: settings.gate_sample,
                formula_guard: settings.csv_formula_guard,
                first_row_timeout: settings.first_row_timeout,
                stall: settings.stall,
                keep: settings.retention,
                history: settings.history,
                ..PipelineSettings::default()
            },
        };
        Ok(Worker::new(pipeline, heartbeat))
    }

    /// What retention would do now, and how many requests are old enough to be archived.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`.
    pub async fn to_retain(&self) -> Result<(Vec<ToRetain>, i64), Failure> {
        let old = self.requests.to_archive(self.settings.history).await?;
        Ok((self.requests.to_retain(self.settings.retention).await?, old))
    }

    /// Does now what each worker does every now and then. Returns how many requests were archived, too.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`.
    pub async fn retain(&self, stop: &CancellationToken) -> Result<(Retained, usize), Failure> {
        let queue = Queue::new(self.pool.clone(), QueueSettings::default());
        let done = retain(&queue, self.store.as_ref(), self.settings.retention, stop).await?;
        Ok((done, archive(&queue, self.settings.history, stop).await?))
    }

    fn authenticator(&self) -> Result<Authenticator, Failure> {
        let AuthKind::Bearer { api_keys, tokens } = &self.settings.auth else { return Ok(Authenticator::None) };
        let keys = api_keys.then(|| KeyStore::new(self.pool.clone()));
        let tokens = tokens.as_ref().map(|jwt| TokenSettings::new(&jwt.issuer, &jwt.audience, &jwt.jwks_url));
        Ok(Authenticator::Bearer(Bearer::new(keys, tokens)?))
    }

    /// The endpoint's routes.
    fn router(&self, address: SocketAddr, metrics: PrometheusHandle) -> Result<axum::Router, Failure> {
        let patience = self.settings.statement_timeout.min(REQUEST_TIMEOUT - Duration::from_secs(2));
        let asked = asked(&self.settings, patience)?;
        let ours = || self.settings.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
        Ok(api::router(ApiContext {
            requests: self.requests.clone(),
            store: Arc::clone(&self.store),
            links: LinkSettings {
                redirect_to: (self.settings.links == LinksKind::Redirect).then(ours),
                ttl: self.settings.link_ttl,
                retention: self.settings.retention,
            },
            link_book: LinkBook::new(self.pool.clone()),
            runs: ScheduledRuns::new(self.scheduler()),
            stuck: StuckRequests::new(self.pool.clone(), self.settings.stall),
            notices: Notices::new(self.pool.clone()),
            audit: AuditLog::new(self.pool.clone()),
            rules: self.rules.clone(),
            coverage: calendar(&self.settings, &self.pool),
            exported: Exported::new(calendar(&self.settings, &self.pool), Arc::clone(&self.store), asked.clone()),
            explainer: explainer(&self.settings, &self.pool, asked),
            auth: self.authenticator()?,
            rate: RateLimit { per_second: self.settings.rate_limit, burst: self.settings.rate_burst },
            websockets_of_identity: self.settings.websockets_per_identity,
            proxies: Proxies {
                trusted: self.settings.trusted_proxies.clone(),
                header: match self.settings.forwarded_header {
                    ForwardedKind::XForwardedFor => ForwardedHeader::XForwardedFor,
                    ForwardedKind::Forwarded => ForwardedHeader::Forwarded,
                },
            },
            graphiql: self.settings.graphiql,
            introspection: self.settings.introspection,
            ready: Arc::new(RequestsReady(self.requests.clone())),
            metrics,
            request_timeout: REQUEST_TIMEOUT,
        }))
    }

    /// Runs the roles of the settings until `stop`, on this listener.
    pub async fn run(
        &self,
        listener: Option<TcpListener>,
        metrics: PrometheusHandle,
        stop: CancellationToken,
    ) -> Result<(), Failure> {
        let listener = match listener {
            Some(listener) if self.settings.roles.api => {
                let address = listener.local_addr().map_err(|error| {
                    Failure::new(ErrorCode::Internal, format!("the listener has no address: {}", error.kind()))
                })?;
                let router = self.router(address, metrics.clone())?;
                Some((listener, router))
            }
            _ => None,
        };
        let worker = if self.settings.roles.worker { Some(self.worker(None).await?) } else { None };
        let working = async {
            if let Some(worker) = worker {
                worker.run(stop.clone()).await;
            }
        };
        // Not from processes that only answer requests: see there. On the heap, as the SDK's futures are large.
        let tells = self.settings.roles.worker || self.settings.roles.scheduler;
        let sender = if tells {
            Some(Box::pin(telling::sender(&self.settings, &self.pool, self.store.bucket())).await?)
        } else {
            None
        };
        let telling = async {
            if let Some(sender) = sender {
                Box::pin(sender.run(&stop)).await;
            }
        };
        let answering = async {
            match listener {
                Some((listener, router)) => api::serve(listener, router, stop.clone()).await.map_err(|error| {
                    Failure::new(ErrorCode::Internal, format!("the endpoint stopped: {}", error.kind()))
                }),
                None => {
                    stop.cancelled().await;
                    Ok(())
                }
            }
        };
        let tidying = async {
            let mut every = tokio::time::interval(METRICS_UPKEEP);
            loop {
                tokio::select! {
                    () = stop.cancelled() => break,
                    _ = every.tick() => metrics.run_upkeep(),
                }
            }
        };
        let ((), (), (), scheduled, answered) =
            tokio::join!(working, telling, tidying, self.schedule(&stop), answering);
        scheduled.and(answered)
    }

    /// Closes connections and ends what local mode has started.
    pub async fn stop(self) {
        self.pool.close().await;
        if let Some(local) = self.local {
            local.stop().await;
        }
    }
}

fn requests(settings: &Settings, pool: PgPool) -> Requests {
    let requests = Requests::new(pool);
    if settings.join_running { requests.joining(settings.stall) } else { requests }
}

fn missing(what: &str) -> Failure {
    Failure::new(ErrorCode::SettingsInvalid, format!("{what} is not set"))
}

/// The warehouse of the settings; nothing is connected yet.
fn warehouse(settings: &Settings) -> Result<PostgresWarehouse, Failure> {
    let url = settings.warehouse_url.clone().ok_or_else(|| missing("EXPORTER_WAREHOUSE_URL"))?;
    let options = PostgresOptions {
        max_connections: u32::try_from(settings.max_concurrent_partitions).unwrap_or(u32::MAX),
        statement_timeout: settings.statement_timeout,
        max_replica_lag: settings.max_replica_lag,
        read_limits: ReadLimits { rows: settings.max_rows_per_second, bytes: settings.max_read_bytes_per_second },
        ..PostgresOptions::default()
    };
    Ok(PostgresWarehouse::new(url, options)?)
}

/// The bucket of the settings.
async fn store(settings: &Settings) -> Result<S3Store, Failure> {
    let bucket = settings.bucket.as_ref().ok_or_else(|| missing("EXPORTER_BUCKET"))?;
    Ok(S3Store::connect(S3Settings {
        path_style: settings.s3_path_style,
        public_endpoint: settings.s3_public_endpoint.clone(),
        ..S3Settings::new(bucket)
    })
    .await?)
}

/// A bucket that no setting names, with credentials as the SDK finds them.
///
/// # Errors
/// `SETTINGS_INVALID` when `AWS_ENDPOINT_URL` is no address.
pub async fn bucket(name: &str) -> Result<Arc<dyn ObjectStore>, Failure> {
    // A store of its own address seldom has a name for each bucket.
    let path_style = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"].iter().any(|key| std::env::var_os(key).is_some());
    Ok(Arc::new(S3Store::connect(S3Settings { path_style, ..S3Settings::new(name) }).await?))
}

/// Listens where the settings say.
pub async fn listen(settings: &Settings) -> Result<TcpListener, Failure> {
    TcpListener::bind(settings.bind).await.map_err(|error| {
        Failure::new(
            ErrorCode::SettingsInvalid,
            format!("cannot listen on {}: {}; choose another EXPORTER_BIND", settings.bind, error.kind()),
        )
    })
}

async fn start_local(settings: &mut Settings) -> Result<LocalEnvironment, Failure> {
    let data_dir = settings.data_dir.clone().unwrap_or_else(|| LocalEnvironment::default_data_dir("data-exporter"));
    let needs = LocalNeeds {
        database: settings.database_url.is_none(),
        warehouse: settings.warehouse_url.is_none() && settings.roles.worker,
        bucket: settings.bucket.is_none(),
    };
    let environment = LocalEnvironment::start(&data_dir, needs).await?;
    if needs.database {
        settings.database_url = environment.database_url();
    }
    if needs.warehouse {
        settings.warehouse_url = environment.warehouse_url();
    }
    settings.data_dir = Some(data_dir);
    Ok(environment)
}
