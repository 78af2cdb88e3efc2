//! Models, results and runs beside the page: which there are, and which file an address stands for.
//!
//! `models/NAME/FILE`, and `results/NAME/PATH` for a folder of that name.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use anaume_core::report::site::{SiteFile, SiteIndex, SiteModel, WEB_MODEL, WebModel, hex};
use anyhow::Context;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use crate::eval::results::{RESULTS, SAMPLES};
use crate::eval::subject;
use crate::exit::{Coded, Exit, WithExit};
use crate::files::{is_plain, read, require_dir, sorted_entries};
use crate::hub::{self, Part};
use crate::model::weight_paths;
use crate::run_record::METRICS;

/// Name of the list of everything beside the page.
pub const INDEX: &str = "site.json";
/// Files of a model that the page reads before its weights.
const MODEL_FILES: [&str; 3] = ["config.json", "tokenizer.json", OPTIONAL_FILE];
/// The one of them that may be missing.
const OPTIONAL_FILE: &str = "tokenizer_config.json";
/// Files of results and runs that the page reads.
const RESULT_FILES: [&str; 4] = [RESULTS, SAMPLES, METRICS, "run.json"];
/// Characters that stand for themselves in an address.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// What stands beside the page.
pub struct Library {
    /// Names and real paths of the results and run folders.
    folders: Vec<(String, PathBuf)>,
    models: Vec<Model>,
}

struct Model {
    name: String,
    shown: SiteModel,
    /// Real paths of its files by name.
    paths: BTreeMap<String, PathBuf>,
}

impl Library {
    /// Looks at the folders.
    ///
    /// # Errors
    /// A folder that is not there, a model folder that lacks a file.
    pub fn open(results: &[PathBuf], models: &[PathBuf]) -> anyhow::Result<Self> {
        let real = |path: &PathBuf| require_dir(path).and_then(|()| Ok(std::fs::canonicalize(path)?));
        let folders = results.iter().map(real).collect::<Result<Vec<_>, _>>()?;
        let models = models.iter().zip(subject::names(models)).map(|(folder, name)| Model::open(folder, name));
        Ok(Self {
            folders: subject::names(&folders).into_iter().zip(folders).collect(),
            models: models.collect::<Result<_, _>>()?,
        })
    }

    /// Offers a model whose files are known under their addresses already.
    pub fn offer(&mut self, model: SiteModel) {
        self.models.push(Model { name: model.name.clone(), shown: model, paths: BTreeMap::new() });
    }

    /// Everything there is now; training goes on while the page looks.
    pub fn index(&self) -> anyhow::Result<SiteIndex> {
        let models = self.models.iter().map(|model| model.shown.clone()).collect();
        let mut index = SiteIndex { models, ..SiteIndex::default() };
        for (url, path) in self.result_files()? {
            let size_bytes = path.metadata().with_context(|| path.display().to_string())?.len();
            let file = SiteFile { url, size_bytes, sha256: None };
            match path.file_name().and_then(|name| name.to_str()) {
                Some(RESULTS) => index.results.push(file),
                Some(METRICS) => index.runs.push(file),
                _ => {}
            }
        }
        Ok(index)
    }

    /// Every file with its address, not encoded.
    pub fn files(&self) -> anyhow::Result<Vec<(String, PathBuf)>> {
        let of_model = |model: &Model| {
            let file = |(name, path): (&String, &PathBuf)| (format!("models/{}/{name}", model.name), path.clone());
            model.paths.iter().map(file).collect::<Vec<_>>()
        };
        let mut files: Vec<_> = self.models.iter().flat_map(of_model).collect();
        for (name, folder) in &self.folders {
            for path in result_paths(folder)? {
                let inner = path.strip_prefix(folder).unwrap_or(&path).components();
                let inner: Vec<_> = inner.map(|part| part.as_os_str().to_string_lossy()).collect();
                files.push((format!("results/{name}/{}", inner.join("/")), path.clone()));
            }
        }
        Ok(files)
    }

    /// Files of results and runs with their encoded addresses.
    pub fn result_files(&self) -> anyhow::Result<Vec<(String, PathBuf)>> {
        let files = self.files()?.into_iter().filter(|(url, _)| url.starts_with("results/"));
        Ok(files.map(|(url, path)| (encoded(&url), path)).collect())
    }

    /// The file of a decoded address, inside one of the folders whatever links or dots it is made of.
    pub fn find(&self, url: &str) -> Option<PathBuf> {
        let (kind, rest) = url.split_once('/')?;
        let (first, inner) = rest.split_once('/')?;
        match kind {
            "models" => {
                let model = self.models.iter().find(|model| model.name == first)?;
                model.paths.get(inner).cloned()
            }
            "results" => {
                let (_, folder) = self.folders.iter().find(|(name, _)| name == first)?;
                let name = inner.rsplit('/').next()?;
                let is_plain = Path::new(inner).components().all(|part| matches!(part, Component::Normal(_)));
                let path = std::fs::canonicalize(folder.join(inner)).ok()?;
                let is_inside = path.starts_with(folder) && path.is_file();
                (is_plain && is_inside && RESULT_FILES.contains(&name)).then_some(path)
            }
            _ => None,
        }
    }
}

