//! Tables of many rows, a page at a time.

use std::rc::Rc;

use leptos::prelude::*;
use leptos::task::spawn_local;

use super::chart::Shared;
use crate::app::{language, pick};
use crate::stream::{Piece, pause};

/// Rows of a page.
pub const ROWS: usize = 50;

/// Header and rows of a CSV file.
#[derive(Clone, Default)]
struct Csv {
    header: Vec<String>,
    rows: Rc<Vec<csv::StringRecord>>,
}

/// The data of a figure, read when it is looked at.
#[component]
pub fn DataTable(
    /// The figure.
    figure: Signal<Shared, LocalStorage>,
) -> impl IntoView {
    let (csv, page) = (RwSignal::new_local(Csv::default()), RwSignal::new(0));
    let is_open = RwSignal::new(false);
    Effect::new(move || {
        let figure = figure.get();
        if is_open.get() {
            spawn_local(async move {
                pause().await;
                let text = figure.borrow().to_csv();
                csv.try_set(read(&text).await);
            });
        }
    });
    let opened = move |event: leptos::ev::Event| {
        let details = event_target::<web_sys::Element>(&event);
        is_open.set(details.has_attribute("open"));
    };
    let head = move || {
        let header = csv.with(|csv| csv.header.clone());
        header.into_iter().map(|name| view! { <th scope="col">{name}</th> }).collect_view()
    };
    let rows = move || {
        let rows = csv.with(|csv| csv.rows.clone());
        let row = |row: &csv::StringRecord| {
            let cells = row.iter().map(|cell| view! { <td>{cell.to_owned()}</td> }).collect_view();
            view! { <tr>{cells}</tr> }
        };
        rows.iter().skip(page.get() * ROWS).take(ROWS).map(row).collect_view()
    };
    view! {
        <details on:toggle=opened>
            <summary>{pick("データ", "Data")}</summary>
            <Pager total=Signal::derive(move || csv.with(|csv| csv.rows.len())) page/>
            <div class="wide" tabindex="0" role="region" aria-label=pick("データ", "Data")>
                <table class="data"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>
            </div>
        </details>
    }
}

async fn read(text: &str) -> Csv {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().map(|header| header.iter().map(str::to_owned).collect()).unwrap_or_default();
    let (mut rows, mut piece) = (Vec::new(), Piece::start());
    // The text is the figure's own, so every record is one.
    for row in reader.records().flatten() {
        rows.push(row);
        piece.rest().await;
    }
    Csv { header, rows: Rc::new(rows) }
}

/// Which rows are shown, and buttons to the others.
#[component]
pub fn Pager(
    /// Number of rows.
    #[prop(into)]
    total: Signal<usize>,
    /// Number of the page, from 0.
    page: RwSignal<usize>,
) -> impl IntoView {
    let language = language();
    let last = move || total.get().saturating_sub(1) / ROWS;
    // Fewer rows than before may end before the page that was shown.
    Effect::new(move || {
        if page.get() > last() {
            page.set(last());
        }
    });
    let shown = move || {
        let (from, total) = (page.get() * ROWS, total.get());
        language.get().rows(from.min(total) + usize::from(total > 0), (from + ROWS).min(total), total)
    };
    let is_first = move || page.get() == 0;
    let is_last = move || page.get() >= last();
    view! {
        <div class="row pager">
            <span class="soft" aria-live="polite">{shown}</span>
            <button class="small" prop:disabled=is_first on:click=move |_| page.update(|page| *page = page.saturating_sub(1))>
                {pick("前へ", "Previous")}
            </button>
            <button class="small" prop:disabled=is_last on:click=move |_| page.update(|page| *page += 1)>
                {pick("次へ", "Next")}
            </button>
        </div>
    }
}
