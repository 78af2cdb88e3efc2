//! What a person reads on the terminal, in Japanese where the locale asks for it.
//!
//! Messages are made in English everywhere and translated on their way out. `messages/ja.toml` holds one English template
//! a message, as it stands in the sources, with its translation; what matches none is printed as it is. Results, files
//! and logs are for programs and stay English.

mod help;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use serde::Deserialize;

pub use help::parse;

/// Whether the locale asks for Japanese.
pub fn is_asked() -> bool {
    static ASKED: LazyLock<bool> = LazyLock::new(|| asks_for_japanese(|name| std::env::var(name).ok()));
    *ASKED
}

/// The first of POSIX's variables that is set decides; a terminal that is not of UTF-8 could not show the characters.
fn asks_for_japanese(variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name: &&str| variable(name).filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].iter().find_map(set).unwrap_or_default().to_ascii_lowercase();
    let locale = locale.split('@').next().unwrap_or_default();
    let (language, encoding) = locale.split_once('.').unwrap_or((locale, "utf-8"));
    matches!(language, "ja" | "ja_jp" | "ja-jp") && matches!(encoding, "utf-8" | "utf8")
}

/// A message as its reader gets it.
pub fn message(english: &str) -> Cow<'_, str> {
    if is_asked() { CATALOGUE.translate(english) } else { english.into() }
}

/// A label that stands alone, as its reader gets it.
pub fn word(english: &str) -> &str {
    let translated = is_asked().then(|| CATALOGUE.words.get(english)).flatten();
    translated.map_or(english, String::as_str)
}

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let tables: Tables = toml::from_str(include_str!("../messages/ja.toml")).expect("the catalogue is well-formed");
    Catalogue::new(tables)
});

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tables {
    /// Help texts.
    help: BTreeMap<String, String>,
    /// Labels.
    words: BTreeMap<String, String>,
    /// Messages of the sources.
    messages: BTreeMap<String, String>,
    /// Messages and headings of the libraries and the system.
    libraries: BTreeMap<String, String>,
}

struct Catalogue {
    help: BTreeMap<String, String>,
    words: BTreeMap<String, String>,
    libraries: BTreeMap<String, String>,
    /// The most specific first.
    templates: Vec<Template>,
}

impl Catalogue {
    fn new(Tables { help, words, messages, libraries }: Tables) -> Self {
        let mut templates: Vec<_> =
            messages.iter().chain(&libraries).map(|(english, japanese)| Template::new(english, japanese)).collect();
        templates.sort_by_key(|template| std::cmp::Reverse(template.known_bytes()));
        Self { help, words, libraries, templates }
    }

    /// A message in Japanese, as far as it is known; unchanged where nothing of it is.
    fn translate<'a>(&self, english: &'a str) -> Cow<'a, str> {
        let reading = self.read(english, &mut HashMap::new());
        if reading.known_bytes > 0 { reading.japanese.into() } else { english.into() }
    }

    /// The reading that knows most of a text: by a template and what stands in its holes, or as two parts, a cause behind
    /// what failed. `read` remembers the readings of parts.
    fn read<'a>(&self, english: &'a str, read: &mut HashMap<&'a str, Reading>) -> Reading {
        if let Some(reading) = read.get(english) {
            return reading.clone();
        }
        let mut best = Reading { known_bytes: 0, japanese: english.to_owned() };
        for template in &self.templates {
            let Some(holes) = template.holes(english) else { continue };
            // A cause stands in the last hole.
            let misplaced = holes.iter().rev().skip(1).filter(|hole| hole.contains(": ")).count();
            let holes: Vec<Reading> = holes.into_iter().map(|hole| self.read(hole, read)).collect();
            let reading = template.fill(&holes);
            best = best.or(Reading { known_bytes: reading.known_bytes.saturating_sub(misplaced), ..reading });
        }
        for (at, _) in english.match_indices(": ").take(MOST_CAUSES) {
            let (first, rest) = (self.read(&english[..at], read), self.read(&english[at + 2..], read));
            // A message that makes sense without its cause has not the cause in its last hole.
            let separator = if first.known_bytes > 0 { 2 } else { 0 };
            best = best.or(Reading {
                known_bytes: first.known_bytes + separator + rest.known_bytes,
                japanese: format!("{}: {}", first.japanese, rest.japanese),
            });
        }
        read.insert(english, best.clone());
        best
    }
}

