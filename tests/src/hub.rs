//! A Hugging Face Hub on this machine: one repository, requests that are kept, and answers that a test may replace.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use sha2::Sha256;

/// Files of this many bytes and more are stored as large ones, with SHA-256.
const LARGE_BYTES: usize = 10_000;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// Path with query.
    pub path: String,
    /// Headers by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// Number of requests for this path that came before.
    pub before: usize,
}

impl Request {
    /// A header's value; empty if it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Headers; without a Content-Length the body ends with the connection.
    pub headers: Vec<(&'static str, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Reply {
    /// An answer without a body.
    pub fn status(status: u16, headers: &[(&'static str, &str)]) -> Self {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned()));
        Self {
            status,
            headers: [("Content-Length", "0".to_owned())].into_iter().chain(headers).collect(),
            body: vec![],
        }
    }

    /// A body of announced length.
    pub fn body(status: u16, body: Vec<u8>) -> Self {
        Self { status, headers: vec![("Content-Length", body.len().to_string())], body }
    }

    /// The same answer of which only the first bytes come before the connection breaks off.
    pub fn cut(mut self, num_bytes: usize) -> Self {
        self.body.truncate(num_bytes);
        self
    }
}

/// Replaces the answer that would be given, or lets it be.
type Twist = Box<dyn Fn(&Request, Reply) -> Reply + Send + Sync>;

/// The server; it ends with the test process.
pub struct Hub {
    /// `http://127.0.0.1:PORT`.
    pub endpoint: String,
    state: Arc<State>,
}

struct State {
    id: String,
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    requests: Mutex<Vec<Request>>,
    twist: Mutex<Twist>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panics while it holds this")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The hash by which the Hub knows a file: that of git, or SHA-256 of a large one.
pub fn hash(content: &[u8]) -> String {
    if content.len() >= LARGE_BYTES { hex(&Sha256::digest(content)) } else { git_hash(content) }
}

fn git_hash(content: &[u8]) -> String {
    hex(&Sha1::new_with_prefix(format!("blob {}\0", content.len())).chain_update(content).finalize())
}

impl Hub {
    /// A Hub with one repository, a model and a data set of the same name and files.
    pub fn start<'a>(id: &str, files: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
        let files = files.into_iter().map(|(name, content)| (name.to_owned(), content)).collect();
        let state = Arc::new(State {
            id: id.into(),
            files: Mutex::new(files),
            requests: Mutex::default(),
            twist: Mutex::new(Box::new(|_, usual| usual)),
        });
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                std::thread::spawn(move || state.answer(stream));
            }
        });
        Self { endpoint, state }
    }

    /// Answers otherwise from now on: `twist` gets the request and the usual answer.
    pub fn twist(&self, twist: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static) {
        *locked(&self.state.twist) = Box::new(twist);
    }

    /// Answers requests whose path ends so otherwise from now on.
    pub fn twist_at(&self, end: &'static str, twist: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static) {
        self.twist(move |request, usual| if request.path.ends_with(end) { twist(request, usual) } else { usual });
    }

    /// Replaces a file in a new commit.
    pub fn put(&self, name: &str, content: Vec<u8>) {
        locked(&self.state.files).insert(name.to_owned(), content);
    }

    /// The commit that `main` is.
    pub fn commit(&self) -> String {
        commit(&locked(&self.state.files))
    }

    /// What was asked since the last call.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut locked(&self.state.requests))
    }

    /// The requests since the last call whose path ends so.
    pub fn requests_for(&self, end: &str) -> Vec<Request> {
        let mut requests = self.requests();
        requests.retain(|request| request.path.ends_with(end));
        requests
    }
}

fn commit(files: &BTreeMap<String, Vec<u8>>) -> String {
    let all =
        files.iter().fold(Sha1::new(), |sha1, (name, content)| sha1.chain_update(name).chain_update(hash(content)));
    hex(&all.finalize())
}

/// The Hub's answer about a revision.
pub fn listing(files: &BTreeMap<String, Vec<u8>>) -> Value {
    let sibling = |(name, content): (&String, &Vec<u8>)| {
        let mut file = json!({ "rfilename": name, "size": content.len(), "blobId": git_hash(content) });
        if content.len() >= LARGE_BYTES {
            file["lfs"] = json!({ "sha256": hash(content), "size": content.len(), "pointerSize": 134 });
        }
        file
    };
    json!({ "sha": commit(files), "siblings": files.iter().map(sibling).collect::<Vec<_>>() })
}

impl State {
    fn answer(&self, mut stream: TcpStream) {
        let Some(mut request) = read_request(&stream) else { return };
        {
            let mut requests = locked(&self.requests);
            request.before = requests.iter().filter(|earlier| earlier.path == request.path).count();
            requests.push(request.clone());
        }
        let reply = locked(&self.twist)(&request, self.usual(&request));
        let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", reply.status);
        reply.headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        // A reader that goes away is no failure of this side.
        let _ = stream.write_all((head + "\r\n").as_bytes()).and_then(|()| stream.write_all(&reply.body));
    }

    fn usual(&self, request: &Request) -> Reply {
        let files = locked(&self.files);
        let path = request.path.strip_prefix("/datasets").unwrap_or(&request.path);
        let api = path.strip_prefix("/api/models/").or_else(|| path.strip_prefix("/api/datasets/"));
        if let Some(rest) = api.and_then(|rest| rest.strip_prefix(&self.id)) {
            let revision = rest.trim_start_matches("/revision/").trim_end_matches("?blobs=true");
            return match revision == "main" || revision == commit(&files) {
                true => Reply::body(200, listing(&files).to_string().into_bytes()),
                false => Reply::status(404, &[("X-Error-Code", "RevisionNotFound")]),
            };
        }
        let prefix = format!("/{}/resolve/{}/", self.id, commit(&files));
        match path.strip_prefix(&prefix).map(|name| files.get(name)) {
            Some(Some(content)) => ranged(content, request.header("range")),
            Some(None) => Reply::status(404, &[("X-Error-Code", "EntryNotFound")]),
            // The Hub does not tell a stranger what is private and what is not there.
            None => Reply::status(401, &[("X-Error-Code", "RepoNotFound")]),
        }
    }
}

fn ranged(content: &[u8], range: &str) -> Reply {
    let Some(start) = range.strip_prefix("bytes=") else { return Reply::body(200, content.to_vec()) };
    let start: usize = start.trim_end_matches('-').parse().expect("a range is open at its end");
    if start >= content.len() {
        return Reply::status(416, &[]);
    }
    let mut reply = Reply::body(206, content[start..].to_vec());
    reply.headers.push(("Content-Range", format!("bytes {start}-{}/{}", content.len() - 1, content.len())));
    reply
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let header =
        |line: String| line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
    Some(Request { path, headers: lines.filter_map(header).collect(), before: 0 })
}
