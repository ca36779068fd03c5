//! `docstore.pkl`: the book of rows as a file; and the document store that LangChain writes.
//!
//! A pickle (protocol 4) of one dict of builtins. `keys` holds the key texts, one on each line in
//! the order of the rows of `index.faiss` (no key text has a newline in it), an empty line for a
//! row that belongs to no entity; `hashes` holds 16 bytes for each row; `checksum`, the last entry,
//! is the xxh3-64 of all bytes before that entry. The other entries say what the vectors are of.

use xxhash_rust::xxh3::xxh3_64;

use super::rows::Rows;
use super::texts::{Hash, content_hash};
use crate::error::{Error, Result, reserve};
use crate::pickle::{self, Id, Pickle};

const FORMAT: i64 = 2;

/// What a saved index says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Described {
    /// The kind of index, `Flat` or `HNSW32`.
    pub kind: String,
    /// `l2`, `cosine` or `ip`.
    pub metric: String,
    /// The dimension of the vectors.
    pub dimension: u32,
    /// The embedder's signature, where it is known.
    pub embedder: Option<String>,
    /// The fields that are embedded; none for the whole record.
    pub fields: Vec<String>,
    /// The size of `index.faiss` in bytes.
    pub index_size: u64,
    /// The checksum of `index.faiss`.
    pub index_checksum: String,
}

/// The content of `docstore.pkl`.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub fn write_docstore(rows: &Rows, described: &Described) -> Result<Vec<u8>> {
    let keys: usize = rows.keys().map(<[u8]>::len).sum();
    let mut out = Vec::new();
    reserve(&mut out, keys + rows.len() * 17 + 4096 + described.fields.len() * 256)?;
    out.extend_from_slice(b"\x80\x04}(");
    write_str("format", &mut out);
    write_int(FORMAT as u64, &mut out);
    write_str("kind", &mut out);
    write_str(&described.kind, &mut out);
    write_str("metric", &mut out);
    write_str(&described.metric, &mut out);
    write_str("dimension", &mut out);
    write_int(u64::from(described.dimension), &mut out);
    write_str("embedder", &mut out);
    match &described.embedder {
        Some(embedder) => write_str(embedder, &mut out),
        None => out.push(b'N'),
    }
    write_str("fields_for_index", &mut out);
    out.extend_from_slice(b"](");
    for field in &described.fields {
        write_str(field, &mut out);
    }
    out.push(b'e');
    write_str("index_size", &mut out);
    write_int(described.index_size, &mut out);
    write_str("index_checksum", &mut out);
    write_str(&described.index_checksum, &mut out);
    write_str("keys", &mut out);
    write_blob_head(keys + rows.len(), &mut out);
    for row in 0..rows.len() {
        out.extend_from_slice(rows.key(row));
        out.push(b'\n');
    }
    write_str("hashes", &mut out);
    write_blob_head(rows.len() * size_of::<Hash>(), &mut out);
    for row in 0..rows.len() {
        out.extend_from_slice(&rows.hash(row as u32));
    }
    let checksum = xxh3_64(&out);
    write_str("checksum", &mut out);
    write_str(&format!("{checksum:016x}"), &mut out);
    out.extend_from_slice(b"u.");
    Ok(out)
}

/// Reads what [`write_docstore`] wrote. Rows are compact where the kind is `Flat`.
///
/// # Errors
/// [`Error::Json`] for what is damaged or of another format; [`Error::OutOfMemory`].
pub fn read_docstore(bytes: &[u8]) -> Result<(Rows, Described)> {
    let pickle = pickle::read(bytes, None)?;
    let root = pickle.root;
    let format = pickle.entry(root, "format").and_then(|id| pickle.int(id));
    if format != Some(FORMAT) {
        return Err(damaged("it is of a format that this version of omem does not know"));
    }
    let parts = Parts { pickle: &pickle };
    let checksum = parts.str("checksum")?;
    // The last entry: the opcodes of two short strings, then "u" and ".".
    let tail = "checksum".len() + 2 + checksum.len() + 2 + 2;
    let before = bytes.len().checked_sub(tail).map(|end| xxh3_64(&bytes[..end]));
    if before.map(|sum| format!("{sum:016x}")).as_deref() != Some(checksum) {
        return Err(damaged("its checksum does not fit"));
    }
    let embedder = parts.get("embedder")?;
    let fields = pickle.items(parts.get("fields_for_index")?).unwrap_or_default();
    let described = Described {
        kind: parts.str("kind")?.to_owned(),
        metric: parts.str("metric")?.to_owned(),
        dimension: parts.int("dimension")?,
        embedder: pickle.str(embedder).map(str::to_owned),
        fields: fields.iter().filter_map(|&id| pickle.str(id).map(str::to_owned)).collect(),
        index_size: parts.int("index_size")?,
        index_checksum: parts.str("index_checksum")?.to_owned(),
    };
    let (keys, hashes) = (parts.bytes("keys")?, parts.bytes("hashes")?);
    let (hashes, rest) = hashes.as_chunks::<16>();
    let mut rows = Rows::new(described.kind == "Flat");
    let mut lines = keys.split_inclusive(|&byte| byte == b'\n');
    for hash in hashes {
        let line = lines.next().and_then(|line| line.strip_suffix(b"\n"));
        rows.push(line.ok_or_else(|| damaged("it has fewer keys than hashes"))?, *hash)?;
    }
    if lines.next().is_some() || !rest.is_empty() {
        return Err(damaged("it has more keys than hashes"));
    }
    Ok((rows, described))
}

