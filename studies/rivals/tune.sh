#!/usr/bin/env bash
# Four trials of every strategy on each data set, on validation of seed 1, in the budget of run.sh: the rate of the head first,
# under frozen vectors, then with it each strategy's own rate and size. Some two hours of one core; trials.csv has them all.
# Usage: tune.sh [output] [data sets: movielens ml100k caixin]; folders as in run.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
runs="${1:-runs/rivals-tuned}"
sets="${2:-movielens ml100k caixin}"
. studies/rivals/sets.sh

for set in $sets; do
  declare -n data="$set"
  tune() { .venv/bin/coldlm tune "output=$runs/$set-$1" "${budget[@]}" "${data[@]}" seed=1 trials=4 "strategy=$1" "${@:2}"; }
  tune frozen
  head="$(sed -n 's/^  lr: /optim.lr=/p' "$runs/$set-frozen"/tuned/*.yaml)"
  tune top $head
  for strategy in ia3 lora prefix adapter; do tune "$strategy" strategy.layers=2 $head; done
done
