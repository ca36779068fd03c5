//! Records that Pydantic wrote, made canonical: fields in schema order, sets sorted, no null for a
//! float that is not finite.
//!
//! The text is walked side by side with the objects that it was written from, which alone tell a
//! set from a list and a NaN from a None.

use omem_core::Unset;
use omem_core::json::scan::{self, MAX_DEPTH};
use omem_core::json::{number, string};
use omem_core::plan::{Field, Model, Node, NodeId};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString, PyTuple};

use crate::instance;
use crate::schema::{ModelSide, Schema, Side};

/// Appends the canonical form of what Pydantic wrote for an item; fields of models that had not
/// been set go to `unset`. False for what is nested deeper than a record may be.
///
/// # Errors
/// What Python raises.
pub fn write(
    schema: &Schema,
    item: &Bound<'_, PyAny>,
    text: &[u8],
    out: &mut Vec<u8>,
    unset: &mut Vec<Unset>,
) -> PyResult<bool> {
    if stands(schema, item) {
        out.extend_from_slice(text);
        return Ok(true);
    }
    let (py, start) = (item.py(), out.len());
    let unset = Some(unset);
    let mut writer = Writer { schema, py, text, at: 0, start, out, unset, too_deep: false };
    writer.value(Some(schema.plan.root), Some(item), MAX_DEPTH)?;
    Ok(!writer.too_deep)
}

/// Whether what Pydantic writes for an item is canonical beyond doubt: most of what takes the slow
/// path does so for one validator, and the walk would take a tenth of its time.
fn stands(schema: &Schema, item: &Bound<'_, PyAny>) -> bool {
    let (Some(model), Side::Model(side)) = (schema.plan.model(), schema.side(schema.plan.root))
    else {
        return false;
    };
    let (Some(values), Some(set)) = (instance::fields(item), instance::fields_set(item)) else {
        return false;
    };
    let count = side.names.len();
    let shapes = model.fields.iter().zip(&side.names);
    model.covered
        && (values.len(), set.len()) == (count, count)
        && values.iter().zip(shapes).all(|((key, value), (field, name))| {
            let is_int = || value.is_exact_instance_of::<PyInt>();
            let is_float = || value.is_exact_instance_of::<PyFloat>();
            // A default that was not validated may be a number of another type than its field.
            let canonical = match schema.plan.node(schema.present(field.node)) {
                Node::Float { .. } => value.cast::<PyFloat>().is_ok_and(|f| f.value().is_finite()),
                Node::Int { .. } => !is_float(),
                Node::Text(_) => !is_float() && !is_int(),
                _ => schema.is_written_canonically(field.node),
            };
            key.is(name)
                && (canonical || value.is_none() || value.is_exact_instance_of::<PyString>())
        })
}

struct Writer<'a, 'py> {
    schema: &'a Schema,
    py: Python<'py>,
    text: &'a [u8],
    /// Where the value at hand begins.
    at: usize,
    start: usize,
    out: &'a mut Vec<u8>,
    /// Where unset fields are noted; inside lists, which are merged whole, they are not.
    unset: Option<&'a mut Vec<Unset>>,
    too_deep: bool,
}

/// A field of a model: its name, and its default where that is a number.
struct Shape<'a, 'o, 'py> {
    field: &'a Field,
    name: &'o Bound<'py, PyString>,
    default: Option<&'o Bound<'py, PyAny>>,
}

/// Where a member's name and value begin.
type Member = (usize, usize);
/// What a value was written from, where that is known.
type Object<'o, 'py> = Option<&'o Bound<'py, PyAny>>;

impl<'a, 'py> Writer<'a, 'py> {
    fn value(
        &mut self,
        node: Option<NodeId>,
        object: Object<'_, 'py>,
        depth: usize,
    ) -> PyResult<()> {
        let schema = self.schema;
        let start = self.at;
        if node.is_some_and(|node| schema.is_written_canonically(node)) {
            self.at = scan::skip(self.text, start);
            self.out.extend_from_slice(&self.text[start..self.at]);
            return Ok(());
        }
        let node = node.map(|node| schema.present(node));
        match (self.text.get(start), depth.checked_sub(1)) {
            (Some(b'{'), Some(depth)) => return self.object(node, object, depth),
            (Some(b'['), Some(depth)) => return self.array(node, object, depth),
            (Some(b'{' | b'['), None) => self.too_deep = true,
            _ => {}
        }
        self.at = scan::skip(self.text, start);
        let text = &self.text[start..self.at];
        if let Some(Ok(float)) = object.map(|object| object.cast::<PyFloat>())
            && !float.value().is_finite()
            && text.first() != Some(&b'"')
        {
            number::write_f64(self.out, float.value());
            return Ok(());
        }
        if matches!(text.first(), Some(b'N' | b'I')) || text.starts_with(b"-I") {
            // A serializer's own NaN under ser_json_inf_nan="constants", which is not JSON.
            self.out.extend_from_slice(&[b"\"", text, b"\""].concat());
            return Ok(());
        }
        self.out.extend_from_slice(text);
        Ok(())
    }

