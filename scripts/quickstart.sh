#!/usr/bin/env bash
# From a fresh clone to the table and the figure: set up, run the quickstart experiment with its controls, report.
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh quickstart

export OMP_WAIT_POLICY=PASSIVE
runs="${1:-runs/quickstart}"
# top first: the layers below the last are then encoded once for both, and its own texts are permuted too
.venv/bin/coldlm run -m experiment=quickstart output="$runs" strategy=top,frozen
.venv/bin/coldlm run -m experiment=quickstart output="$runs" strategy=top control=context_only,random_vectors,permuted_in_cohort
.venv/bin/coldlm report "$runs" --out "$runs/report"
cat <<END

open  $runs/report/report.html, the tables and the figures on one page
then  source .venv/bin/activate, after which coldlm is a command: coldlm run --help
or    coldlm serve "$runs/experiment=quickstart,strategy=frozen", and see it learn at http://127.0.0.1:8000
END
