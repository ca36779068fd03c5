//! The key index: filled, and asked.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use omem_core::key::hash;
use omem_core::{Changes, Store};

use crate::data;

const COUNT: usize = 50_000;

/// All keys at once, and one after the other.
pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("keys");
    group.throughput(Throughput::Elements(COUNT as u64)).sample_size(20);
    group.bench_function("insert", |bencher| {
        bencher.iter_batched(
            || Changes::from(data::batch(0, COUNT, COUNT)),
            |changes| {
                let mut store = Store::new();
                store.apply(changes).expect("new keys");
                assert_eq!(store.len(), COUNT);
                store
            },
            BatchSize::LargeInput,
        );
    });
    let store = data::store(COUNT);
    let keys: Vec<String> =
        (0..COUNT).map(|n| format!("\"Person Number {:07}\"", n * 7919 % COUNT)).collect();
    group.bench_function("find", |bencher| {
        bencher.iter(|| {
            for key in black_box(&keys) {
                let key = key.as_bytes();
                assert!(store.find(key, hash(key)).is_some());
            }
        });
    });
    group.finish();
}
