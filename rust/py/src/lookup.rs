//! Lookups: what value each entity has in them, from its record or by a function of the model.

use std::sync::Arc;

use omem_core::key::{self, KeyFault, KeyPlan, KeyText};
use omem_core::store::Column;
use omem_core::{Batch, Changes, Snapshot};
use pyo3::exceptions::{PyAttributeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PySet, PyString};

use crate::decode::decode;
use crate::errors::{KeyExtractionError, to_py};
use crate::keys::{self, KeySpec, key_to_text};
use crate::schema::Schema;
use crate::store::Store;

/// How the values of a lookup are found.
pub struct Lookup {
    pub name: String,
    pub spec: KeySpec,
    /// Whether each element of the value counts, and not the value as a whole.
    pub each: bool,
}

impl Lookup {
    /// The values of some records.
    ///
    /// # Errors
    /// `KeyExtractionError` where the extractor raises or gives what cannot be looked up.
    pub fn column<'r>(
        &self,
        schema: &Schema,
        py: Python<'_>,
        records: impl Iterator<Item = &'r [u8]>,
    ) -> PyResult<Column> {
        let mut column = Column::default();
        for (place, record) in records.enumerate() {
            if place % 4096 == 4095 {
                py.check_signals()?;
            }
            if !self.read_record(schema, record, &mut column).map_err(to_py)? {
                let model = decode(schema, py, record)?;
                self.read_model(schema, model.bind(py), &mut column)?;
            }
            column.end().map_err(to_py)?;
        }
        Ok(column)
    }

    /// The values of all entities of a snapshot.
    ///
    /// # Errors
    /// As [`Lookup::column`].
    pub fn column_of(
        &self,
        schema: &Schema,
        py: Python<'_>,
        entities: &Snapshot,
    ) -> PyResult<Column> {
        self.column(schema, py, entities.iter().map(|entry| entry.record))
    }

    /// Takes the values from the bytes of a record; false where the bytes do not tell.
    fn read_record(
        &self,
        schema: &Schema,
        record: &[u8],
        column: &mut Column,
    ) -> omem_core::Result<bool> {
        let KeySpec::Fields(plan) = &self.spec else { return Ok(false) };
        let mut built = Vec::new();
        let found = match plan {
            KeyPlan::Path(path) if self.each => {
                // Nothing is given to the column before all elements are known to be good.
                let mut ends = Vec::new();
                let found = key::each(&schema.plan, path, record, |text| {
                    built.extend_from_slice(text);
                    ends.push(built.len());
                });
                if found.is_ok() {
                    let mut start = 0;
                    for end in ends {
                        column.value(&built[start..end])?;
                        start = end;
                    }
                }
                found
            }
            _ if self.each => Err(KeyFault::Unsupported),
            _ => match key::extract(&schema.plan, plan, record, &[], &mut built) {
                Ok(found) => {
                    column.value(match found {
                        KeyText::InRecord((from, to)) => &record[from as usize..to as usize],
                        KeyText::Built => &built,
                    })?;
                    Ok(())
                }
                Err(fault) => Err(fault),
            },
        };
        Ok(!matches!(found, Err(KeyFault::Unsupported)))
    }

    /// Takes the values from a model.
    fn read_model(
        &self,
        schema: &Schema,
        model: &Bound<'_, PyAny>,
        column: &mut Column,
    ) -> PyResult<()> {
        let py = model.py();
        let value = match keys::of_model(schema, &self.spec, model) {
            Ok(value) => value,
            // A path that leads through None leads to no value.
            Err(error)
                if matches!(self.spec, KeySpec::Fields(_))
                    && error.is_instance_of::<PyAttributeError>(py) =>
            {
                return Ok(());
            }
            Err(error) => return Err(self.refused(py, &error, model)),
        };
        if value.is_none() {
            return Ok(());
        }
        if !self.each {
            if value.is_instance_of::<PyList>() || value.is_instance_of::<PySet>() {
                let several = PyTypeError::new_err("of a list, each=True looks up each element");
                return Err(self.refused(py, &several, model));
            }
            return self.push(&value, model, column);
        }
        let is_text = value.is_instance_of::<PyString>() || value.is_instance_of::<PyBytes>();
        let Some(elements) = value.try_iter().ok().filter(|_| !is_text) else {
            let kind = value.get_type().name()?;
            let single =
                format!("each=True is for a list, set or tuple, and this is of type {kind}");
            return Err(self.refused(py, &PyTypeError::new_err(single), model));
        };
        for element in elements {
            let element = element.map_err(|error| self.refused(py, &error, model))?;
            if !element.is_none() {
                self.push(&element, model, column)?;
            }
        }
        Ok(())
    }

    fn push(
        &self,
        value: &Bound<'_, PyAny>,
        model: &Bound<'_, PyAny>,
        column: &mut Column,
    ) -> PyResult<()> {
        let mut text = Vec::new();
        key_to_text(value, &mut text).map_err(|error| self.refused(value.py(), &error, model))?;
        column.value(&text).map_err(to_py)
    }

    /// An error that names lookup and entity.
    fn refused(&self, py: Python<'_>, error: &PyErr, model: &Bound<'_, PyAny>) -> PyErr {
        let mut shown = model.repr().map_or_else(|_| String::new(), |text| text.to_string());
        if let Some((end, _)) = shown.char_indices().nth(120) {
            shown.truncate(end);
            shown += "…";
        }
        let told = KeyExtractionError::new_err(format!(
            "the lookup '{}' cannot take {shown}: {}; where there is no value, its extractor must \
             return None",
            self.name,
            error.value(py),
        ));
        told.set_cause(py, Some(error.clone_ref(py)));
        told
    }
}

impl Store {
    /// The values of a change in every lookup.
    ///
    /// # Errors
    /// As [`Lookup::column`].
    pub fn fill_columns(&self, py: Python<'_>, changes: &mut Changes) -> PyResult<()> {
        changes.columns.clear();
        for lookup in self.lookups() {
            let records = changes.items().map(|item| changes.bytes(item.record));
            let column = lookup.column(self.schema.get(), py, records)?;
            changes.columns.push(column);
        }
        Ok(())
    }

    /// Creates in a store all the lookups of this one.
    ///
    /// # Errors
    /// As [`Lookup::column`].
    pub fn copy_lookups(&self, py: Python<'_>, fresh: &mut omem_core::Store) -> PyResult<()> {
        for lookup in self.lookups() {
            let entities = fresh.snapshot().map_err(to_py)?;
            let column = lookup.column_of(self.schema.get(), py, &entities)?;
            fresh.create_lookup(&lookup.name, &column).map_err(to_py)?;
        }
        Ok(())
    }

    /// A batch as a change that inserts everything, with its values in every lookup.
    ///
    /// # Errors
    /// As [`Lookup::column`].
    pub fn insertion(&self, py: Python<'_>, batch: Batch) -> PyResult<Changes> {
        let mut changes = Changes::from(batch);
        self.fill_columns(py, &mut changes)?;
        Ok(changes)
    }
}

/// All lookups of a store, in order of creation.
pub type Lookups = Vec<Arc<Lookup>>;
