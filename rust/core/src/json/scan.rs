//! Scanning values: skipping trusted text, validating any other.

use super::{number, string};
use crate::error::{Error, Result, reserve};

/// The deepest nesting that Pydantic reads again.
pub const MAX_DEPTH: usize = 199;

/// The offset of the first byte, from `at` on, that is no white space.
#[must_use]
pub fn white(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let blank = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
    at + rest.iter().position(|byte| !blank(byte)).unwrap_or(rest.len())
}

/// The end of the value that begins at `at` in trusted canonical text.
#[must_use]
pub fn skip(text: &[u8], at: usize) -> usize {
    let mut depth = 0_usize;
    let mut here = at;
    loop {
        match text.get(here) {
            Some(b'"') => here = string::end(text, here) + 1,
            Some(b'[' | b'{') => {
                depth += 1;
                here += 1;
                continue;
            }
            Some(b']' | b'}') => {
                depth = depth.saturating_sub(1);
                here += 1;
            }
            Some(b',' | b':') => {
                here += 1;
                continue;
            }
            Some(_) => {
                let rest = &text[here..];
                let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}');
                here += rest.iter().position(ends).unwrap_or(rest.len());
            }
            None => return text.len(),
        }
        if depth == 0 {
            return here;
        }
    }
}

/// The end of the one value that begins at `at`, validated by RFC 8259.
///
/// The tokens NaN, Infinity and -Infinity, which Python's `json` writes, are let through;
/// whether a field takes them is the schema's to say. The text must be UTF-8.
///
/// # Errors
/// [`Error::Json`] with offset and path of what is wrong; [`Error::OutOfMemory`].
pub fn validate(text: &[u8], at: usize) -> Result<usize> {
    // One entry for each open container: whether it is an object.
    let mut open: Vec<bool> = Vec::new();
    let mut here = white(text, at);
    loop {
        let fault = |what: &str, offset: usize| {
            Err(Error::Json {
                what: if offset >= text.len() {
                    "the text ends too early".into()
                } else {
                    what.into()
                },
                at: offset,
                path: path_to(text, at, offset),
            })
        };
        // A value begins here, or a container that was just opened ends.
        match text.get(here) {
            Some(b'"') => match string_end(text, here) {
                Ok(end) => here = end,
                Err((what, offset)) => return fault(what, offset),
            },
            Some(&byte @ (b'[' | b'{')) => {
                if open.len() >= MAX_DEPTH {
                    return fault("nested more than 199 deep", here);
                }
                reserve(&mut open, 1)?;
                open.push(byte == b'{');
                here = white(text, here + 1);
                if text.get(here) == Some(&(byte + 2)) {
                    open.pop();
                    here += 1;
                } else if byte == b'{' {
                    match member(text, here) {
                        Ok(value) => here = value,
                        Err((what, offset)) => return fault(what, offset),
                    }
                    continue;
                } else {
                    continue;
                }
            }
            Some(b'-' | b'0'..=b'9' | b't' | b'f' | b'n' | b'N' | b'I') => match scalar(text, here)
            {
                Some(end) => here = end,
                None => return fault("not a JSON value", here),
            },
            _ => return fault("a value was expected", here),
        }
        // A value ended here: close what ends with it, or go on to the next one.
        loop {
            let Some(&object) = open.last() else {
                return Ok(here);
            };
            here = white(text, here);
            match text.get(here) {
                Some(b',') => {
                    here = white(text, here + 1);
                    if object {
                        match member(text, here) {
                            Ok(value) => here = value,
                            Err((what, offset)) => return fault(what, offset),
                        }
                    }
                    break;
                }
                Some(b']') if !object => here += 1,
                Some(b'}') if object => here += 1,
                _ if object => return fault("a comma or } was expected", here),
                _ => return fault("a comma or ] was expected", here),
            }
            open.pop();
        }
    }
}

/// The offset of the value of the member whose name begins at `at`.
fn member(text: &[u8], at: usize) -> std::result::Result<usize, (&'static str, usize)> {
    if text.get(at) != Some(&b'"') {
        return Err(("a name in quotes was expected", at));
    }
    let colon = white(text, string_end(text, at)?);
    if text.get(colon) != Some(&b':') {
        return Err(("a colon was expected", colon));
    }
    Ok(white(text, colon + 1))
}

/// One past the closing quote of the string that begins at `at`.
fn string_end(text: &[u8], at: usize) -> std::result::Result<usize, (&'static str, usize)> {
    let mut here = at + 1;
    loop {
        here = string::special(text, here);
        match text.get(here) {
            Some(b'"') => return Ok(here + 1),
            Some(b'\\') => match text.get(here + 1) {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => here += 2,
                Some(b'u') => match text.get(here + 2..here + 6) {
                    Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => here += 6,
                    _ => return Err(("a bad \\u escape", here)),
                },
                _ => return Err(("a bad escape", here)),
            },
            Some(_) => return Err(("a control character in a string", here)),
            None => return Err(("a string that does not end", text.len())),
        }
    }
}

fn scalar(text: &[u8], at: usize) -> Option<usize> {
    const WORDS: [&[u8]; 6] = [b"true", b"false", b"null", b"NaN", b"Infinity", b"-Infinity"];
    let rest = &text[at..];
    let word = WORDS.iter().find(|word| rest.starts_with(word));
    word.map(|word| at + word.len()).or_else(|| number::end(text, at))
}

/// Where in the value that begins at `from` the offset lies, as `$.field[3]`.
///
/// Computed for an error message alone, so it may take its time.
#[must_use]
pub fn path_to(text: &[u8], from: usize, offset: usize) -> String {
    enum Place {
        Element(usize),
        Member(Option<(usize, usize)>),
    }
    let mut open = Vec::new();
    let mut here = from;
    while here < offset.min(text.len()) {
        match text[here] {
            b'"' => {
                let end = string::end(text, here);
                let named = text.get(white(text, end + 1)) == Some(&b':');
                if let (true, Some(Place::Member(name))) = (named, open.last_mut()) {
                    *name = Some((here + 1, end));
                }
                here = end;
            }
            b'[' => open.push(Place::Element(0)),
            b'{' => open.push(Place::Member(None)),
            b']' | b'}' => drop(open.pop()),
            b',' => {
                if let Some(Place::Element(number)) = open.last_mut() {
                    *number += 1;
                }
            }
            _ => {}
        }
        here += 1;
    }
    let mut path = "$".to_owned();
    for place in open {
        match place {
            Place::Element(number) => path += &format!("[{number}]"),
            Place::Member(Some((start, end))) => {
                let name = text.get(start..end.min(text.len())).unwrap_or_default();
                path += &format!(".{}", String::from_utf8_lossy(name));
            }
            Place::Member(None) => {}
        }
        if path.len() > 400 {
            return path + "…";
        }
    }
    path
}

/// Whether a text begins with this prefix: without a call of `memcmp` for the usual lengths.
#[inline]
#[must_use]
pub fn begins(text: &[u8], prefix: &[u8]) -> bool {
    /// Whether the first N bytes are the same, and the last N.
    #[inline]
    fn ends<const N: usize>(text: &[u8], prefix: &[u8]) -> bool {
        text.first_chunk::<N>() == prefix.first_chunk()
            && text.last_chunk::<N>() == prefix.last_chunk()
    }
    let Some(text) = text.get(..prefix.len()) else {
        return false;
    };
    match prefix.len() {
        4..=8 => ends::<4>(text, prefix),
        9..=16 => ends::<8>(text, prefix),
        17..=32 => ends::<16>(text, prefix),
        _ => text == prefix,
    }
}
