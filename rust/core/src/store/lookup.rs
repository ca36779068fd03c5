//! Lookups: secondary indexes, from a value of each entity to the entities that have it.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::Store;
use crate::error::{Error, Result, reserve};

/// No value.
const NONE: u32 = u32::MAX;

/// From this many slots on, slots enter or leave a value all at once.
const MANY: usize = 8;

/// The lookup values of some entities, one canonical text each; an empty one is no value.
#[derive(Debug, Default)]
pub struct Column {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Column {
    /// Appends the value of the next entity.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn push(&mut self, text: &[u8]) -> Result<()> {
        reserve(&mut self.bytes, text.len())?;
        reserve(&mut self.ends, 1)?;
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
        Ok(())
    }

    /// The number of entities.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The values in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.bytes[start..end])
    }
}

/// A value and the slots that have it, in order.
#[derive(Debug, Clone, Default)]
struct Value {
    text: Vec<u8>,
    slots: Vec<u32>,
}

impl Value {
    /// Adds slots, in order, for which there is room.
    fn enter(&mut self, slots: &[Move]) {
        let at_end = self.slots.last().is_none_or(|&last| last < slots[0].slot);
        if at_end || slots.len() >= MANY {
            self.slots.extend(slots.iter().map(|entry| entry.slot));
            if !at_end {
                self.slots.sort_unstable();
            }
            return;
        }
        for entry in slots {
            if let Err(place) = self.slots.binary_search(&entry.slot) {
                self.slots.insert(place, entry.slot);
            }
        }
    }

    /// Takes slots, in order, out.
    fn leave(&mut self, slots: &[Move]) {
        if slots.len() >= MANY {
            let mut slots = slots.iter().map(|entry| entry.slot).peekable();
            self.slots.retain(|&slot| slots.next_if_eq(&slot).is_none());
            return;
        }
        for entry in slots {
            if let Ok(place) = self.slots.binary_search(&entry.slot) {
                self.slots.remove(place);
            }
        }
    }
}

/// A slot that enters or leaves a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Move {
    value: u32,
    slot: u32,
}

/// What a change does to a lookup, made ready so that it cannot fail.
#[derive(Debug, Clone, Default)]
pub(super) struct Moves {
    enter: Vec<Move>,
    leave: Vec<Move>,
}

/// A secondary index.
#[derive(Debug, Clone)]
pub(super) struct Lookup {
    pub name: String,
    hasher: RandomState,
    /// Over the numbers of values, by text.
    table: HashTable<u32>,
    /// A value without slots is not in use, and its number is free.
    values: Vec<Value>,
    free: Vec<u32>,
    /// The value of each slot, so that a change needs no old record to be read again.
    of: Vec<u32>,
}

impl Lookup {
    pub fn new(name: &str) -> Self {
        Lookup {
            name: name.to_owned(),
            hasher: RandomState::default(),
            table: HashTable::new(),
            values: Vec::new(),
            free: Vec::new(),
            of: Vec::new(),
        }
    }

    /// The slots that have a value, in order.
    pub fn get(&self, text: &[u8]) -> &[u32] {
        self.find(text).map_or(&[], |value| &self.values[value as usize].slots)
    }

    fn find(&self, text: &[u8]) -> Option<u32> {
        let same = |&value: &u32| self.values[value as usize].text == text;
        self.table.find(self.hasher.hash_one(text), same).copied()
    }

    /// Makes ready that the `upserts` get the values of a column and the `removes` none, where
    /// the store will have `len` slots.
    pub fn prepare(
        &mut self,
        upserts: impl Iterator<Item = u32>,
        column: &Column,
        removes: &[u32],
        len: usize,
    ) -> Result<Moves> {
        let mut moves = Moves::default();
        reserve(&mut moves.enter, column.len())?;
        reserve(&mut moves.leave, column.len() + removes.len())?;
        let more = len.saturating_sub(self.of.len());
        reserve(&mut self.of, more)?;
        for (slot, text) in upserts.zip(column.iter()) {
            let (old, new) = (self.value_of(slot), self.number(text)?);
            if old == new {
                continue;
            }
            for (list, value) in [(&mut moves.enter, new), (&mut moves.leave, old)] {
                if value != NONE {
                    list.push(Move { value, slot });
                }
            }
        }
        for &slot in removes {
            let value = self.value_of(slot);
            if value != NONE {
                moves.leave.push(Move { value, slot });
            }
        }
        moves.enter.sort_unstable();
        moves.leave.sort_unstable();
        for group in moves.enter.chunk_by(|a, b| a.value == b.value) {
            reserve(&mut self.values[group[0].value as usize].slots, group.len())?;
        }
        Ok(moves)
    }

    fn value_of(&self, slot: u32) -> u32 {
        self.of.get(slot as usize).copied().unwrap_or(NONE)
    }

