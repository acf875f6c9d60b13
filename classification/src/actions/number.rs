//! Rounding of numbers.

/// Rounds floats in place, with ties to the even neighbour: what `round(x * 10^n) / 10^n` gives in double precision.
/// Infinities and NaN stay.
pub fn round_float(values: &mut [f64], decimals: i8) {
    let scale = 10_f64.powi(i32::from(decimals.unsigned_abs()));
    for value in values.iter_mut().filter(|value| value.is_finite()) {
        let rounded = if decimals >= 0 {
            (*value * scale).round_ties_even() / scale
        } else {
            (*value / scale).round_ties_even() * scale
        };
        // Too large to be scaled: it has no decimals anyway.
        if rounded.is_finite() {
            *value = rounded;
        }
    }
}

/// Rounds an integer to a power of ten, ties away from zero. `None` where the result does not fit.
pub fn round_integer(value: i64, decimals: i8) -> Option<i64> {
    i64::try_from(round_decimal(i128::from(value), 0, decimals)?).ok()
}

/// Rounds a decimal that is stored as an integer with `scale` digits behind the point, ties away from zero. It keeps
/// its scale. `None` where the result does not fit.
pub fn round_decimal(value: i128, scale: i8, decimals: i8) -> Option<i128> {
    let dropped = i32::from(scale) - i32::from(decimals);
    if dropped <= 0 {
        return Some(value);
    }
    // More digits than a decimal of 128 bits has: whatever it was, it rounds to nothing.
    let Some(unit) = u32::try_from(dropped).ok().and_then(|dropped| 10_i128.checked_pow(dropped)) else {
        return Some(0);
    };
    let rest = value % unit;
    let cut = value - rest;
    if rest.abs() >= unit - rest.abs() { cut.checked_add(unit * rest.signum()) } else { Some(cut) }
}

/// Rounds a decimal number that is written out, of any length, ties away from zero: what `numeric` gives. A number
/// without so many decimals stays as it is written. `None` for everything that is no such number.
pub fn round_number_text(number: &str, decimals: i8) -> Option<String> {
    let (negative, digits) = number.strip_prefix('-').map_or((false, number), |digits| (true, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let sound = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !sound(whole) || !sound(fraction) || fraction.is_empty() && digits.contains('.') {
        return None;
    }
    let kept = isize::from(decimals);
    if decimals >= 0 && fraction.len() <= kept.unsigned_abs() {
        return Some(number.to_owned());
    }
    // The digits that stay, and the first one that goes.
    let all: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    let end = isize::try_from(whole.len()).ok()? + kept;
    let (mut digits, up) = match usize::try_from(end) {
        Ok(end) => (all[..end].to_vec(), all[end] >= b'5'),
        Err(_) => (Vec::new(), false),
    };
    if up {
        match digits.iter().rposition(|&digit| digit != b'9') {
            Some(position) => {
                digits[position] += 1;
                digits[position + 1..].fill(b'0');
            }
            None => {
                digits.fill(b'0');
                digits.insert(0, b'1');
            }
        }
    }
    if decimals < 0 {
        digits.resize(digits.len() + kept.unsigned_abs(), b'0');
    }
    let zero = digits.iter().all(|&digit| digit == b'0');
    let point = digits.len() - usize::try_from(kept).unwrap_or(0);
    let digits = String::from_utf8(digits).ok()?;
    let (whole, fraction) = digits.split_at(point);
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    let sign = if negative && !zero { "-" } else { "" };
    Some(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}
