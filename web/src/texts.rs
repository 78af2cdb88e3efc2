//! The words of the site that are put together, in Japanese and English.

use crate::models::MAX_LOSSES;
use crate::protocol::{Checked, Failure, Hint, IndexInfo, ModelInfo};

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
        let checked = match model.checked {
            Checked::Yes => self.pick("、検算済み", ", answer checked"),
            Checked::No => "",
            Checked::WebGpuFailed => self.pick(
                "。WebGPU の計算が正しくなかったので CPU を使います",
                ". WebGPU computed something wrong, so the CPU is used",
            ),
        };
        match self {
            Self::Japanese => {
                format!("{device} で答えます。{millions:.1} M パラメータ、{length} トークンまで{checked}")
            }
            Self::English => format!("answers on {device}: {millions:.1} M parameters, up to {length} tokens{checked}"),
        }
    }

    /// What became of a device that was lost, once or more often.
    pub fn lost(self, losses: u32) -> &'static str {
        if losses < MAX_LOSSES {
            self.pick(
                "GPU が使えなくなったので、モデルを読み込み直しました。",
                "The GPU was lost; the models were loaded again.",
            )
        } else {
            self.pick(
                "GPU がまた使えなくなったので、CPU で計算します。",
                "The GPU was lost again; the CPU computes from now on.",
            )
        }
    }

    /// How many files were read.
    pub fn files(self, done: usize, total: usize) -> String {
        match self {
            Self::Japanese => format!("{total} ファイル中 {done} を読みました"),
            Self::English => format!("{done} of {total} files read"),
        }
    }

    /// Which rows of a table are shown.
    pub fn rows(self, from: usize, to: usize, total: usize) -> String {
        match self {
            Self::Japanese => format!("{total} 件中 {from}～{to}"),
            Self::English => format!("{from}–{to} of {total}"),
        }
    }

    /// How often the left of two models was better, the right one was, and neither.
    pub fn better(self, [left, right, neither]: [usize; 3]) -> String {
        match self {
            Self::Japanese => {
                format!("左のモデルの方が良い例 {left} 件、右の方が良い例 {right} 件、同じ例 {neither} 件")
            }
            Self::English => format!(
                "{left} examples where the left model is better, {right} where the right one is, {neither} equal"
            ),
        }
    }

    /// How often both of two models were right, the left alone, the right alone, neither.
    pub fn right(self, [both, left, right, neither]: [usize; 4]) -> String {
        match self {
            Self::Japanese => {
                format!("両方が正解 {both} 件、左だけ {left} 件、右だけ {right} 件、両方が誤り {neither} 件")
            }
            Self::English => format!(
                "{both} right in both, {left} in the left alone, {right} in the right alone, {neither} in neither"
            ),
        }
    }

    /// Examples that cannot be compared.
    pub fn unpaired(self, count: usize) -> String {
        match self {
            Self::Japanese => format!("片方のモデルにだけある例 {count} 件は比べていません。"),
            Self::English => format!("{count} examples of one model alone are not compared."),
        }
    }

    /// The paired test of two models, which may be under way.
    pub fn paired_test(self, p_value: Option<&Result<f64, String>>) -> String {
        match (p_value, self) {
            (None, Self::Japanese) => "対応のある検定を計算しています…".into(),
            (None, Self::English) => "The paired test is computed…".into(),
            (Some(Ok(p)), Self::Japanese) => format!("対応のある検定: p = {p:.4}"),
            (Some(Ok(p)), Self::English) => format!("Paired test: p = {p:.4}"),
            (Some(Err(reason)), Self::Japanese) => format!("対応のある検定はできません: {reason}"),
            (Some(Err(reason)), Self::English) => format!("No paired test: {reason}"),
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
            Hint::IndexAgain => self.pick("索引を作り直してください。", "Make the index again."),
            Hint::ExportAgain => self.pick(
                "この版の anaume export web で書き出し直してください。",
                "Export the model again with this version of anaume export web.",
            ),
            Hint::StartAgain => self.pick("ページを読み込み直してください。", "Load the page again."),
            Hint::PutMask => self.pick("[MASK] を文に入れてください。", "Put [MASK] into the text."),
            Hint::LoadItsModel => {
                self.pick("索引を作ったモデルを読み込んでください。", "Load the model that made the index.")
            }
            of_models => return self.model_hint(of_models),
        };
        text.to_owned()
    }
}
