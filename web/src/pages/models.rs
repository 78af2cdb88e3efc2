//! The models page: models from this site, from an address, from the Hub or from the reader's disk, and those that are stored.
//! Above every page that computes stands which of them are loaded.

use js_sys::Array;
use leptos::prelude::*;
use leptos::task::spawn_local;
use wasm_bindgen::JsValue;
use web_sys::{DragEvent, KeyboardEvent};

use crate::app::{language, pick};
use crate::dropped::{self, Placed};
use crate::fetch;
use crate::look_up::look_up;
use crate::models::{Models, Slot, State};
use crate::protocol::{Failure, Hint};
use crate::record::{ModelFile, ModelRecord};
use crate::store::Held;
use crate::texts::Language;

/// What was found under an address.
#[derive(Clone)]
enum Found {
    Nothing,
    Looking,
    /// The model, and how many bytes of it are stored.
    Model(ModelRecord, u64),
    Failed(Failure),
}

/// Which models are there, and those of the site that are not.
#[component]
pub fn ModelSection(
    /// The models.
    models: Models,
) -> impl IntoView {
    let language = language();
    let offers = move || {
        let is_open = |name: &String| models.slots.with(|slots| slots.iter().any(|slot| slot.name == *name));
        let offered = models.offered.get().models.into_iter().filter(|model| !is_open(&model.name));
        offered
            .map(|model| {
                let size_bytes = model.files.iter().map(|file| file.size_bytes).sum();
                let label = language.get().load(&model.name, size_bytes);
                view! {
                    <button class="offer" data-model=model.name.clone() on:click=move |_| models.load_offered(&model)>
                        {label}
                    </button>
                }
            })
            .collect_view()
    };
    let choose = move |event: leptos::ev::Event| open_own(models, dropped::placed(fetch::chosen(&event)));
    view! {
        <section aria-label=pick("モデル", "Models") id="models">
            <p class="soft" role="status" id="lost">{move || {
                let losses = models.losses.get();
                (losses > 0).then(|| language.get().lost(losses))
            }}</p>
            <ul class="models">
                {move || models.slots.get().into_iter().map(|entry| view! { <ModelView models entry/> }).collect_view()}
            </ul>
            <div class="row">
                {offers}
                <label class="file">
                    {pick("手元のモデルを開く", "Open a model of your own")}
                    <input type="file" multiple on:change=choose/>
                </label>
                <a href="#models">{pick("ほかのモデル", "Other models")}</a>
            </div>
        </section>
    }
}

/// Loads the one model among files of the reader's machine.
fn open_own(models: Models, placed: Vec<Placed>) {
    if placed.is_empty() {
        return;
    }
    match dropped::one_model(placed) {
        Ok((name, files)) => models.load_files(name, files.iter().collect::<Array>().into()),
        Err(folders) => {
            let failure = Failure::new(folders.join(", ")).with(Hint::ChooseOneFolder);
            models.refuse(folders[0].split('/').next().unwrap_or_default(), failure);
        }
    }
}

/// A model and where it stands.
#[component]
fn ModelView(
    /// All models.
    models: Models,
    /// This one.
    entry: Slot,
) -> impl IntoView {
    let language = language();
    let Slot { name, state, .. } = entry;
    let device = {
        let state = state.clone();
        move || if let State::Ready(info) = state.get() { info.device } else { String::new() }
    };
    let state_name = {
        let state = state.clone();
        move || state.with(State::name)
    };
    let is = |wanted: &'static [&'static str]| {
        let state_name = state_name.clone();
        move || wanted.contains(&state_name())
    };
    let (is_fetching, can_go_on) = (is(&["fetching"]), is(&["cancelled", "failed"]));
    let [removed, shown, cancelled, again] = [(); 4].map(|()| name.clone());
    view! {
        <li data-model=name data-state=state_name data-device=device>
            <strong>{shown}</strong>
            " "
            {move || state_view(language.get(), &state.get())}
            <button class="small cancel" hidden=move || !is_fetching()
                on:click=move |_| models.cancel_load(&cancelled)>
                {move || language.get().pick("中止", "Cancel")}
            </button>
            <button class="small again" hidden=move || !can_go_on()
                on:click=move |_| models.load_again(&again)>
                {move || language.get().pick("もう一度", "Again")}
            </button>
            <button class="small remove" on:click=move |_| models.remove(&removed)>
                {move || language.get().pick("外す", "Remove")}
            </button>
        </li>
    }
}

