//! Linear layers in half precision: factors in f16, sums in f32, on tensor cores where the device has them (mixed precision,
//! Micikevicius et al., arXiv 1710.03740).

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{Autodiff, Backend, Dispatch, FloatDType, TensorMetadata, backend_extension, tensor::FloatTensor};
use burn::tensor::{DType, Tensor};

/// `x W^T` of `x` `[t, k]` and `weight` `[n, k]`, both rounded to f16 and summed in f32, as f16 `[t, n]`. Differentiable in both;
/// the gradients have the types of `x` and of `weight`.
pub fn linear_f16(x_tk: Tensor<2>, weight_nk: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::linear_f16(x_tk.into_dispatch(), weight_nk.into_dispatch()))
}

/// [`linear_f16`] composed of tensor operations.
pub fn linear_f16_reference(x_tk: Tensor<2>, weight_nk: Tensor<2>) -> Tensor<2> {
    let rounded = |tensor: Tensor<2>| tensor.cast(DType::F16).cast(DType::F32);
    rounded(x_tk).matmul(rounded(weight_nk).transpose()).cast(DType::F16)
}

/// The backend's side of [`linear_f16`].
#[backend_extension(Autodiff, Cube: cfg(feature = "wgpu"), Flex: cfg(feature = "flex"))]
pub trait LinearF16Ops: Backend {
    /// See [`linear_f16`].
    fn linear_f16(x_tk: FloatTensor<Self>, weight_nk: FloatTensor<Self>) -> FloatTensor<Self>;
    /// The product of two f16 matrices, each perhaps transposed, summed in f32 and returned in the given type.
    fn product_f16(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        a_transposed: bool,
        b_transposed: bool,
        dtype: FloatDType,
    ) -> FloatTensor<Self>;
}

fn half<B: Backend>(tensor: FloatTensor<B>) -> FloatTensor<B> {
    if tensor.dtype() == DType::F16 { tensor } else { B::float_cast(tensor, FloatDType::F16) }
}

fn forward<B: LinearF16Ops>(x_tk: FloatTensor<B>, weight_nk: FloatTensor<B>) -> FloatTensor<B> {
    B::product_f16(half::<B>(x_tk), half::<B>(weight_nk), false, true, FloatDType::F16)
}

impl<B: LinearF16Ops, C: CheckpointStrategy> LinearF16Ops for Autodiff<B, C> {
    fn linear_f16(x_tk: FloatTensor<Self>, weight_nk: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Linear;
        impl<B: LinearF16Ops> Backward<B, 2> for Linear {
            /// Both factors in f16, and the types of their gradients.
            type State = (FloatTensor<B>, FloatTensor<B>, [FloatDType; 2]);
            fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
                let grad_tn = half::<B>(grads.consume::<B>(&ops.node));
                let (x_tk, weight_nk, [x_dtype, weight_dtype]) = ops.state;
                let [x, weight] = ops.parents;
                if let Some(node) = x {
                    let gradient = B::product_f16(grad_tn.clone(), weight_nk, false, false, x_dtype);
                    grads.register::<B>(node.id, gradient);
                }
                if let Some(node) = weight {
                    grads.register::<B>(node.id, B::product_f16(grad_tn, x_tk, true, false, weight_dtype));
                }
            }
        }
        let (x_tk, x_node) = x_tk.into_parts();
        let (weight_nk, weight_node) = weight_nk.into_parts();
        let dtypes = [x_tk.dtype(), weight_nk.dtype()].map(FloatDType::from);
        match Linear.prepare::<C>([x_node, weight_node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (x_tk, weight_nk) = (half::<B>(x_tk), half::<B>(weight_nk));
                let y_tn = forward::<B>(x_tk.clone(), weight_nk.clone());
                prep.finish((x_tk, weight_nk, dtypes), y_tn)
            }
            OpsKind::UnTracked(prep) => prep.finish(forward::<B>(x_tk, weight_nk)),
        }
    }

    fn product_f16(_: FloatTensor<Self>, _: FloatTensor<Self>, _: bool, _: bool, _: FloatDType) -> FloatTensor<Self> {
        unreachable!("only the inner backend multiplies f16 matrices")
    }
}

/// The product by the backend's own operations.
#[cfg(any(feature = "flex", feature = "wgpu"))]
fn composed<B: Backend>(a: FloatTensor<B>, b: FloatTensor<B>, transposed: [bool; 2]) -> FloatTensor<B> {
    let turned = |x: FloatTensor<B>, is_transposed| if is_transposed { B::float_swap_dims(x, 0, 1) } else { x };
    B::float_matmul(turned(a, transposed[0]), turned(b, transposed[1]))
}

