//! Attention over packed sequences with an optional sliding window, forward and backward, without a score matrix in memory
//! (FlashAttention, Dao et al., arXiv 2205.14135; local attention of ModernBERT, Warner et al., arXiv 2412.13663).
//!
//! A token attends to the tokens of its own sequence at most `window` positions away. `bounds` names each token's sequence as
//! `[2, t]` integers: its first token and the one after its last.

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind, unary},
};
use burn::backend::{
    Autodiff, Backend, Dispatch, TensorMetadata, backend_extension,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{Int, Tensor};

/// `window` of a global layer: every token of the sequence.
pub const GLOBAL: usize = i32::MAX as usize / 2;

/// Softmax attention of each head, scaled by `1 / sqrt(k)`: `[t, 3 h k]` (query | key | value, rotated already) to `[t, h k]`.
/// Differentiable in `qkv`.
pub fn attention(qkv_t3d: Tensor<2>, bounds_2t: Tensor<2, Int>, num_heads: usize, window: usize) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::packed_attention(
        qkv_t3d.into_dispatch(),
        bounds_2t.into_dispatch(),
        num_heads,
        window,
    ))
}

/// [`attention`] composed of tensor operations, with the whole `[h, t, t]` score matrix.
pub fn attention_reference(
    qkv_t3d: Tensor<2>,
    bounds_2t: Tensor<2, Int>,
    num_heads: usize,
    window: usize,
) -> Tensor<2> {
    let [t, width] = qkv_t3d.dims();
    let head_size = width / 3 / num_heads;
    let qkv: Tensor<4> = qkv_t3d.reshape([t, 3, num_heads, head_size]).permute([1, 2, 0, 3]);
    let part = |index| qkv.clone().narrow(0, index, 1).squeeze_dim::<3>(0);
    let scores_htt = part(0).matmul(part(1).transpose()) / (head_size as f64).sqrt();
    let [starts, _] = bounds_2t.clone().chunk(2, 0).try_into().expect("bounds have two rows");
    let position = Tensor::<1, Int>::arange(0..t as i64, &bounds_2t.device()).unsqueeze_dim::<2>(0);
    let other_sequence = starts.clone().transpose().not_equal(starts);
    let too_far = (position.clone().transpose() - position).abs().greater_elem(window as i64);
    let masked = other_sequence.bool_or(too_far).unsqueeze_dim::<3>(0).expand([num_heads, t, t]);
    let probabilities_htt = burn::tensor::activation::softmax(scores_htt.mask_fill(masked, -1e30), 2);
    probabilities_htt.matmul(part(2)).permute([1, 0, 2]).reshape([t, width / 3])
}

/// The backend's side of [`attention`].
#[backend_extension(Autodiff, Cube: cfg(feature = "wgpu"), Flex: cfg(feature = "flex"))]
pub trait AttentionOps: Backend {
    /// See [`attention`].
    fn packed_attention(
        qkv_t3d: FloatTensor<Self>,
        bounds_2t: IntTensor<Self>,
        num_heads: usize,
        window: usize,
    ) -> FloatTensor<Self>;
    /// The output `[t, d]` and the logarithm of each softmax's denominator `[t, h]`, which the backward pass needs.
    fn packed_attention_forward(
        qkv_t3d: FloatTensor<Self>,
        bounds_2t: IntTensor<Self>,
        num_heads: usize,
        window: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
    /// The gradient `[t, 3 d]` of `qkv`, given what the forward pass returned and the gradient `[t, d]` of its output.
    fn packed_attention_backward(
        qkv_t3d: FloatTensor<Self>,
        bounds_2t: IntTensor<Self>,
        output_td: FloatTensor<Self>,
        log_sum_th: FloatTensor<Self>,
        grad_td: FloatTensor<Self>,
        num_heads: usize,
        window: usize,
    ) -> FloatTensor<Self>;
}

impl<B: AttentionOps, C: CheckpointStrategy> AttentionOps for Autodiff<B, C> {
    fn packed_attention(
        qkv_t3d: FloatTensor<Self>,
        bounds_2t: IntTensor<Self>,
        num_heads: usize,
        window: usize,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Attention;
        impl<B: AttentionOps> Backward<B, 1> for Attention {
            type State = (FloatTensor<B>, IntTensor<B>, FloatTensor<B>, FloatTensor<B>, usize, usize);
            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let (qkv_t3d, bounds_2t, output_td, log_sum_th, num_heads, window) = ops.state;
                unary::<B, _>(ops.parents, ops.node, grads, |grad_td| {
                    B::packed_attention_backward(qkv_t3d, bounds_2t, output_td, log_sum_th, grad_td, num_heads, window)
                });
            }
        }
        let (qkv_t3d, node) = qkv_t3d.into_parts();
        match Attention.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (output_td, log_sum_th) =
                    B::packed_attention_forward(qkv_t3d.clone(), bounds_2t.clone(), num_heads, window);
                let state = (qkv_t3d, bounds_2t, output_td.clone(), log_sum_th, num_heads, window);
                prep.finish(state, output_td)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::packed_attention(qkv_t3d, bounds_2t, num_heads, window)),
        }
    }

    fn packed_attention_forward(
        _: FloatTensor<Self>,
        _: IntTensor<Self>,
        _: usize,
        _: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        unreachable!("only the inner backend splits attention into passes")
    }

    fn packed_attention_backward(
        _: FloatTensor<Self>,
        _: IntTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: usize,
        _: usize,
    ) -> FloatTensor<Self> {
        unreachable!("attention has no second derivative here")
    }
}

