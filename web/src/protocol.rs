//! What the page and its worker say to each other.
//!
//! A message is an array of its number, JSON, and files where there are any. Every request is answered by replies of its
//! number; one that [`Reply::is_last`] ends it.

use anaume_core::answer::{FillMask, Token};
use anaume_core::config::Pooling;
use anaume_core::metrics::comparison::Comparison;
use anaume_core::report::share::Hit;
use serde::{Deserialize, Serialize};

use crate::record::ModelRecord;

/// What the page asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Get a model's files and put it on the device, under a name of the page's choice.
    Load {
        /// The name.
        model: String,
        /// Where its files are.
        source: Source,
    },
    /// Stop getting a model's files; what is here stays.
    CancelLoad {
        /// Its name.
        model: String,
    },
    /// Forget a model.
    Unload {
        /// Its name.
        model: String,
    },
    /// Fill the masks of a text.
    FillMask {
        /// Name of the model.
        model: String,
        /// The text.
        text: String,
        /// Candidates for each mask.
        top_k: usize,
    },
    /// Make the vectors of passages; they become the index, in place of an earlier one.
    Index {
        /// Name of the model.
        model: String,
        /// The passages.
        passages: Vec<String>,
    },
    /// Search the index.
    Search {
        /// The query.
        query: String,
        /// Passages of each way of searching.
        top_k: usize,
    },
    /// Compare the sentences of a list with those of another, or with each other where that is empty.
    Compare {
        /// Name of the model.
        model: String,
        /// The sentences of the rows.
        first: Vec<String>,
        /// The sentences of the columns.
        second: Vec<String>,
        /// How the vectors of a sentence's tokens become one.
        pooling: Pooling,
    },
    /// Make a file of the index.
    SaveIndex,
    /// Take the index from a file, which goes with the message.
    OpenIndex,
}

/// Where a model's files are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Source {
    /// On the network, or from an earlier download in the browser's storage.
    Remote(ModelRecord),
    /// In files of the reader's machine, which go with the message.
    Files,
}

/// What the worker answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// It listens; the first message of all.
    Listening,
    /// A file is being read.
    Fetching(Progress),
    /// The weights go to the device.
    Preparing,
    /// The model can be asked.
    Loaded(ModelInfo),
    /// The model's files are not got any more, or none was being got.
    LoadCancelled,
    /// The model is forgotten.
    Unloaded,
    /// The masks are filled.
    Filled(Filled),
    /// So many texts have a vector.
    Embedding(usize),
    /// The index can be searched.
    Indexed(IndexInfo),
    /// The index was searched.
    Found(Found),
    /// The sentences are compared.
    Compared(Compared),
    /// The address of the file, for a download.
    Saved(String),
    /// It did not work.
    Failed(Failure),
}

impl Reply {
    /// Whether the worker can compute no more.
    pub const fn is_loss(&self) -> bool {
        matches!(self, Self::Failed(Failure { hint: Some(Hint::StartAgain), .. }))
    }

    /// Whether no more replies follow.
    pub const fn is_last(&self) -> bool {
        !matches!(self, Self::Listening | Self::Fetching(_) | Self::Preparing | Self::Embedding(_))
    }
}

/// How much of a model has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// What is done with it.
    pub step: Step,
    /// The file that is being read.
    pub file: String,
    /// Bytes of this file so far.
    pub file_done_bytes: u64,
    /// Bytes of this file.
    pub file_total_bytes: u64,
    /// Bytes so far, of all files.
    pub done_bytes: u64,
    /// Bytes of all files, where they are known.
    pub total_bytes: Option<u64>,
    /// How fast it comes, once that can be said.
    pub bytes_per_second: Option<f64>,
}

/// What is done with a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// It comes.
    #[default]
    Reading,
    /// What is here already is checked.
    Checking,
    /// Another tab is getting it.
    Waiting,
    /// The connection broke; it is tried again soon.
    Retrying,
}

/// A model that can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Parameters in all.
    pub num_parameters: usize,
    /// Longest input in tokens.
    pub max_length: usize,
    /// `WebGPU` or `CPU`.
    pub device: String,
    /// SHA-256 in hex of its weights, of the files behind each other where there are several.
    pub weights_sha256: String,
    /// Whether it answered a known question rightly.
    pub checked: Checked,
}

/// Whether a model answered a known question rightly before any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Checked {
    /// As it did when it was exported, or as on the CPU.
    Yes,
    /// On the CPU, with no recorded answer to compare.
    No,
    /// On the CPU; WebGPU had computed something else.
    WebGpuFailed,
}

/// The answer to [`Request::FillMask`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Filled {
    /// Candidates.
    pub answer: FillMask,
    /// The text's tokens.
    pub tokens: Vec<Token>,
    /// Time that the model took.
    pub milliseconds: f64,
}

/// An index that can be searched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexInfo {
    /// Name of the model that made the vectors, which queries need.
    pub model: String,
    /// Passages.
    pub num_passages: usize,
}

/// The answer to [`Request::Search`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The nearest by cosine.
    pub by_meaning: Vec<Hit>,
    /// The best by BM25.
    pub by_words: Vec<Hit>,
    /// Time that it took; what was shared comes without.
    pub milliseconds: Option<f64>,
}

/// The answer to [`Request::Compare`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Cosines and map.
    pub comparison: Comparison,
    /// Time that it took.
    pub milliseconds: f64,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// In words.
    pub what: String,
    /// What the reader can do about it.
    pub hint: Option<Hint>,
}

/// What a reader can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hint {
    /// Choose all files of a model folder together.
    ChooseAllFiles,
    /// Choose the folder of one model.
    ChooseOneFolder,
    /// Put a mask into the text.
    PutMask,
    /// Load the model that made the index.
    LoadItsModel,
    /// Make the index again: it was in the worker that is gone.
    IndexAgain,
    /// Export the model again with this version of the program.
    ExportAgain,
    /// Start the worker again: its device is lost.
    StartAgain,
    /// Try again, the connection may have failed.
    TryAgain,
    /// Connect this machine to the network, or take a model that is stored.
    GoOnline,
    /// Look at the address.
    CheckAddress,
    /// Take a public model: this one is private or asks its readers to agree to terms first.
    TakePublic,
    /// Take it from a server that allows pages of other sites to read it.
    AllowOrigins,
    /// Make room: so much is needed, so much is free.
    MakeRoom {
        /// Bytes that are to be stored still.
        needed_bytes: u64,
        /// Bytes that are free, where the browser says so.
        free_bytes: Option<u64>,
    },
    /// Take a folder with the files of a model.
    NotAModel,
    /// Take a model of a kind that this program can compute.
    TakeSupported,
    /// Get the file again, the damaged one is deleted.
    GetAgain,
    /// Close the other tab that uses the model.
    CloseOtherTab,
}

impl Failure {
    /// A failure that nothing is known to help against.
    pub fn new(what: impl std::fmt::Display) -> Self {
        Self { what: what.to_string(), hint: None }
    }

    /// A failure of the model or of what was asked of it.
    pub fn of(cause: anaume_core::Error) -> Self {
        let failure = Self::new(&cause);
        if matches!(cause, anaume_core::Error::Device { .. }) { failure.with(Hint::StartAgain) } else { failure }
    }

    /// The same with a hint.
    pub const fn with(mut self, hint: Hint) -> Self {
        self.hint = Some(hint);
        self
    }
}

/// What went well, or what did not.
pub type Result<T, E = Failure> = std::result::Result<T, E>;
