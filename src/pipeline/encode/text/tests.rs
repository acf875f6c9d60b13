use std::io::Read;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array,
    Float64Array, Int16Array, Int32Array, Int64Array, ListArray, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use proptest::prelude::*;

use super::*;

fn column(field: Field, array: ArrayRef) -> RecordBatch {
    RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![array]).unwrap()
}

fn csv() -> TextFormat {
    TextFormat::Csv { guarded: Vec::new() }
}

fn encode(batches: &[RecordBatch], format: &TextFormat, compression: TextCompression) -> Vec<u8> {
    let mut encoder: Box<dyn Encoder> = Box::new(TextEncoder::new(&batches[0].schema(), format, compression).unwrap());
    let mut file = Vec::new();
    for batch in batches {
        encoder.write(batch).unwrap();
        file.extend(encoder.drain().concat());
    }
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let tail = encoder.finish().unwrap();
    file.extend(tail.bytes.concat());
    assert_eq!((tail.size, tail.rows), (file.len() as u64, rows as u64));
    file
}

fn text(batch: &RecordBatch, format: &TextFormat) -> String {
    String::from_utf8(encode(std::slice::from_ref(batch), format, TextCompression::None)).unwrap()
}

#[test]
fn each_type_in_both_formats() {
    let plain = |name: &str, array: ArrayRef| (Field::new(name, array.data_type().clone(), true), array);
    let extension = |name: &str, array: ArrayRef, kind: &str| {
        let metadata = [("ARROW:extension:name".to_owned(), kind.to_owned())].into();
        (Field::new(name, array.data_type().clone(), true).with_metadata(metadata), array)
    };
    let decimals = |scale: i8| {
        let values = [0, 5, -5, 12_345, -99_999_999_999_999_999_999_999_999_999_999_999_999_i128];
        Arc::new(Decimal128Array::from(values.to_vec()).with_precision_and_scale(38, scale).unwrap()) as ArrayRef
    };
    let micros = |zone: Option<&str>| {
        let values = TimestampMicrosecondArray::from(vec![Some(1_709_251_200_000_001), None, Some(-1)]);
        Arc::new(match zone {
            Some(zone) => values.with_timezone(zone),
            None => values,
        }) as ArrayRef
    };
    let pair = vec![
        (Arc::new(Field::new("a", DataType::Int32, true)), Arc::new(Int32Array::from(vec![Some(1), None])) as ArrayRef),
        (Arc::new(Field::new("b\"", DataType::Utf8, true)), Arc::new(StringArray::from(vec![None, Some("x")]))),
    ];
    for ((field, array), csv_lines, json_values) in [
        (
            plain("v", Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(i64::MAX)]))),
            vec!["-9223372036854775808", "", "9223372036854775807"],
            vec!["-9223372036854775808", "null", "9223372036854775807"],
        ),
        (plain("v", Arc::new(Int16Array::from(vec![-7]))), vec!["-7"], vec!["-7"]),
        (
            plain("v", Arc::new(Float64Array::from(vec![0.1, -0.0, 1e300, 5e-324, f64::NAN, f64::NEG_INFINITY, 1e15]))),
            vec!["0.1", "-0.0", "1e300", "5e-324", "NaN", "-Infinity", "1000000000000000"],
            vec!["0.1", "-0.0", "1e300", "5e-324", "\"NaN\"", "\"-Infinity\"", "1000000000000000"],
        ),
        (
            plain("v", Arc::new(Float32Array::from(vec![0.1_f32, f32::MAX, f32::INFINITY]))),
            vec!["0.1", "3.4028235e38", "Infinity"],
            vec!["0.1", "3.4028235e38", "\"Infinity\""],
        ),
        (
            plain("v", decimals(2)),
            vec!["0.00", "0.05", "-0.05", "123.45", "-999999999999999999999999999999999999.99"],
            vec!["\"0.00\"", "\"0.05\"", "\"-0.05\"", "\"123.45\"", "\"-999999999999999999999999999999999999.99\""],
        ),
        (
            plain("v", decimals(0)),
            vec!["0", "5", "-5", "12345", "-99999999999999999999999999999999999999"],
            vec!["\"0\"", "\"5\"", "\"-5\"", "\"12345\"", "\"-99999999999999999999999999999999999999\""],
        ),
        (plain("v", Arc::new(BooleanArray::from(vec![true, false]))), vec!["true", "false"], vec!["true", "false"]),
        (
            plain("v", micros(Some("UTC"))),
            vec!["2024-03-01T00:00:00.000001Z", "", "1969-12-31T23:59:59.999999Z"],
            vec!["\"2024-03-01T00:00:00.000001Z\"", "null", "\"1969-12-31T23:59:59.999999Z\""],
        ),
        (
            plain("v", micros(None)),
            vec!["2024-03-01T00:00:00.000001", "", "1969-12-31T23:59:59.999999"],
            vec!["\"2024-03-01T00:00:00.000001\"", "null", "\"1969-12-31T23:59:59.999999\""],
        ),
        (plain("v", Arc::new(Date32Array::from(vec![-1]))), vec!["1969-12-31"], vec!["\"1969-12-31\""]),
        (
            plain("v", Arc::new(BinaryArray::from_vec(vec![b"\x00\xff", b""]))),
            vec!["00ff", "\"\""],
            vec!["\"00ff\"", "\"\""],
        ),
        (
            plain(
                "v",
                Arc::new(StringArray::from(vec![
                    Some("a b"),
                    None,
                    Some(""),
                    Some("q\"\n,\t"),
                    Some(" x "),
                    Some("ü\u{202e}"),
                    Some("c\rd\r\n"),
                ])),
            ),
            vec!["a b", "", "\"\"", "\"q\"\"\n,\t\"", "\" x \"", "ü\u{202e}", "\"c\rd\r\n\""],
            vec!["\"a b\"", "null", "\"\"", r#""q\"\n,\t""#, "\" x \"", "\"ü\u{202e}\"", r#""c\rd\r\n""#],
        ),
        // Many readers of lines take a carriage return for the end of one.
        (
            extension(
                "v",
                Arc::new(StringArray::from(vec!["{\"a\":\n 12345678901234567890.10}", "[]", "[1,\r2,\r\n3]"])),
                "arrow.json",
            ),
            vec!["\"{\"\"a\"\":\n 12345678901234567890.10}\"", "[]", "\"[1,\r2,\r\n3]\""],
            vec!["{\"a\":  12345678901234567890.10}", "[]", "[1, 2,  3]"],
        ),
        (
            extension(
                "v",
                Arc::new(FixedSizeBinaryArray::try_from_iter([[0xab_u8; 16]].into_iter()).unwrap()),
                "arrow.uuid",
            ),
            vec!["abababab-abab-abab-abab-abababababab"],
            vec!["\"abababab-abab-abab-abab-abababababab\""],
        ),
        (
            plain(
                "v",
                Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(vec![
                    Some(vec![Some(1), None]),
                    None,
                    Some(vec![]),
                ])),
            ),
            vec!["\"[1,null]\"", "", "[]"],
            vec!["[1,null]", "null", "[]"],
        ),
        (
            plain("v", Arc::new(StructArray::from(pair))),
            vec![r#""{""a"":1,""b\"""":null}""#, r#""{""a"":null,""b\"""":""x""}""#],
            vec![r#"{"a":1,"b\"":null}"#, r#"{"a":null,"b\"":"x"}"#],
        ),
    ] {
        let batch = column(field, array);
        let lines: String = csv_lines.iter().map(|line| format!("{line}\r\n")).collect();
        assert_eq!(text(&batch, &csv()), format!("v\r\n{lines}"), "{}", batch.schema());
        let lines: String = json_values.iter().map(|value| format!("{{\"v\":{value}}}\n")).collect();
        assert_eq!(text(&batch, &TextFormat::Jsonl), lines, "{}", batch.schema());
    }
}

