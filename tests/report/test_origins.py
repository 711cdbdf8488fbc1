"""One table over streams that follow each other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from coldlm.report.origins import origin_tables
from coldlm.report.results import read_runs
from coldlm.report.write import write_report


@pytest.fixture
def make_origins(make_run) -> Callable[..., Path]:
    """A run per origin, whose model is worth this much there."""

    def make(*values: float, origins: int = 3) -> Path:
        for origin, value in enumerate(values, 1):
            folder: Path = make_run(f"origin-{origin}", value=value)
            file = folder / "manifest.json"
            manifest = json.loads(file.read_text())
            manifest["question"] = f"of origin {origin}"
            manifest["recipe"] |= {"split.origins": origins, "split.origin": origin}
            file.write_text(json.dumps(manifest))
        return folder.parent

    return make


def test_rows_stand_at_each_origin_with_mean_and_spread(make_origins) -> None:
    values = (0.04, 0.05, 0.03)
    (table,) = origin_tables(read_runs([make_origins(*values)]).comparisons)
    assert [head.partition(" (")[0] for head in table.header[:4]] == [
        "scorer", "origin 1", "origin 2", "origin 3",
    ]  # fmt: skip
    own = next(line for line in table.body if line[0] == "lora, history")
    assert own[1:4] == (".0400", ".0500", ".0300")
    assert own[4:6] == (".0400", ".0100")
    apart = np.array(values) - 0.026  # recent popularity, at each
    half = stats.t.ppf(0.975, 2) * apart.std(ddof=1) / 3**0.5
    assert table.header[6] == "vs recent_popularity"
    low, high = (f"{x:+.4f}".replace("0.", ".") for x in (apart.mean() - half, apart.mean() + half))
    assert own[6:] == ("+.0140", f"[{low}, {high}]")
    baseline = next(line for line in table.body if line[0] == "popularity")
    assert baseline[5:] == (".0000", "–", "–")


def test_one_origin_or_another_number_of_them_has_no_table(make_origins, make_run) -> None:
    assert origin_tables(read_runs([make_origins(0.04)]).comparisons) == ()
    plain = make_run("plain").parent
    assert origin_tables(read_runs([plain]).comparisons) == ()


def test_the_report_has_it_on_every_page(make_origins, tmp_path: Path, unpainted: None) -> None:
    write_report([make_origins(0.04, 0.05)], tmp_path / "report")
    for file in ("report.md", "report.html"):
        assert "Origins of toy" in (tmp_path / "report" / file).read_text()
