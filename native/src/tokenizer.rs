//! `anaume tokenizer`: prepare, train, encode, inspect.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anaume_core::tokenizer::{
    self, MaskConvention, Mecab, MecabFiles, PieceKind, Tokenizer, TokenizerFiles, char_offsets,
};
use anyhow::Context;
use serde_json::{Value, json};

use crate::data::texts;
use crate::exit::{Coded, Exit, WithExit};
use crate::files::{read, write_dir_atomic};
use crate::hub::{self, Part};
use crate::progress::format_count;

/// What to do with a tokenizer.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Turn a tokenizer of the llm-jp family into the form that BERT needs (CLS A SEP, CLS A SEP B SEP)
    #[command(after_help = "Example:\n  anaume tokenizer prepare llm-jp-tokenizer-100k.ver3.0b1.model --out tokenizer")]
    Prepare(PrepareArgs),
    /// Train a unigram tokenizer with byte fall-back and the special tokens of llm-jp from text files
    #[command(
        after_help = "Example:\n  anaume tokenizer train corpus.txt more.jsonl.gz --vocab-size 24000 --out tokenizer"
    )]
    Train(TrainArgs),
    /// Print the ids and pieces of texts, as transformers gives them
    #[command(after_help = "Example:\n  anaume tokenizer encode tokenizer '今日のご飯は[MASK]である。' --json")]
    Encode(EncodeArgs),
    /// Count pieces, name the special ids, measure a tokenizer on a text, check it against a model
    #[command(after_help = "Example:\n  anaume tokenizer inspect tokenizer --text corpus.txt --model model")]
    Inspect(InspectArgs),
}

/// Arguments of `tokenizer prepare`.
#[derive(Debug, clap::Args)]
pub struct PrepareArgs {
    /// SentencePiece .model, tokenizer.json, or a folder that holds a tokenizer.json
    source: PathBuf,
    #[command(flatten)]
    target: Target,
}

/// Arguments of `tokenizer train`.
#[derive(Debug, clap::Args)]
pub struct TrainArgs {
    /// Files of text, read as by `data prepare`: .txt with a document a line, .jsonl with a text column, also as .gz
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Number of pieces, special tokens and the 256 bytes among them
    #[arg(long, value_name = "N")]
    vocab_size: usize,
    /// Column of the text in .jsonl and Parquet files
    #[arg(long, default_value = "text", value_name = "NAME")]
    column: String,
    #[command(flatten)]
    target: Target,
}

/// Where a tokenizer folder is written.
#[derive(Debug, clap::Args)]
struct Target {
    /// Folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Replace the folder if it holds something
    #[arg(long)]
    force: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Arguments of `tokenizer encode`.
#[derive(Debug, clap::Args)]
pub struct EncodeArgs {
    /// Tokenizer folder
    dir: PathBuf,
    /// Texts; a mask is written [MASK], {mask_str} or as the tokenizer's own mask token
    #[arg(required = true)]
    text: Vec<String>,
    /// Print one JSON document; offsets count code points
    #[arg(long)]
    json: bool,
}

/// Arguments of `tokenizer inspect`.
#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// Tokenizer folder
    dir: PathBuf,
    /// Measure the tokenizer on the documents of this file, read as by `data prepare`
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Column of the text in a .jsonl or Parquet file
    #[arg(long, default_value = "text", value_name = "NAME")]
    column: String,
    /// Check that every id has a row in this model; default: the config.json in DIR, if there is one
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Runs `anaume tokenizer`.
pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Prepare(args) => prepare(&args),
        Command::Train(args) => train(&args),
        Command::Encode(args) => encode(&args),
        Command::Inspect(args) => inspect(&args),
    }
}

/// The MeCab dictionary that the command line or the environment names.
static MECAB_DICTIONARY: OnceLock<PathBuf> = OnceLock::new();

/// Says where the MeCab dictionary is, before any tokenizer is loaded.
pub fn set_mecab_dictionary(dir: Option<PathBuf>) {
    if let Some(dir) = dir {
        MECAB_DICTIONARY.get_or_init(|| dir);
    }
}

/// The file of a tokenizer folder that lists the pieces: `tokenizer.json`, or in the Japanese BERT family `vocab.txt`.
pub fn vocabulary(dir: &Path) -> anyhow::Result<PathBuf> {
    let dir = hub::model(dir, Part::Description)?;
    let [json, vocab] = ["tokenizer.json", "vocab.txt"].map(|name| dir.join(name));
    Ok(if vocab.exists() && !json.exists() { vocab } else { json })
}

