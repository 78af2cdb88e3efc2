//! The kernels in half precision: on every device that has f16 they agree with the operations in f32, forward and gradients.

use crate::shaders::{Case, Operation, attention_case, geglu_case, largest_difference, output_weights, rope_case};
use anaume_shaders::attention::GLOBAL;
use anaume_shaders::linear_f16::linear_f16;
use anaume_tests::{assert_within, devices, matrix, random, read};
use burn::tensor::{DType, Device, Tensor};
use half::f16;

/// Factors and results have 11 bits; sums are f32.
const TOLERANCE: f64 = 4e-3;

/// The output of an operation on inputs in the given type, and the gradient of its weighted sum for each of them.
fn evaluate(operation: &Operation, inputs: &[(Vec<f32>, [usize; 2])], dtype: DType, device: &Device) -> Vec<Vec<f32>> {
    let leaf = |(values, shape): &(Vec<f32>, [usize; 2])| -> Tensor<2> {
        Tensor::from_inner(matrix(values, *shape, device).cast(dtype)).require_grad()
    };
    let inputs: Vec<Tensor<2>> = inputs.iter().map(leaf).collect();
    let output = operation(&inputs);
    let [rows, columns] = output.dims();
    let weights: Tensor<2> = Tensor::from_inner(matrix(&output_weights(rows * columns), [rows, columns], device));
    let mut gradients = (output.clone() * weights.cast(dtype)).backward();
    let mut results = vec![read(output.inner())];
    results.extend(inputs.iter().map(|input| read(input.grad_remove(&mut gradients).expect("every input is reached"))));
    results
}

fn assert_agrees(mut case: Case) {
    for (values, _) in &mut case.inputs {
        values.iter_mut().for_each(|value| *value = f16::from_f32(*value).to_f32());
    }
    let expected = evaluate(&case.reference, &case.inputs, DType::F32, &Device::flex());
    for (device_name, device) in devices().into_iter().filter(|(_, device)| device.supports_dtype(DType::F16)) {
        let actual = evaluate(&case.fused, &case.inputs, DType::F16, &device);
        assert_within(
            &format!("{} in f16 on {device_name}", case.name),
            largest_difference(&actual, &expected),
            TOLERANCE,
        );
    }
}

#[test]
fn attention_agrees_for_every_head_size_window_and_packing() {
    let packings: [&[usize]; 4] = [&[1], &[129], &[63, 1, 64, 65], &[100, 30]];
    for (seed, lengths) in (10..).zip(packings) {
        for (head_size, window) in [(16, 8), (24, 64), (64, 300), (64, GLOBAL), (128, 20)] {
            assert_agrees(attention_case(lengths, 2, head_size, window, seed));
        }
    }
}

#[test]
fn rope_and_geglu_agree_for_vectors_of_every_size() {
    for (seed, (t, heads, head_size)) in (20..).zip([(3, 2, 4), (131, 3, 6), (70, 2, 64)]) {
        assert_agrees(rope_case(t, heads, head_size, seed));
    }
    for (seed, (t, i)) in (30..).zip([(3, 4), (40, 63), (130, 66), (70, 384)]) {
        assert_agrees(geglu_case(t, i, seed));
    }
}

#[test]
fn linear_layers_agree_for_whole_and_for_broken_blocks() {
    for (seed, (t, k, n)) in (40..).zip([(1, 1, 1), (9, 33, 49), (128, 64, 256), (130, 78, 258), (300, 256, 512)]) {
        let inputs = [[t, k], [n, k]].map(|shape| (random(seed, shape[0] * shape[1]), shape));
        assert_agrees(Case {
            name: format!("linear [{t}, {k}] to {n}"),
            inputs: inputs.to_vec(),
            fused: Box::new(|x: &[Tensor<2>]| linear_f16(x[0].clone(), x[1].clone())),
            reference: Box::new(|x: &[Tensor<2>]| x[0].clone().matmul(x[1].clone().transpose())),
        });
    }
}
