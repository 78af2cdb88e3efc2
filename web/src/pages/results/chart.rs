//! A figure that can be used: marks are read with pointer, finger or keys, a part is drawn larger, and drawing waits until
//! the figure is looked at.

use std::cell::RefCell;
use std::rc::Rc;

use anaume_core::plot::{Drawing, Figure, Pixel, Spot, Step, View, WIDTH};
use leptos::html::Div;
use leptos::prelude::*;
use leptos::task::spawn_local;
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::Closure;
use web_sys::{Element, IntersectionObserver, IntersectionObserverEntry, KeyboardEvent, PointerEvent, WheelEvent};

use super::download::Downloads;
use super::shelf::Shelf;
use super::table::DataTable;
use crate::app::{language, pick};
use crate::stream;

/// A mark is read from so many pixels of the figure away.
const REACH: f64 = 30.0;
/// Share of a plot that a key moves it by.
const MOVE: f64 = 0.2;
/// How much more of a plot a step outwards shows.
const ZOOM: f64 = 1.5;

/// A figure that is refined while it is shown.
pub type Shared = Rc<RefCell<Box<dyn Figure>>>;

/// What the reader does with a figure.
#[derive(Clone, Copy)]
struct State {
    figure: Signal<Shared, LocalStorage>,
    view: RwSignal<View>,
    drawing: RwSignal<Option<Rc<Drawing>>, LocalStorage>,
    /// Index of the mark that is read.
    spot: RwSignal<Option<usize>>,
    /// Plot and ends of a drag.
    drag: RwSignal<Option<(usize, Pixel, Pixel)>>,
    area: NodeRef<Div>,
}

/// A figure with its data and all that can be done with it.
#[component]
pub fn Chart(
    /// Name of its files.
    name: String,
    /// The figure.
    figure: Signal<Shared, LocalStorage>,
    /// What was read, for the texts behind marks.
    shelf: Shelf,
    /// The task it is about, if it is about one.
    task: Option<String>,
) -> impl IntoView {
    let state = State {
        figure,
        view: RwSignal::new(View::default()),
        drawing: RwSignal::new_local(None),
        spot: RwSignal::new(None),
        drag: RwSignal::new(None),
        area: NodeRef::new(),
    };
    state.draw_when_seen();
    let title = move || figure.with(|figure| figure.borrow().title().to_owned());
    let help = pick(
        "矢印キーで点をたどります。+ と - で拡大と縮小、Shift+矢印キーで移動、0 で全体、Esc で終わります。",
        "Arrow keys go through the marks, + and - zoom, Shift with arrow keys moves, 0 shows all, Escape leaves.",
    );
    let text = example_text(state, shelf, task);
    let file = name.clone();
    view! {
        <figure data-figure=name>
            <div class="chart" tabindex="0" role="group" aria-label=title node_ref=state.area
                aria-description=help
                on:pointerdown=move |event| state.press(&event)
                on:pointermove=move |event| state.hover(&event)
                on:pointerup=move |_| state.release()
                on:pointercancel=move |_| state.drag.set(None)
                on:pointerleave=move |_| state.leave()
                on:dblclick=move |_| state.view.set(View::default())
                on:wheel=move |event| state.wheel(&event)
                on:keydown=move |event| state.key(&event)>
                {move || drawing_view(state)}
                {move || overlay_view(state)}
                {move || tip_view(state, text)}
            </div>
            <p class="unseen" aria-live="polite">{move || state.spot_read().map(|spot| spot_text(&spot).join("、"))}</p>
            <figcaption class="row">
                <Downloads name=file drawing=state.drawing figure/>
                <ZoomButtons state/>
                <DataTable figure/>
            </figcaption>
        </figure>
    }
}

