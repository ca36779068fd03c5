//! Which fields of a decoded model count as set.

use omem_core::json::scan;
use omem_core::plan::Field;
use omem_core::{Node, NodeId, Unset};
use pyo3::prelude::*;
use pyo3::types::PySet;

use crate::schema::{Schema, Side};

/// Makes `model_fields_set` of a decoded model what it was on the model that was encoded:
/// decoding alone takes every value that equals its default for unset.
///
/// # Errors
/// What Python raises.
pub fn mark(
    schema: &Schema,
    model: &Bound<'_, PyAny>,
    record: &[u8],
    unset: &[Unset],
) -> PyResult<()> {
    let is_unset =
        |_: &Field, start: usize, _: usize| unset.iter().any(|range| range.start as usize == start);
    Walk { schema, record, is_unset }.value(schema.plan.root, model, 0)
}

/// Takes what equals its default out of `model_fields_set` of a model that Pydantic has read.
///
/// # Errors
/// What Python raises.
pub fn mark_defaults(schema: &Schema, model: &Bound<'_, PyAny>, record: &[u8]) -> PyResult<()> {
    let is_unset = |field: &Field, start: usize, end: usize| {
        field.default.as_deref() == Some(&record[start..end])
    };
    Walk { schema, record, is_unset }.value(schema.plan.root, model, 0)
}

struct Walk<'a, F> {
    schema: &'a Schema,
    record: &'a [u8],
    is_unset: F,
}

impl<F: Fn(&Field, usize, usize) -> bool> Walk<'_, F> {
    fn value(&self, node: NodeId, value: &Bound<'_, PyAny>, at: usize) -> PyResult<()> {
        let node = match self.schema.plan.node(node) {
            Node::Nullable(inner) => *inner,
            _ => node,
        };
        let (Node::Model(shape), Side::Model(side)) =
            (self.schema.plan.node(node), self.schema.side(node))
        else {
            return Ok(());
        };
        let py = value.py();
        if !value.is_instance(side.class.bind(py))? {
            return Ok(());
        }
        let set = value.getattr(pyo3::intern!(py, "__pydantic_fields_set__"))?;
        let set = set.cast::<PySet>()?;
        let mut here = at;
        for (field, name) in shape.fields.iter().zip(&side.names) {
            let name = name.bind(py);
            let rest = self.record.get(here..).unwrap_or_default();
            if !rest.starts_with(&field.prefix) {
                return Ok(()); // a serializer of the model's own has written it otherwise
            }
            let start = here + field.prefix.len();
            here = scan::skip(self.record, start);
            if (self.is_unset)(field, start, here) {
                set.discard(name)?;
            } else {
                set.add(name)?;
                self.value(field.node, &value.getattr(name)?, start)?;
            }
        }
        Ok(())
    }
}
