//! No parser panics or asks for memory that its input does not pay for: on the committed corpus, which holds what fuzzers found, and on
//! random changes of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anaume_fuzz::{Limited, TARGETS};
use proptest::prelude::*;
use proptest::sample::Index;

#[global_allocator]
static ALLOCATOR: Limited = Limited;

/// The inputs of a parser.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|cause| panic!("{}: {cause}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 2, "{} holds nothing to begin with", folder.display());
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn every_input_that_was_ever_a_find_is_read_or_refused() {
    for (target, read) in TARGETS {
        for (path, bytes) in corpus(target) {
            println!("{}", path.display());
            read(&bytes);
        }
    }
}

#[test]
fn every_folder_of_the_corpus_has_its_parser() {
    let folders = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")).unwrap();
    let mut names: Vec<_> = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, TARGETS.map(|(name, _)| name));
}

#[test]
fn the_limit_has_teeth() {
    let fits = |bytes| std::hint::black_box(Vec::<u8>::new()).try_reserve_exact(bytes).is_ok();
    assert!(fits(100 << 20) && !fits(200 << 20));
}

/// A change of an input.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Flip(Index, u8),
    Cut(Index),
    Insert(Index, Vec<u8>),
    Remove(Index, u8),
    /// A number that fits no file.
    Number(Index, u64),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    let telling = prop::sample::select(&b"\x00\xff\x7f\x80\"[]{}:,-.019eE\\\n\t #=<>%/"[..]);
    let number =
        prop::sample::select(&[0, 1, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF, 1 << 32, i64::MAX as u64, u64::MAX][..]);
    prop_oneof![
        (at(), telling).prop_map(|(at, byte)| Change::Set(at, byte)),
        (at(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        at().prop_map(Change::Cut),
        (at(), prop::collection::vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (at(), 1..20_u8).prop_map(|(at, count)| Change::Remove(at, count)),
        (at(), number).prop_map(|(at, number)| Change::Number(at, number)),
    ]
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let (Self::Set(at, _)
        | Self::Flip(at, _)
        | Self::Cut(at)
        | Self::Insert(at, _)
        | Self::Remove(at, _)
        | Self::Number(at, _)) = self;
        let (len, start) = (bytes.len(), at.index(bytes.len() + 1));
        match self {
            Self::Set(_, value) => bytes.iter_mut().skip(start).take(1).for_each(|byte| *byte = *value),
            Self::Flip(_, bit) => bytes.iter_mut().skip(start).take(1).for_each(|byte| *byte ^= 1 << bit),
            Self::Cut(_) => bytes.truncate(start),
            Self::Insert(_, new) => drop(bytes.splice(start..start, new.iter().copied())),
            Self::Remove(_, count) => drop(bytes.drain(start..len.min(start + usize::from(*count)))),
            Self::Number(_, number) => {
                // Digits in the place of digits, bytes elsewhere.
                let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                let new = if digits > 0 { number.to_string().into_bytes() } else { number.to_le_bytes().to_vec() };
                bytes.splice(start..len.min(start + if digits > 0 { digits } else { 8 }), new);
            }
        }
    }
}

/// A changed input of the corpus, for a parser by its number.
fn changed() -> impl Strategy<Value = (usize, Vec<u8>)> {
    static CORPUS: OnceLock<Vec<(usize, Vec<u8>)>> = OnceLock::new();
    let all = CORPUS.get_or_init(|| {
        let inputs = |(number, (name, _)): (usize, _)| corpus(name).into_iter().map(move |(_, bytes)| (number, bytes));
        TARGETS.into_iter().enumerate().flat_map(inputs).collect()
    });
    (prop::sample::select(all.as_slice()), prop::collection::vec(change(), 1..6)).prop_map(
        |((number, mut bytes), changes)| {
            changes.iter().for_each(|change| change.apply(&mut bytes));
            (number, bytes)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn changed_inputs_are_read_or_refused((number, bytes) in changed()) {
        TARGETS[number].1(&bytes);
    }

    #[test]
    fn random_bytes_are_read_or_refused(number in 0..TARGETS.len(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        TARGETS[number].1(&bytes);
    }
}
