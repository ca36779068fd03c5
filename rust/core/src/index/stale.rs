//! What an index has to catch up with: which vectors can be taken over, which texts are missing.

use std::collections::HashMap;

use super::rows::Rows;
use super::texts::Hash;
use crate::error::{Error, Result, reserve};
use crate::store::Snapshot;

/// Entities whose rows do not have the vector of their text.
#[derive(Debug, Default)]
pub struct Stale {
    /// Entities whose text has a vector already: slot, hash, and the row of that vector.
    pub known: Vec<(u32, Hash, u32)>,
    /// The texts that have to be embedded, each once: a slot that has it, and its hash.
    pub missing: Vec<(u32, Hash)>,
    /// Further entities of these texts: the place in `missing`, and the slot; in order of places.
    pub further: Vec<(u32, u32)>,
}

impl Stale {
    /// Compares entities, given by slot and content hash, with the rows that there are.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn find(
        rows: &Rows,
        snapshot: &Snapshot,
        entities: impl IntoIterator<Item = (u32, Hash)>,
    ) -> Result<Self> {
        let mut stale = Stale::default();
        let mut places: HashMap<Hash, u32> = HashMap::new();
        for (slot, hash) in entities {
            let row = rows.find(snapshot.key(slot));
            if row.is_some_and(|row| rows.hash(row) == hash) {
                continue;
            }
            if let Some(row) = rows.with_hash(&hash) {
                reserve(&mut stale.known, 1)?;
                stale.known.push((slot, hash, row));
            } else if let Some(&place) = places.get(&hash) {
                reserve(&mut stale.further, 1)?;
                stale.further.push((place, slot));
            } else {
                places.try_reserve(1).map_err(|_| Error::OutOfMemory { bytes: 32 })?;
                reserve(&mut stale.missing, 1)?;
                places.insert(hash, stale.missing.len() as u32);
                stale.missing.push((slot, hash));
            }
        }
        stale.further.sort_unstable();
        Ok(stale)
    }

    /// The entities of some of the missing texts: for each its place among them, slot and hash.
    pub fn entities(
        &self,
        start: usize,
        count: usize,
    ) -> impl Iterator<Item = (usize, u32, Hash)> + '_ {
        let end = start.saturating_add(count).min(self.missing.len());
        let firsts = (start..end).map(move |place| (place - start, self.missing[place].0));
        let from = self.further.partition_point(|&(place, _)| (place as usize) < start);
        let further = self.further[from..].iter();
        let further = further.take_while(move |&&(place, _)| (place as usize) < end);
        let further = further.map(move |&(place, slot)| (place as usize - start, slot));
        firsts.chain(further).map(move |(place, slot)| {
            let (_, hash) = self.missing[start + place];
            (place, slot, hash)
        })
    }
}
