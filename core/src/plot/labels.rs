//! Labels beside their points, so that none covers another or a point: greedily, label by label, the cheapest of
//! 8 directions × 6 distances.

use super::axis::Frame;
use super::canvas::{Canvas, Drawn, HPos, INK, MUTED, Pixel, SMALL_TEXT, text_width};

/// Distances of a label from its point; beyond the first a line leads to it.
const DISTANCES: [f64; 6] = [9.0, 20.0, 34.0, 54.0, 80.0, 112.0];
/// Directions in the order they are preferred: right, left, above, below, then the corners.
const DIRECTIONS: [(f64, f64); 8] =
    [(1.0, 0.0), (-1.0, 0.0), (0.0, -1.0), (0.0, 1.0), (0.9, -0.9), (0.9, 0.9), (-0.9, -0.9), (-0.9, 0.9)];

/// Height of a label in pixels.
const HEIGHT: f64 = 14.0;

/// A rectangle on the canvas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rect {
    pub left: f64,
    pub top: f64,
    pub right: f64,
    pub bottom: f64,
}

/// A label to be placed.
pub(super) struct Label {
    /// Its point.
    pub at: Pixel,
    /// Width and height of its text.
    pub size: (f64, f64),
    /// Whether it is to be left out rather than cover something or stand far off.
    pub optional: bool,
}

/// Draws texts at their points, those that may be left out where there is room; `taken` is not to be covered.
pub(super) fn draw(canvas: &Canvas<'_>, frame: &Frame, texts: &[(Pixel, String, bool)], taken: Vec<Rect>) -> Drawn {
    let label = |(at, text, optional): &(Pixel, String, bool)| Label {
        at: *at,
        size: (text_width(text, SMALL_TEXT), HEIGHT),
        optional: *optional,
    };
    let labels: Vec<_> = texts.iter().map(label).collect();
    let bounds =
        Rect { left: frame.columns.start, top: frame.rows.start, right: frame.columns.end, bottom: frame.rows.end };
    for ((at, text, _), place) in texts.iter().zip(place(&labels, bounds, taken)) {
        let Some(place) = place else { continue };
        if place.is_far(*at) {
            canvas.line(&[*at, place.nearest(*at)], MUTED, 0.8, 0.7)?;
        }
        canvas.text(text, (place.left, place.bottom - 3.0), SMALL_TEXT, INK, HPos::Left)?;
    }
    Ok(())
}

/// A place for each label in order, none for an optional one without a free place.
pub(super) fn place(labels: &[Label], bounds: Rect, mut taken: Vec<Rect>) -> Vec<Option<Rect>> {
    let mut places = vec![None; labels.len()];
    let (optional, required): (Vec<usize>, _) = (0..labels.len()).partition(|index| labels[*index].optional);
    for index in required.into_iter().chain(optional) {
        let label = &labels[index];
        let cost = |place: &Rect| cost(place, label, &bounds, &taken);
        let best = label.candidates().min_by(|a, b| cost(a).total_cmp(&cost(b))).expect("there are candidates");
        let is_free = |place: &Rect| bounds.holds(place) && taken.iter().all(|other| place.shared(other) == 0.0);
        if !label.optional || is_free(&best) {
            places[index] = Some(best);
            taken.push(best);
        }
    }
    places
}

/// Covering costs most, then leaving the bounds, then distance, then the direction.
fn cost(place: &Rect, label: &Label, bounds: &Rect, taken: &[Rect]) -> f64 {
    let covered: f64 = taken.iter().map(|other| place.shared(other)).sum();
    let outside = place.area() - place.shared(bounds);
    10.0 * covered + 100.0 * outside + place.distance(label.at)
}

