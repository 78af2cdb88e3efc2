//! Where a training run goes on.

use std::fs::File;
use std::path::{Path, PathBuf};

use anaume_core::train_step::Trainer;
use anyhow::bail;

use crate::checkpoint::{self, TrainerState};
use crate::exit::{Coded, Exit};
use crate::files::make_dir;
use crate::train::Args;

/// Takes the run folder for this process; the checkpoint that the run goes on from.
pub fn take(args: &Args) -> anyhow::Result<(File, Option<PathBuf>)> {
    make_dir(&args.out)?;
    let lock = checkpoint::lock(&args.out)?;
    checkpoint::clear_leftovers(&args.out)?;
    Ok((lock, checkpoint_to_resume(args)?))
}

/// The checkpoint that the arguments ask for; `None` for a run that begins.
fn checkpoint_to_resume(args: &Args) -> anyhow::Result<Option<PathBuf>> {
    let out = args.out.display();
    let holds_none = checkpoint::list(&args.out)?.is_empty();
    match args.resume.as_deref() {
        None if holds_none => Ok(None),
        None => Err(Coded::error(
            Exit::Usage,
            format!("{out} holds checkpoints: go on with --resume, or name another --out"),
        )),
        Some("latest") => match checkpoint::latest(&args.out)? {
            Some(path) => Ok(Some(path)),
            // So that a scheduler may always pass --resume.
            None if holds_none => Ok(None),
            None => Err(Coded::error(Exit::Data, format!("no checkpoint in {out} is whole"))),
        },
        Some(path) => {
            let path = PathBuf::from(path);
            checkpoint::verify(&path)?;
            let run = path.canonicalize()?.parent().map(Path::to_path_buf);
            if !holds_none && run != Some(args.out.canonicalize()?) {
                let message = format!("{} is not of the run in {out}: name a new --out to branch off", path.display());
                return Err(Coded::error(Exit::Usage, message));
            }
            Ok(Some(path))
        }
    }
}

/// Restores what a checkpoint has beside the parameters. Fails where it is of another run.
pub fn resume(dir: &Path, trainer: &mut Trainer, identity: &str) -> anyhow::Result<TrainerState> {
    let state = checkpoint::load_state(dir)?;
    if state.identity != identity {
        let message = format!(
            "{} belongs to a run with another model, tokenizer, data, seed or [data] section: give what run.json says",
            dir.display()
        );
        bail!(Coded::error(Exit::Usage, message));
    }
    checkpoint::restore(dir, trainer, &state)?;
    Ok(state)
}
