//! Types that the server sends in a form of their own and that are written as PostgreSQL writes them: addresses, bit
//! strings, places in the log and in tables.

use std::fmt::Write;
use std::marker::PhantomData;
use std::net::{Ipv4Addr, Ipv6Addr};

use arrow::array::ArrayRef;

use super::cursor::Cursor;
use super::varlen::Bytes;
use super::{Builder, ValueError, fixed};

/// How a type is written as text.
pub(super) trait Spell {
    /// Appends one value. After an error nothing may be used of what was appended.
    fn spell(bytes: &[u8], out: &mut Bytes) -> Result<(), ValueError>;
}

/// A builder of texts of any [`Spell`] type.
#[derive(Debug)]
pub(super) struct Spelled<S> {
    texts: Bytes,
    of: PhantomData<S>,
}

impl<S: Spell> Spelled<S> {
    /// An empty builder for about `rows` texts of about `width` bytes.
    pub(super) fn new(rows: usize, width: usize) -> Self {
        Self { texts: Bytes::new(rows, width), of: PhantomData }
    }
}

impl<S: Spell> Builder for Spelled<S> {
    fn push(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        S::spell(bytes, &mut self.texts)?;
        self.texts.close()
    }

    fn push_null(&mut self) {
        self.texts.push_null();
    }

    fn take(&mut self) -> Result<ArrayRef, ValueError> {
        self.texts.take_text()
    }
}

impl Write for Bytes {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.extend(text.as_bytes());
        Ok(())
    }
}

/// Writes what cannot fail to be written.
macro_rules! put {
    ($out:expr, $($form:tt)+) => { { let _ = write!($out, $($form)+); } };
}

/// `inet` and `cidr`; the form is that of `network_send` in PostgreSQL's `network.c`.
#[derive(Debug)]
pub(super) enum Inet {}

impl Spell for Inet {
    fn spell(bytes: &[u8], out: &mut Bytes) -> Result<(), ValueError> {
        const WRONG: ValueError = ValueError::Malformed("an address in a form that is not known");
        let mut rest = Cursor(bytes);
        let [family, bits, cidr, length] = rest.chunk()?;
        let most = match (family, length) {
            (2, 4) => {
                put!(out, "{}", Ipv4Addr::from(rest.chunk::<4>()?));
                32
            }
            (3, 16) => {
                ipv6(rest.chunk()?, out);
                128
            }
            _ => return Err(WRONG),
        };
        rest.end()?;
        if bits > most || cidr > 1 {
            return Err(WRONG);
        }
        // A whole address needs no length, but a network has one always.
        if cidr == 1 || bits < most {
            put!(out, "/{bits}");
        }
        Ok(())
    }
}

/// Like the standard library, but with the last two groups as an IPv4 address after exactly six that are zero too,
/// as in PostgreSQL's `inet_net_ntop.c`.
fn ipv6(bytes: [u8; 16], out: &mut Bytes) {
    match bytes {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] if (a, b) != (0, 0) => {
            put!(out, "::{}", Ipv4Addr::new(a, b, c, d));
        }
        _ => put!(out, "{}", Ipv6Addr::from(bytes)),
    }
}

/// `macaddr` of six bytes and `macaddr8` of eight.
#[derive(Debug)]
pub(super) enum MacAddr {}

impl Spell for MacAddr {
    fn spell(bytes: &[u8], out: &mut Bytes) -> Result<(), ValueError> {
        if !matches!(bytes.len(), 6 | 8) {
            return Err(ValueError::Malformed("a hardware address of another width"));
        }
        for (place, byte) in bytes.iter().enumerate() {
            put!(out, "{}{byte:02x}", if place == 0 { "" } else { ":" });
        }
        Ok(())
    }
}

/// `bit` and `bit varying`: a count of bits, then the bits from the highest on.
#[derive(Debug)]
pub(super) enum Bits {}

