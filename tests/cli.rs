//! The commands as a user types them: answers, files, exit codes, messages.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

/// The binary that was built beside these tests.
pub fn binary() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().unwrap().parent().unwrap().join("anaume");
    assert!(path.exists(), "{} is missing: build it with cargo build --release", path.display());
    path
}

pub fn anaume(arguments: &[&str]) -> Output {
    Command::new(binary()).env("LC_ALL", "C").args(arguments).output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs a command that must succeed; its standard output.
pub fn succeed(arguments: &[&str]) -> String {
    let output = anaume(arguments);
    assert!(output.status.success(), "anaume {arguments:?}: {}\n{}", output.status, text(&output.stderr));
    text(&output.stdout)
}

/// Runs a command that must fail with this exit code; its standard error.
pub fn fail(exit: i32, arguments: &[&str]) -> String {
    let output = anaume(arguments);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "anaume {arguments:?}: {error}");
    error
}

pub fn path(dir: &Path, name: &str) -> String {
    dir.join(name).display().to_string()
}

/// A folder with a tokenizer, data and a tiny model, made once by the commands themselves.
pub fn workshop() -> &'static Path {
    static WORKSHOP: OnceLock<tempfile::TempDir> = OnceLock::new();
    WORKSHOP
        .get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            let at = |name| path(dir.path(), name);
            let corpus = path(Path::new(env!("CARGO_MANIFEST_DIR")), "../public/corpus/food.jsonl");
            succeed(&["tokenizer", "train", &corpus, "--vocab-size", "1000", "--out", &at("tokenizer")]);
            succeed(&["data", "prepare", &corpus, "--test-documents", "3", "--out", &at("data")]);
            succeed(&["model", "init", "--preset", "tiny", "--tokenizer", &at("tokenizer"), "--out", &at("model")]);
            dir
        })
        .path()
}

/// `anaume pretrain` of the workshop's model into `run`, with more arguments.
pub fn pretrain(run: &Path, more: &[&str]) -> Vec<String> {
    let at = |name| path(workshop(), name);
    let fixed = ["pretrain", "--recipe", "tiny", "--device", "cpu", "--data", &at("data"), "--model", &at("model")];
    let run = run.display().to_string();
    fixed.iter().chain(&["--out", &run]).chain(more).map(|argument| (*argument).to_owned()).collect()
}

pub fn run_pretrain(run: &Path, more: &[&str]) -> String {
    let arguments = pretrain(run, more);
    succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// What a run is: its final parameters and the losses of all steps.
pub fn outcome(run: &Path, stdout: &str) -> (String, Vec<(u64, f64)>) {
    let hash = stdout.lines().last().unwrap().strip_prefix("parameters blake3 ").unwrap().to_owned();
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let records = metrics.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let losses = records
        .filter(|record| record["event"] == "step")
        .map(|record| (record["step"].as_u64().unwrap(), record["loss"].as_f64().unwrap()))
        .collect();
    (hash, losses)
}

#[test]
fn a_run_resumed_twice_equals_a_straight_run() {
    let dir = tempfile::tempdir().unwrap();
    // Few documents and many steps: the run crosses epoch borders.
    let straight_run = dir.path().join("straight");
    let straight = outcome(&straight_run, &run_pretrain(&straight_run, &[]));
    assert_eq!(straight.1.len(), 40);
    let resumed_run = dir.path().join("resumed");
    run_pretrain(&resumed_run, &["--stop-after", "17"]);
    run_pretrain(&resumed_run, &["--stop-after", "29", "--resume", "--set", "data.num_threads=2"]);
    let resumed = outcome(&resumed_run, &run_pretrain(&resumed_run, &["--resume"]));
    assert_eq!(straight, resumed);
    let metrics = std::fs::read_to_string(straight_run.join("metrics.jsonl")).unwrap();
    assert!(metrics.contains("\"epoch\":1"), "the run stays inside an epoch");
    let state = |run: &Path| std::fs::read(run.join("step-00000040/optimizer.safetensors")).unwrap();
    assert_eq!(state(&straight_run), state(&resumed_run));
}

#[test]
fn a_signal_leaves_a_checkpoint_and_exit_code_75() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    // A scheduler's pair of signals means one orderly end too.
    for (session, signals) in [&["TERM"][..], &["INT"], &["USR1"], &["USR1", "TERM"]].iter().enumerate() {
        let arguments = pretrain(&run, &["--resume", "--set", "train.max_steps=100000"]);
        let child =
            Command::new(binary()).args(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        // This session has logged a step, so it listens.
        wait_for(|| {
            let log = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
            let starts = log.matches("\"event\":\"start\"").count();
            starts == session + 1 && log.lines().last().is_some_and(|line| line.contains("\"event\":\"step\""))
        });
        for signal in *signals {
            let kill = format!("kill -{signal} {}", child.id());
            assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        }
        let output = child.wait_with_output().unwrap();
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(75), "{signals:?}: {error}");
        assert!(error.contains("interrupted at step") && error.contains("--resume"), "{error}");
        assert!(!checkpoints(&run).is_empty());
    }
}

