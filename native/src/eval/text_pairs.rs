//! Texts that belong together, and random pairs of the same kind: what alignment, uniformity and similarity are measured
//! on.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anaume_core::metrics::similarity::squared_distances;
use anaume_core::report::eval::SampleCount;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Context;
use super::data::{DataFile, bad_line, built_in_json_lines, clean, json_lines};
use super::embeddings::{VectorArgs, embed};
use super::subject::Subject;
use crate::exit::{Coded, Exit};
use crate::files::sorted_entries;

const BUILT_IN: &str = include_str!("../../../public/benchmark/pairs.jsonl");
/// Pairs with a similarity from 0 to 5 are positive from here on, as in SimCSE (Gao et al. 2021).
const POSITIVE_FROM: f64 = 4.0;
/// Pairs of the preset `llm-jp-paper`, as many as the original asks for.
const PAPER_PAIRS: usize = 2000;
/// Characters of a text that the predictions show.
const SHOWN_CHARS: usize = 100;

/// As much of a text as the predictions show.
pub fn beginning(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}

/// Which pairs, and how their vectors are made.
#[derive(clap::Args, Clone, Debug)]
pub struct PairArgs {
    /// Folder of the data, or one file of pairs [default: the built-in pairs]
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// The original's choice of texts: passages as pairs, whole articles of the folder wiki_kyoto as random texts
    #[arg(long, value_parser = ["llm-jp-paper"], requires = "data")]
    pub preset: Option<String>,
    #[command(flatten)]
    pub vectors: VectorArgs,
    /// Take the first N pairs alone
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    pub limit: Option<u32>,
}

/// What is at hand for one task.
pub struct PairSet {
    /// Name of its data: folder or file, cleaned to letters, digits, `-` and `_`.
    pub name: String,
    /// Texts that belong together, with the prefixes of their sides.
    positive: Vec<[String; 2]>,
    /// As many random pairs.
    random: Vec<[String; 2]>,
    /// The distinct texts that uniformity is measured on.
    texts: Vec<String>,
    /// Pairs in the data.
    num_original: usize,
    files: Vec<DataFile>,
    /// What a reader must know.
    pub notes: Vec<String>,
    args: PairArgs,
}

/// A line of a file of pairs; one without a number in `similarity` or `label` is positive.
#[derive(Deserialize)]
struct Record {
    #[serde(alias = "query")]
    sentence1: String,
    #[serde(alias = "positive")]
    sentence2: String,
    similarity: Option<f64>,
    label: Option<Value>,
}

/// The sets that the data allows.
///
/// # Errors
/// A file that is no file of pairs, by line and field; data without one.
pub fn find(args: &PairArgs, seed: u64) -> anyhow::Result<Vec<PairSet>> {
    let Some(data) = &args.data else {
        let (records, file) = built_in_json_lines("pairs.jsonl", BUILT_IN)?;
        return Ok(vec![PairSet::new("built-in", "pairs.jsonl", records, file, args, seed)?]);
    };
    let data = &crate::hub::data(data)?;
    if args.preset.is_some() {
        return Ok(vec![PairSet::of_paper(data, args, seed)?]);
    }
    if !data.is_dir() {
        return Ok(vec![PairSet::of_file(stem(data), data, args, seed)?]);
    }
    let mut sets = Vec::new();
    for folder in [data.clone()].into_iter().chain(sorted_entries(data)?.into_iter().filter(|path| path.is_dir())) {
        for path in sorted_entries(&folder)? {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            if file == "passage_pairs.jsonl" {
                sets.push(PairSet::of_file(stem(Path::new(&crate::hub::folder_name(&folder))), &path, args, seed)?);
            } else if file.starts_with("jsts-valid") && file.ends_with(".json") {
                sets.push(PairSet::of_file("jsts", &path, args, seed)?);
            }
        }
    }
    if sets.is_empty() {
        let message =
            format!("{}: neither passage_pairs.jsonl nor jsts-valid*.json is in it or its folders", data.display());
        return Err(Coded::error(Exit::Usage, message));
    }
    Ok(sets)
}

