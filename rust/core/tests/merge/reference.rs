//! A merger over trees that is as plain as can be.

use omem_core::merge::Lists;
use omem_core::plan::{Field, Node, NodeId, Rule};

use crate::shapes::Value::{self, Dict, List, Record, Scalar};
use crate::shapes::{Member, Schema, set};

/// MERGE_FIELD, as it is described.
pub struct Reference<'s> {
    pub schema: &'s Schema,
    pub lists: Lists,
    /// Whether a value equal to its default counts as unset.
    pub defaults_unset: bool,
}

impl Reference<'_> {
    pub fn merge(&self, node: NodeId, existing: &Value, incoming: &Value) -> Value {
        let node = self.leaf(node, incoming);
        match (existing, incoming) {
            (Record(old), Record(new)) => {
                let Node::Model(model) = node else { panic!("{node:?}") };
                let fields = old.iter().zip(new).zip(&model.fields);
                Record(fields.map(|((old, new), field)| self.field(field, old, new)).collect())
            }
            (Dict(old), Dict(new)) => {
                let mut out = old.clone();
                for (key, new) in new {
                    match out.iter_mut().find(|(known, _)| known == key) {
                        Some((_, old)) if !new.is_null() && old.is_null() => *old = new.clone(),
                        Some((_, old)) if !new.is_null() => {
                            *old = match node {
                                Node::Dict(items) => self.merge(items.item, old, new),
                                _ => self.merge(NodeId::MAX, old, new),
                            }
                        }
                        Some(_) => {}
                        None => out.push((key.clone(), new.clone())),
                    }
                }
                Dict(out)
            }
            (List(_), List(_)) if matches!(node, Node::Tuple(_)) => incoming.clone(),
            (List(old), List(new)) if matches!(node, Node::Set(_)) => set(union(old, new)),
            (List(old), List(new)) => match self.lists {
                Lists::Union => List(union(old, new)),
                Lists::Append => List([&old[..], new].concat()),
                Lists::Replace => incoming.clone(),
            },
            _ => incoming.clone(),
        }
    }

    fn leaf(&self, node: NodeId, value: &Value) -> &Node {
        match self.schema.plan.nodes.get(node as usize) {
            None => &Node::Opaque,
            Some(Node::Nullable(inner)) => self.leaf(*inner, value),
            Some(Node::Union(variants)) => (variants.iter())
                .map(|&variant| self.leaf(variant, value))
                .find(|node| {
                    matches!(
                        (node, value),
                        (Node::List(_), List(_))
                            | (Node::Model(_), Record(_))
                            | (Node::Int { .. }, Scalar(_))
                    )
                })
                .unwrap_or(&Node::Null),
            Some(node) => node,
        }
    }

    fn field(&self, field: &Field, old: &Member, new: &Member) -> Member {
        let is_default = |value: &Value| {
            self.schema.defaults.get(&field.node).is_some_and(|d| d.text() == value.text())
        };
        let unset = if self.defaults_unset { is_default(&new.value) } else { !new.set };
        let value = if new.value.is_null() || unset {
            old.value.clone()
        } else if old.value.is_null() {
            new.value.clone()
        } else {
            let incoming_wins = |wins| {
                if wins { new.value.clone() } else { old.value.clone() }
            };
            match (field.rule, &old.value, &new.value) {
                (Some(Rule::KeepExisting), ..) => incoming_wins(is_default(&old.value)),
                (Some(Rule::KeepIncoming | Rule::Replace), ..) => new.value.clone(),
                (Some(Rule::Append), List(a), List(b)) => List([&a[..], b].concat()),
                (Some(Rule::Union), List(a), List(b)) => match self.leaf(field.node, &new.value) {
                    Node::Set(_) => set(union(a, b)),
                    _ => List(union(a, b)),
                },
                (Some(rule @ (Rule::Max | Rule::Min)), Scalar(a), Scalar(b)) => {
                    incoming_wins(is_better(rule, a, b))
                }
                (Some(Rule::Sum), Scalar(a), Scalar(b)) => Scalar(sum(a, b)),
                (Some(Rule::Longest), Scalar(a), Scalar(b)) => {
                    let len = |text| serde_json::from_str::<String>(text).unwrap().chars().count();
                    incoming_wins(len(b) > len(a))
                }
                _ => self.merge(field.node, &old.value, &new.value),
            }
        };
        Member { value, ..old.clone() }
    }
}

fn union(old: &[Value], new: &[Value]) -> Vec<Value> {
    let mut out = old.to_vec();
    for value in new {
        if old.is_empty() || out.iter().all(|known| known.form() != value.form()) {
            out.push(value.clone());
        }
    }
    out
}

/// Whether MAX (or MIN) prefers the incoming value.
fn is_better(rule: Rule, old: &str, new: &str) -> bool {
    let string = |text: &str| serde_json::from_str::<String>(text).unwrap();
    let order = match (float(old), float(new)) {
        (Some(old), Some(new)) if old.is_nan() || new.is_nan() => {
            return old.is_nan() && !new.is_nan();
        }
        (Some(old), Some(new)) => new.partial_cmp(&old).unwrap(),
        _ if old.starts_with('"') => string(new).cmp(&string(old)),
        _ => new.cmp(old), // Booleans.
    };
    if rule == Rule::Max { order.is_gt() } else { order.is_lt() }
}

fn float(text: &str) -> Option<f64> {
    text.trim_matches('"').parse().ok()
}

fn sum(old: &str, new: &str) -> String {
    if let (Ok(old), Ok(new)) = (old.parse::<i128>(), new.parse::<i128>()) {
        return (old + new).to_string();
    }
    match float(old).unwrap() + float(new).unwrap() {
        sum if sum.is_nan() => "\"NaN\"".into(),
        sum if sum.is_infinite() => format!("\"{}Infinity\"", if sum < 0.0 { "-" } else { "" }),
        sum => format!("{sum:?}"),
    }
}
