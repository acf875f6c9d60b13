//! The seeds of the fuzz target `decoder`, which hold whatever it has found, and thousands of mutations of them: what
//! `make fuzz` does for as long as one likes, without coverage to guide it, and the same each time.

use std::fs;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::fuzzing;

fn seeds() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/decoder");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn the_seeds_hold_every_law_and_both_verdicts() {
    let seeds = seeds();
    let decoded = seeds.iter().filter(|seed| fuzzing::decode(seed)).count();
    let refused = seeds.len() - decoded;
    assert!(decoded > 60 && refused > 20, "{decoded} decoded and {refused} refused");
    for choice in 0..=u8::MAX {
        assert!(!fuzzing::decode(&[&[choice][..], b"\x01\xff"].concat()) || choice < 64, "{choice}");
    }
}

#[test]
fn thousands_of_mutated_seeds_hold_every_law() {
    const NUMBERS: [i32; 8] = [-1, 0, 1, i32::MAX, i32::MIN, 1 << 16, 25, 1082];
    let seeds = seeds();
    let mut random = StdRng::seed_from_u64(20_261_120);
    let (mut decoded, mut refused) = (0, 0);
    for _ in 0..6_000 {
        let mut bytes = seeds[random.random_range(0..seeds.len())].clone();
        for _ in 0..random.random_range(1..5) {
            let at = random.random_range(0..=bytes.len());
            let end = random.random_range(at..=bytes.len());
            match random.random_range(0..6) {
                0 => drop(bytes.drain(at..end.min(at + 8))),
                1 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
                2 if at < bytes.len() => bytes[at] = random.random(),
                // A length or a count that lies.
                3 if at + 4 <= bytes.len() => {
                    let number = NUMBERS[random.random_range(0..NUMBERS.len())];
                    bytes[at..at + 4].copy_from_slice(&number.to_be_bytes());
                }
                4 => {
                    let other = &seeds[random.random_range(0..seeds.len())];
                    let from = random.random_range(0..=other.len());
                    drop(bytes.splice(at..end, other[from..].iter().copied()));
                }
                _ => bytes.truncate(end),
            }
        }
        if fuzzing::decode(&bytes) {
            decoded += 1;
        } else {
            refused += 1;
        }
    }
    assert!(decoded > 300 && refused > 1_000, "{decoded} decoded and {refused} refused, so that little was measured");
}
