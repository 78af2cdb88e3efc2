//! One AdamW step (Loshchilov and Hutter, arXiv 1711.05101; the arithmetic of PyTorch's `AdamW`) of one parameter, fused and in place.

use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

/// The numbers of one step.
#[derive(Clone, Copy, Debug)]
pub struct AdamWStep {
    /// Learning rate of this step.
    pub learning_rate: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// Decoupled weight decay, multiplied by the learning rate.
    pub weight_decay: f32,
    /// `1 - beta1^step`, steps counted from 1.
    pub bias_correction1: f32,
    /// `1 - beta2^step`.
    pub bias_correction2: f32,
}

/// The new parameter and moments `[n]`, given the old ones, the gradient and the `numbers` that [`crate::clip::clip`] made: the
/// last is the factor of the gradient, and where it is 0, everything stays as it is, bit for bit. No autodiff.
pub fn adamw(
    parameter: Tensor<1>,
    gradient: Tensor<1>,
    moments: [Tensor<1>; 2],
    step: AdamWStep,
    numbers: Tensor<1>,
) -> (Tensor<1>, [Tensor<1>; 2]) {
    let [first, second] = moments.map(Tensor::into_dispatch);
    let [parameter, gradient, numbers] = [parameter, gradient, numbers].map(Tensor::into_dispatch);
    let (parameter, first, second) = Dispatch::adamw(parameter, gradient, first, second, numbers, step);
    (Tensor::from_dispatch(parameter), [first, second].map(Tensor::from_dispatch))
}

/// [`adamw`] composed of tensor operations.
pub fn adamw_reference(
    parameter: Tensor<1>,
    gradient: Tensor<1>,
    moments: [Tensor<1>; 2],
    step: AdamWStep,
    numbers: Tensor<1>,
) -> (Tensor<1>, [Tensor<1>; 2]) {
    let factor = numbers.narrow(0, 3, 1);
    let refused = factor.clone().equal_elem(0.0).expand(parameter.dims());
    let [first, second] = moments.clone();
    let gradient = gradient * factor;
    let first = first * step.beta1 + gradient.clone() * (1.0 - step.beta1);
    let second = second * step.beta2 + gradient.square() * (1.0 - step.beta2);
    let denominator = (second.clone() / step.bias_correction2).sqrt() + step.epsilon;
    let decayed = parameter.clone() * (1.0 - step.learning_rate * step.weight_decay);
    let update = first.clone() / denominator * (step.learning_rate / step.bias_correction1);
    let keep = |new: Tensor<1>, old| new.mask_where(refused.clone(), old);
    let [old_first, old_second] = moments;
    (keep(decayed - update, parameter), [keep(first, old_first), keep(second, old_second)])
}

/// The backend's side of [`adamw`].
#[backend_extension(Cube: cfg(feature = "wgpu"), Flex: cfg(feature = "flex"))]
pub trait AdamWOps: Backend {
    /// See [`adamw`]; returns the parameter, the first and the second moment.
    fn adamw(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        numbers: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

#[cfg(feature = "flex")]
impl AdamWOps for burn::backend::Flex {
    fn adamw(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        numbers: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        use crate::cpu;
        use rayon::prelude::*;
        /// Values a task takes at once.
        const CHUNK: usize = 1 << 14;
        let [mut parameter, gradient, mut first, mut second] =
            [parameter, gradient, first, second].map(cpu::contiguous);
        let factor = cpu::values(&cpu::contiguous(numbers))[3];
        if factor == 0.0 {
            return (parameter, first, second);
        }
        let decay = 1.0 - step.learning_rate * step.weight_decay;
        let rate = step.learning_rate / step.bias_correction1;
        let inverse_correction2 = 1.0 / step.bias_correction2;
        cpu::values_mut(&mut parameter)
            .par_chunks_mut(CHUNK)
            .zip(cpu::values(&gradient).par_chunks(CHUNK))
            .zip(cpu::values_mut(&mut first).par_chunks_mut(CHUNK))
            .zip(cpu::values_mut(&mut second).par_chunks_mut(CHUNK))
            .for_each(|(((p, g), m), v)| {
                cpu::vectorised!({
                    for (((p, g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
                        let g = g * factor;
                        *m = *m * step.beta1 + g * (1.0 - step.beta1);
                        *v = *v * step.beta2 + g * g * (1.0 - step.beta2);
                        let denominator = (*v * inverse_correction2).sqrt() + step.epsilon;
                        *p = *p * decay - rate * *m / denominator;
                    }
                });
            });
        (parameter, first, second)
    }
}

#[cfg(feature = "wgpu")]
mod kernel {
    use super::*;
    use crate::gpu;
    use crate::reduce::UNITS;
    use burn_cubecl::CubeBackend;
    use cubecl::prelude::*;

    /// Vectors of a parameter that a unit changes.
    const VECTORS_PER_UNIT: usize = 2;

    #[cube(launch_unchecked)]
    #[expect(clippy::too_many_arguments, reason = "a kernel takes its numbers one by one")]
    fn update<N: Size>(
        parameter: &mut [Vector<f32, N>],
        gradient: &[Vector<f32, N>],
        first: &mut [Vector<f32, N>],
        second: &mut [Vector<f32, N>],
        numbers: &[f32],
        vectors: usize,
        beta1: f32,
        beta2: f32,
        inverse_correction2: f32,
        epsilon: f32,
        decay: f32,
        rate: f32,
    ) {
        let factor = numbers[3];
        if factor == 0.0f32 {
            terminate!();
        }
        let first_place = CUBE_POS * VECTORS_PER_UNIT * UNITS + UNIT_POS as usize;
        #[unroll]
        for i in 0..VECTORS_PER_UNIT {
            let place = first_place + i * UNITS;
            if place < vectors {
                let g = gradient[place] * Vector::new(factor);
                let m = first[place] * Vector::new(beta1) + g * Vector::new(1.0 - beta1);
                let v = second[place] * Vector::new(beta2) + g * g * Vector::new(1.0 - beta2);
                first[place] = m;
                second[place] = v;
                let denominator = (v * Vector::new(inverse_correction2)).sqrt() + Vector::new(epsilon);
                parameter[place] = parameter[place] * Vector::new(decay) - Vector::new(rate) * m / denominator;
            }
        }
    }

    impl AdamWOps for CubeBackend {
        fn adamw(
            parameter: FloatTensor<Self>,
            gradient: FloatTensor<Self>,
            first: FloatTensor<Self>,
            second: FloatTensor<Self>,
            numbers: FloatTensor<Self>,
            step: AdamWStep,
        ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
            let [gradient, numbers] = [gradient, numbers].map(gpu::contiguous);
            let [parameter, first, second] = [parameter, first, second].map(gpu::exclusive);
            let [n] = parameter.shape().dims();
            let size = gpu::vector_size(n);
            let (count, dim) = gpu::one_cube_per((n / size).div_ceil(VECTORS_PER_UNIT * UNITS));
            // SAFETY: vectors end at `n / size`, and there are four numbers.
            unsafe {
                update::launch_unchecked(
                    &parameter.client.clone(),
                    count,
                    dim,
                    size,
                    parameter.clone().into_buffer_arg(),
                    gradient.into_buffer_arg(),
                    first.clone().into_buffer_arg(),
                    second.clone().into_buffer_arg(),
                    numbers.into_buffer_arg(),
                    n / size,
                    step.beta1,
                    step.beta2,
                    1.0 / step.bias_correction2,
                    step.epsilon,
                    1.0 - step.learning_rate * step.weight_decay,
                    step.learning_rate / step.bias_correction1,
                );
            }
            (parameter, first, second)
        }
    }
}
