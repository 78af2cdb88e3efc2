//! `anaume model card`: a model card for the Hugging Face Hub, with the model's results as `model-index`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anaume_core::leaderboard::display::{NONE, base_of, baseline_label, number};
use anaume_core::leaderboard::{Cell, Column, Leaderboard, Run, data_hashes};
use anaume_core::report::eval::ModelIdentity;

use crate::eval::subject;
use crate::exit::{Coded, Exit};
use crate::leaderboard::{build, give, load};
use crate::model::load_any_config;
use crate::progress::format_count;

/// Kinds of tasks on the Hub, by the beginning of a task's name.
const TASK_TYPES: [(&str, &str); 11] = [
    ("jsts", "sentence-similarity"),
    ("jnli", "text-classification"),
    ("jcola", "text-classification"),
    ("marc-ja", "text-classification"),
    ("jsquad", "question-answering"),
    ("jcommonsenseqa", "multiple-choice"),
    ("retrieval", "text-retrieval"),
    ("pseudo-perplexity", "fill-mask"),
    ("fill-mask", "fill-mask"),
    ("alignment", "feature-extraction"),
    ("similarity", "feature-extraction"),
];

/// Names of metrics on the Hub that differ from ours.
const METRIC_TYPES: [(&str, &str); 3] =
    [("pearson", "pearsonr"), ("spearman", "spearmanr"), ("matthews", "matthews_correlation")];

/// Writes the card of a model folder from the results that were made with it.
pub fn run(dir: &Path, results: &[PathBuf], out: Option<&Path>) -> anyhow::Result<()> {
    give(&text(dir, None, results)?, out)
}

/// The card of a model folder, which is loaded under the name `on_hub`, from the results that were made with it.
pub fn text(dir: &Path, on_hub: Option<&str>, results: &[PathBuf]) -> anyhow::Result<String> {
    let name = subject::names(&[dir.to_owned()]).remove(0);
    let identity = subject::identity(dir, &name, &load_any_config(dir)?)?;
    let (mut runs, others): (Vec<_>, Vec<_>) = load(results)?.into_iter().partition(|run| is_of(run, &identity));
    if runs.is_empty() {
        let names: BTreeSet<_> = others.iter().map(|run| run.report.model.name.as_str()).collect();
        let names: Vec<_> = names.into_iter().collect();
        let message = format!("there are no results of {}, only of {}", dir.display(), names.join(", "));
        return Err(Coded::error(Exit::Usage, message));
    }
    // The same model may have been called otherwise in some of its results.
    runs.iter_mut().for_each(|run| run.report.model.clone_from(&identity));
    let board = build(&runs)?;
    let page = page(&identity, on_hub.unwrap_or(&name), &board);
    Ok([front_matter(&identity, &board), page, receipt(&identity, &runs)].concat())
}

fn is_of(run: &Run, identity: &ModelIdentity) -> bool {
    let model = &run.report.model;
    model.weights_blake3 == identity.weights_blake3 && model.tokenizer_blake3 == identity.tokenizer_blake3
}

fn cells(board: &Leaderboard) -> impl Iterator<Item = (&Column, &Cell)> {
    board.columns.iter().zip(board.rows.iter().flat_map(|row| &row.cells)).filter(|(_, cell)| cell.value.is_some())
}

/// A string of YAML: those of JSON are.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn look_up<'a>(table: &[(&str, &'a str)], name: &str) -> Option<&'a str> {
    table.iter().find(|(known, _)| name.starts_with(known)).map(|(_, found)| *found)
}

/// The card's metadata. A licence is nothing that a program may guess.
fn front_matter(identity: &ModelIdentity, board: &Leaderboard) -> String {
    let mut yaml = format!(
        "---\nlanguage:\n- ja\nlibrary_name: transformers\npipeline_tag: fill-mask\ntags:\n- {}\n- japanese\n- fill-mask\n\
         - anaume\nmodel-index:\n- name: {}\n  results:\n",
        quoted(&identity.architecture),
        quoted(&identity.name)
    );
    let mut by_split: BTreeMap<(&str, &str), Vec<(&Column, &Cell)>> = BTreeMap::new();
    for (column, cell) in cells(board) {
        by_split.entry((&column.task, split_of(column))).or_default().push((column, cell));
    }
    for ((task, split), metrics) in by_split {
        let label = quoted(&metrics[0].0.task_label);
        let kind = look_up(&TASK_TYPES, task).unwrap_or("other");
        let place = format!("type: {}\n      split: {split}", quoted(task));
        yaml += &format!(
            "  - task:\n      type: {kind}\n      name: {label}\n    dataset:\n      name: {label}\n      {place}\n    metrics:\n"
        );
        for (column, cell) in metrics {
            let base = base_of(&column.metric);
            let kind = METRIC_TYPES.iter().find(|(known, _)| *known == base).map_or(base, |(_, name)| name);
            let value = cell.value.expect("cells without a value are left out");
            let (kind, name) = (quoted(kind), quoted(&column.metric_label));
            yaml += &format!("    - type: {kind}\n      value: {value:?}\n      name: {name}\n");
        }
    }
    yaml + "---\n\n"
}