impl Spell for Bits {
    fn spell(bytes: &[u8], out: &mut Bytes) -> Result<(), ValueError> {
        let mut rest = Cursor(bytes);
        let count = usize::try_from(rest.i32()?).ok();
        let Some(mut left) = count.filter(|count| count.div_ceil(8) == rest.0.len()) else {
            return Err(ValueError::Malformed("a bit string of another length than it says"));
        };
        for byte in rest.0 {
            let mut digits = [b'0'; 8];
            for (place, digit) in digits.iter_mut().enumerate() {
                *digit += byte >> (7 - place) & 1;
            }
            let take = left.min(8);
            out.extend(&digits[..take]);
            left -= take;
        }
        Ok(())
    }
}

/// `"char"`: a byte; above ASCII in octal, as newer servers write it, since older ones write what is no text.
#[derive(Debug)]
pub(super) enum Char {}

impl Spell for Char {
    fn spell(bytes: &[u8], out: &mut Bytes) -> Result<(), ValueError> {
        match fixed::<1>(bytes)? {
            [0] => {}
            [byte] if byte < 0x80 => out.extend(&[byte]),
            [byte] => put!(out, "\\{byte:03o}"),
        }
        Ok(())
    }
}

/// `xid8`.
#[derive(Debug)]
pub(super) enum Xid8 {}

impl Spell for Xid8 {
    fn spell(bytes: &[u8], out: &mut Bytes) -> Result<(), ValueError> {
        put!(out, "{}", u64::from_be_bytes(fixed(bytes)?));
        Ok(())
    }
}

/// `tid`: a block and a place in it.
#[derive(Debug)]
pub(super) enum Tid {}

impl Spell for Tid {
    fn spell(bytes: &[u8], out: &mut Bytes) -> Result<(), ValueError> {
        let [a, b, c, d, e, f] = fixed(bytes)?;
        put!(out, "({},{})", u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([e, f]));
        Ok(())
    }
}

/// `pg_lsn`.
#[derive(Debug)]
pub(super) enum Lsn {}

impl Spell for Lsn {
    fn spell(bytes: &[u8], out: &mut Bytes) -> Result<(), ValueError> {
        let place = u64::from_be_bytes(fixed(bytes)?);
        put!(out, "{:X}/{:X}", place >> 32, place & 0xffff_ffff);
        Ok(())
    }
}

/// `jsonpath`: a version byte, then the text.
#[derive(Debug)]
pub(super) enum JsonPath {}

impl Spell for JsonPath {
    fn spell(bytes: &[u8], out: &mut Bytes) -> Result<(), ValueError> {
        let [1, text @ ..] = bytes else {
            return Err(ValueError::Malformed("a jsonpath of a version that is not known"));
        };
        out.extend(text);
        Ok(())
    }
}

/// `tsvector`: lexemes, each with the places and weights where it stands. The form is that of `tsvectorsend`, the
/// text that of `tsvectorout`, both in PostgreSQL's `tsvector.c`.
#[derive(Debug)]
pub(super) enum TsVector {}

impl Spell for TsVector {
    fn spell(bytes: &[u8], out: &mut Bytes) -> Result<(), ValueError> {
        let mut rest = Cursor(bytes);
        // Each has at least an end and a count of places.
        let count = rest.count(3)?;
        for index in 0..count {
            let end = rest.0.iter().position(|&byte| byte == 0);
            let end = end.ok_or(ValueError::Malformed("a lexeme without its end"))?;
            let lexeme = &rest.0[..end];
            rest.0 = &rest.0[end + 1..];
            out.extend(if index == 0 { b"'" } else { b" '" });
            for &byte in lexeme {
                if matches!(byte, b'\'' | b'\\') {
                    out.extend(&[byte]);
                }
                out.extend(&[byte]);
            }
            out.extend(b"'");
            let places = u16::from_be_bytes(rest.chunk()?);
            for place in 0..places {
                let value = u16::from_be_bytes(rest.chunk()?);
                let weight = ["", "C", "B", "A"][usize::from(value >> 14)];
                put!(out, "{}{}{weight}", if place == 0 { ':' } else { ',' }, value & 0x3fff);
            }
        }
        rest.end()
    }
}
