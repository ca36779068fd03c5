//! The store: records in, merged, out again.
//!
//! The lock around the core store is taken with the GIL held and given back before anything
//! detaches or calls Python; so no fork finds it taken, and no reader waits for more than the
//! application of a finished change. Long work goes on with a reference of its own: mutators are
//! kept apart by the memory, so the store does not change meanwhile.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use omem_core::{Changes, key};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::batch::{Batch, Change, Refused, push};
use crate::decode::decode;
use crate::errors::{MergeError, to_py};
use crate::fold::strategy_of;
use crate::keys::{KeySpec, key_from_text, text_of};
use crate::ledger::Rollback;
use crate::lookup::{Lookup, Lookups};
use crate::read::{self, Loaded, Records};
use crate::schema::Schema;
use crate::slow::Lossy;
use crate::snapshot::Snapshot;

/// Key texts.
type Texts<'py> = Vec<Bound<'py, PyBytes>>;

/// A store of its own, ready to take another one's place.
#[pyclass(frozen, module = "omem._omem")]
pub struct Prepared(Mutex<Option<omem_core::Store>>);

/// Entities of one schema, found by key.
#[pyclass(frozen, module = "omem._omem")]
pub struct Store {
    pub(crate) schema: Py<Schema>,
    pub(crate) key: KeySpec,
    pub(crate) lossy: Lossy,
    inner: Mutex<Arc<omem_core::Store>>,
    lookups: Mutex<Lookups>,
}

impl Store {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Arc<omem_core::Store>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the core store. Nobody else has a reference then, but in the child of a fork that
    /// happened during long work; there the store is copied.
    pub(crate) fn mutate<T>(&self, change: impl FnOnce(&mut omem_core::Store) -> T) -> T {
        change(Arc::make_mut(&mut self.lock()))
    }

    /// A reference for long work of a mutator.
    pub(crate) fn shared(&self) -> Arc<omem_core::Store> {
        Arc::clone(&self.lock())
    }

    /// The lookups, in the order of the core store's.
    pub(crate) fn lookups(&self) -> Lookups {
        self.lookups.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn core_snapshot(&self) -> PyResult<omem_core::Snapshot> {
        self.lock().snapshot().map_err(to_py)
    }
}

#[pymethods]
impl Store {
    #[new]
    fn new(schema: Py<Schema>, key: KeySpec, lossy: &str) -> PyResult<Self> {
        let lossy = match lossy {
            "error" => Lossy::Error,
            "warn" => Lossy::Warn,
            "allow" => Lossy::Allow,
            other => return Err(PyValueError::new_err(format!("lossy={other:?}"))),
        };
        Ok(Store { schema, key, lossy, inner: Mutex::default(), lookups: Mutex::default() })
    }

    fn __len__(&self) -> usize {
        self.lock().len()
    }

    /// The bounds of the values of a record that equal their defaults, one after the other.
    fn unset(&self, record: &[u8]) -> Vec<u32> {
        let mut ranges = Vec::new();
        omem_core::unset::of_defaults(&self.schema.get().plan, record, &mut ranges);
        ranges.iter().flat_map(|range| [range.start, range.end]).collect()
    }

    /// Encodes models and takes their keys; nothing is stored yet.
    #[pyo3(signature = (items, progress=None))]
    fn encode(
        &self,
        items: &Bound<'_, PyAny>,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Batch> {
        let py = items.py();
        let mut batch = omem_core::Batch::default();
        let report = |batch: &omem_core::Batch| {
            let bytes: usize = batch.chunks.iter().map(|chunk| chunk.len()).sum();
            progress.map_or(Ok(()), |told| told.call1((bytes, batch.items.len())).map(drop))
        };
        for (position, item) in items.try_iter()?.enumerate() {
            // A record that is Pydantic's takes 40 us and more.
            if position % 256 == 255 {
                py.check_signals()?;
            }
            if position % 4096 == 4095 {
                report(&batch)?;
                // Other threads get their turn, as they do every 5 ms while Python code runs.
                py.detach(|| ());
            }
            push(self, &mut batch, &item?, position)?;
        }
        report(&batch)?;
        Ok(Batch::new(batch))
    }

    /// Merges a batch into the store; nothing is stored yet.
    #[pyo3(signature = (batch, strategy, lists, defaults_unset=false, progress=None))]
    fn fold(
        &self,
        py: Python<'_>,
        batch: &Batch,
        strategy: &str,
        lists: &str,
        defaults_unset: bool,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Change> {
        let store = Arc::clone(&self.lock());
        let strategy = strategy_of(strategy, lists)?;
        self.fold_onto(py, &store, batch.take()?, strategy, defaults_unset, progress)
    }

    /// The models of each key that takes a merge: the existing one first, then those of the batch.
    fn groups<'py>(&self, py: Python<'py>, batch: &Batch) -> PyResult<Bound<'py, PyList>> {
        self.groups_of(py, batch)
    }

