"""Where strategies touch a backbone, written once per family, and how large they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from coldlm.models.backbones.backbone_module import Backbone
from coldlm.models.backbones.checkpoints import OTHER
from coldlm.models.backbones.families import dense

_BERT = {
    "attention": ("attention.self.query", "attention.self.value"),
    "attention_all": (
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
    ),
    "ffn": ("intermediate.dense", "output.dense"),
    "houlsby": ("attention.output.dense", "output.dense"),
    "pfeiffer": ("output.dense",),
    "ia3": ("attention.self.key", "attention.self.value", "output.dense"),
    "prefix": ("attention.self",),
}
_GPT2 = {
    "attention": ("attn.c_attn",),
    "attention_all": ("attn.c_attn", "attn.c_proj"),
    "ffn": ("mlp.c_fc", "mlp.c_proj"),
    "houlsby": ("attn.c_proj", "mlp.c_proj"),
    "pfeiffer": ("mlp.c_proj",),
    "ia3": ("attn.c_attn", "mlp.c_proj"),
    "prefix": ("attn",),
}
PLACES = {
    family: {**places, "all": (*places["attention_all"], *places["ffn"])}
    for family, places in (("bert", _BERT), ("roberta", _BERT), ("gpt2", _GPT2))
}
"""Modules of one layer, by what they are the targets of. For LoRA and AdaLoRA ``attention`` is the
query and value projections, ``attention_all`` attention's four, ``ffn`` the feed-forward network's
two; GPT-2 keeps query, key and value in one matrix."""

TARGETS = ("attention", "attention_all", "ffn", "all")
"""Places that can be found by name in any model."""

LAYERS = {"bert": "encoder.layer", "roberta": "encoder.layer", "gpt2": "h"}


def adapt(backbone: Backbone, layers: int | None) -> range:
    """Freeze all parameters; the indices of the top ``layers`` layers, and everything below them is
    constant.

    Raises:
        ValueError: more layers than the backbone has, or layers that cannot be told apart.
    """
    there = len(backbone.layers)
    if layers and not there:
        raise ValueError(
            f"strategy.layers={layers}: the layers of backbone {backbone.name!r} share their "
            "weights or cannot be told "
            "apart; use strategy=full, strategy=frozen or strategy=lora with layers=null"
        )
    if layers and layers > there:
        raise ValueError(
            f"strategy.layers={layers}, but backbone {backbone.name!r} has {there} layers; allowed "
            f"are 1 to {there}"
        )
    backbone.model.requires_grad_(False)
    first = there - (layers or there)
    backbone.train_from(first)
    backbone.base_trained = False
    return range(first, there)


def modules_of(backbone: Backbone, place: str, layers: range) -> Iterator[tuple[str, Any]]:
    """Yield full name (within ``backbone.model``) and module of ``place`` in each of the
    ``layers``. In models that are run as one stage, dense layers are found by their names (see
    ``families.dense``).

    Raises:
        ValueError: the place is none that can be found in the backbone.
    """
    if backbone.family == OTHER and place in TARGETS:
        found = dense(backbone.model, place, layers.start)
        if not found:
            raise ValueError(
                f"strategy.targets={place}: backbone {backbone.name!r} has no such dense layer"
            )
        yield from found.items()
        return
    require_staged(backbone)
    for i in layers:
        for name in PLACES[backbone.family][place]:
            full_name = f"{LAYERS[backbone.family]}.{i}.{name}"
            yield full_name, backbone.model.get_submodule(full_name)


def require_staged(backbone: Backbone) -> None:
    """Refuse a backbone that is run as one stage.

    Raises:
        ValueError: it is.
    """
    if backbone.family == OTHER:
        raise ValueError(
            f"backbone {backbone.name!r} is a {backbone.model.config.model_type!r}, and this "
            "strategy is made for "
            "BERT, RoBERTa and GPT-2; use strategy=frozen, full, top, bitfit, lora or adalora"
        )


def is_transposed(module: Any) -> bool:
    """Return whether a dense layer stores its matrix as [inputs, outputs], as GPT-2 does."""
    return type(module).__name__ == "Conv1D"


def outputs(module: Any) -> int:
    """Output size of a dense layer."""
    return int(module.weight.shape[1 if is_transposed(module) else 0])


def fit_size(
    backbone: Backbone, key: str, given: int, wanted: int | None, count: Callable[[int], int]
) -> int:
    """Return ``given``, or the size from 1 whose ``count`` of trained parameters, which rises,
    comes closest to ``wanted``."""
    if wanted is None:
        return given
    size = 1
    while abs(count(size + 1) - wanted) < abs(count(size) - wanted):
        size += 1
    backbone.matched = {key: size, "trained": count(size), "wanted": wanted}
    return size
