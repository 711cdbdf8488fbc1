#!/usr/bin/env bash
# Format check, lint, types, tests on all cores, one thread each. Usage: test.sh [pytest arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh dev

.venv/bin/ruff format --check src tests scripts benchmarks docs examples
.venv/bin/ruff check src tests scripts benchmarks docs examples
.venv/bin/mypy
export OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1
.venv/bin/pytest --numprocesses auto --dist worksteal "$@"