/// Reads LangChain's `index.pkl`, a pair of a document store and a dict from row to document: the
/// rows belong to no entity, but are known by the hash of their text.
///
/// # Errors
/// [`Error::Json`] for what is damaged or something else; [`Error::OutOfMemory`].
pub fn read_langchain(bytes: &[u8]) -> Result<Rows> {
    let pickle = pickle::read(bytes, Some("page_content"))?;
    let other = || damaged("it is no document store of LangChain");
    let &[store, numbers] = pickle.items(pickle.root).ok_or_else(other)? else {
        return Err(other());
    };
    let documents = pickle.entry(store, "_dict").ok_or_else(other)?;
    let mut texts = std::collections::HashMap::new();
    for (name, document) in pickle.entries(documents).ok_or_else(other)? {
        texts.try_reserve(1).map_err(|_| Error::OutOfMemory { bytes: 32 })?;
        texts.insert(pickle.str(name).ok_or_else(other)?, pickle.str(document));
    }
    let count = pickle.entries(numbers).ok_or_else(other)?.count();
    let mut names: Vec<Option<Id>> = Vec::new();
    reserve(&mut names, count)?;
    names.resize(count, None);
    for (row, name) in pickle.entries(numbers).ok_or_else(other)? {
        let row = pickle.int(row).and_then(|row| usize::try_from(row).ok());
        *row.and_then(|row| names.get_mut(row)).ok_or_else(other)? = Some(name);
    }
    let mut rows = Rows::new(true);
    for name in names {
        let name = name.and_then(|id| pickle.str(id)).ok_or_else(other)?;
        let text = texts.get(name).copied().flatten().ok_or_else(other)?;
        rows.push(b"", content_hash(text.as_bytes()))?;
    }
    Ok(rows)
}

struct Parts<'a> {
    pickle: &'a Pickle<'a>,
}

impl<'a> Parts<'a> {
    fn get(&self, name: &str) -> Result<Id> {
        let missing = || damaged(&format!("it has no {name:?}"));
        self.pickle.entry(self.pickle.root, name).ok_or_else(missing)
    }

    fn str(&self, name: &str) -> Result<&'a str> {
        let other = || damaged(&format!("its {name:?} is no text"));
        self.pickle.str(self.get(name)?).ok_or_else(other)
    }

    fn bytes(&self, name: &str) -> Result<&'a [u8]> {
        let other = || damaged(&format!("its {name:?} is no bytes"));
        self.pickle.bytes(self.get(name)?).ok_or_else(other)
    }

    fn int<T: TryFrom<i64>>(&self, name: &str) -> Result<T> {
        let number = self.pickle.int(self.get(name)?);
        let other = || damaged(&format!("its {name:?} is no such number"));
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(other)
    }
}

fn damaged(what: &str) -> Error {
    Error::Json { what: what.to_owned(), at: 0, path: "pickle".to_owned() }
}

fn write_str(text: &str, out: &mut Vec<u8>) {
    match u8::try_from(text.len()) {
        Ok(length) => out.extend_from_slice(&[0x8c, length]),
        Err(_) => {
            out.push(b'X');
            out.extend_from_slice(&(text.len() as u32).to_le_bytes());
        }
    }
    out.extend_from_slice(text.as_bytes());
}

fn write_int(value: u64, out: &mut Vec<u8>) {
    // LONG1 with a ninth byte, so that the sign is plus.
    out.extend_from_slice(&[0x8a, 9]);
    out.extend_from_slice(&value.to_le_bytes());
    out.push(0);
}

fn write_blob_head(length: usize, out: &mut Vec<u8>) {
    out.push(0x8e);
    out.extend_from_slice(&(length as u64).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Rows {
        let mut rows = Rows::new(true);
        for key in [&b"\"a\""[..], b"", b"[1,\"\\n\"]"] {
            rows.push(key, content_hash(key)).unwrap();
        }
        rows
    }

    #[test]
    fn what_is_written_is_read() {
        let described = Described {
            kind: "Flat".to_owned(),
            metric: "l2".to_owned(),
            dimension: 384,
            embedder: Some("x".repeat(300)),
            fields: vec!["a".to_owned(), "b".to_owned()],
            index_size: u64::from(u32::MAX) * 9,
            index_checksum: "xxh3-64:0".to_owned(),
        };
        let bytes = write_docstore(&rows(), &described).unwrap();
        let (read, found) = read_docstore(&bytes).unwrap();
        assert_eq!(found, described);
        assert_eq!((read.len(), read.live()), (3, 2));
        assert_eq!(read.find(b"[1,\"\\n\"]"), Some(2));
        assert_eq!(read.with_hash(&content_hash(b"")), Some(1));
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_told() {
        let bytes = write_docstore(&rows(), &Described::default()).unwrap();
        for at in 0..bytes.len() {
            assert!(read_docstore(&bytes[..at]).is_err(), "{at}");
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert!(read_docstore(&damaged).is_err(), "bit {bit} of {at}");
            }
        }
    }
}
