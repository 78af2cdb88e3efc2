//! Single examples of a model, and those of two models side by side.

use std::rc::Rc;

use anaume_core::leaderboard::compare::PairedTest;
use anaume_core::leaderboard::examples::{Example, Measure, Order, Pair, Pairs, Wanted, examples};
use anaume_core::leaderboard::{Cell, Column, Leaderboard};
use anaume_core::plot::number;
use leptos::html::Section;
use leptos::prelude::*;
use leptos::task::spawn_local;

use super::shelf::Shelf;
use super::table::{Pager, ROWS};
use crate::app::{language, pick};
use crate::protocol::{Failure, Result};
use crate::stream::{Piece, pause};
use crate::texts::Language;

/// Rounds of a test between two looks at the clock.
const ROUNDS: usize = 20;

/// Which examples are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Id of the leaderboard's column.
    pub column: String,
    /// Label of the model's row.
    pub first: String,
    /// Label of the row of another model to compare with.
    pub second: Option<String>,
}

/// What was found of a choice.
#[derive(Clone)]
struct Found {
    choice: Choice,
    measure: Measure,
    /// The examples of the first model.
    first: Rc<Vec<Example>>,
    /// Those of the other model, and the pairs.
    second: Option<(Rc<Vec<Example>>, Rc<Pairs>)>,
}

impl Found {
    /// Indices of the examples or pairs that are wanted, in order.
    fn selected(&self, wanted: &Wanted) -> Vec<usize> {
        match &self.second {
            Some((second, pairs)) => wanted.of_pairs(&pairs.all, [&self.first, second]),
            None => wanted.of(&self.first),
        }
    }

    fn row(&self, index: usize) -> AnyView {
        match &self.second {
            Some((second, pairs)) => pair_row(&self.first, second, &pairs.all[index]),
            None => example_row(&self.first[index]),
        }
    }
}

/// The examples behind a cell of the leaderboard.
#[component]
pub fn Examples(
    /// What was read.
    shelf: Shelf,
    /// The leaderboard.
    board: Signal<Option<Rc<Leaderboard>>, LocalStorage>,
    /// Which examples are looked at; none before a cell is opened.
    chosen: RwSignal<Option<Choice>>,
) -> impl IntoView {
    let language = language();
    let found = RwSignal::new_local(None::<Result<Found>>);
    let p_value = RwSignal::new(None::<std::result::Result<f64, String>>);
    let area: NodeRef<Section> = NodeRef::new();
    Effect::new(move |was_open: Option<bool>| {
        let (Some(choice), Some(board)) = (chosen.get(), board.get()) else { return false };
        p_value.set(None);
        found.set(None);
        spawn_local(async move {
            let is_wanted = || chosen.try_get_untracked().flatten().as_ref() == Some(&choice);
            if was_open != Some(true) {
                // What is still hidden takes no focus.
                pause().await;
                area.get_untracked().inspect(|area| {
                    area.scroll_into_view();
                    let _ = area.focus();
                });
            }
            let read = read(shelf, &board, &choice).await;
            if is_wanted() {
                found.set(Some(read));
            }
            let p = test(shelf, &board, &choice, is_wanted).await;
            if is_wanted() {
                p_value.set(p);
            }
        });
        true
    });
    let content = move || match found.get() {
        None => view! { <p class="soft">{pick("例を読んでいます…", "Reading the examples…")}</p> }.into_any(),
        Some(Err(failure)) => view! { <p class="error" role="alert">{language.get().failure(&failure)}</p> }.into_any(),
        Some(Ok(found)) => view! { <Table found p_value/> }.into_any(),
    };
    view! {
        <section id="examples" tabindex="-1" node_ref=area hidden=move || chosen.with(Option::is_none)>
            <h2>{pick("例", "Examples")}</h2>
            {move || board.get().map(|board| choice_view(language.get(), &board, chosen))}
            {move || chosen.with(Option::is_some).then(content)}
        </section>
    }
}

