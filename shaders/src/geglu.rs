//! GeGLU (Shazeer, arXiv 2002.05202) with the exact GELU, fused: `gelu(x[:, ..i]) * x[:, i..]`.

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind, unary},
};
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

/// `[t, 2 i]` to `[t, i]`; differentiable. The first half goes through GELU, the second is the gate, as in Hugging Face's ModernBERT.
pub fn geglu(x_t2i: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::geglu(x_t2i.into_dispatch()))
}

/// [`geglu`] composed of tensor operations. `activation::gelu` is avoided: on GPUs its gradient is that of the tanh approximation.
pub fn geglu_reference(x_t2i: Tensor<2>) -> Tensor<2> {
    let [input, gate]: [Tensor<2>; 2] = x_t2i.chunk(2, 1).try_into().expect("an even width has two halves");
    gelu(input) * gate
}

/// The exact GELU, composed of tensor operations; for places where it costs little.
pub fn gelu(x: Tensor<2>) -> Tensor<2> {
    let cdf = (x.clone() * std::f64::consts::FRAC_1_SQRT_2).erf().add_scalar(1.0).mul_scalar(0.5);
    x * cdf
}

/// The backend's side of [`geglu`].
#[backend_extension(Autodiff, Cube: cfg(feature = "wgpu"), Flex: cfg(feature = "flex"))]
pub trait GegluOps: Backend {
    /// See [`geglu`].
    fn geglu(x_t2i: FloatTensor<Self>) -> FloatTensor<Self>;
    /// The gradient `[t, 2 i]` of the input, given that of the output, `[t, i]`.
    fn geglu_backward(x_t2i: FloatTensor<Self>, grad_ti: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl<B: GegluOps, C: CheckpointStrategy> GegluOps for Autodiff<B, C> {
    fn geglu(x_t2i: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Geglu;
        impl<B: GegluOps> Backward<B, 1> for Geglu {
            type State = FloatTensor<B>;
            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                unary::<B, _>(ops.parents, ops.node, grads, |grad| B::geglu_backward(ops.state, grad));
            }
        }
        let (x_t2i, node) = x_t2i.into_parts();
        match Geglu.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(x_t2i.clone(), B::geglu(x_t2i)),
            OpsKind::UnTracked(prep) => prep.finish(B::geglu(x_t2i)),
        }
    }

    fn geglu_backward(_: FloatTensor<Self>, _: FloatTensor<Self>) -> FloatTensor<Self> {
        unreachable!("GeGLU has no second derivative here")
    }
}

#[cfg(feature = "flex")]
impl GegluOps for burn::backend::Flex {
    fn geglu(x_t2i: FloatTensor<Self>) -> FloatTensor<Self> {
        use crate::cpu;
        let dtype = x_t2i.dtype();
        let x_t2i = cpu::contiguous(x_t2i);
        let [t, width] = x_t2i.shape().dims();
        let i = width / 2;
        let mut y_ti = vec![0.0; t * i];
        cpu::map_rows(
            cpu::values(&x_t2i),
            width,
            &mut y_ti,
            i,
            #[inline(always)]
            |x, y| {
                let (input, gate) = x.split_at(i);
                for ((y, input), gate) in y.iter_mut().zip(input).zip(gate) {
                    *y = cpu::gelu_and_derivative(*input).0 * gate;
                }
            },
        );
        cpu::restore(cpu::tensor(y_ti, [t, i]), dtype)
    }

    fn geglu_backward(x_t2i: FloatTensor<Self>, grad_ti: FloatTensor<Self>) -> FloatTensor<Self> {
        use crate::cpu;
        use rayon::prelude::*;
        let dtype = x_t2i.dtype();
        let (x_t2i, grad_ti) = (cpu::contiguous(x_t2i), cpu::contiguous(grad_ti));
        let [t, width] = x_t2i.shape().dims();
        let i = width / 2;
        let mut dx_t2i = vec![0.0; t * width];
        let rows = cpu::values(&x_t2i).par_chunks(width).zip(cpu::values(&grad_ti).par_chunks(i));
        dx_t2i.par_chunks_mut(width).zip(rows).for_each(|(dx, (x, grad))| {
            cpu::vectorised!({
                let (input, gate) = x.split_at(i);
                let (d_input, d_gate) = dx.split_at_mut(i);
                for j in 0..i {
                    let (gelu, derivative) = cpu::gelu_and_derivative(input[j]);
                    d_input[j] = grad[j] * gate[j] * derivative;
                    d_gate[j] = grad[j] * gelu;
                }
            });
        });
        cpu::restore(cpu::tensor(dx_t2i, [t, width]), dtype)
    }
}

