//! Prompts with masks and gold answers, from JSON lines.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::eval::data::{DataFile, bad_line, built_in_json_lines, json_lines};

const BUILT_IN: &str = include_str!("../../../../public/benchmark/fill_mask.jsonl");

/// Spellings of a mask that mean one for every model.
const MASKS: [&str; 2] = ["[MASK]", "{mask_str}"];

/// A text with masks.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    /// Its name.
    pub id: String,
    /// Its category.
    pub category: String,
    /// The text.
    pub text: String,
    /// The gold answers of each mask; none where it is open.
    pub gold: Vec<Vec<String>>,
}

/// A line of the file.
#[derive(Deserialize)]
struct Line {
    id: Option<String>,
    #[serde(default = "uncategorised")]
    category: String,
    text: String,
    #[serde(default)]
    gold: Value,
}

fn uncategorised() -> String {
    "all".into()
}

/// Reads a file of prompts, or the built-in set.
///
/// # Errors
/// A line that is no prompt, named by file and line.
pub fn read(path: Option<&Path>) -> anyhow::Result<(Vec<Prompt>, DataFile)> {
    let (lines, file) = match path {
        Some(path) => json_lines::<Line>(&crate::hub::data(path)?)?,
        None => built_in_json_lines("fill_mask.jsonl", BUILT_IN)?,
    };
    let name = path.map_or_else(|| file.name.clone(), |path| path.display().to_string());
    let (mut prompts, mut seen) = (Vec::with_capacity(lines.len()), HashMap::new());
    for (number, line) in lines {
        let bad = |reason: String| bad_line(&name, number, reason);
        let prompt = line.prompt(number).map_err(bad)?;
        if let Some(first) = seen.insert(prompt.id.clone(), number) {
            return Err(bad(format!("the id `{}` is that of line {first} too; give every prompt its own", prompt.id)));
        }
        prompts.push(prompt);
    }
    Ok((prompts, file))
}

impl Line {
    fn prompt(self, number: u64) -> Result<Prompt, String> {
        let num_masks = mask_ranges(&self.text).len();
        if num_masks == 0 {
            return Err("`text` has no mask; write [MASK] where a token is to be filled in".into());
        }
        if self.category.is_empty() || !self.category.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_') {
            return Err(format!("`category` is `{}`; give letters, digits, - and _", self.category));
        }
        let gold = gold(self.gold, num_masks)?;
        let id = self.id.unwrap_or_else(|| format!("line-{number}"));
        Ok(Prompt { id, category: self.category, text: self.text, gold })
    }
}

/// The gold answers of each mask.
fn gold(value: Value, num_masks: usize) -> Result<Vec<Vec<String>>, String> {
    let expected = match num_masks {
        1 => "a list of texts".to_owned(),
        _ => format!("{num_masks} lists of texts, one for each mask"),
    };
    let wrong = |_| format!("`gold` is not {expected}");
    let lists: Vec<Vec<String>> = match value {
        Value::Null => vec![Vec::new(); num_masks],
        Value::Array(all) if all.is_empty() => vec![Vec::new(); num_masks],
        Value::Array(all) if num_masks == 1 && all[0].is_string() => {
            vec![serde_json::from_value(Value::Array(all)).map_err(wrong)?]
        }
        other => serde_json::from_value(other).map_err(wrong)?,
    };
    if lists.len() != num_masks {
        return Err(format!("`gold` has {} lists and the text {num_masks} masks; give {expected}", lists.len()));
    }
    match lists.iter().flatten().any(|answer| answer.trim().is_empty()) {
        true => Err("an answer in `gold` is empty".into()),
        false => Ok(lists),
    }
}

/// Where the masks of a text are written, in order.
fn mask_ranges(text: &str) -> Vec<Range<usize>> {
    let found = MASKS.iter().flat_map(|mask| text.match_indices(mask).map(|(start, _)| start..start + mask.len()));
    let mut ranges: Vec<_> = found.collect();
    ranges.sort_by_key(|range| range.start);
    ranges
}

impl Prompt {
    /// The text before a mask.
    pub fn before(&self, mask: usize) -> &str {
        &self.text[..mask_ranges(&self.text)[mask].start]
    }
}

/// The text with one of its masks written `times` times.
pub fn repeat_mask(text: &str, mask: usize, times: usize) -> String {
    let range = mask_ranges(text)[mask].clone();
    [&text[..range.start], &MASKS[0].repeat(times), &text[range.end..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Prompt, String> {
        serde_json::from_str::<Line>(line).map_err(|error| error.to_string())?.prompt(7)
    }

    #[test]
    fn gold_has_one_list_for_each_mask() {
        let one = parse(r#"{"text":"[MASK]だ","gold":["猫","犬"]}"#).unwrap();
        assert_eq!((one.id.as_str(), one.gold), ("line-7", vec![vec!["猫".to_owned(), "犬".into()]]));
        let two = parse(r#"{"text":"[MASK]と{mask_str}","gold":[["猫"],[]]}"#).unwrap();
        assert_eq!(two.gold, vec![vec!["猫".to_owned()], vec![]]);
        let open = parse(r#"{"text":"[MASK]と[MASK]"}"#).unwrap();
        assert_eq!(open.gold, vec![Vec::<String>::new(); 2]);
    }

    #[test]
    fn what_is_no_prompt_is_an_error() {
        for (line, expected) in [
            (r#"{"text":"猫だ","gold":["猫"]}"#, "no mask"),
            (r#"{"text":"[MASK]","gold":"猫"}"#, "not a list of texts"),
            (r#"{"text":"[MASK]","gold":[["猫"],["犬"]]}"#, "2 lists and the text 1 masks"),
            (r#"{"text":"[MASK]と[MASK]","gold":["猫","犬"]}"#, "not 2 lists"),
            (r#"{"text":"[MASK]","gold":["猫",1]}"#, "not a list of texts"),
            (r#"{"text":"[MASK]","gold":[" "]}"#, "is empty"),
            (r#"{"text":"[MASK]","category":"a b"}"#, "`category`"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }

    #[test]
    fn a_mask_is_repeated_where_it_stands() {
        assert_eq!(repeat_mask("a[MASK]b{mask_str}c", 1, 2), "a[MASK]b[MASK][MASK]c");
        let prompt = parse(r#"{"text":"a[MASK]b{mask_str}c"}"#).unwrap();
        assert_eq!([prompt.before(0), prompt.before(1)], ["a", "a[MASK]b"]);
    }
}
