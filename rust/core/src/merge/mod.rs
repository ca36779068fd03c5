//! Deterministic merging on canonical records.
//!
//! # MERGE_FIELD
//! Field by field, an incoming value that is null or unset changes nothing, and one that meets a
//! null is taken. Else lists are united, sets are united, dicts and nested models are merged key by
//! key by the same rules, and anything else is overwritten, also one model of a union by another. What
//! only Pydantic knows the shape of is merged by its JSON kind: arrays as lists, objects as dicts.
//!
//! **The union of two lists** is the existing list as it stands, then each incoming element
//! that it does not hold yet, once, in order; an empty existing list takes the incoming one as it
//! stands. So a list that repeats itself keeps its repetitions when it is merged with itself
//! (`x ∪ x = x`), and union is associative. Elements are equal when their canonical bytes are,
//! object keys sorted.
//!
//! **A rule** of a field ([`crate::plan::Rule`]) replaces this for that field. A rule sees whole
//! values; null and unset are settled before it. MAX and MIN compare by value and keep the existing
//! value on a tie; a NaN loses against a number. KEEP_EXISTING takes an existing value that equals
//! the field's default for none.
//!
//! **Laws.** `x ⊕ x = x`, but for APPEND, SUM and custom rules. `(x ⊕ y) ⊕ z = x ⊕ (y ⊕ z)` where
//! everything is set and no field changes between a list, a scalar and the objects of a union, but
//! for sums of floats and custom rules. Every set value of the incoming record is in the result,
//! unless a rule prefers the existing one.
//!
//! [`merge_pair`] merges two records, [`fold()`] a batch into a store, [`rounds()`] schedules the pairs
//! for mergers that are no part of this crate.

mod fold;
mod fresh;
mod groups;
mod members;
mod number;
mod order;
mod rounds;
mod rules;
mod run;
mod split;
mod steps;
mod union;
mod value;
mod walk;

pub use fold::{Failed, Folded, Options, fold};
pub use groups::Groups;
pub(crate) use members::Unions;
pub use rounds::{Pair, Rounds, rounds};
pub use rules::rule_fits;

use crate::batch::Unset;
use crate::error::{Error, Result};
use crate::plan::{Field, Node, NodeId, Plan, Rule};
use value::{Value, append};
use walk::Walk;

/// How two records of one key become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Field by field, see the [module](self).
    MergeField {
        /// What becomes of lists that have no rule of their own.
        lists: Lists,
    },
    /// The incoming record replaces the existing one.
    KeepIncoming,
    /// The existing record stays.
    KeepExisting,
}

/// What becomes of two lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lists {
    /// Their union in order of first appearance.
    #[default]
    Union,
    /// One after the other.
    Append,
    /// The incoming list.
    Replace,
}

/// Which values of an incoming record are no observations.
#[derive(Debug, Clone, Copy)]
pub enum Unobserved<'u> {
    /// The values at these ranges, in order of position: the model that came in had not set
    /// them.
    Ranges(&'u [Unset]),
    /// Every field that equals its default: the record was read, nobody knows what was set.
    Defaults,
}

/// What became of an incoming record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Merged {
    /// Whether the existing record has changed.
    pub changed: bool,
    /// Whether the result may break a constraint of the model that both records keep: a sum
    /// out of bounds, a list that has become too long, a validator that sees several fields.
    pub doubtful: bool,
}

/// Calls the function of a custom rule by its index, with the existing and the incoming value;
/// it appends the merged value's canonical JSON.
pub type Custom<'c> = dyn FnMut(u32, &[u8], &[u8], &mut Vec<u8>) -> Result<()> + 'c;

/// Decides about a merged record that may break a constraint of the model: called with the key
/// text and the record, it appends the record to be kept, or returns [`Error::Merge`].
pub type Judge<'j> = dyn FnMut(&[u8], &[u8], &mut Vec<u8>) -> Result<()> + 'j;

/// A plan and a strategy, made ready to merge records.
#[derive(Debug)]
pub struct Merger<'a> {
    plan: &'a Plan,
    strategy: Strategy,
    lists: Lists,
    /// For each node, whether a value may hold objects whose keys have no fixed order.
    free: Vec<bool>,
    unions: Unions<'a>,
}

