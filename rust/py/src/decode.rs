//! From a canonical record to its model, without validation: the record was checked already.

use omem_core::check;
use omem_core::json::{number, scan, string};
use omem_core::plan::{Model, Node, NodeId, Text};
use omem_core::text::{self, Date, Time};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBytes, PyDate, PyDateTime, PyDict, PyFloat, PyFrozenSet, PyList, PySet, PyString, PyTime,
    PyTuple, PyTzInfo,
};

use crate::schema::{Container, ModelSide, Schema, Side};
use crate::{slow, unicode};

/// The model of a record; what the plan does not cover is read by Pydantic.
///
/// # Errors
/// What Pydantic or Python raises.
pub fn decode(schema: &Schema, py: Python<'_>, record: &[u8]) -> PyResult<Py<PyAny>> {
    // Checked once for the whole record, so that no string in it has to be.
    if schema.covered() && simdutf8::basic::from_utf8(record).is_ok() {
        let mut decoder = Decoder { schema, py, text: record, at: 0 };
        if let Some(model) = decoder.value(schema.plan.root) {
            return Ok(model.unbind());
        }
        if let Some(error) = PyErr::take(py) {
            return Err(error);
        }
    }
    slow::decode(schema, py, record).map(Bound::unbind)
}

/// The value of one node, from its canonical text; `None` where it is Pydantic's to read.
///
/// # Errors
/// What Python raises.
pub fn decode_value(
    schema: &Schema,
    py: Python<'_>,
    node: NodeId,
    text: &[u8],
) -> PyResult<Option<Py<PyAny>>> {
    let mut decoder = Decoder { schema, py, text, at: 0 };
    let value = simdutf8::basic::from_utf8(text).ok().and_then(|_| decoder.value(node));
    match (value, PyErr::take(py)) {
        (Some(value), _) => Ok(Some(value.unbind())),
        (None, Some(error)) => Err(error),
        (None, None) => Ok(None),
    }
}

/// The cyclic collector, paused while many objects are made: each of its passes would walk all
/// that were made so far and find nothing, since none of them can be garbage yet.
pub struct Paused {
    was_enabled: bool,
}

impl Paused {
    /// Pauses the collector until the value is dropped. The GIL must be held all that time.
    pub fn new(_: Python<'_>) -> Self {
        // SAFETY: the GIL is held, as the token shows.
        let was_enabled = unsafe { ffi::PyGC_Disable() } != 0;
        Paused { was_enabled }
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        if self.was_enabled {
            // SAFETY: the GIL is held, see `Paused::new`.
            unsafe { ffi::PyGC_Enable() };
        }
    }
}

/// Has the collector count what was just made as old, as it would after two passes that walk all of
/// it: the one that follows the making of 200,000 models takes as long as a third of making them.
/// Young garbage of others so waits for the next full pass. Where somebody has frozen objects this is
/// not done, as it would thaw them.
///
/// # Errors
/// What the module `gc` raises.
pub fn age(py: Python<'_>) -> PyResult<()> {
    /// CPython 3.12 starts with 375 objects frozen; whoever freezes, freezes at least 5,000, which is
    /// what an interpreter has before it imports anything.
    const OWN: usize = 1_000;
    let collector = py.import("gc")?;
    if collector.call_method0("get_freeze_count")?.extract::<usize>()? < OWN {
        collector.call_method0("freeze")?;
        collector.call_method0("unfreeze")?;
    }
    Ok(())
}

/// `None` without a Python error is doubt: the record is Pydantic's. The text is UTF-8.
struct Decoder<'a, 'py> {
    schema: &'a Schema,
    py: Python<'py>,
    text: &'a [u8],
    at: usize,
}

