//! Collects what a writer has written, in pieces that can be handed on without a copy.

use std::io::{self, Write};

use bytes::Bytes;

/// Pieces in which bytes are handed out.
const PIECE: usize = 1 << 20;

/// A writer into memory whose content is taken away piece by piece.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    full: Vec<Bytes>,
    open: Vec<u8>,
    written: u64,
}

impl Pieces {
    /// Everything written since it was last taken, in order.
    pub(super) fn take(&mut self) -> Vec<Bytes> {
        let mut pieces = std::mem::take(&mut self.full);
        if !self.open.is_empty() {
            pieces.push(Bytes::from(std::mem::take(&mut self.open)));
        }
        pieces
    }

    /// Bytes of memory that it holds.
    pub(super) fn held(&self) -> usize {
        self.full.iter().map(Bytes::len).sum::<usize>() + self.open.capacity()
    }

    /// Bytes written so far, taken or not.
    pub(super) fn written(&self) -> u64 {
        self.written
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.open.capacity() == 0 {
            self.open.reserve_exact(bytes.len().clamp(PIECE / 16, PIECE));
        }
        if !self.open.is_empty() && self.open.len() + bytes.len() > PIECE {
            self.full.push(Bytes::from(std::mem::take(&mut self.open)));
        }
        self.open.extend_from_slice(bytes);
        self.written += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
