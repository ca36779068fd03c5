//! A batch folded into a store, key by key, on several cores.

use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use super::groups::Groups;
use super::steps::Steps;
use super::value::{Value, append};
use super::{Custom, Failure, Judge, Merged, Merger, Strategy, Unobserved, missing, observe};
use crate::batch::{Batch, Item, Span};
use crate::check::{Place, check};
use crate::error::{Error, Progress, Result, reserve};
use crate::key::{KeyPlan, KeyText, extract};
use crate::store::{Changes, Store};

/// Below this many items the start of a thread costs more than it brings.
const ALONE: usize = 2048;
/// Progress is told after this many bytes of records.
const STRIDE: u64 = 1 << 20;

/// How to fold; the default is one thread and nobody to ask.
#[derive(Default)]
pub struct Options<'o> {
    /// Whether a value that equals its default counts as unset, as in anything read from
    /// records; else [`Item::unset`] says what is.
    pub defaults_unset: bool,
    /// How many threads to use, this one included.
    pub threads: usize,
    /// How keys are taken from records. Without it only the judge can tell whether a merge has
    /// changed the key, and is asked about every merged record.
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
/// What a callback returns, [`Error::Merge`] apart; [`Error::Interrupted`],
/// [`Error::OutOfMemory`], [`Error::TooLarge`]. An item that cannot be merged is no error but
/// one of [`Folded::failed`].
pub fn fold(
    merger: &Merger<'_>,
    store: &Store,
    batch: Batch,
    options: Options<'_>,
) -> Result<Folded> {
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
                    let within = |(start, end)| Span {
                        start: record.start + start,
                        len: end - start,
                        ..record
                    };
                    let key = key.map_or(first_item.key, within);
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

/// A fold under way.
pub(super) struct Fold<'f> {
    pub(super) merger: &'f Merger<'f>,
    store: &'f Store,
    batch: &'f Batch,
    groups: &'f Groups,
    keys: Option<&'f KeyPlan>,
    defaults_unset: bool,
    pace: Pace,
}

/// How far the threads have come, and whether they shall stop.
#[derive(Default)]
struct Pace {
    bytes: AtomicU64,
    records: AtomicU64,
    stop: AtomicBool,
}

/// What one thread has folded.
struct Run {
    /// The first of its groups.
    first: usize,
    /// Its groups, in order.
    done: Vec<Done>,
    /// The records that were built.
    out: Batch,
}

/// One group, folded.
pub(super) struct Done {
    /// The entity in the store, if it is there.
    pub(super) slot: Option<u32>,
    pub(super) record: Record,
    /// Whether the record may break a constraint of the model.
    pub(super) doubtful: bool,
    /// How many items changed the entity, and how many brought nothing new.
    pub(super) merged: u32,
    pub(super) unchanged: u32,
}

/// The record that a group has come to.
#[derive(Clone, Copy)]
pub(super) enum Record {
    /// That of the store.
    Kept,
    /// That of an item, as it is.
    Item(u32),
    /// A new one, in the output of the run, and where in it the key text stands, if it does.
    Built(Span, Option<Place>),
    /// Some item could not be merged: to be done again, item by item.
    Open,
}

impl<'f> Fold<'f> {
    /// Folds all groups, on so many threads; where one cannot be started, this one does its part.
    fn runs(
        &self,
        threads: usize,
        custom: &mut Custom<'_>,
        progress: Option<&mut Progress<'_>>,
    ) -> Result<Vec<Run>> {
        let parts: Vec<_> = self.groups.cut(threads).collect();
        let Some((first, others)) = parts.split_first() else {
            return Ok(Vec::new());
        };
        let other = |part: &Range<usize>| self.run(part.clone(), &mut missing, None);
        thread::scope(|scope| {
            let spawn = |part| thread::Builder::new().spawn_scoped(scope, move || other(part)).ok();
            let handles: Vec<_> = others.iter().map(spawn).collect();
            let mut runs = vec![self.run(first.clone(), custom, progress)];
            for (part, handle) in others.iter().zip(handles) {
                runs.push(match handle.map(thread::ScopedJoinHandle::join) {
                    Some(Ok(run)) => run,
                    Some(Err(panic)) => resume_unwind(panic),
                    None => other(part),
                });
            }
            runs.into_iter().collect()
        })
    }

    /// Folds a run of groups; what goes wrong stops the other threads too.
    fn run(
        &self,
        part: Range<usize>,
        custom: &mut Custom<'_>,
        mut progress: Option<&mut Progress<'_>>,
    ) -> Result<Run> {
        let mut run = Run { first: part.start, done: Vec::new(), out: Batch::default() };
        let done = || {
            reserve(&mut run.done, part.len())?;
            let mut parts = Vec::new();
            let (mut bytes, mut records) = (0, 0);
            for group in part {
                let items = self.groups.get(group);
                run.done.push(self.group(items, &mut run.out, custom, &mut parts)?);
                records += items.len() as u64;
                bytes +=
                    items.iter().map(|&item| u64::from(self.item(item).record.len)).sum::<u64>();
                if bytes >= STRIDE {
                    if self.pace.stop.load(Relaxed) {
                        break;
                    }
                    let all_bytes = self.pace.bytes.fetch_add(bytes, Relaxed) + bytes;
                    let all_records = self.pace.records.fetch_add(records, Relaxed) + records;
                    (bytes, records) = (0, 0);
                    if progress.as_mut().is_some_and(|progress| !progress(all_bytes, all_records)) {
                        return Err(Error::Interrupted);
                    }
                }
            }
            Ok(())
        };
        let result = done();
        if result.is_err() {
            self.pace.stop.store(true, Relaxed);
        }
        result.map(|()| run)
    }

