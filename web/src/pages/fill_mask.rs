//! The fill-mask page: a text with masks in, the candidates of every model side by side.

use std::ops::Range;

use anaume_core::answer::{Candidate, Token};
use anaume_core::report::share::{Shared, SharedAnswer, SharedFillMask, SharedMask, SharedModel};
use anaume_core::tokenizer::char_offsets;
use leptos::html::Textarea;
use leptos::prelude::*;
use leptos::task::spawn_local;
use serde::Deserialize;
use web_sys::KeyboardEvent;

use crate::app::{language, pick};
use crate::models::Models;
use crate::protocol::{Failure, Filled, Reply, Request};
use crate::share::{ShareBar, SharedNote, Sharing};
use crate::texts::Language;

/// How a mask is written.
const MASK: &str = "[MASK]";
/// Candidates shown for a mask.
const TOP_K: usize = 5;
/// Characters that fit a button.
const LONGEST_EXAMPLE: usize = 100;

/// A prompt of the built-in benchmark.
#[derive(Deserialize)]
struct Prompt {
    category: String,
    text: String,
}

/// The first prompt of each category, long passages aside.
fn examples() -> Vec<String> {
    let lines = include_str!("../../../public/benchmark/fill_mask.jsonl").lines();
    let mut prompts: Vec<Prompt> = lines.filter_map(|line| serde_json::from_str(line).ok()).collect();
    prompts.retain(|prompt| prompt.text.chars().count() <= LONGEST_EXAMPLE);
    prompts.dedup_by(|next, kept| next.category == kept.category);
    prompts.into_iter().map(|prompt| prompt.text).collect()
}

/// What one model said.
#[derive(Clone)]
struct Answer {
    model: SharedModel,
    said: Result<Said, Failure>,
}

/// The candidates of a text's masks.
#[derive(Clone)]
struct Said {
    /// The text as asked.
    text: String,
    truncated: bool,
    masks: Vec<SharedMask>,
    /// The text's tokens and the time that the model took; a shared answer comes without.
    computed: Option<(Vec<Token>, f64)>,
}

impl Answer {
    /// An answer that somebody shared.
    fn shared(answer: SharedAnswer, text: &str) -> Self {
        let SharedAnswer { model, truncated, masks } = answer;
        Self { model, said: Ok(Said { text: text.to_owned(), truncated, masks, computed: None }) }
    }
}

impl Said {
    fn new(filled: Filled) -> Self {
        let Filled { answer, tokens, milliseconds } = filled;
        let places = tokens.iter().filter(|token| token.is_mask).map(|token| token.offsets.0..token.offsets.1);
        let mask = |(place, candidates): (Range<usize>, Vec<Candidate>)| SharedMask {
            place,
            candidates: candidates.into_iter().map(|one| (one.token.trim().to_owned(), one.probability)).collect(),
        };
        let masks = places.zip(answer.masks).map(mask).collect();
        Self { text: answer.text, truncated: answer.truncated, masks, computed: Some((tokens, milliseconds)) }
    }
}

/// The page for a link: the answers to what stands in the box, probabilities in five decimals.
fn shared(text: String, answers: Vec<Answer>) -> Shared {
    let rounded = |mut mask: SharedMask| {
        mask.candidates.iter_mut().for_each(|(_, share)| *share = (*share * 1e5).round() / 1e5);
        mask
    };
    let answer = |Answer { model, said }: Answer| {
        let said = said.ok().filter(|said| said.text == text)?;
        let masks = said.masks.into_iter().map(rounded).collect();
        Some(SharedAnswer { model, truncated: said.truncated, masks })
    };
    let answers = answers.into_iter().filter_map(answer).collect();
    Shared::FillMask(SharedFillMask { text, answers })
}

