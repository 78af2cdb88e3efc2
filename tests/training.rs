//! Training steps: twenty of them against PyTorch, accumulation, and refusals.

use std::collections::BTreeMap;

use anaume_core::batch::{Batch, Sequences};
use anaume_core::error::Result;
use anaume_core::layers::{ParameterVisitor, Parameters, Precision};
use anaume_core::optim::{AdamW, AdamWConfig, GradientSums};
use anaume_core::schedule::Schedule;
use anaume_core::train_step::{Evaluation, StepOutcome, Trainer};
use anaume_core::weights::HostTensor;
use anaume_tests::{
    Golden, assert_close, assert_within, batch, devices, golden_model, largest, random, read, relative_difference,
};
use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::gradients::{add_gradients, gradient_goldens, tracked_model};
use crate::model::parameters;

const NUM_STEPS: u64 = 20;
/// Of losses and gradient norms over twenty steps; the two attentions of transformers differ by 1e-7 here.
const TOLERANCE: f64 = 1e-4;
/// Of each parameter's sum of squares at the end: a forgotten weight decay changes it by 2e-4.
const SUM_TOLERANCE: f64 = 2e-5;
/// The optimizer of the golden run.
pub const CONFIG: AdamWConfig =
    AdamWConfig { lr: 1e-3, beta1: 0.9, beta2: 0.98, epsilon: 1e-6, weight_decay: 0.01, max_grad_norm: 1.0 };

/// The goldens of the training run.
pub fn training_goldens() -> Golden {
    Golden::read("model/plain_training.safetensors")
}

fn trainer(config: AdamWConfig, device: &Device) -> Trainer {
    Trainer::new(golden_model("plain", device), AdamW::new(config), Precision::F32).unwrap()
}

fn step(trainer: &mut Trainer, micro_batches: &[Batch], learning_rate: f64) -> StepOutcome {
    let num_masked: usize = micro_batches.iter().map(|batch| batch.masked.len()).sum();
    micro_batches.iter().for_each(|batch| trainer.accumulate(batch, num_masked).unwrap());
    pollster::block_on(trainer.finish(num_masked, learning_rate)).unwrap()
}

fn rates() -> Vec<f64> {
    let schedule = Schedule { warmup_steps: 4, ..Schedule::default() };
    (0..NUM_STEPS).map(|completed| CONFIG.lr * schedule.factor(completed, NUM_STEPS)).collect()
}

/// The golden run with this optimizer: what each step did, and the parameters at the end.
pub fn golden_run(config: AdamWConfig, device: &Device) -> (Vec<StepOutcome>, Vec<HostTensor>) {
    let goldens = training_goldens();
    let mut trainer = trainer(config, device);
    let outcomes = rates().into_iter().enumerate();
    let outcomes =
        outcomes.map(|(index, rate)| step(&mut trainer, &[goldens.batch(&format!(".{index}"))], rate)).collect();
    (outcomes, parameters(&mut trainer.model))
}

