//! The site: the page, and what stands beside it. `anaume serve` answers with it, `anaume site` writes it as files.

pub mod assets;
pub mod built_in;
pub mod library;
pub mod serve;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::files::{make_dir, make_dir_atomic};
use assets::Assets;
use library::{INDEX, Library};

/// What stands beside the page.
#[derive(clap::Args, Clone, Debug)]
pub struct Contents {
    /// Results folders and run folders to show, searched for results.json and metrics.jsonl
    pub results: Vec<PathBuf>,
    /// Model folder to offer; give it several times to offer several [default: the small one inside this program]
    #[arg(long)]
    pub model: Vec<PathBuf>,
    /// Folder of the built page instead of the one inside this program
    #[arg(long, value_name = "DIR")]
    pub page: Option<PathBuf>,
}

impl Contents {
    fn open(&self) -> anyhow::Result<(Assets, Library)> {
        let mut assets = match &self.page {
            Some(folder) => Assets::read(folder)?,
            None => Assets::embedded()?,
        };
        let mut library = Library::open(&self.results, &self.model)?;
        if self.model.is_empty() {
            let (model, files) = built_in::model()?;
            library.offer(model);
            assets.extend(files);
        }
        Ok((assets, library))
    }
}

/// Arguments of `anaume site`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    pub contents: Contents,
    /// Folder to write, for any static web server
    #[arg(long)]
    pub out: PathBuf,
    /// Replace what the folder holds
    #[arg(long)]
    pub force: bool,
}

/// `anaume site`: the page with everything beside it as files.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let (assets, library) = args.contents.open()?;
    let mut num_files = 0;
    make_dir_atomic(&args.out, args.force, |folder| {
        num_files = write(folder, &assets, &library)?;
        Ok(())
    })?;
    println!("{}: {num_files} files, for any static web server", args.out.display());
    Ok(())
}

/// Writes every file of the site; returns their number.
fn write(folder: &Path, assets: &Assets, library: &Library) -> anyhow::Result<usize> {
    let mut files: Vec<(String, Source<'_>)> =
        assets.files().map(|(name, bytes)| (name.to_owned(), Source::Bytes(bytes))).collect();
    files.push((INDEX.into(), Source::Bytes(library.index()?.to_json().into_bytes().into())));
    files.extend(library.files()?.into_iter().map(|(url, path)| (url, Source::File(path))));
    for (name, source) in &files {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        make_dir(parent)?;
        let written = match source {
            Source::Bytes(bytes) => fs::write(&path, bytes),
            Source::File(from) => fs::copy(from, &path).map(drop),
        };
        written.with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(files.len())
}

/// Where a file's content comes from.
enum Source<'a> {
    Bytes(std::borrow::Cow<'a, [u8]>),
    File(PathBuf),
}
