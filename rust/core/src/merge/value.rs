//! A record while observations are merged into it.
//!
//! A record is split only where something is merged, and as far as it is needed: what stays or is
//! overwritten remains a slice of the record that it came from. So folding `n` observations into
//! one key costs their bytes once, not the growing record `n` times, and the result is written
//! once at the end.

use super::union::{Elements, Index};
use crate::error::{Result, reserve};
use crate::plan::Model;

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

    /// Appends the value's canonical JSON. It is no deeper than the records it came from.
    pub(super) fn write(&mut self, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Value::Raw(bytes) => append(out, bytes)?,
            Value::Built(bytes) => append(out, bytes)?,
            Value::List(elements) => elements.write(out)?,
            Value::Dict(members) => {
                append(out, b"{")?;
                for (index, (key, value)) in members.items.iter_mut().enumerate() {
                    if index > 0 {
                        append(out, b",")?;
                    }
                    append(out, key)?;
                    append(out, b":")?;
                    value.write(out)?;
                }
                append(out, b"}")?;
            }
            Value::Model(model, values) => {
                if values.is_empty() {
                    append(out, b"{")?;
                }
                for (field, value) in model.fields.iter().zip(values) {
                    append(out, &field.prefix)?;
                    value.write(out)?;
                }
                append(out, b"}")?;
            }
        }
        Ok(())
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
