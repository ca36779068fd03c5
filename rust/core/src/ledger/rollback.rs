//! Taking back what a source said: which entities go, and of what the others are made again.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::entries::{Entry, settle, window};
use super::line::{Header, Kind, Line};
use super::observe::{find, text};
use super::{Draft, Ledger};
use crate::batch::{Batch, Span, Unset};
use crate::error::{Error, Result, reserve};
use crate::key;
use crate::store::Store;

/// What taking back a source does.
#[derive(Debug)]
pub struct Rollback {
    /// The source.
    pub source: String,
    /// What happens to the ledger.
    pub draft: Draft,
    /// The entities that change, in order of what the source said of them first.
    pub rebuilt: Vec<Rebuilt>,
    /// The keys of entities whose rewrite (`edit`) was dropped, since it was made of what the source
    /// said.
    pub unedited: Vec<Vec<u8>>,
    /// Key text and record of the source's observations that were set aside.
    pub asides: Vec<(Vec<u8>, Vec<u8>)>,
    /// For each key of `rebuilt`, its place there.
    places: HashMap<Vec<u8>, usize>,
}

/// An entity that changes.
#[derive(Debug)]
pub struct Rebuilt {
    /// The text of its key.
    pub key: Vec<u8>,
    /// The lines that it is made of again; without any it goes.
    lines: Vec<u32>,
    /// Whether its value stays and only its place changes.
    pub stays: bool,
    /// The slot of the store before which it has its place from now on, if not where it is, and
    /// what tells it from others that come before that slot too: lesser ones come first.
    pub before: Option<(u32, u64)>,
}

impl Rebuilt {
    /// The number of observations that it is made of again.
    #[must_use]
    pub fn survivors(&self) -> usize {
        self.lines.len()
    }
}

impl Rollback {
    /// What happens to the entity of a key.
    #[must_use]
    pub fn rebuilt(&self, key: &[u8]) -> Option<&Rebuilt> {
        self.places.get(key).map(|&place| &self.rebuilt[place])
    }

    /// Whether an entity is made again (true) or goes (false), or is not touched.
    pub(super) fn outcome(&self, key: &[u8]) -> Option<bool> {
        let rebuilt = self.rebuilt(key)?;
        Some(rebuilt.stays || !rebuilt.lines.is_empty())
    }
}

/// How a source is taken back.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// Whether every entity of which the source says something goes, whatever others say.
    pub touched: bool,
    /// What is known of the source from now on, where it is about to say something new.
    pub header: Option<&'a Header<'a>>,
    /// The keys of what it is about to say.
    pub renewed: Option<&'a HashSet<Vec<u8>>>,
}

