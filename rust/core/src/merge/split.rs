//! Canonical records taken apart. What does not read as canonical JSON gives `None`.

use memchr::memchr2;

use crate::plan::Model;

/// One past the end of the value that begins at `at`.
pub(super) fn skip(text: &[u8], at: usize) -> Option<usize> {
    let mut depth = 0usize;
    let mut at = at;
    loop {
        match text.get(at)? {
            b'"' => at = string(text, at)?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
                continue;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            b',' | b':' if depth > 0 => {
                at += 1;
                continue;
            }
            _ => {
                let rest = text.get(at..)?;
                let len =
                    rest.iter().take_while(|byte| !matches!(byte, b',' | b'}' | b']')).count();
                if len == 0 {
                    return None;
                }
                at += len;
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

/// One past the closing quote of the string that begins at `at`.
fn string(text: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Calls `each` with the range of every element of the array at `at`.
pub(super) fn elements(text: &[u8], at: usize, mut each: impl FnMut(usize, usize)) -> Option<()> {
    let mut at = at + 1;
    if text.get(at)? == &b']' {
        return Some(());
    }
    loop {
        let end = skip(text, at)?;
        each(at, end);
        match text.get(end)? {
            b',' => at = end + 1,
            b']' => return Some(()),
            _ => return None,
        }
    }
}

/// The members of the object at `at`: appends to `parts` the ranges of key and value in turn.
pub(super) fn members(text: &[u8], at: usize, parts: &mut Vec<(usize, usize)>) -> Option<()> {
    let mut at = at + 1;
    if text.get(at)? == &b'}' {
        return Some(());
    }
    loop {
        if text.get(at)? != &b'"' {
            return None;
        }
        let key = string(text, at)?;
        if text.get(key)? != &b':' {
            return None;
        }
        let end = skip(text, key + 1)?;
        parts.push((at, key));
        parts.push((key + 1, end));
        match text.get(end)? {
            b',' => at = end + 1,
            b'}' => return Some(()),
            _ => return None,
        }
    }
}

/// The field values of an object that has exactly the model's fields, in order: appends their
/// ranges to `parts`. No name is hashed: each field's prefix stands where it must.
pub(super) fn fields(
    model: &Model,
    text: &[u8],
    at: usize,
    parts: &mut Vec<(usize, usize)>,
) -> Option<()> {
    let mut at = at;
    for field in &model.fields {
        if !text.get(at..)?.starts_with(&field.prefix) {
            return None;
        }
        at += field.prefix.len();
        let end = skip(text, at)?;
        parts.push((at, end));
        at = end;
    }
    if model.fields.is_empty() {
        at += 1;
    }
    (text.get(at)? == &b'}').then_some(())
}
