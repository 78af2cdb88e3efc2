//! The similarity page: the cosines between sentences as a table, and the sentences on a map.

use anaume_core::config::Pooling;
use anaume_core::metrics::comparison::Comparison;
use anaume_core::plot::csv_field;
use anaume_core::report::share::{MAX_SENTENCES, Shared, SharedComparison, SharedModel, SharedSimilarity};
use leptos::prelude::*;
use leptos::task::spawn_local;
use serde::Deserialize;
use wasm_bindgen::JsValue;
use web_sys::KeyboardEvent;

use crate::app::{language, pick};
use crate::fetch;
use crate::models::Models;
use crate::passages;
use crate::protocol::{Compared, Failure, Reply, Request};
use crate::share::{ShareBar, SharedNote, Sharing};
use crate::texts::Language;

mod map;
mod matrix;

/// Pairs of the benchmark from this similarity on (0 to 5) say the same; below [`UNRELATED`] nothing of it.
const PARAPHRASE: f64 = 4.4;
const UNRELATED: f64 = 0.3;
/// Pairs of each kind in an example.
const PARAPHRASES: usize = 4;
const OTHERS: usize = 2;

/// A pair of the built-in benchmark.
#[derive(Deserialize)]
struct Pair {
    sentence1: String,
    sentence2: String,
    similarity: f64,
}

/// Paraphrases, then unrelated sentences: a list of the first sentences and one of the second.
fn examples() -> [Vec<String>; 2] {
    let lines = include_str!("../../../public/benchmark/pairs.jsonl").lines();
    let pairs: Vec<Pair> = lines.filter_map(|line| serde_json::from_str(line).ok()).collect();
    let alike = pairs.iter().filter(|pair| pair.similarity >= PARAPHRASE).take(PARAPHRASES);
    let others = pairs.iter().filter(|pair| pair.similarity < UNRELATED).take(OTHERS);
    alike
        .chain(others)
        .map(|pair| (pair.sentence1.clone(), pair.sentence2.clone()))
        .unzip::<_, _, Vec<_>, Vec<_>>()
        .into()
}

/// The examples in one list, those that belong together side by side.
fn one_list() -> Vec<String> {
    let [first, second] = examples();
    first.into_iter().zip(second).flat_map(<[String; 2]>::from).collect()
}

/// The sentences that were compared, and what came out.
#[derive(Clone)]
struct Answer {
    first: Vec<String>,
    second: Vec<String>,
    pooling: Pooling,
    model: SharedModel,
    comparison: Comparison,
    /// Time that it took; what was shared comes without.
    milliseconds: Option<f64>,
}

/// Where the comparison stands.
#[derive(Clone)]
enum Stage {
    Idle,
    /// Sentences that have a vector, and all.
    Busy(usize, usize),
    Done(Answer),
    Failed(Failure),
}

/// What the reader asks about.
#[derive(Clone, Copy)]
struct Question {
    first: RwSignal<String>,
    second: RwSignal<String>,
    pooling: RwSignal<Pooling>,
    /// Name of the chosen model; the first that is ready where that is not.
    model: RwSignal<String>,
}

impl Question {
    fn lists(self) -> [Vec<String>; 2] {
        [self.first, self.second].map(|text| passages::lines(&text.get_untracked()))
    }

    /// The state of the page, with the result if it answers this question.
    fn shared(self, stage: Stage) -> Shared {
        let ([first, second], pooling) = (self.lists(), self.pooling.get_untracked());
        let result = match stage {
            Stage::Done(answer) if (&answer.first, &answer.second, answer.pooling) == (&first, &second, pooling) => {
                Some(SharedComparison { model: answer.model, comparison: answer.comparison.rounded() })
            }
            _ => None,
        };
        Shared::Similarity(SharedSimilarity { first, second, pooling, result })
    }

    fn fill(self, [first, second]: [&[String]; 2]) {
        self.first.set(first.join("\n"));
        self.second.set(second.join("\n"));
    }
}

