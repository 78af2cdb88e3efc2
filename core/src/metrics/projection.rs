//! Principal components: rows of many values drawn as points in a plane.

use serde::{Deserialize, Serialize};

use super::{Undefined, check_finite, representable};

/// Of the rows' squared lengths: what varies less than this is rounding.
const LEAST_VARIANCE: f64 = 1e-12;
/// Jacobi's method needs about ten; it converges for every symmetric matrix.
const MAX_SWEEPS: usize = 60;

/// Rows in the plane of their first two principal components.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Projection {
    /// For each row its coordinates along the first and the second component, around 0.
    pub points: Vec<[f64; 2]>,
    /// Shares of the variance that lie along each of the two, 0 to 1.
    pub shares: [f64; 2],
}

/// The first two principal components of a row-major matrix with rows of `width`, as scikit-learn's `PCA` gives them: a
/// component points where its loading of largest size is positive. A component without variance gives coordinates of 0.
///
/// From the matrix of the centred rows' products, so it takes time in the cube of the number of rows.
///
/// # Errors
/// [`Undefined`] if there is no row, a value is not finite, or all rows are equal.
pub fn principal_components<T: Copy + Into<f64>>(values: &[T], width: usize) -> Result<Projection, Undefined> {
    let rows = centred(values, width)?;
    let products: Vec<Vec<f64>> = rows.iter().map(|a| rows.iter().map(|b| dot(a, b)).collect()).collect();
    let total: f64 = (0..rows.len()).map(|row| products[row][row]).sum();
    let lengths: f64 = values.iter().map(|value| (*value).into().powi(2)).sum();
    if representable(lengths)? * LEAST_VARIANCE >= total {
        return Err(Undefined::NoVariance);
    }
    let mut components = eigen(products);
    components.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let mut projection = Projection { points: vec![[0.0; 2]; rows.len()], shares: [0.0; 2] };
    for (axis, (variance, direction)) in components.iter().take(2).enumerate() {
        if *variance <= LEAST_VARIANCE * total {
            continue;
        }
        let scale = variance.sqrt() * sign(&rows, direction);
        projection.shares[axis] = variance / total;
        projection.points.iter_mut().zip(direction).for_each(|(point, share)| point[axis] = share * scale);
    }
    Ok(projection)
}

/// The rows with the mean of each column taken away.
fn centred<T: Copy + Into<f64>>(values: &[T], width: usize) -> Result<Vec<Vec<f64>>, Undefined> {
    if values.is_empty() {
        return Err(Undefined::Empty);
    }
    if width == 0 || !values.len().is_multiple_of(width) {
        return Err(Undefined::Shape { values: values.len(), width });
    }
    let values: Vec<f64> = values.iter().map(|value| (*value).into()).collect();
    check_finite("rows", &values)?;
    let mut rows: Vec<Vec<f64>> = values.chunks_exact(width).map(<[f64]>::to_vec).collect();
    for column in 0..width {
        let mean = rows.iter().map(|row| row[column]).sum::<f64>() / rows.len() as f64;
        rows.iter_mut().for_each(|row| row[column] -= mean);
    }
    Ok(rows)
}

/// 1 or -1: that of the component's largest loading, given each row's share in it.
fn sign(rows: &[Vec<f64>], direction: &[f64]) -> f64 {
    let loading = |column: usize| rows.iter().zip(direction).map(|(row, share)| row[column] * share).sum::<f64>();
    let largest = (0..rows[0].len()).map(loading).fold(0.0, |a: f64, b| if b.abs() > a.abs() { b } else { a });
    if largest < 0.0 { -1.0 } else { 1.0 }
}

/// Eigenvalues of a symmetric matrix, each with its eigenvector of length 1, by Jacobi's rotations in cyclic order.
fn eigen(mut matrix: Vec<Vec<f64>>) -> Vec<(f64, Vec<f64>)> {
    let size = matrix.len();
    let mut vectors: Vec<Vec<f64>> =
        (0..size).map(|i| (0..size).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    let all: f64 = matrix.iter().flatten().map(|value| value * value).sum();
    for _ in 0..MAX_SWEEPS {
        let beside: f64 = (0..size).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| matrix[i][j].powi(2)).sum();
        if beside <= all * f64::EPSILON * f64::EPSILON {
            break;
        }
        for p in 0..size {
            for q in p + 1..size {
                rotate(&mut matrix, &mut vectors, p, q);
            }
        }
    }
    vectors.into_iter().enumerate().map(|(i, vector)| (matrix[i][i], vector)).collect()
}

/// Turns rows and columns p and q of the matrix, and the vectors p and q, so that what they share becomes 0.
fn rotate(matrix: &mut [Vec<f64>], vectors: &mut [Vec<f64>], p: usize, q: usize) {
    if matrix[p][q] == 0.0 {
        return;
    }
    let ratio = (matrix[q][q] - matrix[p][p]) / (2.0 * matrix[p][q]);
    let tangent = ratio.signum() / (ratio.abs() + ratio.hypot(1.0));
    let cosine = 1.0 / tangent.hypot(1.0);
    let turn = |a: &mut f64, b: &mut f64| (*a, *b) = (cosine * (*a - tangent * *b), cosine * (tangent * *a + *b));
    for row in matrix.iter_mut() {
        let (left, right) = row.split_at_mut(q);
        turn(&mut left[p], &mut right[0]);
    }
    for rows in [matrix, vectors] {
        let (upper, lower) = rows.split_at_mut(q);
        upper[p].iter_mut().zip(&mut lower[0]).for_each(|(a, b)| turn(a, b));
    }
}

fn dot(first: &[f64], second: &[f64]) -> f64 {
    first.iter().zip(second).map(|(a, b)| a * b).sum()
}
