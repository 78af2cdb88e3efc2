//! The table as one page, with figures if there are any: no script, nothing from elsewhere.

use anaume_core::leaderboard::display::{Mark, Shown, baseline_label};
use anaume_core::leaderboard::{Column, Leaderboard, Row};
use anaume_core::plot::NamedFigure;

/// Colours and sizes of all pages.
pub const TOKENS: &str = include_str!("../../../public/tokens.css");
/// Layout of pages without a program.
pub const STYLE: &str = include_str!("page.css");

/// What tasks are, in Japanese, by the beginning of their names.
const GLOSSES: [(&str, &str); 12] = [
    ("marc-ja", "感情極性"),
    ("jcola", "容認性判断"),
    ("jsts", "文の類似度"),
    ("jnli", "含意関係"),
    ("jsquad", "読解"),
    ("jcommonsenseqa", "常識推論"),
    ("retrieval", "検索"),
    ("pairs", "検索"),
    ("pseudo-perplexity", "疑似パープレキシティ"),
    ("alignment", "整列と一様性"),
    ("similarity", "類似度の分布"),
    ("fill-mask", "穴埋め"),
];

/// The page of a table.
pub fn page(board: &Leaderboard) -> String {
    let title = "順位表 <span lang=\"en\">Leaderboard</span>";
    document(title, &table_and_notes(board))
}

/// The page of everything in [`report_body`].
pub fn report(body: &str) -> String {
    document("結果 <span lang=\"en\">Results</span>", body)
}

/// Training curves and figures with their data, below the table where there is one.
///
/// # Errors
/// A figure that cannot be drawn.
pub fn report_body(board: Option<&Leaderboard>, figures: &[NamedFigure]) -> anyhow::Result<String> {
    let mut body = board.map(table_and_notes).unwrap_or_default();
    for named in figures {
        body += &figure(named)?;
    }
    Ok(body)
}

/// The drawing with its data, which a screen reader and a spreadsheet can take.
fn figure(named: &NamedFigure) -> anyhow::Result<String> {
    let (svg, csv) = (named.figure.to_svg()?, escape(&named.figure.to_csv()));
    let title = escape(named.figure.title());
    Ok(format!(
        "<figure id=\"{}\">\n<div role=\"img\" aria-label=\"{title}\">{svg}</div>\n<details><summary>データ \
         <span lang=\"en\">Data (CSV)</span></summary><pre>{csv}</pre></details>\n</figure>\n",
        escape(&named.name)
    ))
}

/// The document around a title and a body, which are HTML.
fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"ja\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>穴埋め Anaume</title>\n<style>\n{TOKENS}{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>{title}</h1>\n{body}</main>\n</body>\n</html>\n"
    )
}

fn table_and_notes(board: &Leaderboard) -> String {
    let legend: String = board.legend().iter().map(|line| format!("<p>{}</p>\n", escape(line))).collect();
    let note = |(text, number): (&String, usize)| format!("<li id=\"note-{number}\">{}</li>\n", escape(text));
    let notes: String = board.notes.iter().zip(1..).map(note).collect();
    let notes = if notes.is_empty() {
        notes
    } else {
        format!("<h2>注 <span lang=\"en\">Notes</span></h2>\n<ol>\n{notes}</ol>\n")
    };
    format!("{}<div class=\"legend\" lang=\"en\">\n{legend}</div>\n{notes}", table(board))
}

fn table(board: &Leaderboard) -> String {
    let rows: String = board.rows.iter().map(|row| table_row(board, row, &row.label)).collect();
    let baselines: String =
        board.baselines.iter().map(|row| table_row(board, row, &baseline_label(&row.label))).collect();
    let width = 1 + board.columns.len() + usize::from(board.has_average());
    let head =
        format!("<tr><th colspan=\"{width}\" scope=\"rowgroup\">基準 <span lang=\"en\">Baselines</span></th></tr>\n");
    let baselines = if baselines.is_empty() {
        baselines
    } else {
        format!("<tbody class=\"baselines\">\n{head}{baselines}</tbody>\n")
    };
    format!(
        "<div class=\"scroll\" tabindex=\"0\">\n<table>\n<caption>日本語エンコーダの評価 <span lang=\"en\">Japanese encoders, \
         best first by {}</span></caption>\n<thead>\n{}</thead>\n<tbody>\n{rows}</tbody>\n{baselines}</table>\n</div>\n",
        escape(&board.sorted_by),
        table_head(board)
    )
}

fn table_head(board: &Leaderboard) -> String {
    let task = |(column, range): &(&Column, std::ops::Range<usize>)| {
        let gloss = GLOSSES.iter().find(|(name, _)| column.task.starts_with(name)).map_or("", |(_, gloss)| gloss);
        format!(
            "<th colspan=\"{}\" scope=\"colgroup\" class=\"task\">{}{}<small>{gloss}</small></th>\n",
            range.len(),
            escape(&column.task_label),
            references(&column.notes)
        )
    };
    let starts: Vec<_> = board.groups().iter().map(|(_, range)| range.start).collect();
    let metric = |(i, column): (usize, &Column)| {
        let (arrow, words) =
            if column.higher_is_better { ("↑", "larger is better") } else { ("↓", "smaller is better") };
        let class = if starts.contains(&i) { " class=\"first\"" } else { "" };
        format!(
            "<th scope=\"col\"{class}>{} <abbr title=\"{words}\">{arrow}</abbr></th>\n",
            escape(&column.metric_label)
        )
    };
    let average = "<th rowspan=\"2\" scope=\"col\" class=\"task\">平均<small lang=\"en\">Average</small></th>\n";
    format!(
        "<tr><th rowspan=\"2\" scope=\"col\">モデル<small lang=\"en\">Model</small></th>\n{}{}</tr>\n<tr>{}</tr>\n",
        board.groups().iter().map(task).collect::<String>(),
        if board.has_average() { average } else { "" },
        board.columns.iter().enumerate().map(metric).collect::<String>()
    )
}

fn table_row(board: &Leaderboard, row: &Row, label: &str) -> String {
    let starts: Vec<_> = board.groups().iter().map(|(_, range)| range.start).collect();
    let mut html = format!("<tr><th scope=\"row\">{}{}</th>", escape(label), references(&row.notes));
    for (i, (column, cell)) in board.columns.iter().zip(&row.cells).enumerate() {
        let Shown { value, spread, mark, notes } = cell.shown(column);
        let value = match mark {
            Mark::Best => format!("<strong>{value}</strong>"),
            Mark::NotDifferent => {
                format!("{value}<abbr class=\"mark\" title=\"not significantly different from the best\">†</abbr>")
            }
            Mark::None => value,
        };
        let spread = if spread.is_empty() { spread } else { format!("<small>{spread}</small>") };
        let class = if starts.contains(&i) { " class=\"first\"" } else { "" };
        html += &format!("<td{class}>{value}{}{spread}</td>", references(&notes));
    }
    if board.has_average() {
        html += &format!("<td class=\"first\">{}</td>", Leaderboard::average_text(row.average));
    }
    html + "</tr>\n"
}

fn references(notes: &[usize]) -> String {
    let links: Vec<_> = notes.iter().map(|number| format!("<a href=\"#note-{number}\">{number}</a>")).collect();
    if links.is_empty() { String::new() } else { format!("<sup>{}</sup>", links.join(",")) }
}

/// A text as HTML, inside an attribute too.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
