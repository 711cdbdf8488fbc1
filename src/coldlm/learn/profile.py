"""Where the time of a training goes: Lightning's simple profiler and torch's, on one page."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from pytorch_lightning.profilers import PassThroughProfiler, Profiler, SimpleProfiler
from torch.profiler import ProfilerActivity, profile

from coldlm.core import ranks

log = logging.getLogger("coldlm")

ROWS = 15
"""Of torch's table that are printed and kept: its operations that take longest themselves."""


@contextmanager
def profiled(folder: Path | None, name: str) -> Iterator[Profiler]:
    """Give Lightning's profiler for a training called ``name``, and print both profiles when it is through; they
    are kept in ``folder``, as ``profile-NAME.txt``. None: nothing is profiled."""
    if folder is None:
        yield PassThroughProfiler()
        return
    simple, is_cuda = SimpleProfiler(), torch.cuda.is_available()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if is_cuda else [])]
    with profile(activities=activities) as of_torch:
        yield simple
    by = "self_device_time_total" if is_cuda else "self_cpu_time_total"
    table = of_torch.key_averages().table(sort_by=by, row_limit=ROWS, max_name_column_width=40)
    if ranks.is_first():
        file = folder / f"profile-{name.replace(' ', '-')}.txt"
        file.write_text(f"{simple.summary()}\n\n{table}\n", encoding="utf-8")
        log.info("profile of %s, whole in %s:\n%s", name, file, table)
