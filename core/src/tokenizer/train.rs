//! Training of a Unigram tokenizer with byte fall-back, with the special tokens of llm-jp at the same ids.
//!
//! As in SentencePiece, no piece crosses a space or a border between kinds of characters, and every digit stands alone.
//! The text is therefore counted as runs of one kind, each once with its number of occurrences; that is exact, and it is
//! what makes training quick. Everything happens in one order on one thread: the same texts give the same bytes.

use std::collections::{BTreeSet, HashMap};

use super::adapt::{TokenizerFiles, from_pieces};
use super::sentencepiece::Piece;
use super::unigram::{self, Runs};
use crate::error::{Error, Result};

/// The special tokens; the id of each is its place.
pub const SPECIAL_TOKENS: [&str; 8] =
    ["<unk>", "<s>", "</s>", "<MASK|LLM-jp>", "<PAD|LLM-jp>", "<CLS|LLM-jp>", "<SEP|LLM-jp>", "<EOD|LLM-jp>"];

/// Score of special tokens and byte pieces: so low that text which spells one is cut into its characters.
const RESERVED_SCORE: f64 = -127.5;

/// Special tokens and bytes: what every vocabulary holds before the first piece of text.
const NUM_RESERVED: usize = SPECIAL_TOKENS.len() + 256;

/// Share of the characters of the text that get a piece; the rest is spelled in bytes.
const CHARACTER_COVERAGE: f64 = 0.9995;

/// Longest run in characters; longer ones are cut.
const MAX_RUN_CHARS: usize = 256;

/// What a character may share a piece with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `▁`: only at the start of a piece.
    Space,
    /// Line ends, tabs, controls: spelled in bytes.
    Break,
    /// Digits and wide spaces: a piece of their own.
    Single,
    Japanese,
    Letter,
    Symbol,
}

/// Trains a tokenizer of exactly `vocab_size` pieces on the texts, each a document. `observe` hears how many candidate
/// pieces there are, again and again as they become fewer.
pub fn train<S: AsRef<str>>(
    texts: impl IntoIterator<Item = S>,
    vocab_size: usize,
    observe: impl FnMut(usize),
) -> Result<TokenizerFiles> {
    let Some(budget) = vocab_size.checked_sub(NUM_RESERVED).filter(|budget| *budget > 0) else {
        return refuse(format!("a vocabulary needs more than {NUM_RESERVED} pieces, {vocab_size} were asked for"));
    };
    let counts = count_runs(texts);
    let alphabet = choose_alphabet(&counts, budget);
    let runs = Runs::new(&alphabet, counts);
    let trained = unigram::train(&runs, alphabet.len(), budget, observe);
    if trained.len() < budget {
        let largest = NUM_RESERVED + trained.len();
        return refuse(format!("the text is too small for {vocab_size} pieces; give more text or at most {largest}"));
    }
    let spell = |chars: &[u32]| chars.iter().map(|char| alphabet[*char as usize]).collect::<String>();
    let text = trained.iter().map(|(chars, score)| Piece { text: spell(chars), score: round(*score), special: false });
    from_pieces(&reserved().chain(text).collect::<Vec<_>>())
}

fn refuse<T>(message: String) -> Result<T> {
    Err(Error::Tokenizer { message })
}

fn reserved() -> impl Iterator<Item = Piece> {
    let special =
        SPECIAL_TOKENS.iter().map(|name| Piece { text: (*name).to_owned(), score: RESERVED_SCORE, special: true });
    let byte = |byte: u8| Piece { text: format!("<0x{byte:02X}>"), score: RESERVED_SCORE, special: false };
    special.chain((0..=255).map(byte))
}

/// Six decimals: more than the estimate is worth, and the same where the last bit of a logarithm is not.
fn round(score: f64) -> f64 {
    (score * 1e6).round() / 1e6
}

/// The most frequent characters, in order of code points, `▁` among them.
fn choose_alphabet(counts: &[(String, u64)], limit: usize) -> Vec<char> {
    let mut char_counts: HashMap<char, u64> = HashMap::new();
    for (run, count) in counts {
        run.chars().for_each(|char| *char_counts.entry(char).or_default() += count);
    }
    let enough = char_counts.values().sum::<u64>() as f64 * CHARACTER_COVERAGE;
    let mut by_count: Vec<_> = char_counts.into_iter().filter(|(char, _)| *char != '▁').collect();
    by_count.sort_by_key(|(char, count)| (std::cmp::Reverse(*count), *char));
    let mut covered = 0;
    let frequent = by_count.into_iter().take_while(|(_, count)| {
        let wanted = (covered as f64) < enough;
        covered += count;
        wanted
    });
    let chosen: BTreeSet<_> = ['▁'].into_iter().chain(frequent.map(|(char, _)| char)).take(limit).collect();
    chosen.into_iter().collect()
}

/// Every run of the texts with its number of occurrences, sorted.
fn count_runs<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Vec<(String, u64)> {
    let mut counts: HashMap<String, u64> = HashMap::new();
    for text in texts {
        for_each_run(text.as_ref(), |run| match counts.get_mut(run) {
            Some(count) => *count += 1,
            None => drop(counts.insert(run.to_owned(), 1)),
        });
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_unstable();
    counts
}

/// The stretches of a text, with the `▁` that the normaliser puts before it, that pieces may lie in.
fn for_each_run(text: &str, mut visit: impl FnMut(&str)) {
    let (mut run, mut last) = (String::new(), Kind::Break);
    for char in ['▁'].into_iter().chain(text.chars().map(|char| if char == ' ' { '▁' } else { char })) {
        let kind = kind(char);
        let joins = last == Kind::Space || (last == kind && kind != Kind::Single);
        if kind == Kind::Space || kind == Kind::Break || !joins || run.chars().count() == MAX_RUN_CHARS {
            visit_unless_empty(&run, &mut visit);
            run.clear();
        }
        if kind != Kind::Break {
            run.push(char);
        }
        last = kind;
    }
    visit_unless_empty(&run, &mut visit);
}

fn visit_unless_empty(run: &str, visit: &mut impl FnMut(&str)) {
    if !run.is_empty() {
        visit(run);
    }
}

fn kind(char: char) -> Kind {
    match char {
        '▁' => Kind::Space,
        _ if char.is_control() || (char.is_whitespace() && char != '\u{3000}') => Kind::Break,
        '\u{3000}' => Kind::Single,
        _ if char.is_numeric() && !is_ideograph(char) => Kind::Single,
        '\u{3005}'..='\u{3007}' | '\u{3041}'..='\u{309f}' | '\u{30a1}'..='\u{30fa}' | '\u{30fc}'..='\u{30ff}' => {
            Kind::Japanese
        }
        '\u{ff66}'..='\u{ff9f}' => Kind::Japanese,
        _ if is_ideograph(char) => Kind::Japanese,
        _ if char.is_alphabetic() => Kind::Letter,
        _ => Kind::Symbol,
    }
}

const fn is_ideograph(char: char) -> bool {
    matches!(char, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}
