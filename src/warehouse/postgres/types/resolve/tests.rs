use super::*;

fn modifier(precision: i32, scale: i32) -> i32 {
    ((precision << 16) | (scale & 0x7ff)) + 4
}

#[test]
fn a_numeric_becomes_a_decimal_that_holds_every_value_of_it() {
    for (modifier, want) in [
        (-1, None),
        (modifier(10, 2), Some((10, 2))),
        (modifier(38, 0), Some((38, 0))),
        (modifier(38, 38), Some((38, 38))),
        (modifier(39, 0), None),
        (modifier(1000, 1000), None),
        (modifier(5, -2), Some((7, 0))),
        (modifier(38, -1), None),
        (modifier(3, 5), Some((5, 5))),
        (modifier(3, 39), None),
    ] {
        let want = want.map_or(Decoding::NumericText, |(precision, scale)| Decoding::Decimal { precision, scale });
        assert_eq!(numeric(modifier), want);
    }
}

#[test]
fn a_modifier_of_postgis_states_a_reference_system() {
    // As PostGIS writes them: geometry(Point,4326), geometry(Point), geometry(PolygonZ,3857).
    for (modifier, want) in [(-1, 0), (1_107_460, 4326), (4, 0), ((3857 << 8) | (3 << 2) | 2, 3857)] {
        assert_eq!(srid(modifier), want, "{modifier}");
    }
}

/// A type of the catalog: its number, its class, who sends it, its extension and its name, and what is inside.
type Row<'a> = (u32, char, &'a str, (&'a str, &'a str), u32);

fn types(rows: &[Row<'_>]) -> Types {
    let by_oid = rows.iter().map(|&(oid, class, send, (extension, name), inner)| {
        let found = CatalogType {
            name: name.to_owned(),
            class,
            send: send.to_owned(),
            extension: extension.to_owned(),
            inner,
            modifier: -1,
            ..CatalogType::default()
        };
        (oid, found)
    });
    Types { by_oid: by_oid.collect(), money_scale: 2 }
}

#[test]
fn what_is_not_listed_cannot_be_exported() {
    for (class, send, extension, kind, exported) in [
        ('b', "point_send", ("", "point"), ColumnKind::Other, false),
        ('c', "record_send", ("", "pair"), ColumnKind::Other, false),
        ('p', "textsend", ("", "pseudo"), ColumnKind::Other, false),
        ('b', "textsend", ("citext", "citext"), ColumnKind::Text, true),
        ('b', "byteasend", ("", "geometry"), ColumnKind::Other, false),
        ('b', "byteasend", ("postgis", "geometry"), ColumnKind::Other, true),
        ('b', "", ("", "hstore"), ColumnKind::Other, false),
        ('b', "", ("hstore", "hstore"), ColumnKind::Other, true),
        ('e', "enum_send", ("", "colour"), ColumnKind::Enum, true),
    ] {
        let found = types(&[(70_000, class, send, extension, 0)]).resolve(70_000, -1);
        assert_eq!((found.kind, found.portable.is_some()), (kind, exported), "{class} {send} {extension:?}");
        assert_eq!(found.native.is_some(), exported);
    }
}

#[test]
fn what_is_nested_is_never_taken_for_a_plain_kind() {
    let types = types(&[
        (23, 'b', "int4send", ("", "int4"), 0),
        (25, 'b', "textsend", ("", "text"), 0),
        (3615, 'b', "tsquerysend", ("", "tsquery"), 0),
        (1007, 'b', "array_send", ("", "_int4"), 23),
        (1009, 'b', "array_send", ("", "_text"), 25),
        (3645, 'b', "array_send", ("", "_tsquery"), 3615),
        (3904, 'r', "range_send", ("", "int4range"), 23),
        (4451, 'm', "multirange_send", ("", "int4multirange"), 3904),
        (70_000, 'd', "textsend", ("", "tags"), 1009),
        (70_001, 'd', "", ("", "endless"), 70_001),
        (70_002, 'r', "range_send", ("", "odd"), 3615),
    ]);
    for oid in [1007, 1009, 3645, 3904, 4451, 70_000] {
        let found = types.resolve(oid, -1);
        assert_eq!((found.kind, found.portable.is_some()), (ColumnKind::Other, true), "{oid}");
    }
    for oid in [70_001, 70_002, 70_003] {
        assert_eq!(types.resolve(oid, -1).portable, None, "{oid}");
    }
}
