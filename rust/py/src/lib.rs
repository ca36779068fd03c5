//! `omem._omem`: the binding of omem-core to Python.

use pyo3::prelude::*;

/// The extension module.
#[pymodule]
mod _omem {}
