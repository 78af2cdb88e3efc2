//! Curves in panels above each other that share the x axis.

use std::ops::Range;
use std::rc::Rc;

use super::axis::{Axis, Frame, extent};
use super::canvas::{Canvas, Drawn, LEFT, TOP, colour};
use super::legend::{self, Sample};
use super::view::{Reading, Spot, View, short};
use super::{Csv, Figure, HEIGHT, is_drawable};

const PANEL_LABEL: f64 = 24.0;
const PANEL_GAP: f64 = 8.0;
/// Added to the height for each panel beyond the third.
const ROOM_PER_PANEL: u32 = 120;

/// A figure of panels above each other that share the x axis.
#[derive(Clone, Debug, PartialEq)]
pub struct LineChart {
    /// Headline.
    pub title: String,
    /// Name of the x axis, with its unit.
    pub x_label: String,
    /// From top to bottom. The legend names the series of the first one; the others repeat its colours.
    pub panels: Vec<Panel>,
    /// What a reader must know, below the figure.
    pub notes: Vec<String>,
}

/// One y axis with its series.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// Name of the y axis, with its unit.
    pub y_label: String,
    /// Height relative to the other panels.
    pub height: f64,
    /// Drawn in this order, the last on top.
    pub series: Vec<Series>,
}

/// A named sequence of (x, y). A point that is not finite leaves a gap.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Name in the legend and in the CSV.
    pub name: String,
    /// The points, by rising x.
    pub points: Vec<(f64, f64)>,
    /// How the points are drawn.
    pub mark: Mark,
    /// Index into the palette; indices beyond it start again.
    pub colour: usize,
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A line.
    Line,
    /// A thin, pale line: raw values behind a smoothed line of the same colour. Not in the legend.
    Faint,
    /// A line with a dot at each point.
    Points,
}

impl Figure for LineChart {
    fn title(&self) -> &str {
        &self.title
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn height(&self) -> u32 {
        HEIGHT + ROOM_PER_PANEL * (self.panels.len() as u32).saturating_sub(3)
    }

    fn draw(&self, canvas: &Canvas<'_>, view: &View) -> Drawn {
        canvas.x_name(&self.x_label)?;
        let named = self.panels.iter().take(1).flat_map(|panel| &panel.series);
        let entries = named.filter_map(|series| Some((series.sample()?, series.name.as_str())));
        let mut top = legend::draw(canvas, entries, TOP)?;
        let x = self.x_axis(view.x.as_ref());
        let x_name = short(&self.x_label);
        let share = (canvas.bottom() - top) / self.panels.iter().map(|panel| panel.height).sum::<f64>();
        for (i, panel) in self.panels.iter().enumerate() {
            let bottom = top + share * panel.height;
            let last = i + 1 == self.panels.len();
            let rows = top + PANEL_LABEL..bottom - if last { 0.0 } else { PANEL_GAP };
            let y = panel.y_axis(rows.end - rows.start, view.x.as_ref(), view.y_of(i));
            let frame = Frame { x: x.clone(), y, chooses_y: true, columns: LEFT..canvas.right(), rows };
            panel.draw(canvas, &frame, last, &x_name)?;
            top = bottom;
        }
        Ok(())
    }

    /// Every point of every series: columns `panel,series,x,y`.
    fn to_csv(&self) -> String {
        let mut csv = Csv::new("panel,series,x,y");
        for panel in &self.panels {
            for series in &panel.series {
                series.points.iter().for_each(|(x, y)| csv.row(&[&panel.y_label, &series.name, x, y]));
            }
        }
        csv.0
    }
}

impl LineChart {
    fn x_axis(&self, part: Option<&Range<f64>>) -> Axis {
        let all = || self.panels.iter().flat_map(Panel::drawable);
        let (start, end) = extent(all().map(|point| point.0));
        // Steps count from 1; an axis that starts at 0 reads better.
        let start = if start > 0.0 && start < 0.05 * end { 0.0 } else { start };
        let step_at_least = if all().all(|point| point.0.fract() == 0.0) { 1.0 } else { 0.0 };
        Axis::linear(start..end, part, 8.0, step_at_least)
    }
}

impl Panel {
    fn drawable(&self) -> impl Iterator<Item = &(f64, f64)> {
        self.series.iter().flat_map(|series| &series.points).filter(|point| is_drawable(**point))
    }

