//! Labelled data as rows of named fields: JSON lines, CSV and TSV, also compressed.

use std::path::Path;

use anyhow::bail;
use serde_json::{Map, Value};

use super::data::{for_each_line, parse, text};
use crate::exit::{Coded, Exit};

/// One example as its file has it.
pub struct Row {
    /// File and line, for errors.
    pub place: String,
    fields: Map<String, Value>,
}

impl Row {
    /// Fields in the form of a JSON object.
    pub fn new(place: String, fields: Map<String, Value>) -> Self {
        Self { place, fields }
    }

    /// An error about this row.
    pub fn error(&self, message: impl std::fmt::Display) -> anyhow::Error {
        Coded::error(Exit::Data, format!("{}: {message}", self.place))
    }

    /// A field, where it is there and not null.
    pub fn get(&self, column: &str) -> Option<&Value> {
        self.fields.get(column).filter(|value| !value.is_null())
    }

    /// A field that must be there.
    pub fn need(&self, column: &str) -> anyhow::Result<&Value> {
        self.get(column).ok_or_else(|| {
            let there = self.fields.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            self.error(format!("no column `{column}`; there are {there}"))
        })
    }

    /// A field as text; numbers are spelled.
    pub fn text(&self, column: &str) -> anyhow::Result<String> {
        match self.need(column)? {
            Value::String(text) => Ok(text.clone()),
            value @ (Value::Number(_) | Value::Bool(_)) => Ok(value.to_string()),
            _ => Err(self.error(format!("`{column}` is neither a text nor a number"))),
        }
    }

    /// Names of the fields that are true: how data says of what kinds an example is.
    pub fn flags(&self) -> Vec<String> {
        let set = self.fields.iter().filter(|(_, value)| **value == Value::Bool(true));
        set.map(|(name, _)| name.clone()).collect()
    }

    /// A field as a finite number; text is read as one.
    pub fn number(&self, column: &str) -> anyhow::Result<f64> {
        let text = self.text(column)?;
        let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        number.ok_or_else(|| self.error(format!("`{column}` is `{text}`, which is not a finite number")))
    }
}

/// All rows of a `.json`/`.jsonl` (an object a line), `.csv` or `.tsv` file; `.gz` and `.zst` after it.
pub fn rows(path: &Path) -> anyhow::Result<Vec<Row>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let name = name.trim_end_matches(".gz").trim_end_matches(".zst");
    let rows = match name.rsplit('.').next() {
        Some("csv") => separated(path, &text(path)?, b',')?,
        Some("tsv") => separated(path, &text(path)?, b'\t')?,
        _ => json_lines(path)?,
    };
    if rows.is_empty() {
        bail!(Coded::error(Exit::Data, format!("{}: no row in the file", path.display())));
    }
    Ok(rows)
}

fn json_lines(path: &Path) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for_each_line(path, |number, line| {
        let place = format!("{}: line {number}", path.display());
        rows.push(Row::new(place, parse(line)?));
        Ok(())
    })?;
    Ok(rows)
}

fn separated(path: &Path, text: &str, delimiter: u8) -> anyhow::Result<Vec<Row>> {
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(text.as_bytes());
    let named = |cause: csv::Error| Coded::error(Exit::Data, format!("{}: {cause}", path.display()));
    let header = reader.headers().map_err(named)?.clone();
    let row = |record: csv::Result<csv::StringRecord>| {
        let record = record.map_err(named)?;
        let line = record.position().map_or(0, csv::Position::line);
        let fields = header.iter().zip(&record).map(|(name, value)| (name.to_owned(), Value::from(value)));
        Ok(Row::new(format!("{}: line {line}", path.display()), fields.collect()))
    };
    reader.records().map(row).collect()
}
