//! The record of a run: what is written is read back, what is newer is refused, what is damaged is named.

use std::collections::BTreeMap;

use anaume_core::report::{
    FORMAT_VERSION, Record, RewindRecord, RunManifest, StartRecord, StepRecord, ValidationRecord,
};
use serde_json::{Value, json};

fn manifest() -> RunManifest {
    RunManifest {
        format_version: FORMAT_VERSION,
        program_version: "0.1.0".into(),
        git_commit: None,
        command_line: ["pretrain", "--recipe", "小.toml"].map(Into::into).into(),
        recipe: json!({"train": {"max_steps": 40}}),
        seeds: BTreeMap::from([("data".into(), u64::MAX), ("model".into(), 1)]),
        data_fingerprint: "ab12".into(),
        tokenizer_blake3: "cd34".into(),
        model_config: json!({"hidden_size": 64}),
        device: "flex (CPU)".into(),
        host_cores: 2,
        started_at: "2026-01-01T00:00:00Z".into(),
    }
}

fn step() -> StepRecord {
    StepRecord {
        step: 7,
        epoch: 1,
        loss: 2.5,
        accuracy: 0.25,
        learning_rate: 5e-4,
        grad_norm: 1.5,
        tokens: 4_096,
        non_padding_tokens: 4_000,
        tokens_per_second: 8_192.0,
        non_padding_tokens_per_second: 8_000.0,
        data_wait_secs: 0.5,
        step_secs: 1.0,
        mfu: Some(0.5),
        peak_memory_bytes: Some(1 << 40),
        loss_scale: Some(65_536.0),
        reduction_wait_secs: Some(0.25),
        skipped: true,
    }
}

fn validation() -> ValidationRecord {
    ValidationRecord { step: 7, loss: 3.0, accuracy: 0.5, masked_tokens: 1_000, secs: 2.0 }
}

fn start(format_version: u32) -> Record {
    Record::Start(StartRecord {
        format_version,
        step: 0,
        started_at: "2026-01-01T00:00:00Z".into(),
        command_line: vec!["pretrain".into()],
    })
}

#[test]
fn a_manifest_is_read_back_as_written() {
    let json = manifest().to_json();
    assert!(json.ends_with("}\n"));
    assert_eq!(RunManifest::from_json(&json).expect("our own"), manifest());
}

#[test]
fn a_record_is_one_line_and_is_read_back_as_written() {
    let rewind = Record::Rewind(RewindRecord { to_step: 3, discarded_bytes: 99 });
    for record in [start(FORMAT_VERSION), Record::Step(step()), Record::Validation(validation()), rewind] {
        let line = record.to_line();
        assert_eq!(line.find('\n'), Some(line.len() - 1), "{line:?}");
        assert_eq!(Record::from_line(&line).expect("our own"), record);
    }
}

#[test]
fn the_names_of_the_fields_stay() {
    let names = |record: Record| {
        let value: Value = serde_json::from_str(&record.to_line()).expect("JSON");
        value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>().join(" ")
    };
    let mut expected =
        "event step epoch loss accuracy learning_rate grad_norm tokens non_padding_tokens tokens_per_second \
        non_padding_tokens_per_second data_wait_secs step_secs mfu peak_memory_bytes loss_scale reduction_wait_secs \
        skipped"
            .split_whitespace()
            .collect::<Vec<_>>();
    let step_names = names(Record::Step(step()));
    let mut found: Vec<_> = step_names.split(' ').collect();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
    let tag = |record: Record| serde_json::from_str::<Value>(&record.to_line()).expect("JSON")["event"].clone();
    assert_eq!(tag(Record::Step(step())), "step");
    assert_eq!(tag(Record::Validation(validation())), "validation");
    assert_eq!(tag(Record::Rewind(RewindRecord { to_step: 0, discarded_bytes: 0 })), "rewind");
    assert_eq!(tag(start(1)), "start");
}

#[test]
fn numbers_that_are_not_finite_survive_as_nan() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let record = Record::Step(StepRecord { loss: value, grad_norm: value, tokens_per_second: value, ..step() });
        assert!(record.to_line().contains("\"loss\":null"));
        let Record::Step(read) = Record::from_line(&record.to_line()).expect("our own") else { panic!("not a step") };
        assert!(
            read.loss.is_nan() && read.grad_norm.is_nan() && read.tokens_per_second.is_nan() && read.accuracy == 0.25
        );
    }
}

#[test]
fn a_missing_number_is_an_error_and_not_nan() {
    let line = Record::Validation(validation()).to_line().replace("\"loss\":3.0,", "");
    let error = Record::from_line(&line).expect_err("loss is required").to_string();
    assert!(error.contains("`loss`"), "{error}");
}

#[test]
fn fields_of_later_programs_are_skipped_and_optional_ones_may_lack() {
    let mut value: Value = serde_json::from_str(&Record::Step(step()).to_line()).expect("JSON");
    let fields = value.as_object_mut().expect("an object");
    fields.insert("energy_joules".into(), json!(1));
    for optional in ["mfu", "peak_memory_bytes", "loss_scale", "reduction_wait_secs", "skipped"] {
        fields.remove(optional).expect("was there");
    }
    let expected = StepRecord {
        mfu: None,
        peak_memory_bytes: None,
        loss_scale: None,
        reduction_wait_secs: None,
        skipped: false,
        ..step()
    };
    assert_eq!(Record::from_line(&value.to_string()).expect("readable"), Record::Step(expected));
}

#[test]
fn a_newer_format_is_refused_by_its_version() {
    let newer = FORMAT_VERSION + 1;
    // A newer manifest may lack fields that this program requires; the version is still what the error names.
    let errors = [
        RunManifest::from_json(&json!({"format_version": newer}).to_string()).expect_err("newer").to_string(),
        Record::from_line(&start(newer).to_line()).expect_err("newer").to_string(),
    ];
    for error in errors {
        assert!(error.contains(&format!("format version {newer}")) && error.contains("update"), "{error}");
    }
}

#[test]
fn damaged_text_is_named_by_its_byte() {
    let json = manifest().to_json();
    let cut = &json[..json.find("\"seeds\"").expect("there")];
    let error = RunManifest::from_json(cut).expect_err("cut off").to_string();
    assert!(error.starts_with(&format!("run manifest: byte {}:", cut.len() - 1)), "{error} ({} bytes)", cut.len());
    let error = Record::from_line("{\"event\":\"step\",#").expect_err("not JSON").to_string();
    assert!(error.starts_with("metrics record: byte "), "{error}");
    assert!(Record::from_line("{\"event\":\"dance\"}").expect_err("unknown").to_string().contains("dance"));
}
