# The data sets of this study and the budget of every cell; read by run.sh and tune.sh. MovieLens is the packaged edition.
[[ " $sets " != *" ml100k "* ]] || : "${ML100K:?name the folder of ml-100k.inter}"
[[ " $sets " != *" caixin "* ]] || : "${CAIXIN:?name the folder with caixin_news}" "${E5:?name the folder of the encoder}"
[ -x .venv/bin/coldlm ] || bash scripts/setup.sh quickstart
unset COLDLM_DATA # with it, MovieLens would be whatever edition lies there
export OMP_WAIT_POLICY=PASSIVE

budget=(experiment=strategies_x_backbones online=off train.head_epochs=6 train.epochs=3 train.validate=true
  evaluate.latency_requests=0)
movielens=()
ml100k=(dataset=atomic "dataset.root=${ML100K:-}" dataset.label=rating dataset.positive_from=4)
caixin=(dataset=news/caixin "dataset.root=${CAIXIN:-}" release_slot=day backbone=local "backbone.path=${E5:-}"
  "backbone.item_prefix='passage: '" "backbone.query_prefix='query: '")
