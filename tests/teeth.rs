//! The tests that tests can fail: each comparison refuses one changed element, a NaN, a swapped row, an empty input, and what
//! a slightly wrong implementation gives.

use std::panic::catch_unwind;

use anaume_core::config::{ModelConfig, Pooling};
use anaume_core::modernbert::MaskedLm;
use anaume_core::optim::AdamWConfig;
use anaume_core::weights::{StoredType, write_safetensors};
use anaume_shaders::adamw::{AdamWStep, adamw, adamw_reference};
use anaume_shaders::attention::attention;
use anaume_shaders::cross_entropy::cross_entropy;
use anaume_shaders::embedding::{embedding, embedding_reference};
use anaume_shaders::geglu::geglu;
use anaume_shaders::layer_norm::layer_norm;
use anaume_shaders::rope::rope;
use anaume_tests::{
    Golden, assert_close, assert_within, golden, golden_config, golden_model, largest, masked_lm, relative_difference,
};
use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::gradients::{gradient_differences, gradient_goldens};
use crate::model::{LENGTHS, classify, forward_difference, forward_goldens, golden_sequences, parameters};
use crate::shaders::{
    Case, Operation, attention_case, bounds, cross_entropy_case, embedding_case, evaluate, five_adamw_steps,
    geglu_case, labels, largest_difference, layer_norm_case, linear_case, residual_case, rope_case, rotations,
    small_cases,
};
use crate::training::{CONFIG, golden_run, run_differences};
use crate::{model, shaders};

/// Ways to be wrong, of values in rows of `width`.
fn damages(values: &[f32], width: usize) -> Vec<(&'static str, Vec<f32>)> {
    let scale = values.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
    let with = |index: usize, value: f32| {
        let mut values = values.to_vec();
        values[index] = value;
        values
    };
    let last = values.len() - 1;
    let mut damages = vec![
        ("one changed element", with(last / 2, values[last / 2] + 0.01 * scale)),
        ("a changed last element", with(last, values[last] - 0.01 * scale)),
        ("a NaN", with(last / 3, f32::NAN)),
        ("an infinity", with(0, f32::INFINITY)),
        ("an empty input", Vec::new()),
        ("an element too few", values[..last].to_vec()),
        ("an element too many", [values, &[0.0]].concat()),
        ("nothing but zeros", vec![0.0; values.len()]),
    ];
    if values.len() > width {
        damages.push(("a swapped row", with_swapped_rows(values, width)));
    }
    damages
}

/// The row of the largest value and one beside it, exchanged.
fn with_swapped_rows(values: &[f32], width: usize) -> Vec<f32> {
    let largest = (0..values.len()).max_by(|a, b| values[*a].abs().total_cmp(&values[*b].abs())).unwrap();
    let first = (largest / width).min(values.len() / width - 2) * width;
    let mut swapped = values.to_vec();
    swapped[first..first + 2 * width].rotate_left(width);
    swapped
}

fn assert_refuses(what: &str, actual: &[f32], expected: &[f32], tolerance: f64) {
    let passes = relative_difference(actual, expected) <= tolerance;
    assert!(!passes, "{what} passes");
}

/// The comparison accepts the values themselves and refuses every damage, on either side.
fn assert_has_teeth(what: &str, values: &[f32], width: usize, tolerance: f64) {
    assert_close(what, values, values, tolerance);
    for (damage, damaged) in damages(values, width) {
        assert_refuses(&format!("{what} with {damage}"), &damaged, values, tolerance);
        assert_refuses(&format!("{what} expected with {damage}"), values, &damaged, tolerance);
    }
}

#[test]
fn the_comparators_refuse_what_they_must() {
    let nan = f32::NAN;
    assert_eq!(relative_difference(&[1.0, 2.0], &[1.0, 2.0]), 0.0);
    assert_eq!(relative_difference(&[1.0, 2.5], &[1.0, 2.0]), 0.25);
    assert_eq!(relative_difference(&[0.0], &[0.0]), 0.0);
    assert_eq!(relative_difference(&[0.1], &[0.0]), f64::INFINITY);
    for (actual, expected) in [(vec![nan], vec![1.0]), (vec![1.0], vec![nan]), (vec![nan], vec![nan]), (vec![], vec![])]
    {
        assert!(relative_difference(&actual, &expected).is_nan());
        assert!(catch_unwind(|| assert_close("a NaN", &actual, &expected, f64::INFINITY)).is_err());
    }
    assert!(catch_unwind(|| assert_close("other lengths", &[1.0], &[1.0, 1.0], f64::INFINITY)).is_err());
    assert!(catch_unwind(|| assert_close("a changed element", &[1.0, 2.0], &[1.0, 2.1], 1e-4)).is_err());
    assert!(catch_unwind(|| assert_within("a NaN", f64::NAN, 1.0)).is_err());
    assert!(catch_unwind(|| assert_within("a larger one", 1.1, 1.0)).is_err());
    assert!(largest([0.1, f64::NAN, 0.2]).is_nan() && largest([]).is_nan());
    assert_eq!(largest([0.1, 0.3, 0.2]), 0.3);
}

