//! Observations folded into existing entities: eight-field profiles of 475 bytes.
//!
//! `cargo bench --bench merge -- [existing] [incoming]`

use std::time::Instant;

use omem_core::key::{KeyPlan, hash};
use omem_core::merge::{Lists, Merger, Options, Strategy, fold};
use omem_core::plan::{Field, Items, Model, Node, NodeId, Plan};
use omem_core::{Batch, Changes, Item, Span, Store};

fn main() {
    let sizes: Vec<usize> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let (existing, incoming) = match sizes[..] {
        [existing, incoming] => (existing, incoming),
        _ => (250_000, 1_000_000),
    };
    for threads in [1, 2] {
        measure("a quarter of it", existing / 4, incoming / 4, existing / 4, threads);
        measure("known keys", existing, incoming, existing, threads);
        measure("new keys", 0, incoming, incoming, threads);
        measure("one key", 1, incoming, 1, threads);
    }
}

/// Folds `incoming` profiles of so many keys onto `existing` ones; prints the median of five runs.
fn measure(name: &str, existing: usize, incoming: usize, keys: usize, threads: usize) {
    let plan = plan();
    let merger = Merger::new(&plan, Strategy::MergeField { lists: Lists::Union });
    let key = KeyPlan::Path(vec![0]);
    let mut times: Vec<[f64; 2]> = Vec::new();
    for _ in 0..5 {
        let mut store = Store::new();
        store.apply(Changes::from(batch(0, existing, existing))).expect("new keys");
        let batch = batch(1, incoming, keys);
        let start = Instant::now();
        let options = Options { threads, keys: Some(&key), ..Options::default() };
        let folded = fold(&merger, &store, batch, options).expect("a fold");
        let folding = start.elapsed().as_secs_f64();
        let added = keys - existing;
        assert_eq!((folded.added, folded.merged), (added, incoming - added));
        store.apply(folded.changes).expect("changes");
        times.push([folding, start.elapsed().as_secs_f64()]);
        assert_eq!(store.len(), keys);
    }
    times.sort_by(|left, right| left[1].total_cmp(&right[1]));
    let [folding, whole] = times[times.len() / 2];
    println!(
        "{name}: {incoming} items on {existing} of {keys} keys, {threads} threads: fold {folding:.3} s, \
         with apply {whole:.3} s, {:.0} items/s",
        incoming as f64 / whole
    );
}

/// Profiles of the keys `0..keys` in turn. Rounds differ in some fields and list elements.
fn batch(round: usize, count: usize, keys: usize) -> Batch {
    const BIO: &str = "works on consolidated memories for agents and writes about what remains when \
        observations of many sources are merged into one record, in a garden";
    let mut batch = Batch::default();
    for index in 0..count {
        // A prime stride, so that neighbours in the batch are none in the store.
        let (key, round) = (index * 7919 % keys, round + index / keys);
        let affiliation = match round % 2 {
            0 => "null".to_owned(),
            _ => format!("\"Institute {} of the University of Somewhere\"", key % 97),
        };
        let record = format!(
            "{{\"name\":\"Person Number {key:07}\",\"affiliation\":{affiliation},\
             \"topics\":[\"topic {}\",\"topic {}\",\"shared topic\",\"memory\"],\
             \"aliases\":[\"P. Number {key}\",\"alias {round} of {key}\",\"alias {}\"],\
             \"bio\":\"{BIO}, round {round}\",\"citations\":{},\"email\":\"person{key}@example.org\",\
             \"score\":{:?}}}",
            key % 13,
            (key + round) % 17,
            key % 5,
            key * round,
            key as f64 / 7.0,
        );
        let name = format!("\"Person Number {key:07}\"");
        let (chunk, bytes) = batch.open_records().expect("room");
        let start = bytes.len() as u32;
        bytes.extend_from_slice(record.as_bytes());
        bytes.extend_from_slice(b",\n");
        let record = Span { chunk, start, len: record.len() as u32 };
        let key = Span { chunk, start: start + 8, len: name.len() as u32 };
        let hash = hash(name.as_bytes());
        batch.items.push(Item { record, key, hash, unset: (0, 0) });
    }
    batch
}

fn plan() -> Plan {
    let nodes = vec![
        Node::Str { min: 0, max: usize::MAX },
        Node::Nullable(0),
        Node::List(Items { item: 0, min: 0, max: usize::MAX }),
        Node::Int { min: None, max: None },
        Node::Nullable(3),
        Node::Float { min: None, max: None, inf_nan: true },
    ];
    let mut plan = Plan { nodes, root: 6 };
    let fields = [
        ("name", 0, None),
        ("affiliation", 1, Some("null")),
        ("topics", 2, Some("[]")),
        ("aliases", 2, Some("[]")),
        ("bio", 0, Some("\"\"")),
        ("citations", 4, Some("null")),
        ("email", 1, Some("null")),
        ("score", 5, Some("0.0")),
    ];
    let field = |(place, (name, node, default)): (usize, (&str, NodeId, Option<&str>))| Field {
        name: name.to_owned(),
        prefix: format!("{}\"{name}\":", if place == 0 { '{' } else { ',' }).into_bytes().into(),
        node,
        default: default.map(|text| text.as_bytes().into()),
        rule: None,
    };
    let fields = fields.into_iter().enumerate().map(field).collect();
    plan.nodes.push(Node::Model(Model { fields, covered: true }));
    plan
}
