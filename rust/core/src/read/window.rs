//! The part of a file that is in memory while its values are read one after the other.

use std::io::Read;

use memchr::memmem::Finder;
use xxhash_rust::xxh3::Xxh3Default;

use super::Source;
use crate::error::{Error, Progress, Result, reserve};
use crate::file::Digest;
use crate::json::scan::{validate, white};

/// As much is read at once; the window holds more only for a value that is longer.
const BLOCK: usize = if cfg!(test) { 50 } else { 1 << 20 };

/// So much is kept of what is done, where an element's line begins.
const BEFORE: usize = 64;

pub(super) struct Window<'a, 'b> {
    pub source: &'a Source,
    /// The bytes in memory.
    pub bytes: Vec<u8>,
    /// Where the next value is looked for.
    pub at: usize,
    /// Records read, for progress.
    pub records: u64,
    progress: &'a mut Progress<'b>,
    /// Where the window begins in the file.
    begin: u64,
    /// An offset of the window, and how many newlines of the file are before it.
    counted: (usize, u64),
    /// Whether the window reaches the end of the file.
    end: bool,
    hash: Box<Xxh3Default>,
}

impl<'a, 'b> Window<'a, 'b> {
    pub fn new(source: &'a Source, progress: &'a mut Progress<'b>) -> Self {
        Window {
            source,
            bytes: Vec::new(),
            at: 0,
            records: 0,
            progress,
            begin: 0,
            counted: (0, 0),
            end: false,
            hash: Box::default(),
        }
    }

    /// Goes to the next byte that is no white space.
    pub fn peek(&mut self) -> Result<Option<u8>> {
        loop {
            self.at = white(&self.bytes, self.at);
            match self.bytes.get(self.at) {
                None if !self.end => self.read()?,
                byte => return Ok(byte.copied()),
            }
        }
    }

    /// What is in memory of what comes next.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// The end of the value that begins here, and ends before `margin` occurs, if that is not empty; all
    /// of it is in memory then.
    pub fn value(&mut self, margin: &[u8]) -> Result<usize> {
        let finder = Finder::new(margin);
        loop {
            let text = &self.bytes[self.at..];
            let found = finder.find(text).filter(|_| !margin.is_empty());
            let limit = self.at + found.unwrap_or(text.len());
            let whole = self.end || found.is_some();
            match validate(&self.bytes[..limit], self.at) {
                Ok(end) if whole || end < limit => return Ok(end),
                Err(Error::Json { at, .. }) if !whole && self.goes_on(at) => {}
                Err(error) => return Err(error),
                Ok(_) => {}
            }
            self.read()?;
        }
    }

    /// Goes to where these bytes occur next, or to the end of the file; whether they do. Nothing of
    /// what lies between is kept.
    pub fn pass(&mut self, bytes: &[u8]) -> Result<bool> {
        let finder = Finder::new(bytes);
        loop {
            if let Some(found) = finder.find(self.rest()) {
                self.at += found;
                return Ok(true);
            }
            if self.end {
                self.at = self.bytes.len();
                return Ok(false);
            }
            self.at = self.at.max((self.bytes.len() + 1).saturating_sub(bytes.len()));
            self.read()?;
        }
    }

    /// Reads to the end of the file, keeping nothing.
    pub fn finish(&mut self) -> Result<()> {
        while !self.end {
            self.at = self.bytes.len();
            self.read()?;
        }
        Ok(())
    }

    /// Whether what is wrong here may be right when more is read: a value, an escape or a number
    /// that the window cuts.
    fn goes_on(&self, at: usize) -> bool {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let scalar = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        rest.len() < 6 || rest.iter().all(scalar)
    }

    /// Drops what is done, but for its end, and reads the next block.
    fn read(&mut self) -> Result<()> {
        let done = self.at.saturating_sub(BEFORE);
        self.counted = (self.at - done, self.line(self.at) - 1);
        self.begin = self.offset(done);
        self.bytes.drain(..done);
        self.at -= done;
        let old = self.bytes.len();
        // As much again as is there, so that a long value is not validated too often.
        let more = BLOCK.max(old);
        reserve(&mut self.bytes, more)?;
        let count = (&self.source.file)
            .take(more as u64)
            .read_to_end(&mut self.bytes)
            .map_err(|error| self.source.error(error))?;
        self.end = count == 0;
        self.hash.update(&self.bytes[old..]);
        let done = self.offset(self.bytes.len());
        if (self.progress)(done, self.records) { Ok(()) } else { Err(Error::Interrupted) }
    }

    /// Where an offset of the window is in the file.
    pub fn offset(&self, at: usize) -> u64 {
        self.begin + at as u64
    }

    /// The line of an offset of the window, from 1.
    pub fn line(&mut self, at: usize) -> u64 {
        let (from, lines) = self.counted;
        let newlines = |from: usize, to: usize| {
            let bytes = self.bytes.get(from..to).unwrap_or_default();
            memchr::memchr_iter(b'\n', bytes).count() as u64
        };
        self.counted = (at, lines + newlines(from, at) - newlines(at, from));
        self.counted.1 + 1
    }

    /// Size and checksum of what was read.
    pub fn digest(&self) -> Digest {
        Digest { bytes: self.offset(self.bytes.len()), checksum: self.hash.digest() }
    }
}
