#!/usr/bin/env bash
# Every schedule on two data sets, beside controls updated the same way; finished runs are not run again, so more seeds can
# be added later, and two of these can run side by side on one data set each.
# Usage: run.sh [output] [data sets] [seeds of frozen] [seeds of lora: of the first all schedules, of others the main ones]
set -euo pipefail
cd "$(dirname "$0")/../.."
runs="${1:-runs/schedules}"
sets="${2:-caixin movielens}"
seeds="${3:-1 2 3 4 5}"
lora_seeds="${4:-1 2 3}"
[ -x .venv/bin/coldlm ] || bash scripts/setup.sh dev
movielens=(dataset=video/movielens_latest_small)
caixin=(dataset=news/caixin release_slot=day backbone=local
  "backbone.path=${COLDLM_E5:?a folder with multilingual-e5-small}" "backbone.item_prefix='passage: '")
main=history,head_only,per_window,replay,ewc,every_n

for seed in $(printf '%s\n' $seeds $lora_seeds | sort -nu); do
  for set in $sets; do
    declare -n data="$set"
    common=(experiment=schedules "output=$runs" "${data[@]}" "seed=$seed")
    if [[ " $seeds " == *" $seed "* ]]; then
      .venv/bin/coldlm run sweep=schedules "${common[@]}" strategy=frozen
      # in a folder of their own: they are asked other questions, or called by another name
      late=("${common[@]/"output=$runs"/"output=$runs-late"}" strategy=frozen)
      .venv/bin/coldlm run -m "${late[@]}" online=per_window,every_n online.latency_seconds=3600,21600
      .venv/bin/coldlm run -m "${late[@]}" online=history,per_window,every_n online.label_delay_seconds=86400
      .venv/bin/coldlm run -m "${common[@]}" strategy=frozen \
        control=context_only,random_vectors,permuted_in_cohort,permuted_text online=history,per_window
    fi
    if [[ " $lora_seeds " == *" $seed "* ]]; then
      .venv/bin/coldlm run -m "${common[@]}" strategy=lora strategy.layers=2 "online=$main"
      .venv/bin/coldlm run -m "${common[@]}" strategy=lora strategy.layers=2 control=permuted_in_cohort \
        online=history,head_only,per_window
    fi
    if [[ "$lora_seeds " == "$seed "* ]]; then
      .venv/bin/coldlm run -m "${common[@]}" strategy=lora strategy.layers=2 \
        online=distill,peso,long_short,shuffled,oracle,retrain
      .venv/bin/coldlm run -m "${common[@]}" strategy=lora strategy.layers=2 strategy.stream_adapters=4 \
        online=lsat,adapter_per_update
    fi
  done
done
