//! Python strings as JSON strings.

#[cfg(target_arch = "x86_64")]
mod avx2;

use omem_core::json::string;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// Appends a str with its quotes, escaped canonically; `None` for half a surrogate pair.
///
/// Other than by `PyUnicode_AsUTF8`, nothing is cached in the str, which for text that is not
/// ASCII would be a second copy that lives as long as the str does.
pub fn write(out: &mut Vec<u8>, text: &Bound<'_, PyString>) -> Option<()> {
    let object = text.as_ptr();
    out.push(b'"');
    // SAFETY: `object` is an exact str in its ready form (all are since CPython 3.12, and any
    // that was created by the API before), the data of which lie as kind and length say and do
    // not change while we hold the reference.
    unsafe {
        let length = ffi::PyUnicode_GET_LENGTH(object) as usize;
        let data = ffi::PyUnicode_DATA(object);
        match ffi::PyUnicode_KIND(object) {
            ffi::PyUnicode_1BYTE_KIND => {
                let bytes = std::slice::from_raw_parts(data.cast::<u8>(), length);
                if ffi::PyUnicode_IS_ASCII(object) != 0 {
                    string::write_body(out, bytes);
                } else {
                    transcode(out, bytes)?;
                }
            }
            ffi::PyUnicode_2BYTE_KIND => {
                transcode(out, std::slice::from_raw_parts(data.cast::<u16>(), length))?;
            }
            _ => transcode(out, std::slice::from_raw_parts(data.cast::<u32>(), length))?,
        }
    }
    out.push(b'"');
    Some(())
}

/// How many characters share one check for room, and one for being easy.
const BLOCK: usize = 64;
/// The most bytes that a character takes: a control character is `\u001f`.
const WIDEST: usize = 6;

/// By the upper ten bits of a character below 0x10000: its UTF-8 with the lower six bits zero,
/// as a little-endian number, and in the top byte by how much to shift those six bits.
static HEADS: [u32; 1 << 10] = {
    let mut heads = [0; 1 << 10];
    let mut upper = 0;
    while upper < 1 << 10 {
        heads[upper as usize] = match upper {
            0..2 => upper << 6,
            2..32 => 8 << 24 | 0x80 << 8 | 0xc0 | upper,
            _ => 16 << 24 | 0x80 << 16 | (0x80 | upper & 0x3f) << 8 | 0xe0 | upper >> 6,
        };
        upper += 1;
    }
    heads
};

/// Appends characters of any width as escaped UTF-8; `None` for half a surrogate pair.
fn transcode<C: Copy + From<u8> + Into<u32>>(out: &mut Vec<u8>, characters: &[C]) -> Option<()> {
    #[cfg(target_arch = "x86_64")]
    if avx2::is_supported() {
        // SAFETY: the processor was asked.
        return unsafe { avx2::write::transcode(out, characters) };
    }
    transcode_by_table(out, characters)
}

/// The same for any processor.
///
/// In text of mixed scripts a branch for each character is mispredicted all the time: with the
/// table 1.2 ns a character of any script, with branches 4.6 (mostly ASCII) to 6.8 (Chinese).
fn transcode_by_table<C: Copy + Into<u32>>(out: &mut Vec<u8>, characters: &[C]) -> Option<()> {
    for block in characters.chunks(BLOCK) {
        out.reserve(BLOCK * WIDEST);
        let easy = block.iter().fold(true, |easy, &character| easy & is_easy(character.into()));
        // SAFETY: there is room for the block, each character of which takes and touches WIDEST
        // bytes at most, and all bytes up to the new length are written.
        unsafe {
            let first = out.as_mut_ptr().add(out.len());
            let mut at = first;
            for &character in block {
                let code: u32 = character.into();
                at = at.add(if easy { put(at, code) } else { put_any(at, code)? });
            }
            out.set_len(out.len() + at.offset_from_unsigned(first));
        }
    }
    Some(())
}

/// Whether a character is in the table and needs no escape: no quote, backslash or control, no
/// half of a surrogate pair.
fn is_easy(code: u32) -> bool {
    (code >= 0x20) & (code != 0x22) & (code != 0x5c) & (code & !0x7ff != 0xd800) & (code < 0x1_0000)
}

