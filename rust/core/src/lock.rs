//! Lock files: who may dump, who may read.
//!
//! A lock is a `flock` of a hidden file, so it ends with its process, however that ends, and it
//! keeps threads apart as well as processes, since each holder opens the file for itself. The
//! last holder to leave removes the file. So whoever gets a lock makes sure that the file it
//! locked is still the one that the path names, and starts again if it is not.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Error, Progress, Result};

/// How long a lock is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes a lock that excludes every other holder. `what` is what the lock guards.
    pub(crate) fn exclusive(path: PathBuf, what: &Path, progress: &mut Progress) -> Result<Lock> {
        let mut lock = Lock { file: open(&path)?, path };
        lock.wait(File::try_lock, what, PATIENCE, progress)?;
        lock.sign(&format!("process {}", std::process::id()));
        Ok(lock)
    }

    /// The exclusive lock if it can be had at once.
    pub(crate) fn try_exclusive(path: PathBuf) -> Result<Option<Lock>> {
        let lock = Lock { file: open(&path)?, path };
        match lock.file.try_lock() {
            Ok(()) if lock.stands() => Ok(Some(lock)),
            Ok(()) | Err(TryLockError::WouldBlock) => Ok(None),
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
        let file = match open(&path) {
            Err(Error::Io { source, .. }) if read_only(&source) => match File::open(&path) {
                Ok(file) => file,
                Err(_) => return Ok(None),
            },
            result => result?,
        };
        let mut lock = Lock { file, path };
        lock.wait(File::try_lock_shared, what, PATIENCE, progress)?;
        lock.sign("");
        Ok(Some(lock))
    }

    /// Polls, so that the caller can be interrupted.
    fn wait(
        &mut self,
        take: fn(&File) -> std::result::Result<(), TryLockError>,
        what: &Path,
        patience: Duration,
        progress: &mut Progress,
    ) -> Result<()> {
        let start = Instant::now();
        let mut pause = Duration::from_micros(200);
        loop {
            match take(&self.file) {
                Ok(()) if self.stands() => return Ok(()),
                Ok(()) => {
                    self.file = open(&self.path)?;
                    continue;
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => {
                    return Err(Error::io("lock", &self.path, error));
                }
            }
            if start.elapsed() >= patience {
                return Err(Error::Locked { path: what.to_path_buf(), holder: self.holder() });
            }
            if !progress(0, 0) {
                return Err(Error::Interrupted);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        }
    }

    /// Whether the path still names the file that is locked.
    fn stands(&self) -> bool {
        match (self.file.metadata(), fs::symlink_metadata(&self.path)) {
            (Ok(held), Ok(named)) => (held.dev(), held.ino()) == (named.dev(), named.ino()),
            _ => false,
        }
    }

    /// Leaves the holder's name for those who wait. It is a courtesy: a failure (a full disk)
    /// does not matter.
    fn sign(&mut self, holder: &str) {
        let _ = self.file.set_len(0).and_then(|()| self.file.write_all(holder.as_bytes()));
    }

    /// Who signed last.
    fn holder(&mut self) -> String {
        let mut holder = String::new();
        let read =
            self.file.rewind().and_then(|()| (&self.file).take(80).read_to_string(&mut holder));
        match read {
            Ok(0) | Err(_) => "a reader".to_owned(),
            Ok(_) => holder,
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.file.try_lock().is_ok() && self.stands() {
            let _ = fs::remove_file(&self.path);
        }
        // A child that was forked meanwhile shares the lock: closing alone would not end it.
        let _ = self.file.unlock();
    }
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o666)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .map_err(|error| Error::io("lock", path, error))
}

/// Whether an error says that nothing can be written here.
pub(crate) fn read_only(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem)
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

        let mut other = Lock { file: open(&path).unwrap(), path: path.clone() };
        let error = other
            .wait(File::try_lock_shared, dir.path(), Duration::from_millis(5), &mut go())
            .unwrap_err();
        assert!(error.to_string().ends_with(&format!("process {}", std::process::id())));
        let error = Lock::shared(path.clone(), dir.path(), &mut |_, _| false).unwrap_err();
        assert!(matches!(error, Error::Interrupted));

        drop(held);
        drop(other);
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
