//! Rotary position embedding (Su et al., arXiv 2104.09864), rotate-half form (GPT-NeoX, Hugging Face), in the fused QKV projection.

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind, unary},
};
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

/// Rotates queries and keys, in place where nobody else holds `qkv`; values are not touched. `qkv` is `[t, 3 h k]`, laid out
/// (query | key | value) × heads × head size; `cos` and `sin` are `[t, k / 2]`, those of each token's position. Differentiable in
/// `qkv`. Nothing splits the three apart: attention reads this layout.
pub fn rope(qkv_t3d: Tensor<2>, cos: Tensor<2>, sin: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::rope(qkv_t3d.into_dispatch(), cos.into_dispatch(), sin.into_dispatch(), false))
}

/// [`rope`] composed of tensor operations.
pub fn rope_reference(qkv_t3d: Tensor<2>, cos: Tensor<2>, sin: Tensor<2>) -> Tensor<2> {
    let ([t, width], [_, half]) = (qkv_t3d.dims(), cos.dims());
    let heads = width / (6 * half);
    let x: Tensor<5> = qkv_t3d.reshape([t, 3, heads, 2, half]);
    let (cos, sin) = (cos.reshape([t, 1, 1, 1, half]), sin.reshape([t, 1, 1, 1, half]));
    let qk = x.clone().narrow(1, 0, 2);
    let (first, second) = (qk.clone().narrow(3, 0, 1), qk.narrow(3, 1, 1));
    let rotated =
        Tensor::cat(vec![first.clone() * cos.clone() - second.clone() * sin.clone(), second * cos + first * sin], 3);
    Tensor::cat(vec![rotated, x.narrow(1, 2, 1)], 1).reshape([t, width])
}

/// The backend's side of [`rope`].
#[backend_extension(Autodiff, Cube: cfg(feature = "wgpu"), Flex: cfg(feature = "flex"))]
pub trait RopeOps: Backend {
    /// See [`rope`]; `inverse` rotates back, which is also the gradient.
    fn rope(
        qkv_t3d: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        inverse: bool,
    ) -> FloatTensor<Self>;
}

impl<B: RopeOps, C: CheckpointStrategy> RopeOps for Autodiff<B, C> {
    fn rope(
        qkv_t3d: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        inverse: bool,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Rope;
        impl<B: RopeOps> Backward<B, 1> for Rope {
            type State = (FloatTensor<B>, FloatTensor<B>, bool);
            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let (cos, sin, inverse) = ops.state;
                unary::<B, _>(ops.parents, ops.node, grads, |grad| B::rope(grad, cos, sin, !inverse));
            }
        }
        let (qkv_t3d, node) = qkv_t3d.into_parts();
        let (cos, sin) = (cos.into_primitive(), sin.into_primitive());
        match Rope.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let state = (cos.clone(), sin.clone(), inverse);
                prep.finish(state, B::rope(qkv_t3d, cos, sin, inverse))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::rope(qkv_t3d, cos, sin, inverse)),
        }
    }
}

#[cfg(feature = "flex")]
impl RopeOps for burn::backend::Flex {
    fn rope(
        qkv_t3d: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        inverse: bool,
    ) -> FloatTensor<Self> {
        use crate::cpu;
        use rayon::prelude::*;
        let dtype = qkv_t3d.dtype();
        let (cos, sin) = (cpu::contiguous(cos), cpu::contiguous(sin));
        let mut x_t3d = cpu::contiguous(qkv_t3d);
        let ([_, width], [_, half]): ([usize; 2], [usize; 2]) = (x_t3d.shape().dims(), cos.shape().dims());
        let rows = cpu::values(&cos).par_chunks(half).zip(cpu::values(&sin).par_chunks(half));
        let sign = if inverse { -1.0 } else { 1.0 };
        // In place where nobody else holds the projection, which is the rule.
        cpu::values_mut(&mut x_t3d).par_chunks_mut(width).zip(rows).for_each(|(x, (cos, sin))| {
            cpu::vectorised!({
                for head in x[..width / 3 * 2].chunks_exact_mut(2 * half) {
                    let (first, second) = head.split_at_mut(half);
                    for j in 0..half {
                        let (a, b, sin) = (first[j], second[j], sign * sin[j]);
                        first[j] = a * cos[j] - b * sin;
                        second[j] = b * cos[j] + a * sin;
                    }
                }
            });
        });
        cpu::restore(x_t3d, dtype)
    }
}

