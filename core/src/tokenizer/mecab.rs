//! MeCab's segmentation of Japanese text into words (Kudo, Yamamoto and Matsumoto, EMNLP 2004), with a dictionary that
//! MeCab's own compiler made: IPADIC, UniDic and their like.
//!
//! The words are those of `mecab -d DICTIONARY`, ties between paths of equal cost included, but for two cases where MeCab
//! loses text: it stops at U+0000, and it gives up where the cost of a text exceeds 31 bits.

mod dictionary;

use std::ops::Range;

use dictionary::{Categories, Category, Kind, Lexicon, Matrix, Row, Word};

use crate::error::{Error, Result};

/// Longest run of characters of one category, after its first character, that is proposed as an unknown word: the
/// default of MeCab's `max-grouping-size`, which neither IPADIC nor UniDic changes.
const MAX_GROUP_CHARS: usize = 24;

/// Largest text in bytes: the places of nodes are kept in 32 bits.
const MAX_TEXT_BYTES: usize = 1 << 30;

/// Nodes of the lattice after which those that no path needs any more are dropped for the first time.
const NODES_BEFORE_PRUNING: usize = 1 << 16;

/// The end of a list of nodes.
const NONE: u32 = u32::MAX;

/// The files of a compiled dictionary, as bytes.
#[derive(Clone, Debug)]
pub struct MecabFiles {
    /// `sys.dic`: the words.
    pub sys_dic: Vec<u8>,
    /// `unk.dic`: what unknown words may be.
    pub unk_dic: Vec<u8>,
    /// `matrix.bin`: the costs of neighbours.
    pub matrix_bin: Vec<u8>,
    /// `char.bin`: the categories of characters.
    pub char_bin: Vec<u8>,
}

/// A segmenter, ready for use from several threads.
pub struct Mecab {
    lexicon: Lexicon,
    matrix: Matrix,
    categories: Categories,
}

impl Mecab {
    /// Reads a dictionary. A file that is damaged, or not in UTF-8, is an [`Error::Format`] that names it and the byte.
    pub fn new(files: MecabFiles) -> Result<Self> {
        let matrix = Matrix::read(files.matrix_bin)?;
        let lexicon = Lexicon::read(&files.sys_dic, Kind::System, &matrix)?;
        let unknown = Lexicon::read(&files.unk_dic, Kind::Unknown, &matrix)?;
        Ok(Self { lexicon, matrix, categories: Categories::read(&files.char_bin, &unknown)? })
    }

    /// Byte ranges of the words of a text, from left to right; white space between words belongs to none.
    pub fn segment(&self, text: &str) -> Result<Vec<Range<usize>>> {
        if text.len() > MAX_TEXT_BYTES {
            let message = format!("a text of {} bytes; cut it into parts of at most {MAX_TEXT_BYTES}", text.len());
            return Err(Error::Input { message });
        }
        let mut lattice = Lattice::new(text.len());
        let mut candidates = Vec::new();
        for place in 0..text.len() {
            if lattice.gather(place) {
                candidates.clear();
                self.candidates(text, place, &mut candidates);
                // MeCab keeps the words of a place in a list that it fills and empties at the same end.
                for candidate in candidates.iter().rev() {
                    lattice.connect(candidate, self.matrix.row(candidate.word.left_id));
                }
            }
        }
        Ok(lattice.best_path(self.matrix.row(0)))
    }

    /// The words that may begin at a place, after the white space there.
    fn candidates(&self, text: &str, place: usize, out: &mut Vec<Candidate>) {
        let Some((start, first, category)) = self.first_char(text, place) else { return };
        self.lexicon.prefixes(&text.as_bytes()[start..], |length, words| {
            if text.is_char_boundary(start + length) {
                out.extend(words.iter().map(|word| Candidate { start, end: start + length, word: *word }));
            }
        });
        if out.is_empty() || category.invokes() {
            self.unknown_candidates(text, start, start + first.len_utf8(), category, out);
        }
    }

    /// Unknown words that begin with the character `start..second`: the whole run of its category, then one, two, …
    /// characters; where nothing else is known, the character alone.
    fn unknown_candidates(
        &self,
        text: &str,
        start: usize,
        second: usize,
        category: Category,
        out: &mut Vec<Candidate>,
    ) {
        let run_end = if category.groups() { self.run_end(text, second, category) } else { None };
        if let Some(end) = run_end {
            self.propose(start, end, category, out);
        }
        let mut end = second;
        for _ in 0..category.length() {
            if run_end == Some(end) {
                break;
            }
            self.propose(start, end, category, out);
            match text[end..].chars().next() {
                Some(next) if category.shares(self.categories.of(next)) => end += next.len_utf8(),
                _ => break,
            }
        }
        if out.is_empty() {
            self.propose(start, second, category, out);
        }
    }

    fn propose(&self, start: usize, end: usize, category: Category, out: &mut Vec<Candidate>) {
        out.extend(self.categories.unknown_words(category).iter().map(|word| Candidate { start, end, word: *word }));
    }

    /// The first character that is no white space: its place, itself, its category.
    fn first_char(&self, text: &str, place: usize) -> Option<(usize, char, Category)> {
        let mut before = self.categories.of(' ');
        for (index, char) in text[place..].char_indices() {
            let category = self.categories.of(char);
            if !before.shares(category) {
                return Some((place + index, char, category));
            }
            before = category;
        }
        None
    }

