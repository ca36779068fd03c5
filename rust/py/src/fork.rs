//! What a forked process must do before anything else.

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

/// Lets every process that is forked from this one let go of the locks of its parent, which it
/// would hold beyond the parent's death.
///
/// # Errors
/// `OSError` where the system has no memory for that.
pub fn register() -> PyResult<()> {
    // SAFETY: the function is sound to call after a fork, as it says itself, and this library is
    // never unloaded.
    let failed = unsafe { libc::pthread_atfork(None, None, Some(let_go)) };
    match failed {
        0 => Ok(()),
        _ => Err(PyOSError::new_err("pthread_atfork: out of memory")),
    }
}

/// Points the descriptors of lock files elsewhere. They are not closed: whoever owned them in the
/// parent's midst may yet close them here, when another file has got their number.
extern "C" fn let_go() {
    // SAFETY: open, dup2, fcntl and close are async-signal-safe, and `held` neither waits nor
    // asks for memory; the path is a C string; `held` gives open descriptors of lock files alone.
    unsafe {
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
        if null < 0 {
            return;
        }
        for descriptor in omem_core::lock::held() {
            libc::dup2(null, descriptor);
            libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC);
        }
        libc::close(null);
    }
}
