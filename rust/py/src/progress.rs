//! Work without the GIL that reports progress, can be interrupted, and may call Python back.

use std::sync::{Mutex, PoisonError};

use omem_core::{Error, Progress, Result};
use pyo3::prelude::*;

use crate::errors::to_py;

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
    let outcome = py.detach(|| {
        let mut report = |bytes: u64, records: u64| {
            let called = Python::attach(|py| {
                py.check_signals()?;
                callback
                    .as_ref()
                    .map_or(Ok(()), |callback| callback.call1(py, (bytes, records)).map(drop))
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

/// Calls Python from detached work and keeps what it raises.
#[derive(Default)]
pub struct Callback {
    raised: Mutex<Option<PyErr>>,
}

impl Callback {
    /// Calls a function with the GIL; what it raises ends the work as an interruption does.
    pub fn call<T>(&self, function: impl FnOnce(Python<'_>) -> PyResult<T>) -> Result<T> {
        Python::attach(function).map_err(|error| {
            *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            Error::Interrupted
        })
    }

    /// What a callback raised, or else the outcome of the work.
    pub fn resolve<T>(self, outcome: PyResult<T>) -> PyResult<T> {
        match self.raised.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => outcome,
        }
    }
}
