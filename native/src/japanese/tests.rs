use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use proc_macro2::{TokenStream, TokenTree};

use super::help::{shown, translated};
use super::*;
use crate::cli::Cli;
use crate::cli::tests::for_each;

fn tables() -> Tables {
    toml::from_str(include_str!("../../messages/ja.toml")).unwrap()
}

/// Fails with everything that is wrong, a line each.
fn assert_none(what: &str, wrong: impl IntoIterator<Item = String>) {
    let wrong: BTreeSet<String> = wrong.into_iter().collect();
    assert!(wrong.is_empty(), "{} {what}:\n{}", wrong.len(), wrong.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn the_first_variable_that_is_set_decides_and_must_be_of_utf8() {
    let asks = |variables: [&str; 3]| {
        let names = ["LC_ALL", "LC_MESSAGES", "LANG"];
        asks_for_japanese(|name| Some(variables[names.iter().position(|other| *other == name)?].to_owned()))
    };
    for yes in [["", "", "ja_JP.UTF-8"], ["", "ja_JP.utf8", "C"], ["ja", "C", "C"], ["ja_JP@cjknarrow", "", ""]] {
        assert!(asks(yes), "{yes:?}");
    }
    for no in [["C", "", "ja_JP.UTF-8"], ["", "en_US.UTF-8", "ja_JP.UTF-8"], ["", "", ""], ["", "", "jam"]] {
        assert!(!asks(no), "{no:?}");
    }
    assert!(!asks(["", "", "ja_JP.eucJP"]), "its terminal would show something else");
    assert!(!asks_for_japanese(|_| None));
}

/// Every text of a command's help, with its name.
fn help_texts(command: &clap::Command, texts: &mut BTreeMap<String, String>) {
    let mut add = |text: &clap::builder::StyledStr| {
        texts.insert(text.to_string(), command.get_name().to_owned());
    };
    command.get_about().into_iter().chain(command.get_long_about()).for_each(&mut add);
    for arg in command.get_arguments() {
        arg.get_help().into_iter().chain(arg.get_long_help()).for_each(&mut add);
        arg.get_possible_values().iter().filter_map(|value| value.get_help()).for_each(&mut add);
    }
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let prose = after.lines().filter(|line| !line.is_empty() && !line.starts_with("  "));
    texts.extend(prose.map(|line| (line.to_owned(), command.get_name().to_owned())));
}

#[test]
fn every_help_text_is_translated_and_no_translation_is_left_over() {
    let mut texts = BTreeMap::new();
    for_each(&Cli::command(), "anaume", &mut |command, _| help_texts(command, &mut texts));
    let help = tables().help;
    assert_none("help texts without a translation", texts.keys().filter(|text| !help.contains_key(*text)).cloned());
    assert_none("translations of help that is gone", help.into_keys().filter(|text| !texts.contains_key(text)));
}

#[test]
fn japanese_help_holds_no_english_sentence_and_fits_the_terminal() {
    let mut found: Vec<String> = Vec::new();
    for_each(&Cli::command(), "anaume", &mut |_, path| found.push(path.to_owned()));
    let is_english = |line: &str| {
        let words = line.split(' ').filter(|word| word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_lowercase()));
        line.is_ascii() && words.count() > 2
    };
    for path in found {
        for (flag, width) in [("-h", 80), ("--help", 100), ("--help", 60)] {
            let arguments: Vec<&str> = path.split(' ').chain([flag]).collect();
            let error = translated(Cli::command()).try_get_matches_from(&arguments).unwrap_err();
            let help = shown(&error, width);
            let lines = help.lines().filter(|line| !line.contains("anaume "));
            assert_none("wrong lines", lines.clone().filter(|line| is_english(line)).map(str::to_owned));
            let long = lines.filter(|line| textwrap::core::display_width(line) > width);
            assert_none("lines too long", long.map(|line| format!("{arguments:?}: {line}")));
        }
    }
}

#[test]
fn errors_of_the_command_line_are_japanese() {
    let mistakes: [&[&str]; 8] = [
        &["pretrian"],
        &["pretrain"],
        &["model", "init", "--prest", "tiny"],
        &["fill-mask", "--model", "m", "text", "--top-k", "many"],
        &["eval", "all", "--out", "o", "--skip", "nothing"],
        &["completions", "cmd"],
        &["devices", "--json", "--json"],
        &["devices", "more"],
    ];
    for mistake in mistakes {
        let arguments = [&["anaume"], mistake].concat();
        let error = shown(&translated(Cli::command()).try_get_matches_from(&arguments).unwrap_err(), 100);
        assert!(error.starts_with("エラー: "), "{arguments:?}: {error}");
        let english = error.lines().filter(|line| {
            let text = line.trim();
            !(text.is_empty() || text.starts_with('-') || text.starts_with('<') || !text.is_ascii())
        });
        assert_none("lines without Japanese", english.map(str::to_owned));
    }
}

/// The names of calls whose text a person reads.
const SHOWN: [&str; 17] = [
    "Coded::error",
    "exit",
    "context",
    "with_context",
    "bail",
    "ensure",
    "anyhow",
    "#error",
    "eprintln",
    "note",
    "finish",
    "limited_if",
    "Check::of",
    "message",
    "word",
    "error",
    "refuse",
];
/// The names of calls whose text is for programs, files or those who write the program.
const NOT_SHOWN: [&str; 30] = [
    "expect",
    "println",
    "assert",
    "assert_eq",
    "write",
    "writeln",
    "json",
    "header",
    "new_derive_key",
    "new_with_prefix",
    "replace",
    "strip_prefix",
    "strip_suffix",
    "fused",
    "attention",
    "linear",
    "loss_chart",
    "split",
    "split_once",
    "histogram",
    "series",
    "then",
    "push",
    "vec",
    "push_str",
    "debug",
    "warn",
    "join",
    "step",
    "untranslated",
];
/// Sources whose texts are contents of results and pages, where they are in no call of [`SHOWN`].
const DOCUMENTS: [&str; 17] = [
    "card.rs",
    "host.rs",
    "schema.rs",
    "bench/ops.rs",
    "eval/tasks.rs",
    "eval/fill_mask.rs",
    "eval/pseudo_perplexity.rs",
    "eval/fill_mask/comparison.rs",
    "eval/pseudo_perplexity/summary.rs",
    "leaderboard/html.rs",
    "leaderboard/interactive.rs",
    "leaderboard/text.rs",
    "site/serve.rs",
    "leaderboard/choose.rs",
    "leaderboard/compare.rs",
    "leaderboard/display.rs",
    "report/schema.rs",
];

/// What the rules above take for a message: words of formats, command lines, tables and notes of results.
const NO_MESSAGES: [&str; 32] = [
    "--set {assignment}: {}",
    "bytes {begun}-{}/{expected}",
    "value = {}",
    "anaume ",
    "anaume download {}",
    " --dataset",
    "software",
    "config.json",
    "JGLUE or JCoLA",
    " 've",
    " 're",
    "type",
    "pattern",
    "processors",
    "special_tokens",
    "out of device memory",
    "can't allocate buffer",
    "text/html; charset=utf-8",
    "text/plain; charset=utf-8",
    "text/javascript; charset=utf-8",
    "text/css; charset=utf-8",
    "*.safetensors filter=lfs diff=lfs merge=lfs -text\n",
    "{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {width}), }",
    "tokens p50",
    "tokens max",
    "{} of {all} queries have no judgement and do not count",
    "Results disagree about the baseline `{name}`.",
    "The average is over {}, and only of models that have all of them.",
    "pretrain --recipe quickstart --data {} --model {} --out {}",
    "wiki_kyoto: held-out Japanese Wikipedia articles on Kyoto of 2009 (CC BY-SA 3.0), a single subject; models pretrained on Wikipedia may have seen them",
    "{}dropped    {} empty, {} short, {} bad lines skipped, {} quarantined\ndataset    {} (fingerprint {})\n",
    "{}test documents that are also in train: {}\nall shards are as they were prepared (fingerprint {})\n",
];

/// The texts below a folder that a person may read on the terminal, each with its place.
fn messages_of(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut pending = vec![root.join(folder)];
    let mut found = Vec::new();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            read_texts(text.parse().unwrap(), &path, &mut Vec::new(), &mut found);
        }
    }
    assert!(found.len() > 50, "{folder}: {} messages", found.len());
    found
}

