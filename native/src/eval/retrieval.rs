//! `anaume eval retrieval`: searching passages by vectors, with BM25 on character bigrams beside.
//!
//! Four kinds of task: `pairs` (the original's protocol), `miracl` (the official task from its own files), `questions`
//! (question to passage), `toy` (a smoke test). Rankings are judged as trec_eval judges them; runs and judgements are
//! written in its formats.

mod collection;
mod search;
mod sources;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use anaume_core::metrics::ranking::{Ranking, mean_over_queries};
use anaume_core::metrics::statistics::{self, pick};
use anaume_core::report::eval::{MetricValue, SampleCount, TaskResult};
use serde_json::{Value, json};

use super::embeddings::VectorArgs;
use super::{Common, Context, Evaluation, Outcome};
use crate::device::Inference;
use crate::eval::subject::Subject;
use crate::files::write_atomic;
use collection::{Collection, Query};
use search::{Dense, Found};

/// Version of the tasks' definition.
const VERSION: u32 = 1;
/// Passages kept for each query, as in MIRACL's evaluation (`trec_eval -M 100`).
const DEPTH: usize = 100;
/// Passages shown for each query in the predictions.
const SHOWN: usize = 10;

/// What a task asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// A passage searches its counterpart among all counterparts
    Pairs,
    /// The official MIRACL task: topics, qrels and corpus files
    Miracl,
    /// A question searches the passage that answers it
    Questions,
    /// Five queries and 17 sentences, a smoke test
    Toy,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Pairs, Self::Miracl, Self::Questions, Self::Toy];

    /// The files it is read from.
    fn files(self) -> &'static str {
        match self {
            Self::Pairs => "passage_pairs.jsonl with `query` and `positive`",
            Self::Miracl => "topics.NAME.tsv, qrels.NAME.tsv and docs-*.jsonl.gz with `docid`, `title` and `text`",
            Self::Questions => {
                "questions.jsonl with contexts.jsonl, jsquad-valid*.json, or a file of `question` and `passage`"
            }
            Self::Toy => "built in",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Pairs => "pairs",
            Self::Miracl => "miracl",
            Self::Questions => "questions",
            Self::Toy => "toy",
        })
    }
}

/// Arguments of the command.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  anaume eval retrieval --model model/ --out results/
  anaume eval retrieval --model model/ --model ruri/ --data data/ --task pairs --limit 1746 --out results/
  anaume eval retrieval --model ruri/ --data data/ --query-prefix 'クエリ: ' --passage-prefix '文章: ' --out results/

A folder of data may hold, itself or in folders: passage_pairs.jsonl; questions.jsonl with contexts.jsonl; \
jsquad-valid*.json; MIRACL's topics.NAME.tsv, qrels.NAME.tsv and docs-*.jsonl.gz. Vectors are kept in \
OUT/cache/embeddings, so a second run computes none. Beside each result: run.trec, bm25.trec, qrels.trec.")]
pub struct Args {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub inference: Inference,
    /// Folder of the data, or one file of pairs or questions [default: the built-in questions and toy set]
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// What to evaluate; may be given several times [default: all that the data allows]
    #[arg(long, value_enum)]
    pub task: Vec<Kind>,
    #[command(flatten)]
    pub vectors: VectorArgs,
    /// Take the first N pairs or queries alone
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Cut-offs of Recall@k and MRR@k in pairs and questions
    #[arg(short, long = "k", value_name = "K", value_delimiter = ',', default_value = "1,5,10,100",
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub k: Vec<u32>,
}

/// What to compute for each model.
pub fn evaluations(args: &Args) -> anyhow::Result<Vec<Box<dyn Evaluation>>> {
    let sources = sources::find(args.data.as_deref(), &args.task)?;
    let evaluation = |source: sources::Source| -> anyhow::Result<Box<dyn Evaluation>> {
        Ok(Box::new(Retrieval {
            task: source.task(),
            collection: source.load(args.limit.map(|limit| limit as usize))?,
            metrics: metrics(source.kind, &args.k),
            kind: source.kind,
            args: args.clone(),
            bm25: OnceCell::new(),
        }))
    };
    sources.into_iter().map(evaluation).collect()
}

/// A metric of one query's ranking; its mean over the queries is the task's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Metric {
    Ndcg(usize),
    Recall(usize),
    Mrr(usize),
    Success(usize),
    MrrOfAll,
}

/// The metrics of a kind, the main one first.
fn metrics(kind: Kind, ks: &[u32]) -> Vec<Metric> {
    let mut metrics: Vec<Metric> = match kind {
        Kind::Miracl => vec![Metric::Ndcg(10), Metric::Recall(100)],
        Kind::Toy => vec![Metric::Ndcg(3), Metric::Success(3), Metric::MrrOfAll],
        Kind::Pairs | Kind::Questions => {
            ks.iter().map(|k| *k as usize).flat_map(|k| [Metric::Recall(k), Metric::Mrr(k)]).collect()
        }
    };
    // The original's first figure, where it is asked for.
    metrics.sort_by_key(|metric| *metric != Metric::Recall(10));
    metrics
}

