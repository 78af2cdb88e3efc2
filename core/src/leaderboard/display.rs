//! How the table is shown: names of tasks and metrics, digits, the text of a cell.

use super::{Cell, Column, Leaderboard};
use crate::leaderboard::compare::SIGNIFICANCE;

/// What stands where there is no value.
pub const NONE: &str = "–";

/// Metrics that the field reads together: where one of a group is a task's main metric, the others are shown too.
const TOGETHER: [&[&str]; 9] = [
    &["pearson", "spearman"],
    &["accuracy", "matthews"],
    &["exact_match", "f1"],
    &["ndcg@10", "recall@100"],
    &["recall@10", "mrr@10"],
    &["ndcg@3", "success@3", "mrr"],
    ALONE_USELESS,
    &["top5_accuracy", "mrr", "joint_log_probability"],
    &["pseudo_perplexity_per_char", "pseudo_perplexity"],
];

/// Metrics each of which a useless model wins: one point for all texts has the best alignment, random vectors are the most
/// uniform. None of them makes a model the best.
const ALONE_USELESS: &[&str] = &["alignment", "uniformity"];

/// Splits that a metric's name may begin with, in the order of columns; the development split has no prefix.
const SPLITS: [&str; 3] = ["", "ood_", "test_"];

/// Metrics of which a hundred is the best possible.
const SHARES: [&str; 11] =
    ["accuracy", "pearson", "spearman", "matthews", "f1", "exact_match", "recall", "mrr", "ndcg", "success", "top"];

/// JGLUE's tasks and JCoLA in the order of its tables; a substitute has a suffix.
const JGLUE: [&str; 6] = ["marc-ja", "jcola", "jsts", "jnli", "jsquad", "jcommonsenseqa"];

/// Whether a task is one of JGLUE's, or a substitute of one.
pub fn is_jglue(task: &str) -> bool {
    jglue_place(task) < JGLUE.len()
}

fn jglue_place(task: &str) -> usize {
    let is_end = |rest: &str| rest.is_empty() || rest.starts_with(['-', ' ']);
    let is = |name: &&str| task.strip_prefix(*name).is_some_and(is_end);
    JGLUE.iter().position(is).unwrap_or(JGLUE.len())
}

/// Orders tasks: JGLUE's first, the others by name.
pub fn task_order(task: &str) -> (usize, &str) {
    (jglue_place(task), task)
}

/// The name of a metric without its split.
pub fn base_of(metric: &str) -> &str {
    SPLITS[1..].iter().find_map(|split| metric.strip_prefix(split)).unwrap_or(metric)
}

/// Whether a model can be called the best by a metric alone.
pub fn ranks(metric: &str) -> bool {
    !ALONE_USELESS.contains(&base_of(metric))
}

/// Which of a task's metrics are shown, in order: the main one and those read together with it, on every split.
pub fn shown_metrics(task: &str, main: &str, recorded: impl Fn(&str) -> bool) -> Vec<String> {
    let partners = TOGETHER.iter().find(|group| group.contains(&main)).copied().unwrap_or_default();
    // Accuracy says little about JCoLA, whose classes are far from even.
    let is_shown = |metric: &&str| *metric != main && (*metric != "matthews" || task.starts_with("jcola"));
    let bases: Vec<_> = std::iter::once(main).chain(partners.iter().copied().filter(is_shown)).collect();
    let names = SPLITS.iter().flat_map(|split| bases.iter().map(move |base| format!("{split}{base}")));
    names.filter(|name| recorded(name)).collect()
}

/// Factor and decimals of a metric's values: shares and correlations as in JGLUE's tables, the rest as it is.
pub fn digits(metric: &str) -> (f64, usize) {
    let base = base_of(metric);
    if SHARES.iter().any(|share| base.starts_with(share)) {
        (100.0, 1)
    } else if base.contains("perplexity") {
        (1.0, 2)
    } else {
        (1.0, 3)
    }
}

/// Shown name of a metric.
pub fn metric_label(metric: &str) -> String {
    let base = base_of(metric);
    let split = metric[..metric.len() - base.len()].trim_end_matches('_').replace("ood", "OOD");
    let name = match base {
        "accuracy" => "Acc.".into(),
        "exact_match" => "EM".into(),
        "matthews" => "MCC".into(),
        "f1" | "mrr" | "mrr@10" => base.to_uppercase(),
        _ if base.starts_with("ndcg") => base.replace("ndcg", "nDCG"),
        _ if base.starts_with("pseudo_perplexity") => base.replace("pseudo_perplexity", "PPPL").replace('_', " "),
        _ => capitalised(&base.replace('_', " ")),
    };
    format!("{split} {name}").trim_start().to_owned()
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Shown name of a row.
pub fn baseline_label(name: &str) -> String {
    match name {
        "majority" => "Majority 多数派".into(),
        "bm25" => "BM25".into(),
        _ => name.into(),
    }
}

/// A value in the digits of a column.
pub fn number(value: f64, column: &Column) -> String {
    format!("{:.*}", column.decimals, value * column.scale)
}

/// The text of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The value, or [`NONE`].
    pub value: String,
    /// `± sd (n)`, `[low, high]`, or nothing.
    pub spread: String,
    /// How it stands to the best of its column.
    pub mark: Mark,
    /// Numbers of footnotes.
    pub notes: Vec<usize>,
}