/// Walks the tokens of a source: `calls` are the names before the brackets around them, the outermost first.
fn read_texts(tokens: TokenStream, path: &PathBuf, calls: &mut Vec<String>, found: &mut Vec<(String, String)>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                at += usize::from(tokens.get(at + 1).is_some_and(|next| next.to_string() == "!"));
                at += 1;
                let Some(TokenTree::Group(attribute)) = tokens.get(at) else { continue };
                let text = attribute.stream().to_string();
                if text.starts_with("error") {
                    calls.push("#error".to_owned());
                    read_texts(attribute.stream(), path, calls, found);
                    calls.pop();
                }
                let is_end = |token: &TokenTree| token.to_string() == ";" || token.to_string().starts_with('{');
                while text == "cfg (test)" && !tokens.get(at).is_none_or(is_end) {
                    at += 1;
                }
            }
            TokenTree::Group(group) => {
                calls.push(name_before(&tokens[..at]));
                read_texts(group.stream(), path, calls, found);
                calls.pop();
            }
            TokenTree::Literal(literal) => {
                if let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string())
                    && is_shown(&text.value(), path, calls)
                {
                    found.push((text.value(), path.display().to_string()));
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// `name`, `name!` without its mark, or the last two names of a path, before a bracket.
fn name_before(tokens: &[TokenTree]) -> String {
    let tokens: Vec<String> = tokens.iter().rev().take(5).map(ToString::to_string).collect();
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).skip_while(|token| *token == "!").collect();
    match tokens.as_slice() {
        [name @ "error" | name @ "of", ":", ":", kind, ..] => format!("{kind}::{name}"),
        [name, ..] => (*name).to_owned(),
        [] => String::new(),
    }
}

