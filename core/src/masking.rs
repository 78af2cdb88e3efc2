//! Masking for the masked-language-model task: which tokens are predicted and what is shown in their place.
//!
//! BERT's 80/10/10 rule (<https://arxiv.org/abs/1810.04805>) as in Hugging Face's collator: every token that is not
//! special is selected with the same probability; a selected token is shown as the mask, as a random token, or as itself.
//!
//! The draws come from ChaCha8 used as random access: (seed, epoch) is the key, the document the stream, and the
//! token's position in its document the place in that stream. So a token's mask depends on nothing else: not on
//! chunking, packing, order, batch or worker, and there is no state to save.

use crate::error::{Error, Result};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The label of a token that is not predicted.
pub const IGNORE_LABEL: i32 = -100;

/// 32-bit words of the stream that belong to one token: one selects it, one decides what is shown, two draw a token.
const WORDS_PER_TOKEN: u128 = 4;

/// How tokens are masked.
#[derive(Clone, Debug, PartialEq)]
pub struct MaskingConfig {
    /// Probability that a token is selected (0.3 for ModernBERT, 0.15 for BERT).
    pub probability: f64,
    /// Share of the selected tokens that are shown as the mask.
    pub mask_share: f64,
    /// Share of the selected tokens that are shown as a random token. The rest is shown unchanged.
    pub random_share: f64,
    /// Id of the mask token.
    pub mask_id: u32,
    /// Number of ids. Random tokens are uniform over all of them, special ones included, as in the original.
    pub vocab_size: u32,
}

impl MaskingConfig {
    /// The 80/10/10 rule.
    pub fn new(probability: f64, mask_id: u32, vocab_size: u32) -> Self {
        Self { probability, mask_share: 0.8, random_share: 0.1, mask_id, vocab_size }
    }

    /// Fails unless all shares are probabilities and the mask is a token.
    pub fn validate(&self) -> Result<()> {
        let unit = |value: f64| (0.0..=1.0).contains(&value);
        check("masking.probability", unit(self.probability), "must lie between 0 and 1")?;
        let shares =
            unit(self.mask_share) && unit(self.random_share) && self.mask_share + self.random_share <= 1.0 + 1e-9;
        check(
            "masking.mask_share",
            shares,
            "and masking.random_share must lie between 0 and 1, and so must their sum",
        )?;
        check("masking.vocab_size", self.vocab_size <= i32::MAX as u32, "must be below 2^31")?;
        check("masking.mask_id", self.mask_id < self.vocab_size, "must be below the size of the vocabulary")
    }
}

fn check(field: &str, holds: bool, message: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Config { field: field.to_owned(), message: message.to_owned() }) }
}

/// Tokens as the model sees them, and what it has to predict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masked {
    /// The ids shown, one for each given.
    pub ids: Vec<u32>,
    /// The original id of each selected token, [`IGNORE_LABEL`] elsewhere.
    pub labels: Vec<i32>,
}

/// Masks a run of tokens of one document.
///
/// `ids[i]` stands at position `first_position + i` of the document (its own tokens alone: `[CLS]` and `[SEP]` are not
/// counted). `special[i]` says that the token is never selected, as in Hugging Face's `special_tokens_mask`.
///
/// # Panics
/// If `ids` and `special` differ in length.
pub fn mask_tokens(
    config: &MaskingConfig,
    seed: u64,
    epoch: u64,
    document: u64,
    first_position: u64,
    ids: &[u32],
    special: &[bool],
) -> Masked {
    assert_eq!(ids.len(), special.len(), "one flag for each token");
    let mut stream = stream(seed, epoch, document, first_position);
    let mut masked = Masked { ids: ids.to_vec(), labels: vec![IGNORE_LABEL; ids.len()] };
    for (i, &id) in ids.iter().enumerate() {
        // Drawn for special tokens too, so that every token keeps its own place in the stream.
        let draw = Draw::next(&mut stream, config.vocab_size);
        if !special[i] && draw.selection < config.probability {
            masked.labels[i] = id as i32;
            masked.ids[i] = draw.shown(config, id);
        }
    }
    masked
}

fn stream(seed: u64, epoch: u64, document: u64, first_position: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&epoch.to_le_bytes());
    key[16..].copy_from_slice(b"anaume masking 1");
    let mut stream = ChaCha8Rng::from_seed(key);
    stream.set_stream(document);
    stream.set_word_pos(u128::from(first_position) * WORDS_PER_TOKEN);
    stream
}

/// What the stream says about one token.
struct Draw {
    selection: f64,
    action: f64,
    random_id: u32,
}

impl Draw {
    fn next(stream: &mut ChaCha8Rng, vocab_size: u32) -> Self {
        let selection = unit(stream.next_u32());
        let action = unit(stream.next_u32());
        let random_id = (u128::from(stream.next_u64()) * u128::from(vocab_size)) >> 64;
        Self { selection, action, random_id: random_id as u32 }
    }

    fn shown(&self, config: &MaskingConfig, id: u32) -> u32 {
        if self.action < config.mask_share {
            config.mask_id
        } else if self.action < config.mask_share + config.random_share {
            self.random_id
        } else {
            id
        }
    }
}

/// A word as a number in [0, 1).
fn unit(word: u32) -> f64 {
    f64::from(word) / 4_294_967_296.0
}
