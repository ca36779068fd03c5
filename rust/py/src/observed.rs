//! Which fields of a decoded model count as set.

use omem_core::json::{scan, string};
use omem_core::plan::{Field, Model};
use omem_core::{Node, NodeId, Unset};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFrozenSet, PySet, PyTuple};

use crate::schema::{ModelSide, Schema, Side};

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
    // Inside lists, which are merged whole, nothing was noted.
    Walk { schema, record, is_unset, lists: false }.value(schema.plan.root, model, 0)
}

/// Takes what equals its default out of `model_fields_set` of a model that Pydantic has read.
///
/// # Errors
/// What Python raises.
pub fn mark_defaults(schema: &Schema, model: &Bound<'_, PyAny>, record: &[u8]) -> PyResult<()> {
    let is_unset = |field: &Field, start: usize, end: usize| {
        field.default.as_deref() == Some(&record[start..end])
    };
    Walk { schema, record, is_unset, lists: true }.value(schema.plan.root, model, 0)
}

struct Walk<'a, F> {
    schema: &'a Schema,
    record: &'a [u8],
    is_unset: F,
    lists: bool,
}

impl<F: Fn(&Field, usize, usize) -> bool> Walk<'_, F> {
    fn value(&self, node: NodeId, value: &Bound<'_, PyAny>, at: usize) -> PyResult<()> {
        if !self.schema.holds_model(node) {
            return Ok(());
        }
        let plan = &self.schema.plan;
        match (plan.node(node), self.schema.side(node)) {
            (Node::Nullable(inner), _) if !value.is_none() => self.value(*inner, value, at),
            (Node::Union(nodes) | Node::OneOf(nodes), _) => {
                match self.schema.member_of(nodes, value) {
                    Some(node) => self.value(node, value, at),
                    None => Ok(()),
                }
            }
            (Node::Model(shape), Side::Model(side)) => self.model(shape, side, value, at),
            (Node::Dict(items), _) => match value.cast::<PyDict>() {
                Ok(dict) => self.parts(dict.values().iter(), |_| Some(items.item), at, true),
                Err(_) => Ok(()),
            },
            (Node::List(items), _) if self.lists => match value.try_iter() {
                // The elements of a set do not stand in its order.
                Ok(parts) if !value.is_instance_of::<PyFrozenSet>() => {
                    let parts = parts.collect::<PyResult<Vec<_>>>()?;
                    self.parts(parts.into_iter(), |_| Some(items.item), at, false)
                }
                _ => Ok(()),
            },
            (Node::Tuple(nodes), _) if self.lists => match value.cast::<PyTuple>() {
                Ok(tuple) => self.parts(tuple.iter(), |place| nodes.get(place).copied(), at, false),
                Err(_) => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// The parts of a list or dict beside those of its text.
    fn parts<'py>(
        &self,
        parts: impl Iterator<Item = Bound<'py, PyAny>>,
        node: impl Fn(usize) -> Option<NodeId>,
        at: usize,
        named: bool,
    ) -> PyResult<()> {
        let mut here = at + 1;
        for (place, part) in parts.enumerate() {
            if named {
                here = string::end(self.record, here) + 2;
            }
            let (Some(node), true) = (node(place), here < self.record.len()) else {
                return Ok(()); // a serializer of its own has written it otherwise
            };
            self.value(node, &part, here)?;
            here = scan::skip(self.record, here) + 1;
        }
        Ok(())
    }

    fn model(
        &self,
        shape: &Model,
        side: &ModelSide,
        value: &Bound<'_, PyAny>,
        at: usize,
    ) -> PyResult<()> {
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
