//! Training on several ranks, with MPI on this machine: the same bits whatever their number, and what happens to ranks that die, lag
//! or are not of one run.
//!
//! They need the program built with MPI beside the tests, as `anaume-mpi`, and mpirun; `tests/all.sh` builds it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::cli::{anaume, binary, checkpoints, outcome, path, pretrain, succeed, text, wait_for, workshop};

/// Rows one by one, so that there is a micro-batch for each of many ranks.
const EXACT: [&str; 4] = ["--reduction", "exact", "--set", "train.micro_batch_rows=1"];

/// The program with MPI, where it and mpirun are there, for one test at a time: ranks wait busily.
fn program() -> Option<(PathBuf, MutexGuard<'static, ()>)> {
    static TURN: Mutex<()> = Mutex::new(());
    let program = binary().with_file_name("anaume-mpi");
    let mpirun = Command::new("mpirun").arg("--version").stdout(Stdio::null()).status();
    if program.exists() && mpirun.is_ok_and(|status| status.success()) {
        return Some((program, TURN.lock().unwrap_or_else(PoisonError::into_inner)));
    }
    println!("skipped: no mpirun, or no {}: see tests/all.sh", program.display());
    None
}

/// What starts something on this machine however many cores it has, whoever this is.
fn with_open_mpi(command: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(command);
    let as_root = ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"];
    // More ranks than cores: who waits lets the others work.
    let crowded = ["OMPI_MCA_rmaps_base_oversubscribe", "OMPI_MCA_mpi_yield_when_idle"];
    command.envs(as_root.into_iter().chain(crowded).map(|name| (name, "1")));
    command.envs([("RAYON_NUM_THREADS", "1"), ("LC_ALL", "C")]);
    command
}

/// Ranks that are given the same arguments.
fn mpirun(program: &Path, ranks: usize, arguments: &[String]) -> Command {
    let mut command = with_open_mpi("mpirun");
    command.args(["--bind-to", "none", "-n", &ranks.to_string()]).arg(program).args(arguments);
    command
}

fn run(mut command: Command) -> Output {
    command.output().unwrap()
}

fn code(output: &Output, expected: i32) -> String {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(expected), "{error}");
    error
}

/// What a run of so many ranks comes to.
fn trained(program: &Path, ranks: usize, run_dir: &Path, more: &[&str]) -> (String, Vec<(u64, f64)>) {
    let output = run(mpirun(program, ranks, &pretrain(run_dir, more)));
    code(&output, 0);
    outcome(run_dir, &text(&output.stdout))
}

#[test]
fn any_number_of_ranks_gives_the_same_bits() {
    let Some((program, _turn)) = program() else { return };
    let dir = tempfile::tempdir().unwrap();
    let arguments = [&EXACT[..], &["--stop-after", "12"]].concat();
    let alone = dir.path().join("alone");
    let output = succeed(&pretrain(&alone, &arguments).iter().map(String::as_str).collect::<Vec<_>>());
    let expected = outcome(&alone, &output);
    assert_eq!(expected.1.len(), 12);
    for ranks in 1..=4 {
        let run = dir.path().join(ranks.to_string());
        assert_eq!(trained(&program, ranks, &run, &arguments), expected, "{ranks} ranks");
        let sharded = dir.path().join(format!("sharded-{ranks}"));
        let arguments = [&arguments[..], &["--set", "train.shard_optimizer=true"]].concat();
        assert_eq!(trained(&program, ranks, &sharded, &arguments), expected, "{ranks} ranks with a part each");
        for file in ["model.safetensors", "optimizer.safetensors"] {
            let of = |run: &Path| fs::read(run.join("step-00000012").join(file)).unwrap();
            assert!(of(&alone) == of(&run) && of(&alone) == of(&sharded), "{file} of {ranks} ranks");
        }
    }
}

/// Losses and gradient norms of the steps of a run.
fn losses_and_norms(run_dir: &Path) -> Vec<f64> {
    let log = fs::read_to_string(run_dir.join("metrics.jsonl")).unwrap();
    let records = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let steps = records.filter(|record| record["event"] == "step");
    steps.flat_map(|step| ["loss", "grad_norm"].map(|name| step[name].as_f64().unwrap())).collect()
}

