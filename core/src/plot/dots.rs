//! A dot for each document, with the median of each bin: pseudo-perplexity against length.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use super::axis::{Axis, Frame, Y_NAME_HEIGHT, extent, padded};
use super::canvas::{AXIS, Canvas, Drawn, HPos, LEFT, MUTED, SMALL_TEXT, TOP, colour};
use super::legend::{self, Sample};
use super::view::{Reading, Spot, View, short};
use super::{Csv, Figure, LARGEST, csv_interval, is_drawable};
use crate::metrics::statistics::{Bootstrap, pick, quantile};

const LEVEL: f64 = 0.95;

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
    /// Intervals of bins that [`Figure::refine`] computes.
    pub pending: VecDeque<Resampling>,
}

/// How the interval of a bin's median is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resampling {
    /// Index of the group.
    pub group: usize,
    /// Index of the bin.
    pub bin: usize,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// Number of resamples.
    pub resamples: usize,
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

    fn refine(&mut self) -> bool {
        let Some(next) = self.pending.pop_front() else { return false };
        let group = &mut self.groups[next.group];
        let values = group.bins[next.bin].values(&group.dots);
        let of_resample = |indices: &[usize]| quantile(&pick(&values, indices), 0.5);
        let bootstrap = Bootstrap::new(values.len(), next.seed, next.resamples, of_resample);
        let interval = bootstrap.and_then(|bootstrap| bootstrap.interval(LEVEL)).ok();
        group.bins[next.bin].interval = interval.map(|ends| [ends.low, ends.high]);
        true
    }

    fn draw(&self, canvas: &Canvas<'_>, view: &View) -> Drawn {
        canvas.x_name(&self.x_label)?;
        let entries = self.groups.iter().map(|group| (Sample::Marker(group.look), group.name.as_str()));
        let top = legend::draw(canvas, entries, TOP)? + Y_NAME_HEIGHT;
        let (x, y) = (self.x_axis(view.x_of(0)), self.y_axis(view.y_of(0)));
        let frame = Frame { x, y, chooses_y: true, columns: LEFT..canvas.right(), rows: top..canvas.bottom() };
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
        })?;
        self.groups.iter().for_each(|group| self.point_at(canvas, &frame, group));
        Ok(())
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

    fn x_axis(&self, part: Option<&Range<f64>>) -> Axis {
        let borders = self.bins().flat_map(|bin| [bin.from, bin.to]).filter(|border| is_drawable((*border, 0.0)));
        let (low, high) = extent(self.dots().map(|dot| dot.0).chain(borders));
        Axis::linear(low..high, part, 9.0, 0.0)
    }

    fn y_axis(&self, part: Option<&Range<f64>>) -> Axis {
        let of_bins = self.bins().flat_map(|bin| bin.interval.into_iter().flatten().chain([bin.median]));
        let values = self.dots().map(|dot| dot.1).chain(of_bins.filter(|value| self.shows((0.0, *value))));
        if self.logarithmic {
            let powers = padded(values.map(f64::log10), 0.04);
            return Axis::logarithmic(10f64.powf(powers.start)..10f64.powf(powers.end), part, 10);
        }
        let (low, high) = extent(values);
        Axis::linear((low.min(0.0))..high + 0.04 * (high - low), part, 8.0, 0.0)
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
        let dots = group.dots.iter().copied().filter(|dot| self.shows(*dot) && frame.holds(*dot));
        dots.map(|dot| frame.at(dot)).try_for_each(|at| canvas.dot(at, 2.0, colour(group.look), 0.35))
    }

    /// Documents by rising x, then medians.
    fn point_at(&self, canvas: &Canvas<'_>, frame: &Frame, group: &DotGroup) {
        let [x_name, y_name] = [&self.x_label, &self.y_label].map(|name| short(name));
        let spot = |at, name: &str, readings, example| {
            canvas.spot(Spot { at: frame.at(at), plot: 0, name: name.into(), label: "".into(), readings, example });
        };
        let mut dots: Vec<_> = group.dots.iter().copied().enumerate().collect();
        dots.retain(|(_, dot)| self.shows(*dot) && frame.holds(*dot));
        dots.sort_by(|(_, a), (_, b)| a.0.total_cmp(&b.0));
        for (index, (x, y)) in dots {
            let readings = vec![Reading::new(&x_name, x, None), Reading::new(&y_name, y, None)];
            spot((x, y), &group.name, readings, Some(index));
        }
        let (median, number) = (Rc::from("中央値 (median)"), Rc::from("文書数 (documents)"));
        let middle = |bin: &Bin| ((bin.from + bin.to) / 2.0, bin.median);
        let is_seen = |bin: &&Bin| self.shows(middle(bin)) && frame.holds(middle(bin));
        for bin in group.bins.iter().filter(is_seen) {
            let length = Reading::new(&x_name, bin.from, Some([bin.from, bin.to]));
            let readings = vec![
                Reading::new(&median, bin.median, bin.interval),
                length,
                Reading::new(&number, bin.count as f64, None),
            ];
            spot(middle(bin), &format!("{} · {median}", group.name), readings, None);
        }
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
    /// The bin between two borders, of which it holds the upper one, without an interval; `None` where it is empty.
    pub(super) fn between(from: f64, to: f64, dots: &[(f64, f64)]) -> Option<Self> {
        let empty = Self { from, to, count: 0, median: f64::NAN, interval: None };
        let values = empty.values(dots);
        Some(Self { count: values.len(), median: quantile(&values, 0.5).ok()?, ..empty })
    }

    /// What of the dots' y lies between the borders.
    fn values(&self, dots: &[(f64, f64)]) -> Vec<f64> {
        let inside = dots.iter().filter(|dot| is_drawable(**dot) && self.from < dot.0 && dot.0 <= self.to);
        inside.map(|dot| dot.1).collect()
    }

    /// A line over the bin at its median; on it, at a share of the bin's width, the marker with its interval.
    fn draw(&self, canvas: &Canvas<'_>, frame: &Frame, look: usize, share: f64) -> Drawn {
        let x = self.from + share * (self.to - self.from);
        frame.line(canvas, &[self.from, self.to].map(|x| (x, self.median)), colour(look), 1.5, 0.8)?;
        // An end that is not above 0 has no place on a logarithmic axis.
        let ends = self.interval.map(|ends| ends.map(|y| (x, y)));
        if let Some(ends) = ends.filter(|ends| ends.iter().all(|end| is_drawable(frame.at(*end)))) {
            frame.interval(canvas, ends, look)?;
        }
        if frame.holds((x, self.median)) { canvas.marker(look, frame.at((x, self.median)), 4.5) } else { Ok(()) }
    }
}
