//! Models encoded and keyed, not yet in a store.

use std::sync::Mutex;

use omem_core::{Item, Span, key};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;

use crate::encode::encode;
use crate::keys::{KeySpec, extract_key};
use crate::schema::Schema;

/// What `Store.encode` made; `Store.fold` consumes it.
#[pyclass(frozen, module = "omem._omem")]
pub struct Batch {
    inner: Mutex<Option<omem_core::Batch>>,
    len: usize,
}

impl Batch {
    /// Wraps a batch of the core.
    pub fn new(inner: omem_core::Batch) -> Self {
        Batch { len: inner.items.len(), inner: Mutex::new(Some(inner)) }
    }

    /// Takes the records out; a batch is used once.
    pub fn take(&self) -> PyResult<omem_core::Batch> {
        let mut inner = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        inner.take().ok_or_else(|| PyRuntimeError::new_err("this batch was used already"))
    }
}

#[pymethods]
impl Batch {
    fn __len__(&self) -> usize {
        self.len
    }
}
