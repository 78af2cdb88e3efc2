//! Principal components and comparisons against scikit-learn, scipy and numpy, on degenerate input, and their figure.

use anaume_core::metrics::Undefined;
use anaume_core::metrics::comparison::Comparison;
use anaume_core::metrics::projection::{Projection, principal_components};
use anaume_core::plot::{Figure, Group, PlaneChart, View};
use anaume_tests::{assert_within, golden, largest, random};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::plot::{circles, elements, texts};

const TOLERANCE: f64 = 1e-9;

fn cases(name: &str) -> Vec<Value> {
    serde_json::from_slice(&golden(&format!("metrics/{name}.json"))).unwrap()
}

fn of<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

fn assert_near(what: &str, actual: &[f64], expected: &[f64]) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    assert_within(what, largest(actual.iter().zip(expected).map(|(a, b)| (a - b).abs())), TOLERANCE);
}

#[test]
fn principal_components_are_those_of_scikit_learn_signs_and_all() {
    for case in cases("projection") {
        let values: Vec<f64> = of(&case["values"]);
        let found = principal_components(&values, of(&case["width"])).unwrap();
        assert_near("points", found.points.as_flattened(), of::<Vec<[f64; 2]>>(&case["points"]).as_flattened());
        assert_near("shares", &found.shares, &of::<Vec<f64>>(&case["shares"]));
    }
}

#[test]
fn rows_that_do_not_fill_a_plane_lie_on_a_line_and_equal_ones_have_no_components() {
    // What rounding leaves beside a line is no second component, however large the numbers are.
    let far = principal_components(&[0.0, 0.0, 1e6, 0.0, 2e6, 1e-3], 2).unwrap();
    assert_eq!((far.shares[1], far.points[2][1]), (0.0, 0.0));
    let line = principal_components(&[1.0, 1.0, 2.0, 2.0, 4.0, 4.0], 2).unwrap();
    assert!(line.points.iter().all(|point| point[1] == 0.0), "{line:?}");
    assert_near("shares", &line.shares, &[1.0, 0.0]);
    assert_near("distance", &[line.points[2][0] - line.points[0][0]], &[18f64.sqrt()]);
    for (values, width) in [(vec![3.0f32, 4.0], 2), (vec![0.1; 9], 3), (vec![0.0; 4], 2)] {
        assert_eq!(principal_components(&values, width), Err(Undefined::NoVariance), "{values:?}");
    }
    // What differs by rounding alone is equal.
    assert_eq!(principal_components(&[0.1f32, 0.7, 0.1, 0.7 + f32::EPSILON], 2), Err(Undefined::NoVariance));
    assert_eq!(principal_components::<f64>(&[], 2), Err(Undefined::Empty));
    assert_eq!(principal_components(&[1.0, 2.0, 3.0], 2), Err(Undefined::Shape { values: 3, width: 2 }));
    assert_eq!(principal_components(&[1.0, f64::NAN], 1), Err(Undefined::NotFinite { what: "rows", index: 1 }));
    assert_eq!(principal_components(&[1e300, -1e300], 1), Err(Undefined::Overflow));
}

#[test]
fn the_unit_of_the_rows_changes_no_share() {
    let values = random(2, 40);
    let plain = principal_components(&values, 4).unwrap();
    assert!(plain.shares[1] > 0.1, "{:?}", plain.shares);
    for unit in [1e-9, 1e9] {
        let scaled: Vec<f64> = values.iter().map(|value| f64::from(*value) * unit).collect();
        assert_near("shares", &principal_components(&scaled, 4).unwrap().shares, &plain.shares);
    }
}

#[test]
fn the_order_of_the_rows_does_not_move_the_points() {
    let (rows, width) = (30, 12);
    let values = random(1, rows * width);
    let forward = principal_components(&values, width).unwrap();
    let reversed: Vec<f32> = values.chunks_exact(width).rev().flatten().copied().collect();
    let mut backward = principal_components(&reversed, width).unwrap();
    backward.points.reverse();
    assert_near("points", backward.points.as_flattened(), forward.points.as_flattened());
}

#[test]
fn cosines_mean_spread_nearest_and_map_are_those_of_the_field() {
    for case in cases("comparison") {
        let (first, second): (Vec<Vec<f64>>, Vec<Vec<f64>>) = (of(&case["first"]), of(&case["second"]));
        let found = Comparison::new(&first, &second).unwrap();
        let expected: Vec<Vec<f64>> = of(&case["cosines"]);
        assert_eq!(found.is_within, second.is_empty());
        assert_near("cosines", &found.cosines.concat(), &expected.concat());
        assert_near("mean", &[found.mean.unwrap()], &[of(&case["mean"])]);
        let spread: Option<f64> = of(&case["spread"]);
        assert_eq!(found.spread.is_some(), spread.is_some());
        assert_within("spread", (found.spread.unwrap_or(0.0) - spread.unwrap_or(0.0)).abs(), TOLERANCE);
        let nearest: Vec<_> = (0..first.len()).map(|row| found.nearest(row).unwrap()).collect();
        assert_eq!(nearest, of::<Vec<usize>>(&case["nearest"]));
        // On a line scikit-learn has one component to give.
        let points: Vec<Vec<f64>> = of(&case["points"]);
        let map = found.map.unwrap().points;
        assert_eq!(map.len(), points.len());
        for (found, expected) in map.iter().zip(points) {
            assert_near("point", found, &[expected[0], expected.get(1).copied().unwrap_or(0.0)]);
        }
    }
}