#[test]
fn formulas_are_guarded_in_text_and_only_there() {
    let texts = ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "a=1", "", "'=", "=\"a\""];
    let batch = column(Field::new("v", DataType::Utf8, true), Arc::new(StringArray::from(texts.to_vec())));
    let guarded = text(&batch, &TextFormat::Csv { guarded: vec![true] });
    assert_eq!(
        guarded,
        "v\r\n'=1+1\r\n'+1\r\n'-1\r\n'@x\r\n\"'\t=1\"\r\n\"'\r=1\"\r\na=1\r\n\"\"\r\n''=\r\n\"'=\"\"a\"\"\"\r\n"
    );
    let plain = text(&batch, &TextFormat::Csv { guarded: vec![false] });
    assert_eq!(plain, "v\r\n=1+1\r\n+1\r\n-1\r\n@x\r\n\"\t=1\"\r\n\"\r=1\"\r\na=1\r\n\"\"\r\n'=\r\n\"=\"\"a\"\"\"\r\n");
    let numbers = column(Field::new("v", DataType::Int64, true), Arc::new(Int64Array::from(vec![-1])));
    assert_eq!(text(&numbers, &TextFormat::Csv { guarded: vec![true] }), "v\r\n-1\r\n");
}

/// A file, of which bytes leave while it is written, so that little is held.
fn encode_in_pieces(batches: &[RecordBatch], format: &TextFormat, compression: TextCompression) -> Vec<u8> {
    let mut encoder = Box::new(TextEncoder::new(&batches[0].schema(), format, compression).unwrap());
    let mut file = Vec::new();
    for batch in batches {
        encoder.write(batch).unwrap();
        file.extend(encoder.drain().concat());
        assert!(encoder.memory() < 1 << 20, "{}", encoder.memory());
    }
    assert!(!file.is_empty(), "{compression:?}");
    file.extend(encoder.finish().unwrap().bytes.concat());
    file
}

