//! The leaderboard and the model card as files.

use std::fs;
use std::io::Read;
use std::path::Path;

use anaume_core::leaderboard::Leaderboard;
use anaume_core::report::site::SiteIndex;
use anaume_tests::fake::Fake;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::read::GzDecoder;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::cli::{fail, path, succeed, workshop};
use crate::leaderboard::answers;

/// A results folder with hostile names, a grid, baselines and a hole.
fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let evil = "<script>alert(1)</script>,\"q\"|&_%";
    for (model, wrong) in [("small", 5), (evil, 3)] {
        for seed in [0, 1] {
            let right = answers(move |i| i % wrong == seed);
            let fake = Fake::new(model, "jcola").right(&right).baseline("majority", "accuracy", 0.839);
            // A slash in a model's name would be a folder.
            let mut fake = fake.run_of_grid(3e-5, seed as u64).note("Always answering \"acceptable\" scores 83.9 %.");
            let name = std::mem::take(&mut fake.model.name);
            let root = dir.path().join(format!("shard{}", name.len()));
            fake.model.name = "model".into();
            let place = fake.write(&root);
            fake.model.name = name;
            fs::write(place.join("results.json"), fake.report().to_json()).unwrap();
        }
    }
    Fake::new("small", "jsts").metric("pearson", 0.9).only(&["pearson"]).write(dir.path());
    dir
}

fn written(folder: &Path, format: &str) -> String {
    succeed(&["leaderboard", &folder.display().to_string(), "--format", format])
}

#[test]
fn markdown_has_as_many_cells_in_every_row() {
    let dir = folder();
    let text = written(dir.path(), "markdown");
    let rows: Vec<_> = text.lines().filter(|line| line.starts_with('|')).collect();
    assert_eq!(rows.len(), 2 + 2 + 1, "{text}");
    for row in &rows {
        assert_eq!(row.replace("\\|", "").matches('|').count(), 5, "{row}");
    }
    assert!(text.contains("Majority") && text.contains("1. ") && !text.contains("<script"), "{text}");
    assert!(text.contains("**") && text.contains(" ± ") && text.contains("–"), "{text}");
}

#[test]
fn latex_has_as_many_columns_as_it_says() {
    let dir = folder();
    let text = written(dir.path(), "latex");
    let columns = text.lines().find_map(|line| line.strip_prefix("\\begin{tabular}{")).unwrap().trim_end_matches('}');
    assert_eq!(columns, "lrrr");
    let rows: Vec<_> = text.lines().filter(|line| line.ends_with("\\\\")).collect();
    assert_eq!(rows.len(), 2 + 2 + 1, "{text}");
    for row in rows {
        let separators = row.replace("\\&", "").matches('&').count();
        let spanned: usize = row
            .split("\\multicolumn{")
            .skip(1)
            .map(|rest| rest.split('}').next().unwrap().parse::<usize>().unwrap() - 1)
            .sum();
        assert_eq!(separators + spanned + 1, columns.len(), "{row}");
    }
    assert!(text.contains("\\_\\%") && text.contains("\\toprule") && text.contains("\\cmidrule(lr){2-2}"), "{text}");
}

#[test]
fn html_escapes_names_and_loads_nothing() {
    let dir = folder();
    let text = written(dir.path(), "html");
    assert!(text.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && !text.contains("<script"), "{text}");
    for word in ["http", "src=", "url(", "@import", "<link"] {
        assert!(!text.contains(word), "{word}");
    }
    assert!(text.contains("prefers-color-scheme: dark") && text.contains("<caption>"));
    let table = &text[text.find("<table>").unwrap()..text.find("</table>").unwrap() + 8];
    let table = roxmltree::Document::parse(table).unwrap();
    let body = table.descendants().filter(|node| node.has_tag_name("tr")).skip(2);
    let widths: Vec<usize> = body
        .map(|row| {
            let cells = row.children().filter(|node| node.has_tag_name("td") || node.has_tag_name("th"));
            cells.map(|cell| cell.attribute("colspan").map_or(1, |width| width.parse().unwrap())).sum()
        })
        .collect();
    assert_eq!(widths, [4, 4, 4, 4], "two models, the title of the baselines, one baseline");
    let targets = table.descendants().filter_map(|node| node.attribute("href"));
    targets.for_each(|target| assert!(text.contains(&format!("id=\"{}\"", &target[1..])), "{target}"));
}

