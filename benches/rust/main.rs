//! Micro-benchmarks of the core: `make bench-rust`, or `cargo bench -p omem-core -- FILTER`.
#![allow(missing_docs, reason = "criterion's macros make functions without docs")]

mod check;
mod data;
mod encode;
mod keys;
mod merge;
mod split;
mod write;

use criterion::{criterion_group, criterion_main};

criterion_group!(
    benches,
    encode::bench,
    check::bench,
    split::bench,
    merge::bench,
    keys::bench,
    write::bench
);
criterion_main!(benches);
