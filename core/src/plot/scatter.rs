//! Models as markers in a plane, each with its name beside it; the checkpoints of a run joined by a line.

use std::ops::Range;
use std::rc::Rc;

use super::axis::{Axis, Frame, Y_NAME_HEIGHT, padded};
use super::canvas::{Canvas, Drawn, LEFT, Pixel, SMALL_TEXT, TOP, colour, fitted};
use super::labels::{self, Rect};
use super::legend::{self, Sample};
use super::view::{Reading, Spot, View, short};
use super::{Csv, Figure, csv_interval, is_drawable};

/// Radius of a marker.
const RADIUS: f64 = 5.5;
/// No label is wider; the legend holds the whole name.
const LABEL_WIDTH: f64 = 260.0;

/// A figure of models in a plane.
#[derive(Clone, Debug, PartialEq)]
pub struct ScatterChart {
    /// Headline.
    pub title: String,
    /// Name of the x axis and which direction is better, such as `uniformity ← lower is better`.
    pub x_label: String,
    /// Name of the y axis and which direction is better.
    pub y_label: String,
    /// Models and runs, each in a look of its own.
    pub tracks: Vec<Track>,
    /// What a reader must know, below the figure.
    pub notes: Vec<String>,
}

/// A model, or the checkpoints of a run in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// Its name: in the legend, and beside its last point.
    pub name: String,
    /// Its look: index of a colour and a marker.
    pub look: usize,
    /// One place for a model, several for a run.
    pub places: Vec<Place>,
}

/// A marker. One that is not finite is left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Place {
    /// Name within the track, such as a step; written where there is room.
    pub label: String,
    /// Value on the x axis.
    pub x: f64,
    /// Value on the y axis.
    pub y: f64,
    /// 95 % interval of `x`.
    pub x_interval: Option<[f64; 2]>,
    /// 95 % interval of `y`.
    pub y_interval: Option<[f64; 2]>,
}

impl Figure for ScatterChart {
    fn title(&self) -> &str {
        &self.title
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn draw(&self, canvas: &Canvas<'_>, view: &View) -> Drawn {
        canvas.x_name(&self.x_label)?;
        let entries = self.tracks.iter().map(|track| (Sample::Marker(track.look), track.name.as_str()));
        let top = legend::draw(canvas, entries, TOP)? + Y_NAME_HEIGHT;
        let x = self.axis(|place| place.x, Place::x_interval, view.x_of(0));
        let y = self.axis(|place| place.y, Place::y_interval, view.y_of(0));
        let frame = Frame { x, y, chooses_y: true, columns: LEFT..canvas.right(), rows: top..canvas.bottom() };
        frame.draw(canvas, &self.y_label, true)?;
        if self.tracks.iter().flat_map(Track::drawable).next().is_none() {
            return frame.draw_no_data(canvas);
        }
        self.tracks.iter().try_for_each(|track| track.draw_lines(canvas, &frame))?;
        self.draw_labels(canvas, &frame)?;
        let axes = [&self.x_label, &self.y_label].map(|name| short(name));
        self.tracks.iter().for_each(|track| track.point_at(canvas, &frame, &axes));
        self.tracks
            .iter()
            .try_for_each(|track| track.pixels(&frame).iter().try_for_each(|at| canvas.marker(track.look, *at, RADIUS)))
    }

    /// Every place of every track: columns `name,label,x,y,x_low,x_high,y_low,y_high`.
    fn to_csv(&self) -> String {
        let mut csv = Csv::new("name,label,x,y,x_low,x_high,y_low,y_high");
        for track in &self.tracks {
            for place in &track.places {
                let ([x_low, x_high], [y_low, y_high]) =
                    (csv_interval(place.x_interval), csv_interval(place.y_interval));
                csv.row(&[&track.name, &place.label, &place.x, &place.y, &x_low, &x_high, &y_low, &y_high]);
            }
        }
        csv.0
    }
}

impl ScatterChart {
    fn axis(
        &self,
        value: fn(&Place) -> f64,
        interval: fn(&Place) -> Option<[f64; 2]>,
        part: Option<&Range<f64>>,
    ) -> Axis {
        let all = self.tracks.iter().flat_map(Track::drawable);
        let values = all.flat_map(|place| interval(place).into_iter().flatten().chain([value(place)]));
        Axis::linear(padded(values, 0.12), part, 8.0, 0.0)
    }

