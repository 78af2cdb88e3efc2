//! `anaume data stats`: what a prepared dataset holds, and whether it is still what was prepared.

use super::dataset::{Dataset, Lengths, MANIFEST_FILE, Split, StoredDocument, TRAIN};
use crate::exit::{Coded, Exit, WithExit};
use anyhow::{Context, Result};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

/// Counts the tokens of a text, without those that frame it.
pub type CountTokens<'a> = dyn Fn(&str) -> Result<usize> + 'a;

/// What `anaume data stats` is told.
#[derive(clap::Args, Clone, Debug)]
pub struct StatsArgs {
    /// Folder that `anaume data prepare` wrote
    pub dir: PathBuf,
    /// Count tokens too, with the tokenizer of this folder
    #[arg(long, value_name = "DIR")]
    pub tokenizer: Option<PathBuf>,
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
}

/// What a dataset holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stats {
    /// See [`super::dataset::Manifest::fingerprint`].
    pub fingerprint: String,
    /// Documents of the test split whose text is also in the train split.
    pub leaked_documents: u64,
    /// The splits by name.
    pub splits: BTreeMap<String, SplitStats>,
}

/// What a split holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SplitStats {
    /// Number of documents.
    pub documents: u64,
    /// Number of shards; the hash of each has been verified.
    pub shards: usize,
    /// Characters (Unicode scalar values) of all texts.
    pub chars: u64,
    /// UTF-8 bytes of all texts.
    pub text_bytes: u64,
    /// Characters of a document.
    pub length_chars: Lengths,
    /// What the characters are.
    pub shares: ScriptShares,
    /// Documents whose text has been seen before in the split.
    pub duplicates: u64,
    /// With a tokenizer: what it makes of the texts.
    pub tokens: Option<TokenStats>,
}

/// Shares of the characters by script; they add up to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ScriptShares {
    /// Hiragana and katakana, half-width forms and the long-vowel mark included.
    pub kana: f64,
    /// Han characters and their iteration mark.
    pub kanji: f64,
    /// ASCII, space and line ends included.
    pub ascii: f64,
    /// Everything else: punctuation, full-width letters, other scripts, emoji.
    pub other: f64,
}

/// Tokens of a split.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TokenStats {
    /// Tokens of all texts, without those that frame them.
    pub tokens: u64,
    /// Characters for each token.
    pub chars_per_token: f64,
    /// Tokens of a document.
    pub length_tokens: Lengths,
}

/// Reads the whole dataset, verifies the hash of every shard and counts.
pub fn stats(dataset: &Dataset, count_tokens: Option<&CountTokens<'_>>) -> Result<Stats> {
    let mut splits = BTreeMap::new();
    let mut texts: BTreeMap<&str, HashSet<[u8; 16]>> = BTreeMap::new();
    for name in dataset.manifest.splits.keys() {
        let mut counts = Counts { count_tokens, ..Counts::default() };
        let split = dataset.split(name)?;
        for shard in 0..split.info.shards.len() {
            visit_shard(dataset, &split, shard, |document| counts.add(&document.text))?;
        }
        splits.insert(name.clone(), counts.finish(split.info.shards.len()));
        texts.insert(name, counts.texts);
    }
    let train = texts.remove(TRAIN).unwrap_or_default();
    let leaked_documents = texts.values().map(|split| split.intersection(&train).count() as u64).sum();
    Ok(Stats { fingerprint: dataset.manifest.fingerprint.clone(), leaked_documents, splits })
}

/// Shows every document of a shard. Fails in the end, too, where the shard's hash is not what it was prepared with.
pub(super) fn visit_shard(
    dataset: &Dataset,
    split: &Split,
    shard: usize,
    mut visit: impl FnMut(StoredDocument) -> Result<()>,
) -> Result<()> {
    let info = &split.info.shards[shard];
    let path = dataset.dir.join(&info.file);
    let changed = |what: &str| {
        let (path, advice) = (path.display(), "the dataset was changed: prepare it again");
        Coded::error(Exit::Data, format!("{path}: {what} differs from what was prepared; {advice}"))
    };
    let reader = split.shard(shard)?;
    let mut file = BufReader::new(File::open(&path).with_context(|| format!("cannot open {}", path.display()))?);
    let mut hasher = blake3::Hasher::new();
    let mut line = Vec::new();
    for (number, border) in (1..).zip(reader.offsets().windows(2)) {
        line.clear();
        let len = file.read_until(b'\n', &mut line).with_context(|| format!("cannot read {}", path.display()))?;
        hasher.update(&line);
        if len as u64 != border[1] - border[0] {
            return Err(changed(&format!("line {number} (byte {})", border[0])));
        }
        let document = serde_json::from_slice::<StoredDocument>(&line);
        let document = document.exit(Exit::Data, format!("{}:{number} is no document", path.display()))?;
        visit(document).with_context(|| format!("{}:{number}", path.display()))?;
    }
    if hasher.finalize().to_hex().as_str() != info.blake3 {
        return Err(changed(&format!("its BLAKE3 (in {MANIFEST_FILE})")));
    }
    Ok(())
}

