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
use burn::tensor::{Int, Tensor};

/// `[2, m]` of logits `[m, v]` and labels `[m]`: `-log softmax(logits[m])[labels[m]]`, differentiable in the logits, and below
/// it 1 where no logit is above the label's, else 0.
pub fn cross_entropy(logits_mv: Tensor<2>, labels_m: Tensor<1, Int>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::cross_entropy(logits_mv.into_dispatch(), labels_m.into_dispatch()))
}

/// [`cross_entropy`] composed of tensor operations.
pub fn cross_entropy_reference(logits_mv: Tensor<2>, labels_m: Tensor<1, Int>) -> Tensor<2> {
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
    /// What [`cross_entropy`] returns, and the gradient of the sum of the losses, `[m, v]`.
    fn cross_entropy_with_gradient(
        logits_mv: FloatTensor<Self>,
        labels_m: IntTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
    /// `rows` `[m, v]`, each multiplied by its factor in the first row of `factors`, `[2, m]`.
    fn scale_rows(rows_mv: FloatTensor<Self>, factors_2m: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl<B: CrossEntropyOps, C: CheckpointStrategy> CrossEntropyOps for Autodiff<B, C> {
    fn cross_entropy(logits_mv: FloatTensor<Self>, labels_m: IntTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct CrossEntropy;
        impl<B: CrossEntropyOps> Backward<B, 1> for CrossEntropy {
            type State = FloatTensor<B>;
            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                unary::<B, _>(ops.parents, ops.node, grads, |grad| B::scale_rows(ops.state, grad));
            }
        }
        let (logits_mv, node) = logits_mv.into_parts();
        match CrossEntropy.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (losses_2m, gradient_mv) = B::cross_entropy_with_gradient(logits_mv, labels_m);
                prep.finish(gradient_mv, losses_2m)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::cross_entropy(logits_mv, labels_m)),
        }
    }

    fn cross_entropy_with_gradient(_: FloatTensor<Self>, _: IntTensor<Self>) -> (FloatTensor<Self>, FloatTensor<Self>) {
        unreachable!("only the inner backend splits cross-entropy into passes")
    }

    fn scale_rows(_: FloatTensor<Self>, _: FloatTensor<Self>) -> FloatTensor<Self> {
        unreachable!("only the inner backend splits cross-entropy into passes")
    }
}

#[cfg(feature = "flex")]
mod twin {
    use super::*;
    use crate::cpu;
    use burn::backend::Flex;
    use rayon::prelude::*;

    /// Loss of one row and whether its label is first; the row becomes softmax minus the label's indicator.
    #[inline(always)]
    fn row_in_place(row: &mut [f32], label: usize) -> (f32, f32) {
        let maximum = cpu::lanes(row, f32::NEG_INFINITY, f32::max);
        let target = row[label] - maximum;
        row.iter_mut().for_each(|x| *x = cpu::exp(*x - maximum));
        let sum = cpu::lanes(row, 0.0, |a, b| a + b);
        let inverse = 1.0 / sum;
        row.iter_mut().for_each(|x| *x *= inverse);
        row[label] -= 1.0;
        (sum.ln() - target, if target >= 0.0 { 1.0 } else { 0.0 })
    }

    impl CrossEntropyOps for Flex {
        fn cross_entropy(logits_mv: FloatTensor<Self>, labels_m: IntTensor<Self>) -> FloatTensor<Self> {
            Self::cross_entropy_with_gradient(logits_mv, labels_m).0
        }

        fn cross_entropy_with_gradient(
            logits_mv: FloatTensor<Self>,
            labels_m: IntTensor<Self>,
        ) -> (FloatTensor<Self>, FloatTensor<Self>) {
            let labels = cpu::int_values(&labels_m);
            let mut rows_mv = cpu::contiguous(logits_mv);
            let [m, v] = rows_mv.shape().dims();
            let mut losses_2m = vec![0.0; 2 * m];
            let (losses, firsts) = losses_2m.split_at_mut(m);
            cpu::values_mut(&mut rows_mv).par_chunks_mut(v).zip(losses).zip(firsts).zip(&labels).for_each(
                |(((row, loss), first), label)| {
                    (*loss, *first) = cpu::vectorised(|| row_in_place(row, *label as usize));
                },
            );
            (cpu::tensor(losses_2m, [2, m]), rows_mv)
        }

