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

/// Where the digits that begin at `at` end, eight at a time.
fn digits(text: &[u8], at: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    let mut here = at;
    while let Some(block) = text.get(here..).and_then(<[u8]>::first_chunk::<8>) {
        // Digits become 0 to 9; adding 0x76 sets the high bit of any other byte.
        let block = u64::from_le_bytes(*block) ^ (ONES * u64::from(b'0'));
        let others = (((block & (ONES * 0x7f)) + ONES * 0x76) | block) & (ONES * 0x80);
        if others != 0 {
            return here + others.trailing_zeros() as usize / 8;
        }
        here += 8;
    }
    let rest = text.get(here..).unwrap_or_default();
    here + rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len())
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
    // What is written just so is a number by the grammar, whatever the parser would let pass.
    let (value, end) = read_f64(text, at)?;
    let same = zmij::Buffer::new().format_finite(value).as_bytes() == &text[at..end];
    same.then_some(end)
}

/// The finite float that begins at `at`, and its end, where it is known that a number begins there.
#[must_use]
pub fn read_f64(text: &[u8], at: usize) -> Option<(f64, usize)> {
    let (value, length) = fast_float2::parse_partial::<f64, _>(text.get(at..)?).ok()?;
    value.is_finite().then_some((value, at + length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A float: of any bits, a short decimal, or a neighbour of a power of ten or two.
    fn float() -> impl Strategy<Value = f64> {
        let decimal = (any::<i64>(), 0..19u32, -30..30i32)
            .prop_map(|(digits, less, e)| format!("{}e{e}", digits / 10i64.pow(less)));
        let power = (-323..309i32, -1074..1024i32, any::<bool>(), 0..5u64).prop_map(
            |(ten, two, which, off)| {
                let power =
                    if which { format!("1e{ten}").parse().unwrap() } else { 2f64.powi(two) };
                f64::from_bits(power.to_bits().saturating_sub(off))
            },
        );
        prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            decimal.prop_map(|text| text.parse().unwrap()),
            power,
        ]
        .prop_filter("finite", |value| value.is_finite())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

        /// A text is canonical if it is what is written for the float that the standard library reads.
        #[test]
        fn a_float_is_canonical_as_it_is_written_and_in_no_other_way(
            value in float(),
            digits in 0..20usize,
            how in 0..7,
            at: prop::sample::Index,
            byte in prop::sample::select(b"0123456789.eE+-".to_vec()),
        ) {
            let mut written = Vec::new();
            write_f64(&mut written, value);
            prop_assert_eq!(end_float(&written, 0), Some(written.len()));
            let text = match how {
                0 => format!("{value:.digits$}").into_bytes(),
                1 => format!("{value:.digits$e}").into_bytes(),
                2 => format!("{value:?}0").into_bytes(),
                3 => format!("{value}").into_bytes(),
                _ => {
                    let mut text = written;
                    let at = at.index(text.len());
                    text.splice(at..at + (how as usize % 2), [byte]);
                    text
                }
            };
            let whole = end(&text, 0) == Some(text.len());
            let read = std::str::from_utf8(&text).unwrap().parse::<f64>().ok().filter(|_| whole);
            let canonical = read.filter(|read| read.is_finite()).is_some_and(|read| {
                let mut written = Vec::new();
                write_f64(&mut written, read);
                written == text
            });
            let found = end_float(&text, 0) == Some(text.len());
            prop_assert_eq!(found, canonical, "{}", String::from_utf8_lossy(&text));
        }
    }

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
    fn digits_end_at_every_other_byte() {
        for length in 0..20 {
            for byte in (0..=255).filter(|byte: &u8| !byte.is_ascii_digit()) {
                let mut text = b"9081726354".repeat(2)[..length].to_vec();
                assert_eq!(digits(&text, 0), length);
                text.extend([byte; 9]);
                assert_eq!(digits(&text, 0), length, "{byte}");
            }
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