/// The page.
#[component]
pub fn SimilarityPage(
    /// The models.
    models: Models,
) -> impl IntoView {
    let language = language();
    let question = Question {
        first: RwSignal::new(String::new()),
        second: RwSignal::new(String::new()),
        pooling: RwSignal::new(Pooling::Mean),
        model: RwSignal::new(String::new()),
    };
    question.fill([&one_list(), &[]]);
    let stage = RwSignal::new(Stage::Idle);
    // Who computed a result that was shared.
    let used = RwSignal::new(None::<SharedModel>);
    let is_busy = move || stage.with(|stage| matches!(stage, Stage::Busy(..)));
    let compare = move || {
        let ready = untrack(|| models.ready_models());
        let chosen = ready.iter().find(|model| model.name == question.model.get_untracked()).or(ready.first());
        let Some(model) = chosen.cloned() else { return };
        if !untrack(is_busy) {
            used.set(None);
            spawn_local(run(models, model, question, stage));
        }
    };
    let stop = move || {
        models.stop();
        stage.set(Stage::Idle);
    };
    let sharing: Sharing = expect_context();
    Effect::new(move || {
        let Some(Shared::Similarity(page)) = sharing.opened.get() else { return };
        if untrack(is_busy) {
            models.stop();
        }
        let SharedSimilarity { first, second, pooling, result } = page;
        question.fill([&first, &second]);
        question.pooling.set(pooling);
        used.set(result.as_ref().map(|result| result.model.clone()));
        stage.set(result.map_or(Stage::Idle, |SharedComparison { model, comparison }| {
            Stage::Done(Answer { first, second, pooling, model, comparison, milliseconds: None })
        }));
    });
    view! {
        <section aria-label=pick("似ている度", "Similarity") id="similarity">
            <Sentences question compare/>
            <div class="row">
                <Choices models question/>
                <button class="primary" id="compare" on:click=move |_| compare()
                    disabled=move || models.ready().is_empty() || is_busy()>
                    {pick("比べる (Ctrl+Enter)", "Compare (Ctrl+Enter)")}
                </button>
                <button id="stop-compare" hidden=move || !is_busy() on:click=move |_| stop()>{pick("中止", "Cancel")}</button>
            </div>
            {move || used.get().map(|used| view! { <SharedNote models used=vec![used] again=compare/> })}
            // What changes many times a second is not read out.
            <div aria-live=move || if is_busy() { "off" } else { "polite" } id="compared">{move || stage_view(language.get(), stage.get())}</div>
            {move || match stage.get() {
                Stage::Done(answer) => Some(answer_view(language.get(), answer)),
                _ => None,
            }}
            <ShareBar state=move || question.shared(stage.get_untracked())/>
        </section>
    }
}

/// Asks the worker; the result is put in its place unless the reader has stopped it.
async fn run(models: Models, model: SharedModel, question: Question, stage: RwSignal<Stage>) {
    let ([first, second], pooling) = (question.lists(), question.pooling.get_untracked());
    let total = first.len() + second.len();
    if first.is_empty() || first.len().max(second.len()) > MAX_SENTENCES {
        let what =
            format!("a list holds 1 to {MAX_SENTENCES} sentences, these hold {} and {}", first.len(), second.len());
        return stage.set(Stage::Failed(Failure::new(what)));
    }
    stage.set(Stage::Busy(0, total));
    let progress = move |reply| {
        if let Reply::Embedding(done) = reply {
            stage.set(Stage::Busy(done, total));
        }
    };
    let request = Request::Compare { model: model.name.clone(), first: first.clone(), second: second.clone(), pooling };
    match models.ask_with(&request, &JsValue::UNDEFINED, progress).await {
        Some(Reply::Compared(Compared { comparison, milliseconds })) => {
            stage.set(Stage::Done(Answer {
                first,
                second,
                pooling,
                model,
                comparison,
                milliseconds: Some(milliseconds),
            }));
        }
        Some(Reply::Failed(failure)) => stage.set(Stage::Failed(failure)),
        // Stopped by the reader.
        _ => {}
    }
}

/// The two lists, and examples for them.
#[component]
fn Sentences(
    /// The lists.
    question: Question,
    /// Compares them.
    compare: impl Fn() + Copy + Send + 'static,
) -> impl IntoView {
    let on_key = move |event: KeyboardEvent| {
        // Enter that ends a conversion of the input method is not a question.
        let is_typing = event.is_composing() || event.key_code() == 229;
        if event.key() == "Enter" && (event.ctrl_key() || event.meta_key()) && !is_typing {
            event.prevent_default();
            compare();
        }
    };
    let area = move |id: &'static str, text: RwSignal<String>, label: [&'static str; 2]| {
        view! {
            <div>
                <label for=id>{pick(label[0], label[1])}</label>
                <textarea id=id rows="7" prop:value=text on:keydown=on_key
                    on:input=move |event| text.set(event_target_value(&event))></textarea>
            </div>
        }
    };
    let within = move |_| question.fill([&one_list(), &[]]);
    let across = move |_| {
        let [first, second] = examples();
        question.fill([&first, &second]);
    };
    view! {
        <div class="columns">
            {area("first", question.first, ["文 (1 行に 1 つ)", "Sentences (one a line)"])}
            {area("second", question.second, [
                "比べる相手 (空なら左の文どうし)",
                "To compare with (empty: the first list with itself)",
            ])}
        </div>
        <div class="row">
            <span class="soft">{pick("例:", "Examples:")}</span>
            <button class="small" id="example-within" on:click=within>{pick("1 つのリスト", "One list")}</button>
            <button class="small" id="example-across" on:click=across>{pick("2 つのリスト", "Two lists")}</button>
        </div>
    }
}

