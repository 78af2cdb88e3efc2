//! Sums on the GPU that always have the same order: over the units of a workgroup, over the rows of a matrix.

use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::gpu;

/// Units of a workgroup.
pub(crate) const UNITS: usize = gpu::UNITS_PER_CUBE as usize;
/// Units that add up what the others have, an eighth each.
const ADDERS: usize = 8;
/// Workgroup memory that the sum of one value takes.
pub(crate) const ROOM: usize = UNITS + ADDERS;
/// Rows that a unit adds up.
const ROWS_PER_UNIT: usize = 32;

/// Replaces each of the `values` by its sum over the units of the workgroup. `shared` has [`ROOM`] for each of them; calls may
/// follow one another.
#[cube]
pub(crate) fn sum_over_units(values: &mut Array<f32>, shared: &mut [f32], #[comptime] count: usize) {
    let unit = UNIT_POS as usize;
    #[unroll]
    for i in 0..count {
        shared[i * ROOM + unit] = values[i];
    }
    sync_cube();
    if unit < ADDERS {
        #[unroll]
        for i in 0..count {
            let mut sum = 0.0f32;
            #[unroll]
            for other in 0..comptime!(UNITS / ADDERS) {
                sum += shared[i * ROOM + other * ADDERS + unit];
            }
            shared[i * ROOM + UNITS + unit] = sum;
        }
    }
    sync_cube();
    #[unroll]
    for i in 0..count {
        let mut sum = 0.0f32;
        #[unroll]
        for adder in 0..ADDERS {
            sum += shared[i * ROOM + UNITS + adder];
        }
        values[i] = sum;
    }
}

/// One unit per column and [`ROWS_PER_UNIT`] rows.
#[cube(launch_unchecked)]
fn add_rows(rows_nd: &[f32], sums_pd: &mut [f32], n: usize, d: usize, parts: usize) {
    if ABSOLUTE_POS >= parts * d {
        terminate!();
    }
    let column = ABSOLUTE_POS % d;
    let first = ABSOLUTE_POS / d * ROWS_PER_UNIT;
    let mut sum = 0.0f32;
    for row in first..min(first + ROWS_PER_UNIT, n) {
        sum += rows_nd[row * d + column];
    }
    sums_pd[ABSOLUTE_POS] = sum;
}

/// The sum of f32 rows `[n, d]`, at least one, as `[1, d]`.
pub(crate) fn sum_rows(rows_nd: CubeTensor) -> CubeTensor {
    let [n, d] = rows_nd.meta.shape().dims();
    if n == 1 {
        return rows_nd;
    }
    let parts = n.div_ceil(ROWS_PER_UNIT);
    let sums_pd = gpu::empty(&rows_nd, [parts, d], DType::F32);
    let (count, dim) = gpu::one_unit_per(parts * d);
    // SAFETY: rows end at `n`, columns at `d`.
    unsafe {
        add_rows::launch_unchecked(
            &rows_nd.client.clone(),
            count,
            dim,
            rows_nd.into_buffer_arg(),
            sums_pd.clone().into_buffer_arg(),
            n,
            d,
            parts,
        );
    }
    sum_rows(sums_pd)
}
