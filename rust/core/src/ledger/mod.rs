//! The source ledger: which source said what of which entity, in order of arrival.
//!
//! The ledger is a [`Store`] of [lines](mod@line), found by key, by source and by tag. So it is
//! compact, kept in order, shared by snapshots, written and read as records are.
//!
//! # What stands in it
//! Each source has a `source` line, then one line for each of its observations. An entity without
//! any source has one `at` line, its place in the order, and what is known of it stands in the
//! store alone; once a source says something of it, that becomes an `add` line without a source, and
//! from then on unsourced observations are noted too. So removing a source can fold what survives
//! again, in order of arrival, and nothing is noted that is never needed.
//!
//! # What an entity is made of
//! The lines of a key since it was last removed (`gone`), from the last time it was replaced
//! (`put`) or rewritten (`edit`). A rewrite is made of what came before: once a source of that is
//! removed, the rewrite is dropped. Where some line is a `record`, nobody knows how the entity came
//! to be, and it is made of the sourced lines alone.

mod draft;
mod entries;
mod forget;
pub mod line;
mod observe;
mod review;
mod rollback;

use std::collections::HashSet;

use crate::error::Result;
use crate::key;
use crate::store::{Changes, Column, Snapshot, Store};
use line::{Header, Kind, Line, unreadable};

pub use draft::Draft;
pub use forget::Forgotten;
pub use observe::Observed;
pub use review::{LineFault, introduce, review};
pub use rollback::{Options, Rebuilt, Rollback};

const KEY: &str = "key";
const SOURCE: &str = "source";
const TAG: &str = "tag";
const COLUMNS: [&str; 3] = [KEY, SOURCE, TAG];

/// The value in [`TAG`] of every `source` line.
const EVERY: &[u8] = b"s";

/// Which source said what.
#[derive(Debug, Clone)]
pub struct Ledger {
    lines: Store,
    next: u64,
}

impl Default for Ledger {
    fn default() -> Self {
        Ledger::new()
    }
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new() -> Self {
        let mut lines = Store::new();
        for name in COLUMNS {
            // It fails for a name that is taken, and none is.
            let _ = lines.create_lookup(name, &Column::default());
        }
        Ledger { lines, next: 0 }
    }

