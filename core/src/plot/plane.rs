//! Texts as dots in a plane where only distances mean something: both axes have the same scale.

use std::ops::Range;
use std::rc::Rc;

use super::axis::{Axis, Frame, Y_NAME_HEIGHT, padded};
use super::canvas::{Canvas, Drawn, LEFT, SMALL_TEXT, TOP, fitted};
use super::labels::{self, Rect};
use super::legend::{self, Sample};
use super::view::{Reading, Spot, View};
use super::{Csv, Figure, is_drawable};

const RADIUS: f64 = 5.0;
/// No label is wider.
const LABEL_WIDTH: f64 = 200.0;
/// Height in pixels.
const HEIGHT: u32 = 560;

/// A figure of texts in a plane.
#[derive(Clone, Debug, PartialEq)]
pub struct PlaneChart {
    /// Headline.
    pub title: String,
    /// Name of the x axis.
    pub x_label: String,
    /// Name of the y axis.
    pub y_label: String,
    /// The texts, each group in a look of its own.
    pub groups: Vec<Group>,
    /// What a reader must know, below the figure.
    pub notes: Vec<String>,
}

/// Texts that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Its name in the legend.
    pub name: String,
    /// The texts with their places. One that is not finite is left out; its beginning is written where there is room.
    pub texts: Vec<(String, (f64, f64))>,
}

impl Figure for PlaneChart {
    fn title(&self) -> &str {
        &self.title
    }

    fn height(&self) -> u32 {
        HEIGHT
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn draw(&self, canvas: &Canvas<'_>, view: &View) -> Drawn {
        canvas.x_name(&self.x_label)?;
        let named = self.groups.iter().enumerate().map(|(look, group)| (Sample::Marker(look), group.name.as_str()));
        let top = legend::draw(canvas, named, TOP)? + Y_NAME_HEIGHT;
        let frame = self.frame(LEFT..canvas.right(), top..canvas.bottom(), view);
        frame.draw(canvas, &self.y_label, true)?;
        if self.drawable().next().is_none() {
            return frame.draw_no_data(canvas);
        }
        self.draw_labels(canvas, &frame)?;
        let axes = [&self.x_label, &self.y_label].map(|name| Rc::from(name.as_str()));
        self.seen(&frame).for_each(|text| self.point_at(canvas, &frame, text, &axes));
        self.seen(&frame).try_for_each(|(look, _, place)| canvas.marker(look, frame.at(place), RADIUS))
    }

    /// Every text: columns `group,text,x,y`.
    fn to_csv(&self) -> String {
        let mut csv = Csv::new("group,text,x,y");
        for group in &self.groups {
            group.texts.iter().for_each(|(text, (x, y))| csv.row(&[&group.name, text, x, y]));
        }
        csv.0
    }
}

impl PlaneChart {
    /// Look, text and place of every text that can be drawn.
    fn drawable(&self) -> impl Iterator<Item = (usize, &str, (f64, f64))> {
        let groups = self.groups.iter().enumerate();
        let texts = groups.flat_map(|(look, group)| group.texts.iter().map(move |text| (look, text)));
        texts.map(|(look, (text, place))| (look, text.as_str(), *place)).filter(|(_, _, place)| is_drawable(*place))
    }

    /// The texts that lie in the part that is drawn.
    fn seen(&self, frame: &Frame) -> impl Iterator<Item = (usize, &str, (f64, f64))> {
        self.drawable().filter(|(_, _, place)| frame.holds(*place))
    }

    /// The whole text can be read at its mark.
    fn point_at(
        &self,
        canvas: &Canvas<'_>,
        frame: &Frame,
        (look, text, place): (usize, &str, (f64, f64)),
        [x_name, y_name]: &[Rc<str>; 2],
    ) {
        let readings = vec![Reading::new(x_name, place.0, None), Reading::new(y_name, place.1, None)];
        let name = self.groups[look].name.as_str().into();
        canvas.spot(Spot { at: frame.at(place), plot: 0, name, label: text.into(), readings, example: None });
    }

    /// The axes; where all is drawn, that of the smaller range is made longer until a pixel means the same on both.
    fn frame(&self, columns: Range<f64>, rows: Range<f64>, view: &View) -> Frame {
        let ranges = [
            padded(self.drawable().map(|(_, _, place)| place.0), 0.1),
            padded(self.drawable().map(|(_, _, place)| place.1), 0.1),
        ];
        let pixels = [columns.end - columns.start, rows.end - rows.start];
        let scale =
            ranges.iter().zip(pixels).map(|(range, pixels)| (range.end - range.start) / pixels).fold(0.0, f64::max);
        let whole = |axis: usize| {
            let (middle, half) = ((ranges[axis].start + ranges[axis].end) / 2.0, scale * pixels[axis] / 2.0);
            middle - half..middle + half
        };
        let x = Axis::linear(whole(0), view.x_of(0), 8.0, 0.0);
        let y = Axis::linear(whole(1), view.y_of(0), 8.0, 0.0);
        Frame { x, y, chooses_y: true, columns, rows }
    }

    fn draw_labels(&self, canvas: &Canvas<'_>, frame: &Frame) -> Drawn {
        let text = |(_, text, place): (usize, &str, _)| (frame.at(place), fitted(text, SMALL_TEXT, LABEL_WIDTH), true);
        let texts: Vec<_> = self.seen(frame).map(text).collect();
        let taken = texts.iter().map(|(at, ..)| Rect::around(*at, RADIUS + 2.0)).collect();
        labels::draw(canvas, frame, &texts, taken)
    }
}
