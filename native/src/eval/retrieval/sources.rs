//! Which retrieval tasks a folder or file allows.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::data::{DataFile, built_in_json_lines, clean, json_lines};
use super::Kind;
use super::collection::{Collection, Lines, MiraclFiles};
use crate::exit::{Coded, Exit};
use crate::files::sorted_entries;

const TOY: &str = include_str!("../../../../public/benchmark/toy_retrieval.jsonl");
const QUESTIONS: &str = include_str!("../../../../public/benchmark/questions.jsonl");

/// A task that can be evaluated.
pub struct Source {
    /// What it asks.
    pub kind: Kind,
    /// Name of its data: folder or file, cleaned to letters, digits, `-` and `_`.
    pub name: String,
    files: Files,
}

enum Files {
    Pairs(PathBuf),
    Questions { questions: PathBuf, contexts: PathBuf },
    QuestionPassages(PathBuf),
    Squad(PathBuf),
    Miracl(MiraclFiles),
    BuiltInQuestions,
    BuiltInToy,
}

impl Source {
    fn new(kind: Kind, name: &str, files: Files) -> Self {
        Self { kind, name: clean(name), files }
    }

    /// Name of the task in results.
    pub fn task(&self) -> String {
        match self.kind {
            Kind::Miracl => format!("retrieval-{}", self.name),
            Kind::Toy => "retrieval-toy".into(),
            kind => format!("retrieval-{kind}-{}", self.name),
        }
    }

    /// Reads it, at most `limit` queries.
    pub fn load(&self, limit: Option<usize>) -> anyhow::Result<Collection> {
        let mut collection = match &self.files {
            Files::Pairs(path) => with_file(path, |pairs| Collection::of_pairs(pairs, limit)),
            Files::QuestionPassages(path) => with_file(path, |lines| Collection::of_question_passages(lines, limit)),
            Files::Questions { questions, contexts } => {
                let (contexts, contexts_file) = lines(contexts)?;
                let of = |questions| Collection::of_questions(questions, contexts, limit);
                with_file(questions, of).map(|mut collection| {
                    collection.files.push(contexts_file);
                    collection
                })
            }
            Files::Squad(path) => Collection::of_squad(path, limit),
            Files::Miracl(files) => Collection::of_miracl(files, limit),
            Files::BuiltInQuestions => {
                built_in("questions.jsonl", QUESTIONS, |lines| Collection::of_question_passages(lines, limit))
            }
            Files::BuiltInToy => built_in("toy_retrieval.jsonl", TOY, Collection::of_toy),
        }?;
        collection.notes.extend(self.limits());
        Ok(collection)
    }

    /// Limits of the data that every figure made with it must state.
    fn limits(&self) -> Vec<String> {
        let mut notes = Vec::new();
        match self.kind {
            Kind::Pairs => notes.push("a passage searches its counterpart among the counterparts: not the MIRACL task"),
            Kind::Questions => notes.push("questions were written from their passage, which makes them easy to match"),
            Kind::Toy => notes.push("a smoke test: too small to rank models"),
            Kind::Miracl => {}
        }
        if self.kind == Kind::Pairs && self.name == "wiki_kyoto" {
            notes.push("first and second paragraphs of held-out Wikipedia articles on Kyoto, one narrow field");
        }
        notes.into_iter().map(str::to_owned).collect()
    }
}

fn lines<T: DeserializeOwned>(path: &Path) -> anyhow::Result<(Lines<T>, DataFile)> {
    let (records, file) = json_lines(path)?;
    Ok((Lines { name: path.display().to_string(), records }, file))
}

fn with_file<T: DeserializeOwned>(
    path: &Path,
    of: impl FnOnce(Lines<T>) -> anyhow::Result<Collection>,
) -> anyhow::Result<Collection> {
    let (lines, file) = lines(path)?;
    let mut collection = of(lines).with_context(|| path.display().to_string())?;
    collection.files.push(file);
    Ok(collection)
}

fn built_in<T: DeserializeOwned>(
    name: &str,
    text: &str,
    of: impl FnOnce(Lines<T>) -> anyhow::Result<Collection>,
) -> anyhow::Result<Collection> {
    let (records, file) = built_in_json_lines(name, text)?;
    let mut collection = of(Lines { name: name.into(), records })?;
    collection.files.push(file);
    Ok(collection)
}