#[test]
fn every_golden_refuses_every_damage() {
    for (file, prefix, width) in [
        ("plain_forward", "hidden.", 32),
        ("biased_forward", "hidden.", 32),
        ("plain_forward", "logits.", 300),
        ("biased_forward", "left.logits.", 300),
        ("classifier_forward", "logits_", 3),
        ("half_forward", "logits_", 300),
        ("plain_gradients", "gradient.", 1),
        ("biased_gradients", "gradient.", 1),
        ("biased_gradients", "loss", 1),
    ] {
        let goldens = Golden::read(&format!("model/{file}.safetensors"));
        let names = goldens.names_after(prefix);
        assert!(!names.is_empty(), "{file} has no {prefix}");
        for name in names {
            let name = format!("{prefix}{name}");
            assert_has_teeth(&name, &goldens.f32(&name), width, model::TOLERANCE);
        }
    }
}

#[test]
fn every_result_of_a_kernel_refuses_every_damage() {
    for case in small_cases() {
        for values in evaluate(&case.reference, &case.inputs, &Device::flex()) {
            assert_has_teeth(&case.name, &values, 1, shaders::TOLERANCE);
        }
    }
}

/// Fails if an operation that is wrong in this way agrees with the reference.
fn assert_told_apart(case: &Case, wrong: impl Fn(&[Tensor<2>]) -> Tensor<2> + 'static) {
    let expected = evaluate(&case.reference, &case.inputs, &Device::flex());
    let wrong: Operation = Box::new(wrong);
    let actual = evaluate(&wrong, &case.inputs, &Device::flex());
    let passes = largest_difference(&actual, &expected) <= shaders::TOLERANCE;
    assert!(!passes, "a wrong {} passes", case.name);
}

#[test]
fn the_tanh_approximation_of_gelu_is_told_apart() {
    assert_told_apart(&geglu_case(9, 16, 1), |x| {
        let [input, gate]: [Tensor<2>; 2] = x[0].clone().chunk(2, 1).try_into().unwrap();
        burn::tensor::activation::gelu_approximate(input) * gate
    });
}

#[test]
fn swapped_halves_of_geglu_are_told_apart() {
    assert_told_apart(&geglu_case(9, 16, 1), |x| {
        let mut halves = x[0].clone().chunk(2, 1);
        halves.reverse();
        geglu(Tensor::cat(halves, 1))
    });
}

#[test]
fn another_epsilon_of_layer_norm_is_told_apart() {
    assert_told_apart(&layer_norm_case(9, 16, 1), |x| layer_norm(x[0].clone(), x[1].clone().reshape([-1]), 1.1e-2));
}

#[test]
fn a_linear_layer_that_does_not_round_to_bf16_is_told_apart() {
    assert_told_apart(&linear_case(9, 64, 16, 1), |x| x[0].clone().matmul(x[1].clone().transpose()));
}

#[test]
fn rope_the_other_way_round_is_told_apart() {
    assert_told_apart(&rope_case(9, 2, 16, 1), |x| {
        let [cos, sin] = rotations(9, 8, &x[0].device());
        rope(x[0].clone(), cos, sin.neg())
    });
}

#[test]
fn a_window_off_by_one_is_told_apart() {
    for window in [7, 9] {
        assert_told_apart(&attention_case(&[30, 20], 2, 16, 8, 1), move |x| {
            attention(x[0].clone(), bounds(&[30, 20], &x[0].device()), 2, window)
        });
    }
}

#[test]
fn sequences_cut_in_the_wrong_place_are_told_apart() {
    assert_told_apart(&attention_case(&[30, 20], 2, 16, 8, 1), |x| {
        attention(x[0].clone(), bounds(&[29, 21], &x[0].device()), 2, 8)
    });
}

#[test]
fn shifted_labels_are_told_apart() {
    assert_told_apart(&cross_entropy_case(5, 11, 1), |x| {
        cross_entropy(x[0].clone(), labels(6, 11, &x[0].device()).narrow(0, 1, 5)).narrow(0, 0, 1)
    });
}

#[test]
fn rows_of_other_ids_are_told_apart() {
    assert_told_apart(&embedding_case(&[1, 0, 3, 1], 5, 3, 1), |x| {
        let ids = TensorData::new(vec![1_i32, 0, 1, 3], [4]);
        embedding_reference(x[0].clone(), Tensor::from_data(ids, (&x[0].device(), DType::I32)))
    });
}

