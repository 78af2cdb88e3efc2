//! Checkpoints against what happens to processes and disks: kills, leftovers, damage.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::cli::{
    anaume, binary, checkpoints, fail, outcome, path, pretrain, run_pretrain, succeed, text, wait_for, workshop,
};

/// A run with the checkpoints of steps 10 and 20.
fn run_to_20(dir: &TempDir) -> PathBuf {
    let run = dir.path().join("run");
    run_pretrain(&run, &["--stop-after", "20"]);
    run
}

/// Copies a folder with those in it.
pub fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// What a resume for no step says.
fn resume(run: &Path) -> String {
    let arguments = pretrain(run, &["--resume", "--stop-after", "10"]);
    let output = anaume(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let error = text(&output.stderr);
    assert!(output.status.success(), "{error}");
    error
}

#[test]
fn a_flipped_bit_in_any_file_makes_the_checkpoint_before_it_the_latest() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_to_20(&dir);
    let newest = run.join("step-00000020");
    let files: Vec<_> = fs::read_dir(&newest).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(files.len() >= 7, "{files:?}");
    for file in files {
        let damaged = dir.path().join("damaged");
        copy_dir(&run, &damaged);
        let target = damaged.join("step-00000020").join(&file);
        let mut bytes = fs::read(&target).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&target, bytes).unwrap();
        let said = resume(&damaged);
        let named = said.contains("passed over") && said.contains("step-00000020") && said.contains("at step 10");
        assert!(named, "{}: {said}", file.display());
        fs::remove_dir_all(&damaged).unwrap();
    }
}

