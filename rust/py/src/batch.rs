//! Models encoded and keyed, and changes made of them, on their way into a store.

use std::sync::{Mutex, PoisonError};

use omem_core::merge::Failed;
use omem_core::{Changes, Item, Span};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::encode::encode;
use crate::errors::{KeyExtractionError, LossyError, to_py};
use crate::keys;
use crate::store::Store;
use omem_core::key::{self, KeyText};

/// A value that is used up once.
struct Once<T>(Mutex<Option<T>>);

impl<T> Once<T> {
    fn new(value: T) -> Self {
        Once(Mutex::new(Some(value)))
    }

    fn take(&self, what: &str) -> PyResult<T> {
        let mut value = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        value.take().ok_or_else(|| PyRuntimeError::new_err(format!("this {what} was used already")))
    }
}

/// What `Store.encode` made; `Store.fold` uses it up.
#[pyclass(frozen, module = "omem._omem")]
pub struct Batch {
    inner: Once<omem_core::Batch>,
    len: usize,
}

impl Batch {
    /// Wraps a batch of the core.
    pub fn new(inner: omem_core::Batch) -> Self {
        Batch { len: inner.items.len(), inner: Once::new(inner) }
    }

    /// Takes the records out.
    pub fn take(&self) -> PyResult<omem_core::Batch> {
        self.inner.take("batch")
    }

    /// Lets a function look at the records.
    pub fn with<T>(&self, look: impl FnOnce(&omem_core::Batch) -> PyResult<T>) -> PyResult<T> {
        let inner = self.inner.0.lock().unwrap_or_else(PoisonError::into_inner);
        look(inner.as_ref().ok_or_else(|| PyRuntimeError::new_err("this batch was used already"))?)
    }

    fn bytes_of<'py>(
        &self,
        py: Python<'py>,
        span: impl Fn(&Item) -> Span,
    ) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        self.with(|batch| {
            let bytes = |item: &Item| PyBytes::new(py, batch.bytes(span(item)));
            Ok(batch.items.iter().map(bytes).collect())
        })
    }
}

#[pymethods]
impl Batch {
    fn __len__(&self) -> usize {
        self.len
    }

    /// The key text of each item.
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        self.bytes_of(py, |item| item.key)
    }

    /// The record of each item.
    fn records<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        self.bytes_of(py, |item| item.record)
    }
}

/// An item that could not be merged: its key text, the record that it met, its own, and why.
pub type Refused = (Vec<u8>, Vec<u8>, Vec<u8>, String);

/// A finished change; `Store.apply` uses it up.
#[pyclass(frozen, module = "omem._omem")]
pub struct Change {
    inner: Once<Changes>,
    /// Items that became new entities.
    #[pyo3(get)]
    pub added: usize,
    /// Items that changed an entity.
    #[pyo3(get)]
    pub merged: usize,
    /// Items that brought nothing new.
    #[pyo3(get)]
    pub unchanged: usize,
    /// Items that could not be merged, in arrival order; the change leaves them out.
    pub refused: Vec<Refused>,
    /// What Python raised for the first of them.
    pub cause: Option<PyErr>,
}

impl Change {
    /// A change without counts.
    pub fn new(inner: Changes) -> Self {
        Change {
            inner: Once::new(inner),
            added: 0,
            merged: 0,
            unchanged: 0,
            refused: Vec::new(),
            cause: None,
        }
    }

    /// Lets a function complete what is to be changed.
    pub fn edit(&self, edit: impl FnOnce(&mut Changes) -> PyResult<()>) -> PyResult<()> {
        let mut changes = self.take()?;
        let outcome = edit(&mut changes);
        *self.inner.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(changes);
        outcome
    }

    /// Takes what is to be changed.
    pub fn take(&self) -> PyResult<Changes> {
        self.inner.take("change")
    }
}

#[pymethods]
impl Change {
    /// Items that could not be merged: key text, the record that the item met, its own, the reason.
    #[getter]
    fn refused<'py>(&self, py: Python<'py>) -> Vec<RefusedBytes<'py>> {
        let bytes = |text: &[u8]| PyBytes::new(py, text);
        self.refused
            .iter()
            .map(|(key, existing, incoming, reason)| {
                (bytes(key), bytes(existing), bytes(incoming), reason.clone())
            })
            .collect()
    }

    /// The exception behind the first item that could not be merged, if Python raised one.
    #[getter]
    fn cause(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.cause.as_ref().map(|error| error.value(py).clone().into_any().unbind())
    }
}

