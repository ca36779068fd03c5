//! Records that the plan does not cover: `omem.roundtrip` has Pydantic write and read them.

use omem_core::Unset;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict};

use crate::schema::Schema;

/// What happens to a value that would not survive saving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lossy {
    /// It is refused.
    Error,
    /// It is stored with a warning.
    Warn,
    /// It is stored.
    Allow,
}

impl Lossy {
    fn name(self) -> &'static str {
        match self {
            Lossy::Error => "error",
            Lossy::Warn => "warn",
            Lossy::Allow => "allow",
        }
    }
}

/// Appends the record that Pydantic writes.
///
/// # Errors
/// `LossyError` where Pydantic would read another model from it.
pub fn encode(
    schema: &Schema,
    item: &Bound<'_, PyAny>,
    lossy: Lossy,
    out: &mut Vec<u8>,
) -> PyResult<()> {
    static ENCODE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = item.py();
    let encode = ENCODE.import(py, "omem.roundtrip", "encode")?;
    let record = encode.call1((schema.class.bind(py), item, lossy.name()))?;
    out.extend_from_slice(record.cast::<PyBytes>()?.as_bytes());
    Ok(())
}

/// The model that Pydantic reads from a record.
///
/// # Errors
/// Pydantic's `ValidationError`.
pub fn validate<'py>(
    schema: &Schema,
    py: Python<'py>,
    record: &[u8],
) -> PyResult<Bound<'py, PyAny>> {
    let options = PyDict::new(py);
    options.set_item("by_alias", true)?;
    options.set_item("by_name", true)?;
    let validator = schema.validator.bind(py);
    validator.call_method("validate_json", (PyBytes::new(py, record),), Some(&options))
}

/// Notes as unset the top-level fields that a slowly encoded model had not set.
///
/// # Errors
/// What Python raises while the model is asked.
pub fn unset_fields(
    schema: &Schema,
    item: &Bound<'_, PyAny>,
    record: &[u8],
    unset: &mut Vec<Unset>,
) -> PyResult<()> {
    let Some(model) = schema.plan.model() else {
        return Ok(());
    };
    let given = item.getattr("__pydantic_fields_set__")?;
    let mut at = 0;
    for field in &model.fields {
        if !record[at..].starts_with(&field.prefix) {
            return Ok(()); // excluded fields or extras: nothing is known to be unset
        }
        let start = at + field.prefix.len();
        at = omem_core::json::scan::skip(record, start);
        if !given.contains(&field.name)? {
            unset.push(Unset { start: start as u32, end: at as u32 });
        }
    }
    Ok(())
}
