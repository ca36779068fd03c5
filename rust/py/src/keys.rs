//! Python keys and their canonical text, both ways.

use omem_core::check::Place;
use omem_core::json::{number, scan, string};
use omem_core::key::{self, KeyPlan, KeyText, Piece};
use omem_core::text::{self, Date, Time};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBool, PyBytes, PyDate, PyDateAccess, PyDateTime, PyFloat, PyInt, PyString, PyTimeAccess,
    PyTuple, PyType, PyTzInfoAccess,
};

use crate::decode;
use crate::errors::KeyExtractionError;
use crate::schema::Schema;
use crate::slow;

/// How deep tuples in keys may nest.
const MAX_DEPTH: usize = 16;

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

/// Appends the canonical text of a key.
///
/// # Errors
/// `KeyExtractionError` for what cannot be a key.
pub fn key_to_text(key: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    write(key, out, 0)
}

fn write(key: &Bound<'_, PyAny>, out: &mut Vec<u8>, depth: usize) -> PyResult<()> {
    if let Ok(text) = key.cast::<PyString>() {
        let text = text.to_str().map_err(|_| refused("a str with half a surrogate pair"))?;
        string::write(out, text);
    } else if let Ok(flag) = key.cast::<PyBool>() {
        out.push(if flag.is_true() { b'1' } else { b'0' });
    } else if key.is_instance_of::<PyInt>() {
        // An int subclass (an IntEnum) may show itself otherwise; what counts is its value.
        let plain = key.py().get_type::<PyInt>().getattr("__int__")?.call1((key,))?;
        match plain.extract::<i64>() {
            Ok(small) => number::write_i64(out, small),
            Err(_) => {
                let digits = plain.str().map_err(|_| refused("an int of over 4,300 digits"))?;
                out.extend_from_slice(digits.to_str()?.as_bytes());
            }
        }
    } else if let Ok(float) = key.cast::<PyFloat>() {
        if float.value().is_nan() {
            return Err(refused("NaN, which equals nothing"));
        }
        key::write_float(out, float.value());
    } else if let Ok(bytes) = key.cast::<PyBytes>() {
        out.extend_from_slice(b"b\"");
        for byte in bytes.as_bytes() {
            out.extend_from_slice(format!("{byte:02x}").as_bytes());
        }
        out.push(b'"');
    } else if let Ok(moment) = key.cast::<PyDateTime>() {
        write_datetime(moment, out)?;
    } else if let Ok(date) = key.cast::<PyDate>() {
        let (year, month, day) = (date.get_year(), date.get_month(), date.get_day());
        out.extend_from_slice(format!("d\"{year:04}-{month:02}-{day:02}\"").as_bytes());
    } else if let Ok(tuple) = key.cast::<PyTuple>() {
        if depth == MAX_DEPTH {
            return Err(refused("a tuple nested more than 16 deep"));
        }
        out.push(b'[');
        for (place, part) in tuple.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            write(&part, out, depth + 1)?;
        }
        out.push(b']');
    } else if key.is_instance(uuid_class(key.py())?)? {
        out.extend_from_slice(format!("u\"{}\"", key.str()?.to_str()?).as_bytes());
    } else if key.is_instance(enum_class(key.py())?)? {
        let class = key.get_type();
        let name = key.getattr("name")?;
        let name = match class.getattr("__members__")?.contains(&name)? {
            true => name.extract::<String>()?,
            // Several flags, or none, are a member without a name of its own.
            false => format!("={}", key.getattr("value")?.str()?),
        };
        let (module, class) = (class.module()?, class.qualname()?);
        out.push(b'e');
        string::write(out, &format!("{module}:{class}:{name}"));
    } else if key.is_none() {
        return Err(refused("None"));
    } else {
        return Err(refused(&format!("of type {}", key.get_type().name()?)));
    }
    Ok(())
}

fn refused(what: &str) -> PyErr {
    KeyExtractionError::new_err(format!(
        "the key is {what}; keys are str, int, float, bool, bytes, UUID, date, datetime, Enum \
         members and tuples of those"
    ))
}

fn write_datetime(moment: &Bound<'_, PyDateTime>, out: &mut Vec<u8>) -> PyResult<()> {
    let offset = match moment.get_tzinfo() {
        None => None,
        Some(_) => {
            let delta = moment.call_method0("utcoffset")?;
            let minutes = delta.call_method0("total_seconds")?.extract::<f64>()? / 60.0;
            if minutes.fract() != 0.0 {
                return Err(refused("a datetime whose offset is no whole number of minutes"));
            }
            Some(minutes as i16)
        }
    };
    let day =
        Date { year: moment.get_year() as u16, month: moment.get_month(), day: moment.get_day() };
    let clock = Time {
        hour: moment.get_hour(),
        minute: moment.get_minute(),
        second: moment.get_second(),
        microsecond: moment.get_microsecond(),
        offset,
        end: 0,
    };
    key::write_datetime(out, day, clock)
        .ok_or_else(|| refused("a datetime that in UTC is not in the years 1 to 9999"))
}

fn uuid_class(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    CLASS.import(py, "uuid", "UUID")
}

fn enum_class(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    CLASS.import(py, "enum", "Enum")
}

