"""Every command of the README runs: the two scripts in continuous integration, the rest here, on a
small MovieLens."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from coldlm.cli import main
from coldlm.data import movielens

REPO = Path(__file__).parents[1]
README = (REPO / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```", README, re.M | re.S)
COMMANDS = [shlex.split(line, comments=True) for block in BLOCKS for line in block.splitlines()]
SCRIPTS = [command for command in COMMANDS if command[0] == "bash"]
OTHERS = [command for command in COMMANDS if command[0] in ("coldlm", "python")]
SHOWS = {"--help", "--cfg"}
SHORT = ("train.epochs=1", "evaluate.latency_requests=1")
SMALL = ("backbone=tiny_bert", "backbone.width=16", *SHORT)
USERS, MOVIES, RATINGS = 30, 40, 600


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and beside it a small MovieLens and files of one's own, as the
    README names them."""
    rng = np.random.default_rng(0)
    pair = rng.choice(USERS * MOVIES, RATINGS, replace=False)
    user, movie = pair // MOVIES + 1, pair % MOVIES + 1
    movie[movie == MOVIES] = 1260
    times = 1_400_000_000 + np.sort(rng.integers(0, 10**7, RATINGS))
    titles = [
        f'{m},"Space Adventure {m} ({1980 + m % 30})",Comedy|Sci-Fi'
        for m in sorted(set(movie.tolist()))
    ]
    stars = [
        f"{u},{m},{s},{t}"
        for u, m, s, t in zip(user, movie, rng.integers(3, 6, RATINGS), times, strict=True)
    ]
    events = [f"{u},{m},{t}" for u, m, t in zip(user, movie, times, strict=True)]
    folder = tmp_path / "data" / "ml-latest-small"
    folder.mkdir(parents=True)
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *titles, ""]))
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *stars, ""]))
    work = tmp_path / "work"
    work.mkdir()
    own = [f"{m},Adventure {m}" for m in sorted(set(movie.tolist()))]
    (work / "items.csv").write_text("\n".join(["item_id,title", *own, ""]))
    (work / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *events, ""]))
    monkeypatch.setattr(movielens, "N_RATINGS", RATINGS)
    monkeypatch.setattr(movielens, "N_USERS", len(set(user.tolist())))
    monkeypatch.setenv("COLDLM_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(work)
    return work


def test_the_readme_names_the_scripts_and_continuous_integration_tests_by_the_second() -> None:
    assert SCRIPTS == [["bash", "scripts/quickstart.sh"], ["bash", "scripts/test.sh"]]
    assert "bash scripts/test.sh" in (REPO / ".ci" / "run").read_text().splitlines()
    assert len(SCRIPTS) + len(OTHERS) == len(COMMANDS)


@pytest.mark.long
@pytest.mark.slow
def test_the_commands_of_the_readme_run_in_their_order(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for program, *command in OTHERS:
        if program == "python":
            done = subprocess.run([sys.executable, REPO / command[0], *command[1:]], check=False)
            assert done.returncode == 0, command
            continue
        added: tuple[str, ...] = ()
        if command[0] in ("run", "tune") and not SHOWS & set(command):
            # a run without overrides would be named by those added here
            added = SMALL
            added += ("trials=2",) if command[0] == "tune" else ()
            added += ("name=default",) if command == ["run"] else ()
        assert main([*command, *added]) == 0, capsys.readouterr()
        assert "".join(capsys.readouterr()).strip(), command
    finished = [run.parent.name for run in (small / "runs").glob("*/manifest.json")]
    # the default, one, grid, controls, retrained, leaky, pair, tuned, scores of a file, own data
    assert len(finished) == 1 + 1 + 6 + 4 + 1 + 1 + 1 + 1 + 1 + 1
    assert "default" in finished
    # the leaky run has a table and a figure of its own
    assert len(list(small.rglob("figure*.png"))) == 2


def test_the_chinese_readme_has_the_same_commands() -> None:
    text = (REPO / "README.zh.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.M | re.S)
    lines = (line for block in blocks for line in block.splitlines())
    assert [shlex.split(line, comments=True) for line in lines] == COMMANDS
    assert "](README.zh.md)" in README


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_every_file_that_a_readme_links_to_is_there(name: str) -> None:
    text = (REPO / name).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link]
    assert links
    assert [link for link in links if not (REPO / link).exists()] == []
