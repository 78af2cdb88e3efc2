//! The Hugging Face Hub through bad connections, liars and refusals: what is downloaded, what is kept, what is said.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anaume_tests::hub::{Hub, Reply, hash, listing};
use serde_json::json;
use tempfile::TempDir;

use crate::cli::{binary, text, wait_for, workshop};

/// Name of the repository.
pub const NAME: &str = "org/name";
const WEIGHTS: &str = "model.safetensors";

/// A Hub with the workshop's model, and a home folder.
pub struct Room {
    /// The folder that commands run in.
    pub dir: TempDir,
    /// The Hub.
    pub hub: Hub,
    /// More environment variables.
    pub variables: Vec<(&'static str, String)>,
}

impl Room {
    /// A Hub with these files, and an empty cache.
    pub fn new<'a>(files: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), hub: Hub::start(NAME, files), variables: Vec::new() }
    }

    /// The workshop's model as it would be published, with what other programs read.
    pub fn with_model() -> Self {
        let read = |name: &str| fs::read(workshop().join("model").join(name)).unwrap();
        let own = ["config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json"].map(|name| (name, read(name)));
        let other = ["README.md", ".gitattributes", "pytorch_model.bin", "onnx/model.onnx", "onnx/model.safetensors"];
        Self::new(own.into_iter().chain(other.map(|name| (name, name.as_bytes().to_vec()))))
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(self.dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for name in ["HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"] {
            command.env_remove(name);
        }
        command.env("HF_HOME", self.dir.path().join("hf")).env("HF_ENDPOINT", &self.hub.endpoint);
        command.env("NO_PROXY", "127.0.0.1,localhost").env("ANAUME_HUB_RETRIES", "2");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed; its standard output.
    pub fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}\n{}", output.status, text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs a command that must fail with this exit code; its standard error.
    pub fn fail(&self, exit: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {error}");
        error
    }

    fn download(&self) -> PathBuf {
        PathBuf::from(self.succeed(&["download", NAME]).trim_end())
    }

    pub fn cache(&self, kind: &str) -> PathBuf {
        self.dir.path().join(format!("hf/hub/{kind}--org--name"))
    }

    /// What was begun and not finished.
    fn incomplete(&self) -> Vec<PathBuf> {
        let blobs = fs::read_dir(self.cache("models").join("blobs")).unwrap().map(|entry| entry.unwrap().path());
        blobs.filter(|path| path.extension().is_some_and(|extension| extension == "incomplete")).collect()
    }
}

fn weights() -> Vec<u8> {
    fs::read(workshop().join("model").join(WEIGHTS)).unwrap()
}

fn rest_from(start: usize) -> Reply {
    let content = weights();
    let mut reply = Reply::body(206, content[start..].to_vec());
    reply.headers.push(("Content-Range", format!("bytes {start}-{}/{}", content.len() - 1, content.len())));
    reply
}

fn assert_whole(folder: &Path) {
    assert!(fs::read(folder.join(WEIGHTS)).unwrap() == weights(), "the weights are others");
}

#[test]
fn a_model_is_downloaded_once_into_the_layout_of_pythons_library() {
    let room = Room::with_model();
    let commit = room.hub.commit();
    let folder = room.download();
    let cache = room.cache("models");
    assert_eq!(folder, cache.join("snapshots").join(&commit));
    assert_whole(&folder);
    let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["README.md", "config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json"]);
    assert_eq!(fs::read_to_string(cache.join("refs/main")).unwrap(), commit);
    let link = fs::read_link(folder.join(WEIGHTS)).unwrap();
    assert_eq!(link, Path::new("../../blobs").join(hash(&weights())));
    assert!(room.incomplete().is_empty());
    room.hub.requests();
    assert_eq!(room.download(), folder);
    assert_eq!(room.hub.requests().len(), 1, "only what main is now is asked");
    for arguments in [&["download", &format!("{NAME}@{commit}")][..], &["download", NAME, "--offline"]] {
        assert_eq!(room.succeed(arguments).trim_end(), folder.display().to_string());
        assert!(room.hub.requests().is_empty(), "{arguments:?} asked the network");
    }
}

