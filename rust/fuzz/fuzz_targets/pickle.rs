//! The closed pickle reader ends, and what it builds is no larger than its input.

#![no_main]

use libfuzzer_sys::fuzz_target;
use omem_core::pickle::{Value, read};

fuzz_target!(|bytes: &[u8]| {
    let Ok(pickle) = read(bytes) else { return };
    assert!(pickle.values.len() <= bytes.len());
    let count = pickle.values.len() as u32;
    assert!(pickle.root < count);
    let mut parts = 0;
    for value in &pickle.values {
        let inside: Vec<u32> = match value {
            Value::List(ids) | Value::Tuple(ids) => ids.clone(),
            Value::Dict(entries) => entries.iter().flat_map(|&(key, value)| [key, value]).collect(),
            Value::Object(state) => state.iter().copied().collect(),
            _ => Vec::new(),
        };
        assert!(inside.iter().all(|&id| id < count));
        parts += inside.len();
    }
    assert!(parts <= bytes.len());
});
