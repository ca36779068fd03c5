//! The vector index's book-keeping: texts, rows, what has to be embedded, how it is saved.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use omem_core::index::{self, Described, Hash, content_hash};
use omem_core::{Error, Node, key};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};

use crate::decode::decode;
use crate::errors::{IndexDamagedError, to_py};
use crate::fold::threads;
use crate::progress::detached;
use crate::schema::{Schema, Side};
use crate::snapshot::Snapshot;
use crate::store::Store;

/// Numbers of rows, as the bytes of an array of i64.
type Numbers<'py> = Bound<'py, PyBytes>;

/// Which text of an entity is embedded.
#[pyclass(frozen, module = "omem._omem")]
pub struct Texts {
    schema: Py<Schema>,
    inner: index::Texts,
    /// Gives the text of a model where the record alone does not tell it.
    show: Py<PyAny>,
}

#[pymethods]
impl Texts {
    #[new]
    fn new(
        py: Python<'_>,
        schema: Py<Schema>,
        fields: Vec<String>,
        from_record: bool,
        show: Py<PyAny>,
    ) -> PyResult<Self> {
        let compiled = schema.get();
        let place = |name: &String| {
            let model = compiled.plan.model()?;
            model.fields.iter().position(|field| field.name == *name)
        };
        let places: Option<Vec<usize>> = fields.iter().map(place).collect();
        let mut choices = Vec::new();
        for (number, node) in compiled.plan.nodes.iter().enumerate() {
            choices.push(match (node, compiled.side(number as u32)) {
                (Node::Choice(_), Side::Choice(values)) => shown(py, values)?,
                _ => Vec::new(),
            });
        }
        let from_record = from_record && places.is_some();
        let inner = index::Texts { fields: places.unwrap_or_default(), choices, from_record };
        Ok(Texts { schema, inner, show })
    }

    /// Whether most texts are told by the records alone.
    #[getter]
    fn fast(&self) -> bool {
        self.inner.from_record && self.schema.get().covered()
    }
}

impl Texts {
    /// The text of a record.
    fn of(&self, py: Python<'_>, record: &[u8], out: &mut Vec<u8>) -> PyResult<()> {
        let schema = self.schema.get();
        out.clear();
        if self.inner.write(&schema.plan, record, out).is_some() {
            return Ok(());
        }
        out.clear();
        let text = self.show.bind(py).call1((decode(schema, py, record)?,))?;
        out.extend_from_slice(text.cast::<PyString>()?.to_str()?.as_bytes());
        Ok(())
    }
}

fn shown(py: Python<'_>, values: &[Py<PyAny>]) -> PyResult<Vec<(String, String)>> {
    let show = |value: &Py<PyAny>| {
        let value = value.bind(py);
        let plain = value.call_method1("__format__", ("",))?.extract()?;
        Ok((plain, value.repr()?.extract()?))
    };
    values.iter().map(show).collect()
}

/// Which row of the vectors belongs to which entity.
#[pyclass(frozen, module = "omem._omem")]
pub struct Rows(Mutex<Arc<index::Rows>>);

impl Rows {
    fn lock(&self) -> MutexGuard<'_, Arc<index::Rows>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the rows; who reads them meanwhile keeps what was there.
    fn mutate<T>(&self, change: impl FnOnce(&mut index::Rows) -> T) -> T {
        change(Arc::make_mut(&mut self.lock()))
    }

    fn wrap(rows: index::Rows) -> Self {
        Rows(Mutex::new(Arc::new(rows)))
    }
}

#[pymethods]
impl Rows {
    #[new]
    fn new(compact: bool) -> Self {
        Rows::wrap(index::Rows::new(compact))
    }

    /// The number of rows, spare ones included.
    fn __len__(&self) -> usize {
        self.lock().len()
    }

    /// The number of rows that belong to an entity.
    #[getter]
    fn live(&self) -> usize {
        self.lock().live()
    }

    /// The same rows, which later changes of these do not touch.
    fn copy(&self) -> Self {
        Rows(Mutex::new(Arc::clone(&self.lock())))
    }

