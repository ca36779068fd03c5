//! Whether a model that was read back is the model that was written, types of leaves included.

mod difference;

use pyo3::exceptions::PyException;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBool, PyBytes, PyComplex, PyDateAccess, PyDateTime, PyDelta, PyDict, PyFloat, PyFrozenSet,
    PyInt, PyList, PySet, PyString, PyTime, PyTimeAccess, PyTuple, PyType, PyTzInfoAccess,
};

pub use self::difference::{Difference, Step};
use crate::instance;

/// Deeper than any record nests; what Pydantic built deeper is not compared.
const MAX_DEPTH: usize = 250;

/// Whether two values are the same, types of leaves included.
#[pyfunction]
pub fn alike(given: &Bound<'_, PyAny>, back: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(difference(given, back)?.is_none())
}

/// The first difference between what was given and what was read back.
///
/// # Errors
/// What Python raises but for an `Exception` of a comparison, which is a difference.
pub fn difference(
    given: &Bound<'_, PyAny>,
    back: &Bound<'_, PyAny>,
) -> PyResult<Option<Difference>> {
    match same(given, back, MAX_DEPTH) {
        Ok(()) => Ok(None),
        Err(Stop::Differs(difference)) => Ok(Some(difference)),
        Err(Stop::Raised(error)) if error.is_instance_of::<PyException>(given.py()) => {
            Ok(Some(Difference::new(format!("it cannot be compared: {error}"))))
        }
        Err(Stop::Raised(error)) => Err(error),
    }
}

enum Stop {
    Differs(Difference),
    Raised(PyErr),
}

impl From<PyErr> for Stop {
    fn from(error: PyErr) -> Self {
        Stop::Raised(error)
    }
}

impl Stop {
    fn at(self, step: impl FnOnce() -> Step) -> Self {
        match self {
            Stop::Differs(mut difference) => {
                difference.steps.push(step());
                Stop::Differs(difference)
            }
            raised => raised,
        }
    }
}

type Same = Result<(), Stop>;
type Any<'a, 'py> = &'a Bound<'py, PyAny>;

fn differs(what: impl Into<String>) -> Same {
    Err(Stop::Differs(Difference::new(what.into())))
}

fn other(a: Any<'_, '_>, b: Any<'_, '_>) -> Same {
    let (shown, back) = (shown(a), shown(b));
    if shown == back {
        return differs(format!("{shown} would not come back as it is"));
    }
    let types =
        a.get_type().name().and_then(|a| Ok((a.to_string(), b.get_type().name()?.to_string())));
    match types {
        Ok((a, b)) if a != b => differs(format!("{shown} ({a}) would come back as {back} ({b})")),
        _ => differs(format!("{shown} would come back as {back}")),
    }
}

fn shown(value: Any<'_, '_>) -> String {
    let mut text = match value.repr() {
        Ok(text) => text.to_string_lossy().into_owned(),
        Err(_) => "a value".to_owned(),
    };
    if let Some((end, _)) = text.char_indices().nth(80) {
        text.truncate(end);
        text.push('…');
    }
    text
}

fn ensure(equal: bool, a: Any<'_, '_>, b: Any<'_, '_>) -> Same {
    if equal { Ok(()) } else { other(a, b) }
}

fn same(a: Any<'_, '_>, b: Any<'_, '_>, depth: usize) -> Same {
    if a.is(b) {
        return Ok(());
    }
    let kind = a.get_type();
    if !kind.is(b.get_type()) {
        return other(a, b);
    }
    let Some(depth) = depth.checked_sub(1) else {
        return differs("it is nested too deeply to be compared");
    };
    if a.is_exact_instance_of::<PyString>() {
        // SAFETY: both are str; the comparison of two str does not fail.
        return ensure(unsafe { ffi::PyUnicode_Compare(a.as_ptr(), b.as_ptr()) } == 0, a, b);
    }
    if a.is_exact_instance_of::<PyInt>() || a.is_exact_instance_of::<PyBytes>() {
        return ensure(a.eq(b)?, a, b);
    }
    if let (Ok(x), Ok(y)) = (a.cast_exact::<PyFloat>(), b.cast_exact::<PyFloat>()) {
        let (x, y) = (x.value(), y.value());
        return ensure(x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan(), a, b);
    }
    if let (Ok(x), Ok(y)) = (a.cast::<PyList>(), b.cast::<PyList>()) {
        return elements(x.iter(), y.iter(), depth);
    }
    if let (Ok(x), Ok(y)) = (a.cast::<PyTuple>(), b.cast::<PyTuple>()) {
        return elements(x.iter(), y.iter(), depth);
    }
    if let (Ok(x), Ok(y)) = (a.cast::<PyDict>(), b.cast::<PyDict>()) {
        let factory =
            |dict: Any<'_, '_>| dict.getattr_opt("default_factory").map(|f| f.map(Bound::unbind));
        match (factory(a)?, factory(b)?) {
            (Some(x), Some(y)) if !x.is(&y) => return differs("a default_factory is not saved"),
            _ => return members(x, y, depth),
        }
    }
    if a.is_instance_of::<PySet>() || a.is_instance_of::<PyFrozenSet>() {
        return sets(a, b, depth);
    }
    if kind.is_subclass(base_model(a.py())?)? {
        return models(&kind, a, b, depth);
    }
    objects(&kind, a, b, depth)
}