/// The column and the two models, to be changed.
fn choice_view(language: Language, board: &Leaderboard, chosen: RwSignal<Option<Choice>>) -> impl IntoView + use<> {
    let change = move |change: fn(&mut Choice, String)| {
        move |event: leptos::ev::Event| {
            let value = event_target_value(&event);
            chosen.update(|choice| choice.iter_mut().for_each(|choice| change(choice, value.clone())));
        }
    };
    let option = move |value: &str, label: String, of: fn(&Choice) -> &str| {
        let (value, known) = (value.to_owned(), value.to_owned());
        let is_it = move || chosen.with(|choice| choice.as_ref().is_some_and(|choice| of(choice) == known));
        view! { <option value=value prop:selected=is_it>{label}</option> }
    };
    let columns = board.columns.iter().map(|column| {
        option(&column.id, format!("{} {}", column.task_label, column.metric_label), |choice| &choice.column)
    });
    let models = |of| board.rows.iter().map(|row| option(&row.label, row.label.clone(), of)).collect_view();
    let second: fn(&Choice) -> &str = |choice| choice.second.as_deref().unwrap_or_default();
    let none = option("", language.pick("比べない", "nothing").into(), second);
    view! {
        <div class="row choice">
            <label>{language.pick("課題", "Task")}" "
                <select name="column" on:change=change(|choice, value| choice.column = value)>{columns.collect_view()}</select>
            </label>
            <label>{language.pick("モデル", "Model")}" "
                <select name="first" on:change=change(|choice, value| choice.first = value)>{models(|choice| &choice.first)}</select>
            </label>
            <label>{language.pick("比べる相手", "Compared with")}" "
                <select name="second" on:change=change(|choice, value| choice.second = Some(value).filter(|value| !value.is_empty()))>
                    {none}{models(second)}
                </select>
            </label>
            <button class="small" on:click=move |_| chosen.set(None)>{language.pick("閉じる", "Close")}</button>
        </div>
    }
}

/// The column and the cells of a choice.
fn cells<'b>(board: &'b Leaderboard, choice: &Choice) -> Option<(&'b Column, Vec<&'b Cell>)> {
    let column = board.columns.iter().position(|column| column.id == choice.column)?;
    let cell = |label: &String| Some(&board.rows.iter().find(|row| row.label == *label)?.cells[column]);
    let cells: Option<Vec<_>> = std::iter::once(&choice.first).chain(&choice.second).map(cell).collect();
    Some((&board.columns[column], cells?))
}

async fn read(shelf: Shelf, board: &Leaderboard, choice: &Choice) -> Result<Found> {
    let gone = || Failure::new(format!("{} / {}", choice.first, choice.column));
    let (column, cells) = cells(board, choice).ok_or_else(gone)?;
    let mut found = Vec::new();
    for cell in cells {
        let samples = shelf.samples(&cell.places).await?;
        pause().await;
        found.push(Rc::new(examples(column, cell, &samples.borrow()).map_err(Failure::new)?));
    }
    pause().await;
    let measure = Measure::of(column);
    let second = found.get(1).map(|second| (second.clone(), Rc::new(Pairs::new(&found[0], second, &measure))));
    Ok(Found { choice: choice.clone(), measure, first: found[0].clone(), second })
}

/// The p-value of two models' difference, or why there is none; `None` for one model, and once it is not wanted any more.
async fn test(
    shelf: Shelf,
    board: &Leaderboard,
    choice: &Choice,
    is_wanted: impl Fn() -> bool,
) -> Option<std::result::Result<f64, String>> {
    let (column, cells) = cells(board, choice)?;
    let [first, second] = cells[..] else { return None };
    pause().await;
    let samples = shelf.samples(&[]).await.ok()?;
    let test = PairedTest::new(column, first, second, &samples.borrow());
    let mut test = match test {
        Ok(test) => test,
        Err(reason) => return Some(Err(reason)),
    };
    let mut piece = Piece::start();
    while test.advance(ROUNDS) {
        piece.rest().await;
        if !is_wanted() {
            return None;
        }
    }
    Some(test.p_value())
}

/// The table with its filters.
#[component]
fn Table(
    /// The examples.
    found: Found,
    /// The paired test of two models.
    p_value: RwSignal<Option<std::result::Result<f64, String>>>,
) -> impl IntoView {
    let language = language();
    let (wanted, page) = (RwSignal::new(Wanted::default()), RwSignal::new(0));
    let has_wrong = found.first.iter().any(|example| example.is_wrong.is_some());
    let total = found.first.len();
    let pairs = RwSignal::new_local(found.second.as_ref().map(|(_, pairs)| pairs.clone()));
    if found.second.is_some() {
        // The first look is for where the models differ most.
        wanted.set(Wanted { order: Order::Score, is_reversed: true, ..Wanted::default() });
    }
    let found = StoredValue::new_local(found);
    let selected = RwSignal::new(Vec::new());
    Effect::new(move || selected.set(wanted.with(|wanted| found.with_value(|found| found.selected(wanted)))));
    let search = move |event: leptos::ev::Event| {
        let words = event_target_value(&event);
        wanted.update(|wanted| wanted.words = words);
        page.set(0);
    };
    let wrong_only = move |event: leptos::ev::Event| {
        let is_on = event_target_checked(&event);
        wanted.update(|wanted| wanted.wrong_only = is_on);
        page.set(0);
    };
    let rows = move || {
        let shown =
            selected.with(|selected| selected.iter().skip(page.get() * ROWS).take(ROWS).copied().collect::<Vec<_>>());
        found.with_value(|found| shown.into_iter().map(|index| found.row(index)).collect_view())
    };
    view! {
        {move || pairs.get().map(|pairs| sums_view(language.get(), &pairs, p_value.get().as_ref()))}
        <div class="row">
            <label>{pick("探す", "Search")}" "<input type="search" name="words" on:input=search/></label>
            {has_wrong.then(|| view! {
                <label><input type="checkbox" name="wrong" on:change=wrong_only/>{pick("誤りだけ", "Wrong only")}</label>
            })}
        </div>
        <Pager total=Signal::derive(move || selected.with(Vec::len)) page/>
        <div class="wide" tabindex="0" role="region" aria-label=pick("例", "Examples")>
            <table class="examples" data-total=total>
                <thead><tr>{move || found.with_value(|found| head_view(language.get(), found, wanted, page))}</tr></thead>
                <tbody>{rows}</tbody>
            </table>
        </div>
    }
}

