//! The leaderboard. A cell opens the examples behind it.

use anaume_core::leaderboard::display::{Mark, baseline_label};
use anaume_core::leaderboard::{Leaderboard, Row};
use leptos::prelude::*;

use super::examples::Choice;
use crate::texts::Language;

/// The leaderboard, without the tests between models, which need every prediction.
pub fn board_view(language: Language, board: &Leaderboard, chosen: RwSignal<Option<Choice>>) -> impl IntoView + use<> {
    let head = board.columns.iter().map(|column| {
        let arrow = if column.higher_is_better { "↑" } else { "↓" };
        view! { <th scope="col">{column.task_label.clone()}<br/><small>{format!("{} {arrow}", column.metric_label)}</small></th> }
    });
    let rows = board.rows.iter().map(|row| board_row(language, board, row, row.label.clone(), Some(chosen)));
    let baselines = board.baselines.iter().map(|row| board_row(language, board, row, baseline_label(&row.label), None));
    let average = board.has_average().then(|| view! { <th scope="col">{language.pick("平均", "Average")}</th> });
    let legend = board.signs().into_iter().map(|sign| language.pick(sign.japanese(), sign.english()));
    let notes = board.notes.iter().map(|note| view! { <li>{note.clone()}</li> });
    view! {
        <h2>{language.pick("順位表", "Leaderboard")}</h2>
        <div class="wide" tabindex="0" role="region" aria-label=language.pick("順位表", "Leaderboard")>
            <table class="board">
                <thead><tr><th scope="col">{language.pick("モデル", "Model")}</th>{head.collect_view()}{average}</tr></thead>
                <tbody>{rows.collect_view()}{baselines.collect_view()}</tbody>
            </table>
        </div>
        <p class="soft">{legend.collect::<Vec<_>>().join(" ")}</p>
        <details><summary>{language.pick("注", "Notes")}</summary><ol class="soft">{notes.collect_view()}</ol></details>
    }
}

fn board_row(
    language: Language,
    board: &Leaderboard,
    row: &Row,
    label: String,
    chosen: Option<RwSignal<Option<Choice>>>,
) -> impl IntoView + use<> {
    let cells = board.columns.iter().zip(&row.cells).map(|(column, cell)| {
        let shown = cell.shown(column);
        let class = if shown.mark == Mark::Best { "best" } else { "" };
        let content = view! { {shown.value}" "<small>{shown.spread}</small> };
        let opens = chosen.filter(|_| cell.value.is_some() && !cell.places.is_empty());
        match opens {
            Some(chosen) => {
                let choice = Choice { column: column.id.clone(), first: row.label.clone(), second: None };
                let title = language.pick("この値のもとの例を見る", "See the examples behind this value");
                view! {
                    <td class=class>
                        <button class="cell" title=title on:click=move |_| chosen.set(Some(choice.clone()))>{content}</button>
                    </td>
                }
                .into_any()
            }
            None => view! { <td class=class>{content}</td> }.into_any(),
        }
    });
    let average = board.has_average().then(|| view! { <td>{Leaderboard::average_text(row.average)}</td> });
    view! { <tr><th scope="row">{label}</th>{cells.collect_view()}{average}</tr> }
}