fn elements<'py>(
    a: impl ExactSizeIterator<Item = Bound<'py, PyAny>>,
    b: impl ExactSizeIterator<Item = Bound<'py, PyAny>>,
    depth: usize,
) -> Same {
    if a.len() != b.len() {
        return differs(format!("{} elements would come back as {}", a.len(), b.len()));
    }
    for (place, (a, b)) in a.zip(b).enumerate() {
        same(&a, &b, depth).map_err(|stop| stop.at(|| Step::Index(place)))?;
    }
    Ok(())
}

fn members(a: &Bound<'_, PyDict>, b: &Bound<'_, PyDict>, depth: usize) -> Same {
    if a.len() != b.len() {
        return differs(format!("{} keys would come back as {}", a.len(), b.len()));
    }
    // Pydantic reads members in the order of the text; only a TypedDict may bring its own order.
    for ((key, value), (other_key, other_value)) in a.iter().zip(b.iter()) {
        let step = || Step::Name(key.to_string());
        if same(&key, &other_key, depth).is_ok() {
            same(&value, &other_value, depth).map_err(|stop| stop.at(step))?;
            continue;
        }
        match b.get_item(&key)? {
            Some(found) if key.is_exact_instance_of::<PyString>() => {
                same(&value, &found, depth).map_err(|stop| stop.at(step))?;
            }
            _ => return other(&key, &other_key).map_err(|stop| stop.at(step)),
        }
    }
    Ok(())
}

fn sets(a: Any<'_, '_>, b: Any<'_, '_>, depth: usize) -> Same {
    let found = PyDict::new(b.py());
    let mut strangers = Vec::new();
    for element in b.try_iter()? {
        let element = element?;
        found.set_item(&element, &element)?;
    }
    if a.len()? != found.len() {
        return other(a, b);
    }
    for element in a.try_iter()? {
        let element = element?;
        match found.get_item(&element)? {
            Some(twin) => {
                same(&element, &twin, depth)?;
                found.del_item(&element)?;
            }
            None => strangers.push(element),
        }
    }
    // NaN is not equal to itself.
    let nan = |element: Any<'_, '_>| element.extract::<f64>().is_ok_and(f64::is_nan);
    ensure(strangers.iter().all(nan) && found.keys().iter().all(|key| nan(&key)), a, b)
}

fn models(kind: &Bound<'_, PyType>, a: Any<'_, '_>, b: Any<'_, '_>, depth: usize) -> Same {
    let (Some(x), Some(y)) = (instance::fields(a), instance::fields(b)) else {
        return other(a, b);
    };
    // Mostly both have the fields in schema order; beside them, a cached property may stand.
    let mut alike = x.len() == y.len();
    for ((name, value), (twin, back)) in x.iter().zip(y.iter()) {
        alike = alike && name.is(&twin);
        if !alike {
            break;
        }
        field(kind, &name, &value, &back, depth)?;
    }
    if !alike {
        let fields = kind.getattr(pyo3::intern!(a.py(), "__pydantic_fields__"))?;
        for name in fields.try_iter()? {
            let name = name?;
            let what = match (x.get_item(&name)?, y.get_item(&name)?) {
                (Some(value), Some(back)) => {
                    field(kind, &name, &value, &back, depth)?;
                    continue;
                }
                (None, None) => continue,
                (Some(value), None) => format!("{} would be lost", shown(&value)),
                (None, Some(_)) => "the field has no value".to_owned(),
            };
            return differs(what).map_err(|stop| stop.at(|| Step::Name(name.to_string())));
        }
    }
    // A model has extra fields also where its validation was told to keep them.
    pairs(instance::extra(a), instance::extra(b), depth)?;
    slots(kind, a, b, depth)?;
    pairs(instance::private(a), instance::private(b), depth).map_err(|stop| match stop {
        Stop::Differs(difference) => Stop::Differs(Difference {
            what: "a private attribute with a value of its own is not saved".to_owned(),
            ..difference
        }),
        raised => raised,
    })
}

