use std::collections::BTreeSet;

use super::*;

/// Gives every command to `check`, with the words that are typed for it.
pub fn for_each(command: &clap::Command, path: &str, check: &mut dyn FnMut(&clap::Command, &str)) {
    check(command, path);
    for command in command.get_subcommands() {
        for_each(command, &format!("{path} {}", command.get_name()), check);
    }
}

/// The command lines of a help text, cut where the shell takes over. Of a pipe, the part that is ours.
fn examples(help: &str) -> Vec<&str> {
    let lines = help.lines().skip_while(|line| !line.starts_with("Example")).skip(1);
    let lines = lines.take_while(|line| line.starts_with("  ")).map(str::trim);
    let ours = lines.map(|line| line.split_once(" | ").map_or(line, |(_, ours)| ours));
    ours.map(|line| line.split(['>', '#']).next().unwrap_or_default().trim()).collect()
}

#[test]
fn every_command_shows_examples_of_itself_that_parse() {
    let mut wrong = BTreeSet::new();
    for_each(&Cli::command(), "anaume", &mut |command, path| {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = examples(&help);
        if !examples.iter().any(|example| example.starts_with(path)) {
            wrong.insert(format!("{path}: no example of it"));
        }
        for example in examples {
            let words = shlex::split(example).unwrap_or_default();
            if let Err(error) = Cli::try_parse_from(&words) {
                wrong.insert(format!("{example}: {error}"));
            }
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.into_iter().collect::<Vec<_>>().join("\n"));
}
