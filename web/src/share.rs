//! A page's state in an address or a file: the button that makes one, what is opened of one, and what is said about it.

use anaume_core::report::share::{ShareError, Shared, SharedModel};
use js_sys::Promise;
use leptos::html::Input;
use leptos::prelude::*;
use leptos::task::spawn_local;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_futures::JsFuture;

use crate::app::{language, pick};
use crate::fetch;
use crate::models::Models;
use crate::texts::Language;

/// What stands before the state in the fragment, behind the page's name.
const STATE: &str = "?s=";
/// Characters of a hash that are shown.
const SHOWN_HASH: usize = 12;

#[wasm_bindgen]
extern "C" {
    /// There is none where the page did not come over HTTPS or from this machine.
    #[wasm_bindgen(catch, js_namespace = ["navigator", "clipboard"], js_name = writeText)]
    fn write_text(text: &str) -> Result<Promise, JsValue>;
}

/// The states that come from outside.
#[derive(Clone, Copy)]
pub struct Sharing {
    /// The state that was opened last, for its page to show.
    pub opened: RwSignal<Option<Shared>>,
    /// Why what was to be opened last is refused.
    pub refused: RwSignal<Option<ShareError>>,
    /// The link of the address; it is opened once, so that going back to it takes away nothing that was typed since.
    known: StoredValue<String>,
}

impl Sharing {
    /// Opens what the address holds. Nothing is loaded or sent for it.
    pub fn start() -> Self {
        let sharing =
            Self { opened: RwSignal::new(None), refused: RwSignal::new(None), known: StoredValue::new(String::new()) };
        sharing.read_address();
        sharing
    }

    /// Opens the state in the address unless it was opened before.
    pub fn read_address(self) {
        let hash = window().location().hash().unwrap_or_default();
        self.refused.set(None);
        let Some((page, link)) = hash.trim_start_matches('#').split_once(STATE) else { return };
        if self.known.with_value(|known| known != link) {
            self.known.set_value(link.to_owned());
            let of_page = |state: Shared| match state.page() == page {
                true => Ok(state),
                false => Err(ShareError::Damaged(format!("it is not for the page `{page}`"))),
            };
            self.take(Shared::from_link(link).and_then(of_page));
        }
    }

    /// Opens a file that a state was saved in.
    fn read_file(self, text: &str) {
        let state = Shared::from_json(text);
        if let Ok(state) = &state {
            // A browser that keeps the address shows the state on its page none the less, once the reader goes there.
            let _ = window().location().set_hash(state.page());
        }
        self.take(state);
    }

    fn take(self, state: Result<Shared, ShareError>) {
        match state {
            Ok(state) => self.opened.set(Some(state)),
            Err(cause) => self.refused.set(Some(cause)),
        }
    }

    /// Puts a link into the address; returns the address.
    fn put(self, page: &str, link: String) -> String {
        let fragment = format!("#{page}{STATE}{link}");
        self.known.set_value(link);
        // Where the address cannot be changed, the link is in its field.
        let _ =
            window().history().and_then(|history| history.replace_state_with_url(&JsValue::NULL, "", Some(&fragment)));
        let whole = window().location().href().unwrap_or_default();
        format!("{}{fragment}", whole.split('#').next().unwrap_or_default())
    }
}

/// What became of a wish to share.
#[derive(Clone)]
enum Outcome {
    /// Nothing was shared yet.
    None,
    /// The address, whether it was copied, and whether everything is in it.
    Link { address: String, is_copied: bool, is_whole: bool },
    /// It is too long for a link.
    TooLong,
}

/// The button that shares a page, and the one that opens what was saved.
#[component]
pub fn ShareBar(
    /// The state of the page.
    state: impl Fn() -> Shared + Copy + Send + 'static,
) -> impl IntoView {
    let language = language();
    let sharing: Sharing = expect_context();
    let outcome = RwSignal::new(Outcome::None);
    let share = move |_| {
        let state = state();
        let Some(link) = state.to_link() else { return outcome.set(Outcome::TooLong) };
        let address = sharing.put(state.page(), link.text);
        spawn_local(async move {
            let is_copied = match write_text(&address) {
                Ok(copied) => JsFuture::from(copied).await.is_ok(),
                Err(_) => false,
            };
            outcome.set(Outcome::Link { address, is_copied, is_whole: link.is_whole });
        });
    };
    let save = move |_| {
        let state = state();
        fetch::save(&format!("anaume-{}.json", state.page()), fetch::blob("application/json", &state.to_json()));
    };
    let open = move |event: leptos::ev::Event| {
        for file in fetch::chosen(&event) {
            spawn_local(async move {
                match fetch::text_of(&file).await {
                    Ok(text) => sharing.read_file(&text),
                    Err(failure) => sharing.refused.set(Some(ShareError::Damaged(failure.what))),
                }
            });
        }
    };
    let is_short =
        move || outcome.with(|outcome| matches!(outcome, Outcome::None | Outcome::Link { is_whole: true, .. }));
    view! {
        <div class="share">
            <div class="row">
                <button class="share-link" on:click=share>{pick("リンクを共有", "Share link")}</button>
                <button class="share-file" hidden=is_short on:click=save>
                    {pick("ファイルに保存 (.json)", "Save as a file (.json)")}
                </button>
                <label class="file">
                    {pick("共有ファイルを開く", "Open a shared file")}
                    <input type="file" class="open-shared" accept=".json" on:change=open/>
                </label>
            </div>
            <p class="soft" role="status">{move || outcome.with(|outcome| outcome_text(language.get(), outcome))}</p>
            {move || match outcome.get() {
                Outcome::Link { address, .. } => Some(view! { <Address address/> }),
                _ => None,
            }}
        </div>
    }
}