    /// The axis over a height in pixels; where a part of the x axis is drawn alone, what is in it.
    fn y_axis(&self, height: f64, x: Option<&Range<f64>>, part: Option<&Range<f64>>) -> Axis {
        let around = |values: &mut dyn Iterator<Item = f64>| {
            let (low, high) = extent(values);
            let margin = 0.05 * (high - low);
            (if low >= 0.0 { (low - margin).max(0.0) } else { low - margin })..high + margin
        };
        let whole = around(&mut self.drawable().map(|point| point.1));
        let seen = x.map(|x| around(&mut self.drawable().filter(|point| x.contains(&point.0)).map(|point| point.1)));
        Axis::linear(whole, part.or(seen.as_ref()), (height / 44.0).clamp(3.0, 8.0), 0.0)
    }

    /// Draws the panel; its label stands above it.
    fn draw(&self, canvas: &Canvas<'_>, frame: &Frame, with_x_labels: bool, x_name: &Rc<str>) -> Drawn {
        frame.draw(canvas, &self.y_label, with_x_labels)?;
        if self.drawable().next().is_none() {
            return frame.draw_no_data(canvas);
        }
        let y_name = short(&self.y_label);
        self.series.iter().try_for_each(|series| series.draw(canvas, frame, [x_name, &y_name]))
    }
}

impl Series {
    fn draw(&self, canvas: &Canvas<'_>, frame: &Frame, axes: [&Rc<str>; 2]) -> Drawn {
        let (width, opacity) = if self.mark == Mark::Faint { (0.8, 0.3) } else { (1.8, 1.0) };
        let name = Rc::from(self.name.as_str());
        for run in self.points.split(|point| !is_drawable(*point)).filter(|run| !run.is_empty()) {
            let run = thinned(within(run, &frame.x.range), frame);
            let seen: Vec<_> = run.iter().copied().filter(|point| frame.holds(*point)).collect();
            // A line through one point would not be seen.
            if self.mark == Mark::Points || run.len() == 1 {
                seen.iter().try_for_each(|point| canvas.dot(frame.at(*point), 3.0, colour(self.colour), 1.0))?;
            }
            frame.line(canvas, &run, colour(self.colour), width, opacity)?;
            for (x, y) in seen {
                let readings = vec![Reading::new(axes[0], x, None), Reading::new(axes[1], y, None)];
                let (at, name) = (frame.at((x, y)), Rc::clone(&name));
                canvas.spot(Spot { at, plot: 0, name, label: "".into(), readings, example: None });
            }
        }
        Ok(())
    }

    /// The mark beside the legend's text.
    fn sample(&self) -> Option<Sample> {
        match self.mark {
            Mark::Line => Some(Sample::Line(self.colour)),
            Mark::Points => Some(Sample::DottedLine(self.colour)),
            Mark::Faint => None,
        }
    }
}

/// Points of a range, and one more on both sides, to which lines lead.
fn within<'p>(points: &'p [(f64, f64)], range: &Range<f64>) -> &'p [(f64, f64)] {
    let start = points.partition_point(|point| point.0 < range.start).saturating_sub(1);
    let end = points.partition_point(|point| point.0 <= range.end) + 1;
    &points[start..end.clamp(start, points.len())]
}

/// At most a lowest and a highest point per half pixel: what the eye sees of a million points.
fn thinned(points: &[(f64, f64)], frame: &Frame) -> Vec<(f64, f64)> {
    let columns = 2.0 * (frame.columns.end - frame.columns.start);
    if points.len() as f64 <= 2.0 * columns {
        return points.to_vec();
    }
    let x = &frame.x.range;
    let column = |point: &(f64, f64)| ((point.0 - x.start) / (x.end - x.start) * columns) as usize;
    let extremes = |chunk: &[(f64, f64)]| {
        let by_y = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let mut ends: Vec<_> =
            chunk.iter().min_by(by_y).into_iter().chain(chunk.iter().max_by(by_y)).copied().collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        ends.dedup();
        ends
    };
    points.chunk_by(|a, b| column(a) == column(b)).flat_map(extremes).collect()
}
