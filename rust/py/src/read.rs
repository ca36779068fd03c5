//! A file of records: what the core cannot vouch for is settled with Pydantic.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use omem_core::error::{Fault, Progress};
use omem_core::json::string;
use omem_core::key::{self, KeyText};
use omem_core::read::{self, Doubtful};
use omem_core::{Batch, Node, Plan, Span, Store};
use pyo3::exceptions::{
    PyException, PyMemoryError, PyRecursionError, PyRuntimeError, PyValueError,
};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::defaults::defaults_in;
use crate::encode::encode;
use crate::errors::{LoadError, LossyError, to_py};
use crate::keys::{self, KeySpec};
use crate::progress::detached;
use crate::schema::Schema;
use crate::slow::{self, Lossy};
use crate::snapshot::checksum;

/// What the records of a file were read into.
pub enum Records {
    /// All of them, each with a key of its own.
    Store(Store),
    Batch(Batch),
}

/// The records of a file, all canonical and keyed.
#[pyclass(frozen, module = "omem._omem")]
pub struct Loaded {
    found: Mutex<Option<Records>>,
    /// How many records the file has, bad ones included.
    #[pyo3(get)]
    records: u64,
    /// The size of the file in bytes.
    #[pyo3(get)]
    size: u64,
    /// Its checksum, as the metadata show it.
    #[pyo3(get)]
    checksum: String,
    /// What was skipped: record, line, offset, path, reason.
    #[pyo3(get)]
    skipped: Vec<Told>,
    /// How many fields defaults filled in, in records that did not go through `restore`.
    #[pyo3(get)]
    defaults_filled: usize,
}

impl Loaded {
    /// Takes the records out.
    pub fn take(&self) -> PyResult<Records> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.take().ok_or_else(|| PyRuntimeError::new_err("these records were used already"))
    }
}

#[pymethods]
impl Loaded {
    /// The records as a batch, to be merged; they must not have been read to `replace`.
    fn batch(&self) -> PyResult<crate::batch::Batch> {
        match self.take()? {
            Records::Batch(batch) => Ok(crate::batch::Batch::new(batch)),
            Records::Store(_) => Err(PyRuntimeError::new_err("these records were read to replace")),
        }
    }
}

/// How to read.
pub struct Options<'a, 'py> {
    /// Called with a raw record, returns the model.
    pub restore: &'a Bound<'py, PyAny>,
    /// Whether every record goes through `restore`.
    pub all: bool,
    /// Whether bad records are left out.
    pub skip: bool,
    /// Whether the records are to replace those of a store, and not to be merged with them.
    pub replace: bool,
    /// Told of bytes and records read.
    pub progress: Option<&'a Bound<'py, PyAny>>,
}

/// Reads a file.
///
/// # Errors
/// `LoadError` naming file, record, line, offset and path.
pub fn read(
    py: Python<'_>,
    schema: &Schema,
    spec: &KeySpec,
    path: PathBuf,
    options: &Options<'_, '_>,
) -> PyResult<Loaded> {
    let opaque = Plan { nodes: vec![Node::Opaque], root: 0 };
    let plan = if options.all { &opaque } else { &schema.plan };
    let plan_of_key = match spec {
        KeySpec::Fields(plan) if !options.all => Some(plan),
        _ => None,
    };
    let covered = plan.model().is_some_and(|model| model.covered);
    let straight = plan_of_key.filter(|_| options.replace && covered);
    let skip = options.skip;
    let read = |report: &mut Progress| match straight {
        Some(key) => read::store(&path, plan, key, skip, report),
        None => read::read(&path, plan, plan_of_key, skip, report).map(Err),
    };
    let loaded = match detached(py, options.progress, read)? {
        Err(loaded) => loaded,
        Ok((store, digest)) => {
            return Ok(Loaded {
                records: store.len() as u64,
                found: Mutex::new(Some(Records::Store(store))),
                size: digest.bytes,
                checksum: checksum(digest.checksum),
                skipped: Vec::new(),
                defaults_filled: 0,
            });
        }
    };
    let records = loaded.records;
    let mut settling = Settling {
        py,
        schema,
        spec,
        path: &path,
        options,
        batch: loaded.batch,
        skipped: loaded.faults.into_iter().map(told).collect(),
        bad: Vec::new(),
        stands: Vec::new(),
        defaults_filled: 0,
    };
    for (place, doubtful) in loaded.doubtful.iter().enumerate() {
        if place % 4096 == 4095 {
            py.check_signals()?;
        }
        settling.settle(doubtful)?;
    }
    if plan_of_key.is_none() {
        settling.key_all(&loaded.doubtful)?;
    }
    let Settling { mut batch, mut skipped, bad, defaults_filled, .. } = settling;
    if !bad.is_empty() {
        let mut bad = bad.into_iter().peekable();
        let mut number = 0;
        batch.items.retain(|_| {
            number += 1;
            bad.next_if_eq(&(number - 1)).is_none()
        });
    }
    skipped.sort_by_key(|fault| fault.2);
    Ok(Loaded {
        found: Mutex::new(Some(Records::Batch(batch))),
        records,
        size: loaded.digest.bytes,
        checksum: checksum(loaded.digest.checksum),
        skipped,
        defaults_filled,
    })
}

