//! Lock files: who may dump, who may read.
//!
//! A lock is a `flock` of a hidden file, so it ends with its process, however that ends, and it
//! keeps threads apart as well as processes, since each holder opens the file for itself. The
//! last holder to leave removes the file. So whoever gets a lock makes sure that the file it
//! locked is still the one that the path names, and starts again if it is not.
//!
//! A process that is forked shares the locks of its parent: it would hold them beyond its parent's
//! death, and could end them. So it lets go of what [`held`] lists, and a lock does nothing in
//! another process than the one that took it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use crate::disk::absent;
use crate::error::{Error, Progress, Result};

/// How long a lock is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The descriptors of lock files that are open, else -1. It is read between fork and whatever the
/// child does, where no lock may be waited for and no memory asked for. Of more than these at the
/// same time, a child would keep some.
static HELD: [AtomicI32; 64] = [const { AtomicI32::new(-1) }; 64];

/// The descriptors of lock files that this process has open.
pub fn held() -> impl Iterator<Item = RawFd> {
    HELD.iter().map(|place| place.load(Ordering::SeqCst)).filter(|&descriptor| descriptor >= 0)
}

/// An open lock file, listed in [`HELD`].
#[derive(Debug)]
struct Listed {
    file: File,
    place: Option<usize>,
}

impl Listed {
    fn new(file: File) -> Self {
        let descriptor = file.as_raw_fd();
        let take = |place: &AtomicI32| {
            place.compare_exchange(-1, descriptor, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        };
        let place = HELD.iter().position(take);
        Listed { file, place }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            HELD[place].store(-1, Ordering::SeqCst);
        }
    }
}

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    file: Listed,
    path: PathBuf,
    process: u32,
}

impl Lock {
    fn new(path: PathBuf, open: fn(&Path) -> Result<File>) -> Result<Lock> {
        Ok(Lock { file: Listed::new(open(&path)?), path, process: std::process::id() })
    }

    /// Whether this is the process that took the lock, and none that was forked from it.
    pub(crate) fn is_own(&self) -> bool {
        self.process == std::process::id()
    }

    /// Takes a lock that excludes every other holder. `what` is what the lock guards.
    pub(crate) fn exclusive(path: PathBuf, what: &Path, progress: &mut Progress) -> Result<Lock> {
        let mut wait = Wait { path: &path, what, end: Instant::now() + PATIENCE, progress };
        let _turn = wait.take(turn(&path), open, File::try_lock)?;
        let mut lock = wait.take(path.clone(), open, File::try_lock)?;
        lock.sign(&format!("process {}", std::process::id()));
        Ok(lock)
    }

    /// The exclusive lock if it can be had at once.
    pub(crate) fn try_exclusive(path: PathBuf) -> Result<Option<Lock>> {
        let lock = Lock::new(path, open)?;
        match lock.file.file.try_lock() {
            Ok(()) if lock.stands() => Ok(Some(lock)),
            Ok(()) | Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) if unknown(&error) => Ok(Some(lock)),
            Err(TryLockError::Error(error)) => Err(Error::io("lock", &lock.path, error)),
        }
    }

    /// Takes a lock that excludes exclusive holders; `None` where there is none and none can be
    /// made, since nothing can be written there.
    pub(crate) fn shared(
        path: PathBuf,
        what: &Path,
        progress: &mut Progress,
    ) -> Result<Option<Lock>> {
        let mut wait = Wait { path: &path, what, end: Instant::now() + PATIENCE, progress };
        let lock = match wait.take(turn(&path), open, File::try_lock) {
            Ok(_turn) => wait.take(path.clone(), open, File::try_lock_shared),
            Err(error) => Err(error),
        };
        let lock = match lock {
            Err(Error::Io { source, .. }) if read_only(&source) => {
                match wait.take(path.clone(), open_existing, File::try_lock_shared) {
                    Err(Error::Io { source, .. }) if absent(&source) || read_only(&source) => {
                        return Ok(None);
                    }
                    lock => lock,
                }
            }
            lock => lock,
        };
        let mut lock = lock?;
        lock.sign("");
        Ok(Some(lock))
    }

    /// Whether the path still names the file that is locked.
    fn stands(&self) -> bool {
        match (self.file.file.metadata(), fs::symlink_metadata(&self.path)) {
            (Ok(held), Ok(named)) => (held.dev(), held.ino()) == (named.dev(), named.ino()),
            _ => false,
        }
    }

    /// Leaves the holder's name for those who wait. It is a courtesy: a failure (a full disk)
    /// does not matter.
    fn sign(&mut self, holder: &str) {
        let file = &mut self.file.file;
        let _ = file.set_len(0).and_then(|()| file.write_all(holder.as_bytes()));
    }
}

/// Waiting for a lock.
struct Wait<'a, 'b> {
    path: &'a Path,
    what: &'a Path,
    end: Instant,
    progress: &'a mut Progress<'b>,
}

impl Wait<'_, '_> {
    /// Polls, so that the caller can be interrupted.
    fn take(
        &mut self,
        path: PathBuf,
        open: fn(&Path) -> Result<File>,
        take: fn(&File) -> std::result::Result<(), TryLockError>,
    ) -> Result<Lock> {
        let mut lock = Lock::new(path, open)?;
        let mut pause = Duration::from_micros(200);
        loop {
            let replaced = match take(&lock.file.file) {
                Ok(()) if lock.stands() => return Ok(lock),
                Ok(()) => true,
                Err(TryLockError::WouldBlock) => false,
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {
                    false
                }
                Err(TryLockError::Error(error)) if unknown(&error) => return Ok(lock),
                Err(TryLockError::Error(error)) => {
                    return Err(Error::io("lock", &lock.path, error));
                }
            };
            if Instant::now() >= self.end {
                let path = self.what.to_path_buf();
                return Err(Error::Locked { path, holder: holder(self.path) });
            }
            if !(self.progress)(0, 0) {
                return Err(Error::Interrupted);
            }
            if replaced {
                lock.file = Listed::new(open(&lock.path)?);
            } else {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(10));
            }
        }
    }
}

