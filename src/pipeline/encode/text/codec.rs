//! Compression of a stream of lines.

use std::io::Write;

use bytes::Bytes;
use flate2::write::GzEncoder;
use zstd::stream::write::Encoder as ZstdEncoder;

use super::super::pieces::Pieces;
use super::super::{EncodeError, failed};

/// The level of zstd that the Parquet encoder has too.
const ZSTD_LEVEL: i32 = 1;

/// How a file of lines is compressed, as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TextCompression {
    /// As it is.
    #[default]
    None,
    /// gzip, RFC 1952.
    Gzip,
    /// zstd at level 1, RFC 8878.
    Zstd,
}

/// A compressor into memory.
pub(super) enum Codec {
    None(Pieces),
    Gzip(GzEncoder<Pieces>),
    Zstd(ZstdEncoder<'static, Pieces>),
}

impl Codec {
    pub(super) fn new(compression: TextCompression) -> Result<Self, EncodeError> {
        let pieces = Pieces::default();
        Ok(match compression {
            TextCompression::None => Self::None(pieces),
            // The header's time stays zero: equal rows make equal files.
            TextCompression::Gzip => Self::Gzip(GzEncoder::new(pieces, flate2::Compression::fast())),
            TextCompression::Zstd => {
                Self::Zstd(ZstdEncoder::new(pieces, ZSTD_LEVEL).map_err(failed("zstd", "starting a file"))?)
            }
        })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        match self {
            Self::None(pieces) => pieces.write_all(bytes).map_err(failed("text", "writing lines")),
            Self::Gzip(gzip) => gzip.write_all(bytes).map_err(failed("gzip", "writing lines")),
            Self::Zstd(zstd) => zstd.write_all(bytes).map_err(failed("zstd", "writing lines")),
        }
    }

    fn pieces(&mut self) -> &mut Pieces {
        match self {
            Self::None(pieces) => pieces,
            Self::Gzip(gzip) => gzip.get_mut(),
            Self::Zstd(zstd) => zstd.get_mut(),
        }
    }

    pub(super) fn take(&mut self) -> Vec<Bytes> {
        self.pieces().take()
    }

    pub(super) fn held(&self) -> usize {
        match self {
            Self::None(pieces) => pieces.held(),
            Self::Gzip(gzip) => gzip.get_ref().held(),
            Self::Zstd(zstd) => zstd.get_ref().held(),
        }
    }

    /// The last bytes, and the size of the whole.
    pub(super) fn finish(self) -> Result<(Vec<Bytes>, u64), EncodeError> {
        let mut pieces = match self {
            Self::None(pieces) => pieces,
            Self::Gzip(gzip) => gzip.finish().map_err(failed("gzip", "ending a file"))?,
            Self::Zstd(zstd) => zstd.finish().map_err(failed("zstd", "ending a file"))?,
        };
        Ok((pieces.take(), pieces.written()))
    }
}
