//! Gradients: of the whole model against transformers, of each kernel against finite differences.

use anaume_core::batch::Batch;
use anaume_core::layers::Precision;
use anaume_core::loss;
use anaume_core::modernbert::MaskedLm;
use anaume_core::optim::{AdamW, GradientSums};
use anaume_core::train_step::Trainer;
use anaume_tests::{Golden, assert_close, assert_within, devices, golden_model, matrix, read, relative_difference};
use burn::tensor::Device;

use crate::model::{TOLERANCE, parameters};
use crate::shaders::{Case, evaluate, output_weights, small_cases};

/// A golden model that records gradients.
pub fn tracked_model(folder: &str, device: &Device) -> MaskedLm {
    Trainer::new(golden_model(folder, device), AdamW::default(), Precision::F32).unwrap().model
}

/// Adds to `sums` the gradients of a batch whose losses are divided by `num_masked`; returns the loss divided so.
pub fn add_gradients(model: &mut MaskedLm, batch: &Batch, num_masked: usize, sums: &mut GradientSums) -> f32 {
    let Some(sums_2) = loss::masked_lm(model, batch).unwrap() else { return 0.0 };
    let loss = sums_2.narrow(0, 0, 1) / num_masked as f64;
    let mut gradients = loss.backward();
    sums.add(model, &mut gradients).unwrap();
    read(loss.inner())[0]
}

/// The masked-LM goldens with gradients.
pub fn gradient_goldens(folder: &str) -> Golden {
    Golden::read(&format!("model/{folder}_gradients.safetensors"))
}

/// Loss of the golden batch, and per parameter the relative difference of its gradient from the golden one.
pub fn gradient_differences(folder: &str, device: &Device, batch: &Batch) -> (f32, Vec<(String, f64)>) {
    let goldens = gradient_goldens(folder);
    let mut model = tracked_model(folder, device);
    let mut sums = GradientSums::default();
    let loss = add_gradients(&mut model, batch, batch.masked.len(), &mut sums);
    let difference = |name: String| {
        let actual = read(sums.get(&name).unwrap_or_else(|| panic!("no gradient of {name}")).clone());
        let difference = relative_difference(&actual, &goldens.f32(&format!("gradient.{name}")));
        (name, difference)
    };
    (loss, goldens.names_after("gradient.").into_iter().map(difference).collect())
}

#[test]
fn the_loss_and_every_gradient_equal_those_of_transformers() {
    for (device_name, device) in devices() {
        for folder in ["plain", "biased"] {
            let goldens = gradient_goldens(folder);
            let (loss, differences) = gradient_differences(folder, &device, &goldens.batch(""));
            assert_close(&format!("loss of {folder} on {device_name}"), &[loss], &goldens.f32("loss"), TOLERANCE);
            for (name, difference) in differences {
                assert_within(&format!("gradient of {name} of {folder} on {device_name}"), difference, TOLERANCE);
            }
        }
    }
}

#[test]
fn the_goldens_have_a_gradient_for_every_parameter() {
    for folder in ["plain", "biased"] {
        let model = parameters(&mut golden_model(folder, &Device::flex()));
        let mut names: Vec<_> = model.into_iter().map(|tensor| tensor.name).collect();
        names.sort_unstable();
        assert_eq!(names, gradient_goldens(folder).names_after("gradient."), "{folder}");
    }
}

#[test]
fn a_batch_without_masks_has_no_loss() {
    let model = tracked_model("plain", &Device::flex());
    let batch = Batch { masked: Vec::new(), labels: Vec::new(), ..gradient_goldens("plain").batch("") };
    assert!(loss::masked_lm(&model, &batch).unwrap().is_none());
}

/// The weighted sum of a kernel's output whose gradient [`evaluate`] gives.
fn scalar(case: &Case, inputs: &[Vec<f32>], device: &Device) -> f64 {
    let inputs: Vec<_> =
        inputs.iter().zip(&case.inputs).map(|(values, (_, shape))| matrix(values, *shape, device)).collect();
    let output = read((case.fused)(&inputs));
    let weights = output_weights(output.len());
    output.iter().zip(&weights).map(|(value, weight)| f64::from(*value) * f64::from(*weight)).sum()
}

/// The gradient of [`scalar`] for one input by central differences of fourth order.
fn finite_differences(case: &Case, input: usize, device: &Device) -> Vec<f32> {
    // The truncation error falls with the fourth power of the step, the rounding error grows with its inverse.
    const STEP: f32 = 0.05;
    let at = |index: usize, steps: f32| {
        let mut inputs: Vec<Vec<f32>> = case.inputs.iter().map(|(values, _)| values.clone()).collect();
        inputs[input][index] += steps * STEP;
        scalar(case, &inputs, device)
    };
    let derivative = |index| {
        let (near, far) = (at(index, 1.0) - at(index, -1.0), at(index, 2.0) - at(index, -2.0));
        ((8.0 * near - far) / (12.0 * f64::from(STEP))) as f32
    };
    (0..case.inputs[input].0.len()).map(derivative).collect()
}

#[test]
fn gradients_of_every_kernel_equal_finite_differences() {
    for (device_name, device) in devices() {
        for case in small_cases() {
            let results = evaluate(&case.fused, &case.inputs, &device);
            for (input, gradient) in results[1..].iter().enumerate() {
                let expected = finite_differences(&case, input, &device);
                assert_close(&format!("input {input} of {} on {device_name}", case.name), gradient, &expected, 2e-4);
            }
        }
    }
}
