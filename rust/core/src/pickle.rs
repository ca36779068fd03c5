//! A closed reader of pickles: it builds plain values and runs nothing.
//!
//! Protocols 2 to 5 (<https://peps.python.org/pep-3154/>). Whatever would import, call or look up
//! something becomes an inert [object](values::Value::Object), of which only the state that was
//! given to it is kept. Every length is checked against the bytes that remain, the memo is sequential,
//! and each opcode makes at most one value, so time and memory are linear in the input.

mod machine;
mod opcode;
mod values;

use crate::error::{Error, Result};
use machine::Reader;
pub use values::{Id, Pickle};

/// Reads a pickle.
///
/// Of an object whose state has the name `text` in it (or in the `__dict__` of it, as Pydantic has
/// it) only that is kept: the object becomes that text. So a store of documents, each with
/// metadata of any size, is read in the memory that the texts' places take.
///
/// # Errors
/// [`Error::Json`] with the offset of what is malformed or not allowed, or where it would take
/// more memory than the file's size and 80 MB; [`Error::OutOfMemory`].
pub fn read<'a>(bytes: &'a [u8], text: Option<&str>) -> Result<Pickle<'a>> {
    if u32::try_from(bytes.len()).is_err() {
        return Err(Error::TooLarge { what: "a pickle of more than 4 GB" });
    }
    Reader::new(bytes, text).read()
}

#[cfg(test)]
mod tests {
    use super::values::Value;
    use super::*;

    /// `pickle.dumps({"a": [1, (2.5, None)], "b": b"x"}, protocol=4)`
    const PLAIN: &[u8] = b"\x80\x04\x95\x26\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94]\x94(K\x01G@\x04\x00\x00\x00\x00\x00\x00N\x86\x94e\x8c\x01b\x94C\x01x\x94u.";

    #[test]
    fn plain_values() {
        let pickle = read(PLAIN, None).unwrap();
        assert_eq!(pickle.entries(pickle.root).unwrap().count(), 2);
        let list = pickle.items(pickle.entry(pickle.root, "a").unwrap()).unwrap();
        assert_eq!((list.len(), pickle.int(list[0])), (2, Some(1)));
        let tuple = pickle.items(list[1]).unwrap();
        assert_eq!(pickle.values[tuple[0] as usize], Value::Float(2.5));
        assert!(pickle.is_none(tuple[1]));
        assert_eq!(pickle.bytes(pickle.entry(pickle.root, "b").unwrap()), Some(&b"x"[..]));
    }

    #[test]
    fn every_truncation_is_an_error() {
        for end in 0..PLAIN.len() {
            assert!(read(&PLAIN[..end], None).is_err(), "{end}");
        }
    }

    #[test]
    fn what_would_run_is_inert_and_what_would_allocate_is_refused() {
        let call = b"\x80\x02cos\nsystem\nq\x00X\x02\x00\x00\x00lsq\x01\x85q\x02Rq\x03.";
        let pickle = read(call, None).unwrap();
        assert_eq!(pickle.values[pickle.root as usize], Value::Object(None));
        for hostile in [
            &b"\x80\x04N r\x00\x00\x00\x10."[..], // LONG_BINPUT 2^28
            b"\x80\x04Nr\x00\x00\x00\x10.",
            b"\x80\x04B\xff\xff\xff\x7f.",
            b"\x80\x02\x82\x01.", // EXT1
            b"\x80\x02N2.",       // DUP
            b"\x80\x02Q.",        // BINPERSID
        ] {
            assert!(read(hostile, None).is_err());
        }
    }

    #[test]
    fn a_file_of_nothing_but_small_values_is_refused() {
        for opcode in [b'N', b']', b'}', b'(', b')'] {
            let mut bytes = vec![0x80, 4];
            bytes.resize(20 << 20, opcode);
            assert!(read(&bytes, None).is_err(), "{opcode}");
        }
    }
}