    /// The change that puts merged models, one for each of `groups`, and all other items in place.
    /// Where a merger has merged nothing into the first of a group, that is `None`; the others
    /// are `failed`: number of the group, place in it, reason.
    fn fold_merged(
        &self,
        py: Python<'_>,
        batch: &Batch,
        merged: &Bound<'_, PyAny>,
        failed: Vec<(usize, usize, String)>,
    ) -> PyResult<Change> {
        self.fold_models(py, batch.take()?, merged, failed)
    }

    /// The keys that are there, those that are not, and the change that removes the former.
    #[pyo3(signature = (keys, erase=false))]
    fn removal<'py>(
        &self,
        py: Python<'py>,
        keys: &Bound<'py, PyAny>,
        erase: bool,
    ) -> PyResult<(Bound<'py, PyList>, Bound<'py, PyList>, Change)> {
        let (removed, missing) = (PyList::empty(py), PyList::empty(py));
        let mut changes = Changes { erase, ..Changes::default() };
        let mut seen = std::collections::HashSet::new();
        for key in keys.try_iter()? {
            let key = key?;
            let text = text_of(&key)?;
            match text.and_then(|text| self.lock().find(&text, key::hash(&text))) {
                Some(slot) if seen.insert(slot) => {
                    changes.removes.push(slot);
                    removed.append(key)?;
                }
                Some(_) => {}
                None => missing.append(key)?,
            }
        }
        Ok((removed, missing, Change::new(changes)))
    }

    /// The change that gives the entities of these keys the records that they have in another
    /// store, or removes those that are not there, and puts them in their places.
    fn transplant(
        &self,
        py: Python<'_>,
        keys: Vec<Vec<u8>>,
        other: &Store,
        back: Option<&Rollback>,
    ) -> PyResult<Change> {
        self.change_to(py, &keys, &other.shared(), back)
    }

    /// Puts the entities of these keys of another store into this one, where they are not there.
    fn borrow(&self, py: Python<'_>, keys: Vec<Vec<u8>>, other: &Store) -> PyResult<()> {
        self.take_from(py, &keys, &other.shared())
    }

    /// Finds the values of a finished change in the lookups. Their extractors may be Python, and
    /// so are called before the change is put in place.
    fn fill_lookups(&self, py: Python<'_>, change: &Change) -> PyResult<()> {
        change.edit(|changes| self.fill_columns(py, changes))
    }

    /// Puts a finished change in place, whole or not at all.
    fn apply(&self, change: &Change) -> PyResult<()> {
        let changes = change.take()?;
        self.mutate(|store| store.apply(changes)).map_err(to_py)
    }

    /// Reads the records of a file; nothing is stored yet.
    #[expect(clippy::too_many_arguments, reason = "as many as `load` has")]
    #[pyo3(signature = (path, restore, all_records=false, skip=false, replace=false, progress=None))]
    fn read(
        &self,
        py: Python<'_>,
        path: PathBuf,
        restore: &Bound<'_, PyAny>,
        all_records: bool,
        skip: bool,
        replace: bool,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Loaded> {
        let options = read::Options { restore, all: all_records, skip, replace, progress };
        read::read(py, self.schema.get(), &self.key, path, &options)
    }

    /// A store of loaded records in the place of what is there, once `swap` is called; records
    /// that share a key are merged. Returns how many were.
    #[pyo3(signature = (loaded, strategy, lists, set_aside=false))]
    fn prepare(
        &self,
        py: Python<'_>,
        loaded: &Loaded,
        strategy: &str,
        lists: &str,
        set_aside: bool,
    ) -> PyResult<(Prepared, usize, Vec<Refused>)> {
        let current = Arc::clone(&self.lock());
        let batch = match loaded.take()? {
            Records::Store(mut store) => {
                self.copy_lookups(py, &mut store)?;
                let store = store.succeeding(&current);
                return Ok((Prepared(Mutex::new(Some(store))), 0, Vec::new()));
            }
            Records::Batch(batch) => batch,
        };
        let strategy = strategy_of(strategy, lists)?;
        let insertion = self.insertion(py, batch)?;
        let built = py.detach(|| current.prepare(insertion)).map_err(to_py)?;
        let mut refused = Vec::new();
        let (store, merged) = match built {
            Ok(store) => (store, 0),
            Err(changes) => {
                let batch = omem_core::Batch::from(changes);
                let count = batch.items.len();
                let empty = omem_core::Store::default();
                let change = self.fold_onto(py, &empty, batch, strategy, true, None)?;
                if let (Some((key, _, _, reason)), false) = (change.refused.first(), set_aside) {
                    return Err(MergeError::new_err(format!(
                        "the file has several records of key {}, which cannot be merged: {reason}; \
                         set aside what cannot be merged with on_error=\"skip\"",
                        key_from_text(py, key)?.repr()?
                    )));
                }
                refused.clone_from(&change.refused);
                let mut changes = change.take()?;
                self.fill_columns(py, &mut changes)?;
                let Ok(store) = current.prepare(changes).map_err(to_py)? else {
                    return Err(MergeError::new_err("records of one key were not merged"));
                };
                let merged = (count - store.len()).saturating_sub(refused.len());
                (store, merged)
            }
        };
        Ok((Prepared(Mutex::new(Some(store))), merged, refused))
    }

    /// Puts a prepared store in the place of what is there.
    fn swap(&self, prepared: &Prepared) -> PyResult<()> {
        let fresh = prepared.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let fresh = fresh.ok_or_else(|| PyValueError::new_err("this store was used already"))?;
        self.mutate(|store| *store = fresh);
        Ok(())
    }

    /// What the store will be once `swap` is called.
    fn preview(&self, py: Python<'_>, prepared: &Prepared) -> PyResult<Snapshot> {
        let mut fresh = prepared.0.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = fresh.as_mut().map(|store| store.snapshot()).transpose().map_err(to_py)?;
        let inner = Arc::new(snapshot.unwrap_or_default());
        Ok(Snapshot { schema: self.schema.clone_ref(py), inner })
    }

    /// The names of the lookups in which an entity has a value.
    fn lookups_of(&self, key_text: &[u8]) -> Vec<String> {
        let store = self.lock();
        let slot = store.find(key_text, key::hash(key_text));
        let names = slot.map(|slot| store.lookups_of(slot).map(str::to_owned).collect());
        names.unwrap_or_default()
    }

    /// Removes every entity.
    fn clear(&self) {
        self.mutate(omem_core::Store::clear);
    }

    /// The entity of a key.
    fn get(&self, key: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
        match text_of(key)? {
            Some(text) => self.get_text(key.py(), &text),
            None => Ok(None),
        }
    }

    /// Whether there is an entity of a key.
    fn contains(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let text = text_of(key)?;
        Ok(text.is_some_and(|text| self.lock().find(&text, key::hash(&text)).is_some()))
    }

    /// Creates a lookup over what is there.
    fn create_lookup(
        &self,
        py: Python<'_>,
        name: String,
        spec: KeySpec,
        each: bool,
    ) -> PyResult<()> {
        let lookup = Lookup { name, spec, each };
        let column = lookup.column_of(self.schema.get(), py, &self.core_snapshot()?)?;
        self.mutate(|store| store.create_lookup(&lookup.name, &column)).map_err(to_py)?;
        self.lookups.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(lookup));
        Ok(())
    }

    /// Drops a lookup; whether there was one of this name.
    fn drop_lookup(&self, name: &str) -> bool {
        let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        lookups.retain(|lookup| lookup.name != name);
        drop(lookups);
        self.mutate(|store| store.drop_lookup(name))
    }

    /// The names of the lookups, in order of creation.
    fn list_lookups(&self) -> Vec<String> {
        self.lookups().iter().map(|lookup| lookup.name.clone()).collect()
    }

    /// The entities with a value, in insertion order; None without such a lookup.
    fn get_by_lookup<'py>(
        &self,
        name: &str,
        value: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyList>>> {
        let py = value.py();
        // An empty text is no value.
        let text = text_of(value)?.unwrap_or_default();
        // Decoding may call Python, so it works on a snapshot.
        let found = {
            let store = self.lock();
            let slots = store.get_by_lookup(name, &text).map(<[u32]>::to_vec);
            slots.map(|slots| store.snapshot().map(|snapshot| (snapshot, slots)))
        };
        let Some(found) = found else { return Ok(None) };
        let (snapshot, slots) = found.map_err(to_py)?;
        let schema = self.schema.get();
        let entities = PyList::empty(py);
        for slot in slots {
            entities.append(decode(schema, py, snapshot.record(slot))?)?;
        }
        Ok(Some(entities))
    }

    /// Starts or stops noting what changes; what is there when it starts counts as changed.
    fn track_changes(&self, on: bool) {
        self.mutate(|store| store.track_changes(on));
    }

    /// What changed since the last call: whether everything may have; the key texts of entities
    /// that were inserted or changed; those of removed ones.
    fn take_changes<'py>(&self, py: Python<'py>) -> (bool, Texts<'py>, Texts<'py>) {
        let bytes = |text: &[u8]| PyBytes::new(py, text);
        self.mutate(|store| {
            let changed = store.take_changes().unwrap_or_default();
            let upserted = changed.upserted.iter().map(|&slot| bytes(store.key(slot))).collect();
            let removed = changed.removed.iter().map(|key| bytes(key)).collect();
            (changed.all, upserted, removed)
        })
    }

    /// The entity of a key text.
    fn get_text(&self, py: Python<'_>, key_text: &[u8]) -> PyResult<Option<Py<PyAny>>> {
        // The record is copied out: decoding may call Python, which may come back here.
        let record = self.lock().get(key_text, key::hash(key_text)).map(<[u8]>::to_vec);
        record.map(|record| decode(self.schema.get(), py, &record)).transpose()
    }

    /// The store as it is now.
    fn snapshot(&self, py: Python<'_>) -> PyResult<Snapshot> {
        let inner = Arc::new(self.core_snapshot()?);
        Ok(Snapshot { schema: self.schema.clone_ref(py), inner })
    }

    /// Bytes of live records and keys, of all chunks, and of everything else.
    fn memory(&self) -> (usize, usize, usize) {
        let used = self.lock().memory();
        (used.live, used.held, used.overhead)
    }
}
