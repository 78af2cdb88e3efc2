//! The sum of the residual stream, f32, and of what a layer adds to it in its own type: one pass instead of cast and sum.

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension, tensor::FloatTensor};
use burn::tensor::{DType, Tensor};

/// `x + y` in f32; `x` is `[t, d]` in f32, `y` `[t, d]` of any float type. Differentiable in both: each gets its gradient in its
/// own type.
pub fn add(x_td: Tensor<2>, y_td: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::residual_add(x_td.into_dispatch(), y_td.into_dispatch()))
}

/// [`add`] composed of tensor operations.
pub fn add_reference(x_td: Tensor<2>, y_td: Tensor<2>) -> Tensor<2> {
    x_td + y_td.cast(DType::F32)
}

/// The backend's side of [`add`].
#[backend_extension(Autodiff, Cube: cfg(feature = "wgpu"), Flex: cfg(feature = "flex"))]
pub trait ResidualOps: Backend {
    /// See [`add`].
    fn residual_add(x_td: FloatTensor<Self>, y_td: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl<B: ResidualOps, C: CheckpointStrategy> ResidualOps for Autodiff<B, C> {
    fn residual_add(x_td: FloatTensor<Self>, y_td: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Add;
        impl<B: ResidualOps> Backward<B, 2> for Add {
            type State = DType;
            fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
                let grad_td = grads.consume::<B>(&ops.node);
                let [x, y] = ops.parents;
                if let Some(node) = y {
                    grads.register::<B>(node.id, B::float_cast(grad_td.clone(), ops.state.into()));
                }
                if let Some(node) = x {
                    grads.register::<B>(node.id, grad_td);
                }
            }
        }
        let (x_td, x_node) = x_td.into_parts();
        let (y_td, y_node) = y_td.into_parts();
        match Add.prepare::<C>([x_node, y_node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let dtype = y_td.dtype();
                prep.finish(dtype, B::residual_add(x_td, y_td))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::residual_add(x_td, y_td)),
        }
    }
}

#[cfg(feature = "flex")]
impl ResidualOps for burn::backend::Flex {
    /// In place where nobody else holds `x`.
    fn residual_add(x_td: FloatTensor<Self>, y_td: FloatTensor<Self>) -> FloatTensor<Self> {
        use burn::backend::{FloatDType, ops::FloatTensorOps};
        Self::float_add(x_td, Self::float_cast(y_td, FloatDType::F32))
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

    /// Vectors that a unit adds.
    const VECTORS_PER_UNIT: usize = 4;

    #[cube(launch_unchecked)]
    fn add<F: Float, N: Size>(
        x_td: &[Vector<f32, N>],
        y_td: &[Vector<F, N>],
        sum_td: &mut [Vector<f32, N>],
        vectors: usize,
        #[define(F)] _dtype: ElemType,
    ) {
        let first = CUBE_POS * VECTORS_PER_UNIT * UNITS + UNIT_POS as usize;
        #[unroll]
        for i in 0..VECTORS_PER_UNIT {
            let place = first + i * UNITS;
            if place < vectors {
                sum_td[place] = x_td[place] + Vector::cast_from(y_td[place]);
            }
        }
    }

    impl ResidualOps for CubeBackend {
        fn residual_add(x_td: FloatTensor<Self>, y_td: FloatTensor<Self>) -> FloatTensor<Self> {
            let (x_td, y_td) = (gpu::contiguous(x_td), gpu::contiguous(y_td));
            let [t, d] = x_td.shape().dims();
            let sum_td = gpu::empty(&x_td, [t, d], DType::F32);
            let size = gpu::vector_size(t * d);
            let vectors = t * d / size;
            let (count, dim) = gpu::one_cube_per(vectors.div_ceil(VECTORS_PER_UNIT * UNITS));
            let dtype = dtype_to_elem_type(y_td.dtype);
            // SAFETY: vectors end at `vectors`.
            unsafe {
                add::launch_unchecked(
                    &x_td.client.clone(),
                    count,
                    dim,
                    size,
                    x_td.into_buffer_arg(),
                    y_td.into_buffer_arg(),
                    sum_td.clone().into_buffer_arg(),
                    vectors,
                    dtype,
                );
            }
            sum_td
        }
    }
}