/// Writes an easy character, and says how many bytes it takes.
///
/// # Safety
/// There is room for 4 bytes at `at`.
#[inline(always)]
unsafe fn put(at: *mut u8, code: u32) -> usize {
    let head = HEADS[(code >> 6) as usize & 0x3ff];
    let bytes = head | (code & 0x3f) << (head >> 24);
    // SAFETY: see above.
    unsafe { at.cast::<[u8; 4]>().write(bytes.to_le_bytes()) };
    1 + (head >> 27) as usize
}

/// Writes any character; `None` for half a surrogate pair.
///
/// # Safety
/// There is room for [`WIDEST`] bytes at `at`.
unsafe fn put_any(at: *mut u8, code: u32) -> Option<usize> {
    let mut bytes = [0; WIDEST];
    let length = match char::from_u32(code)? {
        // SAFETY: as for this function.
        _ if is_easy(code) => return Some(unsafe { put(at, code) }),
        wide @ '\u{10000}'.. => wide.encode_utf8(&mut bytes).len(),
        narrow => {
            let (escape, length) = string::escape(narrow as u8);
            bytes = escape;
            length
        }
    };
    // SAFETY: as for this function.
    unsafe { at.cast::<[u8; WIDEST]>().write(bytes) };
    Some(length)
}

/// A str of the body of a canonical JSON string. The body must be UTF-8.
pub fn read<'py>(py: Python<'py>, body: &[u8], has_escapes: bool) -> Option<Bound<'py, PyAny>> {
    if has_escapes {
        return Some(PyString::new(py, &string::unescape(body).ok()?).into_any());
    }
    // The first byte of a character tells how far it is: those below 0xc4 are Latin-1.
    let widest = body.iter().fold(0, |widest, &byte| widest.max(byte));
    let (limit, count) = match widest {
        0..0x80 => (0x7f, body.len()),
        0x80..0xc4 => (0xff, characters(body)),
        0xc4..0xf0 => (0xffff, characters(body)),
        _ => (0x0010_ffff, characters(body)),
    };
    // SAFETY: the new str has room for `count` characters of the width that `limit` asks for,
    // which is the least that fits them, as CPython wants it; nobody else has seen it yet.
    unsafe {
        let object = ffi::PyUnicode_New(count as ffi::Py_ssize_t, limit);
        let object = Bound::from_owned_ptr_or_opt(py, object)?;
        let data = ffi::PyUnicode_DATA(object.as_ptr());
        match limit {
            0x7f => data.cast::<u8>().copy_from_nonoverlapping(body.as_ptr(), count),
            0xff => fill(std::slice::from_raw_parts_mut(data.cast::<u8>(), count), body),
            0xffff => fill(std::slice::from_raw_parts_mut(data.cast::<u16>(), count), body),
            _ => fill_by_character(std::slice::from_raw_parts_mut(data.cast::<u32>(), count), body),
        }
        Some(object)
    }
}

/// How many characters a text has. In steps for which a byte can count, so that it is counted in
/// vectors of bytes.
fn characters(text: &[u8]) -> usize {
    let begins = |&byte: &u8| u8::from(byte & 0xc0 != 0x80);
    text.chunks(255).map(|step| usize::from(step.iter().map(begins).sum::<u8>())).sum()
}

/// Writes the characters of a text, of which there are as many as places, none beyond what a
/// place holds.
fn fill<C: Copy + Default + TryFrom<u32>>(places: &mut [C], text: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    if avx2::is_supported() {
        // SAFETY: the processor was asked.
        return unsafe { avx2::read::fill(places, text) };
    }
    fill_by_character(places, text);
}

/// The same for any processor, and for any width.
fn fill_by_character<C: TryFrom<u32>>(places: &mut [C], text: &[u8]) {
    // SAFETY: the caller of `read` has checked the record that the text is a part of, and quotes,
    // which are ASCII, stand at both of its ends.
    let text = unsafe { std::str::from_utf8_unchecked(text) };
    for (place, character) in places.iter_mut().zip(text.chars()) {
        if let Ok(character) = C::try_from(character as u32) {
            *place = character;
        }
    }
}