impl Model {
    /// An exported model with what its list says, or a model folder as it is.
    fn open(folder: &Path, name: String) -> anyhow::Result<Self> {
        let folder = &hub::model(folder, Part::Whole)?;
        let list = folder.join(WEB_MODEL);
        let mut model = Self { name, shown: SiteModel::default(), paths: BTreeMap::new() };
        if list.is_file() {
            let text = String::from_utf8_lossy(&read(&list)?).into_owned();
            model.shown = WebModel::from_json(&text).exit(Exit::Data, list.display().to_string())?.model;
            for file in std::mem::take(&mut model.shown.files) {
                model.add(folder, &file.url.clone(), |_| Ok(file))?;
            }
        } else {
            let weights = weight_paths(folder)?;
            let weights = weights.iter().filter_map(|path| path.file_name()?.to_str());
            for file in MODEL_FILES.into_iter().chain(weights) {
                if file != OPTIONAL_FILE || folder.join(file).exists() {
                    model.add(folder, file, |path| Ok(describe(file, &read(path)?)))?;
                }
            }
        }
        model.shown.name = model.name.clone();
        Ok(model)
    }

    /// Takes a file of the folder; `describe` gets its real path, so that a link that changes later leads nowhere else.
    fn add(
        &mut self,
        folder: &Path,
        name: &str,
        describe: impl FnOnce(&Path) -> anyhow::Result<SiteFile>,
    ) -> anyhow::Result<()> {
        let missing = || Coded::error(Exit::Usage, format!("{} holds no {name}", folder.display()));
        let path = std::fs::canonicalize(folder.join(name)).ok().filter(|path| is_plain(name) && path.is_file());
        let path = path.ok_or_else(missing)?;
        let file = describe(&path)?;
        let size_bytes = path.metadata().with_context(|| path.display().to_string())?.len();
        if size_bytes != file.size_bytes {
            let message =
                format!("{} has {size_bytes} bytes, not {}: export it again", path.display(), file.size_bytes);
            return Err(Coded::error(Exit::Data, message));
        }
        self.shown.files.push(SiteFile { url: encoded(&format!("models/{}/{name}", self.name)), ..file });
        self.paths.insert(name.to_owned(), path);
        Ok(())
    }
}

/// A file with its size and hash.
pub fn describe(url: &str, bytes: &[u8]) -> SiteFile {
    SiteFile { url: url.into(), size_bytes: bytes.len() as u64, sha256: Some(hex(&Sha256::digest(bytes))) }
}

fn encoded(url: &str) -> String {
    url.split('/').map(|part| utf8_percent_encode(part, ESCAPED).to_string()).collect::<Vec<_>>().join("/")
}

/// Files of results and runs below a folder; links are not followed.
pub fn result_paths(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in sorted_entries(folder)? {
        let kind = path.symlink_metadata().with_context(|| path.display().to_string())?.file_type();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if kind.is_dir() && !name.starts_with('.') {
            found.extend(result_paths(&path)?);
        } else if kind.is_file() && RESULT_FILES.contains(&name) {
            found.push(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library() -> (tempfile::TempDir, Library) {
        let room = tempfile::tempdir().unwrap();
        for file in [
            "secret.json",
            "results/結果/jsts/results.json",
            "results/run/metrics.jsonl",
            "results/run/model.safetensors",
        ] {
            let path = room.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "{}").unwrap();
        }
        let library = Library::open(&[room.path().join("results")], &[]).unwrap();
        (room, library)
    }

    #[test]
    fn the_index_lists_results_and_runs_under_encoded_addresses_that_can_be_found() {
        let (_room, library) = library();
        let index = library.index().unwrap();
        assert_eq!(index.results[0].url, "results/results/%E7%B5%90%E6%9E%9C/jsts/results.json");
        assert_eq!((index.runs[0].url.as_str(), index.runs[0].size_bytes), ("results/results/run/metrics.jsonl", 2));
        assert!(library.find("results/results/結果/jsts/results.json").is_some());
        assert_eq!(library.files().unwrap().len(), 2);
    }

    #[test]
    fn no_address_leads_out_of_the_folder_or_to_another_kind_of_file() {
        let (room, library) = library();
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(room.path().join("secret.json"), room.path().join("results/run/run.json"))
                .unwrap();
            std::os::unix::fs::symlink(room.path(), room.path().join("results/up")).unwrap();
            std::fs::write(room.path().join("results.json"), "{}").unwrap();
        }
        for address in [
            "results/results/../secret.json",
            "results/results/run/../run/metrics.jsonl",
            "results/results/run/model.safetensors",
            "results/results/run/run.json",
            "results/results/up/results.json",
            "results/results//etc/passwd",
            "results/results/",
            "results/other/run/metrics.jsonl",
            "results/./run/metrics.jsonl",
            "models/x/config.json",
            "secret.json",
            "",
        ] {
            assert_eq!(library.find(address), None, "{address}");
        }
        assert!(library.index().unwrap().runs.iter().all(|run| run.url == "results/results/run/metrics.jsonl"));
    }
}