    /// The key text of each of these rows, empty for a spare one.
    fn keys<'py>(&self, py: Python<'py>, rows: Vec<usize>) -> Vec<Bound<'py, PyBytes>> {
        let inner = self.lock();
        rows.into_iter().map(|row| PyBytes::new(py, inner.key(row))).collect()
    }

    /// The rows of these entities, in order; those that have none are passed over.
    fn select<'py>(&self, py: Python<'py>, keys: &Bound<'py, PyAny>) -> PyResult<Numbers<'py>> {
        let mut found = Vec::new();
        for key in keys.try_iter()? {
            let key = key?;
            found.extend(self.lock().find(key.cast::<PyBytes>()?.as_bytes()));
        }
        found.sort_unstable();
        found.dedup();
        numbers(py, found)
    }

    /// One bit for each row: whether it belongs to an entity.
    fn mask<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let inner = self.lock();
        let mut mask = vec![0_u8; inner.len().div_ceil(8)];
        for row in 0..inner.len() {
            mask[row / 8] |= u8::from(!inner.key(row).is_empty()) << (row % 8);
        }
        PyBytes::new(py, &mask)
    }

    /// Takes over the vectors of known texts; returns the rows that they go to.
    fn put_known<'py>(&self, py: Python<'py>, stale: &Stale) -> PyResult<Numbers<'py>> {
        let known = &stale.inner.known;
        let entities = known.iter().map(|&(slot, hash, _)| (slot, hash));
        numbers(py, self.put_all(stale, entities)?)
    }

    /// Takes the vectors of some of the missing texts; returns the rows that they go to, and for
    /// each the place of its text among these.
    fn put<'py>(
        &self,
        py: Python<'py>,
        stale: &Stale,
        start: usize,
        count: usize,
    ) -> PyResult<(Numbers<'py>, Numbers<'py>)> {
        let entities = stale.inner.entities(start, count);
        let rows = self.put_all(stale, entities.map(|(_, slot, hash)| (slot, hash)))?;
        let places = stale.inner.entities(start, count).map(|(place, ..)| place as u32);
        Ok((numbers(py, rows)?, numbers(py, places.collect::<Vec<_>>())?))
    }

    /// Gives up the rows of these entities; returns rows whose vectors have to be replaced, and
    /// where from.
    fn remove<'py>(
        &self,
        py: Python<'py>,
        keys: Vec<Bound<'py, PyBytes>>,
    ) -> PyResult<(Numbers<'py>, Numbers<'py>)> {
        let moves = self.mutate(|rows| rows.remove(keys.iter().map(|key| key.as_bytes())));
        let to = numbers(py, moves.iter().map(|&(to, _)| to))?;
        Ok((to, numbers(py, moves.iter().map(|&(_, from)| from))?))
    }

    /// The same rows, for an index of the one sort or the other.
    fn arranged(&self, compact: bool) -> Self {
        Rows::wrap(self.lock().arranged(compact))
    }

    /// The rows without spare ones, and where each of them was.
    fn without_spare<'py>(&self, py: Python<'py>) -> PyResult<(Rows, Numbers<'py>)> {
        let inner = Arc::clone(&self.lock());
        let (kept, places) = py.detach(|| inner.without_spare()).map_err(to_py)?;
        Ok((Rows::wrap(kept), numbers(py, places)?))
    }

    /// The key texts of entities that have a row but are not in a snapshot.
    fn gone<'py>(&self, py: Python<'py>, snapshot: &Snapshot) -> Vec<Bound<'py, PyBytes>> {
        let rows = Arc::clone(&self.lock());
        let gone = py.detach(|| gone(&rows, &snapshot.inner));
        gone.iter().map(|key| PyBytes::new(py, key)).collect()
    }

    /// The content of `docstore.pkl`, of rows and kind, metric, dimension, embedder, fields.
    fn docstore<'py>(
        &self,
        py: Python<'py>,
        about: (String, String, u32, Option<String>, Vec<String>),
        vectors: (u64, String),
    ) -> PyResult<Bound<'py, PyBytes>> {
        let (kind, metric, dimension, embedder, fields) = about;
        let (index_size, index_checksum) = vectors;
        let described =
            Described { kind, metric, dimension, embedder, fields, index_size, index_checksum };
        let rows = Arc::clone(&self.lock());
        let bytes = py.detach(|| index::write_docstore(&rows, &described)).map_err(to_py)?;
        Ok(PyBytes::new(py, &bytes))
    }
}

impl Rows {
    fn put_all(
        &self,
        stale: &Stale,
        entities: impl Iterator<Item = (u32, Hash)>,
    ) -> PyResult<Vec<u32>> {
        let put = |rows: &mut index::Rows| {
            let put = |(slot, hash)| rows.put(stale.snapshot.key(slot), hash);
            entities.map(put).collect::<omem_core::Result<Vec<u32>>>()
        };
        self.mutate(put).map_err(to_py)
    }
}

fn numbers<'py>(
    py: Python<'py>,
    rows: impl IntoIterator<Item = u32, IntoIter: ExactSizeIterator>,
) -> PyResult<Numbers<'py>> {
    let rows = rows.into_iter();
    PyBytes::new_with(py, rows.len() * 8, |bytes| {
        for (place, row) in bytes.chunks_exact_mut(8).zip(rows) {
            place.copy_from_slice(&i64::from(row).to_ne_bytes());
        }
        Ok(())
    })
}

fn gone(rows: &index::Rows, snapshot: &omem_core::Snapshot) -> Vec<Vec<u8>> {
    let mut seen = vec![false; rows.len()];
    for entry in snapshot {
        if let Some(row) = rows.find(entry.key) {
            seen[row as usize] = true;
        }
    }
    let keys = seen.iter().enumerate().map(|(row, seen)| (rows.key(row), seen));
    keys.filter(|(key, seen)| !**seen && !key.is_empty()).map(|(key, _)| key.to_vec()).collect()
}

/// What an index has to catch up with.
#[pyclass(frozen, module = "omem._omem")]
pub struct Stale {
    texts: Py<Texts>,
    snapshot: Arc<omem_core::Snapshot>,
    inner: index::Stale,
    gone: Vec<Vec<u8>>,
}