/// Names of the checkpoints in a run folder.
pub fn checkpoints(run: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(run).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| name.starts_with("step-")).collect()
}

/// Waits until something holds.
pub fn wait_for(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(120), "nothing happened for two minutes");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_diverged_run_stops_with_exit_code_4_and_names_documents() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let huge = ["--set", "optim.lr=1e30", "--set", "schedule.warmup_steps=0"];
    let arguments = pretrain(&run, &huge);
    let error = fail(4, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(error.contains("Documents of the batch: food"), "{error}");
    let skipping = dir.path().join("skipping");
    let arguments = [&huge[..], &["--on-nonfinite", "skip", "--stop-after", "4"]].concat();
    run_pretrain(&skipping, &arguments);
    assert!(std::fs::read_to_string(skipping.join("metrics.jsonl")).unwrap().contains("\"skipped\":true"));
}

#[test]
fn a_run_folder_in_use_or_finished_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    run_pretrain(&run, &["--stop-after", "2"]);
    let arguments = pretrain(&run, &[]);
    let error = fail(2, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(error.contains("--resume"), "{error}");
    let arguments = pretrain(&run, &["--resume", "--set", "train.seed=7"]);
    let error = fail(2, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(error.contains("another model, tokenizer, data, seed"), "{error}");
}

#[test]
fn a_wrong_recipe_key_is_named_with_its_place_and_the_nearest_key() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |more: &[&str]| {
        let arguments = pretrain(&dir.path().join("run"), &[more, &["--dry-run"]].concat());
        fail(2, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    for (assignment, expected) in [
        ("train.max_step=3", "unknown key `max_step`; did you mean `train.max_steps`?"),
        ("train.lr=1", "unknown key `lr`; did you mean `optim.lr`?"),
        ("optm.lr=1", "unknown key `optm`; did you mean `optim`?"),
        ("train.max_steps=four", "--set train.max_steps=four: invalid type"),
        ("data.random_share=-0.1", "data.random_share"),
    ] {
        let error = refused(&["--set", assignment]);
        assert!(error.contains(expected), "{assignment}: {error}");
    }
    let recipe = path(dir.path(), "recipe.toml");
    std::fs::write(&recipe, "[train]\nmax_steps = 3\nbatch_row = 2\n").unwrap();
    let [data, model] = ["data", "model"].map(|name| path(workshop(), name));
    let own = ["pretrain", "--recipe", &recipe, "--data", &data, "--model", &model, "--out", "never"];
    assert!(fail(2, &own).contains("recipe.toml, line 3: unknown key `batch_row`; did you mean `train.batch_rows`?"));
    let missing = path(dir.path(), "nosuch.toml");
    assert!(fail(2, &[&own[..2], &[&missing], &own[3..]].concat()).contains("built in: quickstart, tiny"));
}

#[test]
fn a_dry_run_prints_the_plan_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let plan: Value = serde_json::from_str(&run_pretrain(&run, &["--dry-run", "--json"])).unwrap();
    assert_eq!(plan["recipe"]["train"]["max_steps"], 40);
    assert_eq!(plan["tokens_per_step"], 8 * 64);
    assert!(plan["memory_bytes"].as_u64().unwrap() > 0);
    assert!(!run.exists());
}

#[test]
fn fill_mask_answers_for_every_model_text_and_mask() {
    let model = path(workshop(), "model");
    let texts = ["朝ご飯に[MASK]を食べて、{mask_str}を飲む。", "今日は[MASK]だ。"];
    let answer =
        succeed(&["fill-mask", "--model", &model, "--model", &model, texts[0], texts[1], "--top-k", "3", "--json"]);
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let models = answer["models"].as_array().unwrap();
    assert_eq!(models.len(), 2);
    assert_eq!(models[0]["texts"], models[1]["texts"]);
    let masks = models[0]["texts"][0]["masks"].as_array().unwrap();
    assert_eq!(masks.len(), 2);
    assert_eq!(masks[0].as_array().unwrap().len(), 3);
    let first = &masks[0][0];
    assert!(first["token"].is_string() && first["token_id"].is_u64() && first["probability"].as_f64().unwrap() > 0.0);
    assert!(fail(3, &["fill-mask", "--model", &model, "マスクなし"]).contains("no mask"));
}

#[test]
fn encode_gives_ids_and_offsets_in_characters() {
    let tokenizer = path(workshop(), "tokenizer");
    let answer: Value =
        serde_json::from_str(&succeed(&["tokenizer", "encode", &tokenizer, "お茶を飲む", "--json"])).unwrap();
    let encoding = &answer["encodings"][0];
    let ids = encoding["input_ids"].as_array().unwrap();
    assert_eq!((ids[0].as_u64(), ids[ids.len() - 1].as_u64()), (Some(5), Some(6)));
    assert_eq!(encoding["offsets"].as_array().unwrap().len(), ids.len());
    assert_eq!(encoding["offsets"][ids.len() - 2][1], 5);
}

#[test]
fn embed_writes_one_vector_a_text() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("texts.txt");
    std::fs::write(&input, "りんごを食べる\nお茶を飲む\n").unwrap();
    let (model, input) = (path(workshop(), "model"), input.display().to_string());
    for (name, size) in [("v.npy", 128 + 2 * 64 * 4), ("v.safetensors", 0), ("v.jsonl", 0)] {
        let out = path(dir.path(), name);
        succeed(&["embed", "--model", &model, "--input", &input, "--out", &out]);
        let bytes = std::fs::read(&out).unwrap();
        assert!(size == 0 || bytes.len() == size, "{name}: {} bytes", bytes.len());
    }
    fail(2, &["embed", "--model", &model, "--input", &input, "--out", &path(dir.path(), "v.csv")]);
}