/// The tasks of the kinds asked for, or all that the data allows; what is absent is said.
///
/// # Errors
/// A kind asked for that the data does not allow, or data that allows none.
pub fn find(data: Option<&Path>, kinds: &[Kind]) -> anyhow::Result<Vec<Source>> {
    let data = data.map(crate::hub::data).transpose()?;
    let data = data.as_deref();
    let (mut sources, absent) = match data {
        None => (vec![Source::new(Kind::Questions, "built-in", Files::BuiltInQuestions)], Vec::new()),
        Some(path) if path.is_dir() => in_folders(path)?,
        Some(path) => (vec![of_file(path)?], Vec::new()),
    };
    if data.is_none_or(Path::is_dir) || kinds.contains(&Kind::Toy) {
        sources.push(Source::new(Kind::Toy, "toy", Files::BuiltInToy));
    }
    let place = data.map_or("the built-in data".into(), |path| path.display().to_string());
    let wanted = if kinds.is_empty() { Kind::ALL.as_slice() } else { kinds };
    for kind in wanted {
        if sources.iter().any(|source| source.kind == *kind) {
            continue;
        }
        let reasons: Vec<String> = absent.iter().filter(|(k, _)| k == kind).map(|(_, reason)| reason.clone()).collect();
        let reason = if reasons.is_empty() { kind.files().to_owned() } else { reasons.join("; ") };
        let message = format!("{kind}: not in {place}: {reason}");
        match kinds.is_empty() {
            true => eprintln!("{message}"),
            false => return Err(Coded::error(Exit::Usage, message)),
        }
    }
    sources.retain(|source| wanted.contains(&source.kind));
    Ok(sources)
}

/// Kinds that were nearly there, with what is missing.
type Absent = Vec<(Kind, String)>;

/// Looks into a folder and those directly in it.
fn in_folders(folder: &Path) -> anyhow::Result<(Vec<Source>, Absent)> {
    let (mut sources, mut absent) = (Vec::new(), Vec::new());
    let folders = sorted_entries(folder)?.into_iter().filter(|path| path.is_dir());
    for folder in [folder.to_owned()].into_iter().chain(folders) {
        let name = crate::hub::folder_name(&folder);
        let at = |file: &str| Some(folder.join(file)).filter(|path| path.is_file());
        if let Some(path) = at("passage_pairs.jsonl") {
            sources.push(Source::new(Kind::Pairs, &name, Files::Pairs(path)));
        }
        if let (Some(questions), Some(contexts)) = (at("questions.jsonl"), at("contexts.jsonl")) {
            sources.push(Source::new(Kind::Questions, &name, Files::Questions { questions, contexts }));
        }
        for path in sorted_entries(&folder)?.into_iter().filter(|path| path.is_file()) {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if file.starts_with("jsquad-valid") && file.ends_with(".json") {
                sources.push(Source::new(Kind::Questions, "jsquad", Files::Squad(path)));
                continue;
            }
            // MIRACL's training queries are there to train on.
            let split = file.strip_prefix("topics.").and_then(|name| name.strip_suffix(".tsv"));
            if let Some(split) = split.filter(|split| !split.ends_with("train")) {
                match miracl(&folder, split)? {
                    Ok(files) => {
                        let name = split.replace("-v1.0", "");
                        sources.push(Source::new(Kind::Miracl, &name, Files::Miracl(files)));
                    }
                    Err(reason) => absent.push((Kind::Miracl, reason)),
                }
            }
        }
    }
    Ok((sources, absent))
}

/// The files of a split of MIRACL, or what is missing.
fn miracl(folder: &Path, split: &str) -> anyhow::Result<Result<MiraclFiles, String>> {
    let [topics, qrels] = ["topics", "qrels"].map(|kind| folder.join(format!("{kind}.{split}.tsv")));
    if !qrels.is_file() {
        return Ok(Err(format!("{} is missing", qrels.display())));
    }
    let mut corpus = Vec::new();
    let folders = sorted_entries(folder)?.into_iter().filter(|path| path.is_dir());
    for folder in [folder.to_owned()].into_iter().chain(folders) {
        corpus.extend(sorted_entries(&folder)?.into_iter().filter(|path| is_corpus(path)));
    }
    if corpus.is_empty() {
        let reason =
            format!("{} has no passages beside it: put docs-*.jsonl.gz or corpus.jsonl there", topics.display());
        return Ok(Err(reason));
    }
    Ok(Ok(MiraclFiles { topics, qrels, corpus }))
}

fn is_corpus(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let named = name.starts_with("docs") || name.starts_with("corpus");
    named && [".jsonl", ".jsonl.gz", ".jsonl.zst"].iter().any(|ending| name.ends_with(ending)) && path.is_file()
}

/// The task of a single file, by its ending and the fields of its first record.
fn of_file(path: &Path) -> anyhow::Result<Source> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stem = name.split('.').next().unwrap_or_default();
    if name.ends_with(".json") {
        return Ok(Source::new(Kind::Questions, stem, Files::Squad(path.into())));
    }
    #[derive(Deserialize)]
    struct Fields {
        positive: Option<serde::de::IgnoredAny>,
        passage: Option<serde::de::IgnoredAny>,
    }
    let (records, _) = json_lines::<Fields>(path)?;
    match records.first() {
        Some((_, Fields { positive: Some(_), .. })) => Ok(Source::new(Kind::Pairs, stem, Files::Pairs(path.into()))),
        Some((_, Fields { passage: Some(_), .. })) => {
            Ok(Source::new(Kind::Questions, stem, Files::QuestionPassages(path.into())))
        }
        _ => {
            let forms = [Kind::Pairs, Kind::Questions].map(Kind::files).join("; ");
            Err(Coded::error(Exit::Data, format!("{}: no retrieval data; expected {forms}", path.display())))
        }
    }
}
