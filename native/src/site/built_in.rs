//! The model inside this program, which a site offers where no other is given.

use std::borrow::Cow;

use anaume_core::report::site::{SiteModel, WEB_MODEL, WebModel};
use anyhow::Context;
use rust_embed::Embed;

use super::assets::NamedFile;

/// Its name.
const NAME: &str = "anaume-ja-mini";

/// What `anaume export web` wrote of it.
#[derive(Embed)]
#[folder = "$CARGO_MANIFEST_DIR/../public/models/anaume-ja-mini"]
struct Folder;

/// The model, and the content of its files by address.
pub fn model() -> anyhow::Result<(SiteModel, Vec<NamedFile>)> {
    let mut model = WebModel::from_json(&String::from_utf8_lossy(&content(WEB_MODEL)?))?.model;
    model.name = NAME.into();
    let mut files = Vec::new();
    for file in &mut model.files {
        let bytes = content(&file.url)?;
        file.url = format!("models/{NAME}/{}", file.url);
        files.push((file.url.clone(), bytes));
    }
    Ok((model, files))
}

fn content(name: &str) -> anyhow::Result<Cow<'static, [u8]>> {
    let file = Folder::get(name).with_context(|| format!("{name} of {NAME} is not inside this program"))?;
    Ok(file.data)
}
