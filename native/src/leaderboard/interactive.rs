//! A report with the program of the page in it, and the files that the program would ask a server for.

use std::io::Write;
use std::path::PathBuf;

use anaume_core::report::site::SiteIndex;
use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use super::html::{STYLE, TOKENS, escape};
use crate::files::read;
use crate::site::assets::Assets;
use crate::site::library::INDEX;

/// What a report may do: run its own script and program, draw its own images; it reaches nothing.
const POLICY: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data: blob:";
const PROGRAM: &str = "page_bg.wasm";

/// The document: `body` is the readable version, `index` names the results, which are read from `files`.
///
/// # Errors
/// A page that lacks a file, a result that cannot be read.
pub fn document(body: &str, assets: &Assets, index: &SiteIndex, files: &[(String, PathBuf)]) -> anyhow::Result<String> {
    let asset = |name: &str| {
        let asset = assets.get(name).with_context(|| format!("the built page has no {name}; build it again"))?;
        Ok::<_, anyhow::Error>(&*asset.bytes)
    };
    let text = |name: &str| anyhow::Ok(String::from_utf8_lossy(asset(name)?).into_owned());
    let script = text("page.js")? + &text("report.js")?;
    let [readable, style] = [format!("{TOKENS}{STYLE}"), TOKENS.to_owned() + &text("style.css")?];
    let policy = format!(
        "{POLICY}; script-src {} 'wasm-unsafe-eval'; style-src {} {}",
        source(&script),
        source(&readable),
        source(&style)
    );
    let mut html = format!(
        "<!doctype html>\n<html lang=\"ja\" data-report>\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>穴埋め Anaume</title>\n<style>{readable}</style>\n<style media=\"not all\">{style}</style>\n</head>\n<body>\n\
         <main class=\"readable\">\n{body}</main>\n"
    );
    html += &embedded(PROGRAM, "application/wasm", asset(PROGRAM)?)?;
    html += &embedded(INDEX, "application/json", index.to_json().as_bytes())?;
    for (url, path) in files {
        html += &embedded(url, "application/json", &read(path)?)?;
    }
    Ok(html + &format!("<script type=\"module\">{script}</script>\n</body>\n</html>\n"))
}

/// The hash by which a policy allows a script or a style.
fn source(text: &str) -> String {
    format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)))
}

/// A file in the document, which the browser takes for data.
fn embedded(name: &str, media_type: &str, bytes: &[u8]) -> anyhow::Result<String> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(bytes)?;
    let packed = BASE64_STANDARD.encode(packed.finish()?);
    let name = escape(name);
    Ok(format!("<script type=\"application/gzip\" data-file=\"{name}\" data-type=\"{media_type}\">{packed}</script>\n"))
}
