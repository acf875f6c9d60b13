//! The binary COPY format, decoded in place into Arrow builders.
//!
//! Bytes come in as they are read, in pieces of any size; record batches come out. There is one file a type family.
//! Whatever the bytes are, the answer is a batch or an error: nothing here panics, reads past what it was given,
//! or takes a stream for complete that lacks its trailer.

mod boolean;
mod cursor;
mod error;
mod exact;
mod fidelity;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod geometry;
mod guarded;
mod hstore;
mod list;
mod nearest;
mod numeric;
mod primitive;
mod range;
mod record;
mod spelled;
mod temporal;
mod validity;
mod varlen;

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;

use self::boolean::Boolean;
use self::exact::{Money, UuidBytes};
use self::fidelity::Counter;
use self::geometry::{Ewkb, Shaped};
use self::guarded::Guarded;
use self::hstore::Hstore;
use self::list::List;
use self::numeric::{Decimal, NumericText};
use self::primitive::{Date, Float4, Float8, Int2, Int4, Int8, Oid, Primitive, Timestamp};
use self::range::{Multirange, Range};
use self::record::Record;
use self::spelled::{Bits, Char, Inet, JsonPath, Lsn, MacAddr, Spelled, Tid, TsVector, Xid8};
use self::temporal::{Clamped, Interval, Time64, TimeTz};
use self::varlen::{Bytea, Bytes, Jsonb, Text, TimeText, UuidText};
use super::super::OnUnrepresentable;
use super::types::{Decoding, Guard, Spelling};

pub(super) use self::error::{DecodeError, ValueError};
pub(super) use self::fidelity::Fidelity;

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Signature, flags, and the length of the header's extension.
const HEADER: usize = 19;

/// The longest value: the server's own limit for one is 1 GiB.
const LONGEST: usize = 1 << 30;
/// Room that is kept for values that come in pieces.
const CARRY: usize = 1 << 20;

/// When a batch is cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchLimits {
    /// Rows.
    pub(super) rows: usize,
    /// Bytes as they came.
    pub(super) bytes: usize,
}

impl Default for BatchLimits {
    /// Small batches: several are on their way at once, and buffers of a few KiB are used again by the allocator
    /// where large ones leave holes. They cost nothing that can be measured.
    fn default() -> Self {
        Self { rows: 8192, bytes: 256 << 10 }
    }
}

/// Takes values of one column, and gives them away as an array.
trait Builder {
    /// One value that is there. After [`ValueError::Unrepresentable`] nothing was taken, and the next may come; after
    /// [`ValueError::Malformed`] the builder is of no more use.
    fn push(&mut self, bytes: &[u8]) -> Result<(), ValueError>;

    /// The value nearest to one that was refused for `why`; refused too where there is none.
    fn push_nearest(&mut self, _bytes: &[u8], why: &'static str) -> Result<(), ValueError> {
        Err(ValueError::Unrepresentable(why))
    }

    /// Adds the counts of what is changed on the way, its own and those of the builders inside.
    fn counters(&self, _into: &mut Vec<Arc<Counter>>) {}

    /// One NULL.
    fn push_null(&mut self);

    /// Everything since the last call.
    fn take(&mut self) -> Result<ArrayRef, ValueError>;
}

/// Declares [`Column`], one variant a builder, so that the inner loop branches instead of calling through a table.
macro_rules! columns {
    ($($variant:ident($builder:ty),)+) => {
        enum Column { $($variant($builder),)+ }

        impl Column {
            #[inline]
            fn push(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
                match self { $(Column::$variant(builder) => builder.push(bytes),)+ }
            }

            #[inline]
            fn push_null(&mut self) {
                match self { $(Column::$variant(builder) => builder.push_null(),)+ }
            }

            fn push_nearest(&mut self, bytes: &[u8], why: &'static str) -> Result<(), ValueError> {
                match self { $(Column::$variant(builder) => builder.push_nearest(bytes, why),)+ }
            }

            fn counters(&self, into: &mut Vec<Arc<Counter>>) {
                match self { $(Column::$variant(builder) => builder.counters(into),)+ }
            }

            fn take(&mut self) -> Result<ArrayRef, ValueError> {
                match self { $(Column::$variant(builder) => builder.take(),)+ }
            }
        }
    };
}

