//! Models × tasks: each value as a marker with its interval, a panel for each task (a forest plot).

use std::ops::Range;

use super::axis::{Axis, Frame, padded};
use super::canvas::{AXIS, Canvas, Drawn, GRID, HPos, INK, MUTED, SMALL_TEXT, TEXT, TOP, colour, fitted};
use super::view::{Reading, Spot, View, short};
use super::{Csv, Figure, HEIGHT, NO_DATA, csv_interval, is_drawable};

/// Height of a model's row.
const ROW: f64 = 20.0;
/// Height of a panel beside its rows: its name, the numbers below it.
const PANEL: f64 = 58.0;
/// Left and right ends of the plots: names stand to their left, values in numbers to their right.
const COLUMNS: Range<f64> = 250.0..600.0;

/// A figure of one panel for each task.
#[derive(Clone, Debug, PartialEq)]
pub struct ForestChart {
    /// Headline.
    pub title: String,
    /// From top to bottom.
    pub panels: Vec<ForestPanel>,
    /// What a reader must know, below the figure.
    pub notes: Vec<String>,
}

/// The values of one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct ForestPanel {
    /// Task, metric, and which direction is better.
    pub name: String,
    /// A row for each model.
    pub rows: Vec<Estimate>,
    /// Values to beat, such as that of the majority class, as rows below the models' and as lines.
    pub baselines: Vec<(String, f64)>,
}

/// What is known of one model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Estimate {
    /// Name of the model.
    pub name: String,
    /// Its look: index of a colour and a marker.
    pub look: usize,
    /// The value; none where it is missing or undefined.
    pub value: Option<f64>,
    /// 95 % interval.
    pub interval: Option<[f64; 2]>,
}

impl Figure for ForestChart {
    fn title(&self) -> &str {
        &self.title
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn height(&self) -> u32 {
        let panels: f64 = self.panels.iter().map(ForestPanel::height).sum();
        if self.panels.is_empty() { HEIGHT } else { (TOP + panels + 10.0) as u32 }
    }

    fn draw(&self, canvas: &Canvas<'_>, view: &View) -> Drawn {
        if self.panels.is_empty() {
            return canvas.text(NO_DATA, (COLUMNS.start, f64::from(HEIGHT) / 2.0), TEXT, MUTED, HPos::Left);
        }
        let mut top = TOP;
        for (index, panel) in self.panels.iter().enumerate() {
            panel.draw(canvas, top, view.x_of(index))?;
            top += panel.height();
        }
        Ok(())
    }

    /// Rows of models and of baselines: columns `panel,name,value,low,high`; empty where there is no value.
    fn to_csv(&self) -> String {
        let mut csv = Csv::new("panel,name,value,low,high");
        for panel in &self.panels {
            for row in &panel.rows {
                let [low, high] = csv_interval(row.interval);
                csv.row(&[&panel.name, &row.name, &row.value.map_or(String::new(), |v| v.to_string()), &low, &high]);
            }
            panel.baselines.iter().for_each(|(name, value)| csv.row(&[&panel.name, name, value, &"", &""]));
        }
        csv.0
    }
}

impl ForestPanel {
    fn height(&self) -> f64 {
        PANEL + self.rows_height()
    }

    fn rows_height(&self) -> f64 {
        ROW * (self.rows.len() + self.baselines().count()) as f64
    }

    fn baselines(&self) -> impl Iterator<Item = &(String, f64)> {
        self.baselines.iter().filter(|(_, value)| is_drawable((*value, 0.0)))
    }

    fn frame(&self, top: f64, part: Option<&Range<f64>>) -> Frame {
        let rows = top + 26.0..top + 26.0 + self.rows_height();
        let values =
            self.rows.iter().flat_map(|row| row.value().into_iter().chain(row.interval().into_iter().flatten()));
        let whole = padded(values.chain(self.baselines().map(|(_, value)| *value)), 0.06);
        let x = Axis::linear(whole, part, 6.0, 0.0);
        let mut y = Axis::linear(0.0..1.0, None, 1.0, 1.0);
        y.ticks.clear();
        Frame { x, y, chooses_y: false, columns: COLUMNS, rows }
    }

