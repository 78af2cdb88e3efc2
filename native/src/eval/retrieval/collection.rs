//! What is searched and by what: pairs, questions with their passages, and MIRACL, each from its own files.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::super::data::{DataFile, for_each_line, json};
use crate::exit::{Coded, Exit};

/// A query with its judgements.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Name without spaces.
    pub id: String,
    /// The text, without a prefix.
    pub text: String,
    /// Judged passages by docno; 0 is not relevant.
    pub judgements: Vec<(String, i32)>,
}

/// A passage that can be found.
#[derive(Clone, Debug, PartialEq)]
pub struct Passage {
    /// Name without spaces.
    pub docno: String,
    /// The text, without a prefix.
    pub text: String,
}

/// Queries and the passages they search.
#[derive(Clone, Debug, Default)]
pub struct Collection {
    /// Queries in the order of the data.
    pub queries: Vec<Query>,
    /// Passages in descending order of their docno: a search that breaks ties by position then breaks them as trec_eval
    /// does.
    pub passages: Vec<Passage>,
    /// Queries before a limit.
    pub num_original: usize,
    /// Where it comes from.
    pub files: Vec<DataFile>,
    /// What a reader of the figures must know.
    pub notes: Vec<String>,
}

/// Records with the numbers of their lines, and the name that errors call their file by.
pub struct Lines<T> {
    /// Name of the file in errors.
    pub name: String,
    /// Line from 1 and record.
    pub records: Vec<(u64, T)>,
}

impl<T> Lines<T> {
    /// The records, each with its place in the words of an error.
    fn placed(self) -> impl Iterator<Item = (String, T)> {
        self.records.into_iter().map(move |(line, record)| (format!("{}: line {line}", self.name), record))
    }
}

/// A text that searches its counterpart.
#[derive(Deserialize)]
pub struct Pair {
    query: String,
    positive: String,
}

/// A question beside the passage that answers it.
#[derive(Deserialize)]
pub struct QuestionPassage {
    id: Option<String>,
    question: String,
    passage: String,
}

/// A question that names its passage, as in JaQuAD's flat files.
#[derive(Deserialize)]
pub struct Question {
    id: String,
    context_id: String,
    question: String,
    split: Option<String>,
}

/// The passage of such questions.
#[derive(Deserialize)]
pub struct QuestionContext {
    id: String,
    text: String,
    split: Option<String>,
}

/// A topic with several sentences that all belong to it.
#[derive(Deserialize)]
pub struct Toy {
    id: String,
    query: String,
    relevant: Vec<String>,
}

/// SQuAD's JSON document (also JSQuAD's).
#[derive(Deserialize)]
struct Squad {
    data: Vec<SquadArticle>,
}

#[derive(Deserialize)]
struct SquadArticle {
    paragraphs: Vec<SquadParagraph>,
}

#[derive(Deserialize)]
struct SquadParagraph {
    context: String,
    qas: Vec<SquadQuestion>,
}

#[derive(Deserialize)]
struct SquadQuestion {
    id: String,
    question: String,
}

/// A line of MIRACL's corpus.
#[derive(Deserialize)]
struct MiraclPassage {
    docid: String,
    #[serde(default)]
    title: String,
    text: String,
}

/// Files of one split of MIRACL.
#[derive(Clone, Debug)]
pub struct MiraclFiles {
    /// `qid TAB query`.
    pub topics: PathBuf,
    /// `qid Q0 docid relevance`.
    pub qrels: PathBuf,
    /// JSON lines with `docid`, `title` and `text`, plain or compressed.
    pub corpus: Vec<PathBuf>,
}

impl Collection {
    /// The original's protocol: each query searches its own positive among the positives of all. `limit` pairs at most.
    pub fn of_pairs(pairs: Lines<Pair>, limit: Option<usize>) -> anyhow::Result<Self> {
        let mut new = Builder::new(pairs.records.len());
        for (place, pair) in pairs.placed().take(limit.unwrap_or(usize::MAX)) {
            let docno = new.passage(&place, None, pair.positive)?;
            new.query(&place, None, pair.query, vec![docno])?;
        }
        new.finish()
    }

    /// Questions that stand beside their passage.
    pub fn of_question_passages(lines: Lines<QuestionPassage>, limit: Option<usize>) -> anyhow::Result<Self> {
        let mut new = Builder::new(0);
        for (place, record) in lines.placed() {
            let docno = new.passage(&place, None, record.passage)?;
            new.query(&place, record.id, record.question, vec![docno])?;
        }
        new.limit(limit);
        new.finish()
    }

