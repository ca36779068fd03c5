//! A folder that is read.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::Layout;
use super::redo::{Place, Redo};
use crate::disk;
use crate::error::{Error, Progress, Result};
use crate::lock::Lock;

/// A folder that does not change while this lives, as far as dumpers heed the lock.
#[derive(Debug)]
pub struct FolderReader {
    folder: PathBuf,
    redo: Redo,
    layout: &'static Layout,
    /// None in a folder that cannot be written and where no dumper is at work.
    lock: Option<Lock>,
    seen: Option<Seen>,
}

/// What tells one dump from the next: its manifest, and where that stands.
type Seen = (PathBuf, u64, u64, u64, i64, i64);

impl FolderReader {
    /// Opens a folder to read it, after an earlier dump was finished or removed where that is
    /// possible at once.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Locked`] where a dumper holds the folder for a minute;
    /// [`Error::Interrupted`] by `progress`, which is called while it is waited for.
    pub fn open(folder: &Path, layout: &'static Layout, progress: &mut Progress) -> Result<Self> {
        // It is the folder that is missing then, and not its lock.
        match fs::metadata(folder) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => {
                let source = io::Error::from_raw_os_error(libc::ENOTDIR);
                return Err(Error::io("open", folder, source));
            }
            Err(error) => return Err(Error::io("open", folder, error)),
        }
        let mut recovered = false;
        loop {
            let lock = Lock::shared(layout.lock(folder), folder, progress)?;
            let redo = Redo::of(folder, layout)?;
            if recovered || !redo.is_needed()? {
                let folder = folder.to_path_buf();
                let mut reader = FolderReader { folder, redo, layout, lock, seen: None };
                reader.seen = reader.look()?;
                return Ok(reader);
            }
            drop(lock);
            // A reader can do without: `path` finds what was committed.
            if let Ok(Some(_lock)) = Lock::try_exclusive(layout.lock(folder)) {
                let _ = Redo::of(folder, layout).and_then(|redo| redo.recover());
            }
            recovered = true;
        }
    }

    /// Whether what was read until now is of one dump: that is sure with a lock, else if no dump
    /// came in between.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn is_steady(&self) -> Result<bool> {
        Ok(self.lock.is_some() || self.look()? == self.seen)
    }

    /// The manifest as it is now.
    fn look(&self) -> Result<Option<Seen>> {
        for path in [&self.redo.manifest.commit, &self.redo.manifest.target] {
            match fs::metadata(path) {
                Ok(found) => {
                    let (number, size) = ((found.dev(), found.ino()), found.size());
                    let time = (found.mtime(), found.mtime_nsec());
                    return Ok(Some((path.clone(), number.0, number.1, size, time.0, time.1)));
                }
                Err(error) if disk::absent(&error) => {}
                Err(error) => return Err(Error::io("look at", path, error)),
            }
        }
        Ok(None)
    }

    /// Where a file of the folder lies, if there is one.
    ///
    /// # Errors
    /// [`Error::Io`], also for what is no regular file: opening a pipe would wait for ever.
    pub fn path(&self, name: &str) -> Result<Option<PathBuf>> {
        let mut path = self.folder.join(name);
        if disk::exists(&self.redo.manifest.commit)? {
            if name == self.layout.manifest {
                path.clone_from(&self.redo.manifest.commit);
            } else if self.layout.members.contains(&name) {
                let place = Place::of(&self.folder, self.layout, name)?;
                if disk::exists(&place.gone)? {
                    return Ok(None);
                } else if disk::exists(&place.new)? {
                    path = place.new;
                }
            }
        }
        if !disk::exists(&path)? {
            return Ok(None);
        }
        Ok(disk::regular("read", &path)?.map(|_| path))
    }
}
