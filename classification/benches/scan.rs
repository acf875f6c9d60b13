//! How many clean short texts a core scans in a second, as one column and value by value.

#![allow(clippy::print_stdout, missing_docs)]

use std::fs;

use classification::pii::{PiiRules, Scanner};

#[allow(dead_code)]
#[path = "../tests/it/pii/road.rs"]
mod road;

/// CPU seconds that this process has used so far: other work on the machine does not count.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
}

fn main() {
    const TEXTS: usize = 1_000_000;
    let mut dice = road::Dice::new(3);
    let mut values = String::new();
    let mut offsets = vec![0_i32];
    // Short texts: what a name, a number or a time takes.
    while offsets.len() <= TEXTS {
        let text = road::clean(&mut dice);
        if text.len() <= 48 {
            values.push_str(&text);
            offsets.push(i32::try_from(values.len()).unwrap_or(i32::MAX));
        }
    }
    let scanner = Scanner::new(&PiiRules::default());
    for _ in 0..3 {
        let start = cpu_seconds();
        let mut found = 0;
        scanner.scan_column(&values, &offsets, |_, _, _| found += 1).unwrap_or_default();
        let seconds = cpu_seconds() - start;
        println!(
            "{TEXTS} texts of {:.1} bytes: {:.2} million a CPU second, {found} taken for personal data",
            values.len() as f64 / TEXTS as f64,
            TEXTS as f64 / seconds / 1e6
        );
    }
}
