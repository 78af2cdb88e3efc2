//! What a reader does with figures: marks that can be pointed at, parts that are drawn larger.

use anaume_core::plot::{
    Bin, DotChart, DotGroup, Drawing, Estimate, Figure, ForestChart, ForestPanel, Histogram, HistogramChart,
    HistogramPanel, LineChart, Mark, Panel, Place, Resampling, ScatterChart, Series, Step, Track, View, number,
};
use proptest::prelude::{any, prop, proptest};

use crate::plot::{assert_drawn_inside, circles, texts};

fn drawn(figure: &dyn Figure, view: &View) -> Drawing {
    figure.drawing(view).expect("the figure is drawn")
}

fn dots() -> DotChart {
    let dots: Vec<_> = (1..=100).map(|i| (f64::from(i) * 10.0, 10.0 + f64::from(i % 7))).collect();
    let bin = |from: f64| Bin { from, to: from + 500.0, count: 50, median: 13.0, interval: None };
    let group = DotGroup { name: "甲".into(), look: 0, dots, bins: vec![bin(0.0), bin(500.0)] };
    let pending = (0..2).map(|bin| Resampling { group: 0, bin, seed: 42, resamples: 50 }).collect();
    let [title, x_label, y_label] = ["図", "長さ", "値"].map(str::to_owned);
    DotChart { title, x_label, y_label, logarithmic: false, groups: vec![group], notes: vec![], pending }
}

fn lines(points: Vec<(f64, f64)>) -> LineChart {
    let series = |name: &str, mark| Series { name: name.into(), points: points.clone(), mark, colour: 0 };
    let panel = |name: &str| Panel {
        y_label: name.into(),
        height: 1.0,
        series: vec![series("一", Mark::Line), series("二", Mark::Points)],
    };
    LineChart { title: "図".into(), x_label: "歩".into(), panels: vec![panel("損失"), panel("率")], notes: vec![] }
}

fn all() -> Vec<Box<dyn Figure>> {
    let place = |label: &str, x, y| Place { label: label.into(), x, y, ..Place::default() };
    let track = Track { name: "run".into(), look: 0, places: vec![place("100", -1.0, 0.5), place("200", -2.0, 0.3)] };
    let [title, x_label, y_label] = ["図", "x", "y"].map(str::to_owned);
    let scatter =
        ScatterChart { title: title.clone(), x_label: x_label.clone(), y_label, tracks: vec![track], notes: vec![] };
    let histogram = |name: &str, values: &[f64]| Histogram { name: name.into(), values: values.to_vec() };
    let histograms = vec![histogram("無作為", &[0.1, 0.2, 0.2]), histogram("正例", &[0.7, 0.9])];
    let panel = HistogramPanel { name: "甲".into(), note: String::new(), histograms };
    let histogram = HistogramChart { title: title.clone(), x_label, panels: vec![panel], notes: vec![] };
    let estimate = Estimate { name: "甲".into(), look: 0, value: Some(0.75), interval: Some([0.7, 0.8]) };
    let panel = ForestPanel { name: "JSTS".into(), rows: vec![estimate], baselines: vec![("majority".into(), 0.5)] };
    let forest = ForestChart { title, panels: vec![panel; 2], notes: vec![] };
    let points = vec![(1.0, 5.0), (2.0, 3.0), (3.0, 2.0)];
    vec![Box::new(dots()), Box::new(lines(points)), Box::new(scatter), Box::new(histogram), Box::new(forest)]
}

#[test]
fn every_mark_of_every_figure_lies_in_its_plot_and_says_what_it_is() {
    for (figure, marks) in all().iter().zip([100 + 2, 3 * 2 * 2, 2, 2 + 2, 2 * 2]) {
        let drawing = drawn(figure.as_ref(), &View::default());
        assert_eq!(drawing.spots.len(), marks, "{}", drawing.svg);
        for (index, spot) in drawing.spots.iter().enumerate() {
            assert_eq!(drawing.plot_at(spot.at), Some(spot.plot), "{spot:?}");
            assert!(!spot.name.is_empty() && spot.readings.iter().all(|reading| reading.value.is_finite()), "{spot:?}");
            let nearest = &drawing.spots[drawing.nearest(spot.at, 1.0).expect("the mark itself")];
            assert_eq!(nearest.at, spot.at, "mark {index}");
        }
        assert_eq!(drawing.nearest((-500.0, -500.0), 30.0), None);
    }
}

#[test]
fn a_mark_names_the_example_and_its_values() {
    let drawing = drawn(&dots(), &View::default());
    let spot = &drawing.spots[2];
    assert_eq!((&*spot.name, spot.example), ("甲", Some(2)));
    assert_eq!(spot.readings.iter().map(ToString::to_string).collect::<Vec<_>>(), ["長さ: 30", "値: 13"]);
    assert!(drawing.spots[100].readings[0].to_string().starts_with("中央値 (median): 13"));
    assert_eq!(
        ["1234567", "0.0123456", "-2.5", "1e-9"].map(|text| number(text.parse().unwrap())),
        ["1,234,567", "0.012346", "-2.5", "1e-9"]
    );
}