impl Metric {
    fn name(self) -> String {
        match self {
            Self::Ndcg(k) => format!("ndcg@{k}"),
            Self::Recall(k) => format!("recall@{k}"),
            Self::Mrr(k) => format!("mrr@{k}"),
            Self::Success(k) => format!("success@{k}"),
            Self::MrrOfAll => "mrr".into(),
        }
    }

    fn cutoff(self) -> Option<usize> {
        match self {
            Self::Ndcg(k) | Self::Recall(k) | Self::Mrr(k) | Self::Success(k) => Some(k),
            Self::MrrOfAll => None,
        }
    }

    fn of(self, ranking: &Ranking) -> anaume_core::metrics::Metric {
        match self {
            Self::Ndcg(k) => ranking.ndcg_at(k),
            Self::Recall(k) => ranking.recall_at(k),
            Self::Mrr(k) => ranking.reciprocal_rank_at(k),
            Self::Success(k) => ranking.success_at(k),
            Self::MrrOfAll => Ok(ranking.reciprocal_rank()),
        }
    }
}

/// One retrieval task.
struct Retrieval {
    task: String,
    kind: Kind,
    collection: Collection,
    metrics: Vec<Metric>,
    args: Args,
    /// The same for every model.
    bm25: OnceCell<Found>,
}

impl Evaluation for Retrieval {
    fn task(&self) -> String {
        self.task.clone()
    }

    fn config(&self) -> Value {
        json!({
            "kind": self.kind.to_string(),
            "files": self.collection.files,
            "pooling": self.args.vectors.pooling,
            "layer": self.args.vectors.layer,
            "query_prefix": self.args.vectors.query_prefix,
            "passage_prefix": self.args.vectors.passage_prefix,
            "max_length": self.args.vectors.max_length,
            "limit": self.args.limit,
            "k": self.args.k,
            "depth": self.depth(),
        })
    }

    fn cost(&self, chars_per_token: f64) -> f64 {
        let queries = self.collection.queries.iter().map(|query| &query.text);
        let passages = self.collection.passages.iter().map(|passage| &passage.text);
        queries.chain(passages).map(|text| text.chars().count() as f64).sum::<f64>() / chars_per_token
    }

    fn run(&self, subject: &Subject, context: &mut Context<'_>) -> anyhow::Result<Outcome> {
        if self.bm25.get().is_none() {
            _ = self.bm25.set(search::bm25(&self.collection, self.depth(), context)?);
        }
        let bm25 = Scored::new(self, self.bm25.get().expect("it was set above"))?;
        let found = self.dense().search(&self.collection, self.depth(), subject, context)?;
        let dense = Scored::new(self, &found)?;
        write_atomic(&context.cell_dir.join("run.trec"), dense.run_file("anaume").as_bytes())?;
        write_atomic(&context.cell_dir.join("bm25.trec"), bm25.run_file("bm25").as_bytes())?;
        write_atomic(&context.cell_dir.join("qrels.trec"), qrels_file(&self.collection).as_bytes())?;
        let result = self.result(&dense, &bm25, context);
        let samples = (0..self.collection.queries.len()).map(|query| self.sample(query, &dense, &bm25)).collect();
        Ok(Outcome { result, samples })
    }
}

impl Retrieval {
    /// Passages to find for each query.
    fn depth(&self) -> usize {
        self.metrics.iter().filter_map(|metric| metric.cutoff()).fold(DEPTH, usize::max)
    }

    fn dense(&self) -> Dense {
        Dense {
            options: self.args.vectors.options(),
            query_prefix: self.args.vectors.query_prefix.clone(),
            passage_prefix: self.args.vectors.passage_prefix.clone(),
        }
    }

    fn result(&self, dense: &Scored<'_>, bm25: &Scored<'_>, context: &Context<'_>) -> TaskResult {
        let value = |metric: &Metric| (metric.name(), dense.summary(*metric, context));
        let baseline = |metric: &Metric| Some((metric.name(), bm25.mean(*metric).ok()?));
        let baselines = BTreeMap::from([("bm25".to_owned(), self.metrics.iter().filter_map(baseline).collect())]);
        let mut notes = self.collection.notes.clone();
        notes.push("bm25: character bigrams, k1 0.9, b 0.4; without prefixes and not cut".into());
        TaskResult {
            alias: self.task.clone(),
            version: VERSION,
            metrics: self.metrics.iter().map(value).collect(),
            main_metric: self.metrics[0].name(),
            samples: SampleCount { original: self.collection.num_original, effective: self.collection.queries.len() },
            baselines,
            notes,
            ..TaskResult::default()
        }
    }

