//! Text to ids with offsets: bodies, inputs with masks, pairs.

use std::ops::Range;

use tokenizers::{Model, NormalizedString, Normalizer, OffsetType, PreTokenizedString, PreTokenizer};

use super::{JsonPipeline, PieceKind, Pipeline, Tokenizer, contained};
use crate::error::Result;

/// How the text after a mask is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MaskConvention {
    /// The ids that `tokenizer.json` gives everywhere else: special tokens are found in text, and the text after each
    /// begins anew, in the llm-jp family with a `▁` that pretraining never shows after a mask.
    Hf,
    /// The mask stands between tokens of one running text, as in pretraining: the text after it is cut as in the middle
    /// of a sentence, and a text that begins with a mask gets no `▁`. Spellings of other special tokens are ordinary text.
    /// MeCab has no middle of a sentence: under either convention it analyses the text between two masks on its own.
    #[default]
    Clean,
}

/// Ids of a text, with the place of each token in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Byte range of each token in the original text, `(0, 0)` for CLS and SEP. The bytes of one character share a range.
    pub offsets: Vec<(usize, usize)>,
    /// Indices of the mask tokens in `ids`.
    pub mask_positions: Vec<usize>,
}

impl Encoding {
    fn push(&mut self, id: u32, offsets: (usize, usize)) {
        self.ids.push(id);
        self.offsets.push(offsets);
    }
}

impl Tokenizer {
    /// Ids of ordinary text, with no special tokens. What spells one (`<s>`, `[MASK]`, `<0x41>`) stays text: it is cut
    /// into other pieces, so a corpus cannot forge a mask or a border. Empty text gives no ids.
    pub fn encode_body(&self, text: &str) -> Result<Encoding> {
        self.encode_part(text, 0..text.len())
    }

    /// [`Self::encode_body`] of a part of a text, given in bytes; offsets are those in the whole text. It is cut as what
    /// follows the text before it: only the start of the text gets a `▁`.
    pub fn encode_part(&self, text: &str, part: Range<usize>) -> Result<Encoding> {
        let mut body = Encoding::default();
        self.encode_segment(text, part, &mut body)?;
        Ok(body)
    }

    /// Ids of an input: CLS, the text, SEP. Masks are written `[MASK]`, `{mask_str}` or as the tokenizer's own token.
    pub fn encode(&self, text: &str, convention: MaskConvention) -> Result<Encoding> {
        self.encode_texts(&[text], convention)
    }

    /// Ids of two texts: CLS, the first, SEP, the second, SEP. Offsets are within the text that a token comes from; the
    /// first SEP ends the first text.
    pub fn encode_pair(&self, first: &str, second: &str, convention: MaskConvention) -> Result<Encoding> {
        self.encode_texts(&[first, second], convention)
    }

    /// The text with every spelling of the mask replaced by the tokenizer's own.
    pub fn normalise_masks(&self, text: &str) -> String {
        let (mut normal, mut end) = (String::with_capacity(text.len()), 0);
        for mask in self.mask_ranges(text) {
            normal.push_str(&text[end..mask.start]);
            normal.push_str(&self.mask_token);
            end = mask.end;
        }
        normal + &text[end..]
    }

    fn encode_texts(&self, texts: &[&str], convention: MaskConvention) -> Result<Encoding> {
        match (convention, &self.pipeline) {
            (MaskConvention::Hf, Pipeline::Json(json)) => self.encode_elsewhere(&json.inner, texts),
            _ => self.encode_parts(texts, convention),
        }
    }

    fn encode_parts(&self, texts: &[&str], convention: MaskConvention) -> Result<Encoding> {
        let mut whole = Encoding::default();
        whole.push(self.special.cls, (0, 0));
        for text in texts {
            let mut end = 0;
            for (id, found) in self.found_tokens(text, convention) {
                self.encode_between(text, end..found.start, convention, &mut whole)?;
                if id == self.special.mask {
                    whole.mask_positions.push(whole.ids.len());
                }
                whole.push(id, (found.start, found.end));
                end = found.end;
            }
            self.encode_between(text, end..text.len(), convention, &mut whole)?;
            whole.push(self.special.sep, (0, 0));
        }
        Ok(whole)
    }

