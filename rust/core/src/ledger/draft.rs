//! A change of the ledger, line by line.

use super::line::{Line, unreadable};
use super::{COLUMNS, columns};
use crate::batch::{Batch, Item, Span};
use crate::error::{Error, Result, reserve};
use crate::key;
use crate::store::Changes;

/// Lines to be inserted, changed and removed; [`super::Ledger::apply`] puts them in place.
#[derive(Debug, Default)]
pub struct Draft {
    /// All new texts; its items are the inserts.
    lines: Batch,
    updates: Vec<(u32, Item)>,
    removes: Vec<u32>,
    /// The number of the next line.
    pub(super) next: u64,
}

impl Draft {
    pub(super) fn new(next: u64) -> Self {
        Draft { next, ..Draft::default() }
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.items.is_empty() && self.updates.is_empty() && self.removes.is_empty()
    }

    /// Appends a line, which gets its number.
    pub(super) fn insert(&mut self, line: &mut Line<'_>) -> Result<()> {
        line.n = self.next;
        self.next += 1;
        let item = append(&mut self.lines, line)?;
        reserve(&mut self.lines.items, 1)?;
        self.lines.items.push(item);
        Ok(())
    }

    /// Changes the line of a slot, which keeps its number.
    pub(super) fn update(&mut self, slot: u32, line: &Line<'_>) -> Result<()> {
        let item = append(&mut self.lines, line)?;
        reserve(&mut self.updates, 1)?;
        self.updates.push((slot, item));
        Ok(())
    }

    pub(super) fn remove(&mut self, slot: u32) -> Result<()> {
        reserve(&mut self.removes, 1)?;
        self.removes.push(slot);
        Ok(())
    }

    /// Lets a function decide about each inserted line: what it is to be instead, or nothing.
    pub(super) fn revise(&mut self, mut decide: impl FnMut(&mut Line<'_>) -> bool) -> Result<()> {
        let items = std::mem::take(&mut self.lines.items);
        let mut kept = Vec::new();
        reserve(&mut kept, items.len())?;
        let mut text = Vec::new();
        for old in items {
            let mut line = Line::parse(self.lines.bytes(old.record)).ok_or_else(unreadable)?;
            let before = line.kind;
            if !decide(&mut line) {
                continue;
            }
            if line.kind == before {
                kept.push(old);
                continue;
            }
            text.clear();
            line.write(&mut text)?;
            let (chunk, bytes) = self.lines.open_records()?;
            let start = bytes.len();
            reserve(bytes, text.len() + 2)?;
            bytes.extend_from_slice(&text);
            bytes.extend_from_slice(b",\n");
            kept.push(item(&text, chunk, start)?);
        }
        self.lines.items = kept;
        Ok(())
    }

    /// As a change of the store of lines.
    pub(super) fn into_changes(self) -> Result<Changes> {
        let Draft { lines, updates, removes, .. } = self;
        let Batch { chunks, items: inserts, .. } = lines;
        let mut changes =
            Changes { chunks, inserts, updates, removes, erase: true, ..Changes::default() };
        changes.columns = columns(&changes)?;
        debug_assert_eq!(changes.columns.len(), COLUMNS.len());
        Ok(changes)
    }
}

/// Appends a line to the texts of a batch.
pub(super) fn append(batch: &mut Batch, line: &Line<'_>) -> Result<Item> {
    let (chunk, bytes) = batch.open_records()?;
    let start = bytes.len();
    line.write(bytes)?;
    let end = bytes.len();
    bytes.extend_from_slice(b",\n");
    item(&bytes[start..end], chunk, start)
}

/// The item of a line that stands at this place of a chunk; its number is its key.
fn item(line: &[u8], chunk: u32, start: usize) -> Result<Item> {
    let narrow = |value: usize| {
        u32::try_from(value).map_err(|_| Error::TooLarge { what: "a line holds at most 4 GiB" })
    };
    let digits = line[5..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let record = Span { chunk, start: narrow(start)?, len: narrow(line.len())? };
    let key = Span { chunk, start: narrow(start + 5)?, len: digits as u32 };
    Ok(Item { record, key, hash: key::hash(&line[5..5 + digits]), unset: (0, 0) })
}
