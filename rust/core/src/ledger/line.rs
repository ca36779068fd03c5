//! One line of the ledger: a canonical JSON record of its own.

use std::borrow::Cow;

use crate::error::{Error, Result, reserve};
use crate::json::{number, scan, string};
use crate::key::KeyPlan;
use crate::plan::{Field, Items, Model, Node, NodeId, Plan};

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// There is a source; its content hash and tags.
    Source,
    /// An observation that was merged into its entity, from a source or from none.
    Add,
    /// What a source says of a key, by `record_source`, assignment or `load_sources`: nothing that
    /// was merged.
    Record,
    /// An observation of a source that could not be merged and was set aside.
    Aside,
    /// The entity was replaced (`upsert`): what came before no longer counts.
    Put,
    /// The entity was rewritten (`edit`), and so is made of what came before.
    Edit,
    /// The entity was removed: what came before no longer counts, and nothing is there.
    Gone,
    /// The entity's place in the order; what is known of it without any source is in the store.
    At,
}

const KINDS: [(Kind, &str); 8] = [
    (Kind::Source, "\"source\""),
    (Kind::Add, "\"add\""),
    (Kind::Record, "\"record\""),
    (Kind::Aside, "\"aside\""),
    (Kind::Put, "\"put\""),
    (Kind::Edit, "\"edit\""),
    (Kind::Gone, "\"gone\""),
    (Kind::At, "\"at\""),
];

/// What stands before each value.
const PREFIXES: [&str; 8] = [
    "{\"n\":",
    ",\"kind\":",
    ",\"source\":",
    ",\"key\":",
    ",\"batch\":",
    ",\"unset\":",
    ",\"info\":",
    ",\"record\":",
];

const HASH: &str = "{\"content_hash\":";
const TAGS: &str = ",\"tags\":";

/// A line, borrowed from its text.
#[derive(Debug, Clone)]
pub struct Line<'a> {
    /// Its number: lines count up in order of arrival.
    pub n: u64,
    /// What it says.
    pub kind: Kind,
    /// The source, where it has one.
    pub source: Option<Cow<'a, str>>,
    /// The canonical text of the key, where it has one.
    pub key: Option<Cow<'a, str>>,
    /// The number of the first line that came by the same call.
    pub batch: u64,
    /// Of a record: where fields begin and end that were not set, as JSON. Of none: `null`.
    pub unset: &'a [u8],
    /// Of a source: content hash and tags, as JSON; else `null`.
    pub info: &'a [u8],
    /// The observation's record; `null` where there is none.
    pub record: &'a [u8],
}

impl<'a> Line<'a> {
    /// A line that is yet to be written; its number is given to it then.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        let null = &b"null"[..];
        Line {
            n: 0,
            kind,
            source: None,
            key: None,
            batch: 0,
            unset: null,
            info: null,
            record: null,
        }
    }

    /// Reads a line as [`Line::write`] wrote it; `None` for any other text.
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let mut values = [&b""[..]; PREFIXES.len()];
        let mut here = 0;
        for (place, prefix) in PREFIXES.iter().enumerate() {
            if !scan::begins(text.get(here..)?, prefix.as_bytes()) {
                return None;
            }
            let start = here + prefix.len();
            // The record comes last, and is long.
            let last = place + 1 == PREFIXES.len();
            here = if last { text.len().checked_sub(1)? } else { scan::skip(text, start) };
            values[place] = text.get(start..here)?;
        }
        let [n, kind, source, key, batch, unset, info, record] = values;
        let text_of = |value: &'a [u8]| match value {
            b"null" => Some(None),
            _ => string::unescape(value.get(1..value.len().checked_sub(1)?)?).ok().map(Some),
        };
        Some(Line {
            n: digits(n)?,
            kind: KINDS.iter().find(|(_, name)| name.as_bytes() == kind)?.0,
            source: text_of(source)?,
            key: text_of(key)?,
            batch: digits(batch)?,
            unset,
            info,
            record,
        })
    }

    /// Appends the line.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn write(&self, out: &mut Vec<u8>) -> Result<()> {
        let texts = [&self.source, &self.key].map(|text| text.as_deref().map_or(4, str::len));
        let room = self.record.len() + self.unset.len() + self.info.len() + 160;
        reserve(out, room + 6 * (texts[0] + texts[1]))?;
        let kind = KINDS.iter().find(|(kind, _)| *kind == self.kind).map_or("", |(_, name)| name);
        let text = |out: &mut Vec<u8>, text: &Option<Cow<'_, str>>| match text {
            Some(text) => string::write(out, text),
            None => out.extend_from_slice(b"null"),
        };
        for (place, prefix) in PREFIXES.iter().enumerate() {
            out.extend_from_slice(prefix.as_bytes());
            match place {
                0 => number::write_i64(out, self.n as i64),
                1 => out.extend_from_slice(kind.as_bytes()),
                2 => text(out, &self.source),
                3 => text(out, &self.key),
                4 => number::write_i64(out, self.batch as i64),
                5 => out.extend_from_slice(self.unset),
                6 => out.extend_from_slice(self.info),
                _ => out.extend_from_slice(self.record),
            }
        }
        out.push(b'}');
        Ok(())
    }

    /// Whether this is what a source says of an entity: a part of what the entity is made of.
    #[must_use]
    pub fn is_sourced(&self) -> bool {
        matches!(self.kind, Kind::Add | Kind::Record) && self.source.is_some()
    }

    /// The unset fields of its record.
    pub fn unset(&self) -> impl Iterator<Item = (u32, u32)> {
        let inner = self.unset.strip_prefix(b"[").and_then(|text| text.strip_suffix(b"]"));
        let mut numbers = inner.unwrap_or_default().split(|&byte| byte == b',').map(digits);
        std::iter::from_fn(move || {
            let (start, end) = (numbers.next()??, numbers.next()??);
            Some((u32::try_from(start).ok()?, u32::try_from(end).ok()?))
        })
    }

    /// Content hash and tags of a source.
    #[must_use]
    pub fn header(&self) -> Option<Header<'a>> {
        let rest = self.info.strip_prefix(HASH.as_bytes())?;
        let end = scan::skip(rest, 0);
        let text =
            |value: &'a [u8]| string::unescape(value.get(1..value.len().checked_sub(1)?)?).ok();
        let content_hash = match &rest[..end] {
            b"null" => None,
            value => Some(text(value)?),
        };
        let list = rest.get(end..)?.strip_prefix(TAGS.as_bytes())?;
        let mut tags = Vec::new();
        let mut here = 1;
        while list.get(here) == Some(&b'"') {
            let stop = scan::skip(list, here);
            tags.push(text(&list[here..stop])?);
            here = stop + 1;
        }
        Some(Header { content_hash, tags })
    }
}

