//! The usual batch, all of whose keys are new: nothing is to be merged.

use super::fold::Folded;
use crate::batch::Batch;
use crate::error::{Error, Progress, Result};
use crate::store::{Changes, Store};
use crate::table::{BLOCK, Table, half};

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
    let mut table = Table::default();
    table.reserve(items.len())?;
    let mut bytes = 0;
    for (number, item) in items.iter().enumerate() {
        if number % BLOCK == 0 {
            let block = &items[number..items.len().min(number + BLOCK)];
            table.warm(block.iter().map(|item| half(item.hash)));
            store.warm(block.iter().map(|item| item.hash));
        }
        // Two keys of one hash are left to the fold, which compares the keys themselves.
        let same = |other: u32| items[other as usize].hash == item.hash;
        if table.enter(half(item.hash), number as u32, same).is_some()
            || (!store.is_empty() && store.find(batch.bytes(item.key), item.hash).is_some())
        {
            return Ok(Err(batch));
        }
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
