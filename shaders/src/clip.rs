//! The global-norm clip of gradients, and the gate for steps whose loss or norm is not finite, without waiting for the device.

use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

/// Partial sums of squares, each of a fixed share of every gradient, so that the order of the sum is fixed.
const PARTIAL_SUMS: usize = 1024;
/// Added to the norm, as PyTorch's `clip_grad_norm_` does.
const EPSILON: f32 = 1e-6;

/// The numbers of one clip.
#[derive(Clone, Copy, Debug)]
pub struct Clip {
    /// What the loss was multiplied by before the backward pass.
    pub loss_scale: f32,
    /// Largest global norm of the unscaled gradient.
    pub max_grad_norm: f32,
}

/// The numbers of a step `[4]`, given sums `[2]` of losses and of right answers and the flat gradients of all parameters: these
/// sums, the global norm of the unscaled gradient, and the factor of the gradients, clip and loss scale in one. The factor is 0
/// where the losses or the norm are not finite: the step is refused. No autodiff.
pub fn clip(sums_2: Tensor<1>, gradients: impl IntoIterator<Item = Tensor<1>>, clip: Clip) -> Tensor<1> {
    let squares = Tensor::<1>::zeros([PARTIAL_SUMS], &sums_2.device()).into_dispatch();
    let add = |squares, gradient: Tensor<1>| Dispatch::add_squares(squares, gradient.into_dispatch());
    let squares = gradients.into_iter().fold(squares, add);
    Tensor::from_dispatch(Dispatch::gate(sums_2.into_dispatch(), squares, clip))
}

/// [`clip()`] composed of tensor operations.
pub fn clip_reference(sums_2: Tensor<1>, gradients: impl IntoIterator<Item = Tensor<1>>, clip: Clip) -> Tensor<1> {
    let squares = gradients.into_iter().map(|gradient| gradient.square().sum()).collect();
    let norm = Tensor::cat(squares, 0).sum().sqrt() / clip.loss_scale;
    let factor = ((norm.clone() + EPSILON).recip() * clip.max_grad_norm).clamp_max(1.0) / clip.loss_scale;
    let refused = Tensor::cat(vec![sums_2.clone().narrow(0, 0, 1), norm.clone()], 0).is_finite().all().bool_not();
    Tensor::cat(vec![sums_2, norm, factor.mask_fill(refused, 0.0)], 0)
}

/// The backend's side of [`clip()`].
#[backend_extension(Cube: cfg(feature = "wgpu"), Flex: cfg(feature = "flex"))]
pub trait ClipOps: Backend {
    /// Adds the squares of a flat gradient to the partial sums, in place.
    fn add_squares(squares: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self>;
    /// The numbers of the step, given the partial sums.
    fn gate(sums_2: FloatTensor<Self>, squares: FloatTensor<Self>, clip: Clip) -> FloatTensor<Self>;
}

#[cfg(feature = "flex")]
impl ClipOps for burn::backend::Flex {
    fn add_squares(squares: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        use crate::cpu;
        use rayon::prelude::*;
        let [mut squares, gradient] = [squares, gradient].map(cpu::contiguous);
        let values = cpu::values(&gradient);
        // Never so little that the task costs more than the sum.
        let share = values.len().div_ceil(PARTIAL_SUMS).max(1 << 14);
        cpu::values_mut(&mut squares).par_iter_mut().zip(values.par_chunks(share)).for_each(|(sum, values)| {
            *sum += cpu::vectorised!({
                let mut lanes = [0.0; 32];
                let chunks = values.chunks_exact(32);
                let rest: f32 = chunks.remainder().iter().map(|x| x * x).sum();
                for chunk in chunks {
                    lanes.iter_mut().zip(chunk).for_each(|(lane, x)| *lane += x * x);
                }
                rest + lanes.iter().sum::<f32>()
            });
        });
        squares
    }

    fn gate(sums_2: FloatTensor<Self>, squares: FloatTensor<Self>, clip: Clip) -> FloatTensor<Self> {
        use crate::cpu;
        let [sums_2, squares] = [sums_2, squares].map(cpu::contiguous);
        let sums = cpu::values(&sums_2);
        let norm = cpu::values(&squares).iter().sum::<f32>().sqrt() / clip.loss_scale;
        let applied = sums[0].is_finite() && norm.is_finite();
        let factor = (clip.max_grad_norm / (norm + EPSILON)).min(1.0) / clip.loss_scale;
        cpu::tensor(vec![sums[0], sums[1], norm, if applied { factor } else { 0.0 }], [4])
    }
}

#[cfg(feature = "wgpu")]
mod kernel {
    use super::*;
    use crate::gpu;
    use crate::reduce::{ROOM, UNITS, sum_over_units};
    use burn::tensor::DType;
    use burn_cubecl::CubeBackend;
    use cubecl::prelude::*;

