//! A closed reader of pickles: it builds plain values and runs nothing.
//!
//! Protocols 2 to 5 (<https://peps.python.org/pep-3154/>, `pickletools`). Whatever would import, call or
//! look up something becomes an inert [`Value::Object`], of which only the state that was given
//! to it is kept. Every length is checked against the bytes that remain, the memo is sequential,
//! and each opcode makes at most one value, so time and memory are linear in the input.

use std::num::NonZeroU32;

use crate::error::{Error, Result, reserve};

/// The number of a value in a [`Pickle`].
pub type Id = u32;

/// A value of a pickle. It is small, because one byte of a pickle can make one.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Value {
    None,
    Bool(bool),
    /// One beyond 64 bits is an inert object.
    Int(i64),
    Float(f64),
    Str(Span),
    Bytes(Span),
    /// A list, a set or a tuple.
    Items(Held),
    /// Keys and values by turns.
    Dict(Held),
    /// An object that was not made; the state that it was to get.
    Object(Option<Id>),
}

/// A place in the pickle's bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Span {
    start: u32,
    length: u32,
}

/// Where the elements of a container are held; nowhere while it is empty.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Held(Option<NonZeroU32>);

/// What was read.
#[derive(Debug)]
pub struct Pickle<'a> {
    bytes: &'a [u8],
    values: Vec<Value>,
    containers: Vec<Vec<Id>>,
    /// The value that the pickle stands for.
    pub root: Id,
}

impl<'a> Pickle<'a> {
    /// The text, if this is a str.
    #[must_use]
    pub fn str(&self, id: Id) -> Option<&'a str> {
        match self.values.get(id as usize)? {
            Value::Str(span) => std::str::from_utf8(slice(self.bytes, *span)).ok(),
            _ => None,
        }
    }

    /// The bytes, if this is bytes.
    #[must_use]
    pub fn bytes(&self, id: Id) -> Option<&'a [u8]> {
        match self.values.get(id as usize)? {
            Value::Bytes(span) => Some(slice(self.bytes, *span)),
            _ => None,
        }
    }

    /// The number, if this is an int.
    #[must_use]
    pub fn int(&self, id: Id) -> Option<i64> {
        match self.values.get(id as usize)? {
            Value::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// Whether this is None.
    #[must_use]
    pub fn is_none(&self, id: Id) -> bool {
        self.values.get(id as usize) == Some(&Value::None)
    }

    /// The elements, if this is a list, a set or a tuple.
    #[must_use]
    pub fn items(&self, id: Id) -> Option<&[Id]> {
        match self.values.get(id as usize)? {
            Value::Items(held) => Some(elements(&self.containers, *held)),
            _ => None,
        }
    }

    /// Keys and values, if this is a dict, or an object that was to get one as its state.
    pub fn entries(&self, id: Id) -> Option<impl Iterator<Item = (Id, Id)> + '_> {
        let held = match *self.values.get(id as usize)? {
            Value::Object(state) => match *self.values.get(state? as usize)? {
                Value::Dict(held) => held,
                _ => return None,
            },
            Value::Dict(held) => held,
            _ => return None,
        };
        let pairs = elements(&self.containers, held).chunks_exact(2);
        Some(pairs.map(|pair| (pair[0], pair[1])))
    }

    /// The value of a name in a dict; the last one counts.
    #[must_use]
    pub fn entry(&self, id: Id, name: &str) -> Option<Id> {
        let named = |&(key, _): &(Id, Id)| self.str(key) == Some(name);
        self.entries(id)?.filter(named).last().map(|(_, value)| value)
    }
}

fn slice(bytes: &[u8], span: Span) -> &[u8] {
    let start = span.start as usize;
    bytes.get(start..start + span.length as usize).unwrap_or_default()
}

fn elements(containers: &[Vec<Id>], held: Held) -> &[Id] {
    let place = held.0.map_or(usize::MAX, |place| place.get() as usize - 1);
    containers.get(place).map_or(&[], Vec::as_slice)
}

/// Reads a pickle.
///
/// Of an object whose state has the name `text` in it (or in the `__dict__` of it, as Pydantic has
/// it) only that is kept: the object becomes that text. So a store of documents, each with
/// metadata of any size, is read in the memory that the texts' places take.
///
/// # Errors
/// [`Error::Json`] with the offset of what is malformed or not allowed, or where it would take
/// more memory than the file's size and 80 MB; [`Error::OutOfMemory`].
pub fn read<'a>(bytes: &'a [u8], text: Option<&str>) -> Result<Pickle<'a>> {
    if u32::try_from(bytes.len()).is_err() {
        return Err(Error::TooLarge { what: "a pickle of more than 4 GB" });
    }
    let pickle = Pickle { bytes, values: Vec::new(), containers: Vec::new(), root: 0 };
    let mut reader = Reader {
        made: pickle,
        text,
        at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: Vec::new(),
        contained: 0,
        budget: bytes.len() + (80 << 20),
    };
    reader.made.root = reader.run()?;
    Ok(reader.made)
}

