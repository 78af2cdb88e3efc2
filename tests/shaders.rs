//! The kernels: the fused operation and its composition of tensor operations agree on every device, forward and gradients.

use anaume_shaders::adamw::{AdamWStep, adamw, adamw_reference};
use anaume_shaders::attention::{GLOBAL, attention, attention_reference};
use anaume_shaders::clip::{Clip, clip, clip_reference};
use anaume_shaders::cross_entropy::{cross_entropy, cross_entropy_reference};
use anaume_shaders::embedding::{embedding, embedding_reference};
use anaume_shaders::geglu::{geglu, geglu_reference};
use anaume_shaders::layer_norm::{layer_norm, layer_norm_as, layer_norm_reference};
use anaume_shaders::linear::{linear_bf16, linear_bf16_reference};
use anaume_shaders::residual;
use anaume_shaders::rope::{rope, rope_reference};
use anaume_tests::{assert_close, assert_within, devices, largest, matrix, random, read, relative_difference};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// Of outputs and gradients: f32 sums in another order, and functions within a few units in the last place.
pub const TOLERANCE: f64 = 3e-5;
/// Where they are f16: f32 values that differ that little may be rounded to neighbouring numbers.
const HALF_TOLERANCE: f64 = 1e-3;

/// A differentiable operation on matrices; whatever else it takes it makes on the device of its first input.
pub type Operation = Box<dyn Fn(&[Tensor<2>]) -> Tensor<2>>;

/// Two operations that must agree, and the inputs to try them on.
pub struct Case {
    /// Operation and shape.
    pub name: String,
    /// Values and shape of each input.
    pub inputs: Vec<(Vec<f32>, [usize; 2])>,
    /// The kernel.
    pub fused: Operation,
    /// The composition of tensor operations.
    pub reference: Operation,
}

fn inputs(shapes: &[[usize; 2]], seed: u64) -> Vec<(Vec<f32>, [usize; 2])> {
    (seed..).zip(shapes).map(|(seed, shape)| (random(seed, shape[0] * shape[1]), *shape)).collect()
}

/// GeGLU of `[t, 2 i]`.
pub fn geglu_case(t: usize, i: usize, seed: u64) -> Case {
    Case {
        name: format!("geglu [{t}, 2 x {i}]"),
        inputs: inputs(&[[t, 2 * i]], seed),
        fused: Box::new(|x: &[Tensor<2>]| geglu(x[0].clone())),
        reference: Box::new(|x: &[Tensor<2>]| geglu_reference(x[0].clone())),
    }
}

/// LayerNorm of `[t, d]` with an epsilon that matters.
pub fn layer_norm_case(t: usize, d: usize, seed: u64) -> Case {
    const EPSILON: f64 = 1e-2;
    let weight = |x: &[Tensor<2>]| x[1].clone().reshape([-1]);
    Case {
        name: format!("layer_norm [{t}, {d}]"),
        inputs: inputs(&[[t, d], [1, d]], seed),
        fused: Box::new(move |x: &[Tensor<2>]| layer_norm(x[0].clone(), weight(x), EPSILON)),
        reference: Box::new(move |x: &[Tensor<2>]| layer_norm_reference(x[0].clone(), weight(x), EPSILON)),
    }
}

/// [`layer_norm_case`] with an output in f16.
fn layer_norm_as_f16_case(t: usize, d: usize, seed: u64) -> Case {
    const EPSILON: f64 = 1e-2;
    let weight = |x: &[Tensor<2>]| x[1].clone().reshape([-1]);
    let reference = move |x: &[Tensor<2>]| layer_norm_reference(x[0].clone(), weight(x), EPSILON).cast(DType::F16);
    Case {
        name: format!("layer_norm_as f16 [{t}, {d}]"),
        fused: Box::new(move |x| layer_norm_as(x[0].clone(), weight(x), EPSILON, DType::F16).cast(DType::F32)),
        reference: Box::new(move |x| reference(x).cast(DType::F32)),
        ..layer_norm_case(t, d, seed)
    }
}

/// Cosines and sines `[t, k / 2]` of some angles.
pub fn rotations(t: usize, half: usize, device: &Device) -> [Tensor<2>; 2] {
    let angles = random(99, t * half);
    [f32::cos, f32::sin].map(|function| {
        let values: Vec<f32> = angles.iter().map(|angle| function(*angle)).collect();
        matrix(&values, [t, half], device)
    })
}