/// The page.
#[component]
pub fn FillMaskPage(
    /// The models.
    models: Models,
) -> impl IntoView {
    let language = language();
    let examples = examples();
    let text = RwSignal::new(examples.first().cloned().unwrap_or_default());
    let answers = RwSignal::new_local(Vec::<Answer>::new());
    // Number of the question that is being answered; an answer to an earlier one is not shown.
    let asked = RwSignal::new(0_u32);
    let is_busy = RwSignal::new(false);
    // Who computed a result that was shared.
    let used = RwSignal::new(Vec::<SharedModel>::new());
    let fill = move || {
        let asking = untrack(|| models.ready_models());
        if asking.is_empty() || is_busy.get_untracked() {
            return;
        }
        asked.update(|number| *number += 1);
        is_busy.set(true);
        used.set(Vec::new());
        answers.set(Vec::new());
        spawn_local(ask_all(models, asking, text.get_untracked(), asked, answers, is_busy));
    };
    let cancel = move || {
        asked.update(|number| *number += 1);
        is_busy.set(false);
        models.stop();
    };
    let sharing: Sharing = expect_context();
    Effect::new(move || {
        let Some(Shared::FillMask(page)) = sharing.opened.get() else { return };
        if is_busy.get_untracked() {
            cancel();
        }
        used.set(page.answers.iter().map(|answer| answer.model.clone()).collect());
        text.set(page.text.clone());
        answers.set(page.answers.into_iter().map(|answer| Answer::shared(answer, &page.text)).collect());
    });
    view! {
        <section aria-label=pick("穴埋め", "Fill-mask")>
            <TextBox text fill/>
            <div class="row">
                <button class="primary" id="fill" on:click=move |_| fill()
                    disabled=move || models.ready().is_empty() || is_busy.get()>
                    {pick("穴を埋める (Ctrl+Enter)", "Fill the masks (Ctrl+Enter)")}
                </button>
                <button id="cancel" on:click=move |_| cancel() hidden=move || !is_busy.get()>
                    {pick("中止", "Cancel")}
                </button>
                <span class="soft" aria-live="polite">
                    {move || is_busy.get().then(|| language.get().pick("計算しています…", "Computing…"))}
                    <span class="unseen">{move || {
                        let is_done = !is_busy.get() && !answers.with(Vec::is_empty);
                        is_done.then(|| language.get().pick("答えが出ました。", "The answer is there."))
                    }}</span>
                </span>
            </div>
        </section>
        {move || Some(used.get()).filter(|used| !used.is_empty()).map(|used| view! { <SharedNote models used again=fill/> })}
        <section id="answer" aria-label=pick("答え", "Answers")>
            {move || answers.get().into_iter().map(|answer| answer_view(language.get(), answer, text)).collect_view()}
        </section>
        <ShareBar state=move || shared(text.get_untracked(), answers.get_untracked())/>
        <section aria-label=pick("例文", "Examples")>
            <h2>{pick("例文", "Examples")}</h2>
            <div class="row">
                {examples.into_iter().map(|example| {
                    let shown = example.clone();
                    view! { <button class="example" on:click=move |_| text.set(example.clone())>{shown}</button> }
                }).collect_view()}
            </div>
        </section>
    }
}

/// Asks one model after another and shows each answer when it is there.
async fn ask_all(
    models: Models,
    asking: Vec<SharedModel>,
    text: String,
    asked: RwSignal<u32>,
    answers: RwSignal<Vec<Answer>, LocalStorage>,
    is_busy: RwSignal<bool>,
) {
    let number = asked.get_untracked();
    for model in asking {
        let request = Request::FillMask { model: model.name.clone(), text: text.clone(), top_k: TOP_K };
        let said = match models.ask(&request).await {
            Some(Reply::Filled(filled)) => Ok(Said::new(filled)),
            Some(Reply::Failed(failure)) => Err(failure),
            // Stopped by the reader.
            _ => return,
        };
        if asked.get_untracked() != number {
            return;
        }
        answers.update(|answers| answers.push(Answer { model, said }));
    }
    is_busy.set(false);
}

