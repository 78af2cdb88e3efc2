//! Linear layers whose inputs are rounded to bfloat16 and whose sums are f32: what processors with AVX512-BF16 compute twice as
//! fast as f32.

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{Autodiff, Backend, Dispatch, FloatDType, backend_extension, tensor::FloatTensor};
use burn::tensor::{DType, Tensor};

/// `x W^T` of `x` `[t, k]` and `weight` `[n, k]`, both rounded to bf16 and summed in f32, `[t, n]`. Differentiable in both.
pub fn linear_bf16(x_tk: Tensor<2>, weight_nk: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::linear_bf16(x_tk.into_dispatch(), weight_nk.into_dispatch()))
}

/// [`linear_bf16`] composed of tensor operations.
pub fn linear_bf16_reference(x_tk: Tensor<2>, weight_nk: Tensor<2>) -> Tensor<2> {
    // What rounding adds is constant: through a cast the gradient would be rounded too.
    let [x_tk, weight_nk] = [x_tk, weight_nk].map(|tensor| {
        let exact = tensor.clone().detach();
        tensor + (exact.clone().cast(DType::BF16).cast(DType::F32) - exact)
    });
    x_tk.matmul(weight_nk.transpose())
}

/// The backend's side of [`linear_bf16`].
#[backend_extension(Autodiff, Cube: cfg(feature = "wgpu"), Flex: cfg(feature = "flex"))]
pub trait LinearOps: Backend {
    /// See [`linear_bf16`].
    fn linear_bf16(x_tk: FloatTensor<Self>, weight_nk: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// The nearest values that bf16 has.
fn rounded<B: Backend>(tensor: FloatTensor<B>) -> FloatTensor<B> {
    B::float_cast(B::float_cast(tensor, FloatDType::BF16), FloatDType::F32)
}

/// The same numbers, at the speed of f32.
fn composed<B: Backend>(x_tk: FloatTensor<B>, weight_nk: FloatTensor<B>) -> FloatTensor<B> {
    B::float_matmul(rounded::<B>(x_tk), B::float_swap_dims(rounded::<B>(weight_nk), 0, 1))
}

impl<B: LinearOps, C: CheckpointStrategy> LinearOps for Autodiff<B, C> {
    fn linear_bf16(x_tk: FloatTensor<Self>, weight_nk: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Linear;
        impl<B: LinearOps> Backward<B, 2> for Linear {
            type State = (FloatTensor<B>, FloatTensor<B>);
            fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
                let grad_tn = grads.consume::<B>(&ops.node);
                let (x_tk, weight_nk) = ops.state;
                let [x, weight] = ops.parents;
                if let Some(node) = x {
                    grads.register::<B>(node.id, B::float_matmul(grad_tn.clone(), rounded::<B>(weight_nk)));
                }
                if let Some(node) = weight {
                    let grad_nt = B::float_swap_dims(grad_tn, 0, 1);
                    grads.register::<B>(node.id, B::float_matmul(grad_nt, rounded::<B>(x_tk)));
                }
            }
        }
        let (x_tk, x_node) = x_tk.into_parts();
        let (weight_nk, weight_node) = weight_nk.into_parts();
        match Linear.prepare::<C>([x_node, weight_node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let state = (x_tk.clone(), weight_nk.clone());
                prep.finish(state, B::linear_bf16(x_tk, weight_nk))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::linear_bf16(x_tk, weight_nk)),
        }
    }
}

#[cfg(feature = "flex")]
impl LinearOps for burn::backend::Flex {
    fn linear_bf16(x_tk: FloatTensor<Self>, weight_nk: FloatTensor<Self>) -> FloatTensor<Self> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512bw") {
            use crate::cpu;
            use burn::backend::TensorMetadata;
            let (x_tk, weight_nk) = (cpu::contiguous(x_tk), cpu::contiguous(weight_nk));
            let ([t, k], [n, _]) = (x_tk.shape().dims(), weight_nk.shape().dims());
            let mut y_tn = vec![0.0; t * n];
            avx512::linear(cpu::values(&x_tk), cpu::values(&weight_nk), &mut y_tn, k, n);
            return cpu::tensor(y_tn, [t, n]);
        }
        composed::<Self>(x_tk, weight_nk)
    }
}

#[cfg(all(feature = "flex", target_arch = "x86_64"))]
mod avx512 {
    use rayon::prelude::*;
    use std::arch::x86_64::*;

    /// Values of a register.
    const LANES: usize = 16;
    /// A tile of the output in registers: 24 sums, with 3 of the weights and one of the input.
    const TILE_ROWS: usize = 8;
    const TILE_VECTORS: usize = 3;
    const TILE_COLUMNS: usize = TILE_VECTORS * LANES;
    /// Rows of the input that a task packs and multiplies with all weights: with 1,152 columns 288 KiB, which the second-level
    /// cache holds.
    const ROWS_PER_TASK: usize = 128;

