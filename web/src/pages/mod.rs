//! The pages, one file each.

pub mod fill_mask;
pub mod results;
pub mod retrieval;
