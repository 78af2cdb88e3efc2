//! `anaume checkpoints`: what a run folder holds, whether it is whole, and making room.

use std::path::{Path, PathBuf};

use anaume_core::report::Record;
use anyhow::bail;
use serde::Serialize;

use crate::checkpoint::{list, load_state, lock, remove, verify};
use crate::exit::{Coded, Exit};
use crate::files::{require_dir, sorted_entries, sync_dir};
use crate::logs::read_metrics;
use crate::progress::{format_bytes, format_count};
use crate::run_record::METRICS;

/// Subcommands of `anaume checkpoints`.
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    /// List the checkpoints of a run with tokens seen, validation loss and size
    #[command(after_help = "Example:\n  anaume checkpoints list run/")]
    List {
        /// Run folder
        run: PathBuf,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Check every file of every checkpoint against its hash; exit code 3 if one is damaged
    #[command(after_help = "Example:\n  anaume checkpoints verify run/")]
    Verify {
        /// Run folder
        run: PathBuf,
    },
    /// Remove all but the newest checkpoints that are whole; damaged ones are left for you to look at
    #[command(after_help = "Example:\n  anaume checkpoints prune run/ --keep 3")]
    Prune {
        /// Run folder, in which no process trains
        run: PathBuf,
        /// Checkpoints to keep, at least one
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
        keep: u64,
    },
}

/// `anaume checkpoints …`.
pub fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::List { run, json } => print_list(run, *json),
        Command::Verify { run } => verify_all(run),
        Command::Prune { run, keep } => prune(run, *keep as usize),
    }
}

/// A line of the list.
#[derive(Serialize)]
struct Entry {
    step: u64,
    path: PathBuf,
    bytes: u64,
    /// None where `trainer.json` cannot be read.
    tokens: Option<u64>,
    /// The newest up to this step.
    validation_loss: Option<f64>,
}

fn print_list(run: &Path, json: bool) -> anyhow::Result<()> {
    let records = read_metrics(&run.join(METRICS)).unwrap_or_default();
    let entries = checkpoints(run)?.into_iter().map(|(step, path)| Entry::new(step, path, &records));
    let entries = entries.collect::<anyhow::Result<Vec<_>>>()?;
    if json {
        println!("{}", serde_json::to_string_pretty(&entries)?);
        return Ok(());
    }
    println!("{:>12} {:>16} {:>16} {:>12}", "step", "tokens", "validation loss", "size");
    for entry in &entries {
        let tokens = entry.tokens.map_or("damaged".to_owned(), format_count);
        let loss = entry.validation_loss.map_or("-".to_owned(), |loss| format!("{loss:.4}"));
        println!("{:>12} {tokens:>16} {loss:>16} {:>12}", format_count(entry.step), format_bytes(entry.bytes));
    }
    Ok(())
}

impl Entry {
    fn new(step: u64, path: PathBuf, records: &[Record]) -> anyhow::Result<Self> {
        let bytes = sorted_entries(&path)?.iter().filter_map(|file| Some(file.metadata().ok()?.len())).sum();
        let tokens = load_state(&path).ok().map(|state| state.tokens);
        let validation = |record: &Record| match record {
            Record::Validation(validation) if validation.step <= step => Some(validation.loss),
            _ => None,
        };
        let validation_loss = records.iter().rev().find_map(validation);
        Ok(Self { step, path, bytes, tokens, validation_loss })
    }
}

/// The checkpoints of a run folder, oldest first; an error if there are none.
fn checkpoints(run: &Path) -> anyhow::Result<Vec<(u64, PathBuf)>> {
    require_dir(run)?;
    let found = list(run)?;
    if found.is_empty() {
        bail!(Coded::error(Exit::Usage, format!("{} holds no checkpoints (folders `step-…`)", run.display())));
    }
    Ok(found)
}

fn verify_all(run: &Path) -> anyhow::Result<()> {
    let checkpoints = checkpoints(run)?;
    let mut num_damaged = 0;
    for (_, path) in &checkpoints {
        match verify(path) {
            Ok(_) => println!("{}  whole", path.display()),
            Err(cause) => {
                num_damaged += 1;
                println!("{}  DAMAGED: {cause:#}", path.display());
            }
        }
    }
    if num_damaged > 0 {
        let message =
            format!("{num_damaged} of {} checkpoints are damaged; --resume passes them over", checkpoints.len());
        bail!(Coded::error(Exit::Data, message));
    }
    Ok(())
}

fn prune(run: &Path, keep: usize) -> anyhow::Result<()> {
    let checkpoints = checkpoints(run)?;
    let _lock = lock(run)?;
    let (whole, damaged): (Vec<_>, Vec<_>) = checkpoints.iter().partition(|(_, path)| verify(path).is_ok());
    for (_, path) in damaged {
        eprintln!("warning: {} is damaged and left as it is", path.display());
    }
    for (_, path) in &whole[..whole.len().saturating_sub(keep)] {
        remove(path)?;
        println!("removed     {}", path.display());
    }
    sync_dir(run)
}
