//! Messages in the language of the locale; what programs read is the same in every one.

use std::fs;
use std::process::{Command, Output};

use crate::cli::{binary, path, text, workshop};

/// Runs the program under a locale, given as `NAME=VALUE`.
fn under(locale: &[&str], arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.env_remove("LC_ALL").env_remove("LC_MESSAGES").env_remove("LANG");
    command.envs(locale.iter().filter_map(|pair| pair.split_once('='))).args(arguments).output().unwrap()
}

const JAPANESE: &[&str] = &["LANG=ja_JP.UTF-8"];

fn is_japanese(text: &str) -> bool {
    text.chars().any(|char| ('ぁ'..='ヶ').contains(&char) || ('一'..='龯').contains(&char))
}

/// What a mistake is answered with, in Japanese and in English.
fn both(exit: i32, arguments: &[&str]) -> (String, String) {
    let [japanese, english] = [JAPANESE, &["LANG=C"]].map(|locale| under(locale, arguments));
    assert_eq!((japanese.status.code(), english.status.code()), (Some(exit), Some(exit)), "{}", text(&english.stderr));
    assert_eq!(japanese.stdout, english.stdout);
    let (japanese, english) = (text(&japanese.stderr), text(&english.stderr));
    assert!(is_japanese(&japanese) && !is_japanese(&english), "{japanese}{english}");
    (japanese, english)
}

#[test]
fn a_wrong_path_a_wrong_option_and_a_damaged_file_are_named_in_the_language_of_the_reader() {
    let (japanese, english) = both(2, &["model", "info", "nowhere/to/model"]);
    assert!(japanese.contains("nowhere/to/model/config.json は存在しません"), "{japanese}");
    assert!(english.contains("nowhere/to/model/config.json does not exist"), "{english}");

    let (japanese, english) = both(2, &["model", "info", "model", "--jsno"]);
    assert!(japanese.contains("引数 '--jsno' は使えません") && japanese.contains("'--json'"), "{japanese}");
    assert!(japanese.contains("使い方: anaume model info") && english.contains("Usage: anaume model info"));

    let dir = tempfile::tempdir().unwrap();
    let damaged = path(dir.path(), "damaged.jsonl");
    fs::write(&damaged, "{\"text\": \"a\"}\n{\"text\": \n").unwrap();
    let (japanese, english) = both(3, &["data", "prepare", &damaged, "--out", &path(dir.path(), "out")]);
    assert!(japanese.contains("damaged.jsonl:2: 1 つの JSON オブジェクトではありません（"), "{japanese}");
    assert!(japanese.contains("このような行を除くには --bad-lines"), "{japanese}");
    assert!(english.contains("damaged.jsonl:2: not one JSON object ("), "{english}");
}

#[test]
fn the_first_variable_of_posix_decides() {
    let is_japanese_under = |locale: &[&str]| is_japanese(&text(&under(locale, &["pretrain", "--help"]).stdout));
    assert!(
        is_japanese_under(&["LANG=ja_JP.UTF-8"])
            && is_japanese_under(&["LC_ALL=", "LC_MESSAGES=ja_JP.UTF-8", "LANG=C"])
    );
    for english in [&["LC_ALL=C", "LANG=ja_JP.UTF-8"][..], &["LC_MESSAGES=en_US.UTF-8", "LANG=ja_JP.UTF-8"], &[]] {
        let help = text(&under(english, &["pretrain", "--help"]).stdout);
        assert!(help.contains("Usage: anaume pretrain") && !is_japanese(&help), "{english:?}: {help}");
    }
}

#[test]
fn results_and_documents_are_the_same_in_every_language() {
    let model = path(workshop(), "model");
    for arguments in
        [&["verify", &model, "--json"][..], &["model", "info", &model], &["schema"], &["completions", "zsh"]]
    {
        let [japanese, english] = [JAPANESE, &["LC_ALL=C"]].map(|locale| under(locale, arguments).stdout);
        assert!(japanese == english && !english.is_empty(), "{arguments:?}: {}", text(&japanese));
    }
    let [japanese, english] = [JAPANESE, &["LC_ALL=C"]].map(|locale| text(&under(locale, &["verify", &model]).stdout));
    assert!(
        japanese.contains("良好") && japanese.contains("問題はありません。"),
        "a verdict is for people: {japanese}"
    );
    assert!(english.contains("All is well."), "{english}");
}

#[test]
fn a_run_tells_how_it_goes_in_japanese_and_writes_the_same_log() {
    let dir = tempfile::tempdir().unwrap();
    let [data, model, run] = [path(workshop(), "data"), path(workshop(), "model"), path(dir.path(), "run")];
    let arguments =
        ["pretrain", "--recipe", "tiny", "--data", &data, "--model", &model, "--out", &run, "--device", "cpu"];
    let output = under(JAPANESE, &[&arguments[..], &["--stop-after", "2"]].concat());
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    for part in [
        "モデル      ",
        "メモリ      約 ",
        "ステップ 0: 検証損失 ",
        "を書き出しました  所要時間 ",
        "損失曲線    ",
        "所要時間 ",
    ] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    let english = said.lines().filter(|line| !is_japanese(line) && !line.is_empty()).collect::<Vec<_>>();
    assert!(english.is_empty(), "{english:?}");
    let log = fs::read_to_string(format!("{run}/metrics.jsonl")).unwrap();
    assert!(log.contains("\"loss\"") && !is_japanese(&log), "{log}");
}
