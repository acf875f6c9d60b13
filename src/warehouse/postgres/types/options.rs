//! What an operator may change of how a column is written, and what does not go together.

use std::sync::Arc;

use super::super::super::{ColumnOptions, GeometryForm, OnTooLong, OnUnrepresentable};
use super::{Attribute, Decoding, Guard, ListOf, RangeOf, Shape, Spatial, Spelling};

/// Digits of a `numeric` without a precision that an operator gives a scale.
const PRECISION: u8 = 38;
/// The most decimals that make sense of coordinates: a float has no more.
const MOST_DECIMALS: u8 = 15;

/// Applies options to what a type becomes; `None` stays `None` unless the whole column is asked for as text.
///
/// # Errors
/// What does not go together, to stand after "has type …, which".
pub(in super::super) fn apply(
    decoding: Option<Decoding>,
    options: &ColumnOptions,
) -> Result<Option<Decoding>, &'static str> {
    if options.decimals.is_some_and(|decimals| decimals > MOST_DECIMALS) {
        return Err("has at most 15 decimals");
    }
    if options.on_too_long == Some(OnTooLong::Truncate) && (options.geometry.is_some() || options.decimals.is_some()) {
        return Err("is not truncated where it holds geometry");
    }
    let policy = options.on_unrepresentable;
    if policy == OnUnrepresentable::Text {
        if options.geometry.is_some() || options.decimals.is_some() {
            return Err("is not PostgreSQL's own text where its form or its decimals are given");
        }
        return Ok(Some(limited(Decoding::Cast, policy, options.on_too_long)?));
    }
    let Some(decoding) = decoding else { return Ok(None) };
    let decoding = match (decoding, options.geometry, options.decimals) {
        (Decoding::Geometry(spatial), form, decimals) => {
            let form = form.unwrap_or(spatial.form);
            if form == GeometryForm::Wkb && options.on_too_long.is_some() {
                return Err("is not text");
            }
            let changed = Spatial { form, decimals, on_unrepresentable: policy, ..spatial };
            return Ok(Some(Decoding::Geometry(Spatial { on_too_long: options.on_too_long, ..changed })));
        }
        (from @ (Decoding::Text | Decoding::Json | Decoding::Jsonb), Some(form), decimals) => {
            if form == GeometryForm::Wkb && options.on_too_long.is_some() {
                return Err("is written as bytes, of which no text can be too long");
            }
            let jsonb = from == Decoding::Jsonb;
            let shape = Shape { form, jsonb, decimals, on_unrepresentable: policy, on_too_long: options.on_too_long };
            return Ok(Some(Decoding::Shaped(shape)));
        }
        (_, Some(_), _) => return Err("holds no geometry"),
        (Decoding::NumericText, None, Some(scale)) => {
            let scale = i8::try_from(scale).map_err(|_| "has at most 15 decimals")?;
            Decoding::Decimal { precision: PRECISION, scale }
        }
        (_, None, Some(_)) => return Err("takes no number of decimals unless `geometry` says what it holds"),
        (decoding, None, None) => decoding,
    };
    limited(guarded(decoding, policy), policy, options.on_too_long).map(Some)
}

/// A policy around everything in a decoding that may meet a value that cannot be represented.
fn guarded(decoding: Decoding, policy: OnUnrepresentable) -> Decoding {
    if policy == OnUnrepresentable::Error {
        return decoding;
    }
    let inner = match decoding {
        Decoding::List(list) => Decoding::List(Arc::new(ListOf { item: guarded(list.item.clone(), policy), ..*list })),
        Decoding::Struct(attributes) => {
            let fields = attributes.iter().map(|attribute| Attribute {
                name: attribute.name.clone(),
                oid: attribute.oid,
                decoding: guarded(attribute.decoding.clone(), policy),
            });
            return Decoding::Struct(fields.collect());
        }
        Decoding::Range(range) => return Decoding::Range(bounds(&range, policy)),
        Decoding::Multirange(range) => return Decoding::Multirange(bounds(&range, policy)),
        other => other,
    };
    Decoding::Guarded(Arc::new(Guard { decoding: inner, on_unrepresentable: policy, on_too_long: None }))
}

