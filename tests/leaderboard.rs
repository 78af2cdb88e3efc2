//! The leaderboard: what is averaged, chosen, tested and marked, and how it is written.

use anaume_core::leaderboard::compare::{Samples, holm};
use anaume_core::leaderboard::display::Mark;
use anaume_core::leaderboard::{Cell, Leaderboard, Row, Run};
use anaume_tests::fake::Fake;
use serde_json::{Value, json};

use crate::cli::{fail, path};

/// The table of some results, with tests.
fn board(fakes: &[Fake]) -> Leaderboard {
    let runs: Vec<Run> = fakes.iter().map(Fake::run).collect();
    let mut board = Leaderboard::build(&runs).unwrap();
    let parse = |samples: &[Value]| samples.iter().map(|line| serde_json::from_value(line.clone()).unwrap()).collect();
    let samples: Samples = fakes.iter().map(|fake| (fake.place(), parse(&fake.samples))).collect();
    board.compare(&samples);
    board
}

fn row<'a>(board: &'a Leaderboard, label: &str) -> &'a Row {
    board.rows.iter().chain(&board.baselines).find(|row| row.label == label).expect("a row of this name")
}

fn cell<'a>(board: &'a Leaderboard, label: &str, column: &str) -> &'a Cell {
    let i = board.columns.iter().position(|known| known.id == column).expect("a column of this id");
    &row(board, label).cells[i]
}

/// The text and the mark of a cell.
fn shown(board: &Leaderboard, label: &str, column: &str) -> (String, Mark) {
    let known = board.columns.iter().find(|known| known.id == column).unwrap();
    let shown = cell(board, label, column).shown(known);
    (format!("{} {}", shown.value, shown.spread).trim_end().to_owned(), shown.mark)
}

fn error(fakes: &[Fake]) -> String {
    Leaderboard::build(&fakes.iter().map(Fake::run).collect::<Vec<_>>()).unwrap_err().to_string()
}

fn grid(model: &str, runs: &[(f64, u64, f64, f64)]) -> Vec<Fake> {
    let fake = |&(rate, seed, dev, test): &(f64, u64, f64, f64)| {
        Fake::new(model, "jsts")
            .metric("pearson", dev)
            .metric("test_pearson", test)
            .only(&["pearson", "test_pearson"])
            .run_of_grid(rate, seed)
    };
    runs.iter().map(fake).collect()
}

#[test]
fn seeds_of_one_setting_make_a_mean_and_a_standard_deviation() {
    let board = board(&grid("small", &[(3e-5, 0, 0.80, 0.7), (3e-5, 1, 0.82, 0.7), (3e-5, 2, 0.84, 0.7)]));
    let cell = cell(&board, "small", "jsts/pearson");
    assert!((cell.value.unwrap() - 0.82).abs() < 1e-12 && (cell.sd.unwrap() - 0.02).abs() < 1e-12);
    assert_eq!((cell.seeds.as_slice(), cell.settings_tried, cell.interval), (&[0, 1, 2][..], 1, None));
    assert_eq!(shown(&board, "small", "jsts/pearson").0, "82.0 ± 2.0 (3)");
}

#[test]
fn one_seed_shows_its_interval() {
    let fake = Fake::new("small", "jcola").interval("accuracy", [0.4, 0.6]);
    assert_eq!(shown(&board(&[fake]), "small", "jcola/accuracy").0, "50.0 [40.0, 60.0]");
}

#[test]
fn the_setting_with_the_best_mean_on_dev_is_shown_whatever_the_test_split_says() {
    // The best single run, and the best test values, are those of the other setting.
    let runs = [(5e-5, 0, 0.95, 0.99), (5e-5, 1, 0.70, 0.99), (3e-5, 0, 0.90, 0.10), (3e-5, 1, 0.90, 0.20)];
    let board = board(&grid("small", &runs));
    let dev = cell(&board, "small", "jsts/pearson");
    assert_eq!((dev.value, dev.settings_tried), (Some(0.9), 2));
    let setting = dev.setting.as_ref().unwrap();
    // Neither the seed nor the data is a setting.
    assert!(setting["learning_rate"] == 3e-5 && setting.get("seed").is_none() && setting.get("data").is_none());
    assert!((cell(&board, "small", "jsts/test_pearson").value.unwrap() - 0.15).abs() < 1e-12);
    let note = &board.notes[dev.notes[0] - 1];
    for part in ["learning_rate 0.00003", "epochs 3", "best of 2 settings by Pearson", "optimistic"] {
        assert!(note.contains(part), "{note}");
    }
}

