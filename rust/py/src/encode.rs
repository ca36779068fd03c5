//! From a model to its canonical record, straight from its `__dict__`.

mod scalar;
mod text;

use omem_core::Unset;
use omem_core::plan::{Items, Model, Node, NodeId};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFrozenSet, PyList, PySet, PyString, PyTuple};

use crate::instance;
use crate::schema::{Container, MAX_DEPTH, ModelSide, Schema, Side};
use crate::slow::{self, Lossy};
use crate::unicode;

/// Appends the canonical record of a model; fields that it had not set go to `unset`.
///
/// What the plan does not cover is encoded by Pydantic, for this record alone.
///
/// # Errors
/// `LossyError` where a value would not survive saving.
pub fn encode(
    schema: &Schema,
    item: &Bound<'_, PyAny>,
    lossy: Lossy,
    out: &mut Vec<u8>,
    unset: &mut Vec<Unset>,
) -> PyResult<()> {
    let (start, unset_start) = (out.len(), unset.len());
    let mut encoder = Encoder { schema, start, out, unset: Some(unset), too_deep: false, field: 0 };
    if encoder.value(schema.plan.root, item, MAX_DEPTH).is_some() {
        return Ok(());
    }
    let (too_deep, field) = (encoder.too_deep, encoder.field);
    out.truncate(start);
    unset.truncate(unset_start);
    if too_deep {
        // Pydantic would not read this again, and on a thread with a small stack not even write it.
        let field = schema.plan.model().and_then(|model| model.fields.get(field));
        return Err(slow::refuse(item, &slow::too_deep(field.map(|field| field.name.as_str()))));
    }
    slow::encode(schema, item, lossy, out, unset)
}

/// Appends the canonical text of a value that a node covers; false where it does not.
pub fn encode_value(
    schema: &Schema,
    node: NodeId,
    value: &Bound<'_, PyAny>,
    out: &mut Vec<u8>,
) -> bool {
    Encoder { schema, start: 0, out, unset: None, too_deep: false, field: 0 }
        .value(node, value, MAX_DEPTH)
        .is_some()
}

/// `None` is doubt: the record is Pydantic's.
type Fast = Option<()>;

struct Encoder<'a> {
    schema: &'a Schema,
    start: usize,
    out: &'a mut Vec<u8>,
    /// Where unset fields are noted; inside lists, which are merged whole, they are not.
    unset: Option<&'a mut Vec<Unset>>,
    too_deep: bool,
    /// The place of the record's field that was at hand.
    field: usize,
}

