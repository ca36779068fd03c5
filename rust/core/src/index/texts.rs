//! The text of an entity that is embedded, from its record.
//!
//! The same text that ontomem embeds, so that its folders stay valid: `field: value` lines of the
//! chosen fields, values as Python shows them, or the whole record as `model_dump_json` writes it
//! without nulls. Sets, which have no order of their own, stand in the record's order.

use std::sync::Mutex;
use std::thread;

use blake2::digest::consts::U16;
use blake2::{Blake2b, Digest};

use super::python;
use crate::check;
use crate::error::{Error, Progress, Result, reserve};
use crate::json::{number, scan, string};
use crate::plan::{Model, Node, NodeId, Plan, Text};
use crate::store::Snapshot;

/// What tells one text from another: 16 bytes of BLAKE2b. Texts come from outside; nobody must be
/// able to prepare one that takes another one's vector.
pub type Hash = [u8; 16];

/// So many records are taken at once.
const BLOCK: usize = 512;

/// The hash of a text.
#[must_use]
pub fn content_hash(text: &[u8]) -> Hash {
    Blake2b::<U16>::digest(text).into()
}

/// Which text of a record is embedded.
#[derive(Debug, Default)]
pub struct Texts {
    /// The fields, as places in the root model; none for the whole record.
    pub fields: Vec<usize>,
    /// For each node that is a choice, what Python shows of each value: `f"{value}"` and
    /// `repr(value)`.
    pub choices: Vec<Vec<(String, String)>>,
    /// Whether a record alone tells the text: no computed fields, no aliases that Pydantic writes.
    pub from_record: bool,
}

impl Texts {
    /// Appends the text of a canonical record; `None` where Pydantic has to give it.
    pub fn write(&self, plan: &Plan, record: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let model = plan.model().filter(|model| self.from_record && model.covered)?;
        let mut writer = Writer { plan, choices: &self.choices, text: record, at: 0, out };
        if self.fields.is_empty() {
            return writer.model(model);
        }
        let mut places = Vec::with_capacity(model.fields.len());
        for field in &model.fields {
            writer.prefix(&field.prefix)?;
            places.push(writer.at);
            writer.at = scan::skip(record, writer.at);
        }
        let mut first = true;
        for &field in &self.fields {
            writer.at = *places.get(field)?;
            if record[writer.at..].starts_with(b"null") {
                continue;
            }
            if !std::mem::take(&mut first) {
                writer.out.push(b'\n');
            }
            let field = &model.fields[field];
            writer.out.extend_from_slice(field.name.as_bytes());
            writer.out.extend_from_slice(b": ");
            writer.shown(field.node, false)?;
        }
        Some(())
    }
}

/// The content hash of each of these entities; `None` where Pydantic has to give the text.
///
/// # Errors
/// [`Error::OutOfMemory`]; [`Error::Interrupted`] by `progress`.
pub fn hashes(
    plan: &Plan,
    texts: &Texts,
    snapshot: &Snapshot,
    slots: &[u32],
    threads: usize,
    progress: &mut Progress<'_>,
) -> Result<Vec<Option<Hash>>> {
    let mut found: Vec<Option<Hash>> = Vec::new();
    reserve(&mut found, slots.len())?;
    found.resize(slots.len(), None);
    // Whichever threads there are take the next records until none are left.
    let parts = Mutex::new(slots.chunks(BLOCK).zip(found.chunks_mut(BLOCK)));
    let work = |progress: Option<&mut Progress<'_>>| -> bool {
        let mut text = Vec::new();
        let mut progress = progress;
        while let Some((slots, found)) = parts.lock().ok().and_then(|mut parts| parts.next()) {
            for (&slot, found) in slots.iter().zip(found) {
                text.clear();
                let whole = texts.write(plan, snapshot.record(slot), &mut text);
                *found = whole.map(|()| content_hash(&text));
            }
            if progress.as_mut().is_some_and(|report| !report(0, 0)) {
                return false;
            }
        }
        true
    };
    let helpers = threads.min(slots.len().div_ceil(BLOCK)).saturating_sub(1);
    let whole = thread::scope(|scope| {
        for _ in 0..helpers {
            // Where a thread cannot be started, the others do its part.
            let _ = thread::Builder::new().spawn_scoped(scope, || work(None));
        }
        let whole = work(Some(progress));
        if !whole {
            // The others find nothing left to do.
            while parts.lock().ok().and_then(|mut parts| parts.next()).is_some() {}
        }
        whole
    });
    if whole { Ok(found) } else { Err(Error::Interrupted) }
}