#[test]
fn compressed_files_hold_the_same_and_leave_before_the_end() {
    let texts: Vec<String> =
        (0..10_000).map(|row| format!("{} {}", row * 7919 % 10_007, "x".repeat(row % 90))).collect();
    let batch = column(Field::new("v", DataType::Utf8, true), Arc::new(StringArray::from(texts)));
    let batches = vec![batch; 4];
    for format in [csv(), TextFormat::Jsonl] {
        let plain = encode_in_pieces(&batches, &format, TextCompression::None);
        assert!(plain.len() > 1 << 20, "more than may be held: {}", plain.len());
        let packed = encode_in_pieces(&batches, &format, TextCompression::Gzip);
        let mut gzip = Vec::new();
        flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut gzip).unwrap();
        assert!(gzip == plain && packed.len() < plain.len() / 2);
        assert!(packed == encode(&batches, &format, TextCompression::Gzip), "equal rows make equal files");
        let packed = encode_in_pieces(&batches, &format, TextCompression::Zstd);
        assert!(zstd::stream::decode_all(packed.as_slice()).unwrap() == plain && packed.len() < plain.len() / 2);
    }
}

#[test]
fn files_without_rows_are_whole_and_types_without_a_form_are_named() {
    let empty = column(Field::new("v", DataType::Int64, true), Arc::new(Int64Array::from(Vec::<i64>::new())));
    assert_eq!(text(&empty, &csv()), "v\r\n");
    assert_eq!(text(&empty, &TextFormat::Jsonl), "");
    let schema =
        Arc::new(Schema::new(vec![Field::new("odd", DataType::Duration(arrow::datatypes::TimeUnit::Second), true)]));
    let error = TextEncoder::new(&schema, &csv(), TextCompression::None).unwrap_err().to_string();
    assert!(error.contains("'odd'"), "{error}");
}

proptest! {
    #[test]
    fn a_csv_reader_finds_every_text_again(rows in prop::collection::vec((any::<Option<String>>(), "[ -~\\n\\r\"]{0,8}"), 1..20)) {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8, true), Field::new("b", DataType::Utf8, true)]));
        let (first, second): (Vec<_>, Vec<_>) = rows.iter().cloned().unzip();
        let batch = RecordBatch::try_new(schema, vec![Arc::new(StringArray::from(first)), Arc::new(StringArray::from(second))]).unwrap();
        let file = encode(&[batch], &TextFormat::Csv { guarded: vec![false, false] }, TextCompression::None);
        let mut reader = ::csv::Reader::from_reader(file.as_slice());
        let found: Vec<_> = reader.records().map(|record| {
            let record = record.unwrap();
            (record[0].to_owned(), record[1].to_owned())
        }).collect();
        let wanted: Vec<_> = rows.into_iter().map(|(a, b)| (a.unwrap_or_default(), b)).collect();
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn every_float_reads_back_as_the_same(bits in any::<u64>(), small in any::<u32>()) {
        let (wide, narrow) = (f64::from_bits(bits), f32::from_bits(small));
        let floats = column(Field::new("v", DataType::Float64, true), Arc::new(Float64Array::from(vec![wide])));
        let file = text(&floats, &csv());
        let back: f64 = file.lines().nth(1).unwrap().parse().unwrap();
        prop_assert!(back.to_bits() == bits || wide.is_nan() && back.is_nan());
        let floats = column(Field::new("v", DataType::Float32, true), Arc::new(Float32Array::from(vec![narrow])));
        let back: f32 = text(&floats, &csv()).lines().nth(1).unwrap().parse().unwrap();
        prop_assert!(back.to_bits() == small || narrow.is_nan() && back.is_nan());
    }
}
