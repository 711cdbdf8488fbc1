"""The quickstart's outputs are there, and every number in them is finite. Usage: check_quickstart.py RUNS"""

import json
import sys
from pathlib import Path

import polars as pl

from coldlm.core.columns import MANDATORY_BASELINES, MANDATORY_CONTROLS

runs = Path(sys.argv[1])
manifests = [json.loads(file.read_text(encoding="utf-8")) for file in runs.glob("*/manifest.json")]
results = pl.concat([pl.read_parquet(file) for file in runs.glob("*/results.parquet")])
report = runs / "report"

assert {m["status"] for m in manifests} == {"FINISHED"}, [m["status"] for m in manifests]
assert all(count == 0 for m in manifests for count in m["leaks"].values()), [m["leaks"] for m in manifests]
assert all(m["dropped"] == 0 for m in manifests)
assert results["value"].is_finite().all()
assert set(MANDATORY_BASELINES) <= set(results["scorer"])
assert set(MANDATORY_CONTROLS) <= set(results["control"])
assert results.filter(control="none", scorer="model")["strategy"].n_unique() >= 2
assert results["window"].n_unique() >= 1 + 5
for name in ("report.md", "table.md", "table.tex", "table.csv", "figure.png", "figure.svg"):
    assert (report / name).stat().st_size > 500, name
table = (report / "table.md").read_text(encoding="utf-8")
assert "INCOMPLETE" not in table
assert "nan" not in table.lower()
print(f"quickstart: {len(manifests)} runs, {results.height} finite values, table and figure in {report}")
