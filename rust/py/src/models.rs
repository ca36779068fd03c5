//! Merging by mergers that are Python: the models that they get, and the change that their answers make.

use std::collections::HashMap;

use omem_core::{Batch, Changes, Item, Span};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::batch::{self, Change, Refused, push};
use crate::decode::{Paused, decode};
use crate::errors::MergeError;
use crate::keys::key_from_text;
use crate::observed::mark;
use crate::store::Store;

impl Store {
    /// The models of each key that takes a merge: the existing one first, then those of the batch.
    pub fn groups_of<'py>(
        &self,
        py: Python<'py>,
        batch: &batch::Batch,
    ) -> PyResult<Bound<'py, PyList>> {
        let store = self.shared();
        let schema = self.schema.get();
        let groups = PyList::empty(py);
        let _paused = Paused::new(py);
        batch.with(|batch| {
            for items in grouped(batch) {
                let first = batch.items[items[0]];
                let existing = store.get(batch.bytes(first.key), first.hash);
                if existing.is_none() && items.len() == 1 {
                    continue;
                }
                let group = PyList::empty(py);
                if let Some(record) = existing {
                    group.append(decode(schema, py, record)?)?;
                }
                for item in items {
                    let item = &batch.items[item];
                    let unset = &batch.unset[item.unset.0 as usize..item.unset.1 as usize];
                    let model = decode(schema, py, batch.bytes(item.record))?.into_bound(py);
                    mark(schema, &model, batch.bytes(item.record), unset)?;
                    group.append(model)?;
                }
                groups.append(group)?;
            }
            Ok(())
        })?;
        Ok(groups)
    }

    /// The change that puts merged models, one for each of the groups, and all other items in
    /// place. Where nothing was merged into the first of a group, that is None; the others are
    /// `failed`: number of the group, place in it, reason.
    pub fn fold_models(
        &self,
        py: Python<'_>,
        mut batch: Batch,
        merged: &Bound<'_, PyAny>,
        failed: Vec<(usize, usize, String)>,
    ) -> PyResult<Change> {
        let store = self.shared();
        let mut results = Batch::default();
        let mut is_merged = Vec::new();
        for (position, model) in merged.try_iter()?.enumerate() {
            let model = model?;
            is_merged.push(!model.is_none());
            if !model.is_none() {
                push(self, &mut results, &model, position)?;
            }
        }
        let first_chunk = batch.chunks.len() as u32;
        let mut next = results.items.iter();
        let mut is_merged = is_merged.into_iter();
        let mut failed = failed.into_iter().peekable();
        let mut refused: Vec<(usize, Refused)> = Vec::new();
        let mut changes = Changes::default();
        let mut counts = (0, 0, 0);
        let mut group = 0;
        for items in grouped(&batch) {
            let first = batch.items[items[0]];
            let key_text = batch.bytes(first.key);
            let slot = store.find(key_text, first.hash);
            let mut item = first;
            if slot.is_some() || items.len() > 1 {
                let mut merges = items.len() - usize::from(slot.is_none());
                let base = match slot {
                    Some(slot) => store.record(slot),
                    None => batch.bytes(first.record),
                };
                while let Some((_, place, reason)) = failed.next_if(|failed| failed.0 == group) {
                    let number = items[place - usize::from(slot.is_some())];
                    let record = batch.bytes(batch.items[number].record);
                    let told = (key_text.to_vec(), base.to_vec(), record.to_vec(), reason);
                    refused.push((number, told));
                    merges -= 1;
                }
                group += 1;
                let few = || MergeError::new_err("the merger returned too few entities");
                let mut same = !is_merged.next().ok_or_else(few)?;
                if !same {
                    let result = *next.next().ok_or_else(few)?;
                    if results.bytes(result.key) != key_text {
                        return Err(MergeError::new_err(format!(
                            "the merger changed the key {} to {}",
                            key_from_text(py, key_text)?.repr()?,
                            key_from_text(py, results.bytes(result.key))?.repr()?,
                        )));
                    }
                    same = base == results.bytes(result.record);
                    let shift = |span: Span| Span { chunk: first_chunk + span.chunk, ..span };
                    item = Item { record: shift(result.record), key: shift(result.key), ..result };
                }
                *(if same { &mut counts.2 } else { &mut counts.1 }) += merges;
                if same && slot.is_some() {
                    continue;
                }
            }
            match slot {
                Some(slot) => changes.updates.push((slot, item)),
                None => {
                    counts.0 += 1;
                    changes.inserts.push(item);
                }
            }
        }
        drop(store);
        changes.chunks = std::mem::take(&mut batch.chunks);
        changes.chunks.extend(results.chunks);
        let mut change = Change::new(changes);
        (change.added, change.merged, change.unchanged) = counts;
        refused.sort_by_key(|refused| refused.0);
        change.refused = refused.into_iter().map(|(_, told)| told).collect();
        Ok(change)
    }
}

/// The items of each key, keys in order of first appearance.
fn grouped(batch: &Batch) -> Vec<Vec<usize>> {
    let mut places: HashMap<&[u8], usize> = HashMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (number, item) in batch.items.iter().enumerate() {
        let place = *places.entry(batch.bytes(item.key)).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.push(number),
            None => groups.push(vec![number]),
        }
    }
    groups
}
