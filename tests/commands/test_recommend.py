"""Recommending with a finished run: a typed text, a user, a history; and what is said where it
cannot be done."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file
from torch import Tensor

from coldlm.cli import main
from coldlm.commands.recommend import parse, recommend
from coldlm.config.schema import RunConfig
from coldlm.core.errors import ConfigError, RunFolderError
from coldlm.experiment.run import execute
from coldlm.experiment.world import World, make_world

MakeConfig = Callable[..., RunConfig]

MODELS = Path(os.environ.get("COLDLM_MODELS") or "no models")


@pytest.fixture
def world(config: MakeConfig) -> World:
    return make_world(config())


def had(world: World, user: str) -> set[str]:
    log = world.data.log
    return {world.data.items.ids[i] for i in log.item[log.user == world.data.users.ids.index(user)]}


def test_a_text_gives_k_items_best_first_with_their_titles(finished: Path, world: World) -> None:
    rows = recommend(finished, query="spaceship galaxy", k=7)
    assert len(rows) == 7
    assert [score for score, *_ in rows] == sorted((score for score, *_ in rows), reverse=True)
    titles = dict(zip(world.data.items.ids, world.data.items.titles, strict=True))
    assert [title for _, _, title, _ in rows] == [titles[item] for _, item, *_ in rows]
    assert len({item for _, item, *_ in rows}) == 7


def test_another_text_gives_other_scores_in_any_language(finished: Path) -> None:
    scores = [
        tuple(score for score, *_ in recommend(finished, query=query))
        for query in ("spaceship galaxy", "飞船 银河", "🫖", "x" * 100_000)
    ]
    assert len(set(scores)) == 4
    assert np.isfinite(scores).all()


def test_a_user_gets_what_he_has_not_had(finished: Path, world: World) -> None:
    rows = recommend(finished, user="u3", k=100)
    assert len(had(world, "u3")) > 3
    assert {item for _, item, *_ in rows} == set(world.data.items.ids) - had(world, "u3")


def test_a_history_is_left_out_and_changes_the_list(finished: Path) -> None:
    first = recommend(finished, history=["i3", "i5"], k=100)
    assert {"i3", "i5"} & {item for _, item, *_ in first} == set()
    assert len(first) == 58
    assert recommend(finished, history=["i40", "i41"], k=3)[0][0] != first[0][0]


def test_text_and_history_go_together(finished: Path) -> None:
    both = recommend(finished, query="guitar", history=["i3"], k=1)
    assert both[0][0] not in {
        recommend(finished, query="guitar", k=1)[0][0],
        recommend(finished, history=["i3"], k=1)[0][0],
    }


def test_a_user_is_scored_as_the_run_would_score_him(
    finished: Path, world: World, config: MakeConfig
) -> None:
    from coldlm.experiment.model import make_ranker, take_snapshot

    ranker = make_ranker(config(), world)
    ranker.restore(load_file(finished / "online.safetensors"))
    end = int(world.data.log.time[-1]) + 1
    scores = take_snapshot(ranker, world)(np.array([3]), np.array([end]))[0]
    for score, item, *_ in recommend(finished, user="u3", k=5):
        assert score == float(scores[world.data.items.ids.index(item)])


def test_where_items_repeat_what_was_had_stays(config: MakeConfig) -> None:
    folder = execute(config("dataset.repeats=true", "stages=[train]"), "again")
    assert (
        len(recommend(folder, user="u3", k=100))
        == len(recommend(folder, history=["i3"], k=100))
        == 60
    )


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"history": ["i3", "item4"]},
            r"item 'item4' is not in this run's data; .*it has 60 items",
        ),
    ],
)
def test_an_unknown_id_is_named_with_the_nearest(
    finished: Path, asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        recommend(finished, **asked)


def test_a_folder_without_a_model_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(
        RunFolderError, match=r"no trained model .*coldlm run output=.* name=nothing"
    ):
        recommend(tmp_path / "nothing", query="x")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("evaluate.candidates", "evaluate.candidates"),
        ("dataset.users", r"dataset\.users"),
        ("loss", "loss"),
    ],
)
def test_a_run_of_another_version_is_refused_in_plain_words(
    finished: Path, tmp_path: Path, path: str, message: str
) -> None:
    """As a run folder looks that was written before the key existed."""
    old = tmp_path / "old"
    shutil.copytree(finished, old)
    config = OmegaConf.load(old / "config.resolved.yaml")
    group, _, key = path.rpartition(".")
    del (config[group] if group else config)[key]
    OmegaConf.save(config, old / "config.resolved.yaml")
    with pytest.raises(
        RunFolderError, match=rf"made by another version of coldlm.*{message}.*into a new output="
    ):
        recommend(old, query="x")


def lose(file: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    state = load_file(file)
    change(state)
    save_file(state, file)


WEIGHTS: dict[str, Callable[[Path], object]] = {
    "cut off": lambda file: file.write_bytes(file.read_bytes()[:1000]),
    "empty": lambda file: file.write_bytes(b""),
    "a tensor less": lambda file: lose(file, lambda state: state.pop("head.prior.bias")),
    "a tensor more": lambda file: lose(
        file, lambda state: state.update({"head.other": torch.zeros(2)})
    ),
    "a shape that would fit by repetition": lambda file: lose(
        file,
        lambda state: state.update(
            {"head.project.weight": state["head.project.weight"][:1].clone()}
        ),
    ),
    "not a number": lambda file: lose(
        file, lambda state: state["head.project.weight"].fill_(torch.nan)
    ),
}


@pytest.mark.parametrize("damage", WEIGHTS)
def test_damaged_weights_are_refused(
    damage: str, finished: Path, tmp_path: Path, config: MakeConfig
) -> None:
    folder = tmp_path / "runs" / "damaged"
    shutil.copytree(finished, folder)
    for name in ("model", "online"):
        WEIGHTS[damage](folder / f"{name}.safetensors")
    with pytest.raises(
        RunFolderError,
        match=r"online\.safetensors holds no weights of this run's model .*: run it again",
    ):
        recommend(folder, query="x")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(
        json.dumps(manifest | {"done": ["train"], "status": "FAILED"})
    )
    with pytest.raises(
        RunFolderError, match=r"model\.safetensors holds no weights of this run's model"
    ):
        execute(config(), "damaged")


FOLDER: dict[str, tuple[Callable[[Path], object], str]] = {
    "no manifest": (lambda run: (run / "manifest.json").unlink(), "is no manifest of a run"),
    "broken manifest": (
        lambda run: (run / "manifest.json").write_text("{"),
        "is no manifest of a run",
    ),
    "another manifest": (
        lambda run: (run / "manifest.json").write_text("[]"),
        "is no manifest of a run",
    ),
    "no configuration": (
        lambda run: (run / "config.resolved.yaml").unlink(),
        "cannot be read .*run it again",
    ),
    "broken configuration": (
        lambda run: (run / "config.resolved.yaml").write_text("a: [1"),
        "cannot be read",
    ),
    "a list": (
        lambda run: (run / "config.resolved.yaml").write_text("[1, 2]"),
        "holds no configuration",
    ),
}


@pytest.mark.parametrize("damage", FOLDER)
def test_a_damaged_run_folder_is_refused(damage: str, finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "damaged")
    destroy, message = FOLDER[damage]
    destroy(tmp_path / "damaged")
    with pytest.raises(RunFolderError, match=message):
        recommend(tmp_path / "damaged", query="x")


def test_a_head_without_text_reads_no_query(config: MakeConfig) -> None:
    folder = execute(config("head.context=only", "stages=[train]"), "blind")
    with pytest.raises(ConfigError, match="reads no text"):
        recommend(folder, query="tea")
    assert len(recommend(folder, user="u3", k=2)) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ([], "nothing to go by"),
        (["--user", "u1", "--history", "i3"], "leave --history out"),
        (["--query", "tea", "--k", "0"], "at least 1"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(
    line: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(["runs/x", *line])
    assert message in capsys.readouterr().err


def test_the_command_prints_a_ranked_table(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["recommend", str(finished), "--query", "厨房 菜谱", "--k", "3"]) == 0
    out = capsys.readouterr().out
    assert all(f" {rank} " in out for rank in (1, 2, 3))
    assert " 4 " not in out
    assert main(["recommend", str(finished), "--history", "nothing"]) == 2
    assert "is not in this run's data" in capsys.readouterr().err


def test_the_command_prints_what_a_program_reads(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["recommend", str(finished), "--query", "厨房", "--k", "2", "--json"]
    assert main(line) == 0
    found = json.loads(capsys.readouterr().out)
    rows = recommend(finished, query="厨房", k=2)
    expected = [{"rank": n, **row._asdict()} for n, row in enumerate(rows, 1)]
    assert found == expected
    assert [place["probability"] for place in found] == [None, None]


def test_a_text_typed_by_a_user_is_read_beside_his_history(finished: Path, world: World) -> None:
    both = recommend(finished, user="u3", query="guitar", k=100)
    assert {item for _, item, *_ in both} == set(world.data.items.ids) - had(world, "u3")
    scores = {item: score for score, item, *_ in both}
    for other in (
        recommend(finished, user="u3", k=100),
        recommend(finished, query="guitar", k=100),
    ):
        assert any(scores[item] != score for score, item, *_ in other if item in scores)
    times, users = np.array([int(world.data.log.time[-1]) + 1]), np.array([3])
    past = [world.data.items.ids[i] for i in world.as_of.history(users, times, 50)[0] if i >= 0]
    by_hand = recommend(finished, query="guitar", history=past, k=100)
    assert scores == {item: score for score, item, *_ in by_hand}


def test_somebody_new_is_told_to_be_new_and_gets_what_is_known_without_him(
    finished: Path, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    rows = recommend(finished, user="u33x", k=100)
    assert "user 'u33x' is new to this run's data" in caplog.text
    assert "did you mean 'u33'?" in caplog.text
    assert {item for _, item, *_ in rows} == set(world.data.items.ids)
    assert recommend(finished, user="u33x", query="tea") == recommend(finished, query="tea")


def test_a_classifier_says_how_probable_each_place_is(
    config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = execute(
        config("head=pair", "loss=binary_cross_entropy", "loss.draws=2", "stages=[train]",
               "head.first_stage=popularity", "head.rerank=5", "head.history=3"),
        "pairs",
    )  # fmt: skip
    rows = recommend(folder, query="tea", k=3)
    assert [row.probability for row in rows] == pytest.approx(
        [1 / (1 + np.exp(-row.score)) for row in rows]
    )
    assert main(["recommend", str(folder), "--query", "tea", "--k", "3"]) == 0
    assert f"{rows[0].probability:.3f}" in capsys.readouterr().out


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.skipif(
    not (MODELS / "e5_small_pruned").is_dir(), reason="the multilingual encoder is not there"
)
def test_a_chinese_query_finds_items_of_its_topic_through_a_real_encoder(
    config: MakeConfig,
) -> None:
    run = execute(
        config(
            "backbone=local",
            f"backbone.path={MODELS / 'e5_small_pruned'}",
            "backbone.item_prefix='passage: '",
            "backbone.query_prefix='query: '",
            "dataset.language=zh",
            "dataset.items=120",
            "dataset.events=2000",
            "dataset.users=80",
            "head.context=off",
            "head.pseudo_query=0.3",
            "optim.lr=1e-2",
            "train.epochs=3",
            "stages=[train]",
        ),
        "chinese",
    )

    def share_about_watches(query: str) -> float:
        found = recommend(run, query=query, k=15)
        return sum(
            any(word in title for word in WATCHES.split()) for _, _, title, _ in found
        ) / len(found)

    assert share_about_watches("智能手表") > 2 * share_about_watches("足球")


WATCHES = "智能手表 电池 蓝牙 显示屏 充电器 手环 传感器 心率 固件 防水 触摸屏 无线 表带"
