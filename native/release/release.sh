#!/usr/bin/env bash
# The release for Linux on x86-64: an archive with the program, the page inside it, manual pages, completions, the licences of
# all that is in it and a bill of materials (CycloneDX). The same commit gives the same bytes in any folder, with the compilers
# that the archive's build.txt names.
#   native/release/release.sh            the last commit, into target/dist
#   native/release/release.sh vulkan     with SPIR-V kernels for Vulkan GPUs
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
features=${1:-}
host=x86_64-unknown-linux-gnu
tools=$root/target/tools/bin
dist=$root/target/dist
work=$root/target/release-build

# What was committed, and no more, in a folder of its own.
[ -d "$work/.git" ] || git clone --quiet "$root" "$work"
cd "$work"
git fetch --quiet origin HEAD
git checkout --quiet --force --detach FETCH_HEAD
git clean -dffqx --exclude /target
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
name=anaume-$version-$host${features:+-$features}
out=$work/target/dist/$name
rm -rf "$out"
mkdir -p "$out/man" "$out/completions" "$dist"

SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH CARGO_INCREMENTAL=0 LC_ALL=C TZ=UTC
unset CARGO_TARGET_DIR
umask 022

# No path of this machine gets into the program, be it from Rust or from C.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
rust_flags=() c_flags=()
for pair in "$cargo_home=/cargo" "$(rustc --print sysroot)=/rust" "$work=/anaume"; do
  rust_flags+=("--remap-path-prefix=$pair")
  c_flags+=("-ffile-prefix-map=$pair")
done
export RUSTFLAGS="${rust_flags[*]}" CFLAGS="${c_flags[*]}" CXXFLAGS="${c_flags[*]}"

# Nothing is done where they are there.
env -u RUSTFLAGS -u CFLAGS -u CXXFLAGS cargo install --locked --quiet --root "$root/target/tools" cargo-about@0.9.3 cargo-cyclonedx@0.5.9

# What cargo-deny allows is what is listed.
{ echo "max-depth = 2"; sed -n '/^allow = \[/,/^\]/{s/^allow/accepted/;p}' deny.toml; } >target/about.toml
licenses() { # FOLDER TARGET OPTIONS…
  "$tools/cargo-about" about generate --config target/about.toml --manifest-path "$1/Cargo.toml" --target "$2" --locked --offline --fail \
    "${@:3}" native/release/licenses.hbs
}

cargo fetch --locked
web/build.sh
licenses web wasm32-unknown-unknown --features worker >web/dist/licenses.txt
cargo build --release --locked --package anaume ${features:+--features "$features"} --config 'profile.release.strip="symbols"'

program=target/release/anaume
install -m 755 "$program" "$out/anaume"
"$program" man --out "$out/man"
for shell in bash elvish fish powershell zsh; do "$program" completions "$shell" >"$out/completions/anaume.$shell"; done
cp README.md LICENSE "$out"
{
  licenses native "$host" ${features:+--features "$features"}
  printf '%s\n%s\n\n' "$(printf '=%.0s' {1..80})" "The font of the figures, a subset of Noto Sans CJK JP"
  cat public/fonts/OFL.txt
  printf '%s\n%s\n\n' "$(printf '=%.0s' {1..80})" "The page inside the program"
  cat web/dist/licenses.txt
} >"$out/THIRD-PARTY-LICENSES"
cp "$(rustc --print sysroot)/share/doc/rust/COPYRIGHT-library.html" "$out/RUST-STANDARD-LIBRARY-LICENSES.html"
"$tools/cargo-cyclonedx" cyclonedx --manifest-path native/Cargo.toml --format json --spec-version 1.5 --describe binaries --target "$host" --quiet \
  ${features:+--features "$features"}
sed "s|file://$work|file:///anaume|g" native/anaume_bin.cdx.json >"$out/anaume.cdx.json"
{
  echo "commit $(git rev-parse HEAD)"
  rustc --version
  cc --version | head -n 1
  echo "runs with glibc $(objdump -T "$program" | grep -oE 'GLIBC_[0-9.]+' | sort -V | tail -n 1 | cut -d_ -f2) or newer"
} >"$out/build.txt"

chmod -R u=rwX,go=rX "$out"
tar --create --directory target/dist --sort=name --format=ustar --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" "$name" |
  gzip -9n >"$dist/$name.tar.gz"
cp "$out/anaume.cdx.json" "$dist/$name.cdx.json"
cd "$dist"
sha256sum "$name.tar.gz" "$name.cdx.json" >"$name.sha256"
cat "$out/build.txt" "$name.sha256"
