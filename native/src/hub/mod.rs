//! Models and data sets of the Hugging Face Hub under the names that they have there, in the cache that Python's library keeps.
//!
//! A path that exists is always taken as it is. `ORG/NAME[@REVISION]` that does not exist here is looked for in the cache
//! (`HF_HUB_CACHE`, `HF_HOME`) and on the Hub (`HF_ENDPOINT`, `HF_TOKEN`); nothing is asked where the cache has a commit
//! that was named, nor with `--offline` or `HF_HUB_OFFLINE`.

pub mod cache;
pub mod commands;
mod download;
mod http;
mod listing;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use crate::exit::{Coded, Exit, code_of};
use crate::files::{folder_of, missing};
use crate::model::CARD;
use cache::Cache;
use http::Client;
use listing::Listing;

/// How much of a model is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Configuration, tokenizer and card.
    Description,
    /// The weights too.
    Whole,
}

/// What a repository holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A model or a tokenizer.
    Model,
    /// A data set.
    Dataset,
}

/// A repository of the Hub at a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repo {
    /// What it holds.
    pub kind: Kind,
    /// `ORG/NAME`.
    pub id: String,
    /// Branch, tag or commit.
    pub revision: String,
}

impl Repo {
    /// Reads `ORG/NAME` or `ORG/NAME@REVISION`, by the Hub's rules for names.
    pub fn parse(kind: Kind, text: &str) -> Option<Self> {
        let (id, revision) = text.split_once('@').unwrap_or((text, "main"));
        let (organisation, name) = id.split_once('/')?;
        let is_one = is_name(organisation) && is_name(name) && !name.ends_with(".git") && cache::is_inside(revision);
        is_one.then(|| Self { kind, id: id.into(), revision: revision.into() })
    }

    /// Whether the revision is a commit, which never changes.
    pub fn is_pinned(&self) -> bool {
        listing::is_hash(&self.revision, &[40])
    }
}

fn is_name(name: &str) -> bool {
    let is_known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_edge = |c: char| c == '-' || c == '.';
    (1..=96).contains(&name.len())
        && name.chars().all(is_known)
        && !name.starts_with(is_edge)
        && !name.ends_with(is_edge)
        && !name.contains("--")
        && !name.contains("..")
}

impl std::fmt::Display for Repo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.kind == Kind::Model { "model" } else { "data set" };
        write!(f, "{kind} {}", self.id)?;
        if self.revision == "main" { Ok(()) } else { write!(f, "@{}", self.revision) }
    }
}

static OFFLINE: AtomicBool = AtomicBool::new(false);

/// Asks nothing of the network from now on.
pub fn set_offline() {
    OFFLINE.store(true, Ordering::Relaxed);
}

fn is_offline() -> bool {
    let is_true = |name| std::env::var(name).is_ok_and(|value| http::is_true(&value));
    OFFLINE.load(Ordering::Relaxed) || is_true("HF_HUB_OFFLINE") || is_true("TRANSFORMERS_OFFLINE")
}

/// The folder of a model or tokenizer that is named by its path or as `ORG/NAME[@REVISION]`.
///
/// # Errors
/// A name of the Hub that is not in the cache and cannot be downloaded.
pub fn model(named: &Path, part: Part) -> anyhow::Result<PathBuf> {
    match remote(Kind::Model, named)? {
        Some(repo) => once(&format!("{repo} {part:?}"), || fetch(&repo, |files| files.of_model(&repo, part)))
            .with_context(|| not_here(named)),
        None => Ok(named.to_owned()),
    }
}

/// The path of data that is named by its path, as `ORG/NAME[@REVISION]` (the folder of a data set), or as [`file`] takes it.
///
/// # Errors
/// A name of the Hub that is not in the cache and cannot be downloaded.
pub fn data(named: &Path) -> anyhow::Result<PathBuf> {
    match remote(Kind::Dataset, named)? {
        Some(repo) => {
            once(&repo.to_string(), || fetch(&repo, |files| Ok(files.all()))).with_context(|| not_here(named))
        }
        None => file(named),
    }
}

/// The path of a file of data that is named by its path or as `hf://datasets/ORG/NAME[@REVISION]/FILE`, which may be a
/// pattern; only what matches is downloaded.
///
/// # Errors
/// A name of the Hub that is not in the cache and cannot be downloaded.
pub fn file(named: &Path) -> anyhow::Result<PathBuf> {
    let Some((repo, pattern)) = in_dataset(named)? else { return Ok(named.to_owned()) };
    let folder = once(&format!("{repo} {pattern}"), || fetch(&repo, |files| files.matching(&repo, &pattern)))?;
    Ok(folder.join(pattern))
}

/// The name of a folder; one in the cache is called after its commit, so that of the repository.
pub fn folder_name(folder: &Path) -> String {
    let whole = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let mut names = whole.ancestors().map(|path| path.file_name().unwrap_or_default().to_string_lossy());
    match [names.next(), names.next(), names.next()].map(Option::unwrap_or_default) {
        [_, above, repo] if above == "snapshots" && repo.contains("--") => {
            repo.rsplit("--").next().unwrap_or_default().to_owned()
        }
        [name, ..] => name.into_owned(),
    }
}

/// The repository and the pattern of `hf://datasets/…`; `None` for what does not begin so.
fn in_dataset(named: &Path) -> anyhow::Result<Option<(Repo, String)>> {
    let Some(uri) = named.to_str().and_then(|text| text.strip_prefix("hf://")) else { return Ok(None) };
    let parts: Vec<_> = uri.strip_prefix("datasets/").unwrap_or_default().splitn(3, '/').collect();
    let parsed = match parts[..] {
        [organisation, name, pattern] if cache::is_inside(pattern) => {
            Repo::parse(Kind::Dataset, &format!("{organisation}/{name}")).map(|repo| (repo, pattern.to_owned()))
        }
        _ => None,
    };
    let wrong = || Coded::error(Exit::Usage, format!("hf://{uri}: expected hf://datasets/ORG/NAME/FILE"));
    parsed.map(Some).ok_or_else(wrong)
}

