//! `anaume serve`: the page with results, runs and models beside it, for this machine alone unless asked otherwise.
//!
//! Only GET and HEAD, only under the names of [`Guard`], only files that [`Library::find`] knows.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use percent_encoding::percent_decode_str;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt;
use tower_http::services::ServeFile;

use super::Contents;
use super::assets::{Asset, Assets};
use super::library::{INDEX, Library};

/// Connections at a time; more wait.
const MAX_CONNECTIONS: usize = 1024;
/// A reader that sends no whole request for so long, or takes nothing of an answer, is cut off.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Files open at a time: a connection and what it is answered with, and some of our own.
const MAX_OPEN_FILES: u64 = 2 * MAX_CONNECTIONS as u64 + 64;
/// Answers under way when the server is asked to stop may go on for so long.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a request at most; there is no body that we read.
const MAX_REQUEST_BYTES: usize = 32 << 10;

/// What the page may do: run its own code, compute, and fetch models that the reader names, from this machine too; nothing
/// inline, no frame. `web/index.html` says the same for static servers, but for the frames, which only a header forbids.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; \
    img-src 'self' data: blob:; connect-src 'self' https: http://127.0.0.1:* http://localhost:*; manifest-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Arguments of `anaume serve`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    pub contents: Contents,
    /// Address to listen on; anything but loopback lets other machines read what is shown
    #[arg(long, default_value = "127.0.0.1")]
    pub host: IpAddr,
    /// Port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 8384)]
    pub port: u16,
    /// Further name that this server is reached under, such as that of a proxy
    #[arg(long, value_name = "NAME")]
    pub allow_host: Vec<String>,
    /// Isolate the page from other origins (COOP, COEP)
    #[arg(long)]
    pub isolate: bool,
}

/// `anaume serve`, until SIGINT or SIGTERM.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let (assets, library) = args.contents.open()?;
    if let Err(cause) = rlimit::increase_nofile_limit(MAX_OPEN_FILES) {
        tracing::warn!("fewer than {MAX_CONNECTIONS} readers at a time can be answered: {cause}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let stop = runtime.block_on(async { stop_signal() })?;
    runtime.block_on(async {
        let address = SocketAddr::new(args.host, args.port);
        let listener = listen(address).with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr()?;
        let site = Site { assets, library, guard: Guard::new(address.ip(), &args.allow_host), isolate: args.isolate };
        println!("http://{address}/");
        eprintln!("ends with Ctrl+C");
        serve(listener, site, stop).await;
        Ok(())
    })
}

/// Listens with a queue as long as there are places: with the usual one of 128 a burst of readers loses some.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Started again at once, it gets its port again.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(MAX_CONNECTIONS as u32)
}

/// Ends with SIGINT or SIGTERM.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    Ok(async move {
        #[cfg(unix)]
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        #[cfg(not(unix))]
        // Where no signal can be heard, the server ends with its process.
        let _ = tokio::signal::ctrl_c().await;
    })
}

