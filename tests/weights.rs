//! Weight files are strict both ways, and every damaged one is refused with the name of the tensor or the byte.

use std::io::{self, Read};

use anaume_core::error::Error;
use anaume_core::weights::{WeightFile, read_safetensors};
use anaume_tests::{golden, golden_config, masked_lm};
use burn::tensor::Device;
use half::{bf16, f16};
use proptest::prelude::*;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::model::parameters;

const WI: &str = "model.layers.1.mlp.Wi.weight";
const EMBEDDING: &str = "model.embeddings.tok_embeddings.weight";

/// A tensor of a file under change.
#[derive(Clone)]
pub struct Stored {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub data: Vec<u8>,
}

impl Stored {
    fn view(&self) -> TensorView<'_> {
        TensorView::new(self.dtype, self.shape.clone(), &self.data).unwrap()
    }
}

fn plain() -> Vec<u8> {
    golden("model/plain/model.safetensors")
}

/// The tensors of a file.
pub fn stored(bytes: &[u8]) -> Vec<Stored> {
    let tensor = |(name, view): (String, TensorView<'_>)| Stored {
        name,
        dtype: view.dtype(),
        shape: view.shape().to_vec(),
        data: view.data().to_vec(),
    };
    SafeTensors::deserialize(bytes).unwrap().tensors().into_iter().map(tensor).collect()
}

/// A file after a change.
pub fn rewritten(bytes: &[u8], change: impl FnOnce(&mut Vec<Stored>)) -> Vec<u8> {
    let mut tensors = stored(bytes);
    change(&mut tensors);
    safetensors::serialize(tensors.iter().map(|tensor| (&tensor.name, tensor.view())), None).unwrap()
}

/// The golden file `plain` after a change.
fn changed(change: impl FnOnce(&mut Vec<Stored>)) -> Vec<u8> {
    rewritten(&plain(), change)
}

/// The golden file `plain` after a change of one tensor.
fn with(name: &str, change: impl FnOnce(&mut Stored)) -> Vec<u8> {
    changed(|tensors| change(tensors.iter_mut().find(|tensor| tensor.name == name).unwrap()))
}

/// Why `plain` cannot be loaded from these bytes.
fn refusal(bytes: &[u8]) -> Error {
    masked_lm(bytes, &golden_config("plain"), &Device::flex()).expect_err("the file is refused")
}

/// Fails unless the error names the tensor and says `words`.
pub fn assert_names(error: &Error, tensor: &str, words: &str) {
    assert!(matches!(error, Error::Weights { tensor: named, .. } if named == tensor), "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

/// The byte that the error of a damaged container names.
fn damaged_byte(bytes: &[u8]) -> u64 {
    match refusal(bytes) {
        Error::Format { format: "safetensors", byte, .. } => byte,
        other => panic!("{other}"),
    }
}

#[test]
fn an_unchanged_rewrite_loads() {
    assert!(masked_lm(&changed(|_| ()), &golden_config("plain"), &Device::flex()).is_ok());
}

#[test]
fn each_missing_tensor_is_named() {
    for Stored { name, .. } in stored(&plain()) {
        let file = changed(|tensors| tensors.retain(|tensor| tensor.name != name));
        assert_names(&refusal(&file), &name, "does not have it");
    }
}

#[test]
fn an_unused_tensor_is_named() {
    let file = changed(|tensors| {
        let extra = Stored { name: "model.layers.0.attn_norm.weight".into(), ..tensors[0].clone() };
        tensors.push(extra);
    });
    assert_names(&refusal(&file), "model.layers.0.attn_norm.weight", "no place for it");
}

#[test]
fn a_tensor_that_two_files_of_a_model_have_is_named() {
    let error = WeightFile::from_shards([&plain()[..], &plain()], &Device::flex()).err().expect("refused");
    let Error::Weights { tensor, message } = &error else { panic!("{error}") };
    assert!(stored(&plain()).iter().any(|stored| stored.name == *tensor), "{tensor}");
    assert!(message.contains("two files"), "{message}");
}

#[test]
fn biases_belong_to_the_configuration() {
    let biased = golden("model/biased/model.safetensors");
    assert!(
        matches!(refusal(&biased), Error::Weights { tensor, .. } if tensor.ends_with("bias") || tensor == "decoder.weight")
    );
    let error = masked_lm(&plain(), &golden_config("biased"), &Device::flex()).err().unwrap();
    assert_names(&error, "model.embeddings.norm.bias", "does not have it");
}

#[test]
fn a_wrong_shape_is_named_with_both_shapes() {
    let file = with(WI, |tensor| tensor.shape.reverse());
    assert_names(&refusal(&file), WI, "[32, 96]");
    assert_names(&refusal(&file), WI, "[96, 32]");
}

#[test]
fn a_value_that_is_not_finite_is_named_with_its_place() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let file = with(WI, |tensor| tensor.data[20..24].copy_from_slice(&value.to_le_bytes()));
        assert_names(&refusal(&file), WI, "element 5 ");
    }
}

