//! Observations folded into existing entities.

use criterion::{BatchSize, Criterion, Throughput};
use omem_core::Store;
use omem_core::merge::{Lists, Merger, Options, Strategy, fold};

use crate::data;

const INCOMING: usize = 20_000;

/// By how many of the keys are known, and on one thread or two.
pub fn bench(criterion: &mut Criterion) {
    let plan = data::plan();
    let merger = Merger::new(&plan, Strategy::MergeField { lists: Lists::Union });
    let key = data::key();
    let mut group = criterion.benchmark_group("merge");
    group.throughput(Throughput::Elements(INCOMING as u64)).sample_size(10);
    for (name, existing, keys) in
        [("known keys", INCOMING / 4, INCOMING / 4), ("new keys", 0, INCOMING), ("one key", 1, 1)]
    {
        let store = if existing == 0 { Store::new() } else { data::store(existing) };
        for threads in [1, 2] {
            group.bench_function(format!("{name}, {threads} threads"), |bencher| {
                bencher.iter_batched(
                    || data::batch(1, INCOMING, keys),
                    |batch| {
                        let options = Options { threads, keys: Some(&key), ..Options::default() };
                        let folded = fold(&merger, &store, batch, options).expect("a fold");
                        assert_eq!(folded.added, keys - existing);
                        assert_eq!(folded.merged, INCOMING - (keys - existing));
                        folded
                    },
                    BatchSize::LargeInput,
                );
            });
        }
    }
    group.finish();
}
