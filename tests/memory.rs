//! What training does where memory is short.

use std::path::Path;
use std::process::Command;

use anaume_core::config::{LayerType, ModelConfig};
use anaume_core::modernbert::MaskedLm;
use anaume_core::weights::{RandomParameters, StoredType, read_parameters, write_safetensors};
use anaume_tests::{assert_close, devices, skip};
use burn::tensor::{Device, Tensor};
use serde_json::Value;

use crate::cli::{anaume, binary, outcome, path, pretrain, run_pretrain, succeed, text, workshop};

fn losses(run: &Path, stdout: &str) -> Vec<f32> {
    outcome(run, stdout).1.into_iter().map(|(_, loss)| loss as f32).collect()
}

#[test]
fn a_run_with_little_memory_cuts_its_micro_batches_and_trains_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let run = |name: &str, more: &[&str]| {
        let run = dir.path().join(name);
        let output = Command::new(binary()).args(pretrain(&run, more)).output().unwrap();
        let errors = text(&output.stderr);
        assert!(output.status.success(), "{errors}");
        (losses(&run, &text(&output.stdout)), errors)
    };
    let (expected, errors) = run("much", &[]);
    assert!(!errors.contains("are cut to"), "{errors}");
    let (cut, errors) = run("little", &["--memory", "0.001"]);
    assert!(errors.contains("micro-batches are cut to 64 tokens"), "{errors}");
    assert!(errors.contains("that does not fit") && errors.contains("train.recompute=true"), "{errors}");
    assert_close("cut", &cut, &expected, 1e-4);
    let (recomputed, _) = run("recomputed", &["--set", "train.recompute=true"]);
    assert_close("recomputed", &recomputed, &expected, 1e-4);
}

#[test]
fn recomputation_lowers_the_forecast() {
    let dir = tempfile::tempdir().unwrap();
    let forecast = |more: &[&str]| {
        // Long rows, so that activations weigh more than parameters.
        let arguments =
            [&["--dry-run", "--json", "--set", "data.max_length=1024", "--set", "train.batch_rows=64"], more];
        let rows = ["--set", "train.micro_batch_rows=64"];
        let plan = run_pretrain(&dir.path().join("run"), &[arguments.concat(), rows.to_vec()].concat());
        serde_json::from_str::<Value>(&plan).unwrap()["memory_bytes"].as_u64().unwrap()
    };
    assert!(forecast(&["--set", "train.recompute=true"]) < forecast(&[]) / 2);
}

#[test]
fn recomputation_takes_less_memory() {
    let model = path(workshop(), "model");
    let peak = |more: &[&str]| {
        let shape = ["--batch", "64", "--length", "256", "--runs", "1", "--device", "cpu", "--json"];
        let measured = succeed(&[&["bench", "step", "--model", &model], &shape[..], more].concat());
        let measured: Value = serde_json::from_str(&measured).unwrap();
        assert_eq!(measured["recompute"], !more.is_empty());
        measured["peak_bytes"].as_u64()
    };
    let (Some(kept), Some(recomputed)) = (peak(&[]), peak(&["--recompute"])) else {
        skip("this system does not say a process's memory");
        return;
    };
    assert!(recomputed < kept * 8 / 10, "{recomputed} with recomputation, {kept} without");
}

#[test]
fn what_a_device_has_no_room_for_is_told_apart_and_the_device_goes_on() {
    let Some((_, device)) = devices().into_iter().find(|(name, _)| *name == "wgpu") else { return };
    // 64 GiB.
    let too_large: Tensor<1> = Tensor::zeros([1_usize << 34], &device);
    let error = pollster::block_on(anaume_core::weights::read_back(too_large.narrow(0, 0, 1))).err().unwrap();
    assert!(error.is_out_of_memory(), "{error}");
    assert_eq!(anaume_tests::read(Tensor::<1>::ones([3], &device)), [1.0; 3]);
}

/// A model of one narrow layer whose GeGLU takes 80,000 values a token.
fn wide_model(dir: &Path) {
    let tokenizer = workshop().join("model");
    let config = ModelConfig::from_json(&std::fs::read(tokenizer.join("config.json")).unwrap()).unwrap();
    let config = ModelConfig {
        hidden_size: 8,
        num_attention_heads: 1,
        intermediate_size: 40_000,
        num_hidden_layers: 1,
        layer_types: vec![LayerType::FullAttention],
        ..config
    };
    let device = Device::flex();
    let mut model = MaskedLm::new(&mut RandomParameters::new(0, 2.0, &device), &config, &device).unwrap();
    let parameters = pollster::block_on(read_parameters(&mut model)).unwrap();
    std::fs::create_dir(dir).unwrap();
    for file in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"] {
        std::fs::copy(tokenizer.join(file), dir.join(file)).unwrap();
    }
    std::fs::write(dir.join("config.json"), config.to_json(StoredType::F32)).unwrap();
    std::fs::write(dir.join("model.safetensors"), write_safetensors(&parameters, StoredType::F32).unwrap()).unwrap();
}

#[test]
fn a_device_without_room_for_a_micro_batch_gets_it_in_halves() {
    let adapters: Value = serde_json::from_str(&succeed(&["devices", "--json"])).unwrap();
    // 512 tokens need 164 MB in one buffer.
    let is_small = |adapter: &&Value| adapter["max_binding_bytes"].as_u64().unwrap() < 140 << 20;
    let Some(adapter) = adapters["adapters"].as_array().unwrap().iter().find(is_small) else {
        skip("no adapter with small buffers");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let (model, data) = (path(dir.path(), "model"), path(workshop(), "data"));
    wide_model(Path::new(&model));
    let run = |device: &str| {
        let out = dir.path().join(device.replace(':', "-"));
        let fixed = ["pretrain", "--recipe", "tiny", "--stop-after", "1", "--data", &data, "--model", &model];
        let rows = ["--set", "train.micro_batch_rows=8", "--set", "validation.every_steps=0"];
        let out_and_device = ["--out", &out.display().to_string(), "--device", device];
        let output = anaume(&[&fixed[..], &rows, &out_and_device].concat());
        let errors = text(&output.stderr);
        assert!(output.status.success(), "{errors}");
        (losses(&out, &text(&output.stdout)), errors)
    };
    let (losses, errors) = run(adapter["name"].as_str().unwrap());
    assert!(errors.contains("the device has no room for"), "{errors}");
    assert_eq!(losses.len(), 1);
    assert_close("losses", &losses, &run("cpu").0, 1e-4);
}
