//! What the parts of a file become: a batch that takes everything, or a store at once.

use super::judge::KEYS;
use super::{Doubtful, Loaded};
use crate::batch::Item;
use crate::bytes::Bytes;
use crate::error::{Error, Result, reserve};
use crate::store::{Changes, Store};

/// One range of the file.
#[derive(Default)]
pub(super) struct Part {
    pub bytes: Bytes,
    /// The keys that are built.
    pub keys: Vec<u8>,
    /// Their spans count the bytes as chunk 0 and the keys as chunk 1.
    pub items: Vec<Item>,
    /// Index of the item, line in the part, offset in the part.
    pub doubtful: Vec<(usize, u64, u64)>,
    pub lines: u64,
}

/// What the parts of a file become.
pub(super) trait Sink: Default + Send {
    /// Takes the next part, which begins at line and offset `at` of the file; false where it is
    /// not to be had in this way. `share` tells how much of the file is taken with it, up to 1.
    fn take(&mut self, part: Part, at: (u64, u64), share: f64) -> Result<bool>;
}

/// Everything is taken, and what is doubtful is noted.
impl Sink for Loaded {
    fn take(&mut self, part: Part, (line, from): (u64, u64), _: f64) -> Result<bool> {
        let Loaded { batch, doubtful, .. } = self;
        reserve(&mut batch.chunks, 2)?;
        let first = u32::try_from(batch.chunks.len()).unwrap_or(u32::MAX);
        if first.checked_add(KEYS).is_none() {
            return Err(Error::TooLarge { what: "a batch holds at most 2^32 chunks" });
        }
        let items = batch.items.len();
        reserve(&mut batch.items, part.items.len())?;
        batch.items.extend(part.items.into_iter().map(|mut item| {
            item.record.chunk += first;
            item.key.chunk += first;
            item
        }));
        reserve(doubtful, part.doubtful.len())?;
        doubtful.extend(part.doubtful.iter().map(|&(item, number, at)| Doubtful {
            item: items + item,
            record: line + number,
            line: line + number + 2,
            at: from + at,
        }));
        batch.chunks.push(part.bytes);
        if !part.keys.is_empty() {
            batch.chunks.push(part.keys.into());
        }
        Ok(true)
    }
}

/// Taken are entities with a key of their own that need no further look.
impl Sink for Store {
    fn take(&mut self, part: Part, _: (u64, u64), share: f64) -> Result<bool> {
        if !part.doubtful.is_empty() {
            return Ok(false);
        }
        let items = self.len() + part.items.len();
        self.expect((items as f64 / share) as usize, part.items.len())?;
        let mut chunks = Vec::new();
        reserve(&mut chunks, 2)?;
        chunks.push(part.bytes);
        chunks.push(part.keys.into());
        match self.apply(Changes { chunks, inserts: part.items, ..Changes::default() }) {
            Ok(()) => Ok(true),
            Err(Error::Duplicate { .. } | Error::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
