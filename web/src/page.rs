//! The fill-mask page.

use anaume_core::infer::{Candidate, FillMask};
use leptos::html::Textarea;
use leptos::prelude::*;
use leptos::task::spawn_local;
use serde::Deserialize;
use wasm_bindgen::JsCast;
use web_sys::{HtmlInputElement, KeyboardEvent};

use crate::engine::{self, Source, State};
use crate::texts::Language;

/// How a mask is written.
const MASK: &str = "[MASK]";

/// A prompt of the built-in benchmark.
#[derive(Deserialize)]
struct Prompt {
    category: String,
    text: String,
}

/// Characters that fit a button.
const LONGEST_EXAMPLE: usize = 100;

/// The first prompt of each category, long passages aside.
fn examples() -> Vec<String> {
    let lines = include_str!("../../public/benchmark/fill_mask.jsonl").lines();
    let mut prompts: Vec<Prompt> = lines.filter_map(|line| serde_json::from_str(line).ok()).collect();
    prompts.retain(|prompt| prompt.text.chars().count() <= LONGEST_EXAMPLE);
    prompts.dedup_by(|next, kept| next.category == kept.category);
    prompts.into_iter().map(|prompt| prompt.text).collect()
}

/// The answer to the last question.
#[derive(Clone)]
enum Answer {
    None,
    Computing,
    Filled(FillMask, f64),
    Failed(String),
}

/// Text with masks in, candidates out.
#[component]
pub fn FillMaskPage() -> impl IntoView {
    let language = RwSignal::new(Language::of_browser());
    let pick = move |japanese: &'static str, english: &'static str| move || language.get().pick(japanese, english);
    let state = RwSignal::new_local(State::Empty);
    let answer = RwSignal::new_local(Answer::None);
    let examples = examples();
    let text = RwSignal::new(examples.first().cloned().unwrap_or_default());

    Effect::new(move || {
        if let Some(root) = document().document_element() {
            // A page whose language cannot be named is still readable.
            let _ = root.set_attribute("lang", language.get().pick("ja", "en"));
        }
    });
    let load = move |source| spawn_local(engine::load(source, move |now| state.set(now)));
    let fill = move || {
        if let Some(model) = state.with(State::model).filter(|_| !matches!(answer.get(), Answer::Computing)) {
            answer.set(Answer::Computing);
            spawn_local(async move {
                engine::next_task().await;
                let start = js_sys::Date::now();
                let filled = model.fill_mask(text.get_untracked()).await;
                let milliseconds = js_sys::Date::now() - start;
                answer.set(filled.map_or_else(Answer::Failed, |filled| Answer::Filled(filled, milliseconds)));
            });
        }
    };

    view! {
        <main>
            <header>
                <h1>"穴埋め " <small>"Anaume"</small></h1>
                <p>{pick(
                    "文の穴に入る言葉を、日本語 ModernBERT がこのブラウザの中で答えます。文はどこにも送られません。",
                    "Japanese ModernBERT fills the masks of a sentence inside this browser. No text leaves it.",
                )}</p>
                <button on:click=move |_| language.update(|now| *now = other(*now))>
                    {pick("English", "日本語")}
                </button>
            </header>
            <ModelSection language state load/>
            <section aria-label=pick("穴埋め", "Fill-mask")>
                <TextBox language text fill is_ready=move || state.with(|state| state.model().is_some())/>
            </section>
            <section aria-live="polite" id="answer">
                {move || answer_view(language.get(), answer.get())}
            </section>
            <section>
                <h2>{pick("例文", "Examples")}</h2>
                <div class="row">
                    {examples.into_iter().map(|example| {
                        let shown = example.clone();
                        view! { <button class="example" on:click=move |_| text.set(example.clone())>{shown}</button> }
                    }).collect_view()}
                </div>
            </section>
        </main>
    }
}

const fn other(language: Language) -> Language {
    match language {
        Language::Japanese => Language::English,
        Language::English => Language::Japanese,
    }
}

/// Which model is loaded, and how to load one.
#[component]
fn ModelSection(
    /// Language of the page.
    language: RwSignal<Language>,
    /// Where the model stands.
    state: RwSignal<State, LocalStorage>,
    /// Starts loading.
    load: impl Fn(Source) + Copy + Send + 'static,
) -> impl IntoView {
    let pick = move |japanese: &'static str, english: &'static str| move || language.get().pick(japanese, english);
    let is_busy = move || state.with(State::is_busy);
    let choose = move |event: leptos::ev::Event| {
        let input = event.target().map(|target| target.unchecked_into::<HtmlInputElement>());
        if let Some(files) = input.and_then(|input| input.files()).filter(|files| files.length() > 0) {
            load(Source::Files(files));
        }
    };
    view! {
        <section aria-label=pick("モデル", "Model")>
            <div class="row">
                <button id="load" disabled=is_busy on:click=move |_| load(Source::Site)>
                    {pick("このサイトのモデルを読み込む", "Load the model of this site")}
                </button>
                <label class="file">
                    {pick("手元のモデルを開く", "Open a model of your own")}
                    <input type="file" multiple disabled=is_busy on:change=choose/>
                </label>
            </div>
            <p class="soft">{pick(
                "手元のモデルは config.json・tokenizer.json・model.safetensors をまとめて選びます。",
                "Of your own model choose config.json, tokenizer.json and model.safetensors together.",
            )}</p>
            <div aria-live="polite" id="state">{move || state_view(language.get(), state.get())}</div>
        </section>
    }
}

