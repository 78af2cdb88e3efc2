//! Figures of a results folder: `OUT/figures/NAME.{svg,png,csv}`.

use std::collections::BTreeSet;
use std::path::Path;

use anaume_core::plot::figures;
use anaume_core::report::eval::EvalReport;

use super::results::find_reports;
use crate::figures::write_figure;

/// Draws what concerns the tasks of `reports`, with whatever else the folder holds on them, and names the files on stderr.
pub fn draw(out: &Path, reports: &[EvalReport]) -> anyhow::Result<()> {
    let tasks: BTreeSet<&str> = reports.iter().flat_map(|report| report.results.keys()).map(String::as_str).collect();
    let all: Vec<EvalReport> = find_reports(&[out.to_owned()])?.into_iter().map(|(_, report)| report).collect();
    for named in figures(&all, |task| tasks.contains(task)) {
        let paths = write_figure(&out.join("figures"), &named.name, named.figure.as_ref())?;
        eprintln!("figure: {}", paths.png.display());
    }
    Ok(())
}
