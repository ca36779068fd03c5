//! Memory for chunks, made ready by another thread.

use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::bytes::{Bytes, HUGE};
use crate::error::Result;

/// Chunks whose pages are there before they are asked for: a system takes 0.1 to 0.3 ms to clear
/// the 2 MB of a chunk, which is an eighth of the time that encoding its records takes.
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
            _ => Bytes::zeroed(len),
        }
    }
}

fn start() -> Receiver<Bytes> {
    let (filled, ready) = sync_channel(1);
    let fill = move || {
        while let Ok(mut bytes) = Bytes::zeroed(HUGE) {
            bytes.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
            if filled.send(bytes).is_err() {
                break;
            }
        }
    };
    let _ = thread::Builder::new().spawn(fill);
    ready
}
