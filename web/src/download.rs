//! Gets a model's files over the network: resumed where an earlier time ended, repeated where the connection breaks, checked,
//! and kept in the browser's storage, or in memory where there is none.

use std::cell::RefCell;
use std::time::Duration;

use anaume_core::report::site::hex;
use js_sys::{Reflect, Uint8Array};
use sha2::{Digest, Sha256};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    AbortSignal, Headers, ReadableStreamDefaultReader, RequestCache, RequestInit, Response, Url, WorkerGlobalScope,
};

use crate::fetch;
use crate::files::{Content, Files, damaged, each_piece};
use crate::protocol::{Failure, Hint, Progress, Reply, Result, Step};
use crate::record::{ModelFile, ModelRecord};
use crate::store::{self, Part, Store};

/// How often a broken connection is tried again without anything new having come.
const RETRIES: u32 = 4;
/// Pause before the first of them; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Pause between two looks at what another tab does, and at whether the reader cancelled.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Time between two messages to the page, in milliseconds.
const REPORT_EVERY_MS: f64 = 100.0;
/// Time over which the speed is averaged, in milliseconds.
const SPEED_OVER_MS: f64 = 2000.0;

/// Gets what is missing of a model. `signal` cancels it; what is here by then stays.
///
/// # Errors
/// The first file that cannot be had, in words. After a cancellation the error means nothing.
pub async fn model(mut record: ModelRecord, signal: &AbortSignal, report: &dyn Fn(Reply)) -> Result<Files> {
    let store = Store::open().await;
    let total_bytes = record.size_bytes();
    let meter = RefCell::new(Meter { report, total_bytes, before_bytes: 0, last_ms: 0.0, last_bytes: 0, rate: None });
    let download = Download { signal, store: store.as_ref(), meter };
    let mut is_new = true;
    if let Some(store) = &store {
        match store.record(&record.id()).await {
            // It knows the hashes that the first download found.
            Some(earlier) => (is_new, record) = (earlier.stored_at.is_none(), earlier),
            None => download.note(&record).await?,
        }
        download.make_sure_of_room(&record).await?;
    }
    let mut contents = Vec::new();
    for file in &mut record.files {
        let content = download.file(file).await?;
        is_new |= !matches!(content, Content::Stored(..));
        contents.push((file.name(), content));
        download.meter.borrow_mut().before_bytes += file.size_bytes;
    }
    if let Some(store) = store.filter(|_| is_new) {
        record.stored_at = Some(js_sys::Date::now());
        // Another tab that loads the same model writes the same.
        store.complete(&record).await.or_else(|cause| unless_busy(cause, "anaume"))?;
    }
    Ok(Files(contents))
}

fn unless_busy(cause: JsValue, name: &str) -> Result<()> {
    if store::is_busy(&cause) { Ok(()) } else { Err(Failure::new(format!("{name}: {}", fetch::reason(&cause)))) }
}

struct Download<'a> {
    signal: &'a AbortSignal,
    store: Option<&'a Store>,
    meter: RefCell<Meter<'a>>,
}

