#!/usr/bin/env bash
# The one test command: installs what it lacks, builds once, runs everything, counts passed, failed and skipped.
#   tests/all.sh            all tests
#   tests/all.sh FILTER     only the Rust tests whose name contains FILTER
#   tests/all.sh --fuzz     only the fuzzers, each parser's for FUZZ_SECONDS (20)
#   tests/all.sh --mutants  only mutation testing, of every mutant or of the share MUTANTS (such as 0/4, the first of four)
#   tests/all.sh --cross    only whether the program compiles for Windows and macOS
set -uo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C # The tests read English messages, but for those that set another locale.
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

install() { # PACKAGES…: Debian's, where this is root on Debian
  command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ] || return 1
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } >/dev/null 2>&1
}

# A C compiler builds the tokenizer's regular expressions and the compression libraries.
command -v cc >/dev/null || install gcc libc6-dev || { echo "error: no C compiler; install gcc or clang" >&2; exit 1; }

# Software Vulkan, so that the GPU tests run without a GPU.
has_vulkan() { [ -n "$(find /usr/share/vulkan/icd.d /etc/vulkan/icd.d -name '*.json' 2>/dev/null)" ]; }
has_vulkan || install mesa-vulkan-drivers libvulkan1
has_vulkan || skip "no Vulkan driver: install mesa-vulkan-drivers to run the GPU tests in software"

