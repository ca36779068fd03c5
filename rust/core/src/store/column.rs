//! What is to be entered into a lookup: the values of some entities.

use crate::error::{Result, reserve};

/// The lookup values of some entities: canonical texts, none, one or several for each entity.
#[derive(Debug, Default)]
pub struct Column {
    bytes: Vec<u8>,
    /// Where each value ends in `bytes`.
    ends: Vec<usize>,
    /// Where the values of each entity end in `ends`.
    rows: Vec<usize>,
}

impl Column {
    /// Appends the next entity, with this value; an empty one is none.
    ///
    /// # Errors
    /// [`OutOfMemory`](crate::Error::OutOfMemory).
    pub fn push(&mut self, text: &[u8]) -> Result<()> {
        if !text.is_empty() {
            self.value(text)?;
        }
        self.end()
    }

    /// Gives a value to the entity that [`Column::end`] will append.
    ///
    /// # Errors
    /// [`OutOfMemory`](crate::Error::OutOfMemory).
    pub fn value(&mut self, text: &[u8]) -> Result<()> {
        reserve(&mut self.bytes, text.len())?;
        reserve(&mut self.ends, 1)?;
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
        Ok(())
    }

    /// Appends an entity with the values given since the last one.
    ///
    /// # Errors
    /// [`OutOfMemory`](crate::Error::OutOfMemory).
    pub fn end(&mut self) -> Result<()> {
        reserve(&mut self.rows, 1)?;
        self.rows.push(self.ends.len());
        Ok(())
    }

    /// The number of entities.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The number of values that all of them have.
    #[must_use]
    pub fn values(&self) -> usize {
        self.ends.len()
    }

    /// The values of each entity, in order.
    pub fn iter(&self) -> impl Iterator<Item = impl Iterator<Item = &[u8]>> {
        let starts = std::iter::once(0).chain(self.rows.iter().copied());
        let value = |place: usize| {
            let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
            &self.bytes[start..self.ends[place]]
        };
        starts.zip(&self.rows).map(move |(start, &end)| (start..end).map(value))
    }
}