#[test]
fn a_setting_with_an_undefined_seed_does_not_win() {
    let mut runs =
        grid("small", &[(5e-5, 0, 0.95, 0.5), (5e-5, 1, 0.95, 0.5), (3e-5, 0, 0.6, 0.5), (3e-5, 1, 0.6, 0.5)]);
    runs[1] = runs[1].clone().undefined("pearson", "the predicted scores are all equal");
    assert_eq!(cell(&board(&runs), "small", "jsts/pearson").value, Some(0.6));
}

#[test]
fn a_test_split_chooses_nothing() {
    let fake = Fake::new("small", "jsts").metric("test_pearson", 0.9).only(&["test_pearson"]);
    assert!(error(&[fake]).contains("must not choose"));
    let dir = tempfile::tempdir().unwrap();
    assert!(fail(2, &["leaderboard", &path(dir.path(), "results"), "--select", "test"]).contains("dev"));
}

#[test]
fn holm_steps_down_and_never_decreases() {
    let near = |actual: Vec<f64>, expected: &[f64]| {
        assert_eq!(actual.len(), expected.len());
        actual.iter().zip(expected).for_each(|(a, e)| assert!((a - e).abs() < 1e-12, "{actual:?}"));
    };
    // R: p.adjust(c(.01, .04, .03, .005), "holm")
    near(holm(&[0.01, 0.04, 0.03, 0.005]), &[0.03, 0.06, 0.06, 0.02]);
    near(holm(&[0.9, 0.8]), &[1.0, 1.0]);
    near(holm(&[]), &[]);
}

#[test]
fn what_is_missing_or_undefined_enters_no_average() {
    let jsts = |model: &str| Fake::new(model, "jsts").metric("pearson", 0.8).only(&["pearson"]);
    let board = board(&[
        jsts("whole"),
        Fake::new("whole", "jcola"),
        jsts("missing"),
        jsts("undefined"),
        Fake::new("undefined", "jcola").undefined("accuracy", "there are no examples"),
    ]);
    assert_eq!(board.average_of, ["jcola/accuracy", "jsts/pearson"]);
    assert_eq!(row(&board, "whole").average, Some(0.65));
    for label in ["missing", "undefined"] {
        assert_eq!(row(&board, label).average, None, "{label}");
        assert_eq!(shown(&board, label, "jcola/accuracy").0, "–");
    }
    let undefined = cell(&board, "undefined", "jcola/accuracy");
    assert_eq!(undefined.undefined.as_deref(), Some("undefined: there are no examples"));
    assert!(board.notes[undefined.notes[0] - 1].contains("there are no examples"));
    assert_eq!(board.rows[0].label, "whole");
}

#[test]
fn one_undefined_seed_makes_the_mean_undefined() {
    let mut runs = grid("small", &[(3e-5, 0, 0.8, 0.5), (3e-5, 7, 0.8, 0.5)]);
    runs[1] = runs[1].clone().undefined("pearson", "the predicted scores are all equal");
    let board = board(&runs);
    let cell = cell(&board, "small", "jsts/pearson");
    assert_eq!((cell.value, cell.sd), (None, None));
    assert_eq!(cell.undefined.as_deref(), Some("undefined for seed 7: the predicted scores are all equal"));
}

#[test]
fn different_models_of_one_name_have_rows_of_their_own() {
    let board =
        board(&[Fake::new("small", "jcola").weights("aaaaaaaaaa"), Fake::new("small", "jcola").weights("bbbbbbbbbb")]);
    let labels: Vec<_> = board.rows.iter().map(|row| row.label.as_str()).collect();
    assert_eq!(labels, ["small (aaaaaaaa)", "small (bbbbbbbb)"]);
    assert!(board.rows.iter().all(|row| board.notes[row.notes[0] - 1].contains("small/jcola")));
}

#[test]
fn a_result_that_is_given_twice_counts_once() {
    let fake = Fake::new("small", "jcola");
    let board_of_copies = board(&[fake.clone(), fake.clone()]);
    assert_eq!(cell(&board_of_copies, "small", "jcola/accuracy").seeds, [42]);
    assert!(board_of_copies.notes.is_empty());
    let changed = board(&[fake.clone(), fake.right(&[true, true])]);
    assert_eq!(cell(&changed, "small", "jcola/accuracy").value, Some(0.5));
    assert!(changed.notes[0].contains("the same run with different values"));
}

