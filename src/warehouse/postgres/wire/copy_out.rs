//! The messages of a COPY from the server. A state that is fed with bytes: it knows no socket, so every way in which
//! a stream can be torn can be tried.

use super::WireError;
use super::inbox::{HEAD, head, refusal};

/// So much of an error's message holds its SQLSTATE.
const ERROR: usize = 1 << 10;

/// Who takes what the messages hold.
pub(in super::super) trait Sink {
    /// Why it does not.
    type Error;

    /// The next bytes, all of them.
    fn push(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Whether it wants to be emptied before it takes more.
    fn is_full(&self) -> bool;
}

/// What stops a COPY.
#[derive(Debug)]
pub(in super::super) enum Broken<E> {
    /// The wire.
    Wire(WireError),
    /// The sink.
    Sink(E),
}

impl<E> From<WireError> for Broken<E> {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

/// Why it went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Step {
    /// More bytes are needed.
    More,
    /// The sink is full.
    Full,
    /// All is said; the server sent so many rows.
    End(u64),
}

/// Where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the server's word that the COPY begins.
    Start,
    /// Between messages of data.
    Data,
    /// In a message of data that is longer than the buffer, with so many bytes to come.
    Within(usize),
    /// In a message of no interest that is longer than the buffer, with so many bytes to come.
    Aside(usize),
    /// After the data, before the server's count.
    Counting,
    /// After the count, before the server is ready again.
    Counted(u64),
    /// At the end.
    End(u64),
}

/// The state.
#[derive(Debug)]
pub(in super::super) struct CopyOut {
    place: Place,
    begun: bool,
    moving: bool,
}

impl CopyOut {
    pub(super) fn new() -> Self {
        Self { place: Place::Start, begun: false, moving: false }
    }

    /// Whether the server has accepted the COPY.
    pub(in super::super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether data has come.
    pub(in super::super) fn is_moving(&self) -> bool {
        self.moving
    }

    /// Goes through messages as far as they are there whole and the sink takes them; says how many bytes were used.
    /// A message of data longer than `capacity` is handed on in pieces.
    pub(super) fn advance<S: Sink>(
        &mut self,
        bytes: &[u8],
        capacity: usize,
        sink: &mut S,
    ) -> Result<(usize, Step), Broken<S::Error>> {
        let mut rest = bytes;
        let step = loop {
            match self.place {
                Place::End(rows) => break Step::End(rows),
                Place::Within(left) => {
                    let piece;
                    (piece, rest) = rest.split_at(left.min(rest.len()));
                    self.moving = true;
                    sink.push(piece).map_err(Broken::Sink)?;
                    if piece.len() < left {
                        self.place = Place::Within(left - piece.len());
                        break Step::More;
                    }
                    self.place = Place::Data;
                    if sink.is_full() {
                        break Step::Full;
                    }
                }
                Place::Aside(left) => {
                    let skip = left.min(rest.len());
                    rest = &rest[skip..];
                    if skip < left {
                        self.place = Place::Aside(left - skip);
                        break Step::More;
                    }
                    self.place = Place::Data;
                }
                place => {
                    let Some((tag, length)) = head(rest)? else { break Step::More };
                    let after = &rest[HEAD..];
                    match after.split_at_checked(length) {
                        Some((body, after)) => {
                            rest = after;
                            if tag == b'd' && place == Place::Data {
                                self.moving = true;
                                sink.push(body).map_err(Broken::Sink)?;
                                if sink.is_full() {
                                    break Step::Full;
                                }
                            } else {
                                self.place = self.message(tag, body)?;
                            }
                        }
                        // The rest of it will come.
                        None if HEAD + length <= capacity => break Step::More,
                        // Its text may be as long as a value; its beginning says enough.
                        None if tag == b'E' && after.len() < ERROR.min(capacity - HEAD) => break Step::More,
                        None => {
                            rest = after;
                            self.place = match tag {
                                b'E' => return Err(refusal(after).into()),
                                b'd' if place == Place::Data => Place::Within(length),
                                b'N' if place == Place::Data => Place::Aside(length),
                                _ => return Err(WireError::Protocol("a message that is too long").into()),
                            };
                        }
                    }
                }
            }
        };
        Ok((bytes.len() - rest.len(), step))
    }

    /// A message that is not data: where it leads.
    fn message(&mut self, tag: u8, body: &[u8]) -> Result<Place, WireError> {
        match (tag, self.place) {
            (b'E', _) => Err(refusal(body)),
            // Notices, settings and notifications may come at any time.
            (b'N' | b'S' | b'A', place) => Ok(place),
            (b'H', Place::Start) => {
                // The format as a whole, the number of columns, and the format of each of them.
                if body.first() != Some(&1) {
                    return Err(WireError::Protocol("a COPY that is not binary"));
                }
                self.begun = true;
                Ok(Place::Data)
            }
            (b'c', Place::Data) => Ok(Place::Counting),
            (b'C', Place::Counting) => {
                count(body).map(Place::Counted).ok_or(WireError::Protocol("a COPY without its count"))
            }
            (b'Z', Place::Counted(rows)) => Ok(Place::End(rows)),
            _ => Err(WireError::Protocol("an unexpected message in a scan")),
        }
    }
}

/// The count in `COPY 123`.
fn count(body: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(body.strip_suffix(&[0])?).ok()?;
    text.strip_prefix("COPY ")?.parse().ok()
}
