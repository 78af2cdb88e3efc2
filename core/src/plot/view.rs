//! What a reader can do with a figure: choose a part of it, and point at a mark.

use std::fmt::{self, Display};
use std::ops::Range;
use std::rc::Rc;

use super::axis::{Frame, number};
use super::canvas::Pixel;

/// A drag that is shorter than this along one axis, in pixels, chooses nothing of that axis.
const LEAST_DRAG: f64 = 8.0;

/// The part of a figure that is drawn: of each axis that is named this range, of others all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// Index of the plot whose axes these are; an axis that plots share changes in all of them.
    pub plot: usize,
    /// Part of the x axis.
    pub x: Option<Range<f64>>,
    /// Part of the y axis.
    pub y: Option<Range<f64>>,
}

impl View {
    /// Whether all of the figure is drawn.
    pub fn is_whole(&self) -> bool {
        self.x.is_none() && self.y.is_none()
    }

    pub(super) fn x_of(&self, plot: usize) -> Option<&Range<f64>> {
        self.x.as_ref().filter(|_| plot == self.plot)
    }

    pub(super) fn y_of(&self, plot: usize) -> Option<&Range<f64>> {
        self.y.as_ref().filter(|_| plot == self.plot)
    }
}

/// A figure as it was drawn, and what can be done with it.
#[derive(Clone)]
pub struct Drawing {
    /// The SVG document.
    pub svg: String,
    /// Width and height in pixels.
    pub size: (f64, f64),
    /// The marks that are seen, those of one series behind each other.
    pub spots: Vec<Spot>,
    /// The plots, whose indices a [`View`] names.
    pub frames: Vec<Frame>,
}

/// A mark that can be pointed at.
#[derive(Clone, Debug, PartialEq)]
pub struct Spot {
    /// Its pixel.
    pub at: Pixel,
    /// Index of its plot.
    pub plot: usize,
    /// Whose it is: the model or the series.
    pub name: Rc<str>,
    /// Which of them it is, such as a step; often empty.
    pub label: Rc<str>,
    /// What can be read at it.
    pub readings: Vec<Reading>,
    /// Index among the examples of the result, where the mark is one of them.
    pub example: Option<usize>,
}

/// A named value.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Its name, the axis' where there is no better one.
    pub name: Rc<str>,
    /// The value.
    pub value: f64,
    /// Its interval.
    pub interval: Option<[f64; 2]>,
}

/// An axis' name without what is said beside it, such as which direction is better.
pub(super) fn short(label: &str) -> Rc<str> {
    label.split(['　', '↑', '↓']).next().unwrap_or(label).trim().into()
}

impl Reading {
    pub(super) fn new(name: &Rc<str>, value: f64, interval: Option<[f64; 2]>) -> Self {
        Self { name: name.clone(), value, interval }
    }
}

impl Display for Reading {
    /// `name: 1,234.5 [1,200, 1,270]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, number(self.value))?;
        match self.interval {
            Some([low, high]) => write!(f, " [{}, {}]", number(low), number(high)),
            None => Ok(()),
        }
    }
}

/// Where to go from a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// To the mark before it in its series.
    Back,
    /// To the mark behind it in its series.
    Forward,
    /// To the mark of the series before, the nearest by x.
    Up,
    /// To the mark of the next series, the nearest by x.
    Down,
    /// To the first of all marks.
    First,
    /// To the last of all marks.
    Last,
}

impl Drawing {
    /// The mark nearest to a pixel, not farther than `within` pixels.
    pub fn nearest(&self, (x, y): Pixel, within: f64) -> Option<usize> {
        let distance = |spot: &Spot| (spot.at.0 - x).hypot(spot.at.1 - y);
        let near = self.spots.iter().map(distance).enumerate().filter(|(_, distance)| *distance <= within);
        near.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(index, _)| index)
    }

    /// The mark that a step leads to; the first from nowhere, `None` where nothing is drawn.
    pub fn step(&self, from: Option<usize>, step: Step) -> Option<usize> {
        let last = self.spots.len().checked_sub(1)?;
        let Some(from) = from.filter(|from| *from <= last) else {
            return Some(if step == Step::Last { last } else { 0 });
        };
        let series = self.series();
        let now = series.iter().position(|one| one.contains(&from))?;
        let nearest = |series: &Range<usize>| {
            let distance = |index: &usize| (self.spots[*index].at.0 - self.spots[from].at.0).abs();
            series.clone().min_by(|a, b| distance(a).total_cmp(&distance(b)))
        };
        match step {
            Step::First => Some(0),
            Step::Last => Some(last),
            Step::Back => Some(from.saturating_sub(1).max(series[now].start)),
            Step::Forward => Some((from + 1).min(series[now].end - 1)),
            Step::Up => nearest(&series[now.saturating_sub(1)]),
            Step::Down => nearest(&series[(now + 1).min(series.len() - 1)]),
        }
    }

    /// The marks of each series.
    fn series(&self) -> Vec<Range<usize>> {
        let mut start = 0;
        let same = |a: &Spot, b: &Spot| a.plot == b.plot && a.name == b.name;
        let next = |series: &[Spot]| {
            let range = start..start + series.len();
            start = range.end;
            range
        };
        self.spots.chunk_by(same).map(next).collect()
    }

    /// The plot around a pixel.
    pub fn plot_at(&self, at: Pixel) -> Option<usize> {
        self.frames.iter().position(|frame| frame.holds_pixel(at))
    }

    /// The part of a plot between two pixels.
    pub fn between(&self, plot: usize, from: Pixel, to: Pixel) -> View {
        let frame = &self.frames[plot];
        let (from, to) = (frame.shares(from), frame.shares(to));
        let (width, height) = frame.size();
        let chosen = |from: f64, to: f64, length: f64| {
            ((to - from).abs() * length >= LEAST_DRAG).then(|| [from.min(to).max(0.0), from.max(to).min(1.0)])
        };
        frame.view(plot, chosen(from.0, to.0, width), chosen(from.1, to.1, height))
    }

    /// The plot with `factor` times as much in it, around a pixel that stays where it is.
    pub fn scaled(&self, plot: usize, around: Pixel, factor: f64) -> View {
        let frame = &self.frames[plot];
        let ends = |share: f64| Some([share - share * factor, share + (1.0 - share) * factor]);
        let (x, y) = frame.shares(around);
        frame.view(plot, ends(x), ends(y))
    }

    /// The plot moved by shares of its width and height, to the right and upwards.
    pub fn moved(&self, plot: usize, (x, y): (f64, f64)) -> View {
        self.frames[plot].view(plot, Some([x, 1.0 + x]), Some([y, 1.0 + y]))
    }
}
