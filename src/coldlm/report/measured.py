"""What a report says, measured once and before anything of it is written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coldlm.report.against import refuse_unknown_row
from coldlm.report.asked import Asked
from coldlm.report.cohorts import SliceMeasure, measure_slices
from coldlm.report.columns import refuse_unknown
from coldlm.report.measure import Headline, measure
from coldlm.report.results import Runs, read_runs
from coldlm.report.rows import Comparison
from coldlm.report.texts import TextWorth, measure_texts

Part = tuple[Comparison, Headline, tuple[TextWorth, ...]]


@dataclass(frozen=True)
class Report:
    """What was read and what was written. ``headlines``, ``texts``: one per comparison of ``runs``.
    ``cohorts``: of all. ``warnings``: what this machine could not do."""

    runs: Runs
    headlines: tuple[Headline, ...]
    texts: tuple[tuple[TextWorth, ...], ...]
    cohorts: tuple[SliceMeasure, ...]
    files: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def parts(self) -> list[Part]:
        """What is said of each comparison, one after the other."""
        return list(zip(self.runs.comparisons, self.headlines, self.texts, strict=True))

    def stem(self, name: str, comparison: Comparison) -> str:
        """Return the name of a figure's files without suffix: ``name``, or with several comparisons
        ``name-<title>`` in letters that any file system takes."""
        if len(self.runs.comparisons) == 1:
            return name
        return f"{name}-{re.sub(r'[^A-Za-z0-9.]+', '-', comparison.title).strip('-')}"


def make_report(paths: Sequence[Path], asked: Asked | None = None) -> Report:
    """Read and measure the runs under ``paths``, write nothing; raises what ``read_runs`` raises, and
    ConfigError for a row or a column that there is not."""
    asked = asked or Asked()
    runs = read_runs(paths, asked)
    if asked.against:
        refuse_unknown_row(asked.against, runs.comparisons)
    headlines = tuple(measure(comparison, asked) for comparison in runs.comparisons)
    refuse_unknown(asked, list(zip(runs.comparisons, headlines, strict=True)))
    texts = tuple(measure_texts(comparison) for comparison in runs.comparisons)
    return Report(runs, headlines, texts, measure_slices(runs.comparisons))
