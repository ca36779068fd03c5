//! A file of records, read into a [`Batch`]: split, checked and keyed.
//!
//! A file in our own layout, one record per line, is read on up to four threads straight into the
//! chunks that become the arena ([`lines`]). Any other JSON array is streamed ([`mod@array`]). Both
//! keep what the plan covers and hand on the rest: a record that is JSON, but not canonical beyond
//! doubt, is [`Doubtful`], and Pydantic's to judge.

mod array;
mod judge;
mod lines;
mod sink;
#[cfg(test)]
mod tests;
mod window;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::batch::Batch;
use crate::error::{Error, Fault, Progress, Result};
use crate::file::Digest;
use crate::key::KeyPlan;
use crate::plan::Plan;
use crate::store::Store;
use judge::Judge;
use lines::Read;

/// What was read.
#[derive(Debug, Default)]
pub struct Loaded {
    /// All records in file order, the doubtful ones as they are in the file.
    pub batch: Batch,
    /// The records that Pydantic must judge, in order.
    pub doubtful: Vec<Doubtful>,
    /// How many records there are in the file, bad ones included.
    pub records: u64,
    /// What was skipped, in order.
    pub faults: Vec<Fault>,
    /// Size and checksum of the file.
    pub digest: Digest,
}

/// A record that the plan cannot vouch for, or that gives no key. Its item in the batch has the
/// span of its text, and no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doubtful {
    /// The index of its item in the batch.
    pub item: usize,
    /// The number of the record in the file, from 0.
    pub record: u64,
    /// The line that it begins in, from 1.
    pub line: u64,
    /// The byte offset in the file where it begins.
    pub at: u64,
}

/// Reads the records of a file. Without a key plan, items have no keys.
///
/// With `skip`, what is no record is left out and told in [`Loaded::faults`]. Where records begin
/// on lines of their own, reading goes on with the next one; elsewhere, nobody can tell where it
/// begins, and what follows is left out. The last call of `progress` tells all bytes and records.
///
/// # Errors
/// [`Error::Fault`] for a file that is not a JSON array of records; [`Error::Io`];
/// [`Error::OutOfMemory`]; [`Error::Interrupted`] by `progress`.
pub fn read(
    path: &Path,
    plan: &Plan,
    key: Option<&KeyPlan>,
    skip: bool,
    progress: &mut Progress,
) -> Result<Loaded> {
    let source = Source::open(path)?;
    all(&source, &Judge { plan, key }, skip, &mut rising(progress))
}

fn all(source: &Source, judge: &Judge, skip: bool, progress: &mut Progress) -> Result<Loaded> {
    let loaded = match lines::read::<Loaded>(source, judge, progress)? {
        Some(Read { sink, lines, digest }) => Loaded { records: lines, digest, ..sink },
        None => array::read(source, judge, skip, progress)?,
    };
    if progress(loaded.digest.bytes, loaded.records) { Ok(loaded) } else { Err(Error::Interrupted) }
}

/// Reads the records of a file straight into a store, part by part, or gives what [`read`] gives:
/// for another layout than ours, for records that Pydantic must judge or that share a key.
///
/// # Errors
/// As [`read`].
pub fn store(
    path: &Path,
    plan: &Plan,
    key: &KeyPlan,
    skip: bool,
    progress: &mut Progress,
) -> Result<std::result::Result<(Store, Digest), Loaded>> {
    let source = Source::open(path)?;
    let judge = Judge { plan, key: Some(key) };
    let mut report = rising(progress);
    match lines::read::<Store>(&source, &judge, &mut report)? {
        Some(Read { sink, lines, digest }) if report(digest.bytes, lines) => Ok(Ok((sink, digest))),
        Some(_) => Err(Error::Interrupted),
        None => all(&source, &judge, skip, &mut report).map(Err),
    }
}

/// Progress that does not begin again where reading does.
fn rising(progress: &mut Progress) -> impl FnMut(u64, u64) -> bool {
    let mut most = (0, 0);
    move |bytes, records| {
        most = (bytes.max(most.0), records.max(most.1));
        progress(most.0, most.1)
    }
}

/// Counts the records of a file and lists what is wrong, without keeping anything in memory.
///
/// # Errors
/// [`Error::Fault`] for a file that is no JSON array at all; [`Error::Io`];
/// [`Error::OutOfMemory`]; [`Error::Interrupted`] by `progress`.
pub fn survey(path: &Path, progress: &mut Progress) -> Result<Loaded> {
    array::survey(&Source::open(path)?, progress)
}

/// An open file. It may be replaced meanwhile: what was opened is what is read.
struct Source {
    file: File,
    path: PathBuf,
    size: u64,
}

impl Source {
    fn open(path: &Path) -> Result<Source> {
        let file = File::open(path).map_err(|error| Error::io("open", path, error))?;
        let size = file.metadata().map_err(|error| Error::io("read", path, error))?.len();
        Ok(Source { file, path: path.to_path_buf(), size })
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> Result<()> {
        self.file.read_exact_at(bytes, at).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                self.error(io::Error::other("it became shorter while it was read"))
            }
            _ => self.error(error),
        })
    }

    fn error(&self, error: io::Error) -> Error {
        Error::io("read", &self.path, error)
    }
}
