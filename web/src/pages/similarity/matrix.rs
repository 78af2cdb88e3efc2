//! The cosines as a table: a number in each cell, deeper colour for a larger one, the nearest of each row marked.

use leptos::prelude::*;

use super::Answer;
use crate::texts::Language;

/// Depths of colour, `heat-0` to `heat-8` in the style sheet.
const DEPTHS: f64 = 9.0;

/// The table with its legend.
pub(super) fn view(language: Language, answer: &Answer) -> impl IntoView + use<> {
    let comparison = &answer.comparison;
    let columns = if comparison.is_within { &answer.first } else { &answer.second };
    let (low, high) = ends(answer);
    let head = (1..).zip(columns).map(|(number, text)| heading("col", number, text)).collect_view();
    let row = |(row, text): (usize, &String)| {
        let nearest = comparison.nearest(row);
        let cells = comparison.cosines[row].iter().enumerate().map(|(column, cosine)| {
            let is_same = comparison.is_within && row == column;
            cell(language, *cosine, (!is_same).then(|| depth(*cosine, low, high)), nearest == Some(column))
        });
        view! { <tr>{heading("row", row + 1, text)}{cells.collect_view()}</tr> }
    };
    let rows = answer.first.iter().enumerate().map(row).collect_view();
    let label = language.pick("コサイン類似度の表", "Table of cosines");
    let nearest = language.pick("行の中で最も近い文", "nearest of its row");
    let depths = (0..DEPTHS as usize).map(|depth| view! { <span class=format!("heat-{depth}")></span> }).collect_view();
    view! {
        <div class="matrix" tabindex="0" role="region" aria-label=label>
            <table><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table>
        </div>
        <p class="legend soft">
            <span>{format!("{low:.3}")}</span><span class="scale" aria-hidden="true">{depths}</span><span>{format!("{high:.3}")}</span>
            <span><span class="nearest sample" aria-hidden="true">"0.0"</span>" "{nearest}</span>
        </p>
    }
}

/// The smallest and the largest cosine of two different sentences.
fn ends(answer: &Answer) -> (f64, f64) {
    let comparison = &answer.comparison;
    let others = comparison.cosines.iter().enumerate().flat_map(|(row, cosines)| {
        cosines.iter().enumerate().filter(move |(column, _)| !comparison.is_within || row != *column)
    });
    let (low, high) =
        others.fold((1.0_f64, -1.0_f64), |(low, high), (_, cosine)| (low.min(*cosine), high.max(*cosine)));
    if low > high { (1.0, 1.0) } else { (low, high) }
}

/// Which depth of colour a cosine has between the smallest and the largest.
fn depth(cosine: f64, low: f64, high: f64) -> usize {
    let share = if high > low { (cosine - low) / (high - low) } else { 0.0 };
    (share * DEPTHS).min(DEPTHS - 1.0) as usize
}

fn heading(scope: &'static str, number: usize, text: &str) -> impl IntoView + use<> {
    let (text, title) = (text.to_owned(), text.to_owned());
    view! { <th scope=scope title=title><small>{number}</small>" "<span lang="ja">{text}</span></th> }
}

fn cell(language: Language, cosine: f64, depth: Option<usize>, is_nearest: bool) -> impl IntoView + use<> {
    let colour = depth.map_or("same".into(), |depth| format!("heat-{depth}"));
    let class = if is_nearest { format!("{colour} nearest") } else { colour };
    let said = is_nearest.then(|| view! { <span class="unseen">{language.pick(" 最も近い", " nearest")}</span> });
    view! { <td class=class data-cosine=cosine.to_string()>{format!("{cosine:.3}")}{said}</td> }
}
