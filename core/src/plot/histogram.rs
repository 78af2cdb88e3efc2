//! Histograms over each other in panels that share the x axis: similarities of random and of positive pairs.

use std::ops::Range;
use std::rc::Rc;

use super::axis::{Axis, Frame, extent};
use super::canvas::{Canvas, Drawn, HPos, INK, LEFT, MUTED, SMALL_TEXT, TEXT, TOP, colour, fitted};
use super::legend::{self, Sample};
use super::view::{Reading, Spot, View};
use super::{Csv, Figure, HEIGHT, is_drawable};

/// Bins over the common x axis.
const NUM_BINS: usize = 80;
/// Space above each panel for its name.
const PANEL_NAME: f64 = 24.0;
const PANEL_GAP: f64 = 10.0;
/// Height of each panel with its name, where there are more than three.
const PANEL: u32 = 125;

/// A figure of one panel for each model.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramChart {
    /// Headline.
    pub title: String,
    /// Name of the common x axis.
    pub x_label: String,
    /// From top to bottom. The legend names the histograms of the first one; all have the same in the same order.
    pub panels: Vec<HistogramPanel>,
    /// What a reader must know, below the figure.
    pub notes: Vec<String>,
}

/// The histograms of one model, each scaled to shares of its values.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramPanel {
    /// Name of the model.
    pub name: String,
    /// What is said of it in the panel, such as the overlap.
    pub note: String,
    /// Drawn over each other.
    pub histograms: Vec<Histogram>,
}

/// Values of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Name in the legend.
    pub name: String,
    /// The values; those that are not finite are left out.
    pub values: Vec<f64>,
}

impl Figure for HistogramChart {
    fn title(&self) -> &str {
        &self.title
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn height(&self) -> u32 {
        HEIGHT + PANEL * (self.panels.len() as u32).saturating_sub(3)
    }

    fn draw(&self, canvas: &Canvas<'_>, view: &View) -> Drawn {
        canvas.x_name(&self.x_label)?;
        let named = self.panels.iter().take(1).flat_map(|panel| &panel.histograms).enumerate();
        let top = legend::draw(canvas, named.map(|(index, one)| (Sample::Area(index), one.name.as_str())), TOP)?;
        let values = self.panels.iter().flat_map(|panel| &panel.histograms).flat_map(Histogram::drawable);
        let (low, high) = extent(values);
        let x = Axis::linear(low..high, view.x.as_ref(), 10.0, 0.0);
        let height = (canvas.bottom() - top) / self.panels.len() as f64;
        for (index, panel) in self.panels.iter().enumerate() {
            let top = top + height * index as f64;
            let last = index + 1 == self.panels.len();
            let rows = top + PANEL_NAME..top + height - if last { 0.0 } else { PANEL_GAP };
            panel.draw(canvas, x.clone(), rows, last)?;
        }
        Ok(())
    }

    /// Every value: columns `panel,note,series,value`.
    fn to_csv(&self) -> String {
        let mut csv = Csv::new("panel,note,series,value");
        for panel in &self.panels {
            for one in &panel.histograms {
                one.values.iter().for_each(|value| csv.row(&[&panel.name, &panel.note, &one.name, value]));
            }
        }
        csv.0
    }
}

impl HistogramPanel {
    fn draw(&self, canvas: &Canvas<'_>, x: Axis, rows: Range<f64>, with_x_labels: bool) -> Drawn {
        let bins: Vec<_> = self.histograms.iter().map(|one| one.bins(&x.range)).collect();
        let shares = |one: &Vec<usize>, of: &Histogram| {
            let all = of.drawable().count().max(1) as f64;
            one.iter().map(|count| 100.0 * *count as f64 / all).collect::<Vec<f64>>()
        };
        let shares: Vec<_> = bins.iter().zip(&self.histograms).map(|(one, of)| shares(one, of)).collect();
        let highest = shares.iter().flatten().fold(0.0, |highest: f64, share| highest.max(*share));
        let top = if highest > 0.0 { 1.08 * highest } else { 1.0 };
        let y = Axis::linear(0.0..top, None, ((rows.end - rows.start) / 32.0).clamp(2.0, 8.0), 0.0);
        let name_room = canvas.right() - LEFT - 290.0;
        canvas.text(&self.note, (canvas.right(), rows.start - 7.0), SMALL_TEXT, MUTED, HPos::Right)?;
        canvas.text(&fitted(&self.name, TEXT, name_room), (LEFT, rows.start - 7.0), TEXT, INK, HPos::Left)?;
        let frame = Frame { x, y, chooses_y: false, columns: LEFT..canvas.right(), rows };
        frame.draw(canvas, "", with_x_labels)?;
        if highest == 0.0 {
            return frame.draw_no_data(canvas);
        }
        self.point_at(canvas, &frame, &bins, &shares);
        shares.iter().enumerate().try_for_each(|(index, shares)| draw_steps(canvas, &frame, index, shares))
    }

