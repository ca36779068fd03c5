//! The store: all entities in insertion order, found by key.
//!
//! Records and keys stand in the chunks of an arena; a slot says where an entity's record and
//! key are, and slots count up in insertion order; a hash table over slot numbers finds a key.
//! Chunks and segments of slots are `Arc`s, copied on write, so a [`Snapshot`] is a list of
//! them. Changes come as [`Changes`] and are applied whole or not at all.

mod apply;
mod arena;
mod column;
mod compact;
mod lookup;
mod slots;
mod snapshot;
mod track;

use std::mem;

use crate::error::{Result, reserve};
use crate::table::{Table, half};
use arena::Arena;
use lookup::Lookup;
use slots::Slots;
use track::Tracker;

pub use apply::Changes;
pub use column::Column;
pub use snapshot::{Entry, Iter, Run, Runs, Snapshot};
pub use track::Changed;

/// The key table grows at most by this factor where more is expected than is there.
const BOLD: usize = 8;

/// Entities in insertion order, found by key.
#[derive(Debug, Clone, Default)]
pub struct Store {
    arena: Arena,
    slots: Slots,
    table: Table,
    lookups: Vec<Lookup>,
    tracker: Option<Tracker>,
}

/// What a store keeps in memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryUse {
    /// Records and keys of the entities that are there.
    pub live: usize,
    /// All bytes of chunks, dead ones included.
    pub held: usize,
    /// Everything else: slots, key table, lookups, spare room.
    pub overhead: usize,
}

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Store::default()
    }

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

    /// The number of slots, those of entities that are gone included: the next insert's slot.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Whether an entity has this slot.
    #[must_use]
    pub fn is_live(&self, slot: u32) -> bool {
        self.slots.is_live(slot)
    }

    /// The record of a key, by the canonical key text and its hash.
    #[must_use]
    pub fn get(&self, key: &[u8], hash: u64) -> Option<&[u8]> {
        self.find(key, hash).map(|slot| self.record(slot))
    }

    /// The slot of a key. It stays valid until the store is changed.
    #[must_use]
    pub fn find(&self, key: &[u8], hash: u64) -> Option<u32> {
        self.table.find(half(hash), |slot| self.key(slot) == key)
    }

    /// Brings what [`Store::find`] needs for these hashes into the cache, all at a time.
    pub(crate) fn warm(&self, hashes: impl Iterator<Item = u64>) {
        self.table.warm(hashes.map(half));
    }

    /// The record of a slot, empty where the entity is gone.
    ///
    /// # Panics
    /// If the store never had that slot.
    #[must_use]
    pub fn record(&self, slot: u32) -> &[u8] {
        self.arena.bytes(self.slots.get(slot).record)
    }

    /// The canonical key text of a slot, empty where the entity is gone.
    ///
    /// # Panics
    /// If the store never had that slot.
    #[must_use]
    pub fn key(&self, slot: u32) -> &[u8] {
        self.arena.bytes(self.slots.get(slot).key)
    }

    /// The store as it is now: `O(n / 4096)`.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn snapshot(&self) -> Result<Snapshot> {
        let mut chunks = Vec::new();
        reserve(&mut chunks, self.arena.chunks.len())?;
        chunks.extend_from_slice(&self.arena.chunks);
        Ok(Snapshot { chunks, slots: self.slots.share()? })
    }

    /// Removes every entity.
    pub fn clear(&mut self) {
        *self = self.successor();
        self.changed_all();
    }

    /// Makes room for the keys of `more` entities: where that means a larger table, for those of
    /// `total` entities at once, as far as that is not too bold a guess.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn expect(&mut self, total: usize, more: usize) -> Result<()> {
        if self.table.room() >= more {
            return Ok(());
        }
        let most = BOLD * (self.table.len() + more);
        let more = total.min(most).saturating_sub(self.table.len()).max(more);
        self.table.reserve(more)
    }

    /// An empty store with the same lookups.
    fn successor(&self) -> Self {
        let lookups = self.lookups.iter().map(|lookup| Lookup::new(&lookup.name)).collect();
        let tracker = self.tracker.is_some().then(Tracker::default);
        Store { lookups, tracker, ..Store::default() }
    }

    /// What the store keeps in memory.
    #[must_use]
    pub fn memory(&self) -> MemoryUse {
        MemoryUse {
            live: self.arena.total,
            held: self.arena.held,
            overhead: self.arena.overhead()
                + self.slots.memory()
                + self.table.memory()
                + self.lookups.iter().map(Lookup::memory).sum::<usize>()
                + mem::size_of::<Store>(),
        }
    }
}