/// Right everywhere but at every tenth example, and at a few more.
pub fn answers(also_wrong: impl Fn(usize) -> bool) -> Vec<bool> {
    (0..400).map(|i| i % 10 != 0 && !also_wrong(i)).collect()
}

#[test]
fn what_is_not_significantly_different_from_the_best_is_marked() {
    let board = board(&[
        Fake::new("best", "jcola").right(&answers(|_| false)),
        Fake::new("near", "jcola").right(&answers(|i| i == 1 || i == 2)),
        Fake::new("far", "jcola").right(&answers(|i| i % 3 == 0)),
    ]);
    let marks = ["best", "near", "far"].map(|model| shown(&board, model, "jcola/accuracy").1);
    assert_eq!(marks, [Mark::Best, Mark::NotDifferent, Mark::None]);
    let near = cell(&board, "near", "jcola/accuracy");
    // Two differing examples have four sign patterns, two of them as extreme.
    assert_eq!((near.p_value, near.p_holm), (Some(0.5), Some(0.5)));
    let far = cell(&board, "far", "jcola/accuracy");
    assert!(far.p_value.unwrap() < 1e-3 && (far.p_holm.unwrap() - 2.0 * far.p_value.unwrap()).abs() < 1e-12);
    assert_eq!(cell(&board, "best", "jcola/accuracy").p_value, None);
}

#[test]
fn correlations_are_tested_by_the_bootstrap() {
    let gold: Vec<f64> = (0..200).map(|i| f64::from(i % 50) / 10.0).collect();
    let noisy = |width: f64, step: usize| -> Vec<f64> {
        gold.iter().enumerate().map(|(i, gold)| gold + width * ((i * step % 101) as f64 / 101.0 - 0.5)).collect()
    };
    let model = |name: &str, width: f64, step| Fake::new(name, "jsts").scores(&gold, &noisy(width, step));
    let board = board(&[model("best", 2.0, 7919), model("near", 2.0, 6007), model("far", 12.0, 7919)]);
    let mut marks = ["best", "near"].map(|model| shown(&board, model, "jsts/pearson").1);
    marks.sort_by_key(|mark| *mark != Mark::Best);
    assert_eq!(marks, [Mark::Best, Mark::NotDifferent]);
    assert_eq!(shown(&board, "far", "jsts/pearson").1, Mark::None);
    assert!(cell(&board, "far", "jsts/pearson").p_holm.unwrap() < 0.01);
}

#[test]
fn the_matthews_correlation_is_tested_on_labels_of_any_kind() {
    let model = |name: &str, wrong: usize| {
        let mut fake = Fake::new(name, "jcola").right(&answers(|i| i % wrong == 1));
        // Targets of two kinds: every third one is the other label.
        let flip = |sample: &mut Value| {
            if sample["doc_id"].as_u64().unwrap().is_multiple_of(3) {
                let swap = |value: &Value| if value == "a" { json!("b") } else { json!("a") };
                (sample["target"], sample["prediction"]) = (swap(&sample["target"]), swap(&sample["prediction"]));
            }
        };
        fake.samples.iter_mut().for_each(flip);
        let labels = |key: &str| fake.samples.iter().map(|sample| usize::from(sample[key] == "a")).collect::<Vec<_>>();
        let mcc = anaume_core::metrics::classification::matthews(&labels("target"), &labels("prediction")).unwrap();
        fake.metric("matthews", mcc)
    };
    let board = board(&[model("best", 399), model("far", 4)]);
    assert_eq!(
        board.columns.iter().map(|column| column.id.as_str()).collect::<Vec<_>>(),
        ["jcola/accuracy", "jcola/matthews"]
    );
    let far = cell(&board, "far", "jcola/matthews");
    assert_eq!(far.untested, None);
    assert!(far.p_holm.unwrap() < 0.01);
}

