//! What the attention kernels share: how they cut their work, and how the units of a workgroup pass rows of scores on.
//!
//! Legend: `own` is the block of rows of the workgroup, `other` the block of tokens that it looks at in one turn.

use crate::tile::{GROUP, ROWS, Sums, get, has_tensor_cores, lane, put, values_per_vector};
use burn::backend::cubecl::dtype_to_elem_type;
use burn::tensor::DType;
use cubecl::prelude::*;

/// Two units share a row in what is done element by element: units `i` and `i + 16` of a group have its row `i`, and take turns
/// with 8 columns each.
pub(super) const UNITS_PER_ROW: usize = 2;
pub(super) const COLUMNS: usize = 8;
/// The score of a key that is not visible.
pub(super) const INVISIBLE: f32 = -1.0e30;

/// How a kernel cuts its work; part of the compiled kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Plan {
    pub(super) heads: usize,
    pub(super) head_size: usize,
    /// Groups of 32 units, each with 16 rows.
    pub(super) groups: usize,
    /// Tokens of `other`.
    pub(super) others: usize,
    pub(super) tensor_cores: bool,
}

impl Plan {
    /// The largest blocks whose `tiles` of own rows and `others` of other tokens fit the device's workgroup memory.
    pub(super) fn new(client: &Client, num_heads: usize, head_size: usize, dtype: DType, tiles: [usize; 2]) -> Self {
        const SIZES: [(usize, usize); 5] = [(4, 64), (4, 32), (2, 32), (2, 16), (1, 16)];
        // A head's values begin at a multiple of 16 bytes in every row then.
        let tensor_cores = dtype == DType::F16 && head_size.is_multiple_of(8) && has_tensor_cores(client);
        let limit = client.properties().hardware.max_shared_memory_size;
        let plans = SIZES.map(|(groups, others)| Self { heads: num_heads, head_size, groups, others, tensor_cores });
        *plans.iter().find(|plan| plan.bytes(tiles) <= limit).unwrap_or(&plans[SIZES.len() - 1])
    }

    pub(super) fn bytes(&self, [own, other]: [usize; 2]) -> usize {
        let factor_bytes = if self.tensor_cores { 2 } else { 4 };
        let factors = (own * self.rows() + other * self.others) * self.stride() + self.rows() * self.weight_stride();
        factors * factor_bytes + 4 * (self.rows() * (self.score_stride() + 4) + 2 * self.others)
    }

    pub(super) fn rows(&self) -> usize {
        ROWS * self.groups
    }

    /// Columns of a tile: the head size, filled up.
    pub(super) fn width(&self) -> usize {
        self.head_size.next_multiple_of(ROWS)
    }

    /// Distances between rows in workgroup memory, multiples of 16 bytes that spread rows over its banks.
    pub(super) fn stride(&self) -> usize {
        self.width() + 8
    }

    pub(super) fn weight_stride(&self) -> usize {
        self.others + 8
    }

    pub(super) fn score_stride(&self) -> usize {
        self.others + 4
    }

    /// Values of a vector of inputs and factors.
    pub(super) fn values(&self) -> usize {
        values_per_vector(self.tensor_cores)
    }

    /// The words of these vectors, and how many they have.
    pub(super) fn words(&self, dtype: DType) -> (ElemType, usize) {
        if self.tensor_cores { (dtype_to_elem_type(DType::U32), 4) } else { (dtype_to_elem_type(dtype), 1) }
    }

    /// Scores of a vector in workgroup memory.
    pub(super) fn scores(&self) -> usize {
        if self.tensor_cores { 4 } else { 1 }
    }

    pub(super) fn hidden_size(&self) -> usize {
        self.heads * self.head_size
    }

    /// One workgroup per block of rows and head.
    pub(super) fn launch_size(&self, t: usize) -> (CubeCount, CubeDim) {
        let blocks = t.div_ceil(self.rows()).max(1) as u32;
        (CubeCount::Static(blocks, self.heads as u32, 1), CubeDim::new_1d((self.groups * GROUP) as u32))
    }
}

