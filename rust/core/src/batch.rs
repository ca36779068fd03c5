//! Records on their way into a store: what `add` encoded or `load` read.

use std::ops::Range;

use crate::bytes::{Bytes, FULL};
use crate::error::{Error, Result, reserve};
use crate::pages::Pages;
use crate::store::Changes;

/// Where bytes lie: a range in one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// The index of the chunk.
    pub chunk: u32,
    /// The first byte in the chunk.
    pub start: u32,
    /// The number of bytes.
    pub len: u32,
}

impl Span {
    /// The bytes as a range in their chunk.
    #[must_use]
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }

    /// Whether this span is a part of the other one.
    #[must_use]
    pub fn within(self, other: Span) -> bool {
        let (part, whole) = (self.range(), other.range());
        self.chunk == other.chunk && whole.start <= part.start && part.end <= whole.end
    }
}

/// A range of bytes in a record, comma or colon excluded, that holds the value of a field
/// which the incoming model had not set (see DESIGN "Set and unset").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unset {
    /// The first byte of the value, counted from the start of the record.
    pub start: u32,
    /// One past its last byte.
    pub end: u32,
}

/// One record of a [`Batch`].
#[derive(Debug, Clone, Copy)]
pub struct Item {
    /// The record.
    pub record: Span,
    /// The canonical key text (see [`crate::key`]): a part of the record where the text stands
    /// there as it is, else bytes of their own.
    pub key: Span,
    /// [`crate::key::hash`] of the key text.
    pub hash: u64,
    /// The record's unset fields: a range of [`Batch::unset`].
    pub unset: (u32, u32),
}

/// Records with their keys, in arrival order.
///
/// A chunk of records is laid out as the file is: a record, then `,\n`, so that a dump can
/// write whole runs of records at once. Keys that are not a part of their record stand in
/// chunks of their own.
#[derive(Debug, Default)]
pub struct Batch {
    /// The bytes of records and of keys.
    pub chunks: Vec<Bytes>,
    /// The records, in arrival order.
    pub items: Vec<Item>,
    /// Unset fields of all records, each record's in order of position.
    pub unset: Vec<Unset>,
    records: Option<u32>,
    keys: Option<u32>,
    pages: Pages,
}

impl Batch {
    /// The chunk to append the next record to, and its index. Its length is where the record
    /// begins.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn open_records(&mut self) -> Result<(u32, &mut Vec<u8>)> {
        self.records = Some(open(&mut self.chunks, self.records, &mut self.pages)?);
        let index = self.records.unwrap_or_default();
        Ok((index, self.chunks[index as usize].grown()))
    }

    /// The chunk to append the next built key to, and its index.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn open_keys(&mut self) -> Result<(u32, &mut Vec<u8>)> {
        self.keys = Some(open(&mut self.chunks, self.keys, &mut self.pages)?);
        let index = self.keys.unwrap_or_default();
        Ok((index, self.chunks[index as usize].grown()))
    }

    /// The bytes of a span.
    #[must_use]
    pub fn bytes(&self, span: Span) -> &[u8] {
        &self.chunks[span.chunk as usize][span.range()]
    }
}

impl From<Changes> for Batch {
    /// The inserts, without what was unset.
    fn from(changes: Changes) -> Self {
        let mut items = changes.inserts;
        items.iter_mut().for_each(|item| item.unset = (0, 0));
        Batch { chunks: changes.chunks, items, ..Batch::default() }
    }
}

/// The index of a chunk with room: the current one, or a new one where that is full.
fn open(chunks: &mut Vec<Bytes>, current: Option<u32>, pages: &mut Pages) -> Result<u32> {
    if let Some(index) = current
        && chunks[index as usize].len() < FULL
    {
        return Ok(index);
    }
    let new = u32::try_from(chunks.len()).map_err(|_| Error::OutOfMemory { bytes: FULL })?;
    reserve(chunks, 1)?;
    let room = match current {
        // A lone record needs no megabyte.
        None => Bytes::with_room(1 << 10)?,
        // What is full moves to a huge page; its vector, whose pages are there, takes what comes
        // next. With a new vector for each megabyte a quarter of the time of `add` went to page faults.
        Some(index) => {
            let full = &mut chunks[index as usize];
            let mut copy = pages.take(full.len())?;
            copy.copy_from_slice(full);
            let mut room = std::mem::replace(full, copy);
            room.grown().clear();
            room
        }
    };
    chunks.push(room);
    Ok(new)
}
