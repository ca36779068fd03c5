//! Folders: a dump on its way in, and a dump that is read.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use omem_core::Error;
use omem_core::file::{AtomicFile, Digest, measure};
use omem_core::folder::{self, INDEX, Layout, MEMORY};
use omem_core::write::write_records;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors::to_py;
use crate::progress::detached;
use crate::snapshot::{self, Snapshot};

fn layout(name: &str) -> PyResult<&'static Layout> {
    match name {
        "memory" => Ok(&MEMORY),
        "index" => Ok(&INDEX),
        other => Err(PyValueError::new_err(format!("no layout {other:?}"))),
    }
}

fn facts(digest: Digest) -> (u64, String) {
    (digest.bytes, snapshot::checksum(digest.checksum))
}

/// A new dump of a folder; a context manager that undoes what was not committed.
#[pyclass(frozen, module = "omem._omem")]
pub struct FolderWriter {
    inner: Mutex<Option<folder::FolderWriter>>,
}

impl FolderWriter {
    fn open(&self) -> MutexGuard<'_, Option<folder::FolderWriter>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a step on the open folder.
    fn step<T: Send>(
        &self,
        py: Python<'_>,
        progress: Option<&Bound<'_, PyAny>>,
        step: impl FnOnce(
            &mut folder::FolderWriter,
            &mut omem_core::Progress<'_>,
        ) -> omem_core::Result<T>
        + Send,
    ) -> PyResult<T> {
        let mut writer = self.open().take().ok_or_else(closed)?;
        let outcome = detached(py, progress, |report| step(&mut writer, report));
        *self.open() = Some(writer);
        outcome
    }
}

/// As much of a buffer is hashed and written at once; the cache holds it in between.
const PIECE: usize = 1 << 20;

/// The bytes of a contiguous buffer.
fn bytes_of(buffer: &PyBuffer<u8>) -> PyResult<&[u8]> {
    if !buffer.is_c_contiguous() {
        return Err(PyValueError::new_err("a buffer that is not contiguous"));
    }
    // SAFETY: the buffer is contiguous, `len_bytes` long, and held open by the borrow. Whoever calls
    // keeps it unchanged meanwhile: vectors that are being written are copied before a change
    // (`omem.index.vectors`).
    Ok(unsafe { std::slice::from_raw_parts(buffer.buf_ptr().cast(), buffer.len_bytes()) })
}

fn closed() -> PyErr {
    PyValueError::new_err("this folder is closed")
}

#[pymethods]
impl FolderWriter {
    #[new]
    #[pyo3(signature = (path, kind="memory"))]
    fn new(py: Python<'_>, path: PathBuf, kind: &str) -> PyResult<Self> {
        let layout = layout(kind)?;
        let writer =
            detached(py, None, |report| folder::FolderWriter::open(&path, layout, report))?;
        Ok(FolderWriter { inner: Mutex::new(Some(writer)) })
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_details))]
    fn __exit__(&self, _details: &Bound<'_, PyAny>) {
        drop(self.open().take());
    }

    /// Stages all entities of a snapshot; returns size and checksum.
    #[pyo3(signature = (name, snapshot, progress=None))]
    fn write_records(
        &self,
        py: Python<'_>,
        name: &str,
        snapshot: &Snapshot,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<(u64, String)> {
        let records = &snapshot.inner;
        self.step(py, progress, |writer, report| {
            let mut file = writer.stage(name)?;
            write_records(records, file.draft(), report)?;
            file.finish()
        })
        .map(facts)
    }

    /// Stages bytes; returns size and checksum.
    fn write_bytes(&self, py: Python<'_>, name: &str, content: &[u8]) -> PyResult<(u64, String)> {
        self.step(py, None, |writer, _| {
            let mut file = writer.stage(name)?;
            file.draft().write(content)?;
            file.finish()
        })
        .map(facts)
    }

    /// Stages the bytes of several buffers, one after the other; returns size and checksum.
    /// Nothing may change the buffers meanwhile.
    fn write_parts(
        &self,
        py: Python<'_>,
        name: &str,
        parts: Vec<PyBuffer<u8>>,
    ) -> PyResult<(u64, String)> {
        let parts = parts.iter().map(bytes_of).collect::<PyResult<Vec<_>>>()?;
        self.step(py, None, |writer, report| {
            let mut file = writer.stage(name)?;
            let mut done = 0;
            for piece in parts.iter().flat_map(|part| part.chunks(PIECE)) {
                file.draft().write(piece)?;
                done += piece.len() as u64;
                if !report(done, 0) {
                    return Err(Error::Interrupted);
                }
            }
            file.finish()
        })
        .map(facts)
    }

    /// Makes what was staged the content of the folder; returns what went wrong after the commit.
    fn commit(&self, py: Python<'_>, manifest: &[u8]) -> PyResult<Option<String>> {
        let writer = self.open().take().ok_or_else(closed)?;
        let after = py.detach(|| writer.commit(manifest)).map_err(to_py)?;
        Ok(after.map(|error| error.to_string()))
    }
}

/// A folder that is read, kept from changing meanwhile; a context manager.
#[pyclass(frozen, module = "omem._omem")]
pub struct FolderReader {
    inner: Mutex<Option<folder::FolderReader>>,
}

#[pymethods]
impl FolderReader {
    #[new]
    #[pyo3(signature = (path, kind="memory"))]
    fn new(py: Python<'_>, path: PathBuf, kind: &str) -> PyResult<Self> {
        let layout = layout(kind)?;
        let reader =
            detached(py, None, |report| folder::FolderReader::open(&path, layout, report))?;
        Ok(FolderReader { inner: Mutex::new(Some(reader)) })
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_details))]
    fn __exit__(&self, _details: &Bound<'_, PyAny>) {
        drop(self.inner.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Whether what was read until now is of one dump.
    fn is_steady(&self) -> PyResult<bool> {
        let reader = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        reader.as_ref().ok_or_else(closed)?.is_steady().map_err(to_py)
    }

    /// Where a file of the folder lies, or None.
    fn path(&self, name: &str) -> PyResult<Option<PathBuf>> {
        let reader = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        reader.as_ref().ok_or_else(closed)?.path(name).map_err(to_py)
    }
}

/// Writes a file, atomically and durably; returns its size.
#[pyfunction]
pub fn write_file(py: Python<'_>, path: PathBuf, content: &[u8]) -> PyResult<u64> {
    detached(py, None, |report| {
        let mut file = AtomicFile::create(&path, report)?;
        file.draft().write(content)?;
        file.commit()
    })
}

/// Size and checksum of a file.
#[pyfunction]
pub fn file_facts(py: Python<'_>, path: PathBuf) -> PyResult<(u64, String)> {
    detached(py, None, |report| measure(&path, report)).map(facts)
}
