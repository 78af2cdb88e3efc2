//! Rotary position embedding (Su et al., arXiv 2104.09864), rotate-half form (GPT-NeoX, Hugging Face), in the fused QKV projection.

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind, unary},
};
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

/// Rotates queries and keys. `qkv` is `[t, 3 h k]`, laid out (query | key | value) × heads × head size; `cos` and `sin` are
/// `[t, k / 2]`, those of each token's position. Differentiable in `qkv`.
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
    use burn::backend::{FloatDType, cubecl::dtype_to_elem_type, ops::FloatTensorOps};
    use burn_cubecl::CubeBackend;
    use cubecl::prelude::*;

    /// One unit per pair of coordinates; the pairs of values are copied.
    #[cube(launch)]
    fn rotate<F: Float>(
        x_t3d: &[F],
        cos: &[f32],
        sin: &[f32],
        y_t3d: &mut [F],
        heads: usize,
        half: usize,
        sign: f32,
        #[define(F)] _dtype: ElemType,
    ) {
        if ABSOLUTE_POS * 2 >= y_t3d.len() {
            terminate!();
        }
        let j = ABSOLUTE_POS % half;
        let head = ABSOLUTE_POS / half;
        let token = head / (3 * heads);
        let first = head * 2 * half + j;
        let second = first + half;
        if head % (3 * heads) < 2 * heads {
            let a = f32::cast_from(x_t3d[first]);
            let b = f32::cast_from(x_t3d[second]);
            let cos = cos[token * half + j];
            let sin = sign * sin[token * half + j];
            y_t3d[first] = F::cast_from(a * cos - b * sin);
            y_t3d[second] = F::cast_from(b * cos + a * sin);
        } else {
            y_t3d[first] = x_t3d[first];
            y_t3d[second] = x_t3d[second];
        }
    }

    impl RopeOps for CubeBackend {
        fn rope(
            qkv_t3d: FloatTensor<Self>,
            cos: FloatTensor<Self>,
            sin: FloatTensor<Self>,
            inverse: bool,
        ) -> FloatTensor<Self> {
            let x_t3d = gpu::contiguous(qkv_t3d);
            let [cos, sin] = [cos, sin].map(|x| gpu::contiguous(Self::float_cast(x, FloatDType::F32)));
            let ([t, width], [_, half]): ([usize; 2], [usize; 2]) = (x_t3d.shape().dims(), cos.shape().dims());
            let y_t3d = gpu::empty(&x_t3d, [t, width], x_t3d.dtype);
            let (count, dim) = gpu::one_unit_per(t * width / 2);
            let (client, dtype) = (x_t3d.client.clone(), dtype_to_elem_type(x_t3d.dtype));
            rotate::launch(
                &client,
                count,
                dim,
                x_t3d.into_buffer_arg(),
                cos.into_buffer_arg(),
                sin.into_buffer_arg(),
                y_t3d.clone().into_buffer_arg(),
                width / (6 * half),
                half,
                if inverse { -1.0 } else { 1.0 },
                dtype,
            );
            y_t3d
        }
    }
}
