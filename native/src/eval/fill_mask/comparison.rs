//! Models side by side: a table of prompts and answers, aligned by the width of characters on a terminal.

use anaume_core::report::eval::EvalReport;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{METRICS, Sample, TASK};
use crate::eval::Common;
use crate::eval::results::{Cell, RESULTS, read_samples};

/// Columns of a prompt's text before and after its mask.
const TEXT_COLUMNS: usize = 16;
/// Answers of each model.
const NUM_ANSWERS: usize = 3;

/// Prints what every model answers at every mask, gold answers marked, and the metrics on the masks that all can answer.
///
/// # Errors
/// Samples that cannot be read.
pub fn print_comparison(common: &Common, reports: &[EvalReport]) -> anyhow::Result<()> {
    let read = |report: &EvalReport| -> anyhow::Result<Vec<Sample>> {
        let cell = Cell::find(&common.out, &report.model, [TASK, ""], &report.configs[TASK], report.precision(TASK))?;
        let samples = read_samples(&cell.dir.join(RESULTS))?;
        Ok(samples.into_iter().map(serde_json::from_value).collect::<Result<_, _>>()?)
    };
    let models: Vec<Vec<Sample>> = reports.iter().map(read).collect::<anyhow::Result<_>>()?;
    let names: Vec<&str> = reports.iter().map(|report| report.model.name.as_str()).collect();
    answer_table(&names, &models).iter().for_each(|line| println!("{line}"));
    if models.len() > 1 {
        common_table(&names, &models).iter().for_each(|line| println!("{line}"));
    }
    Ok(())
}

fn answer_table(names: &[&str], models: &[Vec<Sample>]) -> Vec<String> {
    let heads = ["", "", "gold"].into_iter().chain(names.iter().copied()).map(str::to_owned);
    let mut rows = vec![heads.collect::<Vec<_>>()];
    for (index, first) in models[0].iter().enumerate() {
        let mut row = vec![first.doc_id.clone(), around_mask(&first.text, first.mask), first.gold.join(" ")];
        row.extend(models.iter().map(|samples| answers(&samples[index])));
        rows.push(row);
    }
    aligned(&rows)
}

/// `東京 0.83✓ 京都 0.05 大阪 0.02`.
fn answers(sample: &Sample) -> String {
    let shown = sample.answers.iter().take(NUM_ANSWERS).map(|answer| {
        let mark = if answer.is_gold { "✓" } else { "" };
        format!("{} {:.2}{mark}", answer.token.trim(), answer.probability)
    });
    if sample.answers.is_empty() { "–".into() } else { shown.collect::<Vec<_>>().join(" ") }
}

/// Top-k accuracies and rank on the masks that every model can answer in one token.
fn common_table(names: &[&str], models: &[Vec<Sample>]) -> Vec<String> {
    let shared: Vec<usize> =
        (0..models[0].len()).filter(|index| models.iter().all(|samples| samples[*index].rank.is_some())).collect();
    let metrics = &METRICS[..4];
    let mut rows = vec![[""].into_iter().chain(metrics.iter().map(|(name, _)| *name)).map(str::to_owned).collect()];
    for (name, samples) in names.iter().zip(models) {
        let mut row = vec![(*name).to_owned()];
        row.extend(metrics.iter().map(|(_, value)| {
            let values: Vec<f64> = shared.iter().filter_map(|index| value(&samples[*index])).collect();
            if values.is_empty() {
                "–".into()
            } else {
                format!("{:.4}", values.iter().sum::<f64>() / values.len() as f64)
            }
        }));
        rows.push(row);
    }
    let head = format!("On the {} masks that every model can answer in one token:", shared.len());
    [head].into_iter().chain(aligned(&rows)).collect()
}

/// The text near a mask, `…` where it was cut.
fn around_mask(text: &str, mask: usize) -> String {
    let text = text.replace("{mask_str}", "[MASK]");
    let Some((start, spelled)) = text.match_indices("[MASK]").nth(mask) else { return text };
    let (before, after) = (&text[..start], &text[start + spelled.len()..]);
    let reversed: String = before.chars().rev().collect();
    let before: String = cut(&reversed).chars().rev().collect();
    format!("{before}{spelled}{}", cut(after))
}

fn cut(text: &str) -> String {
    let mut columns = 0;
    let fits = |c: &char| {
        columns += c.width().unwrap_or(0);
        columns <= TEXT_COLUMNS
    };
    let kept: String = text.chars().take_while(fits).collect();
    if kept.len() < text.len() { kept + "…" } else { kept }
}

/// Rows of cells as lines, every column as wide as its widest cell.
fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].width()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let pad = |(cell, width): (&String, &usize)| format!("{cell}{}", " ".repeat(width - cell.width()));
    let line = |row: &Vec<String>| row.iter().zip(&widths).map(pad).collect::<Vec<_>>().join("  ");
    rows.iter().map(|row| line(row).trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_japanese_and_latin_text_are_aligned() {
        let rows = [["東京", "x"], ["abc", "京都"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(aligned(&rows), ["東京  x", "abc   京都"]);
    }

    #[test]
    fn a_long_text_is_cut_around_its_mask() {
        let text = "これは前にあるとても長い文の途中で[MASK]の後にも長い文が続いています。";
        assert_eq!(around_mask(text, 0), "…も長い文の途中で[MASK]の後にも長い文が…");
        assert_eq!(around_mask("a[MASK]b{mask_str}c", 1), "a[MASK]b[MASK]c");
    }
}
