//! All tests in one binary: linking a tensor library once is slow enough.

mod batch;
mod boundary;
mod checkpoint;
mod cli;
mod commands;
mod gradients;
mod invariance;
mod masking;
mod metrics;
mod model;
mod plot;
mod public;
mod report;
mod shaders;
mod teeth;
mod tokenizer;
mod training;
mod weights;
