//! `anaume eval all`: every protocol that the data allows, for every model, in one plan that several machines can share.

use std::path::PathBuf;
use std::time::Duration;

use anaume_core::layers::Precision;
use anaume_core::report::FORMAT_VERSION;
use anaume_core::report::eval::{EvalReport, Plan, PlannedCell};

use super::results::{Cell, PLAN};
use super::subject::{self, Subject};
use super::{
    Common, Evaluation, alignment, config, draw, fill_mask, jglue, print, pseudo_perplexity, retrieval, run_one,
    similarity,
};
use crate::bench::matmul_peak;
use crate::device::Inference;
use crate::exit::{Coded, Exit};
use crate::files::{make_dir, write_atomic};
use crate::leaderboard;
use crate::plan::name;
use crate::progress::format_duration;
use crate::shard::ShardArgs;
use crate::signals::Interrupt;

/// Share of the measured matrix-product peak that an encoder reaches on long runs of short texts: only for the plan's times.
const EFFICIENCY: f64 = 0.4;
/// Characters of a token of Japanese text, where nothing was measured.
const CHARS_PER_TOKEN: f64 = 2.0;

/// Arguments of `anaume eval all`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  anaume eval all --model run/step-00100000 --model other/ --data data/ --out results/ --dry-run
  anaume eval all --model model/ --data data/ --out results/ --with 'jglue --task jsts --seeds 0,1,2' --with 'retrieval --limit 1746'
  anaume eval all --model model/ --data data/ --out part-3/ --shard-index 3 --num-shards 8   # then: anaume merge part-* --out results/

Fine-tuning (jglue) computes in f32 whatever --precision is.")]
pub struct Args {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub inference: Inference,
    /// Folder of the data [default: the built-in sets only]
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// Protocols to leave out: jglue, retrieval, pseudo-perplexity, alignment, similarity, fill-mask
    #[arg(long, value_delimiter = ',', value_parser = PROTOCOLS)]
    pub skip: Vec<String>,
    /// More arguments for one protocol, such as 'pseudo-perplexity --positions 20 --per-bin 10'
    #[arg(long = "with", value_name = "PROTOCOL ARGS")]
    pub with: Vec<String>,
    /// Print the plan with expected times, and stop
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub shard: ShardArgs,
}

const PROTOCOLS: [&str; 6] = ["fill-mask", "alignment", "similarity", "retrieval", "pseudo-perplexity", "jglue"];

/// `anaume eval all`: its part of the plan, then figures and the leaderboard of what the results folder holds.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let (shard, num_shards) = args.shard.resolve()?;
    let evaluations = evaluations(args)?;
    let ready = args.inference.open(&args.common.device)?;
    let models = args.common.models()?;
    let subjects = models
        .iter()
        .zip(subject::names(&models))
        .map(|(dir, name)| Subject::open(dir, &name, &ready, args.inference.precision));
    let subjects = subjects.collect::<anyhow::Result<Vec<_>>>()?;
    let peak = matmul_peak(&ready.device, Precision::F32)?;
    let mut plan = Plan { format_version: FORMAT_VERSION, cells: Vec::new() };
    for subject in &subjects {
        for evaluation in &evaluations {
            plan.cells.push(planned(args, subject, evaluation.as_ref(), peak)?);
        }
    }
    assign(&mut plan.cells, num_shards);
    if args.dry_run && args.common.json {
        println!("{}", serde_json::to_string_pretty(&plan)?);
        return Ok(());
    }
    print_plan(&plan, shard, num_shards);
    if args.dry_run {
        return Ok(());
    }
    make_dir(&args.common.out)?;
    write_atomic(&args.common.out.join(PLAN), (serde_json::to_string_pretty(&plan)? + "\n").as_bytes())?;
    let interrupt = Interrupt::listen()?;
    let mut reports = Vec::new();
    // Each model is dropped when it is done, so that only one is in memory.
    for (subject, cells) in subjects.into_iter().zip(plan.cells.chunks(evaluations.len().max(1))) {
        for (evaluation, _) in evaluations.iter().zip(cells).filter(|(_, cell)| cell.shard == shard) {
            reports.push(run_one(&args.common, &subject, evaluation.as_ref(), interrupt)?);
        }
    }
    conclude(&args.common, &reports)
}

/// Prints the reports, draws the figures and writes `leaderboard.md` and `leaderboard.html`.
fn conclude(common: &Common, reports: &[EvalReport]) -> anyhow::Result<()> {
    print(reports, common.json)?;
    draw::draw(&common.out, reports)?;
    let board = leaderboard::build(&leaderboard::load(std::slice::from_ref(&common.out))?)?;
    leaderboard::give(&leaderboard::text::markdown(&board), Some(&common.out.join("leaderboard.md")))?;
    leaderboard::give(&leaderboard::html::page(&board), Some(&common.out.join("leaderboard.html")))
}

