//! The files of a model where the worker finds them, read one after another so that no two are in memory at once.

use std::rc::Rc;

use anaume_core::report::site::hex;
use js_sys::{Array, Uint8Array};
use sha2::{Digest, Sha256};
use wasm_bindgen::JsCast;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::File;

use crate::fetch::reason;
use crate::protocol::{Failure, Hint, Result};
use crate::record::ModelFile;
use crate::store::Store;

/// Bytes that are read at a time.
const PIECE_BYTES: f64 = (4 << 20) as f64;

/// The files of a model, by name, in order.
#[derive(Clone)]
pub struct Files(pub Vec<(String, Content)>);

/// Where the content of a file is.
#[derive(Clone)]
pub enum Content {
    /// On the reader's disk, or just stored and checked.
    File(File),
    /// In the browser's storage from an earlier time: checked when it is read.
    Stored(File, ModelFile),
    /// In memory, where the browser stores nothing.
    Memory(Rc<Vec<u8>>),
}

impl Files {
    /// The files that a reader chose.
    pub fn own(chosen: &JsValue) -> Self {
        let files = chosen.unchecked_ref::<Array>().iter().map(JsCast::unchecked_into::<File>);
        Self(files.map(|file| (file.name(), Content::File(file))).collect())
    }

    /// Names of the files of weights, in order; one that is missed where there are none.
    pub fn weights(&self) -> Vec<String> {
        // Beside them a checkpoint has the state of its optimizer.
        let is_weights = |name: &&String| name.starts_with("model") && name.ends_with(".safetensors");
        let found: Vec<String> = self.0.iter().map(|(name, _)| name).filter(is_weights).cloned().collect();
        if found.is_empty() { vec!["model.safetensors".into()] } else { found }
    }

    /// Reads the file of this name and forgets it; `None` where there is none.
    ///
    /// # Errors
    /// A file that cannot be read, or that is damaged.
    pub async fn take(&mut self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(place) = self.0.iter().position(|(found, _)| found == name) else { return Ok(None) };
        match self.0.remove(place).1 {
            Content::Memory(bytes) => Ok(Some(Rc::unwrap_or_clone(bytes))),
            Content::File(file) => read(&file).await.map(Some),
            Content::Stored(file, known) => {
                let bytes = read(&file).await?;
                let found = hex(&Sha256::digest(&bytes));
                if known.sha256.as_ref() != Some(&found) {
                    return Err(damaged(&known, &found).await);
                }
                Ok(Some(bytes))
            }
        }
    }

    /// [`Self::take`] of a file that no model is without.
    pub async fn require(&mut self, name: &str) -> Result<Vec<u8>> {
        let missing = || Failure::new(format!("{name}: there is no such file")).with(Hint::ChooseAllFiles);
        self.take(name).await?.ok_or_else(missing)
    }
}

/// Deletes a file that is not what it should be, and says so.
pub async fn damaged(file: &ModelFile, found: &str) -> Failure {
    if let Some(store) = Store::open().await {
        store.remove_file(file).await;
    }
    let (name, expected) = (file.name(), file.sha256.as_deref().unwrap_or("?"));
    Failure::new(format!("{name}: SHA-256 {found} is not {expected}")).with(Hint::GetAgain)
}

async fn read(file: &File) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let too_large = |_| Failure::new(format!("{}: does not fit into the memory of a page", file.name()));
    bytes.try_reserve_exact(file.size() as usize).map_err(too_large)?;
    each_piece(file, |piece| bytes.extend_from_slice(piece)).await?;
    Ok(bytes)
}

/// Shows a file piece by piece.
///
/// # Errors
/// A file that changed or went away meanwhile.
pub async fn each_piece(file: &File, mut see: impl FnMut(&[u8])) -> Result<()> {
    let failed = |cause: JsValue| Failure::new(format!("{}: {}", file.name(), reason(&cause)));
    let mut start = 0.0;
    while start < file.size() {
        let end = (start + PIECE_BYTES).min(file.size());
        let piece = file.slice_with_f64_and_f64(start, end).map_err(failed)?;
        let buffer = JsFuture::from(piece.array_buffer()).await.map_err(failed)?;
        see(&Uint8Array::new(&buffer).to_vec());
        start = end;
    }
    Ok(())
}