/// The address to copy by hand; it is chosen whole when it is entered.
#[component]
fn Address(
    /// The address.
    address: String,
) -> impl IntoView {
    let field: NodeRef<Input> = NodeRef::new();
    let choose = move |_| {
        if let Some(field) = field.get_untracked() {
            field.select();
        }
    };
    view! {
        <input class="address" readonly node_ref=field prop:value=address on:focus=choose
            aria-label=pick("共有するリンク", "Link to share")/>
    }
}

fn outcome_text(language: Language, outcome: &Outcome) -> String {
    let Outcome::Link { is_copied, is_whole, .. } = outcome else {
        let too_long = language.pick(
            "リンクには長すぎます。ファイルに保存して渡してください。",
            "This is too long for a link: save it as a file and pass that on.",
        );
        return if matches!(outcome, Outcome::TooLong) { too_long.into() } else { String::new() };
    };
    let copied = match is_copied {
        true => language.pick("リンクをコピーしました。", "The link is copied."),
        false => language.pick("下の欄のリンクをコピーしてください。", "Copy the link from the field below."),
    };
    let rest = language.pick(
        "文書は長いのでリンクに入っていません。ファイルには入ります。",
        " The passages are too long for it; a file holds them.",
    );
    format!("{copied}{}", if *is_whole { "" } else { rest })
}

/// Why a link or a file was not opened.
pub fn refusal(language: Language, cause: &ShareError) -> String {
    let japanese = match cause {
        ShareError::TooLong { .. } => "長すぎます".into(),
        ShareError::Newer { found } => format!("新しい形式 (v{found}) です。ページを読み込み直してください"),
        ShareError::Damaged(_) => {
            "途中で切れているか、書き換えられています。リンク全体をもう一度コピーしてください".into()
        }
    };
    match language {
        Language::Japanese => format!("共有されたものを開けませんでした。{japanese}。"),
        Language::English => format!("What was shared cannot be opened: {cause}."),
    }
}

/// Says that a result came from outside and who computed it, and offers to compute it again where that model is ready.
#[component]
pub fn SharedNote(
    /// The models of the page.
    models: Models,
    /// Those that computed the result.
    used: Vec<SharedModel>,
    /// Computes it again.
    again: impl Fn() + Copy + Send + 'static,
) -> impl IntoView {
    let language = language();
    let names = used.iter().map(described).collect::<Vec<_>>().join(", ");
    let is_used = move |model: &SharedModel| used.iter().any(|other| other.weights_sha256 == model.weights_sha256);
    let rest = move || {
        let (same, other): (Vec<_>, Vec<_>) = models.ready_models().into_iter().partition(&is_used);
        let language = language.get();
        let others = other.iter().map(described).collect::<Vec<_>>().join(", ");
        let button = view! {
            <button class="compute-again" on:click=move |_| again()>{language.pick("もう一度計算する", "Compute again")}</button>
        };
        match (same.is_empty(), other.is_empty()) {
            (false, _) => button.into_any(),
            (true, true) => language
                .pick("計算し直すには、同じモデルを読み込んでください。", "Load the same model to compute it again.")
                .into_any(),
            (true, false) => match language {
                Language::Japanese => format!("手元の {others} は重みが異なるので、計算し直すと結果が変わります。"),
                Language::English => {
                    format!("{others}, which is at hand, has other weights and would give another result.")
                }
            }
            .into_any(),
        }
    };
    view! {
        <div class="note shared-note">
            <p>{move || match language.get() {
                Language::Japanese => format!("共有された結果です ({names} で計算)。"),
                Language::English => format!("A shared result, computed with {names}."),
            }}</p>
            <p>{rest}</p>
        </div>
    }
}

/// `name (SHA-256 0123456789ab…)`.
fn described(model: &SharedModel) -> String {
    let hash: String = model.weights_sha256.chars().take(SHOWN_HASH).collect();
    format!("{} (SHA-256 {hash}…)", model.name)
}
