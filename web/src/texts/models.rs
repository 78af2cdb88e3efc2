//! The words about models: sizes, progress, what went wrong with a download.

use super::Language;
use crate::protocol::{Hint, Progress, Step};
use crate::store::{Held, Room};

impl Language {
    /// An offer to load a model.
    pub fn load(self, model: &str, size_bytes: u64) -> String {
        let size = size(size_bytes);
        match self {
            Self::Japanese => format!("{model} を読み込む ({size})"),
            Self::English => format!("Load {model} ({size})"),
        }
    }

    /// An offer to load a model that was looked up, of which so much is still to come.
    pub fn get_and_load(self, left_bytes: u64) -> String {
        let left = size(left_bytes);
        match self {
            Self::Japanese if left_bytes == 0 => "保存済みのファイルから読み込む".into(),
            Self::English if left_bytes == 0 => "Load from stored files".into(),
            Self::Japanese => format!("ダウンロードして読み込む ({left})"),
            Self::English => format!("Download and load ({left})"),
        }
    }

    /// An offer to go on with a model of which `left_bytes` are missing.
    pub fn get_rest(self, left_bytes: u64) -> String {
        let left = size(left_bytes);
        match self {
            Self::Japanese => format!("続きをダウンロード (残り {left})"),
            Self::English => format!("Download the rest ({left})"),
        }
    }

    /// What happens to which file.
    pub fn step(self, progress: &Progress) -> String {
        let file = &progress.file;
        match (progress.step, self) {
            (Step::Reading, Self::Japanese) => format!("{file} を読み込み中"),
            (Step::Reading, Self::English) => format!("Loading {file}"),
            (Step::Checking, Self::Japanese) => format!("{file} の前回までの分を確かめています"),
            (Step::Checking, Self::English) => format!("Checking what is here of {file}"),
            (Step::Waiting, Self::Japanese) => format!("別のタブが {file} を読み込み中です。待っています"),
            (Step::Waiting, Self::English) => format!("Another tab is loading {file}; waiting for it"),
            (Step::Retrying, Self::Japanese) => format!("{file} の通信が切れました。つなぎ直しています"),
            (Step::Retrying, Self::English) => format!("The connection for {file} broke; trying again"),
        }
    }

    /// How much of the file and of all has come, how fast, and how long the rest takes.
    pub fn amounts(self, progress: &Progress) -> String {
        let Some(total_bytes) = progress.total_bytes else { return String::new() };
        let file = format!("{} / {}", mebibytes(progress.file_done_bytes), size(progress.file_total_bytes));
        let all = format!("{} / {}", mebibytes(progress.done_bytes), size(total_bytes));
        let speed = progress.bytes_per_second.filter(|speed| *speed > 0.0).map_or(String::new(), |speed| {
            let (rate, left) =
                (mebibytes(speed as u64), total_bytes.saturating_sub(progress.done_bytes) as f64 / speed);
            match self {
                Self::Japanese => format!("、{rate} MiB/秒、残り {}", self.time(left)),
                Self::English => format!(", {rate} MiB/s, {} left", self.time(left)),
            }
        });
        match self {
            Self::Japanese => format!("このファイル {file}、全体 {all}{speed}"),
            Self::English => format!("this file {file}, in total {all}{speed}"),
        }
    }

    fn time(self, seconds: f64) -> String {
        let seconds = seconds.ceil() as u64;
        match (self, seconds) {
            (Self::Japanese, 0..100) => format!("{seconds} 秒"),
            (Self::English, 0..100) => format!("{seconds} s"),
            (Self::Japanese, _) => format!("{} 分", seconds.div_ceil(60)),
            (Self::English, _) => format!("{} min", seconds.div_ceil(60)),
        }
    }

    /// Where a cancelled download stands.
    pub fn cancelled(self, progress: &Progress) -> String {
        let (done, total) = (mebibytes(progress.done_bytes), size(progress.total_bytes.unwrap_or_default()));
        match self {
            Self::Japanese => format!("中止しました ({done} / {total})。"),
            Self::English => format!("Cancelled at {done} of {total}."),
        }
    }

    /// A size, exactly.
    pub fn exact_size(self, bytes: u64) -> String {
        format!("{} ({})", size(bytes), self.bytes(bytes))
    }

    /// A number of bytes.
    pub fn bytes(self, bytes: u64) -> String {
        format!("{} {}", grouped(bytes), self.pick("バイト", "bytes"))
    }

