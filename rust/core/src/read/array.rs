//! Any JSON array of records, whatever its white space: streamed through a window, so that the
//! file and its records are never in memory at once.

use super::judge::{Judge, KEYS, span};
use super::window::Window;
use super::{Doubtful, Loaded, Source};
use crate::batch::{Batch, Item, Span};
use crate::check::Place;
use crate::error::{Error, Fault, Progress, Result, reserve};
use crate::json::compact::compact;

/// Reads a JSON array. With `skip`, an element that is JSON but can be no record becomes a fault.
pub(super) fn read(
    source: &Source,
    judge: &Judge,
    skip: bool,
    progress: &mut Progress,
) -> Result<Loaded> {
    let mut reader = Reader {
        window: Window::new(source, progress),
        judge,
        skip,
        record: 0,
        places: judge.places(),
        compacted: Vec::new(),
        keys: Vec::new(),
        loaded: Loaded::default(),
    };
    reader.array()?;
    let Reader { window, mut loaded, .. } = reader;
    loaded.digest = window.digest();
    Ok(loaded)
}

struct Reader<'a, 'b> {
    window: Window<'a, 'b>,
    judge: &'a Judge<'a>,
    skip: bool,
    /// The number of the record that is being read.
    record: u64,
    places: Vec<Place>,
    compacted: Vec<u8>,
    keys: Vec<u8>,
    loaded: Loaded,
}

impl Reader<'_, '_> {
    fn array(&mut self) -> Result<()> {
        match self.window.peek()? {
            Some(b'[') => self.window.at += 1,
            Some(0xef) if self.window.rest().starts_with(b"\xef\xbb\xbf") => {
                return self.fail("a byte order mark; save the file as UTF-8 without one");
            }
            Some(_) => return self.fail("a JSON array of records was expected"),
            None => return self.fail("the file is empty"),
        }
        if self.window.peek()? == Some(b']') {
            self.window.at += 1;
        } else {
            loop {
                self.element()?;
                self.record += 1;
                self.window.records = self.loaded.batch.items.len() as u64;
                match self.window.peek()? {
                    Some(b',') => self.window.at += 1,
                    Some(b']') => break self.window.at += 1,
                    Some(_) => return self.fail("a comma or ] was expected"),
                    None => return self.fail("the text ends too early"),
                }
            }
        }
        match self.window.peek()? {
            None => Ok(()),
            Some(_) => self.fail("more text after the end of the array"),
        }
    }

    /// One element of the array.
    fn element(&mut self) -> Result<()> {
        if self.window.peek()?.is_none() {
            return self.fail("the text ends too early");
        }
        let at = self.window.at;
        self.keys.clear();
        let text = &self.window.bytes;
        if let Some(item) = self.judge.accept(text, at, &mut self.places, &mut self.keys)? {
            let end = item.record.range().end;
            // A scalar at the end of the window may go on; a record that ends does not.
            if simdutf8::basic::from_utf8(&text[at..end]).is_ok() {
                append(&mut self.loaded.batch, &text[at..end], Some((item, at)), &self.keys)?;
                self.window.at = end;
                return Ok(());
            }
        }
        let end = match self.window.value() {
            Err(Error::Json { what, at, path }) => return Err(self.fault(what, at, &path)),
            result => result?,
        };
        // The window may have moved.
        let at = self.window.at;
        self.window.at = end;
        match self.judge_value(at, end) {
            Err(Error::Json { what, at: offset, path }) => {
                let error = self.fault(what, at + offset, &path);
                match error {
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
        if self.judge.plan.model().is_some() && !value.starts_with(b"{") {
            return fault("an object was expected", 0);
        }
        if let Err(error) = simdutf8::compat::from_utf8(value) {
            return fault("not UTF-8", error.valid_up_to());
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
        let item = accepted.map(|item| (item, 0));
        append(&mut self.loaded.batch, &self.compacted, item, &self.keys)
    }

    /// What is wrong at this offset of the window.
    fn fault(&mut self, what: String, at: usize, path: &str) -> Error {
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
    fn fail(&mut self, what: &str) -> Result<()> {
        Err(self.fault(what.into(), self.window.at, "$"))
    }
}

/// Appends a record to the batch: an accepted one with its item, whose spans count from an
/// offset, or a doubtful one.
fn append(
    batch: &mut Batch,
    record: &[u8],
    item: Option<(Item, usize)>,
    keys: &[u8],
) -> Result<()> {
    let (chunk, bytes) = batch.open_records()?;
    reserve(bytes, record.len() + 2)?;
    let start = bytes.len();
    bytes.extend_from_slice(record);
    bytes.extend_from_slice(b",\n");
    let to = span_in(chunk, start, record.len())?;
    let item = match item {
        None => Item { record: to, key: Span::default(), hash: 0, unset: (0, 0) },
        Some((item, _)) if item.key.chunk == KEYS => {
            let (chunk, bytes) = batch.open_keys()?;
            reserve(bytes, keys.len())?;
            let start = bytes.len();
            bytes.extend_from_slice(keys);
            Item { record: to, key: span_in(chunk, start, keys.len())?, ..item }
        }
        Some((item, from)) => {
            let key = span_in(
                chunk,
                start + item.key.range().start.saturating_sub(from),
                item.key.range().len(),
            )?;
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