/// Which model, and how the vectors of tokens become one.
#[component]
fn Choices(
    /// The models.
    models: Models,
    /// What is asked.
    question: Question,
) -> impl IntoView {
    let names = move || {
        let option = |name: String| {
            let (value, label) = (name.clone(), name.clone());
            view! { <option value=value prop:selected=move || question.model.get() == name>{label}</option> }
        };
        models.ready().into_iter().map(option).collect_view()
    };
    let choose_pooling = move |event| {
        question.pooling.set(if event_target_value(&event) == "cls" { Pooling::Cls } else { Pooling::Mean });
    };
    let is_pooling = move |pooling| move || question.pooling.get() == pooling;
    view! {
        <label hidden=move || models.ready().len() < 2>
            {pick("モデル ", "Model ")}
            <select id="model" on:change=move |event| question.model.set(event_target_value(&event))>{names}</select>
        </label>
        <label>
            {pick("文のベクトル ", "Vector of a sentence ")}
            <select id="pooling" on:change=choose_pooling>
                <option value="mean" prop:selected=is_pooling(Pooling::Mean)>{pick("全トークンの平均", "mean of its tokens")}</option>
                <option value="cls" prop:selected=is_pooling(Pooling::Cls)>{pick("先頭のトークン [CLS]", "first token [CLS]")}</option>
            </select>
        </label>
    }
}

/// What is said while it is computed and once it is done.
fn stage_view(language: Language, stage: Stage) -> AnyView {
    match stage {
        Stage::Idle => ().into_any(),
        Stage::Busy(done, total) => view! {
            <progress max=total.to_string() value=done.to_string() aria-label=language.pick("計算しています", "Computing")/>
        }
        .into_any(),
        Stage::Failed(failure) => view! { <p class="error" role="alert">{language.failure(&failure)}</p> }.into_any(),
        Stage::Done(answer) => view! { <p class="soft" id="summary">{summary(language, &answer)}</p> }.into_any(),
    }
}

/// Who computed, the mean and the spread.
fn summary(language: Language, answer: &Answer) -> String {
    let Answer { model, comparison, milliseconds, .. } = answer;
    let time = milliseconds.map(|milliseconds| format!(" · {milliseconds:.0} ms")).unwrap_or_default();
    let number = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.3}"));
    let [mean, spread] = [comparison.mean, comparison.spread].map(number);
    match language {
        Language::Japanese => {
            format!("{} · 異なる文どうしのコサイン: 平均 {mean}、標準偏差 {spread}{time}", model.name)
        }
        Language::English => {
            format!("{} · cosines of different sentences: mean {mean}, standard deviation {spread}{time}", model.name)
        }
    }
}

fn answer_view(language: Language, answer: Answer) -> impl IntoView {
    let known = language.pick(
        "対照学習をしていないモデルでは、どの文のベクトルも互いに近くなります。値の高さではなく、順番を見てください。",
        "Vectors of a model without contrastive training are all much alike: look at the order of the values rather than at \
         their height.",
    );
    let csv = csv_of(&answer);
    let download = move |_| fetch::save("similarity.csv", fetch::blob("text/csv", &csv));
    view! {
        <p class="note">{known}</p>
        {matrix::view(language, &answer)}
        <div class="row"><button class="small" id="matrix-csv" on:click=download>{language.pick("表を CSV で保存", "Save the table as CSV")}</button></div>
        {map::view(language, &answer)}
    }
}

/// The table: a line for each sentence of the first list, a column for each of the second.
fn csv_of(answer: &Answer) -> String {
    let columns = if answer.comparison.is_within { &answer.first } else { &answer.second };
    let head = columns.iter().map(|text| csv_field(text)).collect::<Vec<_>>().join(",");
    let line = |(text, row): (&String, &Vec<f64>)| {
        let cosines = row.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
        format!("{},{cosines}\n", csv_field(text))
    };
    format!("sentence,{head}\n") + &answer.first.iter().zip(&answer.comparison.cosines).map(line).collect::<String>()
}
