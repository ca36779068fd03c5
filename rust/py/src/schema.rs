//! The compiled schema: the core's plan, and beside each node the Python objects it needs.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

use omem_core::json::{scan, string};
use omem_core::plan::{Field, Items, Limit, Model, Node, NodeId, Plan, Rule, Text};
use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PySet, PyString, PyTuple, PyType};

use crate::encode::{encode, encode_value};
use crate::errors::SchemaError;
use crate::slow::{Lossy, Pydantic};

/// What a node needs of Python, at the node's own number.
pub enum Side {
    /// Nothing.
    Plain,
    /// The Python value of each choice, and whether the choice is an Enum.
    Choice(Vec<Py<PyAny>>),
    /// Which container the elements go into.
    Container(Container),
    /// The class of a model.
    Model(ModelSide),
}

/// The kinds of Python containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// `list`
    List,
    /// `tuple` of any length
    Tuple,
    /// `set`
    Set,
    /// `frozenset`
    FrozenSet,
    /// `dict`
    Dict,
}

/// The Python side of a model node.
pub struct ModelSide {
    /// The model class.
    pub class: Py<PyType>,
    /// The field names, interned.
    pub names: Vec<Py<PyString>>,
    /// For each field the default, where it is an object that cannot change: who has the identical
    /// object in the field has the default's text in the record.
    pub defaults: Vec<Option<Py<PyAny>>>,
    /// A dict of all fields: a copy of it is filled faster than an empty one grows.
    pub template: Py<PyDict>,
    /// The sets of fields that were given, by which of the first 64 were not.
    given: Mutex<HashMap<u64, Py<PySet>>>,
}

impl ModelSide {
    fn new(class: Py<PyType>, names: Vec<Py<PyString>>, py: Python<'_>) -> PyResult<Self> {
        let template = PyDict::new(py);
        for name in &names {
            template.set_item(name, py.None())?;
        }
        let (template, defaults) = (template.unbind(), Vec::with_capacity(names.len()));
        Ok(ModelSide { class, names, defaults, template, given: Mutex::default() })
    }

    /// A new set of the names of all fields but these; copying a set is faster than making one.
    pub fn fields_set<'py>(&self, py: Python<'py>, unset: &[usize]) -> PyResult<Bound<'py, PySet>> {
        let mask = unset.iter().fold(0, |mask, &place| mask | 1 << place.min(63));
        let make = || {
            let given = self.names.iter().enumerate().filter(|(place, _)| !unset.contains(place));
            PySet::new(py, given.map(|(_, name)| name.bind(py)))
        };
        if self.names.len() > 63 {
            return make();
        }
        let mut sets = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match sets.entry(mask) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert(make()?.unbind()),
        };
        // SAFETY: the argument is a set; the call gives a new reference or an error.
        unsafe { Bound::from_owned_ptr_or_err(py, ffi::PySet_New(known.as_ptr())) }
            .and_then(|set| Ok(set.cast_into::<PySet>()?))
    }
}

/// A Pydantic model, compiled.
#[pyclass(frozen, weakref, module = "omem._omem")]
pub struct Schema {
    /// The plan of its records.
    pub plan: Plan,
    /// The Python side of each node.
    pub sides: Vec<Side>,
    /// For each node, whether what Pydantic writes for it is canonical as it is.
    written: Vec<bool>,
    /// The functions of custom merge rules.
    pub functions: Vec<Py<PyAny>>,
    /// The model class.
    pub class: Py<PyType>,
    /// What Pydantic made of the class.
    pub pydantic: Pydantic,
    fingerprint: String,
}

#[pymethods]
impl Schema {
    #[new]
    fn new(
        class: Bound<'_, PyType>,
        nodes: Vec<Bound<'_, PyTuple>>,
        root: NodeId,
        fingerprint: String,
    ) -> PyResult<Self> {
        let mut builder = Builder { nodes: &nodes, functions: Vec::new() };
        let mut plan = Plan { nodes: Vec::with_capacity(nodes.len()), root: builder.behind(root)? };
        let mut sides = Vec::with_capacity(nodes.len());
        for node in &nodes {
            let (node, side) = builder.node(node)?;
            plan.nodes.push(node);
            sides.push(side);
        }
        let functions = builder.functions;
        let written = written_canonically(&plan);
        let mut schema = Schema {
            plan,
            sides,
            written,
            functions,
            pydantic: Pydantic::new(&class)?,
            class: class.unbind(),
            fingerprint,
        };
        schema.fill_defaults(&nodes)?;
        schema.check_rules(&nodes)?;
        Ok(schema)
    }

