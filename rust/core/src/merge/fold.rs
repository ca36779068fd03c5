//! A batch folded into a store, key by key, on several cores.

use super::fresh::fresh;
use super::groups::Groups;
use super::run::{Done, Fold, KeyIn, Pace, Record};
use super::steps::Steps;
use super::{Custom, Judge, Merger, missing};
use crate::batch::{Batch, Item, Span};
use crate::error::{Progress, Result, reserve};
use crate::key::KeyPlan;
use crate::store::{Changes, Store};

/// Below this many items the start of a thread costs more than it brings.
const ALONE: usize = 2048;

/// How to fold; the default is one thread and nobody to ask.
#[derive(Default)]
pub struct Options<'o> {
    /// Whether a value that equals its default counts as unset, as in anything read from
    /// records; else [`Item::unset`] says what is.
    pub defaults_unset: bool,
    /// How many threads to use, this one included.
    pub threads: usize,
    /// How keys are taken from records. Without it, and where the record does not tell its key,
    /// only the judge can say whether a merge has changed it, and is asked.
    pub keys: Option<&'o KeyPlan>,
    /// The functions of custom rules, called on this thread.
    pub custom: Option<&'o mut Custom<'o>>,
    /// Decides about results that may break a constraint of the model and that
    /// [`check`](crate::check::check) does not accept, called on this thread. Without one they
    /// are taken.
    pub judge: Option<&'o mut Judge<'o>>,
    /// Told of the bytes and records merged so far.
    pub progress: Option<&'o mut Progress<'o>>,
}

/// What a fold comes to.
#[derive(Debug, Default)]
pub struct Folded {
    /// What to apply to the store, the items that failed left out. It holds the chunks of the
    /// batch, so that spans of its items are still good.
    pub changes: Changes,
    /// The items that could not be merged, in arrival order.
    pub failed: Vec<Failed>,
    /// How many items became new entities.
    pub added: usize,
    /// How many items changed an entity that was there or came earlier in the batch.
    pub merged: usize,
    /// How many items brought nothing new.
    pub unchanged: usize,
}

/// An item that could not be merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Its index in the batch.
    pub item: usize,
    /// The record that it met.
    pub existing: Box<[u8]>,
    /// Why.
    pub what: String,
}

/// Folds a batch into a store: the items of each key, in arrival order, are merged into the
/// store's record, or into the first of them where the store has none. Inserts come in order of
/// the keys' first appearance. The cost is linear in the bytes of the batch and of the
/// records that it meets; the result does not depend on the number of threads.
///
/// # Errors
/// What a callback returns, [`crate::Error::Merge`] apart; [`crate::Error::Interrupted`],
/// [`crate::Error::OutOfMemory`], [`crate::Error::TooLarge`]. An item that cannot be merged is no
/// error but one of [`Folded::failed`].
pub fn fold(
    merger: &Merger<'_>,
    store: &Store,
    batch: Batch,
    mut options: Options<'_>,
) -> Result<Folded> {
    let batch = match fresh(store, batch, options.progress.as_deref_mut())? {
        Ok(folded) => return Ok(folded),
        Err(batch) => batch,
    };
    let groups = Groups::of(&batch)?;
    let fold = Fold {
        merger,
        store,
        batch: &batch,
        groups: &groups,
        keys: options.keys,
        defaults_unset: options.defaults_unset,
        pace: Pace::default(),
    };
    let mut missing = missing;
    let custom: &mut Custom<'_> = match options.custom {
        Some(custom) => custom,
        None => &mut missing,
    };
    let alone = batch.items.len() < ALONE || merger.has_custom_rule();
    let threads = if alone { 1 } else { options.threads.max(1) };
    let mut runs = fold.runs(threads, custom, options.progress)?;
    let mut steps = Steps { fold: &fold, custom, judge: options.judge, failed: Vec::new() };
    for run in &mut runs {
        for (place, done) in run.done.iter_mut().enumerate() {
            steps.settle(groups.get(run.first + place), done, &mut run.out)?;
        }
    }
    let mut failed = steps.failed;
    failed.sort_by_key(|failed| failed.item);
    let mut folded = Folded { failed, ..Folded::default() };
    let mut chunks = Vec::new();
    reserve(&mut chunks, runs.iter().map(|run| run.out.chunks.len()).sum())?;
    for run in runs {
        let first = (batch.chunks.len() + chunks.len()) as u32;
        for (done, items) in run.done.iter().zip(groups.iter().skip(run.first)) {
            folded.count(done);
            let first_item = batch.items[items[0] as usize];
            let item = match done.record {
                Record::Kept | Record::Open => continue,
                Record::Item(item) => batch.items[item as usize],
                Record::Built(span, key) => {
                    let record = Span { chunk: first + span.chunk, ..span };
                    let key = match key {
                        KeyIn::At((start, end)) => {
                            Span { start: record.start + start, len: end - start, ..record }
                        }
                        _ => first_item.key,
                    };
                    Item { record, key, unset: (0, 0), ..first_item }
                }
            };
            match done.slot {
                Some(slot) => {
                    reserve(&mut folded.changes.updates, 1)?;
                    folded.changes.updates.push((slot, item));
                }
                None => {
                    reserve(&mut folded.changes.inserts, 1)?;
                    folded.changes.inserts.push(item);
                }
            }
        }
        chunks.extend(run.out.chunks);
    }
    folded.changes.chunks = batch.chunks;
    reserve(&mut folded.changes.chunks, chunks.len())?;
    folded.changes.chunks.extend(chunks);
    Ok(folded)
}

impl Folded {
    fn count(&mut self, done: &Done) {
        self.added += usize::from(done.slot.is_none());
        self.merged += done.merged as usize;
        self.unchanged += done.unchanged as usize;
    }
}