/// A [`Refused`] as Python sees it.
type RefusedBytes<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>, Bound<'py, PyBytes>, String);

/// What failed, with the bytes that the spans of its items stand for.
pub fn refused(changes: &Changes, items: &[Item], failed: Vec<Failed>) -> Vec<Refused> {
    let told = failed.into_iter().map(|failed| {
        let item = items[failed.item];
        let bytes = |span| changes.bytes(span).to_vec();
        (bytes(item.key), failed.existing.into_vec(), bytes(item.record), failed.what)
    });
    told.collect()
}

/// Encodes one model into a batch, with its key.
///
/// # Errors
/// `TypeError` for an object of another class, `LossyError`, `KeyExtractionError`: each naming
/// the item.
pub fn push(
    store: &Store,
    batch: &mut omem_core::Batch,
    item: &Bound<'_, PyAny>,
    position: usize,
) -> PyResult<()> {
    let py = item.py();
    let schema = store.schema.get();
    let class = schema.class.bind(py);
    if !item.get_type().is(class) && !item.is_instance(class)? {
        return Err(PyTypeError::new_err(format!(
            "item {position} is a {}; this memory holds {} entities",
            item.get_type().name()?,
            class.name()?,
        )));
    }
    let mut unset = std::mem::take(&mut batch.unset);
    let first_unset = unset.len();
    let (chunk, bytes) = batch.open_records().map_err(to_py)?;
    let start = bytes.len();
    let encoded = encode(schema, item, store.lossy, bytes, &mut unset);
    let end = bytes.len();
    if let Err(error) = encoded {
        return Err(named(py, error, store, item, position));
    }
    let mut built = Vec::new();
    let found =
        keys::extract(schema, &store.key, Some(item), py, &bytes[start..end], &[], &mut built);
    bytes.extend_from_slice(b",\n");
    let span = |at: usize, len: usize| -> PyResult<Span> {
        let narrow = |value: usize| {
            let told = || LossyError::new_err("a record of over 4 GiB; split it into several");
            u32::try_from(value).map_err(|_| named(py, told(), store, item, position))
        };
        Ok(Span { chunk, start: narrow(at)?, len: narrow(len)? })
    };
    let record = span(start, end - start)?;
    let found = found.map_err(|error| unkeyed(py, error, item, position))?;
    let key = match found {
        KeyText::InRecord((from, to)) => span(start + from as usize, (to - from) as usize)?,
        KeyText::Built => {
            let (chunk, keys) = batch.open_keys().map_err(to_py)?;
            let start = keys.len();
            keys.extend_from_slice(&built);
            Span { chunk, start: start as u32, len: built.len() as u32 }
        }
    };
    let hash = key::hash(batch.bytes(key));
    let range = (first_unset as u32, unset.len() as u32);
    batch.unset = unset;
    omem_core::error::reserve(&mut batch.items, 1).map_err(to_py)?;
    batch.items.push(Item { record, key, hash, unset: range });
    Ok(())
}

/// A `LossyError` that names the key, as far as the item has one.
fn named(
    py: Python<'_>,
    error: PyErr,
    store: &Store,
    item: &Bound<'_, PyAny>,
    position: usize,
) -> PyErr {
    if !error.is_instance_of::<LossyError>(py) {
        return error;
    }
    let key = keys::of_model(store.schema.get(), &store.key, item).ok();
    let shown = match key.as_ref().and_then(|key| key.repr().ok()) {
        Some(key) => format!("item {position}, key {key}: {}", error.value(py)),
        None => format!("item {position}: {}", error.value(py)),
    };
    let field = error.value(py).getattr("field").ok().map(Bound::unbind);
    let told = LossyError::new_err((shown, key.map(Bound::unbind), field));
    told.set_cause(py, error.cause(py));
    told
}

/// A `KeyExtractionError` that names the item.
fn unkeyed(py: Python<'_>, error: PyErr, item: &Bound<'_, PyAny>, position: usize) -> PyErr {
    if !error.is_instance_of::<KeyExtractionError>(py) {
        return error;
    }
    let mut shown = item.repr().map_or_else(|_| String::new(), |text| text.to_string());
    if let Some((end, _)) = shown.char_indices().nth(120) {
        shown.truncate(end);
        shown += "…";
    }
    let told =
        KeyExtractionError::new_err(format!("item {position}: {} ({shown})", error.value(py)));
    told.set_cause(py, error.cause(py));
    told
}
