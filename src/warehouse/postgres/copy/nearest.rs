//! The nearest value of a type to one that it does not hold.

use arrow::array::AsArray;

use super::Builder;
use super::numeric::NumericText;
use super::varlen::Bytes;

/// The unscaled decimal that is nearest to a `numeric` as it came: rounded by its digits, ties away from zero, and at
/// most all nines. `None` for what is not a number.
pub(super) fn nearest_decimal(bytes: &[u8], precision: u8, scale: i8) -> Option<i128> {
    let most = 10_i128.checked_pow(precision.into())? - 1;
    // The sign's word, as `numeric_send` writes it, also tells the infinities.
    match bytes.get(4..6)? {
        [0xd0, 0] => return Some(most),
        [0xf0, 0] => return Some(-most),
        _ => {}
    }
    let mut text = NumericText(Bytes::new(1, 64));
    text.push(bytes).ok()?;
    let array = text.take().ok()?;
    let text = array.as_string::<i32>().value(0);
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let scale = usize::try_from(scale).ok()?;
    let kept = &fraction[..fraction.len().min(scale)];
    let up = fraction.as_bytes().get(scale).is_some_and(|&digit| digit >= b'5');
    let digits = format!("{}{kept:0<scale$}", whole.trim_start_matches('0'));
    // More digits than fit the machine's number are more than fit any precision.
    let magnitude = if digits.is_empty() { Some(0) } else { digits.parse::<i128>().ok() };
    let magnitude = magnitude.map_or(most, |magnitude| magnitude.saturating_add(i128::from(up)).min(most));
    Some(if negative { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number's form on the wire, from groups of four digits.
    fn wire(groups: &[u16], weight: i16, sign: u16, scale: u16) -> Vec<u8> {
        let head = [groups.len() as u16, weight as u16, sign, scale];
        head.iter().chain(groups).flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn the_nearest_decimal_is_rounded_and_bounded() {
        for (bytes, precision, scale, want) in [
            (wire(&[1, 2350], 0, 0, 3), 5, 2, Some(124)),
            (wire(&[1, 2349], 0, 0, 4), 5, 2, Some(123)),
            (wire(&[1, 2350], 0, 0x4000, 3), 5, 2, Some(-124)),
            (wire(&[9, 9990], 0, 0, 3), 3, 2, Some(999)),
            (wire(&[12], 0, 0, 0), 3, 2, Some(999)),
            (wire(&[12], 0, 0x4000, 0), 3, 2, Some(-999)),
            (wire(&[1], 100, 0, 0), 38, 2, Some(10_i128.pow(38) - 1)),
            (wire(&[], 0, 0xd000, 0), 4, 2, Some(9999)),
            (wire(&[], 0, 0xf000, 0), 4, 2, Some(-9999)),
            (wire(&[], 0, 0xc000, 0), 4, 2, None),
            (wire(&[5000], -1, 0, 1), 3, 0, Some(1)),
            (wire(&[4999], -1, 0, 4), 3, 0, Some(0)),
        ] {
            assert_eq!(nearest_decimal(&bytes, precision, scale), want, "{bytes:?}");
        }
    }
}
