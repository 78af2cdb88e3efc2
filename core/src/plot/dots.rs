//! A dot for each document, with the median of each bin: pseudo-perplexity against length.

use super::axis::{Axis, Frame, extent, padded};
use super::canvas::{AXIS, Canvas, Drawn, HPos, LEFT, MUTED, SMALL_TEXT, TOP, colour};
use super::legend::{self, Sample};
use super::{Csv, Figure, LARGEST, csv_interval, is_drawable};

/// Space above the plot for the name of the y axis.
const Y_NAME: f64 = 24.0;

/// A figure of dots and bins.
#[derive(Clone, Debug, PartialEq)]
pub struct DotChart {
    /// Headline.
    pub title: String,
    /// Name of the x axis, with its unit.
    pub x_label: String,
    /// Name of the y axis, with its unit.
    pub y_label: String,
    /// Whether the y axis is logarithmic; values of 0 and below are then not drawn.
    pub logarithmic: bool,
    /// Models, in their looks.
    pub groups: Vec<DotGroup>,
    /// What a reader must know, below the figure.
    pub notes: Vec<String>,
}

/// The documents of one model.
#[derive(Clone, Debug, PartialEq)]
pub struct DotGroup {
    /// Name in the legend.
    pub name: String,
    /// Its look: index of a colour and a marker.
    pub look: usize,
    /// Documents. The figure says how many are not finite; all others lie inside it.
    pub dots: Vec<(f64, f64)>,
    /// Summaries, by rising x.
    pub bins: Vec<Bin>,
}

/// What lies between two borders.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bin {
    /// Lower border.
    pub from: f64,
    /// Upper border.
    pub to: f64,
    /// Number of documents.
    pub count: usize,
    /// Median of the documents' y.
    pub median: f64,
    /// Its 95 % interval.
    pub interval: Option<[f64; 2]>,
}

impl Figure for DotChart {
    fn title(&self) -> &str {
        &self.title
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn draw(&self, canvas: &Canvas<'_>) -> Drawn {
        canvas.x_name(&self.x_label)?;
        let entries = self.groups.iter().map(|group| (Sample::Marker(group.look), group.name.as_str()));
        let top = legend::draw(canvas, entries, TOP)? + Y_NAME;
        let (x, y) = (self.x_axis(), self.y_axis());
        let frame = Frame { x, y, columns: LEFT..canvas.right(), rows: top..canvas.bottom() };
        frame.draw(canvas, &self.y_label, true)?;
        if self.dots().next().is_none() {
            return frame.draw_no_data(canvas);
        }
        self.draw_missing(canvas, top)?;
        self.groups.iter().try_for_each(|group| self.draw_dots(canvas, &frame, group))?;
        self.draw_borders(canvas, &frame)?;
        self.groups.iter().enumerate().try_for_each(|(index, group)| {
            // Side by side within the bin, so that intervals do not cover each other.
            let place = (index as f64 + 0.5) / self.groups.len() as f64;
            group
                .bins
                .iter()
                .filter(|bin| self.shows((bin.to, bin.median)))
                .try_for_each(|bin| bin.draw(canvas, &frame, group.look, place))
        })
    }

    /// Rows of dots, then rows of bins: columns `kind,name,x,y,to,count,low,high`.
    fn to_csv(&self) -> String {
        let mut csv = Csv::new("kind,name,x,y,to,count,low,high");
        for DotGroup { name, dots, bins, .. } in &self.groups {
            dots.iter().for_each(|(x, y)| csv.row(&[&"document", name, x, y, &"", &"", &"", &""]));
            for bin in bins {
                let [low, high] = csv_interval(bin.interval);
                csv.row(&[&"median", name, &bin.from, &bin.median, &bin.to, &bin.count, &low, &high]);
            }
        }
        csv.0
    }
}

impl DotChart {
    fn shows(&self, dot: (f64, f64)) -> bool {
        is_drawable(dot) && (!self.logarithmic || dot.1 >= 1.0 / LARGEST)
    }

    fn dots(&self) -> impl Iterator<Item = (f64, f64)> {
        self.groups.iter().flat_map(|group| &group.dots).copied().filter(|dot| self.shows(*dot))
    }

    fn bins(&self) -> impl Iterator<Item = &Bin> {
        self.groups.iter().flat_map(|group| &group.bins)
    }

    fn x_axis(&self) -> Axis {
        let borders = self.bins().flat_map(|bin| [bin.from, bin.to]).filter(|border| is_drawable((*border, 0.0)));
        let (low, high) = extent(self.dots().map(|dot| dot.0).chain(borders));
        Axis::linear(low..high, 9.0, 0.0)
    }

    fn y_axis(&self) -> Axis {
        let of_bins = self.bins().flat_map(|bin| bin.interval.into_iter().flatten().chain([bin.median]));
        let values = self.dots().map(|dot| dot.1).chain(of_bins.filter(|value| self.shows((0.0, *value))));
        if self.logarithmic {
            let powers = padded(values.map(f64::log10), 0.04);
            return Axis::logarithmic(10f64.powf(powers.start)..10f64.powf(powers.end), 10);
        }
        let (low, high) = extent(values);
        Axis::linear((low.min(0.0))..high + 0.04 * (high - low), 8.0, 0.0)
    }

    /// How many dots have no place, so that nobody takes the rest for all.
    fn draw_missing(&self, canvas: &Canvas<'_>, top: f64) -> Drawn {
        let all: usize = self.groups.iter().map(|group| group.dots.len()).sum();
        let missing = all - self.dots().count();
        if missing == 0 {
            return Ok(());
        }
        let text = format!("図にない点 (not drawable): {missing}");
        canvas.text(&text, (canvas.right(), top - 8.0), SMALL_TEXT, MUTED, HPos::Right)
    }

    fn draw_dots(&self, canvas: &Canvas<'_>, frame: &Frame, group: &DotGroup) -> Drawn {
        let dots = group.dots.iter().copied().filter(|dot| self.shows(*dot));
        dots.map(|dot| frame.at(dot)).try_for_each(|at| canvas.dot(at, 2.0, colour(group.look), 0.35))
    }

    fn draw_borders(&self, canvas: &Canvas<'_>, frame: &Frame) -> Drawn {
        let mut borders: Vec<f64> = self.bins().flat_map(|bin| [bin.from, bin.to]).collect();
        borders.retain(|border| frame.x.range.contains(border));
        borders.sort_by(f64::total_cmp);
        borders.dedup();
        borders.iter().try_for_each(|border| canvas.line(&frame.upright(*border), AXIS, 1.0, 1.0))
    }
}

impl Bin {
    /// A line over the bin at its median; on it, at a share of the bin's width, the marker with its interval.
    fn draw(&self, canvas: &Canvas<'_>, frame: &Frame, look: usize, share: f64) -> Drawn {
        let x = self.from + share * (self.to - self.from);
        let ends = [self.from, self.to].map(|x| frame.at((x, self.median)));
        canvas.line(&ends, colour(look), 1.5, 0.8)?;
        let interval = self.interval.map(|ends| ends.map(|y| frame.at((x, y))));
        // An end that is not above 0 has no place on a logarithmic axis.
        if let Some(ends) = interval.filter(|ends| ends.iter().all(|end| is_drawable(*end))) {
            canvas.interval(&ends, look)?;
        }
        canvas.marker(look, frame.at((x, self.median)), 4.5)
    }
}
