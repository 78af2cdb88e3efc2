//! The frame of every page: name, language, models.

use leptos::prelude::*;

use crate::models::Models;
use crate::offline::NewerPage;
use crate::pages::fill_mask::FillMaskPage;
use crate::pages::models::{ModelSection, ModelsPage};
use crate::pages::results::{ReportPage, ResultsPage};
use crate::pages::retrieval::RetrievalPage;
use crate::pages::similarity::SimilarityPage;
use crate::share::{self, Sharing};
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
    let is_report = document().document_element().is_some_and(|root| root.has_attribute("data-report"));
    let (about_japanese, about_english) = if is_report {
        (
            "評価と学習の記録です。このファイルだけで開き、ほかには何も読み込みません。",
            "Evaluations and training runs. This file is all there is: nothing else is loaded.",
        )
    } else {
        (
            "日本語 ModernBERT がこのブラウザの中で、文の穴を埋め、文書を探します。文はどこにも送られません。",
            "Japanese ModernBERT fills masks and finds passages inside this browser. No text leaves it.",
        )
    };
    view! {
        <header>
            <h1>"穴埋め " <small lang="en">"Anaume"</small></h1>
            <button id="language" on:click=move |_| language.update(|now| *now = now.other())>
                {pick("English", "日本語")}
            </button>
            <p>{pick(about_japanese, about_english)}</p>
        </header>
        {if is_report { view! { <main><ReportPage/></main> }.into_any() } else { site() }}
    }
}

/// All pages, where the browser can run the program that computes.
fn site() -> AnyView {
    let language = language();
    let newer = NewerPage::watch();
    view! {
        <p id="update" role="status" hidden=move || !newer.waits()>
            {pick("このページの新しい版があります。", "There is a newer version of this page.")}
            " "
            <button class="small" on:click=move |_| newer.take()>{pick("読み直す", "Reload")}</button>
        </p>
        {match Models::start() {
            Ok(models) => view! { <Pages models/> }.into_any(),
            Err(failure) => view! {
                <main><p class="error" role="alert">{move || language.get().failure(&failure)}</p></main>
            }.into_any(),
        }}
    }
    .into_any()
}

/// The pages of the site, with their names in addresses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Page {
    FillMask,
    Retrieval,
    Similarity,
    Results,
    Models,
}

impl Page {
    const ALL: [Self; 5] = [Self::FillMask, Self::Retrieval, Self::Similarity, Self::Results, Self::Models];

    /// The page's name behind `#` in the address.
    const fn fragment(self) -> &'static str {
        match self {
            Self::FillMask => "fill-mask",
            Self::Retrieval => "retrieval",
            Self::Similarity => "similarity",
            Self::Results => "results",
            Self::Models => "models",
        }
    }

    /// The page that the address names, with or without a state behind the name, or the first.
    fn of_address() -> Self {
        let hash = window().location().hash().unwrap_or_default();
        let name = hash.trim_start_matches('#').split('?').next().unwrap_or_default();
        Self::ALL.into_iter().find(|page| name == page.fragment()).unwrap_or(Self::FillMask)
    }

    fn title(self, language: Language) -> &'static str {
        match self {
            Self::FillMask => language.pick("穴埋め", "Fill-mask"),
            Self::Retrieval => language.pick("検索", "Retrieval"),
            Self::Similarity => language.pick("似ている度", "Similarity"),
            Self::Results => language.pick("結果", "Results"),
            Self::Models => language.pick("モデル", "Models"),
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
    let sharing = Sharing::start();
    provide_context(sharing);
    let changed = window_event_listener(leptos::ev::hashchange, move |_| {
        page.set(Page::of_address());
        sharing.read_address();
    });
    on_cleanup(move || changed.remove());
    Effect::new(move || document().set_title(&format!("{} – 穴埋め Anaume", page.get().title(language.get()))));
    // Whoever looks at results alone loads no model.
    Effect::new(move |has_begun: Option<bool>| {
        let begins = page.get() != Page::Results && models.offered.with(|site| !site.models.is_empty());
        if begins && has_begun != Some(true) {
            models.load_first();
        }
        begins || has_begun == Some(true)
    });
    let link = move |to: Page| {
        let current = move || (page.get() == to).then_some("page");
        view! { <a href=format!("#{}", to.fragment()) aria-current=current>{move || to.title(language.get())}</a> }
    };
    view! {
        <nav aria-label=pick("ページ", "Pages")>{Page::ALL.map(link)}</nav>
        <main>
            {move || sharing.refused.get().map(|cause| view! {
                <p class="error" id="refused" role="alert">{share::refusal(language.get(), &cause)}</p>
            })}
            <div hidden=move || page.get() == Page::Results>
                <ModelSection models/>
            </div>
            {Page::ALL.map(|one| kept(page, one, models))}
        </main>
    }
}

/// A page that is made when it is looked at first, and kept from then on.
fn kept(page: RwSignal<Page>, this: Page, models: Models) -> impl IntoView {
    let is_wanted = Memo::new(move |before| before == Some(&true) || page.get() == this);
    let content = move || match this {
        Page::FillMask => view! { <FillMaskPage models/> }.into_any(),
        Page::Retrieval => view! { <RetrievalPage models/> }.into_any(),
        Page::Similarity => view! { <SimilarityPage models/> }.into_any(),
        Page::Results => view! { <ResultsPage offered=models.offered/> }.into_any(),
        Page::Models => view! { <ModelsPage models/> }.into_any(),
    };
    view! {
        <div id=format!("page-{}", this.fragment()) hidden=move || page.get() != this>
            {move || is_wanted.get().then(content)}
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