columns! {
    Int2(Primitive<Int2>),
    Int4(Primitive<Int4>),
    Int8(Primitive<Int8>),
    Oid(Primitive<Oid>),
    Float4(Primitive<Float4>),
    Float8(Primitive<Float8>),
    Timestamp(Primitive<Timestamp>),
    Date(Primitive<Date>),
    Boolean(Boolean),
    Decimal(Decimal),
    NumericText(NumericText),
    Text(Text),
    Jsonb(Jsonb),
    Bytea(Bytea),
    Uuid(UuidText),
    Time(TimeText),
    UuidBytes(UuidBytes),
    Money(Money),
    Time64(Primitive<Time64>),
    TimeTz(Spelled<TimeTz>),
    Interval(Box<Interval>),
    Inet(Spelled<Inet>),
    MacAddr(Spelled<MacAddr>),
    Bits(Spelled<Bits>),
    Char(Spelled<Char>),
    Xid8(Spelled<Xid8>),
    Tid(Spelled<Tid>),
    Lsn(Spelled<Lsn>),
    JsonPath(Spelled<JsonPath>),
    TsVector(Spelled<TsVector>),
    Ewkb(Box<Ewkb>),
    Shaped(Box<Shaped>),
    List(Box<List>),
    Record(Box<Record>),
    Range(Box<Range>),
    Multirange(Box<Multirange>),
    Hstore(Box<Hstore>),
    ClampedTimestamp(Clamped<Timestamp>),
    ClampedDate(Clamped<Date>),
    ClampedTime(Clamped<Time64>),
    Guarded(Box<Guarded>),
}

impl Column {
    /// A builder of arrays of `data_type`, which is that of `decoding`, with room for about so many rows.
    fn new(decoding: &Decoding, data_type: DataType, rows: usize) -> Self {
        match decoding {
            Decoding::Int2 => Self::Int2(Primitive::new(data_type, rows)),
            Decoding::Int4 => Self::Int4(Primitive::new(data_type, rows)),
            Decoding::Int8 => Self::Int8(Primitive::new(data_type, rows)),
            Decoding::Oid => Self::Oid(Primitive::new(data_type, rows)),
            Decoding::Float4 => Self::Float4(Primitive::new(data_type, rows)),
            Decoding::Float8 => Self::Float8(Primitive::new(data_type, rows)),
            Decoding::Timestamp | Decoding::TimestampTz => Self::Timestamp(Primitive::new(data_type, rows)),
            Decoding::Date => Self::Date(Primitive::new(data_type, rows)),
            Decoding::Time64 => Self::Time64(Primitive::new(data_type, rows)),
            Decoding::Bool => Self::Boolean(Boolean::default()),
            Decoding::Decimal { precision, scale } => Self::Decimal(Decimal::new(*precision, *scale, rows)),
            Decoding::Money { scale } => Self::Money(Money::new(*scale, rows)),
            Decoding::NumericText => Self::NumericText(NumericText(Bytes::new(rows, 8))),
            Decoding::Text | Decoding::Json | Decoding::Cast => Self::Text(Text(Bytes::new(rows, 8))),
            Decoding::Jsonb => Self::Jsonb(Jsonb(Bytes::new(rows, 32))),
            Decoding::Bytea => Self::Bytea(Bytea(Bytes::new(rows, 8))),
            Decoding::Uuid => Self::Uuid(UuidText(Bytes::new(rows, 36))),
            Decoding::UuidBytes => Self::UuidBytes(UuidBytes::default()),
            Decoding::Time => Self::Time(TimeText(Bytes::new(rows, 15))),
            Decoding::TimeTz => Self::TimeTz(Spelled::new(rows, 21)),
            Decoding::Interval => Self::Interval(Box::default()),
            Decoding::Spelled(spelling) => Self::spelled(*spelling, rows),
            Decoding::Geometry(spatial) => Self::Ewkb(Box::new(Ewkb::new(spatial, rows))),
            Decoding::Shaped(shape) => Self::Shaped(Box::new(Shaped::new(shape, rows))),
            Decoding::List(list) => Self::List(Box::new(List::new(list, data_type, rows))),
            Decoding::Struct(attributes) => Self::Record(Box::new(Record::new(attributes, data_type, rows))),
            Decoding::Range(range) => Self::Range(Box::new(Range::new(range, data_type, rows))),
            Decoding::Multirange(range) => Self::Multirange(Box::new(Multirange::new(range, data_type, rows))),
            Decoding::Map => Self::Hstore(Box::new(Hstore::new(data_type, rows))),
            Decoding::Guarded(guard) => Self::guarded(guard, data_type, rows),
        }
    }

    fn spelled(spelling: Spelling, rows: usize) -> Self {
        match spelling {
            Spelling::Inet => Self::Inet(Spelled::new(rows, 14)),
            Spelling::MacAddr => Self::MacAddr(Spelled::new(rows, 17)),
            Spelling::Bits => Self::Bits(Spelled::new(rows, 8)),
            Spelling::Char => Self::Char(Spelled::new(rows, 1)),
            Spelling::Xid8 => Self::Xid8(Spelled::new(rows, 8)),
            Spelling::Tid => Self::Tid(Spelled::new(rows, 8)),
            Spelling::Lsn => Self::Lsn(Spelled::new(rows, 10)),
            Spelling::JsonPath => Self::JsonPath(Spelled::new(rows, 16)),
            Spelling::TsVector => Self::TsVector(Spelled::new(rows, 32)),
        }
    }

