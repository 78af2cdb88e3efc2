//! The results page: leaderboard, figures and training curves of results beside the page or of the reader's own files.

use std::collections::BTreeMap;

use anaume_core::leaderboard::display::{Mark, baseline_label};
use anaume_core::leaderboard::{Leaderboard, Row, Run};
use anaume_core::plot::{self, Figure, figures, loss_chart};
use anaume_core::report::Record;
use anaume_core::report::eval::EvalReport;
use anaume_core::report::site::SiteFile;
use js_sys::{Array, Uint8Array};
use leptos::prelude::*;
use leptos::task::spawn_local;
use web_sys::{Blob, BlobPropertyBag, File, Url};

use crate::app::{language, pick};
use crate::fetch;
use crate::models::Models;
use crate::protocol::Failure;
use crate::texts::Language;

/// Milliseconds between two looks at runs that are followed.
const FOLLOW_EVERY_MS: u32 = 3000;

/// What was read at a time.
#[derive(Default)]
struct Found {
    reports: Vec<Run>,
    /// The curves of each run by its place.
    runs: BTreeMap<String, plot::Run>,
    failures: Vec<Failure>,
}

/// What has been read in all. Each part is shown on its own, so that a run that is followed draws its curves alone.
#[derive(Clone, Copy)]
struct Shelf {
    reports: RwSignal<Vec<Run>, LocalStorage>,
    runs: RwSignal<BTreeMap<String, plot::Run>, LocalStorage>,
    failures: RwSignal<Vec<Failure>, LocalStorage>,
}

impl Shelf {
    fn new() -> Self {
        Self {
            reports: RwSignal::new_local(Vec::new()),
            runs: RwSignal::new_local(BTreeMap::new()),
            failures: RwSignal::new_local(Vec::new()),
        }
    }

    /// Takes in what was read; a run that is known is replaced.
    fn take(self, found: Found) {
        if !found.reports.is_empty() {
            self.reports.update(|reports| reports.extend(found.reports));
        }
        if !found.runs.is_empty() {
            self.runs.update(|runs| runs.extend(found.runs));
        }
        if !found.failures.is_empty() {
            self.failures.update(|failures| failures.extend(found.failures));
        }
    }
}

impl Found {
    /// Takes in a file by its kind, which its name tells; others are not for this page.
    fn add(&mut self, place: &str, text: crate::protocol::Result<String>) {
        let name = place.rsplit('/').next().unwrap_or(place);
        let failed = |cause: &dyn std::fmt::Display| Failure::new(format!("{place}: {cause}"));
        let text = match text {
            Ok(text) => text,
            Err(failure) => return self.failures.push(failure),
        };
        if name == "metrics.jsonl" {
            // A last line without its end is still being written.
            let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            let records: Result<Vec<Record>, _> = lines.map(Record::from_line).collect();
            match records {
                Ok(records) => {
                    _ = self.runs.insert(place.into(), plot::Run::from_records(run_name(place), &records));
                }
                Err(cause) => self.failures.push(failed(&cause)),
            }
        } else if name.ends_with(".json") && name != "plan.json" && name != "run.json" {
            match EvalReport::from_json(&text) {
                Ok(report) => self.reports.push(Run { place: place.into(), report }),
                Err(cause) => self.failures.push(failed(&cause)),
            }
        }
    }
}

/// The folder of a run: what tells it apart.
fn run_name(place: &str) -> String {
    place.rsplit('/').nth(1).unwrap_or("run").to_owned()
}