/// What is known of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header<'a> {
    /// The hash of its content, as the caller gave it.
    pub content_hash: Option<Cow<'a, str>>,
    /// Its tags, in order.
    pub tags: Vec<Cow<'a, str>>,
}

impl Header<'_> {
    /// As the `info` of a line.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = HASH.as_bytes().to_vec();
        match &self.content_hash {
            Some(hash) => string::write(&mut out, hash),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(TAGS.as_bytes());
        out.push(b'[');
        for (place, tag) in self.tags.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            string::write(&mut out, tag);
        }
        out.extend_from_slice(b"]}");
        out
    }
}

fn digits(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The plan of lines whose records are of this plan, so that a file of lines is read, checked and
/// keyed as a file of records is.
#[must_use]
pub fn plan(records: &Plan) -> Plan {
    let mut nodes = records.nodes.clone();
    let mut node = |node: Node| {
        nodes.push(node);
        (nodes.len() - 1) as NodeId
    };
    let many = |item: NodeId| Items { item, min: 0, max: usize::MAX };
    let int = node(Node::Int { min: Some(0), max: None });
    let kinds = KINDS.iter().map(|(_, name)| name.as_bytes().into()).collect();
    let kind = node(Node::Choice(kinds));
    let text = node(Node::Str { min: 0, max: usize::MAX });
    let optional = node(Node::Nullable(text));
    let ints = node(Node::List(many(int)));
    let unset = node(Node::Nullable(ints));
    let texts = node(Node::List(many(text)));
    let header = node(Node::Model(model(&[(HASH, optional), (TAGS, texts)])));
    let info = node(Node::Nullable(header));
    let record = node(Node::Nullable(records.root));
    let values = [int, kind, optional, optional, int, unset, info, record];
    let fields: Vec<_> = PREFIXES.iter().copied().zip(values).collect();
    let root = node(Node::Model(model(&fields)));
    Plan { nodes, root }
}

/// Where the key of a line stands, which is its number.
#[must_use]
pub fn key_plan() -> KeyPlan {
    KeyPlan::Path(vec![0])
}

fn model(fields: &[(&str, NodeId)]) -> Model {
    let field = |&(prefix, node): &(&str, NodeId)| Field {
        name: prefix.trim_matches(['{', ',', '"', ':']).to_owned(),
        prefix: prefix.as_bytes().into(),
        node,
        default: None,
        rule: None,
    };
    Model { fields: fields.iter().map(field).collect(), covered: true }
}

/// The error for a line that cannot be read: the ledger wrote it, so this is a fault of its own.
pub(super) fn unreadable() -> Error {
    Error::Conflict { what: "a line of the ledger is not canonical" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::check;

    #[test]
    fn lines_read_back_as_they_were_written() -> Result<()> {
        let header =
            Header { content_hash: Some("h\"1".into()), tags: vec!["a".into(), "ü,\"]".into()] };
        let info = header.to_json();
        let mut line = Line::new(Kind::Add);
        line.n = 7;
        line.source = Some("doc \"1\"\n".into());
        line.key = Some("[\"a\",1]".into());
        line.unset = b"[1,4,9,12]";
        line.info = &info;
        line.record = b"{\"a\":1}";
        let mut text = Vec::new();
        line.write(&mut text)?;
        let read = Line::parse(&text).ok_or_else(unreadable)?;
        assert_eq!(
            (read.n, read.kind, &read.source, &read.key),
            (7, Kind::Add, &line.source, &line.key)
        );
        assert_eq!(read.unset().collect::<Vec<_>>(), [(1, 4), (9, 12)]);
        assert_eq!(read.header(), Some(header));
        assert_eq!(read.record, line.record);
        let records =
            Plan { nodes: vec![Node::Model(model(&[("{\"a\":", 1)])), Node::Null], root: 0 };
        assert_eq!(check(&plan(&records), &text, 0, &mut []), None);
        let records = Plan {
            nodes: vec![Node::Model(model(&[("{\"a\":", 1)])), Node::Int { min: None, max: None }],
            root: 0,
        };
        assert_eq!(check(&plan(&records), &text, 0, &mut []), Some(text.len()));
        assert!(Line::new(Kind::At).header().is_none());
        for end in 0..text.len() {
            let _ = Line::parse(&text[..end]);
        }
        Ok(())
    }
}
