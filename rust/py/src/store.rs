//! The store: records in, merged, out again.
//!
//! The lock around the core store is taken with the GIL held and given back before anything
//! detaches or calls Python, so it is never held across a fork, and readers never wait for
//! more than the application of a finished change.

use std::sync::{Mutex, MutexGuard, PoisonError};

use omem_core::{Changes, Item, Span, key};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyType};

use crate::batch::Batch;
use crate::change::Change;
use crate::decode::decode;
use crate::encode::encode;
use crate::errors::to_py;
use crate::keys::{KeySpec, key_from_text, key_to_text};
use crate::schema::Schema;
use crate::snapshot::Snapshot;

/// Entities of one schema, found by key.
#[pyclass(frozen, module = "omem._omem")]
pub struct Store {
    pub(crate) schema: Py<Schema>,
    pub(crate) key: KeySpec,
    inner: Mutex<omem_core::Store>,
}

impl Store {
    /// The core store, for a moment.
    pub(crate) fn lock(&self) -> MutexGuard<'_, omem_core::Store> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Encodes one model into a batch, with its key.
    pub(crate) fn push(
        &self,
        batch: &mut omem_core::Batch,
        item: &Bound<'_, PyAny>,
        position: usize,
    ) -> PyResult<()> {
        let py = item.py();
        let schema = self.schema.get();
        let first_unset = batch.unset.len() as u32;
        let mut unset = std::mem::take(&mut batch.unset);
        let (chunk, bytes) = batch.open_records().map_err(to_py)?;
        let start = bytes.len();
        encode(schema, item, bytes, &mut unset)?;
        let len = bytes.len() - start;
        bytes.extend_from_slice(b",\n");
        todo!()
    }
}

#[pymethods]
impl Store {
    #[new]
    fn new(schema: Py<Schema>, key: KeySpec) -> Self {
        Store { schema, key, inner: Mutex::default() }
    }

    fn __len__(&self) -> usize {
        self.lock().len()
    }

    /// Encodes models and takes their keys; nothing is stored yet.
    fn encode(&self, items: &Bound<'_, PyAny>) -> PyResult<Batch> {
        let py = items.py();
        let mut batch = omem_core::Batch::default();
        for (position, item) in items.try_iter()?.enumerate() {
            if position % 4096 == 0 {
                py.check_signals()?;
            }
            self.push(&mut batch, &item?, position)?;
        }
        Ok(Batch::new(batch))
    }

    /// The entity of a key.
    fn get(&self, key: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
        let py = key.py();
        let mut text = Vec::new();
        key_to_text(key, &mut text)?;
        // The record is copied out: decoding calls Python, which may come back to this store.
        let record = self.lock().get(&text, key::hash(&text)).map(<[u8]>::to_vec);
        record.map(|record| decode(self.schema.get(), py, &record)).transpose()
    }
}
