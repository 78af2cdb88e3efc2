//! Rows of a table by their ids; the gradients of equal ids are added up in parallel, and always in the same order.

use std::sync::Arc;

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind, unary},
};
use burn::backend::{
    Autodiff, Backend, Dispatch, TensorMetadata, backend_extension,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{Int, Tensor};

/// `[t, d]`: the rows of `weight`, `[v, d]`, that `ids` name; the same ids on the device, `[t]`, and on the host, where the
/// backward pass plans its sums. Differentiable in the weight.
pub fn embedding(weight_vd: Tensor<2>, ids_t: Tensor<1, Int>, ids: Arc<[u32]>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::select_rows(weight_vd.into_dispatch(), ids_t.into_dispatch(), ids))
}

/// [`embedding`] composed of tensor operations; its backward pass goes from token to token on GPUs.
pub fn embedding_reference(weight_vd: Tensor<2>, ids_t: Tensor<1, Int>) -> Tensor<2> {
    weight_vd.select(0, ids_t)
}

/// The backend's side of [`embedding`].
#[backend_extension(Autodiff, Cube: cfg(feature = "wgpu"), Flex: cfg(feature = "flex"))]
pub trait EmbeddingOps: Backend {
    /// See [`embedding`].
    fn select_rows(weight_vd: FloatTensor<Self>, ids_t: IntTensor<Self>, ids: Arc<[u32]>) -> FloatTensor<Self>;
    /// The gradient of the weight, `[num_rows, d]`, given that of the output, `[t, d]`.
    fn select_rows_backward(grad_td: FloatTensor<Self>, ids: Arc<[u32]>, num_rows: usize) -> FloatTensor<Self>;
}

impl<B: EmbeddingOps, C: CheckpointStrategy> EmbeddingOps for Autodiff<B, C> {
    fn select_rows(weight_vd: FloatTensor<Self>, ids_t: IntTensor<Self>, ids: Arc<[u32]>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Embedding;
        impl<B: EmbeddingOps> Backward<B, 1> for Embedding {
            type State = (Arc<[u32]>, usize);
            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let (ids, num_rows) = ops.state;
                unary::<B, _>(ops.parents, ops.node, grads, |grad_td| B::select_rows_backward(grad_td, ids, num_rows));
            }
        }
        let (weight_vd, node) = weight_vd.into_parts();
        match Embedding.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let [num_rows, _] = weight_vd.shape().dims();
                prep.finish((ids.clone(), num_rows), B::select_rows(weight_vd, ids_t, ids))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::select_rows(weight_vd, ids_t, ids)),
        }
    }

    fn select_rows_backward(_: FloatTensor<Self>, _: Arc<[u32]>, _: usize) -> FloatTensor<Self> {
        unreachable!("an embedding has no second derivative")
    }
}

/// Tokens that are added up one after the other: an id that occurs often, such as that of masked tokens, has several pieces.
const TOKENS_PER_PIECE: usize = 64;

/// What is added up, in which order: the tokens of a piece, then the pieces of an id.
struct Plan {
    /// Tokens sorted by their ids, and within an id by their places, `[t]`.
    tokens: Vec<i32>,
    /// Where each piece begins among these, and the end, `[pieces + 1]`.
    pieces: Vec<i32>,
    /// The first piece of each id, and the end, `[ids + 1]`.
    first_pieces: Vec<i32>,
    /// The ids that occur, ascending.
    ids: Vec<i32>,
}

impl Plan {
    fn new(ids: &[u32]) -> Self {
        let mut tokens: Vec<i32> = (0..ids.len() as i32).collect();
        tokens.sort_by_key(|token| ids[*token as usize]);
        let mut plan = Self { tokens, pieces: Vec::new(), first_pieces: Vec::new(), ids: Vec::new() };
        let mut start = 0;
        for same in plan.tokens.chunk_by(|a, b| ids[*a as usize] == ids[*b as usize]) {
            plan.ids.push(ids[same[0] as usize] as i32);
            plan.first_pieces.push(plan.pieces.len() as i32);
            plan.pieces.extend((start..start + same.len()).step_by(TOKENS_PER_PIECE).map(|token| token as i32));
            start += same.len();
        }
        plan.first_pieces.push(plan.pieces.len() as i32);
        plan.pieces.push(start as i32);
        plan
    }
}

#[cfg(feature = "flex")]
mod twin {
    use super::*;
    use crate::cpu;
    use burn::backend::{Flex, ops::FloatTensorOps};
    use rayon::prelude::*;

    /// Rows of the table whose gradients a task adds up.
    const ROWS_PER_TASK: usize = 1024;

    fn add(sums: &mut [f32], row: &[f32]) {
        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
    }

    /// The gradients of the rows from `first` on.
    fn add_up(plan: &Plan, grad_td: &[f32], first: usize, rows: &mut [f32], d: usize) {
        let before = |row: usize| plan.ids.partition_point(|id| (*id as usize) < row);
        let mut of_piece = vec![0.0; d];
        for index in before(first)..before(first + rows.len() / d) {
            let start = (plan.ids[index] as usize - first) * d;
            for piece in plan.first_pieces[index] as usize..plan.first_pieces[index + 1] as usize {
                of_piece.fill(0.0);
                for token in &plan.tokens[plan.pieces[piece] as usize..plan.pieces[piece + 1] as usize] {
                    add(&mut of_piece, &grad_td[*token as usize * d..][..d]);
                }
                add(&mut rows[start..start + d], &of_piece);
            }
        }
    }

