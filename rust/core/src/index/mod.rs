//! The vector index's book-keeping: which text of a record is embedded, which row of the vectors
//! belongs to which entity, what has to be embedded anew, and how that is saved.
//!
//! Vectors themselves are the binding's; here are their row numbers alone.

mod docstore;
mod python;
mod rows;
mod stale;
mod texts;

pub use docstore::{Described, read_docstore, read_langchain, write_docstore};
pub use rows::{Moves, Rows};
pub use stale::Stale;
pub use texts::{Hash, Texts, content_hash, hashes};
