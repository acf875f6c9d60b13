//! Faults on demand, so that tests can see what the exporter does when a store misbehaves. Without an order for one,
//! a request passes untouched.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use s3s::{Body, HttpResponse};
use tokio_util::sync::CancellationToken;

/// The operations that faults are ordered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// `HeadBucket`.
    HeadBucket,
    /// `PutObject`.
    PutObject,
    /// `GetObject`, by link or signed.
    GetObject,
    /// `HeadObject`.
    HeadObject,
    /// `CopyObject` and `UploadPartCopy`.
    Copy,
    /// `DeleteObject` and `DeleteObjects`.
    DeleteObject,
    /// `CreateMultipartUpload`.
    CreateMultipart,
    /// `UploadPart`.
    UploadPart,
    /// `CompleteMultipartUpload`.
    CompleteMultipart,
    /// `AbortMultipartUpload`.
    AbortMultipart,
    /// Lists, and whatever else there is.
    Other,
}

impl Operation {
    /// What a request asks for.
    fn of(request: &Parts) -> Self {
        let path = request.uri.path().trim_start_matches('/');
        let in_bucket = path.split_once('/').is_some_and(|(_, key)| !key.is_empty());
        let query = request.uri.query().unwrap_or_default();
        let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
        let copies = request.headers.contains_key("x-amz-copy-source");
        match (&request.method, in_bucket) {
            (&Method::HEAD, false) => Self::HeadBucket,
            (&Method::HEAD, true) => Self::HeadObject,
            (&Method::GET, true) if !has("uploadId") => Self::GetObject,
            (&Method::PUT, true) if copies => Self::Copy,
            (&Method::PUT, true) if has("uploadId") => Self::UploadPart,
            (&Method::PUT, true) => Self::PutObject,
            (&Method::POST, true) if has("uploads") => Self::CreateMultipart,
            (&Method::POST, true) if has("uploadId") => Self::CompleteMultipart,
            (&Method::DELETE, true) if has("uploadId") => Self::AbortMultipart,
            (&Method::DELETE, true) => Self::DeleteObject,
            (&Method::POST, false) if has("delete") => Self::DeleteObject,
            _ => Self::Other,
        }
    }
}

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 503 `SlowDown`; nothing was done.
    SlowDown,
    /// 403 `AccessDenied`; nothing was done.
    Denied,
    /// 200 with `InternalError` in the body, as S3 may answer Complete and Copy; nothing was done.
    ErrorBody,
    /// 200 with `InternalError` in the body although it was done.
    ErrorBodyAfter,
    /// The connection ends before anything is done.
    DropRequest,
    /// It is done, and the connection ends without an answer.
    DropAnswer,
    /// It is done after this time.
    Delay(Duration),
    /// It is on its way until [`Faults::let_go`]; then it is done, even if nobody waits for it any more.
    Held,
}

#[derive(Debug, Default)]
struct Orders {
    next: BTreeMap<Operation, VecDeque<Fault>>,
    often: BTreeMap<Option<Operation>, (u8, Fault)>,
    lost_buckets: BTreeSet<String>,
    bytes_per_second: Option<u64>,
    held: CancellationToken,
    seen: BTreeMap<Operation, u64>,
}

/// A handle to order faults of a running server; clones share the orders.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Orders>>);

/// What becomes of one request.
#[derive(Debug, Clone)]
pub(super) enum Fate {
    Pass,
    LostBucket,
    /// A fault, and what is cancelled when what is held is let go.
    Hit(Fault, CancellationToken),
}

impl Faults {
    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next `times` requests of this operation meet this fault; orders of one operation queue up.
    pub fn next(&self, operation: Operation, times: usize, fault: Fault) {
        self.orders().next.entry(operation).or_default().extend(std::iter::repeat_n(fault, times));
    }

    /// From now on, `percent` of 100 requests of this operation (of all if `None`) meet this fault, at random.
    pub fn often(&self, operation: Option<Operation>, percent: u8, fault: Fault) {
        self.orders().often.insert(operation, (percent, fault));
    }