    /// End of the run of characters that each share a category with the one before; `None` if it is too long for a word.
    fn run_end(&self, text: &str, start: usize, category: Category) -> Option<usize> {
        let mut before = category;
        for (count, (index, char)) in text[start..].char_indices().enumerate() {
            let category = self.categories.of(char);
            if !before.shares(category) {
                return Some(start + index);
            }
            if count == MAX_GROUP_CHARS {
                return None;
            }
            before = category;
        }
        Some(text.len())
    }
}

/// A word that may stand at `start..end` of the text.
struct Candidate {
    start: usize,
    end: usize,
    word: Word,
}

/// A word with the best path to it.
#[derive(Clone, Copy)]
struct Node {
    /// Cost of the path, this word included.
    cost: i64,
    start: u32,
    end: u32,
    /// The word before on the path.
    previous: u32,
    /// The next of the words that end at the same place.
    sibling: u32,
    right_id: u16,
}

/// The words of a text and, for each, the best path from the start of the text (Viterbi, IEEE Transactions on
/// Information Theory 1967). Of paths of equal cost the one through the word that stands first in its list is kept.
struct Lattice {
    nodes: Vec<Node>,
    /// For each place, the latest of the nodes that end there.
    ending: Vec<u32>,
    /// The nodes that end at the present place: index, right id and cost.
    lefts: Vec<(u32, u16, i64)>,
    /// The best of them before words of a left id, where it is known: left id, cost and index.
    bests: Vec<(u16, i64, u32)>,
    present: usize,
    /// The last place where a path ends.
    furthest: usize,
    prune_at: usize,
}

impl Lattice {
    fn new(text_bytes: usize) -> Self {
        let mut ending = vec![NONE; text_bytes + 1];
        ending[0] = 0;
        let start = Node { cost: 0, start: 0, end: 0, previous: NONE, sibling: NONE, right_id: 0 };
        Self {
            nodes: vec![start],
            ending,
            lefts: Vec::new(),
            bests: Vec::new(),
            present: 0,
            furthest: 0,
            prune_at: NODES_BEFORE_PRUNING,
        }
    }

    /// Makes a place the present one; whether a path ends there.
    fn gather(&mut self, place: usize) -> bool {
        if self.ending[place] == NONE {
            return false;
        }
        self.present = place;
        if self.nodes.len() > self.prune_at {
            self.prune();
            self.prune_at = NODES_BEFORE_PRUNING + 2 * self.nodes.len();
        }
        self.lefts.clear();
        self.bests.clear();
        let mut index = self.ending[place];
        while index != NONE {
            let node = self.nodes[index as usize];
            self.lefts.push((index, node.right_id, node.cost));
            index = node.sibling;
        }
        true
    }

    /// Adds a word that follows the present place.
    fn connect(&mut self, candidate: &Candidate, row: Row<'_>) {
        let Candidate { start, end, word } = candidate;
        let known = self.bests.iter().find(|best| best.0 == word.left_id).map(|best| (best.1, best.2));
        let Some((cost, previous)) = known.or_else(|| self.best_left(row)) else { return };
        if known.is_none() {
            self.bests.push((word.left_id, cost, previous));
        }
        let sibling = std::mem::replace(&mut self.ending[*end], self.nodes.len() as u32);
        self.furthest = self.furthest.max(*end);
        let cost = cost + i64::from(word.cost);
        let (start, end) = (*start as u32, *end as u32);
        self.nodes.push(Node { cost, start, end, previous, sibling, right_id: word.right_id });
    }

    fn best_left(&self, row: Row<'_>) -> Option<(i64, u32)> {
        let costs = self.lefts.iter().map(|(index, right_id, cost)| (cost + row.cost(*right_id), *index));
        costs.reduce(|best, next| if next.0 < best.0 { next } else { best })
    }

    /// The words of the cheapest path to the end of the text, which white space may follow.
    fn best_path(mut self, row: Row<'_>) -> Vec<Range<usize>> {
        self.gather(self.furthest);
        let mut index = self.best_left(row).map_or(0, |best| best.1);
        let mut words = Vec::new();
        while index != 0 {
            let node = self.nodes[index as usize];
            words.push(node.start as usize..node.end as usize);
            index = node.previous;
        }
        words.reverse();
        words
    }

    /// Drops the nodes that no path to the present place or a later one goes through, so that a long text takes memory
    /// for its words and not for every word that could have been.
    fn prune(&mut self) {
        let mut kept = vec![false; self.nodes.len()];
        kept[0] = true;
        for head in &self.ending[self.present..=self.furthest] {
            let mut end = *head;
            while end != NONE {
                let mut index = end as usize;
                while !kept[index] {
                    kept[index] = true;
                    index = self.nodes[index].previous as usize;
                }
                end = self.nodes[end as usize].sibling;
            }
        }
        let mut places = 0..NONE;
        let moved = kept.iter().map(|kept| if *kept { places.next().unwrap_or(NONE) } else { NONE });
        let moved: Vec<u32> = moved.collect();
        let place = |index: u32| moved.get(index as usize).copied().unwrap_or(NONE);
        let stay = self.nodes.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(node, _)| node);
        let moved_node = |node: &Node| Node { previous: place(node.previous), sibling: place(node.sibling), ..*node };
        self.nodes = stay.map(moved_node).collect();
        self.ending[self.present..=self.furthest].iter_mut().for_each(|head| *head = place(*head));
    }
}
