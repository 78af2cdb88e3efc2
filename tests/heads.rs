//! Fine-tuning heads against transformers: logits, gradients, what is drawn at random, and the configuration.

use std::collections::BTreeSet;

use anaume_core::batch::Sequences;
use anaume_core::config::Pooling;
use anaume_core::error::Result;
use anaume_core::heads::{FineTuned, HeadKind};
use anaume_core::layers::{ParameterVisitor, Parameters};
use anaume_core::model::Config;
use anaume_core::optim::GradientSums;
use anaume_core::weights::{StoredType, write_safetensors};
use anaume_shaders::cross_entropy::cross_entropy;
use anaume_tests::{Golden, assert_close, devices, golden, read, relative_difference, weight_file};
use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::bert::{separate, sequences};
use crate::model::{TOLERANCE, assert_holds, parameters};
use crate::weights::{Stored, assert_names, rewritten, stored};

const MODELS: [&str; 2] = ["bert", "modernbert"];
const TASKS: [(&str, HeadKind); 4] = [
    ("classification", HeadKind::Classification { num_labels: 3 }),
    ("regression", HeadKind::Regression),
    ("span", HeadKind::Span),
    ("choice", HeadKind::MultipleChoice),
];
const LABELS: [&str; 3] = ["含意", "矛盾", "中立"];

fn goldens() -> Golden {
    Golden::read("bert/heads.safetensors")
}

/// Folder of the pretrained model.
fn pretrained(model: &str) -> &'static str {
    if model == "bert" { "bert/masked_lm" } else { "model/plain" }
}

fn pretrained_weights(model: &str) -> Vec<u8> {
    golden(&format!("{}/model.safetensors", pretrained(model)))
}

fn pretrained_config(model: &str) -> Config {
    Config::from_json(&golden(&format!("{}/config.json", pretrained(model)))).unwrap()
}

/// `config.json` of a fine-tuned model by transformers.
fn config(model: &str, task: &str) -> Config {
    Config::from_json(&golden(&format!("bert/heads/{model}_{task}.json"))).unwrap()
}

/// `model.safetensors` of a fine-tuned model: the pretrained encoder and the golden head.
fn weights(model: &str, task: &str) -> Vec<u8> {
    let prefix = format!("{model}_{task}/");
    let head = stored(&golden("bert/heads.safetensors")).into_iter().filter_map(|tensor| {
        let name = tensor.name.strip_prefix(&prefix)?.to_owned();
        Some(Stored { name, ..tensor })
    });
    rewritten(&pretrained_weights(model), |tensors| {
        tensors.retain(|tensor| !tensor.name.starts_with("cls.") && !tensor.name.starts_with("decoder."));
        tensors.extend(head);
    })
}

fn load(model: &str, task: &str, device: &Device) -> FineTuned {
    FineTuned::load(weight_file(&weights(model, task), device), &config(model, task)).unwrap()
}

fn logits_of(model: &FineTuned, sequences: &Sequences) -> Tensor<2> {
    let inputs = model.encoder.inputs(sequences).unwrap();
    match model.kind {
        HeadKind::Span => model.span_logits(&inputs),
        _ => model.sequence_logits(&inputs),
    }
}

/// Every model on every device for every task.
fn for_each(check: impl Fn(&str, &str, &str, &Device)) {
    for (device_name, device) in devices() {
        for model in MODELS {
            for (task, _) in TASKS {
                check(&format!("{model}, {task} on {device_name}"), model, task, &device);
            }
        }
    }
}

#[test]
fn heads_give_the_logits_of_transformers() {
    for_each(|what, model, task, device| {
        let logits = read(logits_of(&load(model, task, device), &sequences()));
        assert_close(what, &logits, &goldens().f32(&format!("{model}_{task}.logits")), TOLERANCE);
    });
}

