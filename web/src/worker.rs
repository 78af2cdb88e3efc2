//! The worker: models and everything that computes, off the thread of the page.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use anaume_core::config::Pooling;
use anaume_core::infer::Engine;
use anaume_core::metrics::comparison::Comparison;
use anaume_core::report::share::Hit;
use anaume_core::retrieval::{PassageIndex, shared_ranges};
use anaume_core::tokenizer::MaskConvention;
use js_sys::{Array, Uint8Array};
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use web_sys::{AbortController, Blob, DedicatedWorkerGlobalScope, MessageEvent, Url};

use crate::files::Files;
use crate::protocol::{Compared, Failure, Filled, Found, Hint, IndexInfo, Reply, Request, Result, Source};
use crate::{download, fetch, prepare};

/// Longest passage, query and sentence, in tokens.
const LONGEST_PASSAGE: usize = 512;
/// Texts between two looks at the progress.
const TEXTS_A_STEP: usize = 8;

thread_local! {
    /// The passages that can be searched.
    static INDEX: RefCell<Option<Rc<PassageIndex>>> = const { RefCell::new(None) };
    /// Loaded models by name.
    static MODELS: RefCell<HashMap<String, Rc<Engine>>> = RefCell::new(HashMap::new());
    /// What stops the downloads, by name of the model.
    static FETCHING: RefCell<HashMap<String, AbortController>> = RefCell::new(HashMap::new());
}

fn scope() -> DedicatedWorkerGlobalScope {
    js_sys::global().unchecked_into()
}

/// Answers requests for as long as the worker lives.
pub fn start() {
    let listen = Closure::<dyn Fn(MessageEvent)>::new(|event: MessageEvent| {
        let message: Array = event.data().unchecked_into();
        let number = message.get(0).as_f64().unwrap_or(0.0);
        let request = serde_json::from_str::<Request>(&message.get(1).as_string().unwrap_or_default());
        spawn_local(async move {
            let answered = match request {
                Ok(request) => answer(request, &message.get(2), |reply| post(number, &reply)).await,
                Err(cause) => Err(Failure::new(cause)),
            };
            post(number, &answered.unwrap_or_else(Reply::Failed));
        });
    });
    scope().set_onmessage(Some(listen.as_ref().unchecked_ref()));
    listen.forget();
    post(0.0, &Reply::Listening);
}

fn post(number: f64, reply: &Reply) {
    let json = serde_json::to_string(reply).expect("replies have string keys only, so they are always JSON");
    let message = Array::of2(&number.into(), &json.into());
    // A page that is gone hears nothing.
    let _ = scope().post_message(&message);
}

async fn answer(request: Request, payload: &JsValue, report: impl Fn(Reply)) -> Result<Reply> {
    match request {
        Request::Load { model, source } => load(model, source, payload, &report).await,
        Request::CancelLoad { model } => {
            if let Some(controller) = FETCHING.with_borrow(|fetching| fetching.get(&model).cloned()) {
                controller.abort();
            }
            Ok(Reply::LoadCancelled)
        }
        Request::Unload { model } => {
            MODELS.with_borrow_mut(|models| models.remove(&model));
            Ok(Reply::Unloaded)
        }
        Request::FillMask { model, text, top_k } => fill_mask(engine(&model)?.as_ref(), text, top_k).await,
        Request::Index { model, passages } => index(model, passages, &report).await,
        Request::Search { query, top_k } => search(&query, top_k).await,
        Request::Compare { model, first, second, pooling } => {
            compare(engine(&model)?.as_ref(), &first, &second, pooling, &report).await
        }
        Request::SaveIndex => save_index(),
        Request::OpenIndex => open_index(payload).await,
    }
}

fn engine(name: &str) -> Result<Rc<Engine>> {
    let found = MODELS.with_borrow(|models| models.get(name).cloned());
    found.ok_or_else(|| Failure::new(format!("the model `{name}` is not loaded")))
}

async fn fill_mask(engine: &Engine, text: String, top_k: usize) -> Result<Reply> {
    let start = js_sys::Date::now();
    let tokens = engine.tokens(&text, MaskConvention::Clean).map_err(Failure::of)?;
    let is_without = !tokens.iter().any(|token| token.is_mask);
    let answers = engine.fill_mask(&[text], top_k, MaskConvention::Clean).await;
    let failed = |cause| {
        let failure = Failure::of(cause);
        if is_without { failure.with(Hint::PutMask) } else { failure }
    };
    let answer = answers.map_err(failed)?.pop().ok_or_else(|| Failure::new("no answer"))?;
    Ok(Reply::Filled(Filled { answer, tokens, milliseconds: js_sys::Date::now() - start }))
}

