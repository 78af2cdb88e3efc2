//! The words of the site that are put together, in Japanese and English.

use crate::protocol::{Failure, Hint, IndexInfo, ModelInfo};

mod models;

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

    /// The one that the page is not in.
    pub const fn other(self) -> Self {
        match self {
            Self::Japanese => Self::English,
            Self::English => Self::Japanese,
        }
    }

    /// The text in this language.
    pub fn pick<'a>(self, japanese: &'a str, english: &'a str) -> &'a str {
        match self {
            Self::Japanese => japanese,
            Self::English => english,
        }
    }

    /// What a model is and where it runs.
    pub fn ready(self, model: &ModelInfo) -> String {
        let millions = model.num_parameters as f64 / 1e6;
        let (length, device) = (model.max_length, &model.device);
        match self {
            Self::Japanese => format!("{device} で答えます。{millions:.1} M パラメータ、{length} トークンまで"),
            Self::English => format!("answers on {device}: {millions:.1} M parameters, up to {length} tokens"),
        }
    }

    /// How many files were read.
    pub fn files(self, done: usize, total: usize) -> String {
        match self {
            Self::Japanese => format!("{total} ファイル中 {done} を読みました"),
            Self::English => format!("{done} of {total} files read"),
        }
    }

    /// What can be searched.
    pub fn indexed(self, index: &IndexInfo) -> String {
        let (count, model) = (index.num_passages, &index.model);
        match self {
            Self::Japanese => format!("{count} 件の文書を {model} で索引にしました。"),
            Self::English => format!("{count} passages are indexed with {model}."),
        }
    }

    /// Heading of a mask's candidates.
    pub fn mask(self, number: usize) -> String {
        match self {
            Self::Japanese => format!("{number} 番目の穴"),
            Self::English => format!("Mask {number}"),
        }
    }

    /// A failure, and what to do about it.
    pub fn failure(self, failure: &Failure) -> String {
        let hint = failure.hint.map_or(String::new(), |hint| self.hint(hint));
        match self {
            Self::Japanese => format!("うまくいきませんでした: {}。{hint}", failure.what.trim_end_matches(['。', '.'])),
            Self::English => format!("That did not work: {}. {hint}", failure.what.trim_end_matches('.')),
        }
    }

    fn hint(self, hint: Hint) -> String {
        let text = match hint {
            Hint::ChooseAllFiles => self.pick(
                "モデルのフォルダーのファイルをまとめて選んでください。",
                "Choose all files of the model's folder together.",
            ),
            Hint::PutMask => self.pick("[MASK] を文に入れてください。", "Put [MASK] into the text."),
            Hint::LoadItsModel => {
                self.pick("索引を作ったモデルを読み込んでください。", "Load the model that made the index.")
            }
            of_models => return self.model_hint(of_models),
        };
        text.to_owned()
    }
}