/// Answers requests until `stop` ends.
async fn serve(listener: TcpListener, site: Site, stop: impl Future<Output = ()>) {
    let router = Router::new().fallback(answer).with_state(Arc::new(site));
    let (connections, places) = (GracefulShutdown::new(), Arc::new(Semaphore::new(MAX_CONNECTIONS)));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(TIMEOUT).max_buf_size(MAX_REQUEST_BYTES);
    tokio::pin!(stop);
    loop {
        let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(cause) => {
                // Such as too many open files: others end meanwhile.
                tracing::warn!("a connection was not accepted: {cause}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(TIMEOUT));
        let service = TowerToHyperService::new(router.clone());
        let connection = connections.watch(builder.serve_connection(TokioIo::new(Box::pin(stream)), service));
        tokio::spawn(async move {
            if let Err(cause) = connection.await {
                tracing::debug!("a connection broke off: {cause}");
            }
            drop(place);
        });
    }
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, connections.shutdown()).await.is_err() {
        tracing::warn!("answers were under way for more than {} s and were cut off", SHUTDOWN_TIMEOUT.as_secs());
    }
}

/// Everything that is answered with.
struct Site {
    assets: Assets,
    library: Library,
    guard: Guard,
    isolate: bool,
}

async fn answer(State(site): State<Arc<Site>>, request: Request) -> Response {
    let mut response = site.answer(request).await;
    let headers = response.headers_mut();
    for (name, value) in site.headers() {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

impl Site {
    fn headers(&self) -> impl Iterator<Item = (HeaderName, &'static str)> + use<> {
        let always = [
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
            // Asked again each time, answered with 304 where nothing has changed.
            (header::CACHE_CONTROL, "no-cache"),
        ];
        let isolated = [
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
            (HeaderName::from_static("cross-origin-embedder-policy"), "require-corp"),
        ];
        always.into_iter().chain(isolated.into_iter().take(if self.isolate { 2 } else { 0 }))
    }

    async fn answer(&self, request: Request) -> Response {
        if let Err(reason) = self.guard.check(request.headers(), request.uri()) {
            return (StatusCode::FORBIDDEN, reason).into_response();
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response();
        }
        let Ok(path) = percent_decode_str(request.uri().path()).decode_utf8() else {
            return (StatusCode::BAD_REQUEST, "the address is not UTF-8").into_response();
        };
        let name = path.trim_start_matches('/');
        if name == INDEX {
            return self.index();
        }
        match (self.assets.get(name), self.library.find(name)) {
            (Some(asset), _) => asset.response(request.headers()),
            (None, Some(file)) => serve_file(&file, request).await,
            (None, None) => (StatusCode::NOT_FOUND, "there is no such file").into_response(),
        }
    }

    fn index(&self) -> Response {
        match self.library.index() {
            Ok(index) => ([(header::CONTENT_TYPE, "application/json")], index.to_json()).into_response(),
            Err(cause) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{cause:#}")).into_response(),
        }
    }
}

impl Asset {
    fn response(&self, request: &HeaderMap) -> Response {
        let has = |name: HeaderName, word: &str| {
            request.get(name).and_then(|value| value.to_str().ok()).is_some_and(|text| text.contains(word))
        };
        let tag = (header::ETAG, self.tag.as_str());
        if has(header::IF_NONE_MATCH, &self.tag) {
            return (StatusCode::NOT_MODIFIED, [tag]).into_response();
        }
        let common = [tag, (header::CONTENT_TYPE, self.media_type), (header::VARY, "accept-encoding")];
        if self.compresses() && has(header::ACCEPT_ENCODING, "gzip") {
            return (common, [(header::CONTENT_ENCODING, "gzip")], self.gzip().to_vec()).into_response();
        }
        (common, self.bytes.to_vec()).into_response()
    }
}

/// A file with ranges and entity tags. A range of another version of the file than the reader has would join two files
/// into a broken one, so it gets the whole.
async fn serve_file(path: &std::path::Path, mut request: Request) -> Response {
    if request.headers().contains_key(header::IF_RANGE) {
        let mut probe = Request::new(Body::empty());
        *probe.method_mut() = Method::HEAD;
        let now = file_response(path, probe).await.headers().get(header::ETAG).cloned();
        if now.as_ref() != request.headers().get(header::IF_RANGE) {
            request.headers_mut().remove(header::RANGE);
        }
    }
    file_response(path, request).await
}

async fn file_response(path: &std::path::Path, request: Request) -> Response {
    let served: Result<_, Infallible> = ServeFile::new(path).oneshot(request).await;
    served.map_or_else(|never| match never {}, |response| response.map(Body::new))
}

/// Which names this server answers to. A page of another site whose name was pointed at this machine (DNS rebinding)
/// comes under a name that is not among them.
struct Guard {
    hosts: BTreeSet<String>,
}

impl Guard {
    fn new(listening: IpAddr, more: &[String]) -> Self {
        let mut hosts: BTreeSet<String> = more.iter().map(|name| name.to_ascii_lowercase()).collect();
        hosts.extend(["localhost", "127.0.0.1", "[::1]"].map(str::to_owned));
        hosts.insert(if listening.is_ipv6() { format!("[{listening}]") } else { listening.to_string() });
        Self { hosts }
    }

    /// Every name in a request must be allowed: that of the server, of the page that asks, and in an address that is whole.
    fn check(&self, headers: &HeaderMap, address: &Uri) -> Result<(), String> {
        let texts = |name: HeaderName| {
            headers.get_all(name).into_iter().map(|value| value.to_str().unwrap_or("?").to_ascii_lowercase())
        };
        let mut names: Vec<(&str, String)> = texts(header::HOST).map(|host| ("Host", host)).collect();
        if names.is_empty() {
            names.push(("Host", String::new()));
        }
        names.extend(texts(header::ORIGIN).map(|origin| {
            let after_scheme = origin.split_once("://").map(|(_, rest)| rest.to_owned());
            ("Origin", after_scheme.unwrap_or(origin))
        }));
        names.extend(address.authority().map(|authority| ("Address", authority.as_str().to_ascii_lowercase())));
        for (kind, authority) in names {
            if !self.hosts.contains(without_port(&authority)) {
                return Err(format!(
                    "{kind} `{authority}` is not served; start with --allow-host NAME if it should be"
                ));
            }
        }
        Ok(())
    }
}

/// The host of `host:port`; an address of IPv6 keeps its brackets.
fn without_port(authority: &str) -> &str {
    match authority.rfind(':') {
        Some(colon) if !authority[colon..].contains(']') => &authority[..colon],
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(host: &str, origin: Option<&str>) -> bool {
        let guard = Guard::new("127.0.0.1".parse().unwrap(), &["Anaume.example".into()]);
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        origin.map(|origin| headers.insert(header::ORIGIN, origin.parse().unwrap()));
        guard.check(&headers, &Uri::default()).is_ok()
    }

    #[test]
    fn only_this_machines_names_and_the_allowed_ones_are_answered() {
        for host in ["localhost:8384", "127.0.0.1", "[::1]:1", "LOCALHOST", "anaume.example:80"] {
            assert!(allowed(host, None), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io:8384", "", "[::2]", "192.168.0.1"] {
            assert!(!allowed(host, None), "{host}");
        }
        assert!(allowed("localhost:1", Some("http://localhost:1")));
        for origin in ["https://evil.example", "null", "http://localhost.evil.example"] {
            assert!(!allowed("localhost:1", Some(origin)), "{origin}");
        }
        assert!(
            Guard::new("127.0.0.1".parse().unwrap(), &[]).check(&HeaderMap::new(), &Uri::default()).is_err(),
            "no Host"
        );
    }
}