/// Fields of a line of CSV without line breaks in them.
fn csv_fields(line: &str) -> Vec<String> {
    let (mut fields, mut quoted) = (vec![String::new()], false);
    for c in line.replace("\"\"", "\u{1}").chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            '\u{1}' => fields.last_mut().unwrap().push('"'),
            _ => fields.last_mut().unwrap().push(c),
        }
    }
    fields
}

#[test]
fn csv_quotes_what_it_must_and_holds_p_values() {
    let dir = folder();
    let text = written(dir.path(), "csv");
    let lines: Vec<_> = text.lines().map(csv_fields).collect();
    let header = &lines[0];
    assert!(lines.iter().all(|line| line.len() == header.len()), "{text}");
    let column = |name: &str| header.iter().position(|known| known == name).unwrap();
    let evil = lines.iter().find(|line| line[0] == "<script>alert(1)</script>,\"q\"|&_%").expect("the name as it is");
    assert!(evil[column("p_holm")].parse::<f64>().unwrap() < 0.05);
    let setting: Value = serde_json::from_str(&evil[column("setting")]).unwrap();
    assert_eq!(setting["batch_size"], 32);
    assert!(evil[column("note")].contains("\"acceptable\""));
}

/// A results folder with a run in it, and the report of it with a made-up page.
fn report() -> (TempDir, String) {
    let dir = folder();
    for (name, content) in [
        ("run/metrics.jsonl", ""),
        ("page/index.html", "<!doctype html>"),
        ("page/page.js", "const __wbg_init = 1;\n"),
        ("page/report.js", "start();\n"),
        ("page/style.css", "main { margin: 0; }\n"),
        ("page/page_bg.wasm", "the program"),
    ] {
        fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
        fs::write(dir.path().join(name), content).unwrap();
    }
    let [root, out, page] = ["", "report.html", "page"].map(|name| path(dir.path(), name));
    succeed(&["report", &root, "--out", &out, "--page", &page]);
    let text = fs::read_to_string(&out).unwrap();
    (dir, text)
}

#[test]
fn a_report_is_one_page_with_table_figures_data_and_curves() {
    let (dir, text) = report();
    let (start, end) = (text.find("<main").unwrap(), text.find("</main>").unwrap());
    let readable = &text[start..end];
    assert!(readable.contains("<table>") && readable.matches("<figure ").count() == 2, "models and loss: {readable}");
    assert!(readable.contains("panel,name,value,low,high") && readable.contains("学習曲線"), "{readable}");
    for forbidden in ["<script", " style=", "src=", "@import", "url("] {
        assert!(!readable.contains(forbidden), "{forbidden}");
    }
    let [empty, out] = ["empty", "report.html"].map(|name| path(dir.path(), name));
    fs::create_dir(&empty).unwrap();
    assert!(fail(2, &["report", &empty, "--out", &out]).contains("metrics.jsonl"));
    assert_eq!(fs::read_to_string(&out).unwrap(), text, "a failure leaves what was there");
}