    fn item(&self, item: u32) -> &'f Item {
        &self.batch.items[item as usize]
    }

    /// The record of an item.
    pub(super) fn record(&self, item: u32) -> &'f [u8] {
        self.batch.bytes(self.item(item).record)
    }

    /// The key text of an item.
    pub(super) fn key(&self, item: u32) -> &'f [u8] {
        self.batch.bytes(self.item(item).key)
    }

    pub(super) fn unobserved(&self, item: u32) -> Unobserved<'f> {
        if self.defaults_unset {
            return Unobserved::Defaults;
        }
        let (start, end) = self.item(item).unset;
        Unobserved::Ranges(&self.batch.unset[start as usize..end as usize])
    }

    /// The store's slot of a group, the record that the items are folded onto, and those items.
    pub(super) fn base(&self, items: &'f [u32]) -> (Option<u32>, &'f [u8], &'f [u32]) {
        let first = self.item(items[0]);
        match self.store.find(self.batch.bytes(first.key), first.hash) {
            Some(slot) => (Some(slot), self.store.record(slot), items),
            None => (None, self.batch.bytes(first.record), &items[1..]),
        }
    }

    /// Where in a merged record the group's key text stands, if it does; `None` where the merge
    /// has changed the key. `first` is any item of the group.
    pub(super) fn key_in(&self, first: u32, record: &[u8]) -> Option<Option<Place>> {
        let Some(keys) = self.keys else {
            return Some(None);
        };
        let (mut built, key) = (Vec::new(), self.key(first));
        match extract(self.merger.plan, keys, record, &[], &mut built) {
            Ok(KeyText::InRecord((start, end))) => {
                let same = record.get(start as usize..end as usize) == Some(key);
                same.then_some(Some((start, end)))
            }
            Ok(KeyText::Built) => (built == key).then_some(None),
            Err(_) => None,
        }
    }

    /// Whether the judge is to be asked about a merged record.
    pub(super) fn is_doubtful(&self, doubtful: bool, record: &[u8]) -> bool {
        self.keys.is_none()
            || (doubtful && check(self.merger.plan, record, 0, &mut []) != Some(record.len()))
    }

    /// Folds one group.
    fn group(
        &self,
        items: &'f [u32],
        out: &mut Batch,
        custom: &mut Custom<'_>,
        parts: &mut Vec<(usize, usize)>,
    ) -> Result<Done> {
        let (slot, base, rest) = self.base(items);
        let base_record = if slot.is_some() { Record::Kept } else { Record::Item(items[0]) };
        let mut done = Done { slot, record: base_record, doubtful: false, merged: 0, unchanged: 0 };
        match self.merger.strategy {
            Strategy::KeepExisting => done.unchanged = rest.len() as u32,
            Strategy::KeepIncoming => {
                let mut last = base;
                for &item in rest {
                    done.count(self.record(item) != last);
                    last = self.record(item);
                }
                if last != base {
                    done.record = Record::Item(rest[rest.len() - 1]);
                }
            }
            Strategy::MergeField { .. } => {
                let mut value = Value::Raw(base);
                for &item in rest {
                    let (record, unobserved) = (self.record(item), self.unobserved(item));
                    match observe(self.merger, &mut value, record, unobserved, custom, parts) {
                        Ok(Merged { changed, doubtful }) => {
                            done.count(changed);
                            done.doubtful |= doubtful;
                        }
                        Err(failure) => match *failure {
                            Failure::Conflict(_) => {
                                done.record = Record::Open;
                                return Ok(done);
                            }
                            Failure::Fatal(error) => return Err(error),
                        },
                    }
                }
                if done.merged > 0
                    && let Some(span) = build(out, base, |bytes| value.write(bytes))?
                {
                    let record = out.bytes(span);
                    done.doubtful = self.is_doubtful(done.doubtful, record);
                    done.record = match self.key_in(items[0], record) {
                        Some(key) => Record::Built(span, key),
                        None => Record::Open,
                    };
                }
            }
        }
        Ok(done)
    }
}

impl Done {
    pub(super) fn count(&mut self, changed: bool) {
        *(if changed { &mut self.merged } else { &mut self.unchanged }) += 1;
    }
}

/// Appends a record to the output, unless it is equal to what is there.
pub(super) fn build(
    out: &mut Batch,
    there: &[u8],
    write: impl FnOnce(&mut Vec<u8>) -> Result<()>,
) -> Result<Option<Span>> {
    let (chunk, bytes) = out.open_records()?;
    let start = bytes.len();
    write(bytes)?;
    if &bytes[start..] == there {
        bytes.truncate(start);
        return Ok(None);
    }
    let count = |bytes: usize| {
        u32::try_from(bytes).map_err(|_| Error::TooLarge { what: "a record holds at most 4 GiB" })
    };
    let (len, start) = (count(bytes.len() - start)?, count(start)?);
    append(bytes, b",\n")?;
    Ok(Some(Span { chunk, start, len }))
}