/// RoPE of `[t, 3 h k]`.
pub fn rope_case(t: usize, heads: usize, head_size: usize, seed: u64) -> Case {
    let with = move |operation: fn(Tensor<2>, Tensor<2>, Tensor<2>) -> Tensor<2>| -> Operation {
        Box::new(move |x: &[Tensor<2>]| {
            let [cos, sin] = rotations(t, head_size / 2, &x[0].device());
            operation(x[0].clone(), cos, sin)
        })
    };
    Case {
        name: format!("rope [{t}, 3 x {heads} x {head_size}]"),
        inputs: inputs(&[[t, 3 * heads * head_size]], seed),
        fused: with(rope),
        reference: with(rope_reference),
    }
}

/// First token and end of each token's sequence, `[2, t]`.
pub fn bounds(lengths: &[usize], device: &Device) -> Tensor<2, Int> {
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    for &length in lengths {
        let start = starts.len() as i32;
        starts.extend(std::iter::repeat_n(start, length));
        ends.extend(std::iter::repeat_n(start + length as i32, length));
    }
    let t = starts.len();
    starts.append(&mut ends);
    Tensor::from_data(TensorData::new(starts, [2, t]), (device, DType::I32))
}

/// Attention of sequences packed one after the other.
pub fn attention_case(lengths: &[usize], heads: usize, head_size: usize, window: usize, seed: u64) -> Case {
    let t: usize = lengths.iter().sum();
    let with = |operation: fn(Tensor<2>, Tensor<2, Int>, usize, usize) -> Tensor<2>| -> Operation {
        let lengths = lengths.to_vec();
        Box::new(move |x: &[Tensor<2>]| operation(x[0].clone(), bounds(&lengths, &x[0].device()), heads, window))
    };
    Case {
        name: format!("attention of {lengths:?}, {heads} x {head_size}, window {window}"),
        inputs: inputs(&[[t, 3 * heads * head_size]], seed),
        fused: with(attention),
        reference: with(attention_reference),
    }
}

/// Some labels below `v`.
pub fn labels(m: usize, v: usize, device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = (0..m).map(|row| ((row * 7 + 3) % v) as i32).collect();
    Tensor::from_data(TensorData::new(values, [m]), (device, DType::I32))
}

/// Cross-entropies of `[m, v]`, as `[1, m]`.
pub fn cross_entropy_case(m: usize, v: usize, seed: u64) -> Case {
    let with = move |operation: fn(Tensor<2>, Tensor<1, Int>) -> Tensor<2>| -> Operation {
        Box::new(move |x: &[Tensor<2>]| operation(x[0].clone(), labels(m, v, &x[0].device())).narrow(0, 0, 1))
    };
    Case {
        name: format!("cross_entropy [{m}, {v}]"),
        inputs: inputs(&[[m, v]], seed),
        fused: with(cross_entropy),
        reference: with(cross_entropy_reference),
    }
}

/// [`cross_entropy_case`] of logits in f16.
fn cross_entropy_of_f16_case(m: usize, v: usize, seed: u64) -> Case {
    let Case { name, inputs, fused, reference } = cross_entropy_case(m, v, seed);
    let half = |x: &[Tensor<2>]| [x[0].clone().cast(DType::F16)];
    Case {
        name: format!("{name} of f16"),
        inputs,
        fused: Box::new(move |x| fused(&half(x))),
        reference: Box::new(move |x| reference(&half(x))),
    }
}

/// Rows of a table `[v, d]`, `[t, d]`.
pub fn embedding_case(ids: &[u32], v: usize, d: usize, seed: u64) -> Case {
    let on = |ids: &[u32], device: &Device| {
        let values: Vec<i32> = ids.iter().map(|id| id.cast_signed()).collect();
        Tensor::<1, Int>::from_data(TensorData::new(values, [ids.len()]), (device, DType::I32))
    };
    let (own, of_reference) = (ids.to_vec(), ids.to_vec());
    Case {
        name: format!("embedding of {} ids in [{v}, {d}]", ids.len()),
        inputs: inputs(&[[v, d]], seed),
        fused: Box::new(move |x| embedding(x[0].clone(), on(&own, &x[0].device()), own.as_slice().into())),
        reference: Box::new(move |x| embedding_reference(x[0].clone(), on(&of_reference, &x[0].device()))),
    }
}