impl Download<'_> {
    async fn note(&self, record: &ModelRecord) -> Result<()> {
        let Some(store) = self.store else { return Ok(()) };
        store.write_record(record).await.or_else(|cause| unless_busy(cause, &record.name))
    }

    async fn make_sure_of_room(&self, record: &ModelRecord) -> Result<()> {
        let Some(store) = self.store else { return Ok(()) };
        let needed_bytes = record.size_bytes() - store.bytes_of(record).await.0;
        let free_bytes = store::room().await.map(|room| room.free_bytes);
        match free_bytes {
            Some(free) if free < needed_bytes => {
                Err(Failure::new(&record.name).with(Hint::MakeRoom { needed_bytes, free_bytes }))
            }
            _ => Ok(()),
        }
    }

    /// One file, from the storage or from the network.
    async fn file(&self, file: &mut ModelFile) -> Result<Content> {
        let mut incoming = match self.store {
            None => Incoming::new(Place::Memory(Vec::new())),
            Some(store) => loop {
                if let Some(whole) = store.whole(file).await {
                    return Ok(Content::Stored(whole, file.clone()));
                }
                match store.part(file).await {
                    Ok(part) => break self.resume(file, part).await?,
                    Err(cause) if store::is_busy(&cause) => {
                        self.meter.borrow_mut().tell(Step::Waiting, file, 0);
                        self.pause(LOOK_EVERY).await?;
                    }
                    Err(cause) => return Err(self.not_stored(file, 0, &cause).await),
                }
            },
        };
        self.fill(file, &mut incoming).await?;
        let found = hex(&incoming.hash.finalize_reset());
        if file.sha256.as_ref().is_some_and(|expected| *expected != found) {
            drop(incoming);
            return Err(damaged(file, &found).await);
        }
        file.sha256 = Some(found.clone());
        match incoming.place {
            Place::Memory(bytes) => Ok(Content::Memory(bytes.into())),
            Place::Part(part) => {
                let stored = part.finish(&found).await;
                stored
                    .map(Content::File)
                    .map_err(|cause| Failure::new(format!("{}: {}", file.name(), fetch::reason(&cause))))
            }
        }
    }

    /// What an earlier time left of a file, hashed again.
    async fn resume(&self, file: &ModelFile, part: Part) -> Result<Incoming> {
        let stored = part.file().await.map_err(|cause| Failure::new(fetch::reason(&cause)))?;
        let mut incoming = Incoming::new(Place::Memory(Vec::new()));
        incoming.etag = part.etag().await;
        each_piece(&stored, |bytes| {
            incoming.hash.update(bytes);
            incoming.len += bytes.len() as u64;
            self.meter.borrow_mut().tell(Step::Checking, file, incoming.len);
        })
        .await?;
        incoming.place = Place::Part(part);
        // Without a hash nor a tag nothing says that the rest belongs to this beginning.
        if incoming.len > file.size_bytes || (file.sha256.is_none() && incoming.etag.is_none()) {
            incoming.clear().map_err(|cause| Failure::new(fetch::reason(&cause)))?;
        }
        Ok(incoming)
    }

    /// Gets the rest of a file, again while the connection breaks.
    async fn fill(&self, file: &ModelFile, incoming: &mut Incoming) -> Result<()> {
        let (mut most, mut tries) = (incoming.len, 0);
        while incoming.len < file.size_bytes {
            let Err(failure) = self.attempt(file, incoming).await else { continue };
            let passes = matches!(failure.hint, Some(Hint::TryAgain | Hint::GoOnline));
            if incoming.len > most {
                (most, tries) = (incoming.len, 0);
            }
            if !passes || tries == RETRIES || self.signal.aborted() {
                return Err(failure);
            }
            self.meter.borrow_mut().tell(Step::Retrying, file, incoming.len);
            self.pause(FIRST_PAUSE * 2_u32.pow(tries)).await?;
            tries += 1;
        }
        Ok(())
    }

    async fn attempt(&self, file: &ModelFile, incoming: &mut Incoming) -> Result<()> {
        let response = self.ask(file, incoming).await?;
        let (status, tag) = (response.status(), header(&response, "etag"));
        if status != 416 {
            fetch::successful(&file.url, &response)?;
        }
        let goes_on = status == 206 && (tag.is_none() || incoming.etag.is_none() || tag == incoming.etag);
        if incoming.len > 0 && !goes_on {
            incoming.clear().map_err(|cause| Failure::new(fetch::reason(&cause)))?;
            // The rest of another version is of no use; the whole is.
            if status != 200 {
                return Err(Failure::new(format!("{}: the file has changed", file.name())).with(Hint::TryAgain));
            }
        }
        incoming.set_etag(tag).await.map_err(|cause| Failure::new(fetch::reason(&cause)))?;
        let body = response.body().ok_or_else(|| Failure::new(format!("{}: no content", file.url)))?;
        let reader: ReadableStreamDefaultReader = body.get_reader().unchecked_into();
        let broken = |cause: &str| Failure::new(format!("{}: {cause}", file.url)).with(Hint::TryAgain);
        loop {
            let chunk = JsFuture::from(reader.read()).await.map_err(|cause| broken(&fetch::reason(&cause)))?;
            let field = |name: &str| Reflect::get(&chunk, &name.into()).unwrap_or(JsValue::UNDEFINED);
            if field("done").is_truthy() {
                break;
            }
            let bytes = field("value").unchecked_into::<Uint8Array>().to_vec();
            if incoming.len + bytes.len() as u64 > file.size_bytes {
                let what = format!("{}: longer than {} bytes", file.name(), file.size_bytes);
                return Err(Failure::new(what).with(Hint::CheckAddress));
            }
            if let Err(cause) = incoming.append(&bytes) {
                return Err(self.not_stored(file, incoming.len, &cause).await);
            }
            self.meter.borrow_mut().tell(Step::Reading, file, incoming.len);
        }
        if incoming.len < file.size_bytes { Err(broken("the connection ended early")) } else { Ok(()) }
    }

    /// Asks for what is missing.
    async fn ask(&self, file: &ModelFile, incoming: &Incoming) -> Result<Response> {
        let failed = |cause: JsValue| Failure::new(format!("{}: {}", file.url, fetch::reason(&cause)));
        let options = RequestInit::new();
        options.set_signal(Some(self.signal));
        // The browser's cache would hold a second copy.
        options.set_cache(RequestCache::NoStore);
        if incoming.len > 0 {
            let headers = Headers::new().map_err(failed)?;
            headers.set("range", &format!("bytes={}-", incoming.len)).map_err(failed)?;
            // Other sites would have to allow this header first, which few do; there the tag of the answer is compared.
            if let Some(tag) = incoming.etag.as_ref().filter(|_| is_of_this_site(&file.url)) {
                headers.set("if-range", tag).map_err(failed)?;
            }
            options.set_headers(&headers);
        }
        fetch::answer(&file.url, &options).await
    }

    async fn pause(&self, time: Duration) -> Result<()> {
        let mut left = time;
        while !left.is_zero() {
            sleep(LOOK_EVERY.min(left)).await;
            left = left.saturating_sub(LOOK_EVERY);
            if self.signal.aborted() {
                return Err(Failure::new("cancelled"));
            }
        }
        Ok(())
    }

    async fn not_stored(&self, file: &ModelFile, done_bytes: u64, cause: &JsValue) -> Failure {
        let failure = Failure::new(format!("{}: {}", file.name(), fetch::reason(cause)));
        if !store::is_full(cause) {
            return failure;
        }
        let needed_bytes = self.meter.borrow().total_bytes - self.meter.borrow().before_bytes - done_bytes;
        let free_bytes = store::room().await.map(|room| room.free_bytes);
        failure.with(Hint::MakeRoom { needed_bytes, free_bytes })
    }
}

