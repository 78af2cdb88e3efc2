//! Chunks, packing and padding.

use anaume_core::batch::{Batch, Chunk, FrameIds, Layout, Row, chunk_document, groups_within, layout_rows, pack};
use anaume_core::masking::{IGNORE_LABEL, MaskingConfig};
use proptest::prelude::*;

const FRAME: FrameIds = FrameIds { cls: 5, sep: 6 };

fn body(len: usize) -> Vec<u32> {
    (100..100 + len as u32).collect()
}

fn inside(chunk: &Chunk) -> &[u32] {
    &chunk.ids[1..chunk.ids.len() - 1]
}

fn chunks_of(lengths: &[usize]) -> Vec<Chunk> {
    (0..)
        .zip(lengths)
        .flat_map(|(document, &len)| chunk_document(document, &body(len), FRAME, len + 2).unwrap())
        .collect()
}

/// The chunk at a place of a row, as it was packed.
fn unpack(row: &Row) -> Vec<Chunk> {
    let chunk = |segment: &anaume_core::batch::Segment| Chunk {
        document: segment.document,
        first_position: segment.first_position,
        ids: row.ids[segment.start..segment.start + segment.len].to_vec(),
    };
    row.segments.iter().map(chunk).collect()
}

#[test]
fn chunks_are_full_but_for_a_last_one_that_is_not_tiny() {
    let chunks = |len| {
        let chunks = chunk_document(9, &body(len), FRAME, 12).unwrap();
        chunks.iter().map(|chunk| (chunk.first_position, chunk.ids.len() - 2)).collect::<Vec<_>>()
    };
    assert_eq!(chunks(20), [(0, 10), (10, 10)]);
    assert_eq!(chunks(22), [(0, 10), (10, 10), (20, 2)]);
    assert_eq!(chunks(21), [(0, 10), (10, 6), (16, 5)]);
    assert_eq!(chunks(1), [(0, 1)]);
    assert_eq!(chunks(0), []);
    assert!(chunk_document(9, &body(3), FRAME, 2).is_err());
}

proptest! {
    #[test]
    fn no_token_is_lost_and_no_chunk_is_a_tiny_remainder(len in 1usize..3000, max_length in 3usize..200) {
        let chunks = chunk_document(1, &body(len), FRAME, max_length).unwrap();
        let together: Vec<u32> = chunks.iter().flat_map(inside).copied().collect();
        prop_assert_eq!(together, body(len));
        let lengths: Vec<usize> = chunks.iter().map(|chunk| chunk.ids.len()).collect();
        let room = max_length - 2;
        prop_assert!(lengths.iter().all(|length| (3..=max_length).contains(length)));
        prop_assert!(lengths.iter().all(|length| length - 2 >= (room / 4).min(len)));
        prop_assert_eq!(chunks.len(), len.div_ceil(room));
        for chunk in &chunks {
            prop_assert_eq!((chunk.ids[0], chunk.ids[chunk.ids.len() - 1]), (5, 6));
            prop_assert_eq!(inside(chunk)[0], 100 + chunk.first_position as u32);
        }
    }

    #[test]
    fn packing_keeps_every_chunk_once_within_the_row(lengths in prop::collection::vec(1usize..60, 0..80)) {
        let chunks = chunks_of(&lengths);
        let rows = pack(&chunks, 64).unwrap();
        prop_assert!(rows.iter().all(|row| row.ids.len() <= 64 && row.labels.len() == row.ids.len()));
        let mut packed: Vec<Chunk> = rows.iter().flat_map(unpack).collect();
        packed.sort_by_key(|chunk| chunk.document);
        prop_assert_eq!(packed, chunks);
        // Best fit leaves no two rows that would fit into one.
        let mut sizes: Vec<usize> = rows.iter().map(|row| row.ids.len()).collect();
        sizes.sort_unstable();
        prop_assert!(sizes.len() < 2 || sizes[0] + sizes[1] > 64);
    }
}

#[test]
fn packing_is_best_fit_in_the_order_of_the_longest_chunks() {
    let chunks = chunks_of(&[3, 6, 2, 8]);
    let rows = pack(&chunks, 12).unwrap();
    let documents = |row: &Row| row.segments.iter().map(|segment| segment.document).collect::<Vec<_>>();
    assert_eq!(rows.iter().map(documents).collect::<Vec<_>>(), [vec![0], vec![1, 2], vec![3]]);
    assert!(pack(&chunks, 9).is_err());
}

