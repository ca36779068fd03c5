//! One file, replaced as a whole: whatever dies, the old content or the new stands there.
//!
//! The bytes go to a hidden temporary beside the target. [`AtomicFile::commit`] syncs it,
//! renames it over the target and syncs the directory. A symlinked target is followed; mode and
//! owner of a replaced file are kept. A hidden lock beside the target keeps writers of the same
//! file apart, so that the temporary can have a fixed name and one that a killed process left
//! behind is found and removed.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3Default;

use crate::disk::{self, Directory};
use crate::error::{Error, Progress, Result, reserve};
use crate::lock::{Lock, forked};

/// Size and checksum of a file that was written or read through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest {
    /// Its size.
    pub bytes: u64,
    /// The xxh3-64 of its bytes.
    pub checksum: u64,
}

/// A new file that is being written.
pub struct Draft {
    file: Arc<File>,
    path: PathBuf,
    bytes: u64,
    /// Hashed is only what needs it: it takes 5 ms of the 57 that 93 MB take.
    hash: Option<Box<Xxh3Default>>,
}

impl Draft {
    /// Creates the file that is to replace `target`.
    pub(crate) fn create(path: PathBuf, target: &Path) -> Result<Draft> {
        let file = Arc::new(disk::create_replacement(&path, target)?);
        Ok(Draft { file, path, bytes: 0, hash: None })
    }

    /// The same, with a checksum.
    pub(crate) fn hashed(path: PathBuf, target: &Path) -> Result<Draft> {
        Ok(Draft { hash: Some(Box::default()), ..Draft::create(path, target)? })
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file, for whoever syncs it while it is being written.
    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        disk::write(&self.file, bytes, &self.path)?;
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Makes the bytes durable.
    pub(crate) fn sync(&self) -> Result<()> {
        disk::sync(&self.file, &self.path)
    }

    /// Size and checksum of what was written; the checksum is 0 where there is none.
    pub(crate) fn digest(&self) -> Digest {
        let checksum = self.hash.as_ref().map_or(0, |hash| hash.digest());
        Digest { bytes: self.bytes, checksum }
    }
}

/// A file on its way to replace another. Dropped without [`commit`](AtomicFile::commit), it
/// leaves everything as it was.
pub struct AtomicFile {
    draft: Draft,
    target: PathBuf,
    directory: Directory,
    /// Directories that were not there before.
    created: Vec<PathBuf>,
    committed: bool,
    lock: Option<Lock>,
}

impl AtomicFile {
    /// Begins to replace `target`. Missing directories are created.
    ///
    /// # Errors
    /// [`Error::Io`] where the target is a directory or cannot be written
    /// beside; [`Error::Locked`] where another writer holds it for a
    /// minute; [`Error::Interrupted`] by `progress`, which is called
    /// while the lock is waited for.
    pub fn create(target: &Path, progress: &mut Progress) -> Result<AtomicFile> {
        let target = disk::resolve(target)?;
        disk::replaced(&target)?;
        let created = disk::create_directories(disk::parent(&target))?;
        AtomicFile::begin(target, created.clone(), progress)
            .inspect_err(|_| disk::remove_empty_directories(&created))
    }

    fn begin(target: PathBuf, created: Vec<PathBuf>, progress: &mut Progress) -> Result<Self> {
        let lock = Lock::exclusive(disk::sibling(&target, ".omem-lock"), &target, progress)?;
        let directory = Directory::open(disk::parent(&target))?;
        let draft = Draft::create(disk::sibling(&target, ".omem-tmp"), &target)?;
        Ok(AtomicFile { draft, target, directory, created, committed: false, lock: Some(lock) })
    }

    /// Where to write.
    pub fn draft(&mut self) -> &mut Draft {
        &mut self.draft
    }

    /// Makes the new content durable and puts it in the target's place; returns its size.
    ///
    /// # Errors
    /// [`Error::Io`]. The old content stands.
    pub fn commit(mut self) -> Result<u64> {
        if !self.is_own() {
            return Err(forked(&self.target));
        }
        self.draft.sync()?;
        let old = disk::sibling(&self.target, ".omem-old");
        let kept = disk::keep(&self.target, &old)?;
        let renamed = disk::rename(&self.draft.path, &self.target);
        self.committed = renamed.is_ok();
        let synced = renamed.and_then(|()| self.directory.sync());
        if synced.is_err() && self.committed {
            // Nobody knows what a power cut would leave; what is seen is what stood before.
            let _ =
                if kept { disk::rename(&old, &self.target) } else { disk::remove(&self.target) };
            let _ = self.directory.sync();
        }
        if kept {
            let _ = disk::remove(&old);
        }
        if synced.is_ok() {
            self.created.clear();
        }
        synced.map(|()| self.draft.bytes)
    }

