//! Changes: applied whole, or not at all.

use super::Column;
use super::Store;
use super::arena::{Home, parts};
use super::lookup::Moves;
use super::slots::Slot;
use crate::batch::{Batch, Item, Span};
use crate::bytes::Bytes;
use crate::error::{Error, Result, reserve};
use crate::table::{BLOCK, half};

/// A change of at most this many bytes is copied to the open chunk, so that a million lone
/// records do not make a million chunks.
const SMALL: usize = 64 << 10;

/// What to change in a store: removals, updates in place, then inserts at the end.
///
/// Spans count in [`Changes::chunks`]; slots are what [`Store::find`] gave since the store was
/// last changed. A key that is removed cannot be inserted again by the same change.
#[derive(Debug, Default)]
pub struct Changes {
    /// The bytes of the new records and of keys that are not a part of theirs.
    pub chunks: Vec<Bytes>,
    /// New entities, in order.
    pub inserts: Vec<Item>,
    /// New records of entities that keep their place and their key.
    pub updates: Vec<(u32, Item)>,
    /// The slots of entities to remove.
    pub removes: Vec<u32>,
    /// Entities that take another place: before that slot. Inserts have slots too by then, those
    /// from [`Store::slots`] on.
    pub moves: Vec<(u32, u32)>,
    /// Whether the records that go are overwritten, and not only left to be compacted away. In
    /// chunks that a snapshot holds they stay as long as that does.
    pub erase: bool,
    /// For each lookup of the store, in order of creation: the values of [`Changes::items`].
    pub columns: Vec<Column>,
}

/// What [`Store::reserve`] found out for [`Store::commit`].
#[derive(Debug, Default)]
struct Ready {
    /// What happens in each lookup.
    moves: Vec<Moves>,
    /// The keys that go, if that is noted.
    removed: Vec<Vec<u8>>,
}

impl From<Batch> for Changes {
    /// Inserts everything.
    fn from(batch: Batch) -> Self {
        Changes { chunks: batch.chunks, inserts: batch.items, ..Changes::default() }
    }
}

impl Changes {
    /// The bytes of a span.
    ///
    /// # Panics
    /// If the span is not in [`Changes::chunks`].
    #[must_use]
    pub fn bytes(&self, span: Span) -> &[u8] {
        &self.chunks[span.chunk as usize][span.range()]
    }

    /// The items of inserts, then of updates.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.inserts.iter().chain(self.updates.iter().map(|(_, item)| item))
    }

    fn items_mut(&mut self) -> impl Iterator<Item = &mut Item> {
        self.inserts.iter_mut().chain(self.updates.iter_mut().map(|(_, item)| item))
    }

    /// Whether every span lies in a chunk.
    fn check(&self) -> Result<()> {
        if self.chunks.iter().any(|chunk| chunk.len() > u32::MAX as usize) {
            return Err(Error::TooLarge { what: "a chunk holds at most 4 GiB" });
        }
        let lies = |span: Span| {
            let chunk = self.chunks.get(span.chunk as usize);
            chunk.is_some_and(|chunk| span.range().end <= chunk.len())
        };
        if self.items().all(|item| lies(item.record) && lies(item.key)) {
            return Ok(());
        }
        Err(Error::Conflict { what: "a span reaches beyond its chunk" })
    }
}

impl Store {
    /// Applies a change whole, or not at all.
    ///
    /// # Errors
    /// [`Error::Duplicate`] for two inserts with one key, [`Error::Conflict`] for an insert
    /// whose key is there, an update or removal of what is not there, an update that changes
    /// the key, a span outside its chunk; [`Error::TooLarge`], [`Error::OutOfMemory`].
    pub fn apply(&mut self, mut changes: Changes) -> Result<()> {
        self.take(&mut changes)
    }

    /// Applies two changes to two stores, both whole or neither.
    ///
    /// # Errors
    /// As [`Store::apply`].
    pub fn apply_both(
        first: &mut Store,
        mut of_first: Changes,
        second: &mut Store,
        mut of_second: Changes,
    ) -> Result<()> {
        let ready = first.stage(&mut of_first)?;
        match second.stage(&mut of_second) {
            Ok(ready) => second.commit(&of_second, ready),
            Err(error) => {
                first.unstage(&of_first);
                return Err(error);
            }
        }
        first.commit(&of_first, ready);
        Ok(())
    }

    /// Applies a change; where it fails before anything is placed, the change is as it was.
    fn take(&mut self, changes: &mut Changes) -> Result<()> {
        let ready = self.stage(changes)?;
        self.commit(changes, ready);
        Ok(())
    }

