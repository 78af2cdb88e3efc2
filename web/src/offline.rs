//! The page without its server: a service worker (`sw.js`) keeps the page's own files. A newer version waits until the reader
//! takes it.

use js_sys::Reflect;
use leptos::prelude::*;
use leptos::task::spawn_local;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{ServiceWorker, ServiceWorkerRegistration, ServiceWorkerState};

/// The script that keeps the page's files.
const SCRIPT: &str = "sw.js";

/// A newer version of the page that waits.
#[derive(Clone, Copy)]
pub struct NewerPage(RwSignal<Option<ServiceWorker>, LocalStorage>);

impl NewerPage {
    /// Lets the browser keep the page, and looks for a newer one.
    pub fn watch() -> Self {
        let update = Self(RwSignal::new_local(None));
        let navigator = window().navigator();
        // Only pages from this machine or over https have it.
        if Reflect::has(&navigator, &"serviceWorker".into()).unwrap_or(false) {
            spawn_local(async move {
                let registered = JsFuture::from(navigator.service_worker().register(SCRIPT)).await;
                // A browser that keeps nothing shows the page as long as its server is there.
                if let Some(registration) = registered.ok().filter(JsValue::is_object) {
                    update.follow(&registration.unchecked_into());
                }
            });
        }
        update
    }

    /// Whether a newer version waits.
    pub fn waits(self) -> bool {
        self.0.with(Option::is_some)
    }

    /// Shows the newer version.
    pub fn take(self) {
        let Some(worker) = self.0.get_untracked() else { return };
        let reload = Closure::once_into_js(|| _ = window().location().reload());
        window().navigator().service_worker().set_oncontrollerchange(Some(reload.unchecked_ref()));
        // A version that is gone by now is loaded by the reader's next visit.
        let _ = worker.post_message(&"take over".into());
    }

    fn follow(self, registration: &ServiceWorkerRegistration) {
        self.0.set(registration.waiting());
        let registered = registration.clone();
        let found = Closure::<dyn Fn()>::new(move || {
            let Some(worker) = registered.installing() else { return };
            let coming = worker.clone();
            let changed = Closure::<dyn Fn()>::new(move || {
                // The first version of all has nothing to replace.
                if coming.state() == ServiceWorkerState::Installed && controller().is_some() {
                    self.0.set(Some(coming.clone()));
                }
            });
            worker.set_onstatechange(Some(changed.as_ref().unchecked_ref()));
            changed.forget();
        });
        registration.set_onupdatefound(Some(found.as_ref().unchecked_ref()));
        // It lives as long as the page.
        found.forget();
    }
}

fn controller() -> Option<ServiceWorker> {
    window().navigator().service_worker().controller()
}
