//! Axes with round ticks, linear and logarithmic, and the frame that two of them span.

use std::ops::Range;

use super::canvas::{AXIS, Canvas, Drawn, GRID, HPos, LEFT, MUTED, Pixel, RGBColor, SMALL_TEXT, TEXT, WHITE, colour};
use super::labels::Rect;
use super::view::View;
use super::{LARGEST, NO_DATA, is_drawable};

/// No smaller share of an axis is chosen.
const LEAST_PART: f64 = 1e-6;
/// Space above a plot for the name of its y axis.
pub(super) const Y_NAME_HEIGHT: f64 = 24.0;
/// What stands out of a plot by rounding is inside.
const ROUNDING: f64 = 0.01;

/// A range of values with labelled ticks.
#[derive(Clone)]
pub(super) struct Axis {
    pub range: Range<f64>,
    pub ticks: Vec<(f64, String)>,
    /// The range where all is drawn.
    whole: Range<f64>,
    logarithmic: bool,
}

impl Axis {
    /// Ticks at multiples of 1, 2 or 5 times a power of ten, over a part or the whole.
    pub fn linear(whole: Range<f64>, part: Option<&Range<f64>>, at_most_steps: f64, step_at_least: f64) -> Self {
        let range = part.unwrap_or(&whole).clone();
        let rough = (range.end - range.start) / at_most_steps;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(10.0 * power).max(step_at_least);
        let decimals = (-(step.log10() + 1e-9).floor()).max(0.0) as usize;
        let scientific = !(1e-2..1e9).contains(&range.start.abs().max(range.end.abs()));
        let label = |tick| if scientific { scientific_number(tick) } else { plain_number(tick, decimals) };
        // Half a millionth of a step for rounding, so that both ends keep their tick.
        let first = (range.start / step - 5e-7).ceil() as i64;
        let last = (range.end / step + 5e-7).floor() as i64;
        let ticks = (first..=last).map(|i| i as f64 * step).map(|tick| (tick, label(tick))).collect();
        Self { range, ticks, whole, logarithmic: false }
    }

    /// Ticks at powers of ten, with some of their multiples where there is room, over a part or the whole. Both are above 0.
    pub fn logarithmic(whole: Range<f64>, part: Option<&Range<f64>>, at_most_ticks: usize) -> Self {
        let range = part.unwrap_or(&whole).clone();
        let decades = range.start.log10().floor() as i32..=range.end.log10().floor() as i32;
        let inside = |factors: &[f64]| -> Vec<f64> {
            let of_decade = |decade: i32| factors.iter().map(move |factor| factor * 10f64.powi(decade));
            decades.clone().flat_map(of_decade).filter(|tick| range.contains(tick)).collect()
        };
        let choices = [&[1.0, 2.0, 3.0, 5.0, 7.0][..], &[1.0, 2.0, 5.0], &[1.0, 3.0], &[1.0]].map(inside);
        let fitting = choices.iter().find(|ticks| ticks.len() <= at_most_ticks);
        let every = choices[3].len().div_ceil(at_most_ticks).max(1);
        let ticks = fitting.cloned().unwrap_or_else(|| choices[3].iter().step_by(every).copied().collect());
        if ticks.len() < 3 {
            return Self { logarithmic: true, ..Self::linear(whole, Some(&range), at_most_ticks as f64, 0.0) };
        }
        let ticks = ticks.into_iter().map(|tick| (tick, free_number(tick))).collect();
        Self { range, ticks, whole, logarithmic: true }
    }

    /// Where a value lies: 0 at the start of the range, 1 at its end.
    fn share(&self, value: f64) -> f64 {
        let Range { start, end } = self.range;
        match self.logarithmic {
            true => (value / start).ln() / (end / start).ln(),
            false => (value - start) / (end - start),
        }
    }

    /// The value at a share: the inverse of [`Self::share`].
    fn value(&self, share: f64) -> f64 {
        let Range { start, end } = self.range;
        match self.logarithmic {
            true => start * (end / start).powf(share),
            false => start + share * (end - start),
        }
    }

    /// The part between two shares, which may lie outside of what is drawn, moved or cut to lie inside the whole; `None`
    /// for all of it.
    fn part(&self, [from, to]: [f64; 2]) -> Option<Range<f64>> {
        let all = Self { range: self.whole.clone(), ..self.clone() };
        let [from, to] = [from, to].map(|share| all.share(self.value(share)));
        let width = to - from;
        if !(LEAST_PART..1.0 - 1e-9).contains(&width) {
            let stays = width < LEAST_PART && self.range != self.whole;
            return stays.then(|| self.range.clone());
        }
        let from = from.clamp(0.0, 1.0 - width);
        Some(all.value(from)..all.value(from + width))
    }
}

