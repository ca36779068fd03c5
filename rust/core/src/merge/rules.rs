//! The merge rules of single fields, and which shapes they fit.

use std::cmp::Ordering;

use super::number::{Number, Sum};
use super::{Conflict, Outcome, leaf, order};
use crate::json::number::write_f64;
use crate::json::string::unescape;
use crate::plan::{Node, NodeId, Plan, Rule, Text};

/// The two values of a field with a rule; neither is null.
pub(super) struct Sides<'s> {
    pub(super) plan: &'s Plan,
    pub(super) node: NodeId,
    pub(super) existing: &'s [u8],
    pub(super) incoming: &'s [u8],
}

impl Sides<'_> {
    /// The content of both values, where both are strings.
    fn strings(&self) -> Option<(&[u8], &[u8])> {
        Some((content(self.existing)?, content(self.incoming)?))
    }

    fn leaf(&self) -> Option<&Node> {
        leaf(self.plan, self.node, self.incoming.first().copied()?)
    }
}

/// Whether the incoming value is the greater (or the lesser, as wanted), by value. What is no
/// number loses against a number.
pub(super) fn is_better(sides: &Sides<'_>, wanted: Ordering) -> Outcome<bool> {
    let is_nan = |value: &[u8]| value.ends_with(b"NaN\"");
    let node = sides.leaf();
    if matches!(node, Some(Node::Float { .. } | Node::Text(Text::Decimal)))
        && (is_nan(sides.existing) || is_nan(sides.incoming))
    {
        return Ok(is_nan(sides.existing) && !is_nan(sides.incoming));
    }
    let order = match (sides.strings(), node) {
        (Some((old, new)), Some(Node::Text(kind))) => {
            order::texts(*kind, new, old).map_err(Conflict::of)?
        }
        (Some((old, new)), Some(Node::Str { .. } | Node::Choice(_))) => {
            unescape(new)?.cmp(&unescape(old)?)
        }
        (Some((old, new)), Some(Node::Any | Node::Opaque) | None) => {
            order::alike(unescape(new)?.as_bytes(), unescape(old)?.as_bytes())
                .map_err(Conflict::of)?
        }
        _ => match (scalar(sides.incoming), scalar(sides.existing)) {
            (Some(Scalar::Bool(new)), Some(Scalar::Bool(old))) => new.cmp(&old),
            (Some(Scalar::Number(new)), Some(Scalar::Number(old))) => new.compare(&old),
            (Some(Scalar::Infinite(new)), Some(Scalar::Infinite(old))) => new.cmp(&old),
            (Some(Scalar::Infinite(new)), Some(Scalar::Number(_))) => new.cmp(&0),
            (Some(Scalar::Number(_)), Some(Scalar::Infinite(old))) => 0.cmp(&old),
            _ => return Err(Conflict::of("the values cannot be compared")),
        },
    };
    Ok(order == wanted)
}

enum Scalar<'a> {
    Bool(bool),
    Number(Number<'a>),
    /// An infinite float, by its sign.
    Infinite(i8),
}

fn scalar(value: &[u8]) -> Option<Scalar<'_>> {
    Some(match value {
        b"true" => Scalar::Bool(true),
        b"false" => Scalar::Bool(false),
        b"\"Infinity\"" => Scalar::Infinite(1),
        b"\"-Infinity\"" => Scalar::Infinite(-1),
        _ => Scalar::Number(Number::read(value)?),
    })
}

/// Whether the incoming text has more code points.
pub(super) fn is_longer(sides: &Sides<'_>) -> Outcome<bool> {
    let (old, new) = sides.strings().ok_or_else(|| Conflict::of("both values must be texts"))?;
    Ok(code_points(new) > code_points(old))
}

/// The sum of two numbers as canonical JSON, and whether it may be out of bounds.
pub(super) fn sum(sides: &Sides<'_>) -> Outcome<(Vec<u8>, bool)> {
    const NOT_NUMBERS: &str = "the values cannot be added";
    let (mut out, node) = (Vec::new(), sides.leaf());
    let is_float =
        |value: &[u8]| value.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E' | b'"'));
    if !matches!(node, Some(Node::Float { .. }))
        && let Some((old, new)) = sides.strings()
    {
        out.push(b'"');
        exact(old, new)?.write_decimal(&mut out);
        out.push(b'"');
    } else if is_float(sides.existing) || is_float(sides.incoming) {
        let read = |value| float(value).ok_or_else(|| Conflict::of(NOT_NUMBERS));
        write_f64(&mut out, read(sides.existing)? + read(sides.incoming)?);
    } else {
        exact(sides.existing, sides.incoming)?.write_int(&mut out);
    }
    let bounded = match node {
        Some(Node::Int { min, max }) => min.is_some() || max.is_some(),
        Some(Node::Float { min, max, inf_nan }) => {
            min.is_some() || max.is_some() || (!inf_nan && out.starts_with(b"\""))
        }
        Some(Node::Text(Text::Decimal) | Node::Any) => false,
        _ => true,
    };
    return Ok((out, bounded));

    fn exact(old: &[u8], new: &[u8]) -> Outcome<Sum> {
        let read = |text| Number::read(text).ok_or_else(|| Conflict::of(NOT_NUMBERS));
        let sum = Sum::of(&read(old)?, &read(new)?)?;
        sum.ok_or_else(|| Conflict::of("the exact sum has too many digits"))
    }
}

