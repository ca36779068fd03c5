//! The record store of omem.
//!
//! An entity at rest is its canonical JSON record. This crate checks records against a
//! schema [`plan`], finds them by [`key`], merges them, and reads and writes them; it knows
//! no Python and holds no unsafe code.
#![forbid(unsafe_code)]

#[cfg(not(unix))]
compile_error!(
    "omem runs on Linux and macOS: its dumps rest on POSIX renames, directory syncs and flock. \
     On Windows use it inside WSL."
);

pub mod batch;
pub mod bytes;
pub mod check;
mod disk;
pub mod error;
pub mod file;
pub mod folder;
pub mod hashing;
pub mod index;
pub mod json;
pub mod key;
pub mod ledger;
pub mod lock;
pub mod merge;
mod pages;
pub mod pickle;
pub mod plan;
pub mod read;
pub mod store;
mod table;
pub mod text;
pub mod unset;
pub mod write;

pub use batch::{Batch, Item, Span, Unset};
pub use bytes::Bytes;
pub use error::{Error, Fault, Progress, Result};
pub use plan::{Field, Model, Node, NodeId, Plan};
pub use store::{Changes, Snapshot, Store};
