//! `anaume eval fill-mask`: prompts with masks and gold answers, alone or several models side by side.
//!
//! A mask takes one token. It counts where one of its gold answers is one token of the model's vocabulary (`▁` and `##`
//! aside); the others are left out and counted. So that no prompt is lost for a vocabulary's sake,
//! `joint_log_probability` looks at every mask: the mask is repeated for each piece of an answer, as the tokenizer cuts it
//! after the text before it, and the log-probabilities of the pieces are added; the likeliest gold answer counts.

mod comparison;
mod prompts;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use anaume_core::infer::{Candidate, Engine, JudgedMask};
use anaume_core::metrics::statistics;
use anaume_core::report::eval::{MetricValue, SampleCount, TaskResult};
use anaume_core::tokenizer::{MaskConvention, PieceKind, Tokenizer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::data::DataFile;
use super::subject::Subject;
use super::{Common, Context, Evaluation, Outcome};
use crate::device::Inference;
pub use comparison::print_comparison;
use prompts::{Prompt, repeat_mask};

/// Name in results.
const TASK: &str = "fill-mask";

/// Version of the definition of the numbers.
const VERSION: u32 = 1;

/// Prompts answered together, between two looks at the progress and for a signal.
const PROMPTS_PER_CALL: usize = 64;

/// Candidates of each mask in `samples.jsonl`.
const NUM_CANDIDATES: usize = 10;

/// Arguments of the command.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    anaume eval fill-mask --model model/ --out results/\n  \
    anaume eval fill-mask --model a/ --model b/ --data prompts.jsonl --out results/\n\n\
    A prompt is one line: {\"id\": \"a\", \"category\": \"fact\", \"text\": \"日本の首都は[MASK]です。\", \"gold\": [\"東京\"]}.\n\
    Several masks: one list for each in `gold`. Without `gold` the prompt is answered and not scored.")]
pub struct Args {
    /// What every evaluation takes.
    #[command(flatten)]
    pub common: Common,
    /// In which numbers.
    #[command(flatten)]
    pub inference: Inference,
    /// Prompts as JSON lines [default: the built-in set]
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// `clean`: the text after a mask continues the sentence, as in pretraining; `hf`: as Hugging Face's tokenizers cut it
    #[arg(long, default_value = "clean", value_parser = ["clean", "hf"])]
    pub mask_convention: String,
}

/// What to compute for each model.
///
/// # Errors
/// A prompt without a mask, with gold answers of another shape than its masks, or of a name that occurs twice; each is
/// named by file and line.
pub fn evaluations(args: &Args) -> anyhow::Result<Vec<Box<dyn Evaluation>>> {
    let convention = if args.mask_convention == "hf" { MaskConvention::Hf } else { MaskConvention::Clean };
    let (prompts, file) = prompts::read(args.data.as_deref())?;
    let built_in = args.data.is_none();
    Ok(vec![Box::new(FillMask { prompts, file, built_in, convention })])
}

struct FillMask {
    prompts: Vec<Prompt>,
    file: DataFile,
    built_in: bool,
    convention: MaskConvention,
}

/// What was found at one mask: a line of `samples.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// Name of the prompt; where it has several masks, `/1`, `/2` … after it.
    pub doc_id: String,
    /// Name of the prompt.
    pub prompt: String,
    /// Index of the mask in the prompt.
    pub mask: usize,
    /// Category of the prompt.
    pub category: String,
    /// The prompt.
    pub text: String,
    /// Gold answers; none where the prompt is open.
    pub gold: Vec<String>,
    /// The likeliest tokens; none where the prompt does not fit the model.
    pub answers: Vec<Answer>,
    /// 1 plus the number of tokens that are likelier than every gold one; `None` where no gold answer is one token.
    pub rank: Option<usize>,
    /// Probability of all gold tokens together.
    pub probability: Option<f64>,
    /// Its natural logarithm.
    pub log_probability: Option<f64>,
    /// Log-probability of the likeliest gold answer with a mask for each of its pieces.
    pub joint_log_probability: Option<f64>,
    /// What it adds to the metrics, by their names.
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
}