/// The residual stream `[t, d]` and what a layer adds to it in `dtype`.
pub fn residual_case(t: usize, d: usize, dtype: DType, seed: u64) -> Case {
    Case {
        name: format!("residual::add of {dtype:?} [{t}, {d}]"),
        inputs: inputs(&[[t, d], [t, d]], seed),
        fused: Box::new(move |x| residual::add(x[0].clone(), x[1].clone().cast(dtype))),
        reference: Box::new(move |x| residual::add_reference(x[0].clone(), x[1].clone().cast(dtype))),
    }
}

/// A linear layer in bf16, `[t, k]` to `[t, n]`.
pub fn linear_case(t: usize, k: usize, n: usize, seed: u64) -> Case {
    let with = |operation: fn(Tensor<2>, Tensor<2>) -> Tensor<2>| -> Operation {
        Box::new(move |x: &[Tensor<2>]| operation(x[0].clone(), x[1].clone()))
    };
    Case {
        name: format!("linear_bf16 [{t}, {k}] to {n}"),
        inputs: inputs(&[[t, k], [n, k]], seed),
        fused: with(linear_bf16),
        reference: with(linear_bf16_reference),
    }
}

/// The weights of a scalar made of an operation's output.
pub fn output_weights(count: usize) -> Vec<f32> {
    random(77, count)
}

/// The output of an operation, and the gradient of its weighted sum for each input.
pub fn evaluate(operation: &Operation, inputs: &[(Vec<f32>, [usize; 2])], device: &Device) -> Vec<Vec<f32>> {
    let device = device.clone().autodiff();
    let inputs: Vec<_> = inputs.iter().map(|(values, shape)| matrix(values, *shape, &device).require_grad()).collect();
    let output = operation(&inputs);
    let [rows, columns] = output.dims();
    let weights = matrix(&output_weights(rows * columns), [rows, columns], &device);
    let mut gradients = (output.clone() * weights).sum().backward();
    let mut results = vec![read(output.inner())];
    results.extend(inputs.iter().map(|input| read(input.grad_remove(&mut gradients).expect("every input is reached"))));
    results
}

/// Largest relative difference of outputs and gradients.
pub fn largest_difference(actual: &[Vec<f32>], expected: &[Vec<f32>]) -> f64 {
    assert_eq!(actual.len(), expected.len());
    largest(actual.iter().zip(expected).map(|(actual, expected)| relative_difference(actual, expected)))
}

fn assert_agrees(case: &Case) {
    assert_agrees_on(case, devices(), TOLERANCE);
}

/// Of what gives f16, on devices that have it.
fn assert_agrees_in_half_precision(case: &Case) {
    let able = devices().into_iter().filter(|(_, device)| device.supports_dtype(DType::F16));
    assert_agrees_on(case, able, HALF_TOLERANCE);
}

