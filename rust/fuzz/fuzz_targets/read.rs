//! A file reads if it is a JSON array to serde_json, and its records are the elements.

#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use omem_core::read::{Loaded, read};
use omem_core::{Node, Plan};
use serde_json::{Deserializer, Value};

fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("omem-fuzz-{}.json", std::process::id()));
    let plan = Plan { nodes: vec![Node::Opaque], root: 0 };
    let load = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        read(&path, &plan, None, false, &mut |_, _| true)
    };
    let loaded = load(bytes);
    match (elements(bytes), &loaded) {
        (Some(expected), Ok(loaded)) => assert_eq!(values(loaded), expected),
        (None, Ok(loaded)) => {
            // NaN and Infinity are let through here, for a float field; 1e999 is no error of form.
            let token = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
            assert!(
                token(b"NaN") || token(b"Infinity") || token(b"e") || token(b"E"),
                "{} records",
                loaded.batch.items.len()
            );
        }
        (Some(expected), Err(error)) => {
            assert!(expected.iter().map(depth).max() > Some(199), "{error}");
        }
        (None, Err(_)) => {}
    }
    // What was read is written in our layout; that reads as the same records.
    if let Ok(loaded) = loaded {
        let records: Vec<&[u8]> =
            loaded.batch.items.iter().map(|item| loaded.batch.bytes(item.record)).collect();
        let ours = [b"[\n", records.join(&b",\n"[..]).as_slice(), b"\n]\n"].concat();
        let again = load(if records.is_empty() { b"[]\n" } else { &ours }).unwrap();
        let found: Vec<&[u8]> =
            again.batch.items.iter().map(|item| again.batch.bytes(item.record)).collect();
        assert_eq!(found, records);
    }
});

/// The elements of an array, if serde_json reads one.
fn elements(bytes: &[u8]) -> Option<Vec<Value>> {
    let mut reader = Deserializer::from_slice(bytes);
    reader.disable_recursion_limit();
    let value: Value = serde::Deserialize::deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    match value {
        Value::Array(elements) => Some(elements),
        _ => None,
    }
}

fn values(loaded: &Loaded) -> Vec<Value> {
    let texts = loaded.batch.items.iter().map(|item| loaded.batch.bytes(item.record));
    texts.map(|text| elements(&[b"[", text, b"]"].concat()).unwrap().remove(0)).collect()
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(parts) => 1 + parts.iter().map(depth).max().unwrap_or(0),
        Value::Object(parts) => 1 + parts.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
