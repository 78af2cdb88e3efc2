//! Figures: well-formed SVG with its Japanese text, every point inside, and no data that can break them.

use anaume_core::plot::{Figure, LineChart, Mark, Panel, Run, Series, WIDTH, loss_chart, moving_mean};
use anaume_core::report::{Record, RewindRecord, ValidationRecord};
use proptest::prelude::{any, prop, proptest};
use roxmltree::{Document, Node};

type Points = Vec<(f64, f64)>;

fn chart(points: Points, mark: Mark) -> LineChart {
    let series = vec![Series { name: "系列".into(), points, mark, colour: 0 }];
    let panel = Panel { y_label: "値 (y)".into(), height: 1.0, series };
    LineChart { title: "図".into(), x_label: "ステップ (step)".into(), panels: vec![panel], notes: vec![] }
}

pub fn svg(chart: &dyn Figure) -> String {
    chart.to_svg().expect("the chart is drawn")
}

pub fn elements<'a>(document: &'a Document<'_>, tag: &'a str) -> impl Iterator<Item = Node<'a, 'a>> {
    document.descendants().filter(move |node| node.has_tag_name(tag))
}

pub fn texts(svg: &str) -> Vec<String> {
    let document = Document::parse(svg).expect("well-formed XML");
    elements(&document, "text").map(|node| node.text().unwrap_or_default().trim().to_owned()).collect()
}

/// The polylines of the series: the grid's have two points, a series' start with as many as it has.
fn lines_with(svg: &str, num_points: usize) -> Vec<Points> {
    let document = Document::parse(svg).expect("well-formed XML");
    let pair = |pair: &str| {
        let (x, y) = pair.split_once(',').expect("x,y");
        (x.parse().expect("a number"), y.parse().expect("a number"))
    };
    let points =
        |node: Node<'_, '_>| node.attribute("points").unwrap_or_default().split_whitespace().map(pair).collect();
    elements(&document, "polyline").map(points).filter(|points: &Points| points.len() == num_points).collect()
}

pub fn circles(svg: &str) -> usize {
    elements(&Document::parse(svg).expect("well-formed XML"), "circle").count()
}

/// Every number of the drawing is finite and lies within the figure.
pub fn assert_drawn_inside(svg: &str) {
    let document = Document::parse(svg).expect("well-formed XML");
    let root = document.root_element();
    let size = ["width", "height"].map(|name| root.attribute(name).and_then(|size| size.parse::<u32>().ok()));
    let [Some(width), Some(height)] = size else { panic!("the size is {size:?}") };
    assert_eq!(width, WIDTH);
    assert_eq!(root.attribute("viewBox"), Some(format!("0 0 {} {}", 10 * width, 10 * height).as_str()));
    for node in document.descendants() {
        let line =
            node.attribute("points").unwrap_or_default().split_whitespace().filter_map(|pair| pair.split_once(','));
        let [x, y, cx, cy] = ["x", "y", "cx", "cy"].map(|name| node.attribute(name));
        for (x, y) in line.chain(x.zip(y)).chain(cx.zip(cy)) {
            let [x, y]: [f64; 2] = [x, y].map(|number| number.parse().expect("a number"));
            let (width, height) = (f64::from(10 * width), f64::from(10 * height));
            assert!((0.0..=width).contains(&x) && (0.0..=height).contains(&y), "({x}, {y}) is outside of the figure");
        }
    }
}

fn descent(num_steps: usize) -> Points {
    (1..=num_steps).map(|step| (step as f64, 2.0 + 8.0 / step as f64)).collect()
}

#[test]
fn a_loss_chart_shows_its_japanese_text_and_plain_numbers() {
    let run = Run { training: descent(10_000), validation: vec![(5_000.0, 2.5)], ..Run::default() };
    let svg = svg(&loss_chart("事前学習の損失", &[run]));
    assert_drawn_inside(&svg);
    let texts = texts(&svg);
    for text in ["事前学習の損失", "学習 (training)", "検証 (validation)", "ステップ (step)", "10,000", "8"]
    {
        assert!(texts.iter().any(|found| found == text), "{text} is missing from {texts:?}");
    }
    assert!(svg.contains("Noto Sans CJK JP") && svg.contains("sans-serif"), "text has fonts to fall back to");
}

#[test]
fn every_run_of_a_comparison_is_in_the_legend() {
    let run = |name: &str| Run { name: name.into(), training: descent(9), validation: descent(3), ..Run::default() };
    let texts = texts(&svg(&loss_chart("比較", &[run("小"), run("大")])));
    for text in ["小 · 学習 (training)", "小 · 検証 (validation)", "大 · 学習 (training)", "大 · 検証 (validation)"]
    {
        assert!(texts.iter().any(|found| found == text), "{text} is missing from {texts:?}");
    }
}

#[test]
fn steps_are_counted_in_whole_numbers() {
    for num_steps in [1, 2, 3, 7] {
        let drawn = svg(&chart(descent(num_steps), Mark::Line));
        let document = Document::parse(&drawn).expect("well-formed XML");
        let x_labels = elements(&document, "text").filter(|node| node.attribute("y") == Some("4750"));
        let labels: Vec<_> = x_labels.filter_map(|node| node.text()).map(str::trim).collect();
        assert!(labels.len() >= 2 && labels.iter().all(|label| !label.contains('.')), "{num_steps} steps: {labels:?}");
    }
}

