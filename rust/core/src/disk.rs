//! The calls that change the file system, each with its path in the error.
//!
//! Everything that [`crate::file`] and [`crate::folder`] do to a disk goes through here, so that
//! tests can stop a dump before any of its steps (see `tests::stop`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The directory that holds `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// The hidden sibling of `path` that is called `.NAME` and `suffix`; a NAME that leaves no room
/// for a suffix is hashed.
pub(crate) fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default();
    let mut hidden = std::ffi::OsString::from(".");
    if name.len() + ROOM <= 255 {
        hidden.push(name);
    } else {
        hidden.push(format!("{:016x}", xxhash_rust::xxh3::xxh3_64(name.as_encoded_bytes())));
    }
    hidden.push(suffix);
    parent(path).join(hidden)
}

/// A dot and the longest suffix that a sibling has.
const ROOM: usize = ".".len() + ".omem-index-commit".len();

/// Whether something stands at `path`, be it a link that leads nowhere.
pub(crate) fn exists(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if absent(&error) => Ok(false),
        Err(error) => Err(Error::io("look at", path, error)),
    }
}

/// Whether an error says that a file is not there.
pub(crate) fn absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Follows symbolic links to the file that stands, or would stand, at the end of them.
pub(crate) fn resolve(target: &Path) -> Result<PathBuf> {
    let mut path = target.to_path_buf();
    for _ in 0..40 {
        match fs::read_link(&path) {
            Ok(link) => path = parent(&path).join(link),
            // EINVAL: not a link.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return Ok(path),
            Err(error) if absent(&error) => return Ok(path),
            Err(error) => return Err(Error::io("open", target, error)),
        }
    }
    Err(Error::io("open", target, io::Error::from_raw_os_error(libc::ELOOP)))
}

/// What stands at `target`, if anything: a regular file, for nothing else is replaced.
pub(crate) fn replaced(target: &Path) -> Result<Option<fs::Metadata>> {
    regular("replace", target)
}

/// What stands at `path`, if anything; an error if it is no regular file.
pub(crate) fn regular(action: &'static str, path: &Path) -> Result<Option<fs::Metadata>> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(Some(found)),
        Ok(found) if found.is_dir() => {
            Err(Error::io(action, path, io::Error::from_raw_os_error(libc::EISDIR)))
        }
        Ok(_) => {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
            Err(Error::io(action, path, source))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(action, path, error)),
    }
}

/// Creates the empty file that is to replace `target`, with the mode and, as far as the system
/// allows it, the owner of what stands there.
pub(crate) fn create_replacement(path: &Path, target: &Path) -> Result<File> {
    let old = replaced(target)?;
    remove(path)?;
    // What replaces a private file is private from its first byte; a new file gets what the
    // umask leaves.
    let file = create(path, if old.is_some() { 0o600 } else { 0o666 })?;
    if let Some(old) = old
        && let Err(error) = keep_mode_and_owner(&file, path, &old)
    {
        let _ = remove(path);
        return Err(error);
    }
    Ok(file)
}

/// Gives `file` the owner and group of `old`, each where the system permits it, and its mode.
fn keep_mode_and_owner(file: &File, path: &Path, old: &fs::Metadata) -> Result<()> {
    let new = file.metadata().map_err(|error| Error::io("look at", path, error))?;
    let user = (new.uid() != old.uid()).then_some(old.uid());
    let group = (new.gid() != old.gid()).then_some(old.gid());
    for (user, group) in [(None, group), (user, None)] {
        if user.is_none() && group.is_none() {
            continue;
        }
        step("set the owner of", path)?;
        match fchown(file, user, group) {
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
                return Err(Error::io("set the owner of", path, error));
            }
            _ => {}
        }
    }
    step("set the mode of", path)?;
    file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o777))
        .map_err(|error| Error::io("set the mode of", path, error))
}

/// Creates a file that is not there yet.
pub(crate) fn create(path: &Path, mode: u32) -> Result<File> {
    step("create", path)?;
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(|error| Error::io("create", path, error))
}

/// Appends bytes to a file.
pub(crate) fn write(mut file: &File, bytes: &[u8], path: &Path) -> Result<()> {
    step("write", path)?;
    file.write_all(bytes).map_err(|error| Error::io("write", path, error))
}

/// Makes a file's content durable. After a failure the file is to be given up, never synced
/// again: the kernel forgets pages that it could not write.
pub(crate) fn sync(file: &File, path: &Path) -> Result<()> {
    step("sync", path)?;
    file.sync_all().map_err(|error| Error::io("sync", path, error))
}

/// A directory whose names can be made durable. It is opened before anything is changed, since
/// it is needed when nothing may fail any more for want of a descriptor or a permission.
#[derive(Debug)]
pub(crate) struct Directory {
    file: File,
    path: PathBuf,
}

impl Directory {
    pub(crate) fn open(path: &Path) -> Result<Directory> {
        let file = File::open(path).map_err(|error| Error::io("open", path, error))?;
        Ok(Directory { file, path: path.to_path_buf() })
    }

