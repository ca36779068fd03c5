//! Lines that were read from a file: what does not fit their kind, or the lines before them.

use std::borrow::Cow;
use std::collections::HashSet;

use super::draft::append;
use super::line::{Header, Kind, Line};
use crate::batch::Batch;
use crate::error::{Result, reserve};

/// A line that is at fault: the index of its item, and what is wrong.
pub type LineFault = (usize, &'static str);

/// What is wrong with the lines of a batch, in order. A line of no length is passed over.
///
/// # Errors
/// [`crate::Error::OutOfMemory`].
pub fn review(batch: &Batch) -> Result<Vec<LineFault>> {
    let mut faults = Vec::new();
    let mut numbers = HashSet::new();
    let mut seen: HashSet<Cow<'_, str>> = HashSet::new();
    for (place, item) in batch.items.iter().enumerate() {
        if item.record.len == 0 {
            continue;
        }
        let mut fault = Some("this is no line of a ledger");
        if let Some(line) = Line::parse(batch.bytes(item.record)) {
            fault = lacks(&line);
            if fault.is_none() && !numbers.insert(line.n) {
                fault = Some("another line has the same number n");
            }
            if fault.is_none()
                && let Some(source) = line.source
                && !seen.insert(source)
                && line.kind == Kind::Source
            {
                fault = Some("a source is introduced before it says anything, and once");
            }
        }
        if let Some(fault) = fault {
            reserve(&mut faults, 1)?;
            faults.push((place, fault));
        }
    }
    Ok(faults)
}

/// What a line lacks that its kind needs.
fn lacks(line: &Line<'_>) -> Option<&'static str> {
    // Half of what can be counted: what comes later is numbered too.
    if line.n > i64::MAX as u64 / 2 {
        return Some("its number n is out of range");
    }
    let says = line.record != b"null";
    match line.kind {
        Kind::Source if line.source.is_none() => Some("a line of this kind needs a source"),
        Kind::Source if line.header().is_none() => Some("a line of this kind needs an info"),
        Kind::Source if line.key.is_some() => Some("a line of this kind has no key"),
        Kind::Source => None,
        Kind::Record if line.key.is_none() && line.record != b"{}" => {
            Some("a record without a key is {}")
        }
        Kind::Record | Kind::Aside if line.source.is_none() => {
            Some("a line of this kind needs a source")
        }
        Kind::Add | Kind::Put | Kind::Edit | Kind::Gone | Kind::At | Kind::Aside
            if line.key.is_none() =>
        {
            Some("a line of this kind needs a key")
        }
        Kind::Put | Kind::Edit | Kind::Gone | Kind::At if line.source.is_some() => {
            Some("a line of this kind has no source")
        }
        Kind::Gone | Kind::At => None,
        _ if says => None,
        _ => Some("a line of this kind needs a record"),
    }
}

/// Introduces the sources that no line introduces before they say something: of them nothing else
/// is known. Returns their names.
///
/// # Errors
/// [`crate::Error::OutOfMemory`].
pub fn introduce(batch: &mut Batch) -> Result<Vec<String>> {
    let mut seen: HashSet<Cow<'_, str>> = HashSet::new();
    let mut missing: Vec<(usize, String)> = Vec::new();
    let mut next = 0;
    for (place, item) in batch.items.iter().enumerate() {
        let Some(line) = Line::parse(batch.bytes(item.record)) else { continue };
        next = next.max(line.n + 1);
        let Some(source) = line.source else { continue };
        if line.kind != Kind::Source && !seen.contains(&source) {
            reserve(&mut missing, 1)?;
            missing.push((place, source.clone().into_owned()));
        }
        seen.insert(source);
    }
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let info = Header::default().to_json();
    let mut items = Vec::new();
    reserve(&mut items, batch.items.len() + missing.len())?;
    let mut rest = std::mem::take(&mut batch.items).into_iter().enumerate().peekable();
    for (place, source) in &missing {
        let before = std::iter::from_fn(|| rest.next_if(|(index, _)| index < place));
        items.extend(before.map(|(_, item)| item));
        let source = Some(Cow::Borrowed(&source[..]));
        let line = Line { n: next, source, info: &info, ..Line::new(Kind::Source) };
        items.push(append(batch, &line)?);
        next += 1;
    }
    items.extend(rest.map(|(_, item)| item));
    batch.items = items;
    Ok(missing.into_iter().map(|(_, source)| source).collect())
}
