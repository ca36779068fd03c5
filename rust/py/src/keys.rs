//! The keys of entities: where they are found, in a record or a model.

mod text;

use omem_core::check::Place;
use omem_core::key::{self, KeyPlan, KeyText, Piece};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use self::text::refused;
pub use self::text::{key_from_text, key_to_text, text_of};
use crate::decode;
use crate::errors::KeyExtractionError;
use crate::schema::Schema;
use crate::slow;

/// How the key of an entity is found.
pub enum KeySpec {
    /// From the bytes of its record.
    Fields(KeyPlan),
    /// By a function of the model.
    Callable(Py<PyAny>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for KeySpec {
    type Error = PyErr;

    /// A callable, or a tree of tuples as `omem.keys` makes it: `("path", [1, 0])`,
    /// `("tuple", [...])`, `("format", ["text", [1, 0]])`.
    fn extract(spec: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if spec.is_callable() {
            return Ok(KeySpec::Callable(spec.to_owned().unbind()));
        }
        plan(&spec.to_owned()).map(KeySpec::Fields)
    }
}

fn plan(spec: &Bound<'_, PyAny>) -> PyResult<KeyPlan> {
    let (kind, parts): (String, Vec<Bound<'_, PyAny>>) = spec.extract()?;
    match kind.as_str() {
        "path" => Ok(KeyPlan::Path(indexes(&parts)?)),
        "tuple" => parts.iter().map(plan).collect::<PyResult<_>>().map(KeyPlan::Tuple),
        "format" => {
            let piece = |part: &Bound<'_, PyAny>| match part.cast::<PyString>() {
                Ok(text) => Ok(Piece::Text(text.to_str()?.to_owned())),
                Err(_) => part.extract().map(Piece::Field),
            };
            parts.iter().map(piece).collect::<PyResult<_>>().map(KeyPlan::Format)
        }
        other => Err(PyValueError::new_err(format!("no key of kind {other:?}"))),
    }
}

fn indexes(parts: &[Bound<'_, PyAny>]) -> PyResult<Vec<u16>> {
    parts.iter().map(PyAnyMethods::extract).collect()
}

/// The key text of a record: from its bytes, else from the model, which is decoded if need be.
///
/// # Errors
/// `KeyExtractionError`.
pub fn extract(
    schema: &Schema,
    spec: &KeySpec,
    model: Option<&Bound<'_, PyAny>>,
    py: Python<'_>,
    record: &[u8],
    fields: &[Place],
    out: &mut Vec<u8>,
) -> PyResult<KeyText> {
    let start = out.len();
    if let KeySpec::Fields(plan) = spec {
        if let Ok(found) = key::extract(&schema.plan, plan, record, fields, out) {
            return Ok(found);
        }
        out.truncate(start);
    }
    let key = match model {
        Some(model) => of_model(schema, spec, model)?,
        None => of_model(schema, spec, decode::decode(schema, py, record)?.bind(py))?,
    };
    key_to_text(&key, out)?;
    Ok(KeyText::Built)
}

/// The key of a model.
///
/// # Errors
/// `KeyExtractionError` where the extractor raises.
pub fn of_model<'py>(
    schema: &Schema,
    spec: &KeySpec,
    model: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = model.py();
    match spec {
        KeySpec::Fields(plan) => by_attributes(schema, plan, model),
        KeySpec::Callable(function) => function.bind(py).call1((model,)).map_err(|error| {
            if !slow::is_fault(&error, py) {
                return error;
            }
            let name = error.get_type(py).name().map_or_else(|_| String::new(), |n| n.to_string());
            let named = KeyExtractionError::new_err(format!(
                "key_extractor raised {name}: {}",
                error.value(py)
            ));
            named.set_cause(py, Some(error));
            named
        }),
    }
}

/// The key of a model by the attributes that a plan names.
fn by_attributes<'py>(
    schema: &Schema,
    plan: &KeyPlan,
    model: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = model.py();
    match plan {
        KeyPlan::Path(path) => follow(schema, path, model),
        KeyPlan::Tuple(parts) => {
            let parts: Vec<_> = parts
                .iter()
                .map(|part| by_attributes(schema, part, model))
                .collect::<PyResult<_>>()?;
            Ok(PyTuple::new(py, parts)?.into_any())
        }
        KeyPlan::Format(pieces) => {
            let mut text = String::new();
            for piece in pieces {
                match piece {
                    Piece::Text(piece) => text += piece,
                    Piece::Field(path) => text += follow(schema, path, model)?.str()?.to_str()?,
                }
            }
            Ok(PyString::new(py, &text).into_any())
        }
    }
}

fn follow<'py>(
    schema: &Schema,
    path: &[u16],
    model: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let mut value = model.clone();
    let mut node = Some(schema.plan.root);
    for &index in path {
        let shape = node.map(|node| schema.plan.node(schema.present(node)));
        let place = usize::from(index);
        (value, node) = match shape {
            Some(omem_core::Node::Model(shape)) if place < shape.fields.len() => {
                let field = &shape.fields[place];
                (attribute(&value, &field.name)?, Some(field.node))
            }
            _ if value.is_none() => return Err(refused("not found: its path leads through None")),
            // What the plan does not cover, a model behind a validator, has fields all the same.
            _ => {
                let name = value
                    .get_type()
                    .getattr("__pydantic_fields__")
                    .and_then(|fields| fields.try_iter()?.nth(place).transpose())
                    .ok()
                    .flatten()
                    .ok_or_else(|| refused("not found: its path leads through what is no model"))?;
                (attribute(&value, &name.extract::<String>()?)?, None)
            }
        };
    }
    Ok(value)
}

/// A field of a model on the way to the key.
fn attribute<'py>(model: &Bound<'py, PyAny>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    if model.is_none() {
        return Err(refused("not found: its path leads through None"));
    }
    model.getattr(name).map_err(|error| refused(&format!("not found: {error}")))
}
