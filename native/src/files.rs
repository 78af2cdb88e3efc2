//! Files and folders that appear whole or not at all, and reading with the path in every error.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::exit::{Coded, Exit, WithExit};

/// Reads a whole file.
pub fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).map_err(|cause| unreadable(path, cause))
}

/// Reads a JSON document that says its `format_version`, which this program knows up to `known`.
///
/// # Errors
/// [`Exit::Data`] for what is damaged or of a newer version; a newer document may lack what this program requires, so its version is
/// looked at first.
pub fn read_versioned<T: DeserializeOwned>(path: &Path, known: u32) -> anyhow::Result<T> {
    #[derive(Deserialize)]
    struct Versioned {
        format_version: u32,
    }
    let bytes = read(path)?;
    let damaged = || format!("{} is damaged", path.display());
    let found = serde_json::from_slice::<Versioned>(&bytes).exit(Exit::Data, damaged())?.format_version;
    if found > known {
        let message = format!(
            "{} has format version {found}, this program reads up to {known}: update the program",
            path.display()
        );
        return Err(Coded::error(Exit::Data, message));
    }
    serde_json::from_slice(&bytes).exit(Exit::Data, damaged())
}

/// The error of a file that cannot be read; a missing one is a matter of what was typed.
pub fn unreadable(path: &Path, cause: std::io::Error) -> anyhow::Error {
    match cause.kind() {
        std::io::ErrorKind::NotFound => Coded::error(Exit::Usage, missing(path)),
        std::io::ErrorKind::NotADirectory => match path.ancestors().find(|above| above.exists()) {
            Some(file) => not_a_folder(file),
            None => anyhow::Error::new(cause),
        },
        _ => anyhow::Error::new(cause).context(format!("cannot read {}", path.display())),
    }
}

fn not_a_folder(path: &Path) -> anyhow::Error {
    Coded::error(Exit::Usage, format!("{} is a file, and a folder is needed", path.display()))
}

/// Checks that a folder is there.
pub fn require_dir(path: &Path) -> anyhow::Result<()> {
    match path.metadata() {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(not_a_folder(path)),
        Err(cause) => Err(unreadable(path, cause)),
    }
}

/// Most names that are shown of a folder.
const SHOWN_NAMES: usize = 5;

/// That a path does not exist, and what its folder has instead: the names that are most like it.
pub fn missing(path: &Path) -> String {
    let folder = folder_of(path);
    let Ok(entries) = fs::read_dir(folder) else {
        return format!("{} does not exist, nor does the folder {}", path.display(), folder.display());
    };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    let wanted = path.file_name().unwrap_or_default().to_string_lossy();
    let unlike = |name: &String| (1e6 * (1.0 - strsim::jaro_winkler(name, &wanted))) as u32;
    names.sort_by_cached_key(|name| (unlike(name), name.clone()));
    let more = if names.len() > SHOWN_NAMES { ", …" } else { "" };
    names.truncate(SHOWN_NAMES);
    let shown = names.join(", ") + more;
    match names.is_empty() {
        true => format!("{} does not exist; the folder {} is empty", path.display(), folder.display()),
        false => format!("{} does not exist; the folder {} has {shown}", path.display(), folder.display()),
    }
}

/// Makes a folder and those above it that are missing, so that the loss of power does not take them back.
pub fn make_dir(folder: &Path) -> anyhow::Result<()> {
    let missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    if let Some(file) = folder.ancestors().find(|path| !missing(path)).filter(|path| path.is_file()) {
        return Err(not_a_folder(file));
    }
    let missing: Vec<_> = folder.ancestors().take_while(missing).collect();
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    missing.into_iter().rev().try_for_each(|made| sync_dir(folder_of(made)))
}

/// The folder that a file or folder is in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What of a path is there already: itself, or the nearest folder above it.
pub fn nearest(path: &Path) -> &Path {
    path.ancestors().find(|above| above.exists()).unwrap_or(Path::new("."))
}

/// Begins the names of files that are being written: a killed process leaves one.
pub const WRITING: &str = ".writing-";

/// Whether a name that stands in a file names something in that file's folder: no path, absolute or upward.
pub fn is_plain(name: &str) -> bool {
    Path::new(name).file_name() == Some(name.as_ref())
}

