//! `anaume eval pseudo-perplexity`: how well a model guesses each token of held-out texts from all others
//! (Salazar et al. 2020, arXiv 1910.14659), per token and per character, by the length of the text.
//!
//! Every token between `[CLS]` and `[SEP]` is scored, or a sample of them drawn without replacement. Copies of a text with
//! one mask each are packed, long texts first, several short ones in one forward pass.

mod summary;
mod texts;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

use anaume_core::batch::groups_within;
use anaume_core::infer::{Engine, MaskedCopy, SCORING_TOKENS_PER_FORWARD, sample_positions};
use anyhow::Context as _;
use serde_json::{Value, json};

use super::subject::Subject;
use super::{Common, Context, Evaluation, Outcome};
use crate::device::Inference;
use crate::exit::{Coded, Exit};
use crate::progress::format_si;
pub use summary::{Bins, Score};
pub use texts::{Text, Texts};

/// Version of the definition of the numbers.
const VERSION: u32 = 1;

/// Arguments of the command.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    anaume eval pseudo-perplexity --model model/ --data data/ --per-bin 100 --out results/\n  \
    anaume eval pseudo-perplexity --model a/ --model b/ --data texts.txt --exact --bins 128,512 --out results/")]
pub struct Args {
    /// What every evaluation takes.
    #[command(flatten)]
    pub common: Common,
    /// In which numbers.
    #[command(flatten)]
    pub inference: Inference,
    /// Held-out texts: JSON lines, plain text (a text a line) or Parquet, also .gz and .zst; or a folder with
    /// wiki_kyoto/eval.jsonl.gz
    #[arg(long)]
    pub data: PathBuf,
    /// Which tokens of which texts are scored.
    #[command(flatten)]
    pub options: Options,
}

/// Which tokens of which texts are scored.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Column (JSON key, Parquet column) that holds the text
    #[arg(long, default_value = "text")]
    pub column: String,
    /// Column that names the text in results [default: the number of its line]
    #[arg(long)]
    pub id_column: Option<String>,
    /// Score every token
    #[arg(long, conflicts_with = "positions")]
    pub exact: bool,
    /// Tokens to score in each text, drawn without replacement
    #[arg(long, default_value = "100", value_name = "N")]
    pub positions: NonZeroUsize,
    /// Longest text in tokens with [CLS] and [SEP]; longer ones are left out [default: as much as the model takes]
    #[arg(long, value_name = "TOKENS")]
    pub max_length: Option<usize>,
    /// Cut longer texts instead of leaving them out
    #[arg(long)]
    pub truncate: bool,
    /// Upper bounds of the bins of length in tokens, such as 256,512,1024; `original` is 1024,2048,4096,8191. Texts beyond
    /// the last are left out
    #[arg(long, default_value = "original")]
    pub bins: Bins,
    /// Texts in each bin: the first N of the file
    #[arg(long, value_name = "N")]
    pub per_bin: Option<usize>,
    /// Read only the first N texts of the file
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

/// What to compute for each model.
///
/// # Errors
/// Data that cannot be read, two texts of the same name.
pub fn evaluations(args: &Args) -> anyhow::Result<Vec<Box<dyn Evaluation>>> {
    let texts = Texts::read(&args.data, &args.options)?;
    Ok(vec![Box::new(PseudoPerplexity { texts, options: args.options.clone() })])
}

struct PseudoPerplexity {
    texts: Texts,
    options: Options,
}

/// A text as it is scored.
struct Encoded<'a> {
    text: &'a Text,
    /// `[CLS] … [SEP]`.
    ids: Vec<u32>,
    /// Characters that the ids stand for.
    characters: usize,
    positions: Vec<usize>,
}

/// Texts that are not scored, by reason.
#[derive(Default)]
struct LeftOut {
    empty: usize,
    too_long: usize,
    outside_bins: usize,
    bin_full: usize,
}

impl Evaluation for PseudoPerplexity {
    fn task(&self) -> String {
        format!("pseudo-perplexity-{}", self.texts.name)
    }

