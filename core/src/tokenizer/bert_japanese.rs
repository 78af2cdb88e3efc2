//! The tokenizer of the Japanese BERT family (tohoku-nlp, cl-nagoya/ruri-v2): words by MeCab or by white space and
//! punctuation, then WordPiece (Wu et al., arXiv:1609.08144) or characters; as BertJapaneseTokenizer of transformers.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use serde_json::{Value, json};
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::tokenizer::normalizer::Range as TextRange;
use tokenizers::{
    Model, NormalizedString, Normalizer, OffsetType, PreTokenizedString, PreTokenizer, SplitDelimiterBehavior, Token,
};

use super::mecab::Mecab;
use super::names::Role;
use super::{MAX_IDS, PieceKind, failed};
use crate::error::{Error, Result};

/// Longest word in characters that WordPiece cuts; a longer one is unknown.
const MAX_WORD_CHARS: usize = 100;

/// Characters with a compatibility form, and the form, that Unicode got after the tables of the `tokenizers` crate.
const NEW_FORMS: [(char, &str); 16] = [
    ('㋿', "令和"),
    ('\u{A7F2}', "C"),
    ('\u{A7F3}', "F"),
    ('\u{A7F4}', "Q"),
    ('\u{107A5}', "q"),
    ('\u{1F16C}', "MR"),
    ('\u{1FBF0}', "0"),
    ('\u{1FBF1}', "1"),
    ('\u{1FBF2}', "2"),
    ('\u{1FBF3}', "3"),
    ('\u{1FBF4}', "4"),
    ('\u{1FBF5}', "5"),
    ('\u{1FBF6}', "6"),
    ('\u{1FBF7}', "7"),
    ('\u{1FBF8}', "8"),
    ('\u{1FBF9}', "9"),
];

/// How ids become text with fewer spaces, where `clean_up_tokenization_spaces` asks for it.
const CLEAN_UP: [(&str, &str); 10] = [
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
];

/// How text is cut into words.
enum Words {
    /// At white space and punctuation.
    Basic,
    /// By MeCab, after NFKC normalisation where it is asked for.
    Mecab { mecab: Arc<Mecab>, normalises: bool },
}

/// How words are cut into pieces.
enum Pieces {
    WordPiece(WordPiece),
    Characters(HashMap<String, u32>),
}

/// `vocab.txt` and what `tokenizer_config.json` says of it.
pub(super) struct BertJapanese {
    words: Words,
    pieces: Pieces,
    unk: u32,
    lowers_case: bool,
    never_split: HashSet<String>,
    cleans_up: bool,
    /// Pieces by id.
    texts: Vec<Option<String>>,
    /// Tokens that transformers finds in text before it is cut: text, id, whether special.
    added: Vec<(String, u32, bool)>,
}

/// The settings with the names of the special tokens that transformers assumes.
pub(super) fn read_config(json: &[u8]) -> Result<Value> {
    let mut config = super::adapt::parse_json(json)?;
    if !config.is_object() {
        return Err(unsupported("tokenizer_config.json", &config, "an object"));
    }
    for (role, name) in
        [(Role::Unk, "[UNK]"), (Role::Sep, "[SEP]"), (Role::Pad, "[PAD]"), (Role::Cls, "[CLS]"), (Role::Mask, "[MASK]")]
    {
        if role.name_in(&config).is_none() {
            config[role.key()] = json!(name);
        }
    }
    Ok(config)
}

/// Whether the settings ask for a MeCab dictionary.
pub(super) fn wants_mecab(config: &Value) -> bool {
    config["word_tokenizer_type"] == "mecab"
}

impl BertJapanese {
    pub fn new(vocab_txt: &[u8], config: &Value, mecab: Option<Arc<Mecab>>) -> Result<Self> {
        check_settings(config)?;
        let mut vocab = read_vocab(vocab_txt)?;
        let added = added_tokens(config, &mut vocab)?;
        let mut texts = vec![None; vocab.values().max().map_or(0, |largest| *largest as usize + 1)];
        for (text, id) in &vocab {
            texts[*id as usize] = Some(text.clone());
        }
        let unk_token = Role::Unk.name_in(config).unwrap_or_default().to_owned();
        let Some(unk) = vocab.get(&unk_token).copied() else {
            return Err(Error::Tokenizer { message: format!("vocab.txt has no {unk_token:?}, the unk_token") });
        };
        // Text never becomes a special token: they are not among the pieces that words are cut into.
        vocab
            .retain(|text, _| *text == unk_token || !added.iter().any(|(token, _, special)| *special && token == text));
        Ok(Self {
            words: words(config, mecab)?,
            pieces: pieces(config, vocab, unk_token)?,
            unk,
            lowers_case: config["do_lower_case"] == true,
            never_split: strings(&config["never_split"]),
            cleans_up: config["clean_up_tokenization_spaces"] == true,
            texts,
            added,
        })
    }

