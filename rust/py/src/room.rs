//! Room on the stack for Pydantic, which recurses for each level that a value nests: up to 6 kB a
//! level were measured, 1.1 MB for what nests as deep as a record may.

use std::cell::Cell;
use std::thread;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};

/// With less than this, Pydantic is called on a thread of its own.
const NEEDED: usize = 3 << 19;
const STACK: usize = 16 << 20;

thread_local! {
    /// The lowest address of this thread's stack, once it was asked for; 0 where nobody knows.
    static END: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Whether there is room for a record of any depth.
#[inline]
pub fn is_ample() -> bool {
    let here = 0u8;
    let here = std::ptr::from_ref(&here).addr();
    let end = END.get().unwrap_or_else(|| {
        let end = stack_end();
        END.set(Some(end));
        end
    });
    here.saturating_sub(end) >= NEEDED
}

#[cfg(target_os = "linux")]
fn stack_end() -> usize {
    let mut end = std::ptr::null_mut();
    let mut size = 0;
    // SAFETY: the attributes are initialised by the first call, read by the second and destroyed by
    // the third, in which both places are live.
    unsafe {
        let mut attributes = std::mem::zeroed::<libc::pthread_attr_t>();
        if libc::pthread_getattr_np(libc::pthread_self(), &mut attributes) != 0 {
            return 0;
        }
        if libc::pthread_attr_getstack(&attributes, &mut end, &mut size) != 0 {
            end = std::ptr::null_mut();
        }
        libc::pthread_attr_destroy(&mut attributes);
    }
    end.addr()
}

#[cfg(target_os = "macos")]
fn stack_end() -> usize {
    // SAFETY: both calls only read what is known of the thread that calls.
    unsafe {
        let thread = libc::pthread_self();
        let start = libc::pthread_get_stackaddr_np(thread).addr();
        start.saturating_sub(libc::pthread_get_stacksize_np(thread))
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn stack_end() -> usize {
    0
}

/// Calls a function where there is room, in the context of the caller.
///
/// # Errors
/// What the function raises.
#[pyfunction]
#[pyo3(signature = (function, *arguments, **keywords))]
pub fn call_with_room<'py>(
    function: &Bound<'py, PyAny>,
    arguments: &Bound<'py, PyTuple>,
    keywords: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    static COPY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = function.py();
    if is_ample() {
        return function.call(arguments, keywords);
    }
    let context = COPY.import(py, "contextvars", "copy_context")?.call0()?;
    let run = context.getattr("run")?.unbind();
    let mut all = vec![function.clone()];
    all.extend(arguments.iter());
    let all = PyTuple::new(py, all)?.unbind();
    let named = keywords.map(|keywords| keywords.clone().unbind());
    let work = || {
        Python::attach(|py| {
            let named = named.as_ref().map(|named| named.bind(py));
            run.bind(py).call(all.bind(py), named).map(Bound::unbind)
        })
    };
    let done = py.detach(|| {
        thread::scope(|scope| {
            let started = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
            started.ok().map(thread::ScopedJoinHandle::join)
        })
    });
    match done {
        Some(Ok(result)) => result.map(|value| value.into_bound(py)),
        Some(Err(panic)) => std::panic::resume_unwind(panic),
        // A thread that cannot be started is done without.
        None => function.call(arguments, keywords),
    }
}