    fn draw(&self, canvas: &Canvas<'_>, top: f64, part: Option<&Range<f64>>) -> Drawn {
        let frame = self.frame(top, part);
        canvas.text(&fitted(&self.name, TEXT, canvas.right() - 12.0), (12.0, top + 18.0), TEXT, INK, HPos::Left)?;
        frame.draw_grid(canvas)?;
        frame.draw_x_labels(canvas)?;
        for (index, (name, value)) in self.baselines().enumerate() {
            let y = self.level(self.rows.len() + index);
            frame.line(canvas, &[(*value, 0.0), (*value, 1.0)], AXIS, 1.2, 1.0)?;
            draw_row(canvas, frame.at((0.0, y)).1, name, &four_decimals(*value))?;
            if frame.holds((*value, y)) {
                canvas.dot(frame.at((*value, y)), 3.5, AXIS, 1.0)?;
                self.point_at(canvas, &frame, name, (*value, y), None);
            }
        }
        self.rows.iter().enumerate().try_for_each(|(index, row)| {
            row.draw(canvas, &frame, self.level(index))?;
            if let Some(value) = row.value().filter(|value| frame.holds((*value, 0.5))) {
                self.point_at(canvas, &frame, &row.name, (value, self.level(index)), row.interval());
            }
            Ok(())
        })
    }

    /// The height of a row's middle on the y axis, which goes from 0 to 1.
    fn level(&self, index: usize) -> f64 {
        1.0 - ROW * (index as f64 + 0.5) / self.rows_height()
    }

    fn point_at(&self, canvas: &Canvas<'_>, frame: &Frame, name: &str, at: (f64, f64), interval: Option<[f64; 2]>) {
        let readings = vec![Reading::new(&short(&self.name), at.0, interval)];
        let (at, name) = (frame.at(at), name.into());
        canvas.spot(Spot { at, plot: 0, name, label: "".into(), readings, example: None });
    }
}

/// Name, line and value of a row.
fn draw_row(canvas: &Canvas<'_>, y: f64, name: &str, value: &str) -> Drawn {
    let name = fitted(name, SMALL_TEXT, COLUMNS.start - 24.0);
    canvas.text(&name, (COLUMNS.start - 12.0, y + 4.0), SMALL_TEXT, INK, HPos::Right)?;
    canvas.line(&[(COLUMNS.start, y), (COLUMNS.end, y)], GRID, 1.0, 1.0)?;
    canvas.text(value, (COLUMNS.end + 12.0, y + 4.0), SMALL_TEXT, MUTED, HPos::Left)
}

impl Estimate {
    fn value(&self) -> Option<f64> {
        self.value.filter(|value| is_drawable((*value, 0.0)))
    }

    fn interval(&self) -> Option<[f64; 2]> {
        self.interval.filter(|[low, high]| is_drawable((*low, *high)))
    }

    fn draw(&self, canvas: &Canvas<'_>, frame: &Frame, level: f64) -> Drawn {
        draw_row(canvas, frame.at((0.0, level)).1, &self.name, &self.in_numbers())?;
        if let Some(ends) = self.interval() {
            frame.line(canvas, &ends.map(|x| (x, level)), colour(self.look), 2.0, 1.0)?;
        }
        let shown = self.value().map(|value| (value, level)).filter(|point| frame.holds(*point));
        shown.map_or(Ok(()), |point| canvas.marker(self.look, frame.at(point), 5.0))
    }

    fn in_numbers(&self) -> String {
        match (self.value, self.interval) {
            (Some(value), Some([low, high])) => {
                format!("{} [{}, {}]", four_decimals(value), four_decimals(low), four_decimals(high))
            }
            (Some(value), None) => four_decimals(value),
            (None, _) => "–".into(),
        }
    }
}

/// Four decimals, fewer of large numbers, so that an interval fits beside its row.
fn four_decimals(value: f64) -> String {
    if value.abs() < 100.0 { format!("{value:.4}") } else { format!("{value:.1}") }
}
