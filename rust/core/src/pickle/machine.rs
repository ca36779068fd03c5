//! The machine that runs what opcodes are allowed.

use std::num::NonZeroU32;

use super::opcode;
use super::values::{Held, Id, Pickle, Span, Value, slice};
use crate::error::{Error, Result, reserve};

/// The stack machine that a pickle is a program of.
pub(super) struct Reader<'a, 'b> {
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

impl<'a, 'b> Reader<'a, 'b> {
    pub(super) fn new(bytes: &'a [u8], text: Option<&'b str>) -> Self {
        Reader {
            made: Pickle { bytes, values: Vec::new(), containers: Vec::new(), root: 0 },
            text,
            at: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: Vec::new(),
            contained: 0,
            budget: bytes.len() + (80 << 20),
        }
    }

    /// What the pickle stands for.
    pub(super) fn read(mut self) -> Result<Pickle<'a>> {
        self.made.root = self.run()?;
        Ok(self.made)
    }

    fn run(&mut self) -> Result<Id> {
        loop {
            let start = self.at;
            let code = self.take(1)?[0];
            match code {
                opcode::PROTO => {
                    let protocol = self.take(1)?[0];
                    if !(2..=5).contains(&protocol) {
                        return self.fault("a pickle protocol other than 2 to 5", start);
                    }
                }
                opcode::FRAME => drop(self.take(8)?),
                opcode::STOP => return self.pop(),
                opcode::MARK => {
                    self.afford()?;
                    reserve(&mut self.marks, 1)?;
                    self.marks.push(self.stack.len());
                }
                opcode::POP => drop(self.pop()?),
                opcode::POP_MARK => drop(self.marked()?),
                opcode::NONE => self.push(Value::None)?,
                opcode::NEWTRUE => self.push(Value::Bool(true))?,
                opcode::NEWFALSE => self.push(Value::Bool(false))?,
                opcode::BININT1 => {
                    let value = self.number(1)?;
                    self.push(Value::Int(value as i64))?;
                }
                opcode::BININT2 => {
                    let value = self.number(2)?;
                    self.push(Value::Int(value as i64))?;
                }
                opcode::BININT => {
                    let value = self.number(4)? as u32 as i32;
                    self.push(Value::Int(i64::from(value)))?;
                }
                opcode::LONG1 => {
                    let length = self.number(1)?;
                    self.long(length)?;
                }
                opcode::LONG4 => {
                    let length = self.number(4)?;
                    self.long(length)?;
                }
                opcode::BINFLOAT => {
                    let bits = self.take(8)?.try_into().map_or(0, u64::from_be_bytes);
                    self.push(Value::Float(f64::from_bits(bits)))?;
                }
                opcode::SHORT_BINUNICODE => self.str(1)?,
                opcode::BINUNICODE => self.str(4)?,
                opcode::BINUNICODE8 => self.str(8)?,
                opcode::SHORT_BINBYTES => self.blob(1)?,
                opcode::BINBYTES => self.blob(4)?,
                opcode::BINBYTES8 | opcode::BYTEARRAY8 => self.blob(8)?,
                opcode::EMPTY_LIST | opcode::EMPTY_SET | opcode::EMPTY_TUPLE => {
                    self.push(Value::Items(Held(None)))?
                }
                opcode::EMPTY_DICT => self.push(Value::Dict(Held(None)))?,
                opcode::APPEND => {
                    let item = self.pop()?;
                    self.extend(&[item])?;
                }
                opcode::APPENDS | opcode::ADDITEMS => {
                    let items = self.marked()?;
                    self.extend(&items)?;
                }
                opcode::FROZENSET | opcode::TUPLE => {
                    let items = self.marked()?;
                    self.push(Value::Items(Held(None)))?;
                    self.extend(&items)?;
                }
                opcode::TUPLE1..=opcode::TUPLE3 => {
                    let count = usize::from(code - opcode::TUPLE1 + 1);
                    let from = self.floor(count)?;
                    let items = self.stack.split_off(from);
                    self.push(Value::Items(Held(None)))?;
                    self.extend(&items)?;
                }
                opcode::SETITEM => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set(&[key, value])?;
                }
                opcode::SETITEMS => {
                    let items = self.marked()?;
                    if items.len() % 2 == 1 {
                        return self.fault("a dict with a key without a value", start);
                    }
                    self.set(&items)?;
                }
                opcode::BINPUT => {
                    let place = self.number(1)?;
                    self.memoize(Some(place))?;
                }
                opcode::LONG_BINPUT => {
                    let place = self.number(4)?;
                    self.memoize(Some(place))?;
                }
                opcode::MEMOIZE => self.memoize(None)?,
                opcode::BINGET => {
                    let place = self.number(1)?;
                    self.recall(place)?;
                }
                opcode::LONG_BINGET => {
                    let place = self.number(4)?;
                    self.recall(place)?;
                }
                opcode::GLOBAL => {
                    self.line()?;
                    self.line()?;
                    self.push(Value::Object(None))?;
                }
                // What a call, a class or a name would give is an inert object.
                opcode::STACK_GLOBAL | opcode::REDUCE | opcode::NEWOBJ => {
                    let from = self.floor(2)?;
                    self.stack.truncate(from);
                    self.push(Value::Object(None))?;
                }
                opcode::BUILD => {
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
