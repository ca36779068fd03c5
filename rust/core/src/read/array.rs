//! Any JSON array of records, whatever its white space: streamed through a window, so that the
//! file and its records are never in memory at once.

use super::judge::{Judge, KEYS, span};
use super::window::Window;
use super::{Doubtful, Loaded, Source};
use crate::batch::{Batch, Item, Span};
use crate::check::Place;
use crate::error::{Error, Fault, Progress, Result, reserve};
use crate::json::compact::compact;
use crate::plan::{Node, Plan};

/// Reads a JSON array. With `skip`, what is no record becomes a fault.
pub(super) fn read(
    source: &Source,
    judge: &Judge,
    skip: bool,
    progress: &mut Progress,
) -> Result<Loaded> {
    Reader { skip, ..Reader::new(source, judge, progress) }.array()
}

/// Reads a JSON array of objects, counts them and lists faults, but keeps no record.
pub(super) fn survey(source: &Source, progress: &mut Progress) -> Result<Loaded> {
    let plan = Plan { nodes: vec![Node::Opaque], root: 0 };
    let judge = Judge { plan: &plan, key: None };
    Reader { skip: true, keep: false, ..Reader::new(source, &judge, progress) }.array()
}

struct Reader<'a, 'b> {
    window: Window<'a, 'b>,
    judge: &'a Judge<'a>,
    skip: bool,
    /// Whether records are kept.
    keep: bool,
    /// What an element begins with where each has a line of its own: a newline, the indentation
    /// of the first one, and its brace. In files laid out like this it occurs nowhere within an
    /// element: strings have no newlines, and what is nested is indented deeper.
    margin: Vec<u8>,
    /// Whether something was broken: then no element is believed to go on beyond the margin.
    broken: bool,
    /// The number of the record that is being read.
    record: u64,
    places: Vec<Place>,
    compacted: Vec<u8>,
    keys: Vec<u8>,
    loaded: Loaded,
}

impl<'a, 'b> Reader<'a, 'b> {
    fn new(source: &'a Source, judge: &'a Judge, progress: &'a mut Progress<'b>) -> Self {
        Reader {
            window: Window::new(source, progress),
            judge,
            skip: false,
            keep: true,
            margin: Vec::new(),
            broken: false,
            record: 0,
            places: judge.places(),
            compacted: Vec::new(),
            keys: Vec::new(),
            loaded: Loaded::default(),
        }
    }

    fn array(mut self) -> Result<Loaded> {
        match self.window.peek()? {
            Some(b'[') => self.window.at += 1,
            Some(0xef) if self.window.rest().starts_with(b"\xef\xbb\xbf") => {
                return Err(self.fault("a byte order mark; save the file as UTF-8 without one"));
            }
            Some(b'{') => {
                return Err(self.fault(
                    "a JSON array of records was expected, not an object; of JSON Lines, make an \
                     array first",
                ));
            }
            Some(_) => return Err(self.fault("a JSON array of records was expected")),
            None => return Err(self.fault("the file is empty")),
        }
        let mut more = self.begin()?;
        while more {
            let element = self.element();
            self.record += 1;
            self.window.records = self.record;
            let between = element.is_ok();
            more = match element.and_then(|()| self.after_element()) {
                Err(Error::Fault { fault, .. }) if self.skip => self.step_over(*fault, between)?,
                outcome => outcome?,
            };
        }
        self.loaded.records = self.record;
        self.loaded.digest = self.window.digest();
        Ok(self.loaded)
    }

    /// Goes to the first element, if there is one.
    fn begin(&mut self) -> Result<bool> {
        let from = self.window.at;
        let first = self.window.peek()?;
        let before = self.window.bytes.get(from..self.window.at).unwrap_or_default();
        if let (Some(newline), Some(b'{')) = (memchr::memrchr(b'\n', before), first) {
            self.margin.extend_from_slice(&before[newline..]);
            self.margin.push(b'{');
        }
        if first == Some(b']') {
            return self.end();
        }
        Ok(true)
    }

    /// Goes on after an element; whether another one follows.
    fn after_element(&mut self) -> Result<bool> {
        match self.window.peek()? {
            Some(b',') => {
                self.window.at += 1;
                Ok(true)
            }
            Some(b']') => self.end(),
            Some(_) => Err(self.fault("a comma or ] was expected")),
            None => Err(self.fault("the text ends too early")),
        }
    }

    /// Ends the array and the file.
    fn end(&mut self) -> Result<bool> {
        self.window.at += 1;
        match self.window.peek()? {
            None => Ok(false),
            Some(_) => Err(self.fault("more text after the end of the array")),
        }
    }

    /// Notes what is wrong, in an element or between two, and goes to the next element if it can
    /// be told where it begins.
    fn step_over(&mut self, fault: Fault, between: bool) -> Result<bool> {
        reserve(&mut self.loaded.faults, 1)?;
        self.loaded.faults.push(fault);
        self.broken = true;
        let until = self.window.bytes.get(..=self.window.at).unwrap_or_default();
        if self.margin.is_empty() {
            self.window.finish()?;
            Ok(false)
        } else if between && until.ends_with(&self.margin) {
            Ok(true) // a comma was missing
        } else {
            let more = self.window.pass(&self.margin)?;
            self.window.at += usize::from(more);
            Ok(more)
        }
    }

