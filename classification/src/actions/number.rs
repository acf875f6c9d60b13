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
