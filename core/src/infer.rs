//! The one facade for answers from a model: the command line and the web page call these functions and compute nothing of
//! their own.

mod gold;
mod pseudo_likelihood;
mod self_check;

pub use crate::answer::{Candidate, FillMask, Token};
pub use gold::{GoldScore, JudgedMask};
pub use pseudo_likelihood::{MaskedCopy, SCORING_TOKENS_PER_FORWARD, sample_positions};

use serde::Serialize;

use crate::batch::{Sequences, groups_within};
use crate::config::{Pooling, Precision};
use crate::error::{Error, Result};
use crate::model::{Config, MaskedLm};
use crate::tokenizer::{MaskConvention, Tokenizer};
use crate::weights::{WeightFile, read_back};

/// Tokens computed at once: enough to fill a device, little enough for a browser.
pub const TOKENS_PER_FORWARD: usize = 4096;

/// Logits that exist at once: 64 MiB, within what every adapter takes as one buffer.
const LOGITS_AT_ONCE: usize = 1 << 24;

/// Largest buffer that every device of WebGPU binds: its default limit `maxStorageBufferBindingSize`.
const MAX_BUFFER_BYTES: usize = 128 << 20;

/// A masked language model, or its encoder alone, with its tokenizer.
pub struct Engine {
    /// `config.json`.
    pub config: Config,
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    model: MaskedLm,
}

/// The files of a model folder, as bytes, and the weights on the way to their device.
pub struct ModelFiles<'a> {
    /// `config.json`.
    pub config_json: &'a [u8],
    /// `model.safetensors`, or the files that it is cut into.
    pub weights: WeightFile,
    /// `tokenizer.json`.
    pub tokenizer_json: &'a [u8],
    /// `tokenizer_config.json`, where there is one.
    pub tokenizer_config_json: Option<&'a [u8]>,
}

/// How texts become vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct EmbedOptions {
    /// How the vectors of a text's tokens become one.
    pub pooling: Pooling,
    /// Index into `hidden_states` as in transformers: 0 is the embedding, `num_hidden_layers` the model's output after its
    /// final norm. `None` is the output.
    pub layer: Option<usize>,
    /// Longest text in tokens with `[CLS]` and `[SEP]`; what is longer is cut.
    pub max_length: usize,
}

impl Engine {
    /// Makes a model of its files. Errors name the field or tensor that does not fit.
    pub fn new(files: ModelFiles<'_>) -> Result<Self> {
        let tokenizer = Tokenizer::from_bytes(files.tokenizer_json, files.tokenizer_config_json)?;
        Self::with_tokenizer(files.config_json, files.weights, tokenizer)
    }

    /// Makes a model of `config.json` and weights, for a tokenizer. Errors name the field or tensor that does not fit.
    pub fn with_tokenizer(config_json: &[u8], mut weights: WeightFile, tokenizer: Tokenizer) -> Result<Self> {
        let config = Config::from_json(config_json)?;
        check_rows(config.vocab_size(), &tokenizer)?;
        weights.limit_buffers(MAX_BUFFER_BYTES);
        let model = MaskedLm::load(weights, &config)?;
        Ok(Self { config, tokenizer, model })
    }

    /// Sets what the matrix products take; whether the device has the type is for the caller to ask.
    pub fn set_precision(&mut self, precision: Precision) {
        self.model.encoder.set_precision(precision);
    }

    /// Width of the vectors that [`Self::embed`] gives.
    pub fn hidden_size(&self) -> usize {
        self.config.hidden_size()
    }

    /// Longest sequence that the model takes, in tokens.
    pub fn max_length(&self) -> usize {
        self.config.max_length()
    }

    /// Tokens that the model chooses from.
    pub fn vocab_size(&self) -> usize {
        self.config.vocab_size()
    }

