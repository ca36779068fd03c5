//! Types that a record holds as text: dates, times, UUIDs, decimals, bytes.

use omem_core::json::string;
use omem_core::plan::Text;
use omem_core::text;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBytes, PyDate, PyDateAccess, PyDateTime, PyDelta, PyDeltaAccess, PyDict, PyTime,
    PyTimeAccess, PyType, PyTzInfoAccess,
};

use super::Fast;

/// Appends the text of a value of this kind, quotes included.
pub(super) fn write(out: &mut Vec<u8>, kind: Text, value: &Bound<'_, PyAny>) -> Fast {
    match kind {
        Text::Bytes => {
            let bytes = value.cast_exact::<PyBytes>().ok()?.as_bytes();
            string::write(out, std::str::from_utf8(bytes).ok()?);
            return Some(());
        }
        Text::Duration => return None,
        _ => out.push(b'"'),
    }
    match kind {
        Text::Date => write_date(out, value.cast_exact::<PyDate>().ok()?),
        Text::DateTime => {
            let moment = value.cast_exact::<PyDateTime>().ok()?;
            write_date(out, moment);
            out.push(b'T');
            write_time(out, moment)?;
        }
        Text::Time => write_time(out, value.cast_exact::<PyTime>().ok()?)?,
        Text::Uuid => write_uuid(out, value)?,
        _ => write_decimal(out, value)?,
    }
    out.push(b'"');
    Some(())
}

fn write_date(out: &mut Vec<u8>, date: &impl PyDateAccess) {
    write_digits(out, date.get_year().unsigned_abs(), 4);
    out.push(b'-');
    write_digits(out, date.get_month().into(), 2);
    out.push(b'-');
    write_digits(out, date.get_day().into(), 2);
}

/// Appends a time; a naive one in the second pass of a repeated hour has no text of its own.
fn write_time<'py, T>(out: &mut Vec<u8>, time: &Bound<'py, T>) -> Fast
where
    Bound<'py, T>: PyTimeAccess + PyTzInfoAccess<'py>,
{
    write_digits(out, time.get_hour().into(), 2);
    out.push(b':');
    write_digits(out, time.get_minute().into(), 2);
    out.push(b':');
    write_digits(out, time.get_second().into(), 2);
    if time.get_microsecond() > 0 {
        out.push(b'.');
        write_digits(out, time.get_microsecond(), 6);
    }
    match time.get_tzinfo() {
        Some(_) => write_offset(out, time.as_any()),
        None => (!time.get_fold()).then_some(()),
    }
}

/// Appends the offset of an aware value, if it is a whole number of minutes.
fn write_offset(out: &mut Vec<u8>, value: &Bound<'_, PyAny>) -> Fast {
    let offset = offset_of(value)?;
    let seconds = offset.get_days() * 86_400 + offset.get_seconds();
    if offset.get_microseconds() != 0 || seconds % 60 != 0 {
        return None;
    }
    let minutes = seconds.unsigned_abs() / 60;
    if minutes == 0 {
        out.push(b'Z');
        return Some(());
    }
    out.push(if seconds < 0 { b'-' } else { b'+' });
    write_digits(out, minutes / 60, 2);
    out.push(b':');
    write_digits(out, minutes % 60, 2);
    Some(())
}

/// The offset of an aware value. In an hour that its zone repeats or skips, Python holds it equal to
/// no value of another zone, and so to none that is read back: there is no telling then.
fn offset_of<'py>(value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyDelta>> {
    static FIXED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static READ: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let py = value.py();
    let name = pyo3::intern!(py, "utcoffset");
    let offset = value.call_method0(name).ok()?;
    let zone = value.getattr(pyo3::intern!(py, "tzinfo")).ok()?.get_type();
    if !zone.is(FIXED.import(py, "datetime", "timezone").ok()?)
        && !zone.is(READ.import(py, "pydantic_core", "TzInfo").ok()?)
    {
        let fold: u8 = value.getattr(pyo3::intern!(py, "fold")).ok()?.extract().ok()?;
        let other = PyDict::new(py);
        other.set_item(pyo3::intern!(py, "fold"), 1 - fold.min(1)).ok()?;
        let other = value.call_method(pyo3::intern!(py, "replace"), (), Some(&other)).ok()?;
        if !other.call_method0(name).ok()?.eq(&offset).ok()? {
            return None;
        }
    }
    offset.cast_into().ok()
}

fn write_uuid(out: &mut Vec<u8>, value: &Bound<'_, PyAny>) -> Fast {
    static UUID: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    if !value.get_type().is(UUID.import(value.py(), "uuid", "UUID").ok()?) {
        return None;
    }
    let number: u128 = value.getattr(pyo3::intern!(value.py(), "int")).ok()?.extract().ok()?;
    let digits = format!("{number:032x}");
    for (place, part) in [0..8, 8..12, 12..16, 16..20, 20..32].into_iter().enumerate() {
        if place > 0 {
            out.push(b'-');
        }
        out.extend_from_slice(digits[part].as_bytes());
    }
    Some(())
}

fn write_decimal(out: &mut Vec<u8>, value: &Bound<'_, PyAny>) -> Fast {
    static DECIMAL: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    if !value.get_type().is(DECIMAL.import(value.py(), "decimal", "Decimal").ok()?) {
        return None;
    }
    let shown = value.str().ok()?;
    let shown = shown.to_str().ok()?.as_bytes();
    text::is_canonical(Text::Decimal, shown).then(|| out.extend_from_slice(shown))
}

/// Appends a number in this many digits.
fn write_digits(out: &mut Vec<u8>, value: u32, width: usize) {
    let start = out.len();
    out.resize(start + width, b'0');
    let mut rest = value;
    for digit in out[start..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}
