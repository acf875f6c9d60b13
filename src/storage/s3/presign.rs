//! Links: signed here, without a word to the store, and honest about how long they work.

use std::time::{Duration, Instant, SystemTime};

use aws_sdk_s3::config::{Credentials, ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::{Client, Config};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::Mutex;

use super::errors::in_key;
use crate::storage::{ObjectKey, PresignedLink, StorageError};

/// The longest life that S3 allows a link.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long credentials are reused before their provider is asked for fresher ones, which live longer.
const FRESH: Duration = Duration::from_secs(60);

/// Signs links with the host that their readers reach.
#[derive(Debug)]
pub(super) struct Presigner {
    client: Client,
    provider: Option<SharedCredentialsProvider>,
    cached: Mutex<Option<(Credentials, Instant)>>,
}

impl Presigner {
    pub(super) fn new(config: Config, provider: Option<SharedCredentialsProvider>) -> Self {
        Self { client: Client::from_conf(config), provider, cached: Mutex::new(None) }
    }

    /// A link to `key` that works for `valid_for`, or for as long as the credentials do.
    pub(super) async fn link(
        &self,
        bucket: &str,
        key: &ObjectKey,
        valid_for: Duration,
    ) -> Result<PresignedLink, StorageError> {
        let denied = |detail: &str| StorageError::Denied {
            action: in_key("sign a link to", key),
            bucket: bucket.to_owned(),
            detail: detail.to_owned(),
        };
        let credentials = self.credentials().await.ok_or_else(|| denied("no credentials found"))?;
        let left = credentials.expiry().map(|end| end.duration_since(SystemTime::now()).unwrap_or_default());
        let life = life(valid_for, left).ok_or_else(|| denied("ExpiredToken"))?;
        let terms = PresigningConfig::expires_in(life).map_err(|_| denied("a life that S3 does not allow"))?;
        let request = self
            .client
            .get_object()
            .bucket(bucket)
            .key(key.as_str())
            .response_content_disposition(disposition(key.file_name()))
            .customize()
            .config_override(aws_sdk_s3::config::Builder::new().credentials_provider(credentials));
        let signed = request.presigned(terms).await.map_err(|_| denied("the link cannot be signed"))?;
        Ok(PresignedLink { url: signed.uri().to_owned(), valid_for: life })
    }

    /// The credentials to sign with, so that what is said of their end is true of those that signed.
    async fn credentials(&self) -> Option<Credentials> {
        let mut cached = self.cached.lock().await;
        if let Some((credentials, since)) = cached.as_ref()
            && since.elapsed() < FRESH
        {
            return Some(credentials.clone());
        }
        let fresh = self.provider.as_ref()?.provide_credentials().await.ok()?;
        *cached = Some((fresh.clone(), Instant::now()));
        Some(fresh)
    }
}

/// Whole seconds: what is asked for, at most a week, at most what the credentials have left; `None` if nothing is.
fn life(asked: Duration, left: Option<Duration>) -> Option<Duration> {
    let seconds = asked.min(LONGEST).min(left.unwrap_or(LONGEST)).as_secs();
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

/// Makes browsers save the object under its name instead of showing it.
fn disposition(name: &str) -> String {
    if name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '=' | '%' | ' ')) {
        return format!("attachment; filename=\"{name}\"");
    }
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' }).collect();
    let exact = utf8_percent_encode(name, NON_ALPHANUMERIC);
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_lives_no_longer_than_its_credentials() {
        let s = Duration::from_secs;
        let cases = [
            (s(60), None, Some(s(60))),
            (s(86_400), Some(s(900)), Some(s(900))),
            (s(60), Some(s(900)), Some(s(60))),
            (s(8 * 86_400), None, Some(LONGEST)),
            (s(60), Some(Duration::from_millis(1_900)), Some(s(1))),
            (s(60), Some(Duration::from_millis(900)), None),
            (s(0), None, None),
        ];
        for (asked, left, expected) in cases {
            assert_eq!(life(asked, left), expected, "{asked:?} of {left:?}");
        }
    }

    #[tokio::test]
    async fn the_link_says_when_its_credentials_end() {
        let expiring = |seconds| {
            let end = SystemTime::now() + Duration::from_secs(seconds);
            let credentials = Credentials::new("KEY", "secret", Some("token".to_owned()), Some(end), "test");
            let config = Config::builder()
                .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
                .region(aws_sdk_s3::config::Region::new("eu-central-1"))
                .build();
            Presigner::new(config, Some(SharedCredentialsProvider::new(credentials)))
        };
        let key = ObjectKey::new("a/way.parquet").unwrap();
        let link = expiring(100).link("exports", &key, Duration::from_secs(86_400)).await.unwrap();
        let seconds = link.valid_for.as_secs();
        assert!((90..=100).contains(&seconds), "{seconds}");
        assert!(link.url.contains(&format!("X-Amz-Expires={seconds}&")));
        assert!(link.url.starts_with("https://exports.s3.eu-central-1.amazonaws.com/a/way.parquet?"));
        let ended = expiring(0).link("exports", &key, Duration::from_secs(60)).await;
        assert!(matches!(ended, Err(StorageError::Denied { detail, .. }) if detail == "ExpiredToken"));
    }

    #[test]
    fn the_file_name_cannot_break_the_header() {
        assert_eq!(disposition("way_000.parquet"), "attachment; filename=\"way_000.parquet\"");
        assert_eq!(
            disposition("a\"b;\r\n.csv"),
            "attachment; filename=\"a_b___.csv\"; filename*=UTF-8''a%22b%3B%0D%0A%2Ecsv"
        );
        assert_eq!(disposition("größe"), "attachment; filename=\"gr__e\"; filename*=UTF-8''gr%C3%B6%C3%9Fe");
    }
}
