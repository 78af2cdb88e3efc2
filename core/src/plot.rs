//! Figures: one description per figure, drawn as SVG and written as CSV from the same data.
//!
//! A [`LineChart`] is a title, a shared x axis and one or more panels of series. plotters turns it into SVG; text stays
//! text, in a list of Japanese fonts that ends in `sans-serif`, so no font is needed here and none is embedded. The
//! width of a text is therefore estimated, which only the legend's line breaks depend on.
//!
//! plotters rounds coordinates to whole units. A unit is a tenth of a pixel here, so curves stay smooth.

use std::fmt::Write as _;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::drawing::DrawingAreaErrorKind;
use plotters::prelude::{
    BLACK, Cartesian2d, Circle, Color, DrawingArea, IntoDrawingArea, IntoFont, PathElement, RGBColor, SVGBackend,
    ShapeStyle, TextStyle, WHITE,
};
use plotters::style::FontFamily;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::error::{Error, Result};
use crate::report::Record;

/// Width of a figure in pixels.
pub const WIDTH: u32 = 800;
/// Height of a figure in pixels.
pub const HEIGHT: u32 = 500;
/// Fonts of a figure's text, best first, as SVG's `font-family`.
pub const FONT_FAMILY: &str = "Noto Sans CJK JP, Noto Sans JP, Hiragino Sans, Yu Gothic, Meiryo, sans-serif";

/// Okabe and Ito's palette (2008), which colour-blind readers can tell apart, without its yellow, too light for lines.
const PALETTE: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0xE6, 0x9F, 0x00),
    RGBColor(0x56, 0xB4, 0xE9),
    BLACK,
];
const INK: RGBColor = RGBColor(0x26, 0x26, 0x26);
const MUTED: RGBColor = RGBColor(0x59, 0x59, 0x59);
const AXIS: RGBColor = RGBColor(0x8C, 0x8C, 0x8C);
const GRID: RGBColor = RGBColor(0xE6, 0xE6, 0xE6);

/// Units of the drawing per pixel of the figure.
const UNITS: f64 = 10.0;
// All that follows is in pixels.
const LEFT: f64 = 72.0;
const RIGHT: f64 = 768.0;
const BOTTOM: f64 = 456.0;
const LEGEND_ROW: f64 = 20.0;
const LEGEND_END: f64 = 160.0;
const LEGEND_MARK: f64 = 24.0;
const PANEL_LABEL: f64 = 24.0;
const PANEL_GAP: f64 = 8.0;
const TEXT: f64 = 13.0;
const TITLE_TEXT: f64 = 17.0;
const TICK_TEXT: f64 = 12.0;
/// Values beyond this are treated as not finite, so that no difference of two can overflow.
const LARGEST: f64 = 1e100;

/// A figure of panels above each other that share the x axis.
#[derive(Clone, Debug, PartialEq)]
pub struct LineChart {
    /// Headline.
    pub title: String,
    /// Name of the x axis, with its unit.
    pub x_label: String,
    /// From top to bottom. The legend names the series of the first one; the others repeat its colours.
    pub panels: Vec<Panel>,
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
        for record in records {
            match record {
                Record::Start(_) => {}
                Record::Step(step) => {
                    run.training.push((step.step as f64, step.loss));
                    run.learning_rate.push((step.step as f64, step.learning_rate));
                }
                Record::Validation(validation) => run.validation.push((validation.step as f64, validation.loss)),
                Record::Rewind(rewind) => run.rewind(rewind.to_step as f64),
            }
        }
        run
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
    LineChart { title: title.into(), x_label: "ステップ (step)".into(), panels: vec![loss, rate] }
}

fn join(run: &str, curve: &str) -> String {
    if run.is_empty() { curve.into() } else { format!("{run} · {curve}") }
}

/// Mean of the finite points around each point, over about a fiftieth of all. The window is symmetric and shrinks
/// towards the start, so the first, steep descent is not bent; a point that is not finite stays so.
pub fn moving_mean(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut sums = vec![(0.0, 0.0)];
    sums.extend(points.iter().scan((0.0, 0.0), |(sum, count), point| {
        (*sum, *count) = if is_drawable(point) { (*sum + point.1, *count + 1.0) } else { (*sum, *count) };
        Some((*sum, *count))
    }));
    let mean = |(i, point): (usize, &(f64, f64))| {
        let half_window = (points.len() / 100).min(i);
        let (before, after) = (sums[i - half_window], sums[(i + half_window + 1).min(points.len())]);
        let mean = if is_drawable(point) { (after.0 - before.0) / (after.1 - before.1) } else { f64::NAN };
        (point.0, mean)
    };
    points.iter().enumerate().map(mean).collect()
}

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Plot<'a> = DrawingArea<SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