#[cfg(feature = "wgpu")]
mod kernel {
    use super::*;
    use crate::gpu;
    use burn::backend::cubecl::dtype_to_elem_type;
    use burn_cubecl::CubeBackend;
    use cubecl::prelude::*;

    /// Φ(x), the distribution function of the standard normal, in f32.
    #[cube]
    fn normal_cdf(x: f32) -> f32 {
        (Erf::erf(x * 0.707_106_77f32) + 1.0f32) * 0.5f32
    }

    #[cube(launch)]
    fn forward<F: Float>(x_t2i: &[F], y_ti: &mut [F], i: usize, #[define(F)] _dtype: ElemType) {
        if ABSOLUTE_POS >= y_ti.len() {
            terminate!();
        }
        let start = ABSOLUTE_POS / i * i + ABSOLUTE_POS;
        let input = f32::cast_from(x_t2i[start]);
        y_ti[ABSOLUTE_POS] = F::cast_from(input * normal_cdf(input) * f32::cast_from(x_t2i[start + i]));
    }

    #[cube(launch)]
    fn backward<F: Float>(x_t2i: &[F], grad_ti: &[F], dx_t2i: &mut [F], i: usize, #[define(F)] _dtype: ElemType) {
        if ABSOLUTE_POS >= grad_ti.len() {
            terminate!();
        }
        let start = ABSOLUTE_POS / i * i + ABSOLUTE_POS;
        let input = f32::cast_from(x_t2i[start]);
        let gate = f32::cast_from(x_t2i[start + i]);
        let grad = f32::cast_from(grad_ti[ABSOLUTE_POS]);
        let cdf = normal_cdf(input);
        let derivative = cdf + input * 0.398_942_3f32 * (input * input * -0.5f32).exp();
        dx_t2i[start] = F::cast_from(grad * gate * derivative);
        dx_t2i[start + i] = F::cast_from(grad * input * cdf);
    }

    impl GegluOps for CubeBackend {
        fn geglu(x_t2i: FloatTensor<Self>) -> FloatTensor<Self> {
            let x_t2i = gpu::contiguous(x_t2i);
            let [t, width] = x_t2i.shape().dims();
            let y_ti = gpu::empty(&x_t2i, [t, width / 2], x_t2i.dtype);
            let (count, dim) = gpu::one_unit_per(t * width / 2);
            let (client, dtype) = (x_t2i.client.clone(), dtype_to_elem_type(x_t2i.dtype));
            forward::launch(
                &client,
                count,
                dim,
                x_t2i.into_buffer_arg(),
                y_ti.clone().into_buffer_arg(),
                width / 2,
                dtype,
            );
            y_ti
        }

        fn geglu_backward(x_t2i: FloatTensor<Self>, grad_ti: FloatTensor<Self>) -> FloatTensor<Self> {
            let (x_t2i, grad_ti) = (gpu::contiguous(x_t2i), gpu::contiguous(grad_ti));
            let [t, width] = x_t2i.shape().dims();
            let dx_t2i = gpu::empty(&x_t2i, [t, width], x_t2i.dtype);
            let (count, dim) = gpu::one_unit_per(t * width / 2);
            let (client, dtype) = (x_t2i.client.clone(), dtype_to_elem_type(x_t2i.dtype));
            let arguments = (x_t2i.into_buffer_arg(), grad_ti.into_buffer_arg(), dx_t2i.clone().into_buffer_arg());
            backward::launch(&client, count, dim, arguments.0, arguments.1, arguments.2, width / 2, dtype);
            dx_t2i
        }
    }
}