    /// What is stored and what room is left.
    pub fn room(self, held: &[Held], room: Option<Room>) -> String {
        let models = size(held.iter().map(|model| model.bytes).sum());
        let Some(room) = room else {
            return match self {
                Self::Japanese => format!("モデルの合計 {models}。"),
                Self::English => format!("Models: {models} in total."),
            };
        };
        let (used, free) = (size(room.used_bytes), size(room.free_bytes));
        let promise = match (room.is_persistent, self) {
            (true, Self::Japanese) => "ブラウザーが勝手に消すことはありません。",
            (true, Self::English) => "The browser deletes nothing by itself.",
            (false, Self::Japanese) => "容量が足りなくなると、ブラウザーが消すことがあります。",
            (false, Self::English) => "The browser may delete it when the disk gets full.",
        };
        match self {
            Self::Japanese => format!("モデルの合計 {models}、ページと合わせて {used}、空き {free}。{promise}"),
            Self::English => format!("Models: {models} in total, {used} with the page; {free} free. {promise}"),
        }
    }

    /// What to do when the files of a model cannot be had.
    pub(super) fn model_hint(self, hint: Hint) -> String {
        let text = match hint {
            Hint::MakeRoom { needed_bytes, free_bytes } => return self.make_room(needed_bytes, free_bytes),
            Hint::ChooseOneFolder => self.pick(
                "モデルのフォルダーがいくつもあります。1 つを選んでください。",
                "There are several model folders. Choose one of them.",
            ),
            Hint::GoOnline => self.pick(
                "ネットワークにつながっていません。つないでからもう一度読み込むか、保存済みのモデルを使ってください。",
                "This machine is offline. Connect it and load again, or use a model that is stored.",
            ),
            Hint::CheckAddress => self.pick(
                "そこにファイルがありません。アドレスを確かめてください。",
                "There is no such file there. Check the address.",
            ),
            Hint::TakePublic => self.pick(
                "非公開か、利用に同意が要るか、そこにないモデルです。公開されているモデルを選ぶか、自分でダウンロードしたフォルダーを開いてください。",
                "The model is private, asks for an agreement first, or is not there. Take a public one, or open a folder that you downloaded yourself.",
            ),
            Hint::AllowOrigins => self.pick(
                "サーバーがほかのサイトのページに読むことを許していません (CORS)。許すサーバーから読むか、ダウンロードしたフォルダーを開いてください。",
                "The server does not let pages of other sites read it (CORS). Use one that does, or open a downloaded folder.",
            ),
            Hint::NotAModel => self.pick(
                "モデルのフォルダーではないようです。config.json・tokenizer.json・model.safetensors か、web.json のあるところを指定してください。",
                "This seems to be no model folder. It needs config.json, tokenizer.json and model.safetensors, or web.json.",
            ),
            Hint::TakeSupported => self.pick(
                "この種類のモデルは計算できません。ModernBERT か BERT を選んでください。",
                "This kind of model cannot be computed here. Take a ModernBERT or a BERT.",
            ),
            Hint::GetAgain => self.pick(
                "ファイルが壊れていたので消しました。もう一度読み込んでください。",
                "The file was damaged and is deleted. Load it again.",
            ),
            Hint::CloseOtherTab => self.pick(
                "別のタブがこのモデルを読み込み中です。終わるのを待つか、そのタブを閉じてください。",
                "Another tab is loading this model. Wait until it is done, or close that tab.",
            ),
            _ => self.pick("もう一度読み込んでください。", "Load it again."),
        };
        text.to_owned()
    }

    fn make_room(self, needed_bytes: u64, free_bytes: Option<u64>) -> String {
        let (needed, free) = (size(needed_bytes), free_bytes.map_or("?".into(), size));
        match self {
            Self::Japanese => {
                format!(
                    "保存する場所が足りません。あと {needed} 要りますが、空きは {free} です。保存済みのモデルを消してください。"
                )
            }
            Self::English => {
                format!("There is not enough room: {needed} more are needed, {free} are free. Delete a stored model.")
            }
        }
    }
}

fn size(bytes: u64) -> String {
    let in_units = |unit: u64| format!("{:.1}", bytes as f64 / unit as f64);
    match bytes {
        1..102_400 => format!("{} KiB", in_units(1 << 10)),
        0..10_737_418_240 => format!("{} MiB", in_units(1 << 20)),
        _ => format!("{} GiB", in_units(1 << 30)),
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group));
    groups.collect::<Vec<_>>().join(",")
}
