//! Every text of a list against every text of another, or of the same: cosines and a map.

use serde::{Deserialize, Serialize};

use super::projection::{Projection, principal_components};
use super::similarity::direction;
use super::{Undefined, check_pairs, statistics};

/// Texts compared by their embeddings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// Whether a list was compared with itself.
    pub is_within: bool,
    /// Cosines between -1 and 1: a row for each text of the first list, in it one for each of the second.
    pub cosines: Vec<Vec<f64>>,
    /// Mean of the cosines of two different texts; `None` where there are no two.
    pub mean: Option<f64>,
    /// Standard deviation of the same cosines; `None` where there are fewer than two.
    pub spread: Option<f64>,
    /// All texts, those of the second list last, in the plane of the principal components of their embeddings of length
    /// 1; `None` where these are all equal.
    pub map: Option<Projection>,
}

impl Comparison {
    /// Compares the embeddings of two lists of texts, or, where the second is empty, those of the first with each other.
    ///
    /// # Errors
    /// [`Undefined`] if the first list is empty, or an embedding is of another width, all zeros or not finite.
    pub fn new<T: Copy + Into<f64>>(first: &[Vec<T>], second: &[Vec<T>]) -> Result<Self, Undefined> {
        let all: Vec<Vec<f64>> = first.iter().chain(second).map(|one| direction(one)).collect::<Result<_, _>>()?;
        let (rows, columns) = all.split_at(first.len());
        let is_within = columns.is_empty();
        let columns = if is_within { rows } else { columns };
        let width = rows.first().ok_or(Undefined::Empty)?.len();
        all.iter().try_for_each(|one| check_pairs(width, one.len()))?;
        let cosine = |a: &Vec<f64>, b: &Vec<f64>| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>().clamp(-1.0, 1.0);
        let cosines: Vec<Vec<f64>> = rows.iter().map(|a| columns.iter().map(|b| cosine(a, b)).collect()).collect();
        let different: Vec<f64> = if is_within {
            cosines.iter().enumerate().flat_map(|(row, cosines)| cosines[row + 1..].to_vec()).collect()
        } else {
            cosines.concat()
        };
        Ok(Self {
            is_within,
            cosines,
            mean: statistics::mean(&different).ok(),
            spread: statistics::standard_deviation(&different).ok(),
            map: principal_components(&all.concat(), width).ok(),
        })
    }

    /// The column of the largest cosine of a row, the first of equal ones, a text's own aside; `None` where there is no
    /// other text.
    pub fn nearest(&self, row: usize) -> Option<usize> {
        let others = self.cosines[row].iter().enumerate().filter(|(column, _)| !self.is_within || *column != row);
        others.rev().max_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(column, _)| column)
    }

    /// The same in four decimals, as short as a link needs it.
    pub fn rounded(mut self) -> Self {
        let shares = self.map.as_mut().map(|map| map.points.iter_mut().chain([&mut map.shares]).flatten());
        let numbers = self.cosines.iter_mut().flatten().chain(&mut self.mean).chain(&mut self.spread);
        numbers.chain(shares.into_iter().flatten()).for_each(|number| *number = (*number * 1e4).round() / 1e4);
        self
    }
}
