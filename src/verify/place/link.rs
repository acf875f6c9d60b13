//! A manifest behind a link. A signed link opens one object, so its files are found by links of their own, as
//! `requestStatus` gives them; behind a link without a signature they are looked for beside it.
//!
//! Nothing that is said holds a link: its query, or all of it, is what opens it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderName, LOCATION, RANGE};
use hyper::{Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::percent_decode_str;
use tokio::sync::{OnceCell, mpsc};
use url::Url;

use super::{Entry, LARGEST_MANIFEST, Place, Source, Trouble};

/// How long an answer, or its next bytes, may take.
const SILENCE: Duration = Duration::from_secs(30);
/// Redirections that are followed.
const REDIRECTIONS: usize = 5;

type Http = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// An answer, and the address that it came from in the end.
struct Answer {
    url: Url,
    status: StatusCode,
    headers: hyper::HeaderMap,
    body: Incoming,
}

impl Answer {
    fn number(&self, header: HeaderName) -> Option<u64> {
        self.headers.get(header)?.to_str().ok()?.rsplit('/').next()?.parse().ok()
    }

    /// The next bytes, `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Trouble> {
        loop {
            match tokio::time::timeout(SILENCE, self.body.frame()).await {
                Err(_) => return Err(Trouble::new("cannot be read: the server fell silent")),
                Ok(None) => return Ok(None),
                Ok(Some(Err(_))) => return Err(Trouble::new("cannot be read: the answer broke off")),
                Ok(Some(Ok(frame))) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }

    /// The body, if it has at most so many bytes.
    async fn whole(mut self, most: u64) -> Result<Option<Bytes>, Trouble> {
        let mut bytes = BytesMut::new();
        while let Some(piece) = self.next().await? {
            if (bytes.len() + piece.len()) as u64 > most {
                return Ok(None);
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(Some(bytes.freeze()))
    }
}

/// Asks for an object, or a half-open range of it. Follows a few redirections, and none from an encrypted connection to
/// one that is not.
async fn get(http: &Http, url: &Url, range: Option<&Range<u64>>) -> Result<Answer, Trouble> {
    let mut url = url.clone();
    for _ in 0..=REDIRECTIONS {
        let mut request = Request::get(url.as_str());
        if let Some(range) = range {
            request = request.header(RANGE, format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
        }
        let request = request.body(Empty::new()).map_err(|_| Trouble::new("has an address that is none"))?;
        let answer = match tokio::time::timeout(SILENCE, http.request(request)).await {
            Err(_) => return Err(Trouble::new("cannot be read: the server does not answer in time")),
            Ok(Err(error)) if error.is_connect() => {
                return Err(Trouble::new("cannot be read: the server cannot be reached, or is not trusted"));
            }
            Ok(Err(_)) => return Err(Trouble::new("cannot be read: the answer broke off")),
            Ok(Ok(answer)) => answer,
        };
        let (parts, body) = answer.into_parts();
        if !parts.status.is_redirection() {
            return Ok(Answer { url, status: parts.status, headers: parts.headers, body });
        }
        let location = parts.headers.get(LOCATION).and_then(|location| location.to_str().ok());
        let next = location.and_then(|location| url.join(location).ok());
        let next = next.filter(|next| match next.scheme() {
            "https" => true,
            "http" => url.scheme() == "http",
            _ => false,
        });
        url = next.ok_or_else(|| Trouble::new("cannot be read: it redirects to where it is not followed"))?;
    }
    Err(Trouble::new(format!("cannot be read: it redirects more than {REDIRECTIONS} times")))
}

/// A manifest's link.
#[derive(Debug)]
pub struct LinkPlace {
    http: Http,
    manifest: Url,
    links: Vec<Url>,
    /// Where the manifest came from in the end.
    led_to: OnceCell<Url>,
    /// The given links by the names of the files that they lead to.
    named: OnceCell<BTreeMap<String, Url>>,
}

impl LinkPlace {
    /// The manifest behind this link, and links to its files.
    ///
    /// # Errors
    /// When no client can be made: this machine has no certificates to trust.
    pub fn new(manifest: Url, links: Vec<Url>) -> Result<Self, String> {
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::aws_lc_rs::default_provider())
            .map_err(|_| "this machine has no certificates of authorities to trust")?
            .https_or_http()
            .enable_http1()
            .build();
        let http = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { http, manifest, links, led_to: OnceCell::new(), named: OnceCell::new() })
    }

    /// The given links by name: a link of our own shows only where it redirects to what it leads to.
    async fn named(&self) -> &BTreeMap<String, Url> {
        let find = async {
            let mut named = BTreeMap::new();
            for link in &self.links {
                if let Ok(answer) = get(&self.http, link, Some(&(0..1))).await
                    && let Some(name) = file_name(&answer.url)
                {
                    named.insert(name, link.clone());
                }
            }
            named
        };
        self.named.get_or_init(|| find).await
    }

    /// Where a file is.
    async fn find(&self, entry: &Entry) -> Result<Url, Trouble> {
        if !self.links.is_empty() {
            let named = self.named().await.get(&entry.name);
            return named
                .cloned()
                .ok_or_else(|| Trouble::new("is behind none of the links that were given, or not any more"));
        }
        let led_to = self.led_to.get().unwrap_or(&self.manifest);
        if led_to.query().is_some() || *led_to != self.manifest {
            return Err(Trouble::new(
                "was not read: the link opens the manifest alone; give the links of its files with --links, or the manifest's s3:// address",
            ));
        }
        let mut url = led_to.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop().push(&entry.name);
        }
        Ok(url)
    }
}

/// The last element of an address's path, as it is meant.
fn file_name(url: &Url) -> Option<String> {
    let last = url.path_segments()?.next_back()?;
    percent_decode_str(last).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

fn refused(status: StatusCode) -> Trouble {
    let why = match status.as_u16() {
        401 | 403 | 410 => ": the link may have ended",
        404 => ": it is not there",
        _ => "",
    };
    Trouble::new(format!("cannot be read: the server answered with HTTP {}{why}", status.as_u16()))
}

#[async_trait]
impl Place for LinkPlace {
    async fn manifest(&self) -> Result<Bytes, Trouble> {
        let answer = get(&self.http, &self.manifest, None).await?;
        if answer.status != StatusCode::OK {
            return Err(refused(answer.status));
        }
        // Asked once; a second answer changes nothing.
        let _ = self.led_to.set(answer.url.clone());
        answer.whole(LARGEST_MANIFEST).await?.ok_or_else(Trouble::manifest_too_large)
    }

    async fn open(&self, entry: &Entry) -> Result<Box<dyn Source>, Trouble> {
        let url = self.find(entry).await?;
        let answer = get(&self.http, &url, Some(&(0..1))).await?;
        let (total, length) = (answer.number(CONTENT_RANGE), answer.number(CONTENT_LENGTH));
        let (size, ranges) = match (answer.status, total, length) {
            (StatusCode::PARTIAL_CONTENT, Some(total), _) => (total, true),
            // An empty file has no first byte.
            (StatusCode::RANGE_NOT_SATISFIABLE, total, _) => (total.unwrap_or(0), true),
            (StatusCode::OK, _, Some(length)) => (length, false),
            (StatusCode::OK, _, None) => {
                return Err(Trouble::new("cannot be read: the server does not tell its length"));
            }
            (status, ..) => return Err(refused(status)),
        };
        Ok(Box::new(Behind { http: self.http.clone(), url, size, ranges }))
    }

    async fn beside(&self) -> Result<Vec<String>, Trouble> {
        Err(Trouble::new("behind a link nobody sees what lies beside the manifest"))
    }
}

/// A file behind a link. A link of our own redirects to one that works for some minutes, so each request begins at it.
struct Behind {
    http: Http,
    url: Url,
    size: u64,
    ranges: bool,
}

#[async_trait]
impl Source for Behind {
    fn size(&self) -> u64 {
        self.size
    }

    async fn range(&self, range: Range<u64>) -> Result<Bytes, Trouble> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        if !self.ranges {
            return Err(Trouble::new(
                "cannot be read: the server gives no parts of files, which Parquet needs; download the export and verify it by its path",
            ));
        }
        let answer = get(&self.http, &self.url, Some(&range)).await?;
        if answer.status != StatusCode::PARTIAL_CONTENT {
            return Err(refused(answer.status));
        }
        let length = range.end - range.start;
        let bytes = answer.whole(length).await?.filter(|bytes| bytes.len() as u64 == length);
        bytes.ok_or_else(|| Trouble::new("cannot be read: the server sent another part than was asked for"))
    }

    async fn send(&self, pieces: mpsc::Sender<Bytes>) -> Result<(), Trouble> {
        let mut answer = get(&self.http, &self.url, None).await?;
        if answer.status != StatusCode::OK {
            return Err(refused(answer.status));
        }
        let mut left = self.size;
        while let Some(piece) = answer.next().await? {
            left = left.checked_sub(piece.len() as u64).ok_or_else(|| Trouble::new("grows while it is read"))?;
            if pieces.send(piece).await.is_err() {
                return Ok(());
            }
        }
        if left == 0 { Ok(()) } else { Err(Trouble::new("cannot be read: the answer broke off")) }
    }
}