    /// Appends the ids of the text between two tokens that were found in it.
    fn encode_between(
        &self,
        text: &str,
        part: Range<usize>,
        convention: MaskConvention,
        out: &mut Encoding,
    ) -> Result<()> {
        if convention == MaskConvention::Clean {
            return self.encode_segment(text, part, out);
        }
        let tokens = self.cut(&text[part.clone()], false)?;
        tokens.into_iter().for_each(|(id, (start, end))| out.push(id, (part.start + start, part.start + end)));
        Ok(())
    }

    fn encode_elsewhere(&self, inner: &tokenizers::Tokenizer, texts: &[&str]) -> Result<Encoding> {
        let normal: Vec<_> = texts.iter().map(|text| self.normalise_masks(text)).collect();
        let encoded = contained(|| match &normal[..] {
            [first, second] => inner.encode((first.as_str(), second.as_str()), true),
            _ => inner.encode(normal.concat(), true),
        })?;
        let maps: Vec<_> =
            texts.iter().map(|text| MaskShift::new(&self.mask_ranges(text), self.mask_token.len())).collect();
        let sequences = encoded.get_sequence_ids();
        let mut whole = Encoding::default();
        for (index, (id, offsets)) in encoded.get_ids().iter().zip(encoded.get_offsets()).enumerate() {
            let map = sequences[index].and_then(|sequence| maps.get(sequence));
            let original = map.map_or((0, 0), |map| (map.to_original(offsets.0), map.to_original(offsets.1)));
            if *id == self.special.mask {
                whole.mask_positions.push(index);
            }
            whole.push(*id, original);
        }
        Ok(whole)
    }

    /// Appends the ids of a part of a text, which continues what is before it unless it is the start.
    fn encode_segment(&self, text: &str, part: Range<usize>, out: &mut Encoding) -> Result<()> {
        let tokens = self.cut(&text[part.clone()], part.start > 0)?;
        let tokens: Vec<_> = tokens.into_iter().map(|(id, (a, b))| (id, (part.start + a, part.start + b))).collect();
        let forged: Vec<_> =
            tokens.iter().filter_map(|(id, range)| self.forged_at(*id, &text[range.0..range.1], *range)).collect();
        if forged.is_empty() {
            tokens.into_iter().for_each(|(id, range)| out.push(id, range));
            return Ok(());
        }
        let ends: Vec<_> = forged.into_iter().chain([part.end]).collect();
        let starts = [part.start].into_iter().chain(ends.iter().copied());
        starts.zip(&ends).try_for_each(|(start, end)| self.encode_segment(text, start..*end, out))
    }

    /// Where to cut text that spells a special token or a byte piece and was taken for it: after its first character.
    fn forged_at(&self, id: u32, spelled: &str, range: (usize, usize)) -> Option<usize> {
        let first = spelled.chars().next()?.len_utf8();
        let forged = match self.kind(id) {
            PieceKind::Special => id != self.special.unk || self.piece(id).is_some_and(|piece| piece == spelled),
            PieceKind::Byte => self.piece(id).is_some_and(|piece| piece == spelled),
            PieceKind::Text | PieceKind::Vacant => false,
        };
        (forged && first < spelled.len()).then_some(range.0 + first)
    }

    /// Runs the pipeline without looking for special tokens. Ranges are in bytes of `text`.
    fn cut(&self, text: &str, continues: bool) -> Result<Vec<(u32, (usize, usize))>> {
        match &self.pipeline {
            _ if text.is_empty() => Ok(Vec::new()),
            Pipeline::Unigram(unigram) => Ok(unigram.cut(text, continues)),
            Pipeline::Json(json) => contained(|| json.cut(text, continues)),
            Pipeline::Japanese(japanese) => japanese.cut(text),
        }
    }

