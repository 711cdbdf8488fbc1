"""Texts that are encoded again going back: the gradients of all kept at once, and one graph in memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from coldlm.core.seeding import torch_seed
from coldlm.models import strategy
from coldlm.models.backbone import tiny
from coldlm.models.backbones.backbone_module import Backbone
from coldlm.text import encode, pairs, prompts
from coldlm.text.encode import TextEncoder
from coldlm.text.pairs import PairReader
from coldlm.text.prompts import PromptReader

TEXTS = [f"{'night ' * (number % 5)}train number {number}" for number in range(40)]
QUERIES = [text[::-1] for text in TEXTS[:20]]
HISTORY = np.array([[1, 0], [3, -1], [-1, -1], [7, 2]])
PAIRS = [""] * 4, HISTORY, np.array([0, 1, 1, 2, 3, 3]), np.array([2, 4, 5, 6, 0, 1])
STRATEGIES = ("full", "top", "lora", "adalora", "adapter", "prefix", "prompt", "bitfit", "ia3")

Step = Callable[[], tuple[list[Tensor], Tensor]]


class Live(TorchDispatchMode):
    """``peak``: most bytes that tensors made inside have held at once."""

    def __init__(self) -> None:
        super().__init__()
        self.peak, self._now, self._known = 0, 0, set[int]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, Tensor):
                self._see(tensor.untyped_storage())
        return out

    def _see(self, storage: Any) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self._now += size
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._now -= size


def body(name: str, family: str = "bert", dropout: float = 0.0, layers: int = 2) -> Backbone:
    with torch_seed(0):
        made: Backbone = getattr(strategy, name)(tiny(family=family, layers=layers))
        for parameter in made.parameters():
            if parameter.requires_grad:  # nothing stays at zero, where gradients hide
                parameter.data.add_(0.05 * torch.randn_like(parameter))
    for part in made.modules():
        if isinstance(part, nn.Dropout):
            part.p = dropout
    return made


def towers(backbone: Backbone) -> Step:
    encoder = TextEncoder(backbone, TEXTS, np.arange(len(TEXTS))).train()

    def step() -> tuple[list[Tensor], Tensor]:
        with torch_seed(1):
            items, asked = encoder.items(torch.arange(len(TEXTS))), encoder.texts(QUERIES)
            loss = (asked @ items.T).float().log_softmax(1).diagonal().mean()
            trained = [p for p in encoder.parameters() if p.requires_grad]
            return list(
                torch.autograd.grad(loss, trained, materialize_grads=True, allow_unused=True)
            ), loss.detach()

    return step


def reader(made: PairReader | PromptReader) -> Step:
    made.train()

    def step() -> tuple[list[Tensor], Tensor]:
        with torch_seed(1):
            loss = made(*PAIRS).pow(2).sum()
            trained = [p for p in made.parameters() if p.requires_grad]
            return list(
                torch.autograd.grad(loss, trained, materialize_grads=True, allow_unused=True)
            ), loss.detach()

    return step


STEPS: dict[str, Callable[[Backbone], Step]] = {
    "towers": towers,
    "pair": lambda backbone: reader(PairReader(backbone, TEXTS)),
    "causal_lm": lambda backbone: reader(PromptReader(backbone, TEXTS, "had {history}{query}:")),
}


@pytest.mark.parametrize("kind", STEPS)
@pytest.mark.parametrize("name", STRATEGIES)
def test_gradients_are_those_of_all_texts_kept(
    name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = body(name, "gpt2" if kind == "causal_lm" else "bert")
    step = STEPS[kind](backbone)
    at_once, loss = step()
    most = max(float(gradient.abs().max()) for gradient in at_once)
    assert most > 0
    calls, backbone.graph_tokens = _count(backbone), 100
    again, same = step()
    blocks = len(calls) // 2
    # larger blocks round otherwise
    torch.testing.assert_close(same, loss, rtol=1e-6, atol=0)
    for one, other in zip(at_once, again, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5 * most, rtol=0)
    _keep(monkeypatch)
    kept, _ = step()
    assert all(torch.equal(one, other) for one, other in zip(again, kept, strict=True))
    # each block twice, and several of them
    assert len(calls) == 3 * blocks
    assert blocks > 3


def test_a_batch_that_fits_is_read_once() -> None:
    backbone = body("full")
    step = towers(backbone)
    calls = _count(backbone)
    step()
    once = len(calls)
    backbone.graph_tokens = 4000
    step()
    assert len(calls) == 2 * once


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layered", [False, True])
def test_dropout_is_the_same_both_times(
    layered: bool, precision: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = body("full", dropout=0.3)
    backbone.graph_tokens, backbone.checkpointing = 100, layered
    step = towers(backbone)
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        found, loss = step()
        _keep(monkeypatch)
        expected, same = step()
    assert torch.equal(loss, same)
    assert all(torch.equal(left, right) for left, right in zip(found, expected, strict=True))


@pytest.mark.parametrize("kind", STEPS)
def test_one_graph_is_in_memory_at_a_time(kind: str) -> None:
    backbone = body("full", "gpt2" if kind == "causal_lm" else "bert", layers=6)
    step, peak = STEPS[kind](backbone), list[int]()
    for graph_tokens in (None, 100):
        backbone.graph_tokens = graph_tokens
        with Live() as live:
            step()
        peak.append(live.peak)
    # the gradients of all weights are there either way
    weights = sum(p.nbytes for p in backbone.parameters())
    assert peak[1] - weights < (peak[0] - weights) / 3


def _keep(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same blocks from now on, without a second reading."""
    for module in (encode, pairs, prompts):
        monkeypatch.setattr(module, "within", lambda tokens, _, encode: (tokens, encode))


def _count(backbone: Backbone) -> list[None]:
    """One for each later pass through the last layer."""
    calls: list[None] = []
    backbone.layers[-1].register_forward_pre_hook(lambda *_: calls.append(None))
    return calls
