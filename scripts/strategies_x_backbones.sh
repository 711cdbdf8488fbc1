#!/usr/bin/env bash
# Every strategy on every backbone that a machine without the hub has, on MovieLens and on Caixin (releases by day), under
# one budget and beside all controls: hours on 2 cores. COLDLM_DATA names the data folder, the arguments a folder with an
# English RoBERTa and one with a multilingual encoder that reads "passage: " and "query: ". What is finished is not run
# again. Usage: strategies_x_backbones.sh ROBERTA MULTILINGUAL [output]
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh quickstart

: "${COLDLM_DATA:?name the data folder by COLDLM_DATA}"
roberta="${1:?name a folder with an English RoBERTa (config.json, tokenizer, safetensors)}"
multilingual="${2:?name a folder with a multilingual encoder}"
runs="${3:-runs/strategies_x_backbones}"
export OMP_WAIT_POLICY=PASSIVE

caixin=(dataset=news/caixin dataset.release_slot=day)
cells() { .venv/bin/coldlm run sweep=strategies_x_backbones output="$runs" "$@"; }
# the controls that have no text, beside which strategies and backbones do not matter
others() { .venv/bin/coldlm run -m experiment=cell_frozen control=context_only,random_vectors output="$runs" "$@"; }
pretrain() { .venv/bin/coldlm run experiment=pretrain_tiny_gpt2 output="$runs/pretrain" "$@"; }
by_path() { echo backbone=local backbone.name="$1" backbone.path="$2"; }

pretrain name=gpt2_movielens
pretrain name=gpt2_caixin "${caixin[@]}"
cells backbone=minilm
cells $(by_path "$(basename "$roberta")" "$roberta")
cells $(by_path gpt2_movielens "$runs/pretrain/gpt2_movielens/backbone")
others
# twelve layers of longer texts: a quarter of the events is what the same time allows
less=(train.latest=5000)
cells $(by_path "$(basename "$multilingual")" "$multilingual") backbone.item_prefix="'passage: '" \
  backbone.query_prefix="'query: '" "${caixin[@]}" "${less[@]}"
cells $(by_path gpt2_caixin "$runs/pretrain/gpt2_caixin/backbone") "${caixin[@]}" "${less[@]}"
others "${caixin[@]}" "${less[@]}"
.venv/bin/coldlm report "$runs" --out "$runs/report" --pack "$runs/report/runs.parquet"
