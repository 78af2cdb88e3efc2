//! The state of a page as text: short enough for the fragment of an address, or else a file.
//!
//! A link holds `v1.` and the base64url of zlib of JSON, whose checksum tells a damaged link from another state. What is
//! read comes from strangers: everything is checked and every size is capped, before and after it is decompressed.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use miniz_oxide::deflate::compress_to_vec_zlib;
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;
use serde::{Deserialize, Serialize};

use crate::config::Pooling;
use crate::metrics::comparison::Comparison;

/// Version of the links and files that this program writes, and the newest that it reads.
pub const SHARE_VERSION: u32 = 1;
/// Longest link, in characters: messengers carry it whole.
pub const MAX_LINK: usize = 8 << 10;
/// Longest JSON inside a link, in bytes.
const MAX_LINK_JSON: usize = 128 << 10;
/// Longest file, in bytes.
const MAX_FILE: usize = 1 << 20;
/// Most sentences of a list that are compared.
pub const MAX_SENTENCES: usize = 50;
/// Most models, masks of a text, candidates of a mask, and hits of a way of searching.
const MAX_ITEMS: usize = 100;
/// miniz_oxide's best; the texts are short.
const BEST: u8 = 10;

/// Result of reading what was shared.
pub type Result<T> = std::result::Result<T, ShareError>;

/// Why a link or a file is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// It is longer than any that this program writes.
    #[error("it is longer than {limit} bytes")]
    TooLong {
        /// What is allowed.
        limit: usize,
    },
    /// It was written by a newer program.
    #[error("it has version {found}, this program reads up to {SHARE_VERSION}")]
    Newer {
        /// Its version.
        found: u32,
    },
    /// It is cut, altered or something else.
    #[error("it is damaged or incomplete: {0}")]
    Damaged(String),
}

/// The state of a page: what was typed, what was chosen, what came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Shared {
    /// The fill-mask page.
    FillMask(SharedFillMask),
    /// The retrieval page.
    Retrieval(SharedRetrieval),
    /// The similarity page.
    Similarity(SharedSimilarity),
}

/// The state of a page for an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Letters, digits, `-`, `_` and `.`.
    pub text: String,
    /// Whether the whole state is in it, not only that without the passages of the retrieval page.
    pub is_whole: bool,
}

/// A model, told apart by its weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedModel {
    /// Its name on the page.
    pub name: String,
    /// SHA-256 of its weights in hex.
    pub weights_sha256: String,
}

/// The fill-mask page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedFillMask {
    /// The text.
    pub text: String,
    /// What the models said about it.
    pub answers: Vec<SharedAnswer>,
}

/// What a model said about a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedAnswer {
    /// The model.
    pub model: SharedModel,
    /// Whether text after the last mask was cut to fit the model.
    pub truncated: bool,
    /// The masks, from left to right.
    pub masks: Vec<SharedMask>,
}

/// A mask and what may stand in its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedMask {
    /// Where it stands, in bytes of the text.
    pub place: Range<usize>,
    /// Candidates with their probabilities, from the likeliest on.
    pub candidates: Vec<(String, f64)>,
}

/// The retrieval page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedRetrieval {
    /// The passages as they were typed; `None` where a link has no room for them.
    pub passages: Option<String>,
    /// The query.
    pub query: String,
    /// What was found.
    pub found: Option<SharedHits>,
}

/// What was found, best first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedHits {
    /// The model that made the vectors.
    pub model: SharedModel,
    /// The nearest by cosine.
    pub by_meaning: Vec<Hit>,
    /// The best by BM25.
    pub by_words: Vec<Hit>,
}

/// A passage that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hit {
    /// Its place among the passages.
    pub number: usize,
    /// Cosine or BM25.
    pub score: f32,
    /// The passage.
    pub text: String,
    /// Byte ranges that it shares with the query, in order.
    pub shared: Vec<Range<usize>>,
}

/// The similarity page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedSimilarity {
    /// The sentences of the rows.
    pub first: Vec<String>,
    /// The sentences of the columns; the first list is compared with itself where there are none.
    pub second: Vec<String>,
    /// How the vectors of a sentence's tokens become one.
    pub pooling: Pooling,
    /// What came out.
    pub result: Option<SharedComparison>,
}

/// A comparison and who computed it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedComparison {
    /// The model that made the vectors.
    pub model: SharedModel,
    /// The cosines and the map.
    pub comparison: Comparison,
}

/// What a file holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<T> {
    anaume_share: u32,
    state: T,
}

