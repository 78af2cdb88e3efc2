//! The Unigram language model (Kudo 2018): seeds, expectation and maximisation, pruning.
//!
//! Characters are indices into an alphabet; every character of the alphabet is a piece for good, so that each run can be
//! spelled. Pieces are kept in lexicographic order, and the pieces that start at a place are found in a trie.

use std::collections::HashMap;

/// A piece as characters, with its log probability.
pub(super) type Scored = (Box<[u32]>, f64);

/// Most pieces to begin with.
const MAX_SEEDS: usize = 1_000_000;
/// Longest piece in characters.
const MAX_PIECE_CHARS: usize = 16;
/// Share of the pieces that survives a pruning.
const SHRINKING: f64 = 0.75;
/// Rounds of expectation and maximisation between two prunings.
const ROUNDS: usize = 2;
/// Pieces that are expected less often are dropped.
const MIN_EXPECTED: f64 = 0.5;
const NONE: u32 = u32::MAX;

/// The text to learn from: distinct runs and how often each occurs.
pub(super) struct Runs {
    chars: Vec<u32>,
    /// End of each run in `chars`, and its number of occurrences.
    ends: Vec<(usize, u64)>,
}

impl Runs {
    /// Runs over the alphabet (sorted); a character outside it splits its run.
    pub(super) fn new(alphabet: &[char], counts: Vec<(String, u64)>) -> Self {
        let index: HashMap<char, u32> = alphabet.iter().copied().zip(0..).collect();
        let mut runs = Self { chars: Vec::new(), ends: Vec::new() };
        for (text, count) in counts {
            for char in text.chars() {
                match index.get(&char) {
                    Some(char) => runs.chars.push(*char),
                    None => runs.close(count),
                }
            }
            runs.close(count);
        }
        runs
    }

    fn close(&mut self, count: u64) {
        if self.chars.len() > self.ends.last().map_or(0, |last| last.0) {
            self.ends.push((self.chars.len(), count));
        }
    }

    /// Each run as its first index, its characters and its number of occurrences.
    fn iter(&self) -> impl Iterator<Item = (usize, &[u32], u64)> {
        let starts = [0].into_iter().chain(self.ends.iter().map(|end| end.0));
        starts.zip(&self.ends).map(|(start, (end, count))| (start, &self.chars[start..*end], *count))
    }
}

/// Learns `budget` pieces, the alphabet among them, the most probable first; fewer if the text holds no more.
/// `observe` hears the number of pieces before each round.
pub(super) fn train(runs: &Runs, num_chars: usize, budget: usize, mut observe: impl FnMut(usize)) -> Vec<Scored> {
    let mut pieces = seeds(runs, num_chars);
    let wanted = (budget + budget / 10).max(num_chars);
    loop {
        observe(pieces.len());
        for _ in 0..ROUNDS {
            let expected = expect(&pieces, runs);
            pieces = maximise(pieces, &expected, budget);
        }
        if pieces.len() <= wanted {
            break;
        }
        let target = wanted.max((pieces.len() as f64 * SHRINKING) as usize);
        pieces = prune(pieces, runs, target);
    }
    let order = |a: &Scored, b: &Scored| (b.0.len() == 1).cmp(&(a.0.len() == 1)).then(by_score(a, b));
    pieces.sort_by(order);
    pieces.truncate(budget);
    pieces.sort_by(by_score);
    pieces
}

fn by_score(a: &Scored, b: &Scored) -> std::cmp::Ordering {
    b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0))
}

/// The alphabet and the substrings that occur at least twice, those that cover most text first, up to [`MAX_SEEDS`].
fn seeds(runs: &Runs, num_chars: usize) -> Vec<Scored> {
    let mut level = Grams::letters(runs, num_chars);
    let mut found: Vec<Scored> = Vec::new();
    for length in 1..=MAX_PIECE_CHARS {
        let next = level.extend(runs, length);
        let kept = level.counts.iter().filter(|gram| length == 1 || !gram.extended);
        let cover = |count: u64| count as f64 * length as f64;
        found.extend(kept.map(|gram| (runs.chars[gram.at..gram.at + length].into(), cover(gram.count))));
        level = next;
    }
    found[num_chars..].sort_by(by_score);
    found.truncate(MAX_SEEDS.max(num_chars));
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let total: f64 = found.iter().map(|piece| piece.1).sum();
    found.into_iter().map(|(chars, cover)| (chars, (cover / total).ln())).collect()
}

