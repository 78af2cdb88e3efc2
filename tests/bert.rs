//! BERT against transformers: hidden states after every layer, logits, token types, and the files that BERTs come in.

use anaume_core::batch::Sequences;
use anaume_core::config::{BertConfig, Pooling};
use anaume_core::error::{Error, Result};
use anaume_core::infer::{Engine, ModelFiles};
use anaume_core::model::{Config, Encoder, MaskedLm};
use anaume_core::tokenizer::{MaskConvention, Tokenizer};
use anaume_core::weights::{RandomParameters, StoredType, read_parameters, write_safetensors};
use anaume_core::{bert, layers};
use anaume_tests::{
    Golden, assert_close, assert_within, devices, golden, golden_model, largest, read, relative_difference, weight_file,
};
use burn::tensor::Device;
use safetensors::Dtype;

use crate::model::{TOLERANCE, assert_holds, parameters};
use crate::weights::{Stored, assert_names, rewritten, stored};

const WORDS: &str = "bert.embeddings.word_embeddings.weight";

fn goldens() -> Golden {
    Golden::read("bert/forward.safetensors")
}

/// The golden sequences: 7, 40, 2 and 23 tokens, the first and the last a pair.
pub fn sequences() -> Sequences {
    let goldens = goldens();
    let types = goldens.ids("types").into_iter().map(|kind| kind as u8).collect();
    Sequences { ids: goldens.ids("ids"), lengths: goldens.indices("lengths"), types }
}

/// Each of packed sequences by itself.
pub fn separate(sequences: &Sequences) -> Vec<Sequences> {
    let mut start = 0;
    let mut alone = |length: &usize| {
        start += length;
        let types =
            if sequences.types.is_empty() { Vec::new() } else { sequences.types[start - length..start].to_vec() };
        Sequences { ids: sequences.ids[start - length..start].to_vec(), lengths: vec![*length], types }
    };
    sequences.lengths.iter().map(&mut alone).collect()
}

fn weights() -> Vec<u8> {
    golden("bert/masked_lm/model.safetensors")
}

/// `config.json` of a folder of the goldens of BERT.
fn config(folder: &str) -> Config {
    Config::from_json(&golden(&format!("bert/{folder}/config.json"))).unwrap()
}

fn load(weights: &[u8]) -> Result<MaskedLm> {
    MaskedLm::load(weight_file(weights, &Device::flex()), &config("masked_lm"))
}

/// The last hidden states, `[t, d]`.
fn hidden(model: &MaskedLm, sequences: &Sequences) -> Vec<f32> {
    read(model.encoder.forward(&model.encoder.inputs(sequences).unwrap()))
}

/// Largest relative difference of hidden states after every layer and of logits from the goldens.
fn forward_difference(model: &MaskedLm, sequences: &Sequences) -> f64 {
    let goldens = goldens();
    let inputs = model.encoder.inputs(sequences).unwrap();
    let mut states = Vec::new();
    let last = model.encoder.forward_observed(&inputs, |_, hidden_td| states.push(hidden_td.clone()));
    assert_eq!(states.len(), 4);
    let every_token: Vec<usize> = (0..sequences.ids.len()).collect();
    let logits = read(model.logits_at(last, &every_token).unwrap());
    let of_layer = |(layer, state)| relative_difference(&read(state), &goldens.f32(&format!("hidden.{layer}")));
    let mut differences: Vec<f64> = states.into_iter().enumerate().map(of_layer).collect();
    differences.push(relative_difference(&logits, &goldens.f32("logits")));
    largest(differences)
}

#[test]
fn packed_sequences_give_the_states_and_logits_of_a_padded_batch() {
    for (device_name, device) in devices() {
        let model = MaskedLm::load(weight_file(&weights(), &device), &config("masked_lm")).unwrap();
        assert_within(device_name, forward_difference(&model, &sequences()), TOLERANCE);
    }
}

#[test]
fn a_sequence_alone_gives_what_it_gives_among_others() {
    for (device_name, device) in devices() {
        let model = MaskedLm::load(weight_file(&weights(), &device), &config("masked_lm")).unwrap();
        let alone: Vec<f32> = separate(&sequences()).iter().flat_map(|sequence| hidden(&model, sequence)).collect();
        assert_close(device_name, &alone, &hidden(&model, &sequences()), 1e-5);
    }
}

#[test]
fn tokens_without_types_have_type_0() {
    let model = load(&weights()).unwrap();
    let untyped = Sequences { types: Vec::new(), ..sequences() };
    let zeros = Sequences { types: vec![0; untyped.ids.len()], ..untyped.clone() };
    let expected = goldens().f32("untyped.hidden");
    for sequences in [untyped, zeros] {
        assert_close("types 0", &hidden(&model, &sequences), &expected, TOLERANCE);
    }
    assert!(relative_difference(&hidden(&model, &sequences()), &expected) > 0.01, "types matter");
}

