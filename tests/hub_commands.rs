//! Names of the Hub in every command that takes a model, a tokenizer or data, with and without a network.

use std::fs;
use std::path::Path;

use anaume_tests::hub::hash;
use serde_json::Value;

use crate::cli::{path, succeed, workshop};
use crate::hub::{NAME, Room};

const TEXT: &str = "今日は[MASK]を食べる。";

#[test]
fn a_model_of_the_hub_answers_as_its_folder_does() {
    let room = Room::with_model();
    let masks = |answer: String| serde_json::from_str::<Value>(&answer).unwrap()["models"][0]["texts"].clone();
    let here = masks(succeed(&["fill-mask", "--model", &path(workshop(), "model"), TEXT, "--json"]));
    assert_eq!(masks(room.succeed(&["fill-mask", "--model", NAME, TEXT, "--json"])), here);
    room.hub.requests();
    assert_eq!(masks(room.succeed(&["fill-mask", "--offline", "--model", NAME, TEXT, "--json"])), here);
    let pinned = format!("{NAME}@{}", room.hub.commit());
    assert_eq!(masks(room.succeed(&["fill-mask", "--model", &pinned, TEXT, "--json"])), here);
    assert!(room.hub.requests().is_empty());
}

#[test]
fn weights_are_downloaded_where_they_are_needed_alone() {
    let room = Room::with_model();
    room.succeed(&["tokenizer", "encode", NAME, "今日"]);
    room.succeed(&["model", "info", NAME]);
    assert!(room.hub.requests_for(".safetensors").is_empty());
    let error = room.fail(2, &["embed", "--model", NAME, "--input", "x", "--out", "y.npy", "--offline"]);
    assert!(error.contains('x'), "{error}");
    let error = room.fail(2, &["fill-mask", "--model", NAME, TEXT, "--offline"]);
    assert!(error.contains("run `anaume download org/name` with a network"), "{error}");
}

#[test]
fn a_tokenizer_without_a_model_is_downloaded_too() {
    let read = |name| fs::read(workshop().join("tokenizer").join(name)).unwrap();
    let room = Room::new(["tokenizer.json", "tokenizer_config.json"].map(|name| (name, read(name))));
    room.succeed(&["download", NAME]);
    room.succeed(&["tokenizer", "encode", NAME, "今日", "--offline"]);
}

#[test]
fn every_command_takes_a_name_of_the_hub() {
    let mut room = Room::with_model();
    room.succeed(&["download", NAME]);
    room.hub.requests();
    room.variables.push(("HF_HUB_OFFLINE", "1".into()));
    let data = path(workshop(), "data");
    fs::write(room.dir.path().join("texts.txt"), "今日は晴れだ。\n").unwrap();
    fs::create_dir(room.dir.path().join("page")).unwrap();
    fs::write(room.dir.path().join("page/index.html"), "").unwrap();
    for line in [
        "tokenizer inspect org/name --model org/name",
        "model init --preset tiny --tokenizer org/name --out init",
        "model convert org/name --dtype bf16 --out bf16",
        "embed --model org/name --input texts.txt --out vectors.npy --device cpu",
        "export web org/name --out web",
        "bench encoder --model org/name --batch 1 --length 8 --runs 1 --device cpu",
        "eval alignment --model org/name --out results --bootstrap 10 --device cpu",
        "site --model org/name --page page --out site",
        "verify org/name",
        "upload org/name --out hub",
    ] {
        room.succeed(&line.split(' ').collect::<Vec<_>>());
    }
    let run = ["pretrain", "--recipe", "tiny", "--data", &data, "--model", NAME, "--out", "run", "--device", "cpu"];
    room.succeed(&[&run[..], &["--stop-after", "2"]].concat());
    assert!(room.hub.requests().is_empty());
    assert!(room.dir.path().join("results/name").is_dir(), "results are called after the model");
    assert!(room.dir.path().join("site/models/name/model.safetensors").is_file());
    assert_eq!(room.fail(2, &["fill-mask", "--model", "org/other", TEXT]).matches("org/other").count(), 3);
}