/// The tokenizer of a folder: `tokenizer.json`, and `tokenizer_config.json` where there is one; or `vocab.txt` with
/// `tokenizer_config.json` and a MeCab dictionary.
pub fn load(dir: &Path) -> anyhow::Result<Tokenizer> {
    let dir = &hub::model(dir, Part::Description)?;
    let path = vocabulary(dir)?;
    let vocabulary = read(&path)?;
    let config_path = dir.join("tokenizer_config.json");
    let is_japanese_bert = path.ends_with("vocab.txt");
    let config = (is_japanese_bert || config_path.exists()).then(|| read(&config_path)).transpose()?;
    let tokenizer = match config.as_deref() {
        Some(config) if is_japanese_bert => {
            let wants_mecab = Tokenizer::wants_mecab(config).with_context(|| config_path.display().to_string())?;
            let mecab = wants_mecab.then(|| load_mecab(dir)).transpose()?;
            Tokenizer::bert_japanese(&vocabulary, config, mecab)
        }
        config => Tokenizer::from_bytes(&vocabulary, config),
    };
    tokenizer.with_context(|| format!("the tokenizer in {}", dir.display()))
}

/// The dictionary that was named, or the one in the folder of the tokenizer.
fn load_mecab(tokenizer_dir: &Path) -> anyhow::Result<Arc<Mecab>> {
    let beside = tokenizer_dir.join("dicdir");
    let Some(dir) = MECAB_DICTIONARY.get().or_else(|| beside.is_dir().then_some(&beside)) else {
        let message = format!(
            "the tokenizer in {} needs a MeCab dictionary: install PyPI's unidic-lite and give its folder `dicdir` with \
             --mecab-dictionary or ANAUME_MECAB_DICTIONARY, or put it there",
            tokenizer_dir.display()
        );
        return Err(Coded::error(Exit::Usage, message));
    };
    let file = |name: &str| read(&dir.join(name));
    let (sys_dic, unk_dic) = (file("sys.dic")?, file("unk.dic")?);
    let files = MecabFiles { sys_dic, unk_dic, matrix_bin: file("matrix.bin")?, char_bin: file("char.bin")? };
    Ok(Arc::new(Mecab::new(files).with_context(|| format!("the tokenizer in {}", dir.display()))?))
}

fn prepare(args: &PrepareArgs) -> anyhow::Result<()> {
    let source = hub::model(&args.source, Part::Description)?;
    let source = if source.is_dir() { source.join("tokenizer.json") } else { source };
    let files =
        tokenizer::prepare(&read(&source)?).with_context(|| format!("the tokenizer in {}", source.display()))?;
    write_and_report(&files, &args.target)
}

fn train(args: &TrainArgs) -> anyhow::Result<()> {
    let documents = texts(&args.files, &args.column)?;
    eprintln!("{} documents read", format_count(documents.len() as u64));
    let files = tokenizer::train(&documents, args.vocab_size, |pieces| {
        eprintln!("{} candidate pieces", format_count(pieces as u64));
    })?;
    write_and_report(&files, &args.target)
}

fn write_and_report(files: &TokenizerFiles, target: &Target) -> anyhow::Result<()> {
    let tokenizer = Tokenizer::from_bytes(&files.tokenizer_json, Some(&files.tokenizer_config_json))?;
    let greeting = tokenizer.encode("こんにちは", MaskConvention::Hf)?.ids;
    write_dir_atomic(&target.out, &files.named(), target.force)?;
    if target.json {
        println!("{}", json!({ "out": target.out, "num_ids": tokenizer.num_ids(), "こんにちは": greeting }));
    } else {
        println!("{}: {} pieces; こんにちは is {greeting:?}", target.out.display(), tokenizer.num_ids());
    }
    Ok(())
}

fn encode(args: &EncodeArgs) -> anyhow::Result<()> {
    let tokenizer = load(&args.dir)?;
    let (mut plain, mut encodings) = (String::new(), Vec::new());
    for text in &args.text {
        let encoded = tokenizer.encode(text, MaskConvention::Hf)?;
        encodings.push(json!({ "input_ids": encoded.ids, "offsets": char_offsets(text, &encoded.offsets) }));
        let ids: Vec<_> = encoded.ids.iter().map(u32::to_string).collect();
        let pieces: Vec<_> = encoded.ids.iter().filter_map(|id| tokenizer.piece(*id)).collect();
        writeln!(plain, "{}\n{}", ids.join(" "), pieces.join(" "))?;
    }
    if args.json {
        println!("{}", json!({ "encodings": encodings }));
    } else {
        println!("{}", plain.trim_end_matches('\n'));
    }
    Ok(())
}

fn inspect(args: &InspectArgs) -> anyhow::Result<()> {
    let tokenizer = load(&args.dir)?;
    let measured = args.text.as_deref().map(|path| measure(&tokenizer, path, &args.column)).transpose()?;
    let has_config = hub::model(&args.dir, Part::Description)?.join("config.json").exists();
    let model = args.model.clone().or_else(|| has_config.then(|| args.dir.clone()));
    let rows = model.as_deref().map(model_rows).transpose()?;
    let report = json!({
        "tokenizer": args.dir,
        "algorithm": tokenizer.algorithm(),
        "num_ids": tokenizer.num_ids(),
        "pieces": count_kinds(&tokenizer),
        "special_ids": special_ids(&tokenizer),
        "text": measured,
        "model": rows.map(|rows| json!({ "path": model, "vocab_size": rows, "fits": tokenizer.num_ids() <= rows })),
    });
    println!("{}", if args.json { report.to_string() } else { lines("", &report) });
    match rows {
        Some(rows) if tokenizer.num_ids() > rows => Err(Coded::error(
            Exit::Data,
            format!(
                "the tokenizer has ids up to {}, the model only {rows} rows (vocab_size): use the tokenizer it was made for",
                tokenizer.num_ids() - 1
            ),
        )),
        _ => Ok(()),
    }
}

