//! The borders between the rooms, checked in the sources.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// All Rust files below a folder of the project, with their text.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut pending = vec![root().join(folder)];
    let mut found = Vec::new();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((path.clone(), fs::read_to_string(&path).unwrap()));
        }
    }
    assert!(!found.is_empty(), "no sources below {folder}");
    found
}

/// The lines of a text that are neither comments nor tests.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let end = text.find("#[cfg(test)]").unwrap_or(text.len());
    text[..end].lines().filter(|line| !line.trim_start().starts_with("//"))
}

fn assert_absent(folder: &str, allowed: &[&str], words: &[&str]) {
    for (path, text) in sources(folder) {
        if allowed.iter().any(|name| path.ends_with(name)) {
            continue;
        }
        for line in code(&text) {
            let word = words.iter().find(|word| line.contains(**word));
            assert!(word.is_none(), "{}: {:?} in {line:?}", path.display(), word.unwrap());
        }
    }
}

#[test]
fn core_opens_no_file_starts_no_thread_and_reads_no_clock() {
    let words =
        ["std::fs", "std::thread", "std::time", "std::env", "std::net", "tokio", "println!", "web_sys", "wasm_bindgen"];
    assert_absent("core/src", &[], &words);
}

#[test]
fn only_the_platform_room_asks_for_the_target() {
    assert_absent("core/src", &["platform.rs"], &["target_arch", "target_os"]);
    // A kernel in the instructions of one kind of processor.
    assert_absent("shaders/src", &["linear.rs"], &["target_arch", "target_os"]);
}

#[test]
fn pure_modules_do_not_know_tensors() {
    let pure = ["schedule.rs", "masking.rs", "report.rs", "retrieval.rs", "batch.rs", "config.rs", "error.rs"];
    let rooms = ["leaderboard", "metrics", "plot", "report", "tokenizer"];
    let rooms = rooms.map(|room| root().join("core/src").join(room));
    for (path, text) in sources("core/src") {
        let in_room = rooms.iter().any(|room| path.starts_with(room));
        if in_room || pure.iter().any(|name| path.ends_with(name)) {
            assert!(!code(&text).any(|line| line.contains("burn")), "{} knows burn", path.display());
        }
    }
}

#[test]
fn dependencies_point_one_way() {
    let manifest = |room: &str| fs::read_to_string(root().join(room).join("Cargo.toml")).unwrap();
    assert!(!manifest("shaders").contains("anaume-core"));
    assert!(!manifest("core").contains("anaume.workspace") && !manifest("core").contains("path = \"../native\""));
    let sees = |room: &str, other: &str| manifest(room).lines().any(|line| line.starts_with(other));
    assert!(!sees("native", "anaume-web") && !sees("web", "anaume.") && !sees("web", "anaume ="));
    for backend in ["\"flex\"", "\"wgpu\"", "\"vulkan\"", "\"cuda\""] {
        assert!(!manifest("core").contains(backend), "core chooses the backend {backend}");
    }
}

#[test]
fn files_and_functions_stay_readable() {
    for folder in ["core/src", "native/src", "shaders/src", "web/src", "tests"] {
        for (path, text) in sources(folder) {
            let lines = text.lines().count();
            assert!(lines <= 520, "{} has {lines} lines", path.display());
        }
    }
}

#[test]
fn the_sources_hold_nothing_unfinished() {
    for folder in ["core/src", "native/src", "shaders/src", "web/src"] {
        assert_absent(folder, &[], &["todo!(", "unimplemented!(", "dbg!(", "FIXME", "#[ignore"]);
    }
}
