//! What a model instance is made of, read without running code of the model's class.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PySet};

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
    slot(value, Slot::FieldsSet)?.cast_into().ok()
}

/// `value.__pydantic_extra__`, where the model has extra fields.
pub fn extra<'py>(value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyDict>> {
    slot(value, Slot::Extra)?.cast_into().ok()
}

/// `value.__pydantic_private__`, where the model has private attributes.
pub fn private<'py>(value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyDict>> {
    slot(value, Slot::Private)?.cast_into().ok()
}

/// The slots of `BaseModel`.
#[derive(Clone, Copy)]
enum Slot {
    FieldsSet,
    Extra,
    Private,
}

/// What stands in a slot, by the slot's own descriptor: no lookup, and no code of the class.
fn slot<'py>(value: &Bound<'py, PyAny>, slot: Slot) -> Option<Bound<'py, PyAny>> {
    static SLOTS: PyOnceLock<[Py<PyAny>; 3]> = PyOnceLock::new();
    let py = value.py();
    let slots = SLOTS.get_or_try_init(py, || {
        let names = ["fields_set", "extra", "private"].map(|name| format!("__pydantic_{name}__"));
        let own = py.import("pydantic")?.getattr("BaseModel")?.getattr("__dict__")?;
        let [a, b, c] = names.map(|name| own.get_item(name).map(Bound::unbind));
        PyResult::Ok([a?, b?, c?])
    });
    let descriptor = slots.ok()?[slot as usize].bind(py);
    // SAFETY: all are live objects of these types; a descriptor gives a new reference or an error.
    let found_in_slot = unsafe {
        let get = (*ffi::Py_TYPE(descriptor.as_ptr())).tp_descr_get?;
        let got = get(descriptor.as_ptr(), value.as_ptr(), ffi::Py_TYPE(value.as_ptr()).cast());
        Bound::from_owned_ptr_or_opt(py, got)
    };
    found(py, found_in_slot)
}

/// Forgets the error of a lookup that found nothing.
fn found<'py>(py: Python<'py>, value: Option<Bound<'py, PyAny>>) -> Option<Bound<'py, PyAny>> {
    if value.is_none() {
        drop(PyErr::take(py));
    }
    value
}