#[test]
fn a_part_is_drawn_with_its_own_ticks_and_nothing_stands_out_of_it() {
    let figure = dots();
    let whole = drawn(&figure, &View::default());
    let part = View { plot: 0, x: Some(100.0..200.0), y: Some(11.0..13.0) };
    let drawing = drawn(&figure, &part);
    assert_drawn_inside(&drawing.svg);
    let ticks = texts(&drawing.svg);
    assert!(ticks.contains(&"140".to_owned()) && !ticks.contains(&"900".to_owned()), "{ticks:?}");
    let expected =
        figure.groups[0].dots.iter().filter(|dot| (100.0..=200.0).contains(&dot.0) && (11.0..=13.0).contains(&dot.1));
    assert_eq!(drawing.spots.iter().filter(|spot| spot.example.is_some()).count(), expected.count());
    assert!(circles(&drawing.svg) < circles(&whole.svg));
    assert_eq!(figure.to_svg().unwrap(), whole.svg, "all of it is what files get");
}

#[test]
fn where_a_part_of_curves_is_drawn_the_other_axis_follows_them() {
    let figure = lines((1..=1000).map(|step| (f64::from(step), 1000.0 / f64::from(step))).collect());
    let drawing = drawn(&figure, &View { plot: 1, x: Some(500.0..1000.0), y: Some(1.0..1.5) });
    assert_drawn_inside(&drawing.svg);
    let of_plot = |plot| drawing.spots.iter().filter(move |spot| spot.plot == plot);
    assert!(
        of_plot(0).all(|spot| spot.readings[0].value >= 500.0 && spot.readings[1].value <= 2.0),
        "both share the x axis"
    );
    assert!(
        of_plot(1).all(|spot| spot.readings[1].value <= 1.5) && of_plot(1).count() > 100,
        "one alone has this y axis"
    );
    assert!(of_plot(0).count() > of_plot(1).count());
}

#[test]
fn a_drag_zooming_and_moving_choose_parts_inside_the_whole() {
    let figure = dots();
    let whole = drawn(&figure, &View::default());
    let [left, top, right, bottom] = whole.frames[0].ends();
    let middle = ((left + right) / 2.0, (top + bottom) / 2.0);
    let dragged = whole.between(0, (left - 50.0, top), (middle.0, top + 3.0));
    assert!(dragged.y.is_none(), "a level drag leaves the other axis alone: {dragged:?}");
    let x = dragged.x.clone().unwrap();
    assert!((x.start - 0.0).abs() < 1e-9 && (x.end - 500.0).abs() < 1e-9, "{x:?}");
    let closer = whole.scaled(0, middle, 0.5);
    let x = closer.x.clone().unwrap();
    assert!((x.start - 250.0).abs() < 1e-9 && (x.end - 750.0).abs() < 1e-9, "{x:?}");
    let near = drawn(&figure, &closer);
    let moved = near.moved(0, (0.2, 0.0)).x.unwrap();
    assert!((moved.start - 350.0).abs() < 1e-9 && (moved.end - 850.0).abs() < 1e-9, "{moved:?}");
    let border = near.moved(0, (9.0, 0.0)).x.unwrap();
    assert!(
        (border.start - 500.0).abs() < 1e-9 && (border.end - 1000.0).abs() < 1e-9,
        "no farther than the data: {border:?}"
    );
    assert!(near.scaled(0, middle, 100.0).is_whole(), "out of it is all of it");
    assert_eq!(whole.between(0, middle, middle), View::default(), "a click is no drag");
}

#[test]
fn the_arrow_keys_go_through_the_marks_of_a_series_and_to_its_neighbours() {
    let drawing = drawn(&lines(vec![(1.0, 5.0), (2.0, 3.0), (3.0, 2.0)]), &View::default());
    let steps = |from, steps: &[Step]| steps.iter().fold(from, |at, step| drawing.step(at, *step));
    assert_eq!(steps(None, &[Step::Forward]), Some(0), "in at the first");
    assert_eq!(steps(None, &[Step::Last]), Some(11));
    assert_eq!(steps(Some(0), &[Step::Back]), Some(0));
    assert_eq!(steps(Some(0), &[Step::Forward, Step::Forward, Step::Forward]), Some(2), "the end of the series");
    assert_eq!(steps(Some(1), &[Step::Down]), Some(4), "the same x in the next series");
    assert_eq!(steps(Some(4), &[Step::Up]), Some(1));
    assert_eq!(steps(Some(7), &[Step::First]), Some(0));
    assert_eq!(steps(Some(99), &[Step::Back]), Some(0), "a mark that is gone");
    assert_eq!(drawn(&lines(vec![]), &View::default()).step(None, Step::Forward), None);
}

#[test]
fn intervals_of_medians_come_when_they_are_asked_for() {
    let mut figure = dots();
    assert!(figure.groups[0].bins.iter().all(|bin| bin.interval.is_none()));
    let steps = std::iter::from_fn(|| figure.refine().then_some(())).count();
    assert_eq!(steps, 2, "one for each bin");
    assert!(
        figure.groups[0].bins.iter().all(|bin| bin.interval.is_some_and(|[low, high]| low <= 13.0 && 13.0 <= high))
    );
}

proptest! {
    #[test]
    fn no_part_of_any_data_draws_outside_of_the_figure(
        points in prop::collection::vec((any::<f64>(), any::<f64>()), 0..40), from in 0.0..800.0, to in 0.0..800.0, factor in 0.01..3.0,
    ) {
        let mut sorted = points;
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let figure = lines(sorted);
        let whole = drawn(&figure, &View::default());
        let dragged = drawn(&figure, &whole.between(1, (from, from), (to, to)));
        assert_drawn_inside(&dragged.svg);
        assert_drawn_inside(&drawn(&figure, &dragged.scaled(0, (from, to), factor)).svg);
    }
}