impl Encoder<'_> {
    #[inline]
    fn value(&mut self, node: NodeId, value: &Bound<'_, PyAny>, depth: usize) -> Fast {
        let node = match self.schema.plan.node(node) {
            Node::Nullable(_) if value.is_none() => return self.raw(b"null"),
            Node::Nullable(inner) => *inner,
            _ => node,
        };
        match self.schema.plan.node(node) {
            Node::Str { min, max } => scalar::write_str(self.out, value, *min, *max),
            _ => self.any_node(node, value, depth),
        }
    }

    /// The value of any node; [`Encoder::value`] has the usual ones inline.
    fn any_node(&mut self, node: NodeId, value: &Bound<'_, PyAny>, depth: usize) -> Fast {
        match self.schema.plan.node(node) {
            Node::Str { .. } | Node::Nullable(_) => self.value(node, value, depth),
            Node::Int { min, max } => scalar::write_int(self.out, value, *min, *max),
            Node::Float { min, max, inf_nan } => {
                scalar::write_float(self.out, value, *min, *max, *inf_nan)
            }
            Node::Bool => scalar::write_bool(self.out, value),
            Node::Null => value.is_none().then(|| self.raw(b"null")).flatten(),
            Node::Text(kind) => text::write(self.out, *kind, value),
            Node::Choice(texts) => match self.schema.side(node) {
                Side::Choice(choices) => scalar::write_choice(self.out, value, texts, choices),
                _ => None,
            },
            Node::List(items) | Node::Set(items) => self.items(node, items, value, depth),
            Node::Tuple(nodes) => self.tuple(nodes, value, depth),
            Node::Dict(items) => self.dict(items, value, depth),
            Node::Model(model) => match self.schema.side(node) {
                Side::Model(side) => self.model(model, side, value, depth),
                _ => None,
            },
            Node::Union(nodes) => nodes.iter().find_map(|&node| {
                let start = self.out.len();
                let done = self.value(node, value, depth);
                if done.is_none() {
                    self.out.truncate(start);
                }
                done
            }),
            Node::Any => self.any(value, depth),
            Node::OneOf(_) | Node::Opaque => None,
        }
    }

    /// How deep the parts of a value may nest, if it may have parts.
    fn deeper(&mut self, depth: usize) -> Option<usize> {
        self.too_deep |= depth == 0;
        depth.checked_sub(1)
    }

    fn raw(&mut self, text: &[u8]) -> Fast {
        self.out.extend_from_slice(text);
        Some(())
    }

    fn model(
        &mut self,
        model: &Model,
        side: &ModelSide,
        value: &Bound<'_, PyAny>,
        depth: usize,
    ) -> Fast {
        let depth = self.deeper(depth)?;
        let py = value.py();
        if !model.covered
            || value.get_type().as_ptr() != side.class.as_ptr()
            || side.names.is_empty()
        {
            return None;
        }
        let dict = instance::fields(value)?;
        // Validation may have been told to keep extra fields.
        if instance::extra(value).is_some_and(|extra| !extra.is_empty()) {
            return None;
        }
        let given = match &self.unset {
            Some(_) => {
                Some(instance::fields_set(value)?).filter(|given| given.len() < side.names.len())
            }
            None => None,
        };
        let mut position: ffi::Py_ssize_t = 0;
        let names = side.names.iter().zip(&side.defaults);
        for (place, (field, (name, default))) in model.fields.iter().zip(names).enumerate() {
            let name = name.bind(py);
            let field_value = next_value(&dict, name, &mut position)?;
            if depth + 1 == MAX_DEPTH {
                self.field = place;
            }
            self.out.extend_from_slice(&field.prefix);
            let start = self.out.len();
            let is_unset = match &given {
                Some(given) => !given.contains(name).ok()?,
                None => false,
            };
            let noted = if is_unset { self.unset.take() } else { None };
            let done = match (default, &field.default) {
                (Some(default), Some(text)) if default.is(&field_value) => self.raw(text),
                _ => self.value(field.node, &field_value, depth),
            };
            if let Some(unset) = noted {
                let at = |offset: usize| u32::try_from(offset - self.start).ok();
                unset.push(Unset { start: at(start)?, end: at(self.out.len())? });
                self.unset = Some(unset);
            }
            done?;
        }
        self.raw(b"}")
    }

    fn items(
        &mut self,
        node: NodeId,
        items: &Items,
        value: &Bound<'_, PyAny>,
        depth: usize,
    ) -> Fast {
        let depth = self.deeper(depth)?;
        let Side::Container(container) = self.schema.side(node) else {
            return None;
        };
        let unset = self.unset.take();
        let done = match container {
            Container::List => {
                let list = value.cast_exact::<PyList>().ok();
                list.and_then(|list| self.elements(items, list.len(), list.iter(), depth))
            }
            Container::Tuple => {
                let tuple = value.cast_exact::<PyTuple>().ok();
                tuple.and_then(|tuple| self.elements(items, tuple.len(), tuple.iter(), depth))
            }
            Container::Set => {
                let set = value.cast_exact::<PySet>().ok();
                set.and_then(|set| self.sorted(items, set.len(), value, depth))
            }
            Container::FrozenSet => {
                let set = value.cast_exact::<PyFrozenSet>().ok();
                set.and_then(|set| self.sorted(items, set.len(), value, depth))
            }
            Container::Dict => None,
        };
        self.unset = unset;
        done
    }

    fn elements<'py>(
        &mut self,
        items: &Items,
        len: usize,
        values: impl Iterator<Item = Bound<'py, PyAny>>,
        depth: usize,
    ) -> Fast {
        if !(items.min..=items.max).contains(&len) {
            return None;
        }
        self.out.push(b'[');
        for (place, value) in values.enumerate() {
            if place > 0 {
                self.out.push(b',');
            }
            self.value(items.item, &value, depth)?;
        }
        self.raw(b"]")
    }

    /// The elements of a set, sorted by their texts.
    fn sorted(&mut self, items: &Items, len: usize, set: &Bound<'_, PyAny>, depth: usize) -> Fast {
        if !(items.min..=items.max).contains(&len) {
            return None;
        }
        let start = self.out.len();
        let mut texts = Vec::with_capacity(len);
        for value in set.try_iter().ok()? {
            self.value(items.item, &value.ok()?, depth)?;
            texts.push(self.out.split_off(start));
        }
        texts.sort_unstable();
        // Two NaN may stand in one set; whether both come back is Pydantic's to say.
        if texts.windows(2).any(|pair| pair[0] == pair[1]) {
            return None;
        }
        self.out.push(b'[');
        self.out.extend_from_slice(&texts.join(&b','));
        self.raw(b"]")
    }

    fn tuple(&mut self, nodes: &[NodeId], value: &Bound<'_, PyAny>, depth: usize) -> Fast {
        let depth = self.deeper(depth)?;
        let tuple = value.cast_exact::<PyTuple>().ok()?;
        if tuple.len() != nodes.len() {
            return None;
        }
        self.out.push(b'[');
        for (place, (&node, value)) in nodes.iter().zip(tuple.iter()).enumerate() {
            if place > 0 {
                self.out.push(b',');
            }
            let unset = self.unset.take();
            let done = self.value(node, &value, depth);
            self.unset = unset;
            done?;
        }
        self.raw(b"]")
    }

    fn dict(&mut self, items: &Items, value: &Bound<'_, PyAny>, depth: usize) -> Fast {
        let depth = self.deeper(depth)?;
        let dict = value.cast_exact::<PyDict>().ok()?;
        if !(items.min..=items.max).contains(&dict.len()) {
            return None;
        }
        self.members(dict, |encoder, value| encoder.value(items.item, value, depth))
    }

    fn members(
        &mut self,
        dict: &Bound<'_, PyDict>,
        mut each: impl FnMut(&mut Self, &Bound<'_, PyAny>) -> Fast,
    ) -> Fast {
        let len = dict.len();
        let mut position: ffi::Py_ssize_t = 0;
        self.out.push(b'{');
        while let Some((name, value)) = next_member(dict, &mut position) {
            if self.out.last() != Some(&b'{') {
                self.out.push(b',');
            }
            unicode::write(self.out, name.cast_exact::<PyString>().ok()?)?;
            self.out.push(b':');
            each(self, &value)?;
        }
        // A time zone is Python code, during which another thread may have changed the dict.
        if dict.len() != len {
            return None;
        }
        self.raw(b"}")
    }

    /// A value without a schema: what JSON itself has, nothing else.
    fn any(&mut self, value: &Bound<'_, PyAny>, depth: usize) -> Fast {
        if value.is_none() {
            return self.raw(b"null");
        }
        if let Ok(list) = value.cast_exact::<PyList>() {
            let depth = self.deeper(depth)?;
            self.out.push(b'[');
            for (place, value) in list.iter().enumerate() {
                if place > 0 {
                    self.out.push(b',');
                }
                self.any(&value, depth)?;
            }
            return self.raw(b"]");
        }
        if let Ok(dict) = value.cast_exact::<PyDict>() {
            let depth = self.deeper(depth)?;
            return self.members(dict, |encoder, value| encoder.any(value, depth));
        }
        if value.is_exact_instance_of::<PyString>() {
            return scalar::write_str(self.out, value, 0, usize::MAX);
        }
        scalar::write_int(self.out, value, None, None)
            .or_else(|| scalar::write_float(self.out, value, None, None, false))
            .or_else(|| scalar::write_bool(self.out, value))
    }
}

