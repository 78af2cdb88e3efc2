//! The cache of Python's library on disk: `KIND--ORG--NAME/blobs/HASH`, `refs/REVISION`, and links to the blobs in
//! `snapshots/COMMIT/FILE`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context;
use fs4::FileExt;

use super::listing::{Entry, Listing, is_hash};
use super::{Kind, Repo};
use crate::exit::{Coded, Exit};
use crate::files::{folder_of, make_dir, write_atomic};

/// Folder for lists of files. Python's has lists too, of snapshots that it then expects to be complete.
const OWN_LISTS: &str = ".anaume";
const LISTS: [&str; 2] = [OWN_LISTS, "trees"];

/// The part of the cache that belongs to a repository.
pub struct Cache {
    root: PathBuf,
    name: String,
}

impl Cache {
    /// The place of a repository, which may not exist.
    pub fn of(repo: &Repo) -> anyhow::Result<Self> {
        let kind = if repo.kind == Kind::Model { "models" } else { "datasets" };
        Ok(Self { root: root()?, name: format!("{kind}--{}", repo.id.replace('/', "--")) })
    }

    /// The whole cache.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn repo(&self) -> PathBuf {
        self.root.join(&self.name)
    }

    /// The commit that a revision was when it was last seen.
    pub fn commit(&self, revision: &str) -> Option<String> {
        let seen = || fs::read_to_string(self.repo().join("refs").join(revision)).ok();
        let commit = if is_hash(revision, &[40]) { Some(revision.to_owned()) } else { seen() };
        commit.map(|commit| commit.trim().to_owned()).filter(|commit| is_hash(commit, &[40]))
    }

    /// The folder of a commit's files.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.repo().join("snapshots").join(commit)
    }

    /// Where a file of a commit appears.
    ///
    /// # Errors
    /// A name that leads out of the folder.
    pub fn place(&self, commit: &str, name: &str) -> anyhow::Result<PathBuf> {
        match is_inside(name) {
            true => Ok(self.snapshot(commit).join(name)),
            false => Err(Coded::error(Exit::Data, format!("the Hub lists a file `{name}`, which is no name of one"))),
        }
    }

    /// Where the content of that hash lies.
    pub fn blob(&self, hash: &str) -> PathBuf {
        self.repo().join("blobs").join(hash)
    }

    /// Takes the content of that hash for this process, as long as the file is open; waits for one that has it.
    pub fn lock(&self, hash: &str) -> anyhow::Result<File> {
        let path = self.root.join(".locks").join(&self.name).join(format!("{hash}.lock"));
        make_dir(folder_of(&path))?;
        let lock = || -> std::io::Result<File> {
            let file = File::options().write(true).create(true).truncate(false).open(&path)?;
            if FileExt::try_lock(&file).is_err() {
                eprintln!("waiting for another process that downloads the same file");
                FileExt::lock(&file)?;
            }
            Ok(file)
        };
        lock().with_context(|| format!("cannot lock {}", path.display()))
    }

    /// Lets a file appear under its name.
    pub fn link(&self, commit: &str, name: &str, entry: &Entry) -> anyhow::Result<()> {
        let place = self.place(commit, name)?;
        make_dir(folder_of(&place))?;
        if place.symlink_metadata().is_ok() {
            fs::remove_file(&place).with_context(|| format!("cannot replace {}", place.display()))?;
        }
        #[cfg(unix)]
        let linked = {
            // Relative, so that the cache can be moved.
            let up = "../".repeat(name.matches('/').count() + 2);
            std::os::unix::fs::symlink(format!("{up}blobs/{}", entry.hash()), &place)
        };
        #[cfg(not(unix))]
        let linked = fs::hard_link(self.blob(entry.hash()), &place);
        linked.with_context(|| format!("cannot link {}", place.display()))
    }

    /// What is known of a commit's files.
    pub fn listing(&self, commit: &str) -> Option<Listing> {
        LISTS.iter().find_map(|folder| Listing::from_cache(commit, &fs::read(self.list(folder, commit)).ok()?))
    }

    fn list(&self, folder: &str, commit: &str) -> PathBuf {
        self.repo().join(folder).join(format!("{commit}.json"))
    }

    /// Notes which commit a revision is and what it holds, once its files are there. A cache that cannot be written is as
    /// good without.
    pub fn remember(&self, revision: &str, listing: &Listing) {
        let commit = &listing.commit;
        let note = |path: PathBuf, bytes: &[u8]| match fs::read(&path) {
            Ok(before) if before == bytes => Ok(()),
            _ => make_dir(folder_of(&path)).and_then(|()| write_atomic(&path, bytes)),
        };
        let list = note(self.list(OWN_LISTS, commit), &listing.to_cache());
        let reference = match revision == commit {
            true => Ok(()),
            false => note(self.repo().join("refs").join(revision), commit.as_bytes()),
        };
        if let Err(error) = list.and(reference) {
            eprintln!("warning: {error:#}");
        }
    }
}

/// The whole cache: `HF_HUB_CACHE`, or `hub` in [`home`].
pub fn root() -> anyhow::Result<PathBuf> {
    match ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"].into_iter().find_map(path_in) {
        Some(root) => Ok(root),
        None => Ok(home()?.join("hub")),
    }
}

/// How many repositories a cache holds, and the bytes of their files. What cannot be read counts nothing.
pub fn holdings(root: &Path) -> (usize, u64) {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    let repos: Vec<PathBuf> =
        entries(root).map(|entry| entry.path().join("blobs")).filter(|blobs| blobs.is_dir()).collect();
    let blobs = repos.iter().flat_map(|blobs| entries(blobs)).filter_map(|blob| blob.metadata().ok());
    (repos.len(), blobs.map(|blob| blob.len()).sum())
}

/// `HF_HOME`, where Python's library keeps everything.
pub fn home() -> anyhow::Result<PathBuf> {
    let cache = || path_in("XDG_CACHE_HOME").or_else(|| Some(std::env::home_dir()?.join(".cache")));
    let home = path_in("HF_HOME").or_else(|| Some(cache()?.join("huggingface")));
    home.ok_or_else(|| Coded::error(Exit::Usage, "there is no home folder for the Hub's cache: set HF_HOME"))
}

/// The path in an environment variable; `~` is the home folder, as in Python.
pub fn path_in(variable: &str) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os(variable).filter(|value| !value.is_empty())?);
    match (path.strip_prefix("~"), std::env::home_dir()) {
        (Ok(rest), Some(home)) => Some(home.join(rest)),
        _ => Some(path),
    }
}

/// Whether a name, of whatever system, stays in the folder that it is joined to.
pub fn is_inside(name: &str) -> bool {
    let is_plain = |part: &str| !["", ".", ".."].contains(&part) && !part.contains([':', '\0']);
    name.split(['/', '\\']).all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leads_elsewhere_is_not_inside() {
        for name in ["a", "a/b.json", ".gitattributes", "a..b/c"] {
            assert!(is_inside(name), "{name}");
        }
        for name in
            ["", "/a", "a//b", "a/", "..", "../a", "a/../../b", "a\\..\\b", "C:\\a", "\\\\host\\a", "./a", "a\0"]
        {
            assert!(!is_inside(name), "{name}");
        }
    }
}