/// What a run can differ in from the golden one, by how much it does, and by how much it may.
pub fn run_differences(outcomes: &[StepOutcome], trained: &[HostTensor]) -> [(&'static str, f64, f64); 3] {
    let goldens = training_goldens();
    let column = |of: fn(&StepOutcome) -> f64, name: &str| {
        let actual: Vec<f32> = outcomes.iter().map(|outcome| of(outcome) as f32).collect();
        let expected: Vec<f32> = goldens.f64(name).into_iter().map(|value| value as f32).collect();
        relative_difference(&actual, &expected)
    };
    let sum_of_squares = |tensor: &HostTensor| {
        let sum: f64 = tensor.values.iter().map(|value| f64::from(*value).powi(2)).sum();
        (sum / goldens.f64(&format!("sum_squares.{}", tensor.name))[0] - 1.0).abs()
    };
    [
        ("losses", column(|outcome| outcome.loss, "losses"), TOLERANCE),
        ("gradient norms", column(|outcome| outcome.grad_norm, "grad_norms"), TOLERANCE),
        ("sums of squares", largest(trained.iter().map(sum_of_squares)), SUM_TOLERANCE),
    ]
}

#[test]
fn the_schedule_counts_as_hugging_face_counts() {
    let expected = training_goldens().f64("learning_rates");
    assert_eq!(rates().len(), expected.len());
    assert!(rates().iter().zip(&expected).all(|(rate, expected)| (rate - expected).abs() <= 1e-15));
}

#[test]
fn twenty_steps_have_the_losses_and_end_at_the_parameters_of_torch() {
    let goldens = training_goldens();
    for (device_name, device) in devices() {
        let (outcomes, trained) = golden_run(CONFIG, &device);
        assert!(outcomes.iter().all(|outcome| outcome.applied), "{device_name}");
        assert_eq!(trained.len(), goldens.names_after("sum_squares.").len());
        for (what, difference, tolerance) in run_differences(&outcomes, &trained) {
            assert_within(&format!("{what} on {device_name}"), difference, tolerance);
        }
    }
}

/// Sequences of different lengths and with different numbers of masks, the last without any.
fn eight_sequences() -> Vec<Batch> {
    let ids = |seed, count| -> Vec<u32> { random(seed, count).iter().map(|x| 8 + ((x + 2.0) * 70.0) as u32).collect() };
    let of = |seed: u64, length: usize, num_masked: usize| {
        let ids_of_sequence = ids(seed, length);
        let masked: Vec<usize> = (0..num_masked).map(|index| index * length / num_masked.max(1)).collect();
        let labels = ids(seed + 100, num_masked);
        batch(Sequences { ids: ids_of_sequence, lengths: vec![length], ..Sequences::default() }, masked, labels)
    };
    let shapes = [(5, 1), (40, 20), (33, 3), (70, 9), (1, 1), (64, 30), (20, 5), (10, 0)];
    (1..).zip(shapes).map(|(seed, (length, num_masked))| of(seed, length, num_masked)).collect()
}

fn joined(batches: &[Batch]) -> Batch {
    let (mut sequences, mut masked, mut labels) = (Sequences::default(), Vec::new(), Vec::new());
    for batch in batches {
        masked.extend(batch.masked.iter().map(|token| sequences.ids.len() + token));
        labels.extend_from_slice(&batch.labels);
        sequences.push(&batch.sequences.ids);
    }
    batch(sequences, masked, labels)
}

/// Loss and gradients of micro-batches whose losses are divided by the masked tokens of all.
pub fn accumulated(micro_batches: &[Batch], device: &Device) -> (f32, BTreeMap<String, Vec<f32>>) {
    let num_masked: usize = micro_batches.iter().map(|batch| batch.masked.len()).sum();
    let (mut model, mut sums) = (tracked_model("plain", device), GradientSums::default());
    let loss: f32 = micro_batches.iter().map(|batch| add_gradients(&mut model, batch, num_masked, &mut sums)).sum();
    let names = gradient_goldens("plain").names_after("gradient.");
    let gradient = |name: String| {
        let values = read(sums.get(&name).unwrap().clone());
        (name, values)
    };
    (loss, names.into_iter().map(gradient).collect())
}

/// Outcome and parameters of one step on all eight sequences, after changes to the trainer.
fn one_step(device: &Device, change: impl Fn(&mut Trainer)) -> (StepOutcome, Vec<HostTensor>) {
    let mut trainer = trainer(CONFIG, device);
    change(&mut trainer);
    let outcome = step(&mut trainer, &[joined(&eight_sequences())], 1e-3);
    (outcome, parameters(&mut trainer.model))
}

#[test]
fn recomputed_layers_and_logits_in_parts_give_the_same_step() {
    for (device_name, device) in devices() {
        let (expected, parameters) = one_step(&device, |_| ());
        let recomputed = one_step(&device, |trainer| trainer.recompute = true);
        // One token at a time, and seven of 69.
        let in_parts = [1, 7 * 300].map(|logits| one_step(&device, |trainer| trainer.logits_at_once = logits));
        for (outcome, changed) in in_parts.into_iter().chain([recomputed]) {
            let numbers = |outcome: &StepOutcome| [outcome.loss, outcome.grad_norm, outcome.accuracy].map(|x| x as f32);
            assert_close(device_name, &numbers(&outcome), &numbers(&expected), 1e-5);
            for (changed, expected) in changed.iter().zip(&parameters) {
                let difference = relative_difference(&changed.values, &expected.values);
                assert_within(&format!("{} on {device_name}", expected.name), difference, 1e-4);
            }
        }
    }
}

#[test]
fn one_batch_of_eight_has_the_gradients_of_eight_of_one() {
    let eight = eight_sequences();
    for (device_name, device) in devices() {
        let ((loss, gradients), (expected_loss, expected)) =
            (accumulated(&eight, &device), accumulated(&[joined(&eight)], &device));
        assert_close(device_name, &[loss], &[expected_loss], 1e-5);
        for (name, gradient) in gradients {
            assert_close(&format!("{name} on {device_name}"), &gradient, &expected[&name], 1e-5);
        }
    }
}

#[test]
fn one_batch_of_eight_makes_the_step_of_eight_of_one() {
    let eight = eight_sequences();
    for (device_name, device) in devices() {
        let run = |micro_batches: &[Batch]| {
            let mut trainer = trainer(CONFIG, &device);
            let outcome = step(&mut trainer, micro_batches, CONFIG.lr);
            (outcome, parameters(&mut trainer.model))
        };
        let ((outcome, changed), (expected, expected_parameters)) = (run(&eight), run(&[joined(&eight)]));
        let numbers = |outcome: StepOutcome| [outcome.loss as f32, outcome.grad_norm as f32];
        assert_close(device_name, &numbers(outcome), &numbers(expected), 1e-5);
        assert_eq!((outcome.accuracy, outcome.applied), (expected.accuracy, true), "{device_name}");
        for (tensor, expected) in changed.iter().zip(&expected_parameters) {
            assert_close(&format!("{} on {device_name}", tensor.name), &tensor.values, &expected.values, 1e-4);
        }
    }
}

/// Replaces one value of one parameter.
struct Poison {
    name: &'static str,
    value: f32,
}

impl ParameterVisitor for Poison {
    fn visit<const D: usize>(&mut self, name: &str, parameter: &mut Tensor<D>) -> Result<()> {
        if name == self.name {
            let (device, shape) = (parameter.device(), parameter.dims());
            let mut values = read(parameter.clone().inner());
            values[0] = self.value;
            let data = TensorData::new(values, shape);
            *parameter = Tensor::from_data(data, &device).require_grad();
        }
        Ok(())
    }
}

fn bits(tensors: &[HostTensor]) -> Bits {
    let values = |tensor: &HostTensor| tensor.values.iter().map(|value| value.to_bits()).collect();
    tensors.iter().map(|tensor| (tensor.name.clone(), values(tensor))).collect()
}

/// The bits of named tensors.
type Bits = Vec<(String, Vec<u32>)>;

/// Everything that a step may change.
fn state(trainer: &mut Trainer) -> (u64, Bits, Bits) {
    let moments = pollster::block_on(trainer.optimizer.read_state()).unwrap();
    (trainer.optimizer.num_steps, bits(&parameters(&mut trainer.model)), bits(&moments))
}

#[test]
fn a_poisoned_step_touches_nothing_and_the_next_good_one_works() {
    let goldens = training_goldens();
    let (first, second) = (goldens.batch(".0"), goldens.batch(".1"));
    for (device_name, device) in devices() {
        for value in [f32::NAN, f32::INFINITY] {
            let name = "model.layers.1.mlp.Wi.weight";
            let mut trainer = trainer(CONFIG, &device);
            step(&mut trainer, std::slice::from_ref(&first), CONFIG.lr);
            let healthy =
                parameters(&mut trainer.model).into_iter().find(|tensor| tensor.name == name).unwrap().values[0];
            trainer.model.visit(&mut Poison { name, value }).unwrap();
            let before = state(&mut trainer);
            let outcome = step(&mut trainer, std::slice::from_ref(&second), CONFIG.lr);
            assert!(!outcome.applied, "{value} on {device_name}: {outcome:?}");
            assert!(!(outcome.loss.is_finite() && outcome.grad_norm.is_finite()), "{outcome:?}");
            assert!(state(&mut trainer) == before, "{value} on {device_name} changed the model or the optimizer");
            trainer.model.visit(&mut Poison { name, value: healthy }).unwrap();
            let healed = step(&mut trainer, std::slice::from_ref(&second), CONFIG.lr);
            assert!(healed.applied && state(&mut trainer) != before, "{device_name}: {healed:?}");
        }
    }
}

#[test]
fn a_step_changes_every_parameter_and_counts() {
    let mut trainer = trainer(CONFIG, &Device::flex());
    let before = parameters(&mut trainer.model);
    assert!(step(&mut trainer, &[training_goldens().batch(".0")], CONFIG.lr).applied);
    assert_eq!(trainer.optimizer.num_steps, 1);
    for (before, after) in before.iter().zip(parameters(&mut trainer.model)) {
        assert_ne!(before.values, after.values, "{}", after.name);
    }
}

#[test]
fn discarded_micro_batches_leave_no_trace() {
    let goldens = training_goldens();
    let clean = step(&mut trainer(CONFIG, &Device::flex()), &[goldens.batch(".1")], CONFIG.lr);
    let mut trainer = trainer(CONFIG, &Device::flex());
    trainer.accumulate(&goldens.batch(".0"), 10).unwrap();
    trainer.discard();
    assert_eq!(step(&mut trainer, &[goldens.batch(".1")], CONFIG.lr), clean);
}

#[test]
fn a_step_without_masked_tokens_is_an_error() {
    let mut trainer = trainer(CONFIG, &Device::flex());
    let unmasked = Batch { masked: Vec::new(), labels: Vec::new(), ..training_goldens().batch(".0") };
    trainer.accumulate(&unmasked, 1).unwrap();
    let error = pollster::block_on(trainer.finish(1, CONFIG.lr)).unwrap_err();
    assert!(error.to_string().contains("no masked token"), "{error}");
}

#[test]
fn the_optimizer_goes_through_its_state_bit_for_bit() {
    let goldens = training_goldens();
    for (device_name, device) in devices() {
        let mut straight = trainer(CONFIG, &device);
        step(&mut straight, &[goldens.batch(".0")], CONFIG.lr);
        let saved = pollster::block_on(straight.optimizer.read_state()).unwrap();
        let mut optimizer = AdamW::new(CONFIG);
        optimizer.restore(&mut straight.model, 1, saved).unwrap();
        let before = state(&mut straight);
        let mut resumed = Trainer::new(straight.model.clone(), optimizer, Precision::F32).unwrap();
        assert!(state(&mut resumed) == before, "{device_name}");
        step(&mut straight, &[goldens.batch(".1")], CONFIG.lr);
        step(&mut resumed, &[goldens.batch(".1")], CONFIG.lr);
        if device_name == "flex" {
            assert!(state(&mut resumed) == state(&mut straight), "{device_name}");
        }
    }
}

#[test]
fn evaluation_weighs_batches_by_their_masked_tokens() {
    let (model, eight) = (golden_model("plain", &Device::flex()), eight_sequences());
    let evaluate = |batches: &[Batch]| {
        let mut evaluation = Evaluation::default();
        batches.iter().for_each(|batch| pollster::block_on(evaluation.add(&model, batch)).unwrap());
        evaluation
    };
    let (parts, whole) = (evaluate(&eight), evaluate(&[joined(&eight)]));
    assert_close("loss", &[parts.loss() as f32], &[whole.loss() as f32], 1e-5);
    assert_eq!((parts.accuracy(), parts.num_masked), (whole.accuracy(), whole.num_masked));
}

#[test]
fn half_precision_follows_single_precision() {
    for (device_name, device) in devices() {
        let all = [(Precision::F16, DType::F16), (Precision::BF16, DType::BF16)];
        let able: Vec<_> = all.into_iter().filter(|(_, dtype)| device.supports_dtype(*dtype)).collect();
        if able.is_empty() {
            anaume_tests::skip(&format!("{device_name} has neither f16 nor bf16"));
        }
        let batch = joined(&eight_sequences());
        let losses = |precision: Precision| -> Vec<f32> {
            let optimizer = AdamW::new(AdamWConfig { lr: 1e-3, ..AdamWConfig::default() });
            let mut trainer = Trainer::new(golden_model("plain", &device), optimizer, precision).unwrap();
            let step = |trainer: &mut Trainer| {
                trainer.accumulate(&batch, batch.masked.len()).unwrap();
                pollster::block_on(trainer.finish(batch.masked.len(), 1e-3)).unwrap()
            };
            // The first scales may overflow: a skipped step halves the scale and is tried again.
            let steps = (0..40).map(|_| step(&mut trainer)).filter(|outcome| outcome.applied).take(10);
            steps.map(|outcome| outcome.loss as f32).collect()
        };
        for (precision, _) in able {
            let name = format!("{precision:?} on {device_name}");
            let (half, single) = (losses(precision), losses(Precision::F32));
            assert_eq!(half.len(), 10, "{name}: too many skipped steps");
            assert_close(&name, &half, &single, 5e-3);
            assert_ne!(half, single, "{name}: nothing was rounded");
            assert!(half[9] < half[0], "{name}: the loss does not fall: {half:?}");
        }
    }
}
