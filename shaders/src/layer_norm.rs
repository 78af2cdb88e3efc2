//! LayerNorm (Ba et al., arXiv 1607.06450) over the last axis without bias, as ModernBERT uses it, fused forward and backward.

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

/// `(x - mean) / sqrt(variance + epsilon) * weight` of each row; `x` is `[t, d]`, `weight` `[d]`. Differentiable in both.
pub fn layer_norm(x_td: Tensor<2>, weight_d: Tensor<1>, epsilon: f64) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::layer_norm_rows(x_td.into_dispatch(), weight_d.into_dispatch(), epsilon as f32))
}

/// [`layer_norm`] composed of tensor operations.
pub fn layer_norm_reference(x_td: Tensor<2>, weight_d: Tensor<1>, epsilon: f64) -> Tensor<2> {
    let centred = x_td.clone() - x_td.mean_dim(1);
    let variance = centred.clone().square().mean_dim(1);
    centred / (variance + epsilon).sqrt() * weight_d.unsqueeze()
}

/// The backend's side of [`layer_norm`].
#[backend_extension(Autodiff, Cube: cfg(feature = "wgpu"), Flex: cfg(feature = "flex"))]
pub trait LayerNormOps: Backend {
    /// See [`layer_norm`].
    fn layer_norm_rows(x_td: FloatTensor<Self>, weight_d: FloatTensor<Self>, epsilon: f32) -> FloatTensor<Self>;
    /// The gradients of `x` `[t, d]` and of `weight` `[d]`, given that of the output `[t, d]`.
    fn layer_norm_rows_backward(
        x_td: FloatTensor<Self>,
        weight_d: FloatTensor<Self>,
        grad_td: FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

impl<B: LayerNormOps, C: CheckpointStrategy> LayerNormOps for Autodiff<B, C> {
    fn layer_norm_rows(x_td: FloatTensor<Self>, weight_d: FloatTensor<Self>, epsilon: f32) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct LayerNorm;
        impl<B: LayerNormOps> Backward<B, 2> for LayerNorm {
            type State = (FloatTensor<B>, FloatTensor<B>, f32);
            fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
                let grad_td = grads.consume::<B>(&ops.node);
                let (x_td, weight_d, epsilon) = ops.state;
                let (dx_td, d_weight_d) = B::layer_norm_rows_backward(x_td, weight_d, grad_td, epsilon);
                let [x, weight] = ops.parents;
                if let Some(node) = x {
                    grads.register::<B>(node.id, dx_td);
                }
                if let Some(node) = weight {
                    grads.register::<B>(node.id, d_weight_d);
                }
            }
        }
        let (x_td, x_node) = x_td.into_parts();
        let (weight_d, weight_node) = weight_d.into_parts();
        match LayerNorm.prepare::<C>([x_node, weight_node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let state = (x_td.clone(), weight_d.clone(), epsilon);
                prep.finish(state, B::layer_norm_rows(x_td, weight_d, epsilon))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::layer_norm_rows(x_td, weight_d, epsilon)),
        }
    }

    fn layer_norm_rows_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        unreachable!("LayerNorm has no second derivative here")
    }
}

#[cfg(feature = "flex")]
mod twin {
    use super::*;
    use crate::cpu;
    use burn::backend::Flex;
    use rayon::prelude::*;

    /// Rows whose weight gradients one task adds up before the final sum; fixed, so that the sum's order never depends on threads.
    const ROWS_PER_SUM: usize = 64;

    /// Mean and 1 / standard deviation of a row. Lanes are summed apart so that the loop vectorises.
    #[inline(always)]
    fn moments(row: &[f32], epsilon: f32) -> (f32, f32) {
        let count = row.len() as f32;
        let mean = sum(row.iter().copied()) / count;
        let variance = sum(row.iter().map(|x| (x - mean) * (x - mean))) / count;
        (mean, 1.0 / (variance + epsilon).sqrt())
    }

    #[inline(always)]
    fn sum(values: impl ExactSizeIterator<Item = f32>) -> f32 {
        let mut lanes = [0.0_f32; 32];
        for (index, value) in values.enumerate() {
            lanes[index % 32] += value;
        }
        lanes.iter().sum()
    }

