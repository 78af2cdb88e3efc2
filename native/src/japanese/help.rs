//! The command line's own words: help and errors of clap.

use std::io::Write;

use clap::error::ErrorKind;
use clap::{Arg, Command, CommandFactory, FromArgMatches, Parser};
use textwrap::core::display_width;
use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

use super::{CATALOGUE, is_asked};
use crate::cli::Cli;

/// Width that is written without a terminal, and the largest, in columns.
const WIDEST: usize = 100;
/// The longest option that has its help beside it, in columns; a longer one would leave too few.
const WIDEST_OPTION: usize = 30;

/// What the user typed; ends the program after help, or with exit code 2.
pub fn parse() -> Cli {
    if !is_asked() {
        return Cli::parse();
    }
    let mut command = translated(Cli::command());
    let parsed = command.try_get_matches_from_mut(std::env::args_os());
    let parsed = parsed.and_then(|matches| Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command)));
    parsed.unwrap_or_else(|error| {
        let width = terminal_size::terminal_size().map_or(WIDEST, |(width, _)| usize::from(width.0).min(WIDEST));
        let shown = shown(&error, width);
        // Who went away reads nothing.
        let _ = match error.use_stderr() {
            true => anstream::stderr().write_all(shown.as_bytes()),
            false => anstream::stdout().write_all(shown.as_bytes()),
        };
        std::process::exit(error.exit_code())
    })
}

/// A command whose help is Japanese, in lines that are not broken yet: clap breaks lines at spaces, which Japanese has not.
pub(super) fn translated(command: Command) -> Command {
    let (about, long_about) = (command.get_about().map(help), command.get_long_about().map(help));
    let after = command.get_after_help().map(|text| text.to_string().lines().map(help).collect::<Vec<_>>().join("\n"));
    let values = |arg: &Arg| arg.get_value_names().unwrap_or_default().iter().map(|name| name.len() + 3).sum::<usize>();
    let is_wide = |arg: &Arg| arg.get_long().map_or(0, |name| name.len() + 2) + values(arg) > WIDEST_OPTION;
    let is_wide = command.get_arguments().any(is_wide);
    let command = command.term_width(0).next_line_help(is_wide);
    let mut command = command.mut_subcommands(translated).mut_args(|arg| {
        let (short, long) = (arg.get_help().map(help), arg.get_long_help().map(help));
        let arg = if let Some(text) = short { arg.help(text) } else { arg };
        if let Some(text) = long { arg.long_help(text) } else { arg }
    });
    if let Some(text) = about {
        command = command.about(text);
    }
    if let Some(text) = long_about {
        command = command.long_about(text);
    }
    if let Some(text) = after {
        command = command.after_help(text);
    }
    command
}

fn help(english: impl ToString) -> String {
    let english = english.to_string();
    CATALOGUE.help.get(&english).cloned().unwrap_or(english)
}

/// What clap answers instead of a parsed command line, in lines of at most this many columns.
pub(super) fn shown(error: &clap::Error, width: usize) -> String {
    let rendered = error.render();
    let is_help = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    let text =
        if is_help { with_headings(&rendered.ansi().to_string()) } else { translated_lines(&rendered.to_string()) };
    text.lines().map(|line| wrapped(line, width) + "\n").collect()
}

/// Help with clap's headings and remarks, and the meaning of possible values, translated.
fn with_headings(help_text: &str) -> String {
    let mut fixed: Vec<_> = CATALOGUE.libraries.iter().filter(|(english, _)| !english.contains('{')).collect();
    fixed.sort_by_key(|(english, _)| std::cmp::Reverse(english.len()));
    let translated = |line: &str| match line.split_once(": ") {
        Some((value, meaning)) if line.trim_start().starts_with("- ") => {
            let gap = &meaning[..meaning.len() - meaning.trim_start().len()];
            format!("{value}: {gap}{}", help(meaning.trim_start()))
        }
        _ => fixed.iter().fold(line.to_owned(), |line, (english, japanese)| line.replace(*english, japanese)),
    };
    help_text.lines().map(translated).collect::<Vec<_>>().join("\n")
}

fn translated_lines(error: &str) -> String {
    let translated = |line: &str| {
        let text = line.trim_start();
        format!("{}{}", &line[..line.len() - text.len()], CATALOGUE.translate(text))
    };
    error.lines().map(translated).collect::<Vec<_>>().join("\n")
}

/// A line broken where Japanese may be, the rest below the column where its text begins. An example stays whole, to be copied.
fn wrapped(line: &str, width: usize) -> String {
    let text = line.trim_start();
    if text.starts_with("anaume ") || display_width(line) <= width {
        return line.to_owned();
    }
    let column =
        text.rfind("  ").map_or(line.len() - text.len(), |at| display_width(&line[..line.len() - text.len() + at + 2]));
    let indent = " ".repeat(column);
    let options = Options::new(width)
        .subsequent_indent(&indent)
        .word_separator(WordSeparator::UnicodeBreakProperties)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit);
    textwrap::fill(line, options)
}