    /// The tokens of a text, CLS and SEP among them, however long it is.
    pub fn tokens(&self, text: &str, convention: MaskConvention) -> Result<Vec<Token>> {
        let encoding = self.tokenizer.encode(text, convention)?;
        let token = |(index, (id, offsets)): (usize, (&u32, &(usize, usize)))| Token {
            id: *id,
            piece: self.tokenizer.piece(*id).unwrap_or_default(),
            offsets: *offsets,
            is_mask: encoding.mask_positions.contains(&index),
        };
        Ok(encoding.ids.iter().zip(&encoding.offsets).enumerate().map(token).collect())
    }

    /// The likeliest `top_k` tokens at every mask of every text.
    pub async fn fill_mask(&self, texts: &[String], top_k: usize, convention: MaskConvention) -> Result<Vec<FillMask>> {
        let prompts: Vec<Prompt> = texts.iter().map(|text| self.prompt(text, convention)).collect::<Result<_>>()?;
        let unanswered = |prompt: &Prompt| FillMask {
            text: prompt.text.clone(),
            truncated: prompt.truncated,
            masks: Vec::with_capacity(prompt.masks.len()),
        };
        let mut answers: Vec<FillMask> = prompts.iter().map(unanswered).collect();
        let answer = |text: usize, logits: &[f32]| answers[text].masks.push(self.candidates(logits, top_k));
        self.for_each_mask(&prompts, answer).await?;
        Ok(answers)
    }

    /// Calls `see` with the index of the prompt and the logits of each mask, in order.
    async fn for_each_mask(&self, prompts: &[Prompt], mut see: impl FnMut(usize, &[f32])) -> Result<()> {
        let mut index = 0;
        for group in groups(prompts, |prompt| prompt.ids.len()) {
            let (mut sequences, mut chosen, mut prompt_of) = (Sequences::default(), Vec::new(), Vec::new());
            for prompt in group {
                chosen.extend(prompt.masks.iter().map(|mask| sequences.ids.len() + mask));
                prompt_of.resize(chosen.len(), index);
                sequences.push(&prompt.ids);
                index += 1;
            }
            let hidden_td = self.model.encoder.forward(&self.model.encoder.inputs(&sequences)?);
            let at_once = self.logit_rows_at_once();
            for (chosen, prompt_of) in chosen.chunks(at_once).zip(prompt_of.chunks(at_once)) {
                let logits = read_back(self.model.logits_at(hidden_td.clone(), chosen)?).await?;
                prompt_of
                    .iter()
                    .zip(logits.chunks_exact(self.vocab_size()))
                    .for_each(|(prompt, row)| see(*prompt, row));
            }
        }
        Ok(())
    }

    /// Tokens whose logits are computed at once.
    fn logit_rows_at_once(&self) -> usize {
        (LOGITS_AT_ONCE / self.vocab_size()).max(1)
    }

    /// Tokens of a text as [`Self::embed_with`] computes it.
    pub fn num_tokens(&self, text: &str, options: &EmbedOptions) -> Result<usize> {
        Ok(self.framed(text, options.max_length)?.len())
    }

    /// One vector of `hidden_size` values for each text, not normalised; texts are cut at `max_length` tokens.
    pub async fn embed(&self, texts: &[String], pooling: Pooling, max_length: usize) -> Result<Vec<Vec<f32>>> {
        self.embed_with(texts, &EmbedOptions { pooling, layer: None, max_length }).await
    }

    /// One vector of `hidden_size` values for each text, not normalised. Texts are packed without padding, those of like
    /// length together.
    ///
    /// # Errors
    /// [`Error::Input`] for a layer that the model does not have.
    pub async fn embed_with(&self, texts: &[String], options: &EmbedOptions) -> Result<Vec<Vec<f32>>> {
        let layer = self.layer(options.layer)?;
        let encode = |text: &String| self.framed(text, options.max_length);
        let mut inputs =
            texts.iter().map(encode).enumerate().map(|(i, ids)| Ok((i, ids?))).collect::<Result<Vec<_>>>()?;
        inputs.sort_by_key(|(_, ids)| ids.len());
        let mut vectors = vec![Vec::new(); texts.len()];
        for group in groups(&inputs, |(_, ids)| ids.len()) {
            let mut sequences = Sequences::default();
            group.iter().for_each(|(_, ids)| sequences.push(ids));
            let inputs = self.model.encoder.inputs(&sequences)?;
            let mut pooled = None;
            self.model.encoder.forward_observed(&inputs, |index, hidden_td| {
                if index == layer {
                    pooled = Some(self.model.encoder.pool(hidden_td.clone(), &inputs, options.pooling));
                }
            });
            let pooled = read_back(pooled.expect("the layer was checked above")).await?;
            let rows = pooled.chunks_exact(self.hidden_size());
            group.iter().zip(rows).for_each(|((place, _), row)| vectors[*place] = row.to_vec());
        }
        Ok(vectors)
    }