    /// The fingerprint of the model's JSON schema.
    #[getter]
    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Whether records of this model are encoded, checked and decoded without Pydantic.
    #[getter]
    pub fn covered(&self) -> bool {
        self.plan.model().is_some_and(|model| model.covered)
    }

    /// The fields whose values may need Pydantic, and with them their whole record.
    #[getter]
    fn slow_fields(&self) -> Vec<&str> {
        let Some(model) = self.plan.model() else {
            return Vec::new();
        };
        let is_slow = |field: &&Field| !model.covered || !self.is_covered(field.node);
        model.fields.iter().filter(is_slow).map(|field| field.name.as_str()).collect()
    }

    /// The canonical record of a model.
    fn encode<'py>(&self, item: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        let mut record = Vec::new();
        encode(self, item, Lossy::Error, &mut record, &mut Vec::new())?;
        Ok(PyBytes::new(item.py(), &record))
    }

    /// The model of a canonical record.
    fn decode(&self, py: Python<'_>, record: &[u8]) -> PyResult<Py<PyAny>> {
        crate::decode::decode(self, py, record)
    }
}

impl Schema {
    /// The Python side of a node.
    pub fn side(&self, node: NodeId) -> &Side {
        &self.sides[node as usize]
    }

    /// Whether what Pydantic writes for a value of this node is canonical as it is.
    pub fn is_written_canonically(&self, node: NodeId) -> bool {
        self.written[node as usize]
    }

    /// Encodes the defaults, which needs the nodes to be there.
    fn fill_defaults(&mut self, nodes: &[Bound<'_, PyTuple>]) -> PyResult<()> {
        for (number, node) in nodes.iter().enumerate() {
            let Node::Model(model) = &self.plan.nodes[number] else {
                continue;
            };
            let mut defaults = Vec::with_capacity(model.fields.len());
            for (field, spec) in model.fields.iter().zip(node.get_item(2)?.try_iter()?) {
                defaults.push(self.default(field.node, &spec?.get_item(2)?)?);
            }
            if let (Node::Model(model), Side::Model(side)) =
                (&mut self.plan.nodes[number], &mut self.sides[number])
            {
                for (field, (text, value)) in model.fields.iter_mut().zip(defaults) {
                    field.default = text;
                    side.defaults.push(value);
                }
            }
        }
        Ok(())
    }

    /// The text of a default, `()` or the value and who writes what the plan does not cover; and
    /// the value itself where the identical object always has that text.
    fn default(&self, node: NodeId, spec: &Bound<'_, PyAny>) -> PyResult<Default> {
        let spec = spec.cast::<PyTuple>()?;
        if spec.is_empty() {
            return Ok((None, None));
        }
        let value = spec.get_item(0)?;
        let mut text = Vec::new();
        // `score: float = 0` is not validated, and stays an int in the model.
        let is_float = matches!(self.plan.node(self.present(node)), Node::Float { .. });
        let shown = match value.extract() {
            Ok(float) if is_float && value.is_exact_instance_of::<PyInt>() => {
                PyFloat::new(spec.py(), float).into_any()
            }
            _ => value.clone(),
        };
        if !encode_value(self, node, &shown, &mut text) || !shown.eq(&value)? {
            let written: Option<Vec<u8>> = spec.get_item(1)?.call1((value,))?.extract()?;
            return Ok((written.map(Vec::into_boxed_slice), None));
        }
        let fixed = value.is_none()
            || value.is_exact_instance_of::<PyBool>()
            || value.is_exact_instance_of::<PyInt>()
            || value.is_exact_instance_of::<PyFloat>()
            || value.is_exact_instance_of::<PyString>();
        Ok((Some(text.into_boxed_slice()), fixed.then(|| value.unbind())))
    }

    /// Whether no value of this node needs Pydantic.
    fn is_covered(&self, node: NodeId) -> bool {
        let mut seen = vec![false; self.plan.nodes.len()];
        let mut open = vec![node];
        while let Some(id) = open.pop() {
            if std::mem::replace(&mut seen[id as usize], true) {
                continue;
            }
            match self.plan.node(id) {
                Node::Opaque => return false,
                Node::Model(model) if !model.covered => return false,
                Node::Model(model) => open.extend(model.fields.iter().map(|field| field.node)),
                Node::Nullable(inner) => open.push(*inner),
                Node::List(items) | Node::Set(items) | Node::Dict(items) => open.push(items.item),
                Node::Tuple(nodes) | Node::Union(nodes) => open.extend(nodes),
                _ => {}
            }
        }
        true
    }

    /// The node behind `Nullable`.
    pub fn present(&self, mut node: NodeId) -> NodeId {
        // Nullables that point in a circle describe no value.
        for _ in 0..self.plan.nodes.len() {
            match self.plan.node(node) {
                Node::Nullable(inner) => node = *inner,
                _ => break,
            }
        }
        node
    }

    /// Refuses a merge rule that the field's type does not take.
    fn check_rules(&self, nodes: &[Bound<'_, PyTuple>]) -> PyResult<()> {
        for (node, spec) in self.plan.nodes.iter().zip(nodes) {
            let Node::Model(model) = node else { continue };
            for field in &model.fields {
                let Some(rule) = field.rule else { continue };
                if !omem_core::merge::rule_fits(&self.plan, field.node, rule) {
                    return Err(SchemaError::new_err(format!(
                        "the merge rule {rule:?} does not fit the type of field {:?} of {}",
                        field.name,
                        spec.get_item(1)?.cast::<PyType>()?.name()?,
                    )));
                }
            }
        }
        Ok(())
    }
}

/// The text of a default, and the default where it cannot change.
type Default = (Option<Box<[u8]>>, Option<Py<PyAny>>);

struct Builder<'a, 'py> {
    nodes: &'a [Bound<'py, PyTuple>],
    functions: Vec<Py<PyAny>>,
}

impl Builder<'_, '_> {
    /// The node that this number stands for, behind `("same", number)`.
    fn behind(&self, mut number: NodeId) -> PyResult<NodeId> {
        for _ in 0..=self.nodes.len() {
            let node = self
                .nodes
                .get(number as usize)
                .ok_or_else(|| PyValueError::new_err(format!("the plan has no node {number}")))?;
            if node.get_item(0)?.extract::<String>()? != "same" {
                return Ok(number);
            }
            number = node.get_item(1)?.extract()?;
        }
        Err(PyValueError::new_err("the plan goes round in circles"))
    }