fn split_of(column: &Column) -> &'static str {
    match column.metric.len() - base_of(&column.metric).len() {
        0 => "validation",
        _ if column.metric.starts_with("test_") => "test",
        _ => "out_of_domain",
    }
}

/// What it is, its figures, their limits, how to use it.
fn page(identity: &ModelIdentity, loaded_as: &str, board: &Leaderboard) -> String {
    let step = identity.step.map_or_else(String::new, |step| format!(", pretrained for {} steps", format_count(step)));
    let mut page = format!(
        "# {}\n\nA Japanese masked language model (穴埋め) of the architecture `{}`: {} parameters, up to {} tokens{step}.\n\n\
         The licence is not recorded: add `license:` to the metadata above before you publish the model.\n\n\
         ## 評価 Results\n\n| Task | Metric | Value | Spread | Baselines |\n|:--|:--|--:|:--|:--|\n",
        identity.name,
        identity.architecture,
        format_count(identity.parameters as u64),
        format_count(identity.max_length as u64)
    );
    for (i, (column, cell)) in board.columns.iter().zip(&board.rows[0].cells).enumerate() {
        let shown = cell.shown(column);
        let baselines = board.baselines.iter().filter_map(|row| Some((&row.label, row.cells[i].value?)));
        let baselines: Vec<_> =
            baselines.map(|(name, value)| format!("{} {}", baseline_label(name), number(value, column))).collect();
        let (task, metric) = (&column.task_label, &column.metric_label);
        writeln!(page, "| {task} | {metric} | {} | {} | {} |", shown.value, shown.spread, baselines.join(", "))
            .expect("writing to a string cannot fail");
    }
    let legend: Vec<_> = board.legend();
    let notes: String = board.notes.iter().map(|note| format!("- {note}\n")).collect();
    let notes = if notes.is_empty() { "Nothing is recorded.\n".into() } else { notes };
    page +=
        &format!("\n{}\n\n## 限界 Data and limits\n\n{notes}\n{}", legend.join(" "), USE.replace("MODEL", loaded_as));
    page
}

const USE: &str = r#"## 使い方 How to use

```python
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("MODEL")
model = AutoModelForMaskedLM.from_pretrained("MODEL")
inputs = tokenizer(f"日本の首都は{tokenizer.mask_token}です。", return_tensors="pt")
with torch.no_grad():
    logits = model(**inputs).logits
mask = (inputs.input_ids[0] == tokenizer.mask_token_id).nonzero()[0, 0]
print(tokenizer.convert_ids_to_tokens(logits[0, mask].topk(5).indices.tolist()))
```

"#;

/// What is needed to make the figures again.
fn receipt(identity: &ModelIdentity, runs: &[Run]) -> String {
    let environments: BTreeSet<_> = runs.iter().map(environment).collect();
    let commands: BTreeSet<_> = runs.iter().map(|run| run.report.config.command_line.join(" ")).collect();
    let mut text = format!(
        "## 控え Receipt\n\n- weights, BLAKE3: `{}`\n- tokenizer, BLAKE3: `{}`\n",
        identity.weights_blake3, identity.tokenizer_blake3
    );
    environments.iter().for_each(|line| text += &format!("- {line}\n"));
    commands.iter().for_each(|line| text += &format!("- `anaume {line}`\n"));
    text += "\n| Task | Result | Seed | Data, BLAKE3 |\n|:--|:--|--:|:--|\n";
    for run in runs {
        for (task, hash) in &run.report.task_hashes {
            let short = |hash: &str| format!("`{}`", hash.chars().take(12).collect::<String>());
            let config = &run.report.configs[task];
            let seed = config["options"]["seed"].as_u64().unwrap_or(run.report.config.random_seed);
            let data: Vec<_> = data_hashes(config).iter().map(|hash| short(hash)).collect();
            let data = if data.is_empty() { NONE.to_owned() } else { data.join(" ") };
            text += &format!("| {task} | {} | {seed} | {data} |\n", short(hash));
        }
    }
    text
}

fn environment(run: &Run) -> String {
    let commit = run.report.git_hash.as_ref().map_or_else(String::new, |commit| format!(", commit {commit}"));
    format!("{}{commit}, {}", run.report.pretty_env_info, run.report.config.device)
}