/// One vector for each text, the progress told after each step.
async fn embed(engine: &Engine, texts: &[String], pooling: Pooling, report: &impl Fn(Reply)) -> Result<Vec<Vec<f32>>> {
    let max_length = engine.max_length().min(LONGEST_PASSAGE);
    let mut vectors = Vec::with_capacity(texts.len());
    for some in texts.chunks(TEXTS_A_STEP) {
        report(Reply::Embedding(vectors.len()));
        vectors.extend(engine.embed(some, pooling, max_length).await.map_err(Failure::of)?);
    }
    Ok(vectors)
}

async fn compare(
    engine: &Engine,
    first: &[String],
    second: &[String],
    pooling: Pooling,
    report: &impl Fn(Reply),
) -> Result<Reply> {
    let start = js_sys::Date::now();
    let vectors = embed(engine, &[first, second].concat(), pooling, report).await?;
    let (rows, columns) = vectors.split_at(first.len());
    let comparison = Comparison::new(rows, columns).map_err(Failure::new)?;
    Ok(Reply::Compared(Compared { comparison, milliseconds: js_sys::Date::now() - start }))
}

async fn index(model: String, passages: Vec<String>, report: &impl Fn(Reply)) -> Result<Reply> {
    let vectors = embed(engine(&model)?.as_ref(), &passages, Pooling::Mean, report).await?;
    set_index(PassageIndex::new(model, passages, &vectors).map_err(Failure::new)?)
}

fn set_index(index: PassageIndex) -> Result<Reply> {
    let info = IndexInfo { model: index.model.clone(), num_passages: index.passages.len() };
    INDEX.set(Some(Rc::new(index)));
    Ok(Reply::Indexed(info))
}

fn current_index() -> Result<Rc<PassageIndex>> {
    INDEX.with_borrow(Clone::clone).ok_or_else(|| Failure::new("there is no index").with(Hint::IndexAgain))
}

async fn search(query: &str, top_k: usize) -> Result<Reply> {
    let start = js_sys::Date::now();
    let index = current_index()?;
    let engine = engine(&index.model).map_err(|failure| failure.with(Hint::LoadItsModel))?;
    let vectors = embed(&engine, &[query.to_owned()], Pooling::Mean, &|_| ()).await?;
    let by_meaning = index.by_meaning(&vectors[0], top_k).map_err(Failure::new)?;
    let by_words = index.by_words(query, top_k);
    let hit = |(number, score): (usize, f32)| {
        let text = index.passages[number].clone();
        Hit { number, score, shared: shared_ranges(query, &text), text }
    };
    let [by_meaning, by_words] = [by_meaning, by_words].map(|found| found.into_iter().map(hit).collect());
    Ok(Reply::Found(Found { by_meaning, by_words, milliseconds: Some(js_sys::Date::now() - start) }))
}

fn save_index() -> Result<Reply> {
    let bytes = current_index()?.to_bytes().map_err(Failure::new)?;
    let parts = Array::of1(&Uint8Array::from(&bytes[..]));
    let url = Blob::new_with_u8_array_sequence(&parts).and_then(|blob| Url::create_object_url_with_blob(&blob));
    url.map(Reply::Saved).map_err(|cause| Failure::new(fetch::reason(&cause)))
}

async fn open_index(file: &JsValue) -> Result<Reply> {
    let bytes = fetch::bytes_of(file.unchecked_ref()).await?;
    set_index(PassageIndex::from_bytes(&bytes).map_err(Failure::new)?)
}

async fn load(model: String, source: Source, payload: &JsValue, report: &impl Fn(Reply)) -> Result<Reply> {
    let (files, recorded) = match source {
        Source::Files => (Files::own(payload), None),
        Source::Remote(record) => {
            let controller = AbortController::new().map_err(|cause| Failure::new(fetch::reason(&cause)))?;
            FETCHING.with_borrow_mut(|fetching| fetching.insert(model.clone(), controller.clone()));
            let recorded = record.check.clone();
            let files = download::model(record, &controller.signal(), report).await;
            FETCHING.with_borrow_mut(|fetching| fetching.remove(&model));
            if controller.signal().aborted() {
                return Ok(Reply::LoadCancelled);
            }
            // What a failed download left open ends.
            controller.abort();
            (files?, recorded)
        }
    };
    report(Reply::Preparing);
    let (engine, info) = prepare::engine(files, recorded).await?;
    MODELS.with_borrow_mut(|models| models.insert(model, Rc::new(engine)));
    Ok(Reply::Loaded(info))
}
