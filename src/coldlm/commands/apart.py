"""``launcher=process``: each cell in a process of its own, forked from one that has imported what all
need and computed nothing."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from coldlm.commands.cells import SWEEP
from coldlm.commands.launchers import Apart, Hydras
from coldlm.commands.outcomes import ELSEWHERE, Outcome
from coldlm.config.compose import Plan
from coldlm.core.signals import terminate
from coldlm.runs.claim import write_death

if TYPE_CHECKING:
    from coldlm.commands.launch import Task

LOOK = 0.2
"""Seconds between two looks at the cells' memory."""

GRACE = 20.0
"""Seconds that cells have to leave what they have done in order, once they are told to stop."""

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS", "NUMBA_NUM_THREADS")
"""Variables that libraries read their number of threads from as they are loaded."""


@dataclass
class _Cell:
    """A cell that runs. ``index``: in the plan. ``says``: where its outcome comes from. ``why``: it was
    stopped, "" if it was not."""

    index: int
    process: BaseProcess
    says: Connection
    begin: float
    why: str = ""


def carry_out(plan: Plan, which: Sequence[int], launcher: Apart, task: Task) -> list[Outcome]:
    """Carry out these cells of a plan; what became of each, in their order.

    What a cell prints goes to ``.sweep/NAME.out`` beside the run folders. One that dies is FAILED, the
    others go on.
    """
    cores = _cores()
    workers = min(launcher.workers or cores, len(which))
    context = _context(max(1, cores // workers))
    waiting, running, outcomes = list(which), list[_Cell](), dict[int, Outcome]()
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                running.append(_start(context, plan, waiting.pop(0), task))
            wait([cell.process.sentinel for cell in running], timeout=LOOK)
            for cell in running:
                _stop_if_too_large(cell, launcher.memory_gb)
            for cell in [cell for cell in running if not cell.process.is_alive()]:
                running.remove(cell)
                outcomes[cell.index] = outcome = _ended(cell, plan.folders[cell.index])
                _tell(outcome, cell, f"{len(outcomes)}/{len(which)}")
    finally:
        _stop(running)
    return [outcomes[i] for i in which]


def _context(threads: int) -> BaseContext:
    """Where cells are forked from: a process with so many threads a cell, which holds the libraries."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["coldlm.experiment.run", "coldlm.commands.launch"])
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update({name: str(threads) for name in THREADS if before[name] is None})
    try:
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
    return context


def _start(context: BaseContext, plan: Plan, index: int, task: Task) -> _Cell:
    folder = plan.folders[index]
    out = folder.parent / SWEEP / f"{folder.name}.out"
    says, tells = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(plan, index, task, out, tells))  # type: ignore[attr-defined]
    process.start()
    tells.close()
    print(f"begins  {folder.name}", file=sys.stderr, flush=True)
    return _Cell(index, process, says, time.perf_counter())


def _run(plan: Plan, index: int, task: Task, out: Path, tells: Connection) -> None:
    """In the cell's process: run it, and tell what became of it."""
    from coldlm.commands.launch import on_hydras

    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C reaches all; the sweep's process tells us
    with out.open("ab", buffering=0) as stream:
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    (outcome,) = on_hydras(plan, [index], Hydras("basic", {}), task)
    tells.send(outcome)


def _end_with_parent() -> None:
    """Stop this process when the sweep's own has died: nobody waits for it any more."""
    if parent := multiprocessing.parent_process():
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def _stop_if_too_large(cell: _Cell, most_gb: float | None) -> None:
    if most_gb is None or cell.why or not cell.process.is_alive():
        return
    try:
        whole = psutil.Process(cell.process.pid)
        taken = sum(each.memory_info().rss for each in [whole, *whole.children(recursive=True)])
    except psutil.Error:  # it has just ended
        return
    if taken > most_gb * 1e9:
        cell.why = f"took {taken / 1e9:.2f} GB of memory, launcher.memory_gb={most_gb:g} allows"
        cell.process.kill()


def _ended(cell: _Cell, folder: Path) -> Outcome:
    """What became of a cell whose process has ended; a death is written into its manifest."""
    cell.process.join()
    if cell.says.poll():
        try:
            outcome: Outcome = cell.says.recv()
            return outcome
        except EOFError:
            pass
    code = cell.process.exitcode or 0
    name = signal.Signals(-code).name if code < 0 else f"status {code}"
    often = ": often the system was out of memory" if name == "SIGKILL" else ""
    reason = cell.why or f"its process ended with {name}{often}"
    write_death(folder, reason)
    return Outcome(folder, "Killed", reason, is_ours=True)


def _tell(outcome: Outcome, cell: _Cell, place: str) -> None:
    said = {"": "done    ", ELSEWHERE: "waits   "}.get(outcome.kind, "FAILED  ")
    seconds = time.perf_counter() - cell.begin
    reason = f"  {outcome.kind}: {outcome.problem.partition(chr(10))[0]}" if outcome.kind else ""
    print(
        f"{said}{outcome.folder.name}  {seconds:.0f} s  ({place}){reason}",
        file=sys.stderr,
        flush=True,
    )


def _stop(running: Sequence[_Cell]) -> None:
    """Let the cells that still run leave what they have done in order, and end."""
    for cell in running:
        cell.process.terminate()
    end = time.perf_counter() + GRACE
    for cell in running:
        cell.process.join(max(0.0, end - time.perf_counter()))
        if cell.process.is_alive():
            cell.process.kill()
            cell.process.join()


def _cores() -> int:
    """Cores that this process may use; a cluster's scheduler may have given it few."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
