//! A record while observations are merged into it.
//!
//! A record is split only where something is merged, and as far as it is needed: what stays or is
//! overwritten remains a slice of the record that it came from. So folding `n` observations into
//! one key costs their bytes once, not the growing record `n` times, and the result is written
//! once at the end.

use super::union::{Elements, Index};
use crate::error::{Result, reserve};
use crate::plan::{Model, NodeId};

/// One value of a record that is being merged.
#[derive(Debug)]
pub(super) enum Value<'a> {
    /// Bytes of an observation, as they stand there.
    Raw(&'a [u8]),
    /// Bytes that a rule has made.
    Built(Vec<u8>),
    /// A list or set to which elements may be added.
    List(Elements<'a>),
    /// An object with any keys.
    Dict(Members<'a>),
    /// An object with exactly the fields of this model.
    Model(&'a Model, Vec<Value<'a>>),
}

impl<'a> Value<'a> {
    /// The bytes, where the value has not been split.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Raw(bytes) => Some(bytes),
            Value::Built(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        self.bytes() == Some(b"null")
    }

    /// The first byte of the value's JSON, which tells its kind.
    pub(super) fn kind(&self) -> u8 {
        match self {
            Value::Raw(bytes) => bytes.first().copied().unwrap_or(0),
            Value::Built(bytes) => bytes.first().copied().unwrap_or(0),
            Value::List(_) => b'[',
            Value::Dict(_) | Value::Model(..) => b'{',
        }
    }

    /// Appends the value's canonical JSON.
    pub(super) fn write(&mut self, out: &mut Vec<u8>) -> Result<()> {
        reserve(out, self.len())?;
        self.put(out);
        Ok(())
    }

    /// The length of the JSON.
    fn len(&self) -> usize {
        match self {
            Value::Raw(bytes) => bytes.len(),
            Value::Built(bytes) => bytes.len(),
            Value::List(elements) => elements.bytes(),
            Value::Dict(members) => {
                let member = |(key, value): &(&[u8], Value<'_>)| key.len() + value.len() + 2;
                members.items.iter().map(member).sum::<usize>() + 2
            }
            Value::Model(model, values) => {
                let fields = model.fields.iter().zip(values);
                fields.map(|(field, value)| field.prefix.len() + value.len()).sum::<usize>() + 2
            }
        }
    }

    /// Appends the JSON to where there is room. It is no deeper than the records it came from.
    fn put(&mut self, out: &mut Vec<u8>) {
        match self {
            Value::Raw(bytes) => out.extend_from_slice(bytes),
            Value::Built(bytes) => out.extend_from_slice(bytes),
            Value::List(elements) => elements.put(out),
            Value::Dict(members) => {
                out.push(b'{');
                for (index, (key, value)) in members.items.iter_mut().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(key);
                    out.push(b':');
                    value.put(out);
                }
                out.push(b'}');
            }
            Value::Model(model, values) => {
                if values.is_empty() {
                    out.push(b'{');
                }
                for (field, value) in model.fields.iter().zip(values) {
                    out.extend_from_slice(&field.prefix);
                    value.put(out);
                }
                out.push(b'}');
            }
        }
    }
}

/// Appends bytes, or says that memory is out.
pub(super) fn append(out: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    reserve(out, bytes.len())?;
    out.extend_from_slice(bytes);
    Ok(())
}

/// The members of an object, in order.
#[derive(Debug, Default)]
pub(super) struct Members<'a> {
    /// The member of a union that it was merged as.
    pub(super) member: Option<NodeId>,
    items: Vec<(&'a [u8], Value<'a>)>,
    index: Index,
}

impl<'a> Members<'a> {
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// The place of the member with this key (its JSON text).
    pub(super) fn find(&mut self, key: &[u8]) -> Result<Option<usize>> {
        let items = &self.items;
        self.index.find(key, items.len(), |place| items[place].0)
    }

    pub(super) fn value(&mut self, place: usize) -> &mut Value<'a> {
        &mut self.items[place].1
    }

    pub(super) fn push(&mut self, key: &'a [u8], value: Value<'a>) -> Result<()> {
        reserve(&mut self.items, 1)?;
        self.items.push((key, value));
        Ok(())
    }
}