/// The rectangle of a plot on the canvas with its two axes.
#[derive(Clone)]
pub struct Frame {
    pub(super) x: Axis,
    pub(super) y: Axis,
    /// Whether a part of the y axis can be chosen; it follows the data otherwise.
    pub(super) chooses_y: bool,
    /// From left to right, in pixels.
    pub(super) columns: Range<f64>,
    /// From top to bottom, in pixels.
    pub(super) rows: Range<f64>,
}

impl Frame {
    /// Ends of the plot in pixels: left, top, right, bottom.
    pub const fn ends(&self) -> [f64; 4] {
        [self.columns.start, self.rows.start, self.columns.end, self.rows.end]
    }

    pub(super) fn size(&self) -> (f64, f64) {
        (self.columns.end - self.columns.start, self.rows.end - self.rows.start)
    }

    pub(super) fn holds_pixel(&self, (x, y): Pixel) -> bool {
        let inside = |range: &Range<f64>, at: f64| range.start - ROUNDING <= at && at <= range.end + ROUNDING;
        inside(&self.columns, x) && inside(&self.rows, y)
    }

    /// Whether a point is drawn.
    pub(super) fn holds(&self, point: (f64, f64)) -> bool {
        is_drawable(point) && self.holds_pixel(self.at(point))
    }

    /// How far to the right and how far up a pixel lies: 0 to 1.
    pub(super) fn shares(&self, (x, y): Pixel) -> (f64, f64) {
        let (width, height) = self.size();
        ((x - self.columns.start) / width, (self.rows.end - y) / height)
    }

    /// The view of this plot between shares of its axes.
    pub(super) fn view(&self, plot: usize, x: Option<[f64; 2]>, y: Option<[f64; 2]>) -> View {
        let kept = |axis: &Axis| (axis.range != axis.whole).then(|| axis.range.clone());
        let part = |axis: &Axis, ends: Option<[f64; 2]>| ends.map_or_else(|| kept(axis), |ends| axis.part(ends));
        let y = if self.chooses_y { part(&self.y, y) } else { None };
        View { plot, x: part(&self.x, x), y }
    }

    /// A line through points, as much of it as lies inside the plot; `opacity` from 0 to 1.
    pub(super) fn line(
        &self,
        canvas: &Canvas<'_>,
        points: &[(f64, f64)],
        colour: RGBColor,
        width: f64,
        opacity: f64,
    ) -> Drawn {
        let pixels: Vec<Pixel> = points.iter().map(|point| self.at(*point)).collect();
        let [left, top, right, bottom] = self.ends();
        let [left, top] = [left, top].map(|end| end - ROUNDING);
        let [right, bottom] = [right, bottom].map(|end| end + ROUNDING);
        let pieces = Rect { left, top, right, bottom }.pieces(&pixels);
        pieces.iter().try_for_each(|piece| canvas.line(piece, colour, width, opacity))
    }

    /// The bar of an interval, with a white border like a marker's.
    pub(super) fn interval(&self, canvas: &Canvas<'_>, ends: [(f64, f64); 2], look: usize) -> Drawn {
        self.line(canvas, &ends, WHITE, 4.0, 1.0)?;
        self.line(canvas, &ends, colour(look), 2.0, 1.0)
    }

    /// The pixel of a point.
    pub(super) fn at(&self, (x, y): (f64, f64)) -> Pixel {
        let Range { start: left, end: right } = self.columns;
        let Range { start: top, end: bottom } = self.rows;
        (left + self.x.share(x) * (right - left), bottom - self.y.share(y) * (bottom - top))
    }

    /// A vertical line over the whole height.
    pub(super) fn upright(&self, x: f64) -> [Pixel; 2] {
        [self.at((x, self.y.range.start)), self.at((x, self.y.range.end))]
    }

    /// A horizontal line over the whole width.
    pub(super) fn level(&self, y: f64) -> [Pixel; 2] {
        [self.at((self.x.range.start, y)), self.at((self.x.range.end, y))]
    }