#[test]
fn masks_are_the_same_in_every_layout() {
    let document = [(8, body(300))];
    let masking = MaskingConfig::new(0.3, 3, 50_000);
    let masked = |max_length| {
        let mut rows = layout_rows(&document, Layout::Packed, FRAME, max_length, 400).unwrap();
        let mut tokens = Vec::new();
        for row in &mut rows {
            row.mask(&masking, 1, 2, |_| false);
            for segment in &row.segments {
                let inside = segment.start + 1..segment.start + segment.len - 1;
                assert_eq!(row.labels[segment.start], IGNORE_LABEL);
                assert_eq!(row.labels[inside.end], IGNORE_LABEL);
                let shown = inside.clone().map(|i| (row.ids[i], row.labels[i]));
                tokens.extend((segment.first_position..).zip(shown));
            }
        }
        tokens.sort_unstable();
        tokens
    };
    let whole = masked(400);
    assert!(whole.iter().filter(|(_, (_, label))| *label != IGNORE_LABEL).count() > 50);
    for max_length in [3, 17, 64, 302] {
        assert_eq!(masked(max_length), whole, "chunks of {max_length}");
    }
}

#[test]
fn named_ids_are_never_selected() {
    let mut rows = layout_rows(&[(0, vec![7; 500])], Layout::Packed, FRAME, 600, 600).unwrap();
    rows[0].mask(&MaskingConfig::new(1.0, 3, 50_000), 1, 2, |id| id == 7);
    assert!(rows[0].labels.iter().all(|&label| label == IGNORE_LABEL));
}

#[test]
fn a_batch_holds_the_chunks_of_all_rows_and_counts_padding() {
    let mut rows = pack(&chunks_of(&[3, 1]), 10).unwrap();
    rows[0].labels[2] = 77;
    let batch = Batch::new(&[rows[0].clone(), rows[0].clone()], 10).unwrap();
    let row = [5, 100, 101, 102, 6, 5, 100, 6];
    assert_eq!(batch.sequences.ids, [row, row].concat());
    assert_eq!(batch.sequences.lengths, [5, 3, 5, 3]);
    assert_eq!((batch.masked, batch.labels), (vec![2, 10], vec![77, 77]));
    assert_eq!((batch.num_rows, batch.num_tokens, batch.num_padding), (2, 16, 4));
    assert_eq!(batch.documents, [0, 1]);
    assert!(Batch::new(&rows, 7).is_err());
}

#[test]
fn one_document_a_row_is_truncated() {
    let documents = [(0, body(30)), (1, Vec::new()), (2, body(4))];
    let rows = layout_rows(&documents, Layout::OnePerRow, FRAME, 10, 12).unwrap();
    assert_eq!(rows.iter().map(|row| row.ids.len()).collect::<Vec<_>>(), [10, 6]);
    assert_eq!(rows[0].ids[1..9], body(8));
}

proptest! {
    #[test]
    fn a_split_batch_is_the_same_sequences_in_order(lengths in prop::collection::vec(1usize..60, 1..40), limit in 1usize..300) {
        let config = MaskingConfig::new(0.3, 4, 2000);
        let mut rows = pack(&chunks_of(&lengths), 70).unwrap();
        rows.iter_mut().for_each(|row| row.mask(&config, 1, 0, |_| false));
        let whole = Batch::new(&rows, 70).unwrap();
        let parts = whole.clone().split(limit);
        let longest = *whole.sequences.lengths.iter().max().unwrap();
        prop_assert!(parts.iter().all(|part| part.num_tokens <= limit.max(longest)));
        prop_assert!(parts.iter().all(|part| part.sequences.ids.len() == part.num_tokens));
        let mut joined = Batch::default();
        for part in &parts {
            joined.masked.extend(part.masked.iter().map(|token| token + joined.num_tokens));
            joined.labels.extend(&part.labels);
            joined.sequences.ids.extend(&part.sequences.ids);
            joined.sequences.lengths.extend(&part.sequences.lengths);
            joined.documents.extend(&part.documents);
            joined.num_rows += part.num_rows;
            joined.num_padding += part.num_padding;
            joined.num_tokens += part.num_tokens;
        }
        prop_assert_eq!(joined, whole);
    }
}

#[test]
fn groups_hold_every_item_in_order_and_are_as_full_as_their_neighbours_allow() {
    let lengths: Vec<usize> = (0..500_usize).map(|i| 1 + i.wrapping_mul(2_654_435_761) % 47).chain([300]).collect();
    let groups = groups_within(100, &lengths, |length| *length);
    assert_eq!(groups.concat(), lengths);
    let sum = |group: &[usize]| group.iter().sum::<usize>();
    assert!(groups.iter().all(|group| sum(group) <= 100 || group.len() == 1));
    assert!(groups.windows(2).all(|pair| sum(pair[0]) + pair[1][0] > 100), "a group could have taken one more");
}
