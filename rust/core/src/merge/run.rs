//! The groups of a fold, spread over threads.

use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use super::groups::Groups;
use super::value::{Value, append};
use super::{Custom, Failure, Merged, Merger, Strategy, Unobserved, missing, observe};
use crate::batch::{Batch, Item, Span};
use crate::check::{Place, check};
use crate::error::{Error, Progress, Result, reserve};
use crate::key::{KeyFault, KeyPlan, KeyText, extract};
use crate::store::Store;

/// Progress is told after this many bytes of records.
const STRIDE: u64 = 1 << 20;

/// A fold under way.
pub(super) struct Fold<'f> {
    pub(super) merger: &'f Merger<'f>,
    pub(super) store: &'f Store,
    pub(super) batch: &'f Batch,
    pub(super) groups: &'f Groups,
    pub(super) keys: Option<&'f KeyPlan>,
    pub(super) defaults_unset: bool,
    pub(super) pace: Pace,
}

/// How far the threads have come, and whether they shall stop.
#[derive(Default)]
pub(super) struct Pace {
    bytes: AtomicU64,
    records: AtomicU64,
    stop: AtomicBool,
}

/// What one thread has folded.
pub(super) struct Run {
    /// The first of its groups.
    pub(super) first: usize,
    /// Its groups, in order.
    pub(super) done: Vec<Done>,
    /// The records that were built.
    pub(super) out: Batch,
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
    /// A new one, in the output of the run.
    Built(Span, KeyIn),
    /// Some item could not be merged: to be done again, item by item.
    Open,
}

/// The key text of a merged record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyIn {
    /// It stands in the record, at this place.
    At(Place),
    /// It is the group's, and no part of the record.
    Apart,
    /// Only the model tells.
    Unknown,
    /// It is another one.
    Changed,
}

impl<'f> Fold<'f> {
    /// Folds all groups, on so many threads; where one cannot be started, this one does its part.
    pub(super) fn runs(
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

    /// What a merged record tells of its key. `first` is any item of the group.
    pub(super) fn key_in(&self, first: u32, record: &[u8]) -> KeyIn {
        let Some(keys) = self.keys else { return KeyIn::Unknown };
        let (mut built, key) = (Vec::new(), self.key(first));
        match extract(self.merger.plan, keys, record, &[], &mut built) {
            Ok(KeyText::InRecord(place)) => {
                let found = record.get(place.0 as usize..place.1 as usize);
                if found == Some(key) { KeyIn::At(place) } else { KeyIn::Changed }
            }
            Ok(KeyText::Built) if built == key => KeyIn::Apart,
            Err(KeyFault::Unsupported) => KeyIn::Unknown,
            Ok(KeyText::Built) | Err(KeyFault::Null) => KeyIn::Changed,
        }
    }

    /// Whether the judge is to be asked about a merged record.
    pub(super) fn is_doubtful(&self, doubtful: bool, key: KeyIn, record: &[u8]) -> bool {
        let accepted = || check(self.merger.plan, record, 0, &mut []) == Some(record.len());
        key == KeyIn::Unknown || (doubtful && !accepted())
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
                    let key = self.key_in(items[0], record);
                    done.doubtful = self.is_doubtful(done.doubtful, key, record);
                    done.record = match key {
                        KeyIn::Changed => Record::Open,
                        key => Record::Built(span, key),
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
    let (Ok(len), Ok(from)) = (u32::try_from(bytes.len() - start), u32::try_from(start)) else {
        bytes.truncate(start);
        return Err(Error::Merge { item: 0, what: "the merged record has over 4 GiB".into() });
    };
    append(bytes, b",\n")?;
    Ok(Some(Span { chunk, start: from, len }))
}