fn count_kinds(tokenizer: &Tokenizer) -> Value {
    let ids = 0..tokenizer.num_ids() as u32;
    let count = |kind| ids.clone().filter(|id| tokenizer.kind(*id) == kind).count();
    json!({
        "text": count(PieceKind::Text),
        "byte": count(PieceKind::Byte),
        "special": count(PieceKind::Special),
        "vacant": count(PieceKind::Vacant),
    })
}

fn special_ids(tokenizer: &Tokenizer) -> Value {
    let ids = tokenizer.special();
    json!({ "unk": ids.unk, "cls": ids.cls, "sep": ids.sep, "pad": ids.pad, "mask": ids.mask })
}

/// What the tokenizer makes of the documents of a file, each on its own and without special tokens.
fn measure(tokenizer: &Tokenizer, path: &Path, column: &str) -> anyhow::Result<Value> {
    let documents = texts(&[path.to_owned()], column)?;
    let (mut chars, mut bytes, mut tokens, mut unknown, mut byte_tokens, mut returned) = (0, 0, 0, 0, 0, 0);
    for document in &documents {
        let ids = tokenizer.encode_body(document)?.ids;
        chars += document.chars().count();
        bytes += document.len();
        tokens += ids.len();
        unknown += ids.iter().filter(|id| **id == tokenizer.special().unk).count();
        byte_tokens += ids.iter().filter(|id| tokenizer.kind(**id) == PieceKind::Byte).count();
        returned += usize::from(tokenizer.decode(&ids)? == *document);
    }
    let ratio = |part: usize, whole: usize| (whole > 0).then(|| part as f64 / whole as f64);
    Ok(json!({
        "path": path,
        "documents": documents.len(),
        "tokens": tokens,
        "chars_per_token": ratio(chars, tokens),
        "bytes_per_token": ratio(bytes, tokens),
        "unknown_share": ratio(unknown, tokens),
        "byte_share": ratio(byte_tokens, tokens),
        "round_trip_rate": ratio(returned, documents.len()),
    }))
}

/// `vocab_size` of a model folder's `config.json`.
fn model_rows(dir: &Path) -> anyhow::Result<usize> {
    let path = hub::model(dir, Part::Description)?.join("config.json");
    let config: Value = serde_json::from_slice(&read(&path)?)
        .exit(Exit::Data, format!("{} is not the configuration of a model", path.display()))?;
    let rows = config["vocab_size"].as_u64().and_then(|rows| usize::try_from(rows).ok());
    rows.ok_or_else(|| Coded::error(Exit::Data, format!("{} has no whole number `vocab_size`", path.display())))
}

/// A JSON object as lines `key  value`, the keys of inner objects after those of the outer ones.
fn lines(prefix: &str, report: &Value) -> String {
    let Some(fields) = report.as_object() else { return String::new() };
    let line = |(key, value): (&String, &Value)| match value {
        Value::Object(_) => Some(lines(&format!("{prefix}{key} "), value)),
        Value::Null => None,
        Value::String(text) => Some(format!("{prefix}{key}: {text}")),
        _ => Some(format!("{prefix}{key}: {value}")),
    };
    fields.iter().filter_map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(room: &Path, name: &str, bytes: &[u8]) -> PathBuf {
        let path = room.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn trained(room: &Path) -> PathBuf {
        let out = room.join("tokenizer");
        let text = "今日は雨が降る。明日は晴れる。今日は本を読む。明日は雨が降る。";
        let files = tokenizer::train([text], 280, |_| ()).unwrap();
        write_dir_atomic(&out, &files.named(), false).unwrap();
        out
    }

    #[test]
    fn a_tokenizer_with_more_ids_than_the_model_has_rows_is_refused() {
        let room = tempfile::tempdir().unwrap();
        let dir = trained(room.path());
        let check = |rows: usize| {
            write(&dir, "config.json", format!("{{\"vocab_size\": {rows}}}").as_bytes());
            let (text, column) = (None, "text".to_owned());
            inspect(&InspectArgs { dir: dir.clone(), text, column, model: None, json: true })
        };
        check(280).unwrap();
        assert_eq!(crate::exit::code_of(&check(279).unwrap_err()), Exit::Data);
    }

    #[test]
    fn measures_count_tokens_bytes_and_round_trips() {
        let room = tempfile::tempdir().unwrap();
        let tokenizer = load(&trained(room.path())).unwrap();
        let file = write(room.path(), "t.txt", "今日は雨。\n鰯\n".as_bytes());
        let measured = measure(&tokenizer, &file, "text").unwrap();
        assert_eq!(measured["documents"], 2);
        assert_eq!(measured["round_trip_rate"], 1.0);
        assert_eq!(measured["unknown_share"], 0.0);
        assert!(measured["byte_share"].as_f64().is_some_and(|share| share > 0.0));
    }
}
