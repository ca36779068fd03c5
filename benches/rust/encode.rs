//! What encoding is made of: strings escaped, floats and integers formatted.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use omem_core::json::{number, string};

/// Strings by what is in them, and numbers.
pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    let plain = "observations of many sources are merged into one record ".repeat(4);
    let other = "größe façade 記憶 память mémoire 🧠 naïve ".repeat(4);
    let escaped = "a \"quoted\" word,\na new line\tand a tab ".repeat(4);
    for (name, text) in [("plain", &plain), ("other scripts", &other), ("escaped", &escaped)] {
        group.throughput(Throughput::Bytes(text.len() as u64));
        let mut out = Vec::with_capacity(2 * text.len() + 2);
        string::write(&mut out, text);
        assert_eq!(serde_json::from_slice::<String>(&out).ok().as_ref(), Some(text));
        group.bench_function(format!("string, {name}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                string::write(&mut out, black_box(text));
                out.len()
            });
        });
    }
    let floats: Vec<f64> = (1..1000_u32).map(|n| f64::from(n) * 100.0 / 7.0).collect();
    group.throughput(Throughput::Elements(floats.len() as u64));
    let mut out = Vec::with_capacity(32 * floats.len());
    group.bench_function("floats", |bencher| {
        bencher.iter(|| {
            out.clear();
            black_box(&floats).iter().for_each(|float| number::write_f64(&mut out, *float));
            out.len()
        });
    });
    group.bench_function("integers", |bencher| {
        bencher.iter(|| {
            out.clear();
            (0..floats.len() as i64).for_each(|n| number::write_i64(&mut out, black_box(n * 7919)));
            out.len()
        });
    });
    group.finish();
}
