//! Fine-tuning against transformers: fifty steps of every kind of task; and what an input may be.

use std::collections::BTreeMap;

use anaume_core::config::Pooling;
use anaume_core::finetune::{Feature, Sequence, Target, logits, loss_sums};
use anaume_core::heads::{FineTuned, HeadKind};
use anaume_core::model::Config;
use anaume_core::optim::{AdamW, AdamWConfig};
use anaume_core::schedule::Schedule;
use anaume_core::train_step::Trainer;
use anaume_core::weights::{HostTensor, StoredType, f32_values, read_safetensors, write_safetensors};
use anaume_tests::{Golden, assert_within, devices, golden, relative_difference, weight_file};
use burn::tensor::Device;

const KINDS: [(&str, HeadKind); 4] = [
    ("classification", HeadKind::Classification { num_labels: 3 }),
    ("regression", HeadKind::Regression),
    ("span", HeadKind::Span),
    ("choice", HeadKind::MultipleChoice),
];
const NUM_STEPS: u64 = 50;
const NUM_BATCHES: u64 = 10;
/// The bound; transformers' and these losses differ by less than a tenth of it.
const TOLERANCE: f64 = 1e-3;

/// The golden start: ../golden/model/classifier with the last layer of a kind.
fn start(goldens: &Golden, name: &str, kind: HeadKind, device: &Device) -> FineTuned {
    let labels = ["a", "b", "c"].map(str::to_owned);
    let labels = if matches!(kind, HeadKind::Classification { .. }) { &labels[..] } else { &[] };
    let config = Config::from_json(&golden("model/classifier/config.json")).unwrap();
    let config = config.fine_tuned(kind, labels, Pooling::Mean).unwrap();
    let bytes = golden("model/classifier/model.safetensors");
    let file = read_safetensors(&bytes).unwrap();
    let mut tensors: BTreeMap<String, HostTensor> = file
        .iter()
        .map(|(name, view)| {
            let values = f32_values(name, view.dtype(), view.data()).unwrap();
            (name.to_owned(), HostTensor { name: name.into(), shape: view.shape().to_vec(), values })
        })
        .collect();
    for part in ["weight", "bias"] {
        let values = goldens.f32(&format!("{name}.classifier.{part}"));
        let outputs = values.len() / if part == "weight" { 32 } else { 1 };
        let shape = if part == "weight" { vec![outputs, 32] } else { vec![outputs] };
        let key = format!("classifier.{part}");
        tensors.insert(key.clone(), HostTensor { name: key, shape, values });
    }
    let tensors: Vec<_> = tensors.into_values().collect();
    FineTuned::load(weight_file(&write_safetensors(&tensors, StoredType::F32).unwrap(), device), &config).unwrap()
}

fn features(goldens: &Golden, name: &str, kind: HeadKind, batch: u64) -> Vec<Feature> {
    let at = |what: &str| format!("{name}.{what}.{batch}");
    let (ids, lengths) = (goldens.ids(&at("ids")), goldens.indices(&at("lengths")));
    let mut rest = ids.as_slice();
    let sequences = lengths.iter().map(|length| {
        let (own, others) = rest.split_at(*length);
        rest = others;
        Sequence { ids: own.to_vec(), second_start: *length }
    });
    let sequences: Vec<_> = sequences.collect();
    let targets: Vec<Target> = match kind {
        HeadKind::Regression => {
            goldens.f64(&at("targets")).into_iter().map(|score| Target::Score(score as f32)).collect()
        }
        HeadKind::Span => goldens.indices(&at("targets")).chunks(2).map(|s| Target::Span(s[0], s[1])).collect(),
        _ => goldens.indices(&at("targets")).into_iter().map(Target::Class).collect(),
    };
    let each = sequences.len() / targets.len();
    let sequences = sequences.chunks(each).map(<[_]>::to_vec);
    sequences.zip(targets).map(|(sequences, target)| Feature { sequences, target }).collect()
}

/// Losses of fifty steps at this peak rate.
fn losses(goldens: &Golden, name: &str, kind: HeadKind, rate: f64, device: &Device) -> Vec<f32> {
    let optimizer =
        AdamWConfig { lr: rate, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, max_grad_norm: 1.0 };
    let mut trainer = Trainer::tracking(start(goldens, name, kind, device), AdamW::new(optimizer)).unwrap();
    let schedule = Schedule { warmup_steps: 5, ..Schedule::default() };
    let step = |step: u64| {
        let features = features(goldens, name, kind, step % NUM_BATCHES);
        // Two micro-batches, as a batch that does not fit the device.
        for part in features.chunks(3) {
            let part: Vec<&Feature> = part.iter().collect();
            let sums = loss_sums(&trainer.model, &part).unwrap();
            trainer.accumulate_sums(sums, features.len()).unwrap();
        }
        let outcome = pollster::block_on(trainer.finish(features.len(), rate * schedule.factor(step, NUM_STEPS)));
        outcome.unwrap().loss as f32
    };
    (0..NUM_STEPS).map(step).collect()
}

#[test]
fn fifty_steps_of_fine_tuning_have_the_losses_of_transformers() {
    let goldens = Golden::read("finetune/losses.safetensors");
    for (device_name, device) in devices() {
        for (name, kind) in KINDS {
            let expected: Vec<f32> = goldens.f64(&format!("{name}.losses")).iter().map(|loss| *loss as f32).collect();
            let difference = relative_difference(&losses(&goldens, name, kind, 5e-4, &device), &expected);
            assert_within(&format!("{name} on {device_name}"), difference, TOLERANCE);
        }
    }
}

#[test]
fn another_learning_rate_does_not_have_the_losses_of_transformers() {
    let goldens = Golden::read("finetune/losses.safetensors");
    for (name, kind) in KINDS {
        let expected: Vec<f32> = goldens.f64(&format!("{name}.losses")).iter().map(|loss| *loss as f32).collect();
        let difference = relative_difference(&losses(&goldens, name, kind, 6e-4, &Device::flex()), &expected);
        assert!(difference > TOLERANCE, "{name}: {difference:e} would not have been noticed");
    }
}

#[test]
fn logits_do_not_depend_on_what_else_is_in_the_batch() {
    let goldens = Golden::read("finetune/losses.safetensors");
    for (name, kind) in KINDS {
        let model = start(&goldens, name, kind, &Device::flex());
        let features = features(&goldens, name, kind, 0);
        let all: Vec<&Feature> = features.iter().collect();
        let together = pollster::block_on(logits(&model, &all)).unwrap();
        for (feature, expected) in features.iter().zip(&together) {
            let alone = pollster::block_on(logits(&model, &[feature])).unwrap();
            assert_within(name, relative_difference(&alone[0], expected), 1e-5);
        }
    }
}

#[test]
fn a_label_beyond_the_head_or_of_another_kind_is_an_error() {
    let goldens = Golden::read("finetune/losses.safetensors");
    let model = start(&goldens, "classification", KINDS[0].1, &Device::flex());
    let mut feature = features(&goldens, "classification", KINDS[0].1, 0).remove(0);
    for target in [Target::Class(3), Target::Score(1.0), Target::Span(0, 1)] {
        feature.target = target;
        assert!(loss_sums(&model, &[&feature]).is_err(), "{target:?}");
    }
}
