//! Files for the reader: a figure as SVG, PNG and CSV.

use std::rc::Rc;

use anaume_core::plot::Drawing;
use leptos::prelude::*;
use leptos::task::spawn_local;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, CanvasRenderingContext2d, HtmlCanvasElement, HtmlImageElement, Url};

use super::chart::Shared;
use crate::fetch::{blob, save};

/// Pixels of a PNG for each of the figure.
const PNG_SCALE: f64 = 2.0;

/// The buttons of a figure's files. The drawings are of the part that is shown.
#[component]
pub fn Downloads(
    /// Name of the files.
    name: String,
    /// The figure as it is shown.
    drawing: RwSignal<Option<Rc<Drawing>>, LocalStorage>,
    /// The figure.
    figure: Signal<Shared, LocalStorage>,
) -> impl IntoView {
    let [svg_name, png_name, csv_name] = ["svg", "png", "csv"].map(|extension| format!("{name}.{extension}"));
    let svg = move |_| {
        if let Some(drawing) = drawing.get_untracked() {
            save(&svg_name, blob("image/svg+xml", &drawing.svg));
        }
    };
    let png = move |_| {
        let name = png_name.clone();
        if let Some(drawing) = drawing.get_untracked() {
            // A browser that draws no such image still gives the SVG.
            spawn_local(async move { save(&name, png(&drawing).await) });
        }
    };
    let csv = move |_| save(&csv_name, blob("text/csv", &figure.get_untracked().borrow().to_csv()));
    let is_undrawn = move || drawing.with(Option::is_none);
    view! {
        <button class="small" prop:disabled=is_undrawn on:click=svg>"SVG"</button>
        <button class="small" prop:disabled=is_undrawn on:click=png>"PNG"</button>
        <button class="small" on:click=csv>"CSV"</button>
    }
}

/// The drawing in pixels, drawn by the browser with the reader's fonts.
async fn png(drawing: &Drawing) -> Result<Blob, JsValue> {
    let url = Url::create_object_url_with_blob(&blob("image/svg+xml", &drawing.svg)?)?;
    let image = HtmlImageElement::new()?;
    image.set_src(&url);
    let decoded = JsFuture::from(image.decode()).await;
    Url::revoke_object_url(&url)?;
    decoded?;
    let canvas: HtmlCanvasElement = document().create_element("canvas")?.unchecked_into();
    let (width, height) = (PNG_SCALE * drawing.size.0, PNG_SCALE * drawing.size.1);
    canvas.set_width(width as u32);
    canvas.set_height(height as u32);
    let context = canvas.get_context("2d")?.ok_or("no canvas")?.unchecked_into::<CanvasRenderingContext2d>();
    context.set_fill_style_str("#fff");
    context.fill_rect(0.0, 0.0, width, height);
    context.draw_image_with_html_image_element_and_dw_and_dh(&image, 0.0, 0.0, width, height)?;
    let written = js_sys::Promise::new(&mut |resolve, reject| {
        let take = Closure::once_into_js(move |blob: JsValue| _ = resolve.call1(&JsValue::UNDEFINED, &blob));
        if let Err(cause) = canvas.to_blob(take.unchecked_ref()) {
            // The promise is new, so it can be rejected.
            let _ = reject.call1(&JsValue::UNDEFINED, &cause);
        }
    });
    JsFuture::from(written).await?.dyn_into()
}
