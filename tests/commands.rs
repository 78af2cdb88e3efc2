//! The commands that describe, compare and measure; and a reader who goes away.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use anaume_core::batch::Sequences;
use anaume_core::retrieval::PassageIndex;
use anaume_tests::{Golden, golden_config, golden_dir, golden_model, read};
use burn::tensor::Device;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::Value;

use crate::cli::{binary, fail, path, pretrain, succeed, workshop};

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&succeed(arguments)).unwrap()
}

#[test]
fn inspect_measures_a_tokenizer_on_a_text() {
    let corpus = path(&golden_dir(), "../../public/corpus/food.jsonl");
    let report = json(&["tokenizer", "inspect", &path(workshop(), "tokenizer"), "--text", &corpus, "--json"]);
    assert_eq!((&report["num_ids"], &report["pieces"]["byte"]), (&1000.into(), &256.into()));
    assert_eq!((&report["special_ids"]["cls"], &report["special_ids"]["mask"]), (&5.into(), &3.into()));
    assert_eq!(report["text"]["round_trip_rate"], 1.0);
    // A thousand pieces are hardly more than the characters of the text.
    assert!((0.5..2.0).contains(&report["text"]["chars_per_token"].as_f64().unwrap()));
}

#[test]
fn data_stats_counts_what_was_prepared() {
    let [data, tokenizer] = ["data", "tokenizer"].map(|name| path(workshop(), name));
    let stats = json(&["data", "stats", &data, "--tokenizer", &tokenizer, "--json"]);
    assert_eq!(stats["splits"]["test"]["documents"], 3);
    let train = &stats["splits"]["train"];
    assert!(train["tokens"]["tokens"].as_u64().unwrap() > 1000 && train["shares"]["kana"].as_f64().unwrap() > 0.3);
}

#[test]
fn data_stats_finds_a_changed_shard() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = path(&golden_dir(), "../../public/corpus/food.jsonl");
    let data = path(dir.path(), "data");
    succeed(&["data", "prepare", &corpus, "--out", &data]);
    let shard = fs::read_dir(&data)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().contains("train"));
    let shard = shard.expect("a shard of the training split");
    let mut bytes = fs::read(&shard).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&shard, bytes).unwrap();
    let error = fail(3, &["data", "stats", &data]);
    assert!(error.contains(&*shard.file_name().unwrap().to_string_lossy()), "{error}");
}