/// A candidate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The token as shown to a reader.
    pub token: String,
    /// Its id.
    pub token_id: u32,
    /// Its probability.
    pub probability: f64,
    /// Whether it is a gold answer.
    pub is_gold: bool,
}

impl Evaluation for FillMask {
    fn task(&self) -> String {
        TASK.into()
    }

    fn config(&self) -> Value {
        json!({ "data": self.file, "mask_convention": format!("{:?}", self.convention).to_lowercase() })
    }

    fn cost(&self, chars_per_token: f64) -> f64 {
        // Each mask is read once, and about twice more for its gold answers.
        let chars = |prompt: &Prompt| prompt.text.chars().count() * (1 + 2 * prompt.gold.len());
        self.prompts.iter().map(chars).sum::<usize>() as f64 / chars_per_token
    }

    fn run(&self, subject: &Subject, context: &mut Context<'_>) -> anyhow::Result<Outcome> {
        let judge = Judge {
            engine: subject.engine()?,
            vocabulary: vocabulary(&subject.engine()?.tokenizer),
            max_length: subject.identity.max_length,
            convention: self.convention,
        };
        let progress = context.progress(self.prompts.len() as u64, "prompts");
        let mut samples = Vec::new();
        for (prompts, number) in self.prompts.chunks(PROMPTS_PER_CALL).zip(1..) {
            context.check()?;
            samples.extend(judge.judge(prompts)?);
            progress.set((number * PROMPTS_PER_CALL).min(self.prompts.len()) as u64, "");
        }
        progress.finish("");
        let result = self.result(&samples, context);
        Ok(Outcome { result, samples: samples.iter().map(serde_json::to_value).collect::<Result<_, _>>()? })
    }
}

/// The ids of the tokens that a reader sees as the same text.
fn vocabulary(tokenizer: &Tokenizer) -> HashMap<String, Vec<u32>> {
    let mut ids_of: HashMap<String, Vec<u32>> = HashMap::new();
    for id in (0..tokenizer.num_ids() as u32).filter(|id| tokenizer.kind(*id) == PieceKind::Text) {
        if let Some(surface) = tokenizer.surface(id) {
            ids_of.entry(surface.trim().to_owned()).or_default().push(id);
        }
    }
    ids_of
}

/// A model that answers prompts.
struct Judge<'a> {
    engine: &'a Engine,
    vocabulary: HashMap<String, Vec<u32>>,
    max_length: usize,
    convention: MaskConvention,
}

