//! From a model to its canonical record, straight from its `__dict__`.

use omem_core::json::{number, string};
use omem_core::plan::{Items, Limit, Model, Node, NodeId, Text};
use omem_core::{Unset, text};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyBytes, PyDate, PyDateAccess, PyDateTime, PyDict, PyFloat, PyFrozenSet, PyInt, PyList,
    PySet, PyString, PyTime, PyTimeAccess, PyTuple, PyTzInfoAccess,
};

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
    let mut encoder = Encoder { schema, start, out, unset: Some(unset) };
    if encoder.value(schema.plan.root, item, MAX_DEPTH).is_some() {
        return Ok(());
    }
    out.truncate(start);
    unset.truncate(unset_start);
    slow::encode(schema, item, lossy, out)?;
    slow::unset_fields(schema, item, &out[start..], unset)
}

/// Appends the canonical text of a value that a node covers; false where it does not.
pub fn encode_value(
    schema: &Schema,
    node: NodeId,
    value: &Bound<'_, PyAny>,
    out: &mut Vec<u8>,
) -> bool {
    Encoder { schema, start: 0, out, unset: None }.value(node, value, MAX_DEPTH).is_some()
}

/// `None` is doubt: the record is Pydantic's.
type Fast = Option<()>;

struct Encoder<'a> {
    schema: &'a Schema,
    start: usize,
    out: &'a mut Vec<u8>,
    /// Where unset fields are noted; inside lists, which are merged whole, they are not.
    unset: Option<&'a mut Vec<Unset>>,
}

