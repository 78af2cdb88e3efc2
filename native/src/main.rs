//! `anaume`: Japanese ModernBERT on the command line.

#[macro_use]
mod say;

mod bench;
mod card;
mod checkpoint;
mod checkpoints;
mod cli;
mod dashboard;
mod data;
mod device;
mod doctor;
mod eval;
mod exit;
mod export;
mod figures;
mod files;
mod fill_mask;
mod host;
mod hub;
mod japanese;
mod launch;
mod leaderboard;
mod logs;
mod manifest;
mod memory;
mod merge;
mod model;
mod plan;
mod progress;
mod quickstart;
mod ranks;
mod recipe;
mod reduce;
mod resume;
mod run_record;
mod schema;
mod shard;
mod signals;
mod site;
mod tokenizer;
mod train;
mod verify;

use std::process::ExitCode;

fn main() -> ExitCode {
    if cfg!(target_os = "linux") && std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // Wayland's library, which Vulkan drivers load, reports its absence as an error on every start.
        // SAFETY: no other thread exists yet.
        unsafe { std::env::set_var("XDG_RUNTIME_DIR", std::env::temp_dir()) };
    }
    let filter = tracing_subscriber::EnvFilter::try_from_env("ANAUME_LOG")
        // A tensor library that reports what it compiles is noise to whoever trains a model.
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,cubecl=error,wgpu=error,naga=error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let cli = japanese::parse();
    tokenizer::set_mecab_dictionary(cli.mecab_dictionary);
    if cli.offline {
        hub::set_offline();
    }
    match cli.command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(exit::code_of(&error) as u8)
        }
    }
}
