//! Products of small matrices in a workgroup: on tensor cores where the device has them, else by multiply-adds.
//!
//! A group of [`GROUP`] units, a subgroup where tensor cores are used, owns [`ROWS`] rows of the result. Factors lie in
//! workgroup memory, sums in registers.

use burn::backend::cubecl::dtype_to_elem_type;
use burn::tensor::DType;
use cubecl::cmma;
use cubecl::features::MmaConfig;
use cubecl::prelude::*;
use half::f16;

/// Units that own [`ROWS`] rows together.
pub(crate) const GROUP: usize = 32;
/// Rows of a group, and side of the matrices that tensor cores multiply.
pub(crate) const ROWS: usize = 16;
/// Without tensor cores a unit has 4 rows of every eighth column.
const UNIT_ROWS: usize = 4;
const UNIT_COLUMNS: usize = 8;

/// Whether the device multiplies f16 matrices of 16 x 16 in subgroups of 32 and sums them in f32.
pub(crate) fn has_tensor_cores(client: &Client) -> bool {
    let [f16, f32] = [DType::F16, DType::F32].map(dtype_to_elem_type);
    let config = MmaConfig { a_type: f16, b_type: f16, cd_type: f32, m: 16, n: 16, k: 16 };
    let hardware = &client.properties().hardware;
    let subgroups = [hardware.plane_size_min, hardware.plane_size_max];
    subgroups == [GROUP as u32; 2] && client.features().matmul.cmma.contains(&config)
}

/// Values of a vector in which factors lie in workgroup memory: 16 bytes of f16 pairs for tensor cores, which load matrices at
/// once from there, else a single value.
pub(crate) fn values_per_vector(tensor_cores: bool) -> usize {
    if tensor_cores { 8 } else { 1 }
}

/// Sums of a group: [`ROWS`] rows of some columns, a multiple of 16.
#[derive(CubeType)]
#[expect(dead_code, reason = "only what the macro makes of it is used")]
pub(crate) enum Sums {
    /// One matrix for 16 columns.
    Tensor(Sequence<cmma::Matrix<f32>>),
    /// The values of one unit.
    Plain(Array<f32>),
}

/// Number of the unit in its group.
#[cube]
pub(crate) fn lane() -> usize {
    UNIT_POS as usize % GROUP
}

#[cube]
impl Sums {
    /// All zero.
    pub fn zero(#[comptime] columns: usize, #[comptime] tensor_cores: bool) -> Sums {
        if comptime!(tensor_cores) {
            let mut tiles = Sequence::<cmma::Matrix<f32>>::new();
            #[unroll]
            for _ in 0..comptime!(columns / ROWS) {
                tiles.push(zeros());
            }
            Sums::new_Tensor(tiles)
        } else {
            let mut values = Array::<f32>::new(comptime!(ROWS * columns / GROUP));
            #[unroll]
            for index in 0..comptime!(ROWS * columns / GROUP) {
                values[index] = 0.0f32;
            }
            Sums::new_Plain(values)
        }
    }

