//! Requests to the Hub: which failures pass, and what a refusal means.

use std::io::Read;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ureq::http::{HeaderMap, Response, StatusCode, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, Error, Timeout};

use super::cache::{home, path_in};
use super::listing::Listing;
use super::{Kind, Repo};
use crate::exit::{Coded, Exit};
use crate::progress::format_duration;

/// The wait after a failure doubles from the first of these to the second.
const WAITS: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(8)];
/// Failures one after the other that are waited out, where `ANAUME_HUB_RETRIES` says nothing.
const RETRIES: u32 = 6;
/// Longest wait that a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// A server that cannot be reached, or says nothing, for so long is gone.
const TIMEOUTS: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(30)];
/// Largest list of files.
const MAX_LISTING_BYTES: u64 = 100 << 20;
/// Characters that stand for themselves in an address.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Why a request came to nothing.
pub enum Failure {
    /// Something that may be gone at the next try, with the wait that the server asks for.
    Passing(String, Option<Duration>),
    /// No connection.
    Unreachable(String),
    /// Something that stays.
    Lasting(anyhow::Error),
}

/// A connection to the Hub for one repository.
pub struct Client<'a> {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
    /// The repository.
    pub repo: &'a Repo,
}

impl<'a> Client<'a> {
    /// Reads `HF_ENDPOINT` and the token; asks nothing yet.
    pub fn new(repo: &'a Repo) -> anyhow::Result<Self> {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // The token goes to the Hub alone, not to where it keeps large files.
            .redirect_auth_headers(ureq::config::RedirectAuthHeaders::SameHost)
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .user_agent(concat!("anaume/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(TIMEOUTS[0]))
            .timeout_connect(Some(TIMEOUTS[0]))
            .timeout_recv_response(Some(TIMEOUTS[1]))
            .timeout_per_read(Some(TIMEOUTS[1]))
            .build()
            .new_agent();
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        Ok(Self { agent, endpoint: endpoint.trim_end_matches('/').into(), token: token()?, repo })
    }

    /// The files of the repository at its revision.
    pub fn listing(&self) -> anyhow::Result<Listing> {
        let kind = if self.repo.kind == Kind::Model { "models" } else { "datasets" };
        let Repo { id, revision, .. } = self.repo;
        let path = format!("api/{kind}/{id}/revision/{}?blobs=true", utf8_percent_encode(revision, ESCAPED));
        let mut tries = Tries::default();
        loop {
            match self.bytes(&path) {
                Ok(json) => return Listing::from_answer(&json),
                Err(Failure::Unreachable(reason)) => return Err(Coded::error(Exit::Network, reason)),
                Err(failure) => tries.again(failure)?,
            }
        }
    }

    fn bytes(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        let body = self.get(path, None, 0)?.into_body().into_reader();
        match body.take(MAX_LISTING_BYTES).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(cause) => Err(self.failure(&cause.into())),
        }
    }

    /// Asks for a file of a commit from a byte on.
    pub fn file(&self, commit: &str, name: &str, from: u64) -> Result<Response<Body>, Failure> {
        let kind = if self.repo.kind == Kind::Model { "" } else { "datasets/" };
        let parts: Vec<_> = name.split('/').map(|part| utf8_percent_encode(part, ESCAPED).to_string()).collect();
        self.get(&format!("{kind}{}/resolve/{commit}/{}", self.repo.id, parts.join("/")), Some(name), from)
    }

    fn get(&self, path: &str, file: Option<&str>, from: u64) -> Result<Response<Body>, Failure> {
        let mut request = self.agent.get(format!("{}/{path}", self.endpoint));
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        let response = request.call().map_err(|error| self.failure(&error))?;
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(response),
            StatusCode::RANGE_NOT_SATISFIABLE if from > 0 => Ok(response),
            status => Err(self.refusal(status, response.headers(), file)),
        }
    }

