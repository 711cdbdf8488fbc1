#!/usr/bin/env bash
# All rivals, strategies and controls on three data sets, five seeds, weights as trained: hours on 2 cores. Finished runs are
# not run again, and a cell has one thread: two of these, on one data set each, fill two cores. Rates and sizes of strategies
# are what tune.sh chose.
# MovieLens is the packaged edition. ML100K names a folder with RecBole's ml-100k files; CAIXIN the data folder with
# caixin_news in it; E5 a folder with multilingual-e5-small.
# Usage: run.sh [output] [data sets: movielens ml100k caixin] [seeds]
set -euo pipefail
cd "$(dirname "$0")/../.."
runs="${1:-runs/rivals}"
sets="${2:-movielens ml100k caixin}"
seeds="${3:-1 2 3 4 5}"
. studies/rivals/sets.sh
all="[popularity_days,bm25,item_knn,ease,bpr,lightgcn,sasrec,gru4rec,content_knn,late_fusion,mixture_by_n,dropoutnet,clcrec,heater,aldi,elsa_text]"
declare -A chosen=(
  [movielens,top]="strategy.layers=2 optim.body_lr=3.38e-6" [movielens,prefix]="strategy.length=5 optim.body_lr=6.76e-5"
  [movielens,lora]="strategy.rank=4 optim.body_lr=.00677" [movielens,adapter]="strategy.bottleneck=8 optim.body_lr=.00677"
  [movielens,ia3]="optim.body_lr=.0229"
  [ml100k,top]="strategy.layers=1 optim.body_lr=.000109" [ml100k,prefix]="strategy.length=10 optim.body_lr=.000707"
  [ml100k,lora]="" [ml100k,adapter]="strategy.bottleneck=8 optim.body_lr=.00677" [ml100k,ia3]="optim.body_lr=.0229"
  [caixin,head]="optim.lr=.0338"
  [caixin,top]="strategy.layers=1 optim.body_lr=1.04e-5" [caixin,prefix]="strategy.length=10 optim.body_lr=.000707"
  [caixin,lora]="strategy.rank=4 optim.body_lr=.00677" [caixin,adapter]="strategy.bottleneck=4 optim.body_lr=.000647"
  [caixin,ia3]="optim.body_lr=.0229"
)

one() { .venv/bin/coldlm run "output=$runs/$set" "${budget[@]}" "${data[@]}" "seed=$seed" "$@"; }
# of the strategies that train the backbone, the one that validation puts first on seed 1: the others have that seed alone
best() {
  .venv/bin/python - "$runs/$set" <<'END'
import json, pathlib, sys

found = []
for file in pathlib.Path(sys.argv[1]).glob("*/manifest.json"):
    said = json.loads(file.read_text())
    axes = said["axes"]
    if (axes["seed"], axes["control"]) == ("1", "none") and "frozen" not in axes["strategy"]:
        found.append((max(said["validation"]["ndcg@10"]), axes["strategy"].partition(" ")[0]))
print(max(found)[1])
END
}

tuned() { # one cell of a strategy, or a few, with what was chosen for it
  local strategy="$1" layers=strategy.layers=2
  [ "$strategy" != top ] || layers=
  one "${@:2}" "strategy=$strategy" $layers ${chosen[$set,head]:-} ${chosen[$set,$strategy]}
}

for set in $sets; do
  declare -n data="$set"
  seed=1
  for strategy in top lora adapter prefix ia3; do tuned "$strategy"; done
  carried="$(best)"
  controls=context_only,random_vectors,permuted_in_cohort
  [ -z "${chosen[$set,head]:-}" ] || controls="none,$controls"
  for seed in $seeds; do
    tuned "$carried" -m control=none,permuted_in_cohort
    one -m ${chosen[$set,head]:-} "control=$controls"
    one "evaluate.rivals=$all" # beside frozen vectors as configured
  done
done
.venv/bin/coldlm report "$runs" --out "$runs/report" --pack "$runs/report/runs.parquet"