#[test]
fn perplexities_are_tested_over_all_texts_and_means_over_those_that_have_one() {
    let texts = |model: &str, factor: f64| {
        let mut fake = Fake::new(model, "pseudo-perplexity");
        let text = |i: usize| {
            let value = factor * (3.0 + (i % 7) as f64);
            json!({"doc_id": format!("text-{i}"), "tokens": 10 + i, "characters": 20 + i, "pseudo_perplexity_per_char": value})
        };
        fake.samples = (0..60).map(text).collect();
        let sum = |term: &dyn Fn(&Value) -> f64| fake.samples.iter().map(term).sum::<f64>();
        let chars = |sample: &Value| sample["characters"].as_f64().unwrap();
        let loss = sum(&|sample| chars(sample) * sample["pseudo_perplexity_per_char"].as_f64().unwrap().ln());
        let value = (loss / sum(&chars)).exp();
        fake.lower_metric("pseudo_perplexity_per_char", value).only(&["pseudo_perplexity_per_char"])
    };
    let perplexities = board(&[texts("best", 1.0), texts("far", 1.5)]);
    let far = cell(&perplexities, "far", "pseudo-perplexity/pseudo_perplexity_per_char");
    assert!(far.untested.is_none() && far.p_holm.unwrap() < 0.01 && !far.is_best);
    // As retrieval and fill-mask record them: inside `metrics`, and not for every example.
    let ranks = |model: &str, wrong: usize| {
        let mut fake = Fake::new(model, "retrieval").right(&answers(|i| i % wrong == 0));
        let nested = |sample: &mut Value| {
            sample["metrics"] = json!({"recall@10": sample["accuracy"].take()});
            sample.as_object_mut().unwrap().remove("accuracy");
        };
        fake.samples.iter_mut().for_each(nested);
        fake.samples.push(json!({"doc_id": 1000, "metrics": {"recall@10": null}}));
        let share = answers(|i| i % wrong == 0).iter().filter(|right| **right).count() as f64 / 400.0;
        fake.metric("recall@10", share).only(&["recall@10"])
    };
    let recalls = board(&[ranks("best", 500), ranks("far", 3)]);
    let far = cell(&recalls, "far", "retrieval/recall@10");
    assert!(far.untested.is_none() && far.p_holm.unwrap() < 0.01);
}

#[test]
fn predictions_that_do_not_belong_to_the_value_are_not_tested() {
    let untested = |second: Fake| {
        let board = board(&[Fake::new("best", "jcola").right(&answers(|_| false)), second]);
        let cell = cell(&board, "other", "jcola/accuracy");
        let reason = cell.untested.clone().expect("no test");
        assert!(cell.p_value.is_none() && board.notes.iter().any(|note| note.contains(&reason)));
        reason
    };
    let other = || Fake::new("other", "jcola").right(&answers(|i| i % 3 == 0));
    assert!(untested(other().metric("accuracy", 0.3)).contains("does not follow"));
    let mut fewer = other().right(&[true, false]);
    assert!(untested(fewer.clone()).contains("different examples"));
    fewer.samples.iter_mut().for_each(|sample| sample["accuracy"] = Value::Null);
    assert!(untested(fewer.clone()).contains("not recorded for single examples"));
    fewer.samples[1]["doc_id"] = json!(0);
    assert!(untested(fewer.clone()).contains("same name"));
    fewer.samples.clear();
    assert!(untested(fewer).contains("no example of the split valid"));
}

#[test]
fn neither_alignment_nor_uniformity_alone_makes_a_model_the_best_or_orders_the_table() {
    let model = |name: &str, uniformity: f64, auroc: f64| {
        let alignment = Fake::new(name, "alignment-kyoto").lower_metric("uniformity", uniformity);
        let alignment = alignment.lower_metric("alignment", 0.5).only(&["uniformity", "alignment"]);
        [alignment, Fake::new(name, "similarity-kyoto").metric("auroc", auroc).only(&["auroc"])]
    };
    let board = board(&[model("random", -3.0, 0.6), model("trained", -1.0, 0.9)].concat());
    assert_eq!((board.rows[0].label.as_str(), board.sorted_by.as_str()), ("trained", "similarity-kyoto/auroc"));
    let cells = ["alignment", "uniformity"].map(|metric| cell(&board, "random", &format!("alignment-kyoto/{metric}")));
    assert!(cells.iter().all(|cell| cell.value.is_some() && !cell.is_best && cell.untested.is_none()));
    assert!(cell(&board, "trained", "similarity-kyoto/auroc").is_best);
}

#[test]
fn seeds_are_tested_by_their_mean_on_each_example() {
    let run = |model: &str, seed: u64, wrong: usize| {
        Fake::new(model, "jcola").right(&answers(move |i| i % wrong == seed as usize)).run_of_grid(3e-5, seed)
    };
    let board = board(&[run("best", 0, 50), run("best", 1, 50), run("far", 0, 3), run("far", 1, 3)]);
    let far = cell(&board, "far", "jcola/accuracy");
    assert_eq!((far.seeds.len(), far.untested.as_ref()), (2, None));
    assert!(far.p_holm.unwrap() < 1e-3);
}

