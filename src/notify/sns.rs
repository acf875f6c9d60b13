//! An SNS topic as receiver.
//!
//! Errors carry the service's code or the kind of a transport fault; never a credential, an address or its text.

use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_sns::Client;
use aws_sdk_sns::config::Credentials;
use aws_sdk_sns::config::http::HttpResponse;
use aws_sdk_sns::config::retry::RetryConfig;
use aws_sdk_sns::config::timeout::TimeoutConfig;
use aws_sdk_sns::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sns::types::MessageAttributeValue;
use secrecy::{ExposeSecret, SecretString};

use super::{Message, Notifier};
use crate::error::{ErrorCode, Failure};

const CONNECT: Duration = Duration::from_secs(3);
/// What one attempt may take. The outbox tries again, so the SDK tries twice only.
const PATIENCE: Duration = Duration::from_secs(10);

/// Codes with which the service refuses credentials, signatures or permission
/// (<https://docs.aws.amazon.com/sns/latest/api/CommonErrors.html>).
const DENIED: &[&str] = &[
    "AccessDenied",
    "AccessDeniedException",
    "AuthorizationError",
    "AuthorizationErrorException",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "KMSAccessDenied",
    "KMSAccessDeniedException",
    "KMSDisabled",
    "KMSInvalidState",
    "KMSNotFound",
    "KMSOptInRequired",
    "MissingAuthenticationToken",
    "NotAuthorized",
    "OptInRequired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];
/// Codes with which it says that there is no such topic.
const MISSING: &[&str] = &["NotFound", "NotFoundException", "ResourceNotFoundException"];
/// Codes with which it refuses the message itself.
const REFUSED: &[&str] = &[
    "InvalidParameter",
    "InvalidParameterException",
    "InvalidParameterValue",
    "InvalidParameterValueException",
    "ParameterValueInvalid",
    "ValidationError",
    "ValidationException",
];

/// The name of a standard topic, `arn:aws:sns:REGION:ACCOUNT:NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicArn {
    text: String,
    region: String,
}

impl fmt::Display for TopicArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for TopicArn {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        match text.split(':').collect::<Vec<_>>()[..] {
            ["arn", _, "sns", region, _, _] => Ok(Self { text: text.to_owned(), region: region.to_owned() }),
            _ => Err(Failure::new(
                ErrorCode::SettingsInvalid,
                "EXPORTER_SNS_TOPIC_ARN is not of the form arn:aws:sns:region:account:name",
            )),
        }
    }
}

/// What is needed to reach a topic.
#[derive(Debug, Clone)]
pub struct SnsSettings {
    /// The topic. Its region is the one that is asked.
    pub topic: TopicArn,
    /// The service's address; without it AWS's, or what `AWS_ENDPOINT_URL_SNS` says.
    pub endpoint: Option<String>,
    /// Access key and secret; without them the SDK's own chain.
    pub credentials: Option<(String, SecretString)>,
}

impl SnsSettings {
    /// A topic, reached as the SDK's own settings say.
    pub fn new(topic: TopicArn) -> Self {
        Self { topic, endpoint: None, credentials: None }
    }
}

/// One topic.
#[derive(Debug, Clone)]
pub struct SnsNotifier {
    client: Client,
    topic: TopicArn,
}

impl SnsNotifier {
    /// Prepares access to a topic; asks nothing of the service yet.
    pub async fn connect(settings: SnsSettings) -> Self {
        let mut loader =
            aws_config::defaults(BehaviorVersion::latest()).region(Region::new(settings.topic.region.clone()));
        if let Some((key, secret)) = &settings.credentials {
            let given = Credentials::new(key, secret.expose_secret(), None, None, "settings");
            loader = loader.credentials_provider(given);
        }
        let shared = loader.load().await;
        let mut config = aws_sdk_sns::config::Builder::from(&shared)
            .retry_config(RetryConfig::standard().with_max_attempts(2))
            .timeout_config(
                TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(PATIENCE).build(),
            );
        if let Some(endpoint) = &settings.endpoint {
            config = config.endpoint_url(endpoint);
        }
        Self { client: Client::from_conf(config.build()), topic: settings.topic }
    }

