//! What the user typed: the table of contents of the program.

use std::path::PathBuf;

use anyhow::Context;
use clap::{CommandFactory, Parser};

use anaume_core::report::schema::DOCUMENTS;

use crate::files::make_dir;
use crate::{
    bench, checkpoints, data, device, doctor, eval, export, fill_mask, hub, launch, leaderboard, merge, model,
    quickstart, schema, site, tokenizer, train, verify,
};

/// Japanese ModernBERT, from tokenizer to answers, on any GPU or the CPU.
#[derive(Parser, Debug)]
#[command(name = "anaume", version, propagate_version = true, after_help = ANAUME_HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Folder of a compiled MeCab dictionary, for tokenizers of the Japanese BERT family; default: MODEL/dicdir
    #[arg(long, global = true, env = "ANAUME_MECAB_DICTIONARY", hide_env_values = true, value_name = "DIR")]
    pub mecab_dictionary: Option<PathBuf>,
    /// Ask nothing of the network (or HF_HUB_OFFLINE=1): ORG/NAME[@REVISION] of the Hugging Face Hub, which may stand for
    /// any folder of a model, tokenizer or data set, is then taken from the cache
    #[arg(long, global = true)]
    pub offline: bool,
}

const ANAUME_HELP: &str = "\
Examples:
  anaume quickstart
  anaume fill-mask --model sbintuitions/modernbert-ja-130m '今日のご飯は[MASK]である。'
  anaume doctor

Results go to stdout, progress and notes to stderr.
Exit codes: 0 done, 1 failure, 2 usage, 3 bad data or a check that does not hold, 4 not a finite number, \
5 out of memory or disk, 6 the network or the Hub does not answer, 75 interrupted with nothing lost (run again, with --resume after a checkpoint)";

const DOWNLOAD_HELP: &str = "\
Examples:
  anaume download sbintuitions/modernbert-ja-130m
  anaume fill-mask --model sbintuitions/modernbert-ja-130m '今日のご飯は[MASK]である。' --offline
  anaume download ORG/NAME@REVISION --dataset --out data/

Files lie where Python's library keeps them and finds them; what was begun is gone on with; every hash is checked.
Environment: HF_HOME, HF_HUB_CACHE (the cache), HF_TOKEN or the token of `hf auth login`, HF_ENDPOINT, HF_HUB_OFFLINE, \
ANAUME_HUB_RETRIES (failures in a row that are waited out, 6)";

