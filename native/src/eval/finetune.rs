//! Fine-tuning on one task with one setting: train, evaluate every split, save.

use std::rc::Rc;

use anaume_core::batch::groups_within;
use anaume_core::config::{Pooling, Precision};
use anaume_core::finetune::{Feature, Target, Window, argmax, encode, logits, loss_sums, windows};
use anaume_core::heads::FineTuned;
use anaume_core::model::Config;
use anaume_core::optim::{AdamW, AdamWConfig};
use anaume_core::schedule::Schedule;
use anaume_core::tokenizer::Tokenizer;
use anaume_core::train_step::Trainer;
use anaume_core::weights::{StoredType, read_parameters};
use anyhow::Context as _;
use serde::Serialize;
use serde_json::{Value, json};

use super::subject::Subject;
use super::tasks::{Example, Gold, Kind, Task};
use super::{Context, Evaluation, Outcome, scores};
use crate::data::order::permutation;
use crate::exit::{Coded, Exit};
use crate::model::{read_weights, write_model};
use crate::progress::format_count;

/// Tokens of a micro-batch: enough to fill a device; larger batches are accumulated.
const MICRO_BATCH_TOKENS: usize = 8192;
/// Overlap of two windows of a long context, and the longest answer, in tokens: SQuAD's recipe.
const STRIDE: usize = 128;
const MAX_ANSWER_TOKENS: usize = 30;
/// Name of the folder of the fine-tuned model beside the results.
pub const MODEL: &str = "model";

/// What a run of fine-tuning is called with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// Peak of a schedule that ends at 0.
    pub learning_rate: f64,
    /// Passes over the training examples.
    pub epochs: usize,
    /// Examples of a step.
    pub batch_size: usize,
    /// Longest input, in tokens.
    pub max_length: usize,
    /// Share of the steps in which the rate rises.
    pub warmup_ratio: f64,
    /// Decay of the matrices.
    pub weight_decay: f64,
    /// Largest norm of the gradient; `None` for no limit.
    pub max_grad_norm: Option<f64>,
    /// How a sequence becomes one vector; `None` as the model's configuration says.
    pub pooling: Option<Pooling>,
    /// Steps at most, whatever the epochs; for trying things.
    pub max_steps: Option<usize>,
}

/// One run of a task.
pub struct FineTune {
    /// The task with its data.
    pub task: Rc<Task>,
    /// How it is trained.
    pub settings: Settings,
    /// Seed of the new head and of the order of the examples.
    pub seed: u64,
    /// Whether the fine-tuned model is kept.
    pub save: bool,
}

impl Evaluation for FineTune {
    fn task(&self) -> String {
        self.task.name.clone()
    }

    fn cell(&self) -> String {
        format!("lr{:e}_ep{}_seed{}", self.settings.learning_rate, self.settings.epochs, self.seed)
    }

    fn config(&self) -> Value {
        let mut config = json!(self.settings);
        config["seed"] = self.seed.into();
        config["selection"] = "valid".into();
        config["data"] = json!(self.task.files);
        config
    }

    fn precision(&self, _asked: Precision) -> Precision {
        Precision::F32
    }

    fn cost(&self, chars_per_token: f64) -> f64 {
        let tokens = |examples: &[Example]| -> f64 {
            let chars = |example: &Example| example.chars() as f64 / chars_per_token;
            examples.iter().map(|example| chars(example).min(self.settings.max_length as f64)).sum()
        };
        let evaluated: f64 = self.task.splits.iter().map(|(_, examples)| tokens(examples)).sum();
        3.0 * self.settings.epochs as f64 * tokens(&self.task.train) + evaluated
    }

    fn run(&self, subject: &Subject, context: &mut Context<'_>) -> anyhow::Result<Outcome> {
        let tokenizer = crate::tokenizer::load(&subject.dir)?;
        let config = self.model_config(subject)?;
        let mut trainer = self.trainer(subject, &config)?;
        self.train(&mut trainer, &tokenizer, context)?;
        let model = trainer.frozen_model()?;
        drop(trainer);
        let mut outcome = Outcome::default();
        outcome.result.alias = self.task.alias.clone();
        outcome.result.version = 1;
        outcome.result.main_metric = scores::main_metric(&self.task.kind).into();
        outcome.result.notes = self.task.notes.clone();
        for (split, examples) in &self.task.splits {
            let answers = answers(&model, &tokenizer, &self.task.kind, examples, self.settings.max_length, context)?;
            scores::add_split(&mut outcome, &self.task.kind, split, examples, &answers, context);
        }
        if self.save {
            save(model, &config, subject, context)?;
        }
        Ok(outcome)
    }
}