/// The substrings of one length that occur at least twice.
struct Grams {
    counts: Vec<Gram>,
    /// Which of them begins at each character of the runs, or [`NONE`].
    at: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Gram {
    /// Where it occurs first.
    at: usize,
    count: u64,
    /// Whether one longer substring occurs as often, so that this one says nothing of its own.
    extended: bool,
}

impl Grams {
    fn letters(runs: &Runs, num_chars: usize) -> Self {
        let mut counts = vec![Gram { at: 0, count: 0, extended: false }; num_chars];
        for (start, run, count) in runs.iter() {
            for (at, char) in (start..).zip(run) {
                let gram = &mut counts[*char as usize];
                gram.at = if gram.count == 0 { at } else { gram.at };
                gram.count += count;
            }
        }
        Self { counts, at: runs.chars.clone() }
    }

    /// The substrings one character longer: only where both of their parts are frequent themselves.
    fn extend(&mut self, runs: &Runs, length: usize) -> Self {
        let mut index: HashMap<(u32, u32), u32> = HashMap::new();
        let mut counts: Vec<Gram> = Vec::new();
        let mut at = vec![NONE; self.at.len()];
        for (start, run, count) in runs.iter() {
            let places = start..(start + run.len()).saturating_sub(length);
            for (place, last) in places.zip(run.iter().skip(length)) {
                if self.at[place] == NONE || self.at[place + 1] == NONE {
                    continue;
                }
                let gram = *index.entry((self.at[place], *last)).or_insert_with(|| {
                    counts.push(Gram { at: place, count: 0, extended: false });
                    counts.len() as u32 - 1
                });
                counts[gram as usize].count += count;
                at[place] = gram;
            }
        }
        for gram in &counts {
            let part = &mut self.counts[self.at[gram.at] as usize];
            part.extended |= part.count == gram.count;
        }
        Self { counts, at }.without_rare()
    }

    fn without_rare(self) -> Self {
        let mut kept = Vec::new();
        let mut renumber = |gram: Gram| {
            if gram.count < 2 {
                return NONE;
            }
            kept.push(gram);
            kept.len() as u32 - 1
        };
        let renumbered: Vec<u32> = self.counts.into_iter().map(&mut renumber).collect();
        let at = self.at.iter().map(|gram| if *gram == NONE { NONE } else { renumbered[*gram as usize] }).collect();
        Self { counts: kept, at }
    }
}

/// Pieces as a tree of characters; the children of a node are neighbours, in order.
struct Trie {
    /// First child of each node; the next entry is the end.
    first_child: Vec<u32>,
    label: Vec<u32>,
    /// The piece that ends at the node, or [`NONE`].
    piece: Vec<u32>,
}

impl Trie {
    /// Built breadth first from pieces in lexicographic order, which begin with every character.
    fn new(pieces: &[Scored]) -> Self {
        let mut nodes = vec![(0, pieces.len(), 0)];
        let mut trie = Self { first_child: Vec::new(), label: vec![NONE], piece: Vec::new() };
        let mut node = 0;
        while let Some((mut low, high, depth)) = nodes.get(node).copied() {
            let ends_here = pieces[low].0.len() == depth;
            trie.piece.push(if ends_here { low as u32 } else { NONE });
            trie.first_child.push(nodes.len() as u32);
            low += usize::from(ends_here);
            while low < high {
                let label = pieces[low].0[depth];
                let end = low + pieces[low..high].partition_point(|piece| piece.0[depth] == label);
                nodes.push((low, end, depth + 1));
                trie.label.push(label);
                low = end;
            }
            node += 1;
        }
        trie.first_child.push(nodes.len() as u32);
        trie
    }

    fn child(&self, node: usize, label: u32) -> Option<usize> {
        let (first, end) = (self.first_child[node] as usize, self.first_child[node + 1] as usize);
        if node == 0 {
            return Some(first + label as usize);
        }
        self.label[first..end].binary_search(&label).ok().map(|found| first + found)
    }