    /// Does everything that can fail. Nothing of it shows before [`Store::commit`].
    fn stage(&mut self, changes: &mut Changes) -> Result<Ready> {
        self.check(changes)?;
        let ready = self.reserve(changes)?;
        self.link(changes)?;
        if let Err(error) = self.place(changes) {
            self.unlink(&changes.inserts);
            return Err(error);
        }
        Ok(ready)
    }

    /// Undoes [`Store::stage`].
    fn unstage(&mut self, changes: &Changes) {
        self.unlink(&changes.inserts);
        changes.items().for_each(|item| self.arena.release(item.record, item.key));
    }

    /// Drops everything and takes what the change inserts (a restore), or changes nothing.
    ///
    /// # Errors
    /// As [`Store::apply`].
    pub fn replace(&mut self, mut changes: Changes) -> Result<()> {
        self.successor().taken_over(&mut changes).map(|fresh| *self = fresh)
    }

    /// The store that would replace this one, or the change as it was where two of its items have
    /// the same key, so that they can be merged. It must have a value for each item in each lookup.
    ///
    /// # Errors
    /// As [`Store::apply`], [`Error::Duplicate`] apart.
    pub fn prepare(&self, mut changes: Changes) -> Result<std::result::Result<Store, Changes>> {
        match self.successor().taken_over(&mut changes) {
            Ok(fresh) => Ok(Ok(fresh)),
            Err(Error::Duplicate { .. }) => Ok(Err(changes)),
            Err(error) => Err(error),
        }
    }

    fn taken_over(mut self, changes: &mut Changes) -> Result<Self> {
        self.take(changes)?;
        self.changed_all();
        Ok(self)
    }

    /// Makes this store, which has its lookups already, one that would replace the other.
    #[must_use]
    pub fn succeeding(mut self, other: &Store) -> Self {
        self.tracker = other.tracker.is_some().then(Default::default);
        self.changed_all();
        self
    }

    /// Whether the change fits.
    fn check(&self, changes: &Changes) -> Result<()> {
        changes.check()?;
        for (slot, item) in &changes.updates {
            if !self.slots.is_live(*slot) {
                return Err(Error::Conflict { what: "an update of an entity that is not there" });
            }
            let same = self.slots.get(*slot).hash == half(item.hash);
            if !same || self.key(*slot) != changes.bytes(item.key) {
                return Err(Error::Conflict { what: "an update changes the key" });
            }
        }
        let moves = |&(slot, _): &(u32, u32)| self.slots.is_live(slot);
        if !changes.moves.iter().all(moves) {
            return Err(Error::Conflict { what: "a move of an entity that is not there" });
        }
        if !changes.removes.iter().all(|&slot| self.slots.is_live(slot)) {
            return Err(Error::Conflict { what: "a removal of an entity that is not there" });
        }
        let mut slots = Vec::new();
        reserve(&mut slots, changes.updates.len() + changes.removes.len())?;
        slots.extend(
            changes.updates.iter().map(|(slot, _)| *slot).chain(changes.removes.iter().copied()),
        );
        slots.sort_unstable();
        if !slots.is_sorted_by(|a, b| a < b) {
            return Err(Error::Conflict { what: "an entity is changed twice" });
        }
        let items = changes.inserts.len() + changes.updates.len();
        let columns = &changes.columns;
        if columns.len() != self.lookups.len() || columns.iter().any(|c| c.len() != items) {
            return Err(Error::Conflict { what: "every lookup needs a value for each item" });
        }
        Ok(())
    }

    /// Makes room for everything but the bytes.
    fn reserve(&mut self, changes: &Changes) -> Result<Ready> {
        for slot in changes.updates.iter().map(|(slot, _)| slot).chain(&changes.removes) {
            self.slots.own(*slot)?;
        }
        let inserts = changes.inserts.len();
        self.slots.reserve(inserts)?;
        self.table.reserve(inserts)?;
        let mut ready = Ready::default();
        reserve(&mut ready.moves, self.lookups.len())?;
        let first = self.slots.len();
        let slots = (first..first + inserts).map(|slot| slot as u32);
        let slots = slots.chain(changes.updates.iter().map(|(slot, _)| *slot));
        for (lookup, column) in self.lookups.iter_mut().zip(&changes.columns) {
            let (slots, removes) = (slots.clone(), &changes.removes);
            ready.moves.push(lookup.prepare(slots, column, removes, first + inserts)?);
        }
        if let Some(tracker) = &mut self.tracker {
            tracker.reserve(inserts + changes.updates.len(), changes.removes.len())?;
            reserve(&mut ready.removed, changes.removes.len())?;
            for &slot in &changes.removes {
                let mut key = Vec::new();
                reserve(&mut key, self.slots.get(slot).key.len as usize)?;
                key.extend_from_slice(self.arena.bytes(self.slots.get(slot).key));
                ready.removed.push(key);
            }
        }
        Ok(ready)
    }

