//! The store as it was at one moment, for readers and dumps.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use omem_core::file::AtomicFile;
use omem_core::write::write_records;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::decode::{Paused, age, decode};
use crate::keys::key_from_text;
use crate::progress::detached;
use crate::schema::Schema;

/// So many entities are decoded at once by an iterator.
const BLOCK: usize = 256;

/// From so many models on, the collector's next pass is worth sparing.
const MANY: usize = 10_000;

/// Entities that nothing changes any more.
#[pyclass(frozen, module = "omem._omem")]
pub struct Snapshot {
    pub(crate) schema: Py<Schema>,
    pub(crate) inner: Arc<omem_core::Snapshot>,
}

impl Snapshot {
    /// Decodes some entities; the cyclic collector waits meanwhile.
    fn block<'py>(
        &self,
        py: Python<'py>,
        from: usize,
        count: usize,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let schema = self.schema.get();
        let _paused = Paused::new(py);
        let mut models = Vec::new();
        for (place, entry) in self.inner.iter().skip(from).take(count).enumerate() {
            if place % 4096 == 4095 {
                py.check_signals()?;
            }
            omem_core::error::reserve(&mut models, 1).map_err(crate::errors::to_py)?;
            models.push(decode(schema, py, entry.record)?.into_bound(py));
        }
        Ok(models)
    }
}

#[pymethods]
impl Snapshot {
    fn __len__(&self) -> usize {
        self.inner.len()
    }

    fn __iter__(slf: Bound<'_, Self>) -> SnapshotIterator {
        SnapshotIterator {
            snapshot: slf.unbind(),
            next: AtomicUsize::new(0),
            block: Mutex::default(),
        }
    }

    /// All entities, as a list.
    fn decode<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let _paused = Paused::new(py);
        let models = PyList::new(py, self.block(py, 0, usize::MAX)?)?;
        if models.len() >= MANY {
            age(py)?;
        }
        Ok(models)
    }

    /// All keys, as a list.
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let keys = self.inner.iter().map(|entry| key_from_text(py, entry.key));
        PyList::new(py, keys.collect::<PyResult<Vec<_>>>()?)
    }

    /// Writes all entities to one file, atomically; returns its size.
    #[pyo3(signature = (path, progress=None))]
    fn write(
        &self,
        py: Python<'_>,
        path: PathBuf,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        let snapshot = &self.inner;
        detached(py, progress, |report| {
            let mut file = AtomicFile::create(&path, report)?;
            write_records(snapshot, file.draft(), report)?;
            file.commit()
        })
    }
}

/// A checksum as the metadata show it.
pub fn checksum(checksum: u64) -> String {
    format!("xxh3-64:{checksum:016x}")
}

/// Decodes a snapshot block by block.
#[pyclass(frozen, module = "omem._omem")]
pub struct SnapshotIterator {
    snapshot: Py<Snapshot>,
    next: AtomicUsize,
    block: Mutex<Vec<Py<PyAny>>>,
}

#[pymethods]
impl SnapshotIterator {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let pop = || self.block.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(model) = pop() {
            return Ok(Some(model));
        }
        // Decoding may call Python, so no lock is held meanwhile.
        let from = self.next.fetch_add(BLOCK, Ordering::Relaxed);
        let models = self.snapshot.get().block(py, from, BLOCK)?;
        let models = models.into_iter().rev().map(Bound::unbind).collect();
        *self.block.lock().unwrap_or_else(PoisonError::into_inner) = models;
        Ok(pop())
    }

    fn __length_hint__(&self) -> usize {
        let left = self.block.lock().unwrap_or_else(PoisonError::into_inner).len();
        let total = self.snapshot.get().inner.len();
        total.saturating_sub(self.next.load(Ordering::Relaxed)) + left
    }
}
