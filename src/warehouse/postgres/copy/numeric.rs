//! `numeric`: groups of four decimal digits, a weight and a sign. Decimals by integer arithmetic alone, never
//! through a float; without a precision that fits, the canonical text.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array};
use arrow::buffer::ScalarBuffer;

use super::nearest::nearest_decimal;
use super::validity::Validity;
use super::varlen::Bytes;
use super::{Builder, ValueError};

const BASE: u128 = 10_000;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xc000;

/// Powers of ten that fit.
const POW10: [u128; 39] = {
    let mut powers = [1; 39];
    let mut index = 1;
    while index < 39 {
        powers[index] = powers[index - 1] * 10;
        index += 1;
    }
    powers
};

/// The same in the machine's own word.
const SMALL_POW10: [u64; 20] = {
    let mut powers = [1; 20];
    let mut index = 1;
    while index < 20 {
        powers[index] = powers[index - 1] * 10;
        index += 1;
    }
    powers
};

/// A number as it arrives.
#[derive(Debug, Clone, Copy)]
struct Numeric<'a> {
    /// Big-endian groups, each below 10000; the first stands for `10000^weight`.
    groups: &'a [u8],
    weight: i32,
    negative: bool,
    /// Decimal places that the server shows.
    scale: usize,
}

impl<'a> Numeric<'a> {
    #[inline]
    fn parse(bytes: &'a [u8]) -> Result<Self, ValueError> {
        let Some((head, groups)) = bytes.split_first_chunk::<8>() else {
            return Err(ValueError::Malformed("a numeric without its header"));
        };
        let [c0, c1, w0, w1, s0, s1, d0, d1] = *head;
        let negative = match u16::from_be_bytes([s0, s1]) {
            0 => false,
            NEGATIVE => true,
            NAN => return Err(ValueError::Unrepresentable("the number is NaN")),
            0xd000 | 0xf000 => return Err(ValueError::Unrepresentable("the number is infinite")),
            _ => return Err(ValueError::Malformed("a numeric with an unknown sign")),
        };
        if groups.len() != usize::from(u16::from_be_bytes([c0, c1])) * 2 {
            return Err(ValueError::Malformed("a numeric of another length than it says"));
        }
        let scale = usize::from(u16::from_be_bytes([d0, d1]));
        if scale > 0x3fff {
            return Err(ValueError::Malformed("a numeric with an impossible scale"));
        }
        Ok(Self { groups, weight: i32::from(i16::from_be_bytes([w0, w1])), negative, scale })
    }

    #[inline]
    fn groups(&self) -> impl DoubleEndedIterator<Item = u16> + ExactSizeIterator + 'a {
        self.groups.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
    }

    /// The number times `10^scale` where that is a whole number below `10^precision`.
    #[inline]
    fn scaled(&self, precision: u8, scale: i32) -> Result<i128, ValueError> {
        match self.small(precision, scale) {
            Some(small) => Ok(small.into()),
            None => self.large(precision, scale),
        }
    }

    /// The same for what fits into the machine's own word, which is most of what there is; `None` leaves it to
    /// [`Self::large`] to do it or to say why not.
    #[inline]
    fn small(&self, precision: u8, scale: i32) -> Option<i64> {
        let (count, precision) = (self.groups.len() / 2, usize::from(precision));
        if count > 4 || precision > 18 {
            return None;
        }
        let mut value = 0;
        for group in self.groups() {
            if group >= 10_000 {
                return None;
            }
            value = value * 10_000 + u64::from(group);
        }
        // At most four groups, so the count is no larger; zero has none and any weight.
        let exponent = 4 * (self.weight + 1 - count as i32) + scale;
        let magnitude = match exponent {
            // Divisions by constants: what the last group holds beyond the scale.
            -1 if value.is_multiple_of(10) => value / 10,
            -2 if value.is_multiple_of(100) => value / 100,
            -3 if value.is_multiple_of(1000) => value / 1000,
            0.. => value.checked_mul(*SMALL_POW10.get(usize::try_from(exponent).ok()?)?)?,
            _ => return None,
        };
        if magnitude >= SMALL_POW10[precision] {
            return None;
        }
        // Below 10^18.
        let magnitude = magnitude as i64;
        Some(if self.negative { -magnitude } else { magnitude })
    }

    fn large(&self, precision: u8, scale: i32) -> Result<i128, ValueError> {
        const OVERFLOW: ValueError = ValueError::Unrepresentable("the number has more digits than its column's type");
        let count = self.groups.len() / 2;
        if count == 0 {
            return Ok(0);
        }
        let mut groups = self.groups();
        let last = group(groups.next_back())?;
        let mut high = 0_u128;
        for value in groups {
            high = high
                .checked_mul(BASE)
                .and_then(|high| high.checked_add(u128::from(group(Some(value)).ok()?)))
                .ok_or(OVERFLOW)?;
        }
        // The power of ten of the last group after scaling; below zero the group holds places beyond the scale,
        // which must be zeros.
        let count = i32::try_from(count).map_err(|_| OVERFLOW)?;
        let exponent = 4 * (self.weight - (count - 1)) + scale;
        let times =
            |value: u128, power: i32| -> Option<u128> { value.checked_mul(*POW10.get(usize::try_from(power).ok()?)?) };
        let magnitude = if exponent >= 0 {
            high = high.checked_mul(BASE).and_then(|high| high.checked_add(u128::from(last))).ok_or(OVERFLOW)?;
            if high == 0 { 0 } else { times(high, exponent).ok_or(OVERFLOW)? }
        } else if exponent > -4 {
            let unit = 10_u16.pow(exponent.unsigned_abs());
            if !last.is_multiple_of(unit) {
                return Err(OVERFLOW);
            }
            times(high, 4 + exponent).and_then(|high| high.checked_add(u128::from(last / unit))).ok_or(OVERFLOW)?
        } else {
            return Err(OVERFLOW);
        };
        if magnitude >= POW10[usize::from(precision)] {
            return Err(OVERFLOW);
        }
        // Below 10^38, so the sign bit is free.
        let magnitude = magnitude as i128;
        Ok(if self.negative { -magnitude } else { magnitude })
    }

    /// The number as the server writes it, appended to `out`.
    fn write_text(&self, out: &mut Bytes) -> Result<(), ValueError> {
        let count = self.groups.len() / 2;
        let at = |index: i32| -> Result<u16, ValueError> {
            match usize::try_from(index) {
                Ok(index) if index < count => {
                    group(Some(u16::from_be_bytes([self.groups[2 * index], self.groups[2 * index + 1]])))
                }
                _ => Ok(0),
            }
        };
        if self.negative {
            out.extend(b"-");
        }
        if self.weight < 0 {
            out.extend(b"0");
        }
        for index in 0..=self.weight {
            let text = four(at(index)?);
            let skip = if index == 0 { text.iter().take(3).take_while(|&&digit| digit == b'0').count() } else { 0 };
            out.extend(&text[skip..]);
        }
        if self.scale > 0 {
            out.extend(b".");
            let (mut left, mut index) = (self.scale, self.weight + 1);
            while left > 0 {
                // Groups between the point and the first that was sent are zeros.
                let text = four(at(index)?);
                let take = left.min(4);
                out.extend(&text[..take]);
                left -= take;
                index += 1;
            }
        }
        Ok(())
    }
}

