//! The key table: numbers of entities, found by the hashes of their keys.
//!
//! Linear probing in groups of eight (Knuth, The Art of Computer Programming 3, 6.4, on buckets). A
//! group is a line of the cache, and holds half of each hash beside the number, so that the key of
//! another half is never looked at: with 10,000,000 keys one search in 800 looks at two keys, with
//! 600,000,000 one in 14. The place of a hash is its share of the table: hashes keep their order, so that
//! the table may have any size, and is enlarged from front to back, without a jump in memory and
//! without asking anybody for a hash.

use std::hint::black_box;

use wide::u32x8;

use crate::error::{Error, Result};

/// As many keys are warmed and then entered: their groups stay in the first level of the cache.
pub(crate) const BLOCK: usize = 64;

/// A place with this number is free.
const FREE: u32 = u32::MAX;

const WIDTH: usize = 8;

/// So many places of each group may be taken, on average.
const LOAD: usize = 7;

/// Eight places, of which the first ones are taken.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Group {
    hashes: [u32; WIDTH],
    numbers: [u32; WIDTH],
}

/// Numbers below 2^32 - 1 by hashes. Where a group is full, what belongs there goes on to the next.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    groups: Vec<Group>,
    len: usize,
}

/// The half of a hash that a table uses.
pub(crate) fn half(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// A bit for each lane with this value.
fn lanes(lanes: [u32; WIDTH], value: u32) -> u32 {
    u32x8::new(lanes).simd_eq(u32x8::splat(value)).to_bitmask()
}

impl Group {
    const EMPTY: Group = Group { hashes: [0; WIDTH], numbers: [FREE; WIDTH] };

    fn is_full(&self) -> bool {
        self.numbers[WIDTH - 1] != FREE
    }

    /// The number of this hash that is the `same`.
    fn find(&self, hash: u32, same: &mut impl FnMut(u32) -> bool) -> Option<u32> {
        let mut hits = lanes(self.hashes, hash);
        while hits != 0 {
            let number = self.numbers[hits.trailing_zeros() as usize];
            if number != FREE && same(number) {
                return Some(number);
            }
            hits &= hits - 1;
        }
        None
    }

    /// Takes out what is at this place.
    fn remove(&mut self, place: usize) {
        let taken = self.numbers.iter().take_while(|&&number| number != FREE).count();
        self.hashes[place] = self.hashes[taken - 1];
        self.numbers[place] = self.numbers[taken - 1];
        self.numbers[taken - 1] = FREE;
    }
}

impl Table {
    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// How many more can be entered before the table must be enlarged.
    pub fn room(&self) -> usize {
        self.groups.len() * LOAD - self.len
    }

    /// The memory that it takes, in bytes.
    pub fn memory(&self) -> usize {
        self.groups.capacity() * size_of::<Group>()
    }

    /// Makes room for this many more. Where that means a larger table, it is larger by half at least,
    /// so that one at a time takes constant time on average.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; then the table is as it was.
    pub fn reserve(&mut self, more: usize) -> Result<()> {
        if more <= self.room() {
            return Ok(());
        }
        let old = self.groups.len();
        let size = self.len.saturating_add(more).div_ceil(LOAD).max(old + old / 2);
        let mut groups = Vec::new();
        groups
            .try_reserve_exact(size)
            .map_err(|_| Error::OutOfMemory { bytes: size.saturating_mul(size_of::<Group>()) })?;
        groups.resize(size, Group::EMPTY);
        let old = std::mem::replace(self, Table { groups, len: 0 });
        for group in &old.groups {
            for (&hash, &number) in group.hashes.iter().zip(&group.numbers) {
                if number != FREE {
                    self.enter(hash, number, |_| false);
                }
            }
        }
        Ok(())
    }

    /// Brings the groups of hashes that are looked up next into the cache, all at a time: one after
    /// the other, each would wait for memory.
    pub fn warm(&self, hashes: impl Iterator<Item = u32>) {
        let groups = hashes.filter_map(|hash| self.groups.get(self.home(hash)));
        black_box(groups.fold(0, |all, group| all ^ group.numbers[0]));
    }

    /// The number of this hash that is the `same`.
    pub fn find(&self, hash: u32, mut same: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut at = self.home(hash);
        loop {
            let group = self.groups.get(at)?;
            let found = group.find(hash, &mut same);
            if found.is_some() || !group.is_full() {
                return found;
            }
            at = self.after(at);
        }
    }

    /// Enters a number, or gives the one of this hash that is the `same`.
    ///
    /// # Panics
    /// If there is no room.
    pub fn enter(
        &mut self,
        hash: u32,
        number: u32,
        mut same: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        assert!(self.room() > 0, "room is made before");
        let mut at = self.home(hash);
        loop {
            let group = &mut self.groups[at];
            let found = group.find(hash, &mut same);
            if found.is_some() {
                return found;
            }
            let free = lanes(group.numbers, FREE).trailing_zeros() as usize;
            if free < WIDTH {
                group.hashes[free] = hash;
                group.numbers[free] = number;
                self.len += 1;
                return None;
            }
            at = self.after(at);
        }
    }

    /// Takes a number out, if it is there.
    pub fn remove(&mut self, hash: u32, number: u32) {
        let mut at = self.home(hash);
        let mut place = loop {
            let Some(group) = self.groups.get(at) else { return };
            if let Some(place) = group.numbers.iter().position(|&other| other == number) {
                break place;
            }
            if !group.is_full() {
                return;
            }
            at = self.after(at);
        };
        // A full group lets searches go on to the next ones: what stands there and belongs here, or
        // before, takes the place, and leaves one in its turn.
        while let Some((from, other)) = self.passed(at) {
            let group = self.groups[from];
            self.groups[at].hashes[place] = group.hashes[other];
            self.groups[at].numbers[place] = group.numbers[other];
            (at, place) = (from, other);
        }
        self.groups[at].remove(place);
        self.len -= 1;
    }

    /// Where something stands whose search passes this group.
    fn passed(&self, at: usize) -> Option<(usize, usize)> {
        let mut from = at;
        while self.groups[from].is_full() {
            from = self.after(from);
            let group = &self.groups[from];
            let place = group.hashes.iter().zip(&group.numbers).position(|(&hash, &number)| {
                number != FREE && self.steps(self.home(hash), from) >= self.steps(at, from)
            });
            if let Some(place) = place {
                return Some((from, place));
            }
        }
        None
    }

    /// Where a hash is looked for first.
    fn home(&self, hash: u32) -> usize {
        ((u128::from(hash) * self.groups.len() as u128) >> 32) as usize
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 == self.groups.len() { 0 } else { at + 1 }
    }

    /// How many steps it is from one group to another.
    fn steps(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.groups.len() - from }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few hashes, some of them at the end of the table, make long chains that wrap around.
        #[test]
        fn it_behaves_like_a_set(steps in prop::collection::vec((any::<bool>(), 0u32..40), 0..400)) {
            const HASHES: [u32; 6] = [0, 1, 1 << 20, 1 << 31, u32::MAX - 1, u32::MAX];
            let hash = |number: u32| HASHES[number as usize % 6];
            let mut table = Table::default();
            let mut model = HashSet::new();
            for (enters, number) in steps {
                if enters {
                    table.reserve(1).unwrap();
                    let there = table.enter(hash(number), number, |other| other == number);
                    prop_assert_eq!(there.is_none(), model.insert(number));
                } else {
                    table.remove(hash(number), number);
                    model.remove(&number);
                }
                prop_assert_eq!(table.len(), model.len());
                for number in 0..40 {
                    let found = table.find(hash(number), |other| other == number);
                    prop_assert_eq!(found, model.get(&number).copied());
                }
            }
        }
    }

    #[test]
    fn room_is_what_was_asked_for_and_larger_by_half_where_it_grows() -> Result<()> {
        let mut table = Table::default();
        assert_eq!((table.room(), table.find(7, |_| true)), (0, None));
        table.reserve(1000)?;
        assert_eq!((table.room(), table.memory()), (1001, 143 * 64));
        for number in 0..1001 {
            assert_eq!(table.enter(number * 4_290_000, number, |_| true), None);
        }
        table.reserve(1)?;
        assert_eq!(table.memory(), 214 * 64);
        assert!((0..1001).all(|n| table.find(n * 4_290_000, |_| true) == Some(n)));
        table.warm([0, u32::MAX].into_iter());
        Ok(())
    }

    #[test]
    fn a_size_that_cannot_be_had_is_an_error_and_changes_nothing() -> Result<()> {
        let mut table = Table::default();
        table.reserve(1)?;
        table.enter(5, 3, |_| true);
        assert!(matches!(table.reserve(usize::MAX / 16), Err(Error::OutOfMemory { .. })));
        assert_eq!(table.find(5, |_| true), Some(3));
        Ok(())
    }
}