#[cfg(feature = "flex")]
mod twin {
    use super::*;
    use crate::cpu::{self, Matrix, matmul};
    use burn::backend::Flex;
    use rayon::prelude::*;
    use std::ops::Range;

    /// Queries taken together at most.
    const QUERIES_PER_BLOCK: usize = 256;
    /// Keys taken together: the scores of a block, at most 512 KiB, stay in the second-level cache.
    const KEYS_PER_BLOCK: usize = 512;

    /// Queries taken together: with a window few, since all of a block see the keys of each; without one many, since keys and
    /// values are packed anew for each block.
    fn queries_per_block(window: usize) -> usize {
        if window < KEYS_PER_BLOCK { 64 } else { QUERIES_PER_BLOCK }
    }

    /// One head of one sequence: all that a task works on.
    struct Task {
        tokens: Range<usize>,
        head: usize,
    }

    /// A block of queries and the keys that any of them sees, or some of these.
    struct Block {
        queries: Range<usize>,
        keys: Range<usize>,
    }

    impl Block {
        /// The same queries with some of the keys at a time.
        fn parts(&self) -> impl Iterator<Item = Self> {
            self.keys.clone().step_by(KEYS_PER_BLOCK).map(|first| Self {
                queries: self.queries.clone(),
                keys: first..(first + KEYS_PER_BLOCK).min(self.keys.end),
            })
        }

        /// The keys of one query, as a range of columns of the block's score matrix.
        fn columns(&self, query: usize, window: usize) -> Range<usize> {
            let first = query.saturating_sub(window).clamp(self.keys.start, self.keys.end);
            let last = (query + window + 1).clamp(first, self.keys.end);
            first - self.keys.start..last - self.keys.start
        }
    }

    fn tasks(bounds: &[i32], num_heads: usize) -> Vec<Task> {
        let ends = &bounds[bounds.len() / 2..];
        let mut sequences = Vec::new();
        let mut start = 0;
        while start < ends.len() {
            let end = ends[start] as usize;
            sequences.push(start..end);
            start = end;
        }
        let of_sequence = |tokens: Range<usize>| (0..num_heads).map(move |head| Task { tokens: tokens.clone(), head });
        sequences.into_iter().flat_map(of_sequence).collect()
    }

    fn blocks(tokens: &Range<usize>, window: usize) -> impl Iterator<Item = Block> {
        let tokens = tokens.clone();
        let count = queries_per_block(window);
        tokens.clone().step_by(count).map(move |first| {
            let queries = first..(first + count).min(tokens.end);
            let keys = first.saturating_sub(window).max(tokens.start)..(queries.end + window).min(tokens.end);
            Block { queries, keys }
        })
    }

    /// Columns of the query, key and value of a head in `[t, 3 d]`.
    fn qkv_columns(head: usize, head_size: usize, d: usize) -> [usize; 3] {
        [0, d, 2 * d].map(|part| part + head * head_size)
    }

    fn scores(scratch: &mut Vec<f32>, qkv: Matrix, block: &Block, columns: [usize; 3], head_size: usize) -> Matrix {
        let (m, n) = (block.queries.len(), block.keys.len());
        scratch.resize(m * n, 0.0);
        let out = Matrix::of_mut(scratch, n);
        let (q, k) = (qkv.at(block.queries.start, columns[0]), qkv.at(block.keys.start, columns[1]));
        matmul(out, false, (q, false), (k, true), [m, head_size, n], 1.0 / (head_size as f32).sqrt());
        out
    }

