//! Softmax cross-entropy of each row with its label, fused: one pass over the logits forward, one in place backward.

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind, unary},
};
use burn::backend::{
    Autodiff, Backend, Dispatch, TensorMetadata, backend_extension,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{DType, Int, Tensor};

/// `[2, m]` in f32 of logits `[m, v]` of any float type and labels `[m]`: `-log softmax(logits[m])[labels[m]]`, differentiable
/// in the logits, and below it 1 where no logit is above the label's, else 0.
pub fn cross_entropy(logits_mv: Tensor<2>, labels_m: Tensor<1, Int>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::cross_entropy(logits_mv.into_dispatch(), labels_m.into_dispatch()))
}

/// [`cross_entropy`] composed of tensor operations.
pub fn cross_entropy_reference(logits_mv: Tensor<2>, labels_m: Tensor<1, Int>) -> Tensor<2> {
    let logits_mv = logits_mv.cast(DType::F32);
    let labels_m1 = labels_m.unsqueeze_dim::<2>(1);
    let of_label = logits_mv.clone().gather(1, labels_m1.clone());
    let is_largest = of_label.greater_equal(logits_mv.clone().max_dim(1)).float();
    let losses_m1 = burn::tensor::activation::log_softmax(logits_mv, 1).gather(1, labels_m1).neg();
    Tensor::cat(vec![losses_m1.transpose(), is_largest.transpose().detach()], 0)
}

/// The backend's side of [`cross_entropy`].
#[backend_extension(Autodiff, Cube: cfg(feature = "wgpu"), Flex: cfg(feature = "flex"))]
pub trait CrossEntropyOps: Backend {
    /// See [`cross_entropy`].
    fn cross_entropy(logits_mv: FloatTensor<Self>, labels_m: IntTensor<Self>) -> FloatTensor<Self>;
    /// What [`cross_entropy`] returns, and what the backward pass needs: rows in the type and place of the logits, `[m, v]`, and
    /// a number for each, `[m]`. On GPUs, where memory is dear, the logits and `log sum exp`; on CPUs, where exponentials are,
    /// these and their sum.
    fn cross_entropy_forward(
        logits_mv: FloatTensor<Self>,
        labels_m: IntTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
    /// The gradient of the logits, in the place of the rows, given that of the output, `[2, m]`.
    fn cross_entropy_backward(
        rows_mv: FloatTensor<Self>,
        numbers_m: FloatTensor<Self>,
        labels_m: IntTensor<Self>,
        grad_2m: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

impl<B: CrossEntropyOps, C: CheckpointStrategy> CrossEntropyOps for Autodiff<B, C> {
    fn cross_entropy(logits_mv: FloatTensor<Self>, labels_m: IntTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct CrossEntropy;
        impl<B: CrossEntropyOps> Backward<B, 1> for CrossEntropy {
            type State = (FloatTensor<B>, FloatTensor<B>, IntTensor<B>);
            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let (rows_mv, numbers_m, labels_m) = ops.state;
                unary::<B, _>(ops.parents, ops.node, grads, |grad_2m| {
                    B::cross_entropy_backward(rows_mv, numbers_m, labels_m, grad_2m)
                });
            }
        }
        let (logits_mv, node) = logits_mv.into_parts();
        match CrossEntropy.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (losses_2m, rows_mv, numbers_m) = B::cross_entropy_forward(logits_mv, labels_m.clone());
                prep.finish((rows_mv, numbers_m, labels_m), losses_2m)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::cross_entropy(logits_mv, labels_m)),
        }
    }

    fn cross_entropy_forward(
        _: FloatTensor<Self>,
        _: IntTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        unreachable!("only the inner backend splits cross-entropy into passes")
    }

    fn cross_entropy_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: IntTensor<Self>,
        _: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        unreachable!("cross-entropy has no second derivative here")
    }
}

#[cfg(feature = "flex")]
mod twin {
    use super::*;
    use crate::cpu;
    use burn::backend::Flex;
    use rayon::prelude::*;

    /// Loss of one row, whether its label is first, and the sum of `exp(x - maximum)`, which the row becomes.
    #[inline(always)]
    fn row_forward(row: &mut [f32], label: usize) -> (f32, f32, f32) {
        let maximum = cpu::lanes(row, f32::NEG_INFINITY, f32::max);
        let target = row[label] - maximum;
        row.iter_mut().for_each(|x| *x = cpu::exp(*x - maximum));
        let sum = cpu::lanes(row, 0.0, |a, b| a + b);
        (sum.ln() - target, if target >= 0.0 { 1.0 } else { 0.0 }, sum)
    }

    impl CrossEntropyOps for Flex {
        fn cross_entropy(logits_mv: FloatTensor<Self>, labels_m: IntTensor<Self>) -> FloatTensor<Self> {
            Self::cross_entropy_forward(logits_mv, labels_m).0
        }