/// `None` is doubt: the text is Pydantic's to give.
struct Writer<'a> {
    plan: &'a Plan,
    choices: &'a [Vec<(String, String)>],
    text: &'a [u8],
    at: usize,
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    fn prefix(&mut self, prefix: &[u8]) -> Option<()> {
        self.text.get(self.at..)?.starts_with(prefix).then(|| self.at += prefix.len())
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Whether this byte comes next; then it is passed.
    fn byte(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, word: &[u8]) -> bool {
        self.prefix(word).is_some()
    }

    /// The text of the value that comes next; it is passed.
    fn pass(&mut self) -> &'a [u8] {
        let start = self.at;
        self.at = scan::skip(self.text, start);
        &self.text[start..self.at]
    }

    fn copy(&mut self) -> Option<()> {
        let value = self.pass();
        self.out.extend_from_slice(value);
        Some(())
    }

    fn string(&mut self) -> Option<std::borrow::Cow<'a, str>> {
        let end = string::end(self.text, self.at);
        let body = self.text.get(self.at + 1..end)?;
        self.at = end + 1;
        string::unescape(body).ok()
    }

    /// A model as JSON, without the fields that are null.
    fn model(&mut self, model: &Model) -> Option<()> {
        if !model.covered {
            return None;
        }
        self.out.push(b'{');
        let mut first = true;
        for field in &model.fields {
            self.prefix(&field.prefix)?;
            if self.word(b"null") {
                continue;
            }
            if !std::mem::take(&mut first) {
                self.out.push(b',');
            }
            self.out.extend_from_slice(&field.prefix[1..]);
            self.json(field.node)?;
        }
        self.out.push(b'}');
        self.byte(b'}').then_some(())
    }

    /// A value as Pydantic writes it: null for a float that is not finite.
    fn json(&mut self, node: NodeId) -> Option<()> {
        match self.plan.node(node) {
            Node::Float { .. } if self.peek() == Some(b'"') => {
                self.pass();
                self.out.extend_from_slice(b"null");
                Some(())
            }
            Node::Nullable(inner) => match self.word(b"null") {
                true => {
                    self.out.extend_from_slice(b"null");
                    Some(())
                }
                false => self.json(*inner),
            },
            Node::List(items) | Node::Set(items) => {
                let item = items.item;
                self.sequence(b"[,]", |writer, _| writer.json(item))
            }
            Node::Tuple(nodes) => {
                self.sequence(b"[,]", |writer, place| writer.json(*nodes.get(place)?))
            }
            Node::Dict(items) => {
                let item = items.item;
                self.sequence(b"{,}", |writer, _| {
                    writer.copy()?;
                    writer.out.push(b':');
                    writer.byte(b':').then_some(())?;
                    writer.json(item)
                })
            }
            Node::Model(model) => self.model(model),
            Node::Union(nodes) => {
                let node = self.variant(nodes)?;
                self.json(node)
            }
            Node::OneOf(_) | Node::Opaque => None,
            _ => self.copy(),
        }
    }

    /// An array or object: `form` is how it opens, what stands between its members, how it closes.
    fn sequence(
        &mut self,
        form: &[u8],
        mut each: impl FnMut(&mut Self, usize) -> Option<()>,
    ) -> Option<()> {
        let (open, separator, close) = (form[0], &form[1..form.len() - 1], form[form.len() - 1]);
        self.byte(open).then_some(())?;
        self.out.push(open);
        let mut place = 0;
        while !self.byte(close) {
            if place > 0 {
                self.byte(b',').then_some(())?;
                self.out.extend_from_slice(separator);
            }
            each(self, place)?;
            place += 1;
        }
        self.out.push(close);
        Some(())
    }

    fn variant(&self, nodes: &[NodeId]) -> Option<NodeId> {
        let fits = |&node: &NodeId| check::accepts(self.plan, node, self.text, self.at);
        nodes.iter().copied().find(fits)
    }

    /// A value as Python shows it: `f"{value}"`, or `repr(value)` inside of a container.
    fn shown(&mut self, node: NodeId, inside: bool) -> Option<()> {
        match self.plan.node(node) {
            Node::Null => self.any(inside),
            Node::Bool | Node::Int { .. } | Node::Str { .. } | Node::Any => self.any(inside),
            Node::Float { .. } => self.float(),
            Node::Text(kind) => self.typed(*kind, inside),
            Node::Choice(values) => {
                let value = self.pass();
                let place = values.iter().position(|choice| **choice == *value)?;
                let (plain, repr) = self.choices.get(node as usize)?.get(place)?;
                let text = if inside { repr } else { plain };
                self.out.extend_from_slice(text.as_bytes());
                Some(())
            }
            Node::Nullable(inner) => match self.text[self.at..].starts_with(b"null") {
                true => self.any(inside),
                false => self.shown(*inner, inside),
            },
            Node::List(items) => {
                let item = items.item;
                self.shown_items(|writer| writer.shown(item, true))
            }
            Node::Dict(items) => {
                let item = items.item;
                self.shown_dict(|writer| writer.shown(item, true))
            }
            Node::Union(nodes) => {
                let node = self.variant(nodes)?;
                self.shown(node, inside)
            }
            Node::Tuple(_) | Node::Set(_) | Node::Model(_) | Node::OneOf(_) | Node::Opaque => None,
        }
    }

    fn any(&mut self, inside: bool) -> Option<()> {
        match self.peek()? {
            b'"' => {
                let text = self.string()?;
                if inside {
                    return python::write_str(&text, self.out);
                }
                self.out.extend_from_slice(text.as_bytes());
                Some(())
            }
            b'[' => self.shown_items(|writer| writer.any(true)),
            b'{' => self.shown_dict(|writer| writer.any(true)),
            b't' => self.shown_word(b"true", b"True"),
            b'f' => self.shown_word(b"false", b"False"),
            b'n' => self.shown_word(b"null", b"None"),
            _ => match number::end_int(self.text, self.at) {
                Some(_) => self.copy(),
                None => self.float(),
            },
        }
    }

    fn shown_word(&mut self, json: &[u8], python: &[u8]) -> Option<()> {
        self.prefix(json)?;
        self.out.extend_from_slice(python);
        Some(())
    }

    fn float(&mut self) -> Option<()> {
        match self.pass() {
            b"\"NaN\"" => self.out.extend_from_slice(b"nan"),
            b"\"Infinity\"" => self.out.extend_from_slice(b"inf"),
            b"\"-Infinity\"" => self.out.extend_from_slice(b"-inf"),
            number => return python::write_float(number, self.out),
        }
        Some(())
    }

    fn typed(&mut self, kind: Text, inside: bool) -> Option<()> {
        let text = self.string()?;
        match (kind, inside) {
            (Text::Date | Text::Uuid | Text::Decimal, false) => {
                self.out.extend_from_slice(text.as_bytes());
            }
            (Text::DateTime | Text::Time, false) => {
                let (moment, zone) = match text.strip_suffix('Z') {
                    Some(moment) => (moment, "+00:00"),
                    None => (&*text, ""),
                };
                self.out.extend_from_slice(moment.replace('T', " ").as_bytes());
                self.out.extend_from_slice(zone.as_bytes());
            }
            (Text::Uuid, true) => self.out.extend_from_slice(format!("UUID('{text}')").as_bytes()),
            (Text::Decimal, true) => {
                self.out.extend_from_slice(format!("Decimal('{text}')").as_bytes());
            }
            _ => return None,
        }
        Some(())
    }

    fn shown_items(&mut self, mut each: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.sequence(b"[, ]", |writer, _| each(writer))
    }

    fn shown_dict(&mut self, mut each: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.sequence(b"{, }", |writer, _| {
            let name = writer.string()?;
            python::write_str(&name, writer.out)?;
            writer.byte(b':').then_some(())?;
            writer.out.extend_from_slice(b": ");
            each(writer)
        })
    }
}