/// The page.
#[component]
pub fn ResultsPage(
    /// The models, and what stands beside the page.
    models: Models,
) -> impl IntoView {
    let language = language();
    let shelf = Shelf::new();
    let read = RwSignal::new((0_usize, 0_usize));
    let follows = RwSignal::new(false);
    Effect::new(move || {
        let site = models.offered.get();
        spawn_local(async move {
            let files: Vec<_> = site.results.into_iter().chain(site.runs).collect();
            shelf.take(read_site(&files, read).await);
        });
    });
    let again = set_interval_with_handle(
        move || {
            if follows.get_untracked() {
                let runs = models.offered.with_untracked(|site| site.runs.clone());
                spawn_local(async move {
                    let found = read_site(&runs, read).await;
                    shelf.failures.set(Vec::new());
                    shelf.take(found);
                });
            }
        },
        std::time::Duration::from_millis(FOLLOW_EVERY_MS.into()),
    );
    on_cleanup(move || {
        if let Ok(handle) = again {
            handle.clear();
        }
    });
    let choose = move |event: leptos::ev::Event| {
        let files = fetch::chosen(&event);
        spawn_local(async move { shelf.take(read_files(&files, read).await) });
    };
    view! {
        <section aria-label=pick("結果", "Results") id="results">
            <div class="row">
                <label class="file">
                    {pick("結果のファイルを開く", "Open result files")}
                    <input type="file" multiple on:change=choose/>
                </label>
                <label class="file">
                    {pick("結果のフォルダーを開く", "Open a results folder")}
                    <input type="file" prop:webkitdirectory=true on:change=choose/>
                </label>
                <label>
                    <input type="checkbox" prop:checked=follows
                        on:change=move |event| follows.set(event_target_checked(&event))/>
                    {pick("学習を追う", "Follow training")}
                </label>
                <span class="soft" aria-live="polite">{move || {
                    let (done, total) = read.get();
                    (done < total).then(|| language.get().files(done, total))
                }}</span>
            </div>
            {move || shelf.failures.with(|failures| failures_view(language.get(), failures))}
            {move || {
                let is_empty = shelf.reports.with(Vec::is_empty) && shelf.runs.with(BTreeMap::is_empty);
                is_empty.then(|| nothing_view(language.get()))
            }}
            {move || shelf.runs.with(|runs| curves_view(language.get(), runs))}
            {move || shelf.reports.with(|reports| reports_view(language.get(), reports))}
        </section>
    }
}

/// Reads files of the site.
async fn read_site(files: &[SiteFile], read: RwSignal<(usize, usize)>) -> Found {
    let mut found = Found::default();
    for (file, number) in files.iter().zip(1..) {
        found.add(&decoded(&file.url), fetch::text(&file.url).await);
        read.set((number, files.len()));
    }
    found
}

/// Reads files that the reader chose.
async fn read_files(files: &[File], read: RwSignal<(usize, usize)>) -> Found {
    let mut found = Found::default();
    for (file, number) in files.iter().zip(1..) {
        let place = place_of(file);
        let is_known = ["results.json", "report.json", "metrics.jsonl"].iter().any(|name| place.ends_with(name));
        if is_known || files.len() == 1 {
            found.add(&place, fetch::text_of(file).await);
        }
        read.set((number, files.len()));
    }
    found
}

/// The path inside the folder that was chosen, or the name.
fn place_of(file: &File) -> String {
    let path = js_sys::Reflect::get(file, &"webkitRelativePath".into()).ok().and_then(|path| path.as_string());
    path.filter(|path| !path.is_empty()).unwrap_or_else(|| file.name())
}

fn decoded(url: &str) -> String {
    js_sys::decode_uri_component(url).map_or_else(|_| url.to_owned(), String::from)
}

fn failures_view(language: Language, failures: &[Failure]) -> impl IntoView + use<> {
    let failure = |failure: &Failure| view! { <p class="error" role="alert">{language.failure(failure)}</p> };
    failures.iter().map(failure).collect_view()
}

fn nothing_view(language: Language) -> impl IntoView + use<> {
    let japanese = "結果はまだありません。anaume serve results/ run/ とするか、上でファイルを開いてください。";
    let english = "No results yet: start `anaume serve results/ run/`, or open files above.";
    view! { <p class="soft">{language.pick(japanese, english)}</p> }
}

fn curves_view(language: Language, runs: &BTreeMap<String, plot::Run>) -> impl IntoView + use<> {
    let title = language.pick("学習曲線 (training curves)", "Training curves");
    let runs: Vec<plot::Run> = runs.values().cloned().collect();
    (!runs.is_empty()).then(|| figure_view("loss", &loss_chart(title, &runs)))
}

fn reports_view(language: Language, runs: &[Run]) -> impl IntoView + use<> {
    let charts = figures(runs, |_| true).into_iter().map(|named| figure_view(&named.name, named.figure.as_ref()));
    view! {
        {(!runs.is_empty()).then(|| board_view(language, runs))}
        {charts.collect_view()}
    }
}

