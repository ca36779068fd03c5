//! Lists and sets that grow by what they do not hold yet.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use memchr::memchr;

use super::split;
use crate::error::{Error, Result, reserve};
use crate::json::scan::MAX_DEPTH;

/// Up to this many entries comparing them one by one beats hashing.
const FEW: usize = 12;

/// So often a longer list is searched entry by entry before its entries are hashed: hashing one
/// costs as much as comparing ten, and most records meet a few new elements only. Two elements
/// added to a list of a thousand took five times as long with the table.
const SEARCHES: u8 = 8;

/// Finds bytes in a list that only grows.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Apart, since most lists stay short.
    table: Option<Box<(HashTable<u32>, RandomState)>>,
    /// How many entries of the list the table knows.
    known: usize,
    /// How often a longer list was searched without a table.
    searched: u8,
}

impl Index {
    /// The first of `len` entries that equals `bytes`; `entry` gives an entry by its place.
    pub(super) fn find<'b>(
        &mut self,
        bytes: &[u8],
        len: usize,
        entry: impl Fn(usize) -> &'b [u8],
    ) -> Result<Option<usize>> {
        if len <= FEW || self.searched < SEARCHES {
            self.searched += u8::from(len > FEW);
            return Ok((0..len).find(|&place| entry(place) == bytes));
        }
        let (table, hasher) = &mut **self.table.get_or_insert_default();
        let hash = |bytes: &[u8]| hasher.hash_one(bytes);
        let rehash = |&place: &u32| hash(entry(place as usize));
        table
            .try_reserve(len - self.known, rehash)
            .map_err(|_| Error::OutOfMemory { bytes: len * size_of::<u32>() })?;
        while self.known < len {
            let bytes = entry(self.known);
            let place = u32::try_from(self.known)
                .map_err(|_| Error::TooLarge { what: "a list holds 2^32 - 1 elements" })?;
            let same = |&place: &u32| entry(place as usize) == bytes;
            table.entry(hash(bytes), same, rehash).or_insert(place);
            self.known += 1;
        }
        let same = |&place: &u32| entry(place as usize) == bytes;
        Ok(table.find(hash(bytes), same).map(|&place| place as usize))
    }
}

/// The elements of a list or set.
#[derive(Debug)]
pub(super) struct Elements<'a> {
    items: Vec<&'a [u8]>,
    /// What elements are compared by, where that can differ from their bytes: the same with
    /// object keys sorted. Empty where objects have a fixed order.
    forms: Vec<Option<Box<[u8]>>>,
    index: Index,
    set: bool,
    free: bool,
}

impl<'a> Elements<'a> {
    /// Splits an array. `set`: its elements are kept sorted; `free`: they may hold objects whose
    /// keys have no fixed order.
    pub(super) fn split(text: &'a [u8], set: bool, free: bool) -> Result<Option<Self>> {
        let mut elements =
            Elements { items: Vec::new(), forms: Vec::new(), index: Index::default(), set, free };
        Ok(elements.append(text)?.map(|()| elements))
    }

    /// Adds all elements of an array.
    pub(super) fn append(&mut self, text: &'a [u8]) -> Result<Option<()>> {
        let mut done = Ok(());
        let read = split::elements(text, 0, |start, end| {
            if done.is_ok() {
                let form = if self.free { form(&text[start..end]) } else { None };
                done = self.push(&text[start..end], form);
            }
        });
        done.map(|()| read)
    }

    /// Adds the elements of an array that are not here yet, each once; an empty list takes
    /// the array as it stands.
    pub(super) fn unite(&mut self, text: &'a [u8]) -> Result<Option<()>> {
        if self.items.is_empty() {
            return self.append(text);
        }
        let mut done = Ok(());
        let read = split::elements(text, 0, |start, end| {
            if done.is_ok() {
                done = self.insert(&text[start..end]);
            }
        });
        done.map(|()| read)
    }

    fn insert(&mut self, bytes: &'a [u8]) -> Result<()> {
        let form = if self.free { form(bytes) } else { None };
        let (items, forms) = (&self.items, &self.forms);
        let entry = |place: usize| match forms.get(place) {
            Some(Some(form)) => form,
            _ => items[place],
        };
        match self.index.find(form.as_deref().unwrap_or(bytes), items.len(), entry)? {
            Some(_) => Ok(()),
            None => self.push(bytes, form),
        }
    }

    fn push(&mut self, bytes: &'a [u8], form: Option<Box<[u8]>>) -> Result<()> {
        reserve(&mut self.items, 1)?;
        self.items.push(bytes);
        if self.free {
            reserve(&mut self.forms, 1)?;
            self.forms.push(form);
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// The length of the array's JSON, or a byte more.
    pub(super) fn bytes(&self) -> usize {
        self.items.iter().map(|item| item.len() + 1).sum::<usize>() + 2
    }

    /// Appends the array's canonical JSON to where there is room.
    pub(super) fn put(&mut self, out: &mut Vec<u8>) {
        if self.set && !self.items.is_sorted() {
            self.items.sort_unstable();
        }
        out.push(b'[');
        for (index, item) in self.items.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(item);
        }
        out.push(b']');
    }
}

/// The value with the keys of all its objects sorted, where that differs from the value.
fn form(text: &[u8]) -> Option<Box<[u8]>> {
    memchr(b'{', text)?;
    let mut out = Vec::with_capacity(text.len());
    sorted(text, 0, &mut Vec::new(), &mut out)?;
    (out != text).then(|| out.into_boxed_slice())
}

/// Appends a value with the keys of its objects sorted. `parts` is room to work in.
fn sorted(
    text: &[u8],
    depth: usize,
    parts: &mut Vec<(usize, usize)>,
    out: &mut Vec<u8>,
) -> Option<()> {
    if depth >= MAX_DEPTH {
        return None;
    }
    let base = parts.len();
    match text.first()? {
        b'{' => {
            split::members(text, 0, parts)?;
            let mut members: Vec<_> = parts[base..].chunks_exact(2).map(|m| (m[0], m[1])).collect();
            members.sort_by_key(|&((start, end), _)| &text[start..end]);
            out.push(b'{');
            for (index, &(key, value)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(&text[key.0..key.1]);
                out.push(b':');
                sorted(&text[value.0..value.1], depth + 1, parts, out)?;
            }
            out.push(b'}');
        }
        b'[' => {
            split::elements(text, 0, |start, end| parts.push((start, end)))?;
            let count = parts.len() - base;
            out.push(b'[');
            for index in 0..count {
                if index > 0 {
                    out.push(b',');
                }
                let (start, end) = parts[base + index];
                sorted(&text[start..end], depth + 1, parts, out)?;
            }
            out.push(b']');
        }
        _ => out.extend_from_slice(text),
    }
    parts.truncate(base);
    Some(())
}
