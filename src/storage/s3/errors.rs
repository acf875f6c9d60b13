//! From the SDK's errors to ours: the store's code or the kind of a transport fault, and nothing else of them.

use std::error::Error;
use std::io;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::storage::{ObjectKey, StorageError};

/// Codes with which a store refuses credentials, signatures or permission.
const DENIED: &[&str] = &[
    "AccessDenied",
    "AccountProblem",
    "AllAccessDisabled",
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "Forbidden",
    "InvalidAccessKeyId",
    "InvalidPayer",
    "InvalidSecurity",
    "InvalidToken",
    "MissingSecurityHeader",
    "NotSignedUp",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnauthorizedAccess",
];

/// Codes that say that the bytes or parts are not those that were announced.
const CORRUPT: &[&str] = &[
    "BadDigest",
    "EntityTooSmall",
    "InvalidDigest",
    "InvalidPart",
    "InvalidPartOrder",
    "InvalidRange",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
];

/// What is known of a request that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    code: Option<String>,
    status: Option<u16>,
    transport: Option<&'static str>,
}

impl Fault {
    /// What an error of the SDK says.
    pub(super) fn of<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Self {
        let (code, transport) = match error {
            SdkError::ServiceError(context) => (context.err().meta().code().map(str::to_owned), None),
            SdkError::TimeoutError(_) => (None, Some("no answer in time")),
            SdkError::DispatchFailure(failure) => {
                (None, Some(failure.as_connector_error().map_or("request not sent", |e| kind(e))))
            }
            SdkError::ResponseError(_) => (None, Some("an answer that cannot be read")),
            SdkError::ConstructionFailure(_) => (None, Some("request not built")),
            _ => (None, Some("unknown fault")),
        };
        // The SDK fails for want of credentials before it sends, with the cause deep in the chain.
        let transport = if transport.is_some() && lacks_credentials(error) { Some(NO_CREDENTIALS) } else { transport };
        Self { code, status: error.raw_response().map(|raw| raw.status().as_u16()), transport }
    }

    /// A fault on the way, found by ourselves.
    pub(super) fn transport(kind: &'static str) -> Self {
        Self { code: None, status: None, transport: Some(kind) }
    }

    /// Whether this is the store's code.
    pub(super) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// The HTTP status, if there was an answer.
    pub(super) fn status(&self) -> Option<u16> {
        self.status
    }

    /// 404 without saying of what, as answers to HEAD do, or of the object.
    pub(super) fn not_found(&self) -> bool {
        self.status == Some(404) && !self.is("NoSuchBucket") && !self.is("NoSuchUpload")
    }

    /// Another request about the same key is under way.
    pub(super) fn is_conflict(&self) -> bool {
        self.is("ConditionalRequestConflict") || self.is("OperationAborted") || self.status == Some(409)
    }

    /// Whether it says for sure that the request had no effect and never will.
    pub(super) fn is_final(&self) -> bool {
        let code = self.code.as_deref().unwrap_or_default();
        self.is("NoSuchBucket") || DENIED.contains(&code) || CORRUPT.contains(&code) || self.status == Some(403)
    }

    fn detail(&self) -> String {
        match (&self.code, self.status, self.transport) {
            (Some(code), _, _) if code == "PermanentRedirect" || code == "AuthorizationHeaderMalformed" => {
                format!("{code}: the bucket may be in another region, set AWS_REGION")
            }
            (Some(code), _, _) => code.chars().filter(char::is_ascii_alphanumeric).take(64).collect(),
            (None, _, Some(transport)) => transport.to_owned(),
            (None, Some(status), None) => format!("HTTP status {status}"),
            (None, None, None) => "unknown fault".to_owned(),
        }
    }

    /// The error of this module's trait. `action` is a verb with its object.
    pub(super) fn into_error(self, action: String, bucket: &str, key: Option<&ObjectKey>) -> StorageError {
        let bucket = bucket.to_owned();
        let code = self.code.as_deref().unwrap_or_default();
        if code == "NoSuchBucket" {
            return StorageError::BucketNotFound { bucket };
        }
        if let Some(key) = key.map(ObjectKey::to_string) {
            if code == "NoSuchUpload" {
                return StorageError::UploadGone { key };
            }
            if self.not_found() {
                return StorageError::NotFound { bucket, key };
            }
            if CORRUPT.contains(&code) || self.status == Some(416) {
                return StorageError::Corrupt { key, detail: self.detail() };
            }
        }
        let denied = DENIED.contains(&code)
            || matches!(self.status, Some(401 | 403))
            || matches!(code, "PermanentRedirect" | "IllegalLocationConstraintException")
            || self.transport == Some(NO_CREDENTIALS);
        if denied {
            StorageError::Denied { action, bucket, detail: self.detail() }
        } else {
            StorageError::Unavailable { action, bucket, detail: self.detail() }
        }
    }
}

const NO_CREDENTIALS: &str = "no credentials found";

/// `read 'a/b'`.
pub(super) fn in_key(action: &str, key: &ObjectKey) -> String {
    format!("{action} '{key}'")
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// Whether reading a body failed because its bytes are not those that the store has a checksum of.
pub(super) fn is_checksum_mismatch(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|error| error.to_string().contains("checksum mismatch"))
}

fn lacks_credentials<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    let source: Option<&(dyn Error + 'static)> = match error {
        SdkError::DispatchFailure(failure) => failure.as_connector_error().map(|e| e as _),
        _ => None,
    };
    // Its type is not public where we can name it; its text is only looked at, never shown.
    source.is_some_and(|source| chain(source).any(|e| e.to_string().contains("credential")))
}

/// A transport fault in words that hold no address.
fn kind(error: &(dyn Error + 'static)) -> &'static str {
    for error in chain(error) {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            match io.kind() {
                io::ErrorKind::ConnectionRefused => return "connection refused",
                io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => return "connection reset",
                io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => return "connection closed",
                io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => return "network unreachable",
                io::ErrorKind::TimedOut => return "no answer in time",
                io::ErrorKind::InvalidData => return "TLS failure",
                _ => {}
            }
        }
        let text = error.to_string();
        if text.contains("dns error") || text.contains("failed to lookup address") {
            return "the host's name cannot be resolved";
        }
        if text.contains("timed out") || text.contains("timeout") {
            return "no answer in time";
        }
        if text.contains("certificate") || text.contains("TLS") || text.contains("corrupt message") {
            return "TLS failure";
        }
        if text.contains("connection closed") || text.contains("IncompleteMessage") {
            return "connection closed";
        }
    }
    "connection failed"
}
