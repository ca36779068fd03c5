//! Core errors as Python exceptions, in one place.

use omem_core::Error;
use omem_core::error::Fault;
use pyo3::exceptions::{PyKeyboardInterrupt, PyMemoryError, PyOSError};
use pyo3::prelude::*;

use crate::read::load_error;

mod raised {
    #![allow(missing_docs, reason = "the classes are documented where they are defined")]
    pyo3::import_exception!(omem.errors, IndexDamagedError);
    pyo3::import_exception!(omem.errors, KeyExtractionError);
    pyo3::import_exception!(omem.errors, LoadError);
    pyo3::import_exception!(omem.errors, LockedError);
    pyo3::import_exception!(omem.errors, LossyError);
    pyo3::import_exception!(omem.errors, MergeError);
    pyo3::import_exception!(omem.errors, ReentryError);
    pyo3::import_exception!(omem.errors, SchemaError);
}

pub use raised::{
    IndexDamagedError, KeyExtractionError, LoadError, LockedError, LossyError, MergeError,
    ReentryError, SchemaError,
};

/// The exception that tells a core error to Python.
pub fn to_py(error: Error) -> PyErr {
    let message = error.to_string();
    match error {
        Error::OutOfMemory { .. } => PyMemoryError::new_err(message),
        Error::Io { action, path, source } => match source.raw_os_error() {
            // OSError picks its subclass (FileNotFoundError, PermissionError…) by the number.
            Some(number) => PyOSError::new_err((
                number,
                format!("cannot {action}: {}", describe(&source)),
                path.into_os_string(), // as str: a Path would show as PosixPath('…')
            )),
            None => PyOSError::new_err(message),
        },
        Error::Fault { path, fault } => Python::attach(|py| {
            let Fault { what, record, line, at, place } = *fault;
            load_error(py, &path, record, line, at, &place, &what).unwrap_or_else(|error| error)
        }),
        Error::Json { .. } | Error::Corrupt { .. } => LoadError::new_err(message),
        Error::Locked { .. } => LockedError::new_err(message),
        Error::Merge { .. } => MergeError::new_err(message),
        Error::Interrupted => PyKeyboardInterrupt::new_err(()),
        _ => pyo3::exceptions::PyRuntimeError::new_err(message),
    }
}

/// What the system says, without Rust's "(os error 28)".
fn describe(source: &std::io::Error) -> String {
    let text = source.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}