impl Encoder<'_> {
    fn value(&mut self, node: NodeId, value: &Bound<'_, PyAny>, depth: usize) -> Fast {
        match self.schema.plan.node(node) {
            Node::Str { min, max } => self.str(value, *min, *max),
            Node::Nullable(_) if value.is_none() => self.raw(b"null"),
            Node::Nullable(inner) => self.value(*inner, value, depth),
            Node::Int { min, max } => self.int(value, *min, *max),
            Node::Float { min, max, inf_nan } => self.float(value, *min, *max, *inf_nan),
            Node::Bool => self.bool(value),
            Node::Null => value.is_none().then(|| self.raw(b"null")).flatten(),
            Node::Text(kind) => self.text(*kind, value),
            Node::Choice(texts) => self.choice(node, texts, value),
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
            Node::Opaque => None,
        }
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
        let depth = depth.checked_sub(1)?;
        let py = value.py();
        if !model.covered
            || value.get_type().as_ptr() != side.class.as_ptr()
            || side.names.is_empty()
        {
            return None;
        }
        // SAFETY: `value` is an instance of a model class, which has a `__dict__`; the call
        // gives a new reference or an error.
        let dict = unsafe {
            Bound::from_owned_ptr_or_opt(
                py,
                ffi::PyObject_GenericGetDict(value.as_ptr(), std::ptr::null_mut()),
            )
        };
        let Some(Ok(dict)) = dict.map(Bound::cast_into::<PyDict>) else {
            drop(PyErr::take(py));
            return None;
        };
        if dict.len() != side.names.len() {
            return None;
        }
        let given = match &self.unset {
            Some(_) => Some(fields_set(value)?).filter(|given| given.len() < side.names.len()),
            None => None,
        };
        let mut position: ffi::Py_ssize_t = 0;
        for (field, name) in model.fields.iter().zip(&side.names) {
            let name = name.bind(py);
            let field_value = next_value(&dict, name, &mut position)?;
            self.out.extend_from_slice(&field.prefix);
            let start = self.out.len();
            let is_unset = match &given {
                Some(given) => !given.contains(name).ok()?,
                None => false,
            };
            if is_unset {
                let unset = self.unset.take();
                let done = self.value(field.node, &field_value, depth);
                self.unset = unset;
                done?;
                let at = |offset: usize| u32::try_from(offset - self.start).ok();
                let range = Unset { start: at(start)?, end: at(self.out.len())? };
                self.unset.as_mut()?.push(range);
            } else {
                self.value(field.node, &field_value, depth)?;
            }
        }
        self.raw(b"}")
    }

    fn str(&mut self, value: &Bound<'_, PyAny>, min: usize, max: usize) -> Fast {
        let text = value.cast_exact::<PyString>().ok()?;
        if min > 0 || max < usize::MAX {
            let length = text.len().ok()?;
            if !(min..=max).contains(&length) {
                return None;
            }
        }
        unicode::write(self.out, text)
    }

    fn int(&mut self, value: &Bound<'_, PyAny>, min: Option<i64>, max: Option<i64>) -> Fast {
        let value = value.cast_exact::<PyInt>().ok()?;
        let mut overflow = 0;
        // SAFETY: `value` is an int; on overflow -1 is returned and the flag is set.
        let small = unsafe { ffi::PyLong_AsLongLongAndOverflow(value.as_ptr(), &mut overflow) };
        if overflow == 0 {
            if min.is_some_and(|min| small < min) || max.is_some_and(|max| small > max) {
                return None;
            }
            number::write_i64(self.out, small);
            return Some(());
        }
        if (overflow < 0 && min.is_some()) || (overflow > 0 && max.is_some()) {
            return None;
        }
        let digits = value.str().ok()?;
        let digits = digits.to_str().ok()?;
        if digits.trim_start_matches('-').len() > number::MAX_INT_DIGITS {
            return None;
        }
        self.raw(digits.as_bytes())
    }

    fn float(
        &mut self,
        value: &Bound<'_, PyAny>,
        min: Option<Limit>,
        max: Option<Limit>,
        inf_nan: bool,
    ) -> Fast {
        let value = value.cast_exact::<PyFloat>().ok()?.value();
        let above = |low: Limit| value > low.at || (!low.open && value == low.at);
        let below = |high: Limit| value < high.at || (!high.open && value == high.at);
        if !min.is_none_or(above) || !max.is_none_or(below) || !(inf_nan || value.is_finite()) {
            return None;
        }
        number::write_f64(self.out, value);
        Some(())
    }

    fn bool(&mut self, value: &Bound<'_, PyAny>) -> Fast {
        let value = value.cast_exact::<PyBool>().ok()?.is_true();
        self.raw(if value { b"true" } else { b"false" })
    }

    fn choice(&mut self, node: NodeId, texts: &[Box<[u8]>], value: &Bound<'_, PyAny>) -> Fast {
        let Side::Choice(values) = self.schema.side(node) else {
            return None;
        };
        if let Some(place) = values.iter().position(|choice| choice.is(value)) {
            return self.raw(&texts[place]);
        }
        // A literal that is equal and of the same type; Enum members are always identical.
        let place = values.iter().position(|choice| {
            let choice = choice.bind(value.py());
            let plain =
                value.is_exact_instance_of::<PyString>() || value.is_exact_instance_of::<PyInt>();
            plain && choice.get_type().is(value.get_type()) && choice.eq(value).unwrap_or(false)
        })?;
        self.raw(&texts[place])
    }

    fn text(&mut self, kind: Text, value: &Bound<'_, PyAny>) -> Fast {
        match kind {
            Text::Date => {
                let date = value.cast_exact::<PyDate>().ok()?;
                self.out.push(b'"');
                self.date(date);
            }
            Text::DateTime => {
                let moment = value.cast_exact::<PyDateTime>().ok()?;
                self.out.push(b'"');
                self.date(moment);
                self.out.push(b'T');
                self.time(moment);
                self.offset(moment.get_tzinfo().is_some(), value, false)?;
            }
            Text::Time => {
                let time = value.cast_exact::<PyTime>().ok()?;
                self.out.push(b'"');
                self.time(time);
                self.offset(time.get_tzinfo().is_some(), value, true)?;
            }
            Text::Bytes => {
                let bytes = value.cast_exact::<PyBytes>().ok()?.as_bytes();
                string::write(self.out, std::str::from_utf8(bytes).ok()?);
                return Some(());
            }
            Text::Uuid | Text::Decimal => {
                let module = if kind == Text::Uuid { "uuid" } else { "decimal" };
                let class = if kind == Text::Uuid { "UUID" } else { "Decimal" };
                if !value.get_type().is(&value.py().import(module).ok()?.getattr(class).ok()?) {
                    return None;
                }
                let shown = value.str().ok()?;
                let shown = shown.to_str().ok()?;
                if !text::is_canonical(kind, shown.as_bytes()) {
                    return None;
                }
                self.out.push(b'"');
                self.out.extend_from_slice(shown.as_bytes());
            }
            Text::Duration => return None,
        }
        self.raw(b"\"")
    }

    fn date(&mut self, date: &impl PyDateAccess) {
        let year = date.get_year().unsigned_abs();
        let (month, day) = (date.get_month(), date.get_day());
        self.digits(u32::from(year as u16), 4);
        self.out.push(b'-');
        self.digits(u32::from(month), 2);
        self.out.push(b'-');
        self.digits(u32::from(day), 2);
    }

    fn time(&mut self, time: &impl PyTimeAccess) {
        self.digits(u32::from(time.get_hour()), 2);
        self.out.push(b':');
        self.digits(u32::from(time.get_minute()), 2);
        self.out.push(b':');
        self.digits(u32::from(time.get_second()), 2);
        if time.get_microsecond() > 0 {
            self.out.push(b'.');
            self.digits(time.get_microsecond(), 6);
        }
    }

    /// The offset of an aware value; one that is no whole number of minutes is lossy.
    fn offset(&mut self, aware: bool, value: &Bound<'_, PyAny>, of_time: bool) -> Fast {
        if !aware {
            return Some(());
        }
        let delta = value.call_method0("utcoffset").ok()?;
        if delta.is_none() {
            return None;
        }
        let seconds: f64 = delta.call_method0("total_seconds").ok()?.extract().ok()?;
        let minutes = (seconds / 60.0) as i32;
        if f64::from(minutes) * 60.0 != seconds || of_time && minutes.abs() >= 24 * 60 {
            return None;
        }
        if minutes == 0 {
            return self.raw(b"Z");
        }
        self.out.push(if minutes < 0 { b'-' } else { b'+' });
        self.digits(minutes.unsigned_abs() / 60, 2);
        self.out.push(b':');
        self.digits(minutes.unsigned_abs() % 60, 2);
        Some(())
    }

    fn digits(&mut self, value: u32, width: usize) {
        let mut rest = value;
        let start = self.out.len();
        self.out.resize(start + width, b'0');
        for digit in self.out[start..].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }

    fn items(
        &mut self,
        node: NodeId,
        items: &Items,
        value: &Bound<'_, PyAny>,
        depth: usize,
    ) -> Fast {
        let depth = depth.checked_sub(1)?;
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
                set.and_then(|set| self.sorted(items, set.len(), set.iter(), depth))
            }
            Container::FrozenSet => {
                let set = value.cast_exact::<PyFrozenSet>().ok();
                set.and_then(|set| self.sorted(items, set.len(), set.iter(), depth))
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
    fn sorted<'py>(
        &mut self,
        items: &Items,
        len: usize,
        values: impl Iterator<Item = Bound<'py, PyAny>>,
        depth: usize,
    ) -> Fast {
        if !(items.min..=items.max).contains(&len) {
            return None;
        }
        let start = self.out.len();
        let mut texts = Vec::with_capacity(len);
        for value in values {
            self.value(items.item, &value, depth)?;
            texts.push(self.out[start..].to_vec());
            self.out.truncate(start);
        }
        texts.sort_unstable();
        self.out.push(b'[');
        self.out.extend_from_slice(&texts.join(&b','));
        self.raw(b"]")
    }

    fn tuple(&mut self, nodes: &[NodeId], value: &Bound<'_, PyAny>, depth: usize) -> Fast {
        let depth = depth.checked_sub(1)?;
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
        let depth = depth.checked_sub(1)?;
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
        self.out.push(b'{');
        for (place, (name, value)) in dict.iter().enumerate() {
            if place > 0 {
                self.out.push(b',');
            }
            unicode::write(self.out, name.cast_exact::<PyString>().ok()?)?;
            self.out.push(b':');
            each(self, &value)?;
        }
        self.raw(b"}")
    }

    /// A value without a schema: what JSON itself has, nothing else.
    fn any(&mut self, value: &Bound<'_, PyAny>, depth: usize) -> Fast {
        if value.is_none() {
            return self.raw(b"null");
        }
        if let Ok(list) = value.cast_exact::<PyList>() {
            let depth = depth.checked_sub(1)?;
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
            let depth = depth.checked_sub(1)?;
            return self.members(dict, |encoder, value| encoder.any(value, depth));
        }
        self.str(value, 0, usize::MAX)
            .or_else(|| self.int(value, None, None))
            .or_else(|| self.float(value, None, None, false))
            .or_else(|| self.bool(value))
    }
}