/// The text, a button for the mask, and a key to ask.
#[component]
fn TextBox(
    /// The text.
    text: RwSignal<String>,
    /// Asks the models.
    fill: impl Fn() + Copy + Send + 'static,
) -> impl IntoView {
    let area: NodeRef<Textarea> = NodeRef::new();
    let insert_mask = move || {
        let Some(area) = area.get_untracked() else { return };
        let [start, end] = [area.selection_start(), area.selection_end()].map(|end| end.ok().flatten().unwrap_or(0));
        // The browser's own way of editing: it counts in its own units and leaves the caret behind the mask.
        if area.set_range_text_with_start_and_end_and_mode(MASK, start, end, "end").is_ok() {
            text.set(area.value());
        }
        // Without focus the reader clicks once more.
        let _ = area.focus();
    };
    let on_key = move |event: KeyboardEvent| {
        // Keys of an input method's conversion are not commands.
        if event.is_composing() || event.key_code() == 229 || !(event.ctrl_key() || event.meta_key()) {
            return;
        }
        match event.key().as_str() {
            "Enter" => fill(),
            "m" | "M" => insert_mask(),
            _ => return,
        }
        event.prevent_default();
    };
    view! {
        <label for="text">{pick("穴のある文", "Text with masks")}</label>
        <textarea id="text" rows="3" node_ref=area prop:value=text on:keydown=on_key
            on:input=move |event| text.set(event_target_value(&event))></textarea>
        <div class="row">
            <button id="insert" on:click=move |_| insert_mask()>
                {pick("穴 [MASK] を入れる (Ctrl+M)", "Insert [MASK] (Ctrl+M)")}
            </button>
        </div>
    }
}

fn answer_view(language: Language, answer: Answer, text: RwSignal<String>) -> impl IntoView {
    let Answer { model, said } = answer;
    let body = match said {
        Err(failure) => view! { <p class="error" role="alert">{language.failure(&failure)}</p> }.into_any(),
        Ok(said) => said_view(language, &said, text).into_any(),
    };
    let name = model.name.clone();
    view! { <article class="answer" data-model=model.name><h2>{name}</h2>{body}</article> }
}

fn said_view(language: Language, said: &Said, text: RwSignal<String>) -> impl IntoView + use<> {
    let tables = said.masks.iter().enumerate().map(|(index, mask)| {
        let (asked, place) = (said.text.clone(), mask.place.clone());
        let fill_in = move |token: &str| {
            // Only into the text that was asked about: in another one the mask stands elsewhere.
            if text.with_untracked(|now| *now == asked) {
                text.set(format!("{}{token}{}", &asked[..place.start], &asked[place.end..]));
            }
        };
        mask_table(language, index + 1, &mask.candidates, fill_in)
    });
    let cut = said.truncated.then(|| {
        let japanese = "文が長いので、最後の穴より後ろを切りました。";
        let english = "The text is longer than the model takes; what follows the last mask was cut.";
        view! { <p class="soft">{language.pick(japanese, english)}</p> }
    });
    let computed = said.computed.as_ref().map(|(tokens, milliseconds)| {
        view! {
            {token_strip(&said.text, tokens)}
            <p class="soft">{format!("{milliseconds:.0} ms · {} tokens", tokens.len())}</p>
        }
    });
    view! { {tables.collect_view()} {cut} {computed} }
}

fn mask_table(
    language: Language,
    number: usize,
    candidates: &[(String, f64)],
    fill_in: impl Fn(&str) + Clone + 'static,
) -> AnyView {
    let row = |(token, probability): &(String, f64)| {
        let (fill_in, chosen, shown) = (fill_in.clone(), token.clone(), token.clone());
        view! {
            <tr data-token=token.clone() data-probability=probability.to_string()>
                <td><button class="candidate" on:click=move |_| fill_in(&chosen)>{shown}</button></td>
                <td><meter min="0" max="1" value=probability.to_string() aria-hidden="true"></meter></td>
                <td>{format!("{:.1} %", probability * 100.0)}</td>
            </tr>
        }
    };
    let rows = candidates.iter().map(row).collect_view();
    view! { <table><caption>{language.mask(number)}</caption><tbody>{rows}</tbody></table> }.into_any()
}

/// The tokens in order, with id and place in the text, counted in characters, at the pointer.
fn token_strip(text: &str, tokens: &[Token]) -> impl IntoView + use<> {
    let offsets: Vec<_> = tokens.iter().map(|token| token.offsets).collect();
    let token = |(token, (start, end)): (&Token, (usize, usize))| {
        let place = if start == end { String::new() } else { format!(" · {start}–{end}") };
        let class = if token.is_mask { "token mask" } else { "token" };
        view! { <span class=class title=format!("{}{place}", token.id)>{token.piece.clone()}</span> }
    };
    let shown = tokens.iter().zip(char_offsets(text, &offsets)).map(token).collect_view();
    view! { <p class="tokens" lang="ja">{shown}</p> }
}
