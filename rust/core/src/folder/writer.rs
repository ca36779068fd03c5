//! A new dump of a folder.

use std::io;
use std::path::{Path, PathBuf};

use super::Layout;
use super::redo::{Manifest, Place, Redo};
use crate::disk;
use crate::error::{Error, Progress, Result};
use crate::file::{Digest, Draft};
use crate::lock::{Lock, forked};

/// A new dump on its way into a folder. Dropped without [`commit`](FolderWriter::commit), it
/// leaves the folder as it was.
#[derive(Debug)]
pub struct FolderWriter {
    folder: PathBuf,
    layout: &'static Layout,
    /// Members that are complete and synced.
    ready: Vec<&'static str>,
    /// Directories that were not there before.
    created: Vec<PathBuf>,
    /// Whether what was staged is to stay.
    keep: bool,
    lock: Option<Lock>,
}

impl FolderWriter {
    /// Opens a folder for a new dump: creates it if need be, locks it, and finishes or removes
    /// what an earlier dump left behind.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Locked`] where others hold the folder for a minute;
    /// [`Error::Interrupted`] by `progress`, which is called while they are waited for.
    pub fn open(folder: &Path, layout: &'static Layout, progress: &mut Progress) -> Result<Self> {
        // A link that leads nowhere yet names the folder that is to be created.
        let folder = disk::resolve(folder)?;
        let folder = folder.as_path();
        let created = disk::create_directories(folder)?;
        let mut writer = FolderWriter {
            folder: folder.to_path_buf(),
            layout,
            ready: Vec::new(),
            created,
            keep: true,
            lock: None,
        };
        writer.lock = Some(Lock::exclusive(layout.lock(folder), folder, progress)?);
        Redo::of(folder, layout)?.recover()?;
        writer.keep = false;
        Ok(writer)
    }

    /// Begins a member; [`StagedFile::finish`] ends it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn stage(&mut self, name: &str) -> Result<StagedFile<'_>> {
        let member = self.member(name)?;
        self.ready.retain(|ready| *ready != member);
        let place = Place::of(&self.folder, self.layout, member)?;
        self.created.extend(disk::create_directories(disk::parent(&place.target))?);
        let draft = Draft::hashed(place.new, &place.target)?;
        Ok(StagedFile { writer: self, member, draft })
    }

    /// Makes the members that were ended, with this manifest, the content of the folder.
    /// Members that were not staged are removed.
    ///
    /// What is committed stays: an error in putting the files into their places after that does
    /// not undo it, but is returned as `Some`. The dump is safe then, and whoever opens the
    /// folder next finishes it.
    ///
    /// # Errors
    /// [`Error::Io`]; the old dump stands.
    pub fn commit(mut self, manifest: &[u8]) -> Result<Option<Error>> {
        if !self.is_own() {
            return Err(forked(&self.folder));
        }
        let redo = Redo::of(&self.folder, self.layout)?;
        for (place, member) in redo.members.iter().zip(self.layout.members) {
            if self.ready.contains(member) {
                continue;
            }
            disk::remove(&place.new)?;
            if disk::exists(&place.target)? {
                disk::replaced(&place.target)?;
                disk::create(&place.gone, 0o666)?;
            }
        }
        let Manifest { target, temporary, commit } = &redo.manifest;
        let mut draft = Draft::create(temporary.clone(), target)?;
        draft.write(manifest)?;
        draft.sync()?;
        let directories = redo.open()?;
        directories.sync()?;
        disk::rename(temporary, commit)?;
        // Until it is known whether the commit is durable, what it needs must stay.
        self.keep = true;
        if let Err(error) = directories.sync_manifest() {
            if disk::rename(commit, temporary).and_then(|()| directories.sync_manifest()).is_ok() {
                self.keep = false;
            }
            return Err(error);
        }
        self.created.clear();
        Ok(redo.finish(&directories).err())
    }

    /// Whether this is the process that opened the folder, and none that was forked from it.
    fn is_own(&self) -> bool {
        self.lock.as_ref().is_none_or(Lock::is_own)
    }

    /// The member of this name.
    fn member(&self, name: &str) -> Result<&'static str> {
        let found = self.layout.members.iter().find(|member| **member == name);
        found.copied().ok_or_else(|| {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "not a file of this folder");
            Error::io("stage", self.folder.join(name), source)
        })
    }
}

impl Drop for FolderWriter {
    fn drop(&mut self) {
        if !self.is_own() {
            return; // it is all the parent's
        }
        if !self.keep {
            // What remains after a failure is removed by whoever opens the folder next.
            let _ = Redo::of(&self.folder, self.layout).and_then(|redo| redo.sweep());
        }
        self.lock = None;
        disk::remove_empty_directories(&self.created);
    }
}

/// A member that is being written.
pub struct StagedFile<'a> {
    writer: &'a mut FolderWriter,
    member: &'static str,
    draft: Draft,
}

impl StagedFile<'_> {
    /// Where to write.
    pub fn draft(&mut self) -> &mut Draft {
        &mut self.draft
    }

    /// Makes the bytes durable.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(self) -> Result<Digest> {
        self.draft.sync()?;
        self.writer.ready.push(self.member);
        Ok(self.draft.digest())
    }
}
