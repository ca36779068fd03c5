//! A snapshot written to a file and synced.

use std::fs;

use criterion::{Criterion, Throughput};
use omem_core::file::AtomicFile;
use omem_core::write::write_records;

use crate::data;

const COUNT: usize = 50_000;

/// All records of a store.
pub fn bench(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("memory.json");
    let store = data::store(COUNT);
    let write = || {
        let snapshot = store.snapshot().expect("a snapshot");
        let mut file = AtomicFile::create(&path, &mut |_, _| true).expect("a file");
        write_records(&snapshot, file.draft(), &mut |_, _| true).expect("written");
        file.commit().expect("synced")
    };
    let bytes = write();
    assert_eq!(fs::metadata(&path).expect("the file").len(), bytes);
    let mut group = criterion.benchmark_group("write");
    group.throughput(Throughput::Bytes(bytes)).sample_size(10);
    group.bench_function("write and fsync", |bencher| bencher.iter(write));
    group.finish();
}