#[test]
fn logits_do_not_depend_on_the_neighbours() {
    for_each(|what, model, task, device| {
        let fine_tuned = load(model, task, device);
        let alone: Vec<f32> =
            separate(&sequences()).iter().flat_map(|sequence| read(logits_of(&fine_tuned, sequence))).collect();
        assert_close(what, &alone, &read(logits_of(&fine_tuned, &sequences())), 1e-5);
    });
}

#[test]
fn a_fine_tuned_model_goes_through_its_file_bit_for_bit() {
    for_each(|_, model, task, device| {
        assert_holds(&weights(model, task), &parameters(&mut load(model, task, device)));
    });
}

#[test]
fn configurations_are_those_that_transformers_writes() {
    for model in MODELS {
        for (task, kind) in TASKS {
            let labels = if task == "classification" { LABELS.map(str::to_owned).to_vec() } else { Vec::new() };
            let ours = pretrained_config(model).fine_tuned(kind, &labels, Pooling::Cls).unwrap();
            assert_eq!(ours.head_kind(), Some(kind));
            let ours: serde_json::Value = serde_json::from_slice(&ours.to_json(StoredType::F32)).unwrap();
            let theirs: serde_json::Value =
                serde_json::from_slice(&golden(&format!("bert/heads/{model}_{task}.json"))).unwrap();
            for (field, value) in theirs.as_object().unwrap() {
                assert!(field == "transformers_version" || &ours[field] == value, "{model}, {task}: {field}");
            }
            for field in ["id2label", "label2id", "problem_type", "num_labels"] {
                assert_eq!(ours.get(field), theirs.get(field), "{model}, {task}: {field}");
            }
        }
    }
}

#[test]
fn fine_tuning_again_forgets_the_classes_of_before() {
    let config = config("bert", "classification").fine_tuned(HeadKind::Regression, &[], Pooling::Cls).unwrap();
    assert_eq!(config.head_kind(), Some(HeadKind::Regression));
    assert!(!String::from_utf8(config.to_json(StoredType::F32)).unwrap().contains("含意"));
}

#[test]
fn heads_that_cannot_be_described_are_refused() {
    let error_of = |model: &str, labels: &[&str], pooling| {
        let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        let kind = HeadKind::Classification { num_labels: 2 };
        pretrained_config(model).fine_tuned(kind, &labels, pooling).expect_err("the head is refused").to_string()
    };
    assert!(error_of("modernbert", &["a"], Pooling::Cls).contains("1 names for 2 classes"));
    assert!(error_of("modernbert", &["a", "a"], Pooling::Cls).contains("not all different"));
    assert!(error_of("bert", &["a", "b"], Pooling::Mean).contains("classifier_pooling"));
    let error = FineTuned::load(weight_file(&pretrained_weights("bert"), &Device::flex()), &pretrained_config("bert"));
    assert!(error.err().unwrap().to_string().contains("BertForMaskedLM"));
}

#[test]
fn a_new_head_draws_what_the_file_lacks_and_says_so() {
    for_each(|what, model, task, device| {
        let file = pretrained_weights(model);
        let (mut new, drawn) = FineTuned::from_pretrained(weight_file(&file, device), &config(model, task), 5).unwrap();
        let expected: BTreeSet<String> = goldens().names_after(&format!("{model}_{task}/")).into_iter().collect();
        assert_eq!(drawn.iter().cloned().collect::<BTreeSet<_>>(), expected, "{what}");
        let kept: Vec<_> = parameters(&mut new).into_iter().filter(|tensor| !expected.contains(&tensor.name)).collect();
        let of_file = rewritten(&file, |tensors| {
            tensors.retain(|tensor| kept.iter().any(|kept| kept.name == tensor.name));
        });
        assert_holds(&of_file, &kept);
    });
}

