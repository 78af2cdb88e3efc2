//! `println!` and `eprintln!` for a program that must not die of its reader.
//!
//! Those of the standard library panic where nobody reads any more (`anaume … | head`); a training run would end there. Here a reader that went away is ignored, and a result that cannot be written is an error.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

use crate::{exit, japanese};

/// Prints a line of the result.
macro_rules! println {
    ($($line:tt)*) => { $crate::say::result(format_args!($($line)*)) };
}

/// Prints a remark.
macro_rules! eprintln {
    ($($line:tt)*) => { $crate::say::remark(format_args!($($line)*)) };
}

/// Writes a line to stdout; ends the program where that fails and somebody is still reading.
pub fn result(line: Arguments<'_>) {
    let Err(cause) = writeln!(std::io::stdout().lock(), "{line}") else { return };
    if cause.kind() != ErrorKind::BrokenPipe {
        remark(format_args!("error: cannot write the result: {cause}"));
        std::process::exit(exit::code_of(&cause.into()) as i32);
    }
}

/// Writes a line to stderr as it is, without asking for memory.
pub fn untranslated(line: Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Writes a line to stderr, in its reader's language. There is nobody to tell where that fails.
pub fn remark(line: Arguments<'_>) {
    untranslated(format_args!("{}", japanese::message(&line.to_string())));
}