impl Label {
    fn candidates(&self) -> impl Iterator<Item = Rect> {
        let ((x, y), (width, height)) = (self.at, self.size);
        // On the axis of no direction the label is centred, otherwise it begins or ends there.
        let start = |at: f64, length: f64, direction: f64, distance: f64| {
            let side = if direction == 0.0 { 0.0 } else { direction.signum() };
            at + direction * distance + (side - 1.0) * length / 2.0
        };
        let beside = move |distance: f64, (dx, dy): (f64, f64)| {
            let (left, top) = (start(x, width, dx, distance), start(y, height, dy, distance));
            Rect { left, top, right: left + width, bottom: top + height }
        };
        let distances = if self.optional { 2 } else { DISTANCES.len() };
        DISTANCES
            .into_iter()
            .take(distances)
            .flat_map(move |distance| DIRECTIONS.map(|direction| beside(distance, direction)))
    }
}

impl Rect {
    /// A square around a point.
    pub fn around((x, y): Pixel, half: f64) -> Self {
        Self { left: x - half, top: y - half, right: x + half, bottom: y + half }
    }

    /// What of a line through points lies inside: pieces of it.
    pub fn pieces(&self, points: &[Pixel]) -> Vec<Vec<Pixel>> {
        let mut pieces: Vec<Vec<Pixel>> = Vec::new();
        let mut goes_on = false;
        for ends in points.windows(2) {
            let Some([from, to]) = self.inside([ends[0], ends[1]]) else {
                goes_on = false;
                continue;
            };
            match pieces.last_mut() {
                Some(piece) if goes_on && from == ends[0] => piece.push(to),
                _ => pieces.push(vec![from, to]),
            }
            goes_on = to == ends[1];
        }
        pieces
    }

    /// The part of a straight line that lies inside (Liang and Barsky 1984).
    fn inside(&self, [from, to]: [Pixel; 2]) -> Option<[Pixel; 2]> {
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let (mut start, mut end) = (0.0_f64, 1.0_f64);
        let sides = [
            (-dx, from.0 - self.left),
            (dx, self.right - from.0),
            (-dy, from.1 - self.top),
            (dy, self.bottom - from.1),
        ];
        for (outwards, room) in sides {
            if outwards == 0.0 && room < 0.0 {
                return None;
            }
            if outwards < 0.0 {
                start = start.max(room / outwards);
            } else if outwards > 0.0 {
                end = end.min(room / outwards);
            }
        }
        let at = |share: f64| (from.0 + share * dx, from.1 + share * dy);
        let ends = [if start > 0.0 { at(start) } else { from }, if end < 1.0 { at(end) } else { to }];
        (start <= end).then_some(ends)
    }

    /// A level or upright line with room around it.
    pub fn along([(x, y), (to_x, to_y)]: [Pixel; 2], half: f64) -> Self {
        let (left, right) = (x.min(to_x) - half, x.max(to_x) + half);
        Self { left, top: y.min(to_y) - half, right, bottom: y.max(to_y) + half }
    }

    /// The nearest point of the rectangle.
    pub fn nearest(&self, (x, y): Pixel) -> Pixel {
        (x.clamp(self.left, self.right), y.clamp(self.top, self.bottom))
    }

    /// Distance of a point, 0 inside.
    pub fn distance(&self, point: Pixel) -> f64 {
        let nearest = self.nearest(point);
        (nearest.0 - point.0).hypot(nearest.1 - point.1)
    }

    /// Whether a line has to lead from the point to the label here.
    pub fn is_far(&self, point: Pixel) -> bool {
        self.distance(point) > 1.5 * DISTANCES[0]
    }

    fn area(&self) -> f64 {
        (self.right - self.left) * (self.bottom - self.top)
    }

    fn shared(&self, other: &Self) -> f64 {
        let width = self.right.min(other.right) - self.left.max(other.left);
        let height = self.bottom.min(other.bottom) - self.top.max(other.top);
        width.max(0.0) * height.max(0.0)
    }

    fn holds(&self, other: &Self) -> bool {
        other.shared(self) >= other.area() - 1e-6
    }
}