#[test]
fn a_run_killed_200_times_ends_like_a_straight_one() {
    const KILLS: u64 = 200;
    let dir = tempfile::tempdir().unwrap();
    let often = ["--set", "checkpoint.every_steps=1", "--set", "train.max_steps=400"];
    let straight_run = dir.path().join("straight");
    let straight = outcome(&straight_run, &run_pretrain(&straight_run, &often));
    let killed_run = dir.path().join("killed");
    let arguments = pretrain(&killed_run, &[&often[..], &["--resume"]].concat());
    let mut kills = 0;
    for round in 0..KILLS {
        let mut child =
            Command::new(binary()).args(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Anywhere from its start to some steps later.
        std::thread::sleep(Duration::from_millis(round * 7919 % 450));
        kills += u64::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(kills > KILLS * 3 / 4, "{kills} of {KILLS} kills: the others came after the end");
    assert!(checkpoints(&killed_run).len() > 1, "no run got as far as a checkpoint");
    let resumed = outcome(&killed_run, &run_pretrain(&killed_run, &[&often[..], &["--resume"]].concat()));
    assert_eq!(straight, resumed);
    assert_eq!(leftovers(&killed_run), [""; 0]);
}

#[test]
fn a_folder_in_which_a_process_trains_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let arguments = pretrain(&run, &["--set", "train.max_steps=1000000"]);
    let mut child =
        Command::new(binary()).args(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(|| !checkpoints(&run).is_empty());
    let run_path = run.display().to_string();
    let second: Vec<_> = arguments.iter().map(String::as_str).chain(["--resume"]).collect();
    for refused in [&second[..], &["checkpoints", "prune", &run_path, "--keep", "1"]] {
        let error = fail(2, refused);
        assert!(error.contains("another process is training in"), "{error}");
    }
    assert!(child.try_wait().unwrap().is_none(), "the first run goes on");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn checkpoints_are_listed_checked_and_pruned() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    run_pretrain(&run, &["--set", "checkpoint.keep=0"]);
    let at = run.display().to_string();
    let listed: serde_json::Value = serde_json::from_str(&succeed(&["checkpoints", "list", &at, "--json"])).unwrap();
    let steps: Vec<_> = listed.as_array().unwrap().iter().map(|entry| entry["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [10, 20, 30, 40]);
    assert!(
        listed[3]["validation_loss"].as_f64().unwrap() > 0.0 && listed[3]["tokens"].as_u64() > Some(1000),
        "{listed}"
    );
    assert!(succeed(&["checkpoints", "verify", &at]).lines().all(|line| line.ends_with("  whole")));

    let weights = run.join("step-00000030/model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, bytes).unwrap();
    let error = fail(3, &["checkpoints", "verify", &at]);
    assert!(error.contains("1 of 4 checkpoints are damaged"), "{error}");
    // The newest two that are whole, and the damaged one.
    succeed(&["checkpoints", "prune", &at, "--keep", "2"]);
    let mut left = checkpoints(&run);
    left.sort();
    assert_eq!(left, ["step-00000020", "step-00000030", "step-00000040"]);
    assert!(resume(&run).contains("at step 40"));
    assert!(fail(2, &["checkpoints", "list", &path(dir.path(), "none")]).contains("none does not exist"));
}

/// What a run has half done in its folder: hidden entries but its lock.
pub fn leftovers(run: &Path) -> Vec<String> {
    let names = fs::read_dir(run).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with('.') && name != ".lock").collect()
}

#[test]
fn what_a_killed_process_left_is_put_in_place_or_removed() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_to_20(&dir);
    // Killed between the two renames that replace a checkpoint; while one was written; while one was removed.
    fs::create_dir(run.join(".step-00000020.abc")).unwrap();
    fs::rename(run.join("step-00000020"), run.join(".step-00000020.abc/new")).unwrap();
    copy_dir(&run.join("step-00000010"), &run.join(".step-00000030.def/new"));
    fs::remove_file(run.join(".step-00000030.def/new/manifest.json")).unwrap();
    copy_dir(&run.join("step-00000010"), &run.join(".removing-step-00000005"));
    let said = resume(&run);
    assert!(said.contains("at step 20"), "{said}");
    assert_eq!(leftovers(&run), [""; 0]);
}

#[test]
fn a_checkpoint_is_a_model_folder() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = path(&run_to_20(&dir), "step-00000020");
    let answer = anaume(&["fill-mask", "--model", &checkpoint, "お茶を[MASK]。"]);
    assert!(answer.status.success(), "{}", text(&answer.stderr));
}

#[test]
fn a_run_branches_off_into_a_new_folder_and_into_no_other_run() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_to_20(&dir);
    let straight = outcome(&run, &run_pretrain(&run, &["--resume"]));
    let older = path(&run, "step-00000020");
    let branch = dir.path().join("branch");
    let branched = outcome(&branch, &run_pretrain(&branch, &["--resume", &older]));
    assert_eq!(branched.0, straight.0);
    assert_eq!(branched.1, straight.1[20..]);
    let before = fs::read(branch.join("metrics.jsonl")).unwrap();
    let arguments = pretrain(&branch, &["--resume", &older]);
    let output = anaume(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert_eq!(fs::read(branch.join("metrics.jsonl")).unwrap(), before);
    assert!(branch.join("step-00000040").exists());
}

#[test]
fn a_lost_log_is_begun_anew_and_a_foreign_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_to_20(&dir);
    fs::write(run.join("metrics.jsonl"), "no log of this run").unwrap();
    let arguments = pretrain(&run, &["--resume", &path(&run, "step-00000010")]);
    let output = anaume(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(run.join("step-00000020").exists() && leftovers(&run).is_empty());
    fs::remove_file(run.join("metrics.jsonl")).unwrap();
    let resumed = outcome(&run, &run_pretrain(&run, &["--resume"]));
    assert_eq!(resumed.1.first().map(|(step, _)| *step), Some(21));
}

#[test]
fn a_validation_is_logged_once_however_often_a_run_stops_there() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    run_pretrain(&run, &["--stop-after", "0"]);
    run_pretrain(&run, &["--stop-after", "10", "--resume"]);
    run_pretrain(&run, &["--stop-after", "20", "--resume"]);
    let log = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let records = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let validated: Vec<_> = records
        .filter(|record| record["event"] == "validation")
        .map(|record| record["step"].as_u64().unwrap())
        .collect();
    assert_eq!(validated, [0, 10, 20]);
}

#[test]
fn a_run_has_the_same_bits_with_any_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    // Large enough that its matrix products are shared among threads.
    let model = path(dir.path(), "model");
    succeed(&["model", "init", "--preset", "mini", "--tokenizer", &path(workshop(), "tokenizer"), "--out", &model]);
    let run = |threads: usize| {
        let run = dir.path().join(threads.to_string());
        let mut arguments = pretrain(&run, &["--set", "train.max_steps=3", "--set", "data.max_length=256"]);
        let at = arguments.iter().position(|argument| argument == "--model").unwrap() + 1;
        arguments[at].clone_from(&model);
        let output =
            Command::new(binary()).args(&arguments).env("RAYON_NUM_THREADS", threads.to_string()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        outcome(&run, &text(&output.stdout))
    };
    let alone = run(1);
    for threads in [2, 3, 7] {
        assert_eq!(run(threads), alone, "{threads} threads");
    }
}