#[test]
fn half_precision_overflow_is_found_too() {
    let halves = |tensor: &mut Stored, dtype, infinity: [u8; 2]| {
        tensor.dtype = dtype;
        tensor.data = vec![0; tensor.data.len() / 2];
        tensor.data[6..8].copy_from_slice(&infinity);
    };
    let files = [
        with(WI, |tensor| halves(tensor, Dtype::F16, f16::INFINITY.to_le_bytes())),
        with(WI, |tensor| halves(tensor, Dtype::BF16, bf16::NAN.to_le_bytes())),
    ];
    for file in files {
        assert_names(&refusal(&file), WI, "element 3 ");
    }
}

#[test]
fn an_unsupported_type_is_named() {
    for (dtype, bytes) in [(Dtype::F64, 8), (Dtype::I64, 8), (Dtype::I32, 4), (Dtype::U8, 1)] {
        let file = with(WI, |tensor| {
            tensor.dtype = dtype;
            tensor.data = vec![0; tensor.data.len() / 4 * bytes];
        });
        assert_names(&refusal(&file), WI, &format!("{dtype:?}"));
    }
}

fn push_decoder(tensors: &mut Vec<Stored>) {
    let embedding = tensors.iter().find(|tensor| tensor.name == EMBEDDING).unwrap().clone();
    tensors.push(Stored { name: "decoder.weight".into(), ..embedding });
}

#[test]
fn a_tied_decoder_may_be_stored_where_it_equals_the_embedding() {
    let (config, device) = (golden_config("plain"), Device::flex());
    let mut model = masked_lm(&changed(push_decoder), &config, &device).unwrap();
    assert!(parameters(&mut model).iter().all(|tensor| tensor.name != "decoder.weight"));
    let file = changed(|tensors| {
        push_decoder(tensors);
        tensors.last_mut().unwrap().data[0] ^= 1;
    });
    assert_names(&refusal(&file), "decoder.weight", "no place for it");
}

#[test]
fn an_untied_decoder_must_be_stored() {
    let mut config = golden_config("plain");
    config.tie_word_embeddings = false;
    let error = masked_lm(&plain(), &config, &Device::flex()).err().unwrap();
    assert_names(&error, "decoder.weight", "does not have it");
    assert!(masked_lm(&changed(push_decoder), &config, &Device::flex()).is_ok());
}

#[test]
fn a_truncated_file_is_refused_wherever_it_ends() {
    let whole = plain();
    let header = 8 + u64::from_le_bytes(*whole.first_chunk().unwrap()) as usize;
    let ends = (0..12).chain((12..whole.len()).step_by(997)).chain([header - 1, header, header + 1, whole.len() - 1]);
    for end in ends {
        assert!(damaged_byte(&whole[..end]) <= end as u64, "cut at {end}");
    }
}

#[test]
fn bytes_after_the_last_tensor_are_refused() {
    let whole = plain();
    assert!(damaged_byte(&[whole.as_slice(), &[0]].concat()) <= whole.len() as u64 + 1);
}

#[test]
fn a_header_that_claims_too_much_is_refused_with_its_claim() {
    for claim in [1_u64 << 60, u64::MAX, 1 << 40, 200_000_000] {
        let mut file = plain();
        file[..8].copy_from_slice(&claim.to_le_bytes());
        assert_eq!(damaged_byte(&file), 0);
        assert!(refusal(&file).to_string().contains(&claim.to_string()), "{}", refusal(&file));
    }
}

/// A file with this header and `data_bytes` zeros.
fn with_header(header: &str, data_bytes: usize) -> Vec<u8> {
    [(header.len() as u64).to_le_bytes().as_slice(), header.as_bytes(), &vec![0; data_bytes]].concat()
}

