//! Files of a newer program (native/FORMATS.md): each is refused by its name, and stays as it is.

use std::fs;
use std::path::Path;

use anaume_tests::fake::Fake;
use serde_json::{Value, json};

use crate::checkpoint::copy_dir;
use crate::cli::{anaume, path, run_pretrain, succeed, text, workshop};

/// Changes a JSON document as a newer program might have written it: with another version, and without what this one requires.
fn make_newer(file: &Path, key: &str) {
    assert!(serde_json::from_slice::<Value>(&fs::read(file).unwrap()).unwrap()[key].is_u64(), "{}", file.display());
    fs::write(file, json!({ key: 9 }).to_string()).unwrap();
}

/// Whether a command refuses the file and tells what to do, without touching it.
fn refuses(file: &Path, arguments: &[&str], remedy: &str) {
    let before = fs::read(file).unwrap();
    let output = anaume(arguments);
    assert_eq!(output.status.code(), Some(3), "anaume {arguments:?}");
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(said.contains(name) && said.contains('9') && said.contains(remedy), "{said}");
    assert_eq!(fs::read(file).unwrap(), before);
}

#[test]
fn data_of_a_newer_program_are_prepared_again() {
    let room = tempfile::tempdir().unwrap();
    let data = room.path().join("data");
    copy_dir(&workshop().join("data"), &data);
    let shown = path(room.path(), "data");
    let stats = ["data", "stats", shown.as_str()];
    let index = data.join("train-00000.idx");
    let mut bytes = fs::read(&index).unwrap();
    bytes[8] = 9;
    fs::write(&index, bytes).unwrap();
    refuses(&index, &stats, "again");
    make_newer(&data.join("dataset.json"), "version");
    refuses(&data.join("dataset.json"), &stats, "again");
}

#[test]
fn parts_of_data_of_a_newer_program_are_refused() {
    let room = tempfile::tempdir().unwrap();
    let [input, parts, out] = ["in.txt", "parts", "out"].map(|name| path(room.path(), name));
    fs::write(&input, "お茶を飲む。\n").unwrap();
    for index in ["0", "1"] {
        succeed(&["data", "prepare", &input, "--out", &parts, "--shard-index", index, "--num-shards", "2"]);
    }
    let part = Path::new(&parts).join("part-00001-of-00002/part.json");
    make_newer(&part, "format_version");
    refuses(&part, &["data", "merge", &parts, "--out", &out], "update the program");
}

#[test]
fn checkpoints_of_a_newer_program_are_passed_over_and_stay() {
    let room = tempfile::tempdir().unwrap();
    let run = room.path().join("run");
    run_pretrain(&run, &["--stop-after", "2"]);
    let step = run.join("step-00000002");
    let shown = path(room.path(), "run");
    let resume = crate::cli::pretrain(&run, &["--resume"]);
    let resume: Vec<_> = resume.iter().map(String::as_str).collect();
    let state = step.join("trainer.json");
    make_newer(&state, "format_version");
    let manifest = step.join("manifest.json");
    let mut listed: Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    let bytes = fs::read(&state).unwrap();
    listed["files"]["trainer.json"] =
        json!({ "bytes": bytes.len(), "blake3": blake3::hash(&bytes).to_hex().to_string() });
    fs::write(&manifest, listed.to_string()).unwrap();
    refuses(&state, &resume, "update the program");
    make_newer(&manifest, "format_version");
    refuses(&manifest, &["checkpoints", "verify", &shown], "update the program");
    refuses(&manifest, &resume, "update the program");
    assert!(step.join("model.safetensors").exists());
}

#[test]
fn results_of_a_newer_program_are_refused() {
    let room = tempfile::tempdir().unwrap();
    let results = room.path().join("results");
    let place = Fake::new("small", "jcola").write(&results);
    let (shown, out) = (path(room.path(), "results"), path(room.path(), "out"));
    let plan = results.join("plan.json");
    fs::write(&plan, r#"{"format_version": 9}"#).unwrap();
    refuses(&plan, &["merge", &shown, "--out", &out], "update the program");
    fs::remove_file(plan).unwrap();
    make_newer(&place.join("results.json"), "format_version");
    refuses(&place.join("results.json"), &["leaderboard", &shown], "update the program");
}

#[test]
fn logs_and_models_of_a_newer_program_are_not_shown() {
    let room = tempfile::tempdir().unwrap();
    let run = room.path().join("run");
    run_pretrain(&run, &["--stop-after", "1"]);
    let (shown, web, out) = (path(room.path(), "run"), path(room.path(), "web"), path(room.path(), "out"));
    let metrics = run.join("metrics.jsonl");
    let records = fs::read_to_string(&metrics).unwrap();
    fs::write(&metrics, records.replacen(r#""format_version":1"#, r#""format_version":9"#, 1)).unwrap();
    refuses(&metrics, &["report", &shown, "--out", &path(room.path(), "report.html")], "update the program");
    let page = path(room.path(), "page");
    fs::create_dir(&page).unwrap();
    fs::write(Path::new(&page).join("index.html"), "<!doctype html>").unwrap();
    succeed(&["export", "web", &path(workshop(), "model"), "--out", &web]);
    make_newer(&Path::new(&web).join("web.json"), "format_version");
    refuses(&Path::new(&web).join("web.json"), &["site", "--page", &page, "--model", &web, "--out", &out], "update");
}
