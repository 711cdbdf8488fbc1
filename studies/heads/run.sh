#!/usr/bin/env bash
# Every head on the same 500 queries of MovieLens: two towers, a classifier of pairs and log-probabilities, the last two
# re-ranking the best 30 of recent popularity and of the two towers, beside their controls: an hour on 2 cores.
# What is finished is not run again; pair and causal_lm, which can run side by side, need the towers first.
# Usage: run.sh [towers|pair|causal_lm|all] [output]
set -euo pipefail

which="${1:-all}"
case "$which" in towers | pair | causal_lm | all) ;; *) echo "got $which, allowed: towers, pair, causal_lm, all" >&2 && exit 2 ;; esac
cd "$(dirname "$0")/../.."
runs="${2:-runs/heads}"
bash scripts/setup.sh quickstart
export OMP_WAIT_POLICY=PASSIVE

asked() { [ "$which" = all ] || [ "$which" = "$1" ]; }
run() { .venv/bin/coldlm run output="$runs" experiment=strategies_x_backbones '~tuned' evaluate.queries=500 "$@"; }
towers="$runs/towers"
recent=(head.first_stage=recent_popularity)
reranks=(head.rerank=30 head.history=3 train.head_epochs=0)
# steps: what some 120 seconds of one thread allow
pair=(head=pair "${reranks[@]}" backbone.keep_layers=3 backbone.max_tokens=48
  loss=binary_cross_entropy loss.draws=4 train.batch_size=32 train.max_steps=60)
speaks=(head=causal_lm "${reranks[@]}" backbone=local backbone.name=gpt2_movielens backbone.pooling=last
  backbone.path="$runs/pretrain/gpt2/backbone" backbone.max_tokens=128)
trained=(strategy=full optim.body_lr=5e-4 train.batch_size=64)
nll=(loss=nll '~loss.draws' train.max_steps=120)

if asked towers; then # the first stage of the others, and the controls that have no text
  run name=towers
  run -m control=context_only,random_vectors,permuted_text
fi
if asked pair; then
  run -m "${pair[@]}" "${recent[@]}" strategy=lora control=none,permuted_text
  run "${pair[@]}" strategy=lora head.first_stage="$towers"
  run "${pair[@]}" "${recent[@]}" strategy=frozen head.context=only
fi
if asked causal_lm; then
  .venv/bin/coldlm run experiment=pretrain_tiny_gpt2 output="$runs/pretrain" trainer.threads=1 backbone.max_tokens=128 \
    name=gpt2
  run "${speaks[@]}" "${recent[@]}" "${nll[@]}"
  run -m "${speaks[@]}" "${recent[@]}" "${trained[@]}" "${nll[@]}" control=none,permuted_text
  run "${speaks[@]}" "${trained[@]}" "${nll[@]}" head.first_stage="$towers"
  run "${speaks[@]}" "${recent[@]}" "${trained[@]}" head.context=on loss=binary_cross_entropy loss.draws=4 train.max_steps=60
fi
.venv/bin/coldlm report "$runs" --out "$runs/report" --pack "$runs/report/runs.parquet"