#[test]
fn a_report_holds_the_program_and_the_results_and_allows_nothing_else() {
    let (_dir, text) = report();
    let unpacked = |name: &str| {
        let start = text.find(&format!("data-file=\"{name}\"")).unwrap_or_else(|| panic!("no {name} in {text}"));
        let (_, packed) = text[start..].split_once('>').unwrap();
        let packed = BASE64_STANDARD.decode(&packed[..packed.find('<').unwrap()]).unwrap();
        let mut bytes = String::new();
        GzDecoder::new(&packed[..]).read_to_string(&mut bytes).unwrap();
        bytes
    };
    assert_eq!(unpacked("page_bg.wasm"), "the program");
    let index = SiteIndex::from_json(&unpacked("site.json")).unwrap();
    assert_eq!((index.runs.len(), index.models.len()), (1, 0));
    let samples = index.results[0].url.replace("results.json", "samples.jsonl");
    assert!(unpacked(&index.results[0].url).contains("format_version") && unpacked(&samples).contains("doc_id"));
    let policy = text.split_once("Security-Policy\" content=\"").unwrap().1.split_once('"').unwrap().0;
    assert!(
        policy.starts_with("default-src 'none';") && !policy.contains("unsafe-inline") && !policy.contains("http"),
        "{policy}"
    );
    let (_, script) = text.split_once("<script type=\"module\">").unwrap();
    let hash = BASE64_STANDARD.encode(Sha256::digest(&script[..script.find("</script>").unwrap()]));
    assert!(policy.contains(&format!("script-src 'sha256-{hash}' 'wasm-unsafe-eval'")), "{policy}");
}

#[test]
fn json_holds_everything_and_a_file_is_written() {
    let dir = folder();
    let out = path(dir.path(), "table.json");
    let root = dir.path().display().to_string();
    assert_eq!(succeed(&["leaderboard", &root, "--format", "json", "--out", &out, "--sort", "jcola"]), "");
    let board: Leaderboard = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
    assert_eq!((board.sorted_by.as_str(), board.rows.len(), board.baselines.len()), ("jcola/accuracy", 2, 1));
    assert!(fail(2, &["leaderboard", &root, "--sort", "bleu"]).contains("jcola/accuracy"));
}

#[test]
fn a_folder_without_results_and_a_damaged_line_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().display().to_string();
    assert!(fail(2, &["leaderboard", &root]).contains("no results.json"));
    Fake::new("a", "jcola").write(dir.path());
    let place = Fake::new("b", "jcola").write(dir.path());
    fs::write(place.join("samples.jsonl"), "{\"doc_id\": 0}\n{\"doc_id\": [1]}\n").unwrap();
    let error = fail(3, &["leaderboard", &root]);
    assert!(error.contains("samples.jsonl") && error.contains("line 2"), "{error}");
    fs::remove_file(place.join("samples.jsonl")).unwrap();
    assert!(succeed(&["leaderboard", &root]).contains("no per-example predictions"));
}

#[test]
fn a_model_card_holds_the_results_of_its_model_alone() {
    let dir = tempfile::tempdir().unwrap();
    let model = workshop().join("model");
    let file = |name: &str| fs::read(model.join(name)).unwrap_or_default();
    let hash = |bytes: &[u8]| blake3::hash(bytes).to_hex().to_string();
    let tokenizer = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"].map(file).concat();
    let mut fake =
        Fake::new("called \"otherwise\"", "jcola").interval("accuracy", [0.4, 0.6]).note("83.9 % is the majority.");
    (fake.model.weights_blake3, fake.model.tokenizer_blake3) = (hash(&file("model.safetensors")), hash(&tokenizer));
    fake.metric("ood_accuracy", 0.7333)
        .metric("matthews", 0.25)
        .baseline("majority", "accuracy", 0.839)
        .write(dir.path());
    Fake::new("other", "jsts").write(dir.path());
    let (root, model) = (dir.path().display().to_string(), model.display().to_string());
    let card = succeed(&["model", "card", &model, "--results", &root]);
    let (front, page) = card.strip_prefix("---\n").unwrap().split_once("---\n").unwrap();
    for part in [
        "- ja\n",
        "library_name: transformers",
        "- name: \"model\"",
        "value: 0.5\n",
        "type: \"matthews_correlation\"",
        "value: 0.7333\n",
        "split: out_of_domain",
    ] {
        assert!(front.contains(part), "{front}");
    }
    assert!(!card.contains("jsts") && !front.contains("license"), "{card}");
    for part in
        ["| 50.0 | [40.0, 60.0] | Majority 多数派 83.9 |", "83.9 % is the majority.", "from_pretrained(\"model\")"]
    {
        assert!(page.contains(part), "{page}");
    }
    let only_other = path(dir.path(), "other");
    assert!(fail(2, &["model", "card", &model, "--results", &only_other]).contains("only of other"));
}
