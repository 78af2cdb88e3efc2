//! `native/src/data`, `files.rs` and `manifest.rs` with the tests inside them.
#![allow(dead_code, reason = "the program uses more of it")]

#[path = "../../../native/src/data/mod.rs"]
mod data;
#[path = "../../../native/src/exit.rs"]
mod exit;
#[path = "../../../native/src/files.rs"]
mod files;
#[path = "../../../native/src/manifest.rs"]
mod manifest;
#[path = "../../../native/src/shard.rs"]
mod shard;
#[path = "../../../native/src/signals.rs"]
mod signals;

/// The files here are local: none is downloaded.
mod hub {
    use std::path::{Path, PathBuf};

    pub fn data(path: &Path) -> anyhow::Result<PathBuf> {
        file(path)
    }

    pub fn file(path: &Path) -> anyhow::Result<PathBuf> {
        Ok(path.to_owned())
    }
}

/// The tests count with what they are given.
mod tokenizer {
    pub fn load(_: &std::path::Path) -> anyhow::Result<anaume_core::tokenizer::Tokenizer> {
        anyhow::bail!("there is no tokenizer here")
    }
}