    /// Vectors that a unit reads before it computes, so that the memory has enough to do.
    const VECTORS_AT_ONCE: usize = 4;

    /// One workgroup a partial sum: a unit takes vectors that lie as far apart as there are units.
    #[cube(launch_unchecked)]
    fn add_squares<N: Size>(squares: &mut [f32], gradient: &[Vector<f32, N>], vectors: usize, cubes: usize) {
        let size = N::value();
        let stride = cubes * UNITS;
        let mut sums = Array::<f32>::new(1usize);
        sums[0] = 0.0f32;
        for first in range_stepped(ABSOLUTE_POS, vectors, stride * VECTORS_AT_ONCE) {
            let mut values = Array::<f32>::new(comptime!(VECTORS_AT_ONCE * size));
            #[unroll]
            for i in 0..VECTORS_AT_ONCE {
                let mut vector = Vector::<f32, N>::new(0.0f32);
                if first + i * stride < vectors {
                    vector = gradient[first + i * stride];
                }
                #[unroll]
                for k in 0..size {
                    values[i * size + k] = vector.extract(k);
                }
            }
            #[unroll]
            for i in 0..comptime!(VECTORS_AT_ONCE * size) {
                sums[0] += values[i] * values[i];
            }
        }
        let mut shared = Shared::<[f32]>::new_slice(ROOM);
        sum_over_units(&mut sums, &mut shared, 1usize);
        if UNIT_POS == 0 {
            squares[CUBE_POS] += sums[0];
        }
    }

    /// By its bits: shader compilers may take every number for a finite one.
    #[cube]
    fn is_finite(x: f32) -> bool {
        (u32::reinterpret(x) & 0x7f80_0000u32) != 0x7f80_0000u32
    }

    /// One workgroup.
    #[cube(launch_unchecked)]
    fn gate(sums_2: &[f32], squares: &[f32], numbers: &mut [f32], loss_scale: f32, max_grad_norm: f32) {
        let mut sums = Array::<f32>::new(1usize);
        sums[0] = 0.0f32;
        for i in 0..comptime!(PARTIAL_SUMS / UNITS) {
            sums[0] += squares[i * UNITS + UNIT_POS as usize];
        }
        let mut shared = Shared::<[f32]>::new_slice(ROOM);
        sum_over_units(&mut sums, &mut shared, 1usize);
        if UNIT_POS == 0 {
            let norm = sums[0].sqrt() / loss_scale;
            let mut factor = 0.0f32;
            if is_finite(sums_2[0]) && is_finite(sums[0]) {
                factor = 1.0f32 / loss_scale;
                if norm + EPSILON > max_grad_norm {
                    factor *= max_grad_norm / (norm + EPSILON);
                }
            }
            numbers[0] = sums_2[0];
            numbers[1] = sums_2[1];
            numbers[2] = norm;
            numbers[3] = factor;
        }
    }

    impl ClipOps for CubeBackend {
        fn add_squares(squares: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
            let (squares, gradient) = (gpu::exclusive(squares), gpu::contiguous(gradient));
            let [values] = gradient.shape().dims();
            let size = gpu::vector_size(values);
            let n = values / size;
            let cubes = n.div_ceil(UNITS * VECTORS_AT_ONCE).clamp(1, PARTIAL_SUMS);
            let (count, dim) = gpu::one_cube_per(cubes);
            // SAFETY: vectors end at `n`, and there are no more workgroups than partial sums.
            unsafe {
                add_squares::launch_unchecked(
                    &squares.client.clone(),
                    count,
                    dim,
                    size,
                    squares.clone().into_buffer_arg(),
                    gradient.into_buffer_arg(),
                    n,
                    cubes,
                );
            }
            squares
        }

        fn gate(sums_2: FloatTensor<Self>, squares: FloatTensor<Self>, clip: Clip) -> FloatTensor<Self> {
            let sums_2 = gpu::contiguous(sums_2);
            let numbers = gpu::empty(&sums_2, [4], DType::F32);
            let (count, dim) = gpu::one_cube_per(1);
            // SAFETY: two sums, `PARTIAL_SUMS` squares and four numbers.
            unsafe {
                gate::launch_unchecked(
                    &sums_2.client.clone(),
                    count,
                    dim,
                    sums_2.into_buffer_arg(),
                    squares.into_buffer_arg(),
                    numbers.clone().into_buffer_arg(),
                    clip.loss_scale,
                    // An infinite number is none for a shader compiler.
                    clip.max_grad_norm.min(f32::MAX),
                );
            }
            numbers
        }
    }
}
