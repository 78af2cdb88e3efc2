//! Japanese ModernBERT: the model and everything that is pure.
//!
//! This crate takes bytes and returns numbers: it opens no file, starts no thread, reads no clock and knows no browser.
//! A function that reads the device back is `async`; every other one only enqueues work.
//!
//! The life of a sentence: [`tokenizer`] → [`masking`] → [`batch`] → [`modernbert`] → [`loss`] → [`train_step`] →
//! [`weights`] → [`infer`] → [`report`].

pub mod answer;
pub mod batch;
#[cfg(feature = "model")]
pub mod bert;
pub mod config;
pub mod error;
#[cfg(feature = "model")]
pub mod export;
#[cfg(feature = "model")]
pub mod finetune;
pub mod header;
#[cfg(feature = "model")]
pub mod heads;
#[cfg(feature = "model")]
pub mod infer;
#[cfg(feature = "model")]
pub mod layers;
pub mod leaderboard;
#[cfg(feature = "model")]
pub mod loss;
pub mod masking;
pub mod metrics;
#[cfg(feature = "model")]
pub mod model;
#[cfg(feature = "model")]
pub mod modernbert;
#[cfg(feature = "model")]
pub mod optim;
pub mod plot;
pub mod report;
pub mod retrieval;
pub mod schedule;
pub mod tokenizer;
#[cfg(feature = "model")]
pub mod train_step;
#[cfg(feature = "model")]
pub mod weights;

pub use error::{Error, Result};