/// The repository that is meant by what is no path here.
///
/// # Errors
/// A name that is missing in a folder that is here: nobody means the Hub by a mistyped `run/step-1`.
fn remote(kind: Kind, named: &Path) -> anyhow::Result<Option<Repo>> {
    let repo = named.to_str().and_then(|text| Repo::parse(kind, text));
    let Some(repo) = repo.filter(|_| named.symlink_metadata().is_err()) else { return Ok(None) };
    let names_revision = named.to_string_lossy().contains('@');
    if folder_of(named).is_dir() && !names_revision {
        let message = format!("{}; the {repo} of the Hub is written {}@main", missing(named), repo.id);
        return Err(Coded::error(Exit::Usage, message));
    }
    Ok(Some(repo))
}

fn not_here(named: &Path) -> String {
    format!("{} is not here and was looked for on the Hub", named.display())
}

/// Asks once for each name in a run of the program, so that one run sees one revision.
fn once(name: &str, find: impl FnOnce() -> anyhow::Result<PathBuf>) -> anyhow::Result<PathBuf> {
    static FOUND: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut found = FOUND.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(path) = found.get(name) {
        return Ok(path.clone());
    }
    let path = find()?;
    found.insert(name.to_owned(), path.clone());
    Ok(path)
}

/// The folder of a repository with those of its files that `wanted` names, downloaded where they are not there.
fn fetch(repo: &Repo, wanted: impl Fn(&Listing) -> anyhow::Result<Vec<String>>) -> anyhow::Result<PathBuf> {
    let cache = Cache::of(repo)?;
    if is_offline() {
        return cached(&cache, repo, &wanted)?.ok_or_else(|| {
            let download = format!("anaume download {}", commands::arguments(repo));
            let message = format!("the {repo} is not in {}: run `{download}` with a network", cache.root().display());
            Coded::error(Exit::Usage, message)
        });
    }
    if repo.is_pinned()
        && cache.listing(&repo.revision).is_some()
        && let Some(folder) = cached(&cache, repo, &wanted)?
    {
        return Ok(folder);
    }
    let client = Client::new(repo)?;
    let listed = match client.listing() {
        Ok(listed) => listed,
        Err(error) => {
            let folder = cached(&cache, repo, &wanted)?.filter(|_| code_of(&error) == Exit::Network);
            let Some(folder) = folder else { return Err(error) };
            eprintln!("warning: {error:#}; taking the {repo} from the cache");
            return Ok(folder);
        }
    };
    let names = wanted(&listed)?;
    download::files(&client, &cache, &listed, &names)?;
    cache.remember(&repo.revision, &listed);
    Ok(cache.snapshot(&listed.commit))
}

/// The folder in the cache, unless a file is known to be missing from it.
fn cached(
    cache: &Cache,
    repo: &Repo,
    wanted: impl Fn(&Listing) -> anyhow::Result<Vec<String>>,
) -> anyhow::Result<Option<PathBuf>> {
    let Some(commit) = cache.commit(&repo.revision) else { return Ok(None) };
    let folder = Some(cache.snapshot(&commit)).filter(|folder| folder.is_dir());
    let Some(listed) = cache.listing(&commit) else { return Ok(folder) };
    for name in wanted(&listed)? {
        // Python's library downloads no cards.
        if name != CARD && !cache.place(&commit, &name)?.exists() {
            return Ok(None);
        }
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_the_hub() {
        let parsed = |text| Repo::parse(Kind::Model, text).map(|repo| (repo.id, repo.revision));
        assert_eq!(parsed("org/name"), Some(("org/name".into(), "main".into())));
        assert_eq!(parsed("o_r.g/na-me@refs/pr/1"), Some(("o_r.g/na-me".into(), "refs/pr/1".into())));
        for path in [
            "name",
            "a/b/c",
            "./model",
            "../model",
            "/model",
            "model/",
            "a/.b",
            "a/b--c",
            "a/b.git",
            "a/b*",
            "a/モデル",
            "a/b@",
            "a/b@../c",
            "a/b@/c",
        ] {
            assert_eq!(parsed(path), None, "{path}");
        }
    }

    #[test]
    fn a_folder_of_the_cache_is_called_as_its_repository() {
        let name = |path| folder_name(Path::new(path));
        assert_eq!(name("/nosuch/hub/datasets--org--my-name/snapshots/0123"), "my-name");
        assert_eq!(name("/nosuch/snapshots/0123"), "0123");
        assert_eq!(name("/nosuch/data"), "data");
    }

    #[test]
    fn files_of_a_data_set_are_named_by_uri() {
        let parsed = |text: &str| in_dataset(Path::new(text));
        let (repo, pattern) = parsed("hf://datasets/org/name@v1/data/*.jsonl").unwrap().unwrap();
        assert_eq!((repo.id.as_str(), repo.revision.as_str(), pattern.as_str()), ("org/name", "v1", "data/*.jsonl"));
        assert_eq!(parsed("data/a.jsonl").unwrap(), None);
        for wrong in ["hf://org/name", "hf://datasets/org/name", "hf://datasets/org/name/../x", "hf://datasets/a"] {
            assert_eq!(code_of(&parsed(wrong).unwrap_err()), Exit::Usage, "{wrong}");
        }
    }
}
