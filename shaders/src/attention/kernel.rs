//! Attention on GPUs, tile by tile: a workgroup takes some rows (queries, or keys in one of the backward passes) of one head,
//! and walks over the tokens that they see.

use super::block::*;
use super::*;
use crate::gpu;
use crate::tile::{Sums, dot};
use burn::backend::cubecl::dtype_to_elem_type;
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use cubecl::prelude::*;

/// By how much, as an exponent of e, a score may exceed the maximum that the sums stand for before they are rescaled (Dao et
/// al., FlashAttention-4): weights stay below 3,000, far from the largest f16.
const RESCALE_ABOVE: f32 = 8.0;
/// A maximum below all scores of visible keys and above those of others.
const LOWEST: f32 = -1.0e20;

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "a kernel takes its numbers one by one")]
fn forward<F: Float, W: Numeric, N: Size, M: Size>(
    qkv_t3d: &[Vector<W, N>],
    bounds_2t: &[i32],
    output_td: &mut [F],
    log_sum_th: &mut [f32],
    t: usize,
    window: usize,
    #[comptime] plan: Plan,
    #[define(F)] _dtype: ElemType,
    #[define(W)] _word: ElemType,
) {
    let (rows, values) = comptime!((plan.rows(), plan.values()));
    let (stride, score_stride, weight_stride) = comptime!((plan.stride(), plan.score_stride(), plan.weight_stride()));
    let (others, width, d) = comptime!((plan.others, plan.width(), plan.hidden_size()));
    let per_unit = comptime!(others / UNITS_PER_ROW);
    let mut queries = Shared::<[Vector<W, N>]>::new_slice(comptime!(rows * stride / values));
    // Keys, then the values of the same tokens.
    let mut tile = Shared::<[Vector<W, N>]>::new_slice(comptime!(others * stride / values));
    let mut scores = Shared::<[Vector<f32, M>]>::new_slice(comptime!(rows * score_stride / plan.scores()));
    let mut weights = Shared::<[Vector<W, N>]>::new_slice(comptime!(rows * weight_stride / values));
    let mut factors = Shared::<[f32]>::new_slice(rows);
    let mut parts = Shared::<[f32]>::new_slice(comptime!(rows * UNITS_PER_ROW));

    let Place { head, column, scale, first_row, group_row, row, half, token, first, last, block_first, block_last } =
        place(bounds_2t, t, window, plan);

    load::<W, N>(qkv_t3d, first_row, t, column, &mut queries, comptime!(3 * d), rows, plan);
    let mut output = Sums::zero(width, plan.tensor_cores);
    let mut maximum = f32::new(LOWEST);
    let mut sum = 0.0f32;
    for other in range_stepped(block_first, block_last, others) {
        sync_cube();
        load::<W, N>(qkv_t3d, other, t, column + d, &mut tile, comptime!(3 * d), others, plan);
        sync_cube();
        let mut products = Sums::zero(others, plan.tensor_cores);
        let own = &queries[group_row * comptime!(stride / values)..queries.len()];
        products.add_product::<W, N>(own, stride, &tile, stride, true, width, others);
        let mut weight_row = Array::<f32>::new(per_unit);
        exchange::<M>(&products, &mut scores, &mut weight_row, plan);
        load::<W, N>(qkv_t3d, other, t, column + 2 * d, &mut tile, comptime!(3 * d), others, plan);
        hide(&mut weight_row, other, first, last, scale, plan);
        let mut highest = f32::new(INVISIBLE);
        #[unroll]
        for j in 0..per_unit {
            highest = max(highest, weight_row[j]);
        }
        highest = max(highest, of_partner(highest, &mut parts, plan));
        let mut factor = 1.0f32;
        if highest > maximum + RESCALE_ABOVE {
            factor = (maximum - highest).exp();
            maximum = highest;
        }
        sum *= factor;
        #[unroll]
        for j in 0..per_unit {
            weight_row[j] = (weight_row[j] - maximum).exp();
            sum += weight_row[j];
        }
        put_row::<W, N>(&weight_row, &mut weights, plan);
        if half == 0 {
            factors[row] = factor;
        }
        sync_cube();
        output.scale_rows::<M>(&factors, group_row, &mut scores, group_row * score_stride, score_stride, width);
        let own = &weights[group_row * comptime!(weight_stride / values)..weights.len()];
        output.add_product::<W, N>(own, weight_stride, &tile, stride, false, others, width);
    }
    sum += of_partner(sum, &mut parts, plan);
    sync_cube();
    if half == 0 {
        factors[row] = 1.0f32 / sum;
        if token < t {
            log_sum_th[token * plan.heads + head] = maximum + sum.ln();
        }
    }
    write::<F, M>(&output, &factors, &mut scores, output_td, first_row + group_row, t, column, d, plan);
}