fn header(response: &Response, name: &str) -> Option<String> {
    response.headers().get(name).ok().flatten()
}

fn is_of_this_site(url: &str) -> bool {
    let scope: WorkerGlobalScope = js_sys::global().unchecked_into();
    Url::new(url).is_ok_and(|url| url.origin() == scope.origin())
}

async fn sleep(time: Duration) {
    let scope: WorkerGlobalScope = js_sys::global().unchecked_into();
    let promise = js_sys::Promise::new(&mut |done, _| {
        // A worker always has timers.
        let _ = scope.set_timeout_with_callback_and_timeout_and_arguments_0(&done, time.as_millis() as i32);
    });
    // It is never rejected.
    let _ = JsFuture::from(promise).await;
}

/// A file that is coming.
struct Incoming {
    place: Place,
    hash: Sha256,
    len: u64,
    /// The entity tag of its version.
    etag: Option<String>,
}

/// Where its bytes go.
enum Place {
    Part(Part),
    Memory(Vec<u8>),
}

impl Incoming {
    fn new(place: Place) -> Self {
        Self { place, hash: Sha256::new(), len: 0, etag: None }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), JsValue> {
        match &mut self.place {
            Place::Part(part) => part.append(bytes)?,
            Place::Memory(all) => all.extend_from_slice(bytes),
        }
        self.hash.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn clear(&mut self) -> Result<(), JsValue> {
        (self.hash, self.len, self.etag) = (Sha256::new(), 0, None);
        match &mut self.place {
            Place::Part(part) => part.clear(),
            Place::Memory(all) => {
                all.clear();
                Ok(())
            }
        }
    }

    /// Notes the tag of the version that begins to come.
    async fn set_etag(&mut self, tag: Option<String>) -> Result<(), JsValue> {
        if self.len > 0 {
            return Ok(());
        }
        if let Place::Part(part) = &self.place {
            part.set_etag(tag.as_deref().unwrap_or_default()).await?;
        }
        self.etag = tag;
        Ok(())
    }
}

/// Tells the page how far it is, not too often.
struct Meter<'a> {
    report: &'a dyn Fn(Reply),
    total_bytes: u64,
    /// Bytes of the files before this one.
    before_bytes: u64,
    last_ms: f64,
    last_bytes: u64,
    /// Bytes a millisecond.
    rate: Option<f64>,
}

impl Meter<'_> {
    fn tell(&mut self, step: Step, file: &ModelFile, file_done_bytes: u64) {
        let (now, done_bytes) = (js_sys::Date::now(), self.before_bytes + file_done_bytes);
        let passed = now - self.last_ms;
        if passed < REPORT_EVERY_MS {
            return;
        }
        if step == Step::Reading && self.last_bytes > 0 {
            let rate = done_bytes.saturating_sub(self.last_bytes) as f64 / passed;
            let weight = 1.0 - (-passed / SPEED_OVER_MS).exp();
            self.rate = Some(self.rate.map_or(rate, |before| before + weight * (rate - before)));
        }
        (self.last_ms, self.last_bytes) = (now, done_bytes);
        (self.report)(Reply::Fetching(Progress {
            step,
            file: file.name(),
            file_done_bytes,
            file_total_bytes: file.size_bytes,
            done_bytes,
            total_bytes: Some(self.total_bytes),
            bytes_per_second: self.rate.map(|rate| rate * 1000.0),
        }));
    }
}
