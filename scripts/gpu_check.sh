#!/usr/bin/env bash
# All that needs a GPU, on one card without network, in under 8 minutes: tests marked gpu, then training and encoding beside
# other software, in 32 bits and mixed with 16. Writes gpu.md, gpu.json and gpu-tests.xml.
# Usage: gpu_check.sh [folder for what is written, by default studies/gpu]
# PYTHON: with torch for CUDA (python3). WHEELS: a folder of wheels of what else is missing there, which are installed as
# they are. Other software takes part where it can be imported (sentence-transformers, datasets, accelerate).
set -euo pipefail
cd "$(dirname "$0")/.."
out="${1:-studies/gpu}"
python="${PYTHON:-python3}"
mkdir -p "$out"
"$python" -c 'import torch; assert torch.cuda.is_available()' 2> /dev/null || {
  echo "gpu_check.sh: $python has no torch that finds a CUDA device; set PYTHON" >&2
  exit 1
}
[ -x .venv-gpu/bin/python ] || "$python" -m venv --system-site-packages .venv-gpu
if [ -n "${WHEELS:-}" ]; then
  .venv-gpu/bin/python -m pip install --quiet --no-index --no-deps --find-links "$WHEELS" "$WHEELS"/*.whl
fi
export PYTHONPATH="$PWD/src" HF_HUB_OFFLINE=1 COLDLM_PEERS="$PWD/.venv-gpu"
.venv-gpu/bin/python -m pytest -m gpu tests/test_gpu.py -p no:cacheprovider --junitxml "$out/gpu-tests.xml" && failed=0 || failed=$?
.venv-gpu/bin/python -m benchmarks --device cuda --quick --out "$out/gpu.md" --json "$out/gpu.json"
exit "$failed"