struct Reader<'a, 'b> {
    made: Pickle<'a>,
    text: Option<&'b str>,
    at: usize,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: Vec<Id>,
    /// The bytes that containers take.
    contained: usize,
    /// The bytes that everything may take.
    budget: usize,
}

impl<'a> Reader<'a, '_> {
    fn run(&mut self) -> Result<Id> {
        loop {
            let start = self.at;
            let opcode = self.take(1)?[0];
            match opcode {
                0x80 => {
                    let protocol = self.take(1)?[0];
                    if !(2..=5).contains(&protocol) {
                        return self.fault("a pickle protocol other than 2 to 5", start);
                    }
                }
                0x95 => drop(self.take(8)?),
                b'.' => return self.pop(),
                b'(' => {
                    self.afford()?;
                    reserve(&mut self.marks, 1)?;
                    self.marks.push(self.stack.len());
                }
                b'0' => drop(self.pop()?),
                b'1' => drop(self.marked()?),
                b'N' => self.push(Value::None)?,
                0x88 => self.push(Value::Bool(true))?,
                0x89 => self.push(Value::Bool(false))?,
                b'K' => {
                    let value = self.number(1)?;
                    self.push(Value::Int(value as i64))?;
                }
                b'M' => {
                    let value = self.number(2)?;
                    self.push(Value::Int(value as i64))?;
                }
                b'J' => {
                    let value = self.number(4)? as u32 as i32;
                    self.push(Value::Int(i64::from(value)))?;
                }
                0x8a => {
                    let length = self.number(1)?;
                    self.long(length)?;
                }
                0x8b => {
                    let length = self.number(4)?;
                    self.long(length)?;
                }
                b'G' => {
                    let bits = self.take(8)?.try_into().map_or(0, u64::from_be_bytes);
                    self.push(Value::Float(f64::from_bits(bits)))?;
                }
                0x8c => self.str(1)?,
                b'X' => self.str(4)?,
                0x8d => self.str(8)?,
                b'C' => self.blob(1)?,
                b'B' => self.blob(4)?,
                0x8e | 0x96 => self.blob(8)?,
                b']' | 0x8f | b')' => self.push(Value::Items(Held(None)))?,
                b'}' => self.push(Value::Dict(Held(None)))?,
                b'a' => {
                    let item = self.pop()?;
                    self.extend(&[item])?;
                }
                b'e' | 0x90 => {
                    let items = self.marked()?;
                    self.extend(&items)?;
                }
                0x91 | b't' => {
                    let items = self.marked()?;
                    self.push(Value::Items(Held(None)))?;
                    self.extend(&items)?;
                }
                0x85..=0x87 => {
                    let count = usize::from(opcode - 0x84);
                    let from = self.floor(count)?;
                    let items = self.stack.split_off(from);
                    self.push(Value::Items(Held(None)))?;
                    self.extend(&items)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set(&[key, value])?;
                }
                b'u' => {
                    let items = self.marked()?;
                    if items.len() % 2 == 1 {
                        return self.fault("a dict with a key without a value", start);
                    }
                    self.set(&items)?;
                }
                b'q' => {
                    let place = self.number(1)?;
                    self.memoize(Some(place))?;
                }
                b'r' => {
                    let place = self.number(4)?;
                    self.memoize(Some(place))?;
                }
                0x94 => self.memoize(None)?,
                b'h' => {
                    let place = self.number(1)?;
                    self.recall(place)?;
                }
                b'j' => {
                    let place = self.number(4)?;
                    self.recall(place)?;
                }
                b'c' => {
                    self.line()?;
                    self.line()?;
                    self.push(Value::Object(None))?;
                }
                // What a call, a class or a name would give is an inert object.
                0x93 | b'R' | 0x81 => {
                    let from = self.floor(2)?;
                    self.stack.truncate(from);
                    self.push(Value::Object(None))?;
                }
                b'b' => {
                    let state = self.pop()?;
                    let object = self.top()?;
                    self.build(object, state);
                }
                _ => return self.fault("an opcode that is not allowed", start),
            }
        }
    }

    fn fault<T>(&self, what: &str, at: usize) -> Result<T> {
        Err(Error::Json { what: what.to_owned(), at, path: "pickle".to_owned() })
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        match self.at.checked_add(count).and_then(|end| self.made.bytes.get(self.at..end)) {
            Some(bytes) => {
                self.at += count;
                Ok(bytes)
            }
            None => self.fault("it ends too early", self.made.bytes.len()),
        }
    }

    fn number(&mut self, width: usize) -> Result<u64> {
        let bytes = self.take(width)?;
        Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn sized(&mut self, width: usize) -> Result<Span> {
        let length = self.number(width)?;
        let start = self.at as u32;
        let bytes = self.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        Ok(Span { start, length: bytes.len() as u32 })
    }

    fn str(&mut self, width: usize) -> Result<()> {
        let span = self.sized(width)?;
        // Half a surrogate pair is no text that anything here needs.
        let text = simdutf8::basic::from_utf8(slice(self.made.bytes, span));
        self.push(text.map_or(Value::Object(None), |_| Value::Str(span)))
    }

    fn blob(&mut self, width: usize) -> Result<()> {
        let span = self.sized(width)?;
        self.push(Value::Bytes(span))
    }

    fn long(&mut self, length: u64) -> Result<()> {
        let bytes = self.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let start = if negative { -1_i64 } else { 0 };
        let value =
            bytes.iter().take(8).rev().fold(start, |value, byte| value << 8 | i64::from(*byte));
        // What stands above is sign and nothing else.
        let sign = if negative { 0xff } else { 0 };
        let fits = bytes.iter().skip(8).all(|&byte| byte == sign) && (value < 0) == negative;
        self.push(if fits { Value::Int(value) } else { Value::Object(None) })
    }

    fn line(&mut self) -> Result<()> {
        let rest = &self.made.bytes[self.at..];
        match memchr::memchr(b'\n', rest) {
            Some(end) => {
                self.at += end + 1;
                Ok(())
            }
            None => self.fault("it ends too early", self.made.bytes.len()),
        }
    }

    fn push(&mut self, value: Value) -> Result<()> {
        reserve(&mut self.made.values, 1)?;
        reserve(&mut self.stack, 1)?;
        let id = self.made.values.len() as Id;
        self.made.values.push(value);
        self.stack.push(id);
        self.afford()
    }

    /// Refuses what would take too much memory; what grows takes up to twice its length.
    fn afford(&self) -> Result<()> {
        let values = self.made.values.len() * size_of::<Value>();
        let ids = (self.stack.len() + self.memo.len()) * size_of::<Id>();
        let ids = ids + self.marks.len() * size_of::<usize>();
        match 2 * (values + ids) + self.contained > self.budget {
            true => self.fault("more values than a file of this size should have", self.at),
            false => Ok(()),
        }
    }

    /// Where the last `count` values begin, none of them below the last mark.
    fn floor(&self, count: usize) -> Result<usize> {
        let mark = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(count) {
            Some(from) if from >= mark => Ok(from),
            _ => self.fault("the stack is empty", self.at),
        }
    }

    fn top(&self) -> Result<Id> {
        self.floor(1).map(|from| self.stack[from])
    }

    fn pop(&mut self) -> Result<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn marked(&mut self) -> Result<Vec<Id>> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => self.fault("there is no mark", self.at),
        }
    }

    fn extend(&mut self, items: &[Id]) -> Result<()> {
        let target = self.top()?;
        match self.made.values.get(target as usize) {
            Some(Value::Items(held)) => {
                let held = self.hold(*held, items)?;
                self.made.values[target as usize] = Value::Items(held);
                Ok(())
            }
            Some(Value::Object(_)) => Ok(()),
            _ => self.fault("an append to what is no list", self.at),
        }
    }

    fn set(&mut self, items: &[Id]) -> Result<()> {
        let target = self.top()?;
        match self.made.values.get(target as usize) {
            Some(Value::Dict(held)) => {
                let held = self.hold(*held, items)?;
                self.made.values[target as usize] = Value::Dict(held);
                Ok(())
            }
            Some(Value::Object(_)) => Ok(()),
            _ => self.fault("an entry in what is no dict", self.at),
        }
    }

    /// Adds elements to a container.
    fn hold(&mut self, held: Held, items: &[Id]) -> Result<Held> {
        if items.is_empty() {
            return Ok(held);
        }
        let containers = &mut self.made.containers;
        let mut place = held.0.map_or(usize::MAX, |place| place.get() as usize - 1);
        if place >= containers.len() {
            reserve(containers, 1)?;
            place = containers.len();
            containers.push(Vec::new());
            self.contained += 2 * size_of::<Vec<Id>>() + 16;
        }
        let container = &mut containers[place];
        reserve(container, items.len())?;
        container.extend_from_slice(items);
        self.contained += 2 * size_of_val(items);
        self.afford()?;
        Ok(Held(NonZeroU32::new(place as u32 + 1)))
    }

    /// Gives an object its state.
    fn build(&mut self, object: Id, state: Id) {
        if !matches!(self.made.values.get(object as usize), Some(Value::Object(_))) {
            return;
        }
        let found = self.text.and_then(|text| {
            let inner = self.made.entry(state, "__dict__").unwrap_or(state);
            let id = self.made.entry(inner, text)?;
            self.made.str(id).map(|_| self.made.values[id as usize])
        });
        match found {
            Some(text) => {
                self.made.values[object as usize] = text;
                self.prune(object);
            }
            None => self.made.values[object as usize] = Value::Object(Some(state)),
        }
    }

    /// Forgets all that was made since this object, but for strings, which later parts refer to.
    fn prune(&mut self, object: Id) {
        let first = object as usize + 1;
        let mut containers = self.made.containers.len();
        let (mut kept, mut numbers) = (first, Vec::new());
        for place in first..self.made.values.len() {
            let value = self.made.values[place];
            match value {
                Value::Str(_) => {
                    numbers.push(kept as Id);
                    self.made.values[kept] = value;
                    kept += 1;
                    continue;
                }
                Value::Items(Held(Some(held))) | Value::Dict(Held(Some(held))) => {
                    containers = containers.min(held.get() as usize - 1);
                }
                _ => {}
            }
            // Whoever refers to it later finds the text of the document, which is inert as well.
            numbers.push(object);
        }
        for id in self.memo.iter_mut().rev().take_while(|id| **id > object) {
            *id = numbers.get(*id as usize - first).copied().unwrap_or(object);
        }
        self.made.values.truncate(kept);
        for container in self.made.containers.drain(containers..) {
            let taken = 2 * size_of::<Vec<Id>>() + 16 + 2 * size_of_val(container.as_slice());
            self.contained = self.contained.saturating_sub(taken);
        }
    }

    fn memoize(&mut self, place: Option<u64>) -> Result<()> {
        let top = self.top()?;
        match place.map_or(Some(self.memo.len()), |place| usize::try_from(place).ok()) {
            Some(place) if place < self.memo.len() => self.memo[place] = top,
            Some(place) if place == self.memo.len() => {
                reserve(&mut self.memo, 1)?;
                self.memo.push(top);
            }
            _ => return self.fault("a memo that is not filled in order", self.at),
        }
        Ok(())
    }

    fn recall(&mut self, place: u64) -> Result<()> {
        match usize::try_from(place).ok().and_then(|place| self.memo.get(place)) {
            Some(&id) => {
                reserve(&mut self.stack, 1)?;
                self.stack.push(id);
                Ok(())
            }
            None => self.fault("a memo entry that is not there", self.at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `pickle.dumps({"a": [1, (2.5, None)], "b": b"x"}, protocol=4)`
    const PLAIN: &[u8] = b"\x80\x04\x95\x26\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94]\x94(K\x01G@\x04\x00\x00\x00\x00\x00\x00N\x86\x94e\x8c\x01b\x94C\x01x\x94u.";

    #[test]
    fn plain_values() {
        let pickle = read(PLAIN, None).unwrap();
        assert_eq!(pickle.entries(pickle.root).unwrap().count(), 2);
        let list = pickle.items(pickle.entry(pickle.root, "a").unwrap()).unwrap();
        assert_eq!((list.len(), pickle.int(list[0])), (2, Some(1)));
        let tuple = pickle.items(list[1]).unwrap();
        assert_eq!(pickle.values[tuple[0] as usize], Value::Float(2.5));
        assert!(pickle.is_none(tuple[1]));
        assert_eq!(pickle.bytes(pickle.entry(pickle.root, "b").unwrap()), Some(&b"x"[..]));
    }

    #[test]
    fn every_truncation_is_an_error() {
        for end in 0..PLAIN.len() {
            assert!(read(&PLAIN[..end], None).is_err(), "{end}");
        }
    }

    #[test]
    fn what_would_run_is_inert_and_what_would_allocate_is_refused() {
        let call = b"\x80\x02cos\nsystem\nq\x00X\x02\x00\x00\x00lsq\x01\x85q\x02Rq\x03.";
        let pickle = read(call, None).unwrap();
        assert_eq!(pickle.values[pickle.root as usize], Value::Object(None));
        for hostile in [
            &b"\x80\x04N r\x00\x00\x00\x10."[..], // LONG_BINPUT 2^28
            b"\x80\x04Nr\x00\x00\x00\x10.",
            b"\x80\x04B\xff\xff\xff\x7f.",
            b"\x80\x02\x82\x01.", // EXT1
            b"\x80\x02N2.",       // DUP
            b"\x80\x02Q.",        // BINPERSID
        ] {
            assert!(read(hostile, None).is_err());
        }
    }

    #[test]
    fn a_file_of_nothing_but_small_values_is_refused() {
        for opcode in [b'N', b']', b'}', b'(', b')'] {
            let mut bytes = vec![0x80, 4];
            bytes.resize(20 << 20, opcode);
            assert!(read(&bytes, None).is_err(), "{opcode}");
        }
    }
}