    /// The number of lines.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The ledger as it is now.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.lines.snapshot()
    }

    /// What the ledger keeps in memory.
    #[must_use]
    pub fn memory(&self) -> crate::store::MemoryUse {
        self.lines.memory()
    }

    /// Changes a store and its ledger, both whole or neither.
    ///
    /// # Errors
    /// As [`Store::apply`].
    pub fn apply(&mut self, store: &mut Store, changes: Changes, draft: Draft) -> Result<()> {
        let next = draft.next;
        Store::apply_both(store, changes, &mut self.lines, draft.into_changes()?)?;
        self.next = next;
        Ok(())
    }

    /// A ledger of these lines, in order, that would take this one's place.
    ///
    /// # Errors
    /// As [`Store::replace`].
    pub fn of(mut lines: Changes) -> Result<Self> {
        let mut ledger = Ledger::new();
        lines.columns = columns(&lines)?;
        for item in &lines.inserts {
            let line = Line::parse(lines.bytes(item.record)).ok_or_else(unreadable)?;
            ledger.next = ledger.next.max(line.n + 1);
        }
        ledger.lines.replace(lines)?;
        Ok(ledger)
    }

    /// The line of a slot.
    fn line(&self, slot: u32) -> Result<Line<'_>> {
        Line::parse(self.lines.record(slot)).ok_or_else(unreadable)
    }

    /// The lines of a key, in order.
    fn of_key(&self, key: &[u8]) -> &[u32] {
        self.lines.get_by_lookup(KEY, key).unwrap_or_default()
    }

    /// The lines of a source, in order; the first one tells of the source itself.
    fn of_source(&self, source: &str) -> &[u32] {
        self.lines.get_by_lookup(SOURCE, source.as_bytes()).unwrap_or_default()
    }

    /// What is known of a source, and the slot of its line.
    fn header(&self, source: &str) -> Result<Option<(u32, Header<'_>)>> {
        let Some(&slot) = self.of_source(source).first() else { return Ok(None) };
        let header = self.line(slot)?.header().ok_or_else(unreadable)?;
        Ok(Some((slot, header)))
    }

    /// Whether there is a source.
    #[must_use]
    pub fn contains(&self, source: &str) -> bool {
        !self.of_source(source).is_empty()
    }

    /// The names of all sources, in order.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn sources(&self) -> Result<Vec<String>> {
        let slots = self.lines.get_by_lookup(TAG, EVERY).unwrap_or_default();
        let name = |&slot: &u32| Ok(self.line(slot)?.source.unwrap_or_default().into_owned());
        slots.iter().map(name).collect()
    }

    /// The number of sources.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lines.get_by_lookup(TAG, EVERY).unwrap_or_default().len()
    }

    /// What is known of a source, and the number of its items.
    ///
    /// # Errors
    /// [`crate::Error::Conflict`] for a ledger at fault.
    pub fn source(&self, source: &str) -> Result<Option<(Header<'_>, usize)>> {
        let found = self.header(source)?;
        Ok(found.map(|(_, header)| (header, self.of_source(source).len() - 1)))
    }

    /// The records of a source's items, in order.
    ///
    /// # Errors
    /// [`crate::Error::Conflict`] for a ledger at fault.
    pub fn items(&self, source: &str) -> Result<Vec<&[u8]>> {
        let slots = self.of_source(source).get(1..).unwrap_or_default();
        slots.iter().map(|&slot| Ok(self.line(slot)?.record)).collect()
    }

    /// The sources that say something of a key, in order.
    ///
    /// # Errors
    /// [`crate::Error::Conflict`] for a ledger at fault.
    pub fn sources_of(&self, key: &[u8]) -> Result<Vec<String>> {
        let mut seen = HashSet::new();
        let mut sources = Vec::new();
        for &slot in self.of_key(key) {
            if let Some(source) = self.line(slot)?.source
                && seen.insert(source.clone())
            {
                sources.push(source.into_owned());
            }
        }
        Ok(sources)
    }

    /// The texts of the keys of which these sources, or sources with one of these tags, say
    /// something. Costs what it gives.
    ///
    /// # Errors
    /// [`crate::Error::Conflict`] for a ledger at fault.
    pub fn keys_of(&self, sources: &[String], tags: &[String]) -> Result<HashSet<Vec<u8>>> {
        let mut names: HashSet<String> = sources.iter().cloned().collect();
        for tag in tags {
            let slots = self.lines.get_by_lookup(TAG, &tag_value(tag)).unwrap_or_default();
            for &slot in slots {
                names.extend(self.line(slot)?.source.map(std::borrow::Cow::into_owned));
            }
        }
        let mut keys = HashSet::new();
        for name in names {
            for &slot in self.of_source(&name) {
                let line = self.line(slot)?;
                keys.extend(line.key.map(|key| key.into_owned().into_bytes()));
            }
        }
        Ok(keys)
    }

    /// Where the lines of a key begin that are about the entity as it is now: after it was last
    /// removed.
    fn window<'a>(&self, lines: &'a [u32]) -> Result<&'a [u32]> {
        for (place, &slot) in lines.iter().enumerate().rev() {
            if self.line(slot)?.kind == Kind::Gone {
                return Ok(&lines[place + 1..]);
            }
        }
        Ok(lines)
    }

    /// When the entity of a key came, by the number of a line.
    fn arrival(&self, key: &[u8]) -> Result<Option<u64>> {
        for &slot in self.window(self.of_key(key))? {
            let line = self.line(slot)?;
            if !matches!(line.kind, Kind::Record | Kind::Aside) {
                return Ok(Some(line.n));
            }
        }
        Ok(None)
    }

    /// The first slot of a store, after this one, whose entity came later than a line: an entity
    /// that came with the line stands before it.
    fn place(&self, store: &Store, after: u32, arrival: u64) -> Result<u32> {
        let (mut low, mut high) = (after + 1, store.slots());
        while low < high {
            let middle = low + (high - low) / 2;
            let Some(slot) = (middle..high).find(|&slot| store.is_live(slot)) else {
                high = middle;
                continue;
            };
            if self.arrival(store.key(slot))?.is_some_and(|there| there > arrival) {
                high = middle;
            } else {
                low = slot + 1;
            }
        }
        Ok(low)
    }
}

/// The value of a tag in [`TAG`].
fn tag_value(tag: &str) -> Vec<u8> {
    [b"t", tag.as_bytes()].concat()
}

/// The values of lines in the lookups of the ledger.
fn columns(lines: &Changes) -> Result<Vec<Column>> {
    let [mut keys, mut sources, mut tags] = [(); 3].map(|()| Column::default());
    for item in lines.items() {
        let line = Line::parse(lines.bytes(item.record)).ok_or_else(unreadable)?;
        keys.push(line.key.as_deref().unwrap_or_default().as_bytes())?;
        sources.push(line.source.as_deref().unwrap_or_default().as_bytes())?;
        if line.kind == Kind::Source {
            tags.value(EVERY)?;
            for tag in line.header().ok_or_else(unreadable)?.tags {
                tags.value(&tag_value(&tag))?;
            }
        }
        tags.end()?;
    }
    Ok(vec![keys, sources, tags])
}

/// The hash of a key text.
fn hash(key: &[u8]) -> u64 {
    key::hash(key)
}