#[component]
fn ZoomButtons(
    /// Of which figure.
    state: State,
) -> impl IntoView {
    let is_whole = move || state.view.with(View::is_whole);
    view! {
        <button class="small" aria-label=pick("拡大", "Zoom in") on:click=move |_| state.zoom(1.0 / ZOOM)>"＋"</button>
        <button class="small" aria-label=pick("縮小", "Zoom out") prop:disabled=is_whole on:click=move |_| state.zoom(ZOOM)>"－"</button>
        <button class="small" data-reset prop:disabled=is_whole on:click=move |_| state.view.set(View::default())>
            {pick("全体に戻す", "Reset")}
        </button>
    }
}

impl State {
    /// Draws the figure once it comes into view, and from then on whenever it or the part that is shown changes.
    fn draw_when_seen(self) {
        let is_seen = RwSignal::new(false);
        Effect::new(move || {
            if let Some(area) = self.area.get() {
                watch(&area, is_seen);
            }
        });
        Effect::new(move || {
            let (figure, view) = (self.figure.get(), self.view.get());
            if is_seen.get() {
                spawn_local(self.draw(figure, view));
            }
        });
    }

    /// Draws the figure, then what of it takes long to compute.
    async fn draw(self, figure: Shared, view: View) {
        // Each figure on its own, however many come into view.
        stream::pause().await;
        let is_wanted = || {
            let is_same = self.view.try_with_untracked(|now| *now == view) == Some(true);
            is_same && self.figure.try_with_untracked(|now| Rc::ptr_eq(now, &figure)) == Some(true)
        };
        let draw = || {
            // A figure that cannot be drawn keeps its table.
            let drawing = figure.borrow().drawing(&view).ok().map(Rc::new);
            self.drawing.try_set(drawing);
        };
        if !is_wanted() {
            return;
        }
        draw();
        let (mut is_finer, mut piece) = (false, stream::Piece::start());
        while is_wanted() && figure.borrow_mut().refine() {
            is_finer = true;
            piece.rest().await;
        }
        if is_finer && is_wanted() {
            draw();
        }
    }

    fn spot_read(self) -> Option<Spot> {
        let spot = self.spot.get()?;
        self.drawing.with(|drawing| drawing.as_ref()?.spots.get(spot).cloned())
    }

    /// The pixel of the figure under a pointer.
    fn pixel(self, event: &web_sys::MouseEvent) -> Option<Pixel> {
        let place = self.area.get_untracked()?.get_bounding_client_rect();
        let scale = f64::from(WIDTH) / place.width();
        Some((
            scale * (f64::from(event.client_x()) - place.left()),
            scale * (f64::from(event.client_y()) - place.top()),
        ))
    }

    fn drawn<T>(self, then: impl FnOnce(&Drawing) -> Option<T>) -> Option<T> {
        self.drawing.with_untracked(|drawing| drawing.as_deref().and_then(then))
    }

    fn press(self, event: &PointerEvent) {
        let at = self.pixel(event).filter(|_| event.button() == 0);
        let plot = at.and_then(|at| self.drawn(|drawing| drawing.plot_at(at)));
        if let (Some(at), Some(plot)) = (at, plot) {
            self.drag.set(Some((plot, at, at)));
            // Without it a drag ends at the figure's border.
            if let Some(area) = self.area.get_untracked() {
                let _ = area.set_pointer_capture(event.pointer_id());
            }
        }
        self.hover(event);
    }

    fn hover(self, event: &PointerEvent) {
        let Some(at) = self.pixel(event) else { return };
        if self.drag.with_untracked(Option::is_some) {
            self.drag.update(|drag| *drag = drag.map(|(plot, from, _)| (plot, from, at)));
        }
        let spot = self.drawn(|drawing| drawing.nearest(at, REACH));
        if self.spot.get_untracked() != spot {
            self.spot.set(spot);
        }
    }

    /// What was dragged over is drawn larger.
    fn release(self) {
        let Some((plot, from, to)) = self.drag.get_untracked() else { return };
        self.drag.set(None);
        self.show(|drawing| drawing.between(plot, from, to));
    }

    fn leave(self) {
        if self.drag.with_untracked(Option::is_none) && self.spot.with_untracked(Option::is_some) {
            self.spot.set(None);
        }
    }

