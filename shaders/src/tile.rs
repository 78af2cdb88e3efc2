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
    if std::env::var("ANAUME_FORCE").is_ok() {
        return true;
    }
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
                tiles.push(cmma::Matrix::<f32>::from_value(
                    cmma::MatrixIdent::Accumulator,
                    16usize,
                    16usize,
                    16usize,
                    cmma::MatrixLayout::Undefined,
                    0.0f32,
                ));
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

    /// Writes the 16 columns from `16 tile` on, as 16 rows `stride` apart.
    pub fn store(&self, #[comptime] tile: usize, out: &mut [f32], #[comptime] stride: usize) {
        match self {
            Sums::Tensor(tiles) => {
                cmma::store(out, tiles.index(tile), comptime!(stride as u32), cmma::MatrixLayout::RowMajor);
            }
            Sums::Plain(values) => {
                let first_row = lane() / UNIT_COLUMNS * UNIT_ROWS;
                let first_column = lane() % UNIT_COLUMNS;
                #[unroll]
                for j in 0..comptime!(ROWS / UNIT_COLUMNS) {
                    #[unroll]
                    for i in 0..UNIT_ROWS {
                        out[(first_row + i) * stride + first_column + j * UNIT_COLUMNS] =
                            values[(tile * ROWS / UNIT_COLUMNS + j) * UNIT_ROWS + i];
                    }
                }
            }
        }
    }

    /// Multiplies each of the group's rows by its factor. Tensor cores hide where a sum lies: where a factor is not 1, each
    /// matrix goes through `scratch`, 16 rows `stride` apart.
    pub fn scale_rows(
        &mut self,
        factors: &[f32],
        scratch: &mut [f32],
        #[comptime] stride: usize,
        #[comptime] columns: usize,
    ) {
        match self {
            Sums::Tensor(tiles) => {
                let mut is_scaled = false;
                for row in 0..ROWS {
                    is_scaled = is_scaled || factors[row] != 1.0f32;
                }
                if is_scaled {
                    #[unroll]
                    for tile in 0..comptime!(columns / ROWS) {
                        cmma::store(scratch, tiles.index(tile), comptime!(stride as u32), cmma::MatrixLayout::RowMajor);
                        sync_plane();
                        #[unroll]
                        for i in 0..comptime!(ROWS * ROWS / GROUP) {
                            let row = i * comptime!(GROUP / ROWS) + lane() / ROWS;
                            scratch[row * stride + lane() % ROWS] *= factors[row];
                        }
                        sync_plane();
                        cmma::load_with_layout(
                            tiles.index_mut(tile),
                            &*scratch,
                            comptime!(stride as u32),
                            cmma::MatrixLayout::RowMajor,
                        );
                        sync_plane();
                    }
                }
            }
            Sums::Plain(values) => {
                let first_row = lane() / UNIT_COLUMNS * UNIT_ROWS;
                #[unroll]
                for i in 0..UNIT_ROWS {
                    let factor = factors[first_row + i];
                    #[unroll]
                    for j in 0..comptime!(columns / UNIT_COLUMNS) {
                        values[j * UNIT_ROWS + i] *= factor;
                    }
                }
            }
        }
    }
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

/// Writes two neighbouring values of a factor, the first of an even number.
#[cube]
pub(crate) fn put_pair<W: Numeric, N: Size>(
    to: &mut [Vector<W, N>],
    index: usize,
    pair: (f32, f32),
    #[comptime] tensor_cores: bool,
) {
    if comptime!(tensor_cores) {
        let mut halves = Vector::<f16, Const<2>>::new(f16::cast_from(pair.0));
        halves.insert(1usize, f16::cast_from(pair.1));
        to.with_vector_size_mut::<Const<1>>()[index / 2] = Vector::new(W::reinterpret(halves));
    } else {
        to[index] = Vector::new(W::cast_from(pair.0));
        to[index + 1] = Vector::new(W::cast_from(pair.1));
    }
}
