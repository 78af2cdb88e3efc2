//! The results page: leaderboard, figures, training curves and examples of results beside the page or of the reader's own
//! files.

mod board;
mod chart;
mod download;
mod examples;
mod shelf;
mod table;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use anaume_core::leaderboard::Leaderboard;
use anaume_core::plot::{Figure, NamedFigure, loss_chart, unrefined_figures};
use anaume_core::report::site::SiteIndex;
use leptos::prelude::*;
use leptos::task::spawn_local;
use web_sys::DragEvent;

use crate::app::{language, pick};
use crate::dropped;
use crate::fetch;
use crate::protocol::Failure;
use crate::stream;
use crate::texts::Language;
use board::board_view;
use chart::{Chart, Shared};
use examples::Examples;
use shelf::Shelf;

/// Milliseconds between two looks at runs that are followed.
const FOLLOW_EVERY_MS: u32 = 3000;

/// The page.
#[component]
pub fn ResultsPage(
    /// What stands beside the page.
    offered: RwSignal<SiteIndex, LocalStorage>,
) -> impl IntoView {
    let shelf = Shelf::new();
    Effect::new(move || {
        let site = offered.get();
        spawn_local(async move {
            let files: Vec<_> = site.results.into_iter().chain(site.runs).collect();
            shelf.read_site(&files).await;
        });
    });
    let is_over = RwSignal::new(false);
    let over = move |event: DragEvent| {
        event.prevent_default();
        is_over.set(true);
    };
    let dropped = move |event: DragEvent| {
        event.prevent_default();
        is_over.set(false);
        let (entries, loose) = (dropped::entries(&event), dropped::loose(&event));
        spawn_local(async move {
            let files = if entries.is_empty() { loose } else { dropped::files(entries).await };
            shelf.read_local(files).await;
        });
    };
    view! {
        <section aria-label=pick("結果", "Results") id="results" class:over=is_over
            on:dragover=over on:dragleave=move |_| is_over.set(false) on:drop=dropped>
            <Toolbar shelf offered/>
            <Read shelf/>
        </section>
    }
}

/// The page alone, of what stands in the same file.
#[component]
pub fn ReportPage() -> impl IntoView {
    let offered = RwSignal::new_local(SiteIndex::default());
    spawn_local(async move { offered.set(fetch::site_index().await) });
    view! { <ResultsPage offered/> }
}

/// Files to open, and whether runs are followed.
#[component]
fn Toolbar(
    /// What was read.
    shelf: Shelf,
    /// What stands beside the page.
    offered: RwSignal<SiteIndex, LocalStorage>,
) -> impl IntoView {
    let language = language();
    let follows = RwSignal::new(false);
    follow(shelf, offered, follows);
    let choose = move |event: leptos::ev::Event| {
        let files = dropped::placed(fetch::chosen(&event));
        spawn_local(shelf.read_local(files));
    };
    // What stands in a file does not go on.
    let can_follow = document().document_element().is_some_and(|root| !root.has_attribute("data-report"));
    let has_runs = move || can_follow && offered.with(|site| !site.runs.is_empty());
    view! {
        <div class="row">
            <label class="file">
                {pick("結果のファイルを開く", "Open result files")}
                <input type="file" multiple on:change=choose/>
            </label>
            <label class="file">
                {pick("結果のフォルダーを開く", "Open a results folder")}
                <input type="file" prop:webkitdirectory=true on:change=choose/>
            </label>
            <label hidden=move || !has_runs()>
                <input type="checkbox" name="follow" prop:checked=follows
                    on:change=move |event| follows.set(event_target_checked(&event))/>
                {pick("学習を追う", "Follow training")}
            </label>
            <span class="soft" aria-live="polite">{move || {
                let (done, total) = shelf.progress.get();
                (done < total).then(|| language.get().files(done, total))
            }}</span>
        </div>
        <p class="soft">{pick(
            "ファイルやフォルダーは、このページに落としても開けます。",
            "Files and folders can also be dropped onto this page.",
        )}</p>
    }
}

/// Reads the runs of the site again and again while that is wanted.
fn follow(shelf: Shelf, offered: RwSignal<SiteIndex, LocalStorage>, follows: RwSignal<bool>) {
    let again = move || {
        if follows.get_untracked() {
            let runs = offered.with_untracked(|site| site.runs.clone());
            spawn_local(async move { shelf.read_site(&runs).await });
        }
    };
    let timer = set_interval_with_handle(again, std::time::Duration::from_millis(FOLLOW_EVERY_MS.into()));
    on_cleanup(move || {
        if let Ok(timer) = timer {
            timer.clear();
        }
    });
}