#[test]
fn fast_sums_differ_by_rounding_alone() {
    let Some((program, _turn)) = program() else { return };
    let dir = tempfile::tempdir().unwrap();
    let numbers = |name: &str, ranks: usize, reduction: &str| {
        let arguments = ["--reduction", reduction, "--set", "train.micro_batch_rows=1", "--stop-after", "12"];
        let run_dir = dir.path().join(name);
        trained(&program, ranks, &run_dir, &arguments);
        losses_and_norms(&run_dir)
    };
    let exact = numbers("exact", 2, "exact");
    for (reduction, tolerance) in [("fast", 1e-5), ("fast-f16", 1e-3)] {
        for ranks in [1, 2, 3] {
            let fast = numbers(&format!("{reduction}-{ranks}"), ranks, reduction);
            assert_eq!(fast.len(), exact.len());
            let difference = fast.iter().zip(&exact).map(|(a, b)| (a / b - 1.0).abs()).fold(0.0, f64::max);
            assert!(difference <= tolerance, "{reduction}, {ranks} ranks: {difference:e}");
        }
    }
}

/// Starts a script of `anaume launch mpirun` that trains for long, and waits until it has logged so many steps.
fn launched(program: &Path, dir: &Path, run_dir: &Path, ranks: usize, steps: usize) -> Child {
    let script = dir.join("train.sh");
    let arguments = pretrain(run_dir, &[&EXACT[..], &["--set", "checkpoint.every_steps=4"]].concat());
    let gpus = ranks.to_string();
    let launch = ["launch", "mpirun", "--gpus", &gpus, "--"].into_iter().chain(arguments.iter().map(String::as_str));
    fs::write(&script, succeed(&launch.collect::<Vec<_>>())).unwrap();
    let mut command = with_open_mpi("bash");
    let command = command.arg(&script).env("ANAUME", program).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    wait_for(|| steps_of(run_dir) >= steps);
    child
}

fn steps_of(run_dir: &Path) -> usize {
    fs::read_to_string(run_dir.join("metrics.jsonl")).unwrap_or_default().matches("\"event\":\"step\"").count()
}

/// Processes that train into a folder.
fn ranks_in(run_dir: &Path) -> Vec<u32> {
    let words = run_dir.display().to_string();
    let processes =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_rank = |process: &u32| {
        let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        let line: Vec<_> = line.split(|byte| *byte == 0).collect();
        line.first().is_some_and(|program| program.ends_with(b"anaume-mpi")) && line.contains(&words.as_bytes())
    };
    let mut ranks: Vec<u32> = processes.filter(is_rank).collect();
    ranks.sort_unstable();
    ranks
}

fn signal(name: &str, process: u32) {
    let status = Command::new("kill").args([format!("-{name}"), process.to_string()]).status();
    assert!(status.unwrap().success());
}

/// What a run comes to that nothing disturbs.
fn undisturbed(program: &Path, dir: &Path) -> (String, Vec<(u64, f64)>) {
    trained(program, 2, &dir.join("undisturbed"), &EXACT)
}

#[test]
fn a_rank_that_dies_ends_the_job_with_75_and_any_number_of_ranks_goes_on() {
    let Some((program, _turn)) = program() else { return };
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    for (ranks, victim, steps) in [(3, 1, 6), (2, 0, 14), (4, 3, 22)] {
        let job = launched(&program, dir.path(), &run_dir, ranks, steps);
        let processes = ranks_in(&run_dir);
        assert_eq!(processes.len(), ranks);
        signal("KILL", processes[victim]);
        code(&job.wait_with_output().unwrap(), 75);
        assert!(ranks_in(&run_dir).is_empty() && !checkpoints(&run_dir).is_empty());
    }
    let resumed = trained(&program, 1, &run_dir, &[&EXACT[..], &["--resume"]].concat());
    assert_eq!(resumed, undisturbed(&program, dir.path()));
}