    /// One element of the array.
    fn element(&mut self) -> Result<()> {
        if self.window.peek()?.is_none() {
            return Err(self.fault("the text ends too early"));
        }
        let at = self.window.at;
        self.keys.clear();
        let text = &self.window.bytes[at..];
        if let Some(item) = self.judge.accept(text, 0, &mut self.places, &mut self.keys)? {
            let record = &text[item.record.range()];
            // A scalar at the end of the window may go on; a record that ends does not.
            if simdutf8::basic::from_utf8(record).is_ok() {
                append(&mut self.loaded.batch, record, Some(item), &self.keys)?;
                self.window.at += item.record.range().end;
                return Ok(());
            }
        }
        let margin = if self.broken { &self.margin[..] } else { b"" };
        let end = match self.window.value(margin) {
            Err(Error::Json { what, at, path }) => return Err(self.fault_at(what, at, &path)),
            result => result?,
        };
        // The window may have moved.
        let at = self.window.at;
        self.window.at = end;
        match self.judge_value(at, end) {
            Err(Error::Json { what, at: offset, path }) => {
                match self.fault_at(what, at + offset, &path) {
                    // Reading can go on after a value that is JSON.
                    Error::Fault { fault, .. } if self.skip => {
                        reserve(&mut self.loaded.faults, 1)?;
                        self.loaded.faults.push(*fault);
                        Ok(())
                    }
                    error => Err(error),
                }
            }
            result => result,
        }
    }

    /// Takes a valid value into the batch.
    fn judge_value(&mut self, at: usize, end: usize) -> Result<()> {
        let value = &self.window.bytes[at..end];
        let fault =
            |what: &str, at: usize| Err(Error::Json { what: what.into(), at, path: "$".into() });
        if (self.judge.plan.model().is_some() || !self.keep) && !value.starts_with(b"{") {
            return fault("an object was expected", 0);
        }
        if u32::try_from(value.len()).is_err() {
            return fault("a record of over 4 GiB; split it into several", 0);
        }
        if let Err(error) = simdutf8::compat::from_utf8(value) {
            return fault("not UTF-8", error.valid_up_to());
        }
        if !self.keep {
            return Ok(());
        }
        self.compacted.clear();
        compact(value, &mut self.compacted)?;
        self.keys.clear();
        let accepted = self.judge.accept(&self.compacted, 0, &mut self.places, &mut self.keys)?;
        let accepted = accepted.filter(|item| item.record.range().end == self.compacted.len());
        if accepted.is_none() {
            self.keys.clear();
            let line = self.window.line(at);
            reserve(&mut self.loaded.doubtful, 1)?;
            self.loaded.doubtful.push(Doubtful {
                item: self.loaded.batch.items.len(),
                record: self.record,
                line,
                at: self.window.offset(at),
            });
        }
        append(&mut self.loaded.batch, &self.compacted, accepted, &self.keys)
    }

    /// What is wrong at this offset of the window.
    fn fault_at(&mut self, what: String, at: usize, path: &str) -> Error {
        let fault = Fault {
            what,
            record: self.record,
            line: self.window.line(at),
            at: self.window.offset(at),
            place: path.to_owned(),
        };
        Error::Fault { path: self.window.source.path.clone(), fault: Box::new(fault) }
    }

    /// What is wrong between the elements.
    fn fault(&mut self, what: &str) -> Error {
        self.fault_at(what.into(), self.window.at, "$")
    }
}

/// Appends a record to the batch: an accepted one with its item, whose spans count from the
/// record's beginning, or a doubtful one.
fn append(batch: &mut Batch, record: &[u8], item: Option<Item>, keys: &[u8]) -> Result<()> {
    let (chunk, bytes) = batch.open_records()?;
    reserve(bytes, record.len() + 2)?;
    let start = bytes.len();
    bytes.extend_from_slice(record);
    bytes.extend_from_slice(b",\n");
    let to = span_in(chunk, start, record.len())?;
    let item = match item {
        None => Item { record: to, key: Span::default(), hash: 0, unset: (0, 0) },
        Some(item) if item.key.chunk == KEYS => {
            let (chunk, bytes) = batch.open_keys()?;
            reserve(bytes, keys.len())?;
            let start = bytes.len();
            bytes.extend_from_slice(keys);
            Item { record: to, key: span_in(chunk, start, keys.len())?, ..item }
        }
        Some(item) => {
            let key = span_in(chunk, start + item.key.range().start, item.key.range().len())?;
            Item { record: to, key, ..item }
        }
    };
    reserve(&mut batch.items, 1)?;
    batch.items.push(item);
    Ok(())
}

fn span_in(chunk: u32, start: usize, len: usize) -> Result<Span> {
    span(chunk, start, start + len)
}