    fn guarded(guard: &Guard, data_type: DataType, rows: usize) -> Self {
        match (&guard.decoding, guard.on_unrepresentable) {
            (Decoding::Timestamp | Decoding::TimestampTz, OnUnrepresentable::Clamp) => {
                Self::ClampedTimestamp(Clamped::new(data_type, rows))
            }
            (Decoding::Date, OnUnrepresentable::Clamp) => Self::ClampedDate(Clamped::new(data_type, rows)),
            (Decoding::Time64, OnUnrepresentable::Clamp) => Self::ClampedTime(Clamped::new(data_type, rows)),
            _ => Self::Guarded(Box::new(Guarded::new(guard, data_type, rows))),
        }
    }
}

/// Where in the stream the decoder stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the header.
    Header,
    /// In the header's extension, with so many bytes of it to come.
    Extension(usize),
    /// Before a row or the trailer.
    Row,
    /// In a row, before the column of this index.
    Field(usize),
    /// After the trailer.
    End,
}

/// Turns the bytes of one COPY into record batches.
pub(super) struct Decoder {
    schema: SchemaRef,
    columns: Vec<Column>,
    limits: BatchLimits,
    place: Place,
    /// The beginning of something whose end has not come yet.
    carry: Vec<u8>,
    rows: usize,
    bytes: usize,
    /// Rows since the beginning.
    pub(super) read: u64,
}

impl Decoder {
    /// A decoder of rows with these columns; `schema` has one field for each.
    pub(super) fn new(schema: SchemaRef, columns: &[Decoding], limits: BatchLimits) -> Self {
        // Many columns make long rows: the byte limit will cut their batches long before the row limit does.
        let rows = limits.rows.min(limits.bytes / (columns.len().max(1) * 8)).max(1);
        let columns = columns
            .iter()
            .zip(schema.fields())
            .map(|(decoding, field)| Column::new(decoding, field.data_type().clone(), rows))
            .collect();
        Self { schema, columns, limits, place: Place::Header, carry: Vec::new(), rows: 0, bytes: 0, read: 0 }
    }

    /// The counts of what is changed on the way, by the columns' places.
    fn counters(&self) -> Vec<Vec<Arc<Counter>>> {
        let each = self.columns.iter().map(|column| {
            let mut counters = Vec::new();
            column.counters(&mut counters);
            counters
        });
        each.collect()
    }

