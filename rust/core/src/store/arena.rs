//! The arena: chunks of bytes, what is live in each, and the open ends that small changes go to.

use std::sync::Arc;

use crate::batch::Span;
use crate::bytes::Bytes;
use crate::error::{Error, Result, reserve, spare};

/// The size of chunks that the arena fills by itself.
pub(super) const CHUNK: usize = 1 << 20;

/// Small changes are appended to a chunk of at most this size: a mutator copies no more than
/// this when a snapshot holds the chunk.
const TAIL: usize = 256 << 10;

/// What stands between two records, in the file as in a chunk.
pub(super) const SEPARATOR: &[u8] = b",\n";

/// Records and built keys stand in chunks of their own, so that a dump finds runs of records.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Record,
    Key,
}

impl Kind {
    fn separator(self) -> &'static [u8] {
        match self {
            Kind::Record => SEPARATOR,
            Kind::Key => b"",
        }
    }

    /// How many bytes of an arena a span of this kind takes.
    pub fn weight(self, span: Span) -> usize {
        span.len as usize + self.separator().len()
    }
}

/// What is to happen to the bytes of a chunk.
#[derive(Debug, Clone, Copy)]
pub(super) enum Home<'a> {
    /// They stay, in the arena's chunk of this number.
    At(u32),
    /// They are copied out of these bytes.
    Copy(&'a [u8]),
}

/// The chunks of a store. What is live in them is counted here; where it stands, the slots know.
#[derive(Debug, Clone, Default)]
pub(super) struct Arena {
    /// The chunks; `None` where one was dropped and its number is free.
    pub chunks: Vec<Option<Arc<Bytes>>>,
    /// The live bytes of each chunk, by [`Kind`], separators included.
    pub live: Vec<[usize; 2]>,
    free: Vec<u32>,
    tails: [Option<u32>; 2],
    /// The live bytes of all chunks.
    pub total: usize,
    /// The bytes of all chunks.
    pub held: usize,
}

/// The bytes of a span; none where they are gone, as those of tombstones are.
pub(super) fn bytes(chunks: &[Option<Arc<Bytes>>], span: Span) -> &[u8] {
    let chunk = chunks.get(span.chunk as usize).and_then(Option::as_deref);
    chunk.and_then(|chunk| chunk.get(span.range())).unwrap_or_default()
}

impl Arena {
    /// The bytes of a span.
    pub fn bytes(&self, span: Span) -> &[u8] {
        bytes(&self.chunks, span)
    }

    /// Takes a chunk as it is. Nothing of it is live yet.
    pub fn adopt(&mut self, bytes: Bytes) -> Result<u32> {
        if self.free.is_empty() {
            let number = u32::try_from(self.chunks.len())
                .map_err(|_| Error::TooLarge { what: "a store holds at most 2^32 chunks" })?;
            reserve(&mut self.chunks, 1)?;
            reserve(&mut self.live, 1)?;
            // Room for the number of every chunk, so that dropping one cannot fail.
            reserve(&mut self.free, self.chunks.len() + 1)?;
            self.chunks.push(None);
            self.live.push([0; 2]);
            self.free.push(number);
        }
        spare()?;
        let number = self.free.pop().unwrap_or_default();
        self.held += bytes.len();
        self.chunks[number as usize] = Some(Arc::new(bytes));
        Ok(number)
    }

    /// Copies bytes in. `upcoming` is how many bytes of this kind come in one go, these
    /// included: much gets chunks of its own, little goes to the open chunk.
    fn append(&mut self, kind: Kind, bytes: &[u8], upcoming: usize) -> Result<Span> {
        let more = bytes.len() + kind.separator().len();
        let number = match self.tails[kind as usize] {
            Some(number) if self.has_room(number, more, upcoming) => number,
            _ => {
                let room = more.max(upcoming.min(CHUNK));
                let number = self.adopt(Bytes::with_room(room)?)?;
                self.tails[kind as usize] = Some(number);
                number
            }
        };
        let chunk = own(&mut self.chunks[number as usize], more)?;
        let start = chunk.len();
        let span = Span { chunk: number, start: count(start)?, len: count(bytes.len())? };
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(kind.separator());
        self.held += more;
        Ok(span)
    }

    fn has_room(&self, number: u32, more: usize, upcoming: usize) -> bool {
        self.chunks[number as usize].as_ref().is_some_and(|chunk| {
            let limit = if upcoming > TAIL { chunk.capacity() } else { TAIL };
            chunk.len().saturating_add(more) <= limit
        })
    }

