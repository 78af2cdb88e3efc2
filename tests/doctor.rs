//! `anaume doctor` and `anaume verify`: what is sound passes, each fault is named.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::checkpoint::copy_dir;
use crate::cli::{anaume, binary, path, succeed, text, workshop};
use crate::weights::rewritten;

/// A copy of the workshop's model.
fn copied() -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_dir(&workshop().join("model"), copy.path());
    copy
}

/// The check of this name in the answer of a command that ends with `exit`.
fn check(exit: i32, arguments: &[&str], what: &str) -> (String, String) {
    let output = anaume(arguments);
    assert_eq!(output.status.code(), Some(exit), "{}", text(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["good"], exit == 0, "{document:#}");
    let checks = document["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["what"] == what).unwrap_or_else(|| panic!("no {what}: {document:#}"));
    [&check["status"], &check["found"]].map(|text| text.as_str().unwrap().to_owned()).into()
}

#[test]
fn this_machine_computes_what_transformers_computes() {
    let (status, found) = check(0, &["doctor", "--json"], "computing on cpu");
    assert!(status == "good" && found.contains("differs from transformers by"), "{status}: {found}");
    let said = succeed(&["doctor", &path(workshop(), "model")]);
    for part in ["program: anaume", "memory: ", "disk: ", "weights: ", "tokenizer: ", "All is well."] {
        assert!(said.contains(part), "no {part} in {said}");
    }
}

#[test]
fn a_software_adapter_computes_right_and_is_called_what_it_is() {
    let adapters: Value = serde_json::from_str(&succeed(&["devices", "--json"])).unwrap();
    let adapters = adapters["adapters"].as_array().or(adapters.as_array()).unwrap();
    let Some(software) = adapters.iter().find(|adapter| adapter["kind"] == "software") else {
        return anaume_tests::skip("no software adapter");
    };
    let name = software["name"].as_str().unwrap();
    let arguments = ["doctor", "--device", name, "--json"];
    assert_eq!(check(0, &arguments, &format!("adapter {name}")).0, "limited");
    let computing = format!("computing on {name} ({})", software["hardware"].as_str().unwrap());
    assert_eq!(check(0, &arguments, &computing).0, "good");
}

#[test]
fn a_whole_model_passes() {
    let model = path(workshop(), "model");
    for what in ["config.json", "weights", "tokenizer"] {
        assert_eq!(check(0, &["verify", &model, "--json"], what).0, "good");
    }
}

#[test]
fn doctor_says_where_models_of_the_hub_are_kept_and_warns_only_where_none_can_be() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = dir.path().join("hub/models--org--name/blobs");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(blobs.join("a"), [0; 1536]).unwrap();
    fs::create_dir_all(dir.path().join("hub/.locks/models--org--name")).unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let cache = |variable: &str, place: &str| {
        let output = Command::new(binary())
            .args(["doctor", "--device", "cpu", "--json"])
            .env_remove("HF_HUB_CACHE")
            .env_remove("HUGGINGFACE_HUB_CACHE")
            .env(variable, dir.path().join(place))
            .output()
            .unwrap();
        assert!(output.status.success(), "a cache is not needed: {}", text(&output.stderr));
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = document["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["what"] == "Hub cache").unwrap();
        [&check["status"], &check["found"]].map(|text| text.as_str().unwrap().to_owned())
    };
    let [status, found] = cache("HF_HOME", "");
    assert!(status == "good" && found.contains("hub has 1 repositories of 1.5 KiB, "), "{status}: {found}");
    let [status, found] = cache("HF_HUB_CACHE", "new/place");
    assert!(status == "good" && found.contains("place is made by the first download, "), "{status}: {found}");
    let [status, found] = cache("HF_HUB_CACHE", "file/place");
    assert!(status == "limited" && found.contains("set HF_HOME to another folder"), "{status}: {found}");
}

/// What `verify` says of a part of the workshop's model after a change; exit code 3.
fn after(what: &str, change: impl FnOnce(&Path)) -> String {
    let copy = copied();
    change(copy.path());
    let (status, found) = check(3, &["verify", &copy.path().display().to_string(), "--json"], what);
    assert_eq!(status, "failed");
    found
}

#[test]
fn every_fault_of_a_model_is_named() {
    let not_finite = after("weights", |model| {
        let file = model.join("model.safetensors");
        let changed = rewritten(&fs::read(&file).unwrap(), |tensors| {
            tensors[1].data[..4].copy_from_slice(&f32::NAN.to_le_bytes())
        });
        fs::write(&file, changed).unwrap();
    });
    assert!(not_finite.contains("element 0 is NaN"), "{not_finite}");
    let cut = after("weights", |model| {
        let file = model.join("model.safetensors");
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    });
    assert!(cut.contains("model.safetensors") && cut.contains("truncated"), "{cut}");
    let too_few_rows = after("tokenizer", |model| {
        let config = fs::read_to_string(model.join("config.json")).unwrap();
        fs::write(model.join("config.json"), config.replace("\"vocab_size\": 1000", "\"vocab_size\": 900")).unwrap();
    });
    assert!(too_few_rows.contains("900"), "{too_few_rows}");
    let no_tokenizer = after("tokenizer", |model| fs::remove_file(model.join("tokenizer.json")).unwrap());
    assert!(no_tokenizer.contains("does not exist"), "{no_tokenizer}");
    let no_config = after("config.json", |model| fs::write(model.join("config.json"), "{").unwrap());
    assert!(no_config.contains("config.json"), "{no_config}");
}

#[test]
fn shells_complete_every_command_and_each_has_a_manual_page() {
    let help = succeed(&["--help"]);
    let commands =
        help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<&str> = commands
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty())
        .collect();
    assert!(commands.len() > 20, "{commands:?}");
    let manual = tempfile::tempdir().unwrap();
    succeed(&["man", "--out", &manual.path().display().to_string()]);
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let completions = succeed(&["completions", shell]);
        assert!(commands.iter().all(|command| completions.contains(command)), "{shell}");
    }
    for command in commands.into_iter().filter(|command| *command != "help") {
        let page = fs::read_to_string(manual.path().join(format!("anaume-{command}.1"))).unwrap();
        assert!(page.contains(".SH OPTIONS") || page.contains(".SH SUBCOMMANDS"), "{command}: {page}");
    }
}