/// Who signed a lock.
fn holder(path: &Path) -> String {
    let mut holder = String::new();
    let read = File::open(path).and_then(|file| file.take(80).read_to_string(&mut holder));
    match read {
        Ok(0) | Err(_) => "a reader".to_owned(),
        Ok(_) => holder,
    }
}

/// The lock that is held while the one at `path` is waited for, so that readers who come one
/// after the other do not keep a dumper out for ever: without it, four readers that held a
/// folder for 50 ms each let no dumper in for as long as they went on.
fn turn(path: &Path) -> PathBuf {
    let mut turn = path.as_os_str().to_owned();
    turn.push("-turn");
    turn.into()
}

impl Drop for Lock {
    fn drop(&mut self) {
        if !self.is_own() {
            return;
        }
        if self.file.file.try_lock().is_ok() && self.stands() {
            let _ = fs::remove_file(&self.path);
        }
        // A child that was forked meanwhile may share the lock: closing alone would not end it.
        let _ = self.file.file.unlock();
    }
}

fn open(path: &Path) -> Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o666)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path);
    match file {
        // Another user's lock file may be there, which cannot be written, nor, in a sticky folder,
        // opened with O_CREAT (fs.protected_regular). To lock it, it is enough to read it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_existing(path).map_err(|_| Error::io("lock", path, error))
        }
        file => file.map_err(|error| Error::io("lock", path, error)),
    }
}

fn open_existing(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(libc::O_NOFOLLOW).open(path);
    file.map_err(|error| Error::io("lock", path, error))
}

/// The error for a process that goes on with a dump which it was forked from the midst of.
pub(crate) fn forked(what: &Path) -> Error {
    let why = "this process was forked in the middle of a dump, which is its parent's to finish";
    Error::io("dump", what, io::Error::other(why))
}

/// Whether an error says that the file system has no locks: then one works without.
fn unknown(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported || error.raw_os_error() == Some(libc::ENOLCK)
}

/// Whether an error says that nothing can be written here. What is on a full disk can be read.
fn read_only(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn go() -> impl FnMut(u64, u64) -> bool {
        |_, _| true
    }

    #[test]
    fn an_exclusive_lock_is_named_waited_for_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".omem-lock");
        let held = Lock::exclusive(path.clone(), dir.path(), &mut go()).unwrap();
        assert!(Lock::try_exclusive(path.clone()).unwrap().is_none());

        let end = Instant::now() + Duration::from_millis(5);
        let mut wait = Wait { path: &path, what: dir.path(), end, progress: &mut go() };
        let error = wait.take(path.clone(), open, File::try_lock_shared).unwrap_err();
        assert!(error.to_string().ends_with(&format!("process {}", std::process::id())));
        let error = Lock::shared(path.clone(), dir.path(), &mut |_, _| false).unwrap_err();
        assert!(matches!(error, Error::Interrupted));

        drop(held);
        assert!(!path.exists());
    }

    #[test]
    fn readers_share_and_the_last_one_removes_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".omem-lock");
        let first = Lock::shared(path.clone(), dir.path(), &mut go()).unwrap();
        let second = Lock::shared(path.clone(), dir.path(), &mut go()).unwrap();
        assert!(first.is_some() && second.is_some());
        drop(first);
        assert!(path.exists());
        assert!(Lock::try_exclusive(path.clone()).unwrap().is_none());
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn a_lock_file_that_is_a_link_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".omem-lock");
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        assert!(Lock::exclusive(path, dir.path(), &mut go()).is_err());
        assert!(!dir.path().join("elsewhere").exists());
    }

    #[test]
    fn readers_do_not_keep_a_dumper_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = || dir.path().join(".omem-lock");
        let done = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while done.load(Ordering::SeqCst) == 0 {
                        let _lock = Lock::shared(path(), dir.path(), &mut go()).unwrap();
                        std::thread::sleep(Duration::from_millis(20));
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(50));
            let start = Instant::now();
            let lock = Lock::exclusive(path(), dir.path(), &mut |_, _| {
                start.elapsed() < Duration::from_secs(5)
            });
            done.store(1, Ordering::SeqCst);
            assert!(lock.is_ok());
        });
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    /// Each writer makes the number odd for a while; no one else may see it odd, though the lock
    /// file comes and goes.
    #[test]
    fn threads_exclude_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let number = AtomicU32::new(0);
        let path = || dir.path().join(".omem-lock");
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let _lock = Lock::exclusive(path(), dir.path(), &mut go()).unwrap();
                        assert_eq!(number.fetch_add(1, Ordering::SeqCst) % 2, 0);
                        std::thread::yield_now();
                        assert_eq!(number.fetch_add(1, Ordering::SeqCst) % 2, 1);
                    }
                });
                scope.spawn(|| {
                    for _ in 0..100 {
                        let _lock = Lock::shared(path(), dir.path(), &mut go()).unwrap();
                        let before = number.load(Ordering::SeqCst);
                        std::thread::yield_now();
                        assert_eq!(before % 2, 0);
                        assert_eq!(number.load(Ordering::SeqCst), before);
                    }
                });
            }
        });
        assert_eq!(number.into_inner(), 600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