/// The gradients of the queries, and the sums over their rows that the keys' gradients need.
#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "a kernel takes its numbers one by one")]
fn backward_query<F: Float, W: Numeric, N: Size, M: Size>(
    qkv_t3d: &[Vector<W, N>],
    bounds_2t: &[i32],
    output_td: &[Vector<W, N>],
    log_sum_th: &[f32],
    grad_td: &[Vector<W, N>],
    d_qkv_t3d: &mut [F],
    delta_th: &mut [f32],
    t: usize,
    window: usize,
    #[comptime] plan: Plan,
    #[define(F)] _dtype: ElemType,
    #[define(W)] _word: ElemType,
) {
    let (rows, values) = comptime!((plan.rows(), plan.values()));
    let (stride, score_stride, weight_stride) = comptime!((plan.stride(), plan.score_stride(), plan.weight_stride()));
    let (others, width, d) = comptime!((plan.others, plan.width(), plan.hidden_size()));
    let per_unit = comptime!(others / UNITS_PER_ROW);
    let mut queries = Shared::<[Vector<W, N>]>::new_slice(comptime!(rows * stride / values));
    let mut grads = Shared::<[Vector<W, N>]>::new_slice(comptime!(rows * stride / values));
    let mut keys = Shared::<[Vector<W, N>]>::new_slice(comptime!(others * stride / values));
    let mut value_tile = Shared::<[Vector<W, N>]>::new_slice(comptime!(others * stride / values));
    let mut scores = Shared::<[Vector<f32, M>]>::new_slice(comptime!(rows * score_stride / plan.scores()));
    let mut weights = Shared::<[Vector<W, N>]>::new_slice(comptime!(rows * weight_stride / values));
    let mut ones = Shared::<[f32]>::new_slice(rows);
    let mut parts = Shared::<[f32]>::new_slice(comptime!(rows * UNITS_PER_ROW));

    let Place { head, column, scale, first_row, group_row, row, half, token, first, last, block_first, block_last } =
        place(bounds_2t, t, window, plan);

    load::<W, N>(qkv_t3d, first_row, t, column, &mut queries, comptime!(3 * d), rows, plan);
    load::<W, N>(grad_td, first_row, t, column, &mut grads, d, rows, plan);
    let mut delta = 0.0f32;
    let mut log_sum = 0.0f32;
    if token < t {
        log_sum = log_sum_th[token * plan.heads + head];
        for j in range_stepped(half, comptime!(plan.head_size / values), UNITS_PER_ROW) {
            let index = (token * d + column) / values + j;
            delta += dot::<W, N>(output_td[index], grad_td[index], plan.tensor_cores);
        }
    }
    delta += of_partner(delta, &mut parts, plan);
    if half == 0 {
        ones[row] = 1.0f32;
        if token < t {
            delta_th[token * plan.heads + head] = delta;
        }
    }
    let mut d_query = Sums::zero(width, plan.tensor_cores);
    for other in range_stepped(block_first, block_last, others) {
        sync_cube();
        load::<W, N>(qkv_t3d, other, t, column + d, &mut keys, comptime!(3 * d), others, plan);
        load::<W, N>(qkv_t3d, other, t, column + 2 * d, &mut value_tile, comptime!(3 * d), others, plan);
        sync_cube();
        let mut products = Sums::zero(others, plan.tensor_cores);
        let own = &queries[group_row * comptime!(stride / values)..queries.len()];
        products.add_product::<W, N>(own, stride, &keys, stride, true, width, others);
        let mut probabilities = Array::<f32>::new(per_unit);
        exchange::<M>(&products, &mut scores, &mut probabilities, plan);
        hide(&mut probabilities, other, first, last, scale, plan);
        sync_cube();
        let mut products = Sums::zero(others, plan.tensor_cores);
        let own = &grads[group_row * comptime!(stride / values)..grads.len()];
        products.add_product::<W, N>(own, stride, &value_tile, stride, true, width, others);
        let mut d_scores = Array::<f32>::new(per_unit);
        exchange::<M>(&products, &mut scores, &mut d_scores, plan);
        #[unroll]
        for j in 0..per_unit {
            d_scores[j] = (probabilities[j] - log_sum).exp() * (d_scores[j] - delta) * scale;
        }
        put_row::<W, N>(&d_scores, &mut weights, plan);
        sync_cube();
        let own = &weights[group_row * comptime!(weight_stride / values)..weights.len()];
        d_query.add_product::<W, N>(own, weight_stride, &keys, stride, false, others, width);
    }
    write::<F, M>(&d_query, &ones, &mut scores, d_qkv_t3d, first_row + group_row, t, column, comptime!(3 * d), plan);
}