    /// `y = x w^T` of `x` `[t, k]` and `w` `[n, k]`.
    pub(super) fn linear(x: &[f32], w: &[f32], y: &mut [f32], k: usize, n: usize) {
        let panel = TILE_COLUMNS * k.div_ceil(2);
        let mut panels = vec![0; n.div_ceil(TILE_COLUMNS) * panel];
        let parts = panels.par_chunks_mut(panel).zip(w.par_chunks(TILE_COLUMNS * k));
        parts.for_each(|(pairs, w)| {
            // SAFETY: the caller has seen that the processor has these instructions; likewise below.
            unsafe { pack(w, k, TILE_COLUMNS, pairs) }
        });
        let rows =
            (x.len() / k).div_ceil(2 * rayon::current_num_threads()).next_multiple_of(TILE_ROWS).min(ROWS_PER_TASK);
        let parts = y.par_chunks_mut(rows * n).zip(x.par_chunks(rows * k));
        parts.for_each(|(y, x)| unsafe { multiply(x, &panels, y, k, n) });
    }

    /// Some rows of the output.
    #[target_feature(enable = "avx512f,avx512bf16,avx512bw")]
    fn multiply(x: &[f32], panels: &[u32], y: &mut [f32], k: usize, n: usize) {
        let pairs = k.div_ceil(2);
        let mut packed = vec![0; (x.len() / k).next_multiple_of(TILE_ROWS) * pairs];
        for (pairs, x) in packed.chunks_exact_mut(TILE_ROWS * pairs).zip(x.chunks(TILE_ROWS * k)) {
            pack(x, k, TILE_ROWS, pairs);
        }
        for (index, panel) in panels.chunks_exact(TILE_COLUMNS * pairs).enumerate() {
            let column = index * TILE_COLUMNS;
            let num_columns = TILE_COLUMNS.min(n - column);
            for (y, x) in y.chunks_mut(TILE_ROWS * n).zip(packed.chunks_exact(TILE_ROWS * pairs)) {
                let sums = tile(x, panel);
                for (y, sums) in y.chunks_exact_mut(n).zip(&sums) {
                    store(sums, &mut y[column..column + num_columns]);
                }
            }
        }
    }

    /// The products of a tile's rows and columns.
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn tile(x: &[u32], w: &[u32]) -> [[__m512; TILE_VECTORS]; TILE_ROWS] {
        let mut sums = [[_mm512_setzero_ps(); TILE_VECTORS]; TILE_ROWS];
        for (x, w) in x.chunks_exact(TILE_ROWS).zip(w.chunks_exact(TILE_COLUMNS)) {
            // SAFETY: a chunk has as many values as are loaded; the types have the same bits.
            let w: [__m512bh; TILE_VECTORS] = std::array::from_fn(|vector| unsafe {
                std::mem::transmute(_mm512_loadu_si512(w[vector * LANES..].as_ptr().cast()))
            });
            for (sums, x) in sums.iter_mut().zip(x) {
                // SAFETY: the types have the same bits.
                let x: __m512bh = unsafe { std::mem::transmute(_mm512_set1_epi32(x.cast_signed())) };
                for (sum, w) in sums.iter_mut().zip(w) {
                    *sum = _mm512_dpbf16_ps(*sum, x, w);
                }
            }
        }
        sums
    }

    /// Writes as many sums as there is room for.
    #[target_feature(enable = "avx512f")]
    fn store(sums: &[__m512; TILE_VECTORS], y: &mut [f32]) {
        for (y, sum) in y.chunks_mut(LANES).zip(sums) {
            let mask = (u16::MAX as u32 >> (LANES - y.len())) as __mmask16;
            // SAFETY: the mask ends where the slice ends.
            unsafe { _mm512_mask_storeu_ps(y.as_mut_ptr(), mask, *sum) };
        }
    }

    /// Rows of `k` floats as pairs of neighbouring values in bf16, `width` rows side by side, `[k / 2, width]`; zeros where there
    /// are no more rows or columns.
    #[target_feature(enable = "avx512f,avx512bf16,avx512bw")]
    fn pack(rows: &[f32], k: usize, width: usize, pairs: &mut [u32]) {
        for (row, values) in rows.chunks_exact(k).enumerate() {
            let mut column = row;
            for values in values.chunks(2 * LANES) {
                let pairs_of_row = rounded_pairs(values);
                for pair in &pairs_of_row[..values.len().div_ceil(2)] {
                    pairs[column] = *pair;
                    column += width;
                }
            }
        }
    }

    /// Up to 32 values in bf16, to the nearest even; the rest is zero.
    #[target_feature(enable = "avx512f,avx512bf16,avx512bw")]
    fn rounded_pairs(values: &[f32]) -> [u32; LANES] {
        let mask = (u64::from(u32::MAX) >> (2 * LANES - values.len())) as u32;
        let second = values.as_ptr().wrapping_add(LANES);
        // SAFETY: the masks end where the slice ends; the types have the same bits.
        unsafe {
            let low = _mm512_maskz_loadu_ps(mask as __mmask16, values.as_ptr());
            let high = _mm512_maskz_loadu_ps((mask >> LANES) as __mmask16, second);
            std::mem::transmute(_mm512_cvtne2ps_pbh(high, low))
        }
    }
}

#[cfg(feature = "wgpu")]
impl LinearOps for burn_cubecl::CubeBackend {
    fn linear_bf16(x_tk: FloatTensor<Self>, weight_nk: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::<Self>(x_tk, weight_nk)
    }
}
