//! The model against transformers: hidden states after every layer, logits, classifiers, and files in both directions.
//!
//! The goldens come from padded batches; here the same sequences are packed, and run one by one.

use anaume_core::batch::Sequences;
use anaume_core::config::{LayerType, ModelConfig, Pooling};
use anaume_core::heads::{FineTuned, HeadKind};
use anaume_core::layers::Parameters;
use anaume_core::model::Config;
use anaume_core::modernbert::MaskedLm;
use anaume_core::weights::{HostTensor, StoredType, f32_values, read_parameters, write_safetensors};
use anaume_tests::{
    Golden, assert_close, assert_within, devices, golden, golden_config, golden_dir, golden_model, largest, masked_lm,
    read, relative_difference, weight_file,
};
use burn::tensor::Device;
use safetensors::SafeTensors;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Of hidden states, logits and gradients, against transformers; its own two attentions differ by 1e-6 on these goldens.
pub const TOLERANCE: f64 = 1e-4;
/// Lengths of the golden sequences, in the order of the golden batch.
pub const LENGTHS: [usize; 6] = [1, 63, 64, 65, 129, 700];
/// Those of which hidden states and logits are stored.
const STORED: [usize; 4] = [1, 64, 129, 700];
/// The pair that transformers saw padded at the left.
const LEFT: [usize; 2] = [65, 129];

/// The golden sequences of these lengths.
pub fn golden_sequences(lengths: &[usize]) -> Sequences {
    let inputs = Golden::read("model/inputs.safetensors");
    let mut sequences = Sequences::default();
    lengths.iter().for_each(|length| sequences.push(&inputs.ids(&format!("ids.{length}"))));
    sequences
}

/// What a model computes of packed sequences.
struct Forward {
    /// Input of each layer and output of the final norm, `[t, d]` each.
    hidden: Vec<Vec<f32>>,
    /// `[t, v]`.
    logits: Vec<f32>,
}

fn forward(model: &MaskedLm, sequences: &Sequences) -> Forward {
    let inputs = model.encoder.inputs(sequences).unwrap();
    let mut states = Vec::new();
    let last = model.encoder.forward_observed(&inputs, |_, hidden_td| states.push(hidden_td.clone()));
    let every_token: Vec<usize> = (0..sequences.ids.len()).collect();
    let logits = read(model.logits_at(last, &every_token));
    Forward { hidden: states.into_iter().map(read).collect(), logits }
}

/// The rows of `[t, width]` at `positions` of the sequence that starts at token `start`.
fn rows(values: &[f32], start: usize, positions: &[usize], num_tokens: usize) -> Vec<f32> {
    let width = values.len() / num_tokens;
    positions.iter().flat_map(|position| &values[(start + position) * width..][..width]).copied().collect()
}

/// Largest relative difference from the goldens of packed sequences of these lengths, over those stored under `prefix`.
pub fn forward_difference(
    model: &MaskedLm,
    goldens: &Golden,
    prefix: &str,
    lengths: &[usize],
    stored: &[usize],
) -> f64 {
    let sequences = golden_sequences(lengths);
    let num_tokens = sequences.ids.len();
    let forward = forward(model, &sequences);
    let mut differences = Vec::new();
    for length in stored {
        let index = lengths.iter().position(|other| other == length).unwrap();
        let start: usize = lengths[..index].iter().sum();
        let mut compare = |values: &[f32], positions: &str, name: &str| {
            let positions = goldens.indices(&format!("{prefix}{positions}.{length}"));
            let actual = rows(values, start, &positions, num_tokens);
            differences.push(relative_difference(&actual, &goldens.f32(&format!("{prefix}{name}"))));
        };
        for (layer, hidden) in forward.hidden.iter().enumerate() {
            compare(hidden, "positions", &format!("hidden.{length}.{layer}"));
        }
        compare(&forward.logits, "logit_positions", &format!("logits.{length}"));
    }
    largest(differences)
}

/// The goldens of a forward pass.
pub fn forward_goldens(folder: &str) -> Golden {
    Golden::read(&format!("model/{folder}_forward.safetensors"))
}

fn for_each_model(check: impl Fn(&str, &MaskedLm, &Golden)) {
    for (device_name, device) in devices() {
        for folder in ["plain", "biased"] {
            check(&format!("{folder} on {device_name}"), &golden_model(folder, &device), &forward_goldens(folder));
        }
    }
}

