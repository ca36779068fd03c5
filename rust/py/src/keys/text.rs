//! Python keys and their canonical text, both ways.

use omem_core::json::{number, scan, string};
use omem_core::key;
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

/// How deep tuples in keys may nest.
const MAX_DEPTH: usize = 16;

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

pub(super) fn refused(what: &str) -> PyErr {
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
