//! `omem._omem`: the binding of omem-core to Python.

mod decode;
mod encode;
mod errors;
mod keys;
mod progress;
mod schema;
mod slow;
mod unicode;

use pyo3::prelude::*;

/// The extension module.
#[pymodule]
mod _omem {
    #[pymodule_export]
    use crate::schema::Schema;
}
