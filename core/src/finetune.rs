//! Fine-tuning: labelled texts become features, features a loss, logits an answer.
//!
//! Legend of the shape suffixes: `t` tokens of all sequences, `s` sequences, `l` labels, `n` examples, `c` choices or tokens of
//! the longest example.

use std::ops::Range;

use burn::tensor::{Tensor, TensorData};

use crate::batch::Sequences;
use crate::error::{Error, Result};
use crate::heads::{FineTuned, HeadKind};
use crate::layers::int_tensor;
use crate::loss::cross_entropy_sums;
use crate::tokenizer::Tokenizer;
use crate::weights::read_back;

/// An input between CLS and SEP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Index of the first token of the second text; of a single text the number of its ids.
    pub second_start: usize,
}

/// What an example's answer is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// Index of the label or of the choice.
    Class(usize),
    /// A score.
    Score(f32),
    /// First and last token of the answer.
    Span(usize, usize),
}

/// An example as the model takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Feature {
    /// One sequence, or one a choice.
    pub sequences: Vec<Sequence>,
    /// The right answer.
    pub target: Target,
}

impl Feature {
    /// Tokens of all its sequences.
    pub fn num_tokens(&self) -> usize {
        self.sequences.iter().map(|sequence| sequence.ids.len()).sum()
    }
}

/// `[CLS] A [SEP]` or `[CLS] A [SEP] B [SEP]` of at most `max_length` tokens: what is too long loses tokens at the end of
/// the longer text first (transformers' `longest_first`). Spellings of special tokens are ordinary text.
pub fn encode(tokenizer: &Tokenizer, first: &str, second: Option<&str>, max_length: usize) -> Result<Sequence> {
    let mut first = tokenizer.encode_body(first)?.ids;
    let mut second = second.map(|text| tokenizer.encode_body(text)).transpose()?.map(|encoding| encoding.ids);
    let frame = if second.is_some() { 3 } else { 2 };
    let room = max_length.checked_sub(frame).filter(|room| *room > 0).ok_or_else(|| Error::Input {
        message: format!("a maximum length of {max_length} has no room for a token; give at least {}", frame + 1),
    })?;
    let kept = kept_lengths(first.len(), second.as_ref().map_or(0, Vec::len), room);
    first.truncate(kept.0);
    if let Some(second) = &mut second {
        second.truncate(kept.1);
    }
    Ok(framed(tokenizer, &first, second.as_deref()))
}

/// How many tokens of each text stay where `room` tokens fit.
fn kept_lengths(first: usize, second: usize, room: usize) -> (usize, usize) {
    let (short, long) = (first.min(second), first.max(second));
    let (short, long) = match short + long <= room {
        true => (short, long),
        // The longer text gives way down to the shorter one's length; then both share, the longer one a token more.
        false if 2 * short <= room => (short, room - short),
        false => (room / 2, room - room / 2),
    };
    if first <= second { (short, long) } else { (long, short) }
}

fn framed(tokenizer: &Tokenizer, first: &[u32], second: Option<&[u32]>) -> Sequence {
    let special = tokenizer.special();
    let mut ids = [&[special.cls], first, &[special.sep]].concat();
    let second_start = ids.len();
    if let Some(second) = second {
        ids.extend_from_slice(second);
        ids.push(special.sep);
    }
    Sequence { ids, second_start }
}

/// A part of a long context, after the question.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// `[CLS] question [SEP] context [SEP]`.
    pub sequence: Sequence,
    /// Where the context's tokens stand in the sequence.
    pub context: Range<usize>,
    /// Byte range in the context of each of them.
    pub offsets: Vec<(usize, usize)>,
}

impl Window {
    /// First and last token of an answer, given as bytes of the context; `None` where the window does not hold all of it.
    pub fn span_of(&self, answer: &Range<usize>) -> Option<(usize, usize)> {
        let covers = self.offsets.first()?.0 <= answer.start && answer.end <= self.offsets.last()?.1;
        let first = self.offsets.iter().position(|(_, end)| *end > answer.start)?;
        let last = self.offsets.iter().rposition(|(start, _)| *start < answer.end)?;
        (covers && first <= last).then_some((self.context.start + first, self.context.start + last))
    }

