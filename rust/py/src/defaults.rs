//! What a file did not say of a model.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use crate::{differ, instance};

/// How many fields of a model, nested models included, were given by their defaults.
#[pyfunction]
pub fn defaults_in(value: &Bound<'_, PyAny>) -> PyResult<usize> {
    let py = value.py();
    let mut total = 0;
    let mut pending = vec![value.clone()];
    while let Some(value) = pending.pop() {
        if let Ok(list) = value.cast::<PyList>() {
            pending.extend(list.iter().filter(may_hold_models));
        } else if let Ok(tuple) = value.cast::<PyTuple>() {
            pending.extend(tuple.iter().filter(may_hold_models));
        } else if let Ok(dict) = value.cast::<PyDict>() {
            pending.extend(dict.iter().map(|(_, value)| value).filter(may_hold_models));
        } else if value.is_instance(differ::base_model(py)?)?
            && let (Some(fields), Some(set)) =
                (instance::fields(&value), instance::fields_set(&value))
        {
            let names = value.get_type().getattr(pyo3::intern!(py, "__pydantic_fields__"))?;
            let names = names.cast::<PyDict>()?;
            let all = (names.len(), names.len()) == (fields.len(), set.len());
            if all && instance::extra(&value).is_none_or(|extra| extra.is_empty()) {
                // No name has to be looked up: half of the time.
                pending.extend(fields.iter().map(|(_, value)| value).filter(may_hold_models));
                continue;
            }
            for name in names.iter().map(|(name, _)| name) {
                match set.contains(&name)? {
                    true => pending.extend(fields.get_item(name)?.filter(may_hold_models)),
                    false => total += 1,
                }
            }
        }
    }
    Ok(total)
}

/// Most values are none of these, and are not even put aside.
fn may_hold_models(value: &Bound<'_, PyAny>) -> bool {
    !(value.is_exact_instance_of::<PyString>()
        || value.is_none()
        || value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyFloat>()
        || value.is_exact_instance_of::<PyBool>())
}
