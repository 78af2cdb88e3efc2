//! Every word of the page, in Japanese and English.

use std::fmt::Display;

use crate::engine::Origin;

/// The language of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// 日本語.
    Japanese,
    /// English.
    English,
}

impl Language {
    /// What the browser asks for first; Japanese unless that is another language.
    pub fn of_browser() -> Self {
        let preferred = leptos::prelude::window().navigator().language();
        if preferred.is_none_or(|tag| tag.starts_with("ja")) { Self::Japanese } else { Self::English }
    }

    /// The text in this language.
    pub fn pick<'a>(self, japanese: &'a str, english: &'a str) -> &'a str {
        match self {
            Self::Japanese => japanese,
            Self::English => english,
        }
    }

    /// Which model answers, and where it runs.
    pub fn ready(self, origin: Origin, device: &str) -> String {
        match (self, origin) {
            (Self::Japanese, Origin::Site) => format!("このサイトのモデルが {device} で答えます。"),
            (Self::Japanese, Origin::Files) => format!("手元のモデルが {device} で答えます。"),
            (Self::English, Origin::Site) => format!("The model of this site answers on {device}."),
            (Self::English, Origin::Files) => format!("Your own model answers on {device}."),
        }
    }

    /// How much has come.
    pub fn progress(self, file: &str, done: u64, total: Option<u64>) -> String {
        let mebibytes = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
        let total = total.map_or("?".into(), mebibytes);
        match self {
            Self::Japanese => format!("{file} を読み込み中: {} / {total} MiB", mebibytes(done)),
            Self::English => format!("Loading {file}: {} of {total} MiB", mebibytes(done)),
        }
    }

    /// Heading of a mask's candidates.
    pub fn mask(self, number: usize) -> String {
        match self {
            Self::Japanese => format!("{number} 番目の穴"),
            Self::English => format!("Mask {number}"),
        }
    }

    /// A failure.
    pub fn failure(self, cause: &dyn Display) -> String {
        match self {
            Self::Japanese => format!("うまくいきませんでした: {cause}"),
            Self::English => format!("That did not work: {cause}"),
        }
    }
}
