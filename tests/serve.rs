//! `anaume serve` as browsers and strangers meet it, and `anaume site`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anaume_core::report::site::hex;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::cli::{anaume, binary, fail, path, succeed, text, workshop};

/// A running server with a page, a results folder and a model, stopped when it is dropped.
struct Server {
    child: Child,
    address: String,
    room: TempDir,
}

/// An answer: status, headers by lower-case name, body.
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

fn room() -> TempDir {
    let room = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("page/index.html", "<!doctype html>".to_owned()),
        ("page/app.wasm", "wasm ".repeat(1000)),
        ("page/sw.js", String::new()),
        ("page/a.webmanifest", "{}".into()),
        ("results/m/jsts/results.json", r#"{"format_version":1}"#.into()),
        ("results/m/jsts/notes.txt", "not for readers".into()),
        ("secret.json", "secret".into()),
    ] {
        let path = room.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    room
}

impl Server {
    fn start(more: &[&str]) -> Self {
        Self::start_by("exec \"$0\" \"$@\"", more)
    }

    /// Starts it by a line of shell that gets the command as its arguments.
    fn start_by(shell: &str, more: &[&str]) -> Self {
        let room = room();
        let at = |name| path(room.path(), name);
        let mut command = Command::new("sh");
        command.arg("-c").arg(shell).arg(binary());
        command.args(["serve", &at("results"), "--page", &at("page"), "--port", "0"]);
        command.args(["--model", &path(workshop(), "model")]).args(more);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
        Self { child, address, room }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Sends a request as it stands, with these headers beside `Connection`.
    fn raw(&self, line: &str, headers: &[&str]) -> Answer {
        let mut stream = self.connect();
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        write!(stream, "{line} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n").unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        Answer::parse(&bytes)
    }

    fn get(&self, path: &str, headers: &[&str]) -> Answer {
        self.raw(&format!("GET {path}"), &[&["Host: localhost"], headers].concat())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer has headers");
        let head = text(&bytes[..end]);
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        Self { status, headers: lines.filter_map(header).collect(), body: bytes[end + 4..].to_vec() }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

#[test]
fn the_page_comes_with_its_type_a_strict_policy_and_compressed() {
    let server = Server::start(&[]);
    let page = server.get("/", &[]);
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert_eq!(page.body, b"<!doctype html>");
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("'wasm-unsafe-eval'"), "{policy}");
    assert!(!policy.contains("unsafe-inline") && !policy.contains("'unsafe-eval'"), "{policy}");
    let built = include_str!("../web/index.html");
    let own = policy.strip_suffix("; frame-ancestors 'none'").expect("no page of others frames this one");
    assert!(built.contains(&format!("content=\"{own}\"")), "the page's own policy is another: {policy}");
    for (name, media_type) in
        [("sw.js", "text/javascript; charset=utf-8"), ("a.webmanifest", "application/manifest+json")]
    {
        assert_eq!(server.get(&format!("/{name}"), &[]).header("content-type"), media_type);
    }
    assert_eq!((page.header("x-content-type-options"), page.header("referrer-policy")), ("nosniff", "no-referrer"));
    assert_eq!(page.header("cross-origin-opener-policy"), "");
    let wasm = server.get("/app.wasm", &["Accept-Encoding: br, gzip"]);
    assert_eq!((wasm.header("content-type"), wasm.header("content-encoding")), ("application/wasm", "gzip"));
    assert!(wasm.body.len() < 200 && server.get("/app.wasm", &[]).body.len() == 5000);
    let tag = wasm.header("etag");
    let again = server.get("/app.wasm", &[&format!("If-None-Match: {tag}")]);
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(server.raw("HEAD /app.wasm", &["Host: localhost"]).body.len(), 0);
    let isolated = Server::start(&["--isolate"]);
    assert_eq!(isolated.get("/", &[]).header("cross-origin-embedder-policy"), "require-corp");
}

#[test]
fn the_index_names_what_there_is_and_each_file_can_be_had_in_parts() {
    let server = Server::start(&[]);
    let index: Value = serde_json::from_slice(&server.get("/site.json", &[]).body).unwrap();
    assert_eq!(index["results"][0]["url"], "results/results/m/jsts/results.json");
    let files = index["models"][0]["files"].as_array().unwrap();
    let weights = files.iter().find(|file| file["url"].as_str().unwrap().ends_with("safetensors")).unwrap();
    let url = format!("/{}", weights["url"].as_str().unwrap());
    let whole = server.get(&url, &[]);
    assert_eq!(weights["size_bytes"], whole.body.len());
    assert_eq!(weights["sha256"], hex(&Sha256::digest(&whole.body)));
    let tag = whole.header("etag");
    let part = server.get(&url, &["Range: bytes=100-199", &format!("If-Range: {tag}")]);
    assert_eq!((part.status, &part.body[..]), (206, &whole.body[100..200]));
    assert_eq!(part.header("content-range"), format!("bytes 100-199/{}", whole.body.len()));
    let stale = server.get(&url, &["Range: bytes=100-199", "If-Range: \"other\""]);
    assert_eq!((stale.status, stale.body.len()), (200, whole.body.len()), "a part of another version is never joined");
    assert_eq!(server.get(&url, &["Range: bytes=99999999-"]).status, 416);
    // Results that appear while it runs are found.
    fs::create_dir(server.room.path().join("results/run")).unwrap();
    fs::write(server.room.path().join("results/run/metrics.jsonl"), "{}\n").unwrap();
    let index: Value = serde_json::from_slice(&server.get("/site.json", &[]).body).unwrap();
    assert_eq!(index["runs"][0]["url"], "results/results/run/metrics.jsonl");
}

#[test]
fn nothing_outside_the_folders_and_no_other_kind_of_file_is_given() {
    let server = Server::start(&[]);
    fs::copy(server.room.path().join("secret.json"), server.room.path().join("results.json")).unwrap();
    #[cfg(unix)]
    for (target, link) in [("secret.json", "results/run.json"), ("", "results/up")] {
        std::os::unix::fs::symlink(server.room.path().join(target), server.room.path().join(link)).unwrap();
    }
    for address in [
        "/results/results/../secret.json",
        "/results/results/%2e%2e/secret.json",
        "/results/results/m%2f..%2f..%2fsecret.json",
        "/results/results/..%5csecret.json",
        "/results/results//etc/passwd",
        "//etc/passwd",
        "/../../etc/passwd",
        "/results/results/run.json",
        "/results/results/m/jsts/notes.txt",
        "/results/results/m/jsts/",
        "/models/model/../../secret.json",
        "/models/model/optimizer.safetensors",
        "/page/index.html",
        "/%00",
        // Decoded once, these are names with a percent sign.
        "/results/results/%252e%252e/secret.json",
        "/results/results/m%252f..%252f..%252fsecret.json",
        "/results/results/..%c0%afsecret.json",
        "/results/results/%5c..%5c..%5csecret.json",
        "/results/results/C:%5csecret.json",
        "/results/results/%2fetc%2fpasswd",
        "/results/results/./m/jsts/results.json",
        "/results//results/m/jsts/results.json",
        "/results/results/up/results.json",
        "/results/results/m/jsts/results.json/",
        "/results/results/m/jsts/results.json%00.txt",
    ] {
        let answer = server.get(address, &[]);
        let status = if address.contains("%c0") { 400 } else { 404 };
        assert_eq!(answer.status, status, "{address}");
        assert!(!text(&answer.body).contains("secret"), "{address}");
    }
    assert_eq!(server.get("/%ff", &[]).status, 400);
}

#[test]
fn other_names_origins_methods_and_oversized_requests_are_refused() {
    let server = Server::start(&["--allow-host", "anaume.example"]);
    assert_eq!(server.raw("GET /", &["Host: anaume.example"]).status, 200);
    for (headers, reason) in [
        (&["Host: evil.example"][..], "Host `evil.example`"),
        (&["Host: localhost", "Origin: https://evil.example"], "Origin `evil.example`"),
        (&["Host: localhost", "Origin: null"], "Origin `null`"),
        (&[], "Host ``"),
        (&["Host: localhost", "Host: evil.example"], "Host `evil.example`"),
        (&["Host: localhost", "Origin: http://localhost", "Origin: http://evil.example"], "Origin `evil.example`"),
        (&["Host: localhost@evil.example"], "Host `localhost@evil.example`"),
    ] {
        let answer = server.raw("GET /site.json", headers);
        assert!(answer.status == 403 && text(&answer.body).contains(reason), "{}", text(&answer.body));
    }
    let whole = server.raw("GET http://evil.example/site.json", &["Host: localhost"]);
    assert!(whole.status == 403 && text(&whole.body).contains("Address `evil.example`"), "{}", text(&whole.body));
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let answer = server.raw(&format!("{method} /site.json"), &["Host: localhost"]);
        assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"));
    }
    let many: String = (0..200).map(|number| format!("X-{number}: x\r\n")).collect();
    let oversized = [
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(100_000)),
        format!("GET / HTTP/1.1\r\nHost: localhost\r\n{many}\r\n"),
        format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(100_000)),
    ];
    for request in oversized {
        let mut stream = server.connect();
        // The server may close before all of it was sent.
        let _ = write!(stream, "{request}");
        let mut start = [0; 12];
        let read = stream.read(&mut start).unwrap_or(0);
        assert!(read == 0 || start.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&start));
    }
    // A body is not waited for.
    let mut stream = server.connect();
    write!(stream, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n").unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 405");
    assert_eq!(server.get("/", &[]).status, 200, "it goes on");
}

