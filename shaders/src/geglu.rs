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
    use crate::reduce::UNITS;
    use burn::backend::cubecl::dtype_to_elem_type;
    use burn_cubecl::CubeBackend;
    use cubecl::prelude::*;

    /// Vectors of the output that a unit computes.
    const VECTORS_PER_UNIT: usize = 2;

    /// Φ(x), the distribution function of the standard normal, in f32.
    #[cube]
    fn normal_cdf<N: Size>(x: Vector<f32, N>) -> Vector<f32, N> {
        (Erf::erf(x * Vector::new(0.707_106_77f32)) + Vector::new(1.0f32)) * Vector::new(0.5f32)
    }

    /// Its derivative, the density.
    #[cube]
    fn normal_density<N: Size>(x: Vector<f32, N>) -> Vector<f32, N> {
        (x * x * Vector::new(-0.5f32)).exp() * Vector::new(0.398_942_3f32)
    }

    #[cube(launch_unchecked)]
    fn forward<F: Float, N: Size>(
        x_t2i: &[Vector<F, N>],
        y_ti: &mut [Vector<F, N>],
        vectors: usize,
        #[comptime] i: usize,
        #[define(F)] _dtype: ElemType,
    ) {
        let size = N::value();
        let vectors_per_row = comptime!(i / size);
        let first = CUBE_POS * VECTORS_PER_UNIT * UNITS + UNIT_POS as usize;
        #[unroll]
        for k in 0..VECTORS_PER_UNIT {
            let place = first + k * UNITS;
            if place < vectors {
                let start = place / vectors_per_row * vectors_per_row + place;
                let input = Vector::<f32, N>::cast_from(x_t2i[start]);
                let gate = Vector::<f32, N>::cast_from(x_t2i[start + vectors_per_row]);
                y_ti[place] = Vector::cast_from(input * normal_cdf::<N>(input) * gate);
            }
        }
    }

    #[cube(launch_unchecked)]
    fn backward<F: Float, N: Size>(
        x_t2i: &[Vector<F, N>],
        grad_ti: &[Vector<F, N>],
        dx_t2i: &mut [Vector<F, N>],
        vectors: usize,
        #[comptime] i: usize,
        #[define(F)] _dtype: ElemType,
    ) {
        let size = N::value();
        let vectors_per_row = comptime!(i / size);
        let first = CUBE_POS * VECTORS_PER_UNIT * UNITS + UNIT_POS as usize;
        #[unroll]
        for k in 0..VECTORS_PER_UNIT {
            let place = first + k * UNITS;
            if place < vectors {
                let start = place / vectors_per_row * vectors_per_row + place;
                let input = Vector::<f32, N>::cast_from(x_t2i[start]);
                let gate = Vector::<f32, N>::cast_from(x_t2i[start + vectors_per_row]);
                let grad = Vector::<f32, N>::cast_from(grad_ti[place]);
                let cdf = normal_cdf::<N>(input);
                let derivative = cdf + input * normal_density::<N>(input);
                dx_t2i[start] = Vector::cast_from(grad * gate * derivative);
                dx_t2i[start + vectors_per_row] = Vector::cast_from(grad * input * cdf);
            }
        }
    }

    /// Values of a vector, the vectors of the output `[t, i]`, and the launch size for them.
    fn launch_size(t: usize, i: usize) -> (usize, usize, CubeCount, CubeDim) {
        let size = gpu::vector_size(i);
        let vectors = t * i / size;
        let (count, dim) = gpu::one_cube_per(vectors.div_ceil(VECTORS_PER_UNIT * UNITS));
        (size, vectors, count, dim)
    }

    impl GegluOps for CubeBackend {
        fn geglu(x_t2i: FloatTensor<Self>) -> FloatTensor<Self> {
            let x_t2i = gpu::contiguous(x_t2i);
            let [t, width] = x_t2i.shape().dims();
            let y_ti = gpu::empty(&x_t2i, [t, width / 2], x_t2i.dtype);
            let (size, vectors, count, dim) = launch_size(t, width / 2);
            let (client, dtype) = (x_t2i.client.clone(), dtype_to_elem_type(x_t2i.dtype));
            let arguments = (x_t2i.into_buffer_arg(), y_ti.clone().into_buffer_arg());
            // SAFETY: vectors of the output end at `vectors`, and rows of the input are twice as long; likewise below.
            unsafe {
                forward::launch_unchecked(
                    &client,
                    count,
                    dim,
                    size,
                    arguments.0,
                    arguments.1,
                    vectors,
                    width / 2,
                    dtype,
                );
            }
            y_ti
        }

        fn geglu_backward(x_t2i: FloatTensor<Self>, grad_ti: FloatTensor<Self>) -> FloatTensor<Self> {
            let (x_t2i, grad_ti) = (gpu::contiguous(x_t2i), gpu::contiguous(grad_ti));
            let [t, width] = x_t2i.shape().dims();
            let dx_t2i = gpu::empty(&x_t2i, [t, width], x_t2i.dtype);
            let (size, vectors, count, dim) = launch_size(t, width / 2);
            let (client, dtype) = (x_t2i.client.clone(), dtype_to_elem_type(x_t2i.dtype));
            let arguments = (x_t2i.into_buffer_arg(), grad_ti.into_buffer_arg(), dx_t2i.clone().into_buffer_arg());
            unsafe {
                backward::launch_unchecked(
                    &client,
                    count,
                    dim,
                    size,
                    arguments.0,
                    arguments.1,
                    arguments.2,
                    vectors,
                    width / 2,
                    dtype,
                );
            }
            dx_t2i
        }
    }
}
