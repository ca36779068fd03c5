//! Work without the GIL that reports progress, can be interrupted, and may call Python back.

use std::sync::{Mutex, PoisonError};

use omem_core::{Error, Progress, Result};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::errors::{ReentryError, to_py};
use crate::slow::{is_fault, reason};

/// Runs core work detached from the interpreter.
///
/// At each report signals are checked, so that Ctrl-C ends the work, and the caller's progress
/// callback is called; what either raises is raised here, after the core has cleaned up.
pub fn detached<T: Send>(
    py: Python<'_>,
    callback: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce(&mut Progress<'_>) -> Result<T> + Send,
) -> PyResult<T> {
    let callback = callback.map(|callback| callback.clone().unbind());
    let mut raised: Option<PyErr> = None;
    let process = std::process::id();
    let outcome = py.detach(|| {
        let mut report = |bytes: u64, records: u64| {
            let called = Python::attach(|py| {
                py.check_signals()?;
                callback
                    .as_ref()
                    .map_or(Ok(()), |callback| callback.call1(py, (bytes, records)).map(drop))?;
                if process == std::process::id() { Ok(()) } else { Err(forked()) }
            });
            called.map_err(|error| raised = Some(error)).is_ok()
        };
        work(&mut report)
    });
    match raised {
        Some(error) => Err(error),
        None => outcome.map_err(to_py),
    }
}

/// What a process gets that a callback forked and that goes on with its parent's work.
fn forked() -> PyErr {
    PyRuntimeError::new_err(
        "a callback forked this process: its parent goes on with the work that calls back, and the \
         child must not; end it with os._exit()",
    )
}

/// Calls Python from detached merging and keeps what it raises.
#[derive(Default)]
pub struct Callback(Mutex<(Option<PyErr>, Conflicts)>);

/// The exceptions that kept single items from being merged.
#[derive(Default)]
pub struct Conflicts(Vec<(String, PyErr)>);

impl Callback {
    /// Calls a function with the GIL. A fault that it raises is a conflict of the two records; an
    /// interrupt, a lack of memory and an attempt to change the memory meanwhile end the work.
    pub fn merge<T>(&self, function: impl FnOnce(Python<'_>) -> PyResult<T>) -> Result<T> {
        Python::attach(|py| {
            function(py).map_err(|error| {
                let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                if !is_fault(&error, py) || error.is_instance_of::<ReentryError>(py) {
                    kept.0 = Some(error);
                    return Error::Interrupted;
                }
                let what = reason(&error, py);
                // The first of them is all that is raised; a million would fill the memory.
                if kept.1.0.len() < 100 {
                    kept.1.0.push((what.clone(), error));
                }
                Error::Merge { item: 0, what }
            })
        })
    }

    /// What ended the work, or else its outcome and the conflicts on its way.
    pub fn resolve<T>(self, outcome: PyResult<T>) -> PyResult<(T, Conflicts)> {
        match self.0.into_inner().unwrap_or_else(PoisonError::into_inner) {
            (Some(error), _) => Err(error),
            (None, conflicts) => outcome.map(|outcome| (outcome, conflicts)),
        }
    }
}

impl Conflicts {
    /// The exception behind the failure that is told with these words.
    pub fn cause_of(self, what: &str) -> Option<PyErr> {
        let found = self.0.into_iter().find(|(reason, _)| what.starts_with(reason.as_str()));
        found.map(|(_, error)| error)
    }
}