/// The canonical text of a value that is looked for; None where it cannot be a key, so that nothing
/// has it.
///
/// # Errors
/// What Python raises on the way.
pub fn text_of(value: &Bound<'_, PyAny>) -> PyResult<Option<Vec<u8>>> {
    let mut text = Vec::new();
    match key_to_text(value, &mut text) {
        Ok(()) => Ok(Some(text)),
        Err(error) if error.is_instance_of::<KeyExtractionError>(value.py()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The key that a canonical text stands for.
///
/// # Errors
/// `ValueError` for a text that is none, or names an Enum that is not there.
pub fn key_from_text<'py>(py: Python<'py>, text: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let mut at = 0;
    let key = read(py, text, &mut at, 0)?;
    if at == text.len() { Ok(key) } else { Err(no_key(text)) }
}

fn no_key(text: &[u8]) -> PyErr {
    PyValueError::new_err(format!("not a key text: {}", String::from_utf8_lossy(text)))
}

fn read<'py>(
    py: Python<'py>,
    text: &[u8],
    at: &mut usize,
    depth: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let fault = || no_key(text);
    let kind = *text.get(*at).ok_or_else(fault)?;
    match kind {
        b'"' => Ok(PyString::new(py, &body(text, at)?).into_any()),
        b'[' if depth < MAX_DEPTH => {
            let mut parts = Vec::new();
            *at += 1;
            while text.get(*at) != Some(&b']') {
                if !parts.is_empty() {
                    if text.get(*at) != Some(&b',') {
                        return Err(fault());
                    }
                    *at += 1;
                }
                parts.push(read(py, text, at, depth + 1)?);
            }
            *at += 1;
            Ok(PyTuple::new(py, parts)?.into_any())
        }
        b'b' | b'u' | b'd' | b'n' | b't' | b'e' => {
            *at += 1;
            let body = body(text, at)?;
            typed(py, kind, &body)?.ok_or_else(fault)
        }
        _ => {
            let end = scan::skip(text, *at);
            let number = std::str::from_utf8(&text[*at..end]).map_err(|_| fault())?;
            *at = end;
            if number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
                return py.get_type::<PyInt>().call1((number,));
            }
            let value = match number {
                "Infinity" => f64::INFINITY,
                "-Infinity" => f64::NEG_INFINITY,
                _ => number.parse().map_err(|_| fault())?,
            };
            Ok(PyFloat::new(py, value).into_any())
        }
    }
}

/// The content of the string that begins at `at`, which is moved behind it.
fn body(text: &[u8], at: &mut usize) -> PyResult<String> {
    let end = string::end(text, *at);
    let body = text.get(*at + 1..end).filter(|_| text.get(*at) == Some(&b'"'));
    let body = body.ok_or_else(|| no_key(text))?;
    *at = end + 1;
    string::unescape(body).map(|body| body.into_owned()).map_err(|_| no_key(text))
}

fn typed<'py>(py: Python<'py>, kind: u8, body: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
    Ok(match kind {
        b'b' => {
            let hex = py.get_type::<PyBytes>().getattr("fromhex")?;
            Some(hex.call1((body,))?)
        }
        b'u' => Some(uuid_class(py)?.call1((body,))?),
        b'd' => text::date(body.as_bytes()).and_then(|day| decode::date(py, day)),
        b'e' => {
            let mut parts = body.splitn(3, ':');
            let (Some(module), Some(class), Some(name)) =
                (parts.next(), parts.next(), parts.next())
            else {
                return Ok(None);
            };
            let class = enum_of(py, module, class)?;
            Some(match name.strip_prefix('=') {
                Some(value) => class.call1((py.get_type::<PyInt>().call1((value,))?,))?,
                None => class.getattr("__members__")?.get_item(name)?,
            })
        }
        _ => text::datetime(body.as_bytes())
            .and_then(|(day, clock)| decode::datetime(py, day, clock)),
    })
}

/// The Enum class of a name. Only one that is there already: a text from a file must not import
/// anything. A class that was defined in a function is found among all subclasses.
fn enum_of<'py>(py: Python<'py>, module: &str, name: &str) -> PyResult<Bound<'py, PyAny>> {
    let base = enum_class(py)?;
    let by_path = || -> PyResult<Bound<'py, PyAny>> {
        let modules = py.import("sys")?.getattr("modules")?;
        name.split('.').try_fold(modules.get_item(module)?, |found, part| found.getattr(part))
    };
    let is_enum = |found: &Bound<'py, PyAny>| {
        found.cast::<PyType>().is_ok_and(|class| class.is_subclass(base).unwrap_or(false))
    };
    if let Some(found) = by_path().ok().filter(is_enum) {
        return Ok(found);
    }
    let mut open = vec![base.clone()];
    let mut last = None;
    while let Some(class) = open.pop() {
        let class = class.cast_into::<PyType>()?;
        if class.module()?.to_str()? == module && class.qualname()?.to_str()? == name {
            last = Some(class.clone().into_any());
        }
        open.extend(
            class.call_method0("__subclasses__")?.try_iter()?.collect::<PyResult<Vec<_>>>()?,
        );
    }
    last.ok_or_else(|| PyValueError::new_err(format!("there is no Enum {module}.{name} any more")))
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
