//! `anaume quickstart`: the whole way from text to answers on the built-in corpus, with the same functions as the commands.

use std::path::{Path, PathBuf};

use anaume_core::tokenizer;
use anyhow::Context;

use crate::data::prepare::{PrepareOptions, prepare};
use crate::device::Choice;
use crate::exit::{self, Coded, Exit};
use crate::files::{is_occupied, write_dir_atomic};
use crate::fill_mask::{print_masks, show};
use crate::japanese::word;
use crate::train;

/// Arguments of `anaume quickstart`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Folder to write; it must not exist or be empty
    #[arg(long, default_value = "quickstart")]
    out: PathBuf,
    /// Vocabulary of the tokenizer
    #[arg(long, default_value_t = 4000)]
    vocab_size: usize,
    /// auto, cpu, gpu, or a name that `anaume devices` lists
    #[arg(long, default_value = "auto")]
    device: Choice,
    /// Change a key of the recipe: section.key=value
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

/// The built-in corpus: file name and JSON lines.
pub const CORPUS: [(&str, &str); 10] = [
    ("culture.jsonl", include_str!("../../public/corpus/culture.jsonl")),
    ("dialogue.jsonl", include_str!("../../public/corpus/dialogue.jsonl")),
    ("food.jsonl", include_str!("../../public/corpus/food.jsonl")),
    ("history.jsonl", include_str!("../../public/corpus/history.jsonl")),
    ("instructions.jsonl", include_str!("../../public/corpus/instructions.jsonl")),
    ("life.jsonl", include_str!("../../public/corpus/life.jsonl")),
    ("nature.jsonl", include_str!("../../public/corpus/nature.jsonl")),
    ("science.jsonl", include_str!("../../public/corpus/science.jsonl")),
    ("towns.jsonl", include_str!("../../public/corpus/towns.jsonl")),
    ("work.jsonl", include_str!("../../public/corpus/work.jsonl")),
];

/// The five sentences that the new model completes.
const SENTENCES: [&str; 5] = [
    "日本の首都は[MASK]です。",
    "春になると、公園に[MASK]の花が咲きます。",
    "雨が降ってきたので、[MASK]をさして歩きました。",
    "水は[MASK]度で凍ります。",
    "友だちと電車に[MASK]、海へ行きました。",
];

/// `anaume quickstart`.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let out = args.out.as_path();
    if is_occupied(out)? {
        let message =
            format!("{} exists and is not empty; remove it or choose another folder with --out", out.display());
        return Err(Coded::error(Exit::Usage, message));
    }
    let at = |name: &str| out.join(name);
    let files: Vec<(&str, &[u8])> = CORPUS.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    write_dir_atomic(&at("corpus"), &files, false)?;

    step(
        1,
        "a tokenizer",
        &format!(
            "tokenizer train {} --vocab-size {} --out {}",
            globbed(out),
            args.vocab_size,
            at("tokenizer").display()
        ),
    );
    let inputs: Vec<PathBuf> = CORPUS.iter().map(|(name, _)| at("corpus").join(name)).collect();
    let texts = crate::data::texts(&inputs, "text")?;
    let trained = tokenizer::train(&texts, args.vocab_size, |_| ())?;
    write_dir_atomic(&at("tokenizer"), &trained.named(), false)?;
    show_tokens(&at("tokenizer"))?;

    step(2, "the data", &format!("data prepare {} --test-fraction 0.05 --out {}", globbed(out), at("data").display()));
    let options = PrepareOptions { test_fraction: 0.05, ..PrepareOptions::default() };
    let manifest = prepare(&inputs, &at("data"), &options, false)?;
    for (name, split) in &manifest.splits {
        println!(
            "    {name}: {} documents, {} characters",
            split.documents,
            crate::progress::format_count(split.chars)
        );
    }

    let (model, tokenizer) = (at("model"), at("tokenizer"));
    step(
        3,
        "a model",
        &format!("model init --preset mini --tokenizer {} --out {}", tokenizer.display(), model.display()),
    );
    crate::model::init("mini", &tokenizer, 0, &model, false)?;

    let run = at("run");
    let command = format!(
        "pretrain --recipe quickstart --data {} --model {} --out {}",
        at("data").display(),
        model.display(),
        run.display()
    );
    step(4, "pretraining", &command);
    let pretrain = train::Args {
        recipe: "quickstart".into(),
        data: at("data"),
        model,
        out: run.clone(),
        resume: None,
        overrides: args.overrides.clone(),
        stop_after: None,
        on_nonfinite: None,
        reduction: None,
        device: args.device.clone(),
        memory: None,
        plain: false,
        dry_run: false,
        json: false,
    };
    train::run(&pretrain).inspect_err(|error| {
        if exit::code_of(error) == Exit::Interrupted {
            eprintln!("to go on: anaume {command} --resume");
        }
    })?;
    show_answers(&run, &args.device)
}

fn step(number: usize, what: &str, command: &str) {
    println!("{number}. {}\n    anaume {command}", word(what));
}

fn globbed(out: &Path) -> String {
    format!("'{}'", out.join("corpus/*.jsonl").display())
}

fn show_tokens(dir: &Path) -> anyhow::Result<()> {
    let tokenizer = crate::tokenizer::load(dir)?;
    let ids = tokenizer.encode_body("春になると、公園に桜の花が咲きます。")?.ids;
    let pieces: Vec<_> = ids.iter().filter_map(|id| tokenizer.surface(*id)).collect();
    println!("    {} entries; {}", tokenizer.num_ids(), pieces.join("|"));
    Ok(())
}

fn show_answers(run: &Path, device: &Choice) -> anyhow::Result<()> {
    let checkpoint = crate::checkpoint::latest(run)?.context("the run left no checkpoint")?;
    let quoted: Vec<_> = SENTENCES.iter().map(|text| format!("'{text}'")).collect();
    step(5, "fill-mask", &format!("fill-mask --model {} {} …", checkpoint.display(), quoted[0]));
    let texts = SENTENCES.map(str::to_owned);
    for answer in show(&checkpoint, &texts, &device.open()?.device)? {
        println!("  {}", answer.text);
        print_masks(&answer);
    }
    println!("run folder  {}", run.display());
    println!("loss curve  {} and {}", run.join("loss.svg").display(), run.join("loss.png").display());
    Ok(())
}