#[pymethods]
impl Stale {
    /// Compares entities with the rows of an index: those of some key texts, or all of them. An
    /// empty store says nothing about rows whose entities it has not.
    #[new]
    #[pyo3(signature = (store, rows, texts, keys=None))]
    fn new(
        py: Python<'_>,
        store: &Store,
        rows: &Rows,
        texts: Py<Texts>,
        keys: Option<Vec<Bound<'_, PyBytes>>>,
    ) -> PyResult<Self> {
        let mut removed = Vec::new();
        let (snapshot, slots) = match &keys {
            None => (store.core_snapshot()?, None),
            Some(keys) => {
                let store = store.lock();
                let mut slots = Vec::new();
                for text in keys {
                    match store.find(text.as_bytes(), key::hash(text.as_bytes())) {
                        Some(slot) => slots.push(slot),
                        None => removed.push(text.as_bytes().to_vec()),
                    }
                }
                // In the order of the entities, whatever that of the keys.
                slots.sort_unstable();
                slots.dedup();
                (store.snapshot().map_err(to_py)?, Some(slots))
            }
        };
        let rows = Arc::clone(&rows.lock());
        let texts_of = texts.get();
        let (plan, inner) = (&texts_of.schema.get().plan, &texts_of.inner);
        let (slots, mut hashes) = detached(py, None, |report| {
            let slots = match slots {
                Some(slots) => slots,
                None => snapshot.iter().map(|entry| entry.slot).collect(),
            };
            let hashes = index::hashes(plan, inner, &snapshot, &slots, threads(), report)?;
            Ok((slots, hashes))
        })?;
        let mut text = Vec::new();
        for (number, (slot, hash)) in slots.iter().zip(&mut hashes).enumerate() {
            if hash.is_none() {
                if number % 1024 == 1023 {
                    py.check_signals()?;
                }
                texts_of.of(py, snapshot.record(*slot), &mut text)?;
                *hash = Some(content_hash(&text));
            }
        }
        let entities = slots.into_iter().zip(hashes.into_iter().map(Option::unwrap_or_default));
        let all = keys.is_none() && !snapshot.is_empty();
        let (inner, gone) = py
            .detach(|| {
                let gone = if all { gone(&rows, &snapshot) } else { removed };
                Ok((index::Stale::find(&rows, &snapshot, entities)?, gone))
            })
            .map_err(|error: Error| to_py(error))?;
        Ok(Stale { texts, snapshot: Arc::new(snapshot), inner, gone })
    }

    /// How many texts have to be embedded.
    fn __len__(&self) -> usize {
        self.inner.missing.len()
    }

    /// The key texts of rows whose entities are gone.
    #[getter]
    fn gone<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.gone.iter().map(|key| PyBytes::new(py, key)))
    }

    /// The rows whose vectors are taken over by entities that have got their text.
    #[getter]
    fn known<'py>(&self, py: Python<'py>) -> PyResult<Numbers<'py>> {
        numbers(py, self.inner.known.iter().map(|&(.., row)| row))
    }

    /// Some of the texts that have to be embedded.
    fn texts<'py>(
        &self,
        py: Python<'py>,
        start: usize,
        count: usize,
    ) -> PyResult<Vec<Bound<'py, PyString>>> {
        let mut text = Vec::new();
        let missing = self.inner.missing.iter().skip(start).take(count);
        missing
            .map(|&(slot, _)| {
                self.texts.get().of(py, self.snapshot.record(slot), &mut text)?;
                let text = std::str::from_utf8(&text);
                Ok(PyString::new(
                    py,
                    text.map_err(|error| PyValueError::new_err(error.to_string()))?,
                ))
            })
            .collect()
    }
}

fn read_file(path: &Path) -> omem_core::Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Error::io("read", path, error))
}

fn damaged(path: &Path, error: Error) -> PyErr {
    match error {
        Error::Json { what, .. } => {
            IndexDamagedError::new_err(format!("{} is damaged: {what}", path.display()))
        }
        other => to_py(other),
    }
}

/// What a `docstore.pkl` holds: rows, kind, metric, dimension, embedder, fields, and size and
/// checksum of the vectors' file.
#[pyfunction]
#[expect(clippy::type_complexity, reason = "the parts of one file, taken apart at once")]
pub fn read_docstore(
    py: Python<'_>,
    path: PathBuf,
) -> PyResult<(Rows, String, String, u32, Option<String>, Vec<String>, (u64, String))> {
    let read = || index::read_docstore(&read_file(&path)?);
    let (rows, d) = py.detach(read).map_err(|error| damaged(&path, error))?;
    let vectors = (d.index_size, d.index_checksum);
    Ok((Rows::wrap(rows), d.kind, d.metric, d.dimension, d.embedder, d.fields, vectors))
}

/// The rows of an `index.pkl` of LangChain: they belong to no entity yet, but are known by text.
#[pyfunction]
pub fn read_langchain(py: Python<'_>, path: PathBuf) -> PyResult<Rows> {
    let read = || index::read_langchain(&read_file(&path)?);
    py.detach(read).map(Rows::wrap).map_err(|error| damaged(&path, error))
}
