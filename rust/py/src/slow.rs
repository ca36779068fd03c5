//! Records that the plan does not cover: Pydantic writes them, and must read the same model back.

use omem_core::Unset;
use omem_core::json::scan;
use pyo3::exceptions::{PyException, PyMemoryError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PySet, PyTuple, PyType};

use crate::canonical;
use crate::differ::{Difference, Step, difference};
use crate::errors::{LossyError, MergeError};
use crate::observed;
use crate::room;
use crate::schema::Schema;

/// What happens to a value that would not survive saving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lossy {
    /// It is refused.
    Error,
    /// It is stored with a warning.
    Warn,
    /// It is stored.
    Allow,
}

/// What Pydantic made of a model class to write and to read it.
pub struct Pydantic {
    class: Py<PyType>,
    write: Call,
    write_silently: Call,
    read: Call,
}

/// A method with the keyword arguments that it is always called with.
struct Call {
    method: Py<PyAny>,
    names: Py<PyTuple>,
    values: Vec<Py<PyAny>>,
}

impl Call {
    fn new(method: Bound<'_, PyAny>, keywords: &Bound<'_, PyDict>) -> PyResult<Self> {
        let py = method.py();
        Ok(Call {
            names: PyTuple::new(py, keywords.keys())?.unbind(),
            values: keywords.values().iter().map(Bound::unbind).collect(),
            method: method.unbind(),
        })
    }

    /// Calls the method with one argument. By a dict of keywords, each call would take 0.2 µs more.
    fn with<'py>(&self, argument: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = argument.py();
        if !room::is_ample() {
            let keywords = PyDict::new(py);
            for (name, value) in self.names.bind(py).iter().zip(&self.values) {
                keywords.set_item(name, value)?;
            }
            let alone = PyTuple::new(py, [argument])?;
            return room::call_with_room(self.method.bind(py), &alone, Some(&keywords));
        }
        let mut arguments = [std::ptr::null_mut(); 4];
        let values = self.values.iter().map(Py::as_ptr);
        let passed = std::iter::once(argument.as_ptr()).chain(values);
        for (place, value) in arguments.iter_mut().zip(passed) {
            *place = value;
        }
        // SAFETY: the array holds one positional argument and then a value for each of the names,
        // of which there are three at most; all are live objects.
        unsafe {
            let result = ffi::PyObject_Vectorcall(
                self.method.as_ptr(),
                arguments.as_ptr(),
                1,
                self.names.as_ptr(),
            );
            Bound::from_owned_ptr_or_err(py, result)
        }
    }
}

impl Pydantic {
    /// The serializer and validator of a class.
    ///
    /// # Errors
    /// The class is no complete model.
    pub fn new(class: &Bound<'_, PyType>) -> PyResult<Self> {
        let py = class.py();
        let writer = class.getattr("__pydantic_serializer__")?.getattr("to_json")?;
        let reader = class.getattr("__pydantic_validator__")?.getattr("validate_json")?;
        let options = PyDict::new(py);
        options.set_item("by_alias", false)?;
        options.set_item("round_trip", true)?;
        options.set_item("warnings", "error")?;
        let write = Call::new(writer.clone(), &options)?;
        // Not "none": a str costs 1 µs more than a bool, as much as a small model itself.
        options.set_item("warnings", false)?;
        let write_silently = Call::new(writer, &options)?;
        let options = PyDict::new(py);
        options.set_item("by_alias", true)?;
        options.set_item("by_name", true)?;
        let read = Call::new(reader, &options)?;
        Ok(Pydantic { class: class.clone().unbind(), write, write_silently, read })
    }

    /// The model that is read from a record.
    ///
    /// # Errors
    /// Pydantic's `ValidationError`, and what a validator raises.
    pub fn read<'py>(&self, record: &Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyAny>> {
        self.read.with(record)
    }

    /// The first field that cannot be written.
    fn culprit(&self, item: &Bound<'_, PyAny>) -> Vec<Step> {
        let fails = |name: &Bound<'_, PyAny>| -> PyResult<bool> {
            let options = PyDict::new(item.py());
            options.set_item("include", PySet::new(item.py(), [name])?)?;
            options.set_item("warnings", "error")?;
            let alone = PyTuple::new(item.py(), [item])?;
            let writer = self.write.method.bind(item.py());
            Ok(room::call_with_room(writer, &alone, Some(&options)).is_err())
        };
        let fields = self.class.bind(item.py()).getattr("__pydantic_fields__");
        let names = fields.and_then(|fields| fields.try_iter()?.collect::<PyResult<Vec<_>>>());
        let found = names.unwrap_or_default().into_iter().find(|name| fails(name).unwrap_or(false));
        found.map(|name| Step::Name(name.to_string())).into_iter().collect()
    }
}