impl Example {
    /// Characters of all its texts, as often as the model reads them.
    fn chars(&self) -> usize {
        let count = |text: &String| text.chars().count();
        let first = count(&self.first) + self.second.as_ref().map_or(0, count);
        if self.choices.is_empty() { first } else { self.choices.iter().map(|choice| first + count(choice)).sum() }
    }
}

impl FineTune {
    fn model_config(&self, subject: &Subject) -> anyhow::Result<Config> {
        let labels = if let Kind::Classification(labels) = &self.task.kind { labels.as_slice() } else { &[] };
        let pretrained = &subject.config;
        let pooling = self.settings.pooling.unwrap_or(pretrained.pooling());
        Ok(pretrained.fine_tuned(self.task.kind.head(), labels, pooling)?)
    }

    fn trainer(&self, subject: &Subject, config: &Config) -> anyhow::Result<Trainer<FineTuned>> {
        let weights = read_weights(&subject.dir, &subject.device)?;
        let loaded = FineTuned::from_pretrained(weights, config, self.seed);
        let (model, _) = loaded.with_context(|| subject.dir.display().to_string())?;
        let optimizer = AdamWConfig {
            lr: self.settings.learning_rate,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: self.settings.weight_decay,
            max_grad_norm: self.settings.max_grad_norm.unwrap_or(f64::INFINITY),
        };
        Ok(Trainer::tracking(model, AdamW::new(optimizer))?)
    }

    fn train(
        &self,
        trainer: &mut Trainer<FineTuned>,
        tokenizer: &Tokenizer,
        context: &Context<'_>,
    ) -> anyhow::Result<()> {
        let features = features(tokenizer, &self.task.kind, &self.task.train, self.settings.max_length)?;
        if features.is_empty() {
            return Err(Coded::error(Exit::Data, format!("{}: nothing to train on", self.task.name)));
        }
        let steps_per_epoch = features.len().div_ceil(self.settings.batch_size);
        let steps = (steps_per_epoch * self.settings.epochs).min(self.settings.max_steps.unwrap_or(usize::MAX));
        let warmup_steps = (self.settings.warmup_ratio * steps as f64).ceil() as u64;
        let schedule = Schedule { warmup_steps, ..Schedule::default() };
        let progress = context.progress(steps as u64, "steps");
        let order = (0..self.settings.epochs as u64).map(|epoch| permutation(features.len(), &[self.seed, epoch, 0]));
        let batches =
            order.flat_map(|order| order.chunks(self.settings.batch_size).map(<[u32]>::to_vec).collect::<Vec<_>>());
        for (step, batch) in batches.take(steps).enumerate() {
            context.check()?;
            let chosen: Vec<&Feature> = batch.iter().map(|index| &features[*index as usize]).collect();
            for part in micro_batches(&chosen) {
                trainer.accumulate_sums(loss_sums(&trainer.model, part)?, chosen.len())?;
            }
            let rate = self.settings.learning_rate * schedule.factor(step as u64, steps as u64);
            // The step's only wait for the device.
            let done = pollster::block_on(trainer.finish(chosen.len(), rate))?;
            if !done.applied {
                let message = format!(
                    "{}: loss {} and gradient norm {} at step {}; lower the learning rate ({})",
                    self.task.name, done.loss, done.grad_norm, step, self.settings.learning_rate
                );
                return Err(Coded::error(Exit::Numerical, message));
            }
            progress.set(step as u64 + 1, &format!("loss {:.4}", done.loss));
        }
        progress.finish("trained");
        Ok(())
    }
}

/// The parts of a batch that are computed at once.
fn micro_batches<'a, 'b>(features: &'a [&'b Feature]) -> Vec<&'a [&'b Feature]> {
    groups_within(MICRO_BATCH_TOKENS, features, |feature| feature.num_tokens())
}

/// Training features. A span that lies in no window trains the model to point at CLS, as SQuAD's recipe does.
fn features(
    tokenizer: &Tokenizer,
    kind: &Kind,
    examples: &[Example],
    max_length: usize,
) -> anyhow::Result<Vec<Feature>> {
    let mut all = Vec::with_capacity(examples.len());
    for example in examples {
        let named = || format!("example {}", example.id);
        match (&example.gold, kind) {
            (Gold::Answers(answers), _) => {
                let (answer, start) = &answers[0];
                for window in span_windows(tokenizer, example, max_length).with_context(named)? {
                    let (first, last) = window.span_of(&(*start..start + answer.len())).unwrap_or((0, 0));
                    all.push(Feature { sequences: vec![window.sequence], target: Target::Span(first, last) });
                }
            }
            _ => all.push(feature(tokenizer, example, max_length).with_context(named)?),
        }
    }
    Ok(all)
}