/// Everything that the data allows, the quick protocols first.
fn evaluations(args: &Args) -> anyhow::Result<Vec<Box<dyn Evaluation>>> {
    check_protocols(args)?;
    let mut all = Vec::new();
    for protocol in PROTOCOLS.into_iter().filter(|protocol| !args.skip.iter().any(|skipped| skipped == protocol)) {
        all.extend(match protocol {
            "fill-mask" => fill_mask::evaluations(&typed(args, protocol, false)?)?,
            "alignment" => alignment::evaluations(&typed(args, protocol, true)?)?,
            "similarity" => similarity::evaluations(&typed(args, protocol, true)?)?,
            "retrieval" => retrieval::evaluations(&typed(args, protocol, true)?)?,
            _ if args.data.is_none() => {
                eprintln!("{protocol}: needs --data");
                Vec::new()
            }
            "pseudo-perplexity" => pseudo_perplexity::evaluations(&typed(args, protocol, true)?)?,
            _ => jglue::evaluations(&typed(args, protocol, true)?)?,
        });
    }
    Ok(all)
}

fn check_protocols(args: &Args) -> anyhow::Result<()> {
    let named = args.with.iter().map(|with| with.split_whitespace().next().unwrap_or_default());
    match named.into_iter().find(|name| !PROTOCOLS.contains(name)) {
        Some(name) => {
            let message = format!("--with begins with a protocol ({}), not with `{name}`", PROTOCOLS.join(", "));
            Err(Coded::error(Exit::Usage, message))
        }
        None => Ok(()),
    }
}

/// The arguments of a protocol as if the common ones, `--data` and those of `--with` had been typed.
fn typed<T: clap::Args>(args: &Args, protocol: &str, with_data: bool) -> anyhow::Result<T> {
    let mut words = vec![format!("anaume eval {protocol}")];
    let mut give = |name: &str, value: String| words.extend([format!("--{name}"), value]);
    args.common.model.iter().for_each(|model| give("model", model.display().to_string()));
    args.common.trajectory.iter().for_each(|run| give("trajectory", run.display().to_string()));
    give("out", args.common.out.display().to_string());
    give("seed", args.common.seed.to_string());
    give("bootstrap", args.common.bootstrap.to_string());
    if protocol != "jglue" {
        give("precision", name(args.inference.precision));
    }
    if let Some(data) = args.data.as_ref().filter(|_| with_data) {
        give("data", data.display().to_string());
    }
    let with = args.with.iter().map(|with| with.split_whitespace());
    words.extend(
        with.filter_map(|mut words| (words.next() == Some(protocol)).then_some(words)).flatten().map(Into::into),
    );
    let command = T::augment_args(clap::Command::new("eval").no_binary_name(false));
    let matches = command.try_get_matches_from(words).map_err(|cause| Coded::error(Exit::Usage, cause.to_string()))?;
    T::from_arg_matches(&matches).map_err(|cause| Coded::error(Exit::Usage, cause.to_string()))
}

fn planned(args: &Args, subject: &Subject, evaluation: &dyn Evaluation, peak: f64) -> anyhow::Result<PlannedCell> {
    let config = config(&args.common, evaluation);
    let cell = Cell::of(&args.common, subject, evaluation, &config)?;
    let flops = subject.config.encoder_flops_per_token(128);
    Ok(PlannedCell {
        model: subject.identity.name.clone(),
        task: evaluation.task(),
        cell: cell.name.clone(),
        shard: 0,
        done: !args.common.again && cell.finished.is_some(),
        seconds: evaluation.cost(CHARS_PER_TOKEN) * flops / (peak * EFFICIENCY),
        identity: Some(cell.identity),
    })
}

/// Gives every cell to a shard, the longest first, each to the shard with the least to do: the same on every machine whose
/// files are the same, whatever is done already.
fn assign(cells: &mut [PlannedCell], num_shards: usize) {
    let mut order: Vec<usize> = (0..cells.len()).collect();
    // Relative costs do not depend on the machine's speed; equal ones keep their order.
    order.sort_by(|a, b| cells[*b].seconds.total_cmp(&cells[*a].seconds));
    let mut loads = vec![0.0; num_shards];
    for index in order {
        let least = (0..num_shards).fold(0, |least, shard| if loads[shard] < loads[least] { shard } else { least });
        cells[index].shard = least;
        loads[least] += cells[index].seconds.max(f64::MIN_POSITIVE);
    }
}

fn print_plan(plan: &Plan, shard: usize, num_shards: usize) {
    let mut total = 0.0;
    for cell in plan.cells.iter().filter(|cell| cell.shard == shard) {
        let state = if cell.done { "done".to_owned() } else { format_duration(Duration::from_secs_f64(cell.seconds)) };
        eprintln!("{state:>9}  {} · {} {}", cell.model, cell.task, cell.cell);
        total += if cell.done { 0.0 } else { cell.seconds };
    }
    let total = format_duration(Duration::from_secs_f64(total));
    match num_shards {
        1 => eprintln!("{total:>9}  expected"),
        _ => eprintln!("{total:>9}  expected in part {shard} of {num_shards}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_has_one_shard_and_loads_are_even() {
        let cell = |seconds: f64| PlannedCell { seconds, ..PlannedCell::default() };
        let mut cells: Vec<_> = [9.0, 1.0, 4.0, 5.0, 0.0, 0.0, 2.0].map(cell).into();
        assign(&mut cells, 3);
        let load = |shard| cells.iter().filter(|cell| cell.shard == shard).map(|cell| cell.seconds).sum::<f64>();
        assert_eq!((0..3).map(load).collect::<Vec<_>>(), [9.0, 6.0, 6.0]);
    }
}
