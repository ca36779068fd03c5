//! Our own layout, `[\n{…},\n{…}\n]\n`: parts of the file, cut at newlines, on several threads.
//!
//! A canonical record holds no newline, so that each line is a record and its comma. A thread
//! claims the next part, reads it into a chunk of its own, checks its lines while they are in
//! the cache, and hands it in; a [`Sink`] takes the parts in order. Whatever is not laid out like
//! this is left to [`super::array`].

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use xxhash_rust::xxh3::Xxh3Default;

use super::Source;
use super::judge::{Judge, RECORDS, span};
use super::sink::{Part, Sink};
use crate::batch::{Item, Span};
use crate::bytes::HUGE;
use crate::check::Place;
use crate::error::{Error, Progress, Result, reserve, spare};
use crate::file::Digest;
use crate::json::compact::compact;
use crate::json::scan::validate;
use crate::pages::Supply;

const BEGIN: &[u8] = b"[\n";
const BETWEEN: &[u8] = b",\n";
const END: &[u8] = b"\n]\n";

/// So much is read at once, and checked while it is in the cache of the core.
const STEP: usize = if cfg!(test) { 30 } else { 128 << 10 };

/// A part is at most this long, unless a line is longer: a huge page.
const PART: u64 = if cfg!(test) { 100 } else { HUGE as u64 };

/// What was read of a file.
pub(super) struct Read<S> {
    pub sink: S,
    pub lines: u64,
    pub digest: Digest,
}

/// Reads a file in our layout, or says `None`.
pub(super) fn read<S: Sink>(
    source: &Source,
    judge: &Judge,
    progress: &mut Progress,
) -> Result<Option<Read<S>>> {
    let Some(body) = frame(source)? else {
        return Ok(None);
    };
    let reader = Reader {
        source,
        judge,
        body,
        cursor: Mutex::new((0, BEGIN.len() as u64)),
        parts: Mutex::new(Parts::<S>::default()),
        stop: Mutex::new(None),
        stopped: AtomicBool::new(false),
        supply: Supply::default(),
        done: (AtomicU64::new(0), AtomicU64::new(0)),
    };
    lock(&reader.parts).hash.update(BEGIN);
    thread::scope(|scope| {
        for _ in 1..threads(body) {
            // Without another thread this one does it all.
            let _ = thread::Builder::new().spawn_scoped(scope, || reader.work(|_, _| true));
        }
        reader.work(progress);
    });
    match reader.stop.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(Stop::Surprise) => return Ok(None),
        Some(Stop::Error(error)) => return Err(error),
        None => {}
    }
    let Parts { sink, mut hash, lines, .. } =
        reader.parts.into_inner().unwrap_or_else(PoisonError::into_inner);
    hash.update(END);
    let digest = Digest { bytes: source.size, checksum: hash.digest() };
    Ok(Some(Read { sink, lines, digest }))
}

/// How many threads to read on. Putting the parts together, a fifth of the work, is done by one at
/// a time.
fn threads(body: u64) -> usize {
    match body.div_ceil(PART) {
        0 | 1 => 1,
        parts => {
            let cores = thread::available_parallelism().map_or(1, usize::from);
            cores.min(4).min(usize::try_from(parts).unwrap_or(usize::MAX))
        }
    }
}

/// Where the lines of the file end, if it looks like our layout.
fn frame(source: &Source) -> Result<Option<u64>> {
    let short = (BEGIN.len() + END.len()) as u64;
    let regular = source.file.metadata().is_ok_and(|found| found.is_file());
    if !regular || source.size <= short {
        return Ok(None);
    }
    let mut begin = [0; BEGIN.len()];
    let mut end = [0; END.len()];
    source.read_at(&mut begin, 0)?;
    source.read_at(&mut end, source.size - END.len() as u64)?;
    Ok((begin == BEGIN && end == END).then_some(source.size - END.len() as u64))
}

/// Why reading ended before the file did.
enum Stop {
    /// It is not our layout.
    Surprise,
    Error(Error),
}

