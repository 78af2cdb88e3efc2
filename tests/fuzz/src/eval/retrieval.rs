//! The program's readers of retrieval collections.

#[path = "../../../../native/src/eval/retrieval/collection.rs"]
pub mod collection;
