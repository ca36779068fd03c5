//! The compiled schema: the core's plan, and beside each node the Python objects it needs.

mod build;
mod defaults;
mod side;

use omem_core::json::scan;
use omem_core::plan::{Field, Node, NodeId, Plan};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple, PyType};

use self::build::Builder;
pub use self::side::{Container, CustomRule, ModelSide, Side};
use crate::encode::encode;
use crate::errors::SchemaError;
use crate::slow::{Lossy, Pydantic};

/// The deepest nesting of a record.
pub const MAX_DEPTH: usize = scan::MAX_DEPTH;

/// A Pydantic model, compiled.
#[pyclass(frozen, weakref, module = "omem._omem")]
pub struct Schema {
    /// The plan of its records.
    pub plan: Plan,
    /// The Python side of each node.
    pub sides: Vec<Side>,
    /// For each node, whether what Pydantic writes for it is canonical as it is.
    written: Vec<bool>,
    /// Whether no record needs Pydantic but for its layout or a value that does not fit.
    pub wholly_covered: bool,
    /// For each node, whether its values may hold models of a known shape.
    models: Vec<bool>,
    /// The functions of custom merge rules.
    pub functions: Vec<CustomRule>,
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
        let models = holding_models(&plan);
        let mut schema = Schema {
            plan,
            sides,
            written,
            wholly_covered: false,
            models,
            functions,
            pydantic: Pydantic::new(&class)?,
            class: class.unbind(),
            fingerprint,
        };
        schema.fill_defaults(&nodes)?;
        schema.check_rules(&nodes)?;
        schema.wholly_covered = schema.is_covered(schema.plan.root);
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

    /// Whether values of this node may hold models of a known shape.
    pub fn holds_model(&self, node: NodeId) -> bool {
        self.models[node as usize]
    }

    /// The member of a union that a value is of, as far as its Python type tells.
    pub fn member_of(&self, nodes: &[NodeId], value: &Bound<'_, PyAny>) -> Option<NodeId> {
        let is_of = |&node: &NodeId| match (self.plan.node(node), self.side(node)) {
            (_, Side::Model(side)) => value.get_type().as_ptr() == side.class.as_ptr(),
            (Node::Dict(_), _) => value.is_instance_of::<PyDict>(),
            (Node::List(_), _) => value.is_instance_of::<PyList>(),
            (Node::Tuple(_), _) => value.is_instance_of::<PyTuple>(),
            _ => false,
        };
        nodes.iter().copied().find(is_of)
    }

    /// Refuses a merge rule that the field's type does not take.
    fn check_rules(&self, nodes: &[Bound<'_, PyTuple>]) -> PyResult<()> {
        for (node, spec) in self.plan.nodes.iter().zip(nodes) {
            let Node::Model(model) = node else { continue };
            for field in &model.fields {
                let Some(rule) = field.rule else { continue };
                if !omem_core::merge::rule_fits(&self.plan, field.node, rule) {
                    let (name, takes) = rule.described();
                    return Err(SchemaError::new_err(format!(
                        "{}.{} has a type that Merge.{name} cannot merge: it takes {takes}",
                        spec.get_item(1)?.cast::<PyType>()?.name()?,
                        field.name,
                    )));
                }
            }
        }
        Ok(())
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
                Node::OneOf(_) | Node::Opaque => return false,
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
}

/// For each node, whether it holds no set, float or model, nothing unknown and no node that holds
/// itself, the depth of which has no limit.
fn written_canonically(plan: &Plan) -> Vec<bool> {
    let mut written = vec![false; plan.nodes.len()];
    loop {
        let before = written.clone();
        for (number, node) in plan.nodes.iter().enumerate() {
            let all = |nodes: &[NodeId]| nodes.iter().all(|&node| before[node as usize]);
            written[number] = match node {
                Node::Null | Node::Bool | Node::Int { .. } | Node::Str { .. } => true,
                Node::Text(_) | Node::Choice(_) => true,
                Node::Float { .. } | Node::Set(_) | Node::Model(_) => false,
                Node::Any | Node::OneOf(_) | Node::Opaque => false,
                Node::Nullable(inner) => all(&[*inner]),
                Node::List(items) | Node::Dict(items) => all(&[items.item]),
                Node::Tuple(nodes) | Node::Union(nodes) => all(nodes),
            };
        }
        if written == before {
            return written;
        }
    }
}

/// For each node, whether there may be models inside its values; not in a set, which has no order.
fn holding_models(plan: &Plan) -> Vec<bool> {
    let mut holding = vec![false; plan.nodes.len()];
    loop {
        let before = holding.clone();
        for (number, node) in plan.nodes.iter().enumerate() {
            let any = |nodes: &[NodeId]| nodes.iter().any(|&node| before[node as usize]);
            holding[number] = match node {
                Node::Model(_) => true,
                Node::Nullable(inner) => any(&[*inner]),
                Node::List(items) | Node::Dict(items) => any(&[items.item]),
                Node::Tuple(nodes) | Node::Union(nodes) | Node::OneOf(nodes) => any(nodes),
                _ => false,
            };
        }
        if holding == before {
            return holding;
        }
    }
}