/// Headings that sort.
fn head_view(
    language: Language,
    found: &Found,
    wanted: RwSignal<Wanted>,
    page: RwSignal<usize>,
) -> impl IntoView + use<> {
    let mut columns = vec![
        (Order::Doc, language.pick("番号", "Id").to_owned()),
        (Order::Text, language.pick("問い", "Text").to_owned()),
        (Order::Target, language.pick("正解", "Target").to_owned()),
    ];
    let arrow = if found.measure.higher_is_better { "↑" } else { "↓" };
    match &found.choice.second {
        Some(second) => {
            columns.push((Order::Prediction, found.choice.first.clone()));
            columns.push((Order::OtherPrediction, second.clone()));
            columns.push((Order::Score, language.pick("左の優位", "Advantage of the left").to_owned()));
        }
        None => {
            columns.push((Order::Prediction, language.pick("答え", "Prediction").to_owned()));
            columns.push((Order::Score, format!("{} {arrow}", found.measure.name)));
        }
    }
    let heading = move |(order, label): (Order, String)| {
        let sort = move |_| {
            wanted.update(|wanted| {
                wanted.is_reversed = wanted.order == order && !wanted.is_reversed;
                wanted.order = order;
            });
            page.set(0);
        };
        let direction = move || {
            wanted.with(|wanted| match (wanted.order == order, wanted.is_reversed) {
                (false, _) => "none",
                (true, false) => "ascending",
                (true, true) => "descending",
            })
        };
        view! { <th scope="col" aria-sort=direction><button class="cell" on:click=sort>{label}</button></th> }
    };
    columns.into_iter().map(heading).collect_view()
}

fn example_row(example: &Example) -> AnyView {
    view! {
        <tr data-wrong=example.is_wrong.map(|is_wrong| is_wrong.to_string())>
            <td>{example.doc_id.to_string()}</td>
            <td>{example.text.clone()}</td>
            <td>{example.target.clone()}</td>
            <td>{mark(example)}{example.prediction.clone()}</td>
            <td>{example.score.map(number)}</td>
        </tr>
    }
    .into_any()
}

fn pair_row(first: &[Example], second: &[Example], pair: &Pair) -> AnyView {
    let (one, other) = (&first[pair.first], &second[pair.second]);
    let answer = |example: &Example| {
        let score = example.score.map(|score| format!(" ({})", number(score)));
        view! { <td>{mark(example)}{example.prediction.clone()}<small>{score}</small></td> }
    };
    view! {
        <tr>
            <td>{one.doc_id.to_string()}</td>
            <td>{one.text.clone()}</td>
            <td>{one.target.clone()}</td>
            {answer(one)}
            {answer(other)}
            <td>{pair.advantage.map(number)}</td>
        </tr>
    }
    .into_any()
}

/// Right or wrong, by more than a colour.
fn mark(example: &Example) -> Option<&'static str> {
    example.is_wrong.map(|is_wrong| if is_wrong { "✗ " } else { "✓ " })
}

/// How often who was better, and whether that may be chance.
fn sums_view(
    language: Language,
    pairs: &Pairs,
    p_value: Option<&std::result::Result<f64, String>>,
) -> impl IntoView + use<> {
    let [better, worse, equal] = pairs.better;
    let right = pairs.right.map(
        |right| view! { <li data-right=right.map(|count| count.to_string()).join(",")>{language.right(right)}</li> },
    );
    let unpaired = (pairs.num_unpaired > 0).then(|| view! { <li>{language.unpaired(pairs.num_unpaired)}</li> });
    view! {
        <ul class="soft" id="sums">
            <li data-better=format!("{better},{worse},{equal}")>{language.better([better, worse, equal])}</li>
            {right}
            {unpaired}
            <li aria-live="polite" data-p=p_value.and_then(|p| p.as_ref().ok()).map(f64::to_string)>{language.paired_test(p_value)}</li>
        </ul>
    }
}
