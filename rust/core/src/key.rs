//! Keys: their canonical text, and how they are taken from records.
//!
//! Two keys that are equal in a Python dict have the same text, and a text reads back as a key;
//! `docs/architecture.md` has the table of forms.

use std::sync::OnceLock;

use foldhash::fast::FixedState;
use std::hash::{BuildHasher, Hasher, RandomState};

use crate::check::Place;
use crate::json::{scan, string};
use crate::plan::{Model, Node, NodeId, Plan, Text};
use crate::text::{Date, Time, datetime};

/// Where the parts of a key stand in a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPlan {
    /// One field: its index in the root model, then in each nested one.
    Path(Vec<u16>),
    /// A tuple of keys.
    Tuple(Vec<KeyPlan>),
    /// Text with fields in it.
    Format(Vec<Piece>),
}

/// A piece of a formatted key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text as it is.
    Text(String),
    /// The content of a str field, or the digits of an int field.
    Field(Vec<u16>),
}

/// A key text that [`extract`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyText {
    /// It stands in the record, at this place.
    InRecord(Place),
    /// It was appended to the output.
    Built,
}

/// Why a record gives no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFault {
    /// The field is null.
    Null,
    /// The record does not tell; the binding asks the model.
    Unsupported,
}

/// The hash of a key text; the same within a process, another one in the next, so that nobody
/// can prepare keys that collide.
#[must_use]
pub fn hash(text: &[u8]) -> u64 {
    static STATE: OnceLock<FixedState> = OnceLock::new();
    let state =
        STATE.get_or_init(|| FixedState::with_seed(RandomState::new().build_hasher().finish()));
    let mut hasher = state.build_hasher();
    hasher.write(text);
    hasher.finish()
}

/// Takes the key text of a canonical record.
///
/// # Errors
/// [`KeyFault`] where a part of the key is null, or of a type that is not keyed from bytes.
pub fn extract(
    plan: &Plan,
    key: &KeyPlan,
    record: &[u8],
    fields: &[Place],
    out: &mut Vec<u8>,
) -> Result<KeyText, KeyFault> {
    let reader = Reader { plan, record, fields };
    match key {
        KeyPlan::Path(path) => {
            let (node, start, end) = reader.locate(path)?;
            match reader.verbatim(node, start) {
                Some(true) => Ok(KeyText::InRecord((start as u32, end as u32))),
                _ => reader.write(node, start, end, out).map(|()| KeyText::Built),
            }
        }
        _ => reader.build(key, out).map(|()| KeyText::Built),
    }
}

/// Calls `found` with the key text of each element of a list, set or tuple field; null ones are
/// passed over.
///
/// # Errors
/// [`KeyFault`] where the field is null, no list, or its elements are not keyed from bytes.
pub fn each(
    plan: &Plan,
    path: &[u16],
    record: &[u8],
    mut found: impl FnMut(&[u8]),
) -> Result<(), KeyFault> {
    let reader = Reader { plan, record, fields: &[] };
    let (node, start, end) = reader.locate(path)?;
    let list = reader.present(node, start)?;
    if record.get(start) != Some(&b'[') {
        return Err(KeyFault::Unsupported);
    }
    let mut text = Vec::new();
    let mut here = start + 1;
    for place in 0.. {
        if here >= end || record[here] == b']' {
            break;
        }
        let node = match list {
            Node::List(items) | Node::Set(items) => Some(items.item),
            Node::Tuple(nodes) => nodes.get(place).copied(),
            _ => None,
        };
        let stop = scan::skip(record, here);
        text.clear();
        match reader.write(node.ok_or(KeyFault::Unsupported)?, here, stop, &mut text) {
            Ok(()) => found(&text),
            Err(KeyFault::Null) => {}
            Err(fault) => return Err(fault),
        }
        here = stop + 1;
    }
    Ok(())
}

struct Reader<'a> {
    plan: &'a Plan,
    record: &'a [u8],
    fields: &'a [Place],
}