#[test]
fn a_connection_that_breaks_off_is_gone_on_with_from_the_last_byte() {
    let room = Room::with_model();
    room.hub.twist_at(WEIGHTS, |request, usual| if request.before < 3 { usual.cut(5000) } else { usual });
    assert_whole(&room.download());
    let ranges: Vec<_> = room.hub.requests_for(WEIGHTS).iter().map(|r| r.header("range").to_owned()).collect();
    assert_eq!(ranges, ["", "bytes=5000-", "bytes=10000-", "bytes=15000-"]);
}

#[test]
fn a_run_that_ended_early_is_gone_on_with_by_the_next() {
    let mut room = Room::with_model();
    room.variables.push(("ANAUME_HUB_RETRIES", "0".into()));
    room.hub.twist_at(WEIGHTS, |request, usual| if request.before == 0 { usual.cut(5000) } else { usual });
    let error = room.fail(6, &["download", NAME]);
    assert!(error.contains("broke off") && error.contains("run the command again"), "{error}");
    assert_eq!(room.incomplete().iter().map(|path| path.metadata().unwrap().len()).collect::<Vec<_>>(), [5000]);
    assert!(!room.cache("models").join("snapshots").join(room.hub.commit()).join(WEIGHTS).exists());
    assert!(!room.cache("models").join("refs/main").exists(), "a revision is known once its files are there");
    assert_whole(&room.download());
    assert_eq!(room.hub.requests_for(WEIGHTS)[1].header("range"), "bytes=5000-");
}

#[test]
fn a_damaged_beginning_or_a_server_without_ranges_costs_a_second_download_only() {
    let room = Room::with_model();
    let blobs = room.cache("models").join("blobs");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(blobs.join(hash(&weights()) + ".incomplete"), vec![7; 5000]).unwrap();
    assert_whole(&room.download());
    let ranges: Vec<_> = room.hub.requests_for(WEIGHTS).iter().map(|r| r.header("range").to_owned()).collect();
    assert_eq!(ranges, ["bytes=5000-", ""]);
    let room = Room::with_model();
    room.hub.twist_at(WEIGHTS, |request, _| {
        let whole = Reply::body(200, weights());
        if request.before == 0 { whole.cut(5000) } else { whole }
    });
    assert_whole(&room.download());
}

#[test]
fn another_part_than_was_asked_for_is_refused() {
    for range in ["", "bytes 0-8/9", "bytes 4999-9999/10000"] {
        let room = Room::with_model();
        room.hub.twist_at(WEIGHTS, move |request, mut usual| match request.before {
            0 => usual.cut(5000),
            _ => {
                usual.headers.retain(|(name, _)| *name != "Content-Range");
                usual.headers.push(("Content-Range", range.to_owned()));
                usual
            }
        });
        let error = room.fail(3, &["download", NAME]);
        assert!(error.contains("is sent as `") && error.contains("from byte 5000 on"), "{error}");
    }
}

#[test]
fn a_file_that_changed_in_between_is_not_mixed_with_what_was_begun() {
    let mut room = Room::with_model();
    room.variables.push(("ANAUME_HUB_RETRIES", "0".into()));
    room.hub.twist_at(WEIGHTS, |_, usual| usual.cut(5000));
    room.fail(6, &["download", NAME]);
    let mut changed = weights();
    *changed.last_mut().unwrap() ^= 1;
    room.hub.put(WEIGHTS, changed.clone());
    room.hub.twist(|_, usual| usual);
    room.hub.requests();
    assert!(fs::read(room.download().join(WEIGHTS)).unwrap() == changed);
    assert_eq!(room.hub.requests_for(WEIGHTS)[0].header("range"), "");
}

