//! Records checked against the plan, and skipped without one.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use omem_core::check::check;
use omem_core::json::scan;

use crate::data;

const COUNT: usize = 1_000;

/// Whole profiles.
pub fn bench(criterion: &mut Criterion) {
    let (plan, batch) = (data::plan(), data::batch(0, COUNT, COUNT));
    let bytes: usize = data::records(&batch).map(<[u8]>::len).sum();
    let mut group = criterion.benchmark_group("check");
    group.throughput(Throughput::Bytes(bytes as u64));
    let mut fields = vec![(0, 0); 8];
    group.bench_function("canonical profiles", |bencher| {
        bencher.iter(|| {
            for record in data::records(black_box(&batch)) {
                assert_eq!(check(&plan, record, 0, &mut fields), Some(record.len()));
            }
        });
    });
    group.bench_function("any JSON", |bencher| {
        bencher.iter(|| {
            for record in data::records(black_box(&batch)) {
                assert_eq!(scan::validate(record, 0).ok(), Some(record.len()));
            }
        });
    });
    group.finish();
}
