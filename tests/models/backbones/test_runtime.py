"""What is constant, computed by another library: the same vectors, at places of their own in the cache."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from coldlm.core.seeding import torch_seed
from coldlm.models import strategy
from coldlm.models.backbone import load, tiny
from coldlm.models.backbones import runtime
from coldlm.models.backbones.backbone_module import Backbone
from coldlm.text.encode import TextEncoder

TEXTS = [chr(97 + i % 26) * (1 + i % 9) for i in range(40)] + ["", "大海 🚀"]
STRATEGIES = {
    "frozen": strategy.frozen,
    "top": strategy.top,
    "lora": lambda body: strategy.lora(body, layers=1),
    "prefix": lambda body: strategy.prefix(body, layers=1),
    "prompt": strategy.prompt,
}


def _has_sixteen_bits() -> bool:
    try:
        return bool(runtime.version("openvino_bf16"))
    except runtime.CheckpointError:
        return False


def _body(name: str, family: str, kind: str) -> Backbone:
    with torch_seed(0):  # what a prefix and a prompt begin with is drawn
        body = STRATEGIES[name](tiny(family=family, layers=2, max_tokens=32))
    body.runtime, body.fingerprint = kind, f"{body.fingerprint} {kind}"
    return body


def _encoder(
    name: str, family: str, kind: str, texts: list[str], cache: Path | None = None
) -> TextEncoder:
    return TextEncoder(_body(name, family, kind), texts, np.arange(len(texts)), cache=cache).eval()


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2"])
@pytest.mark.parametrize("name", STRATEGIES)
def test_vectors_are_torchs(name: str, family: str) -> None:
    own = _encoder(name, family, "torch", TEXTS).all_items()
    other = _encoder(name, family, "openvino", TEXTS).all_items()
    torch.testing.assert_close(other, own, atol=2e-6, rtol=0)
    assert name in ("prompt", "lora") or not torch.equal(other, own)


@pytest.mark.skipif(not _has_sixteen_bits(), reason="the processor has no instructions for 16 bits")
def test_sixteen_bits_are_close_and_not_equal() -> None:
    own = _encoder("frozen", "bert", "torch", TEXTS).all_items()
    other = _encoder("frozen", "bert", "openvino_bf16", TEXTS).all_items()
    assert torch.cosine_similarity(other, own).min() > 0.999
    assert (other - own).abs().max() > 1e-4


def test_a_processor_without_sixteen_bits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import openvino

    monkeypatch.setattr(openvino.Core, "get_property", lambda *asked: ["FP32", "INT8"])
    with pytest.raises(runtime.CheckpointError, match=r"use backbone\.runtime=openvino"):
        runtime.version("openvino_bf16")
    assert runtime.version("openvino") == f"openvino {openvino.__version__}"


def test_later_items_cannot_change_a_bit_of_earlier_ones() -> None:
    few = _encoder("frozen", "bert", "openvino", TEXTS).all_items()
    more = _encoder(
        "frozen", "bert", "openvino", [*TEXTS, *(text[::-1] for text in TEXTS)]
    ).all_items()
    assert torch.equal(more[: len(TEXTS)], few)


def test_what_another_library_computed_is_not_taken_for_torchs(tmp_path: Path) -> None:
    for kind in ("torch", "openvino"):
        for name in ("top", "frozen"):  # the deeper one could begin where the other stopped
            _encoder(name, "bert", kind, TEXTS, tmp_path)
    assert len(list((tmp_path / "hidden").iterdir())) == 4
    anew = _encoder("frozen", "bert", "openvino", TEXTS).all_items()
    assert torch.equal(_encoder("frozen", "bert", "openvino", TEXTS, tmp_path).all_items(), anew)


def test_its_name_and_version_are_part_of_the_fingerprint(tmp_path: Path) -> None:
    body = tiny(family="bert", layers=1)
    body.model.save_pretrained(tmp_path)
    body.tokenizer.save_pretrained(tmp_path)
    own = load(name="local", path=str(tmp_path))
    other = load(name="local", path=str(tmp_path), runtime="openvino")
    assert other.fingerprint == own.fingerprint + runtime.version("openvino")


def test_its_use_is_reported_to_nobody() -> None:
    runtime.version("openvino")
    assert sys.modules["openvino_telemetry"] is None