    /// See [`super::Tokenizer::algorithm`].
    pub const fn algorithm(&self) -> &'static str {
        match (&self.words, &self.pieces) {
            (Words::Mecab { .. }, Pieces::WordPiece(_)) => "MeCab and WordPiece",
            (Words::Mecab { .. }, Pieces::Characters(_)) => "MeCab and characters",
            (Words::Basic, Pieces::WordPiece(_)) => "WordPiece",
            (Words::Basic, Pieces::Characters(_)) => "characters",
        }
    }

    /// Id of a piece.
    pub fn id_of(&self, text: &str) -> Option<u32> {
        self.texts.iter().position(|piece| piece.as_deref() == Some(text)).map(|id| id as u32)
    }

    /// The piece as `vocab.txt` spells it.
    pub fn piece(&self, id: u32) -> Option<&str> {
        self.texts.get(id as usize)?.as_deref()
    }

    /// What each id is.
    pub fn kinds(&self, special: &[u32]) -> Vec<PieceKind> {
        let kind = |text: &Option<String>| if text.is_some() { PieceKind::Text } else { PieceKind::Vacant };
        let mut kinds: Vec<_> = self.texts.iter().map(kind).collect();
        let marked = self.added.iter().filter(|(_, _, special)| *special).map(|(_, id, _)| *id);
        marked.chain(special.iter().copied()).for_each(|id| kinds[id as usize] = PieceKind::Special);
        kinds
    }

    /// The tokens that are found in text before it is cut.
    pub fn added(&self) -> Vec<(&str, u32)> {
        self.added.iter().map(|(text, id, _)| (text.as_str(), *id)).collect()
    }

    /// Pieces of text joined by spaces, those that continue a word (`##`) without.
    pub fn decode(&self, ids: impl Iterator<Item = u32>) -> String {
        let pieces: Vec<_> = ids.filter_map(|id| self.piece(id)).collect();
        let text = pieces.join(" ").replace(" ##", "").trim_matches(is_space).to_owned();
        let clean = |text: String, (from, to): &(&str, &str)| text.replace(from, to);
        if self.cleans_up { CLEAN_UP.iter().fold(text, clean) } else { text }
    }

    /// Ids of ordinary text with their byte ranges in it.
    pub fn cut(&self, text: &str) -> Result<Vec<(u32, (usize, usize))>> {
        self.run(text).map_err(|cause| failed(cause.as_ref()))
    }

    fn run(&self, text: &str) -> tokenizers::Result<Vec<(u32, (usize, usize))>> {
        let mut whole = NormalizedString::from(text);
        match &self.words {
            Words::Basic => clean(&mut whole)?,
            Words::Mecab { normalises: true, .. } => nfkc(&mut whole),
            Words::Mecab { .. } => {}
        }
        let mut words = PreTokenizedString::from(whole);
        words.split(|_, text| self.cut_into_words(&text))?;
        if matches!(self.words, Words::Basic) {
            BertPreTokenizer.pre_tokenize(&mut words)?;
        }
        if matches!(self.pieces, Pieces::Characters(_)) {
            words.normalize(|word| {
                nfkc(word);
                Ok(())
            })?;
        }
        words.tokenize(|word| self.cut_into_pieces(word.get()))?;
        let encoded = words.into_encoding(None, 0, OffsetType::Byte)?;
        let mut tokens: Vec<_> = encoded.get_ids().iter().copied().zip(encoded.get_offsets().iter().copied()).collect();
        widen_over_marks(text, &mut tokens);
        Ok(tokens)
    }

    /// Words with, where they are not to be cut at punctuation, their pieces.
    fn cut_into_words(
        &self,
        text: &NormalizedString,
    ) -> tokenizers::Result<Vec<(NormalizedString, Option<Vec<Token>>)>> {
        let words = match &self.words {
            Words::Basic => text.split(char::is_whitespace, SplitDelimiterBehavior::Removed)?,
            Words::Mecab { mecab, .. } => slices(text, mecab.segment(text.get())?),
        };
        words.into_iter().filter(|word| !word.is_empty()).map(|word| self.finish_word(word)).collect()
    }

    fn finish_word(&self, mut word: NormalizedString) -> tokenizers::Result<(NormalizedString, Option<Vec<Token>>)> {
        let is_basic = matches!(self.words, Words::Basic);
        if self.never_split.contains(word.get()) {
            let tokens = is_basic.then(|| self.cut_into_pieces(word.get())).transpose()?;
            return Ok((word, tokens));
        }
        if self.lowers_case {
            lower(&mut word);
            if is_basic {
                BertNormalizer::new(false, false, Some(true), false).normalize(&mut word)?;
            }
        }
        Ok((word, None))
    }

    fn cut_into_pieces(&self, word: &str) -> tokenizers::Result<Vec<Token>> {
        match &self.pieces {
            Pieces::Characters(ids) => Ok(chars(word, |char| ids.get(char).copied().unwrap_or(self.unk))),
            // A word of a dictionary may hold white space, which parts it for WordPiece.
            Pieces::WordPiece(model) if word.contains(is_space) => {
                let mut tokens = Vec::new();
                for part in word.split(is_space).filter(|part| !part.is_empty()) {
                    let start = part.as_ptr() as usize - word.as_ptr() as usize;
                    let moved =
                        |token: Token| Token { offsets: (start + token.offsets.0, start + token.offsets.1), ..token };
                    tokens.extend(model.tokenize(part)?.into_iter().map(moved));
                }
                Ok(tokens)
            }
            Pieces::WordPiece(model) => model.tokenize(word),
        }
    }
}

