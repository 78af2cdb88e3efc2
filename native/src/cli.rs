//! What the user typed: the table of contents of the program.

use clap::Parser;

use crate::{bench, data, device, fill_mask, model, quickstart, tokenizer, train, verify};

/// Japanese ModernBERT, from tokenizer to answers, on any GPU or the CPU.
#[derive(Parser, Debug)]
#[command(name = "anaume", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Results go to stdout, progress and notes to stderr.
Exit codes: 0 done, 1 failure, 2 usage, 3 bad data or a check that does not hold, 4 not a finite number,
5 out of memory or disk, 75 interrupted with nothing lost (run again, with --resume after a checkpoint)";

/// The commands.
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    /// From text to answers in minutes: tokenizer, data, model, pretraining and fill-mask on the built-in corpus
    #[command(after_help = "Example:\n  anaume quickstart --out quickstart/")]
    Quickstart(quickstart::Args),
    /// Prepare, train, use and inspect tokenizers
    #[command(subcommand)]
    Tokenizer(tokenizer::Command),
    /// Make and describe model folders
    #[command(subcommand)]
    Model(model::Command),
    /// Prepare and describe training data
    #[command(subcommand)]
    Data(data::Command),
    /// Train a masked language model
    #[command(
        after_help = "Examples:\n  anaume pretrain --recipe train --data data/ --model model/ --out run/ --dry-run\n  \
        anaume pretrain --recipe tiny --data data/ --model model/ --out run/ --set train.max_steps=100\n  \
        anaume pretrain --recipe tiny --data data/ --model model/ --out run/ --resume"
    )]
    Pretrain(train::Args),
    /// Fill the masks of texts
    #[command(after_help = "Example:\n  anaume fill-mask --model model/ '今日のご飯は[MASK]である。'")]
    FillMask(fill_mask::FillMaskArgs),
    /// Turn texts into vectors
    #[command(after_help = "Example:\n  anaume embed --model model/ --input texts.txt --out vectors.npy")]
    Embed(fill_mask::EmbedArgs),
    /// Measure this machine with a model
    #[command(
        after_help = "Examples:\n  anaume bench encoder\n  anaume bench step --model model/ --batch 8 --length 512"
    )]
    Bench(bench::Args),
    /// List the adapters of this machine with their limits
    Devices {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Compare a model with outputs that another program computed
    #[command(after_help = "Example:\n  anaume verify model/ --against reference.safetensors")]
    Verify(verify::Args),
}

impl Command {
    /// Does it.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Quickstart(args) => quickstart::run(&args),
            Self::Tokenizer(command) => tokenizer::run(command),
            Self::Model(command) => model::run(command),
            Self::Data(command) => data::run(&command),
            Self::Pretrain(args) => train::run(&args),
            Self::FillMask(args) => fill_mask::fill_mask(&args),
            Self::Embed(args) => fill_mask::embed(&args),
            Self::Bench(args) => bench::run(&args),
            Self::Devices { json } => device::run(json),
            Self::Verify(args) => verify::run(&args),
        }
    }
}
