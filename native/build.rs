//! Tells the program which commit it was built from, so that a run record can name it.

use std::process::Command;

fn main() {
    // The log of HEAD changes with every commit and checkout; a source archive has none, and then no commit is named.
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../.git/logs/HEAD");
    let commit = Command::new("git").args(["rev-parse", "HEAD"]).output().ok().filter(|output| output.status.success());
    if let Some(commit) = commit.and_then(|output| String::from_utf8(output.stdout).ok()) {
        println!("cargo:rustc-env=ANAUME_GIT_COMMIT={}", commit.trim());
    }
}
