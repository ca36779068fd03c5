//! The items of a batch by key.

use std::ops::Range;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::batch::Batch;
use crate::error::{Error, Result, reserve};

/// The items of a batch by key: keys in order of first appearance, the items of each in arrival
/// order.
#[derive(Debug, Default)]
pub struct Groups {
    /// Where each group begins in `items`, and the end of the last.
    starts: Vec<u32>,
    items: Vec<u32>,
}

impl Groups {
    /// Groups the items of a batch. Linear; keys are compared as bytes.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::TooLarge`].
    pub fn of(batch: &Batch) -> Result<Self> {
        let count = batch.items.len();
        u32::try_from(count)
            .map_err(|_| Error::TooLarge { what: "a batch holds 2^32 - 1 items" })?;
        // By hash alone at first: keys lie far apart, and comparing them afterwards, in a loop of
        // independent reads, took a third of the time of comparing them one probe at a time.
        let key = |item: u32| batch.bytes(batch.items[item as usize].key);
        let mut groups = Assigned::to(batch, |_, _| true)?;
        let alike = |(item, &group): (usize, &u32)| {
            let (first, item) = (groups.firsts[group as usize], item as u32);
            first == item || key(first) == key(item)
        };
        if !groups.of.iter().enumerate().all(alike) {
            groups = Assigned::to(batch, |left, right| key(left) == key(right))?;
        }
        groups.gather()
    }

    /// The number of groups.
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The indices of a group's items, in arrival order; at least one.
    ///
    /// # Panics
    /// If there is no such group.
    #[must_use]
    pub fn get(&self, group: usize) -> &[u32] {
        &self.items[self.starts[group] as usize..self.starts[group + 1] as usize]
    }

    /// All groups in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        (0..self.len()).map(|group| self.get(group))
    }

    /// Cuts the groups into runs with about the same number of items.
    pub(super) fn cut(&self, runs: usize) -> impl Iterator<Item = Range<usize>> {
        let (count, total) = (self.len(), self.items.len());
        let start_of = move |run: usize| {
            let share = (total * run / runs) as u32;
            self.starts[..count].partition_point(|&start| start < share)
        };
        (0..runs)
            .map(move |run| start_of(run)..if run + 1 == runs { count } else { start_of(run + 1) })
    }
}

/// Which item belongs to which group.
#[derive(Default)]
struct Assigned {
    /// The group of each item.
    of: Vec<u32>,
    /// The first item of each group.
    firsts: Vec<u32>,
    /// The number of each group's items.
    sizes: Vec<u32>,
}

impl Assigned {
    /// Assigns the items to groups of one hash, as far as they are `alike`.
    fn to(batch: &Batch, alike: impl Fn(u32, u32) -> bool) -> Result<Self> {
        let mut groups = Assigned::default();
        let Assigned { of, firsts, sizes } = &mut groups;
        reserve(of, batch.items.len())?;
        let mut table: HashTable<(u64, u32)> = HashTable::new();
        let rehash = |&(hash, _): &(u64, u32)| hash;
        // Mostly each item is a group, and growing would move each entry twice.
        let _ = table.try_reserve(batch.items.len(), rehash);
        for (index, item) in batch.items.iter().enumerate() {
            table.try_reserve(1, rehash).map_err(|_| Error::OutOfMemory {
                bytes: 2 * table.capacity() * size_of::<(u64, u32)>(),
            })?;
            let same = |&(hash, group): &(u64, u32)| {
                hash == item.hash && alike(firsts[group as usize], index as u32)
            };
            let group = match table.entry(item.hash, same, rehash) {
                Entry::Occupied(entry) => entry.get().1,
                Entry::Vacant(entry) => {
                    let group = sizes.len() as u32;
                    entry.insert((item.hash, group));
                    reserve(firsts, 1)?;
                    firsts.push(index as u32);
                    reserve(sizes, 1)?;
                    sizes.push(0);
                    group
                }
            };
            sizes[group as usize] += 1;
            of.push(group);
        }
        Ok(groups)
    }

    fn gather(&self) -> Result<Groups> {
        let (mut starts, mut items) = (Vec::new(), Vec::new());
        reserve(&mut starts, self.sizes.len() + 1)?;
        let mut end = 0;
        for size in &self.sizes {
            starts.push(end);
            end += size;
        }
        reserve(&mut items, self.of.len())?;
        items.resize(self.of.len(), 0);
        for (item, &group) in self.of.iter().enumerate() {
            let next = &mut starts[group as usize];
            items[*next as usize] = item as u32;
            *next += 1;
        }
        // Each start has moved to the next one's place.
        starts.insert(0, 0);
        Ok(Groups { starts, items })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Item, Span};

    fn batch(keys: &[u8]) -> Batch {
        let mut batch = Batch::default();
        for &key in keys {
            let (chunk, bytes) = batch.open_keys().unwrap();
            let span = Span { chunk, start: bytes.len() as u32, len: 1 };
            bytes.push(key);
            // Every hash collides with others.
            let hash = u64::from(key % 2);
            batch.items.push(Item { record: span, key: span, hash, unset: (0, 0) });
        }
        batch
    }

    #[test]
    fn keys_stand_in_order_of_first_appearance() {
        let groups = Groups::of(&batch(b"cabac")).unwrap();
        let groups: Vec<_> = groups.iter().collect();
        assert_eq!(groups, [&[0, 4][..], &[1, 3], &[2]]);
        assert!(Groups::of(&Batch::default()).unwrap().is_empty());
    }

    #[test]
    fn runs_cover_all_groups_once() {
        for keys in [&b""[..], b"a", b"aaaaaaaab", b"abcdefgh", b"abbbbbbbb"] {
            let groups = Groups::of(&batch(keys)).unwrap();
            for runs in 1..5 {
                let covered: Vec<usize> = groups.cut(runs).flatten().collect();
                assert_eq!(covered, (0..groups.len()).collect::<Vec<_>>(), "{keys:?} {runs}");
            }
        }
    }
}
