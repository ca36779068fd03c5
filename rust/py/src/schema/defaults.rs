//! The texts of defaults, by which a value that is no observation is known.

use omem_core::plan::{Node, NodeId};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyString, PyTuple};

use super::{Schema, Side};
use crate::encode::encode_value;

/// The text of a default, and the default where it cannot change.
type Default = (Option<Box<[u8]>>, Option<Py<PyAny>>);

impl Schema {
    /// Encodes the defaults, which needs the nodes to be there.
    pub(super) fn fill_defaults(&mut self, nodes: &[Bound<'_, PyTuple>]) -> PyResult<()> {
        // Backwards: a model comes before those in its fields, whose defaults its own may hold.
        for (number, node) in nodes.iter().enumerate().rev() {
            let Node::Model(model) = &self.plan.nodes[number] else {
                continue;
            };
            let mut defaults = Vec::with_capacity(model.fields.len());
            for (field, spec) in model.fields.iter().zip(node.get_item(2)?.try_iter()?) {
                defaults.push(self.default(field.node, &spec?.get_item(2)?)?);
            }
            if let (Node::Model(model), Side::Model(side)) =
                (&mut self.plan.nodes[number], &mut self.sides[number])
            {
                for (place, (text, value)) in defaults.into_iter().enumerate() {
                    model.fields[place].default = text;
                    side.defaults[place] = value;
                }
            }
        }
        Ok(())
    }

    /// The text of a default, `()` or the value and who writes what the plan does not cover; and
    /// the value itself where the identical object always has that text.
    fn default(&self, node: NodeId, spec: &Bound<'_, PyAny>) -> PyResult<Default> {
        let spec = spec.cast::<PyTuple>()?;
        if spec.is_empty() {
            return Ok((None, None));
        }
        let value = spec.get_item(0)?;
        let mut text = Vec::new();
        // `score: float = 0` is not validated, and stays an int in the model.
        let is_float = matches!(self.plan.node(self.present(node)), Node::Float { .. });
        let shown = match value.extract() {
            Ok(float) if is_float && value.is_exact_instance_of::<PyInt>() => {
                PyFloat::new(spec.py(), float).into_any()
            }
            _ => value.clone(),
        };
        if !encode_value(self, node, &shown, &mut text) || !shown.eq(&value)? {
            let told = spec.get_item(1)?.call1((&value,))?;
            let (written, fixed): (Option<Vec<u8>>, bool) = told.extract()?;
            return Ok((written.map(Vec::into_boxed_slice), fixed.then(|| value.unbind())));
        }
        let fixed = value.is_none()
            || value.is_exact_instance_of::<PyBool>()
            || value.is_exact_instance_of::<PyInt>()
            || value.is_exact_instance_of::<PyFloat>()
            || value.is_exact_instance_of::<PyString>();
        Ok((Some(text.into_boxed_slice()), fixed.then(|| value.unbind())))
    }
}
