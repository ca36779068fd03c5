//! The lines of one key, and what is to become of them.

use super::line::{Kind, Line};
use super::{Draft, Ledger};
use crate::error::{Result, reserve};

/// A line of a key and its fate.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    slot: u32,
    pub line: Line<'a>,
    fate: Fate,
}

#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Stays,
    Changes,
    Goes,
}

impl<'a> Entry<'a> {
    pub fn slot(&self) -> u32 {
        self.slot
    }

    pub fn stays(&self) -> bool {
        self.fate != Fate::Goes
    }

    pub fn drop(&mut self) {
        self.fate = Fate::Goes;
    }

    pub fn change(&mut self, change: impl FnOnce(&mut Line<'a>)) {
        change(&mut self.line);
        self.fate = Fate::Changes;
    }

    /// Whether the line tells when the entity came.
    pub fn is_place(&self) -> bool {
        !matches!(self.line.kind, Kind::Record | Kind::Aside | Kind::Gone)
    }

    /// Makes the line one that tells when the entity came, and nothing else.
    pub fn hollow(&mut self) {
        if self.line.kind != Kind::At {
            self.change(|line| {
                *line = Line { n: line.n, key: line.key.take(), ..Line::new(Kind::At) };
            });
        }
    }
}

impl Ledger {
    /// The lines of a key, in order.
    pub(super) fn entries(&self, key: &[u8]) -> Result<Vec<Entry<'_>>> {
        let slots = self.of_key(key);
        let mut entries = Vec::new();
        reserve(&mut entries, slots.len())?;
        for &slot in slots {
            entries.push(Entry { slot, line: self.line(slot)?, fate: Fate::Stays });
        }
        Ok(entries)
    }
}

/// Where the lines begin that are about the entity as it is now.
pub(super) fn window(entries: &[Entry<'_>]) -> usize {
    entries.iter().rposition(|entry| entry.line.kind == Kind::Gone).map_or(0, |gone| gone + 1)
}

/// Gives up lines that no source stands behind any more: all of them where the entity is not
/// there; else all but its place, since what is known of it then stands in the store.
pub(super) fn settle(entries: &mut [Entry<'_>], present: bool) {
    if present {
        let start = window(entries);
        let window = &mut entries[start..];
        if !window.iter().any(|entry| entry.stays() && entry.line.is_sourced()) {
            let mut places = window.iter_mut().filter(|entry| entry.stays() && entry.is_place());
            if let Some(first) = places.next() {
                first.hollow();
            }
            places.for_each(Entry::drop);
        }
    }
    let sourced = |entry: &Entry<'_>| entry.stays() && entry.line.source.is_some();
    if !present && !entries.iter().any(sourced) {
        entries.iter_mut().for_each(Entry::drop);
    } else if !entries[..window(entries)].iter().any(sourced) {
        // Without a source before it, nothing has to be told from what came since.
        let gone = window(entries);
        entries[..gone].iter_mut().for_each(Entry::drop);
    }
}

impl Draft {
    /// Notes what becomes of the lines.
    pub(super) fn emit(&mut self, entries: &[Entry<'_>]) -> Result<()> {
        for entry in entries {
            match entry.fate {
                Fate::Stays => {}
                Fate::Changes => self.update(entry.slot, &entry.line)?,
                Fate::Goes => self.remove(entry.slot)?,
            }
        }
        Ok(())
    }
}