/// What was skipped, as Python sees it: record, line, offset, path, reason.
pub type Told = (u64, u64, u64, String, String);

/// A fault as Python sees it.
pub fn told(fault: Fault) -> Told {
    (fault.record, fault.line, fault.at, fault.place, fault.what)
}

struct Settling<'a, 'py> {
    py: Python<'py>,
    schema: &'a Schema,
    spec: &'a KeySpec,
    path: &'a Path,
    options: &'a Options<'a, 'py>,
    batch: Batch,
    skipped: Vec<Told>,
    /// The items that are left out, in order.
    bad: Vec<usize>,
    /// Where each item stands in the file, once that was asked for.
    stands: Vec<Doubtful>,
    defaults_filled: usize,
}

impl Settling<'_, '_> {
    /// Has Pydantic read a doubtful record, and puts what it reads in its place.
    fn settle(&mut self, doubtful: &Doubtful) -> PyResult<()> {
        let py = self.py;
        let item = doubtful.item;
        let record = self.batch.items[item].record;
        let raw = PyBytes::new(py, self.batch.bytes(record));
        let outcome = match self.unchanged(&raw)? {
            Some(model) => self.key(item, record, Some(&model)),
            None => {
                let model = self.options.restore.call1((&raw,));
                model.and_then(|model| self.put(item, &model))
            }
        };
        match outcome {
            Ok(()) => Ok(()),
            Err(error) if is_of_record(py, &error) => self.refuse(doubtful, &error),
            Err(error) => Err(error),
        }
    }

    /// The model of a record that the model's own rules read, and that is written as it stands.
    /// Nothing of such a record is lost, and nothing has to be read again to know that.
    fn unchanged<'py>(&mut self, raw: &Bound<'py, PyBytes>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if self.options.all || !is_compact(raw.as_bytes()) || self.schema.wholly_covered {
            return Ok(None);
        }
        let model = match self.schema.pydantic.read(raw) {
            Ok(model) => model,
            Err(error) if slow::is_fault(&error, raw.py()) => return Ok(None),
            Err(error) => return Err(error),
        };
        if !slow::writes(self.schema, &model, raw.as_bytes())? {
            return Ok(None);
        }
        self.defaults_filled += defaults_in(&model)?;
        Ok(Some(model))
    }

    fn put(&mut self, item: usize, model: &Bound<'_, PyAny>) -> PyResult<()> {
        let (chunk, bytes) = self.batch.open_records().map_err(to_py)?;
        let start = bytes.len();
        let mut unset = Vec::new();
        if let Err(error) = encode(self.schema, model, Lossy::Error, bytes, &mut unset) {
            bytes.truncate(start);
            return Err(error);
        }
        let end = bytes.len();
        bytes.extend_from_slice(b",\n");
        let narrow = |value: usize| {
            u32::try_from(value).map_err(|_| LossyError::new_err("a record over 4 GiB"))
        };
        let record = Span { chunk, start: narrow(start)?, len: narrow(end - start)? };
        self.key(item, record, Some(model))
    }

    /// Takes the key of a record and makes both the item's.
    fn key(&mut self, item: usize, record: Span, model: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let mut built = Vec::new();
        let text = self.batch.bytes(record);
        let found = keys::extract(self.schema, self.spec, model, self.py, text, &[], &mut built)?;
        let key = match found {
            KeyText::InRecord((from, to)) => {
                Span { start: record.start + from, len: to - from, ..record }
            }
            KeyText::Built => {
                let (chunk, keys) = self.batch.open_keys().map_err(to_py)?;
                let start = keys.len() as u32;
                keys.extend_from_slice(&built);
                Span { chunk, start, len: built.len() as u32 }
            }
        };
        let hash = key::hash(self.batch.bytes(key));
        let item = &mut self.batch.items[item];
        (item.record, item.key, item.hash) = (record, key, hash);
        Ok(())
    }

    /// Takes the keys of all records that the core read without one.
    fn key_all(&mut self, doubtful: &[Doubtful]) -> PyResult<()> {
        let mut settled = doubtful.iter().map(|doubtful| doubtful.item).peekable();
        for item in 0..self.batch.items.len() {
            if item % 4096 == 4095 {
                self.py.check_signals()?;
            }
            if settled.next_if_eq(&item).is_some() {
                continue;
            }
            let record = self.batch.items[item].record;
            if let Err(error) = self.key(item, record, None) {
                if !is_of_record(self.py, &error) {
                    return Err(error);
                }
                let at = self.stands(item)?;
                self.refuse(&at, &error)?;
            }
        }
        self.bad.sort_unstable();
        Ok(())
    }

    /// Where an item stands in the file. That is not noted for records that the core vouches for:
    /// a record that gives no key is rare, and the file is then read a second time.
    fn stands(&mut self, item: usize) -> PyResult<Doubtful> {
        if self.stands.is_empty() {
            let mut plan = self.schema.plan.clone();
            if let Some(Node::Model(model)) = plan.nodes.get_mut(plan.root as usize) {
                model.covered = false; // so that each record is doubtful, and its place told
            }
            let (path, skip) = (self.path, self.options.skip);
            let again =
                detached(self.py, None, |report| read::read(path, &plan, None, skip, report))?;
            self.stands = again.doubtful;
        }
        let found = self.stands.get(item).copied();
        Ok(found.unwrap_or(Doubtful { item, record: item as u64, line: 1, at: 0 }))
    }

    /// Leaves a record out, or raises.
    fn refuse(&mut self, at: &Doubtful, error: &PyErr) -> PyResult<()> {
        let (path, reason) = blame(self.py, error)?;
        if self.options.skip {
            self.bad.push(at.item);
            self.skipped.push((at.record, at.line, at.at, path, reason));
            return Ok(());
        }
        let told = load_error(self.py, self.path, at.record, at.line, at.at, &path, &reason)?;
        told.set_cause(self.py, Some(error.clone_ref(self.py)));
        Err(told)
    }
}