    fn object(
        &mut self,
        node: Option<NodeId>,
        object: Object<'_, 'py>,
        depth: usize,
    ) -> PyResult<()> {
        let schema = self.schema;
        let node = match (node.map(|node| schema.plan.node(node)), object) {
            (Some(Node::Union(nodes) | Node::OneOf(nodes)), Some(object)) => {
                schema.member_of(nodes, object)
            }
            _ => node,
        };
        let shape = node.map(|node| (schema.plan.node(node), schema.side(node)));
        self.out.push(b'{');
        match (shape, object) {
            (Some((Node::Model(model), Side::Model(side))), Some(object))
                if object.is_instance(side.class.bind(self.py))? =>
            {
                self.model(model, side, object, depth)?;
            }
            (Some((Node::Dict(items), _)), _) => self.dict(Some(items.item), object, depth)?,
            _ => self.dict(None, object, depth)?,
        }
        self.out.push(b'}');
        Ok(())
    }

    /// The fields in their order, then what a serializer or `extra="allow"` has added.
    fn model(
        &mut self,
        model: &'a Model,
        side: &'a ModelSide,
        object: &Bound<'py, PyAny>,
        depth: usize,
    ) -> PyResult<()> {
        let values = instance::fields(object);
        let given = match &self.unset {
            Some(_) => instance::fields_set(object).filter(|set| set.len() < side.names.len()),
            None => None,
        };
        // Only where fields stand out of order are all members found first.
        let mut later: Option<(Vec<Member>, usize)> = None;
        self.at += 1;
        for (place, field) in model.fields.iter().enumerate() {
            let name = side.names[place].bind(self.py);
            let default = side.defaults[place].as_ref().map(|default| default.bind(self.py));
            let shape =
                Shape { field, name, default: default.filter(|default| is_number(default)) };
            let key = &field.prefix[1..];
            if later.is_none() && self.text[self.at..].starts_with(key) {
                let at = self.at + key.len();
                self.field(at, &shape, values.as_ref(), given.as_ref(), depth)?;
                self.at += usize::from(self.text.get(self.at) == Some(&b','));
                continue;
            }
            let (members, _) = later.get_or_insert_with(|| self.members());
            let is_field = |member: &Member| &self.text[member.0..member.1] == key;
            if let Some(place) = members.iter().position(is_field) {
                let (_, value) = members.remove(place);
                self.field(value, &shape, values.as_ref(), given.as_ref(), depth)?;
            }
        }
        let (rest, end) = later.unwrap_or_else(|| self.members());
        let extra = if rest.is_empty() { None } else { instance::extra(object) };
        for member in rest {
            let value = match (&extra, self.name(member)) {
                (Some(extra), Some(name)) => extra.get_item(name)?,
                _ => None,
            };
            self.member(member, None, value.as_ref(), false, depth)?;
        }
        self.at = end;
        Ok(())
    }

    /// Writes the field whose value begins at `at`.
    fn field(
        &mut self,
        at: usize,
        shape: &Shape<'a, '_, 'py>,
        values: Option<&Bound<'py, PyDict>>,
        given: Option<&Bound<'py, PySet>>,
        depth: usize,
    ) -> PyResult<()> {
        let Shape { field, name, default } = shape;
        let is_known = self.schema.is_written_canonically(field.node) && default.is_none();
        let value = match values {
            Some(values) if !is_known => values.get_item(name)?,
            _ => None,
        };
        let is_unset = match given {
            Some(given) => !given.contains(name)?,
            None => false,
        };
        let member = (at + 1 - field.prefix.len(), at);
        match (default.zip(value.as_ref()), &field.default) {
            // A default that was not validated stands there as what it is read as.
            (Some((default, value)), Some(text)) if default.is(value) => {
                self.member_by(member, is_unset, |writer| {
                    writer.out.extend_from_slice(text);
                    writer.at = scan::skip(writer.text, at);
                    Ok(())
                })
            }
            _ => self.member(member, Some(field.node), value.as_ref(), is_unset, depth),
        }
    }

    /// The members from here on to the end of the object, and that end.
    fn members(&self) -> (Vec<Member>, usize) {
        let mut members = Vec::new();
        let mut at = self.at;
        while self.text.get(at) == Some(&b'"') {
            let value = string::end(self.text, at) + 2;
            members.push((at, value));
            at = scan::skip(self.text, value);
            at += usize::from(self.text.get(at) == Some(&b','));
        }
        (members, at + 1)
    }