#[inline]
fn group(value: Option<u16>) -> Result<u16, ValueError> {
    value.filter(|&value| value < 10_000).ok_or(ValueError::Malformed("a numeric with a group over 9999"))
}

fn four(group: u16) -> [u8; 4] {
    [group / 1000, group / 100 % 10, group / 10 % 10, group % 10].map(|digit| b'0' + digit as u8)
}

/// `numeric(p,s)` as exact decimals.
#[derive(Debug)]
pub(super) struct Decimal {
    values: Vec<i128>,
    validity: Validity,
    precision: u8,
    scale: i8,
}

impl Decimal {
    /// An empty builder; `precision` is at most 38 and `scale` from 0 to `precision`.
    pub(super) fn new(precision: u8, scale: i8, capacity: usize) -> Self {
        Self {
            values: Vec::with_capacity(capacity),
            validity: Validity::default(),
            precision: precision.min(38),
            scale,
        }
    }
}

impl Builder for Decimal {
    #[inline]
    fn push(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        self.values.push(Numeric::parse(bytes)?.scaled(self.precision, i32::from(self.scale))?);
        self.validity.push_valid();
        Ok(())
    }

    #[inline]
    fn push_null(&mut self) {
        self.values.push(0);
        self.validity.push_null();
    }

    fn push_nearest(&mut self, bytes: &[u8], why: &'static str) -> Result<(), ValueError> {
        let nearest = nearest_decimal(bytes, self.precision, self.scale);
        self.values.push(nearest.ok_or(ValueError::Unrepresentable(why))?);
        self.validity.push_valid();
        Ok(())
    }

    fn take(&mut self) -> Result<ArrayRef, ValueError> {
        let capacity = self.values.len();
        let values = std::mem::replace(&mut self.values, Vec::with_capacity(capacity));
        let array = Decimal128Array::try_new(ScalarBuffer::from(values), self.validity.take())
            .and_then(|array| array.with_precision_and_scale(self.precision, self.scale))
            .map_err(|_| ValueError::Malformed("a decimal type that does not exist"))?;
        Ok(Arc::new(array))
    }
}

/// `numeric` without a precision that fits, as the server's own text.
#[derive(Debug)]
pub(super) struct NumericText(pub(super) Bytes);

impl Builder for NumericText {
    fn push(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        Numeric::parse(bytes)?.write_text(&mut self.0)?;
        self.0.close()
    }

    fn push_null(&mut self) {
        self.0.push_null();
    }

