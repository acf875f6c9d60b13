//! From an object's pieces to its records: hashed as they come, decompressed as a stream, and cut at line ends.

use std::io::{self, BufRead, Read};

use bytes::{Buf, Bytes};
use flate2::bufread::GzDecoder;
use memchr::{memchr, memchr2};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use zstd::stream::read::Decoder as ZstdDecoder;

use crate::jobs::Compression;

/// Bytes that are decompressed at once.
const READ: usize = 64 << 10;
/// The longest record, in bytes, that is looked at: more is refused, so that no file decides how much memory it takes.
pub(super) const LONGEST: usize = 64 << 20;
/// The largest window of zstd, as a power of two: 8 MiB, what every decoder has to support (RFC 8878, 3.1.1.1.2).
const LARGEST_WINDOW: u32 = 23;

/// The pieces of an object, in order, each hashed once.
#[derive(Debug)]
pub(super) struct Pieces {
    coming: mpsc::Receiver<Bytes>,
    piece: Bytes,
    hash: Sha256,
    missing: u64,
    silent: bool,
}

impl Pieces {
    /// Of an object of this size.
    pub(super) fn new(coming: mpsc::Receiver<Bytes>, size: u64) -> Self {
        Self { coming, piece: Bytes::new(), hash: Sha256::new(), missing: size, silent: false }
    }

    /// Whether they ended before the object: whoever sent them knows why.
    pub(super) fn silent(&self) -> bool {
        self.silent
    }

    /// Whether every byte was read.
    pub(super) fn all_read(&self) -> bool {
        self.missing == 0 && self.piece.is_empty()
    }

    /// SHA-256 of what came, in hex.
    pub(super) fn sha256(self) -> String {
        self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl BufRead for Pieces {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.piece.is_empty() && self.missing > 0 {
            let Some(piece) = self.coming.blocking_recv() else {
                self.silent = true;
                return Err(io::Error::from(io::ErrorKind::BrokenPipe));
            };
            self.hash.update(&piece);
            self.missing = self.missing.saturating_sub(piece.len() as u64);
            self.piece = piece;
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, amount: usize) {
        self.piece.advance(amount);
    }
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut have = self.fill_buf()?;
        let read = have.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

/// What the pieces hold, decompressed: one gzip member or one zstd frame, as the whole of the file.
pub(super) fn plain(pieces: &mut Pieces, compression: Compression) -> io::Result<Box<dyn Read + '_>> {
    Ok(match compression {
        Compression::None | Compression::Snappy => Box::new(pieces),
        Compression::Gzip => Box::new(GzDecoder::new(pieces)),
        Compression::Zstd => {
            let mut decoder = ZstdDecoder::with_buffer(pieces)?.single_frame();
            decoder.window_log_max(LARGEST_WINDOW)?;
            Box::new(decoder)
        }
    })
}

/// Why there is no next record.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The source failed.
    Source,
    /// The last line has no end.
    Unended,
    /// It is longer than [`LONGEST`].
    TooLong,
}

/// Cuts a source at its line ends; in CSV, not at those between quotes. Holds one record.
pub(super) struct Records<R> {
    source: R,
    quotes: bool,
    buffer: Vec<u8>,
    /// The bytes of the buffer that are filled, where the next record begins in them, and how far its end was sought.
    filled: usize,
    start: usize,
    sought: usize,
    /// Whether what is sought next lies between quotes.
    inside: bool,
}

impl<R: Read> Records<R> {
    /// With this source, whose line ends between quotes are content (`quotes`) or not.
    pub(super) fn new(source: R, quotes: bool) -> Self {
        Self { source, quotes, buffer: vec![0; 2 * READ], filled: 0, start: 0, sought: 0, inside: false }
    }

    /// The next record without its line feed.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, Trouble> {
        loop {
            if let Some(end) = self.end() {
                let record = self.start..end;
                self.start = end + 1;
                return Ok(Some(&self.buffer[record]));
            }
            if self.filled - self.start > LONGEST {
                return Err(Trouble::TooLong);
            }
            self.make_room();
            let read = self.source.read(&mut self.buffer[self.filled..]).map_err(|_| Trouble::Source)?;
            if read == 0 {
                return if self.start == self.filled { Ok(None) } else { Err(Trouble::Unended) };
            }
            self.filled += read;
        }
    }

    /// Where the line feed of the next record is, if it is here.
    fn end(&mut self) -> Option<usize> {
        loop {
            let ahead = &self.buffer[self.sought..self.filled];
            let found = if self.quotes { memchr2(b'"', b'\n', ahead) } else { memchr(b'\n', ahead) };
            let Some(found) = found else {
                self.sought = self.filled;
                return None;
            };
            let place = self.sought + found;
            self.sought = place + 1;
            if self.buffer[place] == b'"' {
                self.inside = !self.inside;
            } else if !self.inside {
                return Some(place);
            }
        }
    }

    fn make_room(&mut self) {
        self.buffer.copy_within(self.start..self.filled, 0);
        self.filled -= self.start;
        self.sought -= self.start;
        self.start = 0;
        if self.buffer.len() - self.filled < READ {
            let length = (2 * self.buffer.len()).min(LONGEST + 2 * READ);
            self.buffer.resize(length.max(self.filled + READ), 0);
        } else if self.filled == 0 && self.buffer.len() > 16 * READ {
            // One very long record must not be paid for until the end.
            self.buffer = vec![0; 2 * READ];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Slowly<'s>(&'s [u8], usize);

    impl Read for Slowly<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(into.len());
            self.0.read(&mut into[..length])
        }
    }

    fn records(text: &str, step: usize, quotes: bool) -> Result<Vec<String>, String> {
        let mut records = Records::new(Slowly(text.as_bytes(), step), quotes);
        let mut found = Vec::new();
        while let Some(record) = records.next().map_err(|trouble| format!("{trouble:?} after {}", found.len()))? {
            found.push(String::from_utf8(record.to_vec()).unwrap());
        }
        Ok(found)
    }

    #[test]
    fn records_end_where_lines_do_and_not_between_quotes() {
        let long = "x".repeat(5 * READ);
        for step in [1, 2, 7, READ, usize::MAX] {
            for (text, quotes, expected) in [
                ("", true, Ok(vec![])),
                ("a\r\n\r\n", true, Ok(vec!["a\r", "\r"])),
                ("\"a\r\n\"\"b\n\",c\r\nd\r\n", true, Ok(vec!["\"a\r\n\"\"b\n\",c\r", "d\r"])),
                ("{\"a\":\"\\\"\"}\n{}\n", false, Ok(vec!["{\"a\":\"\\\"\"}", "{}"])),
                ("a\nb", false, Err("Unended after 1")),
                ("\"a\n", true, Err("Unended after 0")),
            ] {
                let expected = expected.map(|records| records.into_iter().map(str::to_owned).collect::<Vec<_>>());
                assert_eq!(records(text, step, quotes), expected.map_err(str::to_owned), "{text} by {step}");
            }
        }
        let text = format!("a\n{long}\nb\n{long}\n");
        assert_eq!(records(&text, 1000, false).unwrap(), ["a", &long, "b", &long].map(str::to_owned));
    }

    #[test]
    fn a_record_without_end_takes_bounded_memory() {
        let mut records = Records::new(io::repeat(b'x'), true);
        assert!(matches!(records.next(), Err(Trouble::TooLong)));
        assert!(records.buffer.len() <= LONGEST + 2 * READ, "{}", records.buffer.len());
    }
}
