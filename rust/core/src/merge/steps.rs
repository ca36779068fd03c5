//! The groups of a fold that need a second look: some item failed, or the result is doubtful.

use super::fold::Failed;
use super::run::{Done, Fold, KeyIn, Record, build};
use super::value::append;
use super::{Custom, Judge, merge_pair};
use crate::batch::Batch;
use crate::error::{Error, Result, reserve};

/// The calling thread's part of a fold.
pub(super) struct Steps<'s, 'f, 'c> {
    pub(super) fold: &'s Fold<'f>,
    pub(super) custom: &'s mut Custom<'c>,
    pub(super) judge: Option<&'s mut Judge<'c>>,
    pub(super) failed: Vec<Failed>,
}

impl<'f> Steps<'_, 'f, '_> {
    /// Settles what a thread had to leave open: asks the judge, or folds item by item.
    pub(super) fn settle(
        &mut self,
        items: &'f [u32],
        done: &mut Done,
        out: &mut Batch,
    ) -> Result<()> {
        match done.record {
            Record::Open => self.step(items, done, out),
            Record::Built(span, _) if done.doubtful => match self.ask(items, out.bytes(span)) {
                Ok(judged) if judged == out.bytes(span) => Ok(()),
                Ok(judged) => self.place(items, done, out, &judged),
                Err(Error::Merge { .. }) => self.step(items, done, out),
                Err(error) => Err(error),
            },
            _ => Ok(()),
        }
    }

    /// Merges the items one at a time and leaves out those that fail.
    fn step(&mut self, items: &'f [u32], done: &mut Done, out: &mut Batch) -> Result<()> {
        let (_, base, rest) = self.fold.base(items);
        (done.merged, done.unchanged) = (0, 0);
        let mut existing = base.to_vec();
        for &item in rest {
            match self.pair(items, &existing, item) {
                Ok(merged) => {
                    done.count(merged != existing);
                    existing = merged;
                }
                Err(Error::Merge { what, .. }) => {
                    reserve(&mut self.failed, 1)?;
                    let existing = existing.clone().into_boxed_slice();
                    self.failed.push(Failed { item: item as usize, existing, what });
                }
                Err(error) => return Err(error),
            }
        }
        self.place(items, done, out, &existing)
    }

    /// Merges one item into a record.
    fn pair(&mut self, items: &[u32], existing: &[u8], item: u32) -> Result<Vec<u8>> {
        let Fold { merger, .. } = *self.fold;
        let (incoming, unobserved) = (self.fold.record(item), self.fold.unobserved(item));
        let mut out = Vec::new();
        let custom = Some(&mut *self.custom);
        let merged = merge_pair(merger, existing, incoming, unobserved, custom, &mut out)?;
        let key = self.fold.key_in(items[0], &out);
        if merged.changed && self.fold.is_doubtful(merged.doubtful, key, &out) {
            return self.ask(items, &out);
        }
        self.keyed(items, out)
    }

    /// What the judge makes of a doubtful record.
    fn ask(&mut self, items: &[u32], record: &[u8]) -> Result<Vec<u8>> {
        let mut judged = Vec::new();
        match &mut self.judge {
            Some(judge) => judge(self.fold.key(items[0]), record, &mut judged)?,
            None => append(&mut judged, record)?,
        }
        self.keyed(items, judged)
    }

    /// The record, if its key is still the group's.
    fn keyed(&self, items: &[u32], record: Vec<u8>) -> Result<Vec<u8>> {
        match self.fold.key_in(items[0], &record) {
            KeyIn::Changed => {
                Err(Error::Merge { item: 0, what: "the merge changes the key".into() })
            }
            _ => Ok(record),
        }
    }

    /// Makes a record the group's result.
    fn place(
        &self,
        items: &'f [u32],
        done: &mut Done,
        out: &mut Batch,
        record: &[u8],
    ) -> Result<()> {
        let (_, base, _) = self.fold.base(items);
        done.record = match (build(out, base, |bytes| append(bytes, record))?, done.slot) {
            (Some(span), _) => Record::Built(span, self.fold.key_in(items[0], out.bytes(span))),
            (None, Some(_)) => Record::Kept,
            (None, None) => Record::Item(items[0]),
        };
        Ok(())
    }
}