impl LineChart {
    /// The figure as an SVG document of [`WIDTH`] × [`HEIGHT`] pixels. Panels without a drawable point say so.
    ///
    /// # Errors
    /// [`Error::Input`] where the drawing library refuses.
    pub fn to_svg(&self) -> Result<String> {
        let (width, height) = (units(WIDTH.into()), units(HEIGHT.into()));
        let mut svg = String::new();
        let canvas = SVGBackend::with_string(&mut svg, (width as u32, height as u32)).into_drawing_area();
        self.draw(&canvas)
            .and_then(|()| canvas.present())
            .map_err(|cause| Error::Input { message: format!("figure `{}` cannot be drawn: {cause}", self.title) })?;
        drop(canvas);
        let in_units = format!(r#"width="{width}" height="{height}""#);
        let in_pixels = format!(r#"width="{WIDTH}" height="{HEIGHT}" stroke-linejoin="round""#);
        Ok(svg.replacen(&in_units, &in_pixels, 1))
    }

    /// Every point of every series, also those that are not finite: columns `panel,series,x,y`.
    pub fn to_csv(&self) -> String {
        let mut csv = String::from("panel,series,x,y\n");
        for panel in &self.panels {
            for series in &panel.series {
                let key = format!("{},{}", csv_field(&panel.y_label), csv_field(&series.name));
                for (x, y) in &series.points {
                    writeln!(csv, "{key},{x},{y}").expect("writing to a string cannot fail");
                }
            }
        }
        csv
    }

    fn draw<'a>(&self, canvas: &Canvas<'a>) -> Drawn {
        canvas.fill(&WHITE)?;
        write(canvas, &self.title, (LEFT, 28.0), TITLE_TEXT, INK, HPos::Left)?;
        write(canvas, &self.x_label, ((LEFT + RIGHT) / 2.0, 490.0), TEXT, INK, HPos::Center)?;
        let mut top = self.draw_legend(canvas, 40.0)?;
        let x = self.x_axis();
        let share = (BOTTOM - top) / self.panels.iter().map(|panel| panel.height).sum::<f64>();
        for (i, panel) in self.panels.iter().enumerate() {
            let bottom = top + share * panel.height;
            let last = i + 1 == self.panels.len();
            panel.draw(canvas, &x, top + PANEL_LABEL..bottom - if last { 0.0 } else { PANEL_GAP }, last)?;
            top = bottom;
        }
        Ok(())
    }

    /// Rows of marks and names below the title; returns where they end.
    fn draw_legend(&self, canvas: &Canvas<'_>, top: f64) -> Result<f64, DrawingAreaErrorKind<std::io::Error>> {
        let (mut x, mut y) = (LEFT, top);
        for series in self.panels.iter().take(1).flat_map(|panel| &panel.series) {
            if series.mark == Mark::Faint {
                continue;
            }
            let width = LEGEND_MARK + 8.0 + text_width(&series.name, TEXT) + 20.0;
            if x > LEFT && x + width > RIGHT {
                (x, y) = (LEFT, y + LEGEND_ROW);
            }
            if y > LEGEND_END {
                write(canvas, "…", (LEFT, y + 4.5), TEXT, INK, HPos::Left)?;
                break;
            }
            let middle = y + LEGEND_ROW / 2.0;
            series.draw_sample(canvas, (x, middle))?;
            write(canvas, &series.name, (x + LEGEND_MARK + 8.0, middle + 4.5), TEXT, INK, HPos::Left)?;
            x += width;
        }
        Ok(if x > LEFT { y + LEGEND_ROW + 4.0 } else { y })
    }

    fn x_axis(&self) -> Axis {
        let all = || self.panels.iter().flat_map(Panel::drawable);
        let (start, end) = extent(all().map(|point| point.0));
        // Steps count from 1; an axis that starts at 0 reads better.
        let start = if start > 0.0 && start < 0.05 * end { 0.0 } else { start };
        let step_at_least = if all().all(|point| point.0.fract() == 0.0) { 1.0 } else { 0.0 };
        Axis::new(start..end, 8.0, step_at_least)
    }
}

impl Panel {
    fn drawable(&self) -> impl Iterator<Item = &(f64, f64)> {
        self.series.iter().flat_map(|series| &series.points).filter(|point| is_drawable(point))
    }

    fn y_axis(&self, height: f64) -> Axis {
        let (low, high) = extent(self.drawable().map(|point| point.1));
        let margin = 0.05 * (high - low);
        let start = if low >= 0.0 { (low - margin).max(0.0) } else { low - margin };
        Axis::new(start..high + margin, (height / 44.0).clamp(3.0, 8.0), 0.0)
    }