#[test]
fn a_panel_without_a_drawable_point_says_so() {
    for points in [vec![], vec![(1.0, f64::NAN), (f64::INFINITY, 2.0)]] {
        let svg = svg(&chart(points, Mark::Line));
        assert_drawn_inside(&svg);
        assert!(texts(&svg).contains(&"データなし (no data)".to_owned()));
    }
    assert_drawn_inside(&svg(&LineChart { panels: vec![], ..chart(vec![], Mark::Line) }));
}

#[test]
fn a_single_point_is_visible() {
    assert_eq!(circles(&svg(&chart(vec![(3.0, 2.5)], Mark::Line))), 1);
    assert_eq!(circles(&svg(&chart(vec![], Mark::Line))), 0);
}

#[test]
fn a_value_that_is_not_finite_leaves_a_gap() {
    let mut points = descent(11);
    points[5].1 = f64::NAN;
    let svg = svg(&chart(points, Mark::Line));
    assert_drawn_inside(&svg);
    assert_eq!(lines_with(&svg, 5).len(), 2, "five points on each side of the gap");
}

#[test]
fn a_spike_among_a_million_points_is_still_drawn() {
    let mut points = descent(1_000_000);
    points[700_123].1 = 50.0;
    let svg = svg(&chart(points, Mark::Line));
    assert!(svg.len() < 200_000, "{} bytes", svg.len());
    let document = Document::parse(&svg).expect("well-formed XML");
    let line = elements(&document, "polyline").last().and_then(|node| node.attribute("points")).expect("a line");
    let ys: Vec<i32> = line.split_whitespace().map(|pair| pair.split_once(',').unwrap().1.parse().unwrap()).collect();
    let highest = ys.iter().min().expect("points");
    assert_eq!(ys.iter().filter(|y| *y < &(highest + 500)).count(), 1, "one point stands out: the spike");
}

#[test]
fn text_cannot_break_the_document_or_leave_the_figure() {
    let mut chart = chart(descent(3), Mark::Points);
    chart.title = format!("</svg><script>\"&'\u{0}\u{1b}\n {}", "長い題名".repeat(100));
    chart.panels[0].series[0].name = "<系列> ".repeat(200);
    let texts = texts(&svg(&chart));
    assert!(texts[0].starts_with("</svg><script>\"&'") && texts[0].ends_with('…'), "{}", texts[0]);
    assert!(texts.iter().all(|text| text.chars().count() < 150), "cut to the figure's width: {texts:?}");
}

#[test]
fn many_runs_leave_room_for_the_curves() {
    let run = |i: usize| Run { name: format!("run {i}"), training: descent(9), ..Run::default() };
    assert_drawn_inside(&svg(&loss_chart("多数", &(0..100).map(run).collect::<Vec<_>>())));
}

#[test]
fn the_csv_holds_every_point_of_every_series() {
    let mut chart = chart(vec![(1.0, 2.5), (2.0, f64::NAN)], Mark::Line);
    chart.panels[0].series[0].name = "a, \"b\"".into();
    assert_eq!(chart.to_csv(), "panel,series,x,y\n値 (y),\"a, \"\"b\"\"\",1,2.5\n値 (y),\"a, \"\"b\"\"\",2,NaN\n");
}

#[test]
fn the_moving_mean_keeps_a_slope_and_a_gap() {
    let mut line: Points = (0..1_000).map(|x| (f64::from(x), 3.0 * f64::from(x))).collect();
    line[500].1 = f64::NAN;
    let mean = moving_mean(&line);
    assert_eq!(mean.len(), line.len());
    assert!(mean[500].1.is_nan(), "the gap stays");
    for (point, smooth) in line.iter().zip(&mean).take(480) {
        assert!((point.1 - smooth.1).abs() <= 1e-9, "{point:?} became {smooth:?}");
    }
    let noisy: Points = (0..1_000).map(|x| (f64::from(x), f64::from(x % 2))).collect();
    assert!(moving_mean(&noisy)[100..].iter().all(|point| (point.1 - 0.5).abs() < 0.06), "noise is averaged out");
}

#[test]
fn what_a_rewind_took_back_is_not_drawn() {
    let validation =
        |step, loss| Record::Validation(ValidationRecord { step, loss, accuracy: 0.5, masked_tokens: 9, secs: 1.0 });
    let rewind = Record::Rewind(RewindRecord { to_step: 10, discarded_bytes: 0 });
    let records = [validation(10, 3.0), validation(20, 2.0), rewind, validation(20, 1.0)];
    assert_eq!(Run::from_records("run", &records).validation, [(10.0, 3.0), (20.0, 1.0)]);
}

proptest! {
    #[test]
    fn no_data_breaks_a_figure(points in prop::collection::vec(any::<(f64, f64)>(), 0..40), mark in 0..3usize) {
        let mark = [Mark::Line, Mark::Faint, Mark::Points][mark];
        assert_drawn_inside(&svg(&chart(points, mark)));
    }

    #[test]
    fn no_scale_breaks_a_figure(centre in -1e12..1e12f64, width_log10 in -14..14i32, n in 1..50i32) {
        let width = 10f64.powi(width_log10);
        let points = (0..n).map(|i| (centre + width * f64::from(i), centre - width * f64::from(i * i))).collect();
        assert_drawn_inside(&svg(&chart(points, Mark::Points)));
    }
}
