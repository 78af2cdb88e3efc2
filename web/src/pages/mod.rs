//! The pages, one file each.

pub mod fill_mask;
pub mod models;
pub mod results;
pub mod retrieval;
pub mod similarity;
