//! The source ledger: what sources say, and the store that it belongs to, changed together.
//!
//! Locks are taken and given back as in `store.rs`; where both are held, the store's comes first.

mod read;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use omem_core::ledger::line::{Header, Kind};
use omem_core::ledger::{self, Draft, Observed};
use omem_core::{Node, Plan};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::batch::{Batch, Change, Refused};
use crate::errors::to_py;
use crate::read::Told;
use crate::snapshot::Snapshot;
use crate::store::Store;

/// A change of the ledger; `Ledger.apply` uses it up.
#[pyclass(frozen, module = "omem._omem")]
pub struct Lines(Mutex<Option<Draft>>);

impl Lines {
    fn new(draft: Draft) -> Self {
        Lines(Mutex::new(Some(draft)))
    }

    fn take(&self) -> PyResult<Draft> {
        let draft = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        draft.ok_or_else(|| PyRuntimeError::new_err("these lines were used already"))
    }

    /// Lets a function add to the change.
    fn edit(&self, edit: impl FnOnce(&mut Draft) -> PyResult<()>) -> PyResult<()> {
        let mut draft = self.take()?;
        let outcome = edit(&mut draft);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(draft);
        outcome
    }
}

/// What taking back a source does.
#[pyclass(frozen, module = "omem._omem")]
pub struct Rollback {
    pub inner: ledger::Rollback,
    lines: Py<Lines>,
}

#[pymethods]
impl Rollback {
    /// What happens to the ledger.
    #[getter]
    fn lines(&self, py: Python<'_>) -> Py<Lines> {
        self.lines.clone_ref(py)
    }

    /// The entities that change: key text; how many observations each is made of again, none where
    /// it goes; whether only its place changes.
    #[getter]
    fn rebuilt<'py>(&self, py: Python<'py>) -> Vec<(Bound<'py, PyBytes>, usize, bool)> {
        let told = |rebuilt: &ledger::Rebuilt| {
            (PyBytes::new(py, &rebuilt.key), rebuilt.survivors(), rebuilt.stays)
        };
        self.inner.rebuilt.iter().map(told).collect()
    }

    /// The key texts of entities whose rewrite was dropped.
    #[getter]
    fn unedited<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        self.inner.unedited.iter().map(|key| PyBytes::new(py, key)).collect()
    }

    /// Key text and record of what was set aside of the source.
    #[getter]
    fn asides<'py>(&self, py: Python<'py>) -> Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let told =
            |(key, record): &(Vec<u8>, Vec<u8>)| (PyBytes::new(py, key), PyBytes::new(py, record));
        self.inner.asides.iter().map(told).collect()
    }
}

/// A ledger that is to take another one's place.
#[pyclass(frozen, module = "omem._omem")]
pub struct PreparedLedger {
    inner: Mutex<Option<ledger::Ledger>>,
    /// Size and checksum of the file that it was read from.
    #[pyo3(get)]
    facts: Option<(u64, String)>,
    /// The lines of that file that were left out: record, line, offset, path, reason.
    #[pyo3(get)]
    skipped: Vec<Told>,
    /// The sources that it does not introduce.
    #[pyo3(get)]
    introduced: Vec<String>,
}

impl PreparedLedger {
    fn new(inner: ledger::Ledger) -> Self {
        PreparedLedger {
            inner: Mutex::new(Some(inner)),
            facts: None,
            skipped: Vec::new(),
            introduced: Vec::new(),
        }
    }
}

/// Content hash, tags and number of items of a source.
type About = (Option<String>, Vec<String>, usize);

/// Which source said what of the entities of a store.
#[pyclass(frozen, module = "omem._omem")]
pub struct Ledger {
    store: Py<Store>,
    inner: Mutex<Arc<ledger::Ledger>>,
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, Arc<ledger::Ledger>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reference for long work of a mutator.
    fn shared(&self) -> Arc<ledger::Ledger> {
        Arc::clone(&self.lock())
    }
}

#[pymethods]
impl Ledger {
    #[new]
    fn new(store: Py<Store>) -> Self {
        Ledger { store, inner: Mutex::default() }
    }

    /// The number of sources.
    fn __len__(&self) -> usize {
        self.lock().count()
    }

    /// Whether there is a source.
    fn contains(&self, source: &str) -> bool {
        self.lock().contains(source)
    }