    /// Takes the next piece of the stream, all of it.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), DecodeError> {
        self.bytes += piece.len();
        let mut rest = piece;
        while !self.carry.is_empty() {
            // Exactly what the value under way lacks: everything after it is decoded where it lies.
            let lacking = self.lacking()?;
            let take;
            (take, rest) = rest.split_at(lacking.min(rest.len()));
            self.carry.extend_from_slice(take);
            if take.len() < lacking {
                return Ok(());
            }
            let mut carry = std::mem::take(&mut self.carry);
            let used = self.consume(&carry)?;
            carry.drain(..used);
            // A long value's room is given back.
            if carry.capacity() <= CARRY || !carry.is_empty() {
                self.carry = carry;
            }
        }
        let used = self.consume(rest)?;
        self.carry.extend_from_slice(&rest[used..]);
        Ok(())
    }

    /// How many bytes are missing until the next step is possible. Only what has come is ever stored, whatever a
    /// length says that came before it.
    fn lacking(&self) -> Result<usize, DecodeError> {
        let whole = match self.place {
            Place::Header => HEADER,
            Place::Row => 2,
            Place::Field(_) => match self.carry.first_chunk::<4>() {
                None => 4,
                Some(&length) => 4 + value_length(length)?.unwrap_or_default(),
            },
            Place::Extension(_) | Place::End => 0,
        };
        Ok(whole.saturating_sub(self.carry.len()))
    }

    /// Whether a batch should be taken now.
    pub(super) fn is_full(&self) -> bool {
        (self.rows >= self.limits.rows || self.bytes >= self.limits.bytes)
            && self.rows > 0
            && !matches!(self.place, Place::Field(_))
    }

    /// The whole rows since the last call; `None` where there are none. Only meaningful between rows.
    pub(super) fn take(&mut self) -> Result<Option<RecordBatch>, DecodeError> {
        if self.rows == 0 || matches!(self.place, Place::Field(_)) {
            return Ok(None);
        }
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (column, builder) in self.columns.iter_mut().enumerate() {
            arrays.push(builder.take().map_err(|reason| DecodeError::Value { column, reason })?);
        }
        self.rows = 0;
        self.bytes = 0;
        RecordBatch::try_new(Arc::clone(&self.schema), arrays)
            .map(Some)
            .map_err(|_| DecodeError::Frame("the columns do not make a batch"))
    }

    /// To be called when the server has said that it is done, and how many rows it sent: whether the stream said so
    /// too.
    pub(super) fn finish(&self, sent: u64) -> Result<(), DecodeError> {
        if self.place != Place::End || !self.carry.is_empty() {
            return Err(DecodeError::Frame("the stream ended without its trailer"));
        }
        if self.read != sent {
            return Err(DecodeError::Frame("the server counts other rows than came"));
        }
        Ok(())
    }

    /// Decodes as far as whole values reach and says how far that is.
    fn consume(&mut self, bytes: &[u8]) -> Result<usize, DecodeError> {
        let mut rest = bytes;
        loop {
            match self.place {
                Place::Header => {
                    let Some((header, after)) = rest.split_first_chunk::<HEADER>() else { break };
                    self.place = Place::Extension(extension(header)?);
                    rest = after;
                }
                Place::Extension(left) => {
                    let skip = left.min(rest.len());
                    rest = &rest[skip..];
                    if skip < left {
                        self.place = Place::Extension(left - skip);
                        break;
                    }
                    self.place = Place::Row;
                }
                Place::Row => {
                    let Some((count, after)) = rest.split_first_chunk::<2>() else { break };
                    rest = after;
                    self.place = match i16::from_be_bytes(*count) {
                        -1 => Place::End,
                        count if usize::try_from(count) == Ok(self.columns.len()) => Place::Field(0),
                        _ => return Err(DecodeError::Frame("a row has another number of columns")),
                    };
                }
                Place::Field(first) => {
                    let (reached, after) = self.fields(first, rest)?;
                    rest = after;
                    if reached < self.columns.len() {
                        self.place = Place::Field(reached);
                        break;
                    }
                    self.place = Place::Row;
                    self.rows += 1;
                    self.read += 1;
                }
                Place::End => {
                    if !rest.is_empty() {
                        return Err(DecodeError::Frame("the stream goes on after its trailer"));
                    }
                    break;
                }
            }
        }
        Ok(bytes.len() - rest.len())
    }

    /// Decodes the fields of a row from column `first` on; says which column comes next and what is left.
    #[inline]
    fn fields<'a>(&mut self, first: usize, mut rest: &'a [u8]) -> Result<(usize, &'a [u8]), DecodeError> {
        for (column, builder) in self.columns[first..].iter_mut().enumerate() {
            let column = first + column;
            let Some((length, after)) = rest.split_first_chunk::<4>() else { return Ok((column, rest)) };
            match value_length(*length)? {
                None => {
                    builder.push_null();
                    rest = after;
                }
                Some(length) => {
                    let Some((value, after)) = after.split_at_checked(length) else { return Ok((column, rest)) };
                    builder.push(value).map_err(|reason| DecodeError::Value { column, reason })?;
                    rest = after;
                }
            }
        }
        Ok((self.columns.len(), rest))
    }
}

/// The length of a value, `None` for NULL.
#[inline]
fn value_length(bytes: [u8; 4]) -> Result<Option<usize>, DecodeError> {
    match i32::from_be_bytes(bytes) {
        -1 => Ok(None),
        length => match usize::try_from(length) {
            Ok(length) if length <= LONGEST => Ok(Some(length)),
            _ => Err(DecodeError::Frame("a value of an impossible length")),
        },
    }
}

/// Checks the header and gives the length of its extension.
fn extension(header: &[u8; HEADER]) -> Result<usize, DecodeError> {
    let (signature, rest) = header.split_at(SIGNATURE.len());
    if signature != SIGNATURE {
        return Err(DecodeError::Frame("the stream does not begin as a binary COPY does"));
    }
    let word = |at: usize| u32::from_be_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
    // The upper half of the flags changes the format; a reader that does not know them must stop.
    if word(0) >> 16 != 0 {
        return Err(DecodeError::Frame("the stream has flags that are not known"));
    }
    usize::try_from(word(4))
        .ok()
        .filter(|&length| length <= 1 << 20)
        .ok_or(DecodeError::Frame("the header is too long"))
}

/// A value of exactly this width.
#[inline]
fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], ValueError> {
    bytes.try_into().map_err(|_| ValueError::Malformed("a value of another width than its type has"))
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod seeds;
#[cfg(test)]
mod tests;