    /// Grid, labels of the y axis to the left, the y axis' name above; labels of the x axis where they are wanted.
    pub(super) fn draw(&self, canvas: &Canvas<'_>, y_name: &str, with_x_labels: bool) -> Drawn {
        canvas.text(y_name, (LEFT, self.rows.start - 8.0), TEXT, MUTED, HPos::Left)?;
        self.draw_grid(canvas)?;
        for (tick, label) in &self.y.ticks {
            let (x, y) = self.at((self.x.range.start, *tick));
            canvas.text(label, (x - 8.0, y + 4.0), SMALL_TEXT, MUTED, HPos::Right)?;
        }
        if with_x_labels { self.draw_x_labels(canvas) } else { Ok(()) }
    }

    /// Lines at the ticks, and the x axis.
    pub(super) fn draw_grid(&self, canvas: &Canvas<'_>) -> Drawn {
        canvas.frames.borrow_mut().push(self.clone());
        let upright = self.x.ticks.iter().map(|(tick, _)| self.upright(*tick));
        let level = self.y.ticks.iter().map(|(tick, _)| self.level(*tick));
        upright.chain(level).try_for_each(|line| canvas.line(&line, GRID, 1.0, 1.0))?;
        canvas.line(&self.level(self.y.range.start), AXIS, 1.0, 1.0)
    }

    /// The numbers below the x axis.
    pub(super) fn draw_x_labels(&self, canvas: &Canvas<'_>) -> Drawn {
        for (tick, label) in &self.x.ticks {
            let (x, y) = self.at((*tick, self.y.range.start));
            canvas.text(label, (x, y + 16.0), SMALL_TEXT, MUTED, HPos::Center)?;
        }
        Ok(())
    }

    /// Says in the middle that there is nothing to draw.
    pub(super) fn draw_no_data(&self, canvas: &Canvas<'_>) -> Drawn {
        let middle = |range: &Range<f64>| (range.start + range.end) / 2.0;
        canvas.text(NO_DATA, (middle(&self.columns), middle(&self.rows)), TEXT, MUTED, HPos::Center)
    }
}

/// Five digits, with commas between thousands: `1,234`, `0.012346`, `2e-8`.
pub fn number(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if value.fract() == 0.0 && size < 1e15 => plain_number(value, 0),
        _ if (1e-3..1e6).contains(&size) => {
            let decimals = (4.0 - size.log10().floor()).max(0.0) as usize;
            let digits = plain_number(value, decimals);
            let digits = if decimals > 0 { digits.trim_end_matches('0').trim_end_matches('.') } else { &digits };
            digits.to_owned()
        }
        _ => scientific_number(value),
    }
}

/// Smallest and largest value, made wider down or up to 0 where they are equal; 0 and 1 where there is none.
pub(super) fn extent(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = bounds(values);
    match high - low {
        width if width > least_width(low, high) => (low, high),
        _ if low > high || high.abs() < 1.0 / LARGEST => (0.0, 1.0),
        _ => (low.min(0.0), high.max(0.0)),
    }
}

/// Smallest and largest value with a margin, as a share of their distance, on both sides; equal values stand in the
/// middle. 0 and 1 with the margin where there is none.
pub(super) fn padded(values: impl Iterator<Item = f64>, margin: f64) -> Range<f64> {
    let (low, high) = bounds(values);
    match high - low {
        width if width > least_width(low, high) => low - margin * width..high + margin * width,
        _ if low > high => -margin..1.0 + margin,
        _ if high.abs() < 1.0 / LARGEST => -1.0..1.0,
        _ => low - 0.1 * low.abs()..high + 0.1 * high.abs(),
    }
}

fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}

/// What two values must differ by for an axis between them.
fn least_width(low: f64, high: f64) -> f64 {
    (1e-9 * low.abs().max(high.abs())).max(1.0 / LARGEST)
}

/// ASCII digits with a comma between thousands: `1,234,567`.
pub fn grouped(digits: &str) -> String {
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// `1,234.50`: fixed decimals and a comma between thousands.
fn plain_number(value: f64, decimals: usize) -> String {
    let digits = format!("{value:.decimals$}");
    let whole = digits.find('.').unwrap_or(digits.len());
    let sign = usize::from(digits.starts_with('-'));
    format!("{}{}{}", &digits[..sign], grouped(&digits[sign..whole]), &digits[whole..])
}

/// `2e-4`, `1.5e9`, `0`.
fn scientific_number(value: f64) -> String {
    let rounded: f64 = format!("{value:.3e}").parse().unwrap_or(value);
    if rounded == 0.0 { "0".into() } else { format!("{rounded:e}") }
}

/// A number with as many decimals as its size needs.
fn free_number(value: f64) -> String {
    match value {
        value if (1e-3..1e6).contains(&value) => plain_number(value, (-value.log10().floor()).max(0.0) as usize),
        value => scientific_number(value),
    }
}
