//! Which values of a record that was read count as never set.

use crate::batch::Unset;
use crate::json::scan;
use crate::merge::Unions;
use crate::plan::{Node, NodeId, Plan};

/// Appends the ranges of the values that equal their default, nested models included, in order of
/// position: what [`crate::batch::Batch::unset`] has for a model whose defaults were never set.
pub fn of_defaults(plan: &Plan, record: &[u8], out: &mut Vec<Unset>) {
    Walk { plan, record, unions: None }.value(plan.root, 0, out);
}

struct Walk<'a> {
    plan: &'a Plan,
    record: &'a [u8],
    unions: Option<Unions<'a>>,
}

impl Walk<'_> {
    /// The nesting of records is bounded, and with it this recursion.
    fn value(&mut self, node: NodeId, at: usize, out: &mut Vec<Unset>) {
        let plan = self.plan;
        let is_union = |node: NodeId| matches!(plan.node(node), Node::Union(_) | Node::OneOf(_));
        let mut node = match plan.nodes.get(node as usize) {
            Some(Node::Nullable(inner)) => *inner,
            Some(_) => node,
            None => return,
        };
        if is_union(node) && self.record.get(at) == Some(&b'{') {
            let unions = self.unions.get_or_insert_with(|| Unions::of(plan));
            let text = &self.record[at..scan::skip(self.record, at)];
            let Some(member) = unions.member_of(node, text) else { return };
            node = member;
        }
        let Node::Model(model) = plan.node(node) else { return };
        let mut here = at;
        for field in &model.fields {
            if !self.record.get(here..).is_some_and(|rest| scan::begins(rest, &field.prefix)) {
                return; // null, or written by a serializer of the model's own
            }
            let start = here + field.prefix.len();
            here = scan::skip(self.record, start);
            if field.default.as_deref() == Some(&self.record[start..here]) {
                out.push(Unset { start: start as u32, end: here as u32 });
            } else {
                self.value(field.node, start, out);
            }
        }
    }
}
