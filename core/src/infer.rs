//! The one facade for answers from a model: the command line and the web page call these functions and compute nothing of
//! their own.

use burn::tensor::Device;

use crate::batch::Sequences;
use crate::config::{ModelConfig, Pooling};
use crate::error::{Error, Result};
use crate::modernbert::MaskedLm;
use crate::tokenizer::{MaskConvention, Tokenizer};
use crate::weights::{WeightFile, read_back};

/// Tokens computed at once: enough to fill a device, little enough for a browser.
const TOKENS_PER_FORWARD: usize = 4096;

/// A masked language model with its tokenizer.
pub struct Engine {
    /// `config.json`.
    pub config: ModelConfig,
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    model: MaskedLm,
}

/// The files of a model folder, as bytes.
#[derive(Clone, Copy, Debug)]
pub struct ModelFiles<'a> {
    /// `config.json`.
    pub config_json: &'a [u8],
    /// `model.safetensors`.
    pub weights: &'a [u8],
    /// `tokenizer.json`.
    pub tokenizer_json: &'a [u8],
    /// `tokenizer_config.json`, where there is one.
    pub tokenizer_config_json: Option<&'a [u8]>,
}

/// One candidate for a mask.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Candidate {
    /// The token as shown to a reader.
    pub token: String,
    /// Its id.
    pub token_id: u32,
    /// Its probability among all tokens.
    pub probability: f64,
}

/// The answer for one text.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct FillMask {
    /// The text as asked.
    pub text: String,
    /// Whether text after the last mask was cut to fit the model.
    pub truncated: bool,
    /// For each mask, from left to right, its candidates from the likeliest on.
    pub masks: Vec<Vec<Candidate>>,
}

impl Engine {
    /// Loads a model. Errors name the field or tensor that does not fit.
    pub fn new(files: ModelFiles<'_>, device: &Device) -> Result<Self> {
        let config = ModelConfig::from_json(files.config_json)?;
        let tokenizer = Tokenizer::from_bytes(files.tokenizer_json, files.tokenizer_config_json)?;
        check_rows(&config, &tokenizer)?;
        let mut source = WeightFile::new(files.weights, device)?;
        let model = MaskedLm::new(&mut source, &config, device)?;
        source.finish()?;
        Ok(Self { config, tokenizer, model })
    }

    /// The likeliest `top_k` tokens at every mask of every text.
    pub async fn fill_mask(&self, texts: &[String], top_k: usize, convention: MaskConvention) -> Result<Vec<FillMask>> {
        let prompts: Vec<Prompt> = texts.iter().map(|text| self.prompt(text, convention)).collect::<Result<_>>()?;
        let mut answers = Vec::with_capacity(texts.len());
        for group in groups(&prompts, |prompt| prompt.ids.len()) {
            let (mut sequences, mut chosen) = (Sequences::default(), Vec::new());
            for prompt in group {
                chosen.extend(prompt.masks.iter().map(|mask| sequences.ids.len() + mask));
                sequences.push(&prompt.ids);
            }
            let logits = read_back(self.model.forward(&self.model.encoder.inputs(&sequences)?, &chosen)).await?;
            let mut rows = logits.chunks_exact(self.config.vocab_size);
            for prompt in group {
                let masks = rows.by_ref().take(prompt.masks.len()).map(|row| self.candidates(row, top_k)).collect();
                answers.push(FillMask { text: prompt.text.clone(), truncated: prompt.truncated, masks });
            }
        }
        Ok(answers)
    }

    /// One vector of `hidden_size` values for each text, not normalised; texts are cut at `max_length` tokens.
    pub async fn embed(&self, texts: &[String], pooling: Pooling, max_length: usize) -> Result<Vec<Vec<f32>>> {
        let max_length = max_length.min(self.config.max_position_embeddings);
        let encode = |text: &String| -> Result<Vec<u32>> {
            let ids = self.tokenizer.encode_body(text)?.ids;
            let special = self.tokenizer.special();
            let kept = &ids[..ids.len().min(max_length.saturating_sub(2))];
            Ok([&[special.cls], kept, &[special.sep]].concat())
        };
        let inputs: Vec<Vec<u32>> = texts.iter().map(encode).collect::<Result<_>>()?;
        let mut vectors = Vec::with_capacity(texts.len());
        for group in groups(&inputs, Vec::len) {
            let mut sequences = Sequences::default();
            group.iter().for_each(|ids| sequences.push(ids));
            let inputs = self.model.encoder.inputs(&sequences)?;
            let hidden_td = self.model.encoder.forward(&inputs);
            let pooled = read_back(self.model.encoder.pool(hidden_td, &inputs, pooling)).await?;
            vectors.extend(pooled.chunks_exact(self.config.hidden_size).map(<[f32]>::to_vec));
        }
        Ok(vectors)
    }

    fn prompt(&self, text: &str, convention: MaskConvention) -> Result<Prompt> {
        let encoding = self.tokenizer.encode(text, convention)?;
        let (mut ids, masks) = (encoding.ids, encoding.mask_positions);
        let Some(last) = masks.last() else {
            return Err(Error::Input {
                message: format!("no mask in 「{text}」; write [MASK] where a token is to be filled in"),
            });
        };
        let limit = self.config.max_position_embeddings;
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
pub fn check_rows(config: &ModelConfig, tokenizer: &Tokenizer) -> Result<()> {
    if tokenizer.num_ids() <= config.vocab_size {
        return Ok(());
    }
    let message = format!(
        "its ids reach {} and the model has {} rows (`vocab_size`): it belongs to another model",
        tokenizer.num_ids() - 1,
        config.vocab_size
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
    let (mut groups, mut start, mut tokens) = (Vec::new(), 0, 0);
    for (index, item) in items.iter().enumerate() {
        if index > start && tokens + length(item) > TOKENS_PER_FORWARD {
            groups.push(&items[start..index]);
            (start, tokens) = (index, 0);
        }
        tokens += length(item);
    }
    if start < items.len() {
        groups.push(&items[start..]);
    }
    groups
}