/// The gradients of keys and values: rows are keys, and the others are the queries that see them; who sees whom is symmetric.
#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "a kernel takes its numbers one by one")]
fn backward_key_value<F: Float, W: Numeric, N: Size, M: Size>(
    qkv_t3d: &[Vector<W, N>],
    bounds_2t: &[i32],
    log_sum_th: &[f32],
    delta_th: &[f32],
    grad_td: &[Vector<W, N>],
    d_qkv_t3d: &mut [F],
    t: usize,
    window: usize,
    #[comptime] plan: Plan,
    #[define(F)] _dtype: ElemType,
    #[define(W)] _word: ElemType,
) {
    let (rows, values) = comptime!((plan.rows(), plan.values()));
    let (stride, score_stride, weight_stride) = comptime!((plan.stride(), plan.score_stride(), plan.weight_stride()));
    let (others, width, d) = comptime!((plan.others, plan.width(), plan.hidden_size()));
    let per_unit = comptime!(others / UNITS_PER_ROW);
    let mut keys = Shared::<[Vector<W, N>]>::new_slice(comptime!(rows * stride / values));
    let mut value_tile = Shared::<[Vector<W, N>]>::new_slice(comptime!(rows * stride / values));
    let mut queries = Shared::<[Vector<W, N>]>::new_slice(comptime!(others * stride / values));
    let mut grads = Shared::<[Vector<W, N>]>::new_slice(comptime!(others * stride / values));
    let mut scores = Shared::<[Vector<f32, M>]>::new_slice(comptime!(rows * score_stride / plan.scores()));
    let mut weights = Shared::<[Vector<W, N>]>::new_slice(comptime!(rows * weight_stride / values));
    let mut log_sums = Shared::<[f32]>::new_slice(others);
    let mut deltas = Shared::<[f32]>::new_slice(others);
    let mut ones = Shared::<[f32]>::new_slice(rows);

    let Place { head, column, scale, first_row, group_row, row, half, first, last, block_first, block_last, .. } =
        place(bounds_2t, t, window, plan);

    load::<W, N>(qkv_t3d, first_row, t, column + d, &mut keys, comptime!(3 * d), rows, plan);
    load::<W, N>(qkv_t3d, first_row, t, column + 2 * d, &mut value_tile, comptime!(3 * d), rows, plan);
    let mut d_key = Sums::zero(width, plan.tensor_cores);
    let mut d_value = Sums::zero(width, plan.tensor_cores);
    for other in range_stepped(block_first, block_last, others) {
        sync_cube();
        load::<W, N>(qkv_t3d, other, t, column, &mut queries, comptime!(3 * d), others, plan);
        load::<W, N>(grad_td, other, t, column, &mut grads, d, others, plan);
        if (UNIT_POS as usize) < others {
            let query = min(other + UNIT_POS as usize, t - 1);
            log_sums[UNIT_POS as usize] = log_sum_th[query * plan.heads + head];
            deltas[UNIT_POS as usize] = delta_th[query * plan.heads + head];
        }
        sync_cube();
        let mut products = Sums::zero(others, plan.tensor_cores);
        let own = &keys[group_row * comptime!(stride / values)..keys.len()];
        products.add_product::<W, N>(own, stride, &queries, stride, true, width, others);
        let mut probabilities = Array::<f32>::new(per_unit);
        exchange::<M>(&products, &mut scores, &mut probabilities, plan);
        hide(&mut probabilities, other, first, last, scale, plan);
        #[unroll]
        for j in 0..per_unit {
            let query = first_column(comptime!(j / COLUMNS)) + comptime!(j % COLUMNS);
            probabilities[j] = (probabilities[j] - log_sums[query]).exp();
        }
        put_row::<W, N>(&probabilities, &mut weights, plan);
        sync_cube();
        let own = &weights[group_row * comptime!(weight_stride / values)..weights.len()];
        d_value.add_product::<W, N>(own, weight_stride, &grads, stride, false, others, width);
        let mut products = Sums::zero(others, plan.tensor_cores);
        let own = &value_tile[group_row * comptime!(stride / values)..value_tile.len()];
        products.add_product::<W, N>(own, stride, &grads, stride, true, width, others);
        let mut d_scores = Array::<f32>::new(per_unit);
        exchange::<M>(&products, &mut scores, &mut d_scores, plan);
        #[unroll]
        for j in 0..per_unit {
            let query = first_column(comptime!(j / COLUMNS)) + comptime!(j % COLUMNS);
            d_scores[j] = probabilities[j] * (d_scores[j] - deltas[query]) * scale;
        }
        put_row::<W, N>(&d_scores, &mut weights, plan);
        sync_cube();
        let own = &weights[group_row * comptime!(weight_stride / values)..weights.len()];
        d_key.add_product::<W, N>(own, weight_stride, &queries, stride, false, others, width);
    }
    if half == 0 {
        ones[row] = 1.0f32;
    }
    let first_token = first_row + group_row;
    let to_stride = comptime!(3 * d);
    write::<F, M>(&d_key, &ones, &mut scores, d_qkv_t3d, first_token, t, column + d, to_stride, plan);
    write::<F, M>(&d_value, &ones, &mut scores, d_qkv_t3d, first_token, t, column + 2 * d, to_stride, plan);
}

