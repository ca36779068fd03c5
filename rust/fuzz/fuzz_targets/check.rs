//! What the fast check accepts is JSON to serde_json, just as serde_json writes it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use omem_core::check::check;
use omem_core::plan::{Field, Items, Limit, Model, Node, Plan, Text};
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    if std::str::from_utf8(bytes).is_err() {
        return;
    }
    let plan = plan();
    let mut places = vec![(0, 0); 16];
    if let Some(end) = check(&plan, bytes, 0, &mut places) {
        let record = &bytes[..end];
        let digits = record.split(|byte| !byte.is_ascii_digit()).map(<[u8]>::len).max();
        // serde_json refuses an integer that no float can hold, and rounds one over 64 bits.
        if digits > Some(300) {
            return;
        }
        let value: Value = serde_json::from_slice(record).unwrap();
        assert!(value.is_object());
        assert!(digits > Some(18) || serde_json::to_vec(&value).unwrap() == record);
    }
});

fn plan() -> Plan {
    let free = |item| Items { item, min: 0, max: usize::MAX };
    let nodes = vec![
        Node::Str { min: 0, max: usize::MAX },
        Node::Int { min: None, max: None },
        Node::Float { min: None, max: None, inf_nan: true },
        Node::Bool,
        Node::Any,
        Node::Nullable(0),
        Node::List(free(0)),
        Node::Set(free(1)),
        Node::Dict(free(2)),
        Node::Tuple(vec![1, 0]),
        Node::Choice([&b"\"a\""[..], b"1", b"10"].map(Box::from).to_vec()),
        Node::Union(vec![1, 2, 6]),
        Node::Text(Text::DateTime),
        Node::Float { min: Some(Limit { at: 0.0, open: true }), max: None, inf_nan: true },
        Node::Str { min: 1, max: 3 },
        Node::Nullable(16),
    ];
    let count = nodes.len() as u32;
    let field = |node: u32| Field {
        name: format!("f{node}"),
        prefix: format!("{}\"f{node}\":", if node == 0 { '{' } else { ',' }).into_bytes().into(),
        node,
        default: None,
        rule: None,
    };
    let model = Model { fields: (0..count).map(field).collect(), covered: true };
    let mut plan = Plan { nodes, root: count };
    plan.nodes.push(Node::Model(model));
    plan
}