#[test]
fn a_reader_that_never_ends_its_request_holds_up_nobody_and_the_end_is_orderly() {
    let mut server = Server::start(&[]);
    let mut slow: Vec<TcpStream> = (0..50).map(|_| server.connect()).collect();
    slow.iter_mut().for_each(|stream| write!(stream, "GET / HT").unwrap());
    assert_eq!(server.get("/", &[]).status, 200);
    let start = Instant::now();
    let signal = Command::new("kill").args(["-TERM", &server.child.id().to_string()]).status().unwrap();
    assert!(signal.success() && server.child.wait().unwrap().success());
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}

/// Reads until the server closes; bytes and seconds.
fn read_out(stream: &mut TcpStream, start: Instant) -> (usize, f64) {
    let mut bytes = Vec::new();
    // A connection that is cut off may end in an error.
    let _ = stream.read_to_end(&mut bytes);
    (bytes.len(), start.elapsed().as_secs_f64())
}

#[test]
fn readers_who_stall_are_cut_off() {
    let server = Server::start(&[]);
    let large = 64 << 20;
    fs::write(server.room.path().join("results/metrics.jsonl"), vec![b'x'; large]).unwrap();
    let start = Instant::now();
    let requests = ["", "GET / HTTP/1.1\r\nHost: local", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"];
    let waiting = requests.map(|request| {
        let mut stream = server.connect();
        write!(stream, "{request}").unwrap();
        std::thread::spawn(move || read_out(&mut stream, start).1)
    });
    let mut stalled = server.connect();
    write!(stalled, "GET /results/results/metrics.jsonl HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    for (request, seconds) in requests.iter().zip(waiting.map(|thread| thread.join().unwrap())) {
        println!("{request:?}: cut off after {seconds:.1} s");
        assert!((14.0..20.0).contains(&seconds), "{request:?}: {seconds} s");
    }
    std::thread::sleep(Duration::from_secs(20).saturating_sub(start.elapsed()));
    let (got, _) = read_out(&mut stalled, start);
    println!("a reader who takes nothing of {large} bytes has got {got} when it is cut off");
    assert!(got > 0 && got < large, "the server waited with the rest of the answer");
}

/// A number of kilobytes in `/proc/PID/status`.
#[cfg(target_os = "linux")]
fn kilobytes(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn a_thousand_readers_at_once_each_get_their_part() {
    const READERS: usize = 1000;
    const PART: usize = 1 << 20;
    rlimit::increase_nofile_limit(READERS as u64 + 1000).unwrap();
    // As it is started from an ordinary shell.
    let server = Server::start_by("ulimit -Sn 1024; exec \"$0\" \"$@\"", &[]);
    let content: Vec<u8> =
        (0..1_u32 << 22).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    fs::write(server.room.path().join("results/metrics.jsonl"), &content).unwrap();
    let before = kilobytes(server.child.id(), "VmHWM:");
    let barrier = std::sync::Barrier::new(READERS + 1);
    let read = |reader: usize| {
        let start = (reader * 104_729) % (content.len() - PART);
        // All at once: a short queue of the listening socket would lose some.
        let mut stream = server.connect();
        barrier.wait();
        let last = start + PART - 1;
        let request =
            format!("GET /results/results/metrics.jsonl HTTP/1.1\r\nHost: localhost\r\nRange: bytes={start}-{last}");
        write!(stream, "{request}\r\nConnection: close\r\n\r\n").unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let answer = Answer::parse(&bytes);
        answer.status == 206 && answer.body == content[start..=last]
    };
    let (right, seconds) = std::thread::scope(|scope| {
        let read = &read;
        let thread =
            |reader| std::thread::Builder::new().stack_size(1 << 18).spawn_scoped(scope, move || read(reader)).unwrap();
        let threads: Vec<_> = (0..READERS).map(thread).collect();
        barrier.wait();
        let start = Instant::now();
        let right = threads.into_iter().filter_map(|thread| thread.join().ok()).filter(|right| *right).count();
        (right, start.elapsed().as_secs_f64())
    });
    let peak = kilobytes(server.child.id(), "VmHWM:");
    println!("{READERS} readers of {PART} bytes each: {right} answers right, {:.0} a second", READERS as f64 / seconds);
    println!("server: {before} kB before, {peak} kB at most");
    assert_eq!(right, READERS);
    assert!(peak - before < 512 << 10, "{} kB more", peak - before);
}

#[test]
fn the_static_site_has_every_file_and_no_other() {
    let room = room();
    let at = |name| path(room.path(), name);
    let (results, page, out, model) = (at("results"), at("page"), at("site"), path(workshop(), "model"));
    let arguments = ["site", &results, "--page", &page, "--model", &model, "--out", &out];
    succeed(&arguments);
    let index: Value = serde_json::from_slice(&fs::read(at("site/site.json")).unwrap()).unwrap();
    let listed = |kind: &str| index[kind].as_array().unwrap().clone();
    let of_models = listed("models").into_iter().flat_map(|model| model["files"].as_array().unwrap().clone());
    for file in listed("results").into_iter().chain(of_models) {
        let written = Path::new(&at("site")).join(file["url"].as_str().unwrap());
        assert_eq!(written.metadata().unwrap().len(), file["size_bytes"].as_u64().unwrap(), "{}", written.display());
    }
    assert!(
        Path::new(&at("site/app.wasm")).exists() && !Path::new(&at("site/results/results/m/jsts/notes.txt")).exists()
    );
    assert!(fail(2, &arguments).contains("--force"));
    succeed(&[&arguments[..], &["--force"]].concat());
    let nothing = fail(2, &["serve", "--page", &at("results")]);
    assert!(nothing.contains("web/build.sh"), "{nothing}");
    assert_eq!(anaume(&["serve", &at("nowhere"), "--page", &at("page")]).status.code(), Some(2));
}

#[test]
fn a_site_without_a_model_of_its_own_offers_the_one_inside_the_program() {
    let room = room();
    let at = |name| path(room.path(), name);
    succeed(&["site", "--page", &at("page"), "--out", &at("site")]);
    let index: Value = serde_json::from_slice(&fs::read(at("site/site.json")).unwrap()).unwrap();
    let model = &index["models"][0];
    assert_eq!(model["name"], "anaume-ja-mini");
    let mut size = 0;
    for file in model["files"].as_array().unwrap() {
        let written = fs::read(Path::new(&at("site")).join(file["url"].as_str().unwrap())).unwrap();
        assert_eq!(file["sha256"], hex(&Sha256::digest(&written)));
        size += written.len();
    }
    assert!(size <= 16 << 20, "{size} bytes are too many to load without being asked");
}
