//! How a store is reached: endpoint, region, credentials, retries and time limits.

use std::time::Duration;

use aws_config::meta::region::RegionProviderChain;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::config::retry::{RetryConfig, RetryPartition, TokenBucket};
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{Config, Credentials, SharedCredentialsProvider, StalledStreamProtectionConfig};
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use super::PATIENCE;
use crate::error::{ErrorCode, Failure};

/// The region that is named when nothing names another. Compatible stores accept any.
const REGION: &str = "us-east-1";
const CONNECT: Duration = Duration::from_secs(3);
/// A transfer that stands still this long is given up and tried again.
const STALLED: Duration = Duration::from_secs(20);
const GIB: u64 = 1 << 30;

/// What is needed to reach a bucket.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// The bucket.
    pub bucket: String,
    /// The store's address; without it AWS's, or what `AWS_ENDPOINT_URL` says.
    pub endpoint: Option<String>,
    /// The address that links name, where it differs from the one that the service uses.
    pub public_endpoint: Option<String>,
    /// Addresses like `https://host/bucket/key` instead of `https://bucket.host/key`.
    pub path_style: bool,
    /// Access key and secret; without them the SDK's own chain (environment, profile, web identity, metadata).
    pub credentials: Option<(String, SecretString)>,
    /// How often a request is tried, the first time included.
    pub attempts: u32,
    /// Bytes; larger objects are copied in parts. S3 refuses more than 5 GiB.
    pub copy_at_once: u64,
    /// Bytes of such a part, at least 5 MiB.
    pub copy_part: u64,
}

/// Why a store cannot even be tried.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The setting is not an address.
    #[error("{setting} is not an address of the form http://host:port or https://host")]
    Endpoint {
        /// The setting that holds it.
        setting: &'static str,
    },
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        Failure::new(ErrorCode::SettingsInvalid, error.to_string())
    }
}

/// Configurations made of settings.
pub(super) struct Prepared {
    pub(super) config: Config,
    /// For signing links.
    pub(super) links: Config,
    pub(super) credentials: Option<SharedCredentialsProvider>,
    pub(super) sign_payload: bool,
}

impl S3Settings {
    /// A bucket of AWS, credentials from the SDK's chain.
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            endpoint: None,
            public_endpoint: None,
            path_style: false,
            credentials: None,
            attempts: 8,
            copy_at_once: 5 * GIB,
            copy_part: GIB,
        }
    }

    pub(super) async fn prepare(&self) -> Result<Prepared, ConnectError> {
        let endpoint = self.endpoint.as_deref().map(|text| address(text, "AWS_ENDPOINT_URL")).transpose()?;
        if let Some(text) = &self.public_endpoint {
            address(text, "EXPORTER_S3_PUBLIC_ENDPOINT")?;
        }
        let mut loader = aws_config::defaults(BehaviorVersion::latest());
        if let Some((key, secret)) = &self.credentials {
            // Whoever gives credentials means this one store: no profile and no metadata service is asked.
            let given = Credentials::new(key, secret.expose_secret(), None, None, "settings");
            let region = std::env::var("AWS_REGION").unwrap_or_else(|_| REGION.to_owned());
            loader = loader.credentials_provider(given).region(Region::new(region));
        } else {
            loader = loader.region(RegionProviderChain::default_provider().or_else(REGION));
        }
        if let Some(text) = &self.endpoint {
            loader = loader.endpoint_url(text);
        }
        let shared = loader.load().await;

        // The quota of retries that the SDK shares out among all requests is no use here: in a long disturbance it
        // runs dry, and a request that would succeed at the third try fails at the first. Attempts and back-off bound
        // each request; the queue behind bounds the work.
        let quota = RetryPartition::custom("data-exporter").token_bucket(TokenBucket::unlimited()).build();
        let retries = RetryConfig::standard()
            .with_max_attempts(self.attempts.max(1))
            .with_initial_backoff(Duration::from_millis(100))
            .with_max_backoff(Duration::from_secs(5));
        let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(PATIENCE).build();
        let config = aws_sdk_s3::config::Builder::from(&shared)
            .force_path_style(self.path_style)
            .retry_config(retries)
            .retry_partition(quota)
            .timeout_config(timeouts)
            .stalled_stream_protection(StalledStreamProtectionConfig::enabled().grace_period(STALLED).build())
            .build();
        let mut links = config.to_builder();
        links.set_endpoint_url(self.public_endpoint.clone().or_else(|| shared.endpoint_url().map(str::to_owned)));
        Ok(Prepared {
            config,
            links: links.build(),
            credentials: shared.credentials_provider(),
            sign_payload: endpoint.is_some_and(|url| url.scheme() == "http" && !is_loopback(&url)),
        })
    }
}

fn address(text: &str, setting: &'static str) -> Result<Url, ConnectError> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.filter(|url| url.username().is_empty() && url.password().is_none()).ok_or(ConnectError::Endpoint { setting })
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
