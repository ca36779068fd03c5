//! Values as Python shows them: what `f"{value}"` and `repr(value)` give.

/// Appends a float as Python's `repr` does, from its shortest JSON text.
///
/// The digits are the same; Python writes an exponent of two digits at least, from 1e16 on and
/// below 1e-4 (<https://docs.python.org/3/library/functions.html#float>).
pub fn write_float(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let at = text.iter().position(|byte| matches!(byte, b'e' | b'E'));
    let (number, exponent) = match at {
        Some(at) => (&text[..at], std::str::from_utf8(&text[at + 1..]).ok()?.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let point = number.iter().position(|&byte| byte == b'.').unwrap_or(number.len());
    let mut digits: Vec<u8> = number.iter().copied().filter(u8::is_ascii_digit).collect();
    let leading = digits.iter().take_while(|&&digit| digit == b'0').count();
    digits.drain(..leading);
    while digits.last() == Some(&b'0') {
        digits.pop();
    }
    // The value is 0.digits × 10^places.
    let mut places = point as i32 - leading as i32 + exponent;
    if digits.is_empty() {
        digits.push(b'0');
        places = 1;
    }
    if negative {
        out.push(b'-');
    }
    if places <= -4 || places > 16 {
        out.push(digits[0]);
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        let power = places - 1;
        let sign = if power < 0 { '-' } else { '+' };
        out.extend_from_slice(format!("e{sign}{:02}", power.unsigned_abs()).as_bytes());
    } else if places <= 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + places.unsigned_abs() as usize, b'0');
        out.extend_from_slice(&digits);
    } else {
        let whole = places as usize;
        if digits.len() > whole {
            out.extend_from_slice(&digits[..whole]);
            out.push(b'.');
            out.extend_from_slice(&digits[whole..]);
        } else {
            out.extend_from_slice(&digits);
            out.resize(out.len() + whole - digits.len(), b'0');
            out.extend_from_slice(b".0");
        }
    }
    Some(())
}

/// Appends a str as `repr` does; `None` where it holds characters of which it is not certain that
/// this Python's Unicode tables call them printable.
pub fn write_str(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let quote = if text.contains('\'') && !text.contains('"') { b'"' } else { b'\'' };
    out.push(quote);
    for character in text.chars() {
        match character {
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\0'..'\x20' | '\x7f'..'\u{a0}' | '\u{a0}' | '\u{ad}' => {
                out.extend_from_slice(format!("\\x{:02x}", character as u32).as_bytes());
            }
            _ if character as u32 == u32::from(quote) => out.extend_from_slice(&[b'\\', quote]),
            _ if is_surely_printable(character) => {
                let mut bytes = [0; 4];
                out.extend_from_slice(character.encode_utf8(&mut bytes).as_bytes());
            }
            _ => return None,
        }
    }
    out.push(quote);
    Some(())
}

/// Blocks without gaps and of old age: every Python that is supported calls them printable.
fn is_surely_printable(character: char) -> bool {
    matches!(character,
        ' '..='~'
        | '\u{a1}'..='\u{ac}'
        | '\u{ae}'..='\u{377}'
        | '\u{3a3}'..='\u{52f}'
        | '\u{1e00}'..='\u{1f15}'
        | '\u{2010}'..='\u{2027}'
        | '\u{2030}'..='\u{205e}'
        | '\u{20a0}'..='\u{20bf}'
        | '\u{2100}'..='\u{218b}'
        | '\u{2190}'..='\u{2426}'
        | '\u{2460}'..='\u{2b73}'
        | '\u{3001}'..='\u{303f}'
        | '\u{3041}'..='\u{3096}'
        | '\u{3099}'..='\u{30ff}'
        | '\u{4e00}'..='\u{9ffc}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{ff01}'..='\u{ff5e}'
        | '\u{1f300}'..='\u{1f64f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_look_as_in_python() {
        for (json, python) in [
            ("0.0", "0.0"),
            ("-0.0", "-0.0"),
            ("1.0", "1.0"),
            ("120.5", "120.5"),
            ("1e16", "1e+16"),
            ("1e+16", "1e+16"),
            ("1e15", "1000000000000000.0"),
            ("1234567890123456.0", "1234567890123456.0"),
            ("12345678901234567.0", "1.2345678901234567e+16"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("1e-5", "1e-05"),
            ("-1.5e-7", "-1.5e-07"),
            ("5e-324", "5e-324"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ] {
            let mut out = Vec::new();
            write_float(json.as_bytes(), &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), python);
        }
    }

    #[test]
    fn strings_look_as_in_python() {
        for (text, python) in [
            ("a", r"'a'"),
            ("it's", r#""it's""#),
            ("it's \"so\"", r#"'it\'s "so"'"#),
            ("a\\b\n\t\x07\x7f\u{a0}\u{ad}", r"'a\\b\n\t\x07\x7f\xa0\xad'"),
            ("Zürich 文字 данные", "'Zürich 文字 данные'"),
        ] {
            let mut out = Vec::new();
            write_str(text, &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), python);
        }
        assert_eq!(write_str("\u{e000}", &mut Vec::new()), None);
    }
}
