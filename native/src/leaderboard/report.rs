//! `anaume report`: the results page with its data as one file that needs no server and no network. Its readable version
//! stands in it too, for who runs no scripts.

use std::path::PathBuf;

use anaume_core::plot::{self, NamedFigure, figures, loss_chart};

use super::{build, give, html, interactive, runs};
use crate::exit::{Coded, Exit};
use crate::logs::read_metrics;
use crate::run_record::METRICS;
use crate::site::assets::Assets;
use crate::site::library::{Library, result_paths};

/// Arguments of `anaume report`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Results folders and run folders, searched for results.json and metrics.jsonl
    #[arg(required = true)]
    pub results: Vec<PathBuf>,
    /// The page to write
    #[arg(long)]
    pub out: PathBuf,
    /// Folder of the built page instead of the one inside this program
    #[arg(long, value_name = "DIR")]
    pub page: Option<PathBuf>,
}

/// `anaume report …`.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let runs = runs(&args.results)?;
    let curves = training_curves(&args.results)?;
    if runs.is_empty() && curves.is_empty() {
        let message = format!("there is neither results.json nor {METRICS} below what was given");
        return Err(Coded::error(Exit::Usage, message));
    }
    let board = if runs.is_empty() { None } else { Some(build(&runs)?) };
    let mut all = figures(&runs, |_| true);
    if !curves.is_empty() {
        let figure = Box::new(loss_chart("学習曲線 (training curves)", &curves));
        all.push(NamedFigure { name: "loss".into(), task: None, figure });
    }
    let body = html::report_body(board.as_ref(), &all)?;
    give(&document(args, &body)?, Some(&args.out))
}

/// The page with its program where that was built, else the readable version alone.
fn document(args: &Args, body: &str) -> anyhow::Result<String> {
    let assets = match (&args.page, Assets::embedded()) {
        (Some(folder), _) => Assets::read(folder)?,
        (None, Ok(assets)) => assets,
        (None, Err(cause)) => {
            eprintln!("this report cannot be zoomed or searched: {cause}");
            return Ok(html::report(body));
        }
    };
    let library = Library::open(&args.results, &[])?;
    interactive::document(body, &assets, &library.index()?, &library.result_files()?)
}

/// The curves of every run below folders.
fn training_curves(folders: &[PathBuf]) -> anyhow::Result<Vec<plot::Run>> {
    let mut curves = Vec::new();
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        for path in result_paths(folder)?.iter().filter(|path| path.ends_with(METRICS)) {
            let name = path.parent().and_then(|run| run.file_name()).map(|name| name.to_string_lossy().into_owned());
            curves.push(plot::Run::from_records(name.unwrap_or_default(), &read_metrics(path)?));
        }
    }
    Ok(curves)
}
