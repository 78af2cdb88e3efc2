//! A model for the browser: its weights smaller, in files of a size that can be fetched again, under names that transformers
//! reads too (`model-00001-of-00003.safetensors` with `model.safetensors.index.json`).

use std::collections::BTreeMap;

use serde_json::json;

use crate::error::Result;
use crate::report::site::ExportType;
use crate::weights::{Encoded, HostTensor, StoredType, encode, encode_blocks, serialize};

/// The files of weights with their names: one `model.safetensors`, or several of about `shard_bytes` with an index. A tensor
/// that is larger is a file of its own, as transformers has it.
///
/// # Errors
/// A value that is too large for f16.
pub fn weight_files(tensors: &[HostTensor], dtype: ExportType, shard_bytes: usize) -> Result<Vec<(String, Vec<u8>)>> {
    let stored = if dtype == ExportType::F16 { StoredType::F16 } else { StoredType::F32 };
    let mut encoded = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        match (dtype, &tensor.shape[..]) {
            (ExportType::Q8, [_, _]) => encoded.push(encode_blocks(tensor)),
            _ => encoded.push(vec![encode(tensor, stored)?]),
        }
    }
    let shards = shards(encoded, shard_bytes);
    let num_shards = shards.len();
    if let [whole] = &shards[..] {
        return Ok(vec![("model.safetensors".into(), serialize(whole)?)]);
    }
    let mut files = Vec::with_capacity(num_shards + 1);
    let (mut places, mut total_bytes) = (BTreeMap::new(), 0);
    for (shard, number) in shards.iter().zip(1..) {
        let name = format!("model-{number:05}-of-{num_shards:05}.safetensors");
        places.extend(shard.iter().map(|tensor| (tensor.name.clone(), name.clone())));
        total_bytes += shard.iter().map(|tensor| tensor.bytes.len()).sum::<usize>();
        files.push((name, serialize(shard)?));
    }
    let index = json!({ "metadata": { "total_size": total_bytes }, "weight_map": places });
    files.push((INDEX.into(), format!("{index:#}\n").into_bytes()));
    Ok(files)
}

/// Name of the list that says which tensor is in which file.
pub const INDEX: &str = "model.safetensors.index.json";

/// Puts tensors that belong together one after the other into files of at most `shard_bytes`, at least one each.
fn shards(groups: Vec<Vec<Encoded<'_>>>, shard_bytes: usize) -> Vec<Vec<Encoded<'_>>> {
    let (mut shards, mut bytes_of_last) = (vec![Vec::new()], 0);
    for group in groups {
        let bytes: usize = group.iter().map(|tensor| tensor.bytes.len()).sum();
        if bytes_of_last > 0 && bytes_of_last + bytes > shard_bytes {
            shards.push(Vec::new());
            bytes_of_last = 0;
        }
        bytes_of_last += bytes;
        shards.last_mut().expect("there is one from the start").extend(group);
    }
    shards
}