/// Sums over the documents of a split.
#[derive(Default)]
struct Counts<'a> {
    count_tokens: Option<&'a CountTokens<'a>>,
    stats: SplitStats,
    lengths: BTreeMap<u64, u64>,
    token_lengths: BTreeMap<u64, u64>,
    tokens: u64,
    kana: u64,
    kanji: u64,
    ascii: u64,
    texts: HashSet<[u8; 16]>,
}

impl Counts<'_> {
    fn add(&mut self, text: &str) -> Result<()> {
        let mut chars = 0;
        for c in text.chars() {
            chars += 1;
            self.ascii += u64::from(c.is_ascii());
            self.kana += u64::from(is_kana(c));
            self.kanji += u64::from(is_kanji(c));
        }
        self.stats.documents += 1;
        self.stats.chars += chars;
        self.stats.text_bytes += text.len() as u64;
        *self.lengths.entry(chars).or_default() += 1;
        let mut key = [0; 16];
        blake3::Hasher::new().update(text.as_bytes()).finalize_xof().fill(&mut key);
        self.stats.duplicates += u64::from(!self.texts.insert(key));
        if let Some(count_tokens) = self.count_tokens {
            let tokens = count_tokens(text)? as u64;
            self.tokens += tokens;
            *self.token_lengths.entry(tokens).or_default() += 1;
        }
        Ok(())
    }

    fn finish(&self, shards: usize) -> SplitStats {
        let chars = self.stats.chars;
        let share = |count: u64| count as f64 / chars.max(1) as f64;
        let other = chars - self.kana - self.kanji - self.ascii;
        let shares = ScriptShares {
            kana: share(self.kana),
            kanji: share(self.kanji),
            ascii: share(self.ascii),
            other: share(other),
        };
        let tokens = self.count_tokens.map(|_| TokenStats {
            tokens: self.tokens,
            chars_per_token: chars as f64 / self.tokens.max(1) as f64,
            length_tokens: Lengths::of(&self.token_lengths),
        });
        SplitStats { shards, shares, tokens, length_chars: Lengths::of(&self.lengths), ..self.stats.clone() }
    }
}

fn is_kana(c: char) -> bool {
    matches!(c, '\u{3041}'..='\u{30FF}' | '\u{31F0}'..='\u{31FF}' | '\u{FF66}'..='\u{FF9F}' | '\u{1B000}'..='\u{1B16F}')
}

fn is_kanji(c: char) -> bool {
    matches!(c, '\u{3005}'..='\u{3007}' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}'
        | '\u{20000}'..='\u{323AF}')
}

#[cfg(test)]
mod tests {
    use super::super::dataset::TEST;
    use super::super::prepare::{PrepareOptions, prepare};
    use super::*;

    #[test]
    fn characters_lengths_tokens_duplicates_and_leaks_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let (input, out) = (dir.path().join("in.txt"), dir.path().join("out"));
        // Three documents of three kana, three kanji, three ASCII characters and one other.
        std::fs::write(&input, "あーア漢々字ab 。\n".repeat(3)).unwrap();
        let options = PrepareOptions { test_documents: Some(1), ..PrepareOptions::default() };
        prepare(&[input], &out, &options, false).unwrap();
        let found = stats(&Dataset::open(&out).unwrap(), Some(&|text: &str| Ok(text.len()))).unwrap();
        let all = |value: u64| Lengths {
            mean: value as f64,
            min: value,
            p5: value,
            p50: value,
            p95: value,
            p99: value,
            max: value,
        };
        let split = |documents| SplitStats {
            documents,
            shards: 1,
            chars: 10 * documents,
            text_bytes: 24 * documents,
            length_chars: all(10),
            shares: ScriptShares { kana: 0.3, kanji: 0.3, ascii: 0.3, other: 0.1 },
            duplicates: documents - 1,
            tokens: Some(TokenStats { tokens: 24 * documents, chars_per_token: 10.0 / 24.0, length_tokens: all(24) }),
        };
        assert_eq!(found.splits[TRAIN], split(2));
        assert_eq!(found.splits[TEST], split(1));
        assert_eq!(found.leaked_documents, 1);
    }

    #[test]
    fn kana_and_kanji_end_where_unicode_says() {
        let kana = "ぁんァヿㇰㇿｦﾟ\u{1B000}\u{1B16F}";
        let kanji = "々〇㐀䶿一鿿豈\u{FAFF}𠀀\u{323AF}";
        let neither = "aＡ。〄〈\u{3040}㄀ㇾ｡Ａ가\u{FB00}😀\u{323B0}".replace('ㇾ', "");
        for c in kana.chars() {
            assert!(is_kana(c) && !is_kanji(c), "{c}");
        }
        for c in kanji.chars() {
            assert!(is_kanji(c) && !is_kana(c), "{c}");
        }
        for c in neither.chars() {
            assert!(!is_kana(c) && !is_kanji(c), "{c}");
        }
    }
}
