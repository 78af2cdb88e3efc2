//! `anaume download` and `anaume upload`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anaume_core::export::INDEX;
use anyhow::Context;
use burn::tensor::Device;

use super::{Kind, Part, Repo, fetch};
use crate::exit::{Coded, Exit};
use crate::files::{make_dir_atomic, sorted_entries, sync_dir};
use crate::model::{CARD, load_any_config, read_weights, tokenizer_files, weight_paths};
use crate::progress::format_bytes;

/// Tells git that weights are large files.
const GIT_ATTRIBUTES: &str = "*.safetensors filter=lfs diff=lfs merge=lfs -text\n";

/// Arguments of `anaume download`.
#[derive(clap::Args, Debug)]
pub struct DownloadArgs {
    /// ORG/NAME or ORG/NAME@REVISION: a branch, a tag or a commit
    name: String,
    /// A data set, with all of its files, instead of a model, of which only safetensors, tokenizer and card are taken
    #[arg(long)]
    dataset: bool,
    /// Copy the files into this folder too
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace what that folder holds
    #[arg(long)]
    force: bool,
}

/// Arguments of `anaume upload`.
#[derive(clap::Args, Debug)]
pub struct UploadArgs {
    /// Model folder; its README.md is the card where --results are not given
    model: PathBuf,
    /// Name that the model is to have on the Hub
    #[arg(long, value_name = "ORG/NAME")]
    name: Option<String>,
    /// Results folders to write the card from, searched for results.json; those of other models are left out
    #[arg(long, num_args = 1.., value_name = "DIR")]
    results: Vec<PathBuf>,
    /// Folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Replace an existing folder
    #[arg(long)]
    force: bool,
}

/// What `anaume download` takes for a repository.
pub fn arguments(repo: &Repo) -> String {
    let revision = if repo.revision == "main" { String::new() } else { format!("@{}", repo.revision) };
    let dataset = if repo.kind == Kind::Dataset { " --dataset" } else { "" };
    format!("{}{revision}{dataset}", repo.id)
}

/// `anaume download`.
pub fn download(args: &DownloadArgs) -> anyhow::Result<()> {
    let kind = if args.dataset { Kind::Dataset } else { Kind::Model };
    let wrong = || Coded::error(Exit::Usage, format!("{}: expected ORG/NAME or ORG/NAME@REVISION", args.name));
    let repo = Repo::parse(kind, &args.name).ok_or_else(wrong)?;
    let mut folder = fetch(&repo, |files| match kind {
        // A repository may hold a tokenizer alone.
        Kind::Model if files.has_no_weights() => files.of_model(&repo, Part::Description),
        Kind::Model => files.of_model(&repo, Part::Whole),
        Kind::Dataset => Ok(files.all()),
    })?;
    if let Some(out) = &args.out {
        make_dir_atomic(out, args.force, |contents| copy_all(&folder, contents))?;
        folder = out.clone();
    }
    println!("{}", folder.display());
    Ok(())
}

/// Copies a folder with those in it; what links point to, not the links.
fn copy_all(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir(to).with_context(|| format!("cannot make the folder {}", to.display()))?;
    for path in sorted_entries(from)? {
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() { copy_all(&path, &target) } else { copy(&path, &target) }?;
    }
    sync_dir(to)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let copied = fs::copy(from, to).and_then(|_| File::open(to)?.sync_all());
    copied.with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

/// `anaume upload`: the folder that `hf upload` takes as it is. Nothing is sent.
pub fn upload(args: &UploadArgs) -> anyhow::Result<()> {
    if let Some(name) = args.name.as_ref().filter(|name| name.contains('@') || Repo::parse(Kind::Model, name).is_none())
    {
        return Err(Coded::error(Exit::Usage, format!("{name}: expected ORG/NAME")));
    }
    let dir = crate::hub::model(&args.model, Part::Whole)?;
    // What is published can be loaded.
    load_any_config(&dir)?;
    crate::tokenizer::load(&dir)?;
    read_weights(&dir, &Device::flex())?;
    let card = card(args, &dir)?;
    let weights = weight_paths(&dir)?;
    let index = Some(dir.join(INDEX)).filter(|_| weights.len() > 1);
    make_dir_atomic(&args.out, args.force, |folder| {
        fs::create_dir(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        for path in weights.iter().chain(&index).chain([&dir.join("config.json")]) {
            copy(path, &folder.join(path.file_name().unwrap_or_default()))?;
        }
        let described = [(CARD, card.into_bytes()), (".gitattributes", GIT_ATTRIBUTES.into())];
        for (name, bytes) in tokenizer_files(&dir)?.into_iter().chain(described) {
            fs::write(folder.join(name), bytes).with_context(|| format!("cannot write {name}"))?;
        }
        sync_dir(folder)
    })?;
    let files = sorted_entries(&args.out)?;
    let num_bytes = files.iter().map(|path| path.metadata().map_or(0, |file| file.len())).sum();
    let out = args.out.display();
    eprintln!("{out}: {} files, {}; nothing was sent. To publish them:", files.len(), format_bytes(num_bytes));
    println!("hf upload {} '{out}'", args.name.as_deref().unwrap_or("ORG/NAME"));
    Ok(())
}

fn card(args: &UploadArgs, dir: &Path) -> anyhow::Result<String> {
    let written = dir.join(CARD);
    if !args.results.is_empty() {
        return crate::card::text(&args.model, args.name.as_deref(), &args.results);
    }
    if !written.exists() {
        let message = format!("{} has no {CARD}: write one, or give --results to make it from", args.model.display());
        return Err(Coded::error(Exit::Usage, message));
    }
    fs::read_to_string(&written).with_context(|| format!("cannot read {}", written.display()))
}
