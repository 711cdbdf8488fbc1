#!/usr/bin/env bash
# All rivals, strategies and controls on three data sets, five seeds, weights as trained: hours on 2 cores. Finished runs are
# not run again, and a cell has one thread: two of these, on one data set each, fill two cores.
# MovieLens is the packaged edition. ML100K names a folder with RecBole's ml-100k files; CAIXIN the data folder with
# caixin_news in it; E5 a folder with multilingual-e5-small.
# Usage: run.sh [output] [data sets: movielens ml100k caixin] [seeds]
set -euo pipefail
cd "$(dirname "$0")/../.."
runs="${1:-runs/rivals}"
sets="${2:-movielens ml100k caixin}"
seeds="${3:-1 2 3 4 5}"
[[ " $sets " != *" ml100k "* ]] || : "${ML100K:?name the folder of ml-100k.inter}"
[[ " $sets " != *" caixin "* ]] || : "${CAIXIN:?name the folder with caixin_news}" "${E5:?name the folder of the encoder}"
[ -x .venv/bin/coldlm ] || bash scripts/setup.sh quickstart
unset COLDLM_DATA # with it, MovieLens would be whatever edition lies there
export OMP_WAIT_POLICY=PASSIVE

budget=(experiment=strategies_x_backbones online=off train.head_epochs=6 train.epochs=3 train.validate=true
  evaluate.latency_requests=0)
all="[popularity_days,bm25,item_knn,ease,bpr,lightgcn,sasrec,gru4rec,content_knn,late_fusion,mixture_by_n,dropoutnet,clcrec,heater,aldi,elsa_text]"
movielens=()
ml100k=(dataset=atomic "dataset.root=${ML100K:-}" dataset.label=rating dataset.positive_from=4)
caixin=(dataset=news/caixin "dataset.root=${CAIXIN:-}" release_slot=day backbone=local "backbone.path=${E5:-}"
  "backbone.item_prefix='passage: '" "backbone.query_prefix='query: '")

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

for set in $sets; do
  declare -n data="$set"
  seed=1
  one -m strategy=lora,adapter,prefix,ia3 strategy.layers=2
  one strategy=top
  chosen="$(best)"
  layers=()
  [ "$chosen" = top ] || layers=(strategy.layers=2)
  for seed in $seeds; do
    one -m "strategy=$chosen" "${layers[@]}" control=none,permuted_in_cohort
    one -m control=context_only,random_vectors,permuted_in_cohort
    one "evaluate.rivals=$all"
  done
done
.venv/bin/coldlm report "$runs" --out "$runs/report" --pack "$runs/report/runs.parquet"