#[test]
fn a_single_text_has_no_neighbour_and_vectors_without_direction_are_refused() {
    let alone = Comparison::new(&[vec![2.0f32, 0.0]], &[]).unwrap();
    let expected = Comparison { is_within: true, cosines: vec![vec![1.0]], mean: None, spread: None, map: None };
    assert_eq!((alone.nearest(0), alone), (None, expected));
    assert_eq!(Comparison::new::<f32>(&[], &[]), Err(Undefined::Empty));
    assert_eq!(Comparison::new(&[vec![0.0f32, 0.0]], &[]), Err(Undefined::ZeroVector));
    let other = Err(Undefined::LengthMismatch { first: 2, second: 1 });
    assert_eq!(Comparison::new(&[vec![1.0f32, 0.0]], &[vec![1.0]]), other);
    // Of equal ones the first is the nearest.
    let same = Comparison::new(&[vec![1.0f32, 0.0]], &[vec![0.0, 1.0], vec![1.0, 0.0], vec![1.0, 0.0]]).unwrap();
    assert_eq!(same.nearest(0), Some(1));
}

#[test]
fn rounding_keeps_four_decimals_of_everything() {
    let rows: Vec<Vec<f32>> = random(2, 24).chunks_exact(4).map(<[f32]>::to_vec).collect();
    let exact = Comparison::new(&rows, &[]).unwrap();
    let rounded = exact.clone().rounded();
    let numbers = |found: &Comparison| {
        let Projection { points, shares } = found.map.clone().unwrap();
        [found.cosines.concat(), points.concat(), shares.to_vec(), vec![found.mean.unwrap(), found.spread.unwrap()]]
            .concat()
    };
    for (rounded, exact) in numbers(&rounded).into_iter().zip(numbers(&exact)) {
        assert!((rounded - exact).abs() <= 5.1e-5 && (rounded * 1e4 - (rounded * 1e4).round()).abs() < 1e-9);
    }
}

fn chart(places: &[(f64, f64)]) -> PlaneChart {
    let texts = places.iter().enumerate().map(|(i, place)| (format!("文 {i}, \"<b>\""), *place)).collect();
    let groups = vec![Group { name: "行".into(), texts }, Group { name: "列".into(), texts: vec![] }];
    PlaneChart { title: "地図".into(), x_label: "第 1".into(), y_label: "第 2".into(), groups, notes: vec![] }
}

#[test]
fn texts_in_a_plane_are_drawn_to_one_scale_with_their_beginnings() {
    let svg = chart(&[(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)]).to_svg().unwrap();
    let document = roxmltree::Document::parse(&svg).unwrap();
    let number = |node: &roxmltree::Node<'_, '_>, name| node.attribute(name).unwrap().parse::<f64>().unwrap();
    // The legend has one marker, each text a disc with a border.
    let discs: Vec<_> = elements(&document, "circle").map(|node| (number(&node, "cx"), number(&node, "cy"))).collect();
    let [origin, right, above] = [discs[3], discs[5], discs[7]];
    assert_within("scale", ((right.0 - origin.0) - (origin.1 - above.1)).abs(), 2.0);
    let labels = texts(&svg);
    let spots = chart(&[(0.0, 0.0), (1.0, 0.0)]).drawing(&View::default()).unwrap().spots;
    assert_eq!(spots.iter().map(|spot| &*spot.label).collect::<Vec<_>>(), ["文 0, \"<b>\"", "文 1, \"<b>\""]);
    assert!((0..3).all(|i| labels.contains(&format!("文 {i}, \"<b>\""))), "{labels:?}");
}

#[test]
fn places_that_are_not_finite_are_left_out_of_the_figure_and_stay_in_its_data() {
    let partly = chart(&[(0.5, 0.5), (f64::NAN, 0.0)]);
    assert_eq!(circles(&partly.to_svg().unwrap()), 4);
    assert_eq!(partly.to_csv().lines().nth(2), Some(r#"行,"文 1, ""<b>""",NaN,0"#));
    assert!(texts(&chart(&[]).to_svg().unwrap()).iter().any(|text| text.contains("no data")));
}
