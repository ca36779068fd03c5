//! `omem._omem`: the binding of omem-core to Python.

mod batch;
mod canonical;
mod decode;
mod defaults;
mod differ;
mod encode;
mod errors;
mod fold;
mod folder;
mod fork;
mod index;
mod instance;
mod keys;
mod ledger;
mod lock;
mod lookup;
mod models;
mod observed;
mod progress;
mod read;
mod room;
mod schema;
mod slow;
mod snapshot;
mod store;
mod transplant;
mod unicode;

use pyo3::prelude::*;

/// The extension module.
// Reasons for `unsafe` rest on the GIL, so a free-threaded interpreter is told to switch it on.
#[pymodule(gil_used = true)]
mod _omem {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::batch::{Batch, Change};
    #[pymodule_export]
    use crate::defaults::defaults_in;
    #[pymodule_export]
    use crate::differ::alike;
    #[pymodule_export]
    use crate::folder::{FolderReader, FolderWriter, file_facts, write_file};
    #[pymodule_export]
    use crate::index::{Rows, Stale, Texts, read_docstore, read_langchain};
    #[pymodule_export]
    use crate::ledger::{Ledger, Lines, PreparedLedger, Rollback};
    #[pymodule_export]
    use crate::lock::MutationLock;
    #[pymodule_export]
    use crate::read::{Loaded, survey};
    #[pymodule_export]
    use crate::room::call_with_room;
    #[pymodule_export]
    use crate::schema::Schema;
    #[pymodule_export]
    use crate::snapshot::{Snapshot, SnapshotIterator};
    #[pymodule_export]
    use crate::store::{Prepared, Store};

    #[pymodule_init]
    fn init(_module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::fork::register()
    }

    /// Whether this is a debug build, many times slower than a release build.
    #[pymodule_export]
    const DEBUG_BUILD: bool = cfg!(debug_assertions);

    /// The canonical text of a key.
    #[pyfunction]
    fn key_text<'py>(key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, pyo3::types::PyBytes>> {
        let mut text = Vec::new();
        crate::keys::key_to_text(key, &mut text)?;
        Ok(pyo3::types::PyBytes::new(key.py(), &text))
    }

    /// The key that a canonical text stands for.
    #[pyfunction]
    fn key_from_text<'py>(py: Python<'py>, text: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        crate::keys::key_from_text(py, text)
    }

    /// Hashed n-gram vectors of texts: float32, one row of `dim` after the other.
    #[pyfunction]
    fn hash_texts(
        py: Python<'_>,
        texts: Vec<String>,
        dim: usize,
    ) -> PyResult<Bound<'_, pyo3::types::PyBytes>> {
        let vectors = py
            .detach(|| omem_core::hashing::embed(&texts, dim, crate::fold::threads()))
            .map_err(crate::errors::to_py)?;
        pyo3::types::PyBytes::new_with(py, vectors.len() * 4, |bytes| {
            for (place, value) in bytes.chunks_exact_mut(4).zip(&vectors) {
                place.copy_from_slice(&value.to_ne_bytes());
            }
            Ok(())
        })
    }

    /// The rounds of a tournament: for each round its calls, for each call its pairs, as group
    /// and places of the two in the group.
    #[pyfunction]
    fn rounds(sizes: Vec<usize>, max_batch_pairs: usize) -> Vec<Vec<Vec<(usize, usize, usize)>>> {
        let pairs = |call: Vec<omem_core::merge::Pair>| {
            call.iter().map(|pair| (pair.group, pair.existing, pair.incoming)).collect()
        };
        let rounds = omem_core::merge::rounds(&sizes, max_batch_pairs);
        rounds.map(|calls| calls.into_iter().map(pairs).collect()).collect()
    }
}
