//! Links and files of a page's state: the same comes back, and nothing else is let in.

use anaume_core::config::Pooling;
use anaume_core::metrics::comparison::Comparison;
use anaume_core::report::share::{
    Hit, MAX_LINK, MAX_SENTENCES, ShareError, Shared, SharedAnswer, SharedComparison, SharedFillMask, SharedHits,
    SharedMask, SharedModel, SharedRetrieval, SharedSimilarity,
};
use anaume_tests::random;
use proptest::prelude::*;
use serde_json::{Value, json};

fn model() -> SharedModel {
    SharedModel { name: "小さい model".into(), weights_sha256: "0123456789abcdef".repeat(4) }
}

fn fill_mask(text: &str) -> Shared {
    let text = format!("{text}[MASK]");
    let mask =
        SharedMask { place: text.len() - 6..text.len(), candidates: vec![("桜".into(), 0.75), ("花".into(), 0.125)] };
    let answer = SharedAnswer { model: model(), truncated: false, masks: vec![mask] };
    Shared::FillMask(SharedFillMask { text, answers: vec![answer] })
}

fn retrieval(passages: &str) -> Shared {
    let hit = Hit { number: 3, score: 0.5, text: "春の公園".into(), shared: vec![0..3, 6..12] };
    let found = SharedHits { model: model(), by_meaning: vec![hit.clone()], by_words: vec![hit] };
    Shared::Retrieval(SharedRetrieval { passages: Some(passages.into()), query: "春".into(), found: Some(found) })
}

fn similarity(rows: usize, columns: usize) -> SharedSimilarity {
    let vectors = |n: usize, seed| random(seed, n * 8).chunks_exact(8).map(<[f32]>::to_vec).collect::<Vec<_>>();
    let sentences = |n: usize, name: &str| (0..n).map(|i| format!("{name} {i} の文。")).collect();
    let comparison = Comparison::new(&vectors(rows, 1), &vectors(columns, 2)).unwrap().rounded();
    let result = Some(SharedComparison { model: model(), comparison });
    SharedSimilarity {
        first: sentences(rows, "行"), second: sentences(columns, "列"), pooling: Pooling::Mean, result
    }
}

fn all() -> [Shared; 4] {
    [
        fill_mask("春の"),
        retrieval("春の公園\n\n夏の海"),
        Shared::Similarity(similarity(4, 3)),
        Shared::Similarity(similarity(5, 0)),
    ]
}

