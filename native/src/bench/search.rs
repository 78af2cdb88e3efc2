//! `anaume bench search`: whether the nearest passages are those of a plain computation, then how fast they are found.

use std::path::PathBuf;

use anaume_core::retrieval::PassageIndex;
use burn::tensor::Device;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::json;

use super::ops::copy_peak;
use super::{quartiles, time};
use crate::exit::{Coded, Exit};
use crate::files::read;
use crate::progress::{format_count, format_si};

/// Queries whose answers are compared.
const COMPARED: usize = 5;
/// Between sums of products of unit vectors in f32 and in f64.
const TOLERANCE: f64 = 1e-5;

/// Arguments of `anaume bench search`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Index that the page saved, a .safetensors file [default: random vectors]
    #[arg(long, conflicts_with_all = ["passages", "width"])]
    index: Option<PathBuf>,
    /// Random vectors to search in
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..))]
    passages: u32,
    /// Values of each
    #[arg(long, default_value_t = 768, value_parser = clap::value_parser!(u32).range(1..))]
    width: u32,
    /// Passages to find
    #[arg(short, long = "k", default_value_t = 10)]
    k: usize,
    /// Timed queries after one warm-up
    #[arg(long, default_value_t = 100)]
    queries: usize,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// `anaume bench search`.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let index = match &args.index {
        Some(path) => PassageIndex::from_bytes(&read(path)?)?,
        None => {
            let vectors: Vec<_> = (0..args.passages).map(|_| vector(&mut random, args.width as usize)).collect();
            PassageIndex::new("random".into(), vec![String::new(); vectors.len()], &vectors)?
        }
    };
    let (num_passages, width) = (index.passages.len(), index.width());
    let queries: Vec<_> = (0..args.queries.max(COMPARED)).map(|_| vector(&mut random, width)).collect();
    queries.iter().take(COMPARED).try_for_each(|query| compare(&index, query, args.k))?;
    let mut next = queries.iter().cycle();
    let search = || {
        index.by_meaning(next.next().expect("it has no end"), args.k)?;
        Ok(())
    };
    let seconds = time(args.queries, search)?;
    let bytes = 4.0 * (num_passages * width) as f64;
    let ([first, median, third], copy) = (quartiles(&seconds), copy_peak(&Device::flex(), 5)?);
    let share = bytes / median / copy;
    if args.json {
        let document = json!({
            "what": "search", "passages": num_passages, "width": width, "k": args.k, "compared": COMPARED,
            "seconds": median, "quartiles": [first, third],
            "queries_per_second": 1.0 / median, "bytes_per_second": bytes / median, "copy_peak_bytes": copy,
            "share_of_peak": share,
        });
        println!("{document:#}");
        return Ok(());
    }
    println!(
        "{COMPARED} queries have the passages of a plain computation; {} vectors of {width}: median {:.3} ms of {} queries \
         ({:.0} a second), {}B/s, {:.0} % of the copy peak ({}B/s)",
        format_count(num_passages as u64),
        median * 1e3,
        seconds.len(),
        1.0 / median,
        format_si(bytes / median),
        share * 100.0,
        format_si(copy),
    );
    Ok(())
}

/// Values between -1 and 1.
fn vector(random: &mut ChaCha8Rng, width: usize) -> Vec<f32> {
    (0..width).map(|_| (f64::from(random.next_u32()) / f64::from(u32::MAX) * 2.0 - 1.0) as f32).collect()
}

/// Fails where a passage that is found, or its cosine, is not that of all cosines sorted; cosines that only rounding tells
/// apart may change places.
fn compare(index: &PassageIndex, query: &[f32], k: usize) -> anyhow::Result<()> {
    let length = query.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    let product = |vector: &[f32]| vector.iter().zip(query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let cosines: Vec<f64> = (0..index.passages.len()).map(|number| product(index.vector(number)) / length).collect();
    let mut sorted = cosines.clone();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let found = index.by_meaning(query, k)?;
    let is_near = |cosine: f32, expected: f64| (f64::from(cosine) - expected).abs() <= TOLERANCE;
    let agrees =
        |((number, cosine), best): (&(usize, f32), &f64)| is_near(*cosine, *best) && is_near(*cosine, cosines[*number]);
    if found.len() == k.min(sorted.len()) && found.iter().zip(&sorted).all(agrees) {
        return Ok(());
    }
    Err(Coded::error(Exit::Data, format!("the {k} passages found are not those with the largest cosines")))
}