/// The tokens that a token sees, from the first to before the last; none beyond the end.
#[cube]
fn visible(bounds_2t: &[i32], token: usize, t: usize, window: usize) -> (usize, usize) {
    let known = min(token, t - 1);
    let start = usize::cast_from(bounds_2t[known]);
    let end = usize::cast_from(bounds_2t[t + known]);
    let first = if token > start + window { token - window } else { start };
    (first, if token < t { min(token + window + 1, end) } else { first })
}

/// The tokens that any of the rows sees.
#[cube]
fn visible_to_block(
    bounds_2t: &[i32],
    first_row: usize,
    t: usize,
    window: usize,
    #[comptime] plan: Plan,
) -> (usize, usize) {
    let last_row = min(first_row + plan.rows(), t) - 1;
    let (first, _) = visible(bounds_2t, first_row, t, window);
    let (_, last) = visible(bounds_2t, last_row, t, window);
    (first, last)
}

/// What a unit works on.
#[derive(CubeType)]
pub(super) struct Place {
    pub head: usize,
    /// The head's first column.
    pub column: usize,
    /// Of the scores.
    pub scale: f32,
    /// The workgroup's first token.
    pub first_row: usize,
    /// The first row of the unit's group and the unit's own, in the workgroup.
    pub group_row: usize,
    pub row: usize,
    /// Which of the two units of the row this is.
    pub half: usize,
    /// The token of the row, and those that it sees.
    pub token: usize,
    pub first: usize,
    pub last: usize,
    /// Those that any row of the workgroup sees.
    pub block_first: usize,
    pub block_last: usize,
}

#[cube]
pub(super) fn place(bounds_2t: &[i32], t: usize, window: usize, #[comptime] plan: Plan) -> Place {
    let first_row = CUBE_POS_X as usize * plan.rows();
    let head = CUBE_POS_Y as usize;
    let group_row = UNIT_POS as usize / GROUP * ROWS;
    let row = group_row + lane() % ROWS;
    let token = first_row + row;
    let (first, last) = visible(bounds_2t, token, t, window);
    let (block_first, block_last) = visible_to_block(bounds_2t, first_row, t, window, plan);
    Place {
        head,
        column: head * plan.head_size,
        scale: 1.0f32 / f32::cast_from(plan.head_size).sqrt(),
        first_row,
        group_row,
        row,
        half: lane() / ROWS,
        token,
        first,
        last,
        block_first,
        block_last,
    }
}

/// Copies the values of a head from `column` on, of `rows` tokens `from_stride` apart, to workgroup memory; zeros where there
/// are none.
#[cube]
#[expect(clippy::too_many_arguments, reason = "two matrices with their places")]
pub(super) fn load<W: Numeric, N: Size>(
    from: &[Vector<W, N>],
    first_token: usize,
    t: usize,
    column: usize,
    to: &mut [Vector<W, N>],
    #[comptime] from_stride: usize,
    #[comptime] rows: usize,
    #[comptime] plan: Plan,
) {
    let values = comptime!(plan.values());
    let (width, head_width) = comptime!((plan.width() / values, plan.head_size / values));
    for index in range_stepped(UNIT_POS as usize, rows * width, CUBE_DIM as usize) {
        let (row, c) = (index / width, index % width);
        let token = first_token + row;
        let mut value = Vector::<W, N>::new(W::from_int(0));
        if token < t && c < head_width {
            value = from[token * comptime!(from_stride / values) + column / values + c];
        }
        to[row * comptime!(plan.stride() / values) + c] = value;
    }
}

