//! The page's side of the worker: requests out, replies in, and a worker that can be stopped in the middle of its work.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use futures_channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use js_sys::Array;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{ErrorEvent, MessageEvent, Worker, WorkerOptions, WorkerType};

use crate::fetch::reason;
use crate::protocol::{Failure, Hint, Reply, Request};

/// The script of the page, which the worker starts with too.
const SCRIPT: &str = "start.js";
/// In the address of a page or a worker that is not to use WebGPU.
pub const ON_CPU: &str = "device=cpu";

/// Who waits for the replies to which request.
type Waiting = Rc<RefCell<HashMap<u64, UnboundedSender<Reply>>>>;

/// A worker. Clones speak to the same one.
#[derive(Clone)]
pub struct Engine {
    inner: Rc<RefCell<Inner>>,
    next: Rc<Cell<u64>>,
}

struct Inner {
    worker: Worker,
    waiting: Waiting,
    /// Messages that wait for [`Reply::Listening`]; `None` from then on.
    outbox: Rc<RefCell<Option<Vec<Array>>>>,
}

impl Engine {
    /// Starts a worker.
    ///
    /// # Errors
    /// A browser that starts none.
    pub fn start() -> Result<Self, Failure> {
        Ok(Self { inner: Rc::new(RefCell::new(Inner::start(false)?)), next: Rc::new(Cell::new(1)) })
    }

    /// The replies to a request, in order, up to the last. `files` go with it.
    pub fn ask(&self, request: &Request, files: &JsValue) -> UnboundedReceiver<Reply> {
        let number = self.next.replace(self.next.get() + 1);
        let (sender, receiver) = unbounded();
        let json = serde_json::to_string(request).expect("requests have string keys only, so they are always JSON");
        let message = Array::of3(&(number as f64).into(), &json.into(), files);
        let inner = self.inner.borrow();
        inner.waiting.borrow_mut().insert(number, sender);
        match &mut *inner.outbox.borrow_mut() {
            Some(outbox) => outbox.push(message),
            None => inner.post(&message),
        }
        receiver
    }

    /// Ends whatever the worker does and starts another one, which has no models and, `on_cpu`, no WebGPU. Replies that are
    /// waited for end.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn restart(&self, on_cpu: bool) -> Result<(), Failure> {
        self.inner.borrow().worker.terminate();
        let fresh = Inner::start(on_cpu)?;
        *self.inner.borrow_mut() = fresh;
        Ok(())
    }
}

impl Inner {
    fn start(on_cpu: bool) -> Result<Self, Failure> {
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        let of_page = leptos::prelude::window().location().search().unwrap_or_default();
        let search =
            if on_cpu { format!("{of_page}{}{ON_CPU}", if of_page.is_empty() { "?" } else { "&" }) } else { of_page };
        let worker = Worker::new_with_options(&format!("{SCRIPT}{search}"), &options);
        let worker = worker.map_err(|cause| Failure::new(reason(&cause)))?;
        let (waiting, outbox) = (Waiting::default(), Rc::new(RefCell::new(Some(Vec::new()))));
        let inner = Self { worker, waiting, outbox };
        inner.listen();
        Ok(inner)
    }

    fn listen(&self) {
        let (waiting, outbox, worker) = (self.waiting.clone(), self.outbox.clone(), self.worker.clone());
        let on_message = Closure::<dyn Fn(MessageEvent)>::new(move |event: MessageEvent| {
            let message: Array = event.data().unchecked_into();
            let number = message.get(0).as_f64().unwrap_or_default() as u64;
            let reply = serde_json::from_str(&message.get(1).as_string().unwrap_or_default());
            match reply.unwrap_or_else(|cause| Reply::Failed(Failure::new(cause))) {
                Reply::Listening => outbox.take().into_iter().flatten().for_each(|early| send(&worker, &early)),
                reply => deliver(&waiting, number, reply),
            }
        });
        self.worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        // It lives as long as the worker, of which there is one at a time.
        on_message.forget();
        let waiting = self.waiting.clone();
        let on_error = Closure::<dyn Fn(ErrorEvent)>::new(move |event: ErrorEvent| {
            let numbers: Vec<u64> = waiting.borrow().keys().copied().collect();
            for number in numbers {
                let failure = Failure::new(event.message()).with(Hint::StartAgain);
                deliver(&waiting, number, Reply::Failed(failure));
            }
        });
        self.worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        on_error.forget();
    }

    fn post(&self, message: &Array) {
        send(&self.worker, message);
    }
}

fn send(worker: &Worker, message: &Array) {
    // Numbers, strings and files can always be sent.
    let _ = worker.post_message(message);
}

/// Gives a reply to who waits for it, and lets them go after the last one.
fn deliver(waiting: &Waiting, number: u64, reply: Reply) {
    let is_last = reply.is_last();
    if let Some(sender) = waiting.borrow().get(&number) {
        // Who does not wait any more hears nothing.
        let _ = sender.unbounded_send(reply);
    }
    if is_last {
        waiting.borrow_mut().remove(&number);
    }
}
