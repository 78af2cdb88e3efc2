//! The retrieval page: passages in, the nearest by meaning beside the best by words.

use std::ops::Range;

use anaume_core::report::share::{Hit, Shared, SharedHits, SharedModel, SharedRetrieval};
use leptos::prelude::*;
use leptos::task::spawn_local;
use wasm_bindgen::JsValue;
use web_sys::KeyboardEvent;

use crate::app::{language, pick};
use crate::fetch;
use crate::models::Models;
use crate::passages;
use crate::protocol::{Failure, Found, IndexInfo, Reply, Request};
use crate::share::{ShareBar, SharedNote, Sharing};
use crate::texts::Language;

/// Passages shown of each way of searching.
const TOP_K: usize = 10;

/// Where the index stands.
#[derive(Clone)]
enum Index {
    None,
    /// Passages that have a vector, and all.
    Growing(usize, usize),
    Ready(IndexInfo),
    Failed(Failure),
}

/// What was found for which query.
#[derive(Clone)]
struct Answer {
    query: String,
    /// Who made the vectors.
    model: Option<SharedModel>,
    said: Result<Found, Failure>,
}

/// The page for a link, with the hits if they are those of the query in the box.
fn shared(passages: String, query: String, answer: Option<Answer>) -> Shared {
    let found = answer.filter(|answer| answer.query == query).and_then(|answer| {
        let Found { by_meaning, by_words, .. } = answer.said.ok()?;
        Some(SharedHits { model: answer.model?, by_meaning, by_words })
    });
    Shared::Retrieval(SharedRetrieval { passages: Some(passages), query, found })
}

/// The page.
#[component]
pub fn RetrievalPage(
    /// The models.
    models: Models,
) -> impl IntoView {
    let language = language();
    let text = RwSignal::new(passages::built_in().join("\n\n"));
    let index = RwSignal::new_local(Index::None);
    let found = RwSignal::new_local(None::<Answer>);
    let query = RwSignal::new(String::new());
    // Who computed hits that were shared.
    let used = RwSignal::new(None::<SharedModel>);
    let is_growing = move || index.with(|index| matches!(index, Index::Growing(..)));
    let search = move || {
        let asked = query.get_untracked();
        if asked.trim().is_empty() || !index.with_untracked(|index| matches!(index, Index::Ready(_))) {
            return;
        }
        let made_by = index
            .with_untracked(|index| if let Index::Ready(info) = index { info.model.clone() } else { String::new() });
        let model = untrack(|| models.ready_models()).into_iter().find(|model| model.name == made_by);
        spawn_local(async move {
            let reply = models.ask(&Request::Search { query: asked.clone(), top_k: TOP_K }).await;
            // The answer to what stands in the box now.
            if query.get_untracked() == asked {
                let answer = |said| Answer { query: asked, model, said };
                used.set(None);
                found.set(match reply {
                    Some(Reply::Found(hits)) => Some(answer(Ok(hits))),
                    Some(Reply::Failed(failure)) => Some(answer(Err(failure))),
                    _ => None,
                });
            }
        });
    };
    let make = move || {
        let Some(model) = untrack(|| models.ready()).into_iter().next() else { return };
        let passages = passages::plain(&text.get_untracked());
        found.set(None);
        used.set(None);
        spawn_local(async move {
            index.set(make_index(models, model, passages, index).await);
            search();
        });
    };
    let on_key = move |event: KeyboardEvent| {
        // Enter that ends a conversion of the input method is not a question.
        if event.key() == "Enter" && !event.is_composing() && event.key_code() != 229 {
            search();
        }
    };
    let stop = move || {
        models.stop();
        index.set(Index::None);
    };
    let sharing: Sharing = expect_context();
    Effect::new(move || {
        let Some(Shared::Retrieval(page)) = sharing.opened.get() else { return };
        text.set(page.passages.unwrap_or_default());
        query.set(page.query.clone());
        used.set(page.found.as_ref().map(|found| found.model.clone()));
        found.set(page.found.map(|SharedHits { model, by_meaning, by_words }| {
            let said = Ok(Found { by_meaning, by_words, milliseconds: None });
            Answer { query: page.query, model: Some(model), said }
        }));
    });
    view! {
        <section aria-label=pick("検索", "Retrieval") id="retrieval">
            <label for="passages">{pick(
                "文書 (空行で区切るか、1 行に 1 つ)",
                "Passages (apart by empty lines, or one a line)",
            )}</label>
            <textarea id="passages" rows="6" prop:value=text
                on:input=move |event| text.set(event_target_value(&event))></textarea>
            <div class="row">
                <button class="primary" id="make-index" on:click=move |_| make()
                    disabled=move || models.ready().is_empty() || is_growing()>
                    {pick("索引を作る", "Make the index")}
                </button>
                <button id="stop-index" hidden=move || !is_growing() on:click=move |_| stop()>
                    {pick("中止", "Cancel")}
                </button>
                <Files text index models/>
            </div>
            // What changes many times a second is not read out.
            <div aria-live=move || if is_growing() { "off" } else { "polite" } id="index">
                {move || index_view(language.get(), index.get())}
            </div>
            <label for="query">{pick("検索する文", "Query")}</label>
            <input id="query" type="search" prop:value=query on:keydown=on_key
                on:input=move |event| query.set(event_target_value(&event))/>
            <div class="row">
                <button class="primary" id="search" on:click=move |_| search()
                    disabled=move || index.with(|index| !matches!(index, Index::Ready(_)))>
                    {pick("検索 (Enter)", "Search (Enter)")}
                </button>
            </div>
            {move || used.get().map(|used| view! { <SharedNote models used=vec![used] again=make/> })}
            <p class="unseen" role="status">{move || {
                let is_found = found.with(|found| found.as_ref().is_some_and(|answer| answer.said.is_ok()));
                is_found.then(|| language.get().pick("見つかりました。", "Found."))
            }}</p>
            <div id="found">{move || found.get().map(|found| found_view(language.get(), found))}</div>
            <ShareBar state=move || shared(text.get_untracked(), query.get_untracked(), found.get_untracked())/>
        </section>
    }
}

