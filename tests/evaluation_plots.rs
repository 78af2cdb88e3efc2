//! Figures of evaluations: what each must show, with the data that is hard on it.

use std::collections::{BTreeMap, VecDeque};

use anaume_core::leaderboard::Run;
use anaume_core::plot::{
    Bin, DotChart, DotGroup, Estimate, Figure, ForestChart, ForestPanel, HEIGHT, Histogram, HistogramChart,
    HistogramPanel, NamedFigure, Place, ScatterChart, Track,
};
use anaume_core::report::eval::{EvalConfig, EvalReport, MetricValue, ModelIdentity, TaskResult};
use proptest::prelude::{any, prop, proptest};
use roxmltree::Document;
use serde_json::json;

use crate::plot::{assert_drawn_inside, circles, elements, svg, texts};

fn scatter(tracks: Vec<Track>) -> ScatterChart {
    ScatterChart { title: "図".into(), x_label: "x".into(), y_label: "y".into(), tracks, notes: vec![] }
}

fn place(label: &str, x: f64, y: f64) -> Place {
    Place { label: label.into(), x, y, ..Place::default() }
}

fn track(name: &str, look: usize, places: Vec<Place>) -> Track {
    Track { name: name.into(), look, places }
}

/// Boxes of the texts of size 12, rather narrower than drawn: left, right, baseline.
fn labels(svg: &str) -> Vec<(String, f64, f64, f64)> {
    let document = Document::parse(svg).expect("well-formed XML");
    let number = |node: roxmltree::Node<'_, '_>, name| node.attribute(name).and_then(|n| n.parse::<f64>().ok());
    let label = |node: roxmltree::Node<'_, '_>| {
        let text = node.text().unwrap_or_default().trim().to_owned();
        let width = text.chars().map(|c| if c > '\u{2000}' { 120.0 } else { 60.0 }).sum::<f64>();
        let (x, y) = (number(node, "x").expect("x"), number(node, "y").expect("y"));
        (text, x, x + width, y)
    };
    elements(&document, "text").map(label).collect()
}

#[test]
fn every_model_is_labelled_and_no_label_covers_another() {
    // All at nearly one place, the hardest case.
    let names = [
        "cl-nagoya/ruri-large-v2",
        "tohoku-nlp/bert-base-japanese-v3",
        "日本語のモデル",
        "d",
        "llm-jp-modernbert-base",
    ];
    let tracks = names.iter().zip(0..).map(|(name, i)| track(name, i, vec![place("", -1.0 + 1e-3 * i as f64, 0.1)]));
    let drawn = svg(&scatter(tracks.chain([track("far", 5, vec![place("", -3.0, 0.9)])]).collect()));
    assert_drawn_inside(&drawn);
    let labels = labels(&drawn);
    let beside: Vec<_> =
        names.iter().map(|name| labels.iter().rfind(|label| label.0 == *name).expect("labelled")).collect();
    for (i, a) in beside.iter().enumerate() {
        assert_eq!(
            labels.iter().filter(|label| label.0 == a.0).count(),
            2,
            "{}: in the legend and beside the marker",
            a.0
        );
        for b in &beside[i + 1..] {
            let apart = a.2 <= b.1 || b.2 <= a.1 || (a.3 - b.3).abs() >= 120.0;
            assert!(apart, "{a:?} covers {b:?}");
        }
    }
}

#[test]
fn a_run_is_a_line_that_names_its_steps_where_there_is_room() {
    let steps: Vec<_> = (1..=4).map(|i| place(&format!("{},000", i), f64::from(i), f64::from(i * i))).collect();
    let drawn = svg(&scatter(vec![track("学習", 0, steps)]));
    let texts = texts(&drawn);
    for text in ["1,000", "2,000", "3,000", "学習 4,000"] {
        assert!(texts.contains(&text.to_owned()), "{text} is missing from {texts:?}");
    }
    let crowded = (0..500).map(|i| place(&i.to_string(), f64::from(i), 0.0)).collect();
    let crowded = svg(&scatter(vec![track("run", 0, crowded)]));
    assert_drawn_inside(&crowded);
    assert!(labels(&crowded).len() < 200, "labels without room are left out");
    assert!(labels(&crowded).iter().any(|label| label.0 == "run 499"), "the last one never");
}

