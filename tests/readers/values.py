"""Values as every reader can say them: texts of leaves, in lists and objects where they are nested."""

import datetime
import decimal
import struct
import uuid

import pyarrow as pa

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def bits(value, wide):
    return None if value is None else str(int.from_bytes(struct.pack(">d" if wide else ">f", value), "big"))


def leaf(value):
    """The text of a Python value within a nested one; all floats there are of the wide type."""
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return bits(value, True)
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, datetime.datetime):
        return str((value.replace(tzinfo=value.tzinfo or datetime.timezone.utc) - EPOCH) // datetime.timedelta(microseconds=1))
    if isinstance(value, uuid.UUID):
        return value.hex
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    return str(value)


def nested(value, is_map=False):
    if is_map and value is not None:
        return dict(value)
    if isinstance(value, list):
        return [nested(item) for item in value]
    if isinstance(value, dict):
        return {key: nested(item) for key, item in value.items()}
    return leaf(value)


def by_pyarrow(column):
    if isinstance(column.type, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    if pa.types.is_binary_view(column.type):
        column = column.cast(pa.binary())
    kind = column.type
    if pa.types.is_nested(kind):
        return [nested(value, pa.types.is_map(kind)) for value in column.to_pylist()]
    if pa.types.is_timestamp(kind):
        assert kind.unit == "us", kind
        column = column.cast(pa.int64())
    if pa.types.is_time64(kind):
        assert kind.unit == "us", kind
        column = column.cast(pa.int64())
    if pa.types.is_date32(kind):
        column = column.cast(pa.int32())
    values = column.to_pylist()
    if pa.types.is_floating(kind):
        return [bits(value, kind == pa.float64()) for value in values]
    if pa.types.is_decimal(kind):
        return [None if value is None else format(value, "f") for value in values]
    if pa.types.is_boolean(kind):
        return [None if value is None else str(value).lower() for value in values]
    if pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return [None if value is None else value.hex() for value in values]
    return [None if value is None else str(value) for value in values]


def by_duckdb(connection, name, kind):
    """A column of the view `file`, whose type DuckDB calls so."""
    column = '"' + name.replace('"', '""') + '"'
    inside = kind.endswith("[]") or kind.startswith(("STRUCT", "MAP"))
    expression = {
        "TIMESTAMP": f"epoch_us({column})::VARCHAR",
        "TIMESTAMP WITH TIME ZONE": f"epoch_us({column})::VARCHAR",
        "TIME": f"(epoch_ns({column}) // 1000)::VARCHAR",
        "DATE": f"({column} - DATE '1970-01-01')::VARCHAR",
        "BLOB": f"lower(hex({column}))",
        "UUID": f"replace({column}::VARCHAR, '-', '')",
        "FLOAT": column,
        "DOUBLE": column,
    }.get(kind, column if kind.startswith("DECIMAL") or inside else f"{column}::VARCHAR")
    values = [row[0] for row in connection.execute(f"SELECT {expression} FROM file ORDER BY id").fetchall()]
    if inside:
        return [nested(value, kind.startswith("MAP")) for value in values]
    if kind in ("FLOAT", "DOUBLE"):
        return [bits(value, kind == "DOUBLE") for value in values]
    if kind.startswith("DECIMAL"):
        return [None if value is None else format(value, "f") for value in values]
    return values


def differences(reader, name, kind, want, got):
    """What of a column is not as it should be, in one line; nothing where all is."""
    wrong = [(row, a, b) for row, (a, b) in enumerate(zip(want, got)) if a != b]
    if len(want) == len(got) and not wrong:
        return []
    return [f"{reader}, {name} ({kind}): {len(got)} of {len(want)} values, wrong: {wrong[:2]!r:.400}"]
