//! Work without the GIL that reports progress and can be interrupted.

use omem_core::Result;
use pyo3::prelude::*;

use crate::errors::to_py;

/// What the core calls with bytes and records done; `false` tells it to stop.
pub type Report<'a> = &'a mut dyn FnMut(u64, u64) -> bool;

/// Runs core work detached from the interpreter.
///
/// At each report signals are checked, so that Ctrl-C ends the work, and the caller's progress
/// callback is called; what either raises is raised here, after the core has cleaned up.
pub fn detached<T: Send>(
    py: Python<'_>,
    callback: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce(Report<'_>) -> Result<T> + Send,
) -> PyResult<T> {
    let callback = callback.map(|callback| callback.clone().unbind());
    let mut raised: Option<PyErr> = None;
    let outcome = py.detach(|| {
        let mut report = |bytes: u64, records: u64| {
            let called = Python::attach(|py| {
                py.check_signals()?;
                callback.as_ref().map_or(Ok(()), |callback| {
                    callback.call1(py, (bytes, records)).map(drop)
                })
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
