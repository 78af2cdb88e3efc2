//! What must not change an answer: neighbours in a batch, their order, and tokens beyond the window.

use anaume_core::batch::Sequences;
use anaume_core::config::{LayerType, ModelConfig, Pooling};
use anaume_core::modernbert::MaskedLm;
use anaume_shaders::attention::{GLOBAL, attention};
use anaume_tests::{
    assert_close, devices, golden, golden_config, golden_model, masked_lm, matrix, random, read, relative_difference,
};
use burn::tensor::Device;

use crate::model::{LENGTHS, classify, golden_sequences};
use crate::shaders::bounds;

/// Between two packings: the same sums in blocks of other sizes.
const TOLERANCE: f64 = 1e-5;

/// Consecutive pieces of these lengths.
fn cut<T: Clone>(mut values: &[T], lengths: impl IntoIterator<Item = usize>) -> Vec<Vec<T>> {
    let mut piece = |length| {
        let (first, rest) = values.split_at(length);
        values = rest;
        first.to_vec()
    };
    lengths.into_iter().map(&mut piece).collect()
}

/// The last hidden states of each sequence, `[length, d]`.
fn hidden(model: &MaskedLm, sequences: &Sequences) -> Vec<Vec<f32>> {
    let values = read(model.encoder.forward(&model.encoder.inputs(sequences).unwrap()));
    let width = values.len() / sequences.ids.len();
    cut(&values, sequences.lengths.iter().map(|length| length * width))
}

fn alone(ids: &[u32]) -> Sequences {
    Sequences { ids: ids.to_vec(), lengths: vec![ids.len()], ..Sequences::default() }
}

/// The ids of each sequence.
fn split(sequences: &Sequences) -> Vec<Vec<u32>> {
    cut(&sequences.ids, sequences.lengths.iter().copied())
}

fn packed<'a>(parts: impl IntoIterator<Item = &'a Vec<u32>>) -> Sequences {
    let mut sequences = Sequences::default();
    parts.into_iter().for_each(|ids| sequences.push(ids));
    sequences
}

#[test]
fn packed_sequences_give_what_each_gives_alone() {
    let sequences = golden_sequences(&LENGTHS);
    for (device_name, device) in devices() {
        for folder in ["plain", "biased"] {
            let model = golden_model(folder, &device);
            for (together, ids) in hidden(&model, &sequences).iter().zip(split(&sequences)) {
                let what = format!("{folder} on {device_name}, {} tokens", ids.len());
                assert_close(&what, together, &hidden(&model, &alone(&ids))[0], TOLERANCE);
            }
        }
    }
}

#[test]
fn as_many_tokens_are_computed_as_there_are() {
    for (device_name, device) in devices() {
        let model = golden_model("plain", &device);
        let sequences = packed(&[3, 50, 1, 7].map(|length| vec![5; length]));
        let inputs = model.encoder.inputs(&sequences).unwrap();
        let mut rows = Vec::new();
        model.encoder.forward_observed(&inputs, |_, hidden_td| rows.push(hidden_td.dims()[0]));
        assert!(rows.len() > 2 && rows.iter().all(|rows| *rows == 61), "{device_name}: {rows:?}");
    }
}

#[test]
fn the_order_of_sequences_changes_their_order_alone() {
    let sequences = golden_sequences(&LENGTHS);
    let backwards = packed(split(&sequences).iter().rev());
    for (device_name, device) in devices() {
        let model = golden_model("biased", &device);
        let there = hidden(&model, &sequences);
        let back = hidden(&model, &backwards);
        for (there, back) in there.iter().zip(back.iter().rev()) {
            assert_close(device_name, there, back, TOLERANCE);
        }
    }
}

#[test]
fn a_neighbour_with_other_tokens_changes_nothing() {
    let ids: Vec<Vec<u32>> = split(&golden_sequences(&[65, 64, 63]));
    let mut others = ids.clone();
    others[1].iter_mut().for_each(|id| *id = 299 - *id % 200);
    for (device_name, device) in devices() {
        let model = golden_model("plain", &device);
        let (before, after) = (hidden(&model, &packed(&ids)), hidden(&model, &packed(&others)));
        for untouched in [0, 2] {
            assert_close(device_name, &after[untouched], &before[untouched], 1e-6);
        }
        assert!(relative_difference(&before[1], &after[1]) > 0.1, "{device_name}: the changed sequence must change");
    }
}

