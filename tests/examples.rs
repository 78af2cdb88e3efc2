//! Single examples behind a cell of the leaderboard, and those of two models side by side.

use anaume_core::leaderboard::compare::{PairedTest, Samples};
use anaume_core::leaderboard::examples::{Example, Measure, Order, Pairs, Wanted, examples};
use anaume_core::leaderboard::{Cell, Column, Leaderboard, Run};
use anaume_tests::fake::Fake;
use serde_json::json;

struct Read {
    board: Leaderboard,
    samples: Samples,
}

fn read(fakes: &[Fake]) -> Read {
    let runs: Vec<Run> = fakes.iter().map(Fake::run).collect();
    let parse = |fake: &Fake| fake.samples.iter().map(|line| serde_json::from_value(line.clone()).unwrap()).collect();
    let samples = fakes.iter().map(|fake| (fake.place(), parse(fake))).collect();
    Read { board: Leaderboard::build(&runs).unwrap(), samples }
}

impl Read {
    fn column(&self, id: &str) -> (usize, &Column) {
        self.board.columns.iter().enumerate().find(|(_, column)| column.id == id).unwrap()
    }

    fn cell(&self, model: &str, id: &str) -> &Cell {
        &self.board.rows.iter().find(|row| row.label == model).unwrap().cells[self.column(id).0]
    }

    fn examples(&self, model: &str, id: &str) -> Vec<Example> {
        examples(self.column(id).1, self.cell(model, id), &self.samples).unwrap()
    }
}

#[test]
fn examples_are_found_filtered_and_sorted() {
    let mut fake = Fake::new("a", "jcola").right(&[true, false, true, false]);
    for (line, text) in fake.samples.iter_mut().zip(["春の花", "夏の海", "秋の月", "Spring"]) {
        line["doc"] = json!({ "first": text });
    }
    let all = read(&[fake]).examples("a", "jcola/accuracy");
    assert_eq!(all[1].text, "夏の海");
    assert_eq!((all[1].target.as_str(), all[1].prediction.as_str(), all[1].is_wrong), ("a", "b", Some(true)));
    assert_eq!(Wanted::default().of(&all), [0, 1, 2, 3]);
    assert_eq!(Wanted { wrong_only: true, ..Wanted::default() }.of(&all), [1, 3]);
    assert_eq!(Wanted { words: "spring".into(), ..Wanted::default() }.of(&all), [3], "whatever the case");
    assert_eq!(Wanted { order: Order::Score, ..Wanted::default() }.of(&all), [1, 3, 0, 2], "equal ones stay in order");
    assert_eq!(Wanted { is_reversed: true, ..Wanted::default() }.of(&all), [3, 2, 1, 0]);
}

#[test]
fn seeds_are_joined_and_a_correlation_is_read_as_errors() {
    let run = |seed| Fake::new("a", "jcola").run_of_grid(5e-5, seed);
    let all = read(&[run(0).right(&[true, false]), run(1).right(&[true, true])]).examples("a", "jcola/accuracy");
    assert_eq!((all[0].score, all[0].is_wrong, all[0].prediction.as_str()), (Some(1.0), Some(false), "a"));
    assert_eq!((all[1].score, all[1].is_wrong, all[1].prediction.as_str()), (Some(0.5), Some(true), "b | a"));
    let read = read(&[Fake::new("a", "jsts").scores(&[0.0, 1.0, 5.0], &[0.5, 1.0, 3.0])]);
    let measure = Measure::of(read.column("jsts/pearson").1);
    assert_eq!((measure.name.as_str(), measure.higher_is_better), ("absolute_error", false));
    let scores: Vec<_> = read.examples("a", "jsts/pearson").iter().map(|example| example.score.unwrap()).collect();
    assert_eq!(scores, [0.5, 0.0, 2.0]);
}

#[test]
fn two_models_are_compared_example_by_example() {
    let read = read(&[
        Fake::new("a", "jcola").right(&[true, false, true, false]),
        Fake::new("b", "jcola").right(&[true, true, false, false, true]),
    ]);
    let (first, second) = (read.examples("a", "jcola/accuracy"), read.examples("b", "jcola/accuracy"));
    let pairs = Pairs::new(&first, &second, &Measure::of(read.column("jcola/accuracy").1));
    assert_eq!((pairs.all.len(), pairs.num_unpaired), (4, 1));
    assert_eq!((pairs.better, pairs.right), ([1, 1, 2], Some([1, 1, 1, 1])));
    let by_score = Wanted { order: Order::Score, is_reversed: true, ..Wanted::default() };
    assert_eq!(by_score.of_pairs(&pairs.all, [&first, &second]), [2, 0, 3, 1], "the first model's best first");
    let wrong = Wanted { wrong_only: true, ..Wanted::default() };
    assert_eq!(wrong.of_pairs(&pairs.all, [&first, &second]), [1, 2, 3]);
}

#[test]
fn less_error_is_an_advantage() {
    let gold = [0.0, 1.0, 5.0];
    let read = read(&[
        Fake::new("a", "jsts").scores(&gold, &[0.1, 1.0, 3.0]),
        Fake::new("b", "jsts").scores(&gold, &[2.0, 1.0, 4.0]),
    ]);
    let (first, second) = (read.examples("a", "jsts/pearson"), read.examples("b", "jsts/pearson"));
    let pairs = Pairs::new(&first, &second, &Measure::of(read.column("jsts/pearson").1));
    assert_eq!((pairs.better, pairs.right), ([1, 1, 1], None));
}

#[test]
fn a_test_in_pieces_says_what_the_leaderboard_says() {
    let right = |wrong: usize| (0..60).map(|i| i % wrong != 0).collect::<Vec<_>>();
    let gold: Vec<f64> = (0..40).map(f64::from).collect();
    let predicted = |bend: f64| gold.iter().map(|x| x + (x * bend).sin() * 9.0).collect::<Vec<_>>();
    for (task, id, a, b) in [
        ("jcola", "jcola/accuracy", Fake::new("a", "jcola").right(&right(3)), Fake::new("b", "jcola").right(&right(7))),
        (
            "jsts",
            "jsts/pearson",
            Fake::new("a", "jsts").scores(&gold, &predicted(0.7)),
            Fake::new("b", "jsts").scores(&gold, &predicted(2.9)),
        ),
    ] {
        let mut read = read(&[a, b]);
        let column = read.column(id).1.clone();
        let mut test = PairedTest::new(&column, read.cell("a", id), read.cell("b", id), &read.samples).unwrap();
        let pieces = std::iter::from_fn(|| test.advance(7).then_some(())).count();
        assert!(pieces > 200, "{task}: {pieces}");
        let samples = std::mem::take(&mut read.samples);
        read.board.compare(&samples);
        let known = ["a", "b"].into_iter().find_map(|model| read.cell(model, id).p_value);
        assert_eq!(Some(test.p_value().unwrap()), known, "{task}");
    }
}
