//! Data: reading documents, preparing datasets, and batches for training.

pub mod dataset;
pub(crate) mod lines;
pub mod loader;
pub mod order;
mod parquet_rows;
mod parts;
pub mod prepare;
pub mod read;
mod shards;
mod split;
pub mod stats;
mod thrift;

use anyhow::Result;
use dataset::{Dataset, Lengths, Manifest, SplitInfo};
use prepare::PrepareArgs;
use stats::{CountTokens, SplitStats, Stats, StatsArgs};
use std::path::{Path, PathBuf};

/// `anaume data …`.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum Command {
    /// Turn files into a dataset for pretraining: shards, a test split, statistics
    #[command(after_help = "Examples:\n  anaume data prepare 'corpus/*.jsonl.gz' --test-fraction 0.01 --out data/\n  \
        anaume data prepare texts.parquet --column body --bad-lines quarantine --out data/\n  \
        zcat dump.jsonl.gz | anaume data prepare - --out data/\n  \
        anaume data prepare 'corpus/*.jsonl.gz' --out parts/ --shard-index 3 --num-shards 8")]
    Prepare(PrepareArgs),
    /// Join the parts that several processes prepared to the dataset that one would have written, byte for byte
    #[command(after_help = "Example:\n  anaume data merge parts/ --out data/")]
    Merge(MergeArgs),
    /// Verify a prepared dataset and say what it holds
    #[command(after_help = "Example:\n  anaume data stats data/ --tokenizer tokenizer/")]
    Stats(StatsArgs),
}

/// What `anaume data merge` is told.
#[derive(clap::Args, Clone, Debug)]
pub struct MergeArgs {
    /// Folder of the parts
    pub parts: PathBuf,
    /// Folder to write the dataset to
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Replace what is in the folder
    #[arg(long)]
    pub force: bool,
    /// Print dataset.json instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Runs a command and prints its result.
pub fn run(command: &Command) -> Result<()> {
    match command {
        Command::Prepare(args) => {
            let (inputs, out, options) = (&args.inputs, &args.out, &args.options);
            let (out, manifest) = match args.shard.resolve()? {
                (0, 1) => (out.clone(), prepare::prepare(inputs, out, options, args.force)?),
                shard => parts::prepare_part(inputs, out, options, shard, args.force)?,
            };
            print_result(args.json, &manifest, || prepared_table(&manifest, &out))
        }
        Command::Merge(args) => {
            let manifest = parts::merge(&args.parts, &args.out, args.force)?;
            print_result(args.json, &manifest, || prepared_table(&manifest, &args.out))
        }
        Command::Stats(args) => {
            let dataset = Dataset::open(&args.dir)?;
            let tokenizer = args.tokenizer.as_deref().map(crate::tokenizer::load).transpose()?;
            let count = tokenizer.map(|tokenizer| move |text: &str| Ok(tokenizer.encode_body(text)?.ids.len()));
            let stats = stats::stats(&dataset, count.as_ref().map(|count| count as &CountTokens<'_>))?;
            print_result(args.json, &stats, || stats_table(&stats))
        }
    }
}

/// The texts of all documents of the given files and globs.
pub fn texts(paths: &[PathBuf], column: &str) -> Result<Vec<String>> {
    let options = read::ReadOptions { column: column.to_owned(), ..read::ReadOptions::default() };
    read::documents(paths, &options)?.map(|document| Ok(document?.text)).collect()
}

/// One JSON document, or a table.
fn print_result(json: bool, value: &impl serde::Serialize, table: impl Fn() -> String) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(value)?);
    } else {
        println!("{}", table().trim_end());
    }
    Ok(())
}

/// A number of bytes: digits, alone or followed by k, M, G, T (or kB, MB, …: powers of 1000; KiB, MiB, …: of 1024).
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim_start().to_ascii_lowercase().trim_end_matches('b') {
        "" => 1,
        "k" => 1000,
        "m" => 1000_u64.pow(2),
        "g" => 1000_u64.pow(3),
        "t" => 1000_u64.pow(4),
        "ki" => 1 << 10,
        "mi" => 1 << 20,
        "gi" => 1 << 30,
        "ti" => 1 << 40,
        _ => return Err(format!("`{unit}` is no unit; give bytes, or k, M, G, KiB, MiB, GiB after the number")),
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    bytes.filter(|&bytes| bytes > 0).ok_or_else(|| format!("`{text}` is no size; give for example 64MiB"))
}

fn prepared_table(manifest: &Manifest, out: &Path) -> String {
    let columns =
        manifest.splits.iter().map(|(name, split)| (name.as_str(), prepared_column(split))).collect::<Vec<_>>();
    let dropped = &manifest.dropped;
    format!(
        "{}dropped    {} empty, {} short, {} bad lines skipped, {} quarantined\ndataset    {} (fingerprint {})\n",
        table(&columns),
        dropped.empty,
        dropped.short,
        dropped.skipped,
        dropped.quarantined,
        out.display(),
        &manifest.fingerprint[..16]
    )
}

