//! Test vectors in files, one per defect: each names an operation, its input and the code that must come out (`OK` for the valid
//! ones, which hold the formats still). Every error code has at least one.
//!
//! `cargo test -p pulsegate-ipfs --test vectors -- --ignored` writes them anew; do that only when a format changes on purpose.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod operations;
#[path = "../seeded/mod.rs"]
mod seeded;
mod write;

use std::collections::BTreeSet;
use std::path::PathBuf;

use proptest::prelude::*;
use pulsegate_ipfs::SealError;
use serde_json::Value;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors").join("defects")
}

fn all() -> Vec<(String, Value)> {
    let mut vectors: Vec<_> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap())
        })
        .collect();
    vectors.sort_by(|a: &(String, Value), b| a.0.cmp(&b.0));
    vectors
}

#[test]
fn every_vector_gives_its_code() {
    for (name, vector) in all() {
        let expected = vector["code"].as_str().unwrap();
        let outcome = operations::run(&vector);
        let code = outcome.as_ref().err().map_or("OK", SealError::code);
        assert_eq!(code, expected, "{name}: {outcome:?}");
        if let Err(error) = outcome {
            assert!(!error.to_string().is_empty(), "{name}");
        }
    }
}

#[test]
fn every_code_has_a_vector() {
    let vectors = all();
    let covered: BTreeSet<&str> = vectors.iter().map(|(_, vector)| vector["code"].as_str().unwrap()).collect();
    for code in SealError::CODES {
        assert!(covered.contains(code), "no vector for {code}");
    }
    for code in covered {
        assert!(code == "OK" || SealError::CODES.contains(&code), "{code} is no code");
    }
}

/// Random damage to every stored object: an error comes out or, where the damage undid itself, the object; never a panic.
#[test]
fn damaged_objects_never_panic() {
    let damages = proptest::collection::vec((any::<u32>(), any::<u8>(), 0..4u8), 1..6);
    let objects: Vec<(Value, &str, Vec<u8>)> = all()
        .into_iter()
        .filter_map(|(_, vector)| {
            let field = ["block", "car"].into_iter().find(|field| vector["input"][field].is_string())?;
            let bytes = hex::decode(vector["input"][field].as_str().unwrap()).unwrap();
            Some((vector, field, bytes))
        })
        .collect();
    seeded::check(300, &damages, |damages| {
        for (vector, field, bytes) in &objects {
            let mut damaged = bytes.clone();
            for (place, byte, kind) in &damages {
                let place = *place as usize % (damaged.len() + 1);
                match kind {
                    0 => damaged.truncate(place),
                    1 => damaged.insert(place, *byte),
                    _ => damaged.iter_mut().skip(place).take(1).for_each(|old| *old = *byte),
                }
            }
            let mut vector = vector.clone();
            vector["input"][*field] = Value::String(hex::encode(damaged));
            let _ = operations::run(&vector);
        }
        Ok(())
    });
}

#[test]
#[ignore = "writes the vector files"]
fn write_vectors() {
    std::fs::create_dir_all(folder()).unwrap();
    for (name, vector) in write::vectors() {
        let text = serde_json::to_string_pretty(&vector).unwrap() + "\n";
        std::fs::write(folder().join(format!("{name}.json")), text).unwrap();
    }
}
