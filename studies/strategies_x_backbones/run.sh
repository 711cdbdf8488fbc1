#!/usr/bin/env bash
# Every strategy on every backbone that a machine without the hub has, on MovieLens and on Caixin (releases by day), under
# one budget and beside all controls: hours on 2 cores. COLDLM_DATA names the data folder, the arguments a folder with an
# English RoBERTa and one with a multilingual encoder that reads "passage: " and "query: ". What is finished is not run
# again, and a cell has one thread: with a third argument, ml or caixin, two of these fill two cores.
# Usage: run.sh ROBERTA MULTILINGUAL [ml|caixin|both] [output]
set -euo pipefail

COLDLM_DATA="$(realpath "${COLDLM_DATA:?name the data folder by COLDLM_DATA}")" && export COLDLM_DATA
roberta="$(realpath "${1:?name a folder with an English RoBERTa (config.json, tokenizer, safetensors)}")"
multilingual="$(realpath "${2:?name a folder with a multilingual encoder}")"
which="${3:-both}"
case "$which" in ml | caixin | both) ;; *) echo "got $which, allowed: ml, caixin, both" >&2 && exit 2 ;; esac
cd "$(dirname "$0")/../.."
runs="${4:-runs/strategies_x_backbones}"
bash scripts/setup.sh quickstart
export OMP_WAIT_POLICY=PASSIVE

cells() { .venv/bin/coldlm run sweep=strategies_x_backbones output="$runs" "$@"; }
# the controls that have no text, beside which strategies and backbones do not matter
others() { .venv/bin/coldlm run -m experiment=strategies_x_backbones strategy=frozen control=context_only,random_vectors output="$runs" "$@"; }
pretrain() { .venv/bin/coldlm run experiment=pretrain_tiny_gpt2 output="$runs/pretrain" "$@"; }
by_path() { cells backbone=local backbone.name="$1" backbone.path="$2" "${@:3}"; }

if [ "$which" != caixin ]; then
  pretrain name=gpt2_movielens
  others
  by_path gpt2_movielens "$runs/pretrain/gpt2_movielens/backbone"
  cells backbone=minilm
  # three seeds of the four best by trials, of prompt, best by the stream of the first seed, and of what they are held against
  cells backbone=minilm seed=2,3 strategy=frozen,prefix,ia3,lora,adapter,prompt
  others seed=2,3
  by_path "$(basename "$roberta")" "$roberta"
fi
if [ "$which" != ml ]; then
  caixin=(dataset=news/caixin release_slot=day)
  pretrain name=gpt2_caixin "${caixin[@]}"
  # twelve layers: six steps behind the head's own epochs are what 120 seconds allow; all cells of a set are given the same
  caixin+=(train.max_steps=6)
  others "${caixin[@]}"
  by_path gpt2_caixin "$runs/pretrain/gpt2_caixin/backbone" "${caixin[@]}"
  by_path "$(basename "$multilingual")" "$multilingual" backbone.item_prefix="'passage: '" \
    backbone.query_prefix="'query: '" "${caixin[@]}"
fi
.venv/bin/coldlm report "$runs" --out "$runs/report" --pack "$runs/report/runs.parquet"
