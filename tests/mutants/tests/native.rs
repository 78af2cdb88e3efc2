//! `native/src/data`, `files.rs` and `manifest.rs` with the tests inside them.
#![allow(dead_code, reason = "the program uses more of it")]

#[path = "../../../native/src/say.rs"]
#[macro_use]
mod say;

#[path = "../../../native/src/data/mod.rs"]
mod data;
#[path = "../../../native/src/exit.rs"]
mod exit;
#[path = "../../../native/src/files.rs"]
mod files;
#[path = "../../../native/src/manifest.rs"]
mod manifest;
#[path = "../../../native/src/progress.rs"]
mod progress;
#[path = "../../../native/src/signals.rs"]
mod signals;
#[path = "../../../native/src/tokenizer.rs"]
mod tokenizer;

/// The files here are local: none is downloaded.
mod hub {
    use std::path::{Path, PathBuf};

    pub enum Part {
        Description,
    }

    pub fn data(path: &Path) -> anyhow::Result<PathBuf> {
        file(path)
    }

    pub fn file(path: &Path) -> anyhow::Result<PathBuf> {
        Ok(path.to_owned())
    }

    pub fn model(path: &Path, _: Part) -> anyhow::Result<PathBuf> {
        file(path)
    }
}