impl<'py> Decoder<'_, 'py> {
    fn value(&mut self, node: NodeId) -> Option<Bound<'py, PyAny>> {
        let py = self.py;
        match self.schema.plan.node(node) {
            Node::Str { .. } => self.str(),
            Node::Nullable(inner) => match self.word(b"null") {
                true => Some(py.None().into_bound(py)),
                false => self.value(*inner),
            },
            Node::Int { .. } => self.int(),
            Node::Float { .. } => self.float(),
            Node::Bool if self.word(b"true") => Some(truth(py, true)),
            Node::Bool => self.word(b"false").then(|| truth(py, false)),
            Node::Null => self.word(b"null").then(|| py.None().into_bound(py)),
            Node::Text(kind) => self.typed(*kind),
            Node::Choice(texts) => {
                let Side::Choice(values) = self.schema.side(node) else {
                    return None;
                };
                let value = &self.text[self.at..scan::skip(self.text, self.at)];
                let place = texts.iter().position(|text| **text == *value)?;
                self.at += value.len();
                Some(values[place].bind(py).clone())
            }
            Node::List(items) | Node::Set(items) => {
                let Side::Container(container) = self.schema.side(node) else {
                    return None;
                };
                self.items(items.item, *container)
            }
            Node::Tuple(nodes) => {
                let mut values = Vec::with_capacity(nodes.len());
                self.byte(b'[')?;
                for (place, &node) in nodes.iter().enumerate() {
                    if place > 0 {
                        self.byte(b',')?;
                    }
                    values.push(self.value(node)?);
                }
                self.byte(b']')?;
                Some(PyTuple::new(py, values).ok()?.into_any())
            }
            Node::Dict(items) => self.dict(|decoder| decoder.value(items.item)),
            Node::Model(model) => match self.schema.side(node) {
                Side::Model(side) => self.model(model, side),
                _ => None,
            },
            Node::Union(nodes) => self.union(nodes),
            Node::Any => self.any(),
            Node::OneOf(_) | Node::Opaque => None,
        }
    }

    fn byte(&mut self, byte: u8) -> Option<()> {
        (self.text.get(self.at) == Some(&byte)).then(|| self.at += 1)
    }

    fn word(&mut self, word: &[u8]) -> bool {
        let found = self.text.get(self.at..).is_some_and(|rest| scan::begins(rest, word));
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn model(&mut self, model: &Model, side: &ModelSide) -> Option<Bound<'py, PyAny>> {
        let py = self.py;
        if !model.covered {
            return None;
        }
        let values = side.template.bind(py).copy().ok()?;
        let mut unset: Vec<usize> = Vec::new();
        for (place, field) in model.fields.iter().enumerate() {
            if !self.word(&field.prefix) {
                return None;
            }
            let start = self.at;
            let value = self.value(field.node)?;
            let text = &self.text[start..self.at];
            if field.default.as_deref() == Some(text) {
                unset.push(place);
            }
            // SAFETY: dict, name and value are live objects; 0 or an error is returned.
            if unsafe {
                ffi::PyDict_SetItem(values.as_ptr(), side.names[place].as_ptr(), value.as_ptr())
            } != 0
            {
                return None;
            }
        }
        self.byte(b'}')?;
        let given = side.fields_set(py, &unset).ok()?;
        build(py, side, &values, &given)
    }

    fn str(&mut self) -> Option<Bound<'py, PyAny>> {
        let (end, has_escapes) = string::end_and_escapes(self.text, self.at);
        let body = self.text.get(self.at + 1..end)?;
        self.at = end + 1;
        unicode::read(self.py, body, has_escapes)
    }

    fn int(&mut self) -> Option<Bound<'py, PyAny>> {
        let py = self.py;
        let end = number::end(self.text, self.at)?;
        let digits = std::str::from_utf8(&self.text[self.at..end]).ok()?;
        self.at = end;
        if digits.len() <= 18 {
            return Some(digits.parse::<i64>().ok()?.into_pyobject(py).ok()?.into_any());
        }
        py.get_type::<pyo3::types::PyInt>().call1((digits,)).ok()
    }

    fn float(&mut self) -> Option<Bound<'py, PyAny>> {
        let py = self.py;
        let value = if self.text.get(self.at) != Some(&b'"') {
            let (value, end) = number::read_f64(self.text, self.at)?;
            self.at = end;
            value
        } else if self.word(b"\"NaN\"") {
            f64::NAN
        } else if self.word(b"\"Infinity\"") {
            f64::INFINITY
        } else if self.word(b"\"-Infinity\"") {
            f64::NEG_INFINITY
        } else {
            return None;
        };
        Some(PyFloat::new(py, value).into_any())
    }

    fn typed(&mut self, kind: Text) -> Option<Bound<'py, PyAny>> {
        let py = self.py;
        let end = string::end(self.text, self.at);
        let body = self.text.get(self.at + 1..end)?;
        self.at = end + 1;
        match kind {
            Text::Date => date(py, text::date(body)?),
            Text::DateTime => {
                let (day, clock) = text::datetime(body)?;
                datetime(py, day, clock)
            }
            Text::Time => {
                let clock = text::time(body)?;
                let zone = zone(py, clock.offset)?;
                let time = PyTime::new(
                    py,
                    clock.hour,
                    clock.minute,
                    clock.second,
                    clock.microsecond,
                    zone.as_ref(),
                );
                Some(time.ok()?.into_any())
            }
            Text::Uuid => class(py, "uuid", "UUID")?.call1((std::str::from_utf8(body).ok()?,)).ok(),
            Text::Decimal => {
                class(py, "decimal", "Decimal")?.call1((std::str::from_utf8(body).ok()?,)).ok()
            }
            Text::Bytes => {
                let text = string::unescape(body).ok()?;
                Some(PyBytes::new(py, text.as_bytes()).into_any())
            }
            Text::Duration => None,
        }
    }

    fn items(&mut self, node: NodeId, container: Container) -> Option<Bound<'py, PyAny>> {
        let py = self.py;
        let values = self.elements(|decoder| decoder.value(node))?;
        Some(match container {
            Container::List => PyList::new(py, values).ok()?.into_any(),
            Container::Tuple => PyTuple::new(py, values).ok()?.into_any(),
            Container::Set => PySet::new(py, values).ok()?.into_any(),
            Container::FrozenSet => PyFrozenSet::new(py, values).ok()?.into_any(),
            Container::Dict => return None,
        })
    }

    fn elements(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Option<Bound<'py, PyAny>>,
    ) -> Option<Vec<Bound<'py, PyAny>>> {
        self.byte(b'[')?;
        let mut values = Vec::new();
        if self.byte(b']').is_some() {
            return Some(values);
        }
        loop {
            values.try_reserve(1).ok()?;
            values.push(each(self)?);
            if self.byte(b',').is_none() {
                self.byte(b']')?;
                return Some(values);
            }
        }
    }

    fn dict(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Option<Bound<'py, PyAny>>,
    ) -> Option<Bound<'py, PyAny>> {
        let dict = PyDict::new(self.py);
        self.byte(b'{')?;
        if self.byte(b'}').is_some() {
            return Some(dict.into_any());
        }
        loop {
            let name = self.str()?;
            self.byte(b':')?;
            dict.set_item(name, each(self)?).ok()?;
            if self.byte(b',').is_none() {
                self.byte(b'}')?;
                return Some(dict.into_any());
            }
        }
    }

    fn union(&mut self, nodes: &[NodeId]) -> Option<Bound<'py, PyAny>> {
        let accepts = |&node: &NodeId| check::accepts(&self.schema.plan, node, self.text, self.at);
        let node = nodes.iter().copied().find(accepts)?;
        self.value(node)
    }

    fn any(&mut self) -> Option<Bound<'py, PyAny>> {
        let py = self.py;
        match self.text.get(self.at)? {
            b'"' => self.str(),
            b'[' => Some(PyList::new(py, self.elements(Self::any)?).ok()?.into_any()),
            b'{' => self.dict(Self::any),
            b't' => self.word(b"true").then(|| truth(py, true)),
            b'f' => self.word(b"false").then(|| truth(py, false)),
            b'n' => self.word(b"null").then(|| py.None().into_bound(py)),
            _ => {
                let end = number::end(self.text, self.at)?;
                let whole =
                    self.text[self.at..end].iter().all(|byte| !matches!(byte, b'.' | b'e' | b'E'));
                if whole { self.int() } else { self.float() }
            }
        }
    }
}

