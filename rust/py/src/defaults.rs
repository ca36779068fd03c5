//! What a file did not say of a model.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use crate::{differ, instance};

/// How many fields of a model, nested models included, were given by their defaults.
#[pyfunction]
pub fn defaults_in(value: &Bound<'_, PyAny>) -> PyResult<usize> {
    let py = value.py();
    let mut total = 0;
    let mut pending = vec![value.clone()];
    while let Some(value) = pending.pop() {
        if value.is_exact_instance_of::<PyString>()
            || value.is_none()
            || value.is_exact_instance_of::<PyInt>()
            || value.is_exact_instance_of::<PyFloat>()
        {
            continue;
        }
        if let Ok(list) = value.cast::<PyList>() {
            pending.extend(list.iter());
        } else if let Ok(tuple) = value.cast::<PyTuple>() {
            pending.extend(tuple.iter());
        } else if let Ok(dict) = value.cast::<PyDict>() {
            pending.extend(dict.values().iter());
        } else if value.is_instance(differ::base_model(py)?)?
            && let (Some(fields), Some(set)) =
                (instance::fields(&value), instance::fields_set(&value))
        {
            let names = value.get_type().getattr(pyo3::intern!(py, "__pydantic_fields__"))?;
            for name in names.cast::<PyDict>()?.keys() {
                match set.contains(&name)? {
                    true => pending.extend(fields.get_item(name)?),
                    false => total += 1,
                }
            }
        }
    }
    Ok(total)
}
