//! Memory for chunks: in pages of the size that comes fast, and made ready by another thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::bytes::{Bytes, HUGE, PageSize};
use crate::error::Result;

/// A huge page is made ready in 0.1 to 0.3 ms, and in 4 ms where a hypervisor was told of free huge
/// pages, took them back and must find the memory anew (free page reporting, as in Firecracker). It is
/// not told of free pages of 4 kB: those take 0.8 ms for the same bytes, there as elsewhere.
const SLOW: Duration = Duration::from_millis(1);

/// Where fresh memory comes from: huge pages, until one was slow.
#[derive(Debug, Default)]
pub(crate) struct Supply {
    slow: AtomicBool,
}

impl Supply {
    /// This many bytes, to be overwritten. Only huge pages are ready: smaller ones are best made so as
    /// they are filled, while what was zeroed is still in the cache.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn take(&self, len: usize) -> Result<Bytes> {
        if self.slow.load(Ordering::Relaxed) {
            return Bytes::zeroed(len, PageSize::Usual);
        }
        let begun = Instant::now();
        let bytes = Bytes::zeroed(len, PageSize::Huge)?;
        bytes.ready(0..len);
        if len <= HUGE && begun.elapsed() > SLOW {
            self.slow.store(true, Ordering::Relaxed);
        }
        Ok(bytes)
    }
}

/// Chunks whose pages are there before they are asked for: to make those of a chunk ready takes an
/// eighth of the time that encoding its records takes.
///
/// Nobody waits for the other thread, which ends when this is dropped: where it cannot be started,
/// is slow, or is gone in the child of a fork, a chunk is made at once.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    // In a mutex only because a batch is shared between threads once it is made.
    ready: Option<Mutex<Receiver<Bytes>>>,
}

impl Pages {
    /// Bytes of this length, to be overwritten.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn take(&mut self, len: usize) -> Result<Bytes> {
        let ready = self.ready.get_or_insert_with(|| Mutex::new(start()));
        match ready.get_mut().unwrap_or_else(PoisonError::into_inner).try_recv() {
            Ok(mut bytes) if bytes.len() >= len => {
                bytes.truncate(len);
                Ok(bytes)
            }
            _ => {
                let bytes = Bytes::zeroed(len, PageSize::Usual)?;
                bytes.ready(0..len);
                Ok(bytes)
            }
        }
    }
}

fn start() -> Receiver<Bytes> {
    let (filled, ready) = sync_channel(1);
    let fill = move || {
        let supply = Supply::default();
        while let Ok(bytes) = supply.take(HUGE) {
            bytes.ready(0..HUGE);
            if filled.send(bytes).is_err() {
                break;
            }
        }
    };
    let _ = thread::Builder::new().spawn(fill);
    ready
}
