#!/usr/bin/env bash
# Runs tests that start the program: builds it with the mutant first, for those tests depend on no package of it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cargo build --package anaume --profile mutants --locked --quiet
exec "$@"
