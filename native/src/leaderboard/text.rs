//! The table as Markdown, LaTeX and CSV.

use anaume_core::leaderboard::display::{Mark, Shown, baseline_label};
use anaume_core::leaderboard::{Cell, Column, Leaderboard, Row};

/// GitHub's tables, with footnotes below.
pub fn markdown(board: &Leaderboard) -> String {
    let mut header = vec!["モデル Model".to_owned()];
    header.extend(board.columns.iter().map(|column| {
        let name = format!("{} {} {}", column.task_label, column.metric_label, arrow(column));
        escape_markdown(&name) + &references(&column.notes)
    }));
    header.extend(board.has_average().then(|| "平均 Average ↑".to_owned()));
    let mut lines = vec![markdown_row(&header), format!("|:--{}|", "|--:".repeat(header.len() - 1))];
    lines.extend(board.rows.iter().map(|row| markdown_row(&markdown_cells(board, row, row.label.clone()))));
    let baselines = board.baselines.iter();
    lines.extend(baselines.map(|row| markdown_row(&markdown_cells(board, row, baseline_label(&row.label)))));
    lines.push(String::new());
    lines.push(board.legend().join(" "));
    if !board.notes.is_empty() {
        lines.push(String::new());
    }
    lines.extend(board.notes.iter().zip(1..).map(|(note, number)| format!("{number}. {}", escape_markdown(note))));
    lines.join("\n") + "\n"
}

fn markdown_row(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}

fn markdown_cells(board: &Leaderboard, row: &Row, label: String) -> Vec<String> {
    let mut cells = vec![escape_markdown(&label) + &references(&row.notes)];
    cells.extend(board.columns.iter().zip(&row.cells).map(|(column, cell)| {
        let Shown { value, spread, mark, notes } = cell.shown(column);
        let value = match mark {
            Mark::Best => format!("**{value}**"),
            Mark::NotDifferent => format!("{value}†"),
            Mark::None => value,
        };
        format!("{value} {spread}").trim_end().to_owned() + &references(&notes)
    }));
    cells.extend(board.has_average().then(|| Leaderboard::average_text(row.average)));
    cells
}

fn arrow(column: &Column) -> &'static str {
    if column.higher_is_better { "↑" } else { "↓" }
}

/// ` [1, 2]`, or nothing.
fn references(notes: &[usize]) -> String {
    let numbers: Vec<_> = notes.iter().map(usize::to_string).collect();
    if numbers.is_empty() { String::new() } else { format!(" [{}]", numbers.join(", ")) }
}

fn escape_markdown(text: &str) -> String {
    let escape = |c: char| match c {
        '|' | '*' | '\\' => format!("\\{c}"),
        '<' => "&lt;".into(),
        '\n' | '\r' => " ".into(),
        _ => c.into(),
    };
    text.chars().map(escape).collect()
}

/// A table environment; needs the package booktabs.
pub fn latex(board: &Leaderboard) -> String {
    let columns = 1 + board.columns.len() + usize::from(board.has_average());
    let mut lines = vec![
        "% needs \\usepackage{booktabs}, and for Japanese names LuaLaTeX or upLaTeX".to_owned(),
        "\\begin{table}".into(),
        "\\centering".into(),
        format!("\\begin{{tabular}}{{l{}}}", "r".repeat(columns - 1)),
        "\\toprule".into(),
    ];
    lines.extend(latex_header(board));
    lines.push("\\midrule".into());
    lines.extend(board.rows.iter().map(|row| latex_row(board, row)));
    lines.extend((!board.baselines.is_empty()).then(|| "\\midrule".to_owned()));
    lines.extend(board.baselines.iter().map(|row| latex_row(board, row)));
    lines.extend(["\\bottomrule", "\\end{tabular}", "", "\\smallskip\\footnotesize"].map(str::to_owned));
    let paragraph = |text: &str| format!("{}\\par", escape_latex(text));
    lines.extend(board.legend().into_iter().map(paragraph));
    lines.extend(board.notes.iter().zip(1..).map(|(note, n)| format!("$^{{{n}}}$ {}", paragraph(note))));
    lines.push("\\end{table}".into());
    lines.join("\n") + "\n"
}

/// Tasks over their metrics.
fn latex_header(board: &Leaderboard) -> [String; 3] {
    let groups = board.groups();
    let tasks = groups.iter().map(|(column, range)| {
        let name = escape_latex(&column.task_label) + &latex_references(&column.notes);
        format!("\\multicolumn{{{}}}{{c}}{{{name}}}", range.len())
    });
    let rules = groups.iter().map(|(_, range)| format!("\\cmidrule(lr){{{}-{}}}", range.start + 2, range.end + 1));
    let metrics =
        board.columns.iter().map(|column| escape_latex(&format!("{} {}", column.metric_label, arrow(column))));
    let (above, below) = if board.has_average() { (" & ", " & Avg.") } else { ("", "") };
    let row = |cells: Vec<String>, last: &str| format!(" & {}{last} \\\\", cells.join(" & "));
    [row(tasks.collect(), above), rules.collect::<String>(), format!("Model{}", row(metrics.collect(), below))]
}