    fn node(&mut self, spec: &Bound<'_, PyTuple>) -> PyResult<(Node, Side)> {
        let part = |place: usize| spec.get_item(place);
        let kind: String = part(0)?.extract()?;
        let node = match kind.as_str() {
            "any" => Node::Any,
            "null" => Node::Null,
            "bool" => Node::Bool,
            "int" => Node::Int { min: part(1)?.extract()?, max: part(2)?.extract()? },
            "float" => {
                let bound = |at: Option<f64>, open: bool| at.map(|at| Limit { at, open });
                Node::Float {
                    min: bound(part(1)?.extract()?, part(2)?.extract()?),
                    max: bound(part(3)?.extract()?, part(4)?.extract()?),
                    inf_nan: part(5)?.extract()?,
                }
            }
            "str" => Node::Str { min: part(1)?.extract()?, max: limit(&part(2)?)? },
            "text" => Node::Text(text(&part(1)?.extract::<String>()?)?),
            "nullable" => Node::Nullable(self.behind(part(1)?.extract()?)?),
            "union" => Node::Union(self.all_behind(&part(1)?)?),
            "tuple" => Node::Tuple(self.all_behind(&part(1)?)?),
            "items" => return self.items(spec),
            "choice" => return choice(&part(1)?),
            "model" => return self.model(spec),
            // What a "same" node stands for is resolved wherever one is named.
            _ => Node::Opaque,
        };
        Ok((node, Side::Plain))
    }

    fn all_behind(&self, numbers: &Bound<'_, PyAny>) -> PyResult<Vec<NodeId>> {
        numbers.extract::<Vec<NodeId>>()?.into_iter().map(|number| self.behind(number)).collect()
    }

    fn items(&self, spec: &Bound<'_, PyTuple>) -> PyResult<(Node, Side)> {
        let items = Items {
            item: self.behind(spec.get_item(2)?.extract()?)?,
            min: spec.get_item(3)?.extract()?,
            max: limit(&spec.get_item(4)?)?,
        };
        let (node, container) = match spec.get_item(1)?.extract::<String>()?.as_str() {
            "list" => (Node::List(items), Container::List),
            "tuple" => (Node::List(items), Container::Tuple),
            "set" => (Node::Set(items), Container::Set),
            "frozenset" => (Node::Set(items), Container::FrozenSet),
            "dict" => (Node::Dict(items), Container::Dict),
            other => return Err(PyValueError::new_err(format!("no container {other:?}"))),
        };
        Ok((node, Side::Container(container)))
    }

