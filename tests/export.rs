//! Models for the page: smaller weights, several files, a vocabulary in parts, and what the model must answer.

use std::fs;
use std::path::Path;

use anaume_core::batch::Sequences;
use anaume_core::export::{INDEX, weight_files};
use anaume_core::infer::{Engine, ModelFiles};
use anaume_core::model::{Config, MaskedLm};
use anaume_core::report::site::{ExportType, SelfCheck, SiteIndex, WebModel};
use anaume_core::weights::{HostTensor, StoredType, WeightFile, write_safetensors};
use anaume_tests::{assert_close, assert_within, devices, golden, read, relative_difference, weight_file};
use burn::tensor::Device;
use serde_json::Value;

use crate::cli::{fail, path, succeed, workshop};
use crate::model::parameters;
use crate::weights::assert_names;

const FOLDERS: [&str; 3] = ["model/plain", "model/biased", "bert/masked_lm"];

fn config(folder: &str) -> Config {
    Config::from_json(&golden(&format!("{folder}/config.json"))).unwrap()
}

fn weights(folder: &str, device: &Device) -> WeightFile {
    weight_file(&golden(&format!("{folder}/model.safetensors")), device)
}

fn tensors(folder: &str) -> Vec<HostTensor> {
    parameters(&mut MaskedLm::load(weights(folder, &Device::flex()), &config(folder)).unwrap())
}

/// Logits of every token of a text of many ids, the first and the last of the vocabulary among them.
fn logits(model: &MaskedLm) -> Vec<f32> {
    let last = model.encoder.embedding().num_rows() as u32 - 1;
    let mut sequences = Sequences::default();
    sequences.push(&(0..20).map(|i| i * 37 % last).chain([last]).collect::<Vec<_>>());
    let chosen: Vec<usize> = (0..sequences.ids.len()).collect();
    read(model.logits_at(model.encoder.forward(&model.encoder.inputs(&sequences).unwrap()), &chosen).unwrap())
}

#[test]
fn a_vocabulary_in_parts_answers_as_one_that_is_whole() {
    for (name, device) in devices() {
        for folder in FOLDERS {
            let whole = logits(&MaskedLm::load(weights(folder, &device), &config(folder)).unwrap());
            let mut file = weights(folder, &device);
            let rows = config(folder).vocab_size() / 3 + 1;
            file.limit_buffers(rows * config(folder).hidden_size() * 4);
            let mut parts = MaskedLm::load(file, &config(folder)).unwrap();
            let difference = relative_difference(&logits(&parts), &whole);
            assert_within(&format!("{folder} on {name}"), difference, 1e-5);
            let error = anaume_core::weights::read_parameters(&mut parts);
            assert!(pollster::block_on(error).err().unwrap().to_string().contains("load it whole"));
        }
    }
}

#[test]
fn several_files_hold_what_one_does_and_their_index_says_where() {
    for folder in FOLDERS {
        let original = tensors(folder);
        let files = weight_files(&original, ExportType::F32, 10_000).unwrap();
        let (index, shards) = files.split_last().unwrap();
        assert!(shards.len() > 2 && index.0 == INDEX, "{folder}");
        let index: Value = serde_json::from_slice(&index.1).unwrap();
        assert_eq!(index["weight_map"].as_object().unwrap().len(), original.len());
        for (name, bytes) in shards {
            for tensor in crate::weights::stored(bytes) {
                assert_eq!(index["weight_map"][&tensor.name], *name);
            }
        }
        let backwards = shards.iter().rev().map(|(_, bytes)| bytes.as_slice());
        let file = WeightFile::from_shards(backwards, &Device::flex()).unwrap();
        let loaded = parameters(&mut MaskedLm::load(file, &config(folder)).unwrap());
        for (loaded, original) in loaded.iter().zip(&original) {
            assert_eq!((&loaded.name, &loaded.values), (&original.name, &original.values));
        }
        let without_last = shards[..shards.len() - 1].iter().map(|(_, bytes)| bytes.as_slice());
        let error = MaskedLm::load(WeightFile::from_shards(without_last, &Device::flex()).unwrap(), &config(folder));
        assert!(error.err().unwrap().to_string().contains("does not have it"));
        let twice = [&shards[0].1[..], &shards[0].1];
        let error = WeightFile::from_shards(twice, &Device::flex()).err().unwrap();
        assert!(error.to_string().contains("two files"), "{error}");
    }
}