    fn config(&self) -> Value {
        let o = &self.options;
        json!({
            "data": self.texts.file, "column": o.column, "id_column": o.id_column, "exact": o.exact,
            "positions": (!o.exact).then_some(o.positions), "max_length": o.max_length, "truncate": o.truncate,
            "bins": o.bins, "per_bin": o.per_bin, "limit": o.limit,
        })
    }

    fn cost(&self, chars_per_token: f64) -> f64 {
        let mut room = self.room();
        let tokens =
            self.texts.all.iter().map(|text| (text.text.chars().count() as f64 / chars_per_token) as usize + 2);
        let chosen = tokens.filter(|tokens| self.options.bins.of(*tokens).is_some_and(|bin| take(&mut room[bin])));
        chosen.map(|tokens| (tokens * self.num_positions().min(tokens)) as f64).sum()
    }

    fn run(&self, subject: &Subject, context: &mut Context<'_>) -> anyhow::Result<Outcome> {
        let engine = subject.engine()?;
        let longest = self.options.max_length.unwrap_or(usize::MAX).min(subject.identity.max_length);
        let (encoded, left_out) = self.encode(engine, longest, context.seed)?;
        if encoded.is_empty() {
            let message = format!("{}: no text can be scored: {}", self.texts.file.name, left_out.in_words(longest));
            return Err(Coded::error(Exit::Data, message));
        }
        let scores = score_all(engine, &encoded, context)?;
        let mut notes = self.notes(engine, &encoded, &left_out, longest);
        notes.extend(self.texts.note.map(str::to_owned));
        summary::outcome(&scores, &self.options.bins, self.texts.all.len(), notes, context)
    }
}

/// Whether there was room for one more.
fn take(room: &mut usize) -> bool {
    let had_room = *room > 0;
    *room = room.saturating_sub(1);
    had_room
}

impl PseudoPerplexity {
    /// Texts that each bin takes.
    fn room(&self) -> Vec<usize> {
        vec![self.options.per_bin.unwrap_or(usize::MAX); self.options.bins.count()]
    }

    fn num_positions(&self) -> usize {
        if self.options.exact { usize::MAX } else { self.options.positions.get() }
    }

    /// The texts that are scored, in the order of the file.
    fn encode(&self, engine: &Engine, longest: usize, seed: u64) -> anyhow::Result<(Vec<Encoded<'_>>, LeftOut)> {
        let (mut encoded, mut left_out, mut room) = (Vec::new(), LeftOut::default(), self.room());
        for text in &self.texts.all {
            let body = engine.tokenizer.encode_body(&text.text).with_context(|| text.place())?;
            let kept = body.ids.len().min(longest.saturating_sub(2));
            if text.text.trim().is_empty() || kept == 0 {
                left_out.empty += 1;
            } else if kept < body.ids.len() && !self.options.truncate {
                left_out.too_long += 1;
            } else if let Some(bin) = self.options.bins.of(kept + 2) {
                if !take(&mut room[bin]) {
                    left_out.bin_full += 1;
                    continue;
                }
                let special = engine.tokenizer.special();
                let ids = [&[special.cls], &body.ids[..kept], &[special.sep]].concat();
                let end = if kept < body.ids.len() { body.offsets[kept - 1].1 } else { text.text.len() };
                let positions = sample_positions(ids.len(), self.num_positions(), seed, &text.text);
                encoded.push(Encoded { text, ids, characters: text.text[..end].chars().count(), positions });
            } else {
                left_out.outside_bins += 1;
            }
        }
        Ok((encoded, left_out))
    }

