//! The files of a repository at a commit, with sizes and hashes.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use glob::{MatchOptions, Pattern};
use serde::{Deserialize, Serialize};

use super::{Part, Repo};
use crate::exit::{Coded, Exit, WithExit};
use crate::model::{DESCRIPTION_FILES, WEIGHTS};

/// Version of the list in the cache, which is that of Python's library.
const FORMAT_VERSION: u32 = 1;

/// The files of a commit.
#[derive(Debug)]
pub struct Listing {
    /// Hash of the commit.
    pub commit: String,
    files: Files,
}

/// The list as Python's library writes it.
#[derive(Debug, Serialize, Deserialize)]
struct Files {
    format_version: u32,
    files: BTreeMap<String, Entry>,
}

/// A file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    size: u64,
    blob_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lfs_sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lfs_size: Option<u64>,
}

impl Entry {
    /// SHA-256 of a large file, that of git (SHA-1) of a small one.
    pub fn hash(&self) -> &str {
        self.lfs_sha256.as_ref().unwrap_or(&self.blob_id)
    }

    /// Its size.
    pub fn num_bytes(&self) -> u64 {
        self.lfs_size.unwrap_or(self.size)
    }
}

/// What `/api/models/ORG/NAME/revision/REVISION?blobs=true` answers.
#[derive(Deserialize)]
struct Answer {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: u64,
    blob_id: String,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

impl Listing {
    /// Reads the Hub's answer.
    pub fn from_answer(json: &[u8]) -> anyhow::Result<Self> {
        let parsed = serde_json::from_slice(json).context("the list of files is not the Hub's").and_then(checked);
        parsed.exit(Exit::Data, "the Hub's answer cannot be used; see HF_ENDPOINT")
    }

    /// Reads the list that the cache has of a commit.
    pub fn from_cache(commit: &str, json: &[u8]) -> Option<Self> {
        let files: Files = serde_json::from_slice(json).ok()?;
        let is_whole = files.format_version == FORMAT_VERSION && files.files.values().all(is_hashed);
        is_whole.then(|| Self { commit: commit.to_owned(), files })
    }

    /// The list for the cache.
    pub fn to_cache(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(&self.files).expect("strings and numbers are JSON")
    }

    /// A file of the list.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.files.files.get(name)
    }

    /// Every file.
    pub fn all(&self) -> Vec<String> {
        self.files.files.keys().cloned().collect()
    }

    /// Whether this is a tokenizer and no model, of whatever form.
    pub fn has_no_weights(&self) -> bool {
        let is_weights = |name: &str| {
            [".safetensors", ".bin", ".h5", ".msgpack", ".onnx", ".gguf"].iter().any(|end| name.ends_with(end))
        };
        !self.files.files.keys().any(|name| is_weights(name))
    }

    /// What is read of a model: no weights of other programs.
    pub fn of_model(&self, repo: &Repo, part: Part) -> anyhow::Result<Vec<String>> {
        let has_whole = self.entry(WEIGHTS).is_some();
        let is_weights =
            |name: &str| name.ends_with(".safetensors") && !name.contains('/') && !has_whole || name == WEIGHTS;
        let mut names = self.all();
        if part == Part::Whole && !names.iter().any(|name| is_weights(name)) {
            let message = format!("the {repo} has no weights in safetensors, the only form that is read");
            return Err(Coded::error(Exit::Data, message));
        }
        names.retain(|name| DESCRIPTION_FILES.contains(&name.as_str()) || part == Part::Whole && is_weights(name));
        Ok(names)
    }

    /// The files that match a pattern.
    pub fn matching(&self, repo: &Repo, pattern: &str) -> anyhow::Result<Vec<String>> {
        let options = MatchOptions { require_literal_separator: true, ..MatchOptions::default() };
        let matcher =
            Pattern::new(pattern).exit(Exit::Usage, format!("{pattern} is no valid pattern of file names"))?;
        let mut names = self.all();
        names.retain(|name| matcher.matches_with(name, options));
        match names.is_empty() {
            true => Err(Coded::error(Exit::Usage, format!("no file of the {repo} matches {pattern}"))),
            false => Ok(names),
        }
    }
}

fn checked(answer: Answer) -> anyhow::Result<Listing> {
    ensure!(is_hash(&answer.sha, &[40]), "`{}` is no hash of a commit", answer.sha);
    let mut files = BTreeMap::new();
    for sibling in answer.siblings {
        let (lfs_sha256, lfs_size) = sibling.lfs.map(|lfs| (lfs.sha256, lfs.size)).unzip();
        let size = lfs_size.unwrap_or(sibling.size);
        let entry = Entry { size, blob_id: sibling.blob_id, lfs_sha256, lfs_size };
        ensure!(is_hashed(&entry), "{} has no hash", sibling.rfilename);
        files.insert(sibling.rfilename, entry);
    }
    Ok(Listing { commit: answer.sha, files: Files { format_version: FORMAT_VERSION, files } })
}

fn is_hashed(entry: &Entry) -> bool {
    is_hash(&entry.blob_id, &[40]) && entry.lfs_sha256.as_ref().is_none_or(|hash| is_hash(hash, &[64]))
}

/// Whether a text is a hash of one of these numbers of digits, and so the safe name of a file.
pub fn is_hash(text: &str, lengths: &[usize]) -> bool {
    lengths.contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Kind;
    use super::*;

    fn listing(names: &[&str]) -> Listing {
        let siblings = names.iter().map(|name| json!({ "rfilename": name, "size": 1, "blobId": "a".repeat(40) }));
        let answer = json!({ "sha": "b".repeat(40), "siblings": siblings.collect::<Vec<_>>() });
        Listing::from_answer(answer.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn of_a_model_only_what_is_read_is_wanted() {
        let repo = Repo::parse(Kind::Model, "org/name").unwrap();
        let wanted = |names: &[&str], part| listing(names).of_model(&repo, part).unwrap();
        let whole = ["config.json", "model.safetensors", "model.fp16.safetensors", "onnx/model.safetensors", "tf.h5"];
        assert_eq!(wanted(&whole, Part::Whole), ["config.json", "model.safetensors"]);
        assert_eq!(wanted(&whole, Part::Description), ["config.json"]);
        let parts = ["a-1.safetensors", "a-2.safetensors", "model.safetensors.index.json", "x.bin"];
        assert_eq!(wanted(&parts, Part::Whole), parts[..3]);
        assert!(listing(&["x.bin", "vocab.txt"]).of_model(&repo, Part::Whole).is_err());
        assert!(listing(&["vocab.txt"]).has_no_weights() && !listing(&["x.bin"]).has_no_weights());
    }

    #[test]
    fn a_list_survives_the_cache_and_a_foreign_one_is_no_list() {
        let before = listing(&["a", "b/c"]);
        let after = Listing::from_cache(&before.commit, &before.to_cache()).unwrap();
        assert_eq!(after.to_cache(), before.to_cache());
        let other = String::from_utf8(before.to_cache()).unwrap();
        for wrong in [other.replace("\"format_version\": 1", "\"format_version\": 2"), other.replace("aaaa", "../a")] {
            assert!(Listing::from_cache(&before.commit, wrong.as_bytes()).is_none(), "{wrong}");
        }
    }
}