fn check_settings(config: &Value) -> Result<()> {
    if let Some(class) = config["tokenizer_class"].as_str()
        && class != "BertJapaneseTokenizer"
    {
        return Err(unsupported(
            "tokenizer_class",
            &json!(class),
            "BertJapaneseTokenizer; others need a tokenizer.json",
        ));
    }
    for step in ["do_word_tokenize", "do_subword_tokenize"] {
        if config[step] == false {
            return Err(unsupported(step, &config[step], "true"));
        }
    }
    // Options that say where the dictionary is are answered by the dictionary given.
    let options = config["mecab_kwargs"]["mecab_option"].as_str().unwrap_or_default();
    let foreign = |option: &&str| option.starts_with('-') && !["-d", "-r"].contains(option);
    match options.split_whitespace().find(foreign) {
        Some(_) => Err(unsupported("mecab_option", &json!(options), "no more than -d and -r")),
        None => Ok(()),
    }
}

fn words(config: &Value, mecab: Option<Arc<Mecab>>) -> Result<Words> {
    match (config["word_tokenizer_type"].as_str().unwrap_or("basic"), mecab) {
        ("basic", _) => Ok(Words::Basic),
        ("mecab", Some(mecab)) => {
            Ok(Words::Mecab { mecab, normalises: config["mecab_kwargs"]["normalize_text"] != false })
        }
        ("mecab", None) => {
            let name = config["mecab_kwargs"]["mecab_dic"].as_str().unwrap_or("unidic_lite");
            Err(Error::Tokenizer { message: format!("it needs the MeCab dictionary {name}, and none is given") })
        }
        (other, _) => Err(unsupported("word_tokenizer_type", &json!(other), "mecab or basic")),
    }
}

fn pieces(config: &Value, vocab: HashMap<String, u32>, unk_token: String) -> Result<Pieces> {
    match config["subword_tokenizer_type"].as_str().unwrap_or("wordpiece") {
        "wordpiece" => {
            let model = json!({
                "type": "WordPiece", "vocab": vocab, "unk_token": unk_token,
                "continuing_subword_prefix": "##", "max_input_chars_per_word": MAX_WORD_CHARS,
            });
            WordPiece::from_bytes(model.to_string()).map(Pieces::WordPiece).map_err(|cause| failed(cause.as_ref()))
        }
        "character" => Ok(Pieces::Characters(vocab)),
        other => Err(unsupported("subword_tokenizer_type", &json!(other), "wordpiece or character")),
    }
}

/// The pieces of `vocab.txt`, one a line; of two alike the later counts.
fn read_vocab(vocab_txt: &[u8]) -> Result<HashMap<String, u32>> {
    let text = str::from_utf8(vocab_txt).map_err(|cause| Error::Format {
        format: "vocab.txt",
        byte: cause.valid_up_to() as u64,
        message: "not UTF-8".to_owned(),
    })?;
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    Ok(text.strip_suffix('\n').unwrap_or(&text).split('\n').map(str::to_owned).zip(0..).collect())
}