type Column = Vec<(&'static str, String)>;

fn prepared_column(split: &SplitInfo) -> Column {
    let file_bytes: u64 = split.shards.iter().map(|shard| shard.file_bytes).sum();
    let mut column = sizes(split.documents, split.shards.len(), split.chars, split.text_bytes);
    column.push(("file bytes", file_bytes.to_string()));
    column.extend(lengths(&split.length_chars));
    column
}

fn stats_table(stats: &Stats) -> String {
    let columns = stats.splits.iter().map(|(name, split)| (name.as_str(), stats_column(split))).collect::<Vec<_>>();
    format!(
        "{}test documents that are also in train: {}\nall shards are as they were prepared (fingerprint {})\n",
        table(&columns),
        stats.leaked_documents,
        &stats.fingerprint[..16]
    )
}

fn stats_column(split: &SplitStats) -> Column {
    let percent = |share: f64| format!("{:.1}%", share * 100.0);
    let mut column = sizes(split.documents, split.shards, split.chars, split.text_bytes);
    column.extend(lengths(&split.length_chars));
    column.extend([
        ("kana", percent(split.shares.kana)),
        ("kanji", percent(split.shares.kanji)),
        ("ASCII", percent(split.shares.ascii)),
        ("other", percent(split.shares.other)),
        ("duplicates", split.duplicates.to_string()),
    ]);
    if let Some(tokens) = &split.tokens {
        column.extend([
            ("tokens", tokens.tokens.to_string()),
            ("chars/token", format!("{:.3}", tokens.chars_per_token)),
            ("tokens p50", tokens.length_tokens.p50.to_string()),
            ("tokens max", tokens.length_tokens.max.to_string()),
        ]);
    }
    column
}

fn sizes(documents: u64, shards: usize, chars: u64, text_bytes: u64) -> Column {
    vec![
        ("documents", documents.to_string()),
        ("shards", shards.to_string()),
        ("characters", chars.to_string()),
        ("text bytes", text_bytes.to_string()),
    ]
}

fn lengths(lengths: &Lengths) -> Column {
    vec![
        ("chars mean", format!("{:.1}", lengths.mean)),
        ("chars p5", lengths.p5.to_string()),
        ("chars p50", lengths.p50.to_string()),
        ("chars p95", lengths.p95.to_string()),
        ("chars p99", lengths.p99.to_string()),
        ("chars max", lengths.max.to_string()),
    ]
}

/// One column a split, numbers to the right. All columns have the same lines.
fn table(columns: &[(&str, Column)]) -> String {
    let Some((_, first)) = columns.first() else { return String::new() };
    let mut text = format!("{:<11}", "");
    columns.iter().for_each(|(name, _)| text += &format!(" {name:>14}"));
    for (i, (label, _)) in first.iter().enumerate() {
        text += &format!("\n{label:<11}");
        columns.iter().for_each(|(_, column)| text += &format!(" {:>14}", column[i].1));
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_decimal_and_binary_units() {
        assert_eq!(parse_bytes("7"), Ok(7));
        for (power, unit) in (1..).zip(["k", "M", "G", "T"]) {
            for text in [format!("5{unit}"), format!("5 {unit}B")] {
                assert_eq!(parse_bytes(&text), Ok(5 * 1000_u64.pow(power)), "{text}");
            }
            assert_eq!(parse_bytes(&format!("64{unit}iB")), Ok(64 * 1024_u64.pow(power)), "{unit}iB");
        }
        for wrong in ["", "MiB", "1.5k", "3 apples", "99999999999G", "0", "-1"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }

    /// Words of the lines of a table.
    fn words(table: &str) -> Vec<Vec<&str>> {
        table.lines().map(|line| line.split_whitespace().collect()).collect()
    }

    #[test]
    fn tables_show_what_a_dataset_holds() {
        let dir = tempfile::tempdir().unwrap();
        let (input, out) = (dir.path().join("in.txt"), dir.path().join("out"));
        std::fs::write(&input, "かな漢字です。\n\nabc\nかな漢字です。\n").unwrap();
        assert_eq!(
            texts(std::slice::from_ref(&input), "text").unwrap(),
            ["かな漢字です。", "", "abc", "かな漢字です。"]
        );
        let lines = dir.path().join("in.jsonl");
        std::fs::write(&lines, "{\"text\": \"no\", \"body\": \"yes\"}").unwrap();
        assert_eq!(texts(&[lines], "body").unwrap(), ["yes"]);
        let options = prepare::PrepareOptions { min_chars: 4, ..prepare::PrepareOptions::default() };
        let manifest = prepare::prepare(&[input], &out, &options, false).unwrap();
        let table = prepared_table(&manifest, Path::new("out"));
        let bytes = manifest.splits["train"].shards[0].file_bytes.to_string();
        let sizes = [["documents", "2"], ["shards", "1"], ["characters", "14"]];
        let lengths = [["mean", "7.0"], ["p5", "7"], ["p50", "7"], ["p95", "7"], ["p99", "7"], ["max", "7"]];
        let lengths = lengths.map(|[name, value]| vec!["chars", name, value]);
        let mut expected = vec![vec!["train"]];
        expected.extend(sizes.map(|row| row.to_vec()));
        expected.push(vec!["text", "bytes", "42"]);
        let mut prepared = [&expected[..], &[vec!["file", "bytes", &bytes]], &lengths].concat();
        prepared.push("dropped 1 empty, 1 short, 0 bad lines skipped, 0 quarantined".split(' ').collect());
        let fingerprint = format!("{})", &manifest.fingerprint[..16]);
        prepared.push(vec!["dataset", "out", "(fingerprint", &fingerprint]);
        assert_eq!(words(&table), prepared);

        let found = stats::stats(&Dataset::open(&out).unwrap(), Some(&|text: &str| Ok(text.len()))).unwrap();
        let table = stats_table(&found);
        expected.extend(lengths);
        let shares =
            [["kana", "57.1%"], ["kanji", "28.6%"], ["ASCII", "0.0%"], ["other", "14.3%"], ["duplicates", "1"]];
        expected.extend(shares.map(|row| row.to_vec()));
        expected.extend([vec!["tokens", "42"], vec!["chars/token", "0.333"]]);
        expected.extend([vec!["tokens", "p50", "21"], vec!["tokens", "max", "21"]]);
        assert_eq!(words(&table)[..expected.len()], expected);
        assert!(
            table.contains("test documents that are also in train: 0\n") && table.contains(&fingerprint),
            "{table}"
        );
    }
}