#[test]
fn a_folder_here_is_taken_before_a_name_there() {
    let room = Room::with_model();
    fs::create_dir_all(room.dir.path().join(NAME)).unwrap();
    let error = room.fail(2, &["fill-mask", "--model", NAME, TEXT]);
    assert!(error.contains("org/name/config.json does not exist"), "{error}");
    assert!(room.hub.requests().is_empty());
}

/// A model as Python's library leaves it in the cache: no list of files.
fn python_cache(room: &Room, names: &[&str]) -> std::path::PathBuf {
    let (cache, commit) = (room.cache("models"), room.hub.commit());
    let snapshot = cache.join("snapshots").join(&commit);
    for folder in [&cache.join("refs"), &cache.join("blobs"), &snapshot] {
        fs::create_dir_all(folder).unwrap();
    }
    fs::write(cache.join("refs/main"), &commit).unwrap();
    for name in names {
        let content = fs::read(workshop().join("model").join(name)).unwrap();
        fs::write(cache.join("blobs").join(hash(&content)), &content).unwrap();
        std::os::unix::fs::symlink(Path::new("../../blobs").join(hash(&content)), snapshot.join(name)).unwrap();
    }
    snapshot
}

#[test]
fn what_pythons_library_downloaded_is_found() {
    let room = Room::with_model();
    let snapshot =
        python_cache(&room, &["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]);
    room.succeed(&["fill-mask", "--model", NAME, TEXT, "--offline"]);
    assert!(room.hub.requests().is_empty());
    fs::remove_file(snapshot.join("model.safetensors")).unwrap();
    fs::remove_file(snapshot.join("config.json")).unwrap();
    fs::remove_file(
        room.cache("models").join("blobs").join(hash(&fs::read(workshop().join("model/config.json")).unwrap())),
    )
    .unwrap();
    room.succeed(&["fill-mask", "--model", NAME, TEXT]);
    let asked: Vec<_> = room.hub.requests().into_iter().map(|request| request.path).collect();
    let asks = |name: &str| asked.iter().any(|path| path.ends_with(name));
    assert!(asks("config.json") && !asks("model.safetensors") && !asks("tokenizer.json"), "{asked:?}");
}

#[test]
fn a_snapshot_lacks_a_file_only_if_it_is_read() {
    let room = Room::with_model();
    let folder = room.succeed(&["download", NAME]);
    let remove = |name: &str| fs::remove_file(Path::new(folder.trim_end()).join(name)).unwrap();
    remove("README.md");
    room.succeed(&["fill-mask", "--model", NAME, TEXT, "--offline"]);
    remove("tokenizer.json");
    let error = room.fail(2, &["fill-mask", "--model", NAME, TEXT, "--offline"]);
    assert!(error.contains("run `anaume download org/name` with a network"), "{error}");
}

#[test]
fn without_network_and_cache_the_command_to_run_is_named() {
    let mut room = Room::with_model();
    room.variables.push(("HF_HUB_OFFLINE", "1".into()));
    let error = room.fail(2, &["fill-mask", "--model", "org/name@v1", TEXT]);
    assert!(error.contains("run `anaume download org/name@v1` with a network"), "{error}");
    let error = room.fail(2, &["data", "stats", NAME]);
    assert!(error.contains("run `anaume download org/name --dataset` with a network"), "{error}");
    assert!(room.hub.requests().is_empty());
    room.variables = vec![("HF_ENDPOINT", "http://127.0.0.1:9".into())];
    let error = room.fail(6, &["fill-mask", "--model", NAME, TEXT]);
    assert!(error.contains("http://127.0.0.1:9 cannot be reached"), "{error}");
}

#[test]
fn a_data_set_is_taken_whole_or_by_pattern() {
    let line = |text: &str| format!("{{\"text\": \"{text}\"}}\n").into_bytes();
    let room = Room::new([
        ("data/a.jsonl", line("今日は晴れだ。")),
        ("data/b.jsonl", line("明日は雨だ。")),
        ("data/deep/c.jsonl", line("昨日は雪だった。")),
        ("README.md", b"# texts".to_vec()),
    ]);
    let uri = "hf://datasets/org/name/data/*.jsonl";
    let manifest = room.succeed(&["data", "prepare", uri, "--out", "prepared", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&manifest).unwrap()["splits"]["train"]["documents"], 2);
    assert_eq!(room.hub.requests().len(), 3, "the list and two files");
    room.succeed(&["data", "prepare", uri, "--out", "again", "--offline"]);
    assert!(
        room.fail(2, &["data", "prepare", "hf://datasets/org/name/*.txt", "--out", "o"])
            .contains("no file of the data set")
    );
    assert!(room.fail(2, &["data", "prepare", "hf://org/name", "--out", "o"]).contains("hf://datasets/ORG/NAME/FILE"));
    let out = room.succeed(&["download", NAME, "--dataset", "--out", "copy"]);
    assert_eq!(out.trim_end(), "copy");
    let copied = room.dir.path().join("copy/data/deep/c.jsonl");
    assert!(copied.symlink_metadata().unwrap().is_file());
    assert_eq!(fs::read(copied).unwrap(), line("昨日は雪だった。"));
}

#[test]
fn results_are_called_after_the_data_set() {
    let pairs = |i: usize| format!("{{\"query\": \"今日{i}\", \"positive\": \"明日{i}\"}}\n");
    let room = Room::new([("passage_pairs.jsonl", (0..4).map(pairs).collect::<String>().into_bytes())]);
    let model = path(workshop(), "model");
    let line = ["--data", NAME, "--out", "results", "--bootstrap", "10", "--device", "cpu"];
    room.succeed(&[&["eval", "alignment", "--model", &model][..], &line].concat());
    room.succeed(&[&["eval", "retrieval", "--model", &model][..], &line].concat());
    for task in ["alignment-name", "retrieval-pairs-name"] {
        assert!(room.dir.path().join("results/model").join(task).is_dir(), "{task}");
    }
}

#[test]
fn a_prepared_data_set_trains_from_the_hub() {
    let files = fs::read_dir(workshop().join("data")).unwrap().map(|entry| entry.unwrap());
    let files: Vec<_> =
        files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect();
    let room = Room::new(files.iter().map(|(name, content)| (name.as_str(), content.clone())));
    let there = room.succeed(&["data", "stats", NAME, "--json"]);
    assert_eq!(there, succeed(&["data", "stats", &path(workshop(), "data"), "--json"]));
}

#[test]
fn upload_prepares_what_hf_upload_takes() {
    let room = Room::new([]);
    let model = path(workshop(), "model");
    assert!(
        room.fail(2, &["upload", &model, "--out", "hub"]).contains("has no README.md: write one, or give --results")
    );
    room.succeed(&["eval", "alignment", "--model", &model, "--out", "results", "--bootstrap", "10", "--device", "cpu"]);
    let arguments = ["upload", &model, "--name", "org/name", "--results", "results", "--out", "hub"];
    assert_eq!(room.succeed(&arguments), "hf upload org/name 'hub'\n");
    let read = |name: &str| fs::read_to_string(room.dir.path().join("hub").join(name)).unwrap();
    assert!(read("README.md").contains("AutoTokenizer.from_pretrained(\"org/name\")"));
    assert_eq!(read(".gitattributes"), "*.safetensors filter=lfs diff=lfs merge=lfs -text\n");
    let folder = path(room.dir.path(), "hub");
    succeed(&["fill-mask", "--model", &folder, TEXT]);
    assert!(room.fail(2, &arguments).contains("--force"));
    assert!(room.fail(2, &["upload", &model, "--name", "name", "--out", "hub2"]).contains("expected ORG/NAME"));
    fs::write(room.dir.path().join("hub/model.safetensors"), "no weights").unwrap();
    room.fail(3, &["upload", &folder, "--out", "hub2"]);
    assert!(room.hub.requests().is_empty());
}
