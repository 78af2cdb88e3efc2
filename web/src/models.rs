//! The models of the page: those it could load, and where each that it was asked for stands.
//!
//! Fetching → preparing → ready, or failed at any point.

use anaume_core::report::site::{SiteIndex, SiteModel};
use futures_util::StreamExt;
use leptos::prelude::*;
use leptos::task::spawn_local;
use wasm_bindgen::JsValue;

use crate::engine::Engine;
use crate::fetch;
use crate::protocol::{Failure, ModelInfo, Progress, Reply, Request, Source};

/// Where a model stands.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Its files are being read.
    Fetching(Progress),
    /// The weights go to the device.
    Preparing,
    /// It can be asked.
    Ready(ModelInfo),
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
    engine: StoredValue<Engine, LocalStorage>,
}

impl Models {
    /// Starts the worker and asks the site what it offers.
    ///
    /// # Errors
    /// A browser that starts no worker.
    pub fn start() -> Result<Self, Failure> {
        let models = Self {
            offered: RwSignal::new_local(SiteIndex::default()),
            slots: RwSignal::new_local(Vec::new()),
            engine: StoredValue::new_local(Engine::start()?),
        };
        spawn_local(async move {
            // A site without an index offers nothing; the reader's own files remain.
            if let Some(index) = fetch::text("site.json").await.ok().and_then(|text| SiteIndex::from_json(&text).ok()) {
                models.offered.set(index);
            }
        });
        Ok(models)
    }

    /// Loads a model that the site offers.
    pub fn load_offered(self, model: &SiteModel) {
        self.load(model.name.clone(), Source::Site(model.files.clone()), JsValue::UNDEFINED);
    }

    /// Loads a model from files that the reader chose; `files` is an array of them.
    pub fn load_files(self, files: JsValue) {
        let is_taken = |name: &String| self.slots.with_untracked(|slots| slots.iter().any(|slot| slot.name == *name));
        let name = (1..).map(|number| format!("local-{number}")).find(|name| !is_taken(name));
        self.load(name.unwrap_or_default(), Source::Files, files);
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
        let mut replies = self.engine.with_value(|engine| engine.ask(&request, &slot.files));
        slot.state.set(State::Fetching(Progress::default()));
        spawn_local(async move {
            while let Some(reply) = replies.next().await {
                slot.state.set(match reply {
                    Reply::Fetching(progress) => State::Fetching(progress),
                    Reply::Preparing => State::Preparing,
                    Reply::Loaded(info) => State::Ready(info),
                    Reply::Failed(failure) => State::Failed(failure),
                    other => State::Failed(Failure::new(format!("unexpected: {other:?}"))),
                });
            }
        });
    }

    /// Takes a model off the page; one that is still loading stops.
    pub fn remove(self, name: &str) {
        let is_busy = |slot: &Slot| {
            slot.name == name
                && slot.state.with_untracked(|state| matches!(state, State::Fetching(_) | State::Preparing))
        };
        let stops = self.slots.with_untracked(|slots| slots.iter().any(is_busy));
        self.slots.update(|slots| slots.retain(|slot| slot.name != name));
        if stops {
            self.stop();
        } else {
            let request = Request::Unload { model: name.into() };
            self.engine.with_value(|engine| engine.ask(&request, &JsValue::UNDEFINED));
        }
    }

    /// Stops whatever is computed or loaded, at once: a new worker loads the models again.
    pub fn stop(self) {
        let restarted = self.engine.with_value(Engine::restart);
        for slot in self.slots.get_untracked() {
            match &restarted {
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

    /// The last reply to a request; `None` where the worker was stopped before it.
    pub async fn ask(self, request: &Request) -> Option<Reply> {
        self.ask_with(request, &JsValue::UNDEFINED, |_| ()).await
    }

    /// [`Self::ask`] with a file, and with what is heard before the last reply.
    pub async fn ask_with(self, request: &Request, file: &JsValue, progress: impl Fn(Reply)) -> Option<Reply> {
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
