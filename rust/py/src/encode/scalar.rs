//! Numbers, strings and choices.

use omem_core::json::number;
use omem_core::plan::Limit;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyString};

use super::Fast;
use crate::unicode;

pub(super) fn write_str(
    out: &mut Vec<u8>,
    value: &Bound<'_, PyAny>,
    min: usize,
    max: usize,
) -> Fast {
    let text = value.cast_exact::<PyString>().ok()?;
    if (min > 0 || max < usize::MAX) && !(min..=max).contains(&text.len().ok()?) {
        return None;
    }
    unicode::write(out, text)
}

pub(super) fn write_int(
    out: &mut Vec<u8>,
    value: &Bound<'_, PyAny>,
    min: Option<i64>,
    max: Option<i64>,
) -> Fast {
    let value = value.cast_exact::<PyInt>().ok()?;
    let mut overflow = 0;
    // SAFETY: `value` is an int; on overflow -1 is returned and the flag is set.
    let small = unsafe { ffi::PyLong_AsLongLongAndOverflow(value.as_ptr(), &mut overflow) };
    if overflow == 0 {
        if min.is_some_and(|min| small < min) || max.is_some_and(|max| small > max) {
            return None;
        }
        number::write_i64(out, small);
        return Some(());
    }
    if (overflow < 0 && min.is_some()) || (overflow > 0 && max.is_some()) {
        return None;
    }
    // Python refuses to write an int of too many digits, as Pydantic refuses to read one.
    let digits = value.str().ok()?;
    let digits = digits.to_str().ok()?;
    if digits.trim_start_matches('-').len() > number::MAX_INT_DIGITS {
        return None;
    }
    out.extend_from_slice(digits.as_bytes());
    Some(())
}

pub(super) fn write_float(
    out: &mut Vec<u8>,
    value: &Bound<'_, PyAny>,
    min: Option<Limit>,
    max: Option<Limit>,
    inf_nan: bool,
) -> Fast {
    let value = value.cast_exact::<PyFloat>().ok()?.value();
    let above = |low: Limit| value > low.at || (!low.open && value == low.at);
    let below = |high: Limit| value < high.at || (!high.open && value == high.at);
    if !min.is_none_or(above) || !max.is_none_or(below) || !(inf_nan || value.is_finite()) {
        return None;
    }
    number::write_f64(out, value);
    Some(())
}

pub(super) fn write_bool(out: &mut Vec<u8>, value: &Bound<'_, PyAny>) -> Fast {
    let value = value.cast_exact::<PyBool>().ok()?.is_true();
    out.extend_from_slice(if value { b"true" } else { b"false" });
    Some(())
}

/// Appends the text of a choice: of the member that an Enum value is, of an equal literal.
pub(super) fn write_choice(
    out: &mut Vec<u8>,
    value: &Bound<'_, PyAny>,
    texts: &[Box<[u8]>],
    choices: &[Py<PyAny>],
) -> Fast {
    let literal = value.is_exact_instance_of::<PyString>() || value.is_exact_instance_of::<PyInt>();
    let is_equal = |choice: &Py<PyAny>| {
        let choice = choice.bind(value.py());
        choice.get_type().is(value.get_type()) && choice.eq(value).unwrap_or(false)
    };
    let place = choices
        .iter()
        .position(|choice| choice.is(value))
        .or_else(|| choices.iter().position(is_equal).filter(|_| literal))?;
    out.extend_from_slice(&texts[place]);
    Some(())
}