/// Own and other tiles of factors in workgroup memory, forward and in each of the backward passes.
const FORWARD_TILES: [usize; 2] = [1, 1];
const BACKWARD_TILES: [usize; 2] = [2, 2];

impl AttentionOps for CubeBackend {
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
        let (qkv_t3d, bounds_2t) = (gpu::contiguous(qkv_t3d), gpu::contiguous(bounds_2t));
        let [t, width] = qkv_t3d.shape().dims();
        let d = width / 3;
        let output_td = gpu::empty(&qkv_t3d, [t, d], qkv_t3d.dtype);
        let log_sum_th = gpu::empty(&qkv_t3d, [t, num_heads], DType::F32);
        let (client, dtype) = (qkv_t3d.client.clone(), qkv_t3d.dtype);
        let plan = Plan::new(&client, num_heads, d / num_heads, dtype, FORWARD_TILES);
        let (count, dim) = plan.launch_size(t);
        let (word, words) = plan.words(dtype);
        // SAFETY: every index is below the tensors' sizes, which the checks on tokens and columns see to.
        unsafe {
            forward::launch_unchecked(
                &client,
                count,
                dim,
                words,
                plan.scores(),
                qkv_t3d.into_buffer_arg(),
                bounds_2t.into_buffer_arg(),
                output_td.clone().into_buffer_arg(),
                log_sum_th.clone().into_buffer_arg(),
                t,
                window,
                plan,
                dtype_to_elem_type(dtype),
                word,
            );
        }
        (output_td, log_sum_th)
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
        let [qkv_t3d, bounds_2t, output_td, log_sum_th, grad_td] =
            [qkv_t3d, bounds_2t, output_td, log_sum_th, grad_td].map(gpu::contiguous);
        let [t, width] = qkv_t3d.shape().dims();
        let d = width / 3;
        let d_qkv_t3d = gpu::empty(&qkv_t3d, [t, width], qkv_t3d.dtype);
        let delta_th = gpu::empty(&qkv_t3d, [t, num_heads], DType::F32);
        let (client, dtype) = (qkv_t3d.client.clone(), qkv_t3d.dtype);
        let plan = Plan::new(&client, num_heads, d / num_heads, dtype, BACKWARD_TILES);
        let (count, dim) = plan.launch_size(t);
        let (word, words) = plan.words(dtype);
        let dtype = dtype_to_elem_type(dtype);
        // SAFETY: as forward.
        unsafe {
            backward_query::launch_unchecked(
                &client,
                count.clone(),
                dim,
                words,
                plan.scores(),
                qkv_t3d.clone().into_buffer_arg(),
                bounds_2t.clone().into_buffer_arg(),
                output_td.into_buffer_arg(),
                log_sum_th.clone().into_buffer_arg(),
                grad_td.clone().into_buffer_arg(),
                d_qkv_t3d.clone().into_buffer_arg(),
                delta_th.clone().into_buffer_arg(),
                t,
                window,
                plan,
                dtype,
                word,
            );
            backward_key_value::launch_unchecked(
                &client,
                count,
                dim,
                words,
                plan.scores(),
                qkv_t3d.into_buffer_arg(),
                bounds_2t.into_buffer_arg(),
                log_sum_th.into_buffer_arg(),
                delta_th.into_buffer_arg(),
                grad_td.into_buffer_arg(),
                d_qkv_t3d.clone().into_buffer_arg(),
                t,
                window,
                plan,
                dtype,
                word,
            );
        }
        d_qkv_t3d
    }
}