impl Judge<'_> {
    /// One sample for each mask of prompts that are computed together.
    fn judge(&self, prompts: &[Prompt]) -> anyhow::Result<Vec<Sample>> {
        let single = |prompt: &Prompt| prompt.gold.iter().map(|answers| self.single_tokens(answers)).collect();
        let gold: Vec<Vec<Vec<u32>>> = prompts.iter().map(single).collect();
        let fitting: Vec<usize> = (0..prompts.len()).filter(|index| self.fits(&prompts[*index].text)).collect();
        let texts: Vec<String> = fitting.iter().map(|index| prompts[*index].text.clone()).collect();
        let asked = self.ask(&texts, |text, mask| &gold[fitting[text]][mask], NUM_CANDIDATES)?;
        let mut judged: Vec<Vec<JudgedMask>> = vec![Vec::new(); prompts.len()];
        fitting.iter().zip(asked).for_each(|(index, masks)| judged[*index] = masks);
        let joint = self.joint_log_probabilities(prompts)?;
        let places =
            prompts.iter().enumerate().flat_map(|(p, prompt)| (0..prompt.gold.len()).map(move |mask| (p, mask)));
        let sample =
            |(p, mask): (usize, usize)| sample(&prompts[p], mask, judged[p].get(mask), &gold[p][mask], joint[p][mask]);
        Ok(places.map(sample).collect())
    }

    fn ask<'b>(
        &self,
        texts: &[String],
        gold_of: impl Fn(usize, usize) -> &'b [u32],
        num_candidates: usize,
    ) -> anyhow::Result<Vec<Vec<JudgedMask>>> {
        Ok(pollster::block_on(self.engine.judge_masks(texts, gold_of, num_candidates, self.convention))?)
    }

    fn fits(&self, text: &str) -> bool {
        let encoding = self.engine.tokenizer.encode(text, self.convention);
        // An error is not a matter of length: it is reported where the text is read.
        encoding.map_or(true, |encoding| {
            encoding.ids.len() <= self.max_length
                || encoding.mask_positions.last().is_none_or(|last| *last + 1 < self.max_length)
        })
    }

    fn single_tokens(&self, answers: &[String]) -> Vec<u32> {
        let ids: BTreeSet<u32> =
            answers.iter().filter_map(|answer| self.vocabulary.get(answer.trim())).flatten().copied().collect();
        ids.into_iter().collect()
    }

    /// For each mask of each prompt the log-probability of its likeliest gold answer, a mask for each piece; `None` where no
    /// answer fits the model.
    fn joint_log_probabilities(&self, prompts: &[Prompt]) -> anyhow::Result<Vec<Vec<Option<f64>>>> {
        let (mut texts, mut spelled) = (Vec::new(), Vec::new());
        for (index, prompt) in prompts.iter().enumerate().filter(|(_, prompt)| self.fits(&prompt.text)) {
            for (mask, answer) in
                prompt.gold.iter().enumerate().flat_map(|(mask, all)| all.iter().map(move |a| (mask, a)))
            {
                let before = prompt.before(mask);
                let filled = format!("{before}{answer}");
                let pieces = self.engine.tokenizer.encode_part(&filled, before.len()..filled.len())?.ids;
                let text = repeat_mask(&prompt.text, mask, pieces.len());
                if !pieces.is_empty() && self.fits(&text) {
                    texts.push(text);
                    spelled.push((index, mask, pieces));
                }
            }
        }
        // The masks before the repeated one stand first, those after it last.
        let gold_of = |text: usize, mask: usize| {
            let (_, repeated, pieces): &(usize, usize, Vec<u32>) = &spelled[text];
            mask.checked_sub(*repeated).and_then(|at| pieces.get(at..at + 1)).unwrap_or(&[])
        };
        let mut best: Vec<Vec<Option<f64>>> = prompts.iter().map(|prompt| vec![None; prompt.gold.len()]).collect();
        for ((index, mask, _), judged) in spelled.iter().zip(self.ask(&texts, gold_of, 0)?) {
            let joint: f64 = judged.iter().filter_map(|piece| piece.gold).map(|gold| gold.log_probability).sum();
            let best = &mut best[*index][*mask];
            *best = Some(best.map_or(joint, |other| other.max(joint)));
        }
        Ok(best)
    }
}

fn sample(prompt: &Prompt, mask: usize, judged: Option<&JudgedMask>, gold_ids: &[u32], joint: Option<f64>) -> Sample {
    let answer = |candidate: &Candidate| Answer {
        token: candidate.token.clone(),
        token_id: candidate.token_id,
        probability: candidate.probability,
        is_gold: gold_ids.contains(&candidate.token_id),
    };
    let score = judged.and_then(|judged| judged.gold);
    let mut sample = Sample {
        doc_id: if prompt.gold.len() > 1 { format!("{}/{}", prompt.id, mask + 1) } else { prompt.id.clone() },
        prompt: prompt.id.clone(),
        mask,
        category: prompt.category.clone(),
        text: prompt.text.clone(),
        gold: prompt.gold[mask].clone(),
        answers: judged.map(|judged| judged.candidates.iter().map(answer).collect()).unwrap_or_default(),
        rank: score.map(|score| score.rank),
        probability: score.map(|score| score.log_probability.exp()),
        log_probability: score.map(|score| score.log_probability),
        joint_log_probability: joint,
        metrics: BTreeMap::new(),
    };
    let value = |(name, value): &(&str, OfMask)| Some(((*name).to_owned(), value(&sample)?));
    sample.metrics = METRICS.iter().filter_map(value).collect();
    sample
}

