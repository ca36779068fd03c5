//! What a pickle holds.

use std::num::NonZeroU32;

/// The number of a value in a [`Pickle`].
pub type Id = u32;

/// A value of a pickle. It is small, because one byte of a pickle can make one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
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
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) length: u32,
}

/// Where the elements of a container are held; nowhere while it is empty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Held(pub(super) Option<NonZeroU32>);

/// What was read.
#[derive(Debug)]
pub struct Pickle<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) values: Vec<Value>,
    pub(super) containers: Vec<Vec<Id>>,
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

pub(super) fn slice(bytes: &[u8], span: Span) -> &[u8] {
    let start = span.start as usize;
    bytes.get(start..start + span.length as usize).unwrap_or_default()
}

fn elements(containers: &[Vec<Id>], held: Held) -> &[Id] {
    let place = held.0.map_or(usize::MAX, |place| place.get() as usize - 1);
    containers.get(place).map_or(&[], Vec::as_slice)
}
