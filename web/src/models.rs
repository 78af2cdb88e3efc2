//! The models of the page: those it could load, and where each that it was asked for stands.
//!
//! Fetching → preparing → ready; cancelled or failed at any point.

use anaume_core::report::share::SharedModel;
use anaume_core::report::site::{SiteIndex, SiteModel};
use futures_util::StreamExt;
use js_sys::Array;
use leptos::prelude::*;
use leptos::task::spawn_local;
use wasm_bindgen::JsValue;

use crate::engine::Engine;
use crate::fetch;
use crate::protocol::{Failure, Hint, ModelInfo, Progress, Reply, Request, Source};
use crate::record::ModelRecord;
use crate::store::{self, Held, Room, Store};

/// The first model of the site loads by itself up to this size.
const LOADED_AT_ONCE_BYTES: u64 = 16 << 20;

/// After so many losses of its device the next worker computes on the CPU.
pub const MAX_LOSSES: u32 = 2;

/// Where a model stands.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Its files are being read.
    Fetching(Progress),
    /// The weights go to the device.
    Preparing,
    /// It can be asked.
    Ready(ModelInfo),
    /// The reader cancelled the download; what is here stays.
    Cancelled(Progress),
    /// What went wrong.
    Failed(Failure),
}

impl State {
    /// Its name in the page's markup.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Fetching(_) => "fetching",
            Self::Preparing => "preparing",
            Self::Ready(_) => "ready",
            Self::Cancelled(_) => "cancelled",
            Self::Failed(_) => "failed",
        }
    }
}

/// A model that was asked for.
#[derive(Clone)]
pub struct Slot {
    /// Its name on the page, and in the worker.
    pub name: String,
    /// Where it stands; counted, since it outlives the button that asked for the model.
    pub state: ArcRwSignal<State>,
    source: Source,
    files: JsValue,
}

/// All models of the page.
#[derive(Clone, Copy)]
pub struct Models {
    /// What stands beside the page.
    pub offered: RwSignal<SiteIndex, LocalStorage>,
    /// Those that were asked for, in that order.
    pub slots: RwSignal<Vec<Slot>, LocalStorage>,
    /// Those in the browser's storage; `None` where the browser stores nothing.
    pub held: RwSignal<Option<Vec<Held>>, LocalStorage>,
    /// How much room the storage has, where the browser says so.
    pub room: RwSignal<Option<Room>, LocalStorage>,
    /// How often a worker lost its device.
    pub losses: RwSignal<u32>,
    engine: StoredValue<Engine, LocalStorage>,
    /// Workers before this one.
    workers: StoredValue<u32>,
}

impl Models {
    /// Starts the worker, looks into the storage and asks the site what it offers.
    ///
    /// # Errors
    /// A browser that starts no worker.
    pub fn start() -> Result<Self, Failure> {
        let models = Self {
            offered: RwSignal::new_local(SiteIndex::default()),
            slots: RwSignal::new_local(Vec::new()),
            held: RwSignal::new_local(Some(Vec::new())),
            room: RwSignal::new_local(None),
            losses: RwSignal::new(0),
            engine: StoredValue::new_local(Engine::start()?),
            workers: StoredValue::new(0),
        };
        spawn_local(async move {
            models.look_into_storage().await;
            models.offered.set(fetch::site_index().await);
        });
        Ok(models)
    }

    /// Loads the first model of the site if that needs no long download.
    pub fn load_first(self) {
        let Some(first) = self.offered.with_untracked(|index| index.models.first().cloned()) else { return };
        let Ok(record) = of_site(&first) else { return };
        let is_stored = self.whole_in_storage(&record);
        if self.slots.with_untracked(Vec::is_empty) && (is_stored || record.size_bytes() <= LOADED_AT_ONCE_BYTES) {
            self.open_record(record);
        }
    }

    /// Whether all of a model is in the storage.
    pub fn whole_in_storage(self, record: &ModelRecord) -> bool {
        let id = record.id();
        let is_it = |held: &Held| held.is_whole && held.record.id() == id;
        self.held.with_untracked(|held| held.iter().flatten().any(is_it))
    }

    /// How many bytes of a model need no download.
    pub async fn bytes_in_storage(self, record: &ModelRecord) -> u64 {
        match Store::open().await {
            Some(store) => store.bytes_of(record).await.0,
            None => 0,
        }
    }

    /// Looks what is stored and what room is left.
    pub async fn look_into_storage(self) {
        let held = match Store::open().await {
            Some(store) => Some(store.held().await),
            None => None,
        };
        self.held.set(held);
        self.room.set(store::room().await);
    }