    /// What an error of the connection is.
    pub fn failure(&self, error: &Error) -> Failure {
        let reason = format!("{} cannot be reached: {error}", self.endpoint);
        match error {
            Error::HostNotFound | Error::ConnectionFailed | Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
                Failure::Unreachable(reason)
            }
            Error::Io(cause) if cause.kind() == std::io::ErrorKind::ConnectionRefused => Failure::Unreachable(reason),
            Error::Io(_) | Error::Timeout(_) | Error::Protocol(_) => {
                Failure::Passing(format!("the connection to {} broke off: {error}", self.endpoint), None)
            }
            _ => Failure::Lasting(Coded::error(Exit::Network, reason)),
        }
    }

    fn refusal(&self, status: StatusCode, headers: &HeaderMap, file: Option<&str>) -> Failure {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (repo, endpoint, code) = (self.repo, &self.endpoint, text("X-Error-Code"));
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            let wait = text("Retry-After").trim().parse().ok().map(Duration::from_secs);
            return Failure::Passing(format!("{endpoint} answers HTTP {status} for the {repo}"), wait);
        }
        let prefix = if repo.kind == Kind::Model { "" } else { "datasets/" };
        let page = format!("{endpoint}/{prefix}{}", repo.id);
        let (exit, reason) = match (status.as_u16(), file) {
            _ if code == "GatedRepo" => {
                (Exit::Usage, format!("accept its licence on {page} and set HF_TOKEN to a token of that account"))
            }
            (401, _) => (
                Exit::Usage,
                "there is none of that name, or it is private: check the name, and set HF_TOKEN to a token that may read it"
                    .into(),
            ),
            (403, _) => (Exit::Usage, format!("HF_TOKEN may not read it; if {page} asks for it, accept its licence")),
            (404, Some(file)) => (Exit::Usage, format!("it has no file {file}")),
            (404, None) if code == "RevisionNotFound" => {
                (Exit::Usage, format!("it has no revision `{}`; see {page}", repo.revision))
            }
            (404, None) => (Exit::Usage, "there is none of that name".into()),
            _ => (Exit::Network, "which is no answer of a Hub; see HF_ENDPOINT".into()),
        };
        Failure::Lasting(Coded::error(exit, format!("{endpoint} answers HTTP {status} for the {repo}: {reason}")))
    }
}

/// The tries that are left.
#[derive(Default)]
pub struct Tries {
    failures: u32,
}

impl Tries {
    /// Waits before the next try.
    ///
    /// # Errors
    /// A failure that stays, or too many of them.
    pub fn again(&mut self, failure: Failure) -> anyhow::Result<()> {
        let (reason, asked) = match failure {
            Failure::Lasting(error) => return Err(error),
            Failure::Unreachable(reason) => (reason, None),
            Failure::Passing(reason, asked) => (reason, asked),
        };
        let retries = variable("ANAUME_HUB_RETRIES").and_then(|number| number.parse().ok()).unwrap_or(RETRIES);
        let wait = (WAITS[0] * 2_u32.saturating_pow(self.failures)).min(WAITS[1]).max(asked.unwrap_or_default());
        self.failures += 1;
        if self.failures > retries {
            let message = format!("{reason}; {retries} more tries came to nothing: run the command again to go on");
            return Err(Coded::error(Exit::Network, message));
        }
        if wait > LONGEST_WAIT {
            let message = format!("{reason} and asks to come again in {}", format_duration(wait));
            return Err(Coded::error(Exit::Network, message));
        }
        eprintln!("{reason}; trying again in {}", format_duration(wait));
        std::thread::sleep(wait);
        Ok(())
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether an environment variable says yes, as Python's library reads it.
pub fn is_true(value: &str) -> bool {
    ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str())
}

/// The token of the environment, else the one that `hf auth login` stored.
fn token() -> anyhow::Result<Option<String>> {
    let stored = || {
        let path = path_in("HF_TOKEN_PATH").map_or_else(|| Ok(home()?.join("token")), anyhow::Ok)?;
        anyhow::Ok(std::fs::read_to_string(path).ok())
    };
    let token = match ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"].into_iter().find_map(variable) {
        Some(token) => Some(token),
        None => stored()?,
    };
    let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
    match &token {
        Some(token) if !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err(Coded::error(Exit::Usage, "HF_TOKEN holds characters that no token has"))
        }
        _ => Ok(token),
    }
}