/// Appends the record that Pydantic writes; fields that were not set go to `unset`.
///
/// # Errors
/// `LossyError` where Pydantic would read another model from it.
pub fn encode(
    schema: &Schema,
    item: &Bound<'_, PyAny>,
    lossy: Lossy,
    out: &mut Vec<u8>,
    unset: &mut Vec<Unset>,
) -> PyResult<()> {
    let (start, unset_start) = (out.len(), unset.len());
    let Some(loss) = attempt(schema, item, out, unset)? else { return Ok(()) };
    out.truncate(start);
    unset.truncate(unset_start);
    let message = format!("{} {loss}", item.get_type().name()?);
    match lossy {
        Lossy::Error => return Err(refuse(item, &loss)),
        Lossy::Warn => warn(item.py(), &message)?,
        Lossy::Allow => {}
    }
    let refused = |message: String| LossyError::new_err((message, item.py().None(), loss.place()));
    // What is stored is what will be read: the record of the item as Pydantic reads it back.
    let left = reread(schema, item).map_err(|error| {
        if !is_fault(&error, item.py()) {
            return error;
        }
        let reason = told(&error, item.py());
        refused(format!("{message}; and what is left of it does not load: {reason}"))
    })?;
    let text = schema.pydantic.write_silently.with(&left)?;
    match canonical::write(schema, &left, text.cast::<PyBytes>()?.as_bytes(), out, unset)? {
        true => Ok(()),
        false => Err(refused(message)),
    }
}

/// The `LossyError` that refuses an item.
pub fn refuse(item: &Bound<'_, PyAny>, loss: &Difference) -> PyErr {
    let name =
        item.get_type().name().map_or_else(|_| "the item".to_owned(), |name| name.to_string());
    let advice = "change the value or the field, or accept the loss with lossy=\"allow\"";
    LossyError::new_err((format!("{name} {loss}; {advice}"), item.py().None(), loss.place()))
}

/// Appends the record, or says what would be lost.
fn attempt(
    schema: &Schema,
    item: &Bound<'_, PyAny>,
    out: &mut Vec<u8>,
    unset: &mut Vec<Unset>,
) -> PyResult<Option<Difference>> {
    let py = item.py();
    let pydantic = &schema.pydantic;
    let class = item.get_type();
    if !class.is(&pydantic.class) {
        let what = format!("an instance of the subclass {} is not saved as such", class.name()?);
        return Ok(Some(Difference::new(what)));
    }
    let text = match pydantic.write_silently.with(item) {
        Ok(text) => text.cast_into::<PyBytes>()?,
        Err(error) if is_fault(&error, py) => return Ok(Some(unwritable(schema, item, &error))),
        Err(error) => return Err(error),
    };
    if schema.plan.model().is_some() && text.as_bytes().first() != Some(&b'{') {
        let what = "its serializer writes something else than an object, which would not load";
        return Ok(Some(Difference::new(what.to_owned())));
    }
    let start = out.len();
    if !canonical::write(schema, item, text.as_bytes(), out, unset)? {
        return Ok(Some(too_deep(deep_field(text.as_bytes()).as_deref())));
    }
    let record = &out[start..];
    let record = if record == text.as_bytes() { text } else { PyBytes::new(py, record) };
    let loss = match pydantic.read.with(&record) {
        Ok(back) => difference(item, &back)?,
        Err(error) if is_fault(&error, py) => Some(unreadable(&error, &record)),
        Err(error) => return Err(error),
    };
    let Some(loss) = loss else { return Ok(None) };
    // What is wrong is best told by what Pydantic warned of when it wrote the item.
    match pydantic.write.with(item) {
        Err(error) if is_fault(&error, py) => Ok(Some(unwritable(schema, item, &error))),
        Err(error) => Err(error),
        Ok(_) => Ok(Some(loss)),
    }
}

/// Whether this text is the record of an item.
///
/// # Errors
/// What Python raises but for an `Exception` of a serializer, which is a no.
pub fn writes(schema: &Schema, item: &Bound<'_, PyAny>, text: &[u8]) -> PyResult<bool> {
    let py = item.py();
    if !item.get_type().is(&schema.pydantic.class) {
        return Ok(false);
    }
    let written = match schema.pydantic.write_silently.with(item) {
        Ok(written) => written.cast_into::<PyBytes>()?,
        Err(error) if is_fault(&error, py) => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut record = Vec::new();
    let whole = canonical::write(schema, item, written.as_bytes(), &mut record, &mut Vec::new())?;
    Ok(whole && record == text)
}

/// What keeps Pydantic from writing an item.
fn unwritable(schema: &Schema, item: &Bound<'_, PyAny>, error: &PyErr) -> Difference {
    let what = format!("Pydantic does not write it: {}", told(error, item.py()));
    Difference { steps: schema.pydantic.culprit(item), what }
}

/// The model that is read from an item's record, with the item's set of fields.
fn reread<'py>(schema: &Schema, item: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let name = pyo3::intern!(item.py(), "__pydantic_fields_set__");
    let text = schema.pydantic.write_silently.with(item)?;
    let mut record = Vec::new();
    canonical::write(
        schema,
        item,
        text.cast::<PyBytes>()?.as_bytes(),
        &mut record,
        &mut Vec::new(),
    )?;
    let left = schema.pydantic.read.with(&PyBytes::new(item.py(), &record))?;
    left.setattr(name, item.getattr(name)?)?;
    Ok(left)
}