async fn make_index(
    models: Models,
    model: String,
    passages: Vec<String>,
    index: RwSignal<Index, LocalStorage>,
) -> Index {
    let total = passages.len();
    if total == 0 {
        return Index::Failed(Failure::new("there are no passages"));
    }
    index.set(Index::Growing(0, total));
    let progress = move |reply| {
        if let Reply::Embedding(done) = reply {
            index.set(Index::Growing(done, total));
        }
    };
    let request = Request::Index { model, passages };
    indexed(models.ask_with(&request, &JsValue::UNDEFINED, progress).await)
}

fn indexed(reply: Option<Reply>) -> Index {
    match reply {
        Some(Reply::Indexed(info)) => Index::Ready(info),
        Some(Reply::Failed(failure)) => Index::Failed(failure),
        // Stopped by the reader.
        _ => Index::None,
    }
}

/// Passages and indices from files, and the index as a file.
#[component]
fn Files(
    /// The passages.
    text: RwSignal<String>,
    /// The index.
    index: RwSignal<Index, LocalStorage>,
    /// The models.
    models: Models,
) -> impl IntoView {
    let read = move |event: leptos::ev::Event| {
        for file in fetch::chosen(&event) {
            spawn_local(async move {
                match fetch::text_of(&file).await.and_then(|content| passages::parse(&file.name(), &content)) {
                    // A passage of several lines stays one.
                    Ok(found) => {
                        text.set(found.iter().map(|one| one.replace('\n', " ")).collect::<Vec<_>>().join("\n\n"))
                    }
                    Err(failure) => index.set(Index::Failed(failure)),
                }
            });
        }
    };
    let open = move |event: leptos::ev::Event| {
        for file in fetch::chosen(&event) {
            spawn_local(async move { index.set(indexed(models.ask_with(&Request::OpenIndex, &file, |_| ()).await)) });
        }
    };
    let save = move |_| {
        spawn_local(async move {
            match models.ask(&Request::SaveIndex).await {
                Some(Reply::Saved(url)) => fetch::save_as("index.safetensors", &url),
                Some(Reply::Failed(failure)) => index.set(Index::Failed(failure)),
                _ => {}
            }
        });
    };
    view! {
        <label class="file">
            {pick("文書を開く (txt, jsonl, csv)", "Open passages (txt, jsonl, csv)")}
            <input type="file" id="open-passages" accept=".txt,.jsonl,.csv,.tsv" on:change=read/>
        </label>
        <label class="file">
            {pick("索引を開く", "Open an index")}
            <input type="file" id="open-index" accept=".safetensors" on:change=open/>
        </label>
        <button id="save-index" on:click=save disabled=move || index.with(|index| !matches!(index, Index::Ready(_)))>
            {pick("索引を保存", "Save the index")}
        </button>
    }
}

