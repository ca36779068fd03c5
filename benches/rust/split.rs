//! A file read: split into records, checked, keyed.

use std::fs;

use criterion::{Criterion, Throughput};
use omem_core::read::read;

use crate::data;

const COUNT: usize = 20_000;

/// In our own layout, and as JSON of others.
pub fn bench(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let (plan, key) = (data::plan(), data::key());
    let batch = data::batch(0, COUNT, COUNT);
    let records: Vec<&str> =
        data::records(&batch).map(|record| std::str::from_utf8(record).expect("UTF-8")).collect();
    let mut group = criterion.benchmark_group("split");
    group.sample_size(20);
    for (name, content) in [
        ("a record on each line", format!("[\n{}\n]\n", records.join(",\n"))),
        ("all on one line", format!("[{}]", records.join(", "))),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, &content).expect("a file");
        group.throughput(Throughput::Bytes(content.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let loaded =
                    read(&path, &plan, Some(&key), false, &mut |_, _| true).expect("records");
                assert_eq!((loaded.batch.items.len(), loaded.doubtful.len()), (COUNT, 0));
                loaded
            });
        });
    }
    group.finish();
}