    /// Whether this is the process that began the file, and none that was forked from it.
    fn is_own(&self) -> bool {
        self.lock.as_ref().is_none_or(Lock::is_own)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.is_own() {
            return; // it is all the parent's
        }
        if !self.committed {
            // What remains after a failure is removed by the next writer.
            let _ = disk::remove(&self.draft.path);
        }
        // Only now: the temporary has a fixed name.
        self.lock = None;
        disk::remove_empty_directories(&self.created);
    }
}

/// Size and checksum of a file.
///
/// # Errors
/// [`Error::Io`]; [`Error::Interrupted`] by
/// `progress`.
pub fn measure(path: &Path, progress: &mut Progress) -> Result<Digest> {
    let mut file = File::open(path).map_err(|error| Error::io("open", path, error))?;
    let mut piece = Vec::new();
    reserve(&mut piece, 1 << 20)?;
    piece.resize(1 << 20, 0);
    let mut hash = Xxh3Default::new();
    let mut bytes = 0;
    loop {
        match file.read(&mut piece) {
            Ok(0) => {
                return Ok(Digest { bytes, checksum: hash.digest() });
            }
            Ok(count) => {
                hash.update(&piece[..count]);
                bytes += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("read", path, error)),
        }
        if !progress(bytes, 0) {
            return Err(Error::Interrupted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::tests::hooked;
    use std::cell::Cell;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::rc::Rc;

    fn replace(target: &Path, content: &str) -> Result<()> {
        let mut file = AtomicFile::create(target, &mut |_, _| true)?;
        file.draft().write(content.as_bytes())?;
        file.commit().map(drop)
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn creates_and_replaces_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("new/folder/a.json");
        replace(&target, "old").unwrap();
        replace(&target, "new").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");
        assert_eq!(names(&dir.path().join("new/folder")), ["a.json"]);
    }

    #[test]
    fn dropped_without_commit_it_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a.json");
        replace(&target, "old").unwrap();
        let mut file = AtomicFile::create(&target, &mut |_, _| true).unwrap();
        file.draft().write(b"half").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&target).unwrap(), "old");
        assert_eq!(names(dir.path()), ["a.json"]);
    }

    #[test]
    fn keeps_mode_and_follows_links() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real/a.json"), dir.path().join("link.json"));
        replace(&real, "old").unwrap();
        fs::set_permissions(&real, Permissions::from_mode(0o640)).unwrap();
        symlink("real/a.json", &link).unwrap();
        replace(&link, "new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        assert_eq!(fs::metadata(&real).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(names(&dir.path().join("real")), ["a.json"]);
    }

    #[test]
    fn keeps_the_owner_where_it_may() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a.json");
        replace(&target, "old").unwrap();
        if std::os::unix::fs::chown(&target, Some(12), Some(34)).is_err() {
            return; // Only root can give a file away.
        }
        replace(&target, "new").unwrap();
        let found = fs::metadata(&target).unwrap();
        assert_eq!((found.uid(), found.gid()), (12, 34));
    }

    #[test]
    fn a_new_file_has_the_mode_that_the_umask_leaves() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, plain) = (dir.path().join("a.json"), dir.path().join("b.json"));
        replace(&ours, "").unwrap();
        fs::write(&plain, "").unwrap();
        let mode = |path| fs::metadata(path).unwrap().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }

    #[test]
    fn only_regular_files_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        for (target, says) in [(dir.path(), "directory"), (Path::new("/dev/null"), "not a regular")]
        {
            let error = replace(target, "").unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        assert_eq!(names(dir.path()), [""; 0]);
    }

    #[test]
    fn a_stale_temporary_and_a_stale_lock_are_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a.json");
        symlink("elsewhere", dir.path().join(".a.json.omem-tmp")).unwrap();
        fs::write(dir.path().join(".a.json.omem-lock"), "process 1").unwrap();
        replace(&target, "new").unwrap();
        assert_eq!(names(dir.path()), ["a.json"]);
    }

    /// Dies before each step, and fails at each step alone.
    #[test]
    fn at_every_step_the_old_content_or_the_new_stands() {
        for dies in [true, false] {
            for stop in 0.. {
                let dir = tempfile::tempdir().unwrap();
                let target = dir.path().join("a.json");
                replace(&target, "old").unwrap();
                let count = Rc::new(Cell::new(0));
                let seen = count.clone();
                let result = hooked(
                    move |_, _| {
                        count.set(count.get() + 1);
                        let fails = count.get() == stop + 1 || dies && count.get() > stop;
                        if fails { Err(io::Error::from_raw_os_error(libc::EIO)) } else { Ok(()) }
                    },
                    || replace(&target, "new"),
                );
                let content = fs::read_to_string(&target).unwrap();
                assert!(content == "new" || content == "old" && result.is_err());
                if !dies {
                    assert!(content == "old" || result.is_ok());
                    // A stale link is removed by the next writer.
                    let left = names(dir.path());
                    assert!(left == ["a.json"] || left == [".a.json.omem-old", "a.json"]);
                }
                replace(&target, "next").unwrap();
                assert_eq!(fs::read_to_string(&target).unwrap(), "next");
                assert_eq!(names(dir.path()), ["a.json"]);
                if seen.get() <= stop {
                    assert!(result.is_ok());
                    break;
                }
            }
        }
    }
}