        fn cross_entropy_forward(
            logits_mv: FloatTensor<Self>,
            labels_m: IntTensor<Self>,
        ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
            let (dtype, labels) = (logits_mv.dtype(), cpu::int_values(&labels_m));
            let mut rows_mv = cpu::contiguous(logits_mv);
            let [m, v] = rows_mv.shape().dims();
            let (mut losses_2m, mut sums_m) = (vec![0.0; 2 * m], vec![0.0; m]);
            let (losses, firsts) = losses_2m.split_at_mut(m);
            let rows = cpu::values_mut(&mut rows_mv).par_chunks_mut(v).zip(&labels);
            rows.zip(losses).zip(firsts).zip(&mut sums_m).for_each(|((((row, label), loss), first), sum)| {
                (*loss, *first, *sum) = cpu::vectorised!(row_forward(row, *label as usize));
            });
            (cpu::tensor(losses_2m, [2, m]), cpu::restore(rows_mv, dtype), cpu::tensor(sums_m, [m]))
        }

        fn cross_entropy_backward(
            rows_mv: FloatTensor<Self>,
            numbers_m: FloatTensor<Self>,
            labels_m: IntTensor<Self>,
            grad_2m: FloatTensor<Self>,
        ) -> FloatTensor<Self> {
            let (dtype, labels) = (rows_mv.dtype(), cpu::int_values(&labels_m));
            let [mut rows_mv, sums_m, grad_2m] = [rows_mv, numbers_m, grad_2m].map(cpu::contiguous);
            let [_, v] = rows_mv.shape().dims();
            let rows = cpu::values_mut(&mut rows_mv).par_chunks_mut(v).zip(&labels);
            let numbers = cpu::values(&sums_m).par_iter().zip(cpu::values(&grad_2m));
            rows.zip(numbers).for_each(|((row, label), (sum, factor))| {
                let scale = factor / sum;
                cpu::vectorised!(row.iter_mut().for_each(|x| *x *= scale));
                row[*label as usize] -= factor;
            });
            cpu::restore(rows_mv, dtype)
        }
    }
}

#[cfg(feature = "wgpu")]
mod kernel {
    use super::*;
    use crate::gpu;
    use crate::reduce::{ROOM, UNITS, sum_over_units};
    use burn::backend::cubecl::dtype_to_elem_type;
    use burn_cubecl::CubeBackend;
    use cubecl::prelude::*;

    /// Vectors that a unit reads before it computes, so that the memory has enough to do.
    const VECTORS_AT_ONCE: usize = 8;
    /// Vectors of a row that a workgroup takes backward: few enough to share a row out, enough to be worth a workgroup.
    const VECTORS_PER_CUBE: usize = 2 * VECTORS_AT_ONCE * UNITS;
    /// Below every logit, and finite: the difference of two is a number.
    const LOWEST: f32 = -1.0e30;

    /// The values of every 64th vector from `first` on, [`LOWEST`] from `end` on.
    #[cube]
    fn load<F: Float, N: Size>(logits_mv: &[Vector<F, N>], first: usize, end: usize) -> Array<f32> {
        let size = N::value();
        let mut values = Array::<f32>::new(comptime!(VECTORS_AT_ONCE * size));
        #[unroll]
        for i in 0..VECTORS_AT_ONCE {
            let mut vector = Vector::<f32, N>::new(LOWEST);
            if first + i * UNITS < end {
                vector = Vector::cast_from(logits_mv[first + i * UNITS]);
            }
            #[unroll]
            for k in 0..size {
                values[i * size + k] = vector.extract(k);
            }
        }
        values
    }

    /// One workgroup a row: the units reduce their shares of the row to maximum and sum.
    #[cube(launch_unchecked)]
    fn forward<F: Float, N: Size>(
        logits_mv: &[Vector<F, N>],
        labels_m: &[i32],
        losses_2m: &mut [f32],
        log_sum_m: &mut [f32],
        m: usize,
        v: usize,
        #[define(F)] _dtype: ElemType,
    ) {
        let row = CUBE_POS;
        if row >= m {
            terminate!();
        }
        let size = N::value();
        let unit = UNIT_POS as usize;
        let start = row * (v / size);
        let end = start + v / size;
        let mut maximum = f32::new(LOWEST);
        let mut sums = Array::<f32>::new(1usize);
        sums[0] = 0.0f32;
        for first in range_stepped(start + unit, end, comptime!(VECTORS_AT_ONCE * UNITS)) {
            let values = load::<F, N>(logits_mv, first, end);
            let mut highest = maximum;
            #[unroll]
            for i in 0..comptime!(VECTORS_AT_ONCE * size) {
                highest = max(highest, values[i]);
            }
            sums[0] *= (maximum - highest).exp();
            #[unroll]
            for i in 0..comptime!(VECTORS_AT_ONCE * size) {
                sums[0] += (values[i] - highest).exp();
            }
            maximum = highest;
        }
        let mut maxima = Shared::<[f32]>::new_slice(UNITS);
        let mut shared = Shared::<[f32]>::new_slice(ROOM);
        maxima[unit] = maximum;
        sync_cube();
        let mut highest = maximum;
        for other in 0..UNITS {
            highest = max(highest, maxima[other]);
        }
        sums[0] *= (maximum - highest).exp();
        sum_over_units(&mut sums, &mut shared, 1usize);
        if unit == 0 {
            let label = min(labels_m[row] as usize, v - 1);
            let target = f32::cast_from(logits_mv[start + label / size].extract_dynamic(label % size));
            let log_sum = sums[0].ln();
            losses_2m[row] = log_sum - (target - highest);
            losses_2m[m + row] = if target >= highest { 1.0f32 } else { 0.0f32 };
            log_sum_m[row] = highest + log_sum;
        }
    }

