//! What every figure is drawn with: text, lines, areas and markers in one palette, placed in pixels.

use std::cell::RefCell;

use plotters::coord::Shift;
use plotters::drawing::DrawingAreaErrorKind;
use plotters::prelude::{
    BLACK, Circle, Color, DrawingArea, IntoDrawingArea, IntoFont, PathElement, Polygon, SVGBackend, TextStyle,
};
use plotters::style::FontFamily;
use plotters::style::text_anchor::{Pos, VPos};

use super::axis::Frame;
use super::view::{Drawing, Spot};

pub(super) use plotters::prelude::{RGBColor, WHITE};
pub(super) use plotters::style::text_anchor::HPos;

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
/// Shapes of markers within a circle of radius 1: a circle (no corner), then polygons of about its area.
const SHAPES: [&[(f64, f64)]; 6] = [
    &[],
    &[(0.0, -1.3), (1.15, 0.8), (-1.15, 0.8)],
    &[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
    &[(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)],
    &[(0.0, 1.3), (1.15, -0.8), (-1.15, -0.8)],
    &[(-0.6, -1.1), (0.6, -1.1), (1.2, 0.0), (0.6, 1.1), (-0.6, 1.1), (-1.2, 0.0)],
];
pub(super) const INK: RGBColor = RGBColor(0x26, 0x26, 0x26);
pub(super) const MUTED: RGBColor = RGBColor(0x59, 0x59, 0x59);
pub(super) const AXIS: RGBColor = RGBColor(0x8C, 0x8C, 0x8C);
pub(super) const GRID: RGBColor = RGBColor(0xE6, 0xE6, 0xE6);

/// Units of the drawing per pixel of the figure.
const UNITS: f64 = 10.0;
/// Left end of what is drawn: labels of the y axis stand before it.
pub(super) const LEFT: f64 = 72.0;
/// Free space to the right of what is drawn.
const RIGHT_MARGIN: f64 = 32.0;
/// Space below what is drawn: labels and name of the x axis.
const BOTTOM_MARGIN: f64 = 44.0;
/// Where what follows the title starts.
pub(super) const TOP: f64 = 40.0;
/// Size of text.
pub(super) const TEXT: f64 = 13.0;
/// Size of the numbers along axes.
pub(super) const SMALL_TEXT: f64 = 12.0;
const TITLE_TEXT: f64 = 17.0;
const NOTE_TEXT: f64 = 11.0;
const NOTE_LINE: u32 = 16;
const NOTE_LEFT: f64 = 24.0;

/// A point in pixels from the upper left corner.
pub type Pixel = (f64, f64);

/// What drawing gives back, or why the drawing library refused.
pub type Drawn<T = ()> = Result<T, DrawingAreaErrorKind<std::io::Error>>;

/// A figure while it is drawn.
pub struct Canvas<'a> {
    drawing: DrawingArea<SVGBackend<'a>, Shift>,
    width: f64,
    height: f64,
    /// The marks so far.
    spots: RefCell<Vec<Spot>>,
    /// The plots so far.
    pub(super) frames: RefCell<Vec<Frame>>,
}

