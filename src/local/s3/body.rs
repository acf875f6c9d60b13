//! Bytes on their way: from a request into a data file, checked, and from data files into an answer. Never a whole
//! object, nor a whole part, in memory.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use futures::StreamExt;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::StreamingBlob;
use s3s::{S3Result, TrailingHeaders, s3_error};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, BufWriter};

use super::checksums::{ALGORITHMS, Sums, mismatch};
use super::disk::{DataFile, Object};
use super::internal;

const BUFFER: usize = 256 * 1024;

/// What a client says of the body that it sends.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// Bytes.
    pub(super) length: Option<u64>,
    /// `Content-MD5`, base64.
    pub(super) md5: Option<String>,
    /// `x-amz-checksum-*` headers.
    pub(super) sums: Sums,
    /// The algorithm whose checksum follows the body.
    pub(super) trailer: Option<&'static str>,
    /// An algorithm to compute although nothing is claimed.
    pub(super) also: Option<String>,
}

impl Claims {
    /// The algorithm of the checksum that `x-amz-trailer` announces.
    pub(super) fn announced(headers: &hyper::HeaderMap) -> Option<&'static str> {
        let trailer = headers.get("x-amz-trailer")?.to_str().ok()?;
        let name = trailer.trim().to_ascii_lowercase();
        let name = name.strip_prefix("x-amz-checksum-")?;
        ALGORITHMS.into_iter().find(|algorithm| algorithm.eq_ignore_ascii_case(name))
    }
}

/// A body that has arrived and is what its client claims. The file goes with it unless it is kept.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) file: Arc<DataFile>,
    /// Bytes.
    pub(super) size: u64,
    /// MD5 in hexadecimal.
    pub(super) md5: String,
    /// The checksums that were claimed or asked for.
    pub(super) sums: Sums,
}

/// Streams a body into a new data file of `dir` and compares it with its claims.
pub(super) async fn receive(
    dir: &Path,
    body: Option<StreamingBlob>,
    claims: Claims,
    trailers: Option<TrailingHeaders>,
) -> S3Result<Received> {
    let wanted = |algorithm: &str| {
        claims.sums.get(algorithm).is_some()
            || claims.trailer == Some(algorithm)
            || claims.also.as_deref() == Some(algorithm)
    };
    let mut hasher = Sums::hasher(wanted);
    let mut md5 = Md5::new();
    let mut size = 0_u64;
    let file = DataFile::unused(dir);
    let mut writer = BufWriter::with_capacity(BUFFER, File::create(file.path()).await.map_err(internal)?);
    if let Some(mut body) = body {
        while let Some(chunk) = body.next().await {
            let chunk =
                chunk.map_err(|_| s3_error!(IncompleteBody, "the body ended early or is not what was signed"))?;
            md5.update(&chunk);
            hasher.update(&chunk);
            size += chunk.len() as u64;
            writer.write_all(&chunk).await.map_err(internal)?;
        }
    }
    writer.flush().await.map_err(internal)?;
    if claims.length.is_some_and(|length| length != size) {
        return Err(s3_error!(IncompleteBody, "the body is not as long as its Content-Length"));
    }
    let md5 = md5.finalize();
    if let Some(claim) = &claims.md5 {
        match STANDARD.decode(claim) {
            Ok(claimed) if claimed == md5 => {}
            Ok(claimed) if claimed.len() == md5.len() => return Err(mismatch("MD5")),
            _ => return Err(s3_error!(InvalidDigest)),
        }
    }
    let sums = Sums::of(hasher);
    sums.verify(&claims.sums)?;
    if let Some(algorithm) = claims.trailer {
        let name = format!("x-amz-checksum-{}", algorithm.to_ascii_lowercase());
        let sent = trailers.and_then(|t| t.take()).and_then(|t| t.get(&name)?.to_str().ok().map(str::to_owned));
        if sent.is_none() || sent.as_ref() != sums.get(algorithm) {
            return Err(mismatch(algorithm));
        }
    }
    Ok(Received { file, size, md5: hex(&md5), sums })
}

/// Bytes in lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Reading {
    object: Arc<Object>,
    next: usize,
    skip: u64,
    left: u64,
    open: Option<(File, u64)>,
}

/// The bytes `range` of an object as a stream; the object's files stay until it ends.
pub(super) fn send(object: Arc<Object>, range: Range<u64>) -> StreamingBlob {
    let state = Reading { object, next: 0, skip: range.start, left: range.end - range.start, open: None };
    StreamingBlob::wrap(futures::stream::try_unfold(state, |mut state| async move {
        let chunk = state.read().await?;
        Ok::<_, std::io::Error>((!chunk.is_empty()).then_some((chunk, state)))
    }))
}

impl Reading {
    /// The next bytes; none at the end.
    async fn read(&mut self) -> std::io::Result<Bytes> {
        while self.left > 0 {
            if let Some((file, in_file)) = self.open.as_mut().filter(|(_, in_file)| *in_file > 0) {
                let want = (*in_file).min(self.left).min(BUFFER as u64) as usize;
                let mut chunk = BytesMut::with_capacity(want);
                let read = file.read_buf(&mut (&mut chunk).limit(want)).await?;
                if read == 0 {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                *in_file -= read as u64;
                self.left -= read as u64;
                return Ok(chunk.freeze());
            }
            let Some((data, size)) = self.object.files.get(self.next) else {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            };
            self.next += 1;
            if self.skip >= *size {
                self.skip -= size;
                continue;
            }
            let mut file = File::open(data.path()).await?;
            if self.skip > 0 {
                file.seek(std::io::SeekFrom::Start(self.skip)).await?;
            }
            self.open = Some((file, size - self.skip));
            self.skip = 0;
        }
        Ok(Bytes::new())
    }
}