    /// Deletes a stored model, or all.
    ///
    /// # Errors
    /// One that another tab is loading.
    pub async fn delete(self, which: Option<&ModelRecord>) -> Result<(), Failure> {
        let deleted = match (Store::open().await, which) {
            (None, _) => Ok(()),
            (Some(store), Some(record)) => store.remove(record).await,
            (Some(store), None) => store.clear().await,
        };
        self.look_into_storage().await;
        deleted.map_err(|cause| {
            let failure = Failure::new(fetch::reason(&cause));
            if store::is_busy(&cause) { failure.with(Hint::CloseOtherTab) } else { failure }
        })
    }

    /// Loads a model that the site offers.
    pub fn load_offered(self, model: &SiteModel) {
        match of_site(model) {
            Ok(record) => self.load_record(record),
            Err(failure) => self.refuse(&model.name, failure),
        }
    }

    /// Shows why a model cannot be loaded.
    pub fn refuse(self, name: &str, failure: Failure) {
        let state = ArcRwSignal::new(State::Failed(failure));
        let slot = Slot { name: self.free_name(name), state, source: Source::Files, files: Array::new().into() };
        self.slots.update(|slots| slots.push(slot));
    }

    /// Loads a model that the reader asked for, from the network or from the storage, or goes on with it.
    pub fn load_record(self, record: ModelRecord) {
        if !self.whole_in_storage(&record) {
            spawn_local(async move {
                store::persist().await;
                self.room.set(store::room().await);
            });
        }
        self.open_record(record);
    }

    fn open_record(self, record: ModelRecord) {
        let id = record.id();
        let is_it = |slot: &&Slot| matches!(&slot.source, Source::Remote(other) if other.id() == id);
        let open = self.slots.with_untracked(|slots| slots.iter().find(is_it).map(|slot| slot.name.clone()));
        let name = open.unwrap_or_else(|| self.free_name(&record.name));
        self.load(name, Source::Remote(record), JsValue::UNDEFINED);
    }

    /// Loads a model from files that the reader chose; `files` is an array of them.
    pub fn load_files(self, name: Option<String>, files: JsValue) {
        let name = name.map_or_else(|| self.numbered("local-", 1), |name| self.free_name(&name));
        self.load(name, Source::Files, files);
    }

    /// The name, with a number behind it where another model has it.
    fn free_name(self, name: &str) -> String {
        if self.is_free(name) { name.into() } else { self.numbered(&format!("{name}-"), 2) }
    }

    fn numbered(self, start: &str, first: u32) -> String {
        let names = (first..).map(|number| format!("{start}{number}"));
        names.into_iter().find(|name| self.is_free(name)).unwrap_or_default()
    }

    fn is_free(self, name: &str) -> bool {
        self.slots.with_untracked(|slots| slots.iter().all(|slot| slot.name != name))
    }

    fn load(self, name: String, source: Source, files: JsValue) {
        let state = ArcRwSignal::new(State::Fetching(Progress::default()));
        let slot = Slot { name, state, source, files };
        self.slots.update(|slots| {
            slots.retain(|other| other.name != slot.name);
            slots.push(slot.clone());
        });
        self.request(slot);
    }

    fn request(self, slot: Slot) {
        let request = Request::Load { model: slot.name, source: slot.source };
        let worker = self.workers.get_value();
        let mut replies = self.engine.with_value(|engine| engine.ask(&request, &slot.files));
        slot.state.set(State::Fetching(Progress::default()));
        spawn_local(async move {
            let mut latest = Progress::default();
            while let Some(reply) = replies.next().await {
                let is_last = reply.is_last();
                if reply.is_loss() && self.start_again(worker) {
                    return;
                }
                slot.state.set(match reply {
                    Reply::Fetching(progress) => {
                        latest = progress.clone();
                        State::Fetching(progress)
                    }
                    Reply::Preparing => State::Preparing,
                    Reply::Loaded(info) => State::Ready(info),
                    Reply::LoadCancelled => State::Cancelled(latest.clone()),
                    Reply::Failed(failure) => State::Failed(failure),
                    other => State::Failed(Failure::new(format!("unexpected: {other:?}"))),
                });
                if is_last {
                    self.look_into_storage().await;
                }
            }
        });
    }

    /// Stops the download of a model; what is here stays.
    pub fn cancel_load(self, name: &str) {
        let request = Request::CancelLoad { model: name.into() };
        self.engine.with_value(|engine| engine.ask(&request, &JsValue::UNDEFINED));
    }

