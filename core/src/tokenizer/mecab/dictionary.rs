//! The files of a compiled MeCab dictionary, as `mecab-dict-index` writes them: little-endian, every length, offset and id
//! checked when read, so that the analysis cannot leave them.

use std::ops::Range;

use crate::error::{Error, Result};

/// Bytes before the double array of a lexicon: ten numbers and the name of its character encoding.
const HEADER_BYTES: usize = 72;

/// First number of a lexicon, after exclusive or with the size of the file.
const MAGIC: u32 = 0xEF71_8F77;

/// Version of the format, the only one that MeCab 0.9x reads.
const VERSION: u32 = 102;

/// Characters in the table of `char.bin`: U+0000 to U+FFFE.
const TABLE_CHARS: usize = 0xFFFF;

/// Categories that eight bits can name.
const MAX_CATEGORIES: usize = 256;

/// Which of the two lexicons.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `sys.dic`: the words.
    System,
    /// `unk.dic`: what words outside the lexicon may be, by character category.
    Unknown,
}

/// What the analysis needs to know of a word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    /// Row of the word in the matrix: what it is to the word before.
    pub left_id: u16,
    /// Column of the word in the matrix: what it is to the word after.
    pub right_id: u16,
    /// Its own cost.
    pub cost: i16,
}

/// Words by spelling: a double array (Aoe, IEEE Transactions on Software Engineering 1989) and the words it points to.
pub(super) struct Lexicon {
    /// `(base, check)` of each unit.
    units: Vec<(u32, u32)>,
    words: Vec<Word>,
}

impl Lexicon {
    /// Reads a lexicon whose words fit the matrix. Their features (readings, parts of speech) are not kept.
    pub fn read(file: &[u8], kind: Kind, matrix: &Matrix) -> Result<Self> {
        let format = if kind == Kind::System { "MeCab sys.dic" } else { "MeCab unk.dic" };
        let fail = |byte: usize, message: String| Err(Error::Format { format, byte: byte as u64, message });
        let Some((header, body)) = file.split_at_checked(HEADER_BYTES) else {
            return fail(file.len(), format!("{} bytes are less than a header; the file is truncated", file.len()));
        };
        let field = |index: usize| u32_at(header, 4 * index);
        if field(0) ^ MAGIC != file.len() as u32 {
            return fail(
                0,
                "not a compiled MeCab dictionary of this size; the file is truncated or damaged".to_owned(),
            );
        }
        if field(1) != VERSION {
            return fail(4, format!("version {}; only {VERSION} is known", field(1)));
        }
        if field(2) != if kind == Kind::System { 0 } else { 2 } {
            return fail(8, format!("a dictionary of type {} is in its place", field(2)));
        }
        if (field(4) as usize, field(5) as usize) != (matrix.num_right, matrix.num_left) {
            let found = (field(4), field(5));
            return fail(16, format!("made for a matrix of {found:?}, not {:?}", (matrix.num_right, matrix.num_left)));
        }
        let charset = String::from_utf8_lossy(header[40..].split(|byte| *byte == 0).next().unwrap_or_default());
        if !["utf8", "utf-8", "utf_8"].contains(&charset.to_ascii_lowercase().as_str()) {
            return fail(40, format!("its characters are in {charset:?}; compile it with `mecab-dict-index -t utf8`"));
        }
        let sizes = [6, 7, 8].map(field);
        if sizes.map(u64::from).iter().sum::<u64>() != body.len() as u64 || sizes[0] % 8 != 0 || sizes[1] % 16 != 0 {
            return fail(24, format!("parts of {sizes:?} bytes do not fill a body of {} bytes", body.len()));
        }
        let (units, rest) = body.split_at(sizes[0] as usize);
        let units = units.chunks_exact(8).map(|unit| (u32_at(unit, 0), u32_at(unit, 4))).collect();
        let read = |word: &[u8]| {
            let [left_id, right_id, cost] = [0, 2, 6].map(|at| u16::from_le_bytes([word[at], word[at + 1]]));
            Word { left_id, right_id, cost: cost.cast_signed() }
        };
        let words = rest[..sizes[1] as usize].chunks_exact(16).map(read).collect();
        let lexicon = Self { units, words };
        lexicon.check(format, matrix)?;
        Ok(lexicon)
    }

    fn check(&self, format: &'static str, matrix: &Matrix) -> Result<()> {
        let fail = |byte: usize, message: String| Err(Error::Format { format, byte: byte as u64, message });
        let outside = |(base, _): &(u32, u32)| words_of(*base).is_some_and(|words| words.end > self.words.len());
        if let Some(unit) = self.units.iter().position(outside) {
            let message = format!("unit {unit} points beyond the {} words", self.words.len());
            return fail(HEADER_BYTES + 8 * unit, message);
        }
        let unknown = |word: &Word| {
            usize::from(word.left_id) >= matrix.num_left || usize::from(word.right_id) >= matrix.num_right
        };
        if let Some(index) = self.words.iter().position(unknown) {
            let message = format!("word {index} has ids that the matrix lacks: {:?}", self.words[index]);
            return fail(HEADER_BYTES + 8 * self.units.len() + 16 * index, message);
        }
        Ok(())
    }

