//! Whatever text comes as a GraphQL document, the guard answers, with little work, and lets through only what is small.
#![no_main]

#[allow(dead_code, reason = "the service uses more of it than this target")]
#[path = "../src/api/graphql/guard.rs"]
mod guard;
#[path = "../src/api/graphql/guard/laws.rs"]
mod laws;

use guard::*;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    laws::hold(text, false);
    laws::hold(text, true);
});