    /// Draws the panel between two heights; its label stands above the upper one.
    fn draw<'a>(&self, canvas: &Canvas<'a>, x: &Axis, rows: Range<f64>, with_x_labels: bool) -> Drawn {
        let y = self.y_axis(rows.end - rows.start);
        let pixels = (units(LEFT)..units(RIGHT), units(rows.end)..units(rows.start));
        let plot = canvas.apply_coord_spec(Cartesian2d::new(x.range.clone(), y.range.clone(), pixels));
        write(canvas, &self.y_label, (LEFT, rows.start - 8.0), TEXT, MUTED, HPos::Left)?;
        draw_grid(&plot, x, &y)?;
        self.draw_tick_labels(canvas, &plot, x, &y, with_x_labels)?;
        if self.drawable().next().is_none() {
            let middle = ((LEFT + RIGHT) / 2.0, (rows.start + rows.end) / 2.0);
            return write(canvas, "データなし (no data)", middle, TEXT, MUTED, HPos::Center);
        }
        self.series.iter().try_for_each(|series| series.draw(&plot, &x.range))
    }

    fn draw_tick_labels<'a>(&self, canvas: &Canvas<'a>, plot: &Plot<'a>, x: &Axis, y: &Axis, with_x: bool) -> Drawn {
        let at = |x, y| plot.map_coordinate(&(x, y));
        for (tick, label) in y.labelled_ticks() {
            let height = f64::from(at(x.range.start, tick).1) / UNITS;
            write(canvas, &label, (LEFT - 8.0, height + 4.0), TICK_TEXT, MUTED, HPos::Right)?;
        }
        for (tick, label) in x.labelled_ticks().filter(|_| with_x) {
            let place = f64::from(at(tick, y.range.start).0) / UNITS;
            write(canvas, &label, (place, BOTTOM + 16.0), TICK_TEXT, MUTED, HPos::Center)?;
        }
        Ok(())
    }
}

fn draw_grid(plot: &Plot<'_>, x: &Axis, y: &Axis) -> Drawn {
    let line = |from, to, colour: RGBColor| PathElement::new(vec![from, to], stroke(colour, 1.0));
    let vertical = x.ticks().map(|tick| line((tick, y.range.start), (tick, y.range.end), GRID));
    let horizontal = y.ticks().map(|tick| line((x.range.start, tick), (x.range.end, tick), GRID));
    vertical.chain(horizontal).try_for_each(|line| plot.draw(&line))?;
    plot.draw(&line((x.range.start, y.range.start), (x.range.end, y.range.start), AXIS))
}

impl Series {
    fn colour(&self) -> RGBColor {
        PALETTE[self.colour % PALETTE.len()]
    }

    fn line(&self) -> ShapeStyle {
        match self.mark {
            Mark::Faint => self.colour().mix(0.3).stroke_width(units(0.8) as u32),
            Mark::Line | Mark::Points => stroke(self.colour(), 1.8),
        }
    }

    fn draw<'a>(&self, plot: &Plot<'a>, x: &Range<f64>) -> Drawn {
        for run in self.points.split(|point| !is_drawable(point)).filter(|run| !run.is_empty()) {
            let run = thinned(run, x);
            // A line through one point would not be seen.
            if self.mark == Mark::Points || run.len() == 1 {
                run.iter().try_for_each(|point| plot.draw(&Circle::new(*point, units(3.0), self.colour().filled())))?;
            }
            plot.draw(&PathElement::new(run, self.line()))?;
        }
        Ok(())
    }

    /// The mark beside the legend's text, which starts at `(x, y)`.
    fn draw_sample(&self, canvas: &Canvas<'_>, (x, y): (f64, f64)) -> Drawn {
        let at = |x: f64| (units(x), units(y));
        if self.mark == Mark::Points {
            canvas.draw(&Circle::new(at(x + LEGEND_MARK / 2.0), units(3.0), self.colour().filled()))?;
        }
        canvas.draw(&PathElement::new(vec![at(x), at(x + LEGEND_MARK)], self.line()))
    }
}

/// A range with round steps: 1, 2 or 5 times a power of ten.
struct Axis {
    range: Range<f64>,
    step: f64,
}