    /// Where masks are written in a text, in order.
    fn mask_ranges(&self, text: &str) -> Vec<Range<usize>> {
        self.found_tokens(text, MaskConvention::Clean).into_iter().map(|(_, range)| range).collect()
    }

    /// The tokens that are found in a text before it is cut, in order: masks, and for Hugging Face's convention whatever the
    /// settings name. Of those that overlap the first is found, the longest of one place.
    fn found_tokens(&self, text: &str, convention: MaskConvention) -> Vec<(u32, Range<usize>)> {
        let masks = ["[MASK]", "{mask_str}", self.mask_token.as_str()].map(|spelling| (spelling, self.special.mask));
        let added = match (&self.pipeline, convention) {
            (Pipeline::Unigram(unigram), MaskConvention::Hf) => unigram.added(),
            (Pipeline::Japanese(japanese), MaskConvention::Hf) => japanese.added(),
            _ => Vec::new(),
        };
        let added = added.into_iter().filter(|(text, _)| !text.is_empty());
        let places = |(spelling, id)| text.match_indices(spelling).map(move |(at, found)| (id, at..at + found.len()));
        let mut found: Vec<_> = masks.into_iter().chain(added).flat_map(places).collect();
        found.sort_by_key(|(_, range)| (range.start, std::cmp::Reverse(range.end)));
        found.dedup_by(|next, kept| next.1.start < kept.1.end);
        found
    }
}

impl JsonPipeline {
    fn cut(&self, text: &str, continues: bool) -> tokenizers::Result<Vec<(u32, (usize, usize))>> {
        let (normalizer, pre_tokenizer) = if continues {
            (self.continuation.normalizer.as_ref(), self.continuation.pre_tokenizer.as_ref())
        } else {
            (self.inner.get_normalizer(), self.inner.get_pre_tokenizer())
        };
        let mut normalized = NormalizedString::from(text);
        normalizer.map_or(Ok(()), |step| step.normalize(&mut normalized))?;
        let mut words = PreTokenizedString::from(normalized);
        pre_tokenizer.map_or(Ok(()), |step| step.pre_tokenize(&mut words))?;
        words.tokenize(|word| self.inner.get_model().tokenize(word.get()))?;
        let encoded = words.into_encoding(None, 0, OffsetType::Byte)?;
        Ok(encoded.get_ids().iter().copied().zip(encoded.get_offsets().iter().copied()).collect())
    }
}

/// From places in a text with the tokenizer's own mask tokens to places in the text as it was written.
struct MaskShift {
    /// End of each mask in the normal text, and in the original.
    ends: Vec<(usize, usize)>,
}

impl MaskShift {
    fn new(masks: &[Range<usize>], mask_bytes: usize) -> Self {
        let shift = |(normal, original): &mut (usize, usize), mask: &Range<usize>| {
            *normal += mask.start - *original + mask_bytes;
            *original = mask.end;
            Some((*normal, *original))
        };
        Self { ends: masks.iter().scan((0, 0), shift).collect() }
    }

    fn to_original(&self, normal: usize) -> usize {
        let passed = self.ends.partition_point(|end| end.0 <= normal);
        let (normal_end, original_end) = passed.checked_sub(1).map_or((0, 0), |last| self.ends[last]);
        original_end + (normal - normal_end)
    }
}

/// Byte ranges of a text as ranges of code points, the `offset_mapping` of transformers.
pub fn char_offsets(text: &str, offsets: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let mut chars_before = vec![0; text.len() + 1];
    let mut count = 0;
    for (at, chars) in chars_before.iter_mut().enumerate() {
        *chars = count;
        count += usize::from(text.is_char_boundary(at));
    }
    offsets.iter().map(|(start, end)| (chars_before[*start], chars_before[*end])).collect()
}