#[test]
fn a_tensor_that_claims_2_to_the_60_bytes_is_refused() {
    let size = 1_u64 << 60;
    let header = format!(r#"{{"{EMBEDDING}":{{"dtype":"F32","shape":[{}],"data_offsets":[0,{size}]}}}}"#, size / 4);
    damaged_byte(&with_header(&header, 64));
    let overflow = format!(r#"{{"{EMBEDDING}":{{"dtype":"F32","shape":[{size},{size}],"data_offsets":[0,64]}}}}"#);
    damaged_byte(&with_header(&overflow, 64));
}

#[test]
fn headers_beyond_every_models_are_refused_by_what_they_have_too_much_of() {
    let entry =
        |name: &str, shape: &str| format!(r#""{name}":{{"dtype":"F32","shape":[{shape}],"data_offsets":[0,0]}}"#);
    let refused = |entries: &[String], reason: &str| {
        let message = refusal(&with_header(&format!("{{{}}}", entries.join(",")), 0)).to_string();
        assert!(message.contains(reason), "{message}");
    };
    let fits = [entry(&"n".repeat(512), "0"), entry("d", "0,1,1,1,1,1,1,1")];
    refused(&fits, "does not have it");
    refused(&[entry(&"n".repeat(513), "0")], "a name of 513 bytes");
    refused(&[entry("d", "0,1,1,1,1,1,1,1,1")], "9 dimensions");
    refused(&[entry("a", "0"), entry("a", "0")], "`a` is there twice");
    let many: Vec<_> = (0..=1 << 16).map(|number| entry(&number.to_string(), "0")).collect();
    refused(&many[1..], "does not have it");
    refused(&many, "more than 65536 tensors");
}

#[test]
fn scales_of_scales_end_with_the_longest_name() {
    let chain = |depth: usize| format!("w{}", "_scale".repeat(depth));
    let entry = |depth: usize| format!(r#""{}":{{"dtype":"I8","shape":[0,1],"data_offsets":[0,0]}}"#, chain(depth));
    let header = format!("{{{}}}", (0..85).map(entry).collect::<Vec<_>>().join(","));
    assert_names(&refusal(&with_header(&header, 0)), EMBEDDING, "does not have it");
    assert!(chain(86).len() > 512);
}

#[test]
fn other_files_are_refused() {
    for bytes in
        [b"".as_slice(), b"{}", b"\x80\x04\x95 a pickle", b"PK\x03\x04 a zip archive of torch", b"<html>not found"]
    {
        damaged_byte(bytes);
    }
    for header in ["", "{", "[]", "null", r#"{"a":1}"#, r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#] {
        damaged_byte(&with_header(header, 4));
    }
}

#[test]
fn an_empty_but_valid_file_lacks_the_first_tensor() {
    assert_names(&refusal(&with_header("{}", 0)), EMBEDDING, "does not have it");
}

/// A file on a disk that fails after `left` bytes.
struct Failing<'a> {
    bytes: &'a [u8],
    left: usize,
}

impl Read for Failing<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = out.len().min(self.left);
        if count == 0 {
            return Err(io::Error::other("the disk failed"));
        }
        self.left -= count;
        self.bytes.read(&mut out[..count])
    }
}

#[test]
fn a_disk_that_fails_while_weights_are_read_is_an_error_wherever_it_fails() {
    let bytes = plain();
    for left in (0..bytes.len()).step_by(997).chain([8, bytes.len() - 1]) {
        let mut file = Failing { bytes: &bytes, left };
        let error = WeightFile::empty(&Device::flex()).read(&mut file, bytes.len() as u64).unwrap_err();
        assert!(matches!(error, Error::Unreadable { .. }) && error.to_string().contains("the disk failed"), "{error}");
    }
    let mut file = Failing { bytes: &bytes, left: bytes.len() };
    assert!(WeightFile::empty(&Device::flex()).read(&mut file, bytes.len() as u64).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(read_safetensors(&bytes).is_err());
        damaged_byte(&bytes);
    }

    #[test]
    fn a_random_header_is_refused_without_a_panic(header in "[\\[\\]{}\":,a-cF0-9 ]{0,60}", data_bytes in 0usize..20) {
        refusal(&with_header(&header, data_bytes));
    }

    #[test]
    fn a_changed_byte_never_panics(place in 0usize..4000, value in any::<u8>()) {
        let mut file = plain();
        file[place] = value;
        // A changed value may still be a model; a changed header may not be one.
        let _ = masked_lm(&file, &golden_config("plain"), &Device::flex());
    }
}