/// The value of a float, non-finite ones included.
fn float(value: &[u8]) -> Option<f64> {
    match value {
        b"\"NaN\"" => Some(f64::NAN),
        b"\"Infinity\"" => Some(f64::INFINITY),
        b"\"-Infinity\"" => Some(f64::NEG_INFINITY),
        _ => {
            Number::read(value)?;
            str::from_utf8(value).ok()?.parse().ok()
        }
    }
}

/// What stands between the quotes of a string.
fn content(value: &[u8]) -> Option<&[u8]> {
    value.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

/// The number of code points of a string's content.
fn code_points(content: &[u8]) -> usize {
    let mut count = 0;
    let mut at = 0;
    while let Some(&byte) = content.get(at) {
        at += match (byte, content.get(at + 1)) {
            (b'\\', Some(b'u')) => 6,
            (b'\\', _) => 2,
            _ => 1,
        };
        count += usize::from(byte & 0xc0 != 0x80);
    }
    count
}

/// Whether a rule can be applied to values of this shape; null apart, since null is never
/// merged. Where only Pydantic knows the shape, the rule is tried when values come.
///
/// ```
/// use omem_core::merge::rule_fits;
/// use omem_core::plan::{Items, Node, Plan, Rule};
///
/// let list = Node::List(Items { item: 0, min: 0, max: usize::MAX });
/// let plan = Plan { nodes: vec![Node::Int { min: None, max: None }, list], root: 1 };
/// assert!(rule_fits(&plan, 0, Rule::Max));
/// assert!(!rule_fits(&plan, 1, Rule::Max));
/// assert!(rule_fits(&plan, 1, Rule::Union));
/// ```
#[must_use]
pub fn rule_fits(plan: &Plan, node: NodeId, rule: Rule) -> bool {
    let mut leaves = Vec::new();
    let mut seen = vec![false; plan.nodes.len()];
    let mut open = vec![node];
    while let Some(id) = open.pop() {
        let (Some(node), Some(seen)) = (plan.nodes.get(id as usize), seen.get_mut(id as usize))
        else {
            return false;
        };
        if std::mem::replace(seen, true) {
            continue;
        }
        match node {
            Node::Null => {}
            Node::Nullable(inner) => open.push(*inner),
            Node::Union(variants) | Node::OneOf(variants) => open.extend(variants),
            // Only a choice of one kind has an order or a length.
            Node::Choice(choices) => {
                leaves.extend(choices.iter().filter_map(|choice| match choice.first() {
                    Some(b'n') | None => None,
                    Some(b'"') => Some(Leaf::Choice),
                    Some(b't' | b'f') => Some(Leaf::Bool),
                    _ => Some(Leaf::Level),
                }))
            }
            Node::Any | Node::Opaque => leaves.push(Leaf::Unknown),
            Node::Bool => leaves.push(Leaf::Bool),
            Node::Int { .. } | Node::Float { .. } => leaves.push(Leaf::Number),
            Node::Str { .. } => leaves.push(Leaf::Str),
            Node::Text(kind) => leaves.push(Leaf::Text(*kind)),
            Node::List(_) => leaves.push(Leaf::List),
            Node::Set(_) => leaves.push(Leaf::Set),
            Node::Tuple(_) | Node::Dict(_) | Node::Model(_) => leaves.push(Leaf::Other),
        }
    }
    let all =
        |fits: fn(Leaf) -> bool| leaves.iter().all(|&leaf| leaf == Leaf::Unknown || fits(leaf));
    match rule {
        Rule::KeepExisting | Rule::KeepIncoming | Rule::Custom(_) => true,
        Rule::Max | Rule::Min => {
            all(|leaf| !matches!(leaf, Leaf::List | Leaf::Set | Leaf::Other | Leaf::Choice))
                && leaves.windows(2).all(|pair| pair[0] == pair[1] || pair.contains(&Leaf::Unknown))
        }
        Rule::Sum => all(|leaf| matches!(leaf, Leaf::Number | Leaf::Text(Text::Decimal))),
        Rule::Longest => {
            all(|leaf| matches!(leaf, Leaf::Str | Leaf::Choice | Leaf::Text(Text::Bytes)))
        }
        Rule::Union => all(|leaf| matches!(leaf, Leaf::List | Leaf::Set)),
        Rule::Append => all(|leaf| leaf == Leaf::List),
        Rule::Replace => all(|leaf| matches!(leaf, Leaf::List | Leaf::Set | Leaf::Other)),
    }
}

/// What rules tell apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaf {
    Unknown,
    Bool,
    Number,
    Str,
    /// One of a list of strings, whose alphabet is no order.
    Choice,
    /// One of a list of numbers, whose sums are no members.
    Level,
    Text(Text),
    List,
    Set,
    Other,
}
