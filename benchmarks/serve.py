"""Requests a second and their latency, on loopback, while versions are made: 1, 8 and 32 clients ask and take.

Usage: python benchmarks/serve.py [SECONDS] [RUN], by default 60 and the quickstart's frozen run, which is made

Each client asks for the next list when it has the last: one of 200 texts, half of the time as one of 50 users, and
takes something of every fifth list. A window is over after 20 events. Prints a row per number of clients: requests a
second, the server's processor time for each, updates included, percentiles of milliseconds of all requests and of
those beside an update, versions made, errors, and acknowledged feedback that is not in the journal; and the load of
the machine before and after.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CLIENTS = (1, 8, 32)
PORT = 8799
COLUMNS = (
    "clients", "requests/s", "processor ms each", "p50 / p95 / p99 ms", "beside an update", "of requests", "versions",
    "errors", "lost",
)  # fmt: skip
KINDS = "funny dark classic recent quiet epic cheap strange warm bitter"
ABOUT = "space love crime war family music ghosts robots sport cooking travel school island horses trains pirates dogs"
TEXTS = [
    f"{kind} {about}"
    for kind, about in itertools.product(
        KINDS.split(), [*ABOUT.split(), "winter", "lawyers", "chess"]
    )
]


@dataclass
class Found:
    """``times``: (begin, seconds) of every request. ``taken``: acknowledged events."""

    times: list[tuple[float, float]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    taken: int = 0


class Client:
    """One connection that stays open."""

    def __init__(self) -> None:
        self._to = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)

    def call(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        sent = None if body is None else json.dumps(body)
        self._to.request("GET" if body is None else "POST", path, sent, headers)
        reply = self._to.getresponse()
        content = reply.read()
        if reply.status != 200:
            raise RuntimeError(f"{path}: {reply.status} {content[:200]!r}")
        return dict(json.loads(content))


def visit(number: int, until: float, found: Found) -> None:
    """Ask and take until the time is over."""
    client, draw = Client(), random.Random(number)

    def timed(path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        begin = time.perf_counter()
        try:
            return client.call(path, body)
        except Exception as error:
            found.errors.append(f"{type(error).__name__}: {error}")
            client.__init__()  # type: ignore[misc]
            return None
        finally:
            found.times.append((begin, time.perf_counter() - begin))

    while time.perf_counter() < until:
        user = f"user {draw.randrange(50)}" if draw.random() < 0.5 else None
        body: dict[str, Any] = {"text": draw.choice(TEXTS), "k": 10}
        said = timed("/recommend", body | ({"user": user} if user else {}))
        if said and said["places"] and draw.random() < 0.2:
            taken = {"request": said["request"], "items": [draw.choice(said["places"])["item"]]}
            reply = timed("/feedback", taken)
            found.taken += reply["accepted"] if reply else 0


def watch(until: float, busy: list[tuple[float, float]]) -> None:
    """Note when updates are on their way."""
    client = Client()
    while time.perf_counter() < until:
        begin = time.perf_counter()
        if client.call("/status")["learning"]:
            busy.append((begin, time.perf_counter() + 0.1))
        time.sleep(0.1)


def measure(clients: int, seconds: float) -> tuple[Found, list[tuple[float, float]]]:
    until = time.perf_counter() + seconds
    found, busy = [Found() for _ in range(clients)], list[tuple[float, float]]()
    threads = [threading.Thread(target=visit, args=(n, until, one)) for n, one in enumerate(found)]
    threads.append(threading.Thread(target=watch, args=(until, busy)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times = list(itertools.chain.from_iterable(one.times for one in found))
    errors = list(itertools.chain.from_iterable(one.errors for one in found))
    return Found(times, errors, sum(one.taken for one in found)), busy


def percentiles(times: list[float]) -> str:
    """Milliseconds below which 50, 95 and 99 % lie."""
    ordered = sorted(times)
    if not ordered:
        return "none"
    at = [ordered[min(int(share * len(ordered)), len(ordered) - 1)] for share in (0.5, 0.95, 0.99)]
    return " / ".join(f"{1000 * value:.0f}" for value in at)


def busy_seconds(process: int) -> float:
    """Seconds of processor time of a process so far (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def server(run: Path) -> Iterator[int]:
    """``coldlm serve`` over a run, from its first answer on."""
    words = [
        sys.executable,
        "-m",
        "coldlm",
        "serve",
        str(run),
        "--port",
        str(PORT),
        "--window",
        "20",
    ]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    try:
        for _ in range(600):
            time.sleep(0.2)
            try:
                status = Client().call("/status")
            except OSError:
                assert process.poll() is None, "the server ended"
                continue
            if not status["learning"] and status["waiting"] < 20:
                break
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def load() -> str:
    return " ".join(f"{value:.1f}" for value in os.getloadavg())


def main(seconds: float, run: Path | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        if run is None:
            words = [sys.executable, "-m", "coldlm", "run", "experiment=quickstart"]
            words += ["strategy=frozen", f"output={folder}", "name=made", "evaluate.lists=0"]
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            run = Path(folder, "made")
        print(f"{seconds:g} s each; load before {load()}", flush=True)
        print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}")
        for clients in CLIENTS:
            copy = Path(folder, f"of {clients}")
            shutil.copytree(run, copy, ignore=shutil.ignore_patterns("live"))
            with server(copy) as process:
                busy_before = busy_seconds(process)
                before = Client().call("/status")["version"]
                found, busy = measure(clients, seconds)
                cost = busy_seconds(process) - busy_before
                versions = Client().call("/status")["version"] - before
            lines = (copy / "live" / "journal.jsonl").read_text("utf-8").splitlines()
            beside = [
                t for begin, t in found.times if any(a < begin + t and begin < b for a, b in busy)
            ]
            every = [t for _, t in found.times]
            cells = (
                clients,
                f"{len(every) / seconds:.0f}",
                f"{1000 * cost / len(every):.1f}",
                percentiles(every),
                percentiles(beside),
                f"{100 * len(beside) / len(every):.0f} %",
                versions,
                len(found.errors),
                found.taken - len(lines),
            )
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
            for error in dict.fromkeys(found.errors[:3]):
                print(error, file=sys.stderr)
        print(f"load after {load()}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if sys.argv[1:] else 60.0, Path(sys.argv[2]) if sys.argv[2:] else None)
