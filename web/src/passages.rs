//! Passages from what a reader pastes or drops: plain text, JSON lines, CSV.

use serde_json::Value;

use crate::protocol::{Failure, Result};

/// Names of the field that holds the text, the likeliest first.
const FIELDS: [&str; 4] = ["text", "passage", "sentence", "sentence1"];

/// The passages of the built-in benchmark.
pub fn built_in() -> Vec<String> {
    let lines = include_str!("../../public/benchmark/questions.jsonl");
    without_doubles(json_lines("questions.jsonl", lines).unwrap_or_default())
}

/// The passages of a file, whose kind its name tells; plain text where it tells none.
///
/// # Errors
/// A line that is not of the kind, by number, and a file without passages.
pub fn parse(name: &str, text: &str) -> Result<Vec<String>> {
    let passages = match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "jsonl" | "json" => json_lines(name, text)?,
        "csv" => table(name, text, b',')?,
        "tsv" => table(name, text, b'\t')?,
        _ => plain(text),
    };
    match without_doubles(passages) {
        none if none.is_empty() => Err(Failure::new(format!("{name}: there is no text in it"))),
        passages => Ok(passages),
    }
}

/// Paragraphs between empty lines; lines, where there are no empty ones.
pub fn plain(text: &str) -> Vec<String> {
    let text = text.replace("\r\n", "\n");
    let trimmed = text.trim();
    let parts =
        if trimmed.contains("\n\n") { trimmed.split("\n\n").collect::<Vec<_>>() } else { trimmed.lines().collect() };
    parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// The lines that hold something.
pub fn lines(text: &str) -> Vec<String> {
    text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

fn json_lines(name: &str, text: &str) -> Result<Vec<String>> {
    let line = |(number, line): (usize, &str)| {
        let failed = |cause: String| Failure::new(format!("{name}: line {number}: {cause}"));
        let value: Value = serde_json::from_str(line).map_err(|cause| failed(cause.to_string()))?;
        let found = FIELDS.iter().find_map(|field| value.get(field)).unwrap_or(&value).as_str().map(str::to_owned);
        found.ok_or_else(|| failed(format!("no text under {}", FIELDS.join(", "))))
    };
    (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()).map(line).collect()
}

fn table(name: &str, text: &str, delimiter: u8) -> Result<Vec<String>> {
    let failed = |cause: csv::Error| Failure::new(format!("{name}: {cause}"));
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(text.as_bytes());
    let header = reader.headers().map_err(failed)?.clone();
    let column = FIELDS.iter().find_map(|field| header.iter().position(|name| name == *field)).unwrap_or(0);
    let cell =
        |row: csv::Result<csv::StringRecord>| Ok(row.map_err(failed)?.get(column).unwrap_or_default().to_owned());
    reader.records().map(cell).collect()
}

/// Each passage once, empty ones left out.
fn without_doubles(mut passages: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    passages.retain(|passage| !passage.trim().is_empty() && seen.insert(passage.clone()));
    passages
}