#[cfg(feature = "flex")]
impl LinearF16Ops for burn::backend::Flex {
    fn linear_f16(x_tk: FloatTensor<Self>, weight_nk: FloatTensor<Self>) -> FloatTensor<Self> {
        forward::<Self>(x_tk, weight_nk)
    }

    fn product_f16(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        a_transposed: bool,
        b_transposed: bool,
        dtype: FloatDType,
    ) -> FloatTensor<Self> {
        use burn::backend::ops::FloatTensorOps;
        let [a, b] = [a, b].map(|x| Self::float_cast(x, FloatDType::F32));
        Self::float_cast(composed::<Self>(a, b, [a_transposed, b_transposed]), dtype)
    }
}

#[cfg(feature = "wgpu")]
mod kernel {
    use super::*;
    use crate::tile::{GROUP, ROWS, factor, has_tensor_cores, lane, zeros};
    use crate::{gpu, reduce};
    use burn::backend::cubecl::dtype_to_elem_type;
    use burn::backend::ops::FloatTensorOps;
    use burn_cubecl::CubeBackend;
    use cubecl::cmma;
    use cubecl::prelude::*;
    use half::f16;

    /// Rows and columns of the output that a workgroup computes, and how many products it adds in one turn.
    const BLOCK: [usize; 3] = [128, 128, 64];
    /// Rows and columns of a subgroup.
    const SIDE: [usize; 2] = [64, 32];
    /// Units of a workgroup.
    const UNITS: usize = BLOCK[0] / SIDE[0] * (BLOCK[1] / SIDE[1]) * GROUP;
    /// Workgroups that a large GPU is to have; a product of fewer blocks than this is cut along what it adds, too.
    const WORKGROUPS: usize = 264;
    /// Fewest turns for which cutting pays.
    const TURNS: usize = 8;