impl Ledger {
    /// Works out what it means to take back what a source said; `None` without such a source.
    /// Costs what the source and its entities' other sources said.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn rollback(
        &self,
        store: &Store,
        source: &str,
        options: Options<'_>,
    ) -> Result<Option<Rollback>> {
        let Some((&head, slots)) = self.of_source(source).split_first() else {
            return Ok(None);
        };
        let mut back = Rollback {
            source: source.to_owned(),
            draft: self.draft(),
            rebuilt: Vec::new(),
            unedited: Vec::new(),
            asides: Vec::new(),
            places: HashMap::new(),
        };
        match options.header {
            Some(header) => self.describe(&mut back.draft, source, header)?,
            None => back.draft.remove(head)?,
        }
        let mut seen: HashSet<Cow<'_, str>> = HashSet::new();
        for &slot in slots {
            let line = self.line(slot)?;
            let Some(key) = line.key else {
                back.draft.remove(slot)?;
                continue;
            };
            if line.kind == Kind::Aside {
                back.asides.push((key.as_bytes().to_vec(), line.record.to_vec()));
            }
            if seen.insert(key.clone()) {
                self.take_back(store, key.as_bytes(), source, options, &mut back)?;
            }
        }
        Ok(Some(back))
    }

    /// Takes back what the source said of one key.
    fn take_back(
        &self,
        store: &Store,
        key: &[u8],
        source: &str,
        options: Options<'_>,
        back: &mut Rollback,
    ) -> Result<()> {
        let mut entries = self.entries(key)?;
        let own = |entry: &Entry<'_>| entry.line.source.as_deref() == Some(source);
        let start = window(&entries);
        let slot = find(store, key);
        let said = |entry: &Entry<'_>| own(entry) && entry.line.is_sourced();
        let hit = slot.is_some() && entries[start..].iter().any(said);
        let recorded = entries[start..].iter().any(|entry| entry.line.kind == Kind::Record);
        let first_place = entries[start..].iter().find(|entry| entry.is_place()).map(Entry::slot);
        entries.iter_mut().filter(|entry| own(entry)).for_each(Entry::drop);

        // A rewrite that came after something the source said is made of it.
        let first_said = entries[start..].iter().position(said).map(|place| start + place);
        let mut unedited = false;
        for entry in entries.iter_mut().skip(first_said.unwrap_or(usize::MAX)) {
            if entry.line.kind == Kind::Edit {
                entry.drop();
                unedited = true;
            }
        }

        let mut outcome = None;
        if hit && options.touched {
            outcome = Some(Vec::new());
        } else if hit && recorded {
            let sourced = |entry: &&Entry<'_>| entry.stays() && entry.line.is_sourced();
            outcome = Some(entries[start..].iter().filter(sourced).map(Entry::slot).collect());
            for entry in &mut entries[start..] {
                if Some(entry.slot()) == first_place && !(entry.stays() && entry.line.is_sourced())
                {
                    entry.hollow();
                } else if entry.line.source.is_none() {
                    entry.drop();
                }
            }
        } else if hit {
            let put = entries[start..].iter().rposition(|entry| entry.line.kind == Kind::Put);
            let put = start + put.unwrap_or(0);
            let counted = &entries[put..];
            if let Some(first) = counted.iter().position(said) {
                let edit = counted[..first].iter().rposition(|entry| entry.line.kind == Kind::Edit);
                let made_of = |entry: &&Entry<'_>| {
                    entry.stays() && matches!(entry.line.kind, Kind::Add | Kind::Put | Kind::Edit)
                };
                let base = &counted[edit.unwrap_or(0)..];
                outcome = Some(base.iter().filter(made_of).map(Entry::slot).collect::<Vec<_>>());
            }
        }

        let present = slot.is_some() && outcome.as_ref().is_none_or(|lines| !lines.is_empty());
        if slot.is_some() && !present {
            entries.iter_mut().filter(|e| e.line.source.is_none()).for_each(Entry::drop);
        }
        let renewed = options.renewed.is_some_and(|renewed| renewed.contains(key));
        if !(renewed && present) {
            settle(&mut entries, present);
        }
        back.draft.emit(&entries)?;
        let leftover = entries.iter().any(|entry| entry.stays() && entry.line.source.is_some());
        if slot.is_some() && !present && leftover {
            back.draft.insert(&mut Line { key: Some(text(key)?), ..Line::new(Kind::Gone) })?;
        }

        let mut before = None;
        if let Some(slot) = slot.filter(|_| present) {
            let place = entries[start..].iter().find(|entry| entry.stays() && entry.is_place());
            if let Some(place) = place
                && first_place != Some(place.slot())
            {
                let n = place.line.n;
                before = Some((self.place(store, slot, n)?, n));
            }
        }
        if outcome.is_some() || before.is_some() {
            if unedited {
                back.unedited.push(key.to_vec());
            }
            let stays = outcome.is_none();
            let lines = outcome.unwrap_or_default();
            back.places.insert(key.to_vec(), back.rebuilt.len());
            back.rebuilt.push(Rebuilt { key: key.to_vec(), lines, stays, before });
        }
        Ok(())
    }

    /// What is known of a source goes; what it said of entities stays as said by no source.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn detach(&self, draft: &mut Draft, store: &Store, source: &str) -> Result<()> {
        let mut seen: HashSet<Cow<'_, str>> = HashSet::new();
        for &slot in self.of_source(source) {
            let Some(key) = self.line(slot)?.key else {
                draft.remove(slot)?;
                continue;
            };
            if !seen.insert(key.clone()) {
                continue;
            }
            let mut entries = self.entries(key.as_bytes())?;
            let start = window(&entries);
            for (place, entry) in entries.iter_mut().enumerate() {
                if entry.line.source.as_deref() != Some(source) {
                    continue;
                }
                if entry.line.kind == Kind::Add && place >= start {
                    entry.change(|line| line.source = None);
                } else {
                    entry.drop();
                }
            }
            settle(&mut entries, find(store, key.as_bytes()).is_some());
            draft.emit(&entries)?;
        }
        Ok(())
    }

    /// The observations that these entities are made of again, in order of arrival, each with what
    /// was not set. With `call`, only those that came by the call of this place among those of their
    /// key.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn survivors<'r>(
        &self,
        rebuilt: impl Iterator<Item = &'r Rebuilt>,
        call: Option<usize>,
    ) -> Result<Batch> {
        let mut wanted: Vec<u32> = Vec::new();
        for entity in rebuilt {
            let (mut place, mut current) = (0, None);
            for &slot in &entity.lines {
                if let Some(call) = call {
                    let batch = self.line(slot)?.batch;
                    place += usize::from(current.is_some_and(|current| current != batch));
                    current = Some(batch);
                    if place != call {
                        continue;
                    }
                }
                reserve(&mut wanted, 1)?;
                wanted.push(slot);
            }
        }
        wanted.sort_unstable();
        let mut batch = Batch::default();
        for slot in wanted {
            push(&mut batch, &self.line(slot)?)?;
        }
        Ok(batch)
    }
}

/// Appends the observation of a line to a batch.
fn push(batch: &mut Batch, line: &Line<'_>) -> Result<()> {
    let narrow = |value: usize| {
        u32::try_from(value).map_err(|_| Error::TooLarge { what: "a batch holds at most 4 GiB" })
    };
    let first = batch.unset.len();
    for (start, end) in line.unset() {
        reserve(&mut batch.unset, 1)?;
        batch.unset.push(Unset { start, end });
    }
    let unset = (narrow(first)?, narrow(batch.unset.len())?);
    let span = |chunk: u32, bytes: &mut Vec<u8>, text: &[u8], end: &[u8]| {
        let start = narrow(bytes.len())?;
        reserve(bytes, text.len() + end.len())?;
        bytes.extend_from_slice(text);
        bytes.extend_from_slice(end);
        Ok::<_, Error>(Span { chunk, start, len: narrow(text.len())? })
    };
    let (chunk, bytes) = batch.open_records()?;
    let record = span(chunk, bytes, line.record, b",\n")?;
    let key = line.key.as_deref().unwrap_or_default().as_bytes();
    let (chunk, bytes) = batch.open_keys()?;
    let key_span = span(chunk, bytes, key, b"")?;
    reserve(&mut batch.items, 1)?;
    let hash = key::hash(key);
    batch.items.push(crate::batch::Item { record, key: key_span, hash, unset });
    Ok(())
}