fn span_windows(tokenizer: &Tokenizer, example: &Example, max_length: usize) -> anaume_core::Result<Vec<Window>> {
    let context = example.second.as_deref().unwrap_or_default();
    windows(tokenizer, &example.first, context, max_length, STRIDE.min(max_length / 3))
}

fn feature(tokenizer: &Tokenizer, example: &Example, max_length: usize) -> anaume_core::Result<Feature> {
    let sequences = match &example.choices[..] {
        [] => vec![encode(tokenizer, &example.first, example.second.as_deref(), max_length)?],
        choices => {
            let choice = |choice: &String| encode(tokenizer, &example.first, Some(choice), max_length);
            choices.iter().map(choice).collect::<anaume_core::Result<_>>()?
        }
    };
    let target = match &example.gold {
        Gold::Class(class) => Target::Class(*class),
        Gold::Score(score) => Target::Score(*score as f32),
        Gold::Answers(_) => Target::Span(0, 0),
    };
    Ok(Feature { sequences, target })
}

/// What a model answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The logits of the labels or choices.
    Logits(Vec<f32>),
    /// A score.
    Score(f64),
    /// A part of the context.
    Text(String),
}

impl Answer {
    /// The chosen label.
    pub fn class(&self) -> Option<usize> {
        if let Self::Logits(logits) = self { Some(argmax(logits)) } else { None }
    }
}

/// The answers of a model to examples, in their order.
fn answers(
    model: &FineTuned,
    tokenizer: &Tokenizer,
    kind: &Kind,
    examples: &[Example],
    max_length: usize,
    context: &Context<'_>,
) -> anyhow::Result<Vec<Answer>> {
    if *kind == Kind::Span {
        return span_answers(model, tokenizer, examples, max_length, context);
    }
    let features = examples.iter().map(|example| feature(tokenizer, example, max_length));
    let rows = all_logits(model, &features.collect::<anaume_core::Result<Vec<_>>>()?, context)?;
    let score = *kind == Kind::Regression;
    let answer = |row: Vec<f32>| if score { Answer::Score(row[0].into()) } else { Answer::Logits(row) };
    Ok(rows.into_iter().map(answer).collect())
}

/// The logits of features in their order, as many at once as fit a forward pass.
fn all_logits(model: &FineTuned, features: &[Feature], context: &Context<'_>) -> anyhow::Result<Vec<Vec<f32>>> {
    let features: Vec<&Feature> = features.iter().collect();
    let progress = context.progress(features.len() as u64, "inputs");
    let mut rows = Vec::with_capacity(features.len());
    for part in micro_batches(&features) {
        context.check()?;
        rows.extend(pollster::block_on(logits(model, part))?);
        progress.set(rows.len() as u64, "");
    }
    progress.finish(&format!("{} answered", format_count(rows.len() as u64)));
    Ok(rows)
}

/// The likeliest part of each example's context; the windows of many examples are computed together.
fn span_answers(
    model: &FineTuned,
    tokenizer: &Tokenizer,
    examples: &[Example],
    max_length: usize,
    context: &Context<'_>,
) -> anyhow::Result<Vec<Answer>> {
    let windows = examples.iter().map(|example| span_windows(tokenizer, example, max_length));
    let windows = windows.collect::<anaume_core::Result<Vec<_>>>()?;
    let feature = |window: &Window| Feature { sequences: vec![window.sequence.clone()], target: Target::Span(0, 0) };
    let features: Vec<Feature> = windows.iter().flatten().map(feature).collect();
    let mut rows = all_logits(model, &features, context)?.into_iter();
    let answer = |(example, windows): (&Example, &Vec<Window>)| {
        let own = windows.iter().zip(rows.by_ref());
        let best = own.filter_map(|(window, row)| window.best_span(&row, MAX_ANSWER_TOKENS));
        let best = best.max_by(|a, b| a.1.total_cmp(&b.1));
        let context = example.second.as_deref().unwrap_or_default();
        Answer::Text(best.map_or(String::new(), |(range, _)| context[range].trim().to_owned()))
    };
    Ok(examples.iter().zip(&windows).map(answer).collect())
}

/// Writes the model as transformers loads it.
fn save(mut model: FineTuned, config: &Config, subject: &Subject, context: &Context<'_>) -> anyhow::Result<()> {
    let parameters = pollster::block_on(read_parameters(&mut model))?;
    let dir = context.cell_dir.join(MODEL);
    write_model(config.to_json(StoredType::F32), &parameters, StoredType::F32, &subject.dir, &dir, true)?;
    eprintln!("{} written", dir.display());
    Ok(())
}
