//! What has come from the server and was not used yet: one buffer, and the frames of messages in it.

use tokio::io::{AsyncRead, AsyncReadExt};

use super::WireError;

/// The size of the buffer. It never grows: a message that is longer is handed on in pieces, or is an error.
const CAPACITY: usize = 256 << 10;

/// The tag and the length of a message.
pub(super) const HEAD: usize = 5;

/// One message. Of one that is longer than the buffer, only the beginning.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) tag: u8,
    pub(super) body: &'a [u8],
}

/// The buffer.
pub(super) struct Inbox {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Bytes of the last frame, to be let go before the next is looked for.
    taken: usize,
    /// How much of the last frame is still to come and not wanted.
    skip: usize,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self::sized(CAPACITY)
    }

    /// With room for so many bytes.
    pub(super) fn sized(capacity: usize) -> Self {
        Self { buffer: vec![0; capacity].into_boxed_slice(), start: 0, end: 0, taken: 0, skip: 0 }
    }

    /// How long a message may be to be held whole.
    pub(super) fn capacity(&self) -> usize {
        self.buffer.len()
    }

    /// What is there.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Lets go of the first bytes.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.start = (self.start + bytes).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Lets go of the last frame.
    pub(super) fn settle(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        self.consume(taken);
    }

    /// Reads once, at least one byte, and says how many; an error at the end of the stream. There must be room: whoever
    /// waits for more has used up what he can.
    pub(super) async fn fill<R: AsyncRead + Unpin>(&mut self, from: &mut R) -> Result<u64, WireError> {
        // What is left is the beginning of one message, most often short.
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            return Err(WireError::Protocol("a message that cannot end"));
        }
        let read = from.read(&mut self.buffer[self.end..]).await?;
        if read == 0 {
            return Err(WireError::Closed);
        }
        self.end += read;
        Ok(read as u64)
    }

    /// The next message, whole unless it is longer than the buffer; what is beyond is then left out.
    pub(super) async fn frame<R: AsyncRead + Unpin>(&mut self, from: &mut R) -> Result<Frame<'_>, WireError> {
        self.settle();
        let (tag, length) = loop {
            let have = self.bytes().len();
            if self.skip > 0 {
                let skip = self.skip.min(have);
                self.skip -= skip;
                self.consume(skip);
            } else if let Some((tag, length)) = head(self.bytes())?
                && have >= (HEAD + length).min(self.capacity())
            {
                break (tag, length);
            }
            self.fill(from).await?;
        };
        let held = length.min(self.capacity() - HEAD);
        if held < length && !matches!(tag, b'E' | b'N') {
            return Err(WireError::Protocol("a message that is too long"));
        }
        self.taken = HEAD + held;
        self.skip = length - held;
        Ok(Frame { tag, body: &self.bytes()[HEAD..HEAD + held] })
    }
}

/// The tag of the first message and the length of what follows its head; `None` where the head is not there yet.
#[inline]
pub(super) fn head(bytes: &[u8]) -> Result<Option<(u8, usize)>, WireError> {
    let Some((&[tag, a, b, c, d], _)) = bytes.split_first_chunk::<HEAD>() else { return Ok(None) };
    // The length counts itself.
    let length = i32::from_be_bytes([a, b, c, d]).checked_sub(4).and_then(|length| usize::try_from(length).ok());
    length.map(|length| Some((tag, length))).ok_or(WireError::Protocol("a message of an impossible length"))
}

/// The values of a `DataRow` in text form.
pub(super) fn texts(body: &[u8]) -> Result<Vec<Option<String>>, WireError> {
    const TORN: WireError = WireError::Protocol("a row that cannot be read");
    let (count, mut rest) = body.split_first_chunk::<2>().ok_or(TORN)?;
    let mut values = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<4>().ok_or(TORN)?;
        let value;
        (value, rest) = match i32::from_be_bytes(*length) {
            -1 => (None, after),
            length => {
                let length = usize::try_from(length).map_err(|_| TORN)?;
                let (value, after) = after.split_at_checked(length).ok_or(TORN)?;
                (Some(String::from_utf8(value.to_vec()).map_err(|_| TORN)?), after)
            }
        };
        values.push(value);
    }
    if rest.is_empty() { Ok(values) } else { Err(TORN) }
}

/// What an `ErrorResponse` says: a field a line, each a letter and a text that ends with a NUL. Texts may quote
/// values, so only the SQLSTATE is looked at; it comes early, also in a message that was cut.
pub(super) fn refusal(body: &[u8]) -> WireError {
    let state = body
        .split(|&byte| byte == 0)
        .find_map(|field| field.strip_prefix(b"C"))
        .filter(|state| state.len() == 5 && state.iter().all(u8::is_ascii_alphanumeric))
        .and_then(|state| String::from_utf8(state.to_vec()).ok());
    match state {
        Some(state) => WireError::Server { state },
        None => WireError::Protocol("an error without its SQLSTATE"),
    }
}
