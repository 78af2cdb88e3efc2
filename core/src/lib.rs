//! Japanese ModernBERT: the model and everything that is pure.
//!
//! This crate takes bytes and returns numbers: it opens no file, starts no thread, reads no clock and knows no browser.
//! A function that reads the device back is `async`; every other one only enqueues work.
//!
//! The life of a sentence: [`tokenizer`] → [`masking`] → [`batch`] → [`modernbert`] → [`loss`] → [`train_step`] →
//! [`weights`] → [`infer`] → [`report`].

pub mod batch;
pub mod bert;
pub mod config;
pub mod error;
pub mod export;
pub mod finetune;
pub mod heads;
pub mod infer;
pub mod layers;
pub mod leaderboard;
pub mod loss;
pub mod masking;
pub mod metrics;
pub mod model;
pub mod modernbert;
pub mod optim;
pub mod plot;
pub mod report;
pub mod retrieval;
pub mod schedule;
pub mod tokenizer;
pub mod train_step;
pub mod weights;

pub use error::{Error, Result};