/// Whether an object has no white space where a layout that has any would have the first.
fn is_compact(raw: &[u8]) -> bool {
    let value = match raw.get(1) {
        Some(b'"') => string::end(raw, 1) + 2,
        _ => return false,
    };
    raw.get(value).is_some_and(|byte| !byte.is_ascii_whitespace())
}

/// Where in a record the fault lies that an error is about, and what is wrong.
pub fn blame(py: Python<'_>, error: &PyErr) -> PyResult<(String, String)> {
    let value = error.value(py);
    let attribute = |name: &str| value.getattr(name).ok().and_then(|path| path.extract().ok());
    let path = attribute("path").or_else(|| attribute("field")).unwrap_or_else(|| "$".to_owned());
    let reason = if error.is_instance_of::<PyValueError>(py) {
        value.to_string()
    } else {
        format!("{}: {value}", value.get_type().name()?)
    };
    Ok((path, reason))
}

/// Whether an error is about one record and not about the process, or a callback that tried to
/// change the memory (a `RuntimeError`).
pub fn is_of_record(py: Python<'_>, error: &PyErr) -> bool {
    let of_process =
        error.is_instance_of::<PyMemoryError>(py) || error.is_instance_of::<PyRuntimeError>(py);
    error.is_instance_of::<PyException>(py)
        && (!of_process || error.is_instance_of::<PyRecursionError>(py))
}

/// Counts the records of any JSON array of objects without keeping them in memory; returns how
/// many there are, size and checksum of the file, and what is wrong.
#[pyfunction]
pub fn survey(py: Python<'_>, path: PathBuf) -> PyResult<Loaded> {
    let found = detached(py, None, |report| read::survey(&path, report))?;
    Ok(Loaded {
        found: Mutex::new(None),
        records: found.records,
        size: found.digest.bytes,
        checksum: checksum(found.digest.checksum),
        skipped: found.faults.into_iter().map(told).collect(),
        defaults_filled: 0,
    })
}

/// A `LoadError` that names everything.
pub fn load_error(
    py: Python<'_>,
    file: &Path,
    record: u64,
    line: u64,
    at: u64,
    path: &str,
    reason: &str,
) -> PyResult<PyErr> {
    let parts = PyDict::new(py);
    parts.set_item("file", file.as_os_str())?;
    parts.set_item("record", record)?;
    parts.set_item("line", line)?;
    parts.set_item("offset", at)?;
    parts.set_item("path", path)?;
    let message =
        format!("{}: record {record}, line {line}, byte {at}: {reason} ({path})", file.display());
    let error = py.get_type::<LoadError>().call((message,), Some(&parts))?;
    Ok(PyErr::from_value(error))
}
