//! The special tokens of a BERT-style tokenizer, and the spellings of each in the families that the program meets.

use serde_json::Value;

/// What a special token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A piece for what cannot be spelled.
    Unk,
    /// Start of a text, in decoders.
    Bos,
    /// End of a text, in decoders.
    Eos,
    /// A position to be predicted.
    Mask,
    /// Filling up to a common length.
    Pad,
    /// First token of an input.
    Cls,
    /// End of each part of an input.
    Sep,
}

impl Role {
    /// Every role, in the order of the ids of llm-jp-tokenizer v3.
    pub const ALL: [Self; 7] = [Self::Unk, Self::Bos, Self::Eos, Self::Mask, Self::Pad, Self::Cls, Self::Sep];

    /// Key of the role in `tokenizer_config.json` and `special_tokens_map.json`.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Unk => "unk_token",
            Self::Bos => "bos_token",
            Self::Eos => "eos_token",
            Self::Mask => "mask_token",
            Self::Pad => "pad_token",
            Self::Cls => "cls_token",
            Self::Sep => "sep_token",
        }
    }

    /// Usual spellings, the most specific first. BERT has no text borders of its own: CLS and SEP stand in for them.
    pub const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Unk => &["<unk>", "<unk|LLM-jp>", "[UNK]", "<UNK>"],
            Self::Bos => &["<s>", "<s|LLM-jp>", "<bos>", "[CLS]", "<cls>"],
            Self::Eos => &["</s>", "</s|LLM-jp>", "<eos>", "[SEP]", "<sep>"],
            Self::Mask => &["<MASK|LLM-jp>", "<mask|LLM-jp>", "[MASK]", "<mask>", "<MASK>"],
            Self::Pad => &["<PAD|LLM-jp>", "<pad|LLM-jp>", "[PAD]", "<pad>", "<PAD>"],
            Self::Cls => &["<CLS|LLM-jp>", "<cls|LLM-jp>", "[CLS]", "<cls>", "<CLS>", "<s>"],
            Self::Sep => &["<SEP|LLM-jp>", "<sep|LLM-jp>", "[SEP]", "<sep>", "<SEP>", "</s>"],
        }
    }

    /// The spelling that `tokenizer_config.json` gives, as a string or as an object with `content`.
    pub(super) fn name_in(self, config: &Value) -> Option<&str> {
        let value = config.get(self.key())?;
        value.as_str().or_else(|| value.get("content")?.as_str())
    }
}
