//! From the files of a model to an engine that answers as it should: on WebGPU or, where that is missing or computes
//! something else than it should, on the CPU.

use std::cell::RefCell;

use anaume_core::infer::{Engine, ModelFiles};
use anaume_core::report::site::{CHECKED_TEXT, SelfCheck, WEB_MODEL, WebModel, hex};
use anaume_core::weights::WeightFile;
use burn::tensor::Device;
use sha2::{Digest, Sha256};
use wasm_bindgen::JsCast;
use web_sys::DedicatedWorkerGlobalScope;

use crate::engine::ON_CPU;
use crate::files::Files;
use crate::protocol::{Checked, Failure, Hint, ModelInfo, Result};

/// Shown names of the devices.
const WEBGPU: &str = "WebGPU";
const CPU: &str = "CPU";

thread_local! {
    /// Where models go, with its name; WebGPU can be initialised once in a worker.
    static CHOSEN: RefCell<Option<(Device, &'static str)>> = const { RefCell::new(None) };
}

/// A model that was asked a question and gave the answer that was recorded when it was exported or, where none was, the
/// answer of the CPU.
///
/// # Errors
/// Files that are no model, a model that answers otherwise on the CPU too, a device that is lost.
pub async fn engine(files: Files, recorded: Option<SelfCheck>) -> Result<(Engine, ModelInfo)> {
    let (device, name) = device().await;
    if name == CPU {
        return on_cpu(files, recorded).await;
    }
    let recorded = match recorded {
        Some(recorded) => recorded,
        None => answer_of_cpu(files.clone()).await?,
    };
    let loaded = load(files.clone(), &device).await?;
    if loaded.engine.answers_as(&recorded).await.map_err(Failure::of)? {
        return Ok(loaded.ready(WEBGPU, Checked::Yes));
    }
    drop(loaded);
    CHOSEN.set(Some((Device::flex(), CPU)));
    let (engine, info) = on_cpu(files, Some(recorded)).await?;
    Ok((engine, ModelInfo { checked: Checked::WebGpuFailed, ..info }))
}

async fn on_cpu(files: Files, recorded: Option<SelfCheck>) -> Result<(Engine, ModelInfo)> {
    let mut loaded = load(files, &Device::flex()).await?;
    let Some(recorded) = recorded.or(loaded.recorded.take()) else {
        return Ok(loaded.ready(CPU, Checked::No));
    };
    if !loaded.engine.answers_as(&recorded).await.map_err(Failure::of)? {
        let what = format!("the model does not answer 「{}」 as was recorded when it was exported", recorded.text);
        return Err(Failure::new(what).with(Hint::ExportAgain));
    }
    Ok(loaded.ready(CPU, Checked::Yes))
}

/// What an exported model says of itself, or what it answers on the CPU.
async fn answer_of_cpu(files: Files) -> Result<SelfCheck> {
    let loaded = load(files, &Device::flex()).await?;
    match loaded.recorded {
        Some(recorded) => Ok(recorded),
        None => loaded.engine.record(CHECKED_TEXT).await.map_err(Failure::of),
    }
}

/// A model on a device, before it was asked anything.
struct Loaded {
    engine: Engine,
    /// What its list says that it answers.
    recorded: Option<SelfCheck>,
    weights_sha256: String,
}

/// Puts a model on a device, the files of its weights one after the other.
async fn load(mut files: Files, device: &Device) -> Result<Loaded> {
    let (config, tokenizer) = (files.require("config.json").await?, files.require("tokenizer.json").await?);
    let tokenizer_config = files.take("tokenizer_config.json").await?;
    let list = files.take(WEB_MODEL).await?.map(|bytes| WebModel::from_json(&String::from_utf8_lossy(&bytes)));
    let recorded = list.transpose().map_err(Failure::of)?.and_then(|list| list.model.check);
    let (mut weights, mut hash) = (WeightFile::empty(device), Sha256::new());
    for name in files.weights() {
        let bytes = files.require(&name).await?;
        hash.update(&bytes);
        weights.add(&bytes).map_err(Failure::of)?;
    }
    let files = ModelFiles {
        config_json: &config,
        weights,
        tokenizer_json: &tokenizer,
        tokenizer_config_json: tokenizer_config.as_deref(),
    };
    Ok(Loaded { engine: Engine::new(files).map_err(Failure::of)?, recorded, weights_sha256: hex(&hash.finalize()) })
}

impl Loaded {
    fn ready(self, device: &str, checked: Checked) -> (Engine, ModelInfo) {
        let info = ModelInfo {
            num_parameters: self.engine.config.num_parameters(),
            max_length: self.engine.max_length(),
            device: device.into(),
            checked,
            weights_sha256: self.weights_sha256,
        };
        (self.engine, info)
    }
}

/// WebGPU where the browser gives it, else the CPU; `?device=cpu` in the worker's address asks for the CPU.
async fn device() -> (Device, &'static str) {
    if let Some(chosen) = CHOSEN.with_borrow(Clone::clone) {
        return chosen;
    }
    let scope: DedicatedWorkerGlobalScope = js_sys::global().unchecked_into();
    let asked_for_cpu = scope.location().search().contains(ON_CPU);
    let webgpu = if asked_for_cpu { None } else { Device::wgpu_options().init_async().await.ok() };
    let chosen = webgpu.map_or_else(|| (Device::flex(), CPU), |device| (device, WEBGPU));
    CHOSEN.set(Some(chosen.clone()));
    chosen
}