impl<'a> Merger<'a> {
    /// Prepares to merge records of this plan.
    #[must_use]
    pub fn new(plan: &'a Plan, strategy: Strategy) -> Self {
        let lists = match strategy {
            Strategy::MergeField { lists } => lists,
            _ => Lists::Union,
        };
        Merger { plan, strategy, lists, free: free(plan), unions: Unions::of(plan) }
    }

    /// The node that decides about values whose JSON begins with `kind`.
    fn resolve(&self, node: Option<NodeId>, kind: u8) -> Option<&'a Node> {
        leaf(self.plan, node?, kind)
    }

    /// Whether some field has a custom rule.
    fn has_custom_rule(&self) -> bool {
        let is_custom = |field: &Field| matches!(field.rule, Some(Rule::Custom(_)));
        self.plan.nodes.iter().any(|node| match node {
            Node::Model(model) => model.fields.iter().any(is_custom),
            _ => false,
        })
    }

    fn is_free(&self, node: NodeId) -> bool {
        self.free.get(node as usize).copied().unwrap_or(true)
    }
}

/// Merges two records of one key and appends the result to `out`.
///
/// # Errors
/// [`Error::Merge`] (of item 0) where the values do not allow it; `out` is then as it was.
pub fn merge_pair<'a>(
    merger: &Merger<'a>,
    existing: &'a [u8],
    incoming: &'a [u8],
    unobserved: Unobserved<'_>,
    custom: Option<&mut Custom<'_>>,
    out: &mut Vec<u8>,
) -> Result<Merged> {
    match merger.strategy {
        Strategy::KeepExisting => {
            append(out, existing)?;
            Ok(Merged::default())
        }
        Strategy::KeepIncoming => {
            append(out, incoming)?;
            Ok(Merged { changed: existing != incoming, doubtful: false })
        }
        Strategy::MergeField { .. } => {
            let mut value = Value::Raw(existing);
            let mut missing = missing;
            let custom = match custom {
                Some(custom) => custom,
                None => &mut missing,
            };
            let merged = observe(merger, &mut value, incoming, unobserved, custom, &mut Vec::new())
                .map_err(|failure| failure.of_item(0))?;
            value.write(out)?;
            Ok(merged)
        }
    }
}

/// Stands in where no function was given.
fn missing(_: u32, _: &[u8], _: &[u8], _: &mut Vec<u8>) -> Result<()> {
    Err(Error::Merge { item: 0, what: "the rule's function is missing".into() })
}

/// Merges one more record into a value.
fn observe<'a>(
    merger: &Merger<'a>,
    value: &mut Value<'a>,
    record: &'a [u8],
    unobserved: Unobserved<'_>,
    custom: &mut Custom<'_>,
    parts: &mut Vec<(usize, usize)>,
) -> Outcome<Merged> {
    parts.clear();
    let merged = Merged::default();
    let mut walk = Walk { merger, record, unobserved, passed: 0, custom, parts, merged };
    walk.value(Some(merger.plan.root), value, (0, record.len()), 0)?;
    Ok(walk.merged)
}

/// The node below nullables and unions that decides about values whose JSON begins with `kind`.
fn leaf(plan: &Plan, node: NodeId, kind: u8) -> Option<&Node> {
    let mut id = node;
    // A plan that points in a circle without an object in between describes no value.
    for _ in 0..=plan.nodes.len() {
        match plan.nodes.get(id as usize)? {
            Node::Nullable(inner) => id = *inner,
            Node::Union(variants) => {
                let mut fitting = variants.iter().filter(|&&id| may_begin(plan, id, kind));
                id = *fitting.next()?;
                if kind == b'{' && fitting.next().is_some() {
                    return Some(&Node::Opaque);
                }
            }
            Node::OneOf(variants) => {
                let mut fitting = variants.iter().filter(|&&id| may_begin(plan, id, kind));
                id = *fitting.next()?;
                if fitting.next().is_some() {
                    return Some(&Node::Opaque);
                }
            }
            node => return Some(node),
        }
    }
    None
}