/// A drawing of a size in pixels, with what `draw` draws on white, made higher for notes below it.
pub(super) fn drawing(size: (u32, u32), notes: &[String], draw: impl FnOnce(&Canvas<'_>) -> Drawn) -> Drawn<Drawing> {
    let (width, height) = (f64::from(size.0), f64::from(size.1));
    let lines: Vec<String> = notes.iter().flat_map(|note| wrapped(note, NOTE_TEXT, width - 2.0 * NOTE_LEFT)).collect();
    let size = if lines.is_empty() { size } else { (size.0, size.1 + NOTE_LINE * (lines.len() as u32 + 1)) };
    let in_units = (units(width) as u32, units(size.1.into()) as u32);
    let mut svg = String::new();
    let drawing = SVGBackend::with_string(&mut svg, in_units).into_drawing_area();
    drawing.fill(&WHITE)?;
    let canvas = Canvas { drawing, width, height, spots: RefCell::default(), frames: RefCell::default() };
    draw(&canvas)?;
    for (line, number) in lines.iter().zip(1..) {
        let baseline = height + f64::from(number * NOTE_LINE);
        canvas.text(line, (NOTE_LEFT, baseline), NOTE_TEXT, MUTED, HPos::Left)?;
    }
    canvas.drawing.present()?;
    let (spots, frames) = (canvas.spots.take(), canvas.frames.take());
    drop(canvas);
    let size_in_units = format!(r#"width="{}" height="{}""#, in_units.0, in_units.1);
    let size_in_pixels = format!(r#"width="{}" height="{}" stroke-linejoin="round""#, size.0, size.1);
    let svg = svg.replacen(&size_in_units, &size_in_pixels, 1);
    Ok(Drawing { svg, size: (size.0.into(), size.1.into()), spots, frames })
}

impl Canvas<'_> {
    /// Notes a mark that can be pointed at, in the plot that was begun last.
    pub(super) fn spot(&self, spot: Spot) {
        let plot = self.frames.borrow().len().saturating_sub(1);
        self.spots.borrow_mut().push(Spot { plot, ..spot });
    }

    /// Right end of what is drawn.
    pub(super) fn right(&self) -> f64 {
        self.width - RIGHT_MARGIN
    }

    /// Lower end of what is drawn.
    pub(super) fn bottom(&self) -> f64 {
        self.height - BOTTOM_MARGIN
    }

    pub(super) fn title(&self, title: &str) -> Drawn {
        self.text(title, (LEFT, 28.0), TITLE_TEXT, INK, HPos::Left)
    }

    /// The name of the x axis below its labels.
    pub(super) fn x_name(&self, name: &str) -> Drawn {
        self.text(name, ((LEFT + self.right()) / 2.0, self.height - 10.0), TEXT, INK, HPos::Center)
    }

    /// Writes a text with its baseline at the given pixel; what does not fit into the figure ends in an ellipsis.
    pub(super) fn text(&self, text: &str, at: Pixel, size: f64, colour: RGBColor, side: HPos) -> Drawn {
        if text.is_empty() {
            return Ok(());
        }
        let room = match side {
            HPos::Left => self.width - at.0,
            HPos::Center => 2.0 * at.0.min(self.width - at.0),
            HPos::Right => at.0,
        };
        // plotters divides by 1.24, and draws a text anchored at its bottom half an ex (a quarter em) above the point.
        let font = (FontFamily::Name(FONT_FAMILY), size * UNITS * 1.24).into_font();
        let style = TextStyle::from(font).color(&colour).pos(Pos::new(side, VPos::Bottom));
        self.drawing.draw_text(&fitted(text, size, room), &style, (units(at.0), units(at.1 + size / 4.0)))
    }

    /// A line through points; `opacity` from 0 to 1.
    pub(super) fn line(&self, points: &[Pixel], colour: RGBColor, width: f64, opacity: f64) -> Drawn {
        let style = colour.mix(opacity).stroke_width(units(width) as u32);
        self.drawing.draw(&PathElement::new(in_units(points), style))
    }

    /// The inside of a polygon.
    pub(super) fn polygon(&self, points: &[Pixel], colour: RGBColor, opacity: f64) -> Drawn {
        self.drawing.draw(&Polygon::new(in_units(points), colour.mix(opacity).filled()))
    }

    /// A disc.
    pub(super) fn dot(&self, (x, y): Pixel, radius: f64, colour: RGBColor, opacity: f64) -> Drawn {
        self.drawing.draw(&Circle::new((units(x), units(y)), units(radius), colour.mix(opacity).filled()))
    }

    /// The marker of the series of an index, with a white border that parts it from others.
    pub(super) fn marker(&self, index: usize, (x, y): Pixel, radius: f64) -> Drawn {
        let shape = SHAPES[index % SHAPES.len()];
        if shape.is_empty() {
            self.dot((x, y), radius + 1.0, WHITE, 1.0)?;
            return self.dot((x, y), radius, colour(index), 1.0);
        }
        let scaled = |radius: f64| shape.iter().map(|(dx, dy)| (x + dx * radius, y + dy * radius)).collect::<Vec<_>>();
        self.polygon(&scaled(radius + 1.2), WHITE, 1.0)?;
        self.polygon(&scaled(radius), colour(index), 1.0)
    }
}

/// The colour of the series of an index; the palette starts again after its last colour.
pub(super) fn colour(index: usize) -> RGBColor {
    PALETTE[index % PALETTE.len()]
}

/// The text on one line, cut to a width in pixels; XML knows no control characters.
pub(super) fn fitted(text: &str, size: f64, room: f64) -> String {
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

/// A text in lines of a width in pixels, broken after the last space of a line if it has one in its second half.
fn wrapped(text: &str, size: f64, room: f64) -> Vec<String> {
    let mut lines = vec![String::new()];
    for c in text.chars() {
        let line = lines.last_mut().expect("there is always a line");
        line.push(c);
        if text_width(line, size) > room {
            let space = line.rfind(' ').filter(|space| *space > line.len() / 2);
            let rest = line.split_off(space.map_or(line.len() - c.len_utf8(), |space| space + 1));
            lines.push(rest);
        }
    }
    lines
}

pub(super) fn text_width(text: &str, size: f64) -> f64 {
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

fn in_units(points: &[Pixel]) -> Vec<(i32, i32)> {
    points.iter().map(|(x, y)| (units(*x), units(*y))).collect()
}

fn units(pixels: f64) -> i32 {
    (pixels * UNITS).round() as i32
}
