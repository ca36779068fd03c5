//! Merging in the core, with what it asks of Python: functions of custom rules, and Pydantic where a
//! merged record may break a constraint.

use std::sync::OnceLock;

use omem_core::Node;
use omem_core::check::check;
use omem_core::key;
use omem_core::merge::{self, Lists, Merger, Strategy};
use omem_core::plan::Rule;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::batch::{Change, refused};
use crate::decode::decode_value;
use crate::encode::{encode, encode_value};
use crate::errors::MergeError;
use crate::keys::{self, KeySpec};
use crate::progress::{Callback, detached};
use crate::slow::{self, Lossy};
use crate::store::Store;

impl Store {
    /// Merges a batch into a core store, which is not changed.
    pub fn fold_onto(
        &self,
        py: Python<'_>,
        store: &omem_core::Store,
        batch: omem_core::Batch,
        strategy: Strategy,
        defaults_unset: bool,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Change> {
        let items = batch.items.clone();
        let schema = self.schema.get();
        let keys = match &self.key {
            KeySpec::Fields(plan) => Some(plan),
            KeySpec::Callable(_) => None,
        };
        let raised = Callback::default();
        let folded = detached(py, progress, |report| {
            let mut custom = |index: u32, existing: &[u8], incoming: &[u8], out: &mut Vec<u8>| {
                raised.merge(|py| self.custom(py, index, existing, incoming, out))
            };
            let mut judge = |key: &[u8], record: &[u8], out: &mut Vec<u8>| {
                raised.merge(|py| self.judge(py, key, record, out))
            };
            let options = merge::Options {
                defaults_unset,
                threads: threads(),
                keys,
                custom: Some(&mut custom),
                judge: Some(&mut judge),
                progress: Some(report),
            };
            merge::fold(&Merger::new(&schema.plan, strategy), store, batch, options)
        });
        let (folded, conflicts) = raised.resolve(folded)?;
        let refused = refused(&folded.changes, &items, folded.failed);
        let first = refused.first().map_or("", |(_, _, _, reason)| reason);
        let mut change = Change::new(folded.changes);
        change.added = folded.added;
        change.merged = folded.merged;
        change.unchanged = folded.unchanged;
        change.cause = conflicts.cause_of(first);
        change.refused = refused;
        Ok(change)
    }

    /// Calls the function of a custom rule.
    fn custom(
        &self,
        py: Python<'_>,
        index: u32,
        existing: &[u8],
        incoming: &[u8],
        out: &mut Vec<u8>,
    ) -> PyResult<()> {
        let schema = self.schema.get();
        let node = schema.plan.nodes.iter().find_map(|node| match node {
            Node::Model(model) => {
                model.fields.iter().find(|field| field.rule == Some(Rule::Custom(index)))
            }
            _ => None,
        });
        let node = node.ok_or_else(|| PyValueError::new_err("no such rule"))?.node;
        let rule = &schema.functions[index as usize];
        let read = |text: &[u8]| match decode_value(schema, py, node, text)? {
            Some(value) => Ok(value),
            None => rule.read.call1(py, (PyBytes::new(py, text),)),
        };
        let merged = rule.function.bind(py).call1((read(existing)?, read(incoming)?))?;
        let start = out.len();
        if !encode_value(schema, node, &merged, out) {
            out.truncate(start);
            let text = rule.write.bind(py).call1((&merged,))?;
            let text = text.cast::<PyBytes>().map_err(|_| {
                let shown = merged.repr().map_or_else(|_| String::new(), |text| text.to_string());
                MergeError::new_err(format!("the custom rule returned {shown}, which is no JSON"))
            })?;
            out.extend_from_slice(text.as_bytes());
        }
        Ok(())
    }

    /// Decides about a merged record: appends it, as Pydantic accepts it, or raises what is wrong.
    fn judge(
        &self,
        py: Python<'_>,
        key_text: &[u8],
        record: &[u8],
        out: &mut Vec<u8>,
    ) -> PyResult<()> {
        let schema = self.schema.get();
        let start = out.len();
        if check(&schema.plan, record, 0, &mut []) == Some(record.len()) {
            out.extend_from_slice(record);
        } else {
            let model = slow::decode(schema, py, record)?;
            encode(schema, &model, Lossy::Allow, out, &mut Vec::new())?;
        }
        let mut built = Vec::new();
        let record = &out[start..];
        let found = keys::extract(schema, &self.key, None, py, record, &[], &mut built)?;
        let found = match found {
            key::KeyText::InRecord((from, to)) => &record[from as usize..to as usize],
            key::KeyText::Built => &built,
        };
        if found != key_text {
            return Err(MergeError::new_err("the merged entity has another key"));
        }
        Ok(())
    }
}

/// The strategy of these names.
pub fn strategy_of(strategy: &str, lists: &str) -> PyResult<Strategy> {
    Ok(match (strategy, lists) {
        ("keep_existing", _) => Strategy::KeepExisting,
        ("keep_incoming", _) => Strategy::KeepIncoming,
        ("merge_field", "union") => Strategy::MergeField { lists: Lists::Union },
        ("merge_field", "append") => Strategy::MergeField { lists: Lists::Append },
        ("merge_field", "replace") => Strategy::MergeField { lists: Lists::Replace },
        other => return Err(PyValueError::new_err(format!("no strategy {other:?}"))),
    })
}

/// How many threads long work may use. Asked once: the answer is read from files of the cgroup,
/// which takes longer than a small merge.
pub fn threads() -> usize {
    static THREADS: OnceLock<usize> = OnceLock::new();
    *THREADS.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from).min(8))
}
