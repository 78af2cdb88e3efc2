//! What mutation testing runs of the tests with tensors: a binary that links fast.

mod checkpoint;
mod cli;
mod model;
mod weights;
