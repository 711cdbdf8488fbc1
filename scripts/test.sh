#!/usr/bin/env bash
# Format check, lint, types, tests. Usage: test.sh [pytest arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh dev

export OMP_WAIT_POLICY=PASSIVE
.venv/bin/ruff format --check src tests scripts benchmarks
.venv/bin/ruff check src tests scripts benchmarks
.venv/bin/mypy
.venv/bin/pytest "$@"
