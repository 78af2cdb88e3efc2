//! What can go wrong in the pure part of the program, each case with the name of the thing that is wrong.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the model, its files (as bytes) or its inputs. Callers add the path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `config.json` or a preset asks for something that cannot be built.
    #[error("config: `{field}`: {message}")]
    Config {
        /// Name of the field as in `config.json`.
        field: String,
        /// What is wrong with it and what would be right.
        message: String,
    },
    /// A tensor is missing, unused, misshapen or not finite.
    #[error("weights: `{tensor}`: {message}")]
    Weights {
        /// Name of the tensor as in the file.
        tensor: String,
        /// What is wrong with it.
        message: String,
    },
    /// A container (safetensors, SentencePiece model, JSON) is damaged.
    #[error("{format}: byte {byte}: {message}")]
    Format {
        /// Name of the format.
        format: &'static str,
        /// Offset of the first byte that cannot be accepted.
        byte: u64,
        /// What is wrong there.
        message: String,
    },
    /// The system refused to read on.
    #[error("cannot be read: {cause}")]
    Unreadable {
        /// What the system said.
        cause: std::io::Error,
    },
    /// A tokenizer cannot be read, adapted or trained.
    #[error("tokenizer: {message}")]
    Tokenizer {
        /// What is wrong and what to do.
        message: String,
    },
    /// A text, a label or an option does not fit the model or the task.
    #[error("input: {message}")]
    Input {
        /// What is wrong and what to do.
        message: String,
    },
    /// The device failed while computing or reading back.
    #[error("device: {message}")]
    Device {
        /// What the backend said.
        message: String,
    },
}

impl Error {
    /// Whether a device had no room for a tensor: then it goes on with smaller ones.
    pub fn is_out_of_memory(&self) -> bool {
        // The backends have words for it, and no type that reaches callers.
        const WORDS: [&str; 2] = ["out of device memory", "can't allocate buffer"];
        matches!(self, Self::Device { message } if WORDS.iter().any(|words| message.contains(words)))
    }
}

/// Runs a part of a library that panics on some damaged inputs; `from_panic` makes an error of what it said. What failed is not used
/// again. In the browser a panic cannot be caught and ends the worker, which the page says.
pub fn caught<T, E>(work: impl FnOnce() -> Result<T, E>, from_panic: impl FnOnce(Option<&str>) -> E) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        Err(from_panic(text.or_else(|| panic.downcast_ref().map(String::as_str))))
    })
}
