#!/usr/bin/env bash
# Builds the page into web/dist, for `anaume serve` and `anaume site`; a program built afterwards has it inside.
#   web/build.sh            builds it
#   web/build.sh --check    nothing: says whether it could be built here
# Needs the target wasm32-unknown-unknown: from rustup, or, where rustup reaches no server, from Debian's packages
# rustc-web, cargo-web and rust-web-src (installed here if this is root).
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
check=
if [ "${1:-}" = --check ]; then check=1; fi
cd "$root"
target=wasm32-unknown-unknown
cargo=(cargo build)
export RUSTFLAGS="-C target-feature=+simd128 ${RUSTFLAGS:-}" CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-auto}

has_rustup_target() { rustup target list --installed 2>/dev/null | grep -q "^$target\$"; }
if ! has_rustup_target && ! rustup target add "$target" >/dev/null 2>&1; then
  has_debian_toolchain() {
    [ -d /usr/lib/rustlib/src ] && [ -x /usr/bin/cargo ] && /usr/bin/rustc --version | grep -qE ' 1\.(9[5-9]|[1-9][0-9]{2})'
  }
  if ! has_debian_toolchain && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update && apt-get install -y --no-install-recommends rustc-web cargo-web rust-web-src; } >/dev/null 2>&1 || true
  fi
  if ! has_debian_toolchain; then
    echo "error: no $target: run \`rustup target add $target\`, or install rustc-web, cargo-web and rust-web-src" >&2
    exit 1
  fi
  # The standard library is built from its source; the linker is the one that rustup's toolchain brings.
  linker=$(find "$(rustc --print sysroot)/lib/rustlib" -name rust-lld | head -n 1)
  cargo=(env RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="${linker:-wasm-ld}"
    /usr/bin/cargo build -Z "build-std=std,panic_abort")
fi

[ -z "$check" ] || exit 0

# The tool must have the version of the library.
version=$(sed -n '/^name = "wasm-bindgen"$/{n;s/version = "\(.*\)"/\1/p}' Cargo.lock)
bindgen=$root/target/tools/bin/wasm-bindgen
if ! "$bindgen" --version 2>/dev/null | grep -q " $version\$"; then
  RUSTFLAGS="" cargo install wasm-bindgen-cli --version "$version" --root target/tools --quiet
fi

build() { "${cargo[@]}" --profile web --locked --target "$target" --package anaume-web "$@"; }
build --bin page
build --bin worker --features worker
dist=web/dist
rm -rf "$dist"
mkdir -p "$dist"
for program in page worker; do
  "$bindgen" --target web --no-typescript --remove-name-section --out-dir "$dist" "target/$target/web/$program.wasm"
done
cp web/index.html web/start.js web/report.js web/style.css public/tokens.css public/icon.svg public/icon-512.png public/manifest.webmanifest "$dist"
# The service worker keeps the files of one build; by their hash it knows the next one.
files=$(cd "$dist" && echo *)
version=$(cat "$dist"/* | cksum | tr ' ' -)
sed -e "s/@VERSION@/$version/" -e "s/@FILES@/$files/" web/sw.js > "$dist/sw.js"
# What a fill-mask page downloads, each file gzipped, against web/size-budget: "BYTES FILE" a line, and "BYTES total".
check_budget() {
  local total=0 size over=0 bytes file
  while read -r bytes file; do
    if [ "$file" = total ]; then size=$total; else size=$(gzip -9 -c "$dist/$file" | wc -c); total=$((total + size)); fi
    printf '%10d of %10d bytes gzipped: %s\n' "$size" "$bytes" "$file"
    [ "$size" -le "$bytes" ] || over=1
  done < web/size-budget
  [ $over = 0 ] || { echo "error: $dist is larger than web/size-budget allows" >&2; return 1; }
}
check_budget
echo "$dist is built: anaume serve --page $dist"