#[test]
fn what_is_not_as_listed_never_appears() {
    type Twist = fn(Reply) -> Reply;
    let cases: [(&str, i32, Twist); 5] = [
        ("longer than listed", 3, |usual| Reply::body(200, [usual.body, vec![0; 9]].concat())),
        ("shorter than listed", 3, |usual| Reply::body(200, usual.body[..usual.body.len() - 9].to_vec())),
        ("longer without saying so", 3, |usual| Reply {
            headers: vec![],
            body: [usual.body, vec![0; 9]].concat(),
            ..usual
        }),
        ("shorter without saying so", 6, |usual| Reply { status: 200, headers: vec![], ..usual }.cut(9)),
        ("another content", 3, |mut usual| {
            usual.body[3] ^= 1;
            usual
        }),
    ];
    for file in [WEIGHTS, "config.json"] {
        for (what, exit, twist) in cases {
            let room = Room::with_model();
            room.hub.twist_at(file, move |_, usual| twist(usual));
            let error = room.fail(exit, &["download", NAME]);
            assert!(error.contains(file), "{what}: {error}");
            let folder = room.cache("models").join("snapshots").join(room.hub.commit());
            assert!(!folder.join(file).exists(), "{file}, {what}");
            assert!(!room.cache("models").join("refs/main").exists(), "{file}, {what}");
            if what == "another content" {
                assert!(error.contains("hash") && room.incomplete().is_empty(), "{error}");
            }
        }
    }
}

#[test]
fn the_token_goes_to_the_hub_alone() {
    let mut room = Room::with_model();
    room.variables.push(("HF_TOKEN", "secret".into()));
    let store = Hub::start("store/files", []);
    let port = store.endpoint.rsplit(':').next().unwrap().to_owned();
    room.hub.twist(move |request, usual| match request.path.as_str() {
        path if path.ends_with(WEIGHTS) => {
            Reply::status(302, &[("Location", &format!("http://localhost:{port}/bytes"))])
        }
        // A repository that was renamed is at the same place.
        path if path.ends_with("/config.json") => Reply::status(307, &[("Location", "/org/name/elsewhere")]),
        path if path.ends_with("elsewhere") => {
            Reply::body(200, fs::read(workshop().join("model/config.json")).unwrap())
        }
        _ => usual,
    });
    store.twist(|request, _| if request.before == 0 { Reply::body(200, weights()).cut(5000) } else { rest_from(5000) });
    assert_whole(&room.download());
    let asked = room.hub.requests();
    assert!(asked.iter().any(|request| request.path.ends_with("elsewhere")));
    assert!(asked.iter().all(|request| request.header("authorization") == "Bearer secret"), "{asked:?}");
    let elsewhere = store.requests();
    assert!(elsewhere.iter().all(|request| request.header("authorization").is_empty()), "{elsewhere:?}");
    assert_eq!(elsewhere.iter().map(|request| request.header("range")).collect::<Vec<_>>(), ["", "bytes=5000-"]);
    let stored = Room::with_model();
    fs::create_dir(stored.dir.path().join("hf")).unwrap();
    fs::write(stored.dir.path().join("hf/token"), "stored\n").unwrap();
    stored.download();
    assert!(stored.hub.requests().iter().all(|request| request.header("authorization") == "Bearer stored"));
}

#[test]
fn a_refusal_says_what_to_do() {
    let room = Room::with_model();
    let refused = |arguments: &[&str], expected: &str| {
        let error = room.fail(2, arguments);
        assert!(error.contains(expected), "{arguments:?}: {error}");
    };
    refused(
        &["download", "org/other"],
        "HTTP 401 Unauthorized for the model org/other: there is none of that name, or it is private",
    );
    refused(&["download", "org/name@nosuch"], "it has no revision `nosuch`");
    refused(&["fill-mask", "--model", "org/other", "[MASK]"], "org/other is not here and was looked for on the Hub");
    refused(&["download", "nosuch"], "expected ORG/NAME");
    room.hub.twist(|_, _| Reply::status(404, &[("X-Error-Code", "RepoNotFound")]));
    refused(&["download", NAME], "there is none of that name");
    room.hub.twist_at(WEIGHTS, |_, _| Reply::status(404, &[]));
    refused(&["download", NAME], "it has no file model.safetensors");
    room.hub.twist_at(WEIGHTS, |_, _| Reply::status(403, &[("X-Error-Code", "GatedRepo")]));
    refused(&["download", NAME], "accept its licence on http://127.0.0.1");
    room.hub.twist(|_, _| Reply::status(403, &[]));
    refused(&["download", NAME, "--dataset"], "/datasets/org/name asks for it, accept its licence");
    let bare = Room::new([("pytorch_model.bin", vec![0; 20])]);
    assert!(bare.fail(3, &["download", NAME]).contains("no weights in safetensors"));
}