/// A copy of the workshop's model with one file changed.
fn damaged(dir: &Path, file: &str, change: impl Fn(Vec<u8>) -> Vec<u8>) -> String {
    let copy = dir.join("damaged");
    std::fs::create_dir_all(&copy).unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        let bytes = std::fs::read(workshop().join("model").join(name)).unwrap();
        std::fs::write(copy.join(name), if name == file { change(bytes) } else { bytes }).unwrap();
    }
    copy.display().to_string()
}

#[test]
fn damaged_model_files_are_named_and_exit_3() {
    type Change = fn(Vec<u8>) -> Vec<u8>;
    let cases: [(&str, &str, Change); 5] = [
        ("model.safetensors", "truncated", |bytes| bytes[..bytes.len() - 10].to_vec()),
        ("model.safetensors", "claims", |mut bytes| {
            bytes[..8].copy_from_slice(&(1_u64 << 60).to_le_bytes());
            bytes
        }),
        ("model.safetensors", "is NaN", |mut bytes| {
            let end = bytes.len();
            bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
            bytes
        }),
        ("config.json", "vocab_size", |bytes| {
            text(&bytes).replace("\"vocab_size\": 1000", "\"vocab_size\": 900").into_bytes()
        }),
        ("config.json", "hidden_size", |bytes| {
            text(&bytes).replace("\"hidden_size\": 64", "\"hidden_size\": 65").into_bytes()
        }),
    ];
    for (file, expected, change) in cases {
        let dir = tempfile::tempdir().unwrap();
        let model = damaged(dir.path(), file, change);
        let error = fail(3, &["fill-mask", "--model", &model, "今日は[MASK]だ。"]);
        assert!(error.contains(expected) && error.contains("damaged"), "{file}: {error}");
    }
}