/// Writes sums, each row multiplied by its factor, to a head's values of the group's tokens, the first of which is `first_token`.
#[cube]
#[expect(clippy::too_many_arguments, reason = "two matrices with their places")]
pub(super) fn write<F: Float, M: Size>(
    sums: &Sums,
    factors: &[f32],
    scratch: &mut [Vector<f32, M>],
    to: &mut [F],
    first_token: usize,
    t: usize,
    column: usize,
    #[comptime] to_stride: usize,
    #[comptime] plan: Plan,
) {
    let stride = comptime!(plan.score_stride());
    let group_row = UNIT_POS as usize / GROUP * ROWS;
    let (row, half) = (lane() % ROWS, lane() / ROWS);
    let token = first_token + row;
    #[unroll]
    for tile in 0..comptime!(plan.width() / ROWS) {
        sync_cube();
        sums.store::<M>(tile, scratch, group_row * stride, stride);
        sync_cube();
        let mut values = Array::<f32>::new(COLUMNS);
        let place = (group_row + row) * stride + half * COLUMNS;
        get::<M>(&*scratch, place, &mut values, 0usize, plan.tensor_cores);
        let factor = factors[group_row + row];
        #[unroll]
        for i in 0..COLUMNS {
            let c = half * COLUMNS + comptime!(tile * ROWS + i);
            if token < t && c < plan.head_size {
                to[token * to_stride + column + c] = F::cast_from(values[i] * factor);
            }
        }
    }
}

/// All products of the group's rows with the other tokens, to workgroup memory, and from there the unit's own.
#[cube]
pub(super) fn exchange<M: Size>(
    products: &Sums,
    scratch: &mut [Vector<f32, M>],
    values: &mut Array<f32>,
    #[comptime] plan: Plan,
) {
    let stride = comptime!(plan.score_stride());
    let group_row = UNIT_POS as usize / GROUP * ROWS;
    #[unroll]
    for tile in 0..comptime!(plan.others / ROWS) {
        products.store::<M>(tile, scratch, group_row * stride + comptime!(tile * ROWS), stride);
    }
    sync_cube();
    #[unroll]
    for turn in 0..comptime!(plan.others / COLUMNS / UNITS_PER_ROW) {
        let place = (group_row + lane() % ROWS) * stride + first_column(turn);
        get::<M>(&*scratch, place, values, comptime!(turn * COLUMNS), plan.tensor_cores);
    }
}

/// The first of 8 neighbouring columns that a unit has.
#[cube]
pub(super) fn first_column(#[comptime] turn: usize) -> usize {
    comptime!(turn * UNITS_PER_ROW * COLUMNS) + lane() / ROWS * COLUMNS
}

/// Scales a unit's scores and hides those of tokens outside of `first..last`.
#[cube]
pub(super) fn hide(
    scores: &mut Array<f32>,
    other: usize,
    first: usize,
    last: usize,
    scale: f32,
    #[comptime] plan: Plan,
) {
    #[unroll]
    for turn in 0..comptime!(plan.others / COLUMNS / UNITS_PER_ROW) {
        let token = other + first_column(turn);
        #[unroll]
        for i in 0..COLUMNS {
            let index = comptime!(turn * COLUMNS + i);
            let is_visible = token + i >= first && token + i < last;
            scores[index] = if is_visible { scores[index] * scale } else { f32::new(INVISIBLE) };
        }
    }
}

/// Writes a unit's values of its row, to be a factor.
#[cube]
pub(super) fn put_row<W: Numeric, N: Size>(values: &Array<f32>, to: &mut [Vector<W, N>], #[comptime] plan: Plan) {
    let row = UNIT_POS as usize / GROUP * ROWS + lane() % ROWS;
    #[unroll]
    for turn in 0..comptime!(plan.others / COLUMNS / UNITS_PER_ROW) {
        let place = row * comptime!(plan.weight_stride()) + first_column(turn);
        put::<W, N>(values, comptime!(turn * COLUMNS), to, place, plan.tensor_cores);
    }
}

/// The value of the unit that shares the row.
#[cube]
pub(super) fn of_partner(value: f32, parts: &mut [f32], #[comptime] plan: Plan) -> f32 {
    if comptime!(plan.tensor_cores) {
        plane_shuffle_xor(value, 16u32)
    } else {
        parts[UNIT_POS as usize] = value;
        sync_cube();
        let partner = UNIT_POS as usize / GROUP * GROUP + (lane() + ROWS) % GROUP;
        let other = parts[partner];
        sync_cube();
        other
    }
}