impl Axis {
    fn new(range: Range<f64>, at_most_steps: f64, step_at_least: f64) -> Self {
        let rough = (range.end - range.start) / at_most_steps;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough);
        Self { range, step: step.unwrap_or(10.0 * power).max(step_at_least) }
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        // Half a millionth of a step for rounding, so that both ends keep their tick.
        let first = (self.range.start / self.step - 5e-7).ceil() as i64;
        let last = (self.range.end / self.step + 5e-7).floor() as i64;
        (first..=last).map(|i| i as f64 * self.step)
    }

    fn labelled_ticks(&self) -> impl Iterator<Item = (f64, String)> {
        let largest = self.range.start.abs().max(self.range.end.abs());
        let decimals = (-(self.step.log10() + 1e-9).floor()).max(0.0) as usize;
        let scientific = !(1e-2..1e9).contains(&largest);
        self.ticks().map(move |tick| {
            let label = if scientific { scientific_number(tick) } else { plain_number(tick, decimals) };
            (tick, label)
        })
    }
}

/// `1,234.50`: fixed decimals and a comma between thousands.
fn plain_number(value: f64, decimals: usize) -> String {
    let digits = format!("{value:.decimals$}");
    let whole = digits.find('.').unwrap_or(digits.len());
    let sign = usize::from(digits.starts_with('-'));
    format!("{}{}{}", &digits[..sign], grouped(&digits[sign..whole]), &digits[whole..])
}

/// ASCII digits with a comma between thousands: `1,234,567`.
pub fn grouped(digits: &str) -> String {
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// `2e-4`, `1.5e9`, `0`.
fn scientific_number(value: f64) -> String {
    let rounded: f64 = format!("{value:.3e}").parse().unwrap_or(value);
    if rounded == 0.0 { "0".into() } else { format!("{rounded:e}") }
}

fn is_drawable(point: &(f64, f64)) -> bool {
    [point.0, point.1].iter().all(|value| value.abs() <= LARGEST)
}

/// Smallest and largest value, made wider where they are equal; 0 and 1 where there is none.
fn extent(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), value| (l.min(value), h.max(value)));
    match high - low {
        width if width > 1e-9 * low.abs().max(high.abs()) => (low, high),
        _ if low > high || high.abs() < 1.0 / LARGEST => (0.0, 1.0),
        _ => (low.min(0.0), high.max(0.0)),
    }
}

/// At most a lowest and a highest point per half pixel: what the eye sees of a million points.
fn thinned(points: &[(f64, f64)], x: &Range<f64>) -> Vec<(f64, f64)> {
    let columns = 2.0 * (RIGHT - LEFT);
    if points.len() as f64 <= 2.0 * columns {
        return points.to_vec();
    }
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

fn units(pixels: f64) -> i32 {
    (pixels * UNITS).round() as i32
}

fn stroke(colour: RGBColor, pixels: f64) -> ShapeStyle {
    colour.stroke_width(units(pixels) as u32)
}

/// Writes a text with its baseline at the given pixel; what does not fit into the figure ends in an ellipsis.
fn write(canvas: &Canvas<'_>, text: &str, at: (f64, f64), size: f64, colour: RGBColor, side: HPos) -> Drawn {
    let room = match side {
        HPos::Left => f64::from(WIDTH) - at.0,
        HPos::Center => 2.0 * at.0.min(f64::from(WIDTH) - at.0),
        HPos::Right => at.0,
    };
    // plotters divides by 1.24, and draws a text anchored at its bottom half an ex (a quarter em) above the point.
    let font = (FontFamily::Name(FONT_FAMILY), size * UNITS * 1.24).into_font();
    let style = TextStyle::from(font).color(&colour).pos(Pos::new(side, VPos::Bottom));
    canvas.draw_text(&fitted(text, size, room), &style, (units(at.0), units(at.1 + size / 4.0)))
}

/// The text on one line, cut to a width in pixels; XML knows no control characters.
fn fitted(text: &str, size: f64, room: f64) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text_width(&text, size) <= room {
        return text;
    }
    let mut width = text_width("…", size);
    let fits = |c: &char| {
        width += char_width(*c) * size;
        width <= room
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

fn text_width(text: &str, size: f64) -> f64 {
    text.chars().map(char_width).sum::<f64>() * size
}

/// Width of a character in em, rather too wide than too narrow: exact widths depend on the reader's fonts.
fn char_width(c: char) -> f64 {
    match c {
        '\u{1100}'..='\u{FF60}' | '\u{FFA0}'.. => 1.0,
        'M' | 'W' | 'm' | 'w' | '@' | '%' => 0.9,
        'A'..='Z' => 0.66,
        ' ' | '.' | ',' | 'i' | 'j' | 'l' | '(' | ')' | '·' => 0.34,
        _ => 0.57,
    }
}

/// RFC 4180: quoted where it holds a comma, a quote or a line break.
fn csv_field(text: &str) -> String {
    let quoted = || format!("\"{}\"", text.replace('"', "\"\""));
    if text.contains([',', '"', '\n', '\r']) { quoted() } else { text.into() }
}