    fn notes(&self, engine: &Engine, encoded: &[Encoded<'_>], left_out: &LeftOut, longest: usize) -> Vec<String> {
        let mut notes = Vec::new();
        if encoded.iter().any(|text| text.positions.len() + 2 < text.ids.len()) {
            notes.push(format!(
                "{} tokens a text were drawn without replacement: the values estimate those of all tokens (--exact)",
                self.options.positions
            ));
        }
        let left_out = left_out.in_words(longest);
        if !left_out.is_empty() {
            notes.push(format!("left out: {left_out}"));
        }
        let unk = engine.tokenizer.special().unk;
        let unknown: usize = encoded.iter().map(|text| text.ids.iter().filter(|id| **id == unk).count()).sum();
        if unknown > 0 {
            notes.push(format!("{unknown} tokens are unknown ones, which are easy to guess: the values are too low"));
        }
        notes.push(
            "per token, only models with one tokenizer compare; per character any, though a token cut from a word is \
             guessed from the rest of the word"
                .into(),
        );
        notes
    }
}

impl LeftOut {
    fn in_words(&self, longest: usize) -> String {
        let counts = [
            (self.empty, "without text".to_owned()),
            (self.too_long, format!("longer than {longest} tokens")),
            (self.outside_bins, "longer than the last bin".to_owned()),
            (self.bin_full, "beyond --per-bin".to_owned()),
        ];
        let words = counts.iter().filter(|(count, _)| *count > 0).map(|(count, why)| format!("{count} {why}"));
        words.collect::<Vec<_>>().join(", ")
    }
}

/// The scores of all texts in their order, those of an interrupted run taken over. Long texts come first, so that what does
/// not fit the memory shows at once.
fn score_all(engine: &Engine, encoded: &[Encoded<'_>], context: &mut Context<'_>) -> anyhow::Result<Vec<Score>> {
    let done = context.partial.done.iter().map(|score| serde_json::from_value(score.clone()));
    let done: Vec<Score> = done.collect::<Result<_, _>>().context("what an interrupted run left cannot be read")?;
    let mut done: HashMap<String, Score> = done.into_iter().map(|score| (score.doc_id.clone(), score)).collect();
    let mut waiting: Vec<&Encoded> = encoded.iter().filter(|text| !done.contains_key(&text.text.id)).collect();
    waiting.sort_by_key(|text| std::cmp::Reverse(text.ids.len()));
    let copies: Vec<(usize, usize)> =
        waiting.iter().enumerate().flat_map(|(i, text)| text.positions.iter().map(move |at| (i, *at))).collect();
    let total = copies.iter().map(|(i, _)| waiting[*i].ids.len() as u64).sum();
    let (progress, start, mut tokens) = (context.progress(total, "tokens"), Instant::now(), 0);
    let mut losses = Vec::new();
    for group in groups_within(SCORING_TOKENS_PER_FORWARD, &copies, |(i, _)| waiting[*i].ids.len()) {
        context.check()?;
        let masked: Vec<_> = group.iter().map(|(i, at)| MaskedCopy { ids: &waiting[*i].ids, position: *at }).collect();
        let values = pollster::block_on(engine.pseudo_log_likelihoods(&masked))?;
        for ((i, _), value) in group.iter().zip(values) {
            losses.push(-value);
            if losses.len() == waiting[*i].positions.len() {
                let score = waiting[*i].score(std::mem::take(&mut losses))?;
                context.partial.append(&serde_json::to_value(&score)?)?;
                done.insert(score.doc_id.clone(), score);
            }
        }
        tokens += masked.iter().map(|copy| copy.ids.len() as u64).sum::<u64>();
        let rate = format_si(tokens as f64 / start.elapsed().as_secs_f64());
        progress.set(tokens, &format!("{}/{} texts  {rate} tokens/s", done.len(), encoded.len()));
    }
    progress.finish(&format!("{} texts", encoded.len()));
    Ok(encoded.iter().filter_map(|text| done.remove(&text.text.id)).collect())
}

impl Encoded<'_> {
    fn score(&self, losses: Vec<f64>) -> anyhow::Result<Score> {
        if let Some(place) = losses.iter().position(|loss| !loss.is_finite()) {
            let (loss, position) = (losses[place], self.positions[place]);
            let message = format!("{}: the loss of token {position} is {loss}", self.text.place());
            return Err(Coded::error(Exit::Numerical, message));
        }
        Ok(Score::new(
            [&self.text.id, &self.text.text],
            self.ids.len(),
            self.characters,
            self.positions.clone(),
            losses,
        ))
    }
}
