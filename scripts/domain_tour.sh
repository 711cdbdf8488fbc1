#!/usr/bin/env bash
# One real data set per domain under one protocol: frozen beside its three controls. COLDLM_DATA names the data folder,
# the first argument a folder with a Chinese encoder. Usage: domain_tour.sh ENCODER [output]
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh quickstart

: "${COLDLM_DATA:?name the data folder by COLDLM_DATA}"
chinese="${1:?name a folder with a Chinese encoder (config.json, tokenizer, safetensors)}"
runs="${2:-runs/domain_tour}"
export OMP_WAIT_POLICY=PASSIVE
tour() { .venv/bin/coldlm run experiment=domain_tour sweep=controls output="$runs" "$@"; }

tour dataset=ecommerce/online_retail
tour dataset=video/movielens_latest_small
tour dataset=music/lastfm_2k
for slot in null day; do # a click log knows no release times: both rules
  tour dataset=news/caixin dataset.release_slot="$slot" backbone=local backbone.path="$chinese" backbone.name=chinese \
    backbone.item_prefix="'passage: '" backbone.query_prefix="'query: '"
done
.venv/bin/coldlm report "$runs" --out "$runs/report"