/// `value.__pydantic_fields_set__`.
fn fields_set<'py>(value: &Bound<'py, PyAny>) -> Option<Bound<'py, PySet>> {
    let py = value.py();
    let name = pyo3::intern!(py, "__pydantic_fields_set__");
    // SAFETY: both are live objects; the generic lookup runs no `__getattribute__` of the model
    // and gives a new reference or an error.
    let set = unsafe {
        Bound::from_owned_ptr_or_opt(
            py,
            ffi::PyObject_GenericGetAttr(value.as_ptr(), name.as_ptr()),
        )
    };
    match set {
        Some(set) => set.cast_into::<PySet>().ok(),
        None => {
            drop(PyErr::take(py));
            None
        }
    }
}

/// The value of a field: the next one of the dict, which mostly is in field order, else looked up.
fn next_value<'py>(
    dict: &Bound<'py, PyDict>,
    name: &Bound<'py, PyString>,
    position: &mut ffi::Py_ssize_t,
) -> Option<Bound<'py, PyAny>> {
    let py = dict.py();
    let (mut key, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: `dict` is a dict and `position` was 0 or set by the same call; the borrowed value
    // is made a reference of our own before anything else runs.
    unsafe {
        if ffi::PyDict_Next(dict.as_ptr(), position, &mut key, &mut value) != 0
            && key == name.as_ptr()
        {
            return Some(Bound::from_borrowed_ptr(py, value));
        }
    }
    dict.get_item(name).ok().flatten()
}