#[test]
fn gradients_of_other_ids_are_told_apart() {
    assert_told_apart(&embedding_case(&[1, 0, 3, 1], 5, 3, 1), |x| {
        let ids = TensorData::new(vec![1_i32, 0, 3, 1], [4]);
        let ids = Tensor::from_data(ids, (&x[0].device(), DType::I32));
        embedding(x[0].clone(), ids, [1, 0, 1, 3].as_slice().into())
    });
}

#[test]
fn a_layer_that_is_not_rounded_to_f16_is_told_apart() {
    assert_told_apart(&residual_case(9, 16, DType::F16, 1), |x| x[0].clone() + x[1].clone());
}

#[test]
fn adamw_without_its_weight_decay_is_told_apart() {
    let expected = five_adamw_steps(adamw_reference, &Device::flex());
    let actual = five_adamw_steps(
        |parameter, gradient, moments, step, numbers| {
            adamw(parameter, gradient, moments, AdamWStep { weight_decay: 0.0, ..step }, numbers)
        },
        &Device::flex(),
    );
    assert!(largest_difference(&actual, &expected) > 1e-4);
}

/// Whether a model gives the golden hidden states and logits of one sequence.
fn passes(model: &MaskedLm, folder: &str) -> bool {
    forward_difference(model, &forward_goldens(folder), "", &[129], &[129]) <= model::TOLERANCE
}

fn assert_model_told_apart(folder: &str, what: &str, change: impl Fn(&mut ModelConfig)) {
    let mut config = golden_config(folder);
    change(&mut config);
    let weights = golden(&format!("model/{folder}/model.safetensors"));
    let wrong = masked_lm(&weights, &config, &Device::flex()).unwrap();
    assert!(!passes(&wrong, folder), "{folder} with {what} passes");
}

#[test]
fn a_model_with_another_configuration_is_told_apart() {
    for folder in ["plain", "biased"] {
        assert_model_told_apart(folder, "a smaller window", |config| config.local_attention -= 2);
        assert_model_told_apart(folder, "a larger window", |config| config.local_attention += 2);
        assert_model_told_apart(folder, "swapped thetas", |config| {
            std::mem::swap(&mut config.global_rope_theta, &mut config.local_rope_theta);
        });
        assert_model_told_apart(folder, "swapped layers", |config| config.layer_types.swap(0, 1));
        assert_model_told_apart(folder, "another epsilon", |config| config.norm_eps *= 10.0);
    }
}

#[test]
fn a_changed_weight_of_each_tensor_is_told_apart() {
    let (config, device) = (golden_config("biased"), Device::flex());
    let mut right = golden_model("biased", &device);
    assert!(passes(&right, "biased"));
    for index in 0..parameters(&mut right).len() {
        let mut tensors = parameters(&mut right);
        let tensor = &mut tensors[index];
        // One element; of the embedding one in every row, because few tokens occur.
        let step = if tensor.name.contains("tok_embeddings") { config.hidden_size } else { tensor.values.len() };
        tensor.values.iter_mut().step_by(step).for_each(|value| *value += 0.5);
        let file = write_safetensors(&tensors, StoredType::F32).unwrap();
        let wrong = masked_lm(&file, &config, &device).unwrap();
        assert!(!passes(&wrong, "biased"), "a changed {} passes", tensors[index].name);
    }
}

#[test]
fn the_other_pooling_is_told_apart() {
    let goldens = Golden::read("model/classifier_forward.safetensors");
    let logits = classify(Pooling::Cls, &golden_sequences(&LENGTHS), &Device::flex());
    assert_refuses("the other pooling", &logits, &goldens.f32("logits_mean"), model::TOLERANCE);
}

#[test]
fn gradients_of_another_batch_are_told_apart() {
    let mut batch = gradient_goldens("biased").batch("");
    batch.labels[0] = (batch.labels[0] + 1) % 300;
    let (_, differences) = gradient_differences("biased", &Device::flex(), &batch);
    assert!(differences.len() > 50);
    for (name, difference) in differences {
        let passes = difference <= model::TOLERANCE;
        assert!(!passes, "the gradient of {name} for another label passes");
    }
}

#[test]
fn a_training_run_with_another_optimizer_is_told_apart() {
    let passes = |config| {
        let (outcomes, trained) = golden_run(config, &Device::flex());
        run_differences(&outcomes, &trained).iter().all(|(_, difference, tolerance)| difference <= tolerance)
    };
    assert!(passes(CONFIG));
    for (what, wrong) in [
        ("beta1", AdamWConfig { beta1: 0.8, ..CONFIG }),
        ("beta2", AdamWConfig { beta2: 0.999, ..CONFIG }),
        ("epsilon", AdamWConfig { epsilon: 1e-8, ..CONFIG }),
        ("weight decay", AdamWConfig { weight_decay: 0.0, ..CONFIG }),
        ("clip", AdamWConfig { max_grad_norm: 1e9, ..CONFIG }),
    ] {
        assert!(!passes(wrong), "a run with another {what} passes");
    }
}