    /// The gradient of one row, and this row's part of the weight's gradient added to `d_weight`.
    #[inline(always)]
    fn row_backward(x: &[f32], weight: &[f32], grad: &[f32], epsilon: f32, dx: &mut [f32], d_weight: &mut [f32]) {
        let (mean, inverse) = moments(x, epsilon);
        let count = x.len() as f32;
        for j in 0..x.len() {
            d_weight[j] += grad[j] * (x[j] - mean) * inverse;
        }
        let weighted = sum((0..x.len()).map(|j| grad[j] * weight[j])) / count;
        let projected = sum((0..x.len()).map(|j| grad[j] * weight[j] * (x[j] - mean))) * inverse / count;
        for j in 0..x.len() {
            dx[j] = inverse * (grad[j] * weight[j] - weighted - (x[j] - mean) * inverse * projected);
        }
    }

    impl LayerNormOps for Flex {
        fn layer_norm_rows(x_td: FloatTensor<Self>, weight_d: FloatTensor<Self>, epsilon: f32) -> FloatTensor<Self> {
            let dtype = x_td.dtype();
            let (x_td, weight_d) = (cpu::contiguous(x_td), cpu::contiguous(weight_d));
            let [t, d] = x_td.shape().dims();
            let weight = cpu::values(&weight_d);
            let mut y_td = vec![0.0; t * d];
            cpu::map_rows(cpu::values(&x_td), d, &mut y_td, d, |x, y| {
                let (mean, inverse) = moments(x, epsilon);
                for ((y, x), weight) in y.iter_mut().zip(x).zip(weight) {
                    *y = (x - mean) * inverse * weight;
                }
            });
            cpu::restore(cpu::tensor(y_td, [t, d]), dtype)
        }

        fn layer_norm_rows_backward(
            x_td: FloatTensor<Self>,
            weight_d: FloatTensor<Self>,
            grad_td: FloatTensor<Self>,
            epsilon: f32,
        ) -> (FloatTensor<Self>, FloatTensor<Self>) {
            let dtype = x_td.dtype();
            let (x_td, weight_d, grad_td) =
                (cpu::contiguous(x_td), cpu::contiguous(weight_d), cpu::contiguous(grad_td));
            let [t, d] = x_td.shape().dims();
            let (x, weight, grad) = (cpu::values(&x_td), cpu::values(&weight_d), cpu::values(&grad_td));
            let mut dx_td = vec![0.0; t * d];
            let block = ROWS_PER_SUM * d;
            let rows = x.par_chunks(block).zip(grad.par_chunks(block)).zip(dx_td.par_chunks_mut(block));
            let partial_sums: Vec<Vec<f32>> = rows
                .map(|((x, grad), dx)| {
                    let mut d_weight = vec![0.0; d];
                    cpu::vectorised(|| {
                        for ((x, grad), dx) in x.chunks_exact(d).zip(grad.chunks_exact(d)).zip(dx.chunks_exact_mut(d)) {
                            row_backward(x, weight, grad, epsilon, dx, &mut d_weight);
                        }
                    });
                    d_weight
                })
                .collect();
            let mut d_weight_d = vec![0.0; d];
            for partial in &partial_sums {
                d_weight_d.iter_mut().zip(partial).for_each(|(sum, part)| *sum += part);
            }
            (cpu::restore(cpu::tensor(dx_td, [t, d]), dtype), cpu::tensor(d_weight_d, [d]))
        }
    }
}

#[cfg(feature = "wgpu")]
mod kernel {
    use super::*;
    use crate::gpu;
    use burn::backend::{cubecl::dtype_to_elem_type, ops::FloatTensorOps};
    use burn_cubecl::CubeBackend;
    use cubecl::prelude::*;

    /// Mean and 1 / standard deviation of the row that starts at `start`.
    #[cube]
    fn moments<F: Float>(x_td: &[F], start: usize, d: usize, epsilon: f32) -> (f32, f32) {
        let mut mean = 0.0f32;
        for j in start..start + d {
            mean += f32::cast_from(x_td[j]);
        }
        mean /= f32::cast_from(d);
        let mut variance = 0.0f32;
        for j in start..start + d {
            let centred = f32::cast_from(x_td[j]) - mean;
            variance += centred * centred;
        }
        (mean, 1.0 / (variance / f32::cast_from(d) + epsilon).sqrt())
    }