/// Compares what stands in slots that a model class has beside those of `BaseModel`.
fn slots(kind: &Bound<'_, PyType>, a: Any<'_, '_>, b: Any<'_, '_>, depth: usize) -> Same {
    let own = pyo3::intern!(a.py(), "__slots__");
    let base = base_model(a.py())?;
    if kind.getattr(own)?.is(&base.getattr(own)?) {
        return Ok(());
    }
    let names = a.py().import("copyreg")?.getattr("_slotnames")?.call1((kind,))?;
    for name in names.try_iter()? {
        let name = name?.cast_into::<PyString>().map_err(PyErr::from)?;
        if base.hasattr(&name)? {
            continue;
        }
        let compared = match (a.getattr_opt(&name)?, b.getattr_opt(&name)?) {
            (Some(value), Some(back)) => same(&value, &back, depth),
            (None, _) => Ok(()),
            (Some(_), None) => differs("a slot that is no field is not saved"),
        };
        compared.map_err(|stop| stop.at(|| Step::Name(name.to_string())))?;
    }
    Ok(())
}

/// Compares two dicts, of which one that is missing is an empty one.
fn pairs(a: Option<Bound<'_, PyDict>>, b: Option<Bound<'_, PyDict>>, depth: usize) -> Same {
    let Some(one) = a.as_ref().or(b.as_ref()) else { return Ok(()) };
    let none = PyDict::new(one.py());
    let (a, b) = (a.as_ref().unwrap_or(&none), b.as_ref().unwrap_or(&none));
    if let Some(name) = a.keys().iter().find(|name| !b.contains(name).unwrap_or(false)) {
        let lost = differs("it is no field of the model and would be lost");
        return lost.map_err(|stop| stop.at(|| Step::Name(name.to_string())));
    }
    members(a, b, depth)
}

fn field(
    kind: &Bound<'_, PyType>,
    name: Any<'_, '_>,
    value: Any<'_, '_>,
    back: Any<'_, '_>,
    depth: usize,
) -> Same {
    match same(value, back, depth) {
        Err(Stop::Differs(_)) if is_default(kind, name, value, back)? => Ok(()),
        compared => compared.map_err(|stop| stop.at(|| Step::Name(name.to_string()))),
    }
}

/// Whether a value is the field's default, which Pydantic does not validate, and comes back as the
/// equal value of the field's type: `score: float = 0`, `word: Word = "a"`, `tags: set = frozenset()`.
/// A bool is no number, equal or not; and what is of a class of its own, as a member of an Enum, or
/// has parts of which that may be true, does not come back as something else.
fn is_default(
    kind: &Bound<'_, PyType>,
    name: Any<'_, '_>,
    value: Any<'_, '_>,
    back: Any<'_, '_>,
) -> PyResult<bool> {
    let fields = kind.getattr(pyo3::intern!(kind.py(), "__pydantic_fields__"))?;
    let default = fields.get_item(name)?.getattr(pyo3::intern!(kind.py(), "default"))?;
    let is_plain = value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyFloat>()
        || value.is_exact_instance_of::<PyString>()
        || value.is_exact_instance_of::<PyFrozenSet>() && value.is_empty()?;
    let is_bool = back.is_exact_instance_of::<PyBool>();
    Ok(value.is(&default) && is_plain && !is_bool && value.eq(back)?)
}