    /// Goes on with a model that was cancelled or failed.
    pub fn load_again(self, name: &str) {
        let slot = self.slots.with_untracked(|slots| slots.iter().find(|slot| slot.name == name).cloned());
        slot.into_iter().for_each(|slot| self.request(slot));
    }

    /// Takes a model off the page; one that is still loading stops.
    pub fn remove(self, name: &str) {
        let state = self
            .slots
            .with_untracked(|slots| slots.iter().find(|slot| slot.name == name).map(|slot| slot.state.get_untracked()));
        self.slots.update(|slots| slots.retain(|slot| slot.name != name));
        match state {
            Some(State::Fetching(_)) => self.cancel_load(name),
            // Nothing but its end stops what computes.
            Some(State::Preparing) => self.stop(),
            _ => {
                let request = Request::Unload { model: name.into() };
                self.engine.with_value(|engine| engine.ask(&request, &JsValue::UNDEFINED));
            }
        }
    }

    /// Stops whatever is computed or loaded, at once: a new worker loads the models again.
    pub fn stop(self) {
        let on_cpu = self.losses.get_untracked() >= MAX_LOSSES;
        let restarted = self.engine.with_value(|engine| engine.restart(on_cpu));
        self.workers.update_value(|number| *number += 1);
        for slot in self.slots.get_untracked() {
            match &restarted {
                Ok(())
                    if slot.state.with_untracked(|state| matches!(state, State::Cancelled(_) | State::Failed(_))) => {}
                Ok(()) => self.request(slot),
                Err(failure) => slot.state.set(State::Failed(failure.clone())),
            }
        }
    }

    /// Names of the models that can be asked.
    pub fn ready(self) -> Vec<String> {
        let is_ready = |slot: &&Slot| slot.state.with(|state| matches!(state, State::Ready(_)));
        self.slots.with(|slots| slots.iter().filter(is_ready).map(|slot| slot.name.clone()).collect())
    }

    /// The models that can be asked, each with the hash of its weights.
    pub fn ready_models(self) -> Vec<SharedModel> {
        let model = |slot: &Slot| match slot.state.get() {
            State::Ready(info) => Some(SharedModel { name: slot.name.clone(), weights_sha256: info.weights_sha256 }),
            _ => None,
        };
        self.slots.with(|slots| slots.iter().filter_map(model).collect())
    }

    /// Starts another worker in place of `worker`, which lost its device: once with WebGPU again, then on the CPU. Whether
    /// there is one now.
    fn start_again(self, worker: u32) -> bool {
        if worker != self.workers.get_value() {
            return true;
        }
        let may = self.losses.get_untracked() < MAX_LOSSES;
        if may {
            self.losses.update(|losses| *losses += 1);
            self.stop();
        }
        may
    }

    /// Waits until no model is on its way.
    async fn settled(self) {
        for slot in self.slots.get_untracked() {
            let mut states = slot.state.to_stream();
            while let Some(State::Fetching(_) | State::Preparing) = states.next().await {}
        }
    }

    /// The last reply to a request; `None` where the worker was stopped before it.
    pub async fn ask(self, request: &Request) -> Option<Reply> {
        self.ask_with(request, &JsValue::UNDEFINED, |_| ()).await
    }

    /// [`Self::ask`] with a file, and with what is heard before the last reply. Where the device is lost it is asked again,
    /// of another worker.
    pub async fn ask_with(self, request: &Request, file: &JsValue, progress: impl Fn(Reply)) -> Option<Reply> {
        loop {
            let worker = self.workers.get_value();
            let reply = self.ask_once(request, file, &progress).await?;
            if !reply.is_loss() || !self.start_again(worker) {
                return Some(reply);
            }
            self.settled().await;
        }
    }

    async fn ask_once(self, request: &Request, file: &JsValue, progress: &impl Fn(Reply)) -> Option<Reply> {
        let mut replies = self.engine.with_value(|engine| engine.ask(request, file));
        while let Some(reply) = replies.next().await {
            if reply.is_last() {
                return Some(reply);
            }
            progress(reply);
        }
        None
    }
}

/// What is known of a model beside the page.
fn of_site(model: &SiteModel) -> Result<ModelRecord, Failure> {
    let location = window().location();
    let place = location.origin().unwrap_or_default() + &location.pathname().unwrap_or_default();
    ModelRecord::from_list(model, &place, place.clone())
}