fn stem(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split('.').next()).unwrap_or("pairs")
}

impl PairSet {
    fn of_file(name: &str, path: &Path, args: &PairArgs, seed: u64) -> anyhow::Result<Self> {
        let (records, file) = json_lines(path)?;
        Self::new(name, &path.display().to_string(), records, file, args, seed)
    }

    fn new(
        name: &str,
        source: &str,
        records: Vec<(u64, Record)>,
        file: DataFile,
        args: &PairArgs,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let limit = args.limit.map_or(usize::MAX, |limit| limit as usize);
        let (num_original, mut positive, mut texts) = (records.len(), Vec::new(), Vec::new());
        let mut scored = false;
        for (line, record) in records {
            let score = record.score().map_err(|reason| bad_line(source, line, reason))?;
            let pair = record.pair(&args.vectors);
            texts.extend_from_slice(&pair);
            scored |= score.is_some();
            if score.is_none_or(|score| score >= POSITIVE_FROM) {
                positive.push(pair);
            }
            if positive.len() == limit {
                break;
            }
        }
        let mut seen = HashSet::new();
        texts.retain(|text| seen.insert(text.clone()));
        let random = random_pairs(&positive, seed).ok_or_else(|| {
            let message = format!("{source}: {} positive pairs; at least 2 different ones are needed", positive.len());
            Coded::error(Exit::Data, message)
        })?;
        let name = clean(name);
        let notes = limits(&name, scored);
        Ok(Self { name, positive, random, texts, num_original, files: vec![file], notes, args: args.clone() })
    }

    /// Passages as positive pairs, whole articles as random texts, article i beside article i + n.
    fn of_paper(data: &Path, args: &PairArgs, seed: u64) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Article {
            text: String,
        }
        let folder = if data.ends_with("wiki_kyoto") { data.to_owned() } else { data.join("wiki_kyoto") };
        let limit = args.limit.map_or(PAPER_PAIRS, |limit| limit as usize);
        let (articles, file) = json_lines::<Article>(&folder.join("eval.jsonl.gz"))?;
        let n = limit.min(articles.len() / 2);
        let args = PairArgs { limit: Some(n as u32), ..args.clone() };
        let mut set = Self::of_file("wiki_kyoto-llm-jp-paper", &folder.join("passage_pairs.jsonl"), &args, seed)?;
        let n = n.min(set.positive.len());
        let prefix = &args.vectors.passage_prefix;
        let text = |place: &usize| format!("{prefix}{}", articles[*place].1.text);
        set.texts = shuffled(articles.len(), seed)[..2 * n].iter().map(text).collect();
        set.random = (0..n).map(|i| [set.texts[i].clone(), set.texts[i + n].clone()]).collect();
        set.positive.truncate(n);
        set.files.push(file);
        set.notes = vec![
            "llm-jp-paper: passages as pairs but whole articles, cut at the model's length, as random texts: the two are \
             not of one kind, and models of different length see different texts"
                .into(),
            "articles on Kyoto in place of MIRACL's passages and all of Wikipedia".into(),
        ];
        Ok(set)
    }

    /// Options and data, for a result's identity.
    pub fn config(&self) -> Value {
        json!({
            "files": self.files,
            "preset": self.args.preset,
            "limit": self.args.limit,
            "positive_from": POSITIVE_FROM,
            "vectors": self.args.vectors,
        })
    }

    /// Encoder passes over a token.
    pub fn cost(&self, chars_per_token: f64) -> f64 {
        let all: HashSet<&String> = self.texts.iter().chain(self.positive.iter().flatten()).collect();
        all.into_iter().map(|text| text.chars().count() as f64).sum::<f64>() / chars_per_token
    }

    /// Pairs in the data and those used.
    pub fn count(&self) -> SampleCount {
        SampleCount { original: self.num_original, effective: self.positive.len() }
    }

    /// Embeds everything.
    pub fn vectors(&self, subject: &Subject, context: &Context<'_>) -> anyhow::Result<Vectors> {
        let pairs = || [&self.positive, &self.random].into_iter();
        let sides = pairs().flat_map(|pairs| [0, 1].map(|side| pairs.iter().map(move |pair| &pair[side])));
        let texts: Vec<String> = sides.flatten().chain(&self.texts).cloned().collect();
        let vectors = embed(subject, context, &texts, &self.args.vectors.options())?;
        let width = vectors.first().map_or(0, Vec::len);
        let n = self.positive.len();
        let rows = |from: usize, to: usize| vectors[from..to].concat();
        let distances = |from: usize| squared_distances(&rows(from, from + n), &rows(from + n, from + 2 * n), width);
        Ok(Vectors {
            positive_distances: distances(0)?,
            random_distances: distances(2 * n)?,
            texts: rows(4 * n, texts.len()),
            width,
        })
    }

    /// What belongs to each pair, for the predictions.
    pub fn samples(&self, vectors: &Vectors) -> Vec<Value> {
        let cosines = vectors.positive_cosines().into_iter().zip(vectors.random_cosines());
        let sample = |(id, (positive, random)): (usize, (f64, f64))| {
            json!({
                "doc_id": id,
                "positive": self.positive[id].each_ref().map(|text| beginning(text)),
                "positive_cosine": positive,
                "random": self.random[id].each_ref().map(|text| beginning(text)),
                "random_cosine": random,
            })
        };
        cosines.enumerate().map(sample).collect()
    }
}