#[test]
fn eight_bits_are_within_half_a_level_of_each_value_and_what_is_no_matrix_stays() {
    for folder in FOLDERS {
        let original = tensors(folder);
        let files = weight_files(&original, ExportType::Q8, usize::MAX).unwrap();
        let [(name, bytes)] = &files[..] else { panic!("{} files", files.len()) };
        assert_eq!(name, "model.safetensors");
        let mut model = MaskedLm::load(weight_file(bytes, &Device::flex()), &config(folder)).unwrap();
        for (loaded, original) in parameters(&mut model).iter().zip(&original) {
            let block = match original.shape[..] {
                [_, width] if width % 32 == 0 => 32,
                [_, width] => width,
                _ => 1,
            };
            for (loaded, original) in loaded.values.chunks(block).zip(original.values.chunks(block)) {
                let largest = original.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
                // Half a level, and what the scale loses in f16.
                let allowed = if block == 1 { 0.0 } else { largest / 127.0 * 0.57 };
                assert!(loaded.iter().zip(original).all(|(a, b)| (a - b).abs() <= allowed), "{folder}");
            }
        }
    }
}

#[test]
fn rows_of_zeros_stay_zero_in_eight_bits_and_damaged_scales_are_named() {
    let tensor = |values: Vec<f32>| HostTensor { name: "w".into(), shape: vec![2, values.len() / 2], values };
    let files = weight_files(&[tensor(vec![0.0; 8])], ExportType::Q8, usize::MAX).unwrap();
    let mut stored = crate::weights::stored(&files[0].1);
    assert!(stored.iter().all(|tensor| tensor.data.iter().all(|byte| *byte == 0)));
    stored.retain(|tensor| tensor.name == "w");
    let alone = crate::weights::rewritten(&files[0].1, |tensors| tensors.retain(|tensor| tensor.name == "w"));
    let mut file = weight_file(&alone, &Device::flex());
    let ask = |file: &mut WeightFile| {
        use anaume_core::layers::{Init, ParameterSource};
        file.parameter("w", [2, 4], Init::Zeros).err().unwrap()
    };
    assert_names(&ask(&mut file), "w_scale", "lacks");
    let wrong = crate::weights::rewritten(&files[0].1, |tensors| {
        let scales = tensors.iter_mut().find(|tensor| tensor.name == "w_scale").unwrap();
        scales.shape = vec![1, 2];
    });
    assert_names(&ask(&mut weight_file(&wrong, &Device::flex())), "w_scale", "[1, 2]");
}

#[test]
fn a_model_knows_its_own_answer_and_no_other() {
    let model = path(workshop(), "model");
    let file = |name: &str| fs::read(Path::new(&model).join(name)).unwrap();
    for (name, device) in devices() {
        let (config_json, tokenizer_json) = (file("config.json"), file("tokenizer.json"));
        let engine = |weights: &[u8]| {
            let files = ModelFiles {
                config_json: &config_json,
                weights: weight_file(weights, &device),
                tokenizer_json: &tokenizer_json,
                tokenizer_config_json: None,
            };
            Engine::new(files).unwrap()
        };
        let weights = file("model.safetensors");
        let same = engine(&weights);
        let recorded = pollster::block_on(same.record("日本の首都は[MASK]です。")).unwrap();
        assert!(pollster::block_on(same.answers_as(&recorded)).unwrap(), "{name}");
        let largest = recorded.logits.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let refused = |change: &dyn Fn(&mut SelfCheck)| {
            let mut other = recorded.clone();
            change(&mut other);
            !pollster::block_on(same.answers_as(&other)).unwrap()
        };
        assert!(refused(&|check| check.logits[3] += largest * 0.01));
        assert!(refused(&|check| check.logits[3] = f32::NAN));
        assert!(refused(&|check| check.vector[0] += 1.0));
        assert!(refused(&|check| check.logits.clear()));
        let mut parameters = crate::weights::stored(&weights);
        parameters.iter_mut().filter(|tensor| tensor.name.ends_with("mlp.Wo.weight")).for_each(|tensor| {
            tensor.data.iter_mut().skip(3).step_by(4).for_each(|sign| *sign ^= 0x80);
        });
        let other = crate::weights::rewritten(&weights, |tensors| *tensors = parameters);
        assert!(!pollster::block_on(engine(&other).answers_as(&recorded)).unwrap(), "{name}: another model passes");
    }
}