/// Most places in a message where a cause may begin.
const MOST_CAUSES: usize = 8;

/// A way to understand a text.
#[derive(Clone)]
struct Reading {
    /// How much of the English text stands in templates.
    known_bytes: usize,
    japanese: String,
}

impl Reading {
    /// The other one if it knows more.
    fn or(self, other: Self) -> Self {
        if other.known_bytes > self.known_bytes { other } else { self }
    }
}

/// A message with holes, in both languages.
struct Template {
    /// What stands before, between and behind the holes of the English text.
    around: Vec<String>,
    /// The Japanese text: what stands before each hole, with the number of the hole in the English text, and its end.
    japanese: (Vec<(String, usize)>, String),
}

impl Template {
    /// A hole is `{name}`, or `{}` for the next one without a name; the translation may number those, from `{0}` on.
    fn new(english: &str, japanese: &str) -> Self {
        let (parts, end) = parse_holes(english);
        let names: Vec<&str> = parts.iter().map(|(_, hole)| hole.as_str()).collect();
        let (text, rest) = parse_holes(japanese);
        let place = |hole: &str| names.iter().position(|name| *name == hole);
        let text = text.into_iter().map(|(before, hole)| (before, place(&hole).expect("a test compares the holes")));
        let text = text.collect();
        let around = parts.iter().map(|(before, _)| before.clone()).chain([end]).collect();
        Self { around, japanese: (text, rest) }
    }

    /// How many bytes of a message it fixes.
    fn known_bytes(&self) -> usize {
        self.around.iter().map(String::len).sum()
    }

    /// The reading of a message of this form, from those of its holes.
    fn fill(&self, holes: &[Reading]) -> Reading {
        let (parts, end) = &self.japanese;
        let parts = parts.iter().map(|(before, hole)| format!("{before}{}", holes[*hole].japanese));
        let known_bytes = self.known_bytes() + holes.iter().map(|hole| hole.known_bytes).sum::<usize>();
        Reading { known_bytes, japanese: parts.chain([end.clone()]).collect() }
    }

    /// What stands in the holes of a message of this form: the shortest that does, from the left.
    fn holes<'a>(&self, english: &'a str) -> Option<Vec<&'a str>> {
        let [first, between @ ..] = self.around.as_slice() else { return None };
        let mut rest = english.strip_prefix(first.as_str())?;
        let Some((last, between)) = between.split_last() else { return rest.is_empty().then(Vec::new) };
        let mut holes = Vec::new();
        for text in between {
            let (hole, behind) = rest.split_once(text.as_str())?;
            holes.push(hole);
            rest = behind;
        }
        holes.push(rest.strip_suffix(last.as_str())?);
        Some(holes)
    }
}

/// The text before each hole with the name of the hole, and the end. Holes without a name are numbered.
fn parse_holes(template: &str) -> (Vec<(String, String)>, String) {
    let (mut parts, mut before, mut unnamed) = (Vec::new(), String::new(), 0);
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        before.push_str(&rest[..at]);
        let end = rest[at..].find('}').filter(|_| !rest[at..].starts_with("{{"));
        if let Some(end) = end.filter(|_| rest[at..].starts_with('{')) {
            let name = rest[at + 1..at + end].split(':').next().unwrap_or_default();
            unnamed += usize::from(name.is_empty());
            let name = if name.is_empty() { (unnamed - 1).to_string() } else { name.to_owned() };
            parts.push((std::mem::take(&mut before), name));
            rest = &rest[at + end + 1..];
        } else {
            // `{{` and `}}` are braces of the text.
            before.push_str(&rest[at..=at]);
            rest = &rest[(at + 2).min(rest.len())..];
        }
    }
    before.push_str(rest);
    (parts, before)
}
