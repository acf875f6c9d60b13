//! What a Parquet file says of its geometry columns: GeoParquet 1.1, <https://geoparquet.org/releases/v1.1.0/>.

use arrow::datatypes::{DataType, Schema};
use serde_json::{Map, Value, json};

/// The key under which readers look for it.
pub const KEY: &str = "geo";
/// The field's word for how geometry is meant: `geometry` or `geography`.
const MEANT: &str = "geometry";
/// The field's word for the reference system.
const SRID: &str = "srid";

/// The metadata of a file with this schema; `None` without a geometry column.
///
/// A reference system other than longitude and latitude is only named by its number in the field, so here it stands as
/// unknown: GeoParquet takes nothing but a full description of it.
pub fn metadata(schema: &Schema) -> Option<String> {
    let mut columns = Map::new();
    for field in schema.fields().iter().filter(|field| field.data_type() == &DataType::Binary) {
        let Some(meant) = field.metadata().get(MEANT) else { continue };
        // Which types occur is known only once all rows are read, and may be left open.
        let mut column = json!({"encoding": "WKB", "geometry_types": []});
        if field.metadata().get(SRID).map(String::as_str) != Some("4326") {
            column["crs"] = Value::Null;
        }
        if meant == "geography" {
            column["edges"] = "spherical".into();
        }
        columns.insert(field.name().clone(), column);
    }
    let primary = columns.keys().next()?.clone();
    Some(json!({"version": "1.1.0", "primary_column": primary, "columns": columns}).to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn geometry_columns_are_described_and_others_are_not() {
        let field = |name: &str, data_type, metadata: &[(&str, &str)]| {
            let metadata: HashMap<_, _> =
                metadata.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
            Field::new(name, data_type, true).with_metadata(metadata)
        };
        let schema = Schema::new(vec![
            field("id", DataType::Int64, &[]),
            field("raw", DataType::Binary, &[]),
            field("line", DataType::Utf8, &[("geometry", "geometry")]),
            field("shape", DataType::Binary, &[("geometry", "geometry"), ("srid", "3857")]),
            field("at", DataType::Binary, &[("geometry", "geography"), ("srid", "4326")]),
        ]);
        let said: Value = serde_json::from_str(&metadata(&schema).unwrap()).unwrap();
        assert_eq!(
            said,
            json!({"version": "1.1.0", "primary_column": "shape", "columns": {
                "shape": {"encoding": "WKB", "geometry_types": [], "crs": null},
                "at": {"encoding": "WKB", "geometry_types": [], "edges": "spherical"}}})
        );
        assert_eq!(metadata(&Schema::new(vec![field("raw", DataType::Binary, &[])])), None);
    }
}
