//! A file of ledger lines: what the core cannot vouch for is settled with Pydantic.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use omem_core::ledger::line::{self, Line};
use omem_core::ledger::{Ledger, introduce, review};
use omem_core::read::{self, Doubtful};
use omem_core::{Batch, Changes, Item, Node, Plan, Snapshot, Span, key};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::PreparedLedger;
use crate::errors::{LoadError, to_py};
use crate::progress::detached;
use crate::read::{Told, blame, is_of_record, load_error, told};
use crate::snapshot::checksum;

/// Reads a ledger; with `skip`, bad lines are left out.
///
/// # Errors
/// `LoadError` naming file, line and offset; what `restore` raises that is not about a line.
pub fn read(
    py: Python<'_>,
    path: PathBuf,
    records: &Plan,
    entities: &Snapshot,
    restore: &Bound<'_, PyAny>,
    skip: bool,
) -> PyResult<PreparedLedger> {
    let plan = line::plan(records);
    let loaded = detached(py, None, |report| {
        read::read(&path, &plan, Some(&line::key_plan()), skip, report)
    })?;
    let mut lines = Lines {
        py,
        path: &path,
        skip,
        batch: loaded.batch,
        skipped: loaded.faults.into_iter().map(told).collect(),
    };
    for (place, doubtful) in loaded.doubtful.iter().enumerate() {
        if place % 4096 == 4095 {
            py.check_signals()?;
        }
        lines.settle(doubtful, restore)?;
    }
    lines.review(plan)?;
    let Lines { mut batch, mut skipped, .. } = lines;
    skipped.sort_by_key(|fault| fault.2);
    let (ledger, introduced) = py
        .detach(|| {
            batch.items.retain(|item| item.record.len > 0);
            let introduced = introduce(&mut batch)?;
            Ok((Ledger::restored(Changes::from(batch), entities)?, introduced))
        })
        .map_err(to_py)?;
    Ok(PreparedLedger {
        inner: Mutex::new(Some(ledger)),
        facts: Some((loaded.digest.bytes, checksum(loaded.digest.checksum))),
        skipped,
        introduced,
    })
}

/// The lines of a file. One that is left out has no length from then on.
struct Lines<'a, 'py> {
    py: Python<'py>,
    path: &'a Path,
    skip: bool,
    batch: Batch,
    skipped: Vec<Told>,
}

impl Lines<'_, '_> {
    /// Has a line that the core does not vouch for made canonical.
    fn settle(&mut self, doubtful: &Doubtful, restore: &Bound<'_, PyAny>) -> PyResult<()> {
        let raw = PyBytes::new(self.py, self.batch.bytes(self.batch.items[doubtful.item].record));
        match restore.call1((raw,)).and_then(|text| text.extract::<Vec<u8>>()) {
            Ok(text) => match Line::parse(&text) {
                Some(line) => {
                    self.batch.items[doubtful.item] = append(&mut self.batch, &text, line.n)?;
                    Ok(())
                }
                None => self.refuse(doubtful, "$", "this is no line of a ledger", None),
            },
            Err(error) if is_of_record(self.py, &error) => {
                let (path, reason) = blame(self.py, &error)?;
                self.refuse(doubtful, &path, &reason, Some(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Refuses lines that do not fit their kind, or the lines before them.
    fn review(&mut self, mut plan: Plan) -> PyResult<()> {
        let py = self.py;
        let faults = py.detach(|| review(&self.batch)).map_err(to_py)?;
        if faults.is_empty() {
            return Ok(());
        }
        // Where lines stand that the core vouches for was not noted, so they are read again.
        if let Some(Node::Model(model)) = plan.nodes.get_mut(plan.root as usize) {
            model.covered = false;
        }
        let (path, skip) = (self.path, self.skip);
        let again = detached(py, None, |report| read::read(path, &plan, None, skip, report))?;
        for (item, what) in faults {
            let nowhere = Doubtful { item, record: item as u64, line: 1, at: 0 };
            let at = again.doubtful.get(item).copied().unwrap_or(nowhere);
            self.refuse(&at, "$", what, None)?;
        }
        Ok(())
    }

    /// Leaves a line out, or raises.
    fn refuse(
        &mut self,
        at: &Doubtful,
        path: &str,
        reason: &str,
        cause: Option<PyErr>,
    ) -> PyResult<()> {
        if self.skip {
            self.batch.items[at.item].record.len = 0;
            self.skipped.push((at.record, at.line, at.at, path.to_owned(), reason.to_owned()));
            return Ok(());
        }
        let error = load_error(self.py, self.path, at.record, at.line, at.at, path, reason)?;
        error.set_cause(self.py, cause);
        Err(error)
    }
}

/// Appends a line to a batch.
fn append(batch: &mut Batch, text: &[u8], number: u64) -> PyResult<Item> {
    let (chunk, bytes) = batch.open_records().map_err(to_py)?;
    let start = bytes.len();
    omem_core::error::reserve(bytes, text.len() + 2).map_err(to_py)?;
    bytes.extend_from_slice(text);
    bytes.extend_from_slice(b",\n");
    let digits = number.to_string();
    let narrow =
        |value: usize| u32::try_from(value).map_err(|_| LoadError::new_err("a line of over 4 GiB"));
    Ok(Item {
        record: Span { chunk, start: narrow(start)?, len: narrow(text.len())? },
        key: Span { chunk, start: narrow(start + 5)?, len: digits.len() as u32 },
        hash: key::hash(digits.as_bytes()),
        unset: (0, 0),
    })
}
