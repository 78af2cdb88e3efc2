//! Tells the program which commit it was built from, so that a run record can name it, and builds it anew with a new page.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // The page that `web/build.sh` leaves is built in. A path that is missing would build the program anew each time; the
    // folder that the page will appear in is there.
    let page = Path::new("../web/dist");
    println!("cargo:rerun-if-changed={}", if page.exists() { "../web/dist" } else { "../web" });
    // Every commit and checkout is logged here; a source archive has no such log, and then no commit is named.
    let log = Path::new("../.git/logs/HEAD");
    if !log.exists() {
        return;
    }
    println!("cargo:rerun-if-changed={}", log.display());
    let commit = Command::new("git").args(["rev-parse", "HEAD"]).output().ok().filter(|output| output.status.success());
    if let Some(commit) = commit.and_then(|output| String::from_utf8(output.stdout).ok()) {
        println!("cargo:rustc-env=ANAUME_GIT_COMMIT={}", commit.trim());
    }
}
