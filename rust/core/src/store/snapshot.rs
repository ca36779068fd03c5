//! Snapshots: the store as it was at one moment, for readers and dumps.

use std::iter::FusedIterator;
use std::sync::Arc;

use super::arena::{self, SEPARATOR};
use super::slots::{Live, Slot, Slots};
use crate::batch::Span;
use crate::bytes::Bytes;

/// The store as it was when the snapshot was taken; nothing changes it.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub(super) chunks: Vec<Option<Arc<Bytes>>>,
    pub(super) slots: Slots,
}

/// One entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its slot.
    pub slot: u32,
    /// Its canonical record.
    pub record: &'a [u8],
    /// Its canonical key text.
    pub key: &'a [u8],
}

/// Records that stand one after the other as the file has them: `record,\nrecord`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run<'a> {
    /// The bytes, without a separator at either end.
    pub bytes: &'a [u8],
    /// How many records these are.
    pub records: usize,
}

impl Snapshot {
    /// The number of entities.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.live()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The record of a slot, empty where the entity is gone.
    ///
    /// # Panics
    /// If the store never had that slot.
    #[must_use]
    pub fn record(&self, slot: u32) -> &[u8] {
        arena::bytes(&self.chunks, self.slots.get(slot).record)
    }

    /// The canonical key text of a slot, empty where the entity is gone.
    ///
    /// # Panics
    /// If the store never had that slot.
    #[must_use]
    pub fn key(&self, slot: u32) -> &[u8] {
        arena::bytes(&self.chunks, self.slots.get(slot).key)
    }

    /// The entities in insertion order. `nth` and `skip` pass over whole segments.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter { snapshot: self, live: self.slots.iter() }
    }

    /// The records in insertion order, in runs as long as they stand together. Written with
    /// `,\n` between them they are what `memory.json` holds between its brackets.
    #[must_use]
    pub fn runs(&self) -> Runs<'_> {
        Runs { snapshot: self, live: self.slots.iter(), pending: None }
    }
}

impl<'a> IntoIterator for &'a Snapshot {
    type Item = Entry<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The entities of a [`Snapshot`], in insertion order.
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    snapshot: &'a Snapshot,
    live: Live<'a>,
}

impl<'a> Iter<'a> {
    fn entry(&self, (slot, at): (u32, &Slot)) -> Entry<'a> {
        let chunks = &self.snapshot.chunks;
        Entry { slot, record: arena::bytes(chunks, at.record), key: arena::bytes(chunks, at.key) }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        self.live.next().map(|slot| self.entry(slot))
    }

    fn nth(&mut self, n: usize) -> Option<Entry<'a>> {
        self.live.nth(n).map(|slot| self.entry(slot))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.live.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}
impl FusedIterator for Iter<'_> {}

/// The runs of a [`Snapshot`], in insertion order.
#[derive(Debug, Clone)]
pub struct Runs<'a> {
    snapshot: &'a Snapshot,
    live: Live<'a>,
    pending: Option<Span>,
}

impl<'a> Iterator for Runs<'a> {
    type Item = Run<'a>;

    fn next(&mut self) -> Option<Run<'a>> {
        let first = self.pending.take().or_else(|| Some(self.live.next()?.1.record))?;
        let chunk = self.snapshot.chunks[first.chunk as usize].as_deref()?;
        let mut run = first.range();
        let mut records = 1;
        for (_, slot) in self.live.by_ref() {
            let next = slot.record.range();
            if slot.record.chunk != first.chunk
                || next.start != run.end + SEPARATOR.len()
                || &chunk[run.end..next.start] != SEPARATOR
            {
                self.pending = Some(slot.record);
                break;
            }
            run.end = next.end;
            records += 1;
        }
        Some(Run { bytes: &chunk[run], records })
    }
}

impl FusedIterator for Runs<'_> {}