    /// The likeliest answer of at most `max_tokens` tokens: its bytes in the context and its score. `logits` holds start and
    /// end of every token of the sequence. `None` where the window holds no token of the context.
    pub fn best_span(&self, logits: &[f32], max_tokens: usize) -> Option<(Range<usize>, f32)> {
        let score = |first: usize, last: usize| logits[2 * first] + logits[2 * last + 1];
        let spans = self.context.clone().flat_map(|first| {
            let end = self.context.end.min(first + max_tokens);
            (first..end).map(move |last| (first, last))
        });
        let (first, last) = spans.max_by(|a, b| score(a.0, a.1).total_cmp(&score(b.0, b.1)))?;
        let offset = |token: usize| self.offsets[token - self.context.start];
        Some((offset(first).0..offset(last).1, score(first, last)))
    }
}

/// Cuts a question and its context into windows of at most `max_length` tokens whose contexts overlap by `stride` tokens,
/// as SQuAD's recipe does.
///
/// # Errors
/// A question that leaves no room for more than the overlap.
pub fn windows(
    tokenizer: &Tokenizer,
    question: &str,
    context: &str,
    max_length: usize,
    stride: usize,
) -> Result<Vec<Window>> {
    let question = tokenizer.encode_body(question)?.ids;
    let context = tokenizer.encode_body(context)?;
    let room = max_length.checked_sub(question.len() + 3).filter(|room| *room > stride).ok_or_else(|| {
        let message =
            format!("a question of {} tokens leaves no room in {max_length}; raise --max-length", question.len());
        Error::Input { message }
    })?;
    let mut windows = Vec::new();
    let mut start = 0;
    loop {
        let end = context.ids.len().min(start + room);
        windows.push(Window {
            sequence: framed(tokenizer, &question, Some(&context.ids[start..end])),
            context: question.len() + 2..question.len() + 2 + end - start,
            offsets: context.offsets[start..end].to_vec(),
        });
        if end == context.ids.len() {
            return Ok(windows);
        }
        start = end - stride;
    }
}

fn pack<'a>(features: impl IntoIterator<Item = &'a Feature>) -> Sequences {
    let mut all = Sequences::default();
    for sequence in features.into_iter().flat_map(|feature| &feature.sequences) {
        all.push_pair(&sequence.ids, sequence.second_start);
    }
    all
}

/// `[2]`: the sum of the features' losses and how many of them are answered right (for scores always 0). Cross-entropy for
/// labels and choices, the squared error for scores, the mean of both ends' cross-entropies for spans: what transformers
/// averages. Enqueues work only.
pub fn loss_sums(model: &FineTuned, features: &[&Feature]) -> Result<Tensor<1>> {
    let sequences = pack(features.iter().copied());
    let inputs = model.encoder.inputs(&sequences)?;
    match model.kind {
        HeadKind::Classification { .. } => class_sums(model.sequence_logits(&inputs), &classes(features)?),
        HeadKind::MultipleChoice => {
            let choices: Vec<usize> = features.iter().map(|feature| feature.sequences.len()).collect();
            let logits_s = model.sequence_logits(&inputs).squeeze_dim(1);
            class_sums(ragged_rows(logits_s, &choices), &classes(features)?)
        }
        HeadKind::Regression => {
            let logits_s: Tensor<1> = model.sequence_logits(&inputs).squeeze_dim(1);
            let scores_s = Tensor::from_data(TensorData::from(scores(features)?.as_slice()), &logits_s.device());
            let losses = (logits_s - scores_s).square().sum();
            Ok(Tensor::cat(vec![losses.clone(), losses.zeros_like()], 0))
        }
        HeadKind::Span => {
            let logits_t2 = model.span_logits(&inputs);
            let spans = spans(features)?;
            let end_sums = |end: usize| {
                let logits_t = logits_t2.clone().narrow(1, end, 1).squeeze_dim(1);
                let targets: Vec<usize> = spans.iter().map(|span| span[end]).collect();
                class_sums(ragged_rows(logits_t, &sequences.lengths), &targets)
            };
            Ok((end_sums(0)? + end_sums(1)?) / 2.0)
        }
    }
}

fn class_sums(logits_nl: Tensor<2>, classes: &[usize]) -> Result<Tensor<1>> {
    let [_, num_labels] = logits_nl.dims();
    if let Some(class) = classes.iter().find(|class| **class >= num_labels) {
        return Err(Error::Input { message: format!("label {class} is beyond the model's {num_labels} labels") });
    }
    Ok(cross_entropy_sums(logits_nl, classes.iter().map(|class| *class as i32).collect()))
}