#[test]
fn model_info_counts_every_parameter_once() {
    let model = path(workshop(), "model");
    let info = json(&["model", "info", &model, "--json"]);
    let by_part: u64 =
        info["parameters_by_part"].as_object().unwrap().values().map(|part| part.as_u64().unwrap()).sum();
    assert_eq!(info["parameters"], by_part);
    let file = fs::read(format!("{model}/model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    assert_eq!(by_part as usize, tensors.iter().map(|(_, view)| view.data().len() / 4).sum::<usize>());
    let classifier = path(&golden_dir(), "model/classifier");
    let file = fs::read(format!("{classifier}/model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    let values: usize = tensors.iter().map(|(_, view)| view.data().len() / 4).sum();
    assert_eq!(json(&["model", "info", &classifier, "--json"])["parameters"], values);
}

#[test]
fn model_info_describes_a_bert_and_pretraining_commands_refuse_it() {
    let bert = path(&golden_dir(), "bert/masked_lm");
    let info = json(&["model", "info", &bert, "--json"]);
    assert_eq!((&info["parameters_by_part"]["decoder"], &info["config"]["model_type"]), (&90.into(), &"bert".into()));
    let dir = tempfile::tempdir().unwrap();
    let error = fail(3, &["model", "convert", &bert, "--dtype", "bf16", "--out", &path(dir.path(), "out")]);
    assert!(error.contains("`bert` is not `modernbert`"), "{error}");
}

#[test]
fn verify_holds_a_bert_against_outputs_of_transformers() {
    let forward = Golden::read("bert/forward.safetensors");
    // The second sequence: 40 tokens of type 0 after the first with 7.
    let rows = |name: &str, width: usize| forward.f32(name)[7 * width..47 * width].to_vec();
    let bytes = |values: Vec<f32>| values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>();
    let ids: Vec<u8> = forward.ids("ids")[7..47].iter().flat_map(|id| i64::from(*id).to_le_bytes()).collect();
    let (mask, logits) = ([1_i64; 40].map(i64::to_le_bytes).concat(), bytes(rows("logits", 90)));
    let file = |tensor: (&'static str, Vec<usize>, &[u8])| {
        let view = |dtype, shape: Vec<usize>, data| TensorView::new(dtype, shape, data).unwrap();
        let views = vec![
            ("input_ids", view(Dtype::I64, vec![1, 40], ids.as_slice())),
            ("attention_mask", view(Dtype::I64, vec![1, 40], mask.as_slice())),
            (tensor.0, view(Dtype::F32, tensor.1, tensor.2)),
        ];
        safetensors::serialize(views, None).unwrap()
    };
    let dir = tempfile::tempdir().unwrap();
    let against = path(dir.path(), "reference.safetensors");
    fs::write(&against, file(("logits", vec![1, 40, 90], &logits))).unwrap();
    succeed(&["verify", &path(&golden_dir(), "bert/masked_lm"), "--against", &against, "--device", "cpu"]);
    let hidden = bytes(rows("encoder.hidden", 32));
    fs::write(&against, file(("last_hidden", vec![1, 40, 32], &hidden))).unwrap();
    succeed(&["verify", &path(&golden_dir(), "bert/encoder"), "--against", &against, "--device", "cpu"]);
}

#[test]
fn a_converted_model_is_half_the_size_and_answers_alike() {
    let dir = tempfile::tempdir().unwrap();
    let model = path(workshop(), "model");
    let size = |dir: &str| fs::metadata(format!("{dir}/model.safetensors")).unwrap().len();
    let first = |dir: &str| {
        let answer = json(&["fill-mask", "--model", dir, "お茶を[MASK]。", "--json"]);
        answer["models"][0]["texts"][0]["masks"][0][0]["probability"].as_f64().unwrap()
    };
    for (dtype, name) in [("f16", "float16"), ("bf16", "bfloat16")] {
        let out = path(dir.path(), dtype);
        succeed(&["model", "convert", &model, "--dtype", dtype, "--out", &out]);
        assert!(size(&out) * 2 < size(&model) + 20_000);
        let config: Value = serde_json::from_slice(&fs::read(format!("{out}/config.json")).unwrap()).unwrap();
        assert_eq!(config["dtype"], name);
        assert!((first(&out) - first(&model)).abs() < 1e-3 * first(&model));
        assert!(fail(2, &["model", "convert", &model, "--dtype", dtype, "--out", &out]).contains("--force"));
    }
    let back = path(dir.path(), "back");
    succeed(&["model", "convert", &path(dir.path(), "bf16"), "--dtype", "f32", "--out", &back]);
    assert_eq!(size(&back), size(&model));
}

/// `input_ids`, `attention_mask` and `logits` of two sequences of 3 and 5 tokens, padded to 5 on the right.
fn reference(change: impl FnOnce(&mut [f32], &mut [i64])) -> Vec<u8> {
    let model = golden_model("plain", &Device::flex());
    let width = golden_config("plain").vocab_size;
    let mut sequences = Sequences::default();
    sequences.push(&[5, 20, 6]);
    sequences.push(&[5, 21, 22, 23, 6]);
    let chosen: Vec<usize> = (0..8).collect();
    let logits = read(model.logits_at(model.encoder.forward(&model.encoder.inputs(&sequences).unwrap()), &chosen));
    let ids: [i64; 10] = [5, 20, 6, 4, 4, 5, 21, 22, 23, 6];
    let mut mask: [i64; 10] = [1, 1, 1, 0, 0, 1, 1, 1, 1, 1];
    let mut padded = [&logits[..3 * width], &vec![0.0; 2 * width], &logits[3 * width..]].concat();
    change(&mut padded, &mut mask);
    let bytes = |values: &[i64]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let (ids, mask) = (bytes(&ids), bytes(&mask));
    let logits: Vec<u8> = padded.iter().flat_map(|value| value.to_le_bytes()).collect();
    let views = [
        ("input_ids", TensorView::new(Dtype::I64, vec![2, 5], &ids).unwrap()),
        ("attention_mask", TensorView::new(Dtype::I64, vec![2, 5], &mask).unwrap()),
        ("logits", TensorView::new(Dtype::F32, vec![2, 5, width], &logits).unwrap()),
    ];
    safetensors::serialize(views, None).unwrap()
}

#[test]
fn verify_holds_for_equal_outputs_and_fails_for_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let model = path(&golden_dir(), "model/plain");
    let file = path(dir.path(), "reference.safetensors");
    let against = |bytes: Vec<u8>| {
        fs::write(&file, bytes).unwrap();
        ["verify", &model, "--against", &file, "--device", "cpu"]
    };
    let held = succeed(&[&against(reference(|_, _| ()))[..], &["--json"]].concat());
    let held: Value = serde_json::from_str(&held).unwrap();
    assert_eq!((&held["compared"], &held["holds"]), (&"logits".into(), &true.into()));
    // A padding position is not compared.
    let width = golden_config("plain").vocab_size;
    succeed(&against(reference(|logits, _| logits[3 * width] = 1e9)));
    let error = fail(3, &against(reference(|logits, _| logits[width] += 1e-2)));
    assert!(error.contains("differs from"), "{error}");
    fail(3, &against(reference(|logits, _| logits[0] = f32::NAN)));
    assert!(fail(3, &against(reference(|_, mask| mask[7] = 0))).contains("hole"));
    assert!(fail(3, &against(b"nonsense".to_vec())).contains("reference.safetensors"));
}

#[test]
fn bench_measures_an_encoder_and_a_step() {
    let model = path(workshop(), "model");
    for what in [&["encoder"][..], &["step"], &["step", "--recompute"]] {
        let shape = ["--batch", "2", "--length", "32", "--runs", "3", "--device", "cpu", "--json"];
        let measured = json(&[&["bench"], what, &["--model", &model], &shape].concat());
        assert!(measured["seconds"].as_f64().unwrap() > 0.0 && measured["matmul_peak_flops"].as_f64().unwrap() > 1e8);
    }
}

#[test]
fn bench_compares_operations_before_it_times_them() {
    let measured = json(&[
        "bench", "ops", "--preset", "tiny", "--batch", "1", "--length", "16", "--runs", "1", "--device", "cpu",
        "--only", "l", "--json",
    ]);
    let ops = measured["ops"].as_array().unwrap();
    assert!(
        ops.iter().any(|op| op["name"] == "attention local") && ops.iter().all(|op| op["seconds"].as_f64() > Some(0.0))
    );
    let compared: Vec<f64> = ops.iter().filter_map(|op| op["difference"].as_f64()).collect();
    assert!(compared.len() >= 4 && compared.iter().all(|difference| *difference < 1e-4), "{compared:?}");
}

#[test]
fn bench_compares_what_a_search_finds_before_it_times_it() {
    let sizes = ["--passages", "300", "--width", "20", "-k", "7", "--queries", "3", "--json"];
    let measured = json(&[&["bench", "search"][..], &sizes].concat());
    assert_eq!(
        (&measured["passages"], &measured["width"], &measured["compared"]),
        (&300.into(), &20.into(), &5.into())
    );
    assert!(measured["seconds"].as_f64() > Some(0.0) && measured["share_of_peak"].as_f64() > Some(0.0), "{measured}");
    let dir = tempfile::tempdir().unwrap();
    let (file, passages) = (path(dir.path(), "index.safetensors"), ["東", "西"].map(str::to_owned));
    let index = PassageIndex::new("m".into(), passages.into(), &[vec![3.0, 4.0], vec![0.0, 1.0]]).unwrap();
    fs::write(&file, index.to_bytes().unwrap()).unwrap();
    assert_eq!(json(&["bench", "search", "--index", &file, "--queries", "1", "--json"])["width"], 2);
    fs::write(&file, "no index").unwrap();
    assert!(fail(3, &["bench", "search", "--index", &file]).contains("index"));
}

#[test]
fn bench_compares_what_threads_load_before_it_times_it() {
    let (data, model) = (path(workshop(), "data"), path(workshop(), "model"));
    let arguments = ["bench", "load", &data, "--recipe", "tiny", "--model", &model, "--threads", "3", "--steps", "20"];
    let measured = json(&[&arguments[..], &["--runs", "1", "--step-seconds", "2", "--json"]].concat());
    // Packed rows are nearly full.
    let tokens = measured["tokens"].as_u64().unwrap();
    assert!((9_000..=20 * 8 * 64).contains(&tokens), "{measured}");
    let [seconds, share] = ["seconds", "share_of_step"].map(|name| measured[name].as_f64().unwrap());
    assert!((share - seconds / 20.0 / 2.0).abs() < 1e-12 && share > 0.0, "{measured}");
    let step = ["--runs", "1", "--measure-step", "--device", "cpu", "--json"];
    assert!(json(&[&arguments[..], &step].concat())["step_seconds"].as_f64() > Some(0.0));
}

#[test]
fn bench_needs_no_model_of_its_own() {
    let shape = ["--batch", "1", "--length", "16", "--runs", "1", "--device", "cpu", "--json"];
    assert!(json(&[&["bench", "encoder", "--preset", "tiny"][..], &shape].concat())["seconds"].as_f64().unwrap() > 0.0);
}

#[test]
fn exhausted_memory_is_exit_5() {
    let script = "ulimit -v 3000000; exec \"$0\" bench encoder --preset tiny --batch 1000 --length 8192 --device cpu";
    let output = Command::new("sh").args(["-c", script]).arg(binary()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{error}");
    assert!(error.contains("out of memory"), "{error}");
}

#[test]
fn standard_input_may_be_text_or_json_lines_compressed_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let prepared = |name: &str, bytes: &[u8]| {
        let out = path(dir.path(), name);
        let arguments = ["data", "prepare", "-", "--out", &out, "--json"];
        let mut child =
            Command::new(binary()).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        let output = child.wait_with_output().unwrap();
        let manifest: Value = serde_json::from_slice(&output.stdout).unwrap();
        manifest["splits"]["train"]["documents"].as_u64().unwrap()
    };
    let json_lines = "{\"text\": \"一つ目\"}\n{\"text\": \"二つ目\"}\n".as_bytes();
    // gzip of "一\n二\n三\n", made by gzip -n.
    let compressed = [
        31, 139, 8, 0, 0, 0, 0, 0, 0, 3, 123, 178, 163, 129, 235, 201, 174, 30, 174, 39, 59, 58, 185, 0, 13, 166, 188,
        158, 12, 0, 0, 0,
    ];
    assert_eq!(prepared("json", json_lines), 2);
    assert_eq!(prepared("text", "一行目\n二行目\n三行目\n".as_bytes()), 3);
    assert_eq!(prepared("gzip", &compressed), 3);
}

#[test]
fn devices_are_listed_with_their_limits() {
    let adapters = &json(&["devices", "--json"])["adapters"];
    for adapter in adapters.as_array().unwrap() {
        assert!(adapter["name"].is_string() && adapter["max_binding_bytes"].as_u64().unwrap() > 0);
    }
    assert!(fail(2, &["fill-mask", "--model", "m", "--device", "vulkan:99", "x"]).contains("anaume devices"));
}

#[test]
fn a_reader_who_goes_away_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let info = ["model".into(), "info".into(), path(workshop(), "model")];
    for arguments in [&info[..], &pretrain(&run, &[])] {
        let mut child =
            Command::new(binary()).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        assert!(child.wait().unwrap().success(), "{arguments:?}");
    }
    assert!(run.join("step-00000040").exists());
}