    /// Adds the product of `a`, the group's rows of `depth` values `a_stride` apart, and `b`, `depth` rows of `columns` values
    /// `b_stride` apart, or `columns` rows of `depth` where it is transposed. Depth and columns are multiples of 16.
    #[allow(clippy::too_many_arguments, reason = "two matrices with their strides")]
    pub fn add_product<W: Numeric, N: Size>(
        &mut self,
        a: &[Vector<W, N>],
        #[comptime] a_stride: usize,
        b: &[Vector<W, N>],
        #[comptime] b_stride: usize,
        #[comptime] b_transposed: bool,
        #[comptime] depth: usize,
        #[comptime] columns: usize,
    ) {
        match self {
            Sums::Tensor(tiles) => {
                let layout = comptime!(match b_transposed {
                    true => cmma::MatrixLayout::ColMajor,
                    false => cmma::MatrixLayout::RowMajor,
                });
                #[unroll]
                for k in 0..comptime!(depth / ROWS) {
                    let start = comptime!(k * ROWS / 8);
                    let left = factor(a, start, cmma::MatrixIdent::A, cmma::MatrixLayout::RowMajor, a_stride);
                    #[unroll]
                    for j in 0..comptime!(columns / ROWS) {
                        let start = comptime!(match b_transposed {
                            true => (j * b_stride + k) * ROWS / 8,
                            false => (k * b_stride + j) * ROWS / 8,
                        });
                        let right = factor(b, start, cmma::MatrixIdent::B, layout, b_stride);
                        let sum = tiles.index(j);
                        cmma::execute(&left, &right, sum, sum);
                    }
                }
            }
            Sums::Plain(values) => {
                let first_row = lane() / UNIT_COLUMNS * UNIT_ROWS;
                let first_column = lane() % UNIT_COLUMNS;
                for k in 0..depth {
                    let mut left = Array::<f32>::new(UNIT_ROWS);
                    #[unroll]
                    for i in 0..UNIT_ROWS {
                        left[i] = f32::cast_from(a[(first_row + i) * a_stride + k].extract(0usize));
                    }
                    #[unroll]
                    for j in 0..comptime!(columns / UNIT_COLUMNS) {
                        let column = first_column + j * UNIT_COLUMNS;
                        let index = if comptime!(b_transposed) { column * b_stride + k } else { k * b_stride + column };
                        let right = f32::cast_from(b[index].extract(0usize));
                        #[unroll]
                        for i in 0..UNIT_ROWS {
                            values[j * UNIT_ROWS + i] += left[i] * right;
                        }
                    }
                }
            }
        }
    }

    /// Writes the 16 columns from `16 tile` on to workgroup memory, as 16 rows `stride` values apart, from `start` on. Vectors
    /// have 4 values for tensor cores, else one.
    pub fn store<M: Size>(
        &self,
        #[comptime] tile: usize,
        out: &mut [Vector<f32, M>],
        start: usize,
        #[comptime] stride: usize,
    ) {
        match self {
            Sums::Tensor(tiles) => {
                let end = out.len();
                let out = &mut out[start / 4..end];
                cmma::store(out, tiles.index(tile), comptime!(stride as u32), cmma::MatrixLayout::RowMajor);
            }
            Sums::Plain(values) => {
                let first_row = lane() / UNIT_COLUMNS * UNIT_ROWS;
                let first_column = lane() % UNIT_COLUMNS;
                #[unroll]
                for j in 0..comptime!(ROWS / UNIT_COLUMNS) {
                    #[unroll]
                    for i in 0..UNIT_ROWS {
                        out[start + (first_row + i) * stride + first_column + j * UNIT_COLUMNS] =
                            Vector::new(values[(tile * ROWS / UNIT_COLUMNS + j) * UNIT_ROWS + i]);
                    }
                }
            }
        }
    }

    /// Multiplies each of the group's rows by its factor, the first of which is at `first`. Tensor cores hide where a sum lies:
    /// where a factor is not 1, each matrix goes through workgroup memory, as by [`Self::store`].
    pub fn scale_rows<M: Size>(
        &mut self,
        factors: &[f32],
        first: usize,
        scratch: &mut [Vector<f32, M>],
        start: usize,
        #[comptime] stride: usize,
        #[comptime] columns: usize,
    ) {
        match self {
            Sums::Tensor(tiles) => {
                let mut is_scaled = false;
                for row in 0..ROWS {
                    is_scaled = is_scaled || factors[first + row] != 1.0f32;
                }
                if is_scaled {
                    let end = scratch.len();
                    let scratch = &mut scratch[start / 4..end];
                    let stride_u32 = comptime!(stride as u32);
                    // Two units have a row, two of its four vectors each.
                    let row = lane() / 2;
                    let place = row * comptime!(stride / 4) + lane() % 2 * 2;
                    let scale = Vector::<f32, M>::new(factors[first + row]);
                    #[unroll]
                    for tile in 0..comptime!(columns / ROWS) {
                        cmma::store(scratch, tiles.index(tile), stride_u32, cmma::MatrixLayout::RowMajor);
                        sync_plane();
                        scratch[place] *= scale;
                        scratch[place + 1] *= scale;
                        sync_plane();
                        let sum = tiles.index_mut(tile);
                        cmma::load_with_layout(sum, &*scratch, stride_u32, cmma::MatrixLayout::RowMajor);
                        sync_plane();
                    }
                }
            }
            Sums::Plain(values) => {
                let first_row = lane() / UNIT_COLUMNS * UNIT_ROWS;
                #[unroll]
                for i in 0..UNIT_ROWS {
                    let factor = factors[first + first_row + i];
                    #[unroll]
                    for j in 0..comptime!(columns / UNIT_COLUMNS) {
                        values[j * UNIT_ROWS + i] *= factor;
                    }
                }
            }
        }
    }
}