fn dots(values: &[(f64, f64)], logarithmic: bool) -> DotChart {
    let bin = Bin { from: 0.0, to: 10.0, count: values.len(), median: 4.0, interval: Some([3.0, 5.0]) };
    let group = DotGroup { name: "モデル".into(), look: 0, dots: values.to_vec(), bins: vec![bin] };
    let [title, x_label, y_label] = ["図", "長さ", "値"].map(str::to_owned);
    DotChart { title, x_label, y_label, logarithmic, groups: vec![group], notes: vec![], pending: VecDeque::new() }
}

#[test]
fn no_outlier_is_hidden_and_what_cannot_be_drawn_is_counted() {
    for logarithmic in [false, true] {
        let values = [(1.0, 2.0), (2.0, 1e9), (3.0, f64::INFINITY), (4.0, 3.0), (9_000.0, 4.0), (5.0, f64::NAN)];
        let drawn = svg(&dots(&values, logarithmic));
        assert_drawn_inside(&drawn);
        // Two discs make a round marker: one in the legend, one at the median.
        assert_eq!(circles(&drawn), 4 + 2 * 2, "every finite document has its dot");
        assert!(texts(&drawn).contains(&"図にない点 (not drawable): 2".to_owned()));
    }
    let zero = svg(&dots(&[(1.0, 0.0), (2.0, 1e-300), (3.0, 5.0)], true));
    assert!(texts(&zero).contains(&"図にない点 (not drawable): 2".to_owned()), "0 has no logarithm");
}

fn histogram(random: Vec<f64>, positive: Vec<f64>) -> HistogramChart {
    let histograms =
        [("無作為", random), ("正例", positive)].map(|(name, values)| Histogram { name: name.into(), values });
    let panel =
        HistogramPanel { name: "モデル".into(), note: "重なり 0.25".into(), histograms: histograms.into() };
    let (title, x_label) = ("図".into(), "コサイン".into());
    HistogramChart { title, x_label, panels: vec![panel; 5], notes: vec!["限界 ".repeat(200)] }
}

#[test]
fn histograms_share_their_axis_and_state_the_overlap_in_each_panel() {
    let chart = histogram(vec![0.1, 0.2, f64::NAN, 0.2], vec![0.7, 0.9]);
    let drawn = svg(&chart);
    assert_drawn_inside(&drawn);
    let texts = texts(&drawn);
    for text in ["重なり 0.25", "モデル"] {
        assert_eq!(texts.iter().filter(|found| *found == text).count(), 5, "{text}: {texts:?}");
    }
    for text in ["無作為", "正例", "コサイン"] {
        assert_eq!(texts.iter().filter(|found| *found == text).count(), 1, "{text}: {texts:?}");
    }
    assert!(chart.height() > HEIGHT && texts.iter().any(|text| text.starts_with("限界")), "room for panels and notes");
    assert!(texts.contains(&"50".to_owned()), "two of three finite values are one bin of 66.7 %: {texts:?}");
}

#[test]
fn a_forest_shows_missing_values_and_baselines_in_rows() {
    let rows = vec![
        Estimate { name: "甲".into(), look: 0, value: Some(0.75), interval: Some([0.7, 0.8]) },
        Estimate { name: "乙".into(), look: 1, ..Estimate::default() },
    ];
    let panel = ForestPanel { name: "JSTS".into(), rows, baselines: vec![("majority".into(), 0.5)] };
    let chart = ForestChart { title: "図".into(), panels: vec![panel; 30], notes: vec![] };
    let drawn = svg(&chart);
    assert_drawn_inside(&drawn);
    let texts = texts(&drawn);
    for text in ["甲", "乙", "0.7500 [0.7000, 0.8000]", "–", "majority", "0.5000"] {
        assert_eq!(texts.iter().filter(|found| *found == text).count(), 30, "{text}");
    }
    assert!(chart.to_csv().contains("JSTS,乙,,,\nJSTS,majority,0.5,,\n"), "{}", chart.to_csv());
}

#[test]
fn figures_without_data_say_so() {
    let empty: [Box<dyn Figure>; 5] = [
        Box::new(scatter(vec![])),
        Box::new(scatter(vec![track("a", 0, vec![place("", f64::NAN, 1.0)])])),
        Box::new(dots(&[], true)),
        Box::new(histogram(vec![], vec![f64::NAN])),
        Box::new(ForestChart { title: "図".into(), panels: vec![], notes: vec![] }),
    ];
    for figure in empty {
        let drawn = svg(figure.as_ref());
        assert_drawn_inside(&drawn);
        assert!(texts(&drawn).contains(&"データなし (no data)".to_owned()), "{}", figure.to_csv());
    }
}