/// The tokens that the settings name, which extend the vocabulary.
fn added_tokens(config: &Value, vocab: &mut HashMap<String, u32>) -> Result<Vec<(String, u32, bool)>> {
    let mut added = Vec::new();
    for (key, token) in config["added_tokens_decoder"].as_object().into_iter().flatten() {
        let (id, text) = (key.parse().ok().filter(|id| *id < MAX_IDS), token["content"].as_str());
        let (Some(id), Some(text)) = (id, text) else {
            return Err(unsupported("added_tokens_decoder", &json!({ key: token }), "an id with a `content`"));
        };
        vocab.insert(text.to_owned(), id);
        added.push((text.to_owned(), id, token["special"] == true));
    }
    for name in [Role::Unk, Role::Sep, Role::Pad, Role::Cls, Role::Mask].iter().filter_map(|role| role.name_in(config))
    {
        if let Some(id) = vocab.get(name) {
            added.retain(|(text, _, _)| text != name);
            added.push((name.to_owned(), *id, true));
        }
    }
    Ok(added)
}

fn strings(list: &Value) -> HashSet<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn slices(text: &NormalizedString, words: Vec<Range<usize>>) -> Vec<NormalizedString> {
    words.into_iter().filter_map(|word| text.slice(TextRange::Normalized(word))).collect()
}

/// Each character as a token.
fn chars(word: &str, id_of: impl Fn(&str) -> u32) -> Vec<Token> {
    let token = |(start, char): (usize, char)| {
        let end = start + char.len_utf8();
        Token { id: id_of(&word[start..end]), value: word[start..end].to_owned(), offsets: (start, end) }
    };
    word.char_indices().map(token).collect()
}

/// Without control characters and noncharacters, every white space a space, in NFC.
fn clean(text: &mut NormalizedString) -> tokenizers::Result<()> {
    text.filter(|char| char as u32 & 0xFFFE != 0xFFFE && !('\u{FDD0}'..='\u{FDEF}').contains(&char));
    BertNormalizer::new(true, false, Some(false), false).normalize(text)?;
    text.nfc();
    Ok(())
}

/// NFKC of a Unicode that knows the era 令和.
fn nfkc(text: &mut NormalizedString) {
    let new_form = |char: char| NEW_FORMS.iter().find(|(new, _)| *new == char).map(|(_, form)| *form);
    if text.get().chars().any(|char| char > '㋾' && new_form(char).is_some()) {
        replace_chars(text, |char| new_form(char).map_or_else(|| char.to_string(), str::to_owned));
    }
    text.nfkc();
}

/// Lower case as Python's `str.lower` has it: a final Σ becomes ς.
fn lower(word: &mut NormalizedString) {
    let lowered = word.get().to_lowercase();
    let mut lowered = lowered.chars();
    replace_chars(word, |char| lowered.by_ref().take(char.to_lowercase().count()).collect());
}

/// Replaces every character by one or more.
fn replace_chars(text: &mut NormalizedString, mut form: impl FnMut(char) -> String) {
    let before = text.get().to_owned();
    let forms: Vec<String> = before.chars().map(&mut form).collect();
    let changes = forms.iter().flat_map(|form| form.chars().zip(0..).map(|(char, nth)| (char, isize::from(nth > 0))));
    text.transform(changes, 0);
}

/// Lets the ranges of tokens hold the marks that normalisation merged into the character before (か and ゛ to が).
fn widen_over_marks(text: &str, tokens: &mut [(u32, (usize, usize))]) {
    let is_mark = |char: &char| matches!(char, '\u{300}'..='\u{36F}' | '\u{3099}' | '\u{309A}' | 'ﾞ' | 'ﾟ');
    let mut limit = text.len();
    for (_, (start, end)) in tokens.iter_mut().rev() {
        if let Some(after) = text.get(*end..limit) {
            *end += after.chars().take_while(is_mark).map(char::len_utf8).sum::<usize>();
        }
        limit = *start;
    }
}

/// White space as Python's `str.split` has it.
fn is_space(char: char) -> bool {
    char.is_whitespace() || ('\u{1C}'..='\u{1F}').contains(&char)
}

fn unsupported(field: &str, found: &Value, known: &str) -> Error {
    Error::Tokenizer { message: format!("tokenizer_config.json: `{field}` is {found}; it can be {known}") }
}