fn assert_agrees_on(case: &Case, devices: impl IntoIterator<Item = (&'static str, Device)>, tolerance: f64) {
    let expected = evaluate(&case.reference, &case.inputs, &Device::flex());
    for (device_name, device) in devices {
        for (kind, operation) in [("kernel", &case.fused), ("reference", &case.reference)] {
            let difference = largest_difference(&evaluate(operation, &case.inputs, &device), &expected);
            assert_within(&format!("{}, {kind} on {device_name}", case.name), difference, tolerance);
        }
    }
}

/// One small case of each operation.
pub fn small_cases() -> Vec<Case> {
    vec![
        geglu_case(3, 4, 1),
        layer_norm_case(3, 8, 2),
        rope_case(3, 2, 4, 3),
        attention_case(&[5, 1, 2], 2, 4, 2, 4),
        attention_case(&[4, 3], 1, 8, GLOBAL, 5),
        cross_entropy_case(3, 7, 6),
        embedding_case(&[1, 0, 3, 1, 1], 5, 3, 7),
        residual_case(3, 4, DType::F32, 8),
    ]
}

#[test]
fn small_operations_agree_with_their_references() {
    small_cases().iter().for_each(assert_agrees);
}

#[test]
fn attention_agrees_for_every_head_size_window_and_packing() {
    let packings: [&[usize]; 5] = [&[1], &[129], &[63, 1, 64, 65], &[2, 1, 1], &[100, 30]];
    for (seed, lengths) in (10..).zip(packings) {
        for (head_size, window) in [(16, 8), (32, 64), (64, 300), (16, GLOBAL), (64, 1), (32, 0)] {
            assert_agrees(&attention_case(lengths, 2, head_size, window, seed));
        }
    }
}

#[test]
fn attention_agrees_beyond_the_keys_that_are_taken_together() {
    for window in [GLOBAL, 700, 300] {
        assert_agrees(&attention_case(&[1100, 30], 1, 16, window, 30));
    }
}

#[test]
fn linear_layers_in_bf16_agree_where_the_device_has_bf16() {
    for (seed, (t, k, n)) in (40..).zip([(1, 1, 1), (8, 32, 48), (9, 33, 49), (130, 77, 50), (260, 768, 97)]) {
        let able = devices().into_iter().filter(|(_, device)| device.supports_dtype(DType::BF16));
        assert_agrees_on(&linear_case(t, k, n, seed), able, TOLERANCE);
    }
}

#[test]
fn sizes_beyond_one_workgroup_agree() {
    assert_agrees(&geglu_case(130, 65, 20));
    assert_agrees(&layer_norm_case(200, 33, 21));
    assert_agrees(&layer_norm_case(1100, 5, 24));
    assert_agrees(&layer_norm_case(67, 200, 25));
    assert_agrees(&rope_case(131, 3, 16, 22));
    assert_agrees(&cross_entropy_case(70, 301, 23));
    assert_agrees(&cross_entropy_case(5, 2050, 26));
    assert_agrees(&cross_entropy_case(3, 5000, 27));
    assert_agrees(&residual_case(37, 131, DType::F32, 28));
}

#[test]
fn half_precision_agrees() {
    for (seed, (t, d)) in (50..).zip([(3, 8), (40, 63), (33, 130)]) {
        assert_agrees_in_half_precision(&layer_norm_as_f16_case(t, d, seed));
        assert_agrees_in_half_precision(&residual_case(t, d, DType::F16, seed));
    }
    for (seed, (m, v)) in (60..).zip([(3, 7), (5, 2050), (3, 5000), (70, 301)]) {
        assert_agrees_in_half_precision(&cross_entropy_of_f16_case(m, v, seed));
    }
}

/// Ids below `v`, one of them so often that its tokens are added up in pieces.
fn ids_with_a_frequent_one(t: usize, v: usize) -> Vec<u32> {
    (0..t).map(|token| if token % 3 == 0 { 2 } else { (token * 7 % v) as u32 }).collect()
}

#[test]
fn embeddings_agree_and_their_gradients_are_the_same_everywhere() {
    for (seed, (t, v, d)) in (70..).zip([(1, 9, 1), (500, 60, 65), (130, 3000, 3)]) {
        let case = embedding_case(&ids_with_a_frequent_one(t, v), v, d, seed);
        assert_agrees(&case);
        let mut gradients = devices().into_iter().map(|(_, device)| evaluate(&case.fused, &case.inputs, &device));
        let first = gradients.next().expect("flex is everywhere");
        gradients.for_each(|others| assert_eq!(others, first, "{}", case.name));
    }
}

#[test]
fn the_backward_pass_of_cross_entropy_leaves_logits_alone_that_somebody_holds() {
    let values = random(1, 15);
    for (device_name, device) in devices() {
        let logits = matrix(&values, [3, 5], &device.clone().autodiff()).require_grad();
        let losses = cross_entropy(logits.clone(), labels(3, 5, &device.autodiff()));
        let mut gradients = losses.sum().backward();
        assert_ne!(read(logits.grad_remove(&mut gradients).unwrap()), values, "{device_name}");
        assert_eq!(read(logits.inner()), values, "{device_name}");
    }
}

proptest! {
    // A fixed seed: a shape that shows a rare loss of digits must not fail somebody else's change.
    #![proptest_config(ProptestConfig { cases: 8, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn row_operations_agree_for_odd_shapes(t in 1usize..40, width in 1usize..70, seed in 0u64..1000) {
        assert_agrees(&geglu_case(t, width, seed));
        assert_agrees(&layer_norm_case(t, width + 3, seed));
        assert_agrees(&cross_entropy_case(t, width + 3, seed));
    }

    #[test]
    fn attention_and_rope_agree_for_odd_packings(
        lengths in prop::collection::vec(1usize..90, 1..5),
        heads in 1usize..4,
        head_size in prop::sample::select(vec![16usize, 30, 64]),
        window in 0usize..100,
        seed in 0u64..1000,
    ) {
        assert_agrees(&attention_case(&lengths, heads, head_size, window, seed));
        assert_agrees(&rope_case(lengths.iter().sum(), heads, head_size, seed));
    }
}