/// How a value stands to the best of its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It is the best.
    Best,
    /// It is not significantly different from the best.
    NotDifferent,
    /// It is significantly different, or was not tested.
    None,
}

impl Cell {
    /// The text of the cell under its column.
    pub fn shown(&self, column: &Column) -> Shown {
        let spread = match (self.sd, self.interval) {
            (Some(sd), _) => format!("± {} ({})", number(sd, column), self.seeds.len()),
            (None, Some([low, high])) => format!("[{}, {}]", number(low, column), number(high, column)),
            (None, None) => String::new(),
        };
        let mark = match self.p_holm {
            _ if self.is_best => Mark::Best,
            Some(p) if p > SIGNIFICANCE => Mark::NotDifferent,
            _ => Mark::None,
        };
        let value = self.value.map_or_else(|| NONE.into(), |value| number(value, column));
        let spread = if self.value.is_some() { spread } else { String::new() };
        Shown { value, spread, mark, notes: self.notes.clone() }
    }
}

/// A sign of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// ± and brackets.
    Spread,
    /// Bold.
    Best,
    /// †.
    NotWorse,
    /// [`NONE`].
    Missing,
}

impl Sign {
    /// What it means.
    pub const fn english(self) -> &'static str {
        match self {
            Self::Spread => {
                "± is the standard deviation over seeds (their number); [ ] is the 95 % bootstrap interval over examples of one seed."
            }
            Self::Best => "Bold is the best of a column.",
            Self::NotWorse => {
                "† is not significantly different from the best at 5 % (paired randomisation for means over examples, \
                 paired bootstrap for correlations; Holm's correction over the models of a column)."
            }
            Self::Missing => "– is missing or undefined, and enters no average.",
        }
    }

    /// What it means, in Japanese.
    pub const fn japanese(self) -> &'static str {
        match self {
            Self::Spread => {
                "± はシードによる標準偏差（括弧内はその数）、[ ] は一つのシードでの事例に関する 95 % ブートストラップ区間。"
            }
            Self::Best => "太字は列の最良の値。",
            Self::NotWorse => {
                "† は最良の値と 5 % で有意な差がないもの（事例の平均は対応のある並べ替え検定、相関は対応のあるブートストラップ。列の中のモデルについて Holm の補正）。"
            }
            Self::Missing => "– は値がないか定義されないもので、平均に入らない。",
        }
    }
}

impl Leaderboard {
    /// Whether the table has a column of averages.
    pub fn has_average(&self) -> bool {
        !self.average_of.is_empty()
    }

    /// The average of a row in hundredths, or [`NONE`].
    pub fn average_text(average: Option<f64>) -> String {
        average.map_or_else(|| NONE.into(), |value| format!("{:.1}", 100.0 * value))
    }

    /// The signs of the table that need a word.
    pub fn signs(&self) -> Vec<Sign> {
        let cells = || self.rows.iter().flat_map(|row| &row.cells);
        let shown = [
            (Sign::Spread, true),
            (Sign::Best, cells().any(|cell| cell.is_best)),
            (Sign::NotWorse, cells().any(|cell| cell.p_holm.is_some())),
            (Sign::Missing, cells().any(|cell| cell.value.is_none())),
        ];
        shown.into_iter().filter(|(_, is_shown)| *is_shown).map(|(sign, _)| sign).collect()
    }

    /// What the signs mean, as sentences in English.
    pub fn legend(&self) -> Vec<&'static str> {
        self.signs().into_iter().map(Sign::english).collect()
    }

    /// Neighbouring columns of one task: its shown name, their notes and their range.
    pub fn groups(&self) -> Vec<(&Column, std::ops::Range<usize>)> {
        let mut start = 0;
        let range = |columns: &'_ [Column]| {
            start += columns.len();
            start - columns.len()..start
        };
        let groups: Vec<_> = self.columns.chunk_by(|a, b| a.task == b.task).collect();
        let ranges: Vec<_> = groups.iter().copied().map(range).collect();
        groups.into_iter().map(|columns| &columns[0]).zip(ranges).collect()
    }
}