# rustup's minimal profile has neither.
if command -v rustup >/dev/null && ! { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1; then
  rustup component add rustfmt clippy
fi

# The dictionary of the Japanese BERT tokenizers, to compare with MeCab's own words on real sentences.
if [ -z "${ANAUME_MECAB_DICTIONARY:-}" ]; then
  unidic=$PWD/target/tools/unidic
  [ -d "$unidic" ] || python3 -m pip install --quiet --no-deps --target "$unidic" unidic-lite >/dev/null 2>&1 || rm -rf "$unidic"
  [ ! -d "$unidic" ] || export ANAUME_MECAB_DICTIONARY=$unidic/unidic_lite/dicdir
fi

# Ranks that train together: Open MPI, with what binds it to Rust.
has_mpi() { command -v mpirun >/dev/null && command -v mpicc >/dev/null && [ -n "$(find /usr/lib /usr/local/lib -name 'libclang*.so*' 2>/dev/null)" ]; }
has_mpi || install libopenmpi-dev openmpi-bin libclang-dev clang
has_mpi || skip "no Open MPI, or no libclang: install libopenmpi-dev openmpi-bin libclang-dev clang to train on several ranks"

# What checks the files of anaume launch.
command -v shellcheck >/dev/null || install shellcheck
kubernetes=$PWD/target/tools/kubernetes
[ -d "$kubernetes" ] || python3 -m pip install --quiet --target "$kubernetes" kubernetes-validate >/dev/null 2>&1 || rm -rf "$kubernetes"
[ ! -d "$kubernetes" ] || export ANAUME_KUBERNETES_VALIDATE=$kubernetes

has_node() { command -v npm >/dev/null && node --version | grep -qE '^v(2[0-9]|[3-9][0-9])'; }

export CARGO_TERM_COLOR=never
native=(--workspace --exclude anaume-web --release --locked)

# The page, a small trained model with its results, and all of it in Chromium.
site() {
  local work=target/e2e/work
  rm -rf "$work"
  target/release/anaume tokenizer train public/corpus/food.jsonl --vocab-size 1000 --out "$work/tokenizer" &&
    target/release/anaume data prepare public/corpus/food.jsonl --out "$work/data" &&
    target/release/anaume model init --preset tiny --tokenizer "$work/tokenizer" --out "$work/model" &&
    target/release/anaume pretrain --recipe tiny --data "$work/data" --model "$work/model" --out "$work/run" --device cpu &&
    target/release/anaume eval all --model "$work/run/step-00000040" --out "$work/results" --bootstrap 100 --device cpu &&
    web/build.sh
}

# The program with MPI, beside the one without: of all that is built only the program itself differs.
with_mpi() {
  cargo build "${native[@]}" --features anaume/mpi --bin anaume && cp target/release/anaume target/release/anaume-mpi
}

e2e() {
  npm ci --prefix tests/e2e --ignore-scripts --no-audit --no-fund &&
    CHROMIUM=$(command -v chromium) ANAUME_BIN=target/release/anaume ANAUME_MODEL=target/e2e/work/run/step-00000040 \
      ANAUME_RESULTS=target/e2e/work/results ANAUME_RUN=target/e2e/work/run timeout 600 node --test --test-reporter=tap tests/e2e/*.test.mjs
}

# Feedback by coverage on stable Rust; what the address sanitizer would find, safe Rust rules out.
fuzz() {
  local host name folder log failed=0 seconds=${FUZZ_SECONDS:-20}
  local coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
  coverage+=" -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
  command -v c++ >/dev/null || install g++ || { echo "error: no C++ compiler; install g++ or clang" >&2; return 1; }
  host=$(rustc -vV | sed -n 's/^host: //p')
  # With a target named, build scripts and macros stay without coverage.
  RUSTFLAGS=$coverage cargo build --profile fuzz --package anaume-fuzz --features libfuzzer --locked --target "$host" \
    --target-dir target/fuzz || return 1
  [ ! -w /dev/shm ] || export TMPDIR=/dev/shm
  for name in $(ls tests/fuzz/corpus); do
    folder=target/fuzz/found/$name
    log=$folder.log
    mkdir -p "$folder"
    if ANAUME_FUZZ=$name "target/fuzz/$host/fuzz/fuzz" "$folder" "tests/fuzz/corpus/$name" -max_total_time="$seconds" -timeout=10 \
      -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$folder-" >"$log" 2>&1; then
      echo "fuzz $name: $(grep -oP 'number_of_executed_units: *\K.*' "$log") inputs in $seconds s"
    else
      tail -40 "$log"
      echo "fuzz $name: failed, see $log; make the input small with -minimize_crash=1 and put it into tests/fuzz/corpus/$name"
      failed=1
    fi
  done
  return $failed
}

# Each mutant of the modules that everything rests on, against their tests in tests/mutants.
mutants() {
  # One takes half a minute; one knows the arithmetic of the release profile.
  local failed=0 skipped=(--skip damaged_parquet --skip pages_that_claim)
  command -v cargo-mutants >/dev/null || { echo "error: no cargo-mutants: cargo install --locked cargo-mutants" >&2; return 1; }
  export CARGO_TARGET_DIR=$PWD/target/mutants
  # The tests pass without a mutant; cargo-mutants itself would look for them in the package that it changes.
  cargo test --package anaume-mutants --features mutants --profile mutants --locked --quiet -- "${skipped[@]}" >/dev/null || return 1
  mutate() { # PACKAGE TEST_PACKAGE TESTS FILTERS… -- FILES…
    local package=$1 test_package=$2 tests=$3 filters=()
    shift 3
    while [ "$1" != -- ]; do filters+=("$1"); shift; done
    shift
    cargo mutants --config tests/mutants/mutants.toml --package "$package" --test-package "$test_package" "${@/#/--file=}" \
      --cargo-test-arg=--test="$tests" --output "target/mutants/$package-$tests" --no-times --colors never --baseline skip --timeout 60 \
      --build-timeout 600 ${MUTANTS:+--shard "$MUTANTS" --sharding round-robin} -- -- "${filters[@]}"
  }
  mutate anaume-core anaume-mutants core --skip plot:: -- 'core/src/metrics/**' core/src/masking.rs || failed=1
  mutate anaume anaume-mutants native data:: files:: manifest:: "${skipped[@]}" -- 'native/src/data/*.rs' native/src/files.rs native/src/manifest.rs || failed=1
  # With tensors a mutant takes half a minute, and with the program a whole one.
  mutate anaume-core anaume-tests tensors weights:: -- core/src/weights.rs core/src/header.rs || failed=1
  CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER=$PWD/tests/mutants/with_program.sh \
    mutate anaume anaume-tests tensors checkpoint:: --skip run_killed --skip same_bits -- native/src/checkpoint.rs || failed=1
  return $failed
}

# What a developer with another system would see first. Zig brings the C library and the headers of both.
cross() {
  local target
  python3 -m pip install --quiet --target target/tools/zig ziglang==0.17.1 cargo-zigbuild==0.24.1 >/dev/null 2>&1
  for target in x86_64-pc-windows-gnu aarch64-apple-darwin; do
    if timeout 120 rustup target add "$target" && [ -x target/tools/zig/bin/cargo-zigbuild ]; then
      PYTHONPATH=$PWD/target/tools/zig target/tools/zig/bin/cargo-zigbuild check --locked --package anaume --target "$target" || return 1
    else
      skip "no Rust for $target or no zig: rustup target add $target && pip install cargo-zigbuild"
    fi
  done
}

case $filter in
--fuzz | --mutants | --cross)
  step "${filter#--}" "${filter#--}"
  rm -f "$log"
  exit ${#failed_steps[@]}
  ;;
esac

if [ -z "$filter" ]; then
  step "format" cargo fmt --all --check
  step "supply chain" tests/supply.sh
fi
! has_mpi || step "program with MPI" with_mpi
step "build" cargo build "${native[@]}" --all-targets
# A test that hangs must not eat the summary.
step "tests" timeout 2400 cargo test "${native[@]}" -- $filter --show-output
if [ -z "$filter" ]; then
  # The lints see the program with SPIR-V kernels for real GPUs, which the tests cannot run.
  linted=anaume/vulkan
  ! has_mpi || linted+=,anaume/mpi
  step "lint" cargo clippy "${native[@]}" --all-targets --features "$linted" -- --deny warnings
  if web/build.sh --check; then
    step "site" site
    command -v chromium >/dev/null || install chromium
    has_node || install nodejs npm
    if command -v chromium >/dev/null && has_node; then
      step "browser" e2e
    else
      skip "no chromium or no npm with node 20: install both to test the page in a browser"
    fi
  else
    skip "no WebAssembly toolchain: see web/build.sh"
  fi
fi

sum() { awk '{n += $1} END {print n + 0}'; }
rust() { grep -E '^test result:' "$log" | grep -oE "[0-9]+ $1" | sum; }
browser() { grep -E "^# $1 [0-9]+$" "$log" | grep -oE '[0-9]+' | sum; }
skips=$(grep -c '^skipped: ' "$log")
echo
grep '^skipped: ' "$log" | sort | uniq -c
passed=$(($(rust passed) + $(browser pass)))
failed=$(($(rust failed) + $(browser fail)))
echo "passed $passed, failed $failed, skipped $((skips + $(rust ignored) + $(browser skipped)))"
rm -f "$log"
if [ ${#failed_steps[@]} -gt 0 ]; then
  echo "failed steps: ${failed_steps[*]}"
  exit 1
fi
