//! Many files replaced as one: a folder that reads as the old dump or the new one, never a mix.
//!
//! # Protocol
//!
//! A folder has *members* and one *manifest* ([`Layout`]). The names below are those of
//! [`MEMORY`], for a member `x` and the manifest `metadata.json`.
//!
//! 1. The dumper takes the folder's lock and recovers (see below), so that it starts clean.
//! 2. *Stage*: each member is written to `.x.omem-new`, beside the place where it will stand, and
//!    synced. A member that stands there and is not part of the new dump gets a marker, an empty
//!    `.x.omem-gone`. The manifest is written to `.metadata.json.omem-tmp` and synced. All
//!    directories are synced.
//! 3. *Commit*: that file is renamed to `.metadata.json.omem-commit` and its directory synced.
//!    Before, the folder is the old dump; from here on it is the new one.
//! 4. *Finish*: each `.x.omem-new` is renamed to `x`, each member with a marker is removed, all
//!    directories are synced; then the commit file is renamed to `metadata.json`, its directory
//!    synced and the markers removed.
//!
//! *Recovery*, by whoever opens the folder next: where there is a commit file, step 4 is done
//! again; where there is none, whatever was staged is removed.
//!
//! # Why recovery needs to parse nothing
//!
//! Only names tell what is to be done, and they suffice: when the commit file appears, every
//! `-new` and `-gone` file is of its dump, since the dumper removed all others before and no one
//! else stages while it has the lock; that removal is durable before the commit, since step 2
//! syncs the directories. Each action of step 4 is idempotent: a member whose `-new` file is
//! missing has been renamed already, for the commit file goes away only when all renames are
//! durable. Markers that outlive the commit file mean nothing and are removed.
//!
//! A reader that may not write reads a committed dump where it lies: [`FolderReader::path`] names
//! the staged file as long as it exists. Only members are ever removed, never a user's file.
//!
//! A symlinked member is followed: everything happens beside the file that it leads to.

mod reader;
mod redo;
mod writer;

use std::path::{Path, PathBuf};

use crate::disk::sibling;

pub use reader::FolderReader;
pub use writer::{FolderWriter, StagedFile};

/// Which files make up a folder.
#[derive(Debug)]
pub struct Layout {
    /// The files besides the manifest, as paths in the folder.
    pub members: &'static [&'static str],
    /// The file whose appearance is the commit; it knows size and checksum of the members.
    pub manifest: &'static str,
    /// What tells the hidden files of this layout from those of others.
    suffix: &'static str,
}

/// A whole memory.
pub const MEMORY: Layout = Layout {
    members: &[
        "memory.json",
        "sources.json",
        "quarantine.json",
        "faiss_index/index.faiss",
        "faiss_index/docstore.pkl",
    ],
    manifest: "metadata.json",
    suffix: ".omem",
};

/// An index alone, as it also stands in a memory's `faiss_index`.
pub const INDEX: Layout =
    Layout { members: &["index.faiss"], manifest: "docstore.pkl", suffix: ".omem-index" };

impl Layout {
    /// The lock file of a folder.
    fn lock(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}-lock", self.suffix))
    }

    /// The hidden file of this layout beside a member or manifest.
    fn beside(&self, target: &Path, end: &str) -> PathBuf {
        sibling(target, &format!("{}-{end}", self.suffix))
    }
}

#[cfg(test)]
mod tests;
