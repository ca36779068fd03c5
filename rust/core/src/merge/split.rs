//! Canonical records taken apart. What does not read as canonical JSON gives `None`.

use crate::json::scan::{begins, skip};
use crate::json::string;
use crate::plan::Model;

/// Calls `each` with the range of every element of the array at `at`.
pub(super) fn elements(text: &[u8], at: usize, mut each: impl FnMut(usize, usize)) -> Option<()> {
    let mut at = at + 1;
    if text.get(at)? == &b']' {
        return Some(());
    }
    loop {
        let end = skip(text, at);
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
        let key = string::end(text, at) + 1;
        if text.get(key)? != &b':' {
            return None;
        }
        let end = skip(text, key + 1);
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
        if !begins(text.get(at..)?, &field.prefix) {
            return None;
        }
        at += field.prefix.len();
        let end = skip(text, at);
        parts.push((at, end));
        at = end;
    }
    if model.fields.is_empty() {
        at += 1;
    }
    (text.get(at)? == &b'}').then_some(())
}
