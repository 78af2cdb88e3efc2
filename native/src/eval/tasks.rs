//! The tasks of JGLUE and JCoLA, and a user's own of the same kinds: where their files lie, what an example is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anaume_core::heads::HeadKind;
use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::data::{DataFile, text};
use super::rows::{Row, rows};
use crate::exit::{Coded, Exit};

/// A task with all of its data.
pub struct Task {
    /// Name in results.
    pub name: String,
    /// Shown name.
    pub alias: String,
    /// What the model predicts.
    pub kind: Kind,
    /// Examples to train on.
    pub train: Vec<Example>,
    /// Examples to evaluate on: `valid` first, on which hyper-parameters are chosen.
    pub splits: Vec<(String, Vec<Example>)>,
    /// Files with their hashes.
    pub files: Vec<DataFile>,
    /// Limits of the data.
    pub notes: Vec<String>,
}

/// What is predicted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One of these labels.
    Classification(Vec<String>),
    /// A score.
    Regression,
    /// A part of the second text.
    Span,
    /// One of the choices.
    MultipleChoice,
}

impl Kind {
    /// The head for it.
    pub fn head(&self) -> HeadKind {
        match self {
            Self::Classification(labels) => HeadKind::Classification { num_labels: labels.len() },
            Self::Regression => HeadKind::Regression,
            Self::Span => HeadKind::Span,
            Self::MultipleChoice => HeadKind::MultipleChoice,
        }
    }
}

/// A labelled example.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// Its id in the data.
    pub id: String,
    /// The text, the first text, or the question.
    pub first: String,
    /// The second text, or the context.
    pub second: Option<String>,
    /// What can be chosen.
    pub choices: Vec<String>,
    /// The right answer.
    pub gold: Gold,
    /// What kinds of example it is, where the data says so.
    pub groups: Vec<String>,
}

/// A right answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Gold {
    /// Index of the label or choice.
    Class(usize),
    /// A score.
    Score(f64),
    /// Texts with their first byte in the context; any of them is right.
    Answers(Vec<(String, usize)>),
}

/// Names of the columns of a user's data.
#[derive(clap::Args, Clone, Debug)]
pub struct Columns {
    /// Column of the text, of the first text, or of the question
    #[arg(long, default_value = "sentence1", value_name = "COLUMN")]
    pub text: String,
    /// Column of the second text or of the context; a task of single texts has none
    #[arg(long, value_name = "COLUMN")]
    pub pair: Option<String>,
    /// Column of the label, the score, the answer's text, or the number of the right choice
    #[arg(long, default_value = "label", value_name = "COLUMN")]
    pub label: String,
    /// Columns of the choices
    #[arg(long, value_delimiter = ',', value_name = "COLUMNS")]
    pub choices: Vec<String>,
}

const JSTS_OVERLAP: &str = "725 of the 1,457 validation pairs of JSTS v1.3 are also JNLI training pairs: a model \
     pretrained or tuned on JNLI's text has seen them";
const JNLI_SUBSTITUTE: &str = "JNLI's train split is not at hand: trained on jnli-test, JNLI-Neg train and the rows of \
     the labelled subset that come from that repository's log; this is not JNLI and must not be compared with it";
const JCOLA_MAJORITY: &str =
    "always answering \"acceptable\" is right for most sentences: read the Matthews correlation";
const JSQUAD_SUBSTITUTE: &str =
    "JSQuAD's train split is not at hand: trained on JaQuAD's; this is not JSQuAD's own score";

/// Names of the tasks that have a definition.
pub const NAMED: [&str; 6] = ["jsts", "jnli", "jcola", "jsquad", "jcommonsenseqa", "marc-ja"];