#[test]
fn every_page_comes_back_from_a_link_and_from_a_file() {
    for state in all() {
        let link = state.to_link().unwrap().text;
        assert!(link.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{link}");
        assert_eq!(Shared::from_link(&link), Ok(state.clone()));
        assert_eq!(Shared::from_json(&state.to_json()), Ok(state));
    }
}

#[test]
fn a_comparison_of_twenty_sentences_fits_a_link() {
    let link = Shared::Similarity(similarity(20, 0)).to_link().expect("it fits").text;
    assert!(link.len() < MAX_LINK / 2, "{} characters", link.len());
}

#[test]
fn a_link_leaves_passages_out_rather_than_grow_too_long_and_a_file_keeps_them() {
    let noise =
        |n: usize| (0..n).map(|i| char::from_u32(0x4e00 + (i * i * 31 % 20_000) as u32).unwrap()).collect::<String>();
    let long = retrieval(&noise(9000));
    let link = long.to_link().unwrap();
    assert!(!link.is_whole && retrieval("短い").to_link().unwrap().is_whole);
    let Ok(Shared::Retrieval(page)) = Shared::from_link(&link.text) else { panic!("the retrieval page") };
    assert!(page.passages.is_none() && page.found.is_some());
    assert_eq!(Shared::from_json(&long.to_json()), Ok(long));
    let too_long = fill_mask(&noise(9000));
    assert_eq!(too_long.to_link(), None);
    assert_eq!(Shared::from_json(&too_long.to_json()), Ok(too_long));
}

#[test]
fn what_is_cut_too_long_newer_or_no_link_at_all_is_refused() {
    let link = all()[0].to_link().unwrap().text;
    for length in 0..link.len() {
        assert!(matches!(Shared::from_link(&link[..length]), Err(ShareError::Damaged(_))), "{length}");
    }
    assert_eq!(Shared::from_link(&"v1.".repeat(MAX_LINK)), Err(ShareError::TooLong { limit: MAX_LINK }));
    assert_eq!(Shared::from_link(&link.replacen("v1", "v2", 1)), Err(ShareError::Newer { found: 2 }));
    let newer = all()[0].to_json().replacen(r#""anaume_share":1"#, r#""anaume_share":7"#, 1);
    assert_eq!(Shared::from_json(&newer), Err(ShareError::Newer { found: 7 }));
    assert!(matches!(Shared::from_json(&" ".repeat(2 << 20)), Err(ShareError::TooLong { .. })));
}

fn packed(json: &[u8]) -> String {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    format!("v1.{}", BASE64_URL_SAFE_NO_PAD.encode(miniz_oxide::deflate::compress_to_vec_zlib(json, 10)))
}

#[test]
fn a_small_link_that_unpacks_to_much_is_refused_early() {
    let json = all()[0].to_json();
    let state = serde_json::from_str::<Value>(&json).unwrap()["state"].to_string();
    assert!(Shared::from_link(&packed(state.as_bytes())).is_ok());
    let padded = format!("{state}{}", " ".repeat(4 << 20));
    let bomb = packed(padded.as_bytes());
    assert!(bomb.len() < MAX_LINK, "{}", bomb.len());
    assert!(matches!(Shared::from_link(&bomb), Err(ShareError::Damaged(_))));
    let deep = packed(format!("{}{}", "[".repeat(50_000), "]".repeat(50_000)).as_bytes());
    assert!(matches!(Shared::from_link(&deep), Err(ShareError::Damaged(_))));
}

/// A change to the JSON of a state that it must not survive.
#[track_caller]
fn assert_refused(state: &Shared, pointer: &str, value: Value) {
    let mut file: Value = serde_json::from_str(&state.to_json()).unwrap();
    *file.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value.clone();
    let found = Shared::from_json(&file.to_string());
    assert!(matches!(found, Err(ShareError::Damaged(_))), "{pointer} = {value}: {found:?}");
}

#[test]
fn parts_that_do_not_fit_together_are_refused() {
    let [fill_mask, retrieval, similarity, _] = all();
    let answer = "/state/fill-mask/answers/0";
    assert_refused(&fill_mask, &format!("{answer}/model/weights_sha256"), json!("x"));
    assert_refused(&fill_mask, &format!("{answer}/masks/0/place"), json!({"start": 1, "end": 6}));
    assert_refused(&fill_mask, &format!("{answer}/masks/0/place"), json!({"start": 6, "end": 600}));
    assert_refused(&fill_mask, &format!("{answer}/masks/0/place"), json!({"start": 6, "end": 3}));
    assert_refused(&fill_mask, &format!("{answer}/masks/0/candidates/0/1"), json!(1.5));
    assert_refused(
        &fill_mask,
        &format!("{answer}/masks/0"),
        json!({"place": {"start": 0, "end": 0}, "candidates": [], "more": 1}),
    );
    let hit = "/state/retrieval/found/by_words/0";
    assert_refused(&retrieval, &format!("{hit}/shared/0"), json!({"start": 1, "end": 3}));
    assert_refused(&retrieval, &format!("{hit}/shared/1"), json!({"start": 0, "end": 3}));
    assert_refused(&retrieval, &format!("{hit}/score"), json!(1e300));
    let comparison = "/state/similarity/result/comparison";
    assert_refused(&similarity, "/state/similarity/first", json!(["一文"]));
    assert_refused(&similarity, "/state/similarity/second", json!(vec!["文"; MAX_SENTENCES + 1]));
    assert_refused(&similarity, &format!("{comparison}/cosines/0"), json!([0.5]));
    assert_refused(&similarity, &format!("{comparison}/cosines/0/0"), json!(2.0));
    assert_refused(&similarity, &format!("{comparison}/is_within"), json!(true));
    assert_refused(&similarity, &format!("{comparison}/map/points"), json!([[0.0, 0.0]]));
    assert_refused(&similarity, "/state", json!({"other-page": {}}));
}

proptest! {
    #[test]
    fn texts_of_all_kinds_come_back(text in any::<String>()) {
        let state = fill_mask(&text);
        prop_assert_eq!(Shared::from_json(&state.to_json()), Ok(state.clone()));
        if let Some(link) = state.to_link() {
            prop_assert_eq!(Shared::from_link(&link.text), Ok(state));
        }
    }

    #[test]
    fn a_changed_character_is_refused_or_changes_nothing(which in 0usize..4, place in any::<prop::sample::Index>(), other in "[A-Za-z0-9_-]") {
        let state = &all()[which];
        let mut link = state.to_link().unwrap().text;
        let place = place.index(link.len());
        link.replace_range(place..=place, &other);
        if let Ok(found) = Shared::from_link(&link) {
            prop_assert_eq!(&found, state);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), bytes in any::<Vec<u8>>()) {
        prop_assert!(Shared::from_link(&text).is_err());
        prop_assert!(Shared::from_link(&packed(&bytes)).is_err());
        prop_assert!(Shared::from_json(&text).is_err());
    }
}
