//! Python strings as JSON strings.

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
                    write_wide(out, bytes)?;
                }
            }
            ffi::PyUnicode_2BYTE_KIND => {
                write_wide(out, std::slice::from_raw_parts(data.cast::<u16>(), length))?;
            }
            _ => write_wide(out, std::slice::from_raw_parts(data.cast::<u32>(), length))?,
        }
    }
    out.push(b'"');
    Some(())
}

fn write_wide<C: Copy + Into<u32>>(out: &mut Vec<u8>, characters: &[C]) -> Option<()> {
    out.reserve(characters.len() * 2);
    for &character in characters {
        let code: u32 = character.into();
        match code {
            0x22 | 0x5c | 0..0x20 => string::write_escape(out, code as u8),
            0..0x80 => out.push(code as u8),
            0x80..0x800 => {
                out.extend_from_slice(&[0xc0 | (code >> 6) as u8, 0x80 | (code & 63) as u8])
            }
            _ => {
                let mut bytes = [0; 4];
                out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut bytes).as_bytes());
            }
        }
    }
    Some(())
}