    /// Bodies flow at no more than this rate, each request and answer for itself; `None`: unhindered.
    pub fn bandwidth(&self, bytes_per_second: Option<u64>) {
        self.orders().bytes_per_second = bytes_per_second;
    }

    /// From now on the bucket is not found; its content stays.
    pub fn lose_bucket(&self, bucket: &str) {
        self.orders().lost_buckets.insert(bucket.to_owned());
    }

    /// The bucket is found again.
    pub fn restore_bucket(&self, bucket: &str) {
        self.orders().lost_buckets.remove(bucket);
    }

    /// What is held is done now, and what will be held from now on waits for the next time.
    pub fn let_go(&self) {
        std::mem::take(&mut self.orders().held).cancel();
    }

    /// Cancels every order.
    pub fn clear(&self) {
        let mut orders = self.orders();
        let (seen, held) = (std::mem::take(&mut orders.seen), std::mem::take(&mut orders.held));
        *orders = Orders { seen, held, ..Orders::default() };
    }

    /// How many requests of this operation have come, faulty ones included.
    pub fn seen(&self, operation: Operation) -> u64 {
        self.orders().seen.get(&operation).copied().unwrap_or(0)
    }

    /// Counts a request and says what becomes of it.
    pub(super) fn judge(&self, request: &Parts) -> Fate {
        let operation = Operation::of(request);
        let bucket = request.uri.path().trim_start_matches('/').split('/').next().unwrap_or_default();
        let mut orders = self.orders();
        *orders.seen.entry(operation).or_default() += 1;
        if orders.lost_buckets.contains(bucket) {
            return Fate::LostBucket;
        }
        // Of this moment: who sees the request counted may let it go at once.
        let held = orders.held.clone();
        if let Some(fault) = orders.next.get_mut(&operation).and_then(VecDeque::pop_front) {
            return Fate::Hit(fault, held);
        }
        let often = orders.often.get(&Some(operation)).or_else(|| orders.often.get(&None));
        match often {
            Some((percent, fault)) if rand::random_range(0..100) < *percent => Fate::Hit(*fault, held),
            _ => Fate::Pass,
        }
    }

    pub(super) fn rate(&self) -> Option<u64> {
        self.orders().bytes_per_second
    }
}

/// An answer with an error of S3 in its body.
pub(super) fn error_answer(status: StatusCode, code: &str) -> HttpResponse {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>ordered by a test</Message></Error>"
    );
    let mut response = HttpResponse::new(Body::from(body));
    *response.status_mut() = status;
    let xml = hyper::header::HeaderValue::from_static("application/xml");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, xml);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_told_apart() {
        let cases = [
            ("HEAD", "/bucket", false, Operation::HeadBucket),
            ("HEAD", "/bucket/", false, Operation::HeadBucket),
            ("HEAD", "/bucket/a/b", false, Operation::HeadObject),
            ("GET", "/bucket/a?X-Amz-Expires=1", false, Operation::GetObject),
            ("GET", "/bucket/a?uploadId=1", false, Operation::Other),
            ("GET", "/bucket?list-type=2", false, Operation::Other),
            ("PUT", "/bucket/a", false, Operation::PutObject),
            ("PUT", "/bucket/a?partNumber=1&uploadId=2", false, Operation::UploadPart),
            ("PUT", "/bucket/a", true, Operation::Copy),
            ("PUT", "/bucket/a?partNumber=1&uploadId=2", true, Operation::Copy),
            ("POST", "/bucket/a?uploads", false, Operation::CreateMultipart),
            ("POST", "/bucket/a?uploadId=2", false, Operation::CompleteMultipart),
            ("DELETE", "/bucket/a?uploadId=2", false, Operation::AbortMultipart),
            ("DELETE", "/bucket/a", false, Operation::DeleteObject),
            ("POST", "/bucket?delete", false, Operation::DeleteObject),
            ("PUT", "/bucket", false, Operation::Other),
        ];
        for (method, uri, copies, expected) in cases {
            let mut request = hyper::Request::builder().method(method).uri(uri);
            if copies {
                request = request.header("x-amz-copy-source", "bucket/b");
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            assert_eq!(Operation::of(&parts), expected, "{method} {uri}");
        }
    }
}