    fn model(&mut self, spec: &Bound<'_, PyTuple>) -> PyResult<(Node, Side)> {
        let py = spec.py();
        let mut fields = Vec::new();
        let mut names = Vec::new();
        for field in spec.get_item(2)?.try_iter()? {
            let field = field?.cast_into::<PyTuple>()?;
            let name: String = field.get_item(0)?.extract()?;
            let mut prefix = vec![if fields.is_empty() { b'{' } else { b',' }];
            string::write(&mut prefix, &name);
            prefix.push(b':');
            fields.push(Field {
                prefix: prefix.into_boxed_slice(),
                node: self.behind(field.get_item(1)?.extract()?)?,
                default: None,
                rule: self.rule(&field.get_item(3)?)?,
                name: name.clone(),
            });
            names.push(PyString::intern(py, &name).unbind());
        }
        let class = spec.get_item(1)?.cast_into::<PyType>()?.unbind();
        let covered = spec.get_item(3)?.extract()?;
        let side = ModelSide::new(class, names, py)?;
        Ok((Node::Model(Model { fields, covered }), Side::Model(side)))
    }

    fn rule(&mut self, rule: &Bound<'_, PyAny>) -> PyResult<Option<Rule>> {
        if rule.is_none() {
            return Ok(None);
        }
        if let Ok(custom) = rule.cast::<PyTuple>() {
            self.functions.push(custom.get_item(1)?.unbind());
            return Ok(Some(Rule::Custom(self.functions.len() as u32 - 1)));
        }
        Ok(Some(match rule.extract::<String>()?.as_str() {
            "max" => Rule::Max,
            "min" => Rule::Min,
            "sum" => Rule::Sum,
            "keep_existing" => Rule::KeepExisting,
            "keep_incoming" => Rule::KeepIncoming,
            "union" => Rule::Union,
            "append" => Rule::Append,
            "replace" => Rule::Replace,
            "longest" => Rule::Longest,
            other => {
                return Err(SchemaError::new_err(format!("there is no merge rule {other:?}")));
            }
        }))
    }
}

/// For each node, whether it holds no set, no float, no model and nothing unknown, of which a
/// fixed number of lists and dicts is made.
fn written_canonically(plan: &Plan) -> Vec<bool> {
    let mut written: Vec<bool> = plan
        .nodes
        .iter()
        .map(|node| {
            !matches!(
                node,
                Node::Float { .. } | Node::Set(_) | Node::Model(_) | Node::Any | Node::Opaque
            )
        })
        .collect();
    loop {
        let before = written.clone();
        for (number, node) in plan.nodes.iter().enumerate() {
            written[number] &= match node {
                Node::Nullable(inner) => before[*inner as usize],
                Node::List(items) | Node::Dict(items) => before[items.item as usize],
                Node::Tuple(nodes) | Node::Union(nodes) => {
                    nodes.iter().all(|&node| before[node as usize])
                }
                _ => true,
            };
        }
        if written == before {
            return written;
        }
    }
}

fn choice(values: &Bound<'_, PyAny>) -> PyResult<(Node, Side)> {
    let mut texts = Vec::new();
    let mut results = Vec::new();
    for value in values.try_iter()? {
        let (text, result): (Vec<u8>, Py<PyAny>) = value?.extract()?;
        texts.push(text.into_boxed_slice());
        results.push(result);
    }
    Ok((Node::Choice(texts), Side::Choice(results)))
}

fn text(kind: &str) -> PyResult<Text> {
    Ok(match kind {
        "date" => Text::Date,
        "datetime" => Text::DateTime,
        "time" => Text::Time,
        "uuid" => Text::Uuid,
        "decimal" => Text::Decimal,
        "bytes" => Text::Bytes,
        other => return Err(PyValueError::new_err(format!("no text {other:?}"))),
    })
}

/// A length limit; the largest number stands for none.
fn limit(value: &Bound<'_, PyAny>) -> PyResult<usize> {
    let limit: u64 = value.extract()?;
    Ok(if limit >= i64::MAX as u64 { usize::MAX } else { limit as usize })
}

/// The deepest nesting of a record.
pub const MAX_DEPTH: usize = scan::MAX_DEPTH;
