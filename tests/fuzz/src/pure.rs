//! The parsers of `core`, with a little use of what they made: an index that was not checked shows only then.

use std::sync::{Arc, OnceLock};

use anaume_core::config::Config;
use anaume_core::header::read_safetensors;
use anaume_core::leaderboard::{Leaderboard, Run};
use anaume_core::report::eval::{EvalReport, Plan, Sample};
use anaume_core::report::share::Shared;
use anaume_core::report::site::{SiteIndex, WebModel};
use anaume_core::report::{Record, RunManifest};
use anaume_core::retrieval::PassageIndex;
use anaume_core::tokenizer::{MaskConvention, Mecab, MecabFiles, Tokenizer, prepare};

use crate::parts;

/// Text with masks, bytes that no vocabulary spells, and special tokens as text.
const TEXT: &str = "今日は[MASK]です。 <s> [CLS]が\u{3099}ｱ🍣 abc\n{mask_str}x";

/// A file of weights: its header.
pub fn safetensors(bytes: &[u8]) {
    if let Ok(file) = read_safetensors(bytes) {
        let inside: usize = file.tensors().iter().map(|(_, view)| view.data().len()).sum();
        assert!(inside <= bytes.len());
    }
}

/// `config.json`, and what is forecast of it.
pub fn config(bytes: &[u8]) {
    let Ok(config) = Config::from_json(bytes) else { return };
    let length = config.max_length();
    assert!(config.num_parameters() > 0 && config.encoder_flops_per_token(length) > 0.0);
    assert!(config.train_bytes(1 << 20, 1 << 18) > config.inference_bytes(1) / 2);
    // No table that is made of the numbers alone has more than a gigabyte: the others must be in the file of weights.
    if let Config::ModernBert(config) = &config {
        assert!(config.max_position_embeddings * config.head_size() / 2 <= 1 << 24);
    }
    let again = Config::from_json(&config.to_json(Default::default())).expect("what is written can be read");
    assert_eq!(again.num_parameters(), config.num_parameters());
}

fn use_tokenizer(tokenizer: &Tokenizer) {
    for convention in [MaskConvention::Clean, MaskConvention::Hf] {
        if let Ok(encoding) = tokenizer.encode_pair(TEXT, "二つ目", convention) {
            let _ = tokenizer.decode(&encoding.ids);
            encoding.ids.iter().for_each(|id| drop(tokenizer.surface(*id)));
        }
    }
    let _ = tokenizer.encode_body(TEXT);
}

/// `tokenizer.json` and `tokenizer_config.json`.
pub fn tokenizer(bytes: &[u8]) {
    let [json, config] = parts(bytes);
    let config = Some(config).filter(|config| !config.is_empty());
    if let Ok(tokenizer) = Tokenizer::from_bytes(json, config) {
        use_tokenizer(&tokenizer);
    }
    // Where two names have one id, what was prepared is refused before it is written.
    if let Ok(files) = prepare(json)
        && let Ok(prepared) = Tokenizer::from_bytes(&files.tokenizer_json, Some(&files.tokenizer_config_json))
    {
        use_tokenizer(&prepared);
    }
}

/// A SentencePiece `.model`.
pub fn sentencepiece(bytes: &[u8]) {
    if let Ok(files) = prepare(bytes) {
        let prepared = Tokenizer::from_bytes(&files.tokenizer_json, Some(&files.tokenizer_config_json));
        use_tokenizer(&prepared.expect("what was prepared can be read"));
    }
}

/// `vocab.txt` and `tokenizer_config.json` of a Japanese BERT.
pub fn bert_japanese(bytes: &[u8]) {
    let [config, vocab] = parts(bytes);
    let wants_mecab = Tokenizer::wants_mecab(config).unwrap_or(false);
    if let Ok(tokenizer) = Tokenizer::bert_japanese(vocab, config, wants_mecab.then(small_mecab)) {
        use_tokenizer(&tokenizer);
    }
}