    /// Asks for the topic's attributes: whether it is there, and answers to these credentials.
    ///
    /// # Errors
    /// As [`Notifier::send`].
    pub async fn check(&self) -> Result<(), Failure> {
        let asked = self.client.get_topic_attributes().topic_arn(self.topic.to_string()).send().await;
        asked.map(drop).map_err(|error| self.failure(&error, "sns:GetTopicAttributes"))
    }

    fn failure<E: ProvideErrorMetadata>(&self, error: &SdkError<E, HttpResponse>, action: &str) -> Failure {
        let topic = &self.topic;
        let service = match error {
            SdkError::ServiceError(context) => context.err().meta().code(),
            _ => None,
        };
        // Codes are words; whatever else came with them stays where it is.
        let code: String = service.unwrap_or_default().chars().filter(char::is_ascii_alphanumeric).take(64).collect();
        let status = error.raw_response().map(|raw| raw.status().as_u16());
        if MISSING.contains(&code.as_str()) || (code.is_empty() && status == Some(404)) {
            return Failure::new(
                ErrorCode::TopicNotFound,
                format!("the topic {topic} does not exist; create it, or correct EXPORTER_SNS_TOPIC_ARN"),
            );
        }
        let unsigned = lacks_credentials(error);
        if DENIED.contains(&code.as_str()) || unsigned || (code.is_empty() && matches!(status, Some(401 | 403))) {
            let said = match code.as_str() {
                "" if unsigned => "no credentials found",
                "" => "HTTP 403",
                code => code,
            };
            return Failure::new(
                ErrorCode::NotificationDenied,
                format!(
                    "SNS does not let these credentials use the topic {topic} ({said}); grant {action} on it, and on its key if it is encrypted"
                ),
            );
        }
        if REFUSED.contains(&code.as_str()) {
            return Failure::new(
                ErrorCode::NotificationRefused,
                format!(
                    "SNS refuses the message for the topic {topic} ({code}); look at the topic's attributes and the region"
                ),
            );
        }
        let detail = match (error, status) {
            _ if !code.is_empty() => code,
            (SdkError::TimeoutError(_), _) => "no answer in time".to_owned(),
            (SdkError::DispatchFailure(_), _) => "the request could not be sent".to_owned(),
            (_, Some(status)) => format!("HTTP {status}"),
            _ => "an answer that cannot be read".to_owned(),
        };
        Failure::new(
            ErrorCode::NotificationUnavailable,
            format!("SNS cannot be used now for the topic {topic} ({detail}); it is tried again"),
        )
    }
}

/// Whether the SDK failed for want of credentials, before it sent anything: the cause is deep in the chain.
fn lacks_credentials<E>(error: &SdkError<E, HttpResponse>) -> bool {
    let SdkError::DispatchFailure(failure) = error else { return false };
    let mut next: Option<&(dyn Error + 'static)> = failure.as_connector_error().map(|error| error as _);
    while let Some(error) = next {
        // Its type is not public where we can name it; its text is only looked at, never shown.
        if error.to_string().contains("credential") {
            return true;
        }
        next = error.source();
    }
    false
}

#[async_trait]
impl Notifier for SnsNotifier {
    async fn send(&self, message: &Message) -> Result<(), Failure> {
        let mut request = self.client.publish().topic_arn(self.topic.to_string()).message(&message.text);
        for (name, value) in [
            ("eventId", message.event_id.to_string()),
            ("type", message.event_type.clone()),
            ("environment", message.environment.clone()),
            ("status", message.status.clone()),
        ] {
            let attribute = MessageAttributeValue::builder().data_type("String").string_value(value).build();
            let attribute = attribute.map_err(|_| {
                Failure::new(ErrorCode::Internal, "an attribute of a notification has no type; report this")
            })?;
            request = request.message_attributes(name, attribute);
        }
        request.send().await.map(drop).map_err(|error| self.failure(&error, "sns:Publish"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_named_with_its_region() {
        let arn: TopicArn = "arn:aws:sns:eu-central-1:123456789012:exports".parse().unwrap();
        assert_eq!(
            (arn.region.as_str(), arn.to_string().as_str()),
            ("eu-central-1", "arn:aws:sns:eu-central-1:123456789012:exports")
        );
        for wrong in ["", "exports", "arn:aws:sqs:eu-central-1:123456789012:exports"] {
            assert!(wrong.parse::<TopicArn>().is_err(), "{wrong}");
        }
    }
}
