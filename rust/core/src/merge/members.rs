//! Which member of a union two objects or arrays are of: values of different members are not mixed.
//!
//! A record does not say which member wrote a value. But a model writes all of its fields and no
//! others, in order, each as its type has it, so that its text tells. Only where it leaves doubt, as
//! with a serializer of the model's own, are both merged by their JSON kind, for Pydantic to judge.

use super::value::Value;
use super::{holding, may_begin, split};
use crate::check::accepts;
use crate::plan::{Model, Node, NodeId, Plan};

/// What two objects or two arrays that meet are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Met {
    /// Values of the only node that takes such.
    Only,
    /// Both are of this member of a union; `None` where nobody knows.
    Same(Option<NodeId>),
    /// No member of the union takes both.
    Apart,
}

/// The unions of a plan.
#[derive(Debug)]
pub(crate) struct Unions<'p> {
    plan: &'p Plan,
    /// For each node, whether a value may need Pydantic to tell whether it is one.
    judged: Vec<bool>,
}

impl<'p> Unions<'p> {
    pub(crate) fn of(plan: &'p Plan) -> Self {
        let judged = holding(plan, |node| match node {
            Node::OneOf(_) | Node::Opaque => true,
            Node::Model(model) => !model.covered,
            _ => false,
        });
        Unions { plan, judged }
    }

    /// What two objects or arrays are by the node that they stand at.
    pub(super) fn meet(&self, node: Option<NodeId>, existing: &Value<'_>, incoming: &[u8]) -> Met {
        let Some(node) = node.filter(|&node| self.is_union(node)) else { return Met::Only };
        let members = self.members(node, incoming.first().copied().unwrap_or(0));
        if members.len() < 2 {
            return Met::Only;
        }
        let mut old = members.clone();
        match existing {
            Value::Model(model, _) => old.retain(|&id| self.is_model(id, model)),
            Value::List(_) => {} // what it holds is spread over several texts
            Value::Dict(dict) => old.retain(|&id| dict.member == Some(id)),
            _ => self.retain_fitting(&mut old, existing.bytes().unwrap_or_default()),
        }
        let mut new = members;
        self.retain_fitting(&mut new, incoming);
        if old.is_empty() || new.is_empty() {
            return Met::Same(None);
        }
        let both = old.into_iter().find(|id| new.contains(id));
        both.map_or(Met::Apart, |id| Met::Same(Some(id)))
    }

    /// Whether a node may have several members; most have none, and nothing is allocated for them.
    fn is_union(&self, node: NodeId) -> bool {
        match self.plan.node(node) {
            Node::Nullable(inner) => {
                matches!(
                    self.plan.node(*inner),
                    Node::Nullable(_) | Node::Union(_) | Node::OneOf(_)
                )
            }
            node => matches!(node, Node::Union(_) | Node::OneOf(_)),
        }
    }

    /// The member of a union that an object is of.
    pub(crate) fn member_of(&self, node: NodeId, text: &[u8]) -> Option<NodeId> {
        let mut members = self.members(node, b'{');
        self.retain_fitting(&mut members, text);
        members.first().copied()
    }

    /// What a union may be where the JSON of its value begins so; of another node nothing.
    fn members(&self, node: NodeId, kind: u8) -> Vec<NodeId> {
        let mut found = Vec::new();
        let mut open = vec![node];
        // A plan that points in a circle without an object in between describes no value.
        let mut budget = self.plan.nodes.len();
        while let (Some(id), 1..) = (open.pop(), budget) {
            budget -= 1;
            match self.plan.node(id) {
                Node::Nullable(inner) => open.push(*inner),
                Node::Union(nodes) | Node::OneOf(nodes) => open.extend(nodes.iter().rev()),
                _ if id != node && may_begin(self.plan, id, kind) && !found.contains(&id) => {
                    found.push(id);
                }
                _ => {}
            }
        }
        found
    }

    fn is_model(&self, node: NodeId, model: &Model) -> bool {
        matches!(self.plan.node(node), Node::Model(other) if std::ptr::eq(other, model))
    }

    /// Keeps the members that an object may be of, the surest kind of them alone.
    fn retain_fitting(&self, members: &mut Vec<NodeId>, text: &[u8]) {
        let mut fits: Vec<u8> = Vec::with_capacity(members.len());
        fits.extend(members.iter().map(|&id| self.fits(id, text)));
        let best = fits.iter().copied().max().unwrap_or(0);
        let mut fits = fits.into_iter();
        members.retain(|_| best > 0 && fits.next() == Some(best));
    }

    /// How sure it is that a value is of a member, 0 where it is not: 3 for a model with just these
    /// fields, 2 for one that is not covered and may have more, 1 for a dict or an array.
    fn fits(&self, node: NodeId, text: &[u8]) -> u8 {
        let fits = |(node, &(start, end)): (NodeId, &(usize, usize))| {
            self.judged[node as usize] || accepts(self.plan, node, &text[start..end], 0)
        };
        match self.plan.node(node) {
            Node::Model(model) => {
                let mut parts = Vec::new();
                let whole = split::fields(model, text, 0, &mut parts).is_some();
                let possible = whole || (!model.covered && parts.len() == model.fields.len());
                let nodes = model.fields.iter().map(|field| field.node);
                match possible && nodes.zip(&parts).all(fits) {
                    true => 2 + u8::from(whole),
                    false => 0,
                }
            }
            Node::Dict(_) | Node::List(_) | Node::Set(_) | Node::Tuple(_) => {
                u8::from(fits((node, &(0, text.len()))))
            }
            Node::Any => 1,
            _ => 0,
        }
    }
}