fn state_view(language: Language, state: State) -> AnyView {
    match state {
        State::Empty => ().into_any(),
        State::Fetching { file, done, total } => view! {
            <p>{language.progress(file, done, total)}</p>
            <progress max=total.map(|total| total.to_string()) value=total.map(|_| done.to_string())/>
        }
        .into_any(),
        State::Preparing => {
            view! { <p>{language.pick("モデルを準備しています…", "Preparing the model…")}</p> }.into_any()
        }
        State::Ready(model) => view! { <p data-device=model.device data-origin=model.origin.name()>
            {language.ready(model.origin, model.device)}
        </p> }
        .into_any(),
        State::Failed(cause) => view! { <p class="error" role="alert">{language.failure(&cause)}</p> }.into_any(),
    }
}

/// The text, a button for the mask, and a key to ask.
#[component]
fn TextBox(
    /// Language of the page.
    language: RwSignal<Language>,
    /// The text.
    text: RwSignal<String>,
    /// Asks the model.
    fill: impl Fn() + Copy + Send + 'static,
    /// Whether there is a model to ask.
    is_ready: impl Fn() -> bool + Copy + Send + Sync + 'static,
) -> impl IntoView {
    let pick = move |japanese: &'static str, english: &'static str| move || language.get().pick(japanese, english);
    let area: NodeRef<Textarea> = NodeRef::new();
    let insert_mask = move |_| {
        let Some(area) = area.get() else { return };
        let whole = area.value();
        // The browser counts UTF-16 units.
        let caret = area.selection_start().ok().flatten().unwrap_or(0) as usize;
        let units: Vec<u16> = whole.encode_utf16().collect();
        let [before, after] = [&units[..caret], &units[caret..]].map(String::from_utf16_lossy);
        text.set(format!("{before}{MASK}{after}"));
        // Without focus the reader clicks once more.
        let _ = area.focus();
    };
    let on_key = move |event: KeyboardEvent| {
        // Enter that ends a conversion of the input method is not a question.
        if event.key() == "Enter" && (event.ctrl_key() || event.meta_key()) && !event.is_composing() {
            event.prevent_default();
            fill();
        }
    };
    view! {
        <label for="text">{pick("穴のある文", "Text with masks")}</label>
        <textarea id="text" rows="3" node_ref=area prop:value=text on:keydown=on_key
            on:input=move |event| text.set(event_target_value(&event))></textarea>
        <div class="row">
            <button id="insert" on:click=insert_mask>{pick("穴 [MASK] を入れる", "Insert [MASK]")}</button>
            <button class="primary" id="fill" on:click=move |_| fill() disabled=move || !is_ready()>
                {pick("穴を埋める (Ctrl+Enter)", "Fill the masks (Ctrl+Enter)")}
            </button>
        </div>
    }
}

fn answer_view(language: Language, answer: Answer) -> AnyView {
    match answer {
        Answer::None => ().into_any(),
        Answer::Computing => view! { <p>{language.pick("計算しています…", "Computing…")}</p> }.into_any(),
        Answer::Failed(cause) => view! { <p class="error" role="alert">{language.failure(&cause)}</p> }.into_any(),
        Answer::Filled(filled, milliseconds) => {
            let cut = "文が長いので、最後の穴より後ろを切りました。";
            let cut_english = "The text is longer than the model takes; what follows the last mask was cut.";
            let tables = filled.masks.iter().enumerate().map(|(index, mask)| mask_table(language, index + 1, mask));
            view! {
                {tables.collect_view()}
                {filled.truncated.then(|| view! { <p class="soft">{language.pick(cut, cut_english)}</p> })}
                <p class="soft">{format!("{milliseconds:.0} ms")}</p>
            }
            .into_any()
        }
    }
}

fn mask_table(language: Language, number: usize, candidates: &[Candidate]) -> impl IntoView + use<> {
    let row = |candidate: &Candidate| {
        let (token, probability) = (candidate.token.trim().to_owned(), candidate.probability);
        view! {
            <tr data-token=token.clone() data-probability=probability.to_string()>
                <td>{token.clone()}</td>
                <td><meter min="0" max="1" value=probability.to_string()></meter></td>
                <td>{format!("{:.1} %", probability * 100.0)}</td>
            </tr>
        }
    };
    let rows = candidates.iter().map(row).collect_view();
    view! { <table><caption>{language.mask(number)}</caption><tbody>{rows}</tbody></table> }
}
