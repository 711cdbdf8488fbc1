"""The quickstart's outputs are there, every number in them is finite, and its table is the study's within the tolerance
that the study states. Usage: check_quickstart.py RUNS [STRATEGY]; with a strategy, of its cell alone."""

import json
import re
import sys
from pathlib import Path

import polars as pl

from coldlm.core.columns import MANDATORY_BASELINES, MANDATORY_CONTROLS, MODEL

STUDY = Path(__file__).parents[1] / "studies" / "quickstart" / "README.md"
COHORTS = {"all": "all", "any cold user": "cold_user_any", "any cold item": "cold_item_any"}

runs = Path(sys.argv[1])
manifests = [json.loads(file.read_text(encoding="utf-8")) for file in runs.glob("*/manifest.json")]
results = pl.concat([pl.read_parquet(file) for file in runs.glob("*/results.parquet")])
report = runs / "report"

assert {m["status"] for m in manifests} == {"FINISHED"}, [m["status"] for m in manifests]
assert all(count == 0 for m in manifests for count in m["leaks"].values()), [m["leaks"] for m in manifests]
assert all(m["dropped"] == 0 for m in manifests)
assert results["value"].is_finite().all()
assert set(MANDATORY_BASELINES) <= set(results["scorer"])
cell = sys.argv[2] if len(sys.argv) > 2 else None
if cell is None:
    assert set(MANDATORY_CONTROLS) <= set(results["control"])
    assert results.filter(control="none", scorer="model")["strategy"].n_unique() >= 2
assert results["window"].n_unique() >= 1 + 5
for name in ("report.md", "table.md", "table.tex", "table.csv", "figure.png", "figure.svg"):
    assert (report / name).stat().st_size > 500, name
table = (report / "table.md").read_text(encoding="utf-8")
assert ("INCOMPLETE" in table) == (cell is not None)
assert "nan" not in table.lower()

section = STUDY.read_text(encoding="utf-8").partition("\n## Table\n")[2].partition("\n## ")[0]
tolerance = float(re.findall(r"^Tolerance: (\.\d+)", section, re.M)[0])
header, *body = [
    [cell.strip() for cell in line.split("|")[1:-1]]
    for line in section.splitlines()
    if line.startswith("|") and not line.startswith("|---")
]
headline = results.filter(bucket="all", window=-1, average="macro", metric="ndcg", k=10)
of_model = headline.filter(scorer=MODEL).with_columns(
    name=pl.when(pl.col("control") == "none").then(pl.col("strategy").str.split(" ").list.first()).otherwise("control")
)
# a control may have permuted the texts that baselines read
of_baselines = headline.filter(pl.col("scorer") != MODEL, control="none")
far = []
for cells in body:
    scorer, _, schedule = cells[0].partition(" (")[0].partition(", ")
    if cell and schedule and scorer != cell:
        continue
    rows = of_model.filter(name=scorer, schedule=schedule) if schedule else of_baselines.filter(scorer=scorer)
    for column, cohort in COHORTS.items():
        found = rows.filter(cohort=cohort)["value"].unique().to_list()
        said = float(cells[header.index(column)])
        if not found or any(abs(value - said) > tolerance for value in found):
            far.append(f"{cells[0]}, {column}: {STUDY.parent.name} says {said}, the run {found}")
assert body, f"no table in {STUDY}"
assert not far, f"beyond the tolerance of {tolerance}:\n" + "\n".join(far)
print(
    f"quickstart: {len(manifests)} runs, {results.height} finite values, every row within {tolerance} of the "
    f"study's, table and figure in {report}"
)
