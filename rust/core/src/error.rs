//! The one error type of the crate.

use std::io;
use std::path::PathBuf;

/// Called with the bytes and records done so far; `false` means stop.
pub type Progress<'a> = dyn FnMut(u64, u64) -> bool + 'a;

/// The result of everything here that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong in the core.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Memory for data could not be had; nothing was changed.
    #[error("out of memory: {bytes} more bytes could not be had")]
    OutOfMemory {
        /// How many bytes were asked for.
        bytes: usize,
    },
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb: "write", "rename", "sync".
        action: &'static str,
        /// The file or folder that it was tried on.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A text that is not the JSON that was expected.
    #[error("{what} at byte {at} ({path})")]
    Json {
        /// What is wrong.
        what: String,
        /// The byte offset in the text.
        at: usize,
        /// Where in the document, as `$.field[3]`.
        path: String,
    },
    /// Something wrong in a file of records.
    #[error("{}: {fault}", path.display())]
    Fault {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        fault: Box<Fault>,
    },
    /// A file whose content does not fit what is known of it.
    #[error("{}: {what}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// A folder or file that another process or thread keeps locked.
    #[error("{} is locked by {holder}", path.display())]
    Locked {
        /// What is locked.
        path: PathBuf,
        /// Who holds it, as far as known.
        holder: String,
    },
    /// The merge of two records failed.
    #[error("{what}")]
    Merge {
        /// The index of the incoming item in its batch.
        item: usize,
        /// What is wrong.
        what: String,
    },
    /// Two items of one change have the same key; nothing was changed.
    #[error("items {first} and {second} have the same key")]
    Duplicate {
        /// The index of the one.
        first: usize,
        /// The index of the other.
        second: usize,
    },
    /// A change that does not fit the store that it is applied to; nothing was changed.
    #[error("the change does not fit the memory: {what}")]
    Conflict {
        /// What does not fit.
        what: &'static str,
    },
    /// More of something than a store can count.
    #[error("too large: {what}")]
    TooLarge {
        /// What there is too much of, and the limit.
        what: &'static str,
    },
    /// The caller's progress callback asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// What is wrong in a file of records, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("record {record}, line {line}, byte {at}: {what} ({place})")]
pub struct Fault {
    /// What is wrong.
    pub what: String,
    /// The number of the record, from 0; after the last record, how many there are.
    pub record: u64,
    /// The line, from 1.
    pub line: u64,
    /// The byte offset in the file.
    pub at: u64,
    /// Where in the document, as `$[17].field[3]`.
    pub place: String,
}

impl Error {
    /// Wraps an I/O error with what was tried on which path; out of memory is told apart.
    pub fn io(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Error::Io { action, path: path.into(), source }
    }
}

/// Reserves room for `more` elements, or says that memory is out instead of aborting.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub fn reserve<T>(vec: &mut Vec<T>, more: usize) -> Result<()> {
    vec.try_reserve(more)
        .map_err(|_| Error::OutOfMemory { bytes: more.saturating_mul(size_of::<T>()) })
}

/// What [`spare`] looks for: many small things.
const SPARE: usize = 32 << 10;

/// Makes sure that something small can be had that cannot fail cleanly, as an `Arc`, or says that
/// memory is out: what is found goes back to the allocator, which then has it at hand. Without it a
/// load that took the last page for its bytes was aborted for the 48 bytes that count references.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub fn spare() -> Result<()> {
    let mut room: Vec<u8> = Vec::new();
    reserve(&mut room, SPARE)?;
    // Else the compiler sees that nobody uses it, and leaves it out.
    std::hint::black_box(&room);
    Ok(())
}