    fn draw_labels(&self, canvas: &Canvas<'_>, frame: &Frame) -> Drawn {
        let texts: Vec<_> = self.tracks.iter().flat_map(|track| track.labels(frame)).collect();
        labels::draw(canvas, frame, &texts, self.tracks.iter().flat_map(|track| track.obstacles(frame)).collect())
    }
}

impl Track {
    fn drawable(&self) -> impl DoubleEndedIterator<Item = &Place> {
        self.places.iter().filter(|place| is_drawable((place.x, place.y)))
    }

    /// Places that are drawn.
    fn seen(&self, frame: &Frame) -> impl Iterator<Item = &Place> {
        self.drawable().filter(|place| frame.holds((place.x, place.y)))
    }

    fn pixels(&self, frame: &Frame) -> Vec<Pixel> {
        self.seen(frame).map(|place| frame.at((place.x, place.y))).collect()
    }

    fn point_at(&self, canvas: &Canvas<'_>, frame: &Frame, [x_name, y_name]: &[Rc<str>; 2]) {
        let name: Rc<str> = self.name.as_str().into();
        for place in self.seen(frame) {
            let readings = vec![
                Reading::new(x_name, place.x, place.x_interval()),
                Reading::new(y_name, place.y, place.y_interval()),
            ];
            let (at, label) = (frame.at((place.x, place.y)), place.label.as_str().into());
            canvas.spot(Spot { at, plot: 0, name: name.clone(), label, readings, example: None });
        }
    }

    /// The line between checkpoints and the bars of the intervals.
    fn draw_lines(&self, canvas: &Canvas<'_>, frame: &Frame) -> Drawn {
        let points: Vec<_> = self.drawable().map(|place| (place.x, place.y)).collect();
        frame.line(canvas, &points, colour(self.look), 1.5, 0.7)?;
        self.drawable().flat_map(Place::bars).try_for_each(|bar| frame.line(canvas, &bar, colour(self.look), 1.2, 0.8))
    }

    /// Point, text and whether it may be left out, for each label: the last one bears the name.
    fn labels(&self, frame: &Frame) -> Vec<(Pixel, String, bool)> {
        let last = self.seen(frame).count().saturating_sub(1);
        let label = |(index, place): (usize, &Place)| {
            let text = if index == last { format!("{} {}", self.name, place.label) } else { place.label.clone() };
            let text = fitted(text.trim(), SMALL_TEXT, LABEL_WIDTH);
            (frame.at((place.x, place.y)), text, index != last)
        };
        self.seen(frame).enumerate().map(label).collect()
    }

    /// What labels are not to cover: markers, intervals, and the line in pieces.
    fn obstacles(&self, frame: &Frame) -> Vec<Rect> {
        let pixels = self.pixels(frame);
        let pieces = pixels.windows(2).flat_map(|ends| {
            let [(x, y), (to_x, to_y)] = [ends[0], ends[1]];
            let piece = move |t: f64| Rect::around((x + t * (to_x - x), y + t * (to_y - y)), 3.0);
            (1..8).map(move |i| piece(f64::from(i) / 8.0))
        });
        let bars = self.seen(frame).flat_map(Place::bars).map(|ends| Rect::along(ends.map(|end| frame.at(end)), 2.0));
        pixels.iter().map(|at| Rect::around(*at, RADIUS + 2.0)).chain(pieces).chain(bars).collect()
    }
}

impl Place {
    fn x_interval(&self) -> Option<[f64; 2]> {
        self.x_interval.filter(|[low, high]| is_drawable((*low, *high)))
    }

    fn y_interval(&self) -> Option<[f64; 2]> {
        self.y_interval.filter(|[low, high]| is_drawable((*low, *high)))
    }

    /// The intervals as lines through the point.
    fn bars(&self) -> impl Iterator<Item = [(f64, f64); 2]> {
        let level = self.x_interval().map(|ends| ends.map(|x| (x, self.y)));
        let upright = self.y_interval().map(|ends| ends.map(|y| (self.x, y)));
        level.into_iter().chain(upright)
    }
}