    /// Questions that name their passage. Where some are of the split `dev`, those alone count.
    pub fn of_questions(
        questions: Lines<Question>,
        contexts: Lines<QuestionContext>,
        limit: Option<usize>,
    ) -> anyhow::Result<Self> {
        let is_dev = |split: &Option<String>| split.as_deref() == Some("dev");
        let dev_alone = questions.records.iter().any(|(_, question)| is_dev(&question.split));
        let mut new = Builder::new(0);
        let mut docnos = HashMap::new();
        let contexts_name = contexts.name.clone();
        for (place, context) in contexts.placed() {
            if dev_alone && !is_dev(&context.split) {
                continue;
            }
            let docno = new.passage(&place, Some(context.id.clone()), context.text)?;
            if docnos.insert(context.id.clone(), docno).is_some() {
                return Err(bad(&place, format!("the id {} occurs twice", context.id)));
            }
        }
        for (place, question) in questions.placed() {
            if dev_alone && !is_dev(&question.split) {
                continue;
            }
            let Some(docno) = docnos.get(&question.context_id) else {
                return Err(bad(&place, format!("the context {} is not in {contexts_name}", question.context_id)));
            };
            new.query(&place, Some(question.id), question.question, vec![docno.clone()])?;
        }
        if dev_alone {
            new.collection.notes.push("the questions and passages of the split `dev` alone".into());
        }
        new.limit(limit);
        new.finish()
    }

    /// The questions of a SQuAD document, such as JSQuAD's. JSQuAD writes the title and `[SEP]` before each passage; here
    /// a line break stands for it.
    pub fn of_squad(path: &Path, limit: Option<usize>) -> anyhow::Result<Self> {
        let (squad, file) = json::<Squad>(path)?;
        let mut new = Builder::new(0);
        for (number, paragraph) in (1..).zip(squad.data.into_iter().flat_map(|article| article.paragraphs)) {
            let place = format!("{}: paragraph {number}", path.display());
            let docno = new.passage(&place, None, paragraph.context.replace(" [SEP] ", "\n"))?;
            for question in paragraph.qas {
                new.query(&place, Some(question.id), question.question, vec![docno.clone()])?;
            }
        }
        new.collection.files.push(file);
        new.limit(limit);
        new.finish()
    }

    /// The toy set: every sentence of a topic is relevant for its query.
    pub fn of_toy(lines: Lines<Toy>) -> anyhow::Result<Self> {
        let mut new = Builder::new(0);
        for (place, toy) in lines.placed() {
            let add = |text| new.passage(&place, None, text);
            let docnos = toy.relevant.into_iter().map(add).collect::<anyhow::Result<_>>()?;
            new.query(&place, Some(toy.id), toy.query, docnos)?;
        }
        new.limit(None);
        new.finish()
    }

    /// The official MIRACL task: title and text of a passage are joined by a space, as in MTEB. Every judged query counts.
    ///
    /// # Errors
    /// An id that occurs twice, a judgement of a query or passage that is not there, a line of another form.
    pub fn of_miracl(files: &MiraclFiles, limit: Option<usize>) -> anyhow::Result<Self> {
        let mut new = Builder::new(0);
        let mut docids = HashSet::new();
        for path in &files.corpus {
            let file = for_each_line(path, |_, line| {
                let passage: MiraclPassage = serde_json::from_str(line)?;
                let docno = plain_id(&passage.docid)?;
                anyhow::ensure!(docids.insert(docno.clone()), "the docid {docno} occurs twice");
                let text = format!("{} {}", passage.title, passage.text).trim().to_owned();
                anyhow::ensure!(!text.is_empty(), "the passage {docno} has no text");
                new.collection.passages.push(Passage { docno, text });
                Ok(())
            })?;
            new.collection.files.push(file);
        }
        let mut places = HashMap::new();
        let file = for_each_line(&files.topics, |_, line| {
            let (id, text) = line.split_once('\t').ok_or_else(|| anyhow::anyhow!("expected `qid TAB query`"))?;
            anyhow::ensure!(!text.trim().is_empty(), "the query {id} has no text");
            anyhow::ensure!(places.insert(id.to_owned(), places.len()).is_none(), "the query {id} occurs twice");
            let query = Query { id: plain_id(id)?, text: text.trim().into(), judgements: Vec::new() };
            new.collection.queries.push(query);
            Ok(())
        })?;
        new.collection.files.push(file);
        new.judge(files, &places, &docids)?;
        let all = new.collection.queries.len();
        new.collection.queries.retain(|query| !query.judgements.is_empty());
        if new.collection.queries.len() < all {
            let note =
                format!("{} of {all} queries have no judgement and do not count", all - new.collection.queries.len());
            new.collection.notes.push(note);
        }
        new.limit(limit);
        new.collection.num_original = all;
        new.finish()
    }
}