#[test]
fn a_label_counts_as_first_where_no_logit_is_above_it() {
    let logits = [0.0, 3.0, 1.0, 2.0, 2.0, 2.0, -1.0, -2.0, -3.0, 5.0, 0.0, 4.0];
    for (device_name, device) in devices() {
        for operation in [cross_entropy, cross_entropy_reference] {
            let chosen = TensorData::new(vec![1_i32, 0, 2, 2], [4]);
            let chosen = Tensor::<1, Int>::from_data(chosen, (&device, DType::I32));
            let result = read(operation(matrix(&logits, [4, 3], &device), chosen));
            assert_eq!(result[4..], [1.0, 1.0, 0.0, 0.0], "{device_name}");
        }
    }
}

#[test]
fn operations_leave_their_inputs_alone() {
    for (device_name, device) in devices() {
        for case in small_cases() {
            for operation in [&case.fused, &case.reference] {
                let inputs: Vec<_> =
                    case.inputs.iter().map(|(values, shape)| matrix(values, *shape, &device)).collect();
                read(operation(&inputs));
                for (input, (values, _)) in inputs.into_iter().zip(&case.inputs) {
                    assert_eq!(&read(input), values, "{} on {device_name}", case.name);
                }
            }
        }
    }
}

/// Parameter, gradient, moments and numbers in; parameter and moments out.
type AdamWOperation = fn(Tensor<1>, Tensor<1>, [Tensor<1>; 2], AdamWStep, Tensor<1>) -> (Tensor<1>, [Tensor<1>; 2]);

/// The numbers of a step with this factor of the gradient.
fn with_factor(factor: f32, device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(vec![1.0, 1.0, 1.0, factor], [4]), device)
}

/// Parameter, first and second moment after each of five steps.
pub fn five_adamw_steps(operation: AdamWOperation, device: &Device) -> Vec<Vec<f32>> {
    const COUNT: usize = 1001;
    let vector = |values: Vec<f32>| Tensor::<1>::from_data(TensorData::new(values, [COUNT]), device);
    let mut parameter = vector(random(1, COUNT));
    let mut moments = [vector(vec![0.0; COUNT]), vector(vec![0.0; COUNT])];
    let mut results = Vec::new();
    for step in 1..=5 {
        let numbers = AdamWStep {
            learning_rate: 1e-2,
            beta1: 0.9,
            beta2: 0.98,
            epsilon: 1e-6,
            weight_decay: 0.1,
            bias_correction1: 1.0 - 0.9_f32.powi(step),
            bias_correction2: 1.0 - 0.98_f32.powi(step),
        };
        let gradient = vector(random(1 + step as u64, COUNT));
        (parameter, moments) = operation(parameter, gradient, moments, numbers, with_factor(0.3, device));
        results.push(read(parameter.clone()));
        results.extend(moments.iter().map(|moment| read(moment.clone())));
    }
    results
}

#[test]
fn adamw_agrees_with_its_reference_for_five_steps() {
    let expected = five_adamw_steps(adamw_reference, &Device::flex());
    for (device_name, device) in devices() {
        for operation in [adamw, adamw_reference] {
            for (actual, expected) in five_adamw_steps(operation, &device).iter().zip(&expected) {
                assert_close(&format!("adamw on {device_name}"), actual, expected, 1e-6);
            }
        }
    }
}

/// A step that changes every number visibly.
const COARSE_STEP: AdamWStep = AdamWStep {
    learning_rate: 0.1,
    beta1: 0.5,
    beta2: 0.5,
    epsilon: 1e-6,
    weight_decay: 0.1,
    bias_correction1: 0.5,
    bias_correction2: 0.5,
};