    /// Every piece that `chars` begins with: its length and its index.
    fn prefixes<'a>(&'a self, chars: &'a [u32]) -> impl Iterator<Item = (usize, usize)> + 'a {
        let mut node = 0;
        let nodes = chars.iter().map_while(move |label| {
            node = self.child(node, *label)?;
            Some(self.piece[node])
        });
        nodes.zip(1..).filter(|(piece, _)| *piece != NONE).map(|(piece, length)| (length, piece as usize))
    }
}

/// Expected occurrences of each piece over all spellings of all runs (forward-backward in log space).
fn expect(pieces: &[Scored], runs: &Runs) -> Vec<f64> {
    let trie = Trie::new(pieces);
    let mut expected = vec![0.0; pieces.len()];
    let (mut edges, mut alpha, mut beta) = (Vec::new(), Vec::new(), Vec::new());
    for (_, run, count) in runs.iter() {
        edges.clear();
        for start in 0..run.len() {
            edges.extend(trie.prefixes(&run[start..]).map(|(length, piece)| (start, start + length, piece)));
        }
        for side in [&mut alpha, &mut beta] {
            side.clear();
            side.resize(run.len() + 1, f64::NEG_INFINITY);
        }
        (alpha[0], beta[run.len()]) = (0.0, 0.0);
        for &(start, end, piece) in &edges {
            alpha[end] = log_add(alpha[end], alpha[start] + pieces[piece].1);
        }
        for &(start, end, piece) in edges.iter().rev() {
            beta[start] = log_add(beta[start], beta[end] + pieces[piece].1);
        }
        for &(start, end, piece) in &edges {
            expected[piece] += count as f64 * (alpha[start] + pieces[piece].1 + beta[end] - beta[0]).exp();
        }
    }
    expected
}

fn log_add(a: f64, b: f64) -> f64 {
    let (small, large) = if a < b { (a, b) } else { (b, a) };
    if small < large - 40.0 { large } else { large + (small - large).exp().ln_1p() }
}

/// New probabilities from expected occurrences, with the sparse prior of SentencePiece (digamma instead of logarithm).
/// Rare pieces go, but not below `budget` pieces.
fn maximise(pieces: Vec<Scored>, expected: &[f64], budget: usize) -> Vec<Scored> {
    let num_frequent = expected.iter().filter(|count| **count >= MIN_EXPECTED).count();
    let keeps = |chars: &[u32], count: f64| chars.len() == 1 || count >= MIN_EXPECTED || num_frequent < budget;
    let counted = pieces.into_iter().zip(expected).filter(|((chars, _), count)| keeps(chars, **count));
    let counted: Vec<Scored> = counted.map(|((chars, _), count)| (chars, count.max(MIN_EXPECTED))).collect();
    let log_total = digamma(counted.iter().map(|piece| piece.1).sum());
    counted.into_iter().map(|(chars, count)| (chars, digamma(count) - log_total)).collect()
}

/// Derivative of the logarithm of the gamma function, by recurrence and the asymptotic series.
fn digamma(mut x: f64) -> f64 {
    let mut shift = 0.0;
    while x < 6.0 {
        shift -= 1.0 / x;
        x += 1.0;
    }
    let inverse_square = 1.0 / (x * x);
    let series = inverse_square * (1.0 / 12.0 - inverse_square * (1.0 / 120.0 - inverse_square / 252.0));
    shift + x.ln() - 0.5 / x - series
}

/// Keeps the alphabet and the `target` pieces whose loss would cost the text most likelihood.
fn prune(pieces: Vec<Scored>, runs: &Runs, target: usize) -> Vec<Scored> {
    let trie = Trie::new(&pieces);
    let mut frequency = vec![0.0; pieces.len()];
    let mut path = Vec::new();
    for (_, run, count) in runs.iter() {
        best_path(&trie, &pieces, run, run.len(), &mut path);
        path.iter().for_each(|piece| frequency[*piece] += count as f64);
    }
    let log_total = frequency.iter().sum::<f64>().ln();
    let mut losses: Vec<_> = Vec::with_capacity(pieces.len());
    for ((chars, _), count) in pieces.iter().zip(&frequency) {
        if chars.len() == 1 {
            losses.push(f64::INFINITY);
            continue;
        }
        best_path(&trie, &pieces, chars, chars.len() - 1, &mut path);
        let without: f64 = path.iter().map(|piece| (frequency[*piece] + count).ln() - log_total).sum();
        losses.push(if *count > 0.0 { count * (count.ln() - log_total - without) } else { f64::NEG_INFINITY });
    }
    let mut order: Vec<usize> = (0..pieces.len()).collect();
    order.sort_by(|a, b| losses[*b].total_cmp(&losses[*a]).then(a.cmp(b)));
    let mut kept = vec![false; pieces.len()];
    order.into_iter().take(target).for_each(|piece| kept[piece] = true);
    pieces.into_iter().zip(kept).filter_map(|(piece, kept)| kept.then_some(piece)).collect()
}

/// The most probable spelling of `chars` with pieces of at most `longest` characters, last piece first.
fn best_path(trie: &Trie, pieces: &[Scored], chars: &[u32], longest: usize, path: &mut Vec<usize>) {
    let mut best = vec![(f64::NEG_INFINITY, 0); chars.len() + 1];
    best[0].0 = 0.0;
    for start in 0..chars.len() {
        for (length, piece) in trie.prefixes(&chars[start..]).take_while(|(length, _)| *length <= longest) {
            let score = best[start].0 + pieces[piece].1;
            if score > best[start + length].0 {
                best[start + length] = (score, piece);
            }
        }
    }
    path.clear();
    let mut end = chars.len();
    while end > 0 {
        let piece = best[end].1;
        path.push(piece);
        end -= pieces[piece].0.len();
    }
}
