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
    use crate::gpu;
    use crate::tile::{GROUP, ROWS, factor, has_tensor_cores, lane};
    use burn::backend::cubecl::dtype_to_elem_type;
    use burn::backend::ops::FloatTensorOps;
    use burn_cubecl::CubeBackend;
    use cubecl::cmma;
    use cubecl::prelude::*;
    use half::f16;

    /// How a product is cut; part of the compiled kernel.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    struct Plan {
        /// Rows and columns of the output that a workgroup computes, and what it adds in one turn.
        block: [usize; 3],
        /// Rows and columns of a subgroup.
        side: [usize; 2],
        transposed: [bool; 2],
        /// Units of a workgroup.
        units: usize,
        /// Words of two values that are read of each factor at a time.
        vectors: [usize; 2],
        /// Whether the blocks divide the matrices.
        is_aligned: bool,
    }

    impl Plan {
        fn tiles(&self) -> [Tile; 2] {
            let tile = |index: usize, is_deep| Tile {
                size: [self.block[index], self.block[2]],
                is_deep,
                vector: self.vectors[index],
            };
            [tile(0, !self.transposed[0]), tile(1, self.transposed[1])]
        }
    }

    /// Whether workgroups of `units` multiply f16 blocks of any multiple of 32 and read them from tensors
    /// (VK_NV_cooperative_matrix2).
    fn has_workgroup_matrices(client: &Client, units: usize) -> bool {
        let [f16, f32] = [DType::F16, DType::F32].map(dtype_to_elem_type);
        let matmul = &client.features().matmul;
        if std::env::var("ANAUME_FORCE").is_ok() {
            return true;
        }
        matmul.cmma_tensor_addressing
            && matmul.cube_mma.iter().any(|config| {
                [config.a_type, config.b_type, config.cd_type] == [f16, f16, f32]
                    && config.units_per_block == Some(units as u32)
                    && [config.m_granularity, config.n_granularity, config.k_granularity]
                        .iter()
                        .all(|size| 32 % size == 0)
            })
    }

    /// Matrices of the whole workgroup: the driver stages the factors.
    #[cube(launch_unchecked)]
    fn by_workgroup<O: Float>(
        a: &[f16],
        b: &[f16],
        out: &mut [O],
        m: u32,
        n: u32,
        k: u32,
        #[comptime] plan: Plan,
        #[define(O)] _dtype: ElemType,
    ) {
        let [rows, columns, depth] = comptime!(plan.block.map(|size| size as u32));
        // Tells the compiler that rows begin at multiples of 16 bytes.
        let mask = comptime!(if plan.is_aligned { u32::MAX - 7 } else { u32::MAX });
        let (m, n, k) = (m & mask, n & mask, k & mask);
        let clamp = comptime!(match plan.is_aligned {
            true => TensorClampMode::Undefined,
            false => TensorClampMode::Constant(0),
        });
        let a_shape = if comptime!(plan.transposed[0]) { seq![k, m] } else { seq![m, k] };
        let b_shape = if comptime!(plan.transposed[1]) { seq![n, k] } else { seq![k, n] };
        let a = TensorView::new(a, a_shape).with_clamp_mode(clamp).finish();
        let b = TensorView::new(b, b_shape).with_clamp_mode(clamp).finish();
        let out = TensorView::new(&*out, seq![m, n]).with_clamp_mode(clamp).finish();
        let (row, column) = (CUBE_POS_X * rows, CUBE_POS_Y * columns);
        let mut a_block = unsafe {
            cmma::Matrix::<f16, cmma::Cube>::uninitialized(
                cmma::MatrixIdent::A,
                plan.block[0],
                plan.block[1],
                plan.block[2],
                cmma::MatrixLayout::Undefined,
            )
        };
        let mut b_block = unsafe {
            cmma::Matrix::<f16, cmma::Cube>::uninitialized(
                cmma::MatrixIdent::B,
                plan.block[0],
                plan.block[1],
                plan.block[2],
                cmma::MatrixLayout::Undefined,
            )
        };
        let sums = cmma::Matrix::<f32, cmma::Cube>::from_value(
            cmma::MatrixIdent::Accumulator,
            plan.block[0],
            plan.block[1],
            plan.block[2],
            cmma::MatrixLayout::Undefined,
            0.0f32,
        );
        for from in range_stepped(0u32, k, depth) {
            if comptime!(plan.transposed[0]) {
                let part = a.slice(seq![from, row], seq![depth, rows]).permuted(seq![1, 0]);
                cmma::load_tensor(&mut a_block, &part);
            } else {
                let part = a.slice(seq![row, from], seq![rows, depth]);
                cmma::load_tensor(&mut a_block, &part);
            }
            if comptime!(plan.transposed[1]) {
                let part = b.slice(seq![column, from], seq![columns, depth]).permuted(seq![1, 0]);
                cmma::load_tensor(&mut b_block, &part);
            } else {
                let part = b.slice(seq![from, column], seq![depth, columns]);
                cmma::load_tensor(&mut b_block, &part);
            }
            cmma::execute(&a_block, &b_block, &sums, &sums);
        }
        let mut part = out.slice(seq![row, column], seq![rows, columns]);
        let converted = cmma::cast::<f32, O, cmma::Cube>(&sums);
        cmma::store_tensor(&mut part, &converted);
    }

    /// Matrices of subgroups, with the factors staged in workgroup memory while those of the turn before are multiplied. Factors
    /// are read as words of two values, `A` and `B` at a time, and staged as vectors of 16 bytes, which matrices load at once.
    #[cube(launch_unchecked)]
    fn by_subgroup<O: Float, NA: Size, NB: Size>(
        a: &[Vector<u32, NA>],
        b: &[Vector<u32, NB>],
        out: &mut [O],
        m: usize,
        n: usize,
        k: usize,
        #[comptime] plan: Plan,
        #[define(O)] _dtype: ElemType,
    ) {
        let [a_tile, b_tile] = comptime!(plan.tiles());
        let mut a_block = Shared::<[Vector<u32, Const<4>>]>::new_slice(comptime!(a_tile.words() / 4));
        let mut b_block = Shared::<[Vector<u32, Const<4>>]>::new_slice(comptime!(b_tile.words() / 4));
        let scratch_stride = comptime!(ROWS + 4);
        let group_scratch = comptime!(ROWS * scratch_stride);
        let mut scratch = Shared::<[f32]>::new_slice(comptime!(plan.units / GROUP * group_scratch));
        let (row, column) = (CUBE_POS_X as usize * plan.block[0], CUBE_POS_Y as usize * plan.block[1]);
        let group = UNIT_POS as usize / GROUP;
        let groups_in_row = comptime!(plan.block[1] / plan.side[1]);
        let own_row = group / groups_in_row * plan.side[0];
        let own_column = group % groups_in_row * plan.side[1];
        let (row_tiles, column_tiles) = comptime!((plan.side[0] / ROWS, plan.side[1] / ROWS));
        let mut sums = Sequence::<cmma::Matrix<f32>>::new();
        #[unroll]
        for _ in 0..comptime!(row_tiles * column_tiles) {
            sums.push(cmma::Matrix::<f32>::from_value(
                cmma::MatrixIdent::Accumulator,
                16usize,
                16usize,
                16usize,
                cmma::MatrixLayout::Undefined,
                0.0f32,
            ));
        }
        let mut a_next = Array::<Vector<u32, NA>>::new(comptime!(a_tile.vectors_per_unit(plan.units)));
        let mut b_next = Array::<Vector<u32, NB>>::new(comptime!(b_tile.vectors_per_unit(plan.units)));
        fetch::<NA>(a, row, 0usize, m, k, &mut a_next, a_tile, plan.units);
        fetch::<NB>(b, column, 0usize, n, k, &mut b_next, b_tile, plan.units);
        for from in range_stepped(0usize, k, plan.block[2]) {
            sync_cube();
            put::<NA>(&a_next, a_block.with_vector_size_mut::<NA>(), a_tile, plan.units);
            put::<NB>(&b_next, b_block.with_vector_size_mut::<NB>(), b_tile, plan.units);
            sync_cube();
            let next = from + plan.block[2];
            if next < k {
                fetch::<NA>(a, row, next, m, k, &mut a_next, a_tile, plan.units);
                fetch::<NB>(b, column, next, n, k, &mut b_next, b_tile, plan.units);
            }
            #[unroll]
            for step in 0..comptime!(plan.block[2] / ROWS) {
                let mut b_tiles = Sequence::<cmma::Matrix<f16>>::new();
                #[unroll]
                for j in 0..column_tiles {
                    let start = start(own_column + j * ROWS, step * ROWS, b_tile);
                    let layout = comptime!(b_tile.layout(cmma::MatrixLayout::ColMajor, cmma::MatrixLayout::RowMajor));
                    b_tiles.push(factor(&b_block, start, cmma::MatrixIdent::B, layout, comptime!(b_tile.stride())));
                }
                #[unroll]
                for i in 0..row_tiles {
                    let start = start(own_row + i * ROWS, step * ROWS, a_tile);
                    let layout = comptime!(a_tile.layout(cmma::MatrixLayout::RowMajor, cmma::MatrixLayout::ColMajor));
                    let left = factor(&a_block, start, cmma::MatrixIdent::A, layout, comptime!(a_tile.stride()));
                    #[unroll]
                    for j in 0..column_tiles {
                        let sum = sums.index(i * column_tiles + j);
                        cmma::execute(&left, b_tiles.index(j), sum, sum);
                    }
                }
            }
        }
        let start = group * group_scratch;
        let own = &mut scratch[start..start + group_scratch];
        #[unroll]
        for i in 0..row_tiles {
            #[unroll]
            for j in 0..column_tiles {
                sync_plane();
                let sum = sums.index(i * column_tiles + j);
                cmma::store(own, sum, comptime!(scratch_stride as u32), cmma::MatrixLayout::RowMajor);
                sync_plane();
                #[unroll]
                for part in 0..comptime!(ROWS * ROWS / GROUP) {
                    let r = part * comptime!(GROUP / ROWS) + lane() / ROWS;
                    let c = lane() % ROWS;
                    let (to_row, to_column) = (row + own_row + i * ROWS + r, column + own_column + j * ROWS + c);
                    if to_row < m && to_column < n {
                        out[to_row * n + to_column] = O::cast_from(own[r * scratch_stride + c]);
                    }
                }
            }
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
        vector: usize,
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

        fn vectors_per_unit(&self, units: usize) -> usize {
            self.size[0] * self.size[1] / (2 * self.vector * units)
        }

        fn words(&self) -> usize {
            self.shape()[0] * self.stride() / 2
        }

        fn layout<L>(&self, deep: L, other: L) -> L {
            if self.is_deep { deep } else { other }
        }
    }

    /// Where a matrix of 16 x 16 begins, in vectors of 8 values.
    #[cube]
    fn start(index: usize, #[comptime] depth: usize, #[comptime] tile: Tile) -> usize {
        let stride = comptime!(tile.stride() / 8);
        if comptime!(tile.is_deep) { index * stride + comptime!(depth / 8) } else { depth * stride + index / 8 }
    }

    /// The values of a unit for the next turn, `first` row or column on and `from` depth on; zeros beyond the ends.
    #[cube]
    fn fetch<N: Size>(
        from: &[Vector<u32, N>],
        first: usize,
        depth: usize,
        end: usize,
        depth_end: usize,
        values: &mut Array<Vector<u32, N>>,
        #[comptime] tile: Tile,
        #[comptime] units: usize,
    ) {
        let width = comptime!(2 * tile.vector);
        let per_row = comptime!(tile.shape()[1] / width);
        let (first_row, first_column, row_end, column_end) =
            if comptime!(tile.is_deep) { (first, depth, end, depth_end) } else { (depth, first, depth_end, end) };
        #[unroll]
        for index in 0..comptime!(tile.vectors_per_unit(units)) {
            let place = index * units + UNIT_POS as usize;
            let (row, column) = (first_row + place / per_row, first_column + place % per_row * width);
            let mut value = Vector::<u32, N>::new(0u32);
            if row < row_end && column < column_end {
                value = from[(row * column_end + column) / width];
            }
            values[index] = value;
        }
    }

    /// Writes what [`fetch`] returned to workgroup memory.
    #[cube]
    fn put<N: Size>(
        values: &Array<Vector<u32, N>>,
        to: &mut [Vector<u32, N>],
        #[comptime] tile: Tile,
        #[comptime] units: usize,
    ) {
        let width = comptime!(2 * tile.vector);
        let per_row = comptime!(tile.shape()[1] / width);
        let stride = comptime!(tile.stride() / width);
        #[unroll]
        for index in 0..comptime!(tile.vectors_per_unit(units)) {
            let place = index * units + UNIT_POS as usize;
            to[place / per_row * stride + place % per_row] = values[index];
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
            let is_even = a1 % 2 == 0 && b1 % 2 == 0;
            let by_workgroup = std::env::var("ANAUME_WORKGROUP").is_ok() && has_workgroup_matrices(&client, 256);
            if !is_even || !has_tensor_cores(&client) {
                return Self::float_cast(composed::<Self>(a, b, [a_transposed, b_transposed]), dtype);
            }
            let [m, k] = if a_transposed { [a1, a0] } else { [a0, a1] };
            let n = if b_transposed { b0 } else { b1 };
            let sizes = |name: &str, default: Vec<usize>| {
                std::env::var(name)
                    .ok()
                    .map_or(default, |text| text.split(',').map(|size| size.parse().unwrap()).collect())
            };
            let block = sizes("ANAUME_BLOCK", vec![128, 128, 32]);
            let block = [block[0], block[1], block[2]];
            let side = sizes("ANAUME_SIDE", vec![64, 64]);
            let side = [side[0], side[1]];
            let units = if by_workgroup { 256 } else { block[0] * block[1] / side[0] / side[1] * GROUP };
            let is_aligned = m % block[0] == 0 && n % block[1] == 0 && k % block[2] == 0;
            let vectors = [a1, b1].map(|columns| if columns % 8 == 0 { 4 } else { 1 });
            let plan = Plan { block, side, transposed: [a_transposed, b_transposed], units, vectors, is_aligned };
            let out = gpu::empty(&a, [m, n], dtype.into());
            let count = CubeCount::Static(m.div_ceil(block[0]) as u32, n.div_ceil(block[1]) as u32, 1);
            let dim = CubeDim::new_1d(units as u32);
            let (a, b, to) = (a.into_buffer_arg(), b.into_buffer_arg(), out.clone().into_buffer_arg());
            let dtype = dtype_to_elem_type(dtype.into());
            // SAFETY: both kernels stay inside of the matrices.
            unsafe {
                match by_workgroup {
                    true => {
                        let [m, n, k] = [m, n, k].map(|size| size as u32);
                        by_workgroup::launch_unchecked(&client, count, dim, a, b, to, m, n, k, plan, dtype);
                    }
                    false => by_subgroup::launch_unchecked(
                        &client, count, dim, vectors[0], vectors[1], a, b, to, m, n, k, plan, dtype,
                    ),
                }
            }
            out
        }
    }
}