impl Reader<'_> {
    fn build(&self, key: &KeyPlan, out: &mut Vec<u8>) -> Result<(), KeyFault> {
        match key {
            KeyPlan::Path(path) => {
                let (node, start, end) = self.locate(path)?;
                self.write(node, start, end, out)
            }
            KeyPlan::Tuple(parts) => {
                out.push(b'[');
                for (place, part) in parts.iter().enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    self.build(part, out)?;
                }
                out.push(b']');
                Ok(())
            }
            KeyPlan::Format(pieces) => {
                out.push(b'"');
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => string::write_body(out, text.as_bytes()),
                        Piece::Field(path) => {
                            let (_, start, end) = self.locate(path)?;
                            let value = &self.record[start..end];
                            let body =
                                value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\""));
                            out.extend_from_slice(body.unwrap_or(value));
                        }
                    }
                }
                out.push(b'"');
                Ok(())
            }
        }
    }

    /// The node and the place of the value at this path.
    fn locate(&self, path: &[u16]) -> Result<(NodeId, usize, usize), KeyFault> {
        let (&first, rest) = path.split_first().ok_or(KeyFault::Unsupported)?;
        let model = self.plan.model().ok_or(KeyFault::Unsupported)?;
        let field = model.fields.get(usize::from(first)).ok_or(KeyFault::Unsupported)?;
        let (start, end) = match self.fields.get(usize::from(first)) {
            Some(&(start, end)) => (start as usize, end as usize),
            None => self.field(model, usize::from(first), 0)?,
        };
        let mut found = (field.node, start, end);
        for &index in rest {
            let Node::Model(model) = self.present(found.0, found.1)? else {
                return Err(KeyFault::Unsupported);
            };
            let (start, end) = self.field(model, usize::from(index), found.1)?;
            found = (model.fields[usize::from(index)].node, start, end);
        }
        Ok(found)
    }

    /// The place of a model's field; the model's text begins at `at`.
    fn field(&self, model: &Model, index: usize, at: usize) -> Result<(usize, usize), KeyFault> {
        let mut here = at;
        for (number, field) in model.fields.iter().enumerate() {
            let rest = self.record.get(here..).ok_or(KeyFault::Unsupported)?;
            if !scan::begins(rest, &field.prefix) {
                return Err(KeyFault::Unsupported);
            }
            let start = here + field.prefix.len();
            here = scan::skip(self.record, start);
            if number == index {
                return Ok((start, here));
            }
        }
        Err(KeyFault::Unsupported)
    }

    /// The node behind `Nullable`, for a value that is not null.
    fn present(&self, node: NodeId, at: usize) -> Result<&Node, KeyFault> {
        let mut node = self.plan.node(node);
        if self.record.get(at..).is_some_and(|rest| rest.starts_with(b"null")) {
            return Err(KeyFault::Null);
        }
        while let Node::Nullable(inner) = node {
            node = self.plan.node(*inner);
        }
        Ok(node)
    }

    /// Whether the value's own text is its key text.
    fn verbatim(&self, node: NodeId, at: usize) -> Option<bool> {
        Some(matches!(self.present(node, at).ok()?, Node::Str { .. } | Node::Int { .. }))
    }

    fn write(
        &self,
        node: NodeId,
        start: usize,
        end: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), KeyFault> {
        let value = &self.record[start..end];
        let body = || value.get(1..value.len().saturating_sub(1)).unwrap_or_default();
        match self.present(node, start)? {
            Node::Str { .. } | Node::Int { .. } => out.extend_from_slice(value),
            Node::Bool => out.push(if value == b"true" { b'1' } else { b'0' }),
            Node::Float { .. } => {
                let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                write_float(out, number.ok_or(KeyFault::Unsupported)?);
            }
            Node::Text(Text::Uuid) => {
                out.push(b'u');
                out.extend_from_slice(value);
            }
            Node::Text(Text::Date) => {
                out.push(b'd');
                out.extend_from_slice(value);
            }
            Node::Text(Text::DateTime) => {
                let (date, time) = datetime(body()).ok_or(KeyFault::Unsupported)?;
                write_datetime(out, date, time).ok_or(KeyFault::Unsupported)?;
            }
            _ => return Err(KeyFault::Unsupported),
        }
        Ok(())
    }
}

