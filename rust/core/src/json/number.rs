//! Numbers: canonical texts, as pydantic-core writes them.

/// The most digits of an integer that Python reads (`sys.int_info.default_max_str_digits`).
pub const MAX_INT_DIGITS: usize = 4300;

/// Appends a float: the shortest text that reads back, or one of the strings `"NaN"`,
/// `"Infinity"`, `"-Infinity"`.
pub fn write_f64(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    } else if value.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
    } else if value > 0.0 {
        out.extend_from_slice(b"\"Infinity\"");
    } else {
        out.extend_from_slice(b"\"-Infinity\"");
    }
}

/// Appends an integer.
pub fn write_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// The end of the number that begins at `at`, by the grammar of RFC 8259.
#[must_use]
pub fn end(text: &[u8], at: usize) -> Option<usize> {
    let mut here = at + usize::from(text.get(at) == Some(&b'-'));
    match text.get(here)? {
        b'0' => here += 1,
        b'1'..=b'9' => here = digits(text, here),
        _ => return None,
    }
    if text.get(here) == Some(&b'.') {
        let first = here + 1;
        here = digits(text, first);
        if here == first {
            return None;
        }
    }
    if let Some(b'e' | b'E') = text.get(here) {
        here += 1;
        here += usize::from(matches!(text.get(here), Some(b'+' | b'-')));
        let first = here;
        here = digits(text, first);
        if here == first {
            return None;
        }
    }
    Some(here)
}

fn digits(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len())
}

/// The end of the canonical integer that begins at `at`: no `-0`, no leading zero, no fraction.
#[must_use]
pub fn end_int(text: &[u8], at: usize) -> Option<usize> {
    let negative = text.get(at) == Some(&b'-');
    let first = at + usize::from(negative);
    let end = match text.get(first)? {
        b'0' if negative => return None,
        b'0' => first + 1,
        b'1'..=b'9' => digits(text, first),
        _ => return None,
    };
    let whole = !matches!(text.get(end), Some(b'.' | b'e' | b'E' | b'0'..=b'9'));
    (whole && end - first <= MAX_INT_DIGITS).then_some(end)
}

/// The end of the canonical finite float that begins at `at`.
///
/// At most 15 significant digits in plain notation are canonical without being parsed: no two
/// such texts read as the same double, so the shortest text that reads back is this one.
#[must_use]
pub fn end_float(text: &[u8], at: usize) -> Option<usize> {
    let negative = text.get(at) == Some(&b'-');
    let first = at + usize::from(negative);
    let point = match text.get(first)? {
        b'0' => first + 1,
        b'1'..=b'9' => digits(text, first),
        _ => return None,
    };
    if text.get(point) == Some(&b'.') {
        let end = digits(text, point + 1);
        let plain = !matches!(text.get(end), Some(b'e' | b'E'));
        let (whole, fraction) = (&text[first..point], &text[point + 1..end]);
        let trimmed = fraction == b"0" || fraction.last().is_some_and(|&digit| digit != b'0');
        // From 0.0001 on, well inside the range that is written without an exponent.
        let small = whole == b"0" && fraction.starts_with(b"0000");
        if plain && trimmed && !small && whole.len() + fraction.len() <= 15 {
            return Some(end);
        }
    }
    let end = end(text, at)?;
    let number = std::str::from_utf8(&text[at..end]).ok()?;
    let value: f64 = number.parse().ok()?;
    let same = value.is_finite() && zmij::Buffer::new().format_finite(value) == number;
    same.then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_that_are_canonical_are_exactly_those_that_are_written() {
        for text in ["0.0", "-0.0", "1.5", "100.0", "1e16", "1e-7", "123456789012345.0", "0.1"] {
            let value: f64 = text.parse().unwrap();
            let mut out = Vec::new();
            write_f64(&mut out, value);
            assert_eq!(end_float(text.as_bytes(), 0).is_some(), out == text.as_bytes(), "{text}");
        }
        for text in ["1", "1.", "1.50", "01.0", "1E5", "+1.0", ".5", "1e5", "1.0e0", "-"] {
            assert_eq!(end_float(text.as_bytes(), 0), None, "{text}");
        }
    }

    #[test]
    fn ints() {
        for (text, canonical) in [
            ("0", true),
            ("-1", true),
            ("-0", false),
            ("01", false),
            ("1.0", false),
            ("1e3", false),
        ] {
            assert_eq!(end_int(text.as_bytes(), 0) == Some(text.len()), canonical, "{text}");
        }
    }
}
