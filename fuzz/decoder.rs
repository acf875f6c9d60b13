//! Whatever bytes come as a value or as a whole COPY, the decoder answers with what is sound to Arrow or with an error.
#![no_main]

#[allow(dead_code, unused_imports, reason = "the service uses more of it than this target")]
#[path = "../src/warehouse"]
mod warehouse {
    pub mod geo;
    mod options;

    pub use self::options::{ColumnOptions, FidelityCount, GeometryForm, LONGEST_TEXT, OnTooLong, OnUnrepresentable};

    pub mod postgres {
        mod copy;
        mod types;

        pub use self::copy::fuzzing;
    }
}

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    warehouse::postgres::fuzzing::decode(bytes);
});
