//! What a request may say of one column beyond what leaves: how values are written that the file's type does not
//! hold, how long a text may be, how geometry is written; and the counts of what that changed.

use serde::{Deserialize, Serialize};

/// The longest text, in bytes, that the warehouses take that will load the files (Redshift's `VARCHAR(65535)`).
pub const LONGEST_TEXT: usize = 65_535;

/// What becomes of a value that the column's type in the file does not hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnrepresentable {
    /// The export fails and names the column.
    #[default]
    Error,
    /// NULL in its place.
    Null,
    /// The nearest value of the type, where there is one; where there is none the export fails.
    Clamp,
    /// The whole column becomes text as PostgreSQL writes it, which holds every value.
    Text,
}

/// What becomes of a text of more than [`LONGEST_TEXT`] bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnTooLong {
    /// The export fails and names the column.
    Error,
    /// NULL in its place.
    Null,
    /// As many whole characters as fit. Only for plain text: what looks like geometry, JSON or XML is an error.
    Truncate,
}

/// How the geometry of a column is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GeometryForm {
    /// Well-known text; GeoJSON stays GeoJSON.
    Text,
    /// Well-known binary, ISO, little-endian.
    Wkb,
    /// An encoded polyline (Google's algorithm, latitude first); for points and lines.
    Polyline,
}

/// The options of one column.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ColumnOptions {
    /// What becomes of values that the file's type does not hold.
    pub on_unrepresentable: OnUnrepresentable,
    /// What becomes of texts that are too long; `None`: nothing is measured.
    pub on_too_long: Option<OnTooLong>,
    /// Decimal places, at most 15: of coordinates; or of a `numeric` without a precision, which becomes a decimal.
    pub decimals: Option<u8>,
    /// That the column holds geometry, and how it is written.
    pub geometry: Option<GeometryForm>,
}

/// How often something was changed on the way, so that a file says how faithful it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FidelityCount {
    /// The column.
    pub column: String,
    /// What was done: `nulled`, `clamped`, `truncated`, `kept`, or `noted` where nothing was changed.
    pub action: String,
    /// Why, without the value.
    pub reason: String,
    /// How often.
    pub count: u64,
}