    /// The names of all sources, in order.
    fn sources(&self) -> PyResult<Vec<String>> {
        self.lock().sources().map_err(to_py)
    }

    /// Content hash, tags and number of items of a source.
    fn about(&self, source: &str) -> PyResult<Option<About>> {
        let ledger = self.lock();
        let found = ledger.source(source).map_err(to_py)?;
        Ok(found.map(|(header, items)| {
            let tags = header.tags.into_iter().map(std::borrow::Cow::into_owned).collect();
            (header.content_hash.map(std::borrow::Cow::into_owned), tags, items)
        }))
    }

    /// The records of a source's items, in order.
    fn items<'py>(&self, py: Python<'py>, source: &str) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        let ledger = self.lock();
        let items = ledger.items(source).map_err(to_py)?;
        Ok(items.into_iter().map(|record| PyBytes::new(py, record)).collect())
    }

    /// The sources that say something of a key, in order.
    fn sources_of(&self, key_text: &[u8]) -> PyResult<Vec<String>> {
        self.lock().sources_of(key_text).map_err(to_py)
    }

    /// The texts of the keys of which these sources, or sources with one of these tags, say
    /// something.
    fn keys_of<'py>(
        &self,
        py: Python<'py>,
        sources: Vec<String>,
        tags: Vec<String>,
    ) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        let ledger = self.lock();
        let keys = ledger.keys_of(&sources, &tags).map_err(to_py)?;
        Ok(keys.iter().map(|key| PyBytes::new(py, key)).collect())
    }

    /// The ledger as it is now, to be written.
    fn snapshot(&self, py: Python<'_>) -> PyResult<Snapshot> {
        let inner = Arc::new(self.lock().snapshot().map_err(to_py)?);
        Ok(Snapshot { schema: self.store.get().schema.clone_ref(py), inner })
    }

    /// Bytes of live lines, of all chunks, and of everything else.
    fn memory(&self) -> (usize, usize, usize) {
        let used = self.lock().memory();
        (used.live, used.held, used.overhead)
    }

    /// A change that notes observations to be merged. After a rollback, `back`, it goes on with that
    /// one's lines.
    #[pyo3(signature = (batch, source=None, defaults_unset=false, content_hash=None, back=None))]
    fn observe(
        &self,
        py: Python<'_>,
        batch: &Batch,
        source: Option<&str>,
        defaults_unset: bool,
        content_hash: Option<&str>,
        back: Option<&Rollback>,
    ) -> PyResult<Lines> {
        let ledger = self.shared();
        let store = self.store.get();
        let entities = store.shared();
        let plan = &store.schema.get().plan;
        let mut draft = match back {
            Some(back) => back.lines.get().take()?,
            None => ledger.draft(),
        };
        let draft = batch.with(|batch| {
            let defaults = defaults_unset.then_some(plan);
            let observed = Observed { batch, source, defaults };
            let back = back.map(|back| &back.inner);
            py.detach(move || {
                if let (Some(source), None) = (source, back) {
                    ledger.announce(&mut draft, source, content_hash)?;
                }
                ledger.observe(&mut draft, &entities, observed, back)?;
                Ok(draft)
            })
            .map_err(to_py)
        })?;
        Ok(Lines::new(draft))
    }

    /// Takes what a merge refused out of a change.
    fn set_aside(
        &self,
        lines: &Lines,
        source: Option<&str>,
        refused: Vec<Refused>,
    ) -> PyResult<()> {
        let refused = refused.iter().map(|(key, _, record, _)| (&key[..], &record[..]));
        lines.edit(|draft| ledger::Ledger::set_aside(draft, source, refused).map_err(to_py))
    }

    /// A change that notes that entities are replaced, or rewritten.
    fn replace(&self, batch: &Batch, rewritten: bool) -> PyResult<Lines> {
        let ledger = self.shared();
        let mut draft = ledger.draft();
        let kind = if rewritten { Kind::Edit } else { Kind::Put };
        batch.with(|batch| ledger.replace(&mut draft, batch, kind).map_err(to_py))?;
        Ok(Lines::new(draft))
    }

    /// A change that notes the removals of a change of the store.
    fn remove(&self, change: &Change) -> PyResult<Lines> {
        let (ledger, entities) = (self.shared(), self.store.get().shared());
        let mut draft = ledger.draft();
        change.edit(|changes| {
            let keys = changes.removes.iter().map(|&slot| entities.key(slot));
            ledger.remove(&mut draft, keys).map_err(to_py)
        })?;
        Ok(Lines::new(draft))
    }

    /// A change that notes what a source says without being merged, and its content hash.
    fn record(&self, source: &str, batch: &Batch, content_hash: Option<&str>) -> PyResult<Lines> {
        let ledger = self.shared();
        let mut draft = ledger.draft();
        ledger.announce(&mut draft, source, content_hash).map_err(to_py)?;
        let lines = Lines::new(draft);
        self.record_more(&lines, source, batch)?;
        Ok(lines)
    }

    /// Adds to a change what a source says without being merged.
    fn record_more(&self, lines: &Lines, source: &str, batch: &Batch) -> PyResult<()> {
        let ledger = self.shared();
        let plan = &self.store.get().schema.get().plan;
        lines.edit(|draft| {
            batch.with(|batch| {
                let observed = Observed { batch, source: Some(source), defaults: Some(plan) };
                ledger.record(draft, observed).map_err(to_py)
            })
        })
    }

    /// Adds to a change an item of a source that is of no entity.
    fn record_raw(&self, lines: &Lines, source: &str, record: &[u8]) -> PyResult<()> {
        let ledger = self.shared();
        lines.edit(|draft| ledger.record_raw(draft, source, record).map_err(to_py))
    }

    /// A change that replaces all that is known of a source but what it says.
    fn describe(
        &self,
        source: &str,
        content_hash: Option<&str>,
        tags: Vec<String>,
    ) -> PyResult<Lines> {
        let ledger = self.shared();
        let mut draft = ledger.draft();
        let header = header(content_hash, &tags);
        ledger.describe(&mut draft, source, &header).map_err(to_py)?;
        Ok(Lines::new(draft))
    }

    /// A change that replaces a source, if it is there, by one that says nothing yet; what the old
    /// one said of entities stays as said by no source. Without a hash and tags it only goes.
    #[pyo3(signature = (source, about=None))]
    fn detach(
        &self,
        source: &str,
        about: Option<(Option<String>, Vec<String>)>,
    ) -> PyResult<Lines> {
        let (ledger, entities) = (self.shared(), self.store.get().shared());
        let mut draft = ledger.draft();
        ledger.detach(&mut draft, &entities, source).map_err(to_py)?;
        if let Some((content_hash, tags)) = about {
            let header = header(content_hash.as_deref(), &tags);
            ledger::Ledger::introduce(&mut draft, source, &header).map_err(to_py)?;
        }
        Ok(Lines::new(draft))
    }

    /// What it means to take back what a source said; None without such a source. With a
    /// batch the source stays, with this content hash, and is about to say that.
    #[pyo3(signature = (source, touched, batch=None, content_hash=None))]
    fn rollback(
        &self,
        py: Python<'_>,
        source: &str,
        touched: bool,
        batch: Option<&Batch>,
        content_hash: Option<&str>,
    ) -> PyResult<Option<Rollback>> {
        let (ledger, entities) = (self.shared(), self.store.get().shared());
        let tags = ledger.source(source).map_err(to_py)?.map(|(header, _)| header.tags);
        let header = Header {
            content_hash: content_hash.map(std::borrow::Cow::Borrowed),
            tags: tags.unwrap_or_default(),
        };
        let mut renewed: HashSet<Vec<u8>> = HashSet::new();
        if let Some(batch) = batch {
            batch.with(|batch| {
                renewed.extend(batch.items.iter().map(|item| batch.bytes(item.key).to_vec()));
                Ok(())
            })?;
        }
        let options = ledger::Options {
            touched,
            header: batch.is_some().then_some(&header),
            renewed: Some(&renewed),
        };
        let back = py.detach(|| ledger.rollback(&entities, source, options)).map_err(to_py)?;
        let Some(mut inner) = back else { return Ok(None) };
        let lines = Py::new(py, Lines::new(std::mem::take(&mut inner.draft)))?;
        Ok(Some(Rollback { inner, lines }))
    }

    /// The observations that entities, by their places in `rebuilt`, are made of again; of one call
    /// alone, if it is given.
    #[pyo3(signature = (back, which, call=None))]
    fn survivors(
        &self,
        back: &Rollback,
        which: Vec<usize>,
        call: Option<usize>,
    ) -> PyResult<Batch> {
        let rebuilt = which.iter().filter_map(|&place| back.inner.rebuilt.get(place));
        self.shared().survivors(rebuilt, call).map(Batch::new).map_err(to_py)
    }

    /// A change that erases every line of a key; the number of observations, and their sources.
    fn forget(&self, key_text: &[u8]) -> PyResult<(Lines, usize, Vec<String>)> {
        let ledger = self.shared();
        let mut draft = ledger.draft();
        let forgotten = ledger.forget(&mut draft, key_text).map_err(to_py)?;
        Ok((Lines::new(draft), forgotten.observations, forgotten.sources))
    }

    /// Puts a change of the store and one of the ledger in place, both whole or neither.
    fn apply(&self, change: &Change, lines: &Lines) -> PyResult<()> {
        let (changes, draft) = (change.take()?, lines.take()?);
        self.store.get().mutate(|store| {
            Arc::make_mut(&mut self.lock()).apply(store, changes, draft).map_err(to_py)
        })
    }

    /// The ledger as it is after all entities are removed, or replaced by those of a snapshot: what
    /// sources say is kept.
    #[pyo3(signature = (entities=None))]
    fn restart(&self, entities: Option<&Snapshot>) -> PyResult<PreparedLedger> {
        let entities = entities.map(|snapshot| &*snapshot.inner);
        let ledger = self.shared().restart(entities).map_err(to_py)?;
        Ok(PreparedLedger::new(ledger))
    }

    /// A change in which nothing changes yet.
    fn lines(&self) -> Lines {
        Lines::new(self.lock().draft())
    }

    /// Adds a new source to a change.
    fn introduce(
        &self,
        lines: &Lines,
        source: &str,
        content_hash: Option<&str>,
        tags: Vec<String>,
    ) -> PyResult<()> {
        let header = header(content_hash, &tags);
        lines.edit(|draft| ledger::Ledger::introduce(draft, source, &header).map_err(to_py))
    }

    /// The ledger that a change makes of an empty one, with the places of the entities of a snapshot.
    fn found(&self, lines: &Lines, entities: &Snapshot) -> PyResult<PreparedLedger> {
        let ledger = ledger::Ledger::founded(lines.take()?, Some(&*entities.inner));
        Ok(PreparedLedger::new(ledger.map_err(to_py)?))
    }

    /// An empty ledger, with the places of the entities of a snapshot.
    #[pyo3(signature = (entities=None))]
    fn fresh(&self, entities: Option<&Snapshot>) -> PyResult<PreparedLedger> {
        let entities = entities.map(|snapshot| &*snapshot.inner);
        let draft = ledger::Ledger::new().draft();
        let ledger = ledger::Ledger::founded(draft, entities).map_err(to_py)?;
        Ok(PreparedLedger::new(ledger))
    }

    /// Reads a ledger from a file; lines that the core cannot vouch for go through `restore`, which
    /// returns them as they should be. With `skip`, bad lines are left out.
    #[pyo3(signature = (path, entities, restore, all_records=false, skip=false))]
    fn read(
        &self,
        py: Python<'_>,
        path: PathBuf,
        entities: &Snapshot,
        restore: &Bound<'_, PyAny>,
        all_records: bool,
        skip: bool,
    ) -> PyResult<PreparedLedger> {
        let opaque = Plan { nodes: vec![Node::Opaque], root: 0 };
        let records = if all_records { &opaque } else { &self.store.get().schema.get().plan };
        read::read(py, path, records, &entities.inner, restore, skip)
    }

    /// Puts a prepared ledger in the place of this one.
    fn swap(&self, prepared: &PreparedLedger) -> PyResult<()> {
        let fresh = prepared.inner.lock().unwrap_or_else(PoisonError::into_inner).take();
        let fresh = fresh.ok_or_else(|| PyValueError::new_err("this ledger was used already"))?;
        *self.lock() = Arc::new(fresh);
        Ok(())
    }
}

fn header<'a>(content_hash: Option<&'a str>, tags: &'a [String]) -> Header<'a> {
    Header {
        content_hash: content_hash.map(std::borrow::Cow::Borrowed),
        tags: tags.iter().map(|tag| tag.as_str().into()).collect(),
    }
}