#[test]
fn bad_data_is_named_by_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let out = path(dir.path(), "out");
    let cases: [(&str, &[u8], &str); 4] = [
        ("column.jsonl", b"{\"text\": \"a\"}\n{\"body\": \"b\"}\n", "column.jsonl:2: no column `text`"),
        ("utf8.jsonl", b"{\"text\": \"a\"}\n{\"text\": \"\xff\"}\n", "utf8.jsonl:2: "),
        ("broken.jsonl.gz", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03broken", "broken.jsonl.gz"),
        ("json.jsonl", b"{\"text\": \n", "json.jsonl:1: "),
    ];
    for (name, bytes, expected) in cases {
        let input = dir.path().join(name);
        std::fs::write(&input, bytes).unwrap();
        let error = fail(3, &["data", "prepare", &input.display().to_string(), "--out", &out]);
        assert!(error.contains(name) && error.contains(expected), "{name}: {error}");
        assert!(!Path::new(&out).exists(), "{name} left something behind");
    }
}

#[test]
fn help_lists_only_what_exists_and_every_command_has_an_example() {
    let help = succeed(&["--help"]);
    for command in
        ["quickstart", "tokenizer", "model", "data", "pretrain", "fill-mask", "embed", "bench", "devices", "verify"]
    {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is missing in {help}");
    }
    for command in ["quickstart", "pretrain", "fill-mask", "embed", "bench", "verify", "download", "upload"] {
        assert!(succeed(&[command, "--help"]).contains("Example"), "{command} has no example");
    }
}

#[test]
fn a_full_disk_is_exit_5_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(&disk).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        return anaume_tests::skip("a small disk cannot be mounted here");
    }
    let out = path(&disk, "model");
    let tokenizer = path(workshop(), "tokenizer");
    let error = fail(5, &["model", "init", "--preset", "tiny", "--tokenizer", &tokenizer, "--out", &out]);
    let left: Vec<_> = std::fs::read_dir(&disk).unwrap().collect();
    Command::new("umount").arg(&disk).status().unwrap();
    assert!(error.contains("cannot write model.safetensors"), "{error}");
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_run_that_ended_before_its_first_step_can_be_started_and_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    run_pretrain(&run, &["--stop-after", "0"]);
    run_pretrain(&run, &["--stop-after", "2", "--resume"]);
    let bare = dir.path().join("bare");
    std::fs::create_dir(&bare).unwrap();
    std::fs::write(bare.join("metrics.jsonl"), "{\"event\":\"start\"").unwrap();
    run_pretrain(&bare, &["--stop-after", "1"]);
}

#[test]
fn going_back_to_an_older_checkpoint_sets_the_newer_ones_aside() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let straight = outcome(&run, &run_pretrain(&run, &[]));
    let older = path(&run, "step-00000020");
    run_pretrain(&run, &["--resume", &older, "--stop-after", "22"]);
    assert!(!run.join("step-00000040").exists());
    assert_eq!(straight, outcome(&run, &run_pretrain(&run, &["--resume"])));
}