#[test]
fn a_pooler_that_the_file_has_is_taken() {
    let file = golden("bert/encoder/model.safetensors");
    let config = config("bert", "classification");
    let (_, drawn) = FineTuned::from_pretrained(weight_file(&file, &Device::flex()), &config, 5).unwrap();
    assert_eq!(drawn, ["classifier.weight", "classifier.bias"]);
}

fn deviation(values: &[f32]) -> f64 {
    (values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

#[test]
fn new_heads_start_as_transformers_starts_them() {
    let new = |model, task| {
        let (mut new, _) = FineTuned::from_pretrained(
            weight_file(&pretrained_weights(model), &Device::flex()),
            &config(model, task),
            5,
        )
        .unwrap();
        parameters(&mut new)
    };
    let of_bert = new("bert", "classification");
    let find = |name: &str| of_bert.iter().find(|tensor| tensor.name == name).unwrap().values.as_slice();
    assert!((deviation(find("bert.pooler.dense.weight")) / 0.05 - 1.0).abs() < 0.1);
    assert!(find("bert.pooler.dense.weight").iter().any(|value| value.abs() > 0.1), "the tails are not cut");
    assert!(find("bert.pooler.dense.bias").iter().chain(find("classifier.bias")).all(|value| *value == 0.0));
    let of_modernbert = new("modernbert", "classification");
    let classifier = &of_modernbert.iter().find(|tensor| tensor.name == "classifier.weight").unwrap().values;
    // A normal distribution cut at two deviations has 0.88 of its deviation.
    assert!((deviation(classifier) * 32_f64.sqrt() / 0.88 - 1.0).abs() < 0.2);
    assert!(classifier.iter().all(|value| f64::from(value.abs()) * 32_f64.sqrt() < 2.001));
}

#[test]
fn another_seed_draws_another_head() {
    let file = pretrained_weights("bert");
    let logits = |seed| {
        let config = config("bert", "regression");
        let (new, _) = FineTuned::from_pretrained(weight_file(&file, &Device::flex()), &config, seed).unwrap();
        read(logits_of(&new, &sequences()))
    };
    assert_eq!(logits(1), logits(1));
    assert!(relative_difference(&logits(1), &logits(2)) > 0.1);
}

#[test]
fn a_new_head_does_not_hide_a_missing_or_an_unknown_tensor() {
    for (model, name) in [("bert", "bert.embeddings.LayerNorm.weight"), ("modernbert", "model.final_norm.weight")] {
        let refusal = |change: &dyn Fn(&mut Vec<Stored>)| {
            let file = rewritten(&pretrained_weights(model), change);
            let config = config(model, "classification");
            FineTuned::from_pretrained(weight_file(&file, &Device::flex()), &config, 5).err().unwrap()
        };
        assert_names(&refusal(&|tensors| tensors.retain(|tensor| tensor.name != name)), name, "does not have it");
        let push = |tensors: &mut Vec<Stored>| {
            let extra = Stored { name: "adapter.weight".into(), ..tensors[0].clone() };
            tensors.push(extra);
        };
        assert_names(&refusal(&push), "adapter.weight", "no place for it");
    }
}

#[test]
fn a_fine_tuned_file_of_another_task_is_refused() {
    for (model, file, config_of, tensor) in [
        ("bert", "classification", "regression", "classifier.weight"),
        ("bert", "classification", "span", "qa_outputs.weight"),
        ("bert", "span", "choice", "bert.pooler.dense.weight"),
        ("modernbert", "span", "classification", "classifier.weight"),
    ] {
        let error = FineTuned::load(weight_file(&weights(model, file), &Device::flex()), &config(model, config_of))
            .err()
            .unwrap();
        assert_names(&error, tensor, "the model needs");
    }
}

/// Makes every parameter a leaf that records its gradient.
struct Track;

impl ParameterVisitor for Track {
    fn visit<const D: usize>(&mut self, _: &str, parameter: &mut Tensor<D>) -> Result<()> {
        parameter.inplace(|tensor| Tensor::from_inner(tensor.without_autodiff()).require_grad());
        Ok(())
    }
}

/// Mean cross-entropy of the golden sequences and the gradient of every parameter.
fn gradients(model: &str, labels: Vec<i32>, device: &Device) -> (f32, GradientSums) {
    let mut fine_tuned = load(model, "classification", device);
    fine_tuned.visit(&mut Track).unwrap();
    let logits_sl = logits_of(&fine_tuned, &sequences());
    let count = labels.len();
    let labels_s = Tensor::from_data(TensorData::new(labels, [count]), (&logits_sl.device(), DType::I32));
    let losses: Tensor<1> = cross_entropy(logits_sl, labels_s).sum_dim(1).squeeze_dim(1);
    let loss = losses.narrow(0, 0, 1) / count as f64;
    let mut sums = GradientSums::default();
    sums.add(&mut fine_tuned, &mut loss.backward()).unwrap();
    (read(loss.inner())[0], sums)
}

/// Per stored parameter the relative difference of its gradient from the golden one.
fn gradient_differences(model: &str, sums: &GradientSums) -> Vec<(String, f64)> {
    let prefix = format!("{model}_classification.gradient/");
    let difference = |name: String| {
        let expected = goldens().f32(&format!("{prefix}{name}"));
        let difference = relative_difference(&read(sums.get(&name).unwrap().clone()), &expected);
        (name, difference)
    };
    goldens().names_after(&prefix).into_iter().map(difference).collect()
}

fn golden_labels(model: &str) -> Vec<i32> {
    goldens().indices(&format!("{model}_classification.labels")).into_iter().map(|label| label as i32).collect()
}

#[test]
fn the_loss_and_gradients_of_a_classification_equal_those_of_transformers() {
    for (device_name, device) in devices() {
        for model in MODELS {
            let (loss, sums) = gradients(model, golden_labels(model), &device);
            let what = format!("{model} on {device_name}");
            assert_close(&what, &[loss], &goldens().f32(&format!("{model}_classification.loss")), TOLERANCE);
            let differences = gradient_differences(model, &sums);
            assert!(differences.len() >= 4);
            for (name, difference) in differences {
                assert!(difference <= TOLERANCE, "gradient of {name}, {what}: {difference}");
            }
        }
    }
}

#[test]
fn every_parameter_of_every_head_gets_a_gradient() {
    for_each(|_, model, task, device| {
        let mut fine_tuned = load(model, task, device);
        fine_tuned.visit(&mut Track).unwrap();
        let mut gradients = logits_of(&fine_tuned, &sequences()).square().sum().backward();
        GradientSums::default().add(&mut fine_tuned, &mut gradients).unwrap();
    });
}

#[test]
fn a_changed_head_and_other_labels_are_told_apart() {
    for model in MODELS {
        let expected = goldens().f32(&format!("{model}_classification.logits"));
        let mut right = load(model, "classification", &Device::flex());
        let heads = parameters(&mut right).into_iter().enumerate().filter(|(_, tensor)| {
            ["head.", "bert.pooler.", "classifier."].iter().any(|part| tensor.name.starts_with(part))
        });
        for (index, _) in heads {
            let mut tensors = parameters(&mut right);
            tensors[index].values[0] += 0.5;
            let file = write_safetensors(&tensors, StoredType::F32).unwrap();
            let wrong = FineTuned::load(weight_file(&file, &Device::flex()), &config(model, "classification")).unwrap();
            let difference = relative_difference(&read(logits_of(&wrong, &sequences())), &expected);
            assert!(difference > TOLERANCE, "{model}: a changed {} passes", tensors[index].name);
        }
        let mut labels = golden_labels(model);
        labels[0] = (labels[0] + 1) % 3;
        let (_, sums) = gradients(model, labels, &Device::flex());
        assert!(gradient_differences(model, &sums).iter().all(|(_, difference)| *difference > TOLERANCE));
    }
}
