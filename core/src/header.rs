//! The header of a safetensors file: which tensors there are and where. It comes from strangers, so every number in it is compared
//! with a cap or with the file before anything is made of it.

use std::collections::HashSet;
use std::fmt;
use std::io::Read;

use safetensors::SafeTensors;
use safetensors::tensor::Metadata;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use crate::error::{Error, Result};

/// Most bytes of a header: a large model's has one megabyte. The library allows 100.
const MAX_HEADER_BYTES: u64 = 1 << 24;
/// Most tensors of a file: one of 1,024 layers, more than a configuration may ask for, has 13 thousand.
const MAX_TENSORS: usize = 1 << 16;
/// Longest name of a tensor in bytes: models have up to 100.
const MAX_NAME_BYTES: usize = 512;
/// Most dimensions of a tensor: models have up to 4.
const MAX_DIMENSIONS: usize = 8;

/// Reads the header of a safetensors file of `num_bytes`; every damage is an error with its byte.
pub(crate) fn read_header(file: &mut impl Read, num_bytes: u64) -> Result<Metadata> {
    let damaged = |byte: u64, message: String| Error::Format { format: "safetensors", byte, message };
    if num_bytes < 8 {
        return Err(damaged(num_bytes, "the file ends inside its header".into()));
    }
    let claimed = u64::from_le_bytes(read_values(file, 8)?.try_into().unwrap_or_default());
    if claimed > MAX_HEADER_BYTES {
        return Err(damaged(0, format!("the header claims {claimed} bytes, more than any real file")));
    }
    if claimed > num_bytes - 8 {
        let message = format!(
            "the header claims {claimed} bytes and the file has {num_bytes}; it is truncated or not safetensors"
        );
        return Err(damaged(0, message));
    }
    let json = read_values(file, claimed as usize)?;
    let in_header = |cause: serde_json::Error| damaged(8, format!("damaged header: {cause}"));
    serde_json::Deserializer::from_slice(&json).deserialize_map(Names).map_err(in_header)?;
    let header: Metadata = serde_json::from_slice(&json).map_err(in_header)?;
    if let Some((name, info)) = header.tensors().into_iter().find(|(_, info)| info.shape.len() > MAX_DIMENSIONS) {
        let message = format!("`{name}` has {} dimensions; at most {MAX_DIMENSIONS} are read", info.shape.len());
        return Err(damaged(8, message));
    }
    if header.data_len() as u64 != num_bytes - 8 - claimed {
        let message = "the file does not end where its header says; it is truncated, download it again";
        return Err(damaged(num_bytes, message.into()));
    }
    Ok(header)
}

/// Passes over a header's JSON before it is taken in: few enough tensors, short names, none twice, where the library would
/// silently take the last.
struct Names;

impl<'de> Visitor<'de> for Names {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tensors by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if name.len() > MAX_NAME_BYTES {
                return Err(A::Error::custom(format!(
                    "a name of {} bytes; the longest has {MAX_NAME_BYTES}",
                    name.len()
                )));
            }
            if seen.len() == MAX_TENSORS {
                return Err(A::Error::custom(format!("more than {MAX_TENSORS} tensors")));
            }
            map.next_value::<IgnoredAny>()?;
            if let Some(name) = seen.replace(name) {
                return Err(A::Error::custom(format!("`{name}` is there twice")));
            }
        }
        Ok(())
    }
}

/// The next `count` values of a file, which is known to be that long.
pub(crate) fn read_values<T: bytemuck::Pod>(file: &mut impl Read, count: usize) -> Result<Vec<T>> {
    let mut values = vec![T::zeroed(); count];
    file.read_exact(bytemuck::cast_slice_mut(&mut values)).map_err(|cause| Error::Unreadable { cause })?;
    Ok(values)
}

/// Reads the header of a safetensors file; every damage is an error with its byte.
pub fn read_safetensors(bytes: &[u8]) -> Result<SafeTensors<'_>> {
    read_header(&mut &*bytes, bytes.len() as u64)?;
    let damaged = |cause| Error::Format { format: "safetensors", byte: 8, message: format!("damaged header: {cause}") };
    SafeTensors::deserialize(bytes).map_err(damaged)
}