    /// The index of a layer in `hidden_states`, the last one where none is named.
    fn layer(&self, layer: Option<usize>) -> Result<usize> {
        let last = self.config.num_layers();
        match layer {
            Some(layer) if layer > last => {
                Err(Error::Input { message: format!("layer {layer} is asked for; the model has layers 0 to {last}") })
            }
            _ => Ok(layer.unwrap_or(last)),
        }
    }

    /// `[CLS] … [SEP]` of a text, cut at `max_length` tokens or the model's limit.
    fn framed(&self, text: &str, max_length: usize) -> Result<Vec<u32>> {
        let ids = self.tokenizer.encode_body(text)?.ids;
        let special = self.tokenizer.special();
        let room = max_length.min(self.max_length()).saturating_sub(2);
        Ok([&[special.cls], &ids[..ids.len().min(room)], &[special.sep]].concat())
    }

    fn prompt(&self, text: &str, convention: MaskConvention) -> Result<Prompt> {
        let encoding = self.tokenizer.encode(text, convention)?;
        let (mut ids, masks) = (encoding.ids, encoding.mask_positions);
        let Some(last) = masks.last() else {
            return Err(Error::Input {
                message: format!("no mask in 「{text}」; write [MASK] where a token is to be filled in"),
            });
        };
        let limit = self.max_length();
        let truncated = ids.len() > limit;
        if truncated && *last + 1 >= limit {
            let message = format!(
                "a mask stands at token {last} and the model takes {limit} tokens: shorten the text before it (「{}…」)",
                text.chars().take(20).collect::<String>()
            );
            return Err(Error::Input { message });
        }
        if truncated {
            ids.truncate(limit - 1);
            ids.push(self.tokenizer.special().sep);
        }
        Ok(Prompt { text: text.to_owned(), ids, masks, truncated })
    }

    fn candidates(&self, logits: &[f32], top_k: usize) -> Vec<Candidate> {
        let maximum = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|logit| f64::from(logit - maximum).exp()).sum();
        let mut order: Vec<u32> = (0..logits.len() as u32).collect();
        let by_logit = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
        let top_k = top_k.min(order.len());
        if top_k < order.len() {
            order.select_nth_unstable_by(top_k, by_logit);
            order.truncate(top_k);
        }
        order.sort_unstable_by(by_logit);
        let candidate = |token_id: u32| Candidate {
            token: self.tokenizer.surface(token_id).unwrap_or_else(|| format!("<{token_id}>")),
            token_id,
            probability: f64::from(logits[token_id as usize] - maximum).exp() / sum,
        };
        order.into_iter().map(candidate).collect()
    }
}

/// Fails where the tokenizer can give an id that the model has no row for.
pub fn check_rows(vocab_size: usize, tokenizer: &Tokenizer) -> Result<()> {
    if tokenizer.num_ids() <= vocab_size {
        return Ok(());
    }
    let message = format!(
        "its ids reach {} and the model has {vocab_size} rows (`vocab_size`): it belongs to another model",
        tokenizer.num_ids() - 1,
    );
    Err(Error::Tokenizer { message })
}

struct Prompt {
    text: String,
    ids: Vec<u32>,
    masks: Vec<usize>,
    truncated: bool,
}

/// Splits items into runs of about [`TOKENS_PER_FORWARD`] tokens, at least one item each.
fn groups<T>(items: &[T], length: impl Fn(&T) -> usize) -> Vec<&[T]> {
    groups_within(TOKENS_PER_FORWARD, items, length)
}
