//! LayerNorm (Ba et al., arXiv 1607.06450) over the last axis without bias, as ModernBERT uses it, fused forward and backward.

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension, tensor::FloatTensor};
use burn::tensor::{DType, Tensor};

/// `(x - mean) / sqrt(variance + epsilon) * weight` of each row; `x` is `[t, d]`, `weight` `[d]` in f32. Differentiable in both.
pub fn layer_norm(x_td: Tensor<2>, weight_d: Tensor<1>, epsilon: f64) -> Tensor<2> {
    let dtype = x_td.dtype();
    layer_norm_as(x_td, weight_d, epsilon, dtype)
}

/// [`layer_norm`] whose output, and so the gradient that comes back, has the float type `dtype`.
pub fn layer_norm_as(x_td: Tensor<2>, weight_d: Tensor<1>, epsilon: f64, dtype: DType) -> Tensor<2> {
    let (x_td, weight_d) = (x_td.into_dispatch(), weight_d.into_dispatch());
    Tensor::from_dispatch(Dispatch::layer_norm_rows(x_td, weight_d, epsilon as f32, dtype))
}

/// [`layer_norm`] composed of tensor operations.
pub fn layer_norm_reference(x_td: Tensor<2>, weight_d: Tensor<1>, epsilon: f64) -> Tensor<2> {
    let centred = x_td.clone() - x_td.mean_dim(1);
    let variance = centred.clone().square().mean_dim(1);
    centred / (variance + epsilon).sqrt() * weight_d.unsqueeze()
}