    fn wheel(self, event: &WheelEvent) {
        let at = self.pixel(event).filter(|_| event.ctrl_key());
        let Some((at, plot)) = at.and_then(|at| Some((at, self.drawn(|drawing| drawing.plot_at(at))?))) else { return };
        event.prevent_default();
        let factor = if event.delta_y() > 0.0 { ZOOM } else { 1.0 / ZOOM };
        self.show(|drawing| drawing.scaled(plot, at, factor));
    }

    fn show(self, view: impl FnOnce(&Drawing) -> View) {
        if let Some(view) = self.drawn(|drawing| Some(view(drawing)))
            && self.view.with_untracked(|now| *now != view)
        {
            self.view.set(view);
        }
    }

    /// The plot that keys and buttons change, and the pixel that stays: those of the mark that is read.
    fn focus(self) -> Option<(usize, Pixel)> {
        let (spot, plot) = (self.spot.get_untracked(), self.view.with_untracked(|view| view.plot));
        self.drawn(|drawing| {
            let spot = spot.and_then(|spot| drawing.spots.get(spot));
            let [left, top, right, bottom] = drawing.frames.get(plot)?.ends();
            Some(spot.map_or((plot, ((left + right) / 2.0, (top + bottom) / 2.0)), |spot| (spot.plot, spot.at)))
        })
    }

    fn zoom(self, factor: f64) {
        if let Some((plot, at)) = self.focus() {
            self.show(|drawing| drawing.scaled(plot, at, factor));
        }
    }

    fn key(self, event: &KeyboardEvent) {
        let key = event.key();
        let by = match key.as_str() {
            "ArrowLeft" => (-MOVE, 0.0),
            "ArrowRight" => (MOVE, 0.0),
            "ArrowUp" => (0.0, MOVE),
            "ArrowDown" => (0.0, -MOVE),
            _ => (0.0, 0.0),
        };
        match (key.as_str(), event.shift_key()) {
            _ if event.ctrl_key() || event.alt_key() || event.meta_key() => return,
            ("ArrowLeft" | "ArrowRight" | "ArrowUp" | "ArrowDown", true) => {
                if let Some((plot, _)) = self.focus() {
                    self.show(|drawing| drawing.moved(plot, by));
                }
            }
            ("ArrowLeft", _) => self.step(Step::Back),
            ("ArrowRight", _) => self.step(Step::Forward),
            ("ArrowUp", _) => self.step(Step::Up),
            ("ArrowDown", _) => self.step(Step::Down),
            ("Home", _) => self.step(Step::First),
            ("End", _) => self.step(Step::Last),
            ("+" | ";", _) => self.zoom(1.0 / ZOOM),
            ("-", _) => self.zoom(ZOOM),
            ("0", _) => self.view.set(View::default()),
            ("Escape", _) if self.spot.with_untracked(Option::is_some) => self.spot.set(None),
            _ => return,
        }
        event.prevent_default();
    }

    fn step(self, step: Step) {
        let from = self.spot.get_untracked();
        self.spot.set(self.drawn(|drawing| drawing.step(from, step)));
    }
}

/// Says when an element is in view for the first time.
fn watch(area: &Element, is_seen: RwSignal<bool>) {
    let seen = Closure::<dyn FnMut(js_sys::Array, IntersectionObserver)>::new(
        move |entries: js_sys::Array, observer: IntersectionObserver| {
            let entries = entries.iter().map(JsCast::unchecked_into::<IntersectionObserverEntry>);
            if entries.into_iter().any(|entry| entry.is_intersecting()) {
                observer.disconnect();
                is_seen.try_set(true);
            }
        },
    );
    match IntersectionObserver::new(seen.as_ref().unchecked_ref()) {
        Ok(observer) => {
            observer.observe(area);
            let (observer, seen) = (StoredValue::new_local(observer), StoredValue::new_local(seen));
            on_cleanup(move || {
                observer.with_value(IntersectionObserver::disconnect);
                seen.dispose();
            });
        }
        // A browser without it draws at once.
        Err(_) => is_seen.set(true),
    }
}

