//! A closed reader of pickles: it builds plain values and runs nothing.
//!
//! Protocols 2 to 5 (<https://peps.python.org/pep-3154/>, `pickletools`). Whatever would import, call or
//! look up something becomes an inert [`Value::Object`], of which only the state that was given
//! to it is kept. Every length is checked against the bytes that remain, the memo is sequential,
//! and each opcode makes at most one value, so time and memory are linear in the input.

use crate::error::{Error, Result, reserve};

/// The number of a value in [`Pickle::values`].
pub type Id = u32;

/// A value of a pickle.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// `None`
    None,
    /// `True` or `False`
    Bool(bool),
    /// An integer; one beyond 64 bits is an inert object.
    Int(i64),
    /// A float.
    Float(f64),
    /// A str.
    Str(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A list, or a set.
    List(Vec<Id>),
    /// A tuple.
    Tuple(Vec<Id>),
    /// A dict, in order.
    Dict(Vec<(Id, Id)>),
    /// An object that was not made; the state that it was to get.
    Object(Option<Id>),
}

/// What was read.
#[derive(Debug)]
pub struct Pickle<'a> {
    /// All values; containers refer to others by number.
    pub values: Vec<Value<'a>>,
    /// The value that the pickle stands for.
    pub root: Id,
}

/// Reads a pickle.
///
/// # Errors
/// [`Error::Json`] with the offset of what is malformed or not allowed; [`Error::OutOfMemory`].
pub fn read(bytes: &[u8]) -> Result<Pickle<'_>> {
    let mut reader = Reader {
        bytes,
        at: 0,
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: Vec::new(),
    };
    let root = reader.run()?;
    Ok(Pickle { values: reader.values, root })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: Vec<Id>,
}

impl<'a> Reader<'a> {
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
                b']' | 0x8f => self.push(Value::List(Vec::new()))?,
                b')' => self.push(Value::Tuple(Vec::new()))?,
                b'}' => self.push(Value::Dict(Vec::new()))?,
                b'a' => {
                    let item = self.pop()?;
                    self.extend(&[item])?;
                }
                b'e' | 0x90 => {
                    let items = self.marked()?;
                    self.extend(&items)?;
                }
                0x91 => {
                    let items = self.marked()?;
                    self.push(Value::List(items))?;
                }
                b't' => {
                    let items = self.marked()?;
                    self.push(Value::Tuple(items))?;
                }
                0x85..=0x87 => {
                    let count = usize::from(opcode - 0x84);
                    let from = self.floor(count)?;
                    let items = self.stack.split_off(from);
                    self.push(Value::Tuple(items))?;
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
                    if let Value::Object(kept) = &mut self.values[object as usize] {
                        *kept = Some(state);
                    }
                }
                _ => return self.fault("an opcode that is not allowed", start),
            }
        }
    }

    fn fault<T>(&self, what: &str, at: usize) -> Result<T> {
        Err(Error::Json { what: what.to_owned(), at, path: "pickle".to_owned() })
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        match self.at.checked_add(count).and_then(|end| self.bytes.get(self.at..end)) {
            Some(bytes) => {
                self.at += count;
                Ok(bytes)
            }
            None => self.fault("it ends too early", self.bytes.len()),
        }
    }

    fn number(&mut self, width: usize) -> Result<u64> {
        let bytes = self.take(width)?;
        Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn sized(&mut self, width: usize) -> Result<&'a [u8]> {
        let length = self.number(width)?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn str(&mut self, width: usize) -> Result<()> {
        // Half a surrogate pair is no text that anything here needs.
        let text = std::str::from_utf8(self.sized(width)?);
        self.push(text.map_or(Value::Object(None), Value::Str))
    }

    fn blob(&mut self, width: usize) -> Result<()> {
        let bytes = self.sized(width)?;
        self.push(Value::Bytes(bytes))
    }

    fn long(&mut self, length: u64) -> Result<()> {
        let bytes = self.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        if bytes.len() > 8 {
            return self.push(Value::Object(None));
        }
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let start = if negative { -1_i64 } else { 0 };
        let value = bytes.iter().rev().fold(start, |value, byte| value << 8 | i64::from(*byte));
        self.push(Value::Int(value))
    }

    fn line(&mut self) -> Result<()> {
        let rest = &self.bytes[self.at..];
        match memchr::memchr(b'\n', rest) {
            Some(end) => {
                self.at += end + 1;
                Ok(())
            }
            None => self.fault("it ends too early", self.bytes.len()),
        }
    }

    fn push(&mut self, value: Value<'a>) -> Result<()> {
        reserve(&mut self.values, 1)?;
        reserve(&mut self.stack, 1)?;
        let id = self.values.len() as Id;
        self.values.push(value);
        self.stack.push(id);
        Ok(())
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
        match &mut self.values[target as usize] {
            Value::List(list) => {
                reserve(list, items.len())?;
                list.extend_from_slice(items);
                Ok(())
            }
            Value::Object(_) => Ok(()),
            _ => self.fault("an append to what is no list", self.at),
        }
    }

    fn set(&mut self, items: &[Id]) -> Result<()> {
        let target = self.top()?;
        match &mut self.values[target as usize] {
            Value::Dict(dict) => {
                reserve(dict, items.len() / 2)?;
                dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
                Ok(())
            }
            Value::Object(_) => Ok(()),
            _ => self.fault("an entry in what is no dict", self.at),
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
        let pickle = read(PLAIN).unwrap();
        let Value::Dict(entries) = &pickle.values[pickle.root as usize] else { panic!() };
        assert_eq!(entries.len(), 2);
        assert_eq!(pickle.values[entries[1].1 as usize], Value::Bytes(b"x"));
    }

    #[test]
    fn every_truncation_is_an_error() {
        for end in 0..PLAIN.len() {
            assert!(read(&PLAIN[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn what_would_run_is_inert_and_what_would_allocate_is_refused() {
        let call = b"\x80\x02cos\nsystem\nq\x00X\x02\x00\x00\x00lsq\x01\x85q\x02Rq\x03.";
        let pickle = read(call).unwrap();
        assert_eq!(pickle.values[pickle.root as usize], Value::Object(None));
        for hostile in [
            &b"\x80\x04N r\x00\x00\x00\x10."[..], // LONG_BINPUT 2^28
            b"\x80\x04Nr\x00\x00\x00\x10.",
            b"\x80\x04B\xff\xff\xff\x7f.",
            b"\x80\x02\x82\x01.", // EXT1
            b"\x80\x02N2.",       // DUP
            b"\x80\x02Q.",        // BINPERSID
        ] {
            assert!(read(hostile).is_err());
        }
    }
}
