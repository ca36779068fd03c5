//! Random schemas and values of them.

use std::collections::HashMap;

use omem_core::Unset;
use omem_core::merge::rule_fits;
use omem_core::plan::{Field, Items, Model, Node, NodeId, Plan, Rule, Text};

/// A value as a tree; scalars are their JSON text.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Scalar(String),
    List(Vec<Value>),
    Dict(Vec<(String, Value)>),
    Record(Vec<Member>),
}

/// A field of a model, and whether it is set.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    pub prefix: String,
    pub value: Value,
    pub set: bool,
}

use Value::{Dict, List, Record, Scalar};

/// A plan, and the defaults of its fields by their node.
#[derive(Debug, Default)]
pub struct Schema {
    pub plan: Plan,
    pub defaults: HashMap<NodeId, Value>,
}

/// Small and reproducible: proptest gives the seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        // Never zero, where xorshift would stay.
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 33) as usize) % n
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

const RULES: [Rule; 9] = [
    Rule::Max,
    Rule::Min,
    Rule::Sum,
    Rule::KeepExisting,
    Rule::KeepIncoming,
    Rule::Union,
    Rule::Append,
    Rule::Replace,
    Rule::Longest,
];

/// What a generated plan may hold.
#[derive(Clone, Copy)]
pub struct Kinds {
    /// Fields may have rules.
    pub rules: bool,
    /// Shapes that hold values of several JSON kinds (unions, `Any`, opaque ones).
    pub mixed: bool,
}

/// A schema whose root is a model.
pub fn schema(random: &mut Random, kinds: Kinds) -> Schema {
    let mut schema = Schema::default();
    schema.plan.root = model(random, &mut schema, kinds, 3);
    schema
}

fn add(schema: &mut Schema, node: Node) -> NodeId {
    schema.plan.nodes.push(node);
    schema.plan.nodes.len() as NodeId - 1
}

fn model(random: &mut Random, schema: &mut Schema, kinds: Kinds, depth: usize) -> NodeId {
    let mut fields = Vec::new();
    for index in 0..1 + random.below(6) {
        let node = node(random, schema, kinds, depth - 1);
        let name = format!("fíeld_{index}");
        let prefix = format!("{}\"{name}\":", if index == 0 { '{' } else { ',' });
        let default = (random.below(2) == 0).then(|| {
            let default = value(random, schema, node);
            let text = default.text();
            schema.defaults.insert(node, default);
            text.into_bytes().into_boxed_slice()
        });
        let rule = random.pick(&RULES);
        // What is opaque has no order that the reference knows.
        let known = !matches!(inner(&schema.plan, node), Node::Opaque | Node::Any);
        let rule = (kinds.rules && known && rule_fits(&schema.plan, node, rule)).then_some(rule);
        let prefix = prefix.into_bytes().into_boxed_slice();
        fields.push(Field { name, prefix, node, default, rule });
    }
    add(schema, Node::Model(Model { fields, covered: true }))
}

fn inner(plan: &Plan, node: NodeId) -> &Node {
    match plan.node(node) {
        Node::Nullable(node) => inner(plan, *node),
        node => node,
    }
}

fn node(random: &mut Random, schema: &mut Schema, kinds: Kinds, depth: usize) -> NodeId {
    let scalars = [
        Node::Int { min: None, max: None },
        Node::Float { min: None, max: None, inf_nan: true },
        Node::Str { min: 0, max: usize::MAX },
        Node::Bool,
        Node::Text(Text::Date),
        Node::Choice(vec![b"1"[..].into(), b"2"[..].into()]),
    ];
    if depth == 0 || random.below(2) == 0 {
        let scalar = scalars[random.below(scalars.len())].clone();
        return add(schema, scalar);
    }
    match random.below(if kinds.mixed { 9 } else { 6 }) {
        0 => {
            let inner = node(random, schema, kinds, depth - 1);
            add(schema, Node::Nullable(inner))
        }
        1 => {
            let item = node(random, schema, kinds, depth - 1);
            add(schema, Node::List(Items { item, min: 0, max: usize::MAX }))
        }
        2 => {
            let item = add(schema, scalars[random.below(5)].clone());
            add(schema, Node::Set(Items { item, min: 0, max: usize::MAX }))
        }
        3 => {
            let item = node(random, schema, kinds, depth - 1);
            add(schema, Node::Dict(Items { item, min: 0, max: usize::MAX }))
        }
        4 => model(random, schema, kinds, depth),
        5 => {
            let items = (0..2).map(|_| node(random, schema, kinds, depth - 1)).collect();
            add(schema, Node::Tuple(items))
        }
        6 => {
            let list = node(random, schema, kinds, 0);
            let variants = vec![
                add(schema, Node::Int { min: None, max: None }),
                add(schema, Node::List(Items { item: list, min: 0, max: usize::MAX })),
                add(schema, Node::Null),
                model(random, schema, kinds, depth),
            ];
            add(schema, Node::Union(variants))
        }
        7 => add(schema, Node::Any),
        _ => add(schema, Node::Opaque),
    }
}