fn index_view(language: Language, index: Index) -> AnyView {
    match index {
        Index::None => {
            let japanese = "索引はまだありません。上でモデルを読み込み、索引を作ってください。";
            let english = "No index yet: load a model above and make it.";
            view! { <p class="soft">{language.pick(japanese, english)}</p> }.into_any()
        }
        Index::Growing(done, total) => view! {
            <p class="soft">{format!("{done} / {total}")}</p>
            <progress max=total.to_string() value=done.to_string() aria-label=language.pick("索引を作っています", "Making the index")/>
        }
        .into_any(),
        Index::Ready(info) => {
            view! { <p class="soft" data-passages=info.num_passages.to_string()>{language.indexed(&info)}</p> }
                .into_any()
        }
        Index::Failed(failure) => view! { <p class="error" role="alert">{language.failure(&failure)}</p> }.into_any(),
    }
}

fn found_view(language: Language, answer: Answer) -> AnyView {
    let found = match answer.said {
        Ok(found) => found,
        Err(failure) => return view! { <p class="error" role="alert">{language.failure(&failure)}</p> }.into_any(),
    };
    let none = || view! { <p class="soft">{language.pick("ありません。", "None.")}</p> };
    let column = |name: &'static str, kind: &'static str, hits: &[Hit]| {
        let empty = hits.is_empty().then(none);
        let hits = hits.iter().map(hit_view).collect_view();
        view! { <article class="answer" data-by=kind><h2>{name}</h2>{empty}<ol class="hits">{hits}</ol></article> }
    };
    view! {
        <div class="columns" data-query=answer.query>
            {column(language.pick("意味で (コサイン類似度)", "By meaning (cosine)"), "meaning", &found.by_meaning)}
            {column(language.pick("言葉で (BM25)", "By words (BM25)"), "words", &found.by_words)}
        </div>
        <p class="soft">{found.milliseconds.map(|milliseconds| format!("{milliseconds:.0} ms"))}</p>
    }
    .into_any()
}

fn hit_view(hit: &Hit) -> impl IntoView + use<> {
    view! {
        <li data-number=hit.number.to_string() data-score=hit.score.to_string()>
            <span class="score">{format!("{:.3}", hit.score)}</span>" "{marked(&hit.text, &hit.shared)}
        </li>
    }
}

/// The text with what it shares with the query marked.
fn marked(text: &str, shared: &[Range<usize>]) -> impl IntoView + use<> {
    let mut parts = Vec::new();
    let mut end = 0;
    for range in shared {
        parts.push(text[end..range.start].to_owned().into_any());
        parts.push(view! { <mark>{text[range.clone()].to_owned()}</mark> }.into_any());
        end = range.end;
    }
    parts.push(text[end..].to_owned().into_any());
    parts
}
