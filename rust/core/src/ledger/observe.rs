//! What comes in: observations, replacements, records of sources.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::entries::settle;
use super::line::{Header, Kind, Line, unreadable};
use super::{Draft, Ledger, Rollback, hash};
use crate::batch::{Batch, Item};
use crate::error::{Error, Result};
use crate::json::number;
use crate::plan::Plan;
use crate::store::{Changes, Snapshot, Store};
use crate::unset;

/// What is observed.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// The observations.
    pub batch: &'a Batch,
    /// The source that makes them, or none.
    pub source: Option<&'a str>,
    /// The plan of the records, where a value that equals its default counts as unset; else the
    /// batch says what is unset.
    pub defaults: Option<&'a Plan>,
}

/// What the ledger knows of a key, by its last line that tells.
enum State<'a> {
    /// Nothing.
    Fresh,
    /// Its place alone.
    Placed(u32, Line<'a>),
    /// What some source says of it.
    Sourced(u32, Line<'a>),
}

impl Ledger {
    /// A change in which nothing changes yet.
    #[must_use]
    pub fn draft(&self) -> Draft {
        Draft::new(self.next)
    }

    /// Notes that there is a source. A content hash replaces the one that is known.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn announce(&self, draft: &mut Draft, source: &str, hash: Option<&str>) -> Result<()> {
        let Some((_, header)) = self.header(source)? else {
            let content_hash = hash.map(Cow::Borrowed);
            let header = Header { content_hash, tags: Vec::new() };
            return Ledger::introduce(draft, source, &header);
        };
        match hash {
            Some(hash) => {
                let content_hash = Some(Cow::Borrowed(hash));
                self.describe(draft, source, &Header { content_hash, ..header })
            }
            None => Ok(()),
        }
    }

    /// Notes that there is a new source.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn introduce(draft: &mut Draft, source: &str, header: &Header<'_>) -> Result<()> {
        draft.insert(&mut header_line(source, &header.to_json()))
    }

    /// Replaces what is known of a source that is there.
    ///
    /// # Errors
    /// [`Error::Conflict`] without such a source; [`Error::OutOfMemory`].
    pub fn describe(&self, draft: &mut Draft, source: &str, header: &Header<'_>) -> Result<()> {
        let none = Error::Conflict { what: "there is no such source" };
        let &slot = self.of_source(source).first().ok_or(none)?;
        let info = header.to_json();
        let n = self.line(slot)?.n;
        draft.update(slot, &Line { n, ..header_line(source, &info) })
    }

    /// Notes observations that are merged into a store, which has yet to change. After a rollback
    /// in the same draft, `back` tells what it did.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn observe(
        &self,
        draft: &mut Draft,
        store: &Store,
        observed: Observed<'_>,
        back: Option<&Rollback>,
    ) -> Result<()> {
        let Observed { batch, source, .. } = observed;
        let first = draft.next;
        let mut based: HashSet<&[u8]> = HashSet::new();
        for item in &batch.items {
            let key = batch.bytes(item.key);
            let state = match back.and_then(|back| back.outcome(key)) {
                // The rollback has left all lines that count as they are.
                Some(true) => None,
                Some(false) => Some(State::Fresh),
                None => Some(self.state(key, back.map(|back| &back.source[..]))?),
            };
            match state {
                Some(State::Placed(slot, line)) => {
                    if source.is_none() {
                        continue;
                    }
                    if based.insert(key) {
                        let record = store.get(key, item.hash).unwrap_or(b"null");
                        draft.update(slot, &Line { kind: Kind::Add, record, ..line })?;
                    }
                }
                Some(State::Fresh) if source.is_none() => {
                    if based.insert(key) {
                        let key = Some(text(key)?);
                        draft.insert(&mut Line { key, batch: first, ..Line::new(Kind::At) })?;
                    }
                    continue;
                }
                // Entities that came without the ledger's knowledge.
                Some(State::Fresh) if back.is_none_or(|back| back.outcome(key).is_none()) => {
                    if let Some(record) = store.get(key, item.hash)
                        && based.insert(key)
                    {
                        let key = Some(text(key)?);
                        let base = Line { key, batch: first, record, ..Line::new(Kind::Add) };
                        draft.insert(&mut base.clone())?;
                    }
                }
                _ => {}
            }
            self.note(draft, observed, item, Kind::Add, first)?;
        }
        Ok(())
    }

    /// Notes what a source says without being merged. The source must be there or announced.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn record(&self, draft: &mut Draft, observed: Observed<'_>) -> Result<()> {
        let first = draft.next;
        let items = &observed.batch.items;
        items.iter().try_for_each(|item| self.note(draft, observed, item, Kind::Record, first))
    }

    /// Notes an item of a source that is of no entity, as JSON.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn record_raw(&self, draft: &mut Draft, source: &str, record: &[u8]) -> Result<()> {
        let (source, batch) = (Some(Cow::Borrowed(source)), draft.next);
        draft.insert(&mut Line { source, batch, record, ..Line::new(Kind::Record) })
    }

    fn note(
        &self,
        draft: &mut Draft,
        observed: Observed<'_>,
        item: &Item,
        kind: Kind,
        first: u64,
    ) -> Result<()> {
        let Observed { batch, source, defaults } = observed;
        let record = batch.bytes(item.record);
        let mut ranges = Vec::new();
        let unset = match defaults {
            Some(plan) => {
                unset::of_defaults(plan, record, &mut ranges);
                &ranges[..]
            }
            None => &batch.unset[item.unset.0 as usize..item.unset.1 as usize],
        };
        let mut json = Vec::new();
        for range in unset {
            for bound in [range.start, range.end] {
                json.push(if json.is_empty() { b'[' } else { b',' });
                number::write_i64(&mut json, i64::from(bound));
            }
        }
        json.extend_from_slice(if json.is_empty() { b"null" } else { b"]" });
        let key = Some(text(batch.bytes(item.key))?);
        let source = source.map(Cow::Borrowed);
        let line = Line { source, key, batch: first, unset: &json, record, ..Line::new(kind) };
        draft.insert(&mut line.clone())
    }

    /// Notes that entities are replaced (`put`) or rewritten (`edit`); of several with the same key
    /// the last counts.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn replace(&self, draft: &mut Draft, batch: &Batch, kind: Kind) -> Result<()> {
        let mut last: HashMap<&[u8], &Item> = HashMap::new();
        for item in &batch.items {
            last.insert(batch.bytes(item.key), item);
        }
        let batch_number = draft.next;
        for item in &batch.items {
            let Some(item) = last.remove(batch.bytes(item.key)) else { continue };
            let (key, record) = (batch.bytes(item.key), batch.bytes(item.record));
            let new = Line { key: Some(text(key)?), batch: batch_number, ..Line::new(kind) };
            match self.state(key, None)? {
                State::Fresh => draft.insert(&mut Line { kind: Kind::At, ..new })?,
                State::Placed(..) => {}
                // What a rewrite is made of, where nothing came since it was replaced, is that.
                State::Sourced(slot, old) if matches!(old.kind, Kind::Put | Kind::Edit) => {
                    let kind = if old.kind == Kind::Put { Kind::Put } else { kind };
                    draft.update(slot, &Line { n: old.n, kind, record, ..new })?;
                }
                State::Sourced(..) => draft.insert(&mut Line { record, ..new })?,
            }
        }
        Ok(())
    }

    /// Notes that entities are removed: what sources said of them stays, and no longer counts.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn remove<'k>(
        &self,
        draft: &mut Draft,
        keys: impl Iterator<Item = &'k [u8]>,
    ) -> Result<()> {
        for key in keys {
            let mut entries = self.entries(key)?;
            entries.iter_mut().filter(|entry| entry.line.source.is_none()).for_each(|e| e.drop());
            settle(&mut entries, false);
            let stays = entries.iter().any(|entry| entry.stays());
            draft.emit(&entries)?;
            if stays {
                draft.insert(&mut Line { key: Some(text(key)?), ..Line::new(Kind::Gone) })?;
            }
        }
        Ok(())
    }

    /// Takes out of a draft the observations that were refused, by key and record: those of a
    /// source are noted as set aside.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn set_aside<'r>(
        draft: &mut Draft,
        source: Option<&str>,
        refused: impl Iterator<Item = (&'r [u8], &'r [u8])>,
    ) -> Result<()> {
        let joined = |key: &[u8], record: &[u8]| [key, record].concat();
        let mut counts: HashMap<Vec<u8>, usize> = HashMap::new();
        refused.for_each(|(key, record)| *counts.entry(joined(key, record)).or_default() += 1);
        if counts.is_empty() {
            return Ok(());
        }
        draft.revise(|line| {
            if line.kind != Kind::Add || line.source.as_deref() != source {
                return true;
            }
            let key = line.key.as_deref().unwrap_or_default().as_bytes();
            match counts.get_mut(&joined(key, line.record)) {
                Some(count) if *count > 0 => {
                    *count -= 1;
                    line.kind = Kind::Aside;
                    source.is_some()
                }
                _ => true,
            }
        })
    }

    /// What a ledger would be that keeps what sources say, as records, and knows the place of
    /// each entity of a store: after all entities were removed or replaced.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn restart(&self, entities: Option<&Snapshot>) -> Result<Ledger> {
        let mut draft = Draft::new(self.next);
        let lines = self.lines.snapshot()?;
        for entry in &lines {
            let line = Line::parse(entry.record).ok_or_else(unreadable)?;
            let kind = match line.kind {
                Kind::Source => Kind::Source,
                Kind::Add | Kind::Record | Kind::Aside if line.source.is_some() => Kind::Record,
                _ => continue,
            };
            draft.insert(&mut Line { kind, ..line })?;
        }
        draft.place_all(entities)?;
        Ledger::of(draft.into_changes()?)
    }

    /// The ledger that a draft of an empty one makes, with the place of each entity of a store.
    ///
    /// # Errors
    /// As [`Store::apply`].
    pub fn founded(mut draft: Draft, entities: Option<&Snapshot>) -> Result<Ledger> {
        draft.place_all(entities)?;
        Ledger::of(draft.into_changes()?)
    }

    /// The ledger of lines that were read, and the places of entities that it does not know.
    ///
    /// # Errors
    /// As [`Store::apply`].
    pub fn restored(lines: Changes, entities: &Snapshot) -> Result<Ledger> {
        let mut ledger = Ledger::of(lines)?;
        let mut draft = ledger.draft();
        for entry in entities {
            if ledger.arrival(entry.key)?.is_none() {
                draft.insert(&mut Line { key: Some(text(entry.key)?), ..Line::new(Kind::At) })?;
            }
        }
        if !draft.is_empty() {
            let next = draft.next;
            ledger.lines.apply(draft.into_changes()?)?;
            ledger.next = next;
        }
        Ok(ledger)
    }

    /// What the lines of a key say, those of one source left out.
    fn state(&self, key: &[u8], without: Option<&str>) -> Result<State<'_>> {
        for &slot in self.of_key(key).iter().rev() {
            let line = self.line(slot)?;
            if without.is_some() && line.source.as_deref() == without {
                continue;
            }
            match line.kind {
                Kind::Gone => break,
                Kind::At => return Ok(State::Placed(slot, line)),
                Kind::Add | Kind::Put | Kind::Edit => return Ok(State::Sourced(slot, line)),
                Kind::Source | Kind::Record | Kind::Aside => {}
            }
        }
        Ok(State::Fresh)
    }
}

impl Draft {
    fn place_all(&mut self, entities: Option<&Snapshot>) -> Result<()> {
        for entry in entities.into_iter().flatten() {
            self.insert(&mut Line { key: Some(text(entry.key)?), ..Line::new(Kind::At) })?;
        }
        Ok(())
    }
}

fn header_line<'a>(source: &'a str, info: &'a [u8]) -> Line<'a> {
    Line { source: Some(Cow::Borrowed(source)), info, ..Line::new(Kind::Source) }
}

/// A key text as a str.
pub(super) fn text(key: &[u8]) -> Result<Cow<'_, str>> {
    let text = std::str::from_utf8(key);
    text.map(Cow::Borrowed).map_err(|_| Error::Conflict { what: "a key text is no UTF-8" })
}

/// The record of an entity of a store.
pub(super) fn find(store: &Store, key: &[u8]) -> Option<u32> {
    store.find(key, hash(key))
}
