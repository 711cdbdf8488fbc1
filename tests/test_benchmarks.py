"""Contests: who takes part works in turn, and who cannot is a row that says why."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
SERVES = "import sys; sys.path.insert(0, 'benchmarks'); from contender import serve; "


@pytest.fixture(autouse=True)
def _from_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(REPO)


def test_those_that_work_are_compared_and_those_that_do_not_say_why() -> None:
    from benchmarks.contest import Contender, contest, table

    def program(work: str) -> list[str]:
        return [sys.executable, "-c", SERVES + work]

    everyone = [
        Contender("slow", program("import time; serve(lambda: time.sleep(0.02) or 10, value=1)")),
        Contender("fast", program("import time; serve(lambda: time.sleep(0.002) or 10, value=1)")),
        Contender("absent", [sys.executable, "-c", "import nothing_of_this_name"]),
        Contender("dies", program("serve(lambda: sys.exit('no more'), value=1)")),
        Contender("missing", [], why="run setup"),
    ]
    contest(everyone, 3)
    slow, fast, absent, dies, missing = everyone
    assert len(slow.rates) == len(fast.rates) == 3
    assert fast.mb > 0
    assert all(b > 2 * a for a, b in zip(slow.rates, fast.rates, strict=True))
    assert "nothing_of_this_name" in absent.why
    assert dies.why == "no more"
    assert [one.rates for one in (absent, dies, missing)] == [[], [], []]
    lines = table(everyone, "work/s", ["slow", "absent"], ["value"]).splitlines()
    assert lines[0] == "|  | work/s, median | min to max | x slow | x absent | peak MB | value |"
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]
    assert cells[0][3:5] == ["1.00", "n/a"]
    assert float(cells[1][3]) > 2
    assert [row[1] for row in cells[2:]] == [f"not run: {one.why}" for one in everyone[2:]]


def test_growth_is_the_slope_of_the_last_step_and_every_kind_says_what_it_is() -> None:
    from benchmarks.growth import KINDS, slope

    assert slope([1.0, 2.0, 200.0], [1, 10, 100]) == pytest.approx(2)
    assert slope([3.0, 3.0], [2, 4]) == 0
    assert all(kind.seconds.__doc__ and len(kind.sizes) > 2 for kind in KINDS.values())


def test_every_table_has_its_line_and_its_peers_their_work() -> None:
    from benchmarks import __main__ as program

    assert all(make.__doc__ for make in program.TABLES.values())
    assert set(program.TABLES) >= set(program.ON_A_GPU)
    assert all(f"{name}," in program.__doc__.replace(";", ",") for name in program.TABLES)
    assert set(program.QUICK) <= set(program.STEPS)
    source = (REPO / "benchmarks" / "peers.py").read_text(encoding="utf-8")
    for peers in (program.TRAINERS, program.ENCODERS, program.METRICS):
        assert all(f'"{key}": ' in source for key in peers.values())
