//! `anaume bench tokenizer`: whether the ids are those of Hugging Face's library, then how fast they come.

use std::path::PathBuf;

use anaume_core::tokenizer::{MaskConvention, Tokenizer};
use rayon::prelude::*;
use serde_json::json;

use super::{quartiles, time};
use crate::data::texts;
use crate::exit::{Coded, Exit};
use crate::progress::format_count;
use crate::tokenizer::load;

/// Arguments of `anaume bench tokenizer`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Tokenizer folder
    dir: PathBuf,
    /// Files of text, read as by `data prepare`
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Column of the text in .jsonl and Parquet files
    #[arg(long, value_name = "NAME", default_value = "text")]
    column: String,
    /// Threads
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Timed runs after one warm-up
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// `anaume bench tokenizer`.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let tokenizer = load(&args.dir)?;
    let documents = texts(&args.files, &args.column)?;
    let threads = rayon::ThreadPoolBuilder::new().num_threads(args.threads).build()?;
    let compared =
        documents.par_iter().map(|text| is_as_in_the_library(&tokenizer, text)).collect::<Result<Vec<_>, _>>()?;
    let [same, other] = [true, false].map(|same| compared.iter().filter(|found| **found == Some(same)).count());
    if other > 0 {
        let message =
            format!("{other} of {} documents have other ids than Hugging Face's library gives", documents.len());
        return Err(Coded::error(Exit::Data, message));
    }
    let encode = || -> anyhow::Result<()> {
        threads.install(|| documents.par_iter().try_for_each(|text| tokenizer.encode_body(text).map(drop)))?;
        Ok(())
    };
    let seconds = time(args.runs, encode)?;
    let bytes: usize = documents.iter().map(String::len).sum();
    let [_, median, _] = quartiles(&seconds);
    let speed = bytes as f64 / 1e6 / median;
    if args.json {
        let document = json!({
            "what": "tokenizer", "documents": documents.len(), "same_ids": same, "bytes": bytes, "threads": args.threads,
            "seconds": median, "mb_per_second": speed,
        });
        println!("{document:#}");
        return Ok(());
    }
    println!(
        "{} of {} documents have the ids of Hugging Face's library, the others spell special tokens; {speed:.1} MB/s, {} thread(s)",
        format_count(same as u64),
        format_count(documents.len() as u64),
        args.threads
    );
    Ok(())
}

/// Whether the ids are those of the library; none for a text that spells special tokens or bytes, which it takes for them.
fn is_as_in_the_library(tokenizer: &Tokenizer, text: &str) -> anyhow::Result<Option<bool>> {
    let library = tokenizer.encode(text, MaskConvention::Hf)?.ids;
    let body = &library[1..library.len() - 1];
    let spells_special = text.contains("<0x") || body.iter().any(|id| tokenizer.is_special(*id));
    Ok((!spells_special).then_some(tokenizer.encode_body(text)?.ids == body))
}
