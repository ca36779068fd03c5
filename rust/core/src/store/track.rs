//! What changed since somebody last asked: the vector index embeds only that.

use foldhash::fast::RandomState;
use hashbrown::HashSet;

use super::Store;
use crate::error::{Error, Result, reserve};

/// What changed since the last [`Store::take_changes`].
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Everything may have changed (a restore, a `clear`, too many removals to list); the lists
    /// are empty then.
    pub all: bool,
    /// The slots of entities that were inserted or updated, in insertion order. They are valid
    /// until the store is changed; a snapshot taken together with them keeps them valid.
    pub upserted: Vec<u32>,
    /// The keys that were removed and are not there again.
    pub removed: Vec<Vec<u8>>,
}

/// Collects changes in memory that the number of entities bounds.
#[derive(Debug, Clone, Default)]
pub(super) struct Tracker {
    all: bool,
    /// Slots, some of them several times or dead by now.
    upserted: Vec<u32>,
    /// How many there were when they were last sorted.
    sorted: usize,
    removed: HashSet<Vec<u8>, RandomState>,
}

impl Tracker {
    /// Makes room, so that noting cannot fail.
    pub fn reserve(&mut self, upserts: usize, removes: usize) -> Result<()> {
        reserve(&mut self.upserted, upserts)?;
        let bytes = removes.saturating_mul(size_of::<Vec<u8>>());
        self.removed.try_reserve(removes).map_err(|_| Error::OutOfMemory { bytes })
    }

    pub fn upsert(&mut self, slot: u32, key: &[u8]) {
        if !self.all {
            self.upserted.push(slot);
            self.removed.remove(key);
        }
    }

    pub fn remove(&mut self, key: Vec<u8>) {
        if !self.all {
            self.removed.insert(key);
        }
    }

    pub fn everything(&mut self) {
        *self = Tracker { all: true, ..Tracker::default() };
    }

    /// Gives every slot its new number; `u32::MAX` stands for none.
    pub fn renumber(&mut self, numbers: &[u32]) {
        self.upserted.retain_mut(|slot| {
            *slot = numbers[*slot as usize];
            *slot != u32::MAX
        });
        self.sorted = self.sorted.min(self.upserted.len());
    }

    /// Keeps what is noted within the size of the store, whose live slots `is_live` tells.
    pub fn tidy(&mut self, live: usize, is_live: impl Fn(u32) -> bool) {
        if self.upserted.len() > 2 * self.sorted + 1024 {
            self.sort(is_live);
        }
        // Keys that came and went again between two calls would pile up for ever.
        if self.removed.len() > live + 1024 {
            self.everything();
        }
    }

    fn sort(&mut self, is_live: impl Fn(u32) -> bool) {
        self.upserted.sort_unstable();
        self.upserted.dedup();
        self.upserted.retain(|&slot| is_live(slot));
        self.sorted = self.upserted.len();
    }
}

impl Store {
    /// Starts or stops noting what changes. What there is when it starts counts as changed.
    pub fn track_changes(&mut self, on: bool) {
        if on != self.tracker.is_some() {
            self.tracker = on.then(|| Tracker { all: true, ..Tracker::default() });
        }
    }

    /// What changed since the last call, `None` when that is not noted. Costs what changed.
    pub fn take_changes(&mut self) -> Option<Changed> {
        let mut taken = std::mem::take(self.tracker.as_mut()?);
        taken.sort(|slot| self.slots.is_live(slot));
        let removed = taken.removed.into_iter().collect();
        Some(Changed { all: taken.all, upserted: taken.upserted, removed })
    }

    pub(super) fn changed_all(&mut self) {
        if let Some(tracker) = &mut self.tracker {
            tracker.everything();
        }
    }
}