/// The value of a field: the next one of the dict, which mostly is in field order, else looked up.
fn next_value<'py>(
    dict: &Bound<'py, PyDict>,
    name: &Bound<'py, PyString>,
    position: &mut ffi::Py_ssize_t,
) -> Option<Bound<'py, PyAny>> {
    let (mut key, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: `dict` is a dict and `position` was 0 or set by this call; the value that is borrowed
    // becomes a reference of our own before anything else runs, the key is only compared.
    unsafe {
        if ffi::PyDict_Next(dict.as_ptr(), position, &mut key, &mut value) != 0
            && key == name.as_ptr()
        {
            return Some(Bound::from_borrowed_ptr(dict.py(), value));
        }
    }
    dict.get_item(name).ok().flatten()
}

/// The next member of a dict; the first `position` is 0.
fn next_member<'py>(
    dict: &Bound<'py, PyDict>,
    position: &mut ffi::Py_ssize_t,
) -> Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let (mut key, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: `dict` is a dict and `position` was 0 or set by this call; what is borrowed becomes
    // a reference of our own before anything else runs.
    unsafe {
        if ffi::PyDict_Next(dict.as_ptr(), position, &mut key, &mut value) == 0 {
            return None;
        }
        let py = dict.py();
        Some((Bound::from_borrowed_ptr(py, key), Bound::from_borrowed_ptr(py, value)))
    }
}