#[test]
fn pushed_pairs_have_type_1_from_their_second_text_on() {
    let mut sequences = Sequences::default();
    sequences.push(&[2, 7, 3]);
    assert!(sequences.types.is_empty());
    sequences.push_pair(&[2, 8, 3, 9, 3], 3);
    sequences.push(&[2, 3]);
    sequences.push_pair(&[4], 5);
    assert_eq!(sequences.types, [0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0]);
    assert_eq!((sequences.ids.len(), sequences.lengths), (11, vec![3, 5, 2, 1]));
}

#[test]
fn an_encoder_stored_alone_gives_the_states_of_bert_model_and_no_logits() {
    let weights = golden("bert/encoder/model.safetensors");
    assert!(stored(&weights).iter().any(|tensor| tensor.name == "pooler.dense.weight"));
    for (device_name, device) in devices() {
        let model = MaskedLm::load(weight_file(&weights, &device), &config("encoder")).unwrap();
        assert_close(device_name, &hidden(&model, &sequences()), &goldens().f32("encoder.hidden"), TOLERANCE);
        let inputs = model.encoder.inputs(&sequences()).unwrap();
        let error = model.logits_at(model.encoder.forward(&inputs), &[0]).err().unwrap().to_string();
        assert!(error.contains("no masked-LM head (architectures: BertModel)"), "{error}");
    }
}

#[test]
fn modernbert_without_the_prefix_of_its_encoder_is_read_too() {
    let mut json: serde_json::Value = serde_json::from_slice(&golden("model/plain/config.json")).unwrap();
    json["architectures"] = serde_json::json!(["ModernBertModel"]);
    let config = Config::from_json(json.to_string().as_bytes()).unwrap();
    let file = rewritten(&golden("model/plain/model.safetensors"), |tensors| {
        tensors.retain(|tensor| tensor.name.starts_with("model."));
        tensors.iter_mut().for_each(|tensor| tensor.name = tensor.name.replace("model.", ""));
    });
    let alone = MaskedLm::load(weight_file(&file, &Device::flex()), &config).unwrap();
    let whole = golden_model("plain", &Device::flex());
    let expected = read(whole.encoder.forward(&whole.encoder.inputs(&sequences()).unwrap()));
    assert_eq!(hidden(&alone, &sequences()), expected);
}

fn zeros(name: &str, dtype: Dtype, shape: &[usize]) -> Stored {
    let bytes = shape.iter().product::<usize>() * if dtype == Dtype::I64 { 8 } else { 4 };
    Stored { name: name.into(), dtype, shape: shape.into(), data: vec![0; bytes] }
}

fn copy(tensors: &mut Vec<Stored>, of: &str, name: &str) {
    let tensor = tensors.iter().find(|tensor| tensor.name == of).unwrap().clone();
    tensors.push(Stored { name: name.into(), ..tensor });
}

/// The golden file in the layout of the first files of `BertForPreTraining`.
fn first_layout() -> Vec<u8> {
    rewritten(&weights(), |tensors| {
        copy(tensors, WORDS, "cls.predictions.decoder.weight");
        copy(tensors, "cls.predictions.bias", "cls.predictions.decoder.bias");
        for tensor in tensors.iter_mut() {
            tensor.name = tensor.name.replace("LayerNorm.weight", "LayerNorm.gamma");
            tensor.name = tensor.name.replace("LayerNorm.bias", "LayerNorm.beta");
        }
        tensors.extend([
            zeros("bert.embeddings.position_ids", Dtype::I64, &[1, 40]),
            zeros("bert.pooler.dense.weight", Dtype::F32, &[32, 32]),
            zeros("bert.pooler.dense.bias", Dtype::F32, &[32]),
            zeros("cls.seq_relationship.weight", Dtype::F32, &[2, 32]),
            zeros("cls.seq_relationship.bias", Dtype::F32, &[2]),
        ]);
    })
}

#[test]
fn the_first_layout_of_bert_for_pre_training_is_read() {
    assert_within("the first layout", forward_difference(&load(&first_layout()).unwrap(), &sequences()), TOLERANCE);
    let bare = rewritten(&first_layout(), |tensors| {
        tensors.iter_mut().for_each(|tensor| tensor.name = tensor.name.replace("bert.", ""));
    });
    assert_within("without a prefix", forward_difference(&load(&bare).unwrap(), &sequences()), TOLERANCE);
}

