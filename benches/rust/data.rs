//! Profiles of eight fields and about 475 bytes, and the plan of their records.

use omem_core::key::{KeyPlan, hash};
use omem_core::plan::{Field, Items, Model, Node, NodeId, Plan};
use omem_core::{Batch, Changes, Item, Span, Store};

/// The key of a profile: its first field.
pub fn key() -> KeyPlan {
    KeyPlan::Path(vec![0])
}

/// A store of so many profiles.
pub fn store(count: usize) -> Store {
    let mut store = Store::new();
    store.apply(Changes::from(batch(0, count, count))).expect("new keys");
    store
}

/// The record of every item of a batch.
pub fn records(batch: &Batch) -> impl Iterator<Item = &[u8]> {
    batch.items.iter().map(|item| batch.bytes(item.record))
}

/// Profiles of the keys `0..keys` in turn. Rounds differ in some fields and list elements.
pub fn batch(round: usize, count: usize, keys: usize) -> Batch {
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

/// The plan of a profile.
pub fn plan() -> Plan {
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
