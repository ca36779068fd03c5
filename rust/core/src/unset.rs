//! Which values of a record that was read count as never set.

use crate::batch::Unset;
use crate::json::scan;
use crate::plan::{Node, NodeId, Plan};

/// Appends the ranges of the values that equal their default, nested models included, in order of
/// position: what [`crate::batch::Batch::unset`] has for a model whose defaults were never set.
pub fn of_defaults(plan: &Plan, record: &[u8], out: &mut Vec<Unset>) {
    walk(plan, plan.root, record, 0, out);
}

/// The nesting of records is bounded, and with it this recursion.
fn walk(plan: &Plan, node: NodeId, record: &[u8], at: usize, out: &mut Vec<Unset>) {
    let node = match plan.nodes.get(node as usize) {
        Some(Node::Nullable(inner)) => plan.nodes.get(*inner as usize),
        node => node,
    };
    let Some(Node::Model(model)) = node else { return };
    let mut here = at;
    for field in &model.fields {
        if !record.get(here..).is_some_and(|rest| scan::begins(rest, &field.prefix)) {
            return; // null, or written by a serializer of the model's own
        }
        let start = here + field.prefix.len();
        here = scan::skip(record, start);
        if field.default.as_deref() == Some(&record[start..here]) {
            out.push(Unset { start: start as u32, end: here as u32 });
        } else {
            walk(plan, field.node, record, start, out);
        }
    }
}
