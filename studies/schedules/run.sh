#!/usr/bin/env bash
# Every schedule on two data sets, beside controls updated the same way; finished runs are not run again.
# Usage: run.sh [output] [strategies] [seeds]
set -euo pipefail
cd "$(dirname "$0")/../.."
runs="${1:-runs/schedules}"
strategies="${2:-frozen}"
seeds="${3:-1,2,3}"
bash scripts/setup.sh dev
caixin=(dataset=news/caixin release_slot=day backbone=local "backbone.path=${COLDLM_E5:?a folder with multilingual-e5-small}"
  "backbone.item_prefix='passage: '")
for data in "${caixin[*]@Q}" "dataset=video/movielens_latest_small"; do
  eval "data=($data)"
  .venv/bin/coldlm run sweep=schedules "output=$runs" "${data[@]}" "strategy=$strategies" "seed=$seeds"
  .venv/bin/coldlm run -m experiment=schedules "output=$runs" "${data[@]}" strategy=frozen "seed=$seeds" \
    control=context_only,random_vectors,permuted_text online=per_window
done
.venv/bin/coldlm report "$runs" --out "$runs/report" --pack "$runs/report/runs.parquet"
