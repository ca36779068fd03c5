//! Which row of the vectors belongs to which entity, and which text it is of.

use std::collections::BTreeMap;

use hashbrown::HashTable;

use super::texts::Hash;
use crate::error::{Error, Result, reserve};
use crate::key;

/// Rows whose vectors are to be copied: where to, and where from, as they were before.
pub type Moves = Vec<(u32, u32)>;

/// The book of rows: key and content hash of each, found by either.
///
/// *Compact* rows (a flat index) stay without gaps: a change overwrites its row, a removal moves
/// the last row into the gap. Otherwise (a graph, from which nothing can be taken out) rows only
/// grow, and one that is given up becomes *spare*: it belongs to no entity, but its vector serves
/// whoever has the same text.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    compact: bool,
    rows: Vec<Row>,
    by_key: HashTable<u32>,
    /// One row of each hash; the others of the same hash hang on it in a ring.
    by_hash: HashTable<u32>,
}

#[derive(Debug, Clone)]
struct Row {
    /// The key text, empty in a spare row.
    key: Box<[u8]>,
    hash: Hash,
    /// The neighbours in the ring of rows with the same hash.
    next: u32,
    last: u32,
}

/// Hashes are BLAKE2b, so any part of one is as good as a hash of it.
fn short(hash: &Hash) -> u64 {
    hash.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

impl Rows {
    /// No rows yet.
    #[must_use]
    pub fn new(compact: bool) -> Self {
        Rows { compact, ..Rows::default() }
    }

    /// The number of rows, spare ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The number of rows that belong to an entity.
    #[must_use]
    pub fn live(&self) -> usize {
        self.by_key.len()
    }

    /// The key text of a row, empty for a spare one and for none.
    #[must_use]
    pub fn key(&self, row: usize) -> &[u8] {
        self.rows.get(row).map_or(&[], |row| &row.key)
    }

    /// The content hash of a row.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn hash(&self, row: u32) -> Hash {
        self.rows[row as usize].hash
    }

    /// The row of an entity.
    #[must_use]
    pub fn find(&self, text: &[u8]) -> Option<u32> {
        let same = |&row: &u32| *self.rows[row as usize].key == *text;
        self.by_key.find(key::hash(text), same).copied()
    }

    /// A row with the vector of this text.
    #[must_use]
    pub fn with_hash(&self, hash: &Hash) -> Option<u32> {
        let same = |&row: &u32| self.rows[row as usize].hash == *hash;
        self.by_hash.find(short(hash), same).copied()
    }

    /// Adds a row at the end, spare where the key is empty or known already.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::TooLarge`]; nothing was added.
    pub fn push(&mut self, text: &[u8], hash: Hash) -> Result<u32> {
        let row = u32::try_from(self.rows.len()).ok().filter(|&row| row < u32::MAX);
        let row = row.ok_or(Error::TooLarge { what: "an index of more than 2^32 vectors" })?;
        let text = if self.find(text).is_some() { &[] } else { text };
        let mut copy = Vec::new();
        reserve(&mut copy, text.len())?;
        copy.extend_from_slice(text);
        reserve(&mut self.rows, 1)?;
        let bytes = size_of::<Row>();
        let rows = &self.rows;
        let by_key = |&row: &u32| key::hash(&rows[row as usize].key);
        self.by_key.try_reserve(1, by_key).map_err(|_| Error::OutOfMemory { bytes })?;
        let by_hash = |&row: &u32| short(&rows[row as usize].hash);
        self.by_hash.try_reserve(1, by_hash).map_err(|_| Error::OutOfMemory { bytes })?;
        self.rows.push(Row { key: copy.into_boxed_slice(), hash, next: row, last: row });
        if !text.is_empty() {
            let rows = &self.rows;
            let rehash = |&row: &u32| key::hash(&rows[row as usize].key);
            self.by_key.insert_unique(key::hash(text), row, rehash);
        }
        self.link(row);
        Ok(row)
    }

    /// The row that the vector of an entity's new text goes to.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::TooLarge`]; nothing changed.
    pub fn put(&mut self, text: &[u8], hash: Hash) -> Result<u32> {
        match self.find(text) {
            Some(row) if self.compact => {
                self.unlink(row);
                self.rows[row as usize].hash = hash;
                self.link(row);
                Ok(row)
            }
            Some(row) => {
                let old = self.spare(row);
                self.push(text, hash).inspect_err(|_| self.claim(row, old))
            }
            None => match self.with_hash(&hash) {
                Some(row) if self.key(row as usize).is_empty() && !text.is_empty() => {
                    self.adopt(row, text)?;
                    Ok(row)
                }
                _ => self.push(text, hash),
            },
        }
    }

    /// Gives a spare row to an entity of the same text.
    fn adopt(&mut self, row: u32, text: &[u8]) -> Result<()> {
        let mut copy = Vec::new();
        reserve(&mut copy, text.len())?;
        copy.extend_from_slice(text);
        let (rows, bytes) = (&self.rows, size_of::<Row>());
        let rehash = |&row: &u32| key::hash(&rows[row as usize].key);
        self.by_key.try_reserve(1, rehash).map_err(|_| Error::OutOfMemory { bytes })?;
        self.claim(row, copy.into_boxed_slice());
        // The next one in the ring may be spare too.
        let Row { hash, next, .. } = self.rows[row as usize];
        if let Some(entry) = self.by_hash.find_mut(short(&hash), |&other| other == row) {
            *entry = next;
        }
        Ok(())
    }

    /// The same rows, for an index of the one sort or the other.
    #[must_use]
    pub fn arranged(&self, compact: bool) -> Self {
        Rows { compact, ..self.clone() }
    }

    /// Gives up the rows of these entities; what has to be moved is noted in `moves`.
    pub fn remove<'a>(&mut self, keys: impl IntoIterator<Item = &'a [u8]>) -> Moves {
        // Where the vector lies that belongs to a row that something was moved to.
        let mut origins: BTreeMap<u32, u32> = BTreeMap::new();
        for text in keys {
            let Some(row) = self.find(text) else { continue };
            self.spare(row);
            if !self.compact {
                continue;
            }
            self.unlink(row);
            let last = self.rows.len() as u32 - 1;
            let origin = origins.remove(&last).unwrap_or(last);
            if row != last {
                self.relocate(last, row);
                origins.insert(row, origin);
            }
            self.rows.pop();
        }
        origins.into_iter().collect()
    }

    /// The rows that belong to no entity are dropped; returns the rows that stay, in order.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; nothing changed.
    pub fn without_spare(&self) -> Result<(Rows, Vec<u32>)> {
        let mut kept = Rows::new(self.compact);
        let mut places = Vec::new();
        for (place, row) in self.rows.iter().enumerate().filter(|(_, row)| !row.key.is_empty()) {
            reserve(&mut places, 1)?;
            places.push(place as u32);
            kept.push(&row.key, row.hash)?;
        }
        Ok((kept, places))
    }

    /// The key texts of all entities that have a row.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.rows.iter().map(|row| &*row.key).filter(|key| !key.is_empty())
    }

    /// Takes a row's key away.
    fn spare(&mut self, row: u32) -> Box<[u8]> {
        let text = std::mem::take(&mut self.rows[row as usize].key);
        if let Ok(entry) = self.by_key.find_entry(key::hash(&text), |&other| other == row) {
            entry.remove();
        }
        text
    }

    /// Gives a row a key; there is room for it.
    fn claim(&mut self, row: u32, text: Box<[u8]>) {
        let hash = key::hash(&text);
        self.rows[row as usize].key = text;
        let rows = &self.rows;
        self.by_key.insert_unique(hash, row, |&row| key::hash(&rows[row as usize].key));
    }

    /// Makes a row known by its hash.
    fn link(&mut self, row: u32) {
        let hash = self.rows[row as usize].hash;
        let Some(first) = self.with_hash(&hash) else {
            self.rows[row as usize].next = row;
            self.rows[row as usize].last = row;
            let rows = &self.rows;
            let rehash = |&row: &u32| short(&rows[row as usize].hash);
            self.by_hash.insert_unique(short(&hash), row, rehash);
            return;
        };
        let next = self.rows[first as usize].next;
        self.rows[row as usize].next = next;
        self.rows[row as usize].last = first;
        self.rows[first as usize].next = row;
        self.rows[next as usize].last = row;
    }

    /// Makes a row unknown by its hash.
    fn unlink(&mut self, row: u32) {
        let Row { hash, next, last, .. } = self.rows[row as usize];
        self.rows[last as usize].next = next;
        self.rows[next as usize].last = last;
        if let Ok(mut entry) = self.by_hash.find_entry(short(&hash), |&other| other == row) {
            if next == row {
                entry.remove();
            } else {
                *entry.get_mut() = next;
            }
        }
    }

    /// Renumbers a row.
    fn relocate(&mut self, from: u32, to: u32) {
        let hash = self.rows[from as usize].hash;
        if let Some(entry) = self.by_hash.find_mut(short(&hash), |&row| row == from) {
            *entry = to;
        }
        let text = key::hash(&self.rows[from as usize].key);
        if let Some(entry) = self.by_key.find_mut(text, |&row| row == from) {
            *entry = to;
        }
        let Row { next, last, .. } = self.rows[from as usize];
        self.rows[last as usize].next = to;
        self.rows[next as usize].last = to;
        self.rows.swap(from as usize, to as usize);
        if next == from {
            self.rows[to as usize].next = to;
            self.rows[to as usize].last = to;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// Vectors, as numbers, kept in step with the rows as the binding does.
    #[derive(Default)]
    struct Model {
        vectors: Vec<u8>,
        wanted: HashMap<Vec<u8>, u8>,
    }

    impl Model {
        fn put(&mut self, rows: &mut Rows, key: u8, text: u8) {
            let row = rows.put(&[key + 1], [text; 16]).unwrap() as usize;
            self.vectors.resize(rows.len(), u8::MAX);
            assert!(self.vectors[row] == u8::MAX || rows.compact || self.vectors[row] == text);
            self.vectors[row] = text;
            self.wanted.insert(vec![key + 1], text);
        }

        fn remove(&mut self, rows: &mut Rows, keys: &[u8]) {
            let keys: Vec<Vec<u8>> = keys.iter().map(|key| vec![key + 1]).collect();
            let moves = rows.remove(keys.iter().map(Vec::as_slice));
            let moved: Vec<u8> =
                moves.iter().map(|&(_, from)| self.vectors[from as usize]).collect();
            for (&(to, _), vector) in moves.iter().zip(moved) {
                self.vectors[to as usize] = vector;
            }
            self.vectors.truncate(rows.len());
            self.wanted.retain(|key, _| !keys.contains(key));
        }

        fn check(&self, rows: &Rows, compact: bool) {
            assert_eq!(rows.live(), self.wanted.len());
            assert!(!compact || rows.len() == rows.live());
            for (key, &text) in &self.wanted {
                let row = rows.find(key).unwrap();
                assert_eq!((self.vectors[row as usize], rows.hash(row)), (text, [text; 16]));
                assert_eq!(rows.key(row as usize), key);
                let same = rows.with_hash(&[text; 16]).unwrap();
                assert_eq!(self.vectors[same as usize], text);
            }
            for text in 0..4 {
                if let Some(row) = rows.with_hash(&[text; 16]) {
                    assert_eq!(rows.hash(row), [text; 16]);
                } else {
                    assert!((0..rows.len()).all(|row| rows.hash(row as u32) != [text; 16]));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn rows_follow_puts_and_removals(
            compact in any::<bool>(),
            steps in prop::collection::vec((any::<bool>(), prop::collection::vec((0_u8..12, 0_u8..4), 1..6)), 1..40),
        ) {
            let (mut rows, mut model) = (Rows::new(compact), Model::default());
            for (puts, items) in steps {
                if puts {
                    items.iter().for_each(|&(key, text)| model.put(&mut rows, key, text));
                } else {
                    let keys: Vec<u8> = items.iter().map(|item| item.0).collect();
                    model.remove(&mut rows, &keys);
                }
                model.check(&rows, compact);
            }
            let (kept, places) = rows.without_spare().unwrap();
            prop_assert_eq!(kept.len(), model.wanted.len());
            for (row, place) in places.iter().enumerate() {
                prop_assert_eq!(kept.key(row), rows.key(*place as usize));
            }
        }
    }
}