    /// Makes the names in the directory durable.
    pub(crate) fn sync(&self) -> Result<()> {
        step("sync", &self.path)?;
        match self.file.sync_all() {
            // File systems that do not know fsync of a directory say so with EINVAL.
            Err(error) if error.raw_os_error() != Some(libc::EINVAL) => {
                Err(Error::io("sync", &self.path, error))
            }
            _ => Ok(()),
        }
    }
}

/// Renames a file over another.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    step("rename", from)?;
    fs::rename(from, to).map_err(|error| Error::io("rename", from, error))
}

/// Gives a file a second name, so that it can be put back; whether it was there and could be
/// given one, which not every file system can do.
pub(crate) fn keep(target: &Path, name: &Path) -> Result<bool> {
    remove(name)?;
    step("link", target)?;
    Ok(fs::hard_link(target, name).is_ok())
}

/// Removes a file; one that is not there is no error.
pub(crate) fn remove(path: &Path) -> Result<()> {
    if !exists(path)? {
        return Ok(());
    }
    step("remove", path)?;
    match fs::remove_file(path) {
        Err(error) if !absent(&error) => Err(Error::io("remove", path, error)),
        _ => Ok(()),
    }
}

/// Creates a directory and its missing parents, durably, and says which were missing, the
/// outermost first. After an error none of them is left.
pub(crate) fn create_directories(path: &Path) -> Result<Vec<PathBuf>> {
    let mut missing = Vec::new();
    for ancestor in path.ancestors().take_while(|ancestor| *ancestor != Path::new("")) {
        match fs::metadata(ancestor) {
            Ok(found) if found.is_dir() => break,
            Ok(_) => {
                let source = io::Error::from_raw_os_error(libc::ENOTDIR);
                return Err(Error::io("use as a folder", ancestor, source));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                missing.push(ancestor.to_path_buf());
            }
            Err(error) => return Err(Error::io("use as a folder", ancestor, error)),
        }
    }
    missing.reverse();
    for (done, directory) in missing.iter().enumerate() {
        if let Err(error) = create_directory(directory) {
            remove_empty_directories(&missing[..=done]);
            return Err(error);
        }
    }
    Ok(missing)
}

fn create_directory(path: &Path) -> Result<()> {
    step("create", path)?;
    match fs::create_dir(path) {
        // Another dumper was faster.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Error::io("create", path, error))
        }
        _ => Directory::open(parent(path))?.sync(),
    }
}

/// Removes what [`create_directories`] created, as far as it is empty.
pub(crate) fn remove_empty_directories(created: &[PathBuf]) {
    for directory in created.iter().rev() {
        let _ = remove_empty_directory(directory);
    }
}

/// Removes a directory if it is empty.
pub(crate) fn remove_empty_directory(path: &Path) -> Result<()> {
    step("remove", path)?;
    match fs::remove_dir(path) {
        Err(error) if absent(&error) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        Err(error) => Err(Error::io("remove", path, error)),
        Ok(()) => Ok(()),
    }
}

/// The place where tests stop a dump.
#[cfg(not(test))]
#[inline]
#[expect(clippy::unnecessary_wraps, reason = "fails in tests")]
fn step(_action: &'static str, _path: &Path) -> Result<()> {
    Ok(())
}

#[cfg(test)]
use tests::step;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::cell::RefCell;

    type Hook = Box<dyn FnMut(&'static str, &Path) -> io::Result<()>>;

    thread_local! {
        static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    }

    /// Runs `work` with a hook that sees each step before it is taken and can fail it.
    pub(crate) fn hooked<T>(
        hook: impl FnMut(&'static str, &Path) -> io::Result<()> + 'static,
        work: impl FnOnce() -> T,
    ) -> T {
        HOOK.set(Some(Box::new(hook)));
        let result = work();
        HOOK.set(None);
        result
    }

    pub(super) fn step(action: &'static str, path: &Path) -> Result<()> {
        HOOK.with_borrow_mut(|hook| match hook {
            Some(hook) => hook(action, path).map_err(|error| Error::io(action, path, error)),
            None => Ok(()),
        })
    }

    #[test]
    fn a_name_of_any_length_has_siblings() {
        let dir = tempfile::tempdir().unwrap();
        for len in [1, 235, 237, 255] {
            let sibling = sibling(&dir.path().join("ä".repeat(len / 2) + "a"), ".omem-lock-turn");
            fs::write(&sibling, "").unwrap();
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4);
    }

    #[test]
    fn resolves_chains_relative_links_dangling_links_and_loops() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("sub")).unwrap();
        std::os::unix::fs::symlink("sub/b", at("a")).unwrap();
        std::os::unix::fs::symlink("../missing", at("sub/b")).unwrap();
        std::os::unix::fs::symlink("loop", at("loop")).unwrap();
        assert_eq!(resolve(&at("a")).unwrap(), at("sub/../missing"));
        assert_eq!(resolve(&at("plain")).unwrap(), at("plain"));
        assert!(resolve(&at("loop")).is_err());
    }
}
