//! Rows of samples and names below the title.

use super::canvas::{Canvas, Drawn, HPos, INK, LEFT, TEXT, colour, text_width};

const ROW: f64 = 20.0;
/// No row starts below this, so that the data keeps its room.
const END: f64 = 160.0;
const SAMPLE: f64 = 24.0;

/// What stands before a name, in the colour of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sample {
    /// A line.
    Line(usize),
    /// A line with a dot.
    DottedLine(usize),
    /// The marker.
    Marker(usize),
    /// A filled box.
    Area(usize),
}

/// Draws the entries from `top` on; returns where they end. What finds no room is left out, and an ellipsis says so.
pub(super) fn draw<'n>(canvas: &Canvas<'_>, entries: impl Iterator<Item = (Sample, &'n str)>, top: f64) -> Drawn<f64> {
    let (mut x, mut y) = (LEFT, top);
    for (sample, name) in entries {
        let width = SAMPLE + 8.0 + text_width(name, TEXT) + 20.0;
        if x > LEFT && x + width > canvas.right() {
            (x, y) = (LEFT, y + ROW);
        }
        if y > END {
            canvas.text("…", (LEFT, y + 4.5), TEXT, INK, HPos::Left)?;
            break;
        }
        let middle = y + ROW / 2.0;
        sample.draw(canvas, (x, middle))?;
        canvas.text(name, (x + SAMPLE + 8.0, middle + 4.5), TEXT, INK, HPos::Left)?;
        x += width;
    }
    Ok(if x > LEFT { y + ROW + 4.0 } else { y })
}

impl Sample {
    fn draw(self, canvas: &Canvas<'_>, (x, y): (f64, f64)) -> Drawn {
        let middle = (x + SAMPLE / 2.0, y);
        let line = |index| canvas.line(&[(x, y), (x + SAMPLE, y)], colour(index), 1.8, 1.0);
        match self {
            Self::Line(index) => line(index),
            Self::DottedLine(index) => {
                canvas.dot(middle, 3.0, colour(index), 1.0)?;
                line(index)
            }
            Self::Marker(index) => canvas.marker(index, middle, 5.0),
            Self::Area(index) => {
                let corners = [(x, y - 5.0), (x + SAMPLE, y - 5.0), (x + SAMPLE, y + 5.0), (x, y + 5.0)];
                canvas.polygon(&corners, colour(index), 0.5)
            }
        }
    }
}
