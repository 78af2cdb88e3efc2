#!/usr/bin/env bash
# The one test command: installs what it lacks, builds once, runs everything, counts passed, failed and skipped.
#   tests/all.sh            all tests
#   tests/all.sh FILTER     only the tests whose name contains FILTER
set -uo pipefail
cd "$(dirname "$0")/.."
filter=${1:-}
log=$(mktemp)
failed_steps=()

step() { # NAME COMMAND…: runs it, remembers a failure, goes on
  local name=$1 start=$SECONDS
  shift
  echo "== $name"
  "$@" 2>&1 | tee -a "$log"
  local status=${PIPESTATUS[0]}
  [ "$status" -eq 0 ] || failed_steps+=("$name")
  echo "== $name: exit $status, $((SECONDS - start)) s"
}

skip() { # REASON
  echo "skipped: $1" | tee -a "$log"
}

# Software Vulkan, so that the GPU tests run without a GPU.
has_vulkan() { [ -n "$(find /usr/share/vulkan/icd.d /etc/vulkan/icd.d -name '*.json' 2>/dev/null)" ]; }
if ! has_vulkan && command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ]; then
  { apt-get update && apt-get install -y --no-install-recommends mesa-vulkan-drivers libvulkan1; } >/dev/null 2>&1
fi
has_vulkan || skip "no Vulkan driver: install mesa-vulkan-drivers to run the GPU tests in software"

# A C compiler builds the tokenizer's regular expressions and the compression libraries.
command -v cc >/dev/null || { echo "error: no C compiler; install gcc or clang" >&2; exit 1; }

export CARGO_TERM_COLOR=never
step "format" cargo fmt --all --check
step "build" cargo build --release --workspace --all-targets --locked
step "tests" cargo test --release --workspace --locked -- $filter --show-output

count() { grep -E '^test result:' "$log" | grep -oE "[0-9]+ $1" | awk '{n += $1} END {print n + 0}'; }
skips=$(grep -c '^skipped: ' "$log")
echo
grep '^skipped: ' "$log" | sort | uniq -c
echo "passed $(count passed), failed $(count failed), skipped $((skips + $(count ignored)))"
rm -f "$log"
if [ ${#failed_steps[@]} -gt 0 ]; then
  echo "failed steps: ${failed_steps[*]}"
  exit 1
fi
