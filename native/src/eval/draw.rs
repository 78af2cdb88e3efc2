//! Figures of a results folder: `OUT/figures/NAME.{svg,png,csv}`.

use std::collections::BTreeSet;
use std::path::Path;

use anaume_core::plot::figures;
use anaume_core::report::eval::EvalReport;

use crate::figures::write_figure;
use crate::leaderboard;

/// Draws what concerns the tasks of `reports`, with whatever else the folder holds on them, and names the files on stderr.
pub fn draw(out: &Path, reports: &[EvalReport]) -> anyhow::Result<()> {
    let tasks: BTreeSet<&str> = reports.iter().flat_map(|report| report.results.keys()).map(String::as_str).collect();
    for named in figures(&leaderboard::runs(&[out.to_owned()])?, |task| tasks.contains(task)) {
        let paths = write_figure(&out.join("figures"), &named.name, named.figure.as_ref())?;
        eprintln!("figure: {}", paths.png.display());
    }
    Ok(())
}
