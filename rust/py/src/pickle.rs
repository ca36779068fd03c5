//! A pickle as builtins, read by the closed reader of the core.

use omem_core::pickle::{self, Id, Pickle, Value};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use crate::errors::to_py;

/// How deep what is read may nest.
const MAX_DEPTH: usize = 64;

/// Reads a pickle without running anything: builtins as they are, an object as the state that it
/// was to get, or None.
#[pyfunction]
pub fn read_pickle<'py>(py: Python<'py>, content: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let pickle = py.detach(|| pickle::read(content)).map_err(to_py)?;
    let mut made = Vec::new();
    omem_core::error::reserve(&mut made, pickle.values.len()).map_err(to_py)?;
    made.resize_with(pickle.values.len(), || None);
    Maker { py, pickle: &pickle, made }.make(pickle.root, MAX_DEPTH)
}

struct Maker<'a, 'py> {
    py: Python<'py>,
    pickle: &'a Pickle<'a>,
    /// What was made of each value, so that a value that is referred to often is made once.
    made: Vec<Option<Bound<'py, PyAny>>>,
}

impl<'py> Maker<'_, 'py> {
    fn make(&mut self, id: Id, depth: usize) -> PyResult<Bound<'py, PyAny>> {
        let py = self.py;
        if let Some(made) = &self.made[id as usize] {
            return Ok(made.clone());
        }
        let none = || py.None().into_bound(py);
        let deeper = depth
            .checked_sub(1)
            .ok_or_else(|| PyValueError::new_err("a pickle that nests too deep"))?;
        // What refers to itself finds None there.
        self.made[id as usize] = Some(none());
        let made = match &self.pickle.values[id as usize] {
            Value::None | Value::Object(None) => none(),
            Value::Bool(value) => PyBool::new(py, *value).to_owned().into_any(),
            Value::Int(value) => PyInt::new(py, *value).into_any(),
            Value::Float(value) => PyFloat::new(py, *value).into_any(),
            Value::Str(text) => PyString::new(py, text).into_any(),
            Value::Bytes(bytes) => PyBytes::new(py, bytes).into_any(),
            Value::List(items) => PyList::new(py, self.all(items, deeper)?)?.into_any(),
            Value::Tuple(items) => PyTuple::new(py, self.all(items, deeper)?)?.into_any(),
            Value::Dict(entries) => {
                let dict = PyDict::new(py);
                for (key, value) in entries {
                    // Only these are hashed: hashing a nested tuple can be made to take for ever.
                    if matches!(self.pickle.values[*key as usize], Value::Str(_) | Value::Int(_)) {
                        dict.set_item(self.make(*key, deeper)?, self.make(*value, deeper)?)?;
                    }
                }
                dict.into_any()
            }
            Value::Object(Some(state)) => self.make(*state, deeper)?,
        };
        self.made[id as usize] = Some(made.clone());
        Ok(made)
    }

    fn all(&mut self, items: &[Id], depth: usize) -> PyResult<Vec<Bound<'py, PyAny>>> {
        items.iter().map(|item| self.make(*item, depth)).collect()
    }
}