fn is_shown(text: &str, path: &Path, calls: &[String]) -> bool {
    let bare: String = parse_holes(text).0.into_iter().map(|(before, _)| before).chain([parse_holes(text).1]).collect();
    let has_words = bare.as_bytes().windows(2).any(|pair| pair.iter().all(u8::is_ascii_alphabetic));
    let decisive = calls.iter().rev().find(|call| SHOWN.contains(&call.as_str()) || NOT_SHOWN.contains(&call.as_str()));
    let is_document =
        DOCUMENTS.iter().any(|name| path.ends_with(name)) || path.components().any(|part| part.as_os_str() == "plot");
    has_words
        && !text.starts_with("Example")
        && match decisive {
            Some(call) => SHOWN.contains(&call.as_str()),
            None => text.contains(' ') && !is_document,
        }
}

/// A template without the formats in its holes, as the catalogue has it.
fn plain(template: &str) -> String {
    let mut unnamed = 0;
    let (parts, end) = parse_holes(template);
    let mut hole = |name: String| {
        let is_unnamed = name == unnamed.to_string();
        unnamed += usize::from(is_unnamed);
        if is_unnamed { "{}".to_owned() } else { format!("{{{name}}}") }
    };
    parts.into_iter().map(|(before, name)| before + &hole(name)).collect::<String>() + &end
}

