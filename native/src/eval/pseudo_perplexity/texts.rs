//! The texts of pseudo-perplexity, from a folder of the project's data or a user's own file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::Options;
use crate::data::read::{ReadOptions, documents, stem_and_compression};
use crate::eval::data::{DataFile, bad_line, clean};
use crate::exit::{Coded, Exit};

/// The texts that a data folder holds for this evaluation, and what to know about them.
const WIKI_KYOTO: &str = "wiki_kyoto/eval.jsonl.gz";
const WIKI_KYOTO_NOTE: &str = "wiki_kyoto: held-out Japanese Wikipedia articles on Kyoto of 2009 (CC BY-SA 3.0), a single \
    subject; models pretrained on Wikipedia may have seen them";

/// All texts of a file.
pub struct Texts {
    /// Name of the data in results.
    pub name: String,
    /// The file.
    pub file: DataFile,
    /// In the order of the file.
    pub all: Vec<Text>,
    /// Limits of the data.
    pub note: Option<&'static str>,
}

/// One text.
pub struct Text {
    /// Its name: that of the id column, else the number of its line.
    pub id: String,
    /// The text.
    pub text: String,
    source: PathBuf,
    line: u64,
}

impl Text {
    /// File and line, for errors.
    pub fn place(&self) -> String {
        format!("{}: line {}", self.source.display(), self.line)
    }
}

impl Texts {
    /// Reads the texts that `--data` names.
    ///
    /// # Errors
    /// A folder without them, a line that is no text, two texts of the same name; each is named.
    pub fn read(data: &Path, options: &Options) -> anyhow::Result<Self> {
        let data = &crate::hub::data(data)?;
        if !data.is_dir() {
            let (stem, _) = stem_and_compression(data);
            let name = stem.rsplit_once('.').map_or(stem.as_str(), |(name, _)| name);
            return Self::of_file(data, clean(name), options.id_column.clone(), None, options);
        }
        let path = data.join(WIKI_KYOTO);
        if !path.exists() {
            let message = format!("{} has no {WIKI_KYOTO}; give it, or a file of texts, with --data", data.display());
            return Err(Coded::error(Exit::Usage, message));
        }
        Self::of_file(&path, "wiki_kyoto".into(), Some("id".into()), Some(WIKI_KYOTO_NOTE), options)
    }

    fn of_file(
        path: &Path,
        name: String,
        id_column: Option<String>,
        note: Option<&'static str>,
        options: &Options,
    ) -> anyhow::Result<Self> {
        let read = ReadOptions { column: options.column.clone(), id_column, ..ReadOptions::default() };
        let (mut all, mut lines) = (Vec::new(), HashMap::new());
        for document in documents(&[path.to_owned()], &read)?.take(options.limit.unwrap_or(usize::MAX)) {
            let document = document?;
            let id = document.id.unwrap_or_else(|| document.line.to_string());
            if let Some(first) = lines.insert(id.clone(), document.line) {
                let reason = format!("the id `{id}` is that of line {first} too; give every text its own");
                return Err(bad_line(path.display(), document.line, reason));
            }
            all.push(Text { id, text: document.text, source: path.to_owned(), line: document.line });
        }
        Ok(Self { name, file: DataFile::of(path)?, all, note })
    }
}