struct Reader<'a, S> {
    source: &'a Source,
    judge: &'a Judge<'a>,
    /// Where the lines end.
    body: u64,
    /// The number of the next part, and where it begins.
    cursor: Mutex<(usize, u64)>,
    parts: Mutex<Parts<S>>,
    stop: Mutex<Option<Stop>>,
    stopped: AtomicBool,
    supply: Supply,
    /// Bytes and records, for progress.
    done: (AtomicU64, AtomicU64),
}

impl<S: Sink> Reader<'_, S> {
    fn work(&self, mut progress: impl FnMut(u64, u64) -> bool) {
        while !self.stopped.load(Ordering::Relaxed) {
            let step = self.claim().and_then(|claimed| match claimed {
                None => Ok(false),
                Some((number, from, to)) => {
                    let Some(part) = self.part(from, to)? else {
                        return Err(Stop::Surprise);
                    };
                    let bytes = self.done.0.fetch_add(to - from, Ordering::Relaxed) + to - from;
                    let more = part.items.len() as u64;
                    let records = self.done.1.fetch_add(more, Ordering::Relaxed) + more;
                    if !lock(&self.parts).add(number, from, part, self.body)? {
                        return Err(Stop::Surprise);
                    }
                    if progress(bytes, records) { Ok(true) } else { Err(Error::Interrupted.into()) }
                }
            });
            match step {
                Ok(true) => {}
                Ok(false) => break,
                Err(stop) => {
                    self.stopped.store(true, Ordering::Relaxed);
                    let mut why = lock(&self.stop);
                    // An error, or the wish of the user to stop, counts more than another layout.
                    if !matches!(*why, Some(Stop::Error(_))) {
                        *why = Some(stop);
                    }
                }
            }
        }
    }

    /// The number of the next part, and where it begins and ends.
    fn claim(&self) -> std::result::Result<Option<(usize, u64, u64)>, Stop> {
        let mut cursor = lock(&self.cursor);
        let (number, from) = *cursor;
        if from >= self.body {
            return Ok(None);
        }
        let to = self.cut(from)?;
        *cursor = (number + 1, to);
        Ok(Some((number, from, to)))
    }

    /// Where the part that begins at `from` ends: after the last newline that keeps it at most
    /// [`PART`] long, else after the first one.
    fn cut(&self, from: u64) -> std::result::Result<u64, Stop> {
        if self.body - from <= PART {
            return Ok(self.body);
        }
        let limit = from + PART;
        let mut window = [0; 4096];
        let mut at = limit;
        while at > from {
            let len = (at - from).min(window.len() as u64);
            at -= len;
            let window = &mut window[..len as usize];
            self.source.read_at(window, at)?;
            if let Some(newline) = memchr::memrchr(b'\n', window) {
                return Ok(at + newline as u64 + 1);
            }
        }
        at = limit;
        while at < self.body {
            let len = (self.body - at).min(window.len() as u64);
            let window = &mut window[..len as usize];
            self.source.read_at(window, at)?;
            // The hole of a sparse file, of whatever size, reads as NUL.
            match memchr::memchr2(b'\n', b'\0', window) {
                Some(newline) if window[newline] == b'\n' => return Ok(at + newline as u64 + 1),
                None if at - from <= u64::from(u32::MAX) => at += len,
                _ => return Err(Stop::Surprise),
            }
        }
        Ok(self.body)
    }

    /// Reads and checks one range, step by step.
    fn part(&self, from: u64, to: u64) -> Result<Option<Part>> {
        let len = usize::try_from(to - from).unwrap_or(usize::MAX);
        let mut part = Part { bytes: self.supply.take(len)?, ..Part::default() };
        spare()?;
        let mut places = self.judge.places();
        let (mut at, mut read) = (0, 0);
        let mut comma = false;
        while read < len {
            let step = read..len.min(read + STEP);
            part.bytes.ready(step.clone());
            self.source.read_at(&mut part.bytes[step.clone()], from + read as u64)?;
            read = step.end;
            let lines = match memchr::memrchr(b'\n', &part.bytes[step.clone()]) {
                _ if read == len => len,
                Some(newline) => step.start + newline + 1,
                None => at,
            };
            let text = simdutf8::basic::from_utf8(&part.bytes[at..lines]).is_ok();
            while at < lines {
                let Some(next) = self.line(&mut part, at, text, &mut places)? else {
                    return Ok(None);
                };
                comma = part.bytes[..next].ends_with(BETWEEN);
                at = next;
                part.lines += 1;
            }
        }
        // A comma before the end of the array is no JSON.
        let closed = to < self.body || !comma;
        Ok(closed.then_some(part))
    }

    /// Takes the line that begins at `at`; where the next one begins, if it may be a record.
    fn line(
        &self,
        part: &mut Part,
        at: usize,
        text: bool,
        places: &mut [Place],
    ) -> Result<Option<usize>> {
        let accepted = match text {
            true => self.judge.accept(&part.bytes, at, places, &mut part.keys)?,
            false => None,
        };
        if let Some(item) = accepted {
            let end = item.record.range().end;
            let last = end == part.bytes.len();
            if last || part.bytes[end..].starts_with(BETWEEN) {
                reserve(&mut part.items, 1)?;
                part.items.push(item);
                return Ok(Some(if last { end } else { end + BETWEEN.len() }));
            }
        }
        let newline = memchr::memchr(b'\n', &part.bytes[at..]);
        let next = newline.map_or(part.bytes.len(), |newline| at + newline + 1);
        Ok(self.doubt(part, at, next, text)?.then_some(next))
    }

    /// Takes a line that was not accepted as doubtful, if it is a compact JSON object.
    fn doubt(&self, part: &mut Part, at: usize, next: usize, text: bool) -> Result<bool> {
        let line = &part.bytes[at..next];
        let (line, closed) = match line.strip_suffix(BETWEEN) {
            Some(line) => (line, true),
            None => (line, !line.ends_with(b"\n")),
        };
        let Ok(record) = span(RECORDS, at, at + line.len()) else { return Ok(false) };
        if !closed || !text || !self.is_record(line)? {
            return Ok(false);
        }
        reserve(&mut part.doubtful, 1)?;
        part.doubtful.push((part.items.len(), part.lines, at as u64));
        reserve(&mut part.items, 1)?;
        part.items.push(Item { record, key: Span::default(), hash: 0, unset: (0, 0) });
        Ok(true)
    }

    /// Whether a line is one JSON value, compact, and may be a record.
    fn is_record(&self, line: &[u8]) -> Result<bool> {
        if self.judge.plan.model().is_some() && !line.starts_with(b"{") {
            return Ok(false);
        }
        let mut dense = Vec::new();
        let verdict = validate(line, 0).and_then(|end| {
            compact(line, &mut dense)?;
            Ok(end == line.len() && dense == line)
        });
        match verdict {
            Err(Error::Json { .. }) => Ok(false),
            verdict => verdict,
        }
    }
}

/// The parts that were handed in, on their way into the sink in order.
#[derive(Default)]
struct Parts<S> {
    next: usize,
    lines: u64,
    waiting: Vec<(usize, u64, Part)>,
    hash: Box<Xxh3Default>,
    sink: S,
}

impl<S: Sink> Parts<S> {
    fn add(&mut self, number: usize, from: u64, part: Part, body: u64) -> Result<bool> {
        reserve(&mut self.waiting, 1)?;
        self.waiting.push((number, from, part));
        while let Some(index) = self.waiting.iter().position(|(number, ..)| *number == self.next) {
            let (_, from, part) = self.waiting.swap_remove(index);
            self.hash.update(&part.bytes);
            let at = (self.lines, from);
            let share = (from + part.bytes.len() as u64) as f64 / body as f64;
            self.next += 1;
            self.lines += part.lines;
            if !self.sink.take(part, at, share)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Error(error)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