/// A figure on the page, which may change while the reader looks at it.
#[derive(Clone)]
struct Shown {
    name: String,
    task: Option<String>,
    figure: RwSignal<Shared, LocalStorage>,
}

/// The figures of the page.
#[derive(Clone)]
struct Figures {
    shown: RwSignal<Vec<Shown>, LocalStorage>,
    /// What the figures live as long as.
    owner: Owner,
}

impl Figures {
    fn new() -> Self {
        let owner = Owner::current().expect("a component has an owner");
        Self { shown: RwSignal::new_local(Vec::new()), owner }
    }

    /// Puts a figure onto the page, in the place of the one of that name, so that what the reader did with it stays.
    fn put(&self, NamedFigure { name, task, figure }: NamedFigure) {
        let figure: Shared = Rc::new(RefCell::new(figure));
        match self.shown.with_untracked(|all| all.iter().find(|shown| shown.name == name).cloned()) {
            Some(shown) => shown.figure.set(figure),
            None => {
                let figure = self.owner.with(|| RwSignal::new_local(figure));
                self.shown.update(|all| all.push(Shown { name, task, figure }));
            }
        }
    }
}

/// What was read, and what could not be.
#[component]
fn Read(
    /// What was read.
    shelf: Shelf,
) -> impl IntoView {
    let language = language();
    let chosen = RwSignal::new(None);
    let (curves, figures) = (Figures::new(), Figures::new());
    let (shown_curves, shown_figures) = (curves.shown, figures.shown);
    Effect::new(move || draw_curves(shelf, language.get(), &curves));
    let board = RwSignal::new_local(None);
    Effect::new(move || {
        let reports = shelf.reports.get();
        if !reports.is_empty() {
            board.set(Some(Leaderboard::build(&reports).map(Rc::new).map_err(Failure::new)));
            let figures = figures.clone();
            spawn_local(async move {
                stream::pause().await;
                let mut piece = stream::Piece::start();
                for named in unrefined_figures(&reports, |_| true) {
                    figures.put(named);
                    piece.rest().await;
                }
            });
        }
    });
    let built = Signal::derive_local(move || board.get().and_then(Result::ok));
    let board_or_failure = move || {
        board.get().map(|board| match board {
            Ok(board) => board_view(language.get(), &board, chosen).into_any(),
            Err(failure) => view! { <p class="error" role="alert">{language.get().failure(&failure)}</p> }.into_any(),
        })
    };
    view! {
        {move || shelf.failures.with(|failures| failures_view(language.get(), failures))}
        {move || shelf.is_empty().then(|| nothing_view(language.get()))}
        <Charts figures=shown_curves shelf/>
        {board_or_failure}
        <Examples shelf board=built chosen/>
        <Charts figures=shown_figures shelf/>
    }
}

fn draw_curves(shelf: Shelf, language: Language, curves: &Figures) {
    let runs: Vec<_> = shelf.runs.with(|runs| runs.values().cloned().collect());
    if !runs.is_empty() {
        let title = language.pick("学習曲線 (training curves)", "Training curves");
        let figure = Box::new(loss_chart(title, &runs));
        curves.put(NamedFigure { name: "loss".into(), task: None, figure });
    }
}

/// A figure of another page.
pub fn lone_chart(name: &str, figure: Box<dyn Figure>) -> impl IntoView + use<> {
    let figure: RwSignal<Shared, LocalStorage> = RwSignal::new_local(Rc::new(RefCell::new(figure)));
    view! { <Chart name=name.to_owned() figure=figure.into() shelf=Shelf::new() task=None/> }
}

#[component]
fn Charts(
    /// The figures.
    figures: RwSignal<Vec<Shown>, LocalStorage>,
    /// What was read.
    shelf: Shelf,
) -> impl IntoView {
    let chart = move |Shown { name, task, figure }: Shown| {
        view! { <Chart name figure=figure.into() shelf task/> }
    };
    view! { <For each=move || figures.get() key=|shown| shown.name.clone() children=chart/> }
}

fn failures_view(language: Language, failures: &BTreeMap<String, Failure>) -> impl IntoView + use<> {
    let failure = |(place, failure): (&String, &Failure)| {
        let what = Failure { what: format!("{place}: {}", failure.what), ..failure.clone() };
        view! { <li class="error">{language.failure(&what)}</li> }
    };
    let all = failures.iter().map(failure).collect_view();
    (!failures.is_empty()).then(|| view! { <ul class="failures" role="alert">{all}</ul> })
}

fn nothing_view(language: Language) -> impl IntoView + use<> {
    let japanese = "結果はまだありません。anaume serve results/ run/ とするか、上でファイルを開いてください。";
    let english = "No results yet: start `anaume serve results/ run/`, or open files above.";
    view! { <p class="soft">{language.pick(japanese, english)}</p> }
}
