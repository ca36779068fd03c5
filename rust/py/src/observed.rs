//! Which fields an incoming model had set, put back on a decoded copy of it.

use omem_core::json::scan;
use omem_core::{Node, NodeId, Unset};
use pyo3::prelude::*;
use pyo3::types::PySet;

use crate::schema::Schema;

/// Makes `model_fields_set` of a decoded model what it was on the model that was encoded:
/// decoding alone takes every value that equals its default for unset.
pub fn mark(
    schema: &Schema,
    model: &Bound<'_, PyAny>,
    record: &[u8],
    unset: &[Unset],
) -> PyResult<()> {
    walk(schema, schema.plan.root, model, record, 0, unset)
}

fn walk(
    schema: &Schema,
    node: NodeId,
    model: &Bound<'_, PyAny>,
    record: &[u8],
    at: usize,
    unset: &[Unset],
) -> PyResult<()> {
    let node = match schema.plan.node(node) {
        Node::Nullable(inner) => schema.plan.node(*inner),
        node => node,
    };
    let Node::Model(shape) = node else {
        return Ok(());
    };
    if model.is_none() {
        return Ok(());
    }
    let mut given = Vec::new();
    let mut here = at;
    for field in &shape.fields {
        if !record.get(here..).is_some_and(|rest| rest.starts_with(&field.prefix)) {
            return Ok(()); // a record that Pydantic wrote otherwise
        }
        let start = here + field.prefix.len();
        here = scan::skip(record, start);
        if !unset.iter().any(|range| range.start as usize == start) {
            given.push(field.name.as_str());
            walk(schema, field.node, &model.getattr(field.name.as_str())?, record, start, unset)?;
        }
    }
    let py = model.py();
    model.setattr("__pydantic_fields_set__", PySet::new(py, given)?)
}
