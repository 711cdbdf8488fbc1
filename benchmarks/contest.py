"""Several programs that do the same work, in turn, so that what else the machine does meets all of them alike."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass
class Contender:
    """One program. ``command``: a process that serves (``contender.py``). ``rates``: work a second, one of each round.
    ``said``: what it says of itself once it is ready. ``why``: it cannot take part."""

    name: str
    command: Sequence[str]
    rates: list[float] = field(default_factory=list)
    said: dict[str, Any] = field(default_factory=dict)
    mb: float = 0.0
    why: str = ""


def contest(contenders: Sequence[Contender], rounds: int) -> None:
    """Start each, one after the other, and let them work in turn, ``rounds`` times after one that is not counted."""
    with ExitStack() as stack:
        running = []
        for one in contenders:
            if one.why:
                continue
            worker = stack.enter_context(_Worker(one.command))
            _try(one, worker, lambda one, answer: one.said.update(answer))
            running.append((one, worker))
        for number in range(rounds + 1):
            for one, worker in running:
                if one.why:
                    continue
                print(
                    f"\r\033[K{number + 1}/{rounds + 1} {one.name}",
                    end="",
                    file=sys.stderr,
                    flush=True,
                )
                worker.go()
                _try(one, worker, _count if number else lambda one, answer: None)
        print("\r\033[K", end="", file=sys.stderr)


def _count(one: Contender, answer: dict[str, Any]) -> None:
    one.rates.append(answer["n"] / answer["seconds"])
    one.mb = answer["mb"]


def _try(one: Contender, worker: _Worker, take: Any) -> None:
    try:
        take(one, worker.answer())
    except RuntimeError as error:
        one.why = str(error)


class _Worker:
    """A process that serves, its standard error in a file."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command

    def __enter__(self) -> _Worker:
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
            cwd=HERE.parent,
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def go(self) -> None:
        assert self._process.stdin
        with suppress(BrokenPipeError):  # ``answer`` will say so
            self._process.stdin.write("\n")
            self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Raises:
        RuntimeError: it ended instead, with the last line that it printed.
        """
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            said = self._errors.read().strip().splitlines() or ["it ended without a word"]
            raise RuntimeError(said[-1][:200])
        found: dict[str, Any] = json.loads(line)
        return found


def table(
    contenders: Sequence[Contender], unit: str, against: Sequence[str], notes: Sequence[str] = ()
) -> str:
    """A Markdown table: rates, their range, how many times those of the contenders ``against`` in the same round,
    peak memory, and of what each says the parts ``notes``."""
    peers = [one for one in contenders if one.name in against]
    heads = [
        "",
        f"{unit}, median",
        "min to max",
        *(f"x {peer.name}" for peer in peers),
        "peak MB",
        *notes,
    ]
    rows = []
    for one in contenders:
        if one.why:
            rows.append([one.name, f"not run: {one.why}", *[""] * (len(heads) - 2)])
            continue
        ratios = [_ratio(one, peer) for peer in peers]
        rates = [
            _short(statistics.median(one.rates)),
            f"{_short(min(one.rates))} to {_short(max(one.rates))}",
        ]
        rows.append(
            [
                one.name,
                *rates,
                *ratios,
                f"{one.mb:,.0f}",
                *(str(one.said.get(n, "")) for n in notes),
            ]
        )
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _ratio(one: Contender, peer: Contender) -> str:
    if peer.why:
        return "n/a"
    return f"{statistics.median(a / b for a, b in zip(one.rates, peer.rates, strict=True)):,.2f}"


def _short(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"
