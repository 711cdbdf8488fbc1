#!/usr/bin/env bash
# One real data set per domain under one protocol: frozen beside its three controls, one table. COLDLM_DATA names the data
# folder, the first argument a folder with a multilingual encoder that reads "passage: " and "query: " (such as
# multilingual-e5-small). Usage: run.sh ENCODER [seeds, such as 1,2,3] [output]
set -euo pipefail
cd "$(dirname "$0")/../.."
bash scripts/setup.sh quickstart

: "${COLDLM_DATA:?name the data folder by COLDLM_DATA}"
encoder="${1:?name a folder with a multilingual encoder (config.json, tokenizer, safetensors)}"
seeds="${2:-1}"
runs="${3:-runs/domain_tour}"
export OMP_WAIT_POLICY=PASSIVE
tour() { .venv/bin/coldlm run -m experiment=domain_tour control=none,context_only,random_vectors,permuted_text \
  seed="$seeds" output="$runs" "$@"; }
news() { tour backbone=local backbone.path="$encoder" backbone.name="$(basename "$encoder")" \
  backbone.item_prefix="'passage: '" backbone.query_prefix="'query: '" "$@"; }

tour dataset=ecommerce/online_retail
tour dataset=video/movielens_latest_small
tour dataset=music/lastfm_2k
# a click log knows no release times: both rules
news dataset=news/caixin release_slot=null,day
news dataset=news/mind dataset.edition=sample evaluate.candidates=impression
.venv/bin/coldlm report "$runs" --out "$runs/report" --pack "$runs/report/runs.parquet"
