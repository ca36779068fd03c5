//! What a model instance is made of, read without running code of the model's class.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PySet, PyString};

/// `value.__dict__`, the fields; `None` for an object without one.
pub fn fields<'py>(value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyDict>> {
    // SAFETY: `value` is a live object; the call gives a new reference or an error.
    let dict = unsafe {
        let dict = ffi::PyObject_GenericGetDict(value.as_ptr(), std::ptr::null_mut());
        Bound::from_owned_ptr_or_opt(value.py(), dict)
    };
    found(value.py(), dict)?.cast_into().ok()
}

/// `value.__pydantic_fields_set__`
pub fn fields_set<'py>(value: &Bound<'py, PyAny>) -> Option<Bound<'py, PySet>> {
    slot(value, pyo3::intern!(value.py(), "__pydantic_fields_set__"))?.cast_into().ok()
}

/// `value.__pydantic_extra__`, where the model allows extra fields.
pub fn extra<'py>(value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyDict>> {
    slot(value, pyo3::intern!(value.py(), "__pydantic_extra__"))?.cast_into().ok()
}

/// `value.__pydantic_private__`, where the model has private attributes.
pub fn private<'py>(value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyDict>> {
    slot(value, pyo3::intern!(value.py(), "__pydantic_private__"))?.cast_into().ok()
}

/// An attribute by the generic lookup, which runs no `__getattribute__` or `__getattr__`.
fn slot<'py>(value: &Bound<'py, PyAny>, name: &Bound<'py, PyString>) -> Option<Bound<'py, PyAny>> {
    // SAFETY: both are live objects; the call gives a new reference or an error.
    let slot = unsafe {
        let slot = ffi::PyObject_GenericGetAttr(value.as_ptr(), name.as_ptr());
        Bound::from_owned_ptr_or_opt(value.py(), slot)
    };
    found(value.py(), slot)
}

/// Forgets the error of a lookup that found nothing.
fn found<'py>(py: Python<'py>, value: Option<Bound<'py, PyAny>>) -> Option<Bound<'py, PyAny>> {
    if value.is_none() {
        drop(PyErr::take(py));
    }
    value
}