impl Shared {
    /// The page's name in addresses.
    pub const fn page(&self) -> &'static str {
        match self {
            Self::FillMask(_) => "fill-mask",
            Self::Retrieval(_) => "retrieval",
            Self::Similarity(_) => "similarity",
        }
    }

    /// The state for an address; `None` where that is longer than [`MAX_LINK`].
    pub fn to_link(&self) -> Option<Link> {
        let whole = self.packed().map(|text| Link { text, is_whole: true });
        whole.or_else(|| match self {
            Self::Retrieval(page) => {
                let short = Self::Retrieval(SharedRetrieval { passages: None, ..page.clone() });
                short.packed().map(|text| Link { text, is_whole: false })
            }
            _ => None,
        })
    }

    fn packed(&self) -> Option<String> {
        let json = serde_json::to_vec(self).expect("a state has string keys only, so it is always JSON");
        let link = format!("v{SHARE_VERSION}.{}", URL_SAFE_NO_PAD.encode(compress_to_vec_zlib(&json, BEST)));
        (json.len() <= MAX_LINK_JSON && link.len() <= MAX_LINK).then_some(link)
    }

    /// Reads [`Self::to_link`].
    ///
    /// # Errors
    /// [`ShareError`] for anything that it does not write.
    pub fn from_link(link: &str) -> Result<Self> {
        if link.len() > MAX_LINK {
            return Err(ShareError::TooLong { limit: MAX_LINK });
        }
        let packed = link.strip_prefix('v').and_then(|rest| rest.split_once('.'));
        let (version, packed) = packed.ok_or_else(|| damaged("it does not begin with a version"))?;
        require_known(version.parse().map_err(damaged)?)?;
        let bytes = URL_SAFE_NO_PAD.decode(packed).map_err(damaged)?;
        let json = decompress_to_vec_zlib_with_limit(&bytes, MAX_LINK_JSON).map_err(damaged)?;
        serde_json::from_slice::<Self>(&json).map_err(damaged)?.checked()
    }

    /// The state as a file.
    pub fn to_json(&self) -> String {
        let file = File { anaume_share: SHARE_VERSION, state: self };
        serde_json::to_string(&file).expect("a state has string keys only, so it is always JSON") + "\n"
    }

    /// Reads [`Self::to_json`].
    ///
    /// # Errors
    /// [`ShareError`] for anything that it does not write.
    pub fn from_json(text: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            anaume_share: u32,
        }
        if text.len() > MAX_FILE {
            return Err(ShareError::TooLong { limit: MAX_FILE });
        }
        let version: Version = serde_json::from_str(text).map_err(damaged)?;
        require_known(version.anaume_share)?;
        serde_json::from_str::<File<Self>>(text).map_err(damaged)?.state.checked()
    }

    /// The state, if everything in it fits together.
    fn checked(self) -> Result<Self> {
        let is_sound = match &self {
            Self::FillMask(page) => {
                page.answers.len() <= MAX_ITEMS && page.answers.iter().all(|answer| answer.is_sound(&page.text))
            }
            Self::Retrieval(page) => page.found.as_ref().is_none_or(SharedHits::is_sound),
            Self::Similarity(page) => page.is_sound(),
        };
        if is_sound { Ok(self) } else { Err(damaged("its parts do not fit together")) }
    }
}

impl SharedModel {
    fn is_sound(&self) -> bool {
        self.weights_sha256.len() == 64
            && self.weights_sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }
}

impl SharedAnswer {
    fn is_sound(&self, text: &str) -> bool {
        let places: Vec<_> = self.masks.iter().map(|mask| mask.place.clone()).collect();
        let is_share = |(_, probability): &(String, f64)| (0.0..=1.0).contains(probability);
        let is_known = |mask: &SharedMask| mask.candidates.len() <= MAX_ITEMS && mask.candidates.iter().all(is_share);
        self.model.is_sound()
            && places.len() <= MAX_ITEMS
            && are_parts(&places, text)
            && self.masks.iter().all(is_known)
    }
}

impl SharedHits {
    fn is_sound(&self) -> bool {
        let is_hit = |hit: &Hit| hit.score.is_finite() && are_parts(&hit.shared, &hit.text);
        let are_hits = |hits: &Vec<Hit>| hits.len() <= MAX_ITEMS && hits.iter().all(is_hit);
        self.model.is_sound() && are_hits(&self.by_meaning) && are_hits(&self.by_words)
    }
}

impl SharedSimilarity {
    fn is_sound(&self) -> bool {
        let fits = |result: &SharedComparison| result.model.is_sound() && self.fits(&result.comparison);
        self.first.len().max(self.second.len()) <= MAX_SENTENCES && self.result.as_ref().is_none_or(fits)
    }

    /// Whether a comparison is one of these sentences.
    fn fits(&self, comparison: &Comparison) -> bool {
        let num_columns = if comparison.is_within { self.first.len() } else { self.second.len() };
        let is_row =
            |row: &Vec<f64>| row.len() == num_columns && row.iter().all(|cosine| (-1.0..=1.0).contains(cosine));
        comparison.is_within == self.second.is_empty()
            && comparison.cosines.len() == self.first.len()
            && comparison.cosines.iter().all(is_row)
            && comparison.map.as_ref().is_none_or(|map| map.points.len() == self.first.len() + self.second.len())
    }
}

/// Whether ranges are parts of a text, in order and apart.
fn are_parts(ranges: &[Range<usize>], text: &str) -> bool {
    let are_apart = ranges.windows(2).all(|pair| pair[0].end <= pair[1].start);
    are_apart && ranges.iter().all(|range| text.get(range.clone()).is_some())
}

fn require_known(found: u32) -> Result<()> {
    if found <= SHARE_VERSION { Ok(()) } else { Err(ShareError::Newer { found }) }
}

fn damaged(cause: impl std::fmt::Display) -> ShareError {
    ShareError::Damaged(cause.to_string())
}
