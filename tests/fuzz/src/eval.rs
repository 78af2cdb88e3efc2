//! The program's readers of evaluation data.

#[path = "../../../native/src/eval/data.rs"]
pub mod data;
pub mod retrieval;