#[test]
fn different_data_is_a_warning_and_no_comparison() {
    let model = |name: &str, hash: &str| {
        let options = json!({"data": [{"name": "valid.json", "size_bytes": 9, "blake3": hash}]});
        Fake::new(name, "jcola").options(options).right(&answers(|i| i == 1 && name == "b"))
    };
    let same = board(&[model("a", "11"), model("b", "11")]);
    assert!(cell(&same, "b", "jcola/accuracy").p_value.is_some() && same.columns[0].is_comparable);
    let different = board(&[model("a", "11"), model("b", "22")]);
    assert!(!different.columns[0].is_comparable);
    let cells = ["a", "b"].map(|name| cell(&different, name, "jcola/accuracy"));
    assert!(cells.iter().all(|cell| !cell.is_best && cell.p_value.is_none() && cell.value.is_some()));
    assert!(different.notes[different.columns[0].notes[0] - 1].contains("Warning"));
    assert!(error(&[model("a", "11"), model("a", "22")]).contains("different data"));
}

#[test]
fn baselines_have_rows_below_and_disagreeing_ones_no_value() {
    let model = |name: &str, majority: f64| Fake::new(name, "jcola").baseline("majority", "accuracy", majority);
    let agreeing = board(&[model("a", 0.839), model("b", 0.839)]);
    assert_eq!(shown(&agreeing, "majority", "jcola/accuracy").0, "83.9");
    assert!(!cell(&agreeing, "majority", "jcola/accuracy").is_best);
    let disagreeing = board(&[model("a", 0.839), model("b", 0.8)]);
    assert_eq!(shown(&disagreeing, "majority", "jcola/accuracy").0, "–");
    assert!(disagreeing.notes.iter().any(|note| note.contains("disagree")));
}

#[test]
fn settings_without_a_development_split_have_columns_of_their_own() {
    let run = |model: &str, pooling: &str| Fake::new(model, "retrieval").options(json!({"k": 10, "pooling": pooling}));
    let both = board(&[run("a", "cls"), run("a", "mean"), run("b", "mean")]);
    let ids: Vec<_> = both.columns.iter().map(|column| column.id.as_str()).collect();
    assert_eq!(ids, ["retrieval (pooling cls)/accuracy", "retrieval (pooling mean)/accuracy"]);
    assert_eq!(cell(&both, "b", ids[0]).value, None);
    // One setting each is one column, with a remark.
    let one = board(&[run("a", "cls"), run("b", "mean")]);
    assert_eq!(one.columns.len(), 1);
    assert!(one.notes.iter().any(|note| note.contains("a: pooling cls; b: pooling mean")), "{:?}", one.notes);
}

#[test]
fn rows_are_sorted_best_first_by_the_column_that_is_named() {
    let model = |name: &str, accuracy: f64, perplexity: f64| {
        [
            Fake::new(name, "jcola").metric("accuracy", accuracy),
            Fake::new(name, "pseudo-perplexity").lower_metric("perplexity", perplexity).only(&["perplexity"]),
        ]
    };
    let mut board = board(&[model("a", 0.6, 9.0), model("b", 0.7, 12.345)].concat());
    let order = |board: &Leaderboard| board.rows.iter().map(|row| row.label.clone()).collect::<String>();
    assert_eq!((order(&board).as_str(), board.sorted_by.as_str()), ("ba", "jcola/accuracy"));
    for by in ["perplexity", "pseudo-perplexity", "pseudo-perplexity/perplexity"] {
        board.sort(Some("accuracy")).unwrap();
        board.sort(Some(by)).unwrap();
        assert_eq!(order(&board), "ab", "{by}");
    }
    assert_eq!(shown(&board, "b", "pseudo-perplexity/perplexity").0, "12.35");
    let error = board.sort(Some("bleu")).unwrap_err().to_string();
    assert!(error.contains("`bleu`") && error.contains("jcola/accuracy"), "{error}");
}

#[test]
fn notes_stand_once_and_those_of_one_model_name_it() {
    let limit = "JNLI's train split is not at hand";
    let board = board(&[
        Fake::new("a", "jnli-substitute").note(limit).metric("test_accuracy", 0.5),
        Fake::new("b", "jnli-substitute").note(limit).note("cut to 512 tokens"),
    ]);
    assert_eq!(board.notes.iter().filter(|note| note.contains(limit)).count(), 1);
    assert!(board.columns.iter().all(|column| board.notes[column.notes[0] - 1] == limit));
    assert!(board.notes.contains(&"b: cut to 512 tokens".to_owned()));
}
