//! What is known of a model that comes over the network: its files with their sizes, before and after they are here.

use anaume_core::report::FORMAT_VERSION;
use anaume_core::report::site::{Agreement, ExportType, SelfCheck, SiteFile, SiteModel, hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use web_sys::Url;

use crate::protocol::{Failure, Hint, Result};

/// A model and where its files are; kept beside the files in the browser's storage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// Its shown name.
    pub name: String,
    /// Where it comes from, as a reader would write it.
    pub address: String,
    /// Its files in the order in which they are read.
    pub files: Vec<ModelFile>,
    /// How its weights are stored, of an exported model.
    #[serde(default)]
    pub dtype: Option<ExportType>,
    /// What it answers, of an exported model.
    #[serde(default)]
    pub check: Option<SelfCheck>,
    /// How far it answers as the model that was exported.
    #[serde(default)]
    pub agreement: Option<Agreement>,
    /// When the last file was here, in milliseconds since 1970; `None` before.
    pub stored_at: Option<f64>,
}

/// A file of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFile {
    /// Its whole address.
    pub url: String,
    /// Its exact size.
    pub size_bytes: u64,
    /// SHA-256 of its content in hex; where nobody states it, known after the first download only.
    pub sha256: Option<String>,
    /// What the server calls this version of the file, such as its entity tag.
    pub version: Option<String>,
}

impl ModelRecord {
    /// The record of a list of files whose addresses are relative to `base`.
    ///
    /// # Errors
    /// A list without files, an address that is none.
    pub fn from_list(listed: &SiteModel, base: &str, address: String) -> Result<Self> {
        let file = |file: &SiteFile| -> Result<ModelFile> {
            let url =
                Url::new_with_base(&file.url, base).map_err(|_| Failure::new(format!("{}: no address", file.url)));
            let (size_bytes, sha256) = (file.size_bytes, file.sha256.as_ref().map(|hash| hash.to_ascii_lowercase()));
            Ok(ModelFile { url: url?.href(), size_bytes, sha256, version: None })
        };
        let files = listed.files.iter().map(file).collect::<Result<Vec<_>>>()?;
        if files.is_empty() {
            return Err(Failure::new(format!("{address}: a list without files")).with(Hint::NotAModel));
        }
        let SiteModel { name, dtype, check, agreement, .. } = listed.clone();
        Ok(Self { format_version: FORMAT_VERSION, name, address, files, dtype, check, agreement, stored_at: None })
    }

    /// Name of the record in the storage: another one for another place, name or version of a file.
    pub fn id(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(format!("{}\n{}", self.address, self.name));
        for file in &self.files {
            let version = file.version.as_ref().or(file.sha256.as_ref());
            hash.update(format!("\n{} {} {version:?}", file.url, file.size_bytes));
        }
        hex(&hash.finalize())[..32].to_owned()
    }

    /// Size of all files.
    pub fn size_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size_bytes).sum()
    }
}

impl ModelFile {
    /// The file's own name.
    pub fn name(&self) -> String {
        let path = Url::new(&self.url).map_or_else(|_| self.url.clone(), |url| url.pathname());
        let last = path.rsplit('/').next().unwrap_or_default();
        js_sys::decode_uri_component(last).map_or_else(|_| last.to_owned(), String::from)
    }

    /// Name of the file in the storage: its SHA-256, or one of the address and version until that is known.
    pub fn key(&self) -> String {
        match &self.sha256 {
            Some(sha256) if sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) => sha256.clone(),
            _ => format!("unknown-{}", hex(&Sha256::digest(format!("{}\n{:?}", self.url, self.version)))),
        }
    }
}