/// The leaderboard, without the tests between models, which need every prediction.
fn board_view(language: Language, runs: &[Run]) -> AnyView {
    let board = match Leaderboard::build(runs) {
        Ok(board) => board,
        Err(cause) => {
            let failure = language.failure(&Failure::new(cause));
            return view! { <p class="error" role="alert">{failure}</p> }.into_any();
        }
    };
    let head = board.columns.iter().map(|column| {
        let arrow = if column.higher_is_better { "↑" } else { "↓" };
        view! { <th scope="col">{column.task_label.clone()}<br/><small>{format!("{} {arrow}", column.metric_label)}</small></th> }
    });
    let rows = board.rows.iter().map(|row| board_row(&board, row, row.label.clone()));
    let baselines = board.baselines.iter().map(|row| board_row(&board, row, baseline_label(&row.label)));
    let average = board.has_average().then(|| view! { <th scope="col">{language.pick("平均", "Average")}</th> });
    let notes = board.notes.iter().map(|note| view! { <li>{note.clone()}</li> });
    view! {
        <h2>{language.pick("順位表", "Leaderboard")}</h2>
        <div class="wide">
            <table class="board">
                <thead><tr><th scope="col">{language.pick("モデル", "Model")}</th>{head.collect_view()}{average}</tr></thead>
                <tbody>{rows.collect_view()}{baselines.collect_view()}</tbody>
            </table>
        </div>
        <p class="soft">{board.legend().join(" ")}</p>
        <details><summary>{language.pick("注", "Notes")}</summary><ol class="soft">{notes.collect_view()}</ol></details>
    }
    .into_any()
}

fn board_row(board: &Leaderboard, row: &Row, label: String) -> impl IntoView + use<> {
    let cells = board.columns.iter().zip(&row.cells).map(|(column, cell)| {
        let shown = cell.shown(column);
        let class = if shown.mark == Mark::Best { "best" } else { "" };
        view! { <td class=class>{shown.value}" "<small>{shown.spread}</small></td> }
    });
    let average = board.has_average().then(|| view! { <td>{Leaderboard::average_text(row.average)}</td> });
    view! { <tr><th scope="row">{label}</th>{cells.collect_view()}{average}</tr> }
}

/// A figure with its data as a table, and both to take away.
fn figure_view(name: &str, figure: &dyn Figure) -> impl IntoView + use<> {
    let csv = figure.to_csv();
    let svg = figure.to_svg().unwrap_or_else(|cause| format!("<p>{cause}</p>"));
    let [svg_name, csv_name] = ["svg", "csv"].map(|extension| format!("{name}.{extension}"));
    let (svg_text, csv_text) = (svg.clone(), csv.clone());
    let rows = csv.lines().map(|line| view! { <tr><td>{line.to_owned()}</td></tr> }.into_any()).take(MAX_TABLE_ROWS);
    view! {
        <figure data-figure=name.to_owned()>
            <div role="img" aria-label=figure.title().to_owned() inner_html=svg></div>
            <figcaption class="row">
                <button class="small" on:click=move |_| save(&svg_name, "image/svg+xml", &svg_text)>"SVG"</button>
                <button class="small" on:click=move |_| save(&csv_name, "text/csv", &csv_text)>"CSV"</button>
                <details><summary>"データ data"</summary><div class="wide"><table><tbody>{rows.collect_view()}</tbody></table></div></details>
            </figcaption>
        </figure>
    }
}

/// Lines of a figure's data that its table shows; the CSV file has all.
const MAX_TABLE_ROWS: usize = 200;

/// Gives a text to the reader as a file.
fn save(name: &str, media_type: &str, text: &str) {
    let options = BlobPropertyBag::new();
    options.set_type(media_type);
    let parts = Array::of1(&Uint8Array::from(text.as_bytes()));
    let blob = Blob::new_with_u8_array_sequence_and_options(&parts, &options);
    // A browser without downloads shows the data in its table.
    if let Ok(url) = blob.and_then(|blob| Url::create_object_url_with_blob(&blob)) {
        fetch::save_as(name, &url);
    }
}
