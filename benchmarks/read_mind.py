"""Made-up files in the layout of MIND, read in a fresh process: seconds, peak memory, and whether
the lists and clicks are those that were written.

Usage: python benchmarks/read_mind.py [lists ...]     by default 100,000 and 400,000, a quarter of them in dev

Real proportions: 37 places in a list, 1.5 clicks, a history of 33 news, 3 lists of a user.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from coldlm.core.seeding import generator

START = 1_573_257_600  # 9 November 2019
PLACES, HISTORY = 37, 33


def write(root: Path, n_lists: int) -> str:
    """Both parts of an edition "large" below ``root``; the digest of what they hold."""
    rng = generator(0, "benchmark")
    n_news, n_users = 70_000, max(n_lists // 3, 1)
    histories = [
        " ".join(f"N{i}" for i in row) for row in rng.integers(1, n_news, (n_users, HISTORY))
    ]
    user = rng.integers(0, n_users, n_lists)
    second = rng.integers(0, 5 * 86_400, n_lists) + np.where(
        np.arange(n_lists) < n_lists * 3 // 4, 0, 5 * 86_400
    )
    sizes = rng.integers(1, 2 * PLACES, n_lists)
    item, clicked = rng.integers(1, n_news, sizes.sum()), rng.random(sizes.sum()) < 1.5 / PLACES
    ends = np.cumsum(sizes)
    for part, rows in (
        ("train", range(n_lists * 3 // 4)),
        ("dev", range(n_lists * 3 // 4, n_lists)),
    ):
        folder = root / f"MINDlarge_{part}"
        folder.mkdir(parents=True)
        with (folder / "behaviors.tsv").open("w") as stream:
            for n, row in enumerate(rows, 1):
                place = slice(ends[row] - sizes[row], ends[row])
                shown = " ".join(
                    f"N{i}-{c:d}" for i, c in zip(item[place].tolist(), clicked[place], strict=True)
                )
                moment = time.strftime("%m/%d/%Y %I:%M:%S %p", time.gmtime(START + second[row]))
                stream.write(f"{n}\tU{user[row]}\t{moment}\t{histories[user[row]]}\t{shown}\n")
        with (folder / "news.tsv").open("w") as stream:
            stream.writelines(
                f"N{i}\tnews\tworld\tTitle {i}\tAbout {i}\thttps://x\t[]\t[]\n"
                for i in range(1, n_news)
            )
    order = np.argsort(second, kind="stable")
    start = ends - sizes
    places = np.concatenate([np.arange(start[row], ends[row]) for row in order])
    owner = np.repeat(np.arange(n_lists), sizes)
    return _digest(
        user[order],
        START + second[order],
        sizes[order],
        item[places],
        clicked[places],
        len(
            np.unique(
                np.stack([user[owner[clicked]], item[clicked], second[owner[clicked]]]), axis=1
            ).T
        ),
    )


def _digest(*columns: np.ndarray | int) -> str:
    digest = hashlib.sha256()
    for column in columns:
        digest.update(np.ascontiguousarray(column, np.int64).tobytes())
    return digest.hexdigest()[:16]


def read(root: str) -> None:
    """The child: prints seconds, bytes above those of the imports, places, events, and the digest
    of what was read."""
    import polars as pl

    from coldlm.data import mind

    pl.DataFrame({"x": [1]}).lazy().collect(engine="streaming")
    before, begin = _peak(), time.perf_counter()
    data = mind.load(root=root, edition="large", cache=f"{root}/cache")
    seconds, peak, lists = time.perf_counter() - begin, _peak() - before, data.impressions
    assert lists is not None
    ids = [np.array([int(name[1:]) for name in table.ids]) for table in (data.users, data.items)]
    found = _digest(ids[0][lists.user], lists.time, np.diff(lists.start), ids[1][lists.item], lists.clicked,
                    int((data.log.time >= data.log_starts_at).sum()))  # fmt: skip
    print(json.dumps([seconds, peak, len(lists.item), len(data.log), found]))


def _peak() -> int:
    """Bytes; not ru_maxrss, which a process inherits from the one that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def main() -> None:
    """One line per number of lists."""
    for n_lists in map(int, sys.argv[1:] or ("100000", "400000")):
        with tempfile.TemporaryDirectory() as root:
            written = write(Path(root), n_lists)
            size = sum(file.stat().st_size for file in Path(root).rglob("behaviors.tsv"))
            child = subprocess.run(
                [sys.executable, __file__, "--read", root],
                capture_output=True,
                text=True,
                check=True,
            )
        seconds, peak, places, events, found = json.loads(child.stdout)
        assert found == written, "what was read is not what was written"
        above = (peak - size) / places
        print(
            f"{n_lists:>9,} lists, {places:,} places, {events:,} events: {seconds:.1f} s, peak "
            f"{peak / 1e9:.2f} GB, "
            f"files {size / 1e9:.2f} GB, {above:.0f} bytes a place above the files; digest {found} "
            "as written"
        )


if __name__ == "__main__":
    read(sys.argv[2]) if sys.argv[1:2] == ["--read"] else main()