fn truth(py: Python<'_>, value: bool) -> Bound<'_, PyAny> {
    pyo3::types::PyBool::new(py, value).to_owned().into_any()
}

/// A model instance, as pydantic-core makes one: nothing of `__init__` runs.
fn build<'py>(
    py: Python<'py>,
    side: &ModelSide,
    values: &Bound<'py, PyDict>,
    given: &Bound<'py, PySet>,
) -> Option<Bound<'py, PyAny>> {
    let class = side.class.bind(py).as_type_ptr();
    let none = py.None();
    // SAFETY: the class is a heap type whose `__new__` is object's (a covered model), called
    // with no arguments; all other arguments are live objects. Each call reports an error by
    // null or -1, and the new instance is owned from the start.
    unsafe {
        let new = (*class).tp_new?;
        let empty = PyTuple::empty(py);
        let instance =
            Bound::from_owned_ptr_or_opt(py, new(class, empty.as_ptr(), std::ptr::null_mut()))?;
        let object = instance.as_ptr();
        let set = |name: &Bound<'py, PyString>, value: *mut ffi::PyObject| {
            ffi::PyObject_GenericSetAttr(object, name.as_ptr(), value) == 0
        };
        let done = ffi::PyObject_GenericSetDict(object, values.as_ptr(), std::ptr::null_mut()) == 0
            && set(pyo3::intern!(py, "__pydantic_fields_set__"), given.as_ptr())
            && set(pyo3::intern!(py, "__pydantic_extra__"), none.as_ptr())
            && set(pyo3::intern!(py, "__pydantic_private__"), none.as_ptr());
        done.then_some(instance)
    }
}

fn class<'py>(py: Python<'py>, module: &str, name: &str) -> Option<Bound<'py, PyAny>> {
    py.import(module).ok()?.getattr(name).ok()
}

/// A Python date.
pub fn date(py: Python<'_>, day: Date) -> Option<Bound<'_, PyAny>> {
    let date = PyDate::new(py, i32::from(day.year), day.month, day.day);
    date.ok().map(Bound::into_any)
}

/// A Python datetime.
pub fn datetime<'py>(py: Python<'py>, day: Date, clock: Time) -> Option<Bound<'py, PyAny>> {
    let zone = zone(py, clock.offset)?;
    let moment = PyDateTime::new(
        py,
        i32::from(day.year),
        day.month,
        day.day,
        clock.hour,
        clock.minute,
        clock.second,
        clock.microsecond,
        zone.as_ref(),
    );
    moment.ok().map(Bound::into_any)
}

/// The time zone of an offset in minutes, of the class that Pydantic itself uses.
fn zone(py: Python<'_>, offset: Option<i16>) -> Option<Option<Bound<'_, PyTzInfo>>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let Some(minutes) = offset else {
        return Some(None);
    };
    let class = CLASS.import(py, "pydantic_core", "TzInfo").ok()?;
    let zone = class.call1((i32::from(minutes) * 60,)).ok()?;
    zone.cast_into::<PyTzInfo>().ok().map(Some)
}