    /// The softmax of a query over the keys that were seen until now (online softmax, Milakov and Gimelshein, arXiv 1805.02867).
    #[derive(Clone, Copy)]
    struct Online {
        maximum: f32,
        sum: f32,
    }

    impl Online {
        const EMPTY: Self = Self { maximum: f32::NEG_INFINITY, sum: 0.0 };

        /// Takes in a row of scores, which becomes probabilities times the sum; returns by what everything that was summed
        /// before is to be multiplied.
        #[inline(always)]
        fn add(&mut self, row: &mut [f32], columns: Range<usize>) -> f32 {
            row[..columns.start].fill(0.0);
            row[columns.end..].fill(0.0);
            let row = &mut row[columns];
            if row.is_empty() {
                return 1.0;
            }
            let maximum = cpu::lanes(row, self.maximum, f32::max);
            row.iter_mut().for_each(|x| *x = cpu::exp(*x - maximum));
            let rescale = if self.sum == 0.0 { 0.0 } else { cpu::exp(self.maximum - maximum) };
            *self = Self { maximum, sum: self.sum * rescale + cpu::lanes(row, 0.0, |a, b| a + b) };
            rescale
        }
    }

    fn forward(task: &Task, qkv: Matrix, out: Matrix, log_sum: Matrix, window: usize, head_size: usize) {
        let columns = qkv_columns(task.head, head_size, out.stride);
        let mut scratch = Vec::new();
        for block in blocks(&task.tokens, window) {
            let m = block.queries.len();
            let mut softmax = [Online::EMPTY; QUERIES_PER_BLOCK];
            let target = out.at(block.queries.start, task.head * head_size);
            // SAFETY: this task's rows and columns.
            let out_row = |index| unsafe { std::slice::from_raw_parts_mut(target.at(index, 0).start, head_size) };
            for part in block.parts() {
                let n = part.keys.len();
                let scores = scores(&mut scratch, qkv, &part, columns, head_size);
                cpu::vectorised!({
                    for (index, row) in scratch.chunks_exact_mut(n).enumerate() {
                        let rescale = softmax[index].add(row, part.columns(block.queries.start + index, window));
                        out_row(index).iter_mut().for_each(|x| *x *= rescale);
                    }
                });
                let v = qkv.at(part.keys.start, columns[2]);
                matmul(target, true, (scores, false), (v, false), [m, n, head_size], 1.0);
            }
            for (index, Online { maximum, sum }) in softmax[..m].iter().enumerate() {
                out_row(index).iter_mut().for_each(|x| *x /= sum);
                // SAFETY: this task's token and head.
                unsafe { *log_sum.at(block.queries.start + index, task.head).start = maximum + sum.ln() };
            }
        }
    }

    /// The tensors of a backward pass.
    struct BackwardPass {
        qkv: Matrix,
        out: Matrix,
        log_sum: Matrix,
        grad: Matrix,
        d_qkv: Matrix,
        window: usize,
        head_size: usize,
    }

    impl BackwardPass {
        fn run(&self, task: &Task) {
            let columns = qkv_columns(task.head, self.head_size, self.out.stride);
            let (mut probabilities, mut d_scores) = (Vec::new(), Vec::new());
            for block in blocks(&task.tokens, self.window).flat_map(|block| block.parts().collect::<Vec<_>>()) {
                let (m, n, k) = (block.queries.len(), block.keys.len(), self.head_size);
                let p = scores(&mut probabilities, self.qkv, &block, columns, k);
                d_scores.resize(m * n, 0.0);
                let ds = Matrix::of_mut(&mut d_scores, n);
                let grad = self.grad.at(block.queries.start, task.head * k);
                let [q, key, v] = [0, 1, 2].map(|part| {
                    let row = if part == 0 { block.queries.start } else { block.keys.start };
                    (self.qkv.at(row, columns[part]), self.d_qkv.at(row, columns[part]))
                });
                matmul(ds, false, (grad, false), (v.0, true), [m, k, n], 1.0);
                self.softmax_backward(task, &block, &mut probabilities, &mut d_scores);
                matmul(v.1, true, (p, true), (grad, false), [n, m, k], 1.0);
                matmul(q.1, true, (ds, false), (key.0, false), [m, n, k], 1.0);
                matmul(key.1, true, (ds, true), (q.0, false), [n, m, k], 1.0);
            }
        }

