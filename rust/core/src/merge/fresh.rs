//! The usual batch, all of whose keys are new: nothing is to be merged.

use hashbrown::HashTable;

use super::fold::Folded;
use crate::batch::Batch;
use crate::error::{Error, Progress, Result};
use crate::store::{Changes, Store};

/// Progress is told after so many items.
const STRIDE: usize = 1 << 16;

/// The fold of a batch, each item of which becomes an entity, or the batch where one does not.
///
/// Grouping and folding such a batch takes three times as long.
pub(super) fn fresh(
    store: &Store,
    batch: Batch,
    mut progress: Option<&mut Progress<'_>>,
) -> Result<std::result::Result<Folded, Batch>> {
    let items = &batch.items;
    let mut table: HashTable<u32> = HashTable::new();
    table
        .try_reserve(items.len(), |_| 0)
        .map_err(|_| Error::OutOfMemory { bytes: items.len() * size_of::<u32>() })?;
    let mut bytes = 0;
    for (number, item) in items.iter().enumerate() {
        // Two keys of one hash are left to the fold, which compares the keys themselves.
        let same = |&other: &u32| items[other as usize].hash == item.hash;
        if table.find(item.hash, same).is_some()
            || (!store.is_empty() && store.find(batch.bytes(item.key), item.hash).is_some())
        {
            return Ok(Err(batch));
        }
        table.insert_unique(item.hash, number as u32, |&other| items[other as usize].hash);
        bytes += u64::from(item.record.len);
        if number % STRIDE == STRIDE - 1
            && let Some(progress) = &mut progress
            && !progress(bytes, number as u64 + 1)
        {
            return Err(Error::Interrupted);
        }
    }
    let added = items.len();
    let changes = Changes { chunks: batch.chunks, inserts: batch.items, ..Changes::default() };
    Ok(Ok(Folded { changes, added, ..Folded::default() }))
}