#[cfg(feature = "wgpu")]
mod kernel {
    use super::*;
    use crate::gpu;
    use crate::reduce::UNITS;
    use burn::backend::{FloatDType, cubecl::dtype_to_elem_type, ops::FloatTensorOps};
    use burn_cubecl::CubeBackend;
    use cubecl::prelude::*;

    /// Pairs of vectors that a unit rotates.
    const PAIRS_PER_UNIT: usize = 2;

    /// Pairs are vectors of the first and of the second half of a head; those of values are left out.
    #[cube(launch_unchecked)]
    fn rotate<F: Float, N: Size>(
        x_t3d: &mut [Vector<F, N>],
        cos: &[Vector<f32, N>],
        sin: &[Vector<f32, N>],
        pairs: usize,
        sign: f32,
        #[comptime] heads: usize,
        #[comptime] half: usize,
        #[define(F)] _dtype: ElemType,
    ) {
        let size = N::value();
        let vectors = comptime!(half / size);
        let first_pair = CUBE_POS * PAIRS_PER_UNIT * UNITS + UNIT_POS as usize;
        #[unroll]
        for i in 0..PAIRS_PER_UNIT {
            let pair = first_pair + i * UNITS;
            if pair < pairs {
                let (head, j) = (pair / vectors, pair % vectors);
                let token = head / (2 * heads);
                let (cos, sin) = (cos[token * vectors + j], sin[token * vectors + j] * Vector::new(sign));
                // Each token before has as many heads of values as of queries, which were not counted.
                let first = (head + token * heads) * 2 * vectors + j;
                let second = first + vectors;
                let (a, b) = (Vector::<f32, N>::cast_from(x_t3d[first]), Vector::<f32, N>::cast_from(x_t3d[second]));
                x_t3d[first] = Vector::cast_from(a * cos - b * sin);
                x_t3d[second] = Vector::cast_from(b * cos + a * sin);
            }
        }
    }

    impl RopeOps for CubeBackend {
        fn rope(
            qkv_t3d: FloatTensor<Self>,
            cos: FloatTensor<Self>,
            sin: FloatTensor<Self>,
            inverse: bool,
        ) -> FloatTensor<Self> {
            let x_t3d = gpu::exclusive(qkv_t3d);
            let [cos, sin] = [cos, sin].map(|x| gpu::contiguous(Self::float_cast(x, FloatDType::F32)));
            let ([t, width], [_, half]): ([usize; 2], [usize; 2]) = (x_t3d.shape().dims(), cos.shape().dims());
            let size = gpu::vector_size(half);
            let pairs = t * width / 3 / size;
            let (count, dim) = gpu::one_cube_per(pairs.div_ceil(PAIRS_PER_UNIT * UNITS));
            // SAFETY: pairs end at `pairs`, two thirds of the tensor's values.
            unsafe {
                rotate::launch_unchecked(
                    &x_t3d.client.clone(),
                    count,
                    dim,
                    size,
                    x_t3d.clone().into_buffer_arg(),
                    cos.into_buffer_arg(),
                    sin.into_buffer_arg(),
                    pairs,
                    if inverse { -1.0 } else { 1.0 },
                    width / (6 * half),
                    half,
                    dtype_to_elem_type(x_t3d.dtype),
                );
            }
            x_t3d
        }
    }
}