    /// Calls `found` with the length and the words of every entry that `text` begins with, the shortest first.
    pub fn prefixes(&self, text: &[u8], mut found: impl FnMut(usize, &[Word])) {
        let Some(root) = self.units.first() else { return };
        let mut base = root.0;
        for (index, byte) in text.iter().enumerate() {
            match self.child(base, u32::from(*byte) + 1) {
                Some(next) => base = next,
                None => return,
            }
            if let Some(words) = self.child(base, 0).and_then(words_of) {
                found(index + 1, &self.words[words]);
            }
        }
    }

    /// The words spelled exactly so.
    fn exact(&self, text: &[u8]) -> Vec<Word> {
        let mut exact = Vec::new();
        self.prefixes(text, |length, words| {
            if length == text.len() {
                exact = words.to_vec();
            }
        });
        exact
    }

    fn child(&self, base: u32, label: u32) -> Option<u32> {
        let (next, check) = *self.units.get(base.wrapping_add(label) as usize)?;
        (check == base).then_some(next)
    }
}

/// The words that a leaf points to; inner units have a base that is not negative.
fn words_of(base: u32) -> Option<Range<usize>> {
    let value = (!base) as usize;
    (base.cast_signed() < 0).then(|| value >> 8..(value >> 8) + (value & 0xFF))
}

/// `matrix.bin`: what it costs that a word follows another.
pub(super) struct Matrix {
    file: Vec<u8>,
    num_right: usize,
    num_left: usize,
}

impl Matrix {
    pub fn read(file: Vec<u8>) -> Result<Self> {
        let size =
            |at: usize| file.get(at..at + 2).map_or(0, |bytes| usize::from(u16::from_le_bytes([bytes[0], bytes[1]])));
        let (num_right, num_left) = (size(0), size(2));
        let num_costs = num_right as u64 * num_left as u64;
        if num_costs == 0 || 4 + 2 * num_costs != file.len() as u64 {
            let message = format!("{num_right} x {num_left} costs are not {} bytes; truncated or damaged", file.len());
            return Err(Error::Format { format: "MeCab matrix.bin", byte: 0, message });
        }
        Ok(Self { file, num_right, num_left })
    }

    /// Costs that a word with this left id follows the words of each right id.
    pub fn row(&self, left_id: u16) -> Row<'_> {
        let row_bytes = 2 * self.num_right;
        Row(&self.file[4 + usize::from(left_id) * row_bytes..][..row_bytes])
    }
}

/// The costs of one left id.
#[derive(Clone, Copy)]
pub(super) struct Row<'a>(&'a [u8]);

impl Row<'_> {
    pub fn cost(self, right_id: u16) -> i64 {
        let at = 2 * usize::from(right_id);
        i64::from(i16::from_le_bytes([self.0[at], self.0[at + 1]]))
    }
}

/// Category of a character, with the rules for unknown words that begin with it.
#[derive(Clone, Copy)]
pub(super) struct Category(u32);

impl Category {
    /// Whether the characters can stand in one unknown word.
    pub fn shares(self, other: Self) -> bool {
        self.0 & other.0 & 0x3_FFFF != 0
    }

    fn index(self) -> usize {
        (self.0 >> 18 & 0xFF) as usize
    }

    /// Longest unknown word in characters, of those that are proposed one character longer each.
    pub fn length(self) -> usize {
        (self.0 >> 26 & 0xF) as usize
    }

    /// Whether the whole run of such characters is proposed as a word.
    pub fn groups(self) -> bool {
        self.0 >> 30 & 1 == 1
    }

    /// Whether unknown words are proposed where the lexicon has words too.
    pub fn invokes(self) -> bool {
        self.0 >> 31 == 1
    }
}

/// `char.bin` with `unk.dic`: the categories of characters and what unknown words of each may be.
pub(super) struct Categories {
    table: Vec<Category>,
    unknown: Vec<Vec<Word>>,
}

impl Categories {
    pub fn read(file: &[u8], unknown: &Lexicon) -> Result<Self> {
        let fail =
            |byte: usize, message: String| Err(Error::Format { format: "MeCab char.bin", byte: byte as u64, message });
        let num_categories = file.get(..4).map_or(0, |bytes| u32_at(bytes, 0) as usize);
        let table_start = 4 + 32 * num_categories.min(MAX_CATEGORIES);
        if num_categories == 0 || num_categories > MAX_CATEGORIES || table_start + 4 * TABLE_CHARS != file.len() {
            let message = format!("{num_categories} categories are not {} bytes; truncated or damaged", file.len());
            return fail(0, message);
        }
        let mut words = Vec::with_capacity(num_categories);
        for (index, field) in file[4..table_start].chunks_exact(32).enumerate() {
            let name = field.split(|byte| *byte == 0).next().unwrap_or_default();
            words.push(unknown.exact(name));
            if words[index].is_empty() {
                let message = format!("category {:?} has no word in unk.dic", String::from_utf8_lossy(name));
                return fail(4 + 32 * index, message);
            }
        }
        let table: Vec<_> = file[table_start..].chunks_exact(4).map(|info| Category(u32_at(info, 0))).collect();
        match table.iter().position(|category| category.index() >= num_categories) {
            Some(char) => {
                fail(table_start + 4 * char, format!("character U+{char:04X} has a category beyond the last"))
            }
            None => Ok(Self { table, unknown: words }),
        }
    }

    /// Category of a character. Those beyond U+FFFE have the one of U+0000, as in MeCab.
    pub fn of(&self, char: char) -> Category {
        self.table.get(char as usize).copied().unwrap_or(self.table[0])
    }

    /// What unknown words of a category may be.
    pub fn unknown_words(&self, category: Category) -> &[Word] {
        &self.unknown[category.index()]
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
