//! `manifest.json` of a checkpoint: every file with its size and hash, so that a damaged folder is not taken for a good one.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::exit::{Coded, Exit};
use crate::files::{is_plain, read, read_versioned};

/// Name of the file.
pub const MANIFEST: &str = "manifest.json";
/// Version of the file.
const FORMAT_VERSION: u32 = 1;

/// What the file holds.
#[derive(Serialize, Deserialize)]
pub struct Manifest {
    format_version: u32,
    step: u64,
    files: BTreeMap<String, FileEntry>,
}

#[derive(Serialize, Deserialize)]
struct FileEntry {
    bytes: u64,
    blake3: String,
}

impl Manifest {
    /// Of the files of a step.
    pub fn of(step: u64, files: &[(&str, Vec<u8>)]) -> Self {
        let entry = |bytes: &Vec<u8>| FileEntry { bytes: bytes.len() as u64, blake3: hash(bytes) };
        let files = files.iter().map(|(name, bytes)| ((*name).to_owned(), entry(bytes))).collect();
        Self { format_version: FORMAT_VERSION, step, files }
    }

    /// The file.
    pub fn to_json(&self) -> anyhow::Result<Vec<u8>> {
        Ok(serde_json::to_vec_pretty(self)?)
    }
}

fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// Checks every file of a checkpoint against its manifest, and gives its step; the error names the file.
pub fn verify(dir: &Path) -> anyhow::Result<u64> {
    let manifest: Manifest = read_versioned(&dir.join(MANIFEST), FORMAT_VERSION)?;
    for (name, entry) in &manifest.files {
        let path = dir.join(name);
        if !is_plain(name) {
            let message = format!("{}: `{name}` is no name of a file", dir.join(MANIFEST).display());
            return Err(Coded::error(Exit::Data, message));
        }
        let bytes = read(&path)?;
        if bytes.len() as u64 != entry.bytes || hash(&bytes) != entry.blake3 {
            let message = format!("{} does not match its hash in {MANIFEST}", path.display());
            return Err(Coded::error(Exit::Data, message));
        }
    }
    Ok(manifest.step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_checkpoint() {
        let room = tempfile::tempdir().unwrap();
        std::fs::write(room.path().join("secret"), b"x").unwrap();
        let dir = room.path().join("step");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("a"), b"x").unwrap();
        let verify_with = |name: &str| {
            std::fs::write(dir.join(MANIFEST), Manifest::of(7, &[(name, b"x".to_vec())]).to_json().unwrap()).unwrap();
            verify(&dir)
        };
        assert_eq!(verify_with("a").unwrap(), 7);
        let absolute = room.path().join("secret");
        for name in ["../secret", absolute.to_str().unwrap(), "./a", "a/", "..", ""] {
            let error = verify_with(name).unwrap_err().to_string();
            assert!(error.contains(&format!("manifest.json: `{name}` is no name of a file")), "{error}");
        }
    }

    #[test]
    fn a_changed_file_or_a_newer_manifest_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = Manifest::of(7, &[("a", b"xy".to_vec())]);
        let write =
            |manifest: &Manifest| std::fs::write(dir.path().join(MANIFEST), manifest.to_json().unwrap()).unwrap();
        write(&manifest);
        for (bytes, holds) in [(&b"xy"[..], true), (b"xz", false), (b"x", false), (b"xyz", false), (b"", false)] {
            std::fs::write(dir.path().join("a"), bytes).unwrap();
            assert_eq!(verify(dir.path()).is_ok(), holds, "{bytes:?}");
        }
        std::fs::write(dir.path().join("a"), b"xy").unwrap();
        write(&Manifest { format_version: FORMAT_VERSION + 1, ..manifest });
        let error = verify(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("update the program"), "{error}");
    }
}