    /// Enters the keys of the inserts into the table.
    fn link(&mut self, changes: &Changes) -> Result<()> {
        let (slots, arena, first) = (&self.slots, &self.arena, self.slots.len());
        let inserts = &changes.inserts;
        let key_of = |slot: u32| match (slot as usize).checked_sub(first) {
            Some(index) => changes.bytes(inserts[index].key),
            None => arena.bytes(slots.get(slot).key),
        };
        let mut index = 0;
        for block in inserts.chunks(BLOCK) {
            self.table.warm(block.iter().map(|item| half(item.hash)));
            for item in block {
                let same = |slot| key_of(slot) == changes.bytes(item.key);
                if let Some(there) = self.table.enter(half(item.hash), (first + index) as u32, same)
                {
                    self.unlink(&inserts[..index]);
                    return Err(match (there as usize).checked_sub(first) {
                        Some(other) => Error::Duplicate { first: other, second: index },
                        None => Error::Conflict { what: "an inserted key is there already" },
                    });
                }
                index += 1;
            }
        }
        Ok(())
    }

    /// Takes the keys of inserts out of the table again.
    fn unlink(&mut self, inserts: &[Item]) {
        for (index, item) in inserts.iter().enumerate() {
            self.table.remove(half(item.hash), (self.slots.len() + index) as u32);
        }
    }

    /// Brings the bytes into the arena and makes the items' spans point there.
    fn place(&mut self, changes: &mut Changes) -> Result<()> {
        let placed = self.try_place(changes);
        if placed.is_ok() {
            changes.items().for_each(|item| self.arena.charge(item.record, item.key));
        } else {
            self.arena.sweep();
        }
        placed
    }

    fn try_place(&mut self, changes: &mut Changes) -> Result<()> {
        let mut chunks = std::mem::take(&mut changes.chunks);
        let mut needed = Vec::new();
        reserve(&mut needed, chunks.len())?;
        needed.resize(chunks.len(), [0; 2]);
        let mut upcoming = [0; 2];
        for (kind, span) in changes.items().flat_map(|item| parts(item.record, item.key)) {
            needed[span.chunk as usize][kind as usize] += kind.weight(span);
            upcoming[kind as usize] += kind.weight(span);
        }
        let mut homes = Vec::new();
        reserve(&mut homes, chunks.len())?;
        let small = upcoming[0] + upcoming[1] <= SMALL;
        for (chunk, [records, keys]) in chunks.iter_mut().zip(needed) {
            // A chunk comes as it is when at least three quarters of its memory are live.
            let used = records + keys;
            if small || used == 0 || used.saturating_mul(4) < chunk.capacity().saturating_mul(3) {
                homes.push(None);
                continue;
            }
            homes.push(Some(self.arena.adopt(std::mem::take(chunk))?));
            upcoming = [upcoming[0] - records, upcoming[1] - keys];
        }
        let home = |chunk: u32| match homes[chunk as usize] {
            Some(number) => Home::At(number),
            None => Home::Copy(&chunks[chunk as usize]),
        };
        for item in changes.items_mut() {
            (item.record, item.key) =
                self.arena.settle(item.record, item.key, home, &mut upcoming)?;
        }
        Ok(())
    }

    /// Does what was made ready; nothing here fails.
    fn commit(&mut self, changes: &Changes, ready: Ready) {
        for (slot, item) in &changes.updates {
            let old = std::mem::replace(self.slots.get_mut(*slot), Slot::new(item));
            if changes.erase {
                self.arena.erase(old.record, old.key);
            }
            self.arena.release(old.record, old.key);
        }
        for &slot in &changes.removes {
            let old = *self.slots.get(slot);
            self.table.remove(old.hash, slot);
            self.slots.bury(slot);
            if changes.erase {
                self.arena.erase(old.record, old.key);
            }
            self.arena.release(old.record, old.key);
        }
        let first = self.slots.len() as u32;
        self.slots.extend(changes.inserts.iter().map(Slot::new));
        for (lookup, moves) in self.lookups.iter_mut().zip(ready.moves) {
            lookup.commit(moves, self.slots.len());
        }
        if let Some(tracker) = &mut self.tracker {
            let updated = changes.updates.iter().map(|(slot, _)| *slot);
            for slot in updated.chain(first..self.slots.len() as u32) {
                tracker.upsert(slot, self.arena.bytes(self.slots.get(slot).key));
            }
            ready.removed.into_iter().for_each(|key| tracker.remove(key));
        }
        self.tidy(&changes.moves);
    }
}
