//! The closed pickle reader ends, and what it builds is no larger than its input.

#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use omem_core::pickle::read;

fuzz_target!(|bytes: &[u8]| {
    for text in [None, Some("page_content")] {
        let Ok(pickle) = read(bytes, text) else { continue };
        let (mut seen, mut next, mut parts) = (HashSet::from([pickle.root]), vec![pickle.root], 0);
        while let Some(id) = next.pop() {
            // Each byte makes one value at most.
            assert!((id as usize) < bytes.len());
            let items = pickle.items(id).unwrap_or_default().iter().copied();
            let entries = pickle.entries(id).into_iter().flatten();
            let inside: Vec<_> =
                items.chain(entries.flat_map(|(key, value)| [key, value])).collect();
            parts += inside.len();
            next.extend(inside.into_iter().filter(|&id| seen.insert(id)));
            assert!(pickle.str(id).is_none_or(|text| text.len() <= bytes.len()));
            assert!(pickle.bytes(id).is_none_or(|part| part.len() <= bytes.len()));
        }
        // The state of an object is met once more at the object.
        assert!(parts <= 2 * bytes.len());
    }
});