impl Record {
    /// The similarity, where there is one.
    fn score(&self) -> Result<Option<f64>, String> {
        let score = self.similarity.or(self.label.as_ref().and_then(Value::as_f64));
        for (field, text) in [("sentence1 or query", &self.sentence1), ("sentence2 or positive", &self.sentence2)] {
            if text.trim().is_empty() {
                return Err(format!("{field} is empty"));
            }
        }
        match score {
            Some(score) if !(0.0..=5.0).contains(&score) => {
                Err(format!("similarity or label is {score}; it must lie between 0 and 5"))
            }
            score => Ok(score),
        }
    }

    fn pair(self, vectors: &VectorArgs) -> [String; 2] {
        [vectors.query_prefix.clone() + &self.sentence1, vectors.passage_prefix.clone() + &self.sentence2]
    }
}

/// Vectors of a set: what distances and uniformity need of them.
pub struct Vectors {
    /// Squared distances of the positive pairs.
    pub positive_distances: Vec<f64>,
    /// Squared distances of the random pairs.
    pub random_distances: Vec<f64>,
    /// Vectors of the distinct texts, row after row.
    pub texts: Vec<f32>,
    /// Values of a vector.
    pub width: usize,
}

impl Vectors {
    /// Cosines of the positive pairs.
    pub fn positive_cosines(&self) -> Vec<f64> {
        cosines(&self.positive_distances)
    }

    /// Cosines of the random pairs.
    pub fn random_cosines(&self) -> Vec<f64> {
        cosines(&self.random_distances)
    }
}

/// For vectors of length 1, d² = 2 - 2 cos.
fn cosines(distances: &[f64]) -> Vec<f64> {
    distances.iter().map(|distance| (1.0 - distance / 2.0).clamp(-1.0, 1.0)).collect()
}

/// Limits of the data that every figure made with it must state.
fn limits(name: &str, scored: bool) -> Vec<String> {
    let mut notes = vec!["random pairs: the second text of another pair of the same set"];
    if scored {
        notes.push("positive pairs: similarity of 4 or more out of 5, as in SimCSE");
    }
    match name {
        "wiki_kyoto" => {
            notes.push("first and second paragraphs of held-out Wikipedia articles on Kyoto, one narrow field")
        }
        "jsts" => {
            notes.push("half of the JSTS valid pairs are also JNLI train pairs: a model trained on those knows them")
        }
        "built-in" => notes.push("built-in pairs: a smoke test, too small to rank models"),
        _ => {}
    }
    notes.into_iter().map(str::to_owned).collect()
}

