//! Pretraining on a disk that fails: at every operation on a run folder the process is killed, the power goes, the disk is full, or
//! the disk refuses; what was acknowledged is there afterwards, and a resume ends like a run without a fault.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use anaume_tests::skip;

use crate::checkpoint::leftovers;
use crate::cli::{binary, outcome, pretrain, run_pretrain, text};

/// Two steps, a checkpoint after each, one of them kept: everything that a run does to its folder.
const RUN: [&str; 6] =
    ["--set", "train.max_steps=2", "--set", "checkpoint.every_steps=1", "--set", "checkpoint.keep=1"];

/// `faults/faults.c`, compiled; none where the system cannot load it before the C library.
fn faults() -> Option<&'static Path> {
    static FAULTS: OnceLock<Option<PathBuf>> = OnceLock::new();
    let made = FAULTS.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("faults/faults.c");
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-{}.so", std::process::id()));
        let compiler = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
        cfg!(all(target_os = "linux", target_env = "gnu")).then_some(())?;
        assert!(compiler.unwrap().success(), "faults.c does not compile");
        Some(library)
    });
    if made.is_none() {
        skip("faults are injected with glibc on Linux only");
    }
    made.as_deref()
}

/// A disk that does `what` at operation `at`; never at 0.
struct Disk<'a> {
    room: &'a Path,
    what: &'a str,
    at: usize,
    counts_reads: bool,
}

impl Disk<'_> {
    fn run(&self) -> PathBuf {
        self.room.join("run")
    }

    /// `anaume pretrain` into the run folder on this disk.
    fn pretrain(&self, more: &[&str]) -> Output {
        let lost = self.room.join("lost");
        fs::create_dir_all(&lost).unwrap();
        let mut command = Command::new(binary());
        command.args(pretrain(&self.run(), &[&RUN[..], more].concat())).env("LD_PRELOAD", faults().unwrap());
        command.env("FAULTS_UNDER", self.run()).env("FAULTS_LOG", self.log()).env("FAULTS_LOST", lost);
        command.env("FAULTS_DO", self.what).env("FAULTS_AT", self.at.to_string());
        // Two of them run side by side.
        command.env("RAYON_NUM_THREADS", "1");
        if self.counts_reads {
            command.env("FAULTS_READS", "1");
        }
        command.output().unwrap()
    }

    fn log(&self) -> PathBuf {
        self.room.join("operations")
    }

    /// What was done to the run folder so far, as `rename /step-00000001`.
    fn operations(&self) -> Vec<String> {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        log.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }

    /// The step of the newest checkpoint that was there for good before the fault: renamed, and its folder synced.
    fn acknowledged(&self) -> u64 {
        let mut operations = self.operations();
        operations.truncate(self.at.saturating_sub(1));
        let synced = operations.iter().rposition(|operation| operation == "fsync ").unwrap_or(0);
        let renamed = operations[..synced].iter().rev();
        renamed.filter_map(|done| done.strip_prefix("rename /step-")?.parse().ok()).next().unwrap_or(0)
    }
}

/// How many operations a run without a fault does, and how it ends.
fn straight(counts_reads: bool) -> (usize, (String, Vec<(u64, f64)>)) {
    let room = tempfile::tempdir().unwrap();
    let disk = Disk { room: room.path(), what: "nothing", at: 0, counts_reads };
    if counts_reads {
        run_pretrain(&disk.run(), &[&RUN[..], &["--stop-after", "1"]].concat());
    }
    let output = disk.pretrain(if counts_reads { &["--resume"] } else { &[] });
    assert!(output.status.success(), "{}", text(&output.stderr));
    (disk.operations().len(), outcome(&disk.run(), &text(&output.stdout)))
}

/// The number of a fault's operation goes from 1 to the last, two at a time.
fn at_every_operation(num_operations: usize, test: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(1);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at > num_operations {
                        return;
                    }
                    test(at);
                }
            });
        }
    });
}

/// Whatever a process said when its disk failed it.
fn assert_orderly(what: &str, output: &Output, context: &str) {
    use std::os::unix::process::ExitStatusExt;
    let said = text(&output.stderr);
    match what {
        "kill" | "power" => assert_eq!(output.status.signal(), Some(9), "{context}: {said}"),
        // What does not touch the run itself, such as removing an old checkpoint, may fail unseen.
        _ if output.status.success() => {}
        "enospc" => assert_eq!(output.status.code(), Some(5), "{context}: {said}"),
        _ => assert_eq!(output.status.code(), Some(1), "{context}: {said}"),
    }
    assert!(!said.contains("panicked"), "{context}: {said}");
}

/// A fault at every operation of a run; then a resume on a sound disk.
fn every_fault(what: &str) {
    let Some(_) = faults() else { return };
    let (num_operations, expected) = straight(false);
    assert!(num_operations > 80, "{num_operations} operations: the disk sees too few");
    at_every_operation(num_operations, |at| {
        let room = tempfile::tempdir().unwrap();
        let disk = Disk { room: room.path(), what, at, counts_reads: false };
        let output = disk.pretrain(&[]);
        let context = format!("{what} at {at}, {}", disk.operations().get(at - 1).cloned().unwrap_or_default());
        assert_orderly(what, &output, &context);
        let acknowledged = disk.acknowledged();
        let sound = Disk { at: 0, ..disk };
        let resumed = sound.pretrain(&["--resume"]);
        let said = text(&resumed.stderr);
        assert!(resumed.status.success(), "{context}: {said}");
        let from = said.split_once(" at step ").map_or(0, |(_, step)| step.lines().next().unwrap().parse().unwrap());
        assert!(from >= acknowledged, "{context}: resumed at step {from}, {acknowledged} was written: {said}");
        assert_eq!(outcome(&sound.run(), &text(&resumed.stdout)), expected, "{context}");
        assert_eq!(leftovers(&sound.run()), [""; 0], "{context}");
    });
    println!("{what}: at each of {num_operations} operations, nothing lost");
}

#[test]
fn a_process_killed_at_any_operation_loses_nothing() {
    every_fault("kill");
}

#[test]
fn power_that_goes_at_any_operation_loses_nothing_acknowledged() {
    every_fault("power");
}

#[test]
fn a_disk_that_is_full_from_any_operation_on_loses_nothing() {
    every_fault("enospc");
}

#[test]
fn a_disk_that_refuses_any_operation_loses_nothing() {
    every_fault("eio");
}

#[test]
fn a_disk_that_cannot_be_read_at_any_place_harms_no_checkpoint() {
    let Some(_) = faults() else { return };
    let (num_operations, expected) = straight(true);
    assert!(num_operations > 20, "{num_operations} operations: the disk sees too few");
    at_every_operation(num_operations, |at| {
        let room = tempfile::tempdir().unwrap();
        let disk = Disk { room: room.path(), what: "eio", at, counts_reads: true };
        run_pretrain(&disk.run(), &[&RUN[..], &["--stop-after", "1"]].concat());
        let output = disk.pretrain(&["--resume"]);
        let context = format!("eio at {at}, {}", disk.operations().get(at - 1).cloned().unwrap_or_default());
        assert!(!text(&output.stderr).contains("panicked"), "{context}: {}", text(&output.stderr));
        let resumed = Disk { at: 0, ..disk }.pretrain(&["--resume"]);
        assert!(resumed.status.success(), "{context}: {}", text(&resumed.stderr));
        assert_eq!(outcome(&room.path().join("run"), &text(&resumed.stdout)), expected, "{context}");
    });
    println!("eio: at each of {num_operations} opened files and reads of a resume, nothing lost");
}