    fn take(&mut self) -> Result<ArrayRef, ValueError> {
        self.0.take_text()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use proptest::prelude::*;

    use super::*;

    /// A number's form on the wire.
    fn wire(groups: &[u16], weight: i16, sign: u16, scale: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend((groups.len() as u16).to_be_bytes());
        bytes.extend(weight.to_be_bytes());
        bytes.extend(sign.to_be_bytes());
        bytes.extend(scale.to_be_bytes());
        for group in groups {
            bytes.extend(group.to_be_bytes());
        }
        bytes
    }

    /// The form on the wire of `unscaled * 10^-scale`, by schoolbook division, zeros at both ends dropped.
    fn encode(unscaled: i128, scale: u32) -> Vec<u8> {
        let pad = (4 - scale % 4) % 4;
        let mut digits = unscaled.unsigned_abs().to_string();
        digits.push_str(&"0".repeat(pad as usize));
        while !digits.len().is_multiple_of(4) {
            digits.insert(0, '0');
        }
        let mut groups: Vec<u16> =
            digits.as_bytes().chunks(4).map(|four| std::str::from_utf8(four).unwrap().parse().unwrap()).collect();
        let mut weight = groups.len() as i16 - 1 - ((scale + pad) / 4) as i16;
        while groups.first() == Some(&0) {
            groups.remove(0);
            weight -= 1;
        }
        while groups.last() == Some(&0) {
            groups.pop();
        }
        if groups.is_empty() {
            weight = 0;
        }
        wire(&groups, weight, if unscaled < 0 { NEGATIVE } else { 0 }, scale as u16)
    }

    proptest! {
        #[test]
        fn every_decimal_of_38_digits_comes_back(
            unscaled in -(POW10[38] as i128) + 1..POW10[38] as i128,
            digits in 0_u32..38,
            scale in 0_i8..=38,
        ) {
            let unscaled = unscaled / POW10[digits as usize] as i128;
            let bytes = encode(unscaled, scale as u32);
            prop_assert_eq!(Numeric::parse(&bytes).unwrap().scaled(38, i32::from(scale)).ok(), Some(unscaled));
            let mut text = NumericText(Bytes::new(1, 1));
            text.push(&bytes).unwrap();
            let array = text.take().unwrap();
            let want = Decimal128Array::from(vec![unscaled]).with_precision_and_scale(38, scale).unwrap();
            prop_assert_eq!(array.as_string::<i32>().value(0), want.value_as_string(0));
        }

        #[test]
        fn the_short_way_leads_to_the_same(
            groups in prop::collection::vec(prop_oneof![3 => 0_u16..10_000, 1 => (0_u16..100).prop_map(|group| group * 100), 1 => any::<u16>()], 0..6),
            weight in -3_i16..6,
            negative in any::<bool>(),
            precision in 1_u8..=20,
            scale in 0_i32..12,
        ) {
            let bytes = wire(&groups, weight, if negative { NEGATIVE } else { 0 }, 4);
            let number = Numeric::parse(&bytes).unwrap();
            if let Some(small) = number.small(precision, scale) {
                prop_assert_eq!(number.large(precision, scale), Ok(small.into()));
            }
        }

        #[test]
        fn any_bytes_are_a_number_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(numeric) = Numeric::parse(&bytes) {
                let _ = numeric.scaled(38, 4);
                let _ = numeric.scaled(1, 0);
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        for (bytes, precision, scale, want) in [
            (wire(&[12, 3400], 0, 0, 2), 4, 2, Some(1234)),
            (wire(&[12, 3400], 0, NEGATIVE, 2), 4, 2, Some(-1234)),
            (wire(&[12, 3400], 0, 0, 2), 3, 2, None),
            (wire(&[12, 3450], 0, 0, 3), 4, 2, None),
            (wire(&[1], 1, 0, 0), 4, 0, None),
            (wire(&[1], 1, 0, 0), 5, 0, Some(10_000)),
            (wire(&[12, 3400, 1], 0, 0, 12), 38, 2, None),
            (wire(&[1], 9, 0, 0), 38, 0, Some(POW10[36] as i128)),
            (wire(&[100], 9, 0, 0), 38, 0, None),
            (wire(&[1], 30_000, 0, 0), 38, 0, None),
            (wire(&[1], -30_000, 0, 0), 38, 0, None),
            (wire(&[], 0, 0, 2), 4, 2, Some(0)),
            (wire(&[0, 0], 30_000, 0, 2), 4, 2, Some(0)),
            (wire(&[10_000], 0, 0, 0), 38, 0, None),
            (wire(&[], 0, NAN, 0), 38, 0, None),
            (wire(&[], 0, 0xd000, 0), 38, 0, None),
            (wire(&[], 0, 0xf000, 0), 38, 0, None),
            (wire(&[], 0, 1, 0), 38, 0, None),
        ] {
            let got = Numeric::parse(&bytes).and_then(|numeric| numeric.scaled(precision, scale)).ok();
            assert_eq!(got, want, "{bytes:?} as numeric({precision},{scale})");
        }
    }
}