fn objects(kind: &Bound<'_, PyType>, a: Any<'_, '_>, b: Any<'_, '_>, depth: usize) -> Same {
    let py = a.py();
    if let (Ok(x), Ok(y)) = (a.cast_exact::<PyDateTime>(), b.cast_exact::<PyDateTime>()) {
        let days = (x.get_year(), x.get_month(), x.get_day())
            == (y.get_year(), y.get_month(), y.get_day());
        return ensure(days && clocks(x, y)?, a, b);
    }
    if let (Ok(x), Ok(y)) = (a.cast_exact::<PyTime>(), b.cast_exact::<PyTime>()) {
        return ensure(clocks(x, y)?, a, b);
    }
    if kind.is(class(py, &DECIMAL, "decimal", "Decimal")?) {
        // 1.0 and 1.00 are equal and not the same.
        return ensure(a.str()?.as_any().eq(b.str()?)?, a, b);
    }
    if a.is_exact_instance_of::<PyDelta>() {
        return ensure(a.eq(b)?, a, b);
    }
    if kind.is(class(py, &PATH, "pathlib", "PosixPath")?) {
        // Their texts are equal when they are; `==` takes both apart first: 2.7 of the 36 us that
        // a model with a path takes to be added.
        return ensure(a.str()?.as_any().eq(b.str()?)?, a, b);
    }
    if a.is_exact_instance_of::<PyComplex>() {
        // 0j and -0j are equal and not the same.
        return ensure(a.repr()?.as_any().eq(b.repr()?)?, a, b);
    }
    if kind.is(class(py, &DEQUE, "collections", "deque")?) {
        let length = pyo3::intern!(py, "maxlen");
        if !a.getattr(length)?.eq(b.getattr(length)?)? {
            return differs("the maxlen of a deque is not saved");
        }
        let (x, y) = (a.try_iter()?.collect::<PyResult<Vec<_>>>()?, b.try_iter()?);
        return elements(x.into_iter(), y.collect::<PyResult<Vec<_>>>()?.into_iter(), depth);
    }
    if let Some(fields) = kind.getattr_opt(pyo3::intern!(py, "__dataclass_fields__"))? {
        for name in fields.try_iter()? {
            let name = name?.cast_into::<PyString>().map_err(PyErr::from)?;
            let compared = match (a.getattr_opt(&name)?, b.getattr_opt(&name)?) {
                (Some(value), Some(back)) => same(&value, &back, depth),
                (None, None) => Ok(()),
                _ => differs("it would be lost or added"),
            };
            compared.map_err(|stop| stop.at(|| Step::Name(name.to_string())))?;
        }
        return attributes(kind, a, b);
    }
    if a.hasattr(pyo3::intern!(py, "get_secret_value"))? {
        return match a.eq(b)? {
            true => Ok(()),
            false => differs("a secret is masked when it is saved"),
        };
    }
    if a.eq(b)? {
        return Ok(());
    }
    // Objects that are equal by identity alone: what they consist of decides.
    let by_identity = kind.getattr("__eq__")?.is(py.get_type::<PyAny>().getattr("__eq__")?);
    let parts = pyo3::intern!(py, "__dict__");
    match (a.getattr_opt(parts)?, b.getattr_opt(parts)?) {
        (Some(x), Some(y)) if by_identity && x.len()? > 0 => same(&x, &y, depth),
        _ => other(a, b),
    }
}

/// Whether a dataclass has attributes that are none of its fields, as `extra="allow"` keeps them, and
/// that do not come back: neither set by its own code nor the value of a cached property.
fn attributes(kind: &Bound<'_, PyType>, a: Any<'_, '_>, b: Any<'_, '_>) -> Same {
    let Some(given) = instance::fields(a) else { return Ok(()) };
    let back = instance::fields(b);
    for name in given.keys() {
        let stands = match &back {
            Some(back) => back.contains(&name)?,
            None => false,
        };
        let name = name.cast_into::<PyString>().map_err(PyErr::from)?;
        if !stands && !kind.hasattr(&name)? {
            let lost = differs("it is no field of the dataclass and would be lost");
            return lost.map_err(|stop| stop.at(|| Step::Name(name.to_string())));
        }
    }
    Ok(())
}

/// Whether two clocks show the same; of a time zone only its offset counts.
fn clocks<'py, T>(a: &Bound<'py, T>, b: &Bound<'py, T>) -> PyResult<bool>
where
    Bound<'py, T>: PyTimeAccess + PyTzInfoAccess<'py>,
{
    let shown = |clock: &Bound<'py, T>| {
        (clock.get_hour(), clock.get_minute(), clock.get_second(), clock.get_microsecond())
    };
    if shown(a) != shown(b) {
        return Ok(false);
    }
    match (a.get_tzinfo(), b.get_tzinfo()) {
        (None, None) => Ok(a.get_fold() == b.get_fold()),
        (Some(_), Some(_)) => {
            // Equal too: in an hour that a zone repeats, a value is equal to none of another zone.
            let offset = pyo3::intern!(a.py(), "utcoffset");
            let offsets = (a.as_any().call_method0(offset)?, b.as_any().call_method0(offset)?);
            Ok(offsets.0.eq(offsets.1)? && a.as_any().eq(b.as_any())?)
        }
        _ => Ok(false),
    }
}

static BASE_MODEL: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static DECIMAL: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static DEQUE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static PATH: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// Pydantic's `BaseModel`.
pub fn base_model(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    class(py, &BASE_MODEL, "pydantic", "BaseModel")
}

fn class<'py>(
    py: Python<'py>,
    known: &'static PyOnceLock<Py<PyType>>,
    module: &str,
    name: &str,
) -> PyResult<&'py Bound<'py, PyType>> {
    known.import(py, module, name)
}