        fn scale_rows(rows_mv: FloatTensor<Self>, factors_2m: FloatTensor<Self>) -> FloatTensor<Self> {
            let mut rows_mv = cpu::contiguous(rows_mv);
            let factors_2m = cpu::contiguous(factors_2m);
            let [_, v] = rows_mv.shape().dims();
            cpu::values_mut(&mut rows_mv)
                .par_chunks_mut(v)
                .zip(cpu::values(&factors_2m))
                .for_each(|(row, factor)| cpu::vectorised(|| row.iter_mut().for_each(|x| *x *= factor)));
            rows_mv
        }
    }
}

#[cfg(feature = "wgpu")]
mod kernel {
    use super::*;
    use crate::gpu;
    use burn::backend::ops::FloatTensorOps;
    use burn_cubecl::CubeBackend;
    use cubecl::prelude::*;

    /// One workgroup a row: the units reduce their shares of the row to its maximum and sum, then write the gradient.
    #[cube(launch)]
    fn rows(logits_mv: &[f32], labels_m: &[i32], losses_2m: &mut [f32], gradient_mv: &mut [f32], m: usize, v: usize) {
        let row = CUBE_POS;
        if row >= m {
            terminate!();
        }
        let start = row * v;
        let units = CUBE_DIM as usize;
        let unit = UNIT_POS as usize;
        let mut shared = Shared::new_slice(comptime!(gpu::UNITS_PER_CUBE as usize));

        let mut maximum = f32::new(-1.0e30);
        for j in range_stepped(unit, v, units) {
            maximum = max(maximum, logits_mv[start + j]);
        }
        shared[unit] = maximum;
        sync_cube();
        for other in 0..units {
            maximum = max(maximum, shared[other]);
        }
        sync_cube();

        let mut part = 0.0f32;
        for j in range_stepped(unit, v, units) {
            part += (logits_mv[start + j] - maximum).exp();
        }
        shared[unit] = part;
        sync_cube();
        let mut sum = 0.0f32;
        for other in 0..units {
            sum += shared[other];
        }

        let label = labels_m[row] as usize;
        for j in range_stepped(unit, v, units) {
            let p = (logits_mv[start + j] - maximum).exp() / sum;
            gradient_mv[start + j] = p - if j == label { 1.0f32 } else { 0.0f32 };
        }
        if unit == 0 {
            let target = logits_mv[start + label];
            losses_2m[row] = maximum + sum.ln() - target;
            losses_2m[m + row] = if target >= maximum { 1.0f32 } else { 0.0f32 };
        }
    }

    impl CrossEntropyOps for CubeBackend {
        fn cross_entropy(logits_mv: FloatTensor<Self>, labels_m: IntTensor<Self>) -> FloatTensor<Self> {
            Self::cross_entropy_with_gradient(logits_mv, labels_m).0
        }

        fn cross_entropy_with_gradient(
            logits_mv: FloatTensor<Self>,
            labels_m: IntTensor<Self>,
        ) -> (FloatTensor<Self>, FloatTensor<Self>) {
            let (logits_mv, labels_m) = (gpu::contiguous(logits_mv), gpu::contiguous(labels_m));
            let [m, v] = logits_mv.shape().dims();
            let losses_2m = gpu::empty(&logits_mv, [2, m], logits_mv.dtype);
            let gradient_mv = gpu::empty(&logits_mv, [m, v], logits_mv.dtype);
            let client = logits_mv.client.clone();
            let (count, dim) = gpu::one_cube_per(m);
            rows::launch(
                &client,
                count,
                dim,
                logits_mv.into_buffer_arg(),
                labels_m.into_buffer_arg(),
                losses_2m.clone().into_buffer_arg(),
                gradient_mv.clone().into_buffer_arg(),
                m,
                v,
            );
            (losses_2m, gradient_mv)
        }

        fn scale_rows(rows_mv: FloatTensor<Self>, factors_2m: FloatTensor<Self>) -> FloatTensor<Self> {
            let [_, m] = factors_2m.shape().dims();
            let factors_1m = Self::float_slice(factors_2m, &[(0..1).into(), (0..m).into()]);
            Self::float_mul(rows_mv, Self::float_reshape(factors_1m, [m, 1].into()))
        }
    }
}