    fn sample(&self, query: usize, dense: &Scored<'_>, bm25: &Scored<'_>) -> Value {
        let Query { id, text, judgements } = &self.collection.queries[query];
        let relevant: Vec<&str> =
            judgements.iter().filter(|(_, level)| *level > 0).map(|(docno, _)| &**docno).collect();
        let top: Vec<Value> = dense.runs[query]
            .iter()
            .take(SHOWN)
            .map(|(docno, score)| json!({ "docno": docno, "score": *score as f32 }))
            .collect();
        json!({
            "doc_id": query,
            "query_id": id,
            "query": text,
            "relevant": relevant,
            "first_relevant_rank": dense.first_relevant_rank(query),
            "bm25_first_relevant_rank": bm25.first_relevant_rank(query),
            "top": top,
            "metrics": dense.values(query),
        })
    }
}

/// What was found, with its judgement.
struct Scored<'a> {
    task: &'a Retrieval,
    /// For each query the docnos found with their scores, in trec_eval's order.
    runs: Vec<Vec<(&'a str, f64)>>,
    rankings: Vec<Ranking>,
}

impl<'a> Scored<'a> {
    fn new(task: &'a Retrieval, found: &Found) -> anyhow::Result<Self> {
        let passages = &task.collection.passages;
        let named = |(place, score): &(usize, f32)| (passages[*place].docno.as_str(), f64::from(*score));
        let runs: Vec<Vec<_>> = found.iter().map(|found| found.iter().map(named).collect()).collect();
        let judge = |(query, run): (&Query, &Vec<(&str, f64)>)| {
            let qrels: Vec<(&str, i32)> = query.judgements.iter().map(|(docno, level)| (&**docno, *level)).collect();
            Ok(Ranking::new(run, &qrels)?)
        };
        let rankings = task.collection.queries.iter().zip(&runs).map(judge).collect::<anyhow::Result<_>>()?;
        Ok(Self { task, runs, rankings })
    }

    /// The mean over queries, or why there is none.
    fn mean(&self, metric: Metric) -> Result<f64, String> {
        let num_passages = self.task.collection.passages.len();
        if let Some(k) = metric.cutoff().filter(|k| *k > num_passages) {
            return Err(format!("there are {num_passages} passages, fewer than {k}"));
        }
        mean_over_queries(&self.of_queries(metric)).map_err(|undefined| undefined.to_string())
    }

    fn of_queries(&self, metric: Metric) -> Vec<anaume_core::metrics::Metric> {
        self.rankings.iter().map(|ranking| metric.of(ranking)).collect()
    }

    /// The mean over queries, with its standard error and bootstrap interval.
    fn summary(&self, metric: Metric, context: &Context<'_>) -> MetricValue {
        let value = self.mean(metric);
        if value.is_err() {
            return MetricValue::new(value, true);
        }
        let values: Vec<f64> = self.of_queries(metric).into_iter().flatten().collect();
        let resampled = context.bootstrapped(values.len(), true, |queries| statistics::mean(&pick(&values, queries)));
        let deviation = statistics::standard_deviation(&values).ok();
        let stderr = deviation.map(|deviation| deviation / (values.len() as f64).sqrt());
        MetricValue { stderr, interval: resampled.interval, ..MetricValue::new(value, true) }
    }

    /// The metrics of a query by name.
    fn values(&self, query: usize) -> BTreeMap<String, f64> {
        let value = |metric: &Metric| Some((metric.name(), metric.of(&self.rankings[query]).ok()?));
        self.task.metrics.iter().filter_map(value).collect()
    }

    fn first_relevant_rank(&self, query: usize) -> Option<usize> {
        let judgements = &self.task.collection.queries[query].judgements;
        let is_relevant = |docno: &str| judgements.iter().any(|(judged, level)| judged == docno && *level > 0);
        self.runs[query].iter().position(|(docno, _)| is_relevant(docno)).map(|index| index + 1)
    }

    /// The run in trec_eval's format: `qid Q0 docno rank score tag`.
    fn run_file(&self, tag: &str) -> String {
        let mut lines = String::new();
        for (query, run) in self.task.collection.queries.iter().zip(&self.runs) {
            for (rank, (docno, score)) in (1..).zip(run) {
                lines += &format!("{} Q0 {docno} {rank} {} {tag}\n", query.id, *score as f32);
            }
        }
        lines
    }
}

/// The judgements in trec_eval's format: `qid 0 docno relevance`.
fn qrels_file(collection: &Collection) -> String {
    let mut lines = String::new();
    for query in &collection.queries {
        for (docno, level) in &query.judgements {
            lines += &format!("{} 0 {docno} {level}\n", query.id);
        }
    }
    lines
}
