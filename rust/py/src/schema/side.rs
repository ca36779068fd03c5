//! The Python objects that stand beside the nodes of a plan.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PySet, PyString, PyType};

/// What a node needs of Python, at the node's own number.
pub enum Side {
    /// Nothing.
    Plain,
    /// The Python value of each choice, and whether the choice is an Enum.
    Choice(Vec<Py<PyAny>>),
    /// Which container the elements go into.
    Container(Container),
    /// The class of a model.
    Model(ModelSide),
}

/// The kinds of Python containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// `list`
    List,
    /// `tuple` of any length
    Tuple,
    /// `set`
    Set,
    /// `frozenset`
    FrozenSet,
    /// `dict`
    Dict,
}

/// The Python side of a model node.
pub struct ModelSide {
    /// The model class.
    pub class: Py<PyType>,
    /// The field names, interned.
    pub names: Vec<Py<PyString>>,
    /// For each field the default, where it is an object that cannot change: who has the identical
    /// object in the field has the default's text in the record.
    pub defaults: Vec<Option<Py<PyAny>>>,
    /// A dict of all fields: a copy of it is filled faster than an empty one grows.
    pub template: Py<PyDict>,
    /// The sets of fields that were given, by which of the first 64 were not.
    given: Mutex<HashMap<u64, Py<PySet>>>,
}

impl ModelSide {
    pub(super) fn new(
        class: Py<PyType>,
        names: Vec<Py<PyString>>,
        py: Python<'_>,
    ) -> PyResult<Self> {
        let template = PyDict::new(py);
        for name in &names {
            template.set_item(name, py.None())?;
        }
        let (template, defaults) = (template.unbind(), names.iter().map(|_| None).collect());
        Ok(ModelSide { class, names, defaults, template, given: Mutex::default() })
    }

    /// A new set of the names of all fields but these; copying a set is faster than making one.
    pub fn fields_set<'py>(&self, py: Python<'py>, unset: &[usize]) -> PyResult<Bound<'py, PySet>> {
        let mask = unset.iter().fold(0, |mask, &place| mask | 1 << place.min(63));
        let make = || {
            let given = self.names.iter().enumerate().filter(|(place, _)| !unset.contains(place));
            PySet::new(py, given.map(|(_, name)| name.bind(py)))
        };
        if self.names.len() > 63 {
            return make();
        }
        let mut sets = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match sets.entry(mask) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert(make()?.unbind()),
        };
        // SAFETY: the argument is a set; the call gives a new reference or an error.
        unsafe { Bound::from_owned_ptr_or_err(py, ffi::PySet_New(known.as_ptr())) }
            .and_then(|set| Ok(set.cast_into::<PySet>()?))
    }
}

/// What a custom merge rule calls.
pub struct CustomRule {
    /// The user's function of the existing and the incoming value.
    pub function: Py<PyAny>,
    /// Makes a value of its JSON text, as Pydantic does.
    pub read: Py<PyAny>,
    /// Makes the JSON text of a value, as Pydantic does; `None` where it cannot.
    pub write: Py<PyAny>,
}
