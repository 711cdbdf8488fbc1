"""What a key of Weights & Biases is, and what the loggers need from outside."""

from __future__ import annotations

from pathlib import Path

import pytest

from coldlm.config.combinations import logger_problems
from coldlm.core.keys import has_wandb_key


@pytest.fixture
def _no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("NETRC", raising=False)


@pytest.mark.usefixtures("_no_key")
def test_a_key_is_found_in_the_environment_or_in_netrc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not has_wandb_key()
    netrc = tmp_path / "home" / ".netrc"
    netrc.write_text("machine elsewhere login a password b\n")
    netrc.chmod(0o600)
    assert not has_wandb_key()
    netrc.write_text("machine api.wandb.ai login user password not-a-key\n")
    assert has_wandb_key()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org:8080")  # a server of one's own
    assert not has_wandb_key()
    netrc.write_text("machine wandb.example.org login user password not-a-key\n")
    assert has_wandb_key()
    assert not list(logger_problems({"_target_": "coldlm.learn.loggers.wandb", "mode": "online"}))
    netrc.write_text("not a netrc file")
    assert not has_wandb_key()
    monkeypatch.setenv("WANDB_API_KEY", "not-a-key")
    assert has_wandb_key()


@pytest.mark.parametrize("name", ["wandb", "tensorboard", "mlflow"])
def test_a_logger_whose_package_is_not_there_is_told(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coldlm.config.combinations.find_spec", lambda package: None)
    node = {"_target_": f"coldlm.learn.loggers.{name}"}
    assert [f'"coldlm[{name}]"' in problem for problem in logger_problems(node)] == [True]