/// Writes a file: into a temporary one beside it, synced to disk, renamed over what was there.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let parent = folder_of(path);
    let write = || -> std::io::Result<()> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(WRITING);
        // Temporary files are private by default; what this becomes is an ordinary file.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(parent)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        let written = file.into_temp_path();
        fs::rename(&written, path)?;
        written.keep()?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))?;
    sync_dir(parent)
}

/// Name of a complete folder before it is moved into place, inside a hidden temporary folder.
pub const STAGED: &str = "new";

/// Name there of the folder that it replaces.
pub const REPLACED: &str = "old";

/// Writes a folder of files: into a temporary folder beside it, synced to disk, renamed into place. On any error
/// nothing is left behind and what was there before is untouched. A folder that holds something is replaced only if
/// `force` is set.
pub fn write_dir_atomic(out: &Path, files: &[(&str, &[u8])], force: bool) -> anyhow::Result<()> {
    make_dir_atomic(out, force, |folder| write_files(folder, files))
}

/// [`write_dir_atomic`] with whatever `fill` makes at the path that it is given.
pub fn make_dir_atomic(out: &Path, force: bool, fill: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let target = std::path::absolute(out).with_context(|| format!("cannot use {} as a folder", out.display()))?;
    let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
        return Err(Coded::error(Exit::Usage, format!("{} cannot be written as a folder", out.display())));
    };
    let occupied = is_occupied(&target)?;
    if occupied && !force {
        let message = format!("{} exists and is not empty; choose another folder or use --force", out.display());
        return Err(Coded::error(Exit::Usage, message));
    }
    make_dir(parent)?;
    let staged = tempfile::Builder::new().prefix(&hidden(name)).tempdir_in(parent);
    let staged = staged.with_context(|| format!("cannot make a temporary folder in {}", parent.display()))?;
    let contents = staged.path().join(STAGED);
    fill(&contents)?;
    replace(&target, &contents, &staged.path().join(REPLACED), occupied)
        .with_context(|| format!("cannot put {} in place", out.display()))?;
    sync_dir(parent)
}

/// Moves the new folder to its place; what was there goes back if that fails.
pub fn replace(target: &Path, new: &Path, old: &Path, occupied: bool) -> std::io::Result<()> {
    if occupied {
        fs::rename(target, old)?;
    }
    fs::rename(new, target).inspect_err(|_| {
        if occupied && let Err(cause) = fs::rename(old, target) {
            eprintln!("warning: {} could not be put back: {cause}", target.display());
        }
    })
}

/// What a folder holds, sorted.
pub fn sorted_entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// Whether something is there that would be lost.
pub fn is_occupied(target: &Path) -> anyhow::Result<bool> {
    match fs::symlink_metadata(target) {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(cause) => Err(cause).with_context(|| format!("cannot look at {}", target.display())),
        Ok(there) if there.is_dir() => Ok(fs::read_dir(target)?.next().is_some()),
        Ok(_) => Err(Coded::error(Exit::Usage, format!("{} exists and is not a folder", target.display()))),
    }
}

fn hidden(name: &std::ffi::OsStr) -> OsString {
    [".".as_ref(), name, ".".as_ref()].into_iter().collect()
}

fn write_files(folder: &Path, files: &[(&str, &[u8])]) -> anyhow::Result<()> {
    fs::create_dir(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    for (name, bytes) in files {
        let path: PathBuf = folder.join(name);
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&path)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().with_context(|| format!("cannot write {name} ({} bytes)", bytes.len()))?;
    }
    sync_dir(folder)
}

