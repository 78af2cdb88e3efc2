//! The loss plot of pretraining runs.

use super::is_drawable;
use super::line::{LineChart, Mark, Panel, Series};
use crate::report::Record;

/// The curves of one run, each as (step, value).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// Name in the legend.
    pub name: String,
    /// Training loss of each step.
    pub training: Vec<(f64, f64)>,
    /// Validation loss.
    pub validation: Vec<(f64, f64)>,
    /// Learning rate of each step.
    pub learning_rate: Vec<(f64, f64)>,
}

impl Run {
    /// The curves of a metrics log; what a rewind took back is left out.
    pub fn from_records(name: impl Into<String>, records: &[Record]) -> Self {
        let mut run = Self { name: name.into(), ..Self::default() };
        records.iter().for_each(|record| run.add(record));
        run
    }

    /// Adds what a line of the log says.
    pub fn add(&mut self, record: &Record) {
        match record {
            Record::Start(_) => {}
            Record::Step(step) => {
                self.training.push((step.step as f64, step.loss));
                self.learning_rate.push((step.step as f64, step.learning_rate));
            }
            Record::Validation(validation) => self.validation.push((validation.step as f64, validation.loss)),
            Record::Rewind(rewind) => self.rewind(rewind.to_step as f64),
        }
    }

    fn rewind(&mut self, to_step: f64) {
        for curve in [&mut self.training, &mut self.validation, &mut self.learning_rate] {
            curve.retain(|point| point.0 <= to_step);
        }
    }
}

/// The loss plot: training loss faint with its moving mean on top, validation loss as points, learning rate below.
pub fn loss_chart(title: impl Into<String>, runs: &[Run]) -> LineChart {
    let mut loss = Panel { y_label: "損失 (masked-LM loss, nats)".into(), height: 3.0, series: vec![] };
    let mut rate = Panel { y_label: "学習率 (learning rate)".into(), height: 1.0, series: vec![] };
    let raw = runs.iter().enumerate().map(|(i, run)| Series {
        name: join(&run.name, "学習・各ステップ (training, raw)"),
        points: run.training.clone(),
        mark: Mark::Faint,
        colour: i,
    });
    loss.series.extend(raw);
    for (i, run) in runs.iter().enumerate() {
        let series = |name: &str, points, mark, colour| Series { name: join(&run.name, name), points, mark, colour };
        loss.series.push(series("学習 (training)", moving_mean(&run.training), Mark::Line, i));
        if !run.validation.is_empty() {
            let colour = if runs.len() == 1 { 1 } else { i };
            loss.series.push(series("検証 (validation)", run.validation.clone(), Mark::Points, colour));
        }
        rate.series.push(series("学習率 (learning rate)", run.learning_rate.clone(), Mark::Line, i));
    }
    LineChart { title: title.into(), x_label: "ステップ (step)".into(), panels: vec![loss, rate], notes: vec![] }
}

fn join(run: &str, curve: &str) -> String {
    if run.is_empty() { curve.into() } else { format!("{run} · {curve}") }
}

/// Mean of the finite points around each point, over about a fiftieth of all. The window is symmetric and shrinks
/// towards the start, so the first, steep descent is not bent; a point that is not finite stays so.
pub fn moving_mean(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut sums = vec![(0.0, 0.0)];
    sums.extend(points.iter().scan((0.0, 0.0), |(sum, count), point| {
        (*sum, *count) = if is_drawable(*point) { (*sum + point.1, *count + 1.0) } else { (*sum, *count) };
        Some((*sum, *count))
    }));
    let mean = |(i, point): (usize, &(f64, f64))| {
        let half_window = (points.len() / 100).min(i);
        let (before, after) = (sums[i - half_window], sums[(i + half_window + 1).min(points.len())]);
        let mean = if is_drawable(*point) { (after.0 - before.0) / (after.1 - before.1) } else { f64::NAN };
        (point.0, mean)
    };
    points.iter().enumerate().map(mean).collect()
}
