//! Where two values differ, and how.

use std::fmt;

use pyo3::prelude::*;

/// A part of a path.
#[derive(Debug)]
pub enum Step {
    /// A field or key.
    Name(String),
    /// A place in a list.
    Index(usize),
}

impl Step {
    /// The step of a part of Pydantic's `loc`.
    pub fn of(part: &Bound<'_, PyAny>) -> Self {
        part.extract().map_or_else(|_| Step::Name(part.to_string()), Step::Index)
    }
}

/// Where two values differ, and how.
#[derive(Debug)]
pub struct Difference {
    /// The path to the place, the last step first.
    pub steps: Vec<Step>,
    /// What is different there.
    pub what: String,
}

impl Difference {
    /// A difference of the whole.
    pub fn new(what: String) -> Self {
        Difference { steps: Vec::new(), what }
    }

    /// The path, as `$.field[3]`.
    pub fn place(&self) -> String {
        let mut path = "$".to_owned();
        for step in self.steps.iter().rev() {
            match step {
                Step::Name(name) => path = format!("{path}.{name}"),
                Step::Index(place) => path = format!("{path}[{place}]"),
            }
        }
        path
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place(), self.what)
    }
}
