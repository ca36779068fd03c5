//! Erasing everything that is said of an entity.

use super::{Draft, Ledger};
use crate::error::Result;

/// What is erased of an entity.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// How many observations of it there were.
    pub observations: usize,
    /// The sources that made them, in order.
    pub sources: Vec<String>,
}

impl Ledger {
    /// Notes that every line of a key goes.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn forget(&self, draft: &mut Draft, key: &[u8]) -> Result<Forgotten> {
        let mut forgotten = Forgotten { sources: self.sources_of(key)?, ..Forgotten::default() };
        for &slot in self.of_key(key) {
            forgotten.observations += usize::from(self.line(slot)?.record != b"null");
            draft.remove(slot)?;
        }
        Ok(forgotten)
    }
}