#[test]
fn each_missing_tensor_is_named() {
    for Stored { name, .. } in stored(&weights()) {
        let file = rewritten(&weights(), |tensors| tensors.retain(|tensor| tensor.name != name));
        assert_names(&load(&file).err().unwrap(), &name, "does not have it");
    }
}

#[test]
fn a_tensor_too_many_is_named() {
    for name in [
        "bert.encoder.layer.3.output.dense.bias",
        "classifier.bias",
        "cls.predictions.decoder.bias",
        "embeddings.LayerNorm.bias",
        "bert.embeddings.LayerNorm.beta",
        "bert.position_ids",
    ] {
        let file = rewritten(&weights(), |tensors| tensors.push(zeros(name, Dtype::F32, &[90])));
        assert_names(&load(&file).err().unwrap(), name, "no place for it");
    }
}

#[test]
fn a_decoder_that_is_not_the_embedding_is_named() {
    let file = rewritten(&weights(), |tensors| {
        copy(tensors, WORDS, "cls.predictions.decoder.weight");
        tensors.last_mut().unwrap().data[0] ^= 1;
    });
    assert_names(&load(&file).err().unwrap(), "cls.predictions.decoder.weight", "no place for it");
}

#[test]
fn a_bert_goes_through_its_file_bit_for_bit() {
    for (_, device) in devices() {
        let mut model = MaskedLm::load(weight_file(&weights(), &device), &config("masked_lm")).unwrap();
        assert_holds(&weights(), &parameters(&mut model));
    }
}

#[test]
fn a_changed_weight_of_each_tensor_is_told_apart() {
    let mut right = load(&weights()).unwrap();
    for index in 0..parameters(&mut right).len() {
        let mut tensors = parameters(&mut right);
        let tensor = &mut tensors[index];
        if tensor.name.ends_with("self.key.bias") {
            // Adds the same to every score of a query: the softmax does not see it.
            continue;
        }
        let step = if tensor.name.ends_with("embeddings.weight") { 32 } else { tensor.values.len() };
        tensor.values.iter_mut().step_by(step).for_each(|value| *value += 0.5);
        let wrong = load(&write_safetensors(&tensors, StoredType::F32).unwrap()).unwrap();
        let difference = forward_difference(&wrong, &sequences());
        assert!(difference > TOLERANCE, "a changed {} passes", tensors[index].name);
    }
}

#[test]
fn swapped_token_types_are_told_apart() {
    let types = sequences().types.iter().map(|kind| 1 - kind).collect();
    let swapped = Sequences { types, ..sequences() };
    assert!(forward_difference(&load(&weights()).unwrap(), &swapped) > TOLERANCE);
}

#[test]
fn inputs_that_a_bert_cannot_take_are_named() {
    let model = load(&weights()).unwrap();
    let error_of = |ids: Vec<u32>, lengths: Vec<usize>, types: Vec<u8>| {
        model.encoder.inputs(&Sequences { ids, lengths, types }).expect_err("a bad input is refused").to_string()
    };
    assert!(error_of(vec![5, 90], vec![2], vec![]).contains("token id 90"));
    assert!(error_of(vec![5; 41], vec![41], vec![]).contains("41 tokens; the model takes 1 to 40"));
    assert!(error_of(vec![5, 6], vec![2], vec![0, 2]).contains("token type 2"));
    assert!(error_of(vec![5, 6], vec![2], vec![0]).contains("1 types for sequences of 2 tokens"));
    assert!(error_of(vec![5, 6], vec![1], vec![]).contains("2 token ids"));
}

/// Why this change of the golden `config.json` cannot be read, with the field that is named.
fn config_refusal(field: &str, value: serde_json::Value) -> (String, String) {
    let mut json: serde_json::Value = serde_json::from_slice(&golden("bert/masked_lm/config.json")).unwrap();
    json[field] = value;
    match Config::from_json(json.to_string().as_bytes()).expect_err("the configuration is refused") {
        Error::Config { field, message } => (field, message),
        other => panic!("{other}"),
    }
}

#[test]
fn configurations_that_cannot_be_computed_are_refused_by_field() {
    for (field, value) in [
        ("model_type", serde_json::json!("roberta")),
        ("hidden_act", serde_json::json!("gelu_new")),
        ("position_embedding_type", serde_json::json!("relative_key")),
        ("is_decoder", serde_json::json!(true)),
        ("hidden_size", serde_json::json!(33)),
        ("vocab_size", serde_json::json!(0)),
        ("type_vocab_size", serde_json::json!(1000)),
        ("layer_norm_eps", serde_json::json!(0.0)),
    ] {
        assert_eq!(config_refusal(field, value).0, field);
    }
    assert!(config_refusal("model_type", serde_json::json!("roberta")).1.contains("`modernbert` and `bert`"));
}

