//! Exit codes: the contract with shells, schedulers and scripts.

use std::io;

/// Why the program ends, as its exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Any failure that has no code of its own.
    Failure = 1,
    /// The command line or a recipe is wrong.
    Usage = 2,
    /// A file, a model or a text is damaged, or a check did not hold.
    Data = 3,
    /// A loss, gradient or weight is not finite.
    Numerical = 4,
    /// Out of memory or disk.
    Resource = 5,
    /// The network or the Hub does not answer.
    Network = 6,
    /// Stopped by a signal with nothing lost; run the command again, with `--resume` after a checkpoint.
    Interrupted = 75,
}

impl Exit {
    /// The one with this code.
    pub fn of(code: u8) -> Self {
        let all = [Self::Usage, Self::Data, Self::Numerical, Self::Resource, Self::Network, Self::Interrupted];
        all.into_iter().find(|exit| *exit as u8 == code).unwrap_or(Self::Failure)
    }
}

/// An error that knows its exit code. Attach it with [`Coded::error`] or [`WithExit::exit`].
#[derive(Debug)]
pub struct Coded {
    exit: Exit,
    message: String,
}

impl Coded {
    /// An error of the given code with its whole message.
    pub fn error(exit: Exit, message: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Self { exit, message: message.into() })
    }
}

impl std::fmt::Display for Coded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Coded {}

/// Adds a message and an exit code to a failed result.
pub trait WithExit<T> {
    /// The same value, or an error with this code and message before its cause.
    fn exit(self, exit: Exit, message: impl Into<String>) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> WithExit<T> for Result<T, E> {
    fn exit(self, exit: Exit, message: impl Into<String>) -> anyhow::Result<T> {
        self.map_err(|cause| cause.into().context(Coded { exit, message: message.into() }))
    }
}

/// The exit code of an error: that of its outermost coded cause, else by the kind of its causes.
pub fn code_of(error: &anyhow::Error) -> Exit {
    if let Some(coded) = error.downcast_ref::<Coded>() {
        return coded.exit;
    }
    error.chain().find_map(code_of_cause).unwrap_or(Exit::Failure)
}

fn code_of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if let Some(coded) = cause.downcast_ref::<Coded>() {
        return Some(coded.exit);
    }
    if let Some(io) = cause.downcast_ref::<io::Error>() {
        return match io.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::OutOfMemory => {
                Some(Exit::Resource)
            }
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Some(Exit::Data),
            _ => None,
        };
    }
    cause.downcast_ref::<anaume_core::Error>().map(|error| match error {
        error if error.is_out_of_memory() => Exit::Resource,
        anaume_core::Error::Device { .. } | anaume_core::Error::Unreadable { .. } => Exit::Failure,
        _ => Exit::Data,
    })
}