    fn dict(
        &mut self,
        item: Option<NodeId>,
        object: Object<'_, 'py>,
        depth: usize,
    ) -> PyResult<()> {
        self.at += 1;
        let (members, end) = self.members();
        if let Some(Ok(dict)) = object.map(|object| object.cast::<PyDict>()) {
            // Members stand in the order of the dict; their names may be texts of other keys.
            let values: Vec<_> = dict.values().iter().collect();
            let whole = values.len() == members.len();
            for (place, &member) in members.iter().enumerate() {
                let value = if whole { values.get(place) } else { None };
                self.member(member, item, value, false, depth)?;
            }
        } else {
            // A model whose shape is unknown, or another object with attributes.
            let values = object.and_then(instance::fields);
            let given = object.and_then(instance::fields_set);
            for &member in &members {
                let name = self.name(member);
                let value = match (&values, &name) {
                    (Some(values), Some(name)) => values.get_item(name)?,
                    _ => None,
                };
                let is_unset = match (&given, &value) {
                    (Some(given), Some(_)) => !given.contains(name)?,
                    _ => false,
                };
                self.member(member, item, value.as_ref(), is_unset, depth)?;
            }
        }
        self.at = end;
        Ok(())
    }

    fn member(
        &mut self,
        member: Member,
        node: Option<NodeId>,
        object: Object<'_, 'py>,
        is_unset: bool,
        depth: usize,
    ) -> PyResult<()> {
        self.member_by(member, is_unset, |writer| writer.value(node, object, depth))
    }

    /// Writes the name of a member, and its value by the function.
    fn member_by(
        &mut self,
        (name, value): Member,
        is_unset: bool,
        write: impl FnOnce(&mut Self) -> PyResult<()>,
    ) -> PyResult<()> {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        self.out.extend_from_slice(&self.text[name..value]);
        let start = self.out.len() - self.start;
        let noted = if is_unset { self.unset.take() } else { None };
        self.at = value;
        write(self)?;
        if let Some(unset) = noted {
            unset.push(Unset { start: start as u32, end: (self.out.len() - self.start) as u32 });
            self.unset = Some(unset);
        }
        Ok(())
    }

    /// The name of a member.
    fn name(&self, (name, value): Member) -> Option<Bound<'py, PyString>> {
        let name = string::unescape(self.text.get(name + 1..value - 2)?).ok()?;
        Some(PyString::new(self.py, &name))
    }

    fn array(
        &mut self,
        node: Option<NodeId>,
        object: Object<'_, 'py>,
        depth: usize,
    ) -> PyResult<()> {
        let is_set = object.is_some_and(|object| {
            object.is_instance_of::<PySet>() || object.is_instance_of::<PyFrozenSet>()
        });
        let shape = node.map(|node| self.schema.plan.node(node));
        let mut objects = match object {
            Some(object) if is_collection(object)? => Some(object.try_iter()?),
            _ => None,
        };
        let noted = self.unset.take();
        let start = self.out.len();
        let mut texts = Vec::new();
        self.out.push(b'[');
        self.at += 1;
        let mut place = 0;
        while self.text.get(self.at).is_some_and(|&byte| byte != b']') {
            let object = objects.as_mut().and_then(Iterator::next).transpose()?;
            let node = match shape {
                Some(Node::List(items) | Node::Set(items)) => Some(items.item),
                Some(Node::Tuple(nodes)) => nodes.get(place).copied(),
                _ => None,
            };
            if place > 0 && !is_set {
                self.out.push(b',');
            }
            let from = self.out.len();
            self.value(node, object.as_ref(), depth)?;
            if is_set {
                texts.push(self.out.split_off(from));
            }
            place += 1;
            self.at += usize::from(self.text.get(self.at) == Some(&b','));
        }
        self.at += 1;
        if is_set {
            texts.sort_unstable();
            self.out.truncate(start + 1);
            self.out.extend_from_slice(&texts.join(&b','));
        }
        self.out.push(b']');
        self.unset = noted;
        Ok(())
    }
}

fn is_number(value: &Bound<'_, PyAny>) -> bool {
    value.is_exact_instance_of::<PyInt>() || value.is_exact_instance_of::<PyFloat>()
}

/// Whether the elements of an object are what its array was written from.
fn is_collection(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(object.is_instance_of::<PyList>()
        || object.is_instance_of::<PyTuple>()
        || object.is_instance_of::<PySet>()
        || object.is_instance_of::<PyFrozenSet>()
        || object.get_type().name()? == "deque")
}