/// Values of examples of different lengths as rows of one length; what is missing gets a logit that no softmax sees.
fn ragged_rows(values_t: Tensor<1>, lengths: &[usize]) -> Tensor<2> {
    let (device, total) = (values_t.device(), lengths.iter().sum::<usize>());
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let mut start = 0;
    let mut indices = Vec::with_capacity(lengths.len() * longest);
    for length in lengths {
        let index = |i| if i < *length { start + i } else { total };
        indices.extend((0..longest).map(|i| index(i) as i32));
        start += length;
    }
    let indices = int_tensor(indices, [lengths.len() * longest], &device);
    let unseen = Tensor::from_data(TensorData::from([-1e9_f32]), &device);
    Tensor::cat(vec![values_t, unseen], 0).select(0, indices).reshape([lengths.len(), longest])
}

fn targets<T>(features: &[&Feature], of: impl Fn(Target) -> Option<T>) -> Result<Vec<T>> {
    let wrong = |feature: &&Feature| Error::Input { message: format!("{:?} does not fit the head", feature.target) };
    features.iter().map(|feature| of(feature.target).ok_or_else(|| wrong(feature))).collect()
}

fn classes(features: &[&Feature]) -> Result<Vec<usize>> {
    targets(features, |target| if let Target::Class(class) = target { Some(class) } else { None })
}

fn scores(features: &[&Feature]) -> Result<Vec<f32>> {
    targets(features, |target| if let Target::Score(score) = target { Some(score) } else { None })
}

fn spans(features: &[&Feature]) -> Result<Vec<[usize; 2]>> {
    targets(features, |target| if let Target::Span(start, end) = target { Some([start, end]) } else { None })
}

/// The logits of features, computed at once: of each label; of each choice; the score; start and end of each token.
pub async fn logits(model: &FineTuned, features: &[&Feature]) -> Result<Vec<Vec<f32>>> {
    let inputs = model.encoder.inputs(&pack(features.iter().copied()))?;
    let logits = match model.kind {
        HeadKind::Span => model.span_logits(&inputs),
        _ => model.sequence_logits(&inputs),
    };
    let [_, width] = logits.dims();
    let values = read_back(logits).await?;
    let rows = |feature: &&Feature| match model.kind {
        HeadKind::Span => feature.num_tokens(),
        _ => feature.sequences.len(),
    };
    let mut rest = values.as_slice();
    let take = |feature: &&Feature| {
        let (own, others) = rest.split_at(rows(feature) * width);
        rest = others;
        own.to_vec()
    };
    Ok(features.iter().map(take).collect())
}

/// Index of the largest value, the first of equal ones.
pub fn argmax(values: &[f32]) -> usize {
    let better = |best: usize, i: usize| if values[i] > values[best] { i } else { best };
    (0..values.len()).fold(0, better)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_text_gives_way_first() {
        assert_eq!(kept_lengths(3, 4, 10), (3, 4));
        assert_eq!(kept_lengths(3, 9, 10), (3, 7));
        assert_eq!(kept_lengths(9, 3, 10), (7, 3));
        assert_eq!(kept_lengths(9, 8, 11), (6, 5));
        assert_eq!(kept_lengths(8, 9, 11), (5, 6));
        assert_eq!(kept_lengths(20, 0, 10), (10, 0));
    }

    #[test]
    fn an_answer_is_found_by_its_bytes_and_only_where_the_window_holds_all_of_it() {
        let window =
            Window { sequence: Sequence::default(), context: 3..6, offsets: vec![(10, 13), (13, 19), (19, 22)] };
        assert_eq!(window.span_of(&(13..19)), Some((4, 4)));
        assert_eq!(window.span_of(&(12..20)), Some((3, 5)));
        assert_eq!(window.span_of(&(9..13)), None);
        assert_eq!(window.span_of(&(19..25)), None);
        let mut logits = vec![0.0; 14];
        (logits[2 * 5], logits[2 * 4 + 1], logits[2 * 3]) = (9.0, 5.0, 1.0);
        // An end before its start is no answer, and neither is one of more than `max_tokens`.
        assert_eq!(window.best_span(&logits, 3), Some((19..22, 9.0)));
        logits[2 * 5] = 0.0;
        assert_eq!(window.best_span(&logits, 3), Some((10..19, 6.0)));
        assert_eq!(window.best_span(&logits, 1), Some((13..19, 5.0)));
    }
}
