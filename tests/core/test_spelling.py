"""What somebody probably meant."""

from __future__ import annotations

import pytest

from coldlm.core.spelling import did_you_mean, nearest

KEYS = ["seed", "train.epochs", "train.head_epochs", "train.schedule", "online.schedule"]
KEYS += ["online.epochs", "strategy.layers", "head.rerank", "optim.lr", "pretrain.lr"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("lr", "optim.lr"),
        ("head.lr", "optim.lr"),
        ("trainer.schedule", "train.schedule"),  # the nearer of two groups
        ("onlin.schedule", "online.schedule"),
        ("train.epoch", "train.epochs"),
        ("trainer.epoch", "train.epochs"),
        ("online.epoch", "online.epochs"),
        ("train_epochs", "train.epochs"),
        ("sed", "seed"),
        ("strategy.rank", None),  # neither of its own group nor a word that holds it
        ("strategy.bits", None),
        ("rank", "head.rerank"),
        ("zzz", None),
        ("", None),
    ],
)
def test_the_nearest_key_has_the_same_last_part_or_is_close(name: str, meant: str | None) -> None:
    assert nearest(name, KEYS) == meant


def test_the_nearest_option_may_stand_in_a_folder() -> None:
    options = ["own", "video/movielens_latest_small"]
    assert nearest("movielens", options) == "video/movielens_latest_small"
    assert nearest("zzz", ["own"]) is None


def test_the_question_stands_between_what_is_given_and_is_nothing_otherwise() -> None:
    assert did_you_mean("lorra", ["lora"], begin="; ", end=" ") == "; did you mean lora? "
    assert did_you_mean("lorra", ["lora"], shown=repr) == "did you mean 'lora'?"
    assert did_you_mean("zzz", ["lora"], begin="; ", end=" ") == ""
