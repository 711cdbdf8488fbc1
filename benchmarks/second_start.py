"""Second starts: every data set that lies in the data folder, loaded from its prepared tables in a
fresh process.

Usage: COLDLM_DATA=... python benchmarks/second_start.py

The seconds are those of ``load`` without imports: hashing the raw files, reading the prepared
tables, making texts.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
import time

SETS: dict[str, tuple[str, dict[str, str]]] = {
    "caixin": ("caixin", {}),
    "lastfm_2k": ("lastfm_2k", {}),
    "mind, sample": ("mind", {"edition": "sample"}),
    "movielens 2016, folder": ("movielens", {"source": "folder"}),
    "movielens 2016, package": ("movielens", {"source": "package"}),
    "online_retail": ("online_retail", {}),
}
"""Name -> module and keys."""


def load(name: str, cache: str) -> None:
    """The child: prints seconds and the number of events."""
    module_name, keys = SETS[name]
    module = importlib.import_module(f"coldlm.data.{module_name}")
    begin = time.perf_counter()
    data = module.load(root=os.environ["COLDLM_DATA"], cache=cache, **keys)
    print(time.perf_counter() - begin, len(data.log))


def main() -> None:
    """A line per data set that is there: the first start, which prepares, and the second."""
    for name, (module_name, keys) in SETS.items():
        if importlib.import_module(f"coldlm.data.{module_name}").problems(
            root=os.environ["COLDLM_DATA"], **keys
        ):
            print(f"{name:<26} is not there")
            continue
        with tempfile.TemporaryDirectory() as cache:
            command = [sys.executable, __file__, name, cache]
            runs = [
                subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
                for _ in "12"
            ]
        first, second = (float(seconds) for seconds, _ in runs)
        assert runs[0][1] == runs[1][1]
        print(
            f"{name:<26} {int(runs[0][1]):>9,} events   first {first:6.2f} s   second "
            f"{second:6.2f} s"
        )


if __name__ == "__main__":
    load(*sys.argv[1:]) if len(sys.argv) == 3 else main()
