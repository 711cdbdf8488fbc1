#!/usr/bin/env bash
# The other libraries go into a folder of their own, PEERS, which is looked at last; then all figures are made anew.
set -euo pipefail
cd "$(dirname "$0")/../.."
peers="${PEERS:-/tmp/coldlm-peers}"
if [ ! -d "$peers" ]; then
    python -m pip install --target "$peers" ranx ir_measures
    python -m pip install --target "$peers" --no-deps rectools recbole colorlog colorama texttable thop typeguard
fi
export OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 POLARS_MAX_THREADS=1
python studies/agreement/agreement.py --peers "$peers"