/// Numbers below `n` in an order that the seed decides.
fn shuffled(n: usize, seed: u64) -> Vec<usize> {
    let key = |place: &usize| {
        let bytes = [seed.to_le_bytes(), (*place as u64).to_le_bytes()].concat();
        *blake3::hash(&bytes).as_bytes()
    };
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_cached_key(key);
    order
}

/// For each pair its first text beside the second of another pair, never of a pair that belongs together and never of
/// the same text; none where that cannot be.
fn random_pairs(positive: &[[String; 2]], seed: u64) -> Option<Vec<[String; 2]>> {
    let order = shuffled(positive.len(), seed);
    let true_pairs: HashSet<[&String; 2]> = positive.iter().flat_map(|[a, b]| [[a, b], [b, a]]).collect();
    let mut random = vec![None; positive.len()];
    for (place, index) in order.iter().enumerate() {
        let first = &positive[*index][0];
        let others = (1..order.len()).map(|shift| &positive[order[(place + shift) % order.len()]][1]);
        let second = others.into_iter().find(|second| *second != first && !true_pairs.contains(&[first, second]));
        random[*index] = Some([first.clone(), second?.clone()]);
    }
    random.into_iter().collect::<Option<Vec<_>>>().filter(|random| !random.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(names: &[(&str, &str)]) -> Vec<[String; 2]> {
        names.iter().map(|(a, b)| [(*a).to_owned(), (*b).to_owned()]).collect()
    }

    #[test]
    fn random_pairs_are_never_true_ones_and_depend_on_the_seed_alone() {
        let many: Vec<_> = (0..200).map(|i| [format!("a{i}"), format!("b{}", i / 2)]).collect();
        let random = random_pairs(&many, 7).unwrap();
        assert_eq!(random.len(), many.len());
        for (index, pair) in random.iter().enumerate() {
            assert_eq!(pair[0], many[index][0], "each first text is used once");
            assert!(!many.contains(pair), "{pair:?} belongs together");
        }
        assert_eq!(random, random_pairs(&many, 7).unwrap());
        assert_ne!(random, random_pairs(&many, 8).unwrap());
    }

    #[test]
    fn texts_that_leave_no_random_pair_are_refused() {
        assert_eq!(random_pairs(&[], 0), None);
        assert_eq!(random_pairs(&pairs(&[("a", "b")]), 0), None);
        assert_eq!(random_pairs(&pairs(&[("a", "b"), ("a", "b")]), 0), None);
        let crossed = random_pairs(&pairs(&[("a", "b"), ("c", "d")]), 0).unwrap();
        assert_eq!(crossed, pairs(&[("a", "d"), ("c", "b")]));
    }

    #[test]
    fn the_built_in_pairs_keep_all_texts_for_uniformity_and_the_similar_ones_as_positives() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            pairs: PairArgs,
        }
        let args = <Line as clap::Parser>::parse_from(["eval", "--query-prefix", "問: ", "--limit", "5"]).pairs;
        let set = find(&args, 42).unwrap().remove(0);
        assert_eq!((set.count().effective, set.positive.len(), set.random.len()), (5, 5, 5));
        assert!(set.positive.iter().all(|pair| pair[0].starts_with("問: ") && !pair[1].starts_with("問: ")));
        assert!(set.texts.len() > 10, "sentences of pairs that are not similar count too");
    }

    #[test]
    fn a_line_that_is_no_pair_is_named() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("pairs.jsonl");
        let args = PairArgs { data: Some(path.clone()), preset: None, vectors: VectorArgs::default(), limit: None };
        for (line, reason) in [
            (r#"{"sentence1":"a","sentence2":"b","label":7}"#, "line 2: similarity or label is 7"),
            (r#"{"sentence1":" ","sentence2":"b"}"#, "line 2: sentence1 or query is empty"),
            (r#"{"sentence1":"a"}"#, "(missing field `sentence2`"),
        ] {
            std::fs::write(&path, format!("{}\n{line}\n", r#"{"query":"x","positive":"y"}"#)).unwrap();
            let error = find(&args, 0).err().unwrap().to_string();
            assert!(error.contains("pairs.jsonl") && error.contains(reason), "{error}");
        }
    }
}
