#!/usr/bin/env bash
# The quickstart, and its runs packed into one small file. Usage: run.sh [output]
set -euo pipefail
cd "$(dirname "$0")/../.."
runs="${1:-runs/quickstart}"
bash scripts/quickstart.sh "$runs"
.venv/bin/coldlm report "$runs" --out "$runs/report" --pack "$runs/report/runs.parquet"