#[test]
fn pooled_logits_do_not_depend_on_the_neighbours() {
    let sequences = golden_sequences(&LENGTHS);
    for (device_name, device) in devices() {
        for pooling in [Pooling::Mean, Pooling::Cls] {
            let together = classify(pooling, &sequences, &device);
            for (row, ids) in together.chunks_exact(3).zip(split(&sequences)) {
                let what = format!("{pooling:?} on {device_name}, {} tokens", ids.len());
                assert_close(&what, row, &classify(pooling, &alone(&ids), &device), TOLERANCE);
            }
        }
    }
}

#[test]
fn the_model_takes_as_many_tokens_as_it_has_positions() {
    let model = golden_model("plain", &Device::flex());
    let ids: Vec<u32> = (0..1024).map(|position| 8 + position * 7 % 290).collect();
    assert!(hidden(&model, &alone(&ids))[0].iter().all(|value| value.is_finite()));
}

/// Output rows of an attention layer before and after one token's query, key and value change.
fn attention_around_a_change(lengths: &[usize], changed: usize, window: usize, device: &Device) -> [Vec<Vec<f32>>; 2] {
    const HEADS: usize = 2;
    const HEAD_SIZE: usize = 16;
    const WIDTH: usize = 3 * HEADS * HEAD_SIZE;
    let t: usize = lengths.iter().sum();
    let before = random(1, t * WIDTH);
    let mut after = before.clone();
    after[changed * WIDTH..][..WIDTH].copy_from_slice(&random(2, WIDTH));
    [before, after].map(|values| {
        let output = attention(matrix(&values, [t, WIDTH], device), bounds(lengths, device), HEADS, window);
        read(output).chunks_exact(WIDTH / 3).map(<[f32]>::to_vec).collect()
    })
}

#[test]
fn a_local_layer_sees_the_tokens_inside_its_window_and_no_other() {
    for (device_name, device) in devices() {
        for (changed, window) in [(30, 8), (0, 8), (149, 64), (75, 1), (64, 63), (100, 0)] {
            let [before, after] = attention_around_a_change(&[150], changed, window, &device);
            for (token, (before, after)) in before.iter().zip(&after).enumerate() {
                let inside = token.abs_diff(changed) <= window;
                assert_eq!(before != after, inside, "{device_name}, token {token}, changed {changed}, window {window}");
            }
        }
    }
}

#[test]
fn attention_stays_inside_its_sequence() {
    for (device_name, device) in devices() {
        for window in [GLOBAL, 20] {
            let [before, after] = attention_around_a_change(&[30, 10, 25], 35, window, &device);
            for (token, (before, after)) in before.iter().zip(&after).enumerate() {
                let same_sequence = (30..40).contains(&token);
                assert_eq!(before != after, same_sequence, "{device_name}, token {token}, window {window}");
            }
        }
    }
}

/// The golden model `biased` with every layer local: information travels `window` tokens a layer.
fn local_model(device: &Device) -> (ModelConfig, MaskedLm) {
    let mut config = golden_config("biased");
    config.layer_types = vec![LayerType::SlidingAttention; config.num_hidden_layers];
    let model = masked_lm(&golden("model/biased/model.safetensors"), &config, device).unwrap();
    (config, model)
}

#[test]
fn local_layers_carry_a_token_one_window_a_layer_and_no_further() {
    let mut ids = split(&golden_sequences(&[129])).remove(0);
    for (device_name, device) in devices() {
        let (config, model) = local_model(&device);
        let reach = config.num_hidden_layers * config.sliding_window();
        let before = hidden(&model, &alone(&ids)).remove(0);
        ids[0] = ids[0] % 200 + 50;
        let after = hidden(&model, &alone(&ids)).remove(0);
        let width = config.hidden_size;
        let rows = before.chunks_exact(width).zip(after.chunks_exact(width));
        let changed: Vec<bool> = rows.map(|(before, after)| relative_difference(after, before) > 1e-6).collect();
        assert!(changed[..=config.sliding_window()].iter().all(|changed| *changed), "{device_name}: inside one window");
        assert!(changed[reach + 1..].iter().all(|changed| !changed), "{device_name}: beyond {reach} tokens");
    }
}
