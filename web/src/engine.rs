//! The model of the page: where its files come from and what it runs on.
//!
//! Empty → fetching → preparing → ready, or failed at any point.

use std::cell::OnceCell;
use std::rc::Rc;

use anaume_core::infer::{Engine, FillMask, ModelFiles};
use anaume_core::tokenizer::MaskConvention;
use burn::tensor::Device;
use js_sys::Promise;
use leptos::prelude::window;
use wasm_bindgen_futures::JsFuture;
use web_sys::FileList;

use crate::fetch::{self, FILES, OPTIONAL_FILE, Result};

/// Candidates shown for a mask.
const TOP_K: usize = 5;
/// Folder of the model that the site brings, beside the page.
const SITE_MODEL: &str = "model";

/// Where the model stands.
#[derive(Clone)]
pub enum State {
    /// No model has been asked for.
    Empty,
    /// A file is being read.
    Fetching {
        /// Its name.
        file: &'static str,
        /// Bytes so far.
        done: u64,
        /// Bytes in all, where they are known.
        total: Option<u64>,
    },
    /// The weights go to the device.
    Preparing,
    /// Answers can be had.
    Ready(Rc<Model>),
    /// What went wrong.
    Failed(String),
}

impl State {
    /// Whether a load is under way.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Fetching { .. } | Self::Preparing)
    }

    /// The model, once it is there.
    pub fn model(&self) -> Option<Rc<Model>> {
        if let Self::Ready(model) = self { Some(model.clone()) } else { None }
    }
}

/// A model in memory.
pub struct Model {
    engine: Engine,
    /// Where it came from.
    pub origin: Origin,
    /// `WebGPU` or `CPU`.
    pub device: &'static str,
}

impl Model {
    /// The likeliest tokens at every mask of a text.
    pub async fn fill_mask(&self, text: String) -> Result<FillMask> {
        let answers = self.engine.fill_mask(&[text], TOP_K, MaskConvention::Clean).await;
        answers.map_err(|error| error.to_string())?.pop().ok_or_else(|| "no answer".into())
    }
}

/// Where a model came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The site.
    Site,
    /// The reader's machine.
    Files,
}

impl Origin {
    /// Its name in the page's markup.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Site => "site",
            Self::Files => "files",
        }
    }
}

/// Where a model's files come from.
pub enum Source {
    /// The folder `model/` beside the page.
    Site,
    /// Files that the reader chose.
    Files(FileList),
}

/// Loads a model; `report` hears every state, the last one included.
pub async fn load(source: Source, report: impl Fn(State)) {
    match files(&source, &report).await {
        Ok(files) => {
            report(State::Preparing);
            next_task().await;
            let origin = if matches!(source, Source::Site) { Origin::Site } else { Origin::Files };
            report(prepare(origin, files).await.map_or_else(State::Failed, |model| State::Ready(Rc::new(model))));
        }
        Err(cause) => report(State::Failed(cause)),
    }
}

/// The files of [`FILES`], in that order.
async fn files(source: &Source, report: &impl Fn(State)) -> Result<[Option<Vec<u8>>; 4]> {
    let mut all = [const { None }; 4];
    for (file, bytes) in FILES.into_iter().zip(&mut all) {
        let progress = |done, total| report(State::Fetching { file, done, total });
        progress(0, None);
        *bytes = match source {
            Source::Site => fetch::from_url(&format!("{SITE_MODEL}/{file}"), progress).await?,
            Source::Files(files) => fetch::from_files(files, file).await?,
        };
        if bytes.is_none() && file != OPTIONAL_FILE {
            return Err(format!("{file}: there is no such file"));
        }
    }
    Ok(all)
}

async fn prepare(origin: Origin, files: [Option<Vec<u8>>; 4]) -> Result<Model> {
    let (device, name) = device().await;
    let [config, tokenizer, weights, tokenizer_config] = files.each_ref().map(Option::as_deref);
    let files = ModelFiles {
        config_json: config.unwrap_or_default(),
        weights: weights.unwrap_or_default(),
        tokenizer_json: tokenizer.unwrap_or_default(),
        tokenizer_config_json: tokenizer_config,
    };
    let engine = Engine::new(files, &device).map_err(|error| error.to_string())?;
    Ok(Model { engine, origin, device: name })
}

thread_local! {
    /// WebGPU can be initialised once a page.
    static DEVICE: OnceCell<(Device, &'static str)> = const { OnceCell::new() };
}

/// WebGPU where the browser gives it, else the CPU; `?device=cpu` in the address asks for the CPU.
async fn device() -> (Device, &'static str) {
    if let Some(known) = DEVICE.with(|device| device.get().cloned()) {
        return known;
    }
    let asked_for_cpu = window().location().search().is_ok_and(|search| search.contains("device=cpu"));
    let webgpu = if asked_for_cpu { None } else { Device::wgpu_options().init_async().await.ok() };
    let opened = webgpu.map_or_else(|| (Device::flex(), "CPU"), |device| (device, "WebGPU"));
    DEVICE.with(|device| device.get_or_init(|| opened).clone())
}

/// Lets the page show what it has before the thread is busy.
pub async fn next_task() {
    let after = |resolve: js_sys::Function, _| {
        // A browser without timers has no page to keep alive.
        let _ = window().set_timeout_with_callback_and_timeout_and_arguments_0(&resolve, 0);
    };
    let _ = JsFuture::from(Promise::new(&mut { after })).await;
}