fn state_view(language: Language, state: &State) -> AnyView {
    match state {
        State::Fetching(progress) => view! {
            <span>{language.step(progress)}</span>
            <progress aria-label=language.pick("ダウンロード", "download")
                max=progress.total_bytes.map(|total| total.to_string())
                value=progress.total_bytes.map(|_| progress.done_bytes.to_string())/>
            <span class="soft amounts">{language.amounts(progress)}</span>
        }
        .into_any(),
        State::Preparing => {
            view! { <span role="status">{language.pick("準備しています…", "Preparing…")}</span> }.into_any()
        }
        State::Ready(info) => view! { <span role="status">{language.ready(info)}</span> }.into_any(),
        State::Cancelled(progress) => view! { <span role="status">{language.cancelled(progress)}</span> }.into_any(),
        State::Failed(failure) => {
            view! { <span class="error" role="alert">{language.failure(failure)}</span> }.into_any()
        }
    }
}

/// The page.
#[component]
pub fn ModelsPage(
    /// The models.
    models: Models,
) -> impl IntoView {
    view! {
        <section aria-label=pick("モデルを加える", "Add a model") id="add-model">
            <h2>{pick("モデルを加える", "Add a model")}</h2>
            <AddressBox models/>
            <OwnFolder models/>
        </section>
        <Stored models/>
    }
}

/// A model by its address: looked at first, loaded then.
#[component]
fn AddressBox(
    /// The models.
    models: Models,
) -> impl IntoView {
    let language = language();
    let address = RwSignal::new(String::new());
    let found = RwSignal::new_local(Found::Nothing);
    let look = move || {
        let asked = address.get_untracked();
        if asked.trim().is_empty() {
            return;
        }
        found.set(Found::Looking);
        spawn_local(async move {
            let said = match look_up(&asked).await {
                Ok(record) => {
                    let bytes = models.bytes_in_storage(&record).await;
                    Found::Model(record, bytes)
                }
                Err(failure) => Found::Failed(failure),
            };
            // The answer to what stands in the box now.
            if address.get_untracked() == asked {
                found.set(said);
            }
        });
    };
    let on_key = move |event: KeyboardEvent| {
        // Enter that ends a conversion of the input method asks nothing.
        if event.key() == "Enter" && !event.is_composing() && event.key_code() != 229 {
            look();
        }
    };
    let on_input = move |event| {
        address.set(event_target_value(&event));
        found.set(Found::Nothing);
    };
    view! {
        <label for="address">{pick(
            "Hugging Face Hub の「所有者/名前」か、モデルのフォルダーの URL",
            "owner/name on the Hugging Face Hub, or the URL of a model folder",
        )}</label>
        <input id="address" type="text" inputmode="url" autocapitalize="off" spellcheck="false" prop:value=address
            placeholder="llm-jp/llm-jp-modernbert-base" on:keydown=on_key on:input=on_input/>
        <div class="row">
            <button class="primary" id="look-up" on:click=move |_| look()>{pick("調べる", "Look it up")}</button>
            <span class="soft">{pick(
                "先に大きさを調べます。ダウンロードはそのあとボタンで始めます。",
                "The size is looked up first; a button starts the download.",
            )}</span>
        </div>
        <div id="found-model" aria-live="polite">
            {move || found_view(models, language.get(), found.get(), move || found.set(Found::Nothing))}
        </div>
    }
}

fn found_view(models: Models, language: Language, found: Found, close: impl Fn() + 'static) -> AnyView {
    match found {
        Found::Nothing => ().into_any(),
        Found::Looking => view! { <p>{language.pick("調べています…", "Looking…")}</p> }.into_any(),
        Found::Failed(failure) => view! { <p class="error" role="alert">{language.failure(&failure)}</p> }.into_any(),
        Found::Model(record, bytes) => {
            let label = language.get_and_load(record.size_bytes() - bytes);
            let (files, name) = (files_table(language, &record), record.name.clone());
            let load = move |_| {
                models.load_record(record.clone());
                close();
            };
            view! {
                <h3>{name}</h3>
                <div class="wide">{files}</div>
                <div class="row"><button class="primary" id="download" on:click=load>{label}</button></div>
            }
            .into_any()
        }
    }
}

/// The files of a model with their sizes.
fn files_table(language: Language, record: &ModelRecord) -> impl IntoView + use<> {
    let row = |name: String, size: String, check: &str| {
        view! { <tr><th scope="row">{name}</th><td>{size}</td><td>{check.to_owned()}</td></tr> }
    };
    let file = |file: &ModelFile| {
        let check = if file.sha256.is_some() { "SHA-256" } else { "–" };
        row(file.name(), language.bytes(file.size_bytes), check)
    };
    let rows = record.files.iter().map(file).collect_view();
    let total = row(language.pick("合計", "total").into(), language.exact_size(record.size_bytes()), "");
    view! {
        <table class="board sizes">
            <thead><tr>
                <th scope="col">{language.pick("ファイル", "file")}</th>
                <th scope="col">{language.pick("大きさ", "size")}</th>
                <th scope="col">{language.pick("検査", "check")}</th>
            </tr></thead>
            <tbody>{rows}{total}</tbody>
        </table>
    }
}