/// The model that Pydantic reads from a record; values that equal their defaults are not set.
///
/// # Errors
/// Pydantic's `ValidationError`.
pub fn decode<'py>(schema: &Schema, py: Python<'py>, record: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let model = schema.pydantic.read.with(&PyBytes::new(py, record))?;
    observed::mark_defaults(schema, &model, record)?;
    Ok(model)
}

/// Whether this is what a bad value raises, and not an interrupt or a lack of memory.
pub fn is_fault(error: &PyErr, py: Python<'_>) -> bool {
    error.is_instance_of::<PyException>(py) && !error.is_instance_of::<PyMemoryError>(py)
}

/// A field that is nested too deeply for the record to load again.
pub fn too_deep(field: Option<&str>) -> Difference {
    Difference {
        steps: field.map(|name| Step::Name(name.to_owned())).into_iter().collect(),
        what: format!("it is nested more than {} deep and would not load again", scan::MAX_DEPTH),
    }
}

/// The field of a record in which it is nested too deeply.
fn deep_field(record: &[u8]) -> Option<String> {
    let Err(omem_core::Error::Json { path, .. }) = scan::validate(record, 0) else {
        return None;
    };
    path.strip_prefix("$.")?.split(['.', '[']).next().map(str::to_owned)
}

/// Why a record cannot be read.
fn unreadable(error: &PyErr, record: &Bound<'_, PyBytes>) -> Difference {
    static STEPS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = record.py();
    let first = || -> PyResult<(Vec<Step>, String)> {
        let (location, message, kind) = first_fault(error, py)?;
        if let Some((_, column)) = message.rsplit_once("line 1 column ") {
            // What is no JSON to Pydantic has no location, only a place.
            let path = scan::path_to(record.as_bytes(), 0, column.parse().unwrap_or(0));
            let steps = path.strip_prefix("$.").map(|path| Step::Name(path.to_owned()));
            return Ok((steps.into_iter().collect(), message));
        }
        let steps = STEPS.import(py, "omem.restore", "steps")?.call1((location, kind, record))?;
        let steps: Vec<Bound<'_, PyAny>> = steps.extract()?;
        Ok((steps.iter().rev().map(Step::of).collect(), message))
    };
    match first() {
        Ok((steps, message)) => {
            Difference { steps, what: format!("it would not load again: {message}") }
        }
        Err(_) => Difference::new(format!("it would not load again: {}", told(error, py))),
    }
}

/// Why two records were not merged: what Pydantic says first, or the exception with its class.
pub fn reason(error: &PyErr, py: Python<'_>) -> String {
    if let Ok((location, message, _)) = first_fault(error, py) {
        let steps = location.iter().rev().map(Step::of).collect();
        return Difference { steps, what: message }.to_string();
    }
    let class = error.get_type(py).name().map_or_else(|_| String::new(), |name| name.to_string());
    match error.value(py).to_string() {
        text if error.is_instance_of::<MergeError>(py) => text,
        text if text.is_empty() => class,
        text => format!("{class}: {text}"),
    }
}

/// Where and what a `ValidationError` says first, and the type of the fault.
fn first_fault<'py>(
    error: &PyErr,
    py: Python<'py>,
) -> PyResult<(Vec<Bound<'py, PyAny>>, String, String)> {
    let options = PyDict::new(py);
    options.set_item("include_url", false)?;
    options.set_item("include_input", false)?;
    let errors = error.value(py).call_method("errors", (), Some(&options))?;
    let fault = errors.get_item(0)?;
    let part = |name: &str| fault.get_item(name);
    Ok((part("loc")?.extract()?, part("msg")?.extract()?, part("type")?.extract()?))
}

/// The message of an exception; Pydantic's warnings have their point in a later line.
fn told(error: &PyErr, py: Python<'_>) -> String {
    let text = error.value(py).to_string();
    let point = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("PydanticSerializationUnexpectedValue("));
    let line = point.map(|line| line.trim_end_matches(')')).or_else(|| text.lines().next());
    line.unwrap_or_default().to_owned()
}

fn warn(py: Python<'_>, message: &str) -> PyResult<()> {
    static WARNING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    static WARN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let category = WARNING.import(py, "omem.errors", "LossyWarning")?;
    WARN.import(py, "warnings", "warn")?.call1((message, category, 3)).map(drop)
}