/// Appends the key text of a float that is not NaN: an integral one is the integer that equals it.
pub fn write_float(out: &mut Vec<u8>, value: f64) {
    if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
    } else if value == 0.0 {
        out.push(b'0');
    } else if value.fract() == 0.0 {
        out.extend_from_slice(format!("{value:.0}").as_bytes());
    } else {
        crate::json::number::write_f64(out, value);
    }
}

/// Appends the key text of a date and time; an aware one is converted to UTC. `None` where that
/// leaves the years 1 to 9999.
pub fn write_datetime(out: &mut Vec<u8>, date: Date, time: Time) -> Option<()> {
    let (mut date, mut minutes) = (date, i32::from(time.hour) * 60 + i32::from(time.minute));
    if let Some(offset) = time.offset {
        minutes -= i32::from(offset);
        let days = minutes.div_euclid(24 * 60);
        minutes = minutes.rem_euclid(24 * 60);
        date = from_days(to_days(date) + days)?;
    }
    let kind = if time.offset.is_some() { 't' } else { 'n' };
    let Date { year, month, day } = date;
    let text = format!(
        "{kind}\"{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
        minutes / 60,
        minutes % 60,
        time.second
    );
    out.extend_from_slice(text.as_bytes());
    if time.microsecond > 0 {
        out.extend_from_slice(format!(".{:06}", time.microsecond).as_bytes());
    }
    out.extend_from_slice(if time.offset.is_some() { b"Z\"" } else { b"\"" });
    Some(())
}

/// Days since 0000-03-01, by <https://howardhinnant.github.io/date_algorithms.html>.
pub(crate) fn to_days(date: Date) -> i32 {
    let (month, day) = (i32::from(date.month), i32::from(date.day));
    let year = i32::from(date.year) - i32::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year
}

fn from_days(days: i32) -> Option<Date> {
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i32::from(month <= 2);
    (1..=9999).contains(&year).then_some(Date {
        year: year as u16,
        month: month as u8,
        day: day as u8,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Field, Items};

    #[test]
    fn days_go_forth_and_back() {
        for (year, month, day) in [(1, 1, 1), (1970, 1, 1), (2000, 2, 29), (9999, 12, 31)] {
            let date = Date { year, month, day };
            assert_eq!(from_days(to_days(date)), Some(date));
        }
        let next = from_days(to_days(Date { year: 1999, month: 12, day: 31 }) + 1);
        assert_eq!(next, Some(Date { year: 2000, month: 1, day: 1 }));
    }

    #[test]
    fn elements_have_the_texts_that_fields_have() {
        let list = Items { item: 2, min: 0, max: usize::MAX };
        let field = Field {
            name: "n".to_owned(),
            prefix: (*b"{\"n\":").into(),
            node: 4,
            default: None,
            rule: None,
        };
        let nodes = vec![
            Node::Model(Model { fields: vec![field], covered: true }),
            Node::Float { min: None, max: None, inf_nan: true },
            Node::Nullable(1),
            Node::List(list),
            Node::Nullable(3),
        ];
        let plan = Plan { nodes, root: 0 };
        let texts = |record: &str| {
            let mut texts = Vec::new();
            let found = |text: &[u8]| texts.push(String::from_utf8_lossy(text).into_owned());
            each(&plan, &[0], record.as_bytes(), found).map(|()| texts)
        };
        assert_eq!(texts(r#"{"n":[1.0,null,2.5]}"#), Ok(vec!["1".to_owned(), "2.5".to_owned()]));
        assert_eq!(texts(r#"{"n":[]}"#), Ok(vec![]));
        assert_eq!(texts(r#"{"n":null}"#), Err(KeyFault::Null));
        assert_eq!(texts(r#"{"n":7}"#), Err(KeyFault::Unsupported));
    }

    #[test]
    fn equal_floats_and_ints_have_one_text() {
        for (value, text) in
            [(1.0, "1"), (-0.0, "0"), (1e22, "10000000000000000000000"), (1.5, "1.5")]
        {
            let mut out = Vec::new();
            write_float(&mut out, value);
            assert_eq!(out, text.as_bytes());
        }
    }
}
