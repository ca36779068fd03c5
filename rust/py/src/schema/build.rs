//! From the node tuples of `omem.plan` to the core's plan and what stands beside it.

use omem_core::json::string;
use omem_core::plan::{Field, Items, Limit, Model, Node, NodeId, Rule, Text};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyType};

use super::{Container, CustomRule, ModelSide, Side};
use crate::errors::SchemaError;

/// Builds nodes; custom rules are collected on the way.
pub(super) struct Builder<'a, 'py> {
    pub(super) nodes: &'a [Bound<'py, PyTuple>],
    pub(super) functions: Vec<CustomRule>,
}

impl Builder<'_, '_> {
    /// The node that this number stands for, behind `("same", number)`.
    pub(super) fn behind(&self, mut number: NodeId) -> PyResult<NodeId> {
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

    pub(super) fn node(&mut self, spec: &Bound<'_, PyTuple>) -> PyResult<(Node, Side)> {
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
            "one_of" => Node::OneOf(self.all_behind(&part(1)?)?),
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
        let node = Node::Model(Model { fields, covered: spec.get_item(3)?.extract()? });
        let class = spec.get_item(1)?;
        if class.is_none() {
            return Ok((node, Side::Plain)); // a shape without a model
        }
        let class = class.cast_into::<PyType>()?.unbind();
        Ok((node, Side::Model(ModelSide::new(class, names, py)?)))
    }

    fn rule(&mut self, rule: &Bound<'_, PyAny>) -> PyResult<Option<Rule>> {
        if rule.is_none() {
            return Ok(None);
        }
        if let Ok(custom) = rule.cast::<PyTuple>() {
            self.functions.push(CustomRule {
                function: custom.get_item(1)?.unbind(),
                read: custom.get_item(2)?.unbind(),
                write: custom.get_item(3)?.unbind(),
            });
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