        /// Scores to probabilities, and gradients of probabilities to gradients of unscaled scores.
        fn softmax_backward(&self, task: &Task, block: &Block, p: &mut [f32], ds: &mut [f32]) {
            let (n, k) = (block.keys.len(), self.head_size);
            let scale = 1.0 / (k as f32).sqrt();
            cpu::vectorised!({
                for (index, (p, ds)) in p.chunks_exact_mut(n).zip(ds.chunks_exact_mut(n)).enumerate() {
                    let query = block.queries.start + index;
                    // SAFETY: this task's token and head.
                    let (log_sum, out, grad) = unsafe {
                        let row = |matrix: Matrix| std::slice::from_raw_parts(matrix.at(query, task.head * k).start, k);
                        (*self.log_sum.at(query, task.head).start, row(self.out), row(self.grad))
                    };
                    let delta: f32 = out.iter().zip(grad).map(|(out, grad)| out * grad).sum();
                    let columns = block.columns(query, self.window);
                    for row in [&mut *p, &mut *ds] {
                        row[..columns.start].fill(0.0);
                        row[columns.end..].fill(0.0);
                    }
                    for (p, ds) in p[columns.clone()].iter_mut().zip(&mut ds[columns]) {
                        *p = cpu::exp(*p - log_sum);
                        *ds = *p * (*ds - delta) * scale;
                    }
                }
            });
        }
    }

    impl AttentionOps for Flex {
        fn packed_attention(
            qkv_t3d: FloatTensor<Self>,
            bounds_2t: IntTensor<Self>,
            num_heads: usize,
            window: usize,
        ) -> FloatTensor<Self> {
            Self::packed_attention_forward(qkv_t3d, bounds_2t, num_heads, window).0
        }

        fn packed_attention_forward(
            qkv_t3d: FloatTensor<Self>,
            bounds_2t: IntTensor<Self>,
            num_heads: usize,
            window: usize,
        ) -> (FloatTensor<Self>, FloatTensor<Self>) {
            let dtype = qkv_t3d.dtype();
            let qkv_t3d = cpu::contiguous(qkv_t3d);
            let [t, width] = qkv_t3d.shape().dims();
            let d = width / 3;
            let (mut output_td, mut log_sum_th) = (vec![0.0; t * d], vec![0.0; t * num_heads]);
            let qkv = Matrix::of(cpu::values(&qkv_t3d), width);
            let (out, log_sum) = (Matrix::of_mut(&mut output_td, d), Matrix::of_mut(&mut log_sum_th, num_heads));
            tasks(&cpu::int_values(&bounds_2t), num_heads)
                .par_iter()
                .for_each(|task| forward(task, qkv, out, log_sum, window, d / num_heads));
            (cpu::restore(cpu::tensor(output_td, [t, d]), dtype), cpu::tensor(log_sum_th, [t, num_heads]))
        }

        fn packed_attention_backward(
            qkv_t3d: FloatTensor<Self>,
            bounds_2t: IntTensor<Self>,
            output_td: FloatTensor<Self>,
            log_sum_th: FloatTensor<Self>,
            grad_td: FloatTensor<Self>,
            num_heads: usize,
            window: usize,
        ) -> FloatTensor<Self> {
            let dtype = qkv_t3d.dtype();
            let [qkv_t3d, output_td, log_sum_th, grad_td] =
                [qkv_t3d, output_td, log_sum_th, grad_td].map(cpu::contiguous);
            let [t, width] = qkv_t3d.shape().dims();
            let d = width / 3;
            let mut d_qkv_t3d = vec![0.0; t * width];
            let pass = BackwardPass {
                qkv: Matrix::of(cpu::values(&qkv_t3d), width),
                out: Matrix::of(cpu::values(&output_td), d),
                log_sum: Matrix::of(cpu::values(&log_sum_th), num_heads),
                grad: Matrix::of(cpu::values(&grad_td), d),
                d_qkv: Matrix::of_mut(&mut d_qkv_t3d, width),
                window,
                head_size: d / num_heads,
            };
            tasks(&cpu::int_values(&bounds_2t), num_heads).par_iter().for_each(|task| pass.run(task));
            cpu::restore(cpu::tensor(d_qkv_t3d, [t, width]), dtype)
        }
    }
}

#[cfg(feature = "wgpu")]
mod block;
#[cfg(feature = "wgpu")]
mod kernel;