fn bounds(range: &RangeOf, policy: OnUnrepresentable) -> Arc<RangeOf> {
    // A bound that has a nearest value gets it; what has none concerns the whole range.
    let bound = match policy {
        OnUnrepresentable::Clamp => guarded(range.bound.clone(), policy),
        _ => range.bound.clone(),
    };
    Arc::new(RangeOf { bound, on_unrepresentable: policy })
}

fn limited(
    decoding: Decoding,
    on_unrepresentable: OnUnrepresentable,
    on_too_long: Option<OnTooLong>,
) -> Result<Decoding, &'static str> {
    let Some(limit) = on_too_long else { return Ok(decoding) };
    let bare = match &decoding {
        Decoding::Guarded(guard) => guard.decoding.clone(),
        other => other.clone(),
    };
    let bare = match bare {
        Decoding::Text | Decoding::Cast => bare,
        Decoding::Json | Decoding::Jsonb if limit == OnTooLong::Truncate => {
            return Err("is not truncated, since a part of a document is none");
        }
        Decoding::Json | Decoding::Jsonb => bare,
        // The server's own text of these is the same, and comes as it leaves.
        Decoding::Spelled(Spelling::Bits | Spelling::TsVector | Spelling::JsonPath) => Decoding::Cast,
        _ => return Err("is not text"),
    };
    Ok(Decoding::Guarded(Arc::new(Guard { decoding: bare, on_unrepresentable, on_too_long })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_go_together_is_said_before_a_byte_moves() {
        let plain = ColumnOptions::default;
        let long = |on_too_long| ColumnOptions { on_too_long: Some(on_too_long), ..plain() };
        let form = |form| ColumnOptions { geometry: Some(form), ..plain() };
        let decimals = |decimals| ColumnOptions { decimals: Some(decimals), ..plain() };
        let policy = |on_unrepresentable| ColumnOptions { on_unrepresentable, ..plain() };
        for (decoding, options, fits) in [
            (Some(Decoding::Int4), plain(), true),
            (Some(Decoding::Int4), long(OnTooLong::Null), false),
            (Some(Decoding::Int4), decimals(2), false),
            (Some(Decoding::Int4), form(GeometryForm::Wkb), false),
            (Some(Decoding::Int4), policy(OnUnrepresentable::Null), true),
            (Some(Decoding::NumericText), decimals(2), true),
            (Some(Decoding::NumericText), decimals(16), false),
            (Some(Decoding::Text), decimals(2), false),
            (Some(Decoding::Text), long(OnTooLong::Truncate), true),
            (Some(Decoding::Json), long(OnTooLong::Truncate), false),
            (Some(Decoding::Jsonb), long(OnTooLong::Null), true),
            (Some(Decoding::Text), form(GeometryForm::Polyline), true),
            (
                Some(Decoding::Text),
                ColumnOptions { on_too_long: Some(OnTooLong::Truncate), ..form(GeometryForm::Text) },
                false,
            ),
            (
                Some(Decoding::Text),
                ColumnOptions { on_too_long: Some(OnTooLong::Null), ..form(GeometryForm::Wkb) },
                false,
            ),
            (
                Some(Decoding::Text),
                ColumnOptions { geometry: Some(GeometryForm::Wkb), ..policy(OnUnrepresentable::Text) },
                false,
            ),
            (None, policy(OnUnrepresentable::Text), true),
        ] {
            let found = apply(decoding.clone(), &options);
            assert_eq!(found.is_ok(), fits, "{decoding:?} {options:?}: {found:?}");
        }
        assert_eq!(apply(None, &policy(OnUnrepresentable::Null)), Ok(None));
        assert_eq!(apply(None, &policy(OnUnrepresentable::Text)), Ok(Some(Decoding::Cast)));
    }
}