    /// How a product is cut; part of the compiled kernel.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    struct Plan {
        transposed: [bool; 2],
        /// Words of two values that are read of each factor at a time.
        words: [usize; 2],
    }

    impl Plan {
        fn tiles(&self) -> [Tile; 2] {
            let is_deep = [!self.transposed[0], self.transposed[1]];
            [0, 1].map(|factor| Tile {
                size: [BLOCK[factor], BLOCK[2]],
                is_deep: is_deep[factor],
                words: self.words[factor],
            })
        }
    }

    /// A factor's block in workgroup memory, in the order in which its matrix lies in memory.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    struct Tile {
        /// Rows of the first factor or columns of the second one, and how many values of each are added in one turn.
        size: [usize; 2],
        /// Whether the values that are added together lie side by side in memory.
        is_deep: bool,
        /// Words read at a time.
        words: usize,
    }

    impl Tile {
        /// Rows and columns in memory.
        fn shape(&self) -> [usize; 2] {
            if self.is_deep { self.size } else { [self.size[1], self.size[0]] }
        }

        /// Values from row to row, spread over the banks of the memory.
        fn stride(&self) -> usize {
            self.shape()[1] + 8
        }

        fn vectors(&self) -> usize {
            self.shape()[0] * self.stride() / 8
        }

        fn vectors_per_unit(&self) -> usize {
            self.size[0] * self.size[1] / (8 * UNITS)
        }
    }

    /// Where a matrix of 16 x 16 begins, in vectors of 8 values.
    #[cube]
    fn start(index: usize, #[comptime] depth: usize, #[comptime] tile: Tile) -> usize {
        let stride = comptime!(tile.stride() / 8);
        if comptime!(tile.is_deep) { index * stride + comptime!(depth / 8) } else { depth * stride + index / 8 }
    }

    /// The values of a unit for one turn, from the row or column `first` and the depth `depth` on; zeros beyond the ends.
    #[cube]
    #[expect(clippy::too_many_arguments, reason = "a matrix with its place")]
    fn fetch<N: Size>(
        from: &[Vector<u32, N>],
        first: usize,
        depth: usize,
        end: usize,
        depth_end: usize,
        row_length: usize,
        values: &mut Array<Vector<u32, Const<4>>>,
        #[comptime] tile: Tile,
    ) {
        let per_row = comptime!(tile.shape()[1] / 8);
        let (first_row, first_column, row_end, column_end) =
            if comptime!(tile.is_deep) { (first, depth, end, depth_end) } else { (depth, first, depth_end, end) };
        #[unroll]
        for index in 0..comptime!(tile.vectors_per_unit()) {
            let place = index * UNITS + UNIT_POS as usize;
            let (row, column) = (first_row + place / per_row, first_column + place % per_row * 8);
            let mut vector = Vector::<u32, Const<4>>::new(0u32);
            if row < row_end {
                #[unroll]
                for part in 0..comptime!(4 / tile.words) {
                    let part_column = column + comptime!(part * tile.words * 2);
                    if part_column < column_end {
                        let words = from[(row * row_length + part_column) / comptime!(tile.words * 2)];
                        #[unroll]
                        for word in 0..tile.words {
                            vector.insert(comptime!(part * tile.words + word), words.extract(word));
                        }
                    }
                }
            }
            values[index] = vector;
        }
    }

    /// Writes what [`fetch`] gave to workgroup memory.
    #[cube]
    fn put(values: &Array<Vector<u32, Const<4>>>, to: &mut [Vector<u32, Const<4>>], #[comptime] tile: Tile) {
        let per_row = comptime!(tile.shape()[1] / 8);
        #[unroll]
        for index in 0..comptime!(tile.vectors_per_unit()) {
            let place = index * UNITS + UNIT_POS as usize;
            to[place / per_row * comptime!(tile.stride() / 8) + place % per_row] = values[index];
        }
    }

    /// The factors of a turn are fetched while those of the turn before, in workgroup memory, are multiplied. Along its third
    /// axis the launch is cut into parts of `depth` products, whose sums lie one below the other in `out`.
    #[cube(launch_unchecked)]
    #[expect(clippy::too_many_arguments, reason = "a kernel takes its numbers one by one")]
    fn product<O: Float, NA: Size, NB: Size>(
        a: &[Vector<u32, NA>],
        b: &[Vector<u32, NB>],
        out: &mut [O],
        m: usize,
        n: usize,
        k: usize,
        depth: usize,
        #[comptime] plan: Plan,
        #[define(O)] _dtype: ElemType,
    ) {
        let [a_tile, b_tile] = comptime!(plan.tiles());
        let mut a_block = Shared::<[Vector<u32, Const<4>>]>::new_slice(comptime!(a_tile.vectors()));
        let mut b_block = Shared::<[Vector<u32, Const<4>>]>::new_slice(comptime!(b_tile.vectors()));
        let (row, column) = (CUBE_POS_X as usize * BLOCK[0], CUBE_POS_Y as usize * BLOCK[1]);
        let group = UNIT_POS as usize / GROUP;
        let groups_in_row = comptime!(BLOCK[1] / SIDE[1]);
        let own_row = group / groups_in_row * SIDE[0];
        let own_column = group % groups_in_row * SIDE[1];
        let (row_tiles, column_tiles) = comptime!((SIDE[0] / ROWS, SIDE[1] / ROWS));
        let a_row_length = if comptime!(plan.transposed[0]) { m } else { k };
        let b_row_length = if comptime!(plan.transposed[1]) { k } else { n };
        let first = CUBE_POS_Z as usize * depth;
        let last = min(first + depth, k);

        let mut sums = Sequence::<cmma::Matrix<f32>>::new();
        #[unroll]
        for _ in 0..comptime!(row_tiles * column_tiles) {
            sums.push(zeros());
        }
        let mut a_next = Array::<Vector<u32, Const<4>>>::new(comptime!(a_tile.vectors_per_unit()));
        let mut b_next = Array::<Vector<u32, Const<4>>>::new(comptime!(b_tile.vectors_per_unit()));
        fetch::<NA>(a, row, first, m, last, a_row_length, &mut a_next, a_tile);
        fetch::<NB>(b, column, first, n, last, b_row_length, &mut b_next, b_tile);
        for from in range_stepped(first, last, BLOCK[2]) {
            sync_cube();
            put(&a_next, &mut a_block, a_tile);
            put(&b_next, &mut b_block, b_tile);
            sync_cube();
            let next = from + BLOCK[2];
            if next < last {
                fetch::<NA>(a, row, next, m, last, a_row_length, &mut a_next, a_tile);
                fetch::<NB>(b, column, next, n, last, b_row_length, &mut b_next, b_tile);
            }
            #[unroll]
            for step in 0..comptime!(BLOCK[2] / ROWS) {
                let mut right = Sequence::<cmma::Matrix<f16>>::new();
                #[unroll]
                for j in 0..column_tiles {
                    let start = start(own_column + j * ROWS, step * ROWS, b_tile);
                    let layout = comptime!(layout_of(plan.transposed[1]));
                    right.push(factor(&b_block, start, cmma::MatrixIdent::B, layout, comptime!(b_tile.stride())));
                }
                #[unroll]
                for i in 0..row_tiles {
                    let start = start(own_row + i * ROWS, step * ROWS, a_tile);
                    let layout = comptime!(layout_of(plan.transposed[0]));
                    let left = factor(&a_block, start, cmma::MatrixIdent::A, layout, comptime!(a_tile.stride()));
                    #[unroll]
                    for j in 0..column_tiles {
                        let sum = sums.index(i * column_tiles + j);
                        cmma::execute(&left, right.index(j), sum, sum);
                    }
                }
            }
        }
        let out_start = CUBE_POS_Z as usize * m * n;
        write(&sums, out, (row + own_row, column + own_column), (m, n), out_start, group);
    }

    /// How a matrix of 16 x 16 lies in the block of a factor.
    fn layout_of(is_transposed: bool) -> cmma::MatrixLayout {
        if is_transposed { cmma::MatrixLayout::ColMajor } else { cmma::MatrixLayout::RowMajor }
    }

    /// Writes the sums of a subgroup, matrix by matrix through workgroup memory.
    #[cube]
    fn write<O: Float>(
        sums: &Sequence<cmma::Matrix<f32>>,
        out: &mut [O],
        place: (usize, usize),
        end: (usize, usize),
        out_start: usize,
        group: usize,
    ) {
        let stride = comptime!(ROWS + 4);
        let mut scratch = Shared::<[f32]>::new_slice(comptime!(UNITS / GROUP * ROWS * stride));
        let start = group * comptime!(ROWS * stride);
        let own = &mut scratch[start..start + comptime!(ROWS * stride)];
        let (row_tiles, column_tiles) = comptime!((SIDE[0] / ROWS, SIDE[1] / ROWS));
        #[unroll]
        for i in 0..row_tiles {
            #[unroll]
            for j in 0..column_tiles {
                sync_plane();
                let sum = sums.index(i * column_tiles + j);
                cmma::store(own, sum, comptime!(stride as u32), cmma::MatrixLayout::RowMajor);
                sync_plane();
                #[unroll]
                for part in 0..comptime!(ROWS * ROWS / GROUP) {
                    let (r, c) = (part * comptime!(GROUP / ROWS) + lane() / ROWS, lane() % ROWS);
                    let (row, column) = (place.0 + i * ROWS + r, place.1 + j * ROWS + c);
                    if row < end.0 && column < end.1 {
                        out[out_start + row * end.1 + column] = O::cast_from(own[r * stride + c]);
                    }
                }
            }
        }
    }

    impl LinearF16Ops for CubeBackend {
        fn linear_f16(x_tk: FloatTensor<Self>, weight_nk: FloatTensor<Self>) -> FloatTensor<Self> {
            forward::<Self>(x_tk, weight_nk)
        }

        fn product_f16(
            a: FloatTensor<Self>,
            b: FloatTensor<Self>,
            a_transposed: bool,
            b_transposed: bool,
            dtype: FloatDType,
        ) -> FloatTensor<Self> {
            let client = a.client.clone();
            let (a, b) = (gpu::contiguous(a), gpu::contiguous(b));
            let ([a0, a1], [b0, b1]): ([usize; 2], [usize; 2]) = (a.shape().dims(), b.shape().dims());
            let is_even = a1.is_multiple_of(2) && b1.is_multiple_of(2);
            if !is_even || !has_tensor_cores(&client) {
                return Self::float_cast(composed::<Self>(a, b, [a_transposed, b_transposed]), dtype);
            }
            let [m, k] = if a_transposed { [a1, a0] } else { [a0, a1] };
            let n = if b_transposed { b0 } else { b1 };
            let words = [a1, b1].map(|columns| if columns.is_multiple_of(8) { 4 } else { 1 });
            let plan = Plan { transposed: [a_transposed, b_transposed], words };
            let blocks = [m.div_ceil(BLOCK[0]), n.div_ceil(BLOCK[1])];
            let turns = k.div_ceil(BLOCK[2]);
            let parts = (WORKGROUPS / (blocks[0] * blocks[1])).min(turns / TURNS).max(1);
            let depth = turns.div_ceil(parts) * BLOCK[2];
            let parts = k.div_ceil(depth);
            let out_dtype = if parts == 1 { dtype.into() } else { DType::F32 };
            let out = gpu::empty(&a, [parts, m * n], out_dtype);
            let count = CubeCount::Static(blocks[0] as u32, blocks[1] as u32, parts as u32);
            let (a, b, to) = (a.into_buffer_arg(), b.into_buffer_arg(), out.clone().into_buffer_arg());
            // SAFETY: factors are read and sums are written inside of their matrices.
            unsafe {
                product::launch_unchecked(
                    &client,
                    count,
                    CubeDim::new_1d(UNITS as u32),
                    words[0],
                    words[1],
                    a,
                    b,
                    to,
                    m,
                    n,
                    k,
                    depth,
                    plan,
                    dtype_to_elem_type(out_dtype),
                );
            }
            let out = if parts == 1 { out } else { Self::float_cast(reduce::sum_rows(out), dtype) };
            Self::float_reshape(out, [m, n].into())
        }
    }
}
