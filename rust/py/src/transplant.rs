//! Entities that go from one store to another as they are.

use std::collections::HashSet;

use omem_core::{Batch, Changes, Item, Span, key};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::batch::Change;
use crate::errors::to_py;
use crate::keys::KeySpec;
use crate::ledger::Rollback;
use crate::store::Store;

impl Store {
    /// The change that gives the entities of these keys the records that they have in another
    /// store, or removes those that are not there, and puts them in their places.
    pub fn change_to(
        &self,
        py: Python<'_>,
        keys: &[Vec<u8>],
        other: &omem_core::Store,
        back: Option<&Rollback>,
    ) -> PyResult<Change> {
        let store = self.shared();
        let mut batch = Batch::default();
        let mut changes = Changes { erase: back.is_some(), ..Changes::default() };
        let mut moves = Vec::new();
        let (mut added, mut merged) = (0, 0);
        for text in keys {
            let hash = key::hash(text);
            let slot = store.find(text, hash);
            let rebuilt = back.and_then(|back| back.inner.rebuilt(text));
            let stays = rebuilt.is_some_and(|rebuilt| rebuilt.stays);
            let Some(record) = other.get(text, hash) else {
                match slot {
                    Some(slot) if stays => {
                        moves.extend(rebuilt.and_then(|r| r.before).map(|before| (before, slot)));
                    }
                    Some(slot) => changes.removes.push(slot),
                    None => {}
                }
                continue;
            };
            let item = self.item(py, &mut batch, text, hash, record)?;
            let Some(slot) = slot else {
                added += 1;
                changes.inserts.push(item);
                continue;
            };
            if store.record(slot) != record {
                merged += 1;
                changes.updates.push((slot, item));
            }
            if let Some(rebuilt) = rebuilt {
                // What went and comes again comes last.
                let last = store.slots() + changes.inserts.len() as u32;
                let went = !stays && rebuilt.survivors() == 0;
                let before = if went { Some((last, u64::MAX)) } else { rebuilt.before };
                moves.extend(before.map(|before| (before, slot)));
            }
        }
        changes.chunks = batch.chunks;
        moves.sort_by_key(|&(before, _)| before);
        changes.moves.extend(moves.into_iter().map(|((before, _), slot)| (slot, before)));
        let mut change = Change::new(changes);
        (change.added, change.merged) = (added, merged);
        Ok(change)
    }

    /// Puts the entities of these keys of another store into this one, where they are not there.
    pub fn take_from(
        &self,
        py: Python<'_>,
        keys: &[Vec<u8>],
        other: &omem_core::Store,
    ) -> PyResult<()> {
        let store = self.shared();
        let mut batch = Batch::default();
        let mut seen = HashSet::new();
        for text in keys {
            let hash = key::hash(text);
            if store.find(text, hash).is_none()
                && seen.insert(text)
                && let Some(record) = other.get(text, hash)
            {
                let item = self.item(py, &mut batch, text, hash, record)?;
                batch.items.push(item);
            }
        }
        drop(store);
        self.mutate(|store| store.apply(Changes::from(batch))).map_err(to_py)
    }

    /// Writes a record whose key is known into a batch.
    fn item(
        &self,
        py: Python<'_>,
        batch: &mut Batch,
        text: &[u8],
        hash: u64,
        record: &[u8],
    ) -> PyResult<Item> {
        let narrow = |value: usize| {
            u32::try_from(value).map_err(|_| PyValueError::new_err("a record over 4 GiB"))
        };
        let (chunk, bytes) = batch.open_records().map_err(to_py)?;
        let start = narrow(bytes.len())?;
        omem_core::error::reserve(bytes, record.len() + 2).map_err(to_py)?;
        bytes.extend_from_slice(record);
        bytes.extend_from_slice(b",\n");
        let record_span = Span { chunk, start, len: narrow(record.len())? };
        let mut built = Vec::new();
        let found = match &self.key {
            KeySpec::Fields(plan) => {
                key::extract(&self.schema.bind(py).get().plan, plan, record, &[], &mut built).ok()
            }
            KeySpec::Callable(_) => None,
        };
        let key = if let Some(key::KeyText::InRecord((from, to))) = found {
            Span { start: start + from, len: to - from, ..record_span }
        } else {
            let (chunk, keys) = batch.open_keys().map_err(to_py)?;
            let start = narrow(keys.len())?;
            keys.extend_from_slice(text);
            Span { chunk, start, len: narrow(text.len())? }
        };
        Ok(Item { record: record_span, key, hash, unset: (0, 0) })
    }
}