    /// The number of a value. A new one has no slots yet, and if the change fails it waits,
    /// found by nobody, for its text to come again.
    fn number(&mut self, text: &[u8]) -> Result<u32> {
        if text.is_empty() {
            return Ok(NONE);
        }
        if let Some(value) = self.find(text) {
            return Ok(value);
        }
        let (values, hasher) = (&self.values, &self.hasher);
        let rehash = |&value: &u32| hasher.hash_one(&values[value as usize].text[..]);
        let bytes = size_of::<Value>();
        self.table.try_reserve(1, rehash).map_err(|_| Error::OutOfMemory { bytes })?;
        let mut copy = Vec::new();
        reserve(&mut copy, text.len())?;
        copy.extend_from_slice(text);
        if self.free.is_empty() {
            reserve(&mut self.values, 1)?;
            // Room for the number of every value, so that a value can always go.
            let more = self.values.len() + 1;
            reserve(&mut self.free, more)?;
            self.free.push(self.values.len() as u32);
            self.values.push(Value::default());
        }
        let value = self.free.pop().unwrap_or_default();
        self.values[value as usize].text = copy;
        let values = &self.values;
        let rehash = |&value: &u32| self.hasher.hash_one(&values[value as usize].text[..]);
        self.table.insert_unique(self.hasher.hash_one(text), value, rehash);
        Ok(value)
    }

    /// Does what was made ready.
    pub fn commit(&mut self, moves: &Moves, len: usize) {
        self.of.resize(len, NONE);
        for entry in &moves.leave {
            self.of[entry.slot as usize] = NONE;
        }
        for group in moves.enter.chunk_by(|a, b| a.value == b.value) {
            self.values[group[0].value as usize].enter(group);
            group.iter().for_each(|entry| self.of[entry.slot as usize] = entry.value);
        }
        for group in moves.leave.chunk_by(|a, b| a.value == b.value) {
            let number = group[0].value;
            let value = &mut self.values[number as usize];
            value.leave(group);
            if value.slots.is_empty() {
                let text = std::mem::take(value).text;
                let entry =
                    self.table.find_entry(self.hasher.hash_one(&text[..]), |&v| v == number);
                if let Ok(entry) = entry {
                    entry.remove();
                    self.free.push(number);
                }
            }
        }
    }

    /// Gives every slot its new number; `u32::MAX` stands for none.
    pub fn renumber(&mut self, numbers: &[u32]) {
        for value in &mut self.values {
            value.slots.iter_mut().for_each(|slot| *slot = numbers[*slot as usize]);
        }
        let mut old = numbers.iter();
        self.of.retain(|_| old.next().is_some_and(|&number| number != u32::MAX));
    }

    /// The memory that it takes, in bytes.
    pub fn memory(&self) -> usize {
        let values = self.values.iter().map(|v| v.text.capacity() + v.slots.capacity() * 4);
        values.sum::<usize>()
            + self.values.capacity() * size_of::<Value>()
            + (self.free.capacity() + self.of.capacity()) * size_of::<u32>()
            + self.table.allocation_size()
    }
}

impl Store {
    /// Creates a lookup over the entities that are there; `column` has their values, in order.
    /// From then on, [`super::Changes::columns`] brings the values of what changes.
    ///
    /// # Errors
    /// [`Error::Conflict`] if a lookup of this name exists or the column is not as long as the
    /// store; [`Error::OutOfMemory`].
    pub fn create_lookup(&mut self, name: &str, column: &Column) -> Result<()> {
        if self.lookups().any(|other| other == name) {
            return Err(Error::Conflict { what: "a lookup of this name exists" });
        }
        if column.len() != self.len() {
            return Err(Error::Conflict { what: "a lookup needs one value for each entity" });
        }
        reserve(&mut self.lookups, 1)?;
        let mut lookup = Lookup::new(name);
        let slots = self.slots.iter().map(|(slot, _)| slot);
        let moves = lookup.prepare(slots, column, &[], self.slots.len())?;
        lookup.commit(&moves, self.slots.len());
        self.lookups.push(lookup);
        Ok(())
    }

    /// Drops a lookup; false if there is none of this name.
    pub fn drop_lookup(&mut self, name: &str) -> bool {
        let before = self.lookups.len();
        self.lookups.retain(|lookup| lookup.name != name);
        self.lookups.len() < before
    }

    /// The names of the lookups, in order of creation.
    pub fn lookups(&self) -> impl ExactSizeIterator<Item = &str> {
        self.lookups.iter().map(|lookup| &lookup.name[..])
    }

    /// The slots of the entities with a value, in insertion order; `None` without such a lookup.
    #[must_use]
    pub fn get_by_lookup(&self, name: &str, value: &[u8]) -> Option<&[u32]> {
        let lookup = self.lookups.iter().find(|lookup| lookup.name == name)?;
        Some(lookup.get(value))
    }
}