    /// One workgroup for some columns of a row.
    #[cube(launch_unchecked)]
    fn backward<F: Float, N: Size>(
        logits_mv: &mut [Vector<F, N>],
        labels_m: &[i32],
        log_sum_m: &[f32],
        grad_2m: &[f32],
        m: usize,
        v: usize,
        #[define(F)] _dtype: ElemType,
    ) {
        let size = N::value();
        let cubes_per_row = (v / size).div_ceil(VECTORS_PER_CUBE);
        let row = CUBE_POS / cubes_per_row;
        if row >= m {
            terminate!();
        }
        let start = row * (v / size);
        let cube_start = start + CUBE_POS % cubes_per_row * VECTORS_PER_CUBE;
        let end = min(cube_start + VECTORS_PER_CUBE, start + v / size);
        let label = labels_m[row] as usize;
        let log_sum = log_sum_m[row];
        let factor = grad_2m[row];
        for first in range_stepped(cube_start + UNIT_POS as usize, end, comptime!(VECTORS_AT_ONCE * UNITS)) {
            let values = load::<F, N>(&*logits_mv, first, end);
            #[unroll]
            for i in 0..VECTORS_AT_ONCE {
                let place = first + i * UNITS;
                let mut vector = Vector::<f32, N>::new(0.0f32);
                #[unroll]
                for k in 0..size {
                    let is_label = (place - start) * size + k == label;
                    let p = (values[i * size + k] - log_sum).exp() - if is_label { 1.0f32 } else { 0.0f32 };
                    vector.insert(k, p * factor);
                }
                if place < end {
                    logits_mv[place] = Vector::cast_from(vector);
                }
            }
        }
    }

    impl CrossEntropyOps for CubeBackend {
        fn cross_entropy(logits_mv: FloatTensor<Self>, labels_m: IntTensor<Self>) -> FloatTensor<Self> {
            Self::cross_entropy_forward(logits_mv, labels_m).0
        }

        fn cross_entropy_forward(
            logits_mv: FloatTensor<Self>,
            labels_m: IntTensor<Self>,
        ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
            let (logits_mv, labels_m) = (gpu::contiguous(logits_mv), gpu::contiguous(labels_m));
            let [m, v] = logits_mv.shape().dims();
            let losses_2m = gpu::empty(&logits_mv, [2, m], DType::F32);
            let log_sum_m = gpu::empty(&logits_mv, [m], DType::F32);
            let (count, dim) = gpu::one_cube_per(m);
            let dtype = dtype_to_elem_type(logits_mv.dtype);
            // SAFETY: rows end at `m`, vectors at the row's end; likewise below.
            unsafe {
                forward::launch_unchecked(
                    &logits_mv.client.clone(),
                    count,
                    dim,
                    gpu::vector_size(v),
                    logits_mv.clone().into_buffer_arg(),
                    labels_m.into_buffer_arg(),
                    losses_2m.clone().into_buffer_arg(),
                    log_sum_m.clone().into_buffer_arg(),
                    m,
                    v,
                    dtype,
                );
            }
            (losses_2m, logits_mv, log_sum_m)
        }

        fn cross_entropy_backward(
            rows_mv: FloatTensor<Self>,
            numbers_m: FloatTensor<Self>,
            labels_m: IntTensor<Self>,
            grad_2m: FloatTensor<Self>,
        ) -> FloatTensor<Self> {
            let logits_mv = gpu::exclusive(rows_mv);
            let [log_sum_m, labels_m, grad_2m] = [numbers_m, labels_m, grad_2m].map(gpu::contiguous);
            let [m, v] = logits_mv.shape().dims();
            let size = gpu::vector_size(v);
            let (count, dim) = gpu::one_cube_per(m * (v / size).div_ceil(VECTORS_PER_CUBE));
            unsafe {
                backward::launch_unchecked(
                    &logits_mv.client.clone(),
                    count,
                    dim,
                    size,
                    logits_mv.clone().into_buffer_arg(),
                    labels_m.into_buffer_arg(),
                    log_sum_m.into_buffer_arg(),
                    grad_2m.into_buffer_arg(),
                    m,
                    v,
                    dtype_to_elem_type(logits_mv.dtype),
                );
            }
            logits_mv
        }
    }
}