/// The dictionary of the goldens.
fn small_mecab() -> Arc<Mecab> {
    macro_rules! file {
        ($name:literal) => {
            include_bytes!(concat!("../../golden/bert_japanese/dictionary/", $name)).to_vec()
        };
    }
    static MECAB: OnceLock<Arc<Mecab>> = OnceLock::new();
    let read = || {
        let (sys_dic, unk_dic) = (file!("sys.dic"), file!("unk.dic"));
        let files = MecabFiles { sys_dic, unk_dic, matrix_bin: file!("matrix.bin"), char_bin: file!("char.bin") };
        Arc::new(Mecab::new(files).expect("goldens are valid"))
    };
    MECAB.get_or_init(read).clone()
}

/// The four files of a MeCab dictionary: three lengths of 16 bits, then `sys.dic`, `unk.dic` and `matrix.bin` of these, then
/// `char.bin`, whose table of 256 KiB is the rest over and over. A lexicon's first number, which says its size, is put right.
pub fn mecab(bytes: &[u8]) {
    let Some((lengths, mut rest)) = bytes.split_at_checked(6) else { return };
    let mut files = lengths.as_chunks::<2>().0.iter().map(|length| {
        let (file, after) = rest.split_at(rest.len().min(usize::from(u16::from_le_bytes(*length))));
        rest = after;
        file.to_vec()
    });
    let mut next = || files.next().unwrap_or_default();
    let (mut sys_dic, mut unk_dic, matrix_bin) = (next(), next(), next());
    drop(files);
    for lexicon in [&mut sys_dic, &mut unk_dic] {
        let magic = 0xEF71_8F77 ^ lexicon.len() as u32;
        lexicon.iter_mut().zip(magic.to_le_bytes()).for_each(|(byte, right)| *byte = right);
    }
    let num_categories = rest.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes)).min(256) as usize;
    let (head, table) = rest.split_at(rest.len().min(4 + 32 * num_categories));
    let mut char_bin = head.to_vec();
    char_bin.extend(table.iter().cycle().take(4 * 0xFFFF));
    if let Ok(mecab) = Mecab::new(MecabFiles { sys_dic, unk_dic, matrix_bin, char_bin }) {
        let words = mecab.segment(TEXT).expect("a short text has words");
        assert!(words.iter().all(|word| TEXT.get(word.clone()).is_some()));
    }
}

/// The state of a page: a link, or a file.
pub fn link(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for state in [Shared::from_link(&text), Shared::from_json(&text)].into_iter().flatten() {
        assert_eq!(Shared::from_json(&state.to_json()), Ok(state.clone()));
        if let Some(link) = state.to_link().filter(|link| link.is_whole) {
            assert_eq!(Shared::from_link(&link.text), Ok(state));
        }
    }
}

/// What evaluations, runs and sites leave: reports with the leaderboard and the figures made of them, samples, plans, records.
pub fn results(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = RunManifest::from_json(&text);
    let _ = Record::from_line(&text);
    let _ = SiteIndex::from_json(&text);
    let _ = WebModel::from_json(&text);
    let _ = serde_json::from_str::<Plan>(&text);
    let _ = serde_json::from_str::<Sample>(&text);
    let Ok(report) = EvalReport::from_json(&text) else { return };
    let runs = [Run { place: "a".into(), report }];
    if let Ok(mut board) = Leaderboard::build(&runs) {
        let _ = board.sort(None);
        assert!(!board.to_json().is_empty());
    }
    for figure in anaume_core::plot::unrefined_figures(&runs, |_| true) {
        let _ = figure.figure.to_svg();
    }
}

/// A saved index of passages.
pub fn index(bytes: &[u8]) {
    if let Ok(index) = PassageIndex::from_bytes(bytes) {
        let _ = index.by_meaning(index.vector(0), 3);
        let _ = index.by_words("京都の駅", 3);
    }
}