/// `e2e/engine.test.mjs` asks the page for the same.
#[test]
fn every_device_answers_what_transformers_answers_to_the_text_that_the_page_is_asked() {
    let expected: SelfCheck = serde_json::from_slice(&golden("page/check.json")).unwrap();
    for (name, device) in devices() {
        let files = ModelFiles {
            config_json: &golden("model/plain/config.json"),
            weights: weight_file(&golden("model/plain/model.safetensors"), &device),
            tokenizer_json: &golden("page/tokenizer.json"),
            tokenizer_config_json: Some(&golden("page/tokenizer_config.json")),
        };
        let answer = pollster::block_on(Engine::new(files).unwrap().record(&expected.text)).unwrap();
        assert_eq!(answer.token_ids, expected.token_ids);
        assert_close(&format!("{name}: logits"), &answer.logits, &expected.logits, crate::model::TOLERANCE);
        assert_close(&format!("{name}: vector"), &answer.vector, &expected.vector, crate::model::TOLERANCE);
    }
}

#[test]
fn the_exported_folder_is_a_model_that_the_program_and_the_site_know() {
    let room = tempfile::tempdir().unwrap();
    let (model, out) = (path(workshop(), "model"), path(room.path(), "web"));
    for (dtype, expected) in [("q8", ExportType::Q8), ("f16", ExportType::F16), ("f32", ExportType::F32)] {
        let arguments = ["export", "web", &model, "--dtype", dtype, "--shard-mib", "1", "--out", &out, "--force"];
        let said = succeed(&arguments);
        assert!(said.contains("of 500 masks"), "{said}");
        let list = WebModel::from_json(&fs::read_to_string(Path::new(&out).join("web.json")).unwrap()).unwrap().model;
        assert_eq!((list.dtype, list.name.as_str()), (Some(expected), "model"));
        let agreement = list.agreement.unwrap();
        assert!(agreement.num_masks == 500 && agreement.num_same_top_1 >= 495, "{dtype}: {agreement:?}");
        for listed in &list.files {
            assert_eq!(Path::new(&out).join(&listed.url).metadata().unwrap().len(), listed.size_bytes);
        }
        let answer = |folder: &str| -> Value {
            let said = succeed(&["fill-mask", "--model", folder, "水は[MASK]です。", "--device", "cpu", "--json"]);
            serde_json::from_str::<Value>(&said).unwrap()["models"][0]["texts"][0]["masks"][0][0].clone()
        };
        let (exported, original) = (answer(&out), answer(&model));
        let difference = exported["probability"].as_f64().unwrap() / original["probability"].as_f64().unwrap() - 1.0;
        assert!(exported["token"] == original["token"] && difference.abs() < 0.02, "{exported} {original}");
    }
    let page = path(room.path(), "page");
    fs::create_dir(&page).unwrap();
    fs::write(path(Path::new(&page), "index.html"), "<!doctype html>").unwrap();
    let site = path(room.path(), "site");
    let arguments = ["site", "--page", &page, "--model", &out, "--out", &site, "--force"];
    succeed(&arguments);
    let index = SiteIndex::from_json(&fs::read_to_string(path(Path::new(&site), "site.json")).unwrap()).unwrap();
    assert!(index.models[0].check.is_some() && index.models[0].files.len() > 4);
    for file in &index.models[0].files {
        assert_eq!(Path::new(&site).join(&file.url).metadata().unwrap().len(), file.size_bytes);
    }
    let shard = fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().ends_with(".safetensors"));
    let shard = shard.unwrap();
    fs::write(&shard, &fs::read(&shard).unwrap()[1..]).unwrap();
    assert!(fail(3, &arguments).contains("export it again"));
    fs::remove_file(&shard).unwrap();
    assert!(fail(2, &arguments).contains("holds no model"));
}

#[test]
fn what_cannot_be_exported_is_refused_in_words() {
    let room = tempfile::tempdir().unwrap();
    let (model, out) = (path(workshop(), "model"), path(room.path(), "web"));
    let without = path(room.path(), "without");
    fs::create_dir(&without).unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(Path::new(&model).join(name), Path::new(&without).join(name)).unwrap();
    }
    assert!(fail(2, &["export", "web", &without, "--out", &out]).contains("tokenizer.json"));
    assert!(fail(2, &["export", "web", &model, "--dtype", "q4", "--out", &out]).contains("f32, f16 or q8"));
    fs::create_dir(&out).unwrap();
    fs::write(Path::new(&out).join("mine.txt"), "").unwrap();
    assert!(fail(2, &["export", "web", &model, "--out", &out]).contains("--force"));
    let mut large = tensors("model/plain");
    large[0].values[0] = 1e30;
    assert!(write_safetensors(&large, StoredType::F32).is_ok());
    assert!(weight_files(&large, ExportType::F16, 1 << 20).err().unwrap().to_string().contains("too large for f16"));
}
