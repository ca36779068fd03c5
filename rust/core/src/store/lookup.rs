//! Lookups: secondary indexes, from a value of each entity to the entities that have it.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::{Column, Store};
use crate::error::{Error, Result, reserve};

/// No value.
const NONE: u32 = u32::MAX;

/// Marks the place of a list of values.
const LISTED: u32 = 1 << 31;

/// From this many slots on, slots enter or leave a value all at once.
const MANY: usize = 8;

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
    /// The new values of slots.
    set: Vec<(u32, Held)>,
}

/// The values of a slot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Held {
    #[default]
    Nothing,
    One(u32),
    /// In order, without repetition.
    Many(Box<[u32]>),
}

impl Held {
    fn of(values: &[u32]) -> Result<Self> {
        Ok(match values {
            [] => Held::Nothing,
            [value] => Held::One(*value),
            _ => {
                let mut copy = Vec::new();
                reserve(&mut copy, values.len())?;
                copy.extend_from_slice(values);
                Held::Many(copy.into_boxed_slice())
            }
        })
    }
}

/// The values of all slots: a number each, and lists apart where a slot has several.
#[derive(Debug, Clone, Default)]
struct Values {
    /// [`NONE`], the number of a value, or [`LISTED`] plus a place in `lists`.
    of: Vec<u32>,
    lists: Vec<Box<[u32]>>,
    free: Vec<u32>,
}

impl Values {
    fn get(&self, slot: u32) -> &[u32] {
        match self.of.get(slot as usize) {
            None | Some(&NONE) => &[],
            Some(listed) if listed & LISTED != 0 => &self.lists[(listed & !LISTED) as usize],
            Some(value) => std::slice::from_ref(value),
        }
    }

    /// Makes room for `len` slots and this many more lists.
    fn reserve(&mut self, len: usize, lists: usize) -> Result<()> {
        let more = len.saturating_sub(self.of.len());
        reserve(&mut self.of, more)?;
        reserve(&mut self.lists, lists)?;
        // Room for the place of every list, so that one can always go.
        let more = self.lists.len() + lists - self.free.len();
        reserve(&mut self.free, more)
    }

    fn set(&mut self, slot: u32, held: Held) {
        let old = std::mem::replace(&mut self.of[slot as usize], NONE);
        if old != NONE && old & LISTED != 0 {
            let place = old & !LISTED;
            self.lists[place as usize] = Box::default();
            self.free.push(place);
        }
        self.of[slot as usize] = match held {
            Held::Nothing => NONE,
            Held::One(value) => value,
            Held::Many(list) => {
                let place = self.free.pop().unwrap_or(self.lists.len() as u32);
                match self.lists.get_mut(place as usize) {
                    Some(free) => *free = list,
                    None => self.lists.push(list),
                }
                place | LISTED
            }
        };
    }

    fn memory(&self) -> usize {
        let lists = self.lists.iter().map(|list| list.len() * size_of::<u32>());
        lists.sum::<usize>()
            + self.lists.capacity() * size_of::<Box<[u32]>>()
            + (self.of.capacity() + self.free.capacity()) * size_of::<u32>()
    }
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
    /// The values of each slot, so that a change needs no old record to be read again.
    held: Values,
}

