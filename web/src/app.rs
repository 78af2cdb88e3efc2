//! The frame of every page: name, language, models.

use js_sys::Array;
use leptos::prelude::*;

use crate::fetch;
use crate::models::{Models, Slot, State};
use crate::pages::fill_mask::FillMaskPage;
use crate::pages::results::ResultsPage;
use crate::pages::retrieval::RetrievalPage;
use crate::texts::Language;

/// The site.
#[component]
pub fn App() -> impl IntoView {
    let language = RwSignal::new(Language::of_browser());
    provide_context(language);
    Effect::new(move || {
        if let Some(root) = document().document_element() {
            // A page whose language cannot be named is still readable.
            let _ = root.set_attribute("lang", language.get().pick("ja", "en"));
        }
    });
    view! {
        <main>
            <header>
                <h1>"穴埋め " <small>"Anaume"</small></h1>
                <p>{pick(
                    "日本語 ModernBERT がこのブラウザの中で、文の穴を埋め、文書を探します。文はどこにも送られません。",
                    "Japanese ModernBERT fills masks and finds passages inside this browser. No text leaves it.",
                )}</p>
                <button id="language" on:click=move |_| language.update(|now| *now = now.other())>
                    {pick("English", "日本語")}
                </button>
            </header>
            {match Models::start() {
                Ok(models) => view! { <Pages models/> }.into_any(),
                Err(failure) => view! {
                    <p class="error" role="alert">{move || language.get().failure(&failure)}</p>
                }.into_any(),
            }}
        </main>
    }
}

/// The pages of the site, with their names in addresses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Page {
    FillMask,
    Retrieval,
    Results,
}

impl Page {
    const ALL: [Self; 3] = [Self::FillMask, Self::Retrieval, Self::Results];

    /// The page's name behind `#` in the address.
    const fn fragment(self) -> &'static str {
        match self {
            Self::FillMask => "fill-mask",
            Self::Retrieval => "retrieval",
            Self::Results => "results",
        }
    }

    /// The page that the address names, or the first.
    fn of_address() -> Self {
        let hash = window().location().hash().unwrap_or_default();
        Self::ALL.into_iter().find(|page| hash.trim_start_matches('#') == page.fragment()).unwrap_or(Self::FillMask)
    }

    fn title(self, language: Language) -> &'static str {
        match self {
            Self::FillMask => language.pick("穴埋め", "Fill-mask"),
            Self::Retrieval => language.pick("検索", "Retrieval"),
            Self::Results => language.pick("結果", "Results"),
        }
    }
}

/// The chosen page below links to all. What was typed on a page stays while another is shown.
#[component]
fn Pages(
    /// The models.
    models: Models,
) -> impl IntoView {
    let language = language();
    let page = RwSignal::new(Page::of_address());
    let changed = window_event_listener(leptos::ev::hashchange, move |_| page.set(Page::of_address()));
    on_cleanup(move || changed.remove());
    // Results are read when they are looked at first.
    let wants_results = Memo::new(move |before| before == Some(&true) || page.get() == Page::Results);
    let link = move |to: Page| {
        let current = move || (page.get() == to).then_some("page");
        view! { <a href=format!("#{}", to.fragment()) aria-current=current>{move || to.title(language.get())}</a> }
    };
    view! {
        <nav class="row" aria-label="pages">{Page::ALL.map(link)}</nav>
        <div hidden=move || page.get() == Page::Results>
            <ModelSection models/>
        </div>
        <div hidden=move || page.get() != Page::FillMask>
            <FillMaskPage models/>
        </div>
        <div hidden=move || page.get() != Page::Retrieval>
            <RetrievalPage models/>
        </div>
        <div hidden=move || page.get() != Page::Results>
            {move || wants_results.get().then(|| view! { <ResultsPage models/> })}
        </div>
    }
}

/// The language of the page.
pub fn language() -> RwSignal<Language> {
    expect_context()
}

/// The text in the language of the page, whichever that is by then.
pub fn pick(japanese: &'static str, english: &'static str) -> impl Fn() -> &'static str + Copy + Send + Sync + 'static {
    let language = language();
    move || language.get().pick(japanese, english)
}

/// Which models are there, and how to load more.
#[component]
fn ModelSection(
    /// The models.
    models: Models,
) -> impl IntoView {
    let language = language();
    let choose = move |event: leptos::ev::Event| {
        let files = fetch::chosen(&event);
        if !files.is_empty() {
            models.load_files(files.iter().collect::<Array>().into());
        }
    };
    let offers = move || {
        let is_open = |name: &String| models.slots.with(|slots| slots.iter().any(|slot| slot.name == *name));
        let offered = models.offered.get().models.into_iter().filter(|model| !is_open(&model.name));
        offered
            .map(|model| {
                let size_bytes = model.files.iter().map(|file| file.size_bytes).sum();
                let label = language.get().load(&model.name, size_bytes);
                view! {
                    <button class="offer" data-model=model.name.clone() on:click=move |_| models.load_offered(&model)>
                        {label}
                    </button>
                }
            })
            .collect_view()
    };
    view! {
        <section aria-label=pick("モデル", "Models") id="models">
            <div class="row">
                {offers}
                <label class="file">
                    {pick("手元のモデルを開く", "Open a model of your own")}
                    <input type="file" multiple on:change=choose/>
                </label>
            </div>
            <p class="soft">{pick(
                "手元のモデルは config.json・tokenizer.json・model.safetensors をまとめて選びます。",
                "Of your own model choose config.json, tokenizer.json and model.safetensors together.",
            )}</p>
            <ul class="models" aria-live="polite">
                {move || models.slots.get().into_iter().map(|entry| view! { <ModelView models entry/> }).collect_view()}
            </ul>
        </section>
    }
}

/// A model and where it stands.
#[component]
fn ModelView(
    /// All models.
    models: Models,
    /// This one.
    entry: Slot,
) -> impl IntoView {
    let language = language();
    let Slot { name, state, .. } = entry;
    let device = {
        let state = state.clone();
        move || if let State::Ready(info) = state.get() { info.device } else { String::new() }
    };
    let state_name = {
        let state = state.clone();
        move || state.with(State::name)
    };
    let (removed, shown) = (name.clone(), name.clone());
    view! {
        <li data-model=name data-state=state_name data-device=device>
            <strong>{shown}</strong>
            " "
            {move || state_view(language.get(), &state.get())}
            <button class="small" on:click=move |_| models.remove(&removed)>
                {move || language.get().pick("外す", "Remove")}
            </button>
        </li>
    }
}

fn state_view(language: Language, state: &State) -> AnyView {
    match state {
        State::Fetching(progress) => view! {
            <span>{language.progress(progress)}</span>
            <progress max=progress.total_bytes.map(|total| total.to_string())
                value=progress.total_bytes.map(|_| progress.done_bytes.to_string())/>
        }
        .into_any(),
        State::Preparing => view! { <span>{language.pick("準備しています…", "Preparing…")}</span> }.into_any(),
        State::Ready(info) => view! { <span>{language.ready(info)}</span> }.into_any(),
        State::Failed(failure) => {
            view! { <span class="error" role="alert">{language.failure(failure)}</span> }.into_any()
        }
    }
}