    /// Brings a record and its key to where they stay, without counting them as live.
    /// `upcoming` is how many bytes of records and of keys still come to be copied.
    pub fn settle<'a>(
        &mut self,
        record: Span,
        key: Span,
        home: impl Fn(u32) -> Home<'a>,
        upcoming: &mut [usize; 2],
    ) -> Result<(Span, Span)> {
        let mut settle = |kind: Kind, span: Span| match home(span.chunk) {
            Home::At(chunk) => Ok(Span { chunk, ..span }),
            Home::Copy(bytes) => {
                let left = &mut upcoming[kind as usize];
                let to = self.append(kind, &bytes[span.range()], *left)?;
                *left = left.saturating_sub(kind.weight(span));
                Ok(to)
            }
        };
        let to = settle(Kind::Record, record)?;
        if key.within(record) {
            let start = to.start + (key.start - record.start);
            return Ok((to, Span { chunk: to.chunk, start, ..key }));
        }
        Ok((to, settle(Kind::Key, key)?))
    }

    /// Counts a record and its key as live.
    pub fn charge(&mut self, record: Span, key: Span) {
        for (kind, span) in parts(record, key) {
            self.live[span.chunk as usize][kind as usize] += kind.weight(span);
            self.total += kind.weight(span);
        }
    }

    /// Overwrites a record and its key, which are about to be released, where no snapshot reads them.
    pub fn erase(&mut self, record: Span, key: Span) {
        for (_, span) in parts(record, key) {
            let chunk = self.chunks[span.chunk as usize].as_mut();
            if let Some(bytes) = chunk.and_then(Arc::get_mut) {
                bytes[span.range()].fill(b' ');
            }
        }
    }

    /// Counts a record and its key as dead; a chunk without life is dropped.
    pub fn release(&mut self, record: Span, key: Span) {
        for (kind, span) in parts(record, key) {
            self.live[span.chunk as usize][kind as usize] -= kind.weight(span);
            self.total -= kind.weight(span);
            self.drop_dead(span.chunk as usize);
        }
    }

    /// Drops every chunk in which nothing is live.
    pub fn sweep(&mut self) {
        (0..self.chunks.len()).for_each(|number| self.drop_dead(number));
    }

    fn drop_dead(&mut self, number: usize) {
        if self.live[number] == [0; 2]
            && let Some(chunk) = self.chunks[number].take()
        {
            self.held -= chunk.len();
            let number = number as u32;
            self.free.push(number);
            for tail in &mut self.tails {
                *tail = tail.filter(|&tail| tail != number);
            }
        }
    }

    /// Appends go to new chunks from now on.
    pub fn close(&mut self) {
        self.tails = [None; 2];
    }

    /// The memory beyond the bytes of the chunks: spare room and lists.
    pub fn overhead(&self) -> usize {
        let spare = |chunk: &Arc<Bytes>| chunk.capacity() - chunk.len() + size_of::<Bytes>();
        self.chunks.iter().flatten().map(spare).sum::<usize>()
            + self.chunks.capacity() * size_of::<Option<Arc<Bytes>>>()
            + self.live.capacity() * size_of::<[usize; 2]>()
            + self.free.capacity() * size_of::<u32>()
    }
}

/// What a record and its key take of an arena: the key only where it is not a part of the record.
pub(super) fn parts(record: Span, key: Span) -> impl Iterator<Item = (Kind, Span)> {
    let built = (!key.within(record)).then_some((Kind::Key, key));
    [(Kind::Record, record)].into_iter().chain(built)
}

/// The vector of an open chunk with room for more; a copy of it where a snapshot holds it.
fn own(chunk: &mut Option<Arc<Bytes>>, more: usize) -> Result<&mut Vec<u8>> {
    let chunk = chunk.get_or_insert_default();
    if Arc::get_mut(chunk).is_none() {
        let mut copy = Bytes::with_room(chunk.len().saturating_add(more))?;
        copy.grown().extend_from_slice(chunk);
        spare()?;
        *chunk = Arc::new(copy);
    }
    let bytes = Arc::make_mut(chunk).grown();
    reserve(bytes, more)?;
    Ok(bytes)
}

fn count(bytes: usize) -> Result<u32> {
    u32::try_from(bytes).map_err(|_| Error::TooLarge { what: "a chunk holds at most 4 GiB" })
}