#[test]
fn goldens_have_the_hashes_of_their_manifest() {
    for room in ["model", "bert"] {
        let manifest: Value = serde_json::from_slice(&golden(&format!("{room}/manifest.json"))).unwrap();
        let hashes = manifest["sha256"].as_object().unwrap();
        let sha256 = |name: &str| {
            let bytes = golden(&format!("{room}/{name}"));
            Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        for (name, expected) in hashes {
            assert_eq!(sha256(name), expected.as_str().unwrap(), "{room}/{name}");
        }
        assert_eq!(sha256("generate.py"), manifest["generator_sha256"].as_str().unwrap());
        let files = std::fs::read_dir(golden_dir().join(room)).unwrap().map(|entry| entry.unwrap().path());
        let stored = files.filter(|path| path.extension().is_some_and(|kind| kind == "safetensors"));
        for path in stored {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(hashes.contains_key(name), "{room}/{name} is not in the manifest");
        }
    }
}

#[test]
fn both_layouts_of_config_json_are_understood() {
    let (plain, biased) = (golden_config("plain"), golden_config("biased"));
    let (full, sliding) = (LayerType::FullAttention, LayerType::SlidingAttention);
    assert_eq!(plain.layer_types, [full, sliding, sliding, full]);
    assert_eq!(biased.layer_types, [full, sliding, full, sliding]);
    assert_eq!((plain.global_rope_theta, plain.local_rope_theta), (160_000.0, 10_000.0));
    assert_eq!((biased.global_rope_theta, biased.local_rope_theta), (40_000.0, 1_000.0));
    assert_eq!((plain.sliding_window(), biased.sliding_window()), (64, 8));
}

#[test]
fn a_small_config_cannot_ask_for_large_tables() {
    let refused = |fields: Value, expected: &str| {
        let mut config: Value = serde_json::from_slice(&golden("model/plain/config.json")).unwrap();
        config.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let message = ModelConfig::from_json(config.to_string().as_bytes()).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    };
    refused(json!({"max_position_embeddings": (1 << 17) + 1}), "`max_position_embeddings`");
    refused(json!({"hidden_size": 1024, "num_attention_heads": 1}), "`hidden_size / num_attention_heads`: 1024");
    refused(json!({"local_attention": u64::MAX}), "`local_attention`");
    refused(json!({"num_labels": (1 << 16) + 1}), "`num_labels`");
    for field in ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"] {
        refused(json!({ (field): 1_u64 << 40 }), &format!("`{field}`"));
        refused(json!({ (field): 0 }), &format!("`{field}`"));
    }
}

#[test]
fn packed_sequences_give_the_states_and_logits_of_a_padded_batch() {
    for_each_model(|what, model, goldens| {
        assert_within(what, forward_difference(model, goldens, "", &LENGTHS, &STORED), TOLERANCE);
    });
}

#[test]
fn a_single_sequence_gives_the_states_and_logits_of_a_padded_batch() {
    for_each_model(|what, model, goldens| {
        for length in STORED {
            let difference = forward_difference(model, goldens, "", &[length], &[length]);
            assert_within(&format!("{what}, {length} tokens"), difference, TOLERANCE);
        }
    });
}

#[test]
fn left_padding_in_the_reference_gives_the_same_states_and_logits() {
    for_each_model(|what, model, goldens| {
        assert_within(what, forward_difference(model, goldens, "left.", &LEFT, &LEFT), TOLERANCE);
    });
}

/// Logits of the golden classifier, `[s, 3]`.
pub fn classify(pooling: Pooling, sequences: &Sequences, device: &Device) -> Vec<f32> {
    let mut config = golden_config("classifier");
    config.classifier_pooling = pooling;
    let weights = golden("model/classifier/model.safetensors");
    let model = FineTuned::load(weight_file(&weights, device), &Config::ModernBert(config)).unwrap();
    read(model.sequence_logits(&model.encoder.inputs(sequences).unwrap()))
}