fn bad(place: &str, reason: impl std::fmt::Display) -> anyhow::Error {
    Coded::error(Exit::Data, format!("{place}: {reason}"))
}

/// A name that a run file can hold.
fn plain_id(id: &str) -> anyhow::Result<String> {
    anyhow::ensure!(
        !id.is_empty() && !id.contains(char::is_whitespace),
        "the id 「{id}」 is empty or has spaces in it"
    );
    Ok(id.to_owned())
}

/// A collection in the making, in which equal texts are one passage.
struct Builder {
    collection: Collection,
    docno_of_text: HashMap<String, String>,
    query_ids: HashSet<String>,
    num_repeats: usize,
}

impl Builder {
    fn new(num_original: usize) -> Self {
        let collection = Collection { num_original, ..Collection::default() };
        Self { collection, docno_of_text: HashMap::new(), query_ids: HashSet::new(), num_repeats: 0 }
    }

    /// Adds a passage unless its text is there already; the docno under which it is found.
    fn passage(&mut self, place: &str, id: Option<String>, text: String) -> anyhow::Result<String> {
        if text.trim().is_empty() {
            return Err(bad(place, "a passage has no text"));
        }
        if let Some(docno) = self.docno_of_text.get(&text) {
            self.num_repeats += 1;
            return Ok(docno.clone());
        }
        let docno = id.unwrap_or_else(|| format!("p{:07}", self.collection.passages.len() + 1));
        let docno = plain_id(&docno).map_err(|cause| bad(place, cause))?;
        self.docno_of_text.insert(text.clone(), docno.clone());
        self.collection.passages.push(Passage { docno: docno.clone(), text });
        Ok(docno)
    }

    fn query(&mut self, place: &str, id: Option<String>, text: String, relevant: Vec<String>) -> anyhow::Result<()> {
        let id = id.unwrap_or_else(|| format!("q{:07}", self.collection.queries.len() + 1));
        let id = plain_id(&id).map_err(|cause| bad(place, cause))?;
        if text.trim().is_empty() {
            return Err(bad(place, format!("the query {id} has no text")));
        }
        if !self.query_ids.insert(id.clone()) {
            return Err(bad(place, format!("the id {id} occurs twice")));
        }
        let judgements = relevant.into_iter().map(|docno| (docno, 1)).collect();
        self.collection.queries.push(Query { id, text, judgements });
        Ok(())
    }

    /// Reads judgements into the queries at these places.
    fn judge(
        &mut self,
        files: &MiraclFiles,
        places: &HashMap<String, usize>,
        docids: &HashSet<String>,
    ) -> anyhow::Result<()> {
        let (mut seen, mut unknown) = (HashSet::new(), Vec::new());
        let file = for_each_line(&files.qrels, |_, line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let &[id, _, docno, level] = fields.as_slice() else { anyhow::bail!("expected `qid Q0 docid relevance`") };
            let level = level.parse().map_err(|_| anyhow::anyhow!("the relevance {level} is not a whole number"))?;
            let place = places.get(id);
            let place = *place.ok_or_else(|| anyhow::anyhow!("the query {id} is not in {}", files.topics.display()))?;
            anyhow::ensure!(seen.insert((place, docno.to_owned())), "query {id} judges {docno} twice");
            if !docids.contains(docno) {
                unknown.push(docno.to_owned());
            }
            self.collection.queries[place].judgements.push((docno.to_owned(), level));
            Ok(())
        })?;
        self.collection.files.push(file);
        match unknown.first() {
            None => Ok(()),
            Some(first) => {
                let message = format!(
                    "{}: {} judgements are of passages that are not in the corpus, first {first}; give all files of the \
                     corpus ({} read, {} passages)",
                    files.qrels.display(),
                    unknown.len(),
                    files.corpus.len(),
                    docids.len()
                );
                Err(Coded::error(Exit::Data, message))
            }
        }
    }

    /// Keeps the first queries; all passages stay.
    fn limit(&mut self, limit: Option<usize>) {
        self.collection.num_original = self.collection.queries.len();
        self.collection.queries.truncate(limit.unwrap_or(usize::MAX));
    }

    fn finish(mut self) -> anyhow::Result<Collection> {
        if self.num_repeats > 0 {
            self.collection.notes.push(format!(
                "{} passages have the text of an earlier one and are the same passage",
                self.num_repeats
            ));
        }
        if self.collection.queries.is_empty() || self.collection.passages.is_empty() {
            let names: Vec<&str> = self.collection.files.iter().map(|file| file.name.as_str()).collect();
            return Err(Coded::error(Exit::Data, format!("{}: no query or no passage in it", names.join(", "))));
        }
        self.collection.passages.sort_unstable_by(|a, b| b.docno.cmp(&a.docno));
        Ok(self.collection)
    }
}