/// The fields of a CSV without quotes.
fn rows(csv: &str) -> Vec<Vec<&str>> {
    csv.lines().map(|line| line.split(',').collect()).collect()
}

#[test]
fn the_csv_gives_every_value_back() {
    let interval = Place { y_interval: Some([0.5, 1.5]), ..place("500", 0.1 + 0.2, 1.0) };
    let csv = scatter(vec![track("a", 0, vec![interval])]).to_csv();
    assert_eq!(rows(&csv)[1], ["a", "500", "0.30000000000000004", "1", "", "", "0.5", "1.5"]);
    assert_eq!(rows(&csv)[0], ["name", "label", "x", "y", "x_low", "x_high", "y_low", "y_high"]);
    let csv = dots(&[(7.0, f64::INFINITY)], true).to_csv();
    assert_eq!(rows(&csv)[1], ["document", "モデル", "7", "inf", "", "", "", ""]);
    assert_eq!(rows(&csv)[2], ["median", "モデル", "0", "4", "10", "1", "3", "5"]);
    let csv = histogram(vec![0.25], vec![]).to_csv();
    assert_eq!(rows(&csv)[1], ["モデル", "重なり 0.25", "無作為", "0.25"]);
    assert_eq!(rows(&csv).len(), 6);
}

/// A report of one task.
fn report(
    model: &str,
    step: Option<u64>,
    task: &str,
    metrics: &[(&str, f64)],
    series: &[(&str, Vec<f64>)],
) -> EvalReport {
    let identity = ModelIdentity { name: model.into(), step, ..ModelIdentity::default() };
    let config = EvalConfig { bootstrap_iters: 50, ..EvalConfig::default() };
    let metric = |(name, value): &(&str, f64)| {
        (
            name.to_string(),
            MetricValue {
                interval: Some([value - 0.1, value + 0.1]),
                ..MetricValue::new(Ok::<_, String>(*value), false)
            },
        )
    };
    let result = TaskResult {
        alias: task.into(),
        main_metric: metrics[0].0.into(),
        metrics: metrics.iter().map(metric).collect(),
        notes: vec!["京都だけ".into()],
        series: series.iter().map(|(name, values)| (name.to_string(), values.clone())).collect::<BTreeMap<_, _>>(),
        ..TaskResult::default()
    };
    let mut report = EvalReport::new(identity, config);
    report.add(task, result, json!({ "options": { "bins": [5, 10] } }), String::new(), 1.0);
    report
}

fn alignment(model: &str, step: Option<u64>, x: f64) -> EvalReport {
    report(model, step, "alignment-kyoto", &[("uniformity", x), ("alignment", -x)], &[])
}

fn figures(reports: &[EvalReport], wanted: impl Fn(&str) -> bool) -> Vec<NamedFigure> {
    let run = |report: &EvalReport| Run { place: report.model.name.clone(), report: report.clone() };
    anaume_core::plot::figures(&reports.iter().map(run).collect::<Vec<_>>(), wanted)
}

fn named(reports: &[EvalReport], name: &str) -> String {
    let all = figures(reports, |_| true);
    let found = all.iter().find(|figure| figure.name == name);
    let names: Vec<_> = all.iter().map(|figure| &figure.name).collect();
    svg(found.unwrap_or_else(|| panic!("{name} is not in {names:?}")).figure.as_ref())
}

#[test]
fn checkpoints_of_a_run_become_one_track_in_the_order_of_their_steps() {
    let reports = [
        alignment("run_step-00001000", Some(1000), -1.0),
        alignment("other", None, -3.0),
        alignment("run_step-00000500", Some(500), -2.0),
    ];
    let texts_of = texts(&named(&reports, "alignment-kyoto"));
    for text in ["run", "run 1,000", "500", "other", "京都だけ"] {
        assert!(texts_of.contains(&text.to_owned()), "{text} is missing from {texts_of:?}");
    }
    let by_step =
        figures(&reports, |_| true).into_iter().find(|figure| figure.name == "alignment-kyoto-by-step").unwrap();
    let csv = by_step.figure.to_csv();
    assert!(csv.contains("alignment ↓ 低いほど良い (lower is better),run,500,2\n"), "{csv}");
    assert!(!csv.contains("other"), "a model is no run: {csv}");
    let alone = texts(&named(&reports[..2], "alignment-kyoto"));
    assert!(alone.contains(&"run_step-00001000".to_owned()), "one checkpoint is a model: {alone:?}");
}