#[test]
fn classifiers_give_the_logits_of_transformers_with_both_poolings() {
    assert_eq!(golden_config("classifier").classifier_pooling, Pooling::Mean);
    let kind = Config::ModernBert(golden_config("classifier")).head_kind();
    assert_eq!(kind, Some(HeadKind::Classification { num_labels: 3 }));
    let goldens = Golden::read("model/classifier_forward.safetensors");
    for (device_name, device) in devices() {
        for (pooling, name) in [(Pooling::Mean, "logits_mean"), (Pooling::Cls, "logits_cls")] {
            let logits = classify(pooling, &golden_sequences(&LENGTHS), &device);
            assert_close(&format!("{name} on {device_name}"), &logits, &goldens.f32(name), TOLERANCE);
        }
    }
}

/// All parameters of a model.
pub fn parameters(model: &mut impl Parameters) -> Vec<HostTensor> {
    pollster::block_on(read_parameters(model)).unwrap()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Fails unless the file holds exactly these tensors, bit for bit once both are f32.
pub fn assert_holds(file: &[u8], tensors: &[HostTensor]) {
    let file = SafeTensors::deserialize(file).unwrap();
    assert_eq!(file.len(), tensors.len());
    for tensor in tensors {
        let view = file.tensor(&tensor.name).unwrap();
        assert_eq!(view.shape(), tensor.shape, "{}", tensor.name);
        assert_eq!(
            bits(&f32_values(&tensor.name, view.dtype(), view.data()).unwrap()),
            bits(&tensor.values),
            "{}",
            tensor.name
        );
    }
}

#[test]
fn a_model_goes_through_its_file_bit_for_bit() {
    for (_, device) in devices() {
        for folder in ["plain", "biased"] {
            let read_once = parameters(&mut golden_model(folder, &device));
            assert_holds(&golden(&format!("model/{folder}/model.safetensors")), &read_once);
            let written = write_safetensors(&read_once, StoredType::F32).unwrap();
            assert_holds(&written, &parameters(&mut masked_lm(&written, &golden_config(folder), &device).unwrap()));
            assert_holds(&written, &read_once);
        }
    }
}

#[test]
fn saved_files_name_the_format_that_transformers_asks_for() {
    let written = write_safetensors(&parameters(&mut golden_model("plain", &Device::flex())), StoredType::F32).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&written).unwrap();
    assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
}

#[test]
fn half_precision_files_hold_what_torch_rounds_to() {
    let tensors = parameters(&mut golden_model("plain", &Device::flex()));
    for (stored, name) in [(StoredType::F16, "f16"), (StoredType::BF16, "bf16")] {
        let by_torch = golden(&format!("model/plain_{name}.safetensors"));
        let by_us = write_safetensors(&tensors, stored).unwrap();
        let config = golden_config("plain");
        let rounded = parameters(&mut masked_lm(&by_torch, &config, &Device::flex()).unwrap());
        assert_holds(&by_us, &rounded);
        assert!(by_us.len() < golden("model/plain/model.safetensors").len() * 6 / 10, "{name} takes two bytes a value");
    }
}

#[test]
fn half_precision_files_give_the_logits_of_their_values_in_f32() {
    let goldens = Golden::read("model/half_forward.safetensors");
    let sequences = golden_sequences(&[64]);
    for (device_name, device) in devices() {
        for name in ["f16", "bf16"] {
            let weights = golden(&format!("model/plain_{name}.safetensors"));
            let model = masked_lm(&weights, &golden_config("plain"), &device).unwrap();
            let inputs = model.encoder.inputs(&sequences).unwrap();
            let logits = read(model.logits_at(model.encoder.forward(&inputs), &goldens.indices("logit_positions")));
            let expected = goldens.f32(&format!("logits_{name}"));
            assert_close(&format!("{name} on {device_name}"), &logits, &expected, TOLERANCE);
        }
    }
}

#[test]
fn ids_and_lengths_that_the_model_cannot_take_are_named() {
    let model = golden_model("plain", &Device::flex());
    let error_of = |ids: Vec<u32>, lengths: Vec<usize>| {
        model
            .encoder
            .inputs(&Sequences { ids, lengths, ..Sequences::default() })
            .expect_err("a bad input is refused")
            .to_string()
    };
    assert!(error_of(vec![5, 300], vec![2]).contains("300"));
    assert!(error_of(vec![5; 1025], vec![1025]).contains("1025"));
    assert!(error_of(vec![5], vec![1, 0]).contains("0 tokens"));
}
