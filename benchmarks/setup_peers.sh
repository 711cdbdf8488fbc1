#!/usr/bin/env bash
# An environment of their own for the libraries that python -m benchmarks compares with: RecTools wants numpy below 2 on
# Python 3.11, coldlm wants 2. Usage: setup_peers.sh [folder], by default .venv-peers
set -euo pipefail
cd "$(dirname "$0")/.."
folder="${1:-.venv-peers}"
[ -x "$folder/bin/python" ] || "${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
  torch==2.13.0 transformers==5.24.0 sentence-transformers==6.2.0 datasets==4.1.1 pyarrow==21.0.0 accelerate==1.15.0 \
  onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 ranx==0.3.21 rectools==0.19.0 torchmetrics==1.9.0 'numpy<2'