/// Makes renames in a folder durable.
pub fn sync_dir(folder: &Path) -> anyhow::Result<()> {
    File::open(folder).and_then(|dir| dir.sync_all()).with_context(|| format!("cannot sync {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: [(&str, &[u8]); 2] = [("a.json", b"{}"), ("b.txt", b"text")];

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_missing_is_told_with_the_nearest_names_of_its_folder() {
        let room = tempfile::tempdir().unwrap();
        let told = || missing(&room.path().join("step-7")).rsplit(" has ").next().unwrap().to_owned();
        assert!(missing(&room.path().join("step-7")).ends_with("is empty"));
        (1..=5).for_each(|step| fs::write(room.path().join(format!("step-{step}")), "").unwrap());
        assert_eq!(told(), "step-1, step-2, step-3, step-4, step-5");
        fs::write(room.path().join("notes"), "").unwrap();
        assert_eq!(told(), "step-1, step-2, step-3, step-4, step-5, …");
        fs::write(room.path().join("step-70"), "").unwrap();
        assert!(told().starts_with("step-70, step-1"), "{}", told());
    }

    #[test]
    fn a_new_folder_holds_exactly_the_files() {
        let room = tempfile::tempdir().unwrap();
        let out = room.path().join("deep/out");
        write_dir_atomic(&out, &FILES, false).unwrap();
        assert_eq!(names(&out), ["a.json", "b.txt"]);
        assert_eq!(fs::read(out.join("b.txt")).unwrap(), b"text");
        assert_eq!(names(out.parent().unwrap()), ["out"]);
    }

    #[test]
    fn a_folder_that_holds_something_is_kept_unless_forced() {
        let room = tempfile::tempdir().unwrap();
        let out = room.path().join("out");
        fs::create_dir(&out).unwrap();
        write_dir_atomic(&out, &FILES[..1], false).unwrap();
        let refused = write_dir_atomic(&out, &FILES, false).unwrap_err();
        assert_eq!(crate::exit::code_of(&refused), Exit::Usage);
        assert_eq!(names(&out), ["a.json"]);
        write_dir_atomic(&out, &FILES[1..], true).unwrap();
        assert_eq!(names(&out), ["b.txt"]);
        assert_eq!(names(room.path()), ["out"]);
    }

    #[test]
    fn a_failure_leaves_the_old_folder_and_nothing_else() {
        let room = tempfile::tempdir().unwrap();
        let out = room.path().join("out");
        write_dir_atomic(&out, &FILES, false).unwrap();
        let bad: [(&str, &[u8]); 2] = [("a.json", b"new"), ("no/such/folder.txt", b"")];
        assert!(write_dir_atomic(&out, &bad, true).is_err());
        assert_eq!(fs::read(out.join("a.json")).unwrap(), b"{}");
        assert_eq!(names(room.path()), ["out"]);
    }

    #[test]
    fn a_file_in_the_way_is_not_overwritten() {
        let room = tempfile::tempdir().unwrap();
        let out = room.path().join("out");
        fs::write(&out, "precious").unwrap();
        let refused = write_dir_atomic(&out, &FILES, true).unwrap_err();
        assert_eq!(crate::exit::code_of(&refused), Exit::Usage);
        assert_eq!(fs::read_to_string(&out).unwrap(), "precious");
    }

    #[test]
    fn a_file_is_written_over_what_was_there_and_nothing_stays_beside_it() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("a.json");
        for text in ["old", "new"] {
            write_atomic(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(names(room.path()), ["a.json"]);
        }
        assert!(write_atomic(&room.path().join("missing/a.json"), b"").is_err());
        assert_eq!(names(room.path()), ["a.json"]);
    }

    #[test]
    fn a_folder_that_cannot_be_synced_is_an_error() {
        let room = tempfile::tempdir().unwrap();
        assert!(sync_dir(room.path()).is_ok());
        assert!(sync_dir(&room.path().join("missing")).is_err());
    }

    #[test]
    fn what_is_missing_is_a_matter_of_what_was_typed_and_what_cannot_be_read_is_not() {
        let room = tempfile::tempdir().unwrap();
        let missing = read(&room.path().join("missing")).unwrap_err();
        assert_eq!(crate::exit::code_of(&missing), Exit::Usage);
        assert!(missing.to_string().contains("missing does not exist; the folder "), "{missing}");
        let folder = read(room.path()).unwrap_err();
        assert_ne!(crate::exit::code_of(&folder), Exit::Usage);
        assert!(folder.to_string().starts_with("cannot read "), "{folder}");
    }

    #[test]
    fn entries_are_sorted_and_what_cannot_be_looked_at_is_not_free() {
        let room = tempfile::tempdir().unwrap();
        for name in ["b", "c", "a"] {
            fs::write(room.path().join(name), name).unwrap();
        }
        assert_eq!(sorted_entries(room.path()).unwrap(), ["a", "b", "c"].map(|name| room.path().join(name)));
        assert!(sorted_entries(&room.path().join("missing")).is_err());
        assert!(is_occupied(room.path()).unwrap() && !is_occupied(&room.path().join("missing")).unwrap());
        assert!(is_occupied(&room.path().join("a/below-a-file")).is_err());
    }
}