#[test]
fn every_message_is_translated_and_no_translation_is_left_over() {
    let Tables { messages, words, .. } = tables();
    let found: BTreeMap<_, _> = ["native/src", "core/src"]
        .into_iter()
        .flat_map(messages_of)
        .map(|(text, place)| (plain(&text), place))
        .collect();
    let is_known = |text: &str| messages.contains_key(text) || words.contains_key(text) || NO_MESSAGES.contains(&text);
    let missing = found.iter().filter(|(text, _)| !is_known(text));
    assert_none("messages without a translation", missing.map(|(text, place)| format!("{text:?}   {place}")));
    assert_none(
        "translations of messages that are gone",
        messages.into_keys().filter(|text| !found.contains_key(text)),
    );
}

/// The catalogue's pairs with holes.
fn templates() -> impl Iterator<Item = (String, String)> {
    let Tables { messages, libraries, .. } = tables();
    messages.into_iter().chain(libraries)
}

#[test]
fn both_sides_have_the_same_holes_and_no_two_holes_touch() {
    let sorted = |text: &str| {
        let mut names: Vec<_> = parse_holes(text).0.into_iter().map(|(_, name)| name).collect();
        names.sort();
        names
    };
    assert_none("pairs with other holes", templates().filter(|(a, b)| sorted(a) != sorted(b)).map(|(a, _)| a));
    let touch = |text: &str| parse_holes(text).0.iter().skip(1).any(|(before, _)| before.is_empty());
    assert_none("templates with holes that touch", templates().filter(|(a, _)| touch(a)).map(|(a, _)| a));
}

#[test]
fn every_message_is_translated_by_its_own_template() {
    let catalogue = Catalogue::new(tables());
    let filled = |template: &str, holes: &[String]| {
        let (parts, end) = parse_holes(template);
        parts.iter().zip(holes).map(|((before, _), hole)| format!("{before}{hole}")).collect::<String>() + &end
    };
    let wrong = templates().filter_map(|(english, japanese)| {
        let holes: Vec<String> = (0..parse_holes(&english).0.len()).map(|number| format!("/hole{number}/")).collect();
        let message = filled(&english, &holes);
        let holes = holes.into_iter().map(|japanese| Reading { known_bytes: 0, japanese }).collect::<Vec<_>>();
        let own = Template::new(&english, &japanese).fill(&holes).japanese;
        let translated = catalogue.translate(&message);
        (translated != own).then(|| format!("{message}: {translated}, not {own}"))
    });
    assert_none("messages that another template takes", wrong);
}

#[test]
fn causes_parts_and_what_stands_in_holes_are_translated_and_the_unknown_is_left_alone() {
    let catalogue = &*CATALOGUE;
    for (english, japanese) in [
        (
            "error: cannot open b.txt: No such file or directory (os error 2)",
            "エラー: b.txt を開けません: そのようなファイルやフォルダはありません (os error 2)",
        ),
        (
            "a.jsonl:2: no column `text`, only `a`; name the right one with --column; or leave such lines out with --bad-lines skip or quarantine",
            "a.jsonl:2: 列 `text` がありません（あるもの: `a`）。--column で正しい列を指定してください。このような行を除くには --bad-lines skip または quarantine を付けてください",
        ),
        (
            "m/config.json: config: `hidden_size`: 0 is outside 1 to 9",
            "m/config.json: 設定: `hidden_size`: 0 は 1 から 9 の範囲にありません",
        ),
        ("it rains: cats and {dogs}", "it rains: cats and {dogs}"),
        ("", ""),
    ] {
        assert_eq!(catalogue.translate(english), japanese);
    }
}

#[test]
fn every_label_of_the_catalogue_is_one_of_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let sources = [
        "progress",
        "dashboard",
        "doctor",
        "verify",
        "quickstart",
        "train",
        "fill_mask",
        "hub/download",
        "eval/mod",
        "eval/embeddings",
        "eval/finetune",
        "eval/fill_mask",
        "eval/pseudo_perplexity",
    ];
    let text: String =
        sources.iter().map(|name| std::fs::read_to_string(root.join(format!("{name}.rs"))).unwrap()).collect();
    let gone = tables().words.into_keys().filter(|word| !text.contains(&format!("{word:?}")));
    assert_none("labels that are gone", gone);
}