/// The value of a mask, where it has one.
type OfMask = fn(&Sample) -> Option<f64>;

/// Metrics of masks, by name.
const METRICS: [(&str, OfMask); 7] = [
    ("top1_accuracy", |sample| within(sample, 1)),
    (MAIN_METRIC, |sample| within(sample, 5)),
    ("top10_accuracy", |sample| within(sample, 10)),
    ("mrr", |sample| Some(1.0 / sample.rank? as f64)),
    ("gold_probability", |sample| sample.probability),
    ("gold_log_probability", |sample| sample.log_probability),
    ("joint_log_probability", |sample| sample.joint_log_probability),
];

/// The metric that ranks models, also stated by category.
const MAIN_METRIC: &str = "top5_accuracy";

fn within(sample: &Sample, k: usize) -> Option<f64> {
    Some(if sample.rank? <= k { 1.0 } else { 0.0 })
}

impl FillMask {
    fn result(&self, samples: &[Sample], context: &Context<'_>) -> TaskResult {
        let mut metrics = BTreeMap::new();
        for (name, value) in METRICS {
            metrics.insert(name.to_owned(), metric(samples.iter(), value, context));
        }
        let categories: BTreeSet<&str> =
            samples.iter().filter(|sample| !sample.gold.is_empty()).map(|sample| sample.category.as_str()).collect();
        for category in categories {
            let inside = samples.iter().filter(|sample| sample.category == category);
            metrics.insert(format!("{MAIN_METRIC}_{category}"), metric(inside, |sample| within(sample, 5), context));
        }
        let original = samples.iter().filter(|sample| !sample.gold.is_empty()).count();
        let effective = samples.iter().filter(|sample| sample.rank.is_some()).count();
        TaskResult {
            alias: "Fill-mask".into(),
            version: VERSION,
            metrics,
            main_metric: MAIN_METRIC.into(),
            samples: SampleCount { original, effective },
            notes: self.notes(samples),
            ..TaskResult::default()
        }
    }

    fn notes(&self, samples: &[Sample]) -> Vec<String> {
        let mut notes = Vec::new();
        let mut left_out = |why: &str, is_out: fn(&Sample) -> bool| {
            let out: Vec<&str> = samples.iter().filter(|s| is_out(s)).map(|s| s.doc_id.as_str()).collect();
            if !out.is_empty() {
                notes.push(format!("{} masks are not scored, {why}: {}", out.len(), out.join(", ")));
            }
        };
        left_out("they lie beyond what the model takes", |s| s.answers.is_empty() && !s.gold.is_empty());
        left_out("no gold answer is one token of the vocabulary", |s| {
            !s.answers.is_empty() && !s.gold.is_empty() && s.rank.is_none()
        });
        if !notes.is_empty() {
            notes.push(
                "models with other vocabularies are scored on other masks: compare them by joint_log_probability, or on \
                 the masks in common, which the command prints"
                    .into(),
            );
        }
        let open = samples.iter().filter(|sample| sample.gold.is_empty()).count();
        if open > 0 {
            notes.push(format!("{open} open masks are answered in samples.jsonl and not scored"));
        }
        if self.built_in {
            notes.push(
                "the `literature` prompts quote public-domain books that pretraining corpora hold: they test memory too"
                    .into(),
            );
        }
        notes
    }
}

/// Mean over masks, resampled by prompt: the masks of one prompt are not independent.
fn metric<'a>(
    samples: impl Iterator<Item = &'a Sample>,
    value: impl Fn(&Sample) -> Option<f64>,
    context: &Context<'_>,
) -> MetricValue {
    let mut prompts: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for sample in samples {
        if let Some(value) = value(sample) {
            prompts.entry(&sample.prompt).or_default().push(value);
        }
    }
    let prompts: Vec<Vec<f64>> = prompts.into_values().collect();
    context.bootstrapped(prompts.len(), true, |drawn| {
        statistics::mean(&drawn.iter().flat_map(|prompt| &prompts[*prompt]).copied().collect::<Vec<_>>())
    })
}