fn latex_row(board: &Leaderboard, row: &Row) -> String {
    let mut cells = vec![escape_latex(&row.label) + &latex_references(&row.notes)];
    cells.extend(board.columns.iter().zip(&row.cells).map(|(column, cell)| {
        let Shown { value, spread, mark, notes } = cell.shown(column);
        let value = match mark {
            Mark::Best => format!("\\textbf{{{}}}", escape_latex(&value)),
            Mark::NotDifferent => format!("{}$^\\dagger$", escape_latex(&value)),
            Mark::None => escape_latex(&value),
        };
        let spread = if spread.is_empty() { spread } else { format!(" {{\\scriptsize {}}}", escape_latex(&spread)) };
        value + &spread + &latex_references(&notes)
    }));
    cells.extend(board.has_average().then(|| escape_latex(&Leaderboard::average_text(row.average))));
    format!("{} \\\\", cells.join(" & "))
}

fn latex_references(notes: &[usize]) -> String {
    let numbers: Vec<_> = notes.iter().map(usize::to_string).collect();
    if numbers.is_empty() { String::new() } else { format!("$^{{{}}}$", numbers.join(",")) }
}

fn escape_latex(text: &str) -> String {
    let escape = |c: char| match c {
        '\\' => "\\textbackslash{}".into(),
        '&' | '%' | '$' | '#' | '_' | '{' | '}' => format!("\\{c}"),
        '~' => "\\textasciitilde{}".into(),
        '^' => "\\textasciicircum{}".into(),
        '<' => "$<$".into(),
        '>' => "$>$".into(),
        '±' => "$\\pm$".into(),
        '†' => "$^\\dagger$".into(),
        '↑' => "$\\uparrow$".into(),
        '↓' => "$\\downarrow$".into(),
        '–' => "--".into(),
        '\n' | '\r' => " ".into(),
        _ => c.to_string(),
    };
    text.chars().map(escape).collect()
}

const CSV_HEADER: [&str; 15] = [
    "model",
    "weights_blake3",
    "task",
    "metric",
    "value",
    "sd",
    "ci95_low",
    "ci95_high",
    "seeds",
    "settings_tried",
    "setting",
    "best",
    "p_value",
    "p_holm",
    "note",
];

/// One line for each row and column, then the averages. Values are as recorded, not times 100.
pub fn csv(board: &Leaderboard) -> String {
    let mut csv = csv::Writer::from_writer(Vec::new());
    let mut write = |line: &[String]| csv.write_record(line).expect("lines of one length go into memory");
    write(&CSV_HEADER.map(str::to_owned));
    for row in board.rows.iter().chain(&board.baselines) {
        for (column, cell) in board.columns.iter().zip(&row.cells) {
            write(&csv_line(board, row, column, cell));
        }
        if board.has_average() {
            let mut line = vec![row.label.clone(), weights(row), "average".into(), String::new(), number(row.average)];
            line.resize(CSV_HEADER.len(), String::new());
            write(&line);
        }
    }
    let bytes = csv.into_inner().expect("lines go into memory");
    String::from_utf8(bytes).expect("strings are UTF-8")
}

fn weights(row: &Row) -> String {
    row.model.as_ref().map_or_else(String::new, |model| model.weights_blake3.clone())
}

fn csv_line(board: &Leaderboard, row: &Row, column: &Column, cell: &Cell) -> [String; CSV_HEADER.len()] {
    let [low, high] = cell.interval.map_or([None, None], |ends| ends.map(Some));
    let seeds: Vec<_> = cell.seeds.iter().map(u64::to_string).collect();
    let notes = column.notes.iter().chain(&cell.notes).map(|number| board.notes[number - 1].as_str());
    let notes: Vec<_> = notes.chain(cell.untested.as_deref()).collect();
    [
        row.label.clone(),
        weights(row),
        column.task.clone(),
        column.metric.clone(),
        number(cell.value),
        number(cell.sd),
        number(low),
        number(high),
        seeds.join(" "),
        if cell.settings_tried == 0 { String::new() } else { cell.settings_tried.to_string() },
        cell.setting.as_ref().map_or_else(String::new, ToString::to_string),
        if cell.is_best { "best".into() } else { String::new() },
        number(cell.p_value),
        number(cell.p_holm),
        notes.join(" "),
    ]
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}