/// A named task from a folder of data, its examples read. `None` where the folder has no file of it.
pub fn named(name: &str, data: &Path) -> anyhow::Result<Option<Task>> {
    let labels = |labels: &[&str]| Kind::Classification(labels.iter().map(|label| (*label).to_owned()).collect());
    let data = &crate::hub::data(data)?;
    let loader = Loader { data, files: Vec::new() };
    let pair = Fields { first: "sentence1", second: Some("sentence2"), choices: &[], label: "label" };
    let nli = labels(&["entailment", "contradiction", "neutral"]);
    match name {
        "jsts" => loader.task("jsts", "JSTS", Kind::Regression, &pair, &[JSTS_OVERLAP]),
        "jnli" if loader.find("jnli", "train")?.is_some() => loader.task("jnli", "JNLI", nli, &pair, &[]),
        "jnli" => jnli_substitute(loader, nli),
        "jcola" => jcola(loader, labels(&["unacceptable", "acceptable"])),
        "jsquad" => jsquad(loader),
        "jcommonsenseqa" => {
            let choices = ["choice0", "choice1", "choice2", "choice3", "choice4"].map(str::to_owned);
            let fields = Fields { first: "question", second: None, choices: &choices, label: "label" };
            loader.task("jcommonsenseqa", "JCommonsenseQA", Kind::MultipleChoice, &fields, &[])
        }
        "marc-ja" => {
            let fields = Fields { first: "sentence", second: None, choices: &[], label: "label" };
            loader.task("marc_ja", "MARC-ja", labels(&["positive", "negative"]), &fields, &[])
        }
        _ => bail!(Coded::error(Exit::Usage, format!("no task `{name}`; there are {}", NAMED.join(", ")))),
    }
}

/// A task of a user's own files.
pub fn own(
    kind: &str,
    name: String,
    train: &Path,
    evaluated: &[(&str, &Path)],
    columns: &Columns,
) -> anyhow::Result<Task> {
    let mut loader = Loader { data: Path::new(""), files: Vec::new() };
    let fields = Fields {
        first: &columns.text,
        second: columns.pair.as_deref(),
        choices: &columns.choices,
        label: &columns.label,
    };
    let train_rows = loader.rows(train)?;
    let kind = match kind {
        "classification" => Kind::Classification(label_names(&train_rows, fields.label)?),
        "regression" => Kind::Regression,
        "span" => Kind::Span,
        _ => Kind::MultipleChoice,
    };
    match kind {
        Kind::MultipleChoice if columns.choices.len() < 2 => {
            bail!(Coded::error(Exit::Usage, "name the columns of the choices with --choices a,b,c"));
        }
        Kind::Span if columns.pair.is_none() => {
            bail!(Coded::error(Exit::Usage, "name the column of the context with --pair"));
        }
        _ => {}
    }
    let examples = |rows: Vec<Row>| read_examples(&rows, &kind, &fields);
    let mut splits = Vec::new();
    for (split, path) in evaluated {
        let rows = loader.rows(path)?;
        splits.push(((*split).to_owned(), examples(rows)?));
    }
    let train = examples(train_rows)?;
    Ok(Task { alias: name.clone(), name, kind, train, splits, files: loader.files, notes: Vec::new() })
}

/// The labels of a column, sorted, or in their order as numbers.
fn label_names(rows: &[Row], column: &str) -> anyhow::Result<Vec<String>> {
    let names = rows.iter().map(|row| row.text(column)).collect::<anyhow::Result<BTreeSet<_>>>()?;
    let mut names: Vec<_> = names.into_iter().collect();
    if names.iter().all(|name| name.parse::<i64>().is_ok()) {
        names.sort_by_key(|name| name.parse::<i64>().unwrap_or_default());
    }
    match &names[..] {
        [only] => Err(rows[0].error(format!("every `{column}` is `{only}`; a classifier needs two labels"))),
        _ => Ok(names),
    }
}

/// Which columns make an example.
struct Fields<'a> {
    first: &'a str,
    second: Option<&'a str>,
    choices: &'a [String],
    label: &'a str,
}

struct Loader<'a> {
    data: &'a Path,
    files: Vec<DataFile>,
}

