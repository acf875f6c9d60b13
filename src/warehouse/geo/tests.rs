use proptest::prelude::*;

use super::*;

fn text(text: &str, form: GeometryForm, decimals: Option<u8>) -> Result<String, Fault> {
    write_text(text, form, decimals).map(|written| String::from_utf8(written.bytes).unwrap())
}

fn round_trip(text: &str) -> String {
    let written = write_text(text, GeometryForm::Wkb, None).unwrap();
    let (geometry, srid) = read_wkb(&written.bytes).unwrap();
    assert_eq!(srid, 0);
    String::from_utf8(write(&geometry, GeometryForm::Text, None).unwrap()).unwrap()
}

#[test]
fn well_known_text_and_binary_say_the_same() {
    for (given, want) in [
        ("POINT(1 2)", "POINT(1 2)"),
        ("point z (1.50 -2 3e2)", "POINT Z (1.5 -2 300)"),
        ("POINT(1 2 3)", "POINT Z (1 2 3)"),
        ("POINT M (1 2 3)", "POINT M (1 2 3)"),
        ("POINT(1 2 3 4)", "POINT ZM (1 2 3 4)"),
        ("POINT EMPTY", "POINT EMPTY"),
        ("POINT Z EMPTY", "POINT Z EMPTY"),
        (" LINESTRING ( 0 0 , 1 1 ) ", "LINESTRING(0 0,1 1)"),
        ("POLYGON((0 0,4 0,4 4,0 0),(1 1,2 1,2 2,1 1))", "POLYGON((0 0,4 0,4 4,0 0),(1 1,2 1,2 2,1 1))"),
        ("MULTIPOINT(1 2,3 4)", "MULTIPOINT((1 2),(3 4))"),
        ("MULTIPOINT((1 2),(3 4))", "MULTIPOINT((1 2),(3 4))"),
        ("MULTILINESTRING Z ((0 0 1,1 1 1),(2 2 2,3 3 3))", "MULTILINESTRING Z ((0 0 1,1 1 1),(2 2 2,3 3 3))"),
        ("MULTIPOLYGON(((0 0,1 0,1 1,0 0)))", "MULTIPOLYGON(((0 0,1 0,1 1,0 0)))"),
        ("MULTIPOLYGON EMPTY", "MULTIPOLYGON EMPTY"),
        ("GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1))", "GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1))"),
        ("GEOMETRYCOLLECTION EMPTY", "GEOMETRYCOLLECTION EMPTY"),
        (r#"{"type":"Point","coordinates":[1,2.5]}"#, "POINT(1 2.5)"),
        (r#"{"coordinates":[[1,2,3],[4,5,6]],"type":"LineString"}"#, "LINESTRING Z (1 2 3,4 5 6)"),
        (r#"{"type":"Feature","properties":{"a":[1]},"geometry":{"type":"Point","coordinates":[1,2]}}"#, "POINT(1 2)"),
        (r#"{"type":"MultiPolygon","coordinates":[[[[0,0],[1,0],[1,1],[0,0]]]]}"#, "MULTIPOLYGON(((0 0,1 0,1 1,0 0)))"),
        (r#"{"type":"FeatureCollection","features":[]}"#, "GEOMETRYCOLLECTION EMPTY"),
    ] {
        assert_eq!(round_trip(given), want, "{given}");
    }
}

#[test]
fn binary_is_what_iso_says() {
    let hex = |text: &str| write_text(text, GeometryForm::Wkb, None).unwrap().bytes;
    assert_eq!(hex("POINT(1 2)"), [&[1, 1, 0, 0, 0][..], &1_f64.to_le_bytes(), &2_f64.to_le_bytes()].concat());
    assert_eq!(hex("POINT Z (1 2 3)")[..5], [1, 0xe9, 3, 0, 0]);
    assert_eq!(hex("POINT M (1 2 3)")[..5], [1, 0xd1, 7, 0, 0]);
    assert_eq!(hex("POINT ZM (1 2 3 4)")[..5], [1, 0xb9, 0xb, 0, 0]);
}

#[test]
fn the_extended_form_of_a_server_is_read_in_both_byte_orders() {
    let little =
        [&[1][..], &0x2000_0001_u32.to_le_bytes(), &4326_u32.to_le_bytes(), &1_f64.to_le_bytes(), &2_f64.to_le_bytes()];
    let big = [
        &[0][..],
        &0xa000_0001_u32.to_be_bytes(),
        &3857_u32.to_be_bytes(),
        &1_f64.to_be_bytes(),
        &2_f64.to_be_bytes(),
        &3_f64.to_be_bytes(),
    ];
    for (bytes, srid, want) in [(little.concat(), 4326, "POINT(1 2)"), (big.concat(), 3857, "POINT Z (1 2 3)")] {
        let (geometry, found) = read_wkb(&bytes).unwrap();
        assert_eq!(found, srid);
        assert_eq!(write(&geometry, GeometryForm::Text, None).unwrap(), want.as_bytes());
        for length in 0..bytes.len() {
            assert!(matches!(read_wkb(&bytes[..length]), Err(Fault::Malformed(_))), "{length}");
        }
    }
    let curve = [&[1][..], &8_u32.to_le_bytes(), &0_u32.to_le_bytes()].concat();
    assert!(matches!(read_wkb(&curve), Err(Fault::Unfit(_))));
    let endless = [&[1][..], &2_u32.to_le_bytes(), &u32::MAX.to_le_bytes()].concat();
    assert!(matches!(read_wkb(&endless), Err(Fault::Malformed(_))));
    let nested: Vec<u8> = [&[1, 7, 0, 0, 0, 1, 0, 0, 0][..]].concat().repeat(40);
    assert!(matches!(read_wkb(&nested), Err(Fault::Unfit(_))));
}

#[test]
fn what_is_no_geometry_is_refused_in_every_form() {
    for given in [
        "",
        "hello",
        "POINT",
        "POINT()",
        "POINT(1)",
        "POINT(1 2",
        "POINT(1 2))",
        "POINT(1 2 3 4 5)",
        "POINT(1 2,3 4)",
        "POINT(a b)",
        "POINT(nan nan)",
        "LINESTRING(1 2,3 4 5)",
        "POINT Z (1 2)",
        "CIRCULARSTRING(0 0,1 1,2 0)",
        "SRID=x;POINT(1 2)",
        "name@example.com",
        "POINT(1 2) extra",
        "GEOMETRYCOLLECTION(POINT Z (1 2 3),POINT(1 2))",
        "{}",
        r#"{"type":"Point"}"#,
        r#"{"type":"Point","coordinates":[1]}"#,
        r#"{"type":"LineString","coordinates":[[1,2],[1,2,3]]}"#,
        r#"{"type":"Circle","coordinates":[1,2]}"#,
        r#"{"type":"Point","coordinates":[1,2]"#,
        r#"{"type":"Point","coordinates":["1","2"]}"#,
    ] {
        for form in [GeometryForm::Text, GeometryForm::Wkb, GeometryForm::Polyline] {
            for decimals in [None, Some(2)] {
                assert!(matches!(text(given, form, decimals), Err(Fault::Unfit(_))), "{given} {form:?} {decimals:?}");
            }
        }
    }
}

#[test]
fn rounding_changes_the_digits_of_coordinates_and_nothing_else() {
    for (given, decimals, want) in [
        ("SRID=4326;POINT(1.2345 -9.9995)", 3, "SRID=4326;POINT(1.235 -10)"),
        ("LINESTRING Z (0.05 1 1.25, 2.949 1e1 0)", 1, "LINESTRING Z (0.1 1 1.3, 2.9 10 0)"),
        (
            r#"{"type":"Feature","id":1.23456789,"properties":{"coordinates":[1.23456789],"big":12345678901234567890123,"s":"\"[1.999"},"geometry":{ "type":"Point", "coordinates" : [ 1.23456789 , -2.5e0 ]},"bbox":[1.19,2,3,4]}"#,
            1,
            r#"{"type":"Feature","id":1.23456789,"properties":{"coordinates":[1.23456789],"big":12345678901234567890123,"s":"\"[1.999"},"geometry":{ "type":"Point", "coordinates" : [ 1.2 , -2.5 ]},"bbox":[1.2,2,3,4]}"#,
        ),
    ] {
        assert_eq!(text(given, GeometryForm::Text, Some(decimals)).as_deref(), Ok(want));
    }
    let hidden = r#"{"type":"Point","coordinates":[1,2],"co\u006frdinates":[1.23456,2]}"#;
    assert!(text(hidden, GeometryForm::Text, Some(1)).is_err());
    assert_eq!(write_text("SRID=3857;POINT(1 2)", GeometryForm::Wkb, None).unwrap().srid, 3857);
}

#[test]
fn rounding_that_breaks_a_ring_is_said_and_not_done() {
    let thin = "POLYGON((0 0,10 0.004,10 0.001,0 0))";
    let bow = "POLYGON((0 0,4 0.4,4 4,0.4 0.6,0 4,0 0))";
    for (given, decimals, want) in [
        ("POLYGON((0 0,0.004 0,0.004 0.004,0 0))", 2, Err("rounding would make a ring collapse")),
        ("POLYGON((0 0,0.004 0,0.004 0.004,0 0))", 3, Ok(())),
        (thin, 2, Err("rounding would make a ring collapse")),
        (thin, 3, Ok(())),
        ("POLYGON((0 0,9 0,9 9,0 9,0 0),(1 1,1.1 1,1.1 1.1,1 1))", 0, Err("rounding would make a ring collapse")),
        (
            "POLYGON((0 0,9 0,9 9,0 9,0 0),(0.4 1,3 1.2,3 3.3,0.4 1))",
            0,
            Err("rounding would make rings touch or cross"),
        ),
        ("POLYGON((0 0.2,9 0.2,9 9,5 1.2,4 0.6,0 9.1,0 0.2))", 0, Ok(())),
        ("POLYGON((0 0.2,9 0.2,9 9,4 0.4,0 9.1,0 0.2))", 0, Err("rounding would make rings touch or cross")),
        (bow, 1, Ok(())),
        ("MULTIPOLYGON(((0 0,1.2 0,0 1.2,0 0)),((1.3 0,3 0,3 3,1.3 0)))", 1, Ok(())),
        (
            "MULTIPOLYGON(((0 0,1.2 0,0 1.2,0 0)),((1.3 0,3 0,3 3.1,1.3 0)))",
            0,
            Err("rounding would make rings touch or cross"),
        ),
        ("LINESTRING(0 0,0.1 0.1)", 0, Err("rounding would make a line a point")),
        ("LINESTRING(0 0,0.1 0.1,2 2)", 0, Ok(())),
        ("POLYGON((0 0,1 0,1 1))", 3, Ok(())),
        ("POLYGON((0 0,1 0,1 1.1111))", 3, Err("rounding would leave a ring open")),
        ("POLYGON((0 0,1e14 0.1111,1 1,0 0))", 3, Err("coordinates are too large to be checked after rounding")),
        (
            "GEOMETRYCOLLECTION(POINT(1.11 1),POLYGON((0 0,0.1 0,0.1 0.1,0 0)))",
            0,
            Err("rounding would make a ring collapse"),
        ),
    ] {
        let found = text(given, GeometryForm::Text, Some(decimals)).map(drop);
        assert_eq!(found, want.map_err(Fault::Rounding), "{given} {decimals}");
    }
    // Many corners are checked in a moment, and what would take too long is not called checked.
    let corners = |radius: f64, count: u32| {
        let at = |step: u32| f64::from(step % count) / f64::from(count) * std::f64::consts::TAU;
        let ring: Vec<_> =
            (0..=count).map(|step| format!("{:.9} {:.9}", at(step).cos() * radius, at(step).sin() * radius)).collect();
        format!("POLYGON(({}))", ring.join(","))
    };
    assert!(text(&corners(100.0, 20_000), GeometryForm::Text, Some(6)).is_ok());
    let comb: Vec<_> = (0..6_000).map(|step| format!("{} {}.01", if step % 2 == 0 { 0 } else { 9 }, step)).collect();
    let comb = format!("POLYGON(({},-1 6001,-1 0,0 0.01))", comb.join(","));
    assert_eq!(
        text(&comb, GeometryForm::Text, Some(1)),
        Err(Fault::Rounding("the geometry is too intricate to be checked after rounding"))
    );
}

#[test]
fn a_polyline_is_what_its_readers_expect() {
    // The example of the format's description.
    let line = "LINESTRING(-120.2 38.5,-120.95 40.7,-126.453 43.252)";
    assert_eq!(text(line, GeometryForm::Polyline, None).as_deref(), Ok("_p~iF~ps|U_ulLnnqC_mqNvxq`@"));
    assert_eq!(text("POINT(-179.9832104 0)", GeometryForm::Polyline, None).as_deref(), Ok("?`~oia@"));
    assert_eq!(text("LINESTRING EMPTY", GeometryForm::Polyline, None).as_deref(), Ok(""));
    for given in ["POLYGON((0 0,1 0,1 1,0 0))", "POINT Z (1 2 3)", "MULTIPOINT(1 2)", "POINT(1e300 0)"] {
        assert!(matches!(text(given, GeometryForm::Polyline, None), Err(Fault::Unfit(_))), "{given}");
    }
}

proptest! {
    #[test]
    fn any_text_and_any_bytes_are_a_geometry_or_a_fault(
        given in "[A-Z(){}\\[\\],.:\"0-9e \\-]{0,60}",
        bytes in prop::collection::vec(any::<u8>(), 0..80),
        decimals in prop::option::of(0_u8..16),
    ) {
        for form in [GeometryForm::Text, GeometryForm::Wkb, GeometryForm::Polyline] {
            let _ = write_text(&given, form, decimals);
            let _ = write_text(&format!("MULTIPOLYGON{given}"), form, decimals);
            let _ = write_text(&format!("{{\"type\":\"Point\",\"coordinates\":{given}"), form, decimals);
            if let Ok((geometry, _)) = read_wkb(&[&[1, 3, 0, 0, 0][..], &bytes].concat()) {
                let _ = write(&geometry, form, decimals);
            }
            let _ = read_wkb(&bytes);
        }
    }

    /// A ring that survives rounding has no two sides that meet, by a check that compares every pair in floats.
    #[test]
    fn what_is_let_through_is_simple(corners in prop::collection::vec((-30_i32..30, -30_i32..30), 3..9), decimals in 0_u8..2) {
        let mut ring: Vec<String> = corners.iter().map(|(x, y)| format!("{}.{} {}.{}", x / 10, (x % 10).abs(), y / 10, (y % 10).abs())).collect();
        ring.push(ring[0].clone());
        let polygon = format!("POLYGON(({}))", ring.join(","));
        if let Ok(rounded) = text(&polygon, GeometryForm::Text, Some(decimals)) && rounded != polygon {
            let (geometry, _) = wkt::read(&rounded).unwrap();
            let Parts::Rings(rings) = geometry.parts else { panic!("no polygon") };
            let mut points = rings[0].clone();
            points.dedup();
            let sides: Vec<_> = points.windows(2).map(|pair| (pair[0], pair[1])).collect();
            prop_assert!(sides.len() >= 3);
            for (at, (a, b)) in sides.iter().enumerate() {
                for (c, d) in sides.iter().skip(at + 2).take(sides.len().saturating_sub(if at == 0 { 3 } else { 0 })) {
                    let turn = |p: &Position, q: &Position, r: &Position| (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]);
                    let proper = turn(a, b, c) * turn(a, b, d) < -1e-9 && turn(c, d, a) * turn(c, d, b) < -1e-9;
                    prop_assert!(!proper, "{} became {}", polygon, rounded);
                }
            }
        }
    }
}