#[test]
fn bins_of_lengths_have_the_median_of_their_documents() {
    let lengths: Vec<f64> = (1..=10).map(f64::from).collect();
    let series = [("length", lengths.clone()), ("pseudo_perplexity", lengths.iter().map(|x| x * x).collect())];
    let reports = [report("m", None, "pseudo-perplexity-kyoto", &[("pppl", 1.0)], &series)];
    let all = figures(&reports, |_| true);
    let names: Vec<_> = all.iter().map(|figure| figure.name.as_str()).collect();
    assert_eq!(names, ["pseudo-perplexity-kyoto", "models"], "no figure per character without its series");
    let csv = all[0].figure.to_csv();
    let medians: Vec<_> = rows(&csv).into_iter().filter(|row| row[0] == "median").collect();
    assert_eq!(medians[0][..6], ["median", "m", "0", "9", "5", "5"]);
    assert_eq!(medians[1][..6], ["median", "m", "5", "64", "10", "5"]);
    assert!(medians.iter().all(|row| row[6].parse::<f64>().unwrap() <= row[3].parse::<f64>().unwrap()));
}

#[test]
fn figures_are_drawn_of_the_wanted_tasks_and_of_all_models() {
    let series = [("random_similarity", vec![0.1, 0.2]), ("positive_similarity", vec![0.8])];
    let seed = |seed, value| {
        let mut report = report("m", None, "jsts", &[("spearman", value)], &[]);
        report.config.random_seed = seed;
        report
    };
    let reports = [
        report("m", None, "similarity-kyoto", &[("overlap", 0.25)], &series),
        alignment("m", None, -1.0),
        seed(0, 0.5),
        seed(1, 0.6),
    ];
    let names = |wanted: &str| figures(&reports, |task| task == wanted).into_iter().map(|f| f.name).collect::<Vec<_>>();
    assert_eq!(names("similarity-kyoto"), ["similarity-kyoto", "models"]);
    assert_eq!(names("alignment-kyoto"), ["alignment-kyoto", "models"]);
    assert!(texts(&named(&reports, "similarity-kyoto")).contains(&"重なり (overlap) 0.250".to_owned()));
    let models = texts(&named(&reports, "models"));
    assert!(models.iter().any(|text| text.starts_with("similarity-kyoto · Overlap ↓")), "{models:?}");
    assert!(models.iter().any(|text| text.contains("jsts · Spearman") && text.contains("± sd, 2 seeds")), "{models:?}");
    assert!(models.iter().any(|text| text.starts_with("0.5500")), "the mean over seeds: {models:?}");
    let both = ["alignment-kyoto · Alignment", "alignment-kyoto · Uniformity"];
    assert!(both.iter().all(|name| models.iter().any(|text| text.starts_with(name))), "{models:?}");
    assert!(figures(&[], |_| true).is_empty());
}

proptest! {
    #[test]
    fn no_data_breaks_a_figure_of_evaluations(points in prop::collection::vec(any::<(f64, f64)>(), 0..20), log in any::<bool>()) {
        let places = points.iter().map(|(x, y)| Place { y_interval: Some([*y, *x]), ..place("1", *x, *y) }).collect();
        assert_drawn_inside(&svg(&scatter(vec![track("a", 0, places)])));
        assert_drawn_inside(&svg(&dots(&points, log)));
        let (random, positive): (Vec<_>, Vec<_>) = points.iter().copied().unzip();
        assert_drawn_inside(&svg(&histogram(random, positive)));
        let row = |(x, y): &(f64, f64)| Estimate { name: "a".into(), look: 1, value: Some(*x), interval: Some([*y, *x]) };
        let panel = ForestPanel { name: "a".into(), rows: points.iter().map(row).collect(), baselines: vec![] };
        assert_drawn_inside(&svg(&ForestChart { title: "a".into(), panels: vec![panel], notes: vec![] }));
    }
}
