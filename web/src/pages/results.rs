//! The results page: leaderboard, figures and training curves of results beside the page or of the reader's own files.

use anaume_core::leaderboard::display::{Mark, baseline_label};
use anaume_core::leaderboard::{Leaderboard, Row, Run};
use anaume_core::plot::{self, Figure, figures, loss_chart};
use anaume_core::report::Record;
use anaume_core::report::eval::EvalReport;
use anaume_core::report::site::SiteIndex;
use js_sys::{Array, Uint8Array};
use leptos::prelude::*;
use leptos::task::spawn_local;
use web_sys::{Blob, BlobPropertyBag, File, Url};

use crate::app::language;
use crate::fetch;
use crate::models::Models;
use crate::protocol::Failure;
use crate::texts::Language;

/// Milliseconds between two looks at runs that are followed.
const FOLLOW_EVERY_MS: u32 = 3000;

/// What has been read.
#[derive(Clone, Default)]
struct Shelf {
    reports: Vec<Run>,
    /// Name of each run, and its curves.
    runs: Vec<plot::Run>,
    failures: Vec<Failure>,
}

impl Shelf {
    /// Takes in a file by its kind, which its name tells; others are not for this page.
    fn add(&mut self, place: &str, text: &str) {
        let name = place.rsplit('/').next().unwrap_or(place);
        let failed = |cause: &dyn std::fmt::Display| Failure::new(format!("{place}: {cause}"));
        if name == "metrics.jsonl" {
            // A last line without its end is still being written.
            let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            let records: Result<Vec<Record>, _> = lines.map(Record::from_line).collect();
            match records {
                Ok(records) => self.runs.push(plot::Run::from_records(run_name(place), &records)),
                Err(cause) => self.failures.push(failed(&cause)),
            }
        } else if name.ends_with(".json") && name != "plan.json" && name != "run.json" {
            match EvalReport::from_json(text) {
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
    let pick = move |japanese: &'static str, english: &'static str| move || language.get().pick(japanese, english);
    let shelf = RwSignal::new_local(Shelf::default());
    let read = RwSignal::new((0_usize, 0_usize));
    let follows = RwSignal::new(false);
    Effect::new(move || {
        let site = models.offered.get();
        spawn_local(async move { read_site(&site, shelf, read).await });
    });
    let again = set_interval_with_handle(
        move || {
            if follows.get_untracked() {
                let site = models.offered.get_untracked();
                spawn_local(async move { follow(&site, shelf).await });
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
        spawn_local(async move { read_files(&files, shelf, read).await });
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
            {move || shelf.with(|shelf| shelf_view(language.get(), shelf))}
        </section>
    }
}

/// Reads everything that the site lists.
async fn read_site(site: &SiteIndex, shelf: RwSignal<Shelf, LocalStorage>, read: RwSignal<(usize, usize)>) {
    let files: Vec<_> = site.results.iter().chain(&site.runs).collect();
    let mut found = Shelf::default();
    for (file, number) in files.iter().zip(1..) {
        match fetch::text(&file.url).await {
            Ok(text) => found.add(&decoded(&file.url), &text),
            Err(failure) => found.failures.push(failure),
        }
        read.set((number, files.len()));
    }
    shelf.set(found);
}

/// Reads the logs of the site's runs again.
async fn follow(site: &SiteIndex, shelf: RwSignal<Shelf, LocalStorage>) {
    let mut now = Shelf::default();
    for run in &site.runs {
        match fetch::text(&run.url).await {
            Ok(text) => now.add(&decoded(&run.url), &text),
            Err(failure) => now.failures.push(failure),
        }
    }
    shelf.update(|shelf| (shelf.runs, shelf.failures) = (now.runs, now.failures));
}

/// Adds files that the reader chose.
async fn read_files(files: &[File], shelf: RwSignal<Shelf, LocalStorage>, read: RwSignal<(usize, usize)>) {
    let mut found = shelf.get_untracked();
    for (file, number) in files.iter().zip(1..) {
        let place = place_of(file);
        let is_known = ["results.json", "report.json", "metrics.jsonl"].iter().any(|name| place.ends_with(name));
        if is_known || files.len() == 1 {
            match fetch::text_of(file).await {
                Ok(text) => found.add(&place, &text),
                Err(failure) => found.failures.push(failure),
            }
        }
        read.set((number, files.len()));
    }
    shelf.set(found);
}

/// The path inside the folder that was chosen, or the name.
fn place_of(file: &File) -> String {
    let path = js_sys::Reflect::get(file, &"webkitRelativePath".into()).ok().and_then(|path| path.as_string());
    path.filter(|path| !path.is_empty()).unwrap_or_else(|| file.name())
}

fn decoded(url: &str) -> String {
    js_sys::decode_uri_component(url).map_or_else(|_| url.to_owned(), String::from)
}

fn shelf_view(language: Language, shelf: &Shelf) -> impl IntoView + use<> {
    let failures = shelf.failures.iter().map(|failure| {
        view! { <p class="error" role="alert">{language.failure(failure)}</p> }
    });
    let nothing = (shelf.reports.is_empty() && shelf.runs.is_empty()).then(|| {
        let japanese = "結果はまだありません。anaume serve results/ run/ とするか、上でファイルを開いてください。";
        let english = "No results yet: start `anaume serve results/ run/`, or open files above.";
        view! { <p class="soft">{language.pick(japanese, english)}</p> }
    });
    let reports: Vec<EvalReport> = shelf.reports.iter().map(|run| run.report.clone()).collect();
    let charts = figures(&reports, |_| true).into_iter().map(|named| figure_view(&named.name, named.figure.as_ref()));
    let curves = (!shelf.runs.is_empty()).then(|| {
        let title = language.pick("学習曲線 (training curves)", "Training curves");
        figure_view("loss", &loss_chart(title, &shelf.runs))
    });
    view! {
        {failures.collect_view()}
        {nothing}
        {curves}
        {(!shelf.reports.is_empty()).then(|| board_view(language, &shelf.reports))}
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