#[test]
fn a_job_that_is_asked_to_end_writes_a_checkpoint() {
    let Some((program, _turn)) = program() else { return };
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    let job = launched(&program, dir.path(), &run_dir, 2, 6);
    signal("TERM", job.id());
    let said = code(&job.wait_with_output().unwrap(), 75);
    assert_eq!(said.matches("interrupted at step").count(), 1, "{said}");
    let steps = steps_of(&run_dir);
    assert!(checkpoints(&run_dir).contains(&format!("step-{steps:08}")), "{steps} steps: {said}");
    let resumed = trained(&program, 3, &run_dir, &[&EXACT[..], &["--resume"]].concat());
    assert_eq!(resumed, undisturbed(&program, dir.path()));
}

#[test]
fn a_rank_that_lags_changes_nothing() {
    let Some((program, _turn)) = program() else { return };
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    let mut command = mpirun(&program, 3, &pretrain(&run_dir, &EXACT));
    let job = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    for (rank, steps) in [(2, 3), (0, 12)] {
        wait_for(|| steps_of(&run_dir) >= steps);
        let process = ranks_in(&run_dir)[rank];
        signal("STOP", process);
        sleep(Duration::from_secs(1));
        signal("CONT", process);
    }
    let output = job.wait_with_output().unwrap();
    code(&output, 0);
    assert_eq!(outcome(&run_dir, &text(&output.stdout)), undisturbed(&program, dir.path()));
}

#[test]
fn ranks_of_different_runs_are_refused_with_names() {
    let Some((program, _turn)) = program() else { return };
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    let other = path(dir.path(), "other");
    succeed(&[
        "model",
        "init",
        "--preset",
        "tiny",
        "--seed",
        "7",
        "--tokenizer",
        &path(workshop(), "tokenizer"),
        "--out",
        &other,
    ]);
    let ours = pretrain(&run_dir, &EXACT);
    let with = |more: &[&str]| {
        let mut command = mpirun(&program, 1, &ours);
        command.args([":", "-n", "1"]).arg(&program).args(&ours).args(more);
        run(command)
    };
    let refused = code(&with(&["--set", "optim.lr=0.5", "--set", "train.seed=7"]), 2);
    for words in
        ["recipe.optim.lr is 0.5 on rank 1", "0.001 on rank 0", "recipe.train.seed is 7 on rank 1", "Start all with"]
    {
        assert!(refused.contains(words), "{words}: {refused}");
    }
    assert_eq!(refused.matches("error: ").count(), 1, "{refused}");
    // The last of two options counts.
    let mut command = mpirun(&program, 1, &ours);
    let mut theirs = ours.clone();
    let at = theirs.iter().position(|argument| argument == "--model").unwrap() + 1;
    theirs[at] = other;
    command.args([":", "-n", "1"]).arg(&program).args(&theirs);
    assert!(code(&run(command), 2).contains("parameters is"));
    assert!(code(&with(&["--stop-after", "3"]), 2).contains("stop_after is 3 on rank 1"));
    assert!(checkpoints(&run_dir).is_empty() && !run_dir.join("metrics.jsonl").exists());
}

#[test]
fn an_error_of_one_rank_ends_all_with_its_code_and_name() {
    let Some((program, _turn)) = program() else { return };
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    let ours = pretrain(&run_dir, &EXACT);
    let mut theirs = ours.clone();
    let at = theirs.iter().position(|argument| argument == "--data").unwrap() + 1;
    theirs[at] = path(dir.path(), "nosuch");
    let mut command = mpirun(&program, 1, &ours);
    command.args([":", "-n", "1"]).arg(&program).args(&theirs);
    let output = run(command);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("rank 1 of 2") && said.contains("nosuch"), "{said}");
    let diverged =
        pretrain(&run_dir, &[&EXACT[..], &["--set", "optim.lr=1e30", "--set", "schedule.warmup_steps=0"]].concat());
    let said = code(&run(mpirun(&program, 3, &diverged)), 4);
    assert!(said.contains("Documents of the batch: food") && said.matches("error: ").count() == 1, "{said}");
}