    #[cube(launch)]
    fn forward<F: Float>(
        x_td: &[F],
        weight_d: &[F],
        y_td: &mut [F],
        d: usize,
        epsilon: f32,
        #[define(F)] _dtype: ElemType,
    ) {
        let start = ABSOLUTE_POS * d;
        if start >= y_td.len() {
            terminate!();
        }
        let (mean, inverse) = moments::<F>(x_td, start, d, epsilon);
        for j in 0..d {
            let x = f32::cast_from(x_td[start + j]);
            y_td[start + j] = F::cast_from((x - mean) * inverse * f32::cast_from(weight_d[j]));
        }
    }

    /// `d_weight_td` are the rows' parts of the weight's gradient, summed by the caller.
    #[cube(launch)]
    fn backward<F: Float>(
        x_td: &[F],
        weight_d: &[F],
        grad_td: &[F],
        dx_td: &mut [F],
        d_weight_td: &mut [f32],
        d: usize,
        epsilon: f32,
        #[define(F)] _dtype: ElemType,
    ) {
        let start = ABSOLUTE_POS * d;
        if start >= dx_td.len() {
            terminate!();
        }
        let (mean, inverse) = moments::<F>(x_td, start, d, epsilon);
        let mut weighted = 0.0f32;
        let mut projected = 0.0f32;
        for j in 0..d {
            let normal = (f32::cast_from(x_td[start + j]) - mean) * inverse;
            let grad = f32::cast_from(grad_td[start + j]);
            d_weight_td[start + j] = grad * normal;
            let scaled = grad * f32::cast_from(weight_d[j]);
            weighted += scaled;
            projected += scaled * normal;
        }
        weighted /= f32::cast_from(d);
        projected /= f32::cast_from(d);
        for j in 0..d {
            let normal = (f32::cast_from(x_td[start + j]) - mean) * inverse;
            let scaled = f32::cast_from(grad_td[start + j]) * f32::cast_from(weight_d[j]);
            dx_td[start + j] = F::cast_from(inverse * (scaled - weighted - normal * projected));
        }
    }

    impl LayerNormOps for CubeBackend {
        fn layer_norm_rows(x_td: FloatTensor<Self>, weight_d: FloatTensor<Self>, epsilon: f32) -> FloatTensor<Self> {
            let (x_td, weight_d) = (gpu::contiguous(x_td), gpu::contiguous(weight_d));
            let [t, d] = x_td.shape().dims();
            let y_td = gpu::empty(&x_td, [t, d], x_td.dtype);
            let (count, dim) = gpu::one_unit_per(t);
            let (client, dtype) = (x_td.client.clone(), dtype_to_elem_type(x_td.dtype));
            let arguments = (x_td.into_buffer_arg(), weight_d.into_buffer_arg(), y_td.clone().into_buffer_arg());
            forward::launch(&client, count, dim, arguments.0, arguments.1, arguments.2, d, epsilon, dtype);
            y_td
        }

        fn layer_norm_rows_backward(
            x_td: FloatTensor<Self>,
            weight_d: FloatTensor<Self>,
            grad_td: FloatTensor<Self>,
            epsilon: f32,
        ) -> (FloatTensor<Self>, FloatTensor<Self>) {
            let (x_td, weight_d, grad_td) =
                (gpu::contiguous(x_td), gpu::contiguous(weight_d), gpu::contiguous(grad_td));
            let [t, d] = x_td.shape().dims();
            let dx_td = gpu::empty(&x_td, [t, d], x_td.dtype);
            let d_weight_td = gpu::empty(&x_td, [t, d], burn::tensor::DType::F32);
            let (count, dim) = gpu::one_unit_per(t);
            let (client, dtype) = (x_td.client.clone(), dtype_to_elem_type(x_td.dtype));
            backward::launch(
                &client,
                count,
                dim,
                x_td.into_buffer_arg(),
                weight_d.into_buffer_arg(),
                grad_td.into_buffer_arg(),
                dx_td.clone().into_buffer_arg(),
                d_weight_td.clone().into_buffer_arg(),
                d,
                epsilon,
                dtype,
            );
            let d_weight_1d = Self::float_sum_dim(d_weight_td, 0);
            (dx_td, Self::float_reshape(d_weight_1d, [d].into()))
        }
    }
}
