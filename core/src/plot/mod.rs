//! Figures: one description per figure, drawn as SVG and written as CSV from the same data.
//!
//! A description is plain data: a title, names of axes, values. plotters turns it into SVG; text stays text, in a list of
//! Japanese fonts that ends in `sans-serif`, so no font is needed here and none is embedded. The width of a text is
//! therefore estimated, which only line breaks, cuts and the places of labels depend on.
//!
//! Lengths are in pixels. plotters rounds coordinates to whole units; a unit is a tenth of a pixel here, so curves stay
//! smooth.

mod axis;
mod canvas;
mod dots;
mod evaluation;
mod forest;
mod histogram;
mod labels;
mod legend;
mod line;
mod loss;
mod plane;
mod scatter;
mod view;

use crate::error::{Error, Result};

pub use axis::{Frame, grouped, number};
pub use canvas::{Canvas, Drawn, FONT_FAMILY, Pixel};
pub use dots::{Bin, DotChart, DotGroup, Resampling};
pub use evaluation::{NamedFigure, figures, unrefined_figures};
pub use forest::{Estimate, ForestChart, ForestPanel};
pub use histogram::{Histogram, HistogramChart, HistogramPanel};
pub use line::{LineChart, Mark, Panel, Series};
pub use loss::{Run, loss_chart, moving_mean};
pub use plane::{Group, PlaneChart};
pub use scatter::{Place, ScatterChart, Track};
pub use view::{Drawing, Reading, Spot, Step, View};

/// Width of a figure in pixels.
pub const WIDTH: u32 = 800;
/// Height in pixels of a figure that does not grow with its data.
pub const HEIGHT: u32 = 500;

/// A description of a figure.
pub trait Figure {
    /// Headline.
    fn title(&self) -> &str;

    /// Height in pixels without the notes; the width is [`WIDTH`].
    fn height(&self) -> u32 {
        HEIGHT
    }

    /// What a reader must know, written below the figure, which grows for it.
    fn notes(&self) -> &[String] {
        &[]
    }

    /// Draws everything but title and notes, of the axes what a view names.
    ///
    /// # Errors
    /// Whatever the drawing library refuses.
    fn draw(&self, canvas: &Canvas<'_>, view: &View) -> Drawn;

    /// The data behind the figure, also what cannot be drawn because it is not finite.
    fn to_csv(&self) -> String;

    /// Computes a piece of what takes long and is drawn only once it is there; returns whether there was one left.
    fn refine(&mut self) -> bool {
        false
    }

    /// The figure, or a part of it, drawn [`WIDTH`] pixels wide and [`Self::height`] with its notes high. Where there is
    /// nothing to draw, it says so.
    ///
    /// # Errors
    /// [`Error::Input`] where the drawing library refuses.
    fn drawing(&self, view: &View) -> Result<Drawing> {
        canvas::drawing((WIDTH, self.height()), self.notes(), |canvas| {
            canvas.title(self.title())?;
            self.draw(canvas, view)
        })
        .map_err(|cause| Error::Input { message: format!("figure `{}` cannot be drawn: {cause}", self.title()) })
    }

    /// All of the figure as an SVG document.
    ///
    /// # Errors
    /// [`Error::Input`] where the drawing library refuses.
    fn to_svg(&self) -> Result<String> {
        Ok(self.drawing(&View::default())?.svg)
    }
}

/// Values beyond this are treated as not finite, so that no difference of two can overflow.
const LARGEST: f64 = 1e100;
/// What stands where nothing can be drawn.
const NO_DATA: &str = "データなし (no data)";

fn is_drawable(point: (f64, f64)) -> bool {
    [point.0, point.1].iter().all(|value| value.abs() <= LARGEST)
}

/// Lines of CSV below a header.
struct Csv(String);

impl Csv {
    fn new(header: &str) -> Self {
        Self(format!("{header}\n"))
    }

    fn row(&mut self, fields: &[&dyn std::fmt::Display]) {
        let fields: Vec<_> = fields.iter().map(|field| csv_field(&field.to_string())).collect();
        self.0 += &(fields.join(",") + "\n");
    }
}

/// A field of CSV (RFC 4180): quoted where it holds a comma, a quote or a line break.
pub fn csv_field(text: &str) -> String {
    let quoted = || format!("\"{}\"", text.replace('"', "\"\""));
    if text.contains([',', '"', '\n', '\r']) { quoted() } else { text.into() }
}

/// The ends of an interval as two fields, empty where there is none.
fn csv_interval(interval: Option<[f64; 2]>) -> [String; 2] {
    interval.map_or_else(Default::default, |ends| ends.map(|end| end.to_string()))
}
