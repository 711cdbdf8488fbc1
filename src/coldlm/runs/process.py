"""The process that carries out a run: its settings, its memory, and what it runs on."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import resource
import subprocess
import sys
from contextlib import suppress
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from coldlm.config.schema import Trainer

THREADS = torch.get_num_threads()
"""Torch's own choice, before any run asked for another."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Options of glibc's mallopt."""

LIBRARIES = (
    "coldlm",
    "torch",
    "pytorch-lightning",
    "transformers",
    "peft",
    "torchmetrics",
    "numpy",
    "polars",
)


def set_up_process(trainer: Trainer, accelerator: str) -> None:
    """Set what a run needs of its process, and count its memory from here.

    Args:
        trainer: the configuration's.
        accelerator: that it came to, "cpu" or "gpu".
    """
    os.environ.setdefault(
        "HF_HUB_OFFLINE", "1" if os.environ.get("COLDLM_ALLOW_DOWNLOAD") != "1" else "0"
    )
    # set it in any case: the run before this one in a sweep may have asked for another number
    torch.set_num_threads(trainer.threads or THREADS)
    if port := trainer.port:
        os.environ.setdefault("MASTER_PORT", str(port))
    if accelerator == "cpu":
        # the gradient of an index adds in parallel, in any order, unless told otherwise
        torch.use_deterministic_algorithms(True)
        # nothing reads memory before it is written, so filling it would be time lost
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    _keep_freed_memory()
    _reset_peak_memory()


def process_facts() -> dict[str, Any]:
    """Commit, versions and machine of this process."""
    gpu = torch.cuda.is_available()
    return {
        "commit": _commit(),
        "command": " ".join(["coldlm", *sys.argv[1:]]),
        "versions": {"python": platform.python_version()}
        | {name: _version(name) for name in LIBRARIES},
        "device": torch.cuda.get_device_name()
        if gpu
        else f"{platform.machine()} CPU, {os.cpu_count()} cores",
        "threads": torch.get_num_threads(),
    }


def peak_memory_mb() -> float:
    """Return the largest resident memory of this process since ``set_up_process``, in MB (GPU memory
    where there is a GPU)."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _keep_freed_memory() -> None:
    """Let the C library keep large blocks that are freed for the next ones of their size (glibc):
    scoring frees and takes tens of megabytes per chunk of queries, and clearing fresh pages for
    them costs a tenth of a run's time."""
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            libc.mallopt(option, 1 << 30)


def _reset_peak_memory() -> None:
    """Start counting the peak anew (Linux; elsewhere the peak is that of the whole process)."""
    gc.collect()
    _freeze(len(sys.modules))
    with suppress(OSError, AttributeError):
        # what an earlier run of this process has freed would count as this one's
        ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


@lru_cache(maxsize=1)
def _freeze(n_modules: int) -> None:
    """What is imported stays: later runs of this process need not look at it, once for as many
    modules as there are."""
    gc.freeze()


@cache
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@cache
def _commit() -> str | None:
    """The commit of the source tree, with "+" if there are changes, when this process first asked: that is
    what it has imported. None outside a git checkout."""
    try:
        git = ["git", "-C", str(Path(__file__).parent)]
        commit = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10
        )
        dirty = subprocess.run(
            [*git, "status", "--porcelain"], capture_output=True, text=True, check=True, timeout=10
        )
        return commit.stdout.strip() + ("+" if dirty.stdout.strip() else "")
    except (OSError, subprocess.SubprocessError):
        return None