/// The commands.
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    /// From text to answers in minutes: tokenizer, data, model, pretraining and fill-mask on the built-in corpus
    #[command(after_help = "Example:\n  anaume quickstart --out quickstart/")]
    Quickstart(quickstart::Args),
    /// Prepare, train, use and inspect tokenizers
    #[command(
        subcommand,
        after_help = "Examples:\n  anaume tokenizer prepare llm-jp-tokenizer-100k.ver3.0b1.model --out tokenizer/\n  \
        anaume tokenizer inspect tokenizer/"
    )]
    Tokenizer(tokenizer::Command),
    /// Make and describe model folders
    #[command(
        subcommand,
        after_help = "Examples:\n  anaume model init --preset small --tokenizer tokenizer/ --out model/\n  \
        anaume model info model/"
    )]
    Model(model::Command),
    /// Prepare and describe training data
    #[command(
        subcommand,
        after_help = "Examples:\n  anaume data prepare corpus.jsonl.gz --test-fraction 0.01 --out data/\n  anaume data stats data/"
    )]
    Data(data::Command),
    /// Train a masked language model
    #[command(
        after_help = "Examples:\n  anaume pretrain --recipe train --data data/ --model model/ --out run/ --dry-run\n  \
        anaume pretrain --recipe tiny --data data/ --model model/ --out run/ --set train.max_steps=100\n  \
        anaume pretrain --recipe tiny --data data/ --model model/ --out run/ --resume"
    )]
    Pretrain(train::Args),
    /// Print what starts a training run on several GPUs and machines: a script or a manifest
    #[command(
        after_help = "Examples:\n  anaume launch mpirun --gpus 4 -- --recipe train --data data/ --model model/ --out run/ > train.sh\n  \
        anaume launch slurm --nodes 8 --gpus 4 --time 12:00:00 -- --recipe train --data data/ --model model/ --out run/ > train.sh\n  \
        anaume launch kubernetes --nodes 2 --gpus 8 -- --recipe train --data data/ --model model/ --out run/ > train.yaml\n\n\
        The program that it starts is to be built with MPI: cargo build --release --features mpi"
    )]
    Launch(launch::Args),
    /// List, check and remove the checkpoints of a run
    #[command(
        subcommand,
        after_help = "Examples:\n  anaume checkpoints list run/\n  anaume checkpoints prune run/ --keep 3"
    )]
    Checkpoints(checkpoints::Command),
    /// Fill the masks of texts
    #[command(after_help = "Example:\n  anaume fill-mask --model model/ '今日のご飯は[MASK]である。'")]
    FillMask(fill_mask::FillMaskArgs),
    /// Turn texts into vectors
    #[command(after_help = "Example:\n  anaume embed --model model/ --input texts.txt --out vectors.npy")]
    Embed(fill_mask::EmbedArgs),
    /// Fine-tune on a task of JGLUE, on JCoLA, or on data of your own, and evaluate
    #[command(
        after_help = "Examples:\n  anaume finetune jsts --model model/ --data data/ --out results/ --seeds 0,1,2\n  \
        anaume finetune jcola --model model/ --data data/ --out results/ --grid jglue-official\n  \
        anaume finetune classification --train train.csv --valid valid.csv --text text --label class --model model/ --out results/"
    )]
    Finetune(eval::jglue::FineTuneArgs),
    /// Evaluate models: one protocol each, one result format
    #[command(
        subcommand,
        after_help = "Examples:\n  anaume eval all --model model/ --data data/ --out results/ --dry-run\n  \
        anaume eval fill-mask --model model/ --out results/"
    )]
    Eval(eval::Command),
    /// Compare models in one table: seeds, intervals, paired tests, baselines
    #[command(after_help = "Examples:\n  anaume leaderboard results/\n  \
        anaume leaderboard results/ other-results/ --format html --sort jsts --out leaderboard.html")]
    Leaderboard(leaderboard::Args),
    /// Write leaderboard, figures and training curves as one page to pass on
    #[command(after_help = "Example:\n  anaume report results/ run/ --out report.html")]
    Report(leaderboard::report::Args),
    /// Join the results folders of several machines and name what is missing
    #[command(after_help = "Example:\n  anaume merge shard-0/ shard-1/ --out results/")]
    Merge(merge::Args),
    /// Show the page with results, runs and models in the browser, on this machine alone
    #[command(
        after_help = "Examples:\n  anaume serve results/ run/ --model model/\n  anaume serve --page web/dist --port 0"
    )]
    Serve(site::serve::Args),
    /// Write the page with results, runs and models as files for any static web server
    #[command(after_help = "Example:\n  anaume site results/ --model model/ --out site/")]
    Site(site::Args),
    /// Print the JSON Schema of a document that the program writes, or the names of all
    #[command(after_help = "Example:\n  anaume schema results > results.schema.json")]
    Schema {
        /// Name of the document
        #[arg(value_parser = clap::builder::PossibleValuesParser::new(DOCUMENTS.map(|(name, _)| name)))]
        name: Option<String>,
    },
    /// Print what lets a shell complete commands and options
    #[command(
        after_help = "Examples:\n  anaume completions bash > ~/.local/share/bash-completion/completions/anaume\n  \
        anaume completions fish > ~/.config/fish/completions/anaume.fish"
    )]
    Completions {
        /// Shell
        shell: clap_complete::Shell,
    },
    /// Write a manual page for every command
    #[command(after_help = "Example:\n  anaume man --out ~/.local/share/man/man1")]
    Man {
        /// Folder for anaume.1, anaume-pretrain.1 and so on
        #[arg(long)]
        out: PathBuf,
    },
    /// Write a model for another program to load
    #[command(subcommand, after_help = "Example:\n  anaume export web model/ --dtype q8 --out model-web/")]
    Export(export::Command),
    /// Download a model or a data set of the Hugging Face Hub and print its folder
    #[command(after_help = DOWNLOAD_HELP)]
    Download(hub::commands::DownloadArgs),
    /// Prepare a folder for the Hugging Face Hub, with card, and print the command that publishes it; nothing is sent
    #[command(after_help = "Example:\n  anaume upload run/step-00100000 --name ORG/NAME --results results/ --out hub/")]
    Upload(hub::commands::UploadArgs),
    /// Measure how fast this machine computes
    #[command(
        subcommand,
        after_help = "Examples:\n  anaume bench encoder --batch 8 --length 512\n  anaume bench tokenizer tokenizer/ documents.jsonl.gz\n  \
        anaume bench load data/ --recipe train --model model/"
    )]
    Bench(bench::Command),
    /// List the adapters of this machine with their limits
    #[command(
        after_help = "Examples:\n  anaume devices\n  anaume pretrain --recipe tiny --data data/ --model model/ --out run/ --device vulkan:0"
    )]
    Devices {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Look at this machine: processor, memory, disk, adapters, and whether they compute right
    #[command(after_help = "Examples:\n  anaume doctor\n  anaume doctor model/ --json")]
    Doctor(doctor::Args),
    /// Check a model folder: structure, hashes, finite weights, tokenizer; or its outputs against another program's
    #[command(after_help = "Examples:\n  anaume verify model/\n  anaume verify model/ --against reference.safetensors")]
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
            Self::Launch(args) => launch::run(&args),
            Self::Checkpoints(command) => checkpoints::run(&command),
            Self::FillMask(args) => fill_mask::fill_mask(&args),
            Self::Embed(args) => fill_mask::embed(&args),
            Self::Finetune(args) => eval::finetune(&args),
            Self::Eval(command) => eval::run(&command),
            Self::Leaderboard(args) => leaderboard::run(&args),
            Self::Report(args) => leaderboard::report::run(&args),
            Self::Merge(args) => merge::run(&args),
            Self::Serve(args) => site::serve::run(&args),
            Self::Site(args) => site::run(&args),
            Self::Schema { name } => schema::run(name.as_deref()),
            Self::Completions { shell } => {
                clap_complete::generate(shell, &mut Cli::command(), "anaume", &mut std::io::stdout());
                Ok(())
            }
            Self::Man { out } => {
                make_dir(&out)?;
                clap_mangen::generate_to(Cli::command(), &out)
                    .with_context(|| format!("cannot write to {}", out.display()))
            }
            Self::Export(command) => export::run(command),
            Self::Download(args) => hub::commands::download(&args),
            Self::Upload(args) => hub::commands::upload(&args),
            Self::Bench(command) => bench::run(&command),
            Self::Devices { json } => device::run(json),
            Self::Doctor(args) => doctor::run(&args),
            Self::Verify(args) => verify::run(&args),
        }
    }
}

#[cfg(test)]
pub mod tests;