#[test]
fn an_error_that_the_others_do_not_know_of_ends_them_with_its_code() {
    let Some((program, _turn)) = program() else { return };
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    let long = ["--set", "train.max_steps=1000", "--set", "checkpoint.every_steps=200"];
    let mut command = mpirun(&program, 3, &pretrain(&run_dir, &[&EXACT[..], &long].concat()));
    let job = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(|| steps_of(&run_dir) >= 1);
    // Where the checkpoint is to be.
    fs::write(run_dir.join("step-00000200"), "no folder").unwrap();
    let said = code(&job.wait_with_output().unwrap(), 2);
    assert!(said.contains("rank 0 of 3") && said.contains("is not a folder"), "{said}");
    assert!(ranks_in(&run_dir).is_empty());
}

#[test]
fn a_program_without_mpi_refuses_to_be_one_of_several() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = pretrain(&dir.path().join("run"), &[]);
    for variables in [["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"], ["RANK", "WORLD_SIZE"]] {
        let variables = variables.into_iter().zip(["0", "2"]);
        let output = Command::new(binary()).args(&arguments).env("LC_ALL", "C").envs(variables).output().unwrap();
        let said = code(&output, 2);
        assert!(said.contains("rank 0 of 2") && said.contains("--features mpi"), "{said}");
    }
    assert!(!dir.path().join("run").exists());
}

/// Whether a tool is there; counted as skipped if not.
fn has(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let found = found.is_ok_and(|status| status.success());
    if !found {
        println!("skipped: no {tool}");
    }
    found
}

fn launch(launcher: &str) -> String {
    let names = ["--nodes", "3", "--gpus", "2", "--name", "train-1", "--"];
    let training = ["--recipe", "train", "--data", "my data/", "--model", "m", "--out", "it's"];
    succeed(&[&["launch", launcher][..], &names, &training].concat())
}

#[test]
fn launch_files_are_what_their_linters_want() {
    let dir = tempfile::tempdir().unwrap();
    for launcher in ["mpirun", "slurm"] {
        let script = launch(launcher);
        assert!(script.contains(r"--data 'my data/' --model m --out 'it'\''s' --resume"), "{script}");
        let file = dir.path().join(launcher);
        fs::write(&file, &script).unwrap();
        let checked = Command::new("bash").arg("-n").arg(&file).output().unwrap();
        assert!(checked.status.success(), "{}", text(&checked.stderr));
        if has("shellcheck") {
            let checked = Command::new("shellcheck").args(["--shell", "bash"]).arg(&file).output().unwrap();
            assert!(checked.status.success(), "{}", text(&checked.stdout));
        }
    }
    let slurm = launch("slurm");
    for line in ["--nodes=3", "--ntasks-per-node=2", "--gpus-per-node=2", "--requeue", "--signal=TERM@120"] {
        assert!(slurm.lines().any(|written| written == format!("#SBATCH {line}")), "{line}: {slurm}");
    }
    assert!(launch("mpirun").contains("-n 6 --map-by ppr:2:node"));
}

#[test]
fn a_kubernetes_manifest_has_pods_as_kubernetes_has_them() {
    let Some(validator) = std::env::var_os("ANAUME_KUBERNETES_VALIDATE") else {
        println!("skipped: no ANAUME_KUBERNETES_VALIDATE: see tests/all.sh");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("train.yaml");
    fs::write(&file, launch("kubernetes")).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/kubernetes.py");
    let output = Command::new("python3").arg(script).arg(&file).env("PYTHONPATH", validator).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let pods: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&pods["Launcher"]["replicas"], &pods["Worker"]["replicas"]), (&1.into(), &3.into()));
    let script = pods["Launcher"]["script"].as_str().unwrap();
    assert_eq!(script, launch("mpirun"));
}

#[test]
fn launch_refuses_what_pretrain_would() {
    let refused = |arguments: &[&str]| {
        let output = anaume(&[&["launch", "mpirun", "--"], arguments].concat());
        code(&output, 2)
    };
    assert!(refused(&["--recipe", "train", "--dat", "d"]).contains("--dat"));
    assert!(
        refused(&["--recipe", "train", "--data", "d\ne", "--model", "m", "--out", "o"]).contains("control character")
    );
}