/// A folder of the reader's machine, chosen or dropped.
#[component]
fn OwnFolder(
    /// The models.
    models: Models,
) -> impl IntoView {
    let choose = move |event: leptos::ev::Event| open_own(models, dropped::placed(fetch::chosen(&event)));
    let drop = move |event: DragEvent| {
        event.prevent_default();
        let entries = dropped::entries(&event);
        spawn_local(async move { open_own(models, dropped::files(entries).await) });
    };
    view! {
        <div class="drop" id="drop-model" on:dragover=|event: DragEvent| event.prevent_default() on:drop=drop>
            <label class="file">
                {pick("フォルダーを開く", "Open a folder")}
                <input type="file" prop:webkitdirectory=true on:change=choose/>
            </label>
            " "
            {pick(
                "config.json・tokenizer.json・model.safetensors のあるフォルダーを、ここに落としても開きます。",
                "Or drop a folder with config.json, tokenizer.json and model.safetensors here.",
            )}
        </div>
    }
}

/// The models in the browser's storage.
#[component]
fn Stored(
    /// The models.
    models: Models,
) -> impl IntoView {
    let language = language();
    let failure = RwSignal::new_local(None::<Failure>);
    let delete = move |which: Option<ModelRecord>| {
        spawn_local(async move { failure.set(models.delete(which.as_ref()).await.err()) });
    };
    let list = move || match models.held.get() {
        None => {
            let japanese = "このブラウザーの今の窓では、モデルを保存できません (プライベートウィンドウなど)。\
                読み込んだモデルはページを閉じるまでメモリーにあります。";
            let english = "This window of the browser stores nothing, as private windows do. \
                Models stay in memory until the page is closed.";
            view! { <p id="not-stored">{language.get().pick(japanese, english)}</p> }.into_any()
        }
        Some(held) if held.is_empty() => {
            view! { <p class="soft">{language.get().pick("まだありません。", "None yet.")}</p> }.into_any()
        }
        Some(held) => {
            let rows = held.into_iter().map(|one| stored_row(models, language.get(), one, delete)).collect_view();
            view! {
                <ul class="models">{rows}</ul>
                <button id="delete-all" on:click=move |_| delete(None)>
                    {language.get().pick("すべて消す", "Delete all")}
                </button>
            }
            .into_any()
        }
    };
    view! {
        <section aria-label=pick("保存済みのモデル", "Stored models") id="stored">
            <h2>{pick("このブラウザーに保存済みのモデル", "Models stored in this browser")}</h2>
            {list}
            <p class="soft" id="room">{move || {
                let held = models.held.get().unwrap_or_default();
                language.get().room(&held, models.room.get())
            }}</p>
            {move || failure.get().map(|failure| {
                view! { <p class="error" role="alert">{language.get().failure(&failure)}</p> }
            })}
        </section>
    }
}

fn stored_row(
    models: Models,
    language: Language,
    held: Held,
    delete: impl Fn(Option<ModelRecord>) + Copy + 'static,
) -> impl IntoView {
    let Held { record, bytes, is_whole } = held;
    let since = record.stored_at.filter(|_| is_whole).map(|time| {
        let date = js_sys::Date::new(&JsValue::from_f64(time));
        String::from(date.to_locale_string(language.pick("ja", "en"), &JsValue::UNDEFINED))
    });
    let since = since.unwrap_or_else(|| language.pick("途中まで", "a part").into());
    let label = if is_whole {
        language.pick("読み込む", "Load").to_owned()
    } else {
        language.get_rest(record.size_bytes().saturating_sub(bytes))
    };
    let (loaded, deleted, name) = (record.clone(), record.clone(), record.name.clone());
    let state = if is_whole { "whole" } else { "part" };
    view! {
        <li data-model=name data-state=state>
            <strong>{record.name}</strong>
            " "
            <span class="soft">{record.address}" · "{language.exact_size(bytes)}" · "{since}</span>
            " "
            <button class="small load" on:click=move |_| models.load_record(loaded.clone())>{label}</button>
            <button class="small delete" on:click=move |_| delete(Some(deleted.clone()))>
                {language.pick("消す", "Delete")}
            </button>
        </li>
    }
}