/// 16 x 16 sums.
#[cube]
pub(crate) fn zeros() -> cmma::Matrix<f32> {
    let layout = cmma::MatrixLayout::Undefined;
    cmma::Matrix::<f32>::from_value(cmma::MatrixIdent::Accumulator, 16usize, 16usize, 16usize, layout, 0.0f32)
}

/// The 16 x 16 values of f16 that begin at the vector `start`; rows, or columns, are `stride` values apart.
#[cube]
pub(crate) fn factor<W: Numeric, N: Size>(
    from: &[Vector<W, N>],
    start: usize,
    #[comptime] ident: cmma::MatrixIdent,
    #[comptime] layout: cmma::MatrixLayout,
    #[comptime] stride: usize,
) -> cmma::Matrix<f16> {
    // SAFETY: it is loaded in the next line.
    let mut matrix = unsafe { cmma::Matrix::<f16>::uninitialized(ident, 16usize, 16usize, 16usize, layout) };
    let end = from.len();
    // The stride counts words.
    cmma::load(&mut matrix, &from[start..end], comptime!((stride / 2) as u32));
    matrix
}

/// The product of the values of two vectors, pair by pair, summed.
#[cube]
pub(crate) fn dot<W: Numeric, N: Size>(a: Vector<W, N>, b: Vector<W, N>, #[comptime] tensor_cores: bool) -> f32 {
    if comptime!(tensor_cores) {
        let mut sum = 0.0f32;
        #[unroll]
        for word in 0..4usize {
            let a = Vector::<f16, Const<2>>::reinterpret(a.extract(word));
            let b = Vector::<f16, Const<2>>::reinterpret(b.extract(word));
            #[unroll]
            for i in 0..2usize {
                sum += f32::cast_from(a.extract(i)) * f32::cast_from(b.extract(i));
            }
        }
        sum
    } else {
        f32::cast_from(a.extract(0usize)) * f32::cast_from(b.extract(0usize))
    }
}

/// Writes the 8 values of a unit from the `first` on to be a factor, from `place` on.
#[cube]
pub(crate) fn put<W: Numeric, N: Size>(
    values: &Array<f32>,
    #[comptime] first: usize,
    to: &mut [Vector<W, N>],
    place: usize,
    #[comptime] tensor_cores: bool,
) {
    if comptime!(tensor_cores) {
        let mut words = Vector::<W, N>::new(W::from_int(0));
        #[unroll]
        for word in 0..4usize {
            let mut pair = Vector::<f16, Const<2>>::new(f16::cast_from(values[first + 2 * word]));
            pair.insert(1usize, f16::cast_from(values[first + 2 * word + 1]));
            words.insert(word, W::reinterpret(pair));
        }
        to[place / 8] = words;
    } else {
        #[unroll]
        for i in 0..8usize {
            to[place + i] = Vector::new(W::cast_from(values[first + i]));
        }
    }
}

/// Reads 8 values from `place` on to the `first` on of a unit.
#[cube]
pub(crate) fn get<M: Size>(
    from: &[Vector<f32, M>],
    place: usize,
    values: &mut Array<f32>,
    #[comptime] first: usize,
    #[comptime] tensor_cores: bool,
) {
    let size = comptime!(if tensor_cores { 4 } else { 1 });
    #[unroll]
    for index in 0..comptime!(8 / size) {
        let vector = from[place / size + index];
        #[unroll]
        for i in 0..size {
            values[first + index * size + i] = vector.extract(i);
        }
    }
}