/// A value of a node; few different ones, so that they meet.
pub fn value(random: &mut Random, schema: &Schema, node: NodeId) -> Value {
    let texts: &[&str] = match schema.plan.node(node) {
        Node::Null => &["null"],
        Node::Bool => &["true", "false"],
        Node::Int { .. } => &["0", "1", "-7", "12345678901234567890123"],
        Node::Float { .. } => &["0.0", "1.5", "-2.25", "\"NaN\"", "\"Infinity\""],
        Node::Str { .. } => &["\"\"", "\"a\"", "\"é\"", "\"a\\\"b\"", "\"x\\\\\""],
        Node::Text(_) => &["\"2024-02-29\"", "\"1999-12-31\"", "\"2024-03-01\""],
        Node::Choice(_) => &["1", "2"],
        Node::Nullable(_) if random.below(3) == 0 => &["null"],
        Node::Nullable(inner) => return value(random, schema, *inner),
        Node::List(items) => return List(many(random, schema, items.item)),
        Node::Set(items) => return set(many(random, schema, items.item)),
        Node::Tuple(nodes) => {
            return List(nodes.iter().map(|&node| value(random, schema, node)).collect());
        }
        Node::Dict(items) => return dict(random, |random| value(random, schema, items.item)),
        Node::Model(model) => {
            return Record(
                model.fields.iter().map(|field| member(random, schema, field)).collect(),
            );
        }
        Node::Union(nodes) | Node::OneOf(nodes) => {
            let variant = random.pick(nodes);
            return value(random, schema, variant);
        }
        Node::Any | Node::Opaque => return anything(random, 3),
    };
    Scalar(random.pick(texts).to_owned())
}

fn many(random: &mut Random, schema: &Schema, item: NodeId) -> Vec<Value> {
    (0..random.below(5)).map(|_| value(random, schema, item)).collect()
}

fn member(random: &mut Random, schema: &Schema, field: &Field) -> Member {
    let prefix = String::from_utf8(field.prefix.to_vec()).unwrap();
    match schema.defaults.get(&field.node) {
        Some(default) if random.below(3) == 0 => {
            Member { prefix, value: default.clone(), set: random.below(2) == 0 }
        }
        _ => Member { prefix, value: value(random, schema, field.node), set: true },
    }
}

fn anything(random: &mut Random, depth: usize) -> Value {
    match random.below(if depth == 0 { 2 } else { 5 }) {
        0 => Scalar("null".into()),
        1 | 2 => Scalar(random.pick(&["1", "1.0", "true", "\"1\""]).into()),
        3 => List((0..random.below(4)).map(|_| anything(random, depth - 1)).collect()),
        _ => dict(random, |random| anything(random, depth - 1)),
    }
}

fn dict(random: &mut Random, mut value: impl FnMut(&mut Random) -> Value) -> Value {
    let mut members: Vec<(String, Value)> = Vec::new();
    for _ in 0..random.below(4) {
        let key = random.pick(&["\"a\"", "\"b\"", "\"ü\\n\"", "\"\""]).to_owned();
        if members.iter().all(|(other, _)| *other != key) {
            members.push((key, value(random)));
        }
    }
    Dict(members)
}

pub fn set(mut values: Vec<Value>) -> Value {
    values.sort_by_key(Value::text);
    values.dedup();
    List(values)
}

impl Value {
    /// The canonical JSON.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, &mut Vec::new());
        out
    }

    /// The canonical JSON of a record, with the ranges of its unset fields.
    pub fn record(&self) -> (Vec<u8>, Vec<Unset>) {
        let (mut out, mut unset) = (String::new(), Vec::new());
        self.write(&mut out, &mut unset);
        unset.sort_by_key(|range| range.start);
        (out.into_bytes(), unset)
    }

    fn write(&self, out: &mut String, unset: &mut Vec<Unset>) {
        match self {
            Scalar(text) => out.push_str(text),
            List(values) => {
                out.push('[');
                for (index, value) in values.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    value.write(out, unset);
                }
                out.push(']');
            }
            Dict(members) => {
                out.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    out.push_str(&format!("{key}:"));
                    value.write(out, unset);
                }
                out.push('}');
            }
            Record(fields) => {
                for field in fields {
                    out.push_str(&field.prefix);
                    let start = out.len() as u32;
                    field.value.write(out, unset);
                    if !field.set {
                        unset.push(Unset { start, end: out.len() as u32 });
                    }
                }
                out.push('}');
            }
        }
    }

    pub fn is_null(&self) -> bool {
        *self == Scalar("null".into())
    }

    /// The text with the keys of dicts sorted.
    pub fn form(&self) -> String {
        fn sorted(value: &Value) -> Value {
            match value {
                Scalar(_) => value.clone(),
                List(values) => List(values.iter().map(sorted).collect()),
                Dict(members) => {
                    let mut members: Vec<_> =
                        members.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
                    members.sort_by(|left, right| left.0.cmp(&right.0));
                    Dict(members)
                }
                Record(fields) => Record(
                    (fields.iter())
                        .map(|field| Member { value: sorted(&field.value), ..field.clone() })
                        .collect(),
                ),
            }
        }
        sorted(self).text()
    }
}