#[test]
fn a_configuration_is_read_with_its_defaults_and_written_back() {
    let Config::Bert(default) = Config::from_json(br#"{"model_type": "bert"}"#).unwrap() else { panic!("not a BERT") };
    assert_eq!(default, BertConfig::default());
    let sizes = (default.hidden_size, default.num_hidden_layers, default.max_position_embeddings);
    assert_eq!((sizes, default.layer_norm_eps, default.vocab_size), ((768, 12, 512), 1e-12, 30_522));
    let written: serde_json::Value = serde_json::from_slice(&config("masked_lm").to_json(StoredType::BF16)).unwrap();
    let by_transformers: serde_json::Value = serde_json::from_slice(&golden("bert/masked_lm/config.json")).unwrap();
    for (field, value) in by_transformers.as_object().unwrap() {
        let expected = if field == "dtype" { &serde_json::json!("bfloat16") } else { value };
        assert_eq!(&written[field], expected, "{field}");
    }
}

#[test]
fn parameters_are_counted_as_the_files_hold_them() {
    let count = |weights: &[u8]| -> usize { stored(weights).iter().map(|t| t.shape.iter().product::<usize>()).sum() };
    assert_eq!(config("masked_lm").num_parameters(), count(&weights()));
    let pooler = 32 * 32 + 32;
    assert_eq!(config("encoder").num_parameters() + pooler, count(&golden("bert/encoder/model.safetensors")));
    for folder in ["plain", "biased", "classifier"] {
        let config = Config::from_json(&golden(&format!("model/{folder}/config.json"))).unwrap();
        assert_eq!(config.num_parameters(), count(&golden(&format!("model/{folder}/model.safetensors"))), "{folder}");
    }
}

/// Folder of a random BERT for the small golden tokenizer: `config.json` and `model.safetensors`.
fn random_bert(tokenizer: &Tokenizer) -> [Vec<u8>; 2] {
    let config = BertConfig {
        vocab_size: tokenizer.num_ids(),
        hidden_size: 16,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        intermediate_size: 24,
        max_position_embeddings: 24,
        ..BertConfig::default()
    };
    let mut random = RandomParameters::new(7, f64::INFINITY, &Device::flex());
    let mut encoder = bert::Encoder::new(&mut random, &config).unwrap();
    struct Head(layers::LmHead);
    impl layers::Parameters for Head {
        fn visit(&mut self, visitor: &mut impl layers::ParameterVisitor) -> Result<()> {
            self.0.visit(visitor)
        }
    }
    let mut head = Head(bert::lm_head(&mut random, &config).unwrap());
    let mut tensors = parameters(&mut encoder);
    tensors.extend(pollster::block_on(read_parameters(&mut head)).unwrap());
    [config.to_json(StoredType::F32), write_safetensors(&tensors, StoredType::F32).unwrap()]
}

#[test]
fn the_engine_fills_masks_and_embeds_with_a_bert() {
    let tokenizer_json = golden("tokenizer/small/tokenizer.json");
    let tokenizer = Tokenizer::from_bytes(&tokenizer_json, None).unwrap();
    let [config_json, weights] = random_bert(&tokenizer);
    let files = ModelFiles {
        config_json: &config_json,
        weights: weight_file(&weights, &Device::flex()),
        tokenizer_json: &tokenizer_json,
        tokenizer_config_json: None,
    };
    let engine = Engine::new(files).unwrap();
    assert_eq!((engine.hidden_size(), engine.max_length(), engine.vocab_size()), (16, 24, tokenizer.num_ids()));
    let answers =
        pollster::block_on(engine.fill_mask(&["日本の[MASK]は".to_owned()], usize::MAX, MaskConvention::Clean))
            .unwrap();
    let total: f64 = answers[0].masks[0].iter().map(|candidate| candidate.probability).sum();
    assert!((total - 1.0).abs() < 1e-9, "{total}");
    let text = "今日は良い天気です。".repeat(10);
    let vectors = pollster::block_on(engine.embed(std::slice::from_ref(&text), Pooling::Cls, 1000)).unwrap();
    let special = tokenizer.special();
    let body = tokenizer.encode_body(&text).unwrap().ids;
    let mut sequences = Sequences::default();
    sequences.push(&[&[special.cls], &body[..22], &[special.sep]].concat());
    let config = Config::from_json(&config_json).unwrap();
    let model = MaskedLm::load(weight_file(&weights, &Device::flex()), &config).unwrap();
    assert_eq!(vectors[0], hidden(&model, &sequences)[..16]);
    assert!(matches!(model.encoder, Encoder::Bert(_)));
}
