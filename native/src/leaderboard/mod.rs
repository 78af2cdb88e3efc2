//! `anaume leaderboard`: the results of models as one table.

pub mod html;
mod interactive;
pub mod report;
pub mod text;

use std::path::{Path, PathBuf};

use anaume_core::leaderboard::compare::Samples;
use anaume_core::leaderboard::{Leaderboard, Run};
use anaume_core::report::eval::Sample;
use anyhow::Context;

use crate::eval::results::{SAMPLES, find_reports, read_samples};
use crate::exit::{Coded, Exit};
use crate::files::write_atomic;

/// Arguments of `anaume leaderboard`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Results folders, searched for results.json
    #[arg(required = true)]
    pub results: Vec<PathBuf>,
    /// How to write the table
    #[arg(long, value_enum, default_value_t = Format::Markdown)]
    pub format: Format,
    /// File to write instead of stdout
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Column that orders the rows: a metric, a task, TASK/METRIC or average [default: average, else the first column that has a best]
    #[arg(long, value_name = "METRIC|TASK")]
    pub sort: Option<String>,
    /// Split that chooses hyper-parameters; the test split cannot
    #[arg(long, value_enum, default_value_t = Split::Dev)]
    pub select: Split,
}

/// How a table is written.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
pub enum Format {
    /// GitHub's tables
    Markdown,
    /// One page without scripts or other files
    Html,
    /// A table environment for booktabs
    Latex,
    /// One line for each model and metric
    Csv,
    /// Everything, with the schema that `anaume schema leaderboard` prints
    Json,
}

/// Split that chooses hyper-parameters.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
pub enum Split {
    /// Development (validation) split
    Dev,
}

/// `anaume leaderboard …`.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let Split::Dev = args.select;
    let mut board = build(&load(&args.results)?)?;
    if let Some(by) = &args.sort {
        board.sort(Some(by)).map_err(|cause| Coded::error(Exit::Usage, cause.to_string()))?;
    }
    let text = match args.format {
        Format::Markdown => text::markdown(&board),
        Format::Html => html::page(&board),
        Format::Latex => text::latex(&board),
        Format::Csv => text::csv(&board),
        Format::Json => board.to_json(),
    };
    give(&text, args.out.as_deref())
}

/// Writes a result to a file, or to stdout.
pub fn give(text: &str, out: Option<&Path>) -> anyhow::Result<()> {
    match out {
        Some(path) => {
            write_atomic(path, text.as_bytes())?;
            eprintln!("{} written", path.display());
        }
        None => println!("{}", text.trim_end_matches('\n')),
    }
    Ok(())
}

/// Reads all results below folders, of which there may be none.
pub fn runs(folders: &[PathBuf]) -> anyhow::Result<Vec<Run>> {
    let run = |(path, report): (PathBuf, _)| Run { place: path.display().to_string(), report };
    Ok(find_reports(folders)?.into_iter().map(run).collect())
}

/// Reads all results below folders.
pub fn load(folders: &[PathBuf]) -> anyhow::Result<Vec<Run>> {
    let runs = runs(folders)?;
    if runs.is_empty() {
        let names: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
        return Err(Coded::error(Exit::Usage, format!("there is no results.json below {}", names.join(", "))));
    }
    Ok(runs)
}

/// Builds the table and tests the models against the best of each column.
pub fn build(runs: &[Run]) -> anyhow::Result<Leaderboard> {
    let mut board = Leaderboard::build(runs)?;
    let mut samples = Samples::new();
    for place in board.places() {
        if let Some(lines) = samples_beside(Path::new(place))? {
            samples.insert(place.to_owned(), lines);
        }
    }
    board.compare(&samples);
    Ok(board)
}

/// The predictions beside a report; `None` where there is no such file.
fn samples_beside(report: &Path) -> anyhow::Result<Option<Vec<Sample>>> {
    let path = report.with_file_name(SAMPLES);
    if !path.exists() {
        return Ok(None);
    }
    let parse = |(index, line)| {
        let sample = serde_json::from_value(line);
        sample.map_err(|cause| Coded::error(Exit::Data, format!("{}: line {}: {cause}", path.display(), index + 1)))
    };
    let lines = read_samples(report).with_context(|| path.display().to_string())?;
    lines.into_iter().enumerate().map(parse).collect::<anyhow::Result<_>>().map(Some)
}