impl Lookup {
    pub fn new(name: &str) -> Self {
        Lookup {
            name: name.to_owned(),
            hasher: RandomState::default(),
            table: HashTable::new(),
            values: Vec::new(),
            free: Vec::new(),
            held: Values::default(),
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
        reserve(&mut moves.enter, column.values())?;
        reserve(&mut moves.leave, column.len() + removes.len())?;
        reserve(&mut moves.set, column.len() + removes.len())?;
        let mut lists = 0;
        let mut values = Vec::new();
        for (slot, texts) in upserts.zip(column.iter()) {
            values.clear();
            for text in texts {
                reserve(&mut values, 1)?;
                values.push(self.number(text)?);
            }
            values.sort_unstable();
            values.dedup();
            if values == self.held.get(slot) {
                continue;
            }
            self.exchange(slot, &values, &mut moves)?;
            lists += usize::from(values.len() > 1);
        }
        for &slot in removes {
            if !self.held.get(slot).is_empty() {
                self.exchange(slot, &[], &mut moves)?;
            }
        }
        self.held.reserve(len, lists)?;
        moves.enter.sort_unstable();
        moves.leave.sort_unstable();
        for group in moves.enter.chunk_by(|a, b| a.value == b.value) {
            reserve(&mut self.values[group[0].value as usize].slots, group.len())?;
        }
        Ok(moves)
    }

    /// Notes that a slot gets these values, sorted, in the place of those that it has.
    fn exchange(&self, slot: u32, new: &[u32], moves: &mut Moves) -> Result<()> {
        let old = self.held.get(slot);
        let note = |list: &mut Vec<Move>, from: &[u32], but: &[u32]| {
            reserve(list, from.len())?;
            let goes = from.iter().filter(|value| but.binary_search(value).is_err());
            list.extend(goes.map(|&value| Move { value, slot }));
            Ok(())
        };
        note(&mut moves.enter, new, old)?;
        note(&mut moves.leave, old, new)?;
        moves.set.push((slot, Held::of(new)?));
        Ok(())
    }

    /// The number of a value. A new one has no slots yet, and if the change fails it waits,
    /// found by nobody, for its text to come again.
    fn number(&mut self, text: &[u8]) -> Result<u32> {
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
            if self.values.len() >= LISTED as usize {
                return Err(Error::TooLarge { what: "a lookup holds at most 2^31 values" });
            }
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
    pub fn commit(&mut self, moves: Moves, len: usize) {
        self.held.of.resize(len, NONE);
        for (slot, held) in moves.set {
            self.held.set(slot, held);
        }
        for group in moves.enter.chunk_by(|a, b| a.value == b.value) {
            self.values[group[0].value as usize].enter(group);
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

    /// The values of the slots under their new numbers, of which there are `live`; `u32::MAX`
    /// stands for none.
    pub fn renumbered(&self, numbers: &[u32], live: usize) -> Result<Vec<u32>> {
        let mut of = Vec::new();
        reserve(&mut of, live)?;
        of.resize(live, NONE);
        for (&old, &number) in self.held.of.iter().zip(numbers) {
            if number != u32::MAX {
                of[number as usize] = old;
            }
        }
        Ok(of)
    }

    /// Gives every slot its new number, with what [`Lookup::renumbered`] has made ready.
    pub fn renumber(&mut self, numbers: &[u32], of: Vec<u32>) {
        self.held.of = of;
        for value in &mut self.values {
            value.slots.iter_mut().for_each(|slot| *slot = numbers[*slot as usize]);
            if !value.slots.is_sorted() {
                value.slots.sort_unstable();
            }
        }
    }

    /// The memory that it takes, in bytes.
    pub fn memory(&self) -> usize {
        let values = self.values.iter().map(|v| v.text.capacity() + v.slots.capacity() * 4);
        values.sum::<usize>()
            + self.values.capacity() * size_of::<Value>()
            + self.free.capacity() * size_of::<u32>()
            + self.held.memory()
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
        lookup.commit(moves, self.slots.len());
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

    /// The names of the lookups in which an entity has a value.
    pub fn lookups_of(&self, slot: u32) -> impl Iterator<Item = &str> {
        let has_value = move |lookup: &&Lookup| !lookup.held.get(slot).is_empty();
        self.lookups.iter().filter(has_value).map(|lookup| &lookup.name[..])
    }

    /// The slots of the entities with a value, in insertion order; `None` without such a lookup.
    #[must_use]
    pub fn get_by_lookup(&self, name: &str, value: &[u8]) -> Option<&[u32]> {
        let lookup = self.lookups.iter().find(|lookup| lookup.name == name)?;
        Some(lookup.get(value))
    }
}