#[test]
fn adamw_leaves_tensors_alone_that_somebody_else_holds() {
    for (device_name, device) in devices() {
        let values = |seed| random(seed, 100).into_iter().map(f32::abs).collect::<Vec<_>>();
        let vector = |seed| Tensor::<1>::from_data(TensorData::new(values(seed), [100]), &device);
        let held = [vector(1), vector(2), vector(3)];
        let [parameter, first, second] = held.clone();
        let (changed, _) = adamw(parameter, vector(4), [first, second], COARSE_STEP, with_factor(1.0, &device));
        assert_ne!(read(changed), values(1), "{device_name}");
        for (seed, tensor) in (1..).zip(held) {
            assert_eq!(read(tensor), values(seed), "{device_name}");
        }
    }
}

/// Losses and gradients in, the four numbers of a step out: kernel and reference.
fn clip_numbers(sums: [f32; 2], gradients: &[Vec<f32>], numbers: Clip, device: &Device) -> [Vec<f32>; 2] {
    let vector = |values: &[f32]| Tensor::<1>::from_data(TensorData::new(values.to_vec(), [values.len()]), device);
    let gradients: Vec<_> = gradients.iter().map(|values| vector(values)).collect();
    [read(clip(vector(&sums), gradients.clone(), numbers)), read(clip_reference(vector(&sums), gradients, numbers))]
}

#[test]
fn clipping_agrees_with_its_definition() {
    let gradients: Vec<_> = (1..).zip([1, 6, 1001, 40_000, 300_000]).map(|(seed, n)| random(seed, n)).collect();
    let squares: f64 = gradients.iter().flatten().map(|x| f64::from(*x).powi(2)).sum();
    for (device_name, device) in devices() {
        for (loss_scale, max_grad_norm) in [(1.0, 1.0), (1.0, f32::INFINITY), (1024.0, 1.0), (16.0, 1e-3)] {
            let norm = squares.sqrt() / f64::from(loss_scale);
            let factor = (f64::from(max_grad_norm) / (norm + 1e-6)).min(1.0) / f64::from(loss_scale);
            let results = clip_numbers([3.0, 2.0], &gradients, Clip { loss_scale, max_grad_norm }, &device);
            // burn's own sum of 40,000 values is wrong on software Vulkan.
            let kinds = if device_name == "flex" { &["kernel", "reference"][..] } else { &["kernel"] };
            for (kind, numbers) in kinds.iter().zip(results) {
                let name = format!("{kind} on {device_name}");
                assert_eq!(numbers[..2], [3.0, 2.0], "{name}");
                assert_close(&name, &numbers[2..3], &[norm as f32], 1e-5);
                assert_close(&name, &numbers[3..], &[factor as f32], 1e-5);
            }
        }
    }
}

#[test]
fn a_loss_or_gradient_that_is_not_finite_refuses_the_step() {
    let numbers = Clip { loss_scale: 1.0, max_grad_norm: 1.0 };
    for (device_name, device) in devices() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30] {
            let mut gradient = random(1, 1001);
            gradient[1000] = value;
            let mut results = Vec::from(clip_numbers([1.0, 1.0], &[gradient], numbers, &device));
            if !value.is_finite() {
                results.extend(clip_numbers([value, 1.0], &[random(1, 10)], numbers, &device));
            }
            assert!(results.iter().all(|numbers| numbers[3] == 0.0), "{value} on {device_name}: {results:?}");
        }
    }
}

#[test]
fn a_refused_step_leaves_parameter_and_moments_as_they_are() {
    for (device_name, device) in devices() {
        for operation in [adamw, adamw_reference] {
            let vector = |seed| Tensor::<1>::from_data(TensorData::new(random(seed, 100), [100]), &device);
            let gradient = vector(4) * f32::NAN;
            let (parameter, [first, second]) =
                operation(vector(1), gradient, [vector(2), vector(3)], COARSE_STEP, with_factor(0.0, &device));
            for (seed, tensor) in (1..).zip([parameter, first, second]) {
                assert_eq!(read(tensor), random(seed, 100), "{device_name}");
            }
        }
    }
}