#[test]
fn a_busy_or_failing_server_is_waited_for() {
    let room = Room::with_model();
    room.hub.twist_at(WEIGHTS, |request, usual| match request.before {
        0 => Reply::status(429, &[("Retry-After", "1")]),
        1 => Reply::status(503, &[]),
        _ => usual,
    });
    let start = Instant::now();
    assert_whole(&room.download());
    assert!(start.elapsed() >= Duration::from_secs(1), "the server asked for a second");
    room.hub.twist(|_, _| Reply::status(500, &[]));
    let output = room.run(&["download", NAME]);
    let warning = text(&output.stderr);
    assert!(output.status.success() && warning.contains("taking the model org/name from the cache"), "{warning}");
    room.hub.requests();
    assert!(room.fail(6, &["download", "org/other"]).contains("500 Internal Server Error"));
    assert_eq!(room.hub.requests().len(), 3, "twice more than the first time");
    room.hub.twist(|_, _| Reply::status(429, &[("Retry-After", "4000")]));
    assert!(room.fail(6, &["download", "org/other"]).contains("asks to come again in 1h 06m"));
}

#[test]
fn nothing_is_written_outside_the_cache() {
    for (name, what) in [
        ("../../../evil", "no name"),
        ("/evil", "no name"),
        ("a/../../../../evil", "no name"),
        ("a\\..\\evil", "no name"),
    ] {
        let room = Room::new([(name, b"evil".to_vec())]);
        let error = room.fail(3, &["download", NAME, "--dataset"]);
        assert!(error.contains(what), "{name}: {error}");
        assert!(room.hub.requests_for("evil").is_empty());
    }
    let files = [("config.json".to_owned(), b"{}".to_vec())].into();
    for (pointer, value) in [("/sha", "../../evil"), ("/siblings/0/blobId", "../../evil"), ("/siblings/0/size", "many")]
    {
        let room = Room::with_model();
        let mut answer = listing(&files);
        *answer.pointer_mut(pointer).unwrap() = json!(value);
        room.hub.twist(move |_, _| Reply::body(200, answer.to_string().into_bytes()));
        let error = room.fail(3, &["download", NAME]);
        assert!(error.contains("cannot be used"), "{pointer}: {error}");
        assert!(!room.cache("models").exists());
    }
}

#[test]
fn a_signal_ends_a_command_that_downloads_with_exit_code_75() {
    let room = Room::with_model();
    room.hub.twist_at(WEIGHTS, |request, usual| {
        std::thread::sleep(Duration::from_millis(if request.before == 0 { 1500 } else { 0 }));
        usual
    });
    let evaluation = ["eval", "alignment", "--model", NAME, "--out", "results", "--bootstrap", "10", "--device", "cpu"];
    let child = room.command(&evaluation).spawn().unwrap();
    wait_for(|| !room.hub.requests_for(WEIGHTS).is_empty());
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(75), "{error}");
    assert!(error.contains("run the same command again to go on with the download"), "{error}");
    room.succeed(&evaluation);
}

#[test]
fn two_processes_at_once_download_once() {
    let room = Room::with_model();
    room.hub.twist_at(WEIGHTS, |_, usual| {
        std::thread::sleep(Duration::from_millis(500));
        usual
    });
    let children: Vec<_> = (0..2).map(|_| room.command(&["download", NAME]).spawn().unwrap()).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_whole(Path::new(text(&output.stdout).trim_end()));
    }
    assert_eq!(room.hub.requests_for(WEIGHTS).len(), 1);
}