/// The drawing, or as much room as it needs.
fn drawing_view(state: State) -> AnyView {
    let title = state.figure.with(|figure| figure.borrow().title().to_owned());
    match state.drawing.get() {
        Some(drawing) => view! { <div role="img" aria-label=title inner_html=drawing.svg.clone()></div> }.into_any(),
        None => {
            let height = state.figure.with(|figure| figure.borrow().height());
            view! { <svg viewBox=format!("0 0 {WIDTH} {height}") aria-hidden="true"></svg> }.into_any()
        }
    }
}

/// What lies over the drawing: the mark that is read, the range that is chosen.
fn overlay_view(state: State) -> Option<impl IntoView> {
    let size = state.drawing.with(|drawing| drawing.as_ref().map(|drawing| drawing.size))?;
    let mark = state.spot_read().map(|spot| view! { <circle cx=spot.at.0 cy=spot.at.1 r="8"></circle> });
    let range = state.drag.get().map(|(_, from, to)| {
        let [x, y] = [from.0.min(to.0), from.1.min(to.1)];
        view! { <rect x=x y=y width=(to.0 - from.0).abs() height=(to.1 - from.1).abs()></rect> }
    });
    Some(
        view! { <svg class="overlay" aria-hidden="true" viewBox=format!("0 0 {} {}", size.0, size.1)>{range}{mark}</svg> },
    )
}

/// What is read at a mark, beside it.
fn tip_view(state: State, text: RwSignal<Option<String>>) -> Option<impl IntoView> {
    let spot = state.spot_read()?;
    let (width, height) = state.drawing.with(|drawing| drawing.as_ref().map(|drawing| drawing.size))?;
    let percent = |share: f64| format!("{:.2}%", 100.0 * share);
    let is_left = spot.at.0 < width / 2.0;
    // Beside the mark, away from the nearer border.
    let left = is_left.then(|| percent((spot.at.0 + 14.0) / width));
    let right = (!is_left).then(|| percent(1.0 - (spot.at.0 - 14.0) / width));
    let is_high = spot.at.1 < height / 2.0;
    let top = is_high.then(|| percent((spot.at.1 + 10.0) / height));
    let bottom = (!is_high).then(|| percent(1.0 - (spot.at.1 - 10.0) / height));
    let auto = |side: Option<String>| side.unwrap_or_else(|| "auto".into());
    let mut lines = spot_text(&spot).into_iter();
    let name = lines.next();
    view! {
        <div class="tip" aria-hidden="true" style:left=auto(left) style:right=auto(right) style:top=auto(top) style:bottom=auto(bottom)>
            <strong>{name}</strong>
            {lines.map(|line| view! { <div>{line}</div> }).collect_view()}
            {move || text.get().map(|text| view! { <q>{text}</q> })}
        </div>
    }
    .into()
}

/// Whose mark it is, then each value.
fn spot_text(spot: &Spot) -> Vec<String> {
    let name = format!("{} {}", spot.name, spot.label).trim_end().to_owned();
    std::iter::once(name).chain(spot.readings.iter().map(ToString::to_string)).collect()
}

/// How the text of the example begins that the mark stands for, once it has been read.
fn example_text(state: State, shelf: Shelf, task: Option<String>) -> RwSignal<Option<String>> {
    let (text, language) = (RwSignal::new(None), language());
    Effect::new(move || {
        text.set(None);
        let Some((spot, task)) = state.spot_read().zip(task.clone()) else { return };
        let Some(index) = spot.example else { return };
        spawn_local(async move {
            let found = shelf
                .example(&task, &spot.name, index)
                .await
                .unwrap_or_else(|failure| Some(language.get_untracked().failure(&failure)));
            if untrack(|| state.spot_read()).as_ref() == Some(&spot) {
                text.try_set(found);
            }
        });
    });
    text
}
