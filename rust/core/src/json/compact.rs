//! A value rewritten without white space and with canonical escapes.

use super::string;
use crate::error::{Result, reserve};

/// Appends a valid value without white space and with canonical escapes; numbers stay as they are.
///
/// # Errors
/// [`crate::Error::Json`] for half a surrogate pair in a string; [`crate::Error::OutOfMemory`].
pub fn compact(text: &[u8], out: &mut Vec<u8>) -> Result<()> {
    reserve(out, text.len())?;
    let mut here = 0;
    while let Some(&byte) = text.get(here) {
        match byte {
            b'"' => {
                let end = string::end(text, here);
                let body = text.get(here + 1..end).unwrap_or_default();
                out.push(b'"');
                if memchr::memchr(b'\\', body).is_some() {
                    string::write_body(out, string::unescape(body)?.as_bytes());
                } else {
                    out.extend_from_slice(body);
                }
                out.push(b'"');
                here = end + 1;
            }
            b' ' | b'\n' | b'\r' | b'\t' => here += 1,
            _ => {
                out.push(byte);
                here += 1;
            }
        }
    }
    Ok(())
}