impl Loader<'_> {
    /// The file of a split, in the layouts of JGLUE's repository and of a flat folder.
    fn find(&self, task: &str, split: &str) -> anyhow::Result<Option<PathBuf>> {
        let patterns = [
            format!("*/{task}-{split}-v*.json*"),
            format!("{task}-{split}-v*.json*"),
            format!("{task}-v*/{split}-v*.json*"),
        ];
        self.first(&patterns.each_ref().map(String::as_str))
    }

    /// The first file that matches; the last of several versions.
    fn first(&self, patterns: &[&str]) -> anyhow::Result<Option<PathBuf>> {
        for pattern in patterns {
            let pattern = format!("{}/{pattern}", glob::Pattern::escape(&self.data.to_string_lossy()));
            let found = glob::glob(&pattern).context("a pattern of file names")?.collect::<Result<Vec<_>, _>>()?;
            if let Some(path) = found.into_iter().next_back() {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    fn rows(&mut self, path: &Path) -> anyhow::Result<Vec<Row>> {
        let path = &crate::hub::file(path)?;
        self.note(path)?;
        rows(path)
    }

    /// Remembers what a file held.
    fn note(&mut self, path: &Path) -> anyhow::Result<()> {
        self.files.push(DataFile::of(path)?);
        Ok(())
    }

    /// A task of JGLUE: train and valid, and test where it is there.
    fn task(
        mut self,
        stem: &str,
        alias: &str,
        kind: Kind,
        fields: &Fields<'_>,
        notes: &[&str],
    ) -> anyhow::Result<Option<Task>> {
        let (Some(train), Some(valid)) = (self.find(stem, "train")?, self.find(stem, "valid")?) else {
            return Ok(None);
        };
        let train = read_examples(&self.rows(&train)?, &kind, fields)?;
        let mut splits = vec![("valid".to_owned(), read_examples(&self.rows(&valid)?, &kind, fields)?)];
        if let Some(test) = self.find(stem, "test")? {
            splits.push(("test".into(), read_examples(&self.rows(&test)?, &kind, fields)?));
        }
        let (name, alias) = (stem.replace('_', "-"), alias.to_owned());
        Ok(Some(Task { name, alias, kind, train, splits, files: self.files, notes: owned(notes) }))
    }
}

fn owned(notes: &[&str]) -> Vec<String> {
    notes.iter().map(|note| (*note).to_owned()).collect()
}

fn jnli_substitute(mut loader: Loader<'_>, kind: Kind) -> anyhow::Result<Option<Task>> {
    let pair = Fields { first: "sentence1", second: Some("sentence2"), choices: &[], label: "label" };
    let negated = loader.first(&["*/jnli-neg-train-*.jsonl", "jnli-neg-train-*.jsonl"])?;
    let subset = loader.first(&["*/jnli-train-labelled-subset.jsonl", "jnli-train-labelled-subset.jsonl"])?;
    let (Some(test), Some(valid), Some(negated), Some(subset)) =
        (loader.find("jnli", "test")?, loader.find("jnli", "valid")?, negated, subset)
    else {
        return Ok(None);
    };
    let mut train = read_examples(&loader.rows(&test)?, &kind, &pair)?;
    let flat = |row: Row| {
        let sentence = |column| row.need(column)?.get("sentence").cloned().context("no sentence");
        let [first, second] = [sentence("sentence1"), sentence("sentence2")];
        let fields = json!({ "sentence1": first?, "sentence2": second?, "label": row.need("gold_label")? });
        Ok(Row::new(row.place, fields.as_object().cloned().unwrap_or_default()))
    };
    let negated = loader.rows(&negated)?.into_iter().map(flat).collect::<anyhow::Result<Vec<_>>>()?;
    train.extend(read_examples(&negated, &kind, &pair)?);
    let from_log = |row: &Row| row.get("from").and_then(Value::as_str) == Some("jnli-neg log");
    let subset: Vec<_> = loader.rows(&subset)?.into_iter().filter(from_log).collect();
    train.extend(read_examples(&subset, &kind, &pair)?);
    let splits = vec![("valid".to_owned(), read_examples(&loader.rows(&valid)?, &kind, &pair)?)];
    let name = "jnli-substitute".to_owned();
    let alias = "JNLI (substitute)".to_owned();
    Ok(Some(Task { name, alias, kind, train, splits, files: loader.files, notes: owned(&[JNLI_SUBSTITUTE]) }))
}

/// JCoLA; the out-of-domain split with its phenomena where they are annotated.
fn jcola(mut loader: Loader<'_>, kind: Kind) -> anyhow::Result<Option<Task>> {
    let fields = Fields { first: "sentence", second: None, choices: &[], label: "label" };
    let find =
        |loader: &Loader<'_>, name: &str| loader.first(&[&format!("*/{name}-v*.json*"), &format!("{name}-v*.json*")]);
    let (Some(train), Some(valid)) = (find(&loader, "in_domain_train")?, find(&loader, "in_domain_valid")?) else {
        return Ok(None);
    };
    let train = read_examples(&loader.rows(&train)?, &kind, &fields)?;
    let mut splits = vec![("valid".to_owned(), read_examples(&loader.rows(&valid)?, &kind, &fields)?)];
    let outside = match find(&loader, "out_of_domain_valid_annotated")? {
        None => find(&loader, "out_of_domain_valid")?,
        annotated => annotated,
    };
    if let Some(path) = outside {
        splits.push(("ood".into(), read_examples(&loader.rows(&path)?, &kind, &fields)?));
    }
    let (name, alias) = ("jcola".to_owned(), "JCoLA".to_owned());
    Ok(Some(Task { name, alias, kind, train, splits, files: loader.files, notes: owned(&[JCOLA_MAJORITY]) }))
}

/// JSQuAD; without its train split trained on JaQuAD, under another name.
fn jsquad(mut loader: Loader<'_>) -> anyhow::Result<Option<Task>> {
    let Some(valid) = loader.find("jsquad", "valid")? else { return Ok(None) };
    let own = loader.find("jsquad", "train")?;
    let (name, alias, train, notes) = match own {
        Some(train) => ("jsquad", "JSQuAD", squad(&mut loader, &train)?, Vec::new()),
        None => {
            let Some(train) = jaquad(&mut loader)? else { return Ok(None) };
            ("jsquad-substitute", "JSQuAD (substitute)", train, owned(&[JSQUAD_SUBSTITUTE]))
        }
    };
    let mut splits = vec![("valid".to_owned(), squad(&mut loader, &valid)?)];
    if let Some(test) = loader.find("jsquad", "test")? {
        splits.push(("test".into(), squad(&mut loader, &test)?));
    }
    let (name, alias) = (name.to_owned(), alias.to_owned());
    Ok(Some(Task { name, alias, kind: Kind::Span, train, splits, files: loader.files, notes }))
}

/// A file of SQuAD's form: `data[].paragraphs[].{context, qas[].{id, question, answers[]}}`.
fn squad(loader: &mut Loader<'_>, path: &Path) -> anyhow::Result<Vec<Example>> {
    loader.note(path)?;
    let document: Value = serde_json::from_str(&text(path)?)
        .map_err(|cause| Coded::error(Exit::Data, format!("{}: {cause}", path.display())))?;
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let mut examples = Vec::new();
    for paragraph in list(&document, "data").iter().flat_map(|article| list(article, "paragraphs")) {
        for qa in list(&paragraph, "qas") {
            let place = format!("{}: question {}", path.display(), qa["id"]);
            let answers = list(&qa, "answers");
            let answers = answers.iter().map(|answer| (answer["text"].as_str(), answer["answer_start"].as_u64()));
            let (context, question) = (paragraph["context"].as_str(), qa["question"].as_str());
            examples.push(span_example(&place, qa["id"].as_str(), question, context, answers)?);
        }
    }
    match examples.is_empty() {
        true => Err(Coded::error(Exit::Data, format!("{}: no question in the file", path.display()))),
        false => Ok(examples),
    }
}

fn span_example<'a>(
    place: &str,
    id: Option<&str>,
    question: Option<&str>,
    context: Option<&str>,
    answers: impl Iterator<Item = (Option<&'a str>, Option<u64>)>,
) -> anyhow::Result<Example> {
    let data_error = |message: &str| Coded::error(Exit::Data, format!("{place}: {message}"));
    let (Some(question), Some(context)) = (question, context) else {
        return Err(data_error("no question or no context"));
    };
    let mut gold = Vec::new();
    for (answer, start) in answers {
        let (Some(answer), Some(start)) = (answer, start) else {
            return Err(data_error("an answer without `text` or `answer_start`"));
        };
        // SQuAD counts code points.
        let byte = context.char_indices().nth(start as usize).map(|(byte, _)| byte);
        match byte.filter(|byte| context[*byte..].starts_with(answer)) {
            Some(byte) => gold.push((answer.to_owned(), byte)),
            None => return Err(data_error(&format!("the context does not have 「{answer}」 at {start}"))),
        }
    }
    if gold.is_empty() {
        return Err(data_error("no answer"));
    }
    let id = id.map_or_else(|| place.to_owned(), str::to_owned);
    let (first, second) = (question.to_owned(), Some(context.to_owned()));
    Ok(Example { id, first, second, choices: Vec::new(), gold: Gold::Answers(gold), groups: Vec::new() })
}

/// JaQuAD's train split as `questions.jsonl` and `contexts.jsonl`.
fn jaquad(loader: &mut Loader<'_>) -> anyhow::Result<Option<Vec<Example>>> {
    let (Some(questions), Some(contexts)) =
        (loader.first(&["jaquad/questions.jsonl*"])?, loader.first(&["jaquad/contexts.jsonl*"])?)
    else {
        return Ok(None);
    };
    let contexts = loader.rows(&contexts)?;
    let contexts = contexts.iter().map(|row| Ok((row.text("id")?, row.text("text")?)));
    let contexts = contexts.collect::<anyhow::Result<std::collections::BTreeMap<_, _>>>()?;
    let mut examples = Vec::new();
    for row in loader.rows(&questions)? {
        if row.text("split")? == "train" {
            let (id, context) = (row.text("id")?, contexts.get(&row.text("context_id")?).map(String::as_str));
            let answer = (row.get("answer").and_then(Value::as_str), row.get("answer_start").and_then(Value::as_u64));
            let question = row.get("question").and_then(Value::as_str);
            examples.push(span_example(&row.place, Some(&id), question, context, std::iter::once(answer))?);
        }
    }
    Ok(Some(examples))
}

/// Columns that are ids rather than kinds of example.
const IDS: [&str; 6] = ["sentence_pair_id", "uid", "q_id", "review_id", "id", "doc_id"];

fn read_examples(rows: &[Row], kind: &Kind, fields: &Fields<'_>) -> anyhow::Result<Vec<Example>> {
    rows.iter().enumerate().map(|(index, row)| read_example(row, index, kind, fields)).collect()
}

fn read_example(row: &Row, index: usize, kind: &Kind, fields: &Fields<'_>) -> anyhow::Result<Example> {
    let id = IDS.iter().find(|column| row.get(column).is_some()).map(|column| row.text(column)).transpose()?;
    let id = id.unwrap_or_else(|| index.to_string());
    let first = row.text(fields.first)?;
    let second = fields.second.map(|column| row.text(column)).transpose()?;
    if first.trim().is_empty() {
        return Err(row.error(format!("`{}` is empty", fields.first)));
    }
    if *kind == Kind::Span {
        let answer = (row.get(fields.label).and_then(Value::as_str), row.get("answer_start").and_then(Value::as_u64));
        let found = row.text("answer_start").ok().and_then(|start| start.parse().ok());
        let answer = (answer.0, answer.1.or(found));
        return span_example(&row.place, Some(&id), Some(&first), second.as_deref(), std::iter::once(answer));
    }
    let choices = fields.choices.iter().map(|column| row.text(column)).collect::<anyhow::Result<Vec<_>>>()?;
    let gold = match kind {
        Kind::Regression => Gold::Score(row.number(fields.label)?),
        Kind::Classification(labels) => Gold::Class(class_of(row, fields.label, labels)?),
        Kind::MultipleChoice | Kind::Span => Gold::Class(choice_of(row, fields.label, choices.len())?),
    };
    Ok(Example { id, first, second, choices, gold, groups: row.flags() })
}

fn class_of(row: &Row, column: &str, labels: &[String]) -> anyhow::Result<usize> {
    let text = row.text(column)?;
    let named = labels.iter().position(|label| *label == text);
    // Files that number their labels instead of naming them.
    let numbered = || text.parse::<usize>().ok().filter(|index| *index < labels.len());
    named.or_else(numbered).ok_or_else(|| row.error(format!("label `{text}` is none of {}", labels.join(", "))))
}

fn choice_of(row: &Row, column: &str, num_choices: usize) -> anyhow::Result<usize> {
    let text = row.text(column)?;
    let index = text.parse::<usize>().ok().filter(|index| *index < num_choices);
    index.ok_or_else(|| row.error(format!("`{column}` is `{text}`; the choices are 0 to {}", num_choices - 1)))
}