    impl EmbeddingOps for Flex {
        fn select_rows(weight_vd: FloatTensor<Self>, ids_t: IntTensor<Self>, _: Arc<[u32]>) -> FloatTensor<Self> {
            Self::float_select(weight_vd, 0, ids_t)
        }

        fn select_rows_backward(grad_td: FloatTensor<Self>, ids: Arc<[u32]>, num_rows: usize) -> FloatTensor<Self> {
            let dtype = grad_td.dtype();
            let grad_td = cpu::contiguous(grad_td);
            let [_, d] = grad_td.shape().dims();
            let plan = Plan::new(&ids);
            let mut d_weight_vd = vec![0.0; num_rows * d];
            d_weight_vd.par_chunks_mut(ROWS_PER_TASK * d).enumerate().for_each(|(task, rows)| {
                add_up(&plan, cpu::values(&grad_td), task * ROWS_PER_TASK, rows, d);
            });
            cpu::restore(cpu::tensor(d_weight_vd, [num_rows, d]), dtype)
        }
    }
}

#[cfg(feature = "wgpu")]
mod kernel {
    use super::*;
    use crate::gpu;
    use crate::reduce::UNITS;
    use burn::backend::cubecl::dtype_to_elem_type;
    use burn::backend::ops::{FloatTensorOps, IntTensorOps};
    use burn::tensor::{DType, TensorData};
    use burn_cubecl::{CubeBackend, ops::numeric::zeros_client, tensor::CubeTensor};
    use cubecl::prelude::*;

    /// One workgroup for 64 columns of a sum, a unit a column. At `starts` the plan names the first row of each of `count` sums,
    /// and the end. Rows of tokens are in the order that the plan begins with, and a sum has the place of its piece; rows of
    /// pieces are in theirs, and a sum has the place of its id, which the plan names next.
    #[cube(launch_unchecked)]
    #[expect(clippy::too_many_arguments, reason = "a kernel takes its numbers one by one")]
    fn add_up<F: Float, G: Float>(
        rows: &[F],
        plan: &[i32],
        sums: &mut [G],
        starts: usize,
        count: usize,
        d: usize,
        #[comptime] of_tokens: bool,
        #[define(F, G)] _dtypes: [ElemType; 2],
    ) {
        let cubes_per_sum = d.div_ceil(UNITS);
        let index = CUBE_POS / cubes_per_sum;
        let column = CUBE_POS % cubes_per_sum * UNITS + UNIT_POS as usize;
        if index >= count || column >= d {
            terminate!();
        }
        let mut sum = 0.0f32;
        for place in plan[starts + index] as usize..plan[starts + index + 1] as usize {
            let row = if of_tokens { plan[place] as usize } else { place };
            sum += f32::cast_from(rows[row * d + column]);
        }
        let target = if of_tokens { index } else { plan[starts + count + 1 + index] as usize };
        sums[target * d + column] = G::cast_from(sum);
    }

    /// Launches [`add_up`].
    fn launch(rows: CubeTensor, plan: CubeTensor, sums: CubeTensor, [starts, count]: [usize; 2], of_tokens: bool) {
        let [_, d] = rows.shape().dims();
        let dtypes = [rows.dtype, sums.dtype].map(dtype_to_elem_type);
        let (cubes, dim) = gpu::one_cube_per(count * d.div_ceil(UNITS));
        // SAFETY: sums end at `count`, columns at `d`; the plan names tokens of the batch, and ids below the table's end.
        unsafe {
            add_up::launch_unchecked(
                &rows.client.clone(),
                cubes,
                dim,
                rows.into_buffer_arg(),
                plan.into_buffer_arg(),
                sums.into_buffer_arg(),
                starts,
                count,
                d,
                of_tokens,
                dtypes,
            );
        }
    }

    impl EmbeddingOps for CubeBackend {
        fn select_rows(weight_vd: FloatTensor<Self>, ids_t: IntTensor<Self>, _: Arc<[u32]>) -> FloatTensor<Self> {
            Self::float_select(weight_vd, 0, ids_t)
        }

        fn select_rows_backward(grad_td: FloatTensor<Self>, ids: Arc<[u32]>, num_rows: usize) -> FloatTensor<Self> {
            let grad_td = gpu::contiguous(grad_td);
            let [t, d] = grad_td.shape().dims();
            let (client, device) = (grad_td.client.clone(), grad_td.device.clone());
            let plan = Plan::new(&ids);
            let [num_pieces, num_ids] = [plan.pieces.len() - 1, plan.ids.len()];
            let numbers = [plan.tokens, plan.pieces, plan.first_pieces, plan.ids].concat();
            let length = numbers.len();
            let plan = Self::int_from_data(TensorData::new(numbers, [length]), &device);
            let pieces = gpu::empty(&grad_td, [num_pieces, d], DType::F32);
            let d_weight_vd = zeros_client(client, device, [num_rows, d].into(), grad_td.dtype);
            launch(grad_td, plan.clone(), pieces.clone(), [t, num_pieces], true);
            launch(pieces, plan, d_weight_vd.clone(), [t + num_pieces + 1, num_ids], false);
            d_weight_vd
        }
    }
}