/// The backend's side of [`layer_norm_as`].
#[backend_extension(Autodiff, Cube: cfg(feature = "wgpu"), Flex: cfg(feature = "flex"))]
pub trait LayerNormOps: Backend {
    /// See [`layer_norm_as`].
    fn layer_norm_rows(
        x_td: FloatTensor<Self>,
        weight_d: FloatTensor<Self>,
        epsilon: f32,
        dtype: DType,
    ) -> FloatTensor<Self>;
    /// The gradients of `x` `[t, d]`, in its type, and of `weight` `[d]`, given that of the output `[t, d]`.
    fn layer_norm_rows_backward(
        x_td: FloatTensor<Self>,
        weight_d: FloatTensor<Self>,
        grad_td: FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

impl<B: LayerNormOps, C: CheckpointStrategy> LayerNormOps for Autodiff<B, C> {
    fn layer_norm_rows(
        x_td: FloatTensor<Self>,
        weight_d: FloatTensor<Self>,
        epsilon: f32,
        dtype: DType,
    ) -> FloatTensor<Self> {
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
                prep.finish(state, B::layer_norm_rows(x_td, weight_d, epsilon, dtype))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::layer_norm_rows(x_td, weight_d, epsilon, dtype)),
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
        fn layer_norm_rows(
            x_td: FloatTensor<Self>,
            weight_d: FloatTensor<Self>,
            epsilon: f32,
            dtype: DType,
        ) -> FloatTensor<Self> {
            let (x_td, weight_d) = (cpu::contiguous(x_td), cpu::contiguous(weight_d));
            let [t, d] = x_td.shape().dims();
            let weight = cpu::values(&weight_d);
            let mut y_td = vec![0.0; t * d];
            cpu::map_rows(
                cpu::values(&x_td),
                d,
                &mut y_td,
                d,
                #[inline(always)]
                |x, y| {
                    let (mean, inverse) = moments(x, epsilon);
                    for ((y, x), weight) in y.iter_mut().zip(x).zip(weight) {
                        *y = (x - mean) * inverse * weight;
                    }
                },
            );
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
                    cpu::vectorised!({
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
    use crate::reduce::{self, ROOM, UNITS, sum_over_units};
    use burn::backend::{cubecl::dtype_to_elem_type, ops::FloatTensorOps};
    use burn_cubecl::CubeBackend;
    use cubecl::prelude::*;

    /// Rows that a workgroup takes backward, one after the other, adding up their parts of the weight's gradient; fixed, so that
    /// the sum's order is.
    const ROWS_PER_CUBE: usize = 32;

    /// Columns that a unit holds.
    const fn columns_per_unit(d: usize) -> usize {
        d.div_ceil(UNITS)
    }

    /// What the unit holds of the row that begins at `start`: every 64th column from its own on, and zeros beyond the last.
    #[cube]
    fn load<F: Float>(rows: &[F], start: usize, #[comptime] d: usize) -> Array<f32> {
        let count = comptime!(columns_per_unit(d));
        let mut values = Array::<f32>::new(count);
        #[unroll]
        for i in 0..count {
            let column = i * UNITS + UNIT_POS as usize;
            values[i] = if column < d { f32::cast_from(rows[start + column]) } else { 0.0f32 };
        }
        values
    }

    /// Writes what the unit holds of a row.
    #[cube]
    fn store<F: Float>(values: &Array<f32>, rows: &mut [F], start: usize, #[comptime] d: usize) {
        #[unroll]
        for i in 0..comptime!(columns_per_unit(d)) {
            let column = i * UNITS + UNIT_POS as usize;
            if column < d {
                rows[start + column] = F::cast_from(values[i]);
            }
        }
    }

    /// Subtracts the mean from what the unit holds of a row; there stay zeros beyond the last column.
    #[cube]
    fn centre(values: &mut Array<f32>, mean: f32, #[comptime] d: usize) {
        #[unroll]
        for i in 0..comptime!(columns_per_unit(d)) {
            let column = i * UNITS + UNIT_POS as usize;
            values[i] = if column < d { values[i] - mean } else { 0.0f32 };
        }
    }

    /// One workgroup a row.
    #[cube(launch_unchecked)]
    fn forward<F: Float, G: Float>(
        x_td: &[F],
        weight_d: &[f32],
        y_td: &mut [G],
        t: usize,
        epsilon: f32,
        #[comptime] d: usize,
        #[define(F, G)] _dtypes: [ElemType; 2],
    ) {
        if CUBE_POS >= t {
            terminate!();
        }
        let count = comptime!(columns_per_unit(d));
        let mut shared = Shared::<[f32]>::new_slice(ROOM);
        let mut values = load::<F>(x_td, CUBE_POS * d, d);
        let weight = load::<f32>(weight_d, 0, d);
        let mut sums = Array::<f32>::new(1usize);
        sums[0] = 0.0f32;
        #[unroll]
        for i in 0..count {
            sums[0] += values[i];
        }
        sum_over_units(&mut sums, &mut shared, 1usize);
        let mean = sums[0] / f32::cast_from(d);
        centre(&mut values, mean, d);
        sums[0] = 0.0f32;
        #[unroll]
        for i in 0..count {
            sums[0] += values[i] * values[i];
        }
        sum_over_units(&mut sums, &mut shared, 1usize);
        let inverse = 1.0f32 / (sums[0] / f32::cast_from(d) + epsilon).sqrt();
        #[unroll]
        for i in 0..count {
            values[i] = values[i] * inverse * weight[i];
        }
        store::<G>(&values, y_td, CUBE_POS * d, d);
    }

    /// One workgroup for some rows; `d_weight_pd` are its parts of the weight's gradient.
    #[cube(launch_unchecked)]
    #[expect(clippy::too_many_arguments, reason = "a kernel takes its numbers one by one")]
    fn backward<F: Float, G: Float>(
        x_td: &[F],
        weight_d: &[f32],
        grad_td: &[G],
        dx_td: &mut [F],
        d_weight_pd: &mut [f32],
        t: usize,
        parts: usize,
        epsilon: f32,
        #[comptime] d: usize,
        #[define(F, G)] _dtypes: [ElemType; 2],
    ) {
        if CUBE_POS >= parts {
            terminate!();
        }
        let count = comptime!(columns_per_unit(d));
        let mut shared = Shared::<[f32]>::new_slice(comptime!(2 * ROOM));
        let weight = load::<f32>(weight_d, 0, d);
        let mut d_weight = Array::<f32>::new(count);
        #[unroll]
        for i in 0..count {
            d_weight[i] = 0.0f32;
        }
        let mut sums = Array::<f32>::new(2usize);
        let first = CUBE_POS * ROWS_PER_CUBE;
        for row in first..min(first + ROWS_PER_CUBE, t) {
            let mut centred = load::<F>(x_td, row * d, d);
            let grad = load::<G>(grad_td, row * d, d);
            sums[0] = 0.0f32;
            sums[1] = 0.0f32;
            #[unroll]
            for i in 0..count {
                sums[0] += centred[i];
                sums[1] += grad[i] * weight[i];
            }
            sum_over_units(&mut sums, &mut shared, 2usize);
            let mean = sums[0] / f32::cast_from(d);
            let weighted = sums[1] / f32::cast_from(d);
            centre(&mut centred, mean, d);
            sums[0] = 0.0f32;
            sums[1] = 0.0f32;
            #[unroll]
            for i in 0..count {
                sums[0] += centred[i] * centred[i];
                sums[1] += grad[i] * weight[i] * centred[i];
            }
            sum_over_units(&mut sums, &mut shared, 2usize);
            let inverse = 1.0f32 / (sums[0] / f32::cast_from(d) + epsilon).sqrt();
            let projected = sums[1] * inverse / f32::cast_from(d);
            #[unroll]
            for i in 0..count {
                let normal = centred[i] * inverse;
                d_weight[i] += grad[i] * normal;
                centred[i] = inverse * (grad[i] * weight[i] - weighted - normal * projected);
            }
            store::<F>(&centred, dx_td, row * d, d);
        }
        store::<f32>(&d_weight, d_weight_pd, CUBE_POS * d, d);
    }

    impl LayerNormOps for CubeBackend {
        fn layer_norm_rows(
            x_td: FloatTensor<Self>,
            weight_d: FloatTensor<Self>,
            epsilon: f32,
            dtype: DType,
        ) -> FloatTensor<Self> {
            let (x_td, weight_d) = (gpu::contiguous(x_td), gpu::contiguous(weight_d));
            let [t, d] = x_td.shape().dims();
            let y_td = gpu::empty(&x_td, [t, d], dtype);
            let (count, dim) = gpu::one_cube_per(t);
            let dtypes = [x_td.dtype, dtype].map(dtype_to_elem_type);
            // SAFETY: rows end at `t`, columns at `d`; likewise below.
            unsafe {
                forward::launch_unchecked(
                    &x_td.client.clone(),
                    count,
                    dim,
                    x_td.into_buffer_arg(),
                    weight_d.into_buffer_arg(),
                    y_td.clone().into_buffer_arg(),
                    t,
                    epsilon,
                    d,
                    dtypes,
                );
            }
            y_td
        }

        fn layer_norm_rows_backward(
            x_td: FloatTensor<Self>,
            weight_d: FloatTensor<Self>,
            grad_td: FloatTensor<Self>,
            epsilon: f32,
        ) -> (FloatTensor<Self>, FloatTensor<Self>) {
            let [x_td, weight_d, grad_td] = [x_td, weight_d, grad_td].map(gpu::contiguous);
            let [t, d] = x_td.shape().dims();
            let parts = t.div_ceil(ROWS_PER_CUBE).max(1);
            let dx_td = gpu::empty(&x_td, [t, d], x_td.dtype);
            let d_weight_pd = gpu::empty(&x_td, [parts, d], DType::F32);
            let (count, dim) = gpu::one_cube_per(parts);
            let dtypes = [x_td.dtype, grad_td.dtype].map(dtype_to_elem_type);
            unsafe {
                backward::launch_unchecked(
                    &x_td.client.clone(),
                    count,
                    dim,
                    x_td.into_buffer_arg(),
                    weight_d.into_buffer_arg(),
                    grad_td.into_buffer_arg(),
                    dx_td.clone().into_buffer_arg(),
                    d_weight_pd.clone().into_buffer_arg(),
                    t,
                    parts,
                    epsilon,
                    d,
                    dtypes,
                );
            }
            (dx_td, Self::float_reshape(reduce::sum_rows(d_weight_pd), [d].into()))
        }
    }
}