    /// The tops of all bins with values.
    fn point_at(&self, canvas: &Canvas<'_>, frame: &Frame, bins: &[Vec<usize>], shares: &[Vec<f64>]) {
        let [from, share, count] = ["コサイン (cosine)", "割合 [%] (share)", "対の数 (pairs)"].map(Rc::from);
        for ((of, counts), shares) in self.histograms.iter().zip(bins).zip(shares) {
            let name: Rc<str> = format!("{} · {}", self.name, of.name).into();
            for (bin, number) in counts.iter().enumerate().filter(|(_, number)| **number > 0) {
                let ends = [border(&frame.x.range, bin), border(&frame.x.range, bin + 1)];
                let middle = (ends[0] + ends[1]) / 2.0;
                let readings = vec![
                    Reading::new(&from, middle, Some(ends)),
                    Reading::new(&share, shares[bin], None),
                    Reading::new(&count, *number as f64, None),
                ];
                let at = frame.at((middle, shares[bin]));
                canvas.spot(Spot { at, plot: 0, name: name.clone(), label: "".into(), readings, example: None });
            }
        }
    }
}

/// The lower border of a bin.
fn border(range: &Range<f64>, bin: usize) -> f64 {
    range.start + (range.end - range.start) * bin as f64 / NUM_BINS as f64
}

/// The filled outline of a histogram in percent; bins without values leave no line.
fn draw_steps(canvas: &Canvas<'_>, frame: &Frame, index: usize, shares: &[f64]) -> Drawn {
    let border = |bin| border(&frame.x.range, bin);
    let (mut from, mut points) = (0, Vec::new());
    for filled in shares.chunk_by(|a, b| (*a > 0.0) == (*b > 0.0)) {
        if filled[0] > 0.0 {
            points.clear();
            points.push((border(from), 0.0));
            for (bin, share) in (from..).zip(filled) {
                points.extend([(border(bin), *share), (border(bin + 1), *share)]);
            }
            points.push((border(from + filled.len()), 0.0));
            let points: Vec<_> = points.iter().map(|point| frame.at(*point)).collect();
            canvas.polygon(&points, colour(index), 0.4)?;
            canvas.line(&points, colour(index), 1.2, 1.0)?;
        }
        from += filled.len();
    }
    Ok(())
}

impl Histogram {
    fn drawable(&self) -> impl Iterator<Item = f64> {
        self.values.iter().copied().filter(|value| is_drawable((*value, 0.0)))
    }

    /// The number of values in each bin of a range, which may leave some out.
    fn bins(&self, range: &Range<f64>) -> Vec<usize> {
        let mut bins = vec![0; NUM_BINS];
        for value in self.drawable().filter(|value| (range.start..=range.end).contains(value)) {
            let bin = ((value - range.start) / (range.end - range.start) * NUM_BINS as f64) as usize;
            bins[bin.min(NUM_BINS - 1)] += 1;
        }
        bins
    }
}