/// Whether a value of this node may begin with this byte.
fn may_begin(plan: &Plan, node: NodeId, kind: u8) -> bool {
    let mut open = vec![node];
    let mut budget = plan.nodes.len();
    while let Some(id) = open.pop() {
        let Some(node) = plan.nodes.get(id as usize) else {
            continue;
        };
        let fits = match node {
            Node::Any | Node::Opaque => true,
            Node::Null => kind == b'n',
            Node::Bool => matches!(kind, b't' | b'f'),
            Node::Int { .. } => matches!(kind, b'-' | b'0'..=b'9'),
            Node::Float { .. } => matches!(kind, b'-' | b'0'..=b'9' | b'"'),
            Node::Str { .. } | Node::Text(_) => kind == b'"',
            Node::Choice(choices) => choices.iter().any(|choice| choice.first() == Some(&kind)),
            Node::List(_) | Node::Set(_) | Node::Tuple(_) => kind == b'[',
            Node::Dict(_) | Node::Model(_) => kind == b'{',
            Node::Nullable(inner) => {
                open.push(*inner);
                kind == b'n'
            }
            Node::Union(variants) | Node::OneOf(variants) => {
                open.extend(variants);
                false
            }
        };
        if fits {
            return true;
        }
        budget = match budget.checked_sub(1) {
            Some(budget) => budget,
            None => return false,
        };
    }
    false
}

/// For each node, whether a value may hold objects whose keys have no fixed order.
fn free(plan: &Plan) -> Vec<bool> {
    holding(plan, |node| match node {
        Node::Any | Node::OneOf(_) | Node::Opaque | Node::Dict(_) => true,
        Node::Model(model) => !model.covered,
        _ => false,
    })
}

/// For each node, whether its values may hold such nodes or be of one.
fn holding(plan: &Plan, wanted: fn(&Node) -> bool) -> Vec<bool> {
    let mut holds: Vec<bool> = plan.nodes.iter().map(wanted).collect();
    let is = |holds: &[bool], id: NodeId| holds.get(id as usize).copied().unwrap_or(true);
    loop {
        let mut changed = false;
        for (id, node) in plan.nodes.iter().enumerate() {
            let found = match node {
                Node::Nullable(inner) => is(&holds, *inner),
                Node::List(items) | Node::Set(items) | Node::Dict(items) => is(&holds, items.item),
                Node::Union(nodes) | Node::Tuple(nodes) => nodes.iter().any(|&id| is(&holds, id)),
                Node::Model(model) => model.fields.iter().any(|field| is(&holds, field.node)),
                _ => false,
            };
            if found && !holds[id] {
                (holds[id], changed) = (true, true);
            }
        }
        if !changed {
            return holds;
        }
    }
}

/// What stops the merge of one record.
#[derive(Debug)]
enum Failure {
    /// The values do not allow it.
    Conflict(Conflict),
    /// Nothing more can be merged.
    Fatal(Error),
}

/// The failure is boxed: the walk recurses, and every frame has room for several results.
type Outcome<T> = std::result::Result<T, Box<Failure>>;

/// Why two values cannot be merged, and where.
#[derive(Debug)]
struct Conflict {
    what: String,
    /// `.field.inner`, grown from its end as the recursion unwinds.
    path: String,
}

impl Conflict {
    fn of(what: impl Into<String>) -> Box<Failure> {
        Box::new(Failure::Conflict(Conflict { what: what.into(), path: String::new() }))
    }

    fn unreadable() -> Box<Failure> {
        Conflict::of("the value is not canonical")
    }
}

impl Failure {
    /// Says that it happened within this field or key.
    fn within(mut self: Box<Self>, name: &[u8]) -> Box<Self> {
        if let Failure::Conflict(conflict) = &mut *self {
            conflict.path.insert_str(0, &String::from_utf8_lossy(name));
            conflict.path.insert(0, '.');
        }
        self
    }

    fn of_item(self, item: usize) -> Error {
        match self {
            Failure::Conflict(Conflict { what, path }) => {
                Error::Merge { item, what: format!("{what} (${path})") }
            }
            Failure::Fatal(error) => error,
        }
    }
}

impl From<Error> for Box<Failure> {
    fn from(error: Error) -> Self {
        match error {
            Error::Merge { what, .. } => Conflict::of(what),
            error => Box::new(Failure::Fatal(error)),
        }
    }
}
