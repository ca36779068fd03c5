//! JSON text: scanning, strings, numbers, compaction.

pub mod compact;
pub mod number;
pub mod scan;
pub mod string;
