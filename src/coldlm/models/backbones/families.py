"""From a folder to a model of texts, and where in it layers are: for any architecture that
``AutoModel`` knows.

What is not run layer by layer (see ``checkpoints.FAMILIES``) goes through its own forward,
``run_whole``. Shapes: B texts, T tokens, D width, L layers.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import MODEL_MAPPING, AutoConfig, AutoModel, AutoTokenizer
from transformers.pytorch_utils import Conv1D
from transformers.utils import logging as transformers_logging

from coldlm.core.errors import CheckpointError
from coldlm.core.finite import all_finite
from coldlm.models.backbones.checkpoints import OTHER, shape_of

FINAL_NORMS = ("norm", "final_norm", "final_layer_norm", "final_layernorm", "ln_f", "norm_f")
"""What the norm behind the last layer is called, where there is one."""

ATTENTION_INPUTS = (
    ("query", "value"),
    ("q_proj", "v_proj"),
    ("query_proj", "value_proj"),
    ("q_lin", "v_lin"),
    ("q", "v"),
    ("Wqkv",),
    ("query_key_value",),
    ("qkv_proj",),
    ("c_attn",),
)
"""What the projections to queries and values are called; some keep queries, keys and values in one
matrix."""


def open_model(folder: Path, auto: Any = AutoModel, *, dropout: float | None = None) -> Any:
    """Return the model in ``folder``, in float32, in eval mode, without pooler; never code or
    pickles from the folder.

    Args:
        auto: the transformers class that chooses the architecture; a head that it adds may be
            missing in the folder, and then starts at random.
        dropout: replaces all dropout rates of the config.

    Raises:
        CheckpointError: no model of texts, unknown to transformers, or weights that are missing or
            do not fit.
    """
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        shape = shape_of(config.to_dict())
        if shape.refusal:
            raise CheckpointError(shape.refusal)
        body: Any = MODEL_MAPPING[type(config)]
        body = body[0] if isinstance(body, tuple) else body
        if getattr(body, "main_input_name", None) != "input_ids":
            raise CheckpointError(
                f"a {config.model_type!r} model reads no text; allowed are models of texts"
            )
        for key, value in config.to_dict().items():
            if (
                dropout is not None
                and ("dropout" in key or "pdrop" in key)
                and isinstance(value, float | int)
            ):
                setattr(config, key, dropout)
        config.use_cache = False
        extra: dict[str, Any] = {} if shape.family == OTHER else {"attn_implementation": "sdpa"}
        if auto is AutoModel and "add_pooling_layer" in inspect.signature(body).parameters:
            extra["add_pooling_layer"] = False
        with quiet():
            model, loaded = auto.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # so that they can be named here
                **extra,
            )
    except CheckpointError:
        raise
    except (ValueError, KeyError, OSError, RuntimeError, SafetensorError) as error:
        if "trust_remote_code" in str(error):
            raise CheckpointError(
                "it needs code of its own, which is never run; use a model that transformers has"
            ) from error
        raise CheckpointError(
            f"it cannot be loaded: {' '.join(str(error).split())[:400]}"
        ) from error
    _refuse_what_does_not_fit(model, loaded)
    # the library would fill them with random numbers and only warn
    body_only = "" if auto is AutoModel else f"{model.base_model_prefix}."
    if absent := sorted(
        k for k in loaded["missing_keys"] if k.startswith(body_only) and "pooler." not in k
    ):
        raise CheckpointError(
            f"{len(absent)} weights are not in the folder, the first is {absent[0]!r}; is the "
            "download complete, and of the family that its config.json says?"
        )
    if auto is AutoModel and isinstance(getattr(model, "pooler", None), nn.Module):
        model.pooler = nn.Identity()  # nothing reads it, and nothing may train it
    return model.eval()


def _refuse_what_does_not_fit(model: Any, loaded: dict[str, Any]) -> None:
    """Weights of another shape, of layers that the config does not have, or that are no numbers."""
    for name, there, wanted in sorted(loaded["mismatched_keys"]):
        raise CheckpointError(
            f"weight {name!r} is {list(there)}, its config.json makes it {list(wanted)}"
        )
    layers = getattr(model.config, "num_hidden_layers", None) or math.inf
    for name in sorted(loaded["unexpected_keys"]):
        number = re.search(r"(?:^|\.)(?:h|layers?|blocks?)\.(\d+)\.", name)
        if number and int(number[1]) >= layers:
            raise CheckpointError(
                f"weight {name!r} is of a layer that its config.json leaves out (it has {layers}): "
                "a whole model with backbone.keep_layers says the same openly"
            )
    for name, weight in model.named_parameters():
        if not all_finite(weight):
            raise CheckpointError(
                f"weight {name!r} holds numbers that are not finite; get the file again"
            )


def open_tokenizer(folder: Path, model: Any) -> Any:
    """Return the tokenizer in ``folder``; never code from the folder.

    Raises:
        CheckpointError: it cannot be read, or is of another model.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (ValueError, KeyError, OSError, ImportError, TypeError) as error:
        raise CheckpointError(
            f"its tokenizer cannot be loaded: {' '.join(str(error).split())[:400]}"
        ) from error
    there = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > there:
        raise CheckpointError(
            f"its tokenizer has {len(tokenizer)} tokens and its model knows {there}: they are not "
            "of one model"
        )
    return tokenizer


def find_layers(model: Any) -> nn.ModuleList:
    """Return the L transformer layers, the first to read first; none where they cannot be told
    apart (ALBERT shares them)."""
    count = getattr(model.config, "num_hidden_layers", None)
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == count]
    return max(
        lists,
        key=lambda layers: sum(p.numel() for p in layers.parameters()),
        default=nn.ModuleList(),
    )


def cut_layers(model: Any, keep: int | Sequence[int]) -> None:
    """Leave only the first ``keep`` layers, or those with these numbers (from 0, ascending), in
    ``model``.

    Raises:
        CheckpointError: there are no such layers.
    """
    layers = find_layers(model)
    numbers = list(range(keep)) if isinstance(keep, int) else list(keep)
    if (
        not numbers
        or numbers != sorted(set(numbers))
        or not 0 <= numbers[0] <= numbers[-1] < len(layers)
    ):
        raise CheckpointError(
            f"backbone.keep_layers={keep}: the model has {len(layers)} layers that can be told "
            "apart; choose how many to keep, or their numbers from 0, ascending"
        )
    kept = nn.ModuleList(layers[number] for number in numbers)
    for place, layer in enumerate(kept):
        for module in layer.modules():
            if "layer_idx" in vars(module):
                vars(module)["layer_idx"] = place  # under which what was read is remembered
    owner, _, name = next(n for n, m in model.named_modules() if m is layers).rpartition(".")
    setattr(model.get_submodule(owner), name, kept)
    types = getattr(model.config, "layer_types", None)
    if types is not None:
        model.config.layer_types = [types[number] for number in numbers]
    model.config.num_hidden_layers = len(numbers)


def positions(model: Any) -> int | None:
    """Return the longest text that the model can read, in tokens; None where its positions are
    relative and know no end."""
    there: int | None = getattr(model.config, "max_position_embeddings", None)
    if there is None or there < 1:
        return None
    table = next((m for n, m in model.named_modules() if n.endswith("position_embeddings")), None)
    # RoBERTa and those like it number their positions from behind the padding's
    padding = table.padding_idx if isinstance(table, nn.Embedding) else None
    return there if padding is None else there - padding - 1


def final_norm(model: Any) -> nn.Module | None:
    """Return the norm that reads the output of the last layer, where it is no part of that
    layer."""
    layers = find_layers(model)
    for module in model.modules():
        children = dict(module.named_children())
        if any(child is layers for child in children.values()):
            return next((children[name] for name in FINAL_NORMS if name in children), None)
    return None


def dense(model: Any, place: str = "attention", first: int = 0) -> dict[str, nn.Module]:
    """Dense layers by full name, in the layers from number ``first`` on (everywhere where layers
    cannot be told apart).

    Args:
        place: "attention", those that make queries and values (all, if none is called as such
            layers are); "attention_all", those inside something called attention; "ffn", the
            others; "all".
    """
    layers = find_layers(model)
    inside = (
        {module for layer in layers[first:] for module in layer.modules()}
        if len(layers)
        else {*model.modules()}
    )
    found: dict[str, nn.Module] = {
        name: m
        for name, m in model.named_modules()
        if m in inside and isinstance(m, nn.Linear | Conv1D)
    }
    if place == "attention":
        for names in ATTENTION_INPUTS:
            chosen = {name: m for name, m in found.items() if name.rpartition(".")[2] in names}
            if {name.rpartition(".")[2] for name in chosen} == set(names):
                return chosen
    if place in ("attention_all", "ffn"):
        return {
            name: m for name, m in found.items() if ("att" in name) == (place == "attention_all")
        }
    return found


def run_whole(model: Any, ids: Tensor, mask: Tensor, types: Tensor | None = None) -> Tensor:
    """Return [B, T, D] hidden states of right-padded texts, by the model's own forward. ``ids``,
    ``types``: [B, T] int64, see ``Backbone.forward``; ``mask``: [B, T] bool."""
    knows_types = types is not None and (getattr(model.config, "type_vocab_size", None) or 0) > 1
    padding = getattr(model.config, "pad_token_id", None)
    padding = padding if padding is not None and 0 <= padding < model.config.vocab_size else 0
    hidden: Tensor = model(
        input_ids=ids.masked_fill(~mask, padding),
        attention_mask=mask.long(),
        **({"token_type_ids": types} if knows_types else {}),
    ).last_hidden_state
    return hidden


@torch.no_grad()
def probe(model: Any) -> tuple[bool, int]:
    """Return whether the first token is blind to the second, so that the model is causal; and the
    width D of its output."""
    last = model.config.vocab_size - 1
    ids = torch.tensor([[last, last - 1], [last, last - 2]])
    one, two = run_whole(model, ids, torch.ones_like(ids, dtype=torch.bool))
    return torch.allclose(one[0], two[0], atol=1e-6), one.shape[1]


@contextmanager
def quiet() -> Iterator[None]:
    """Without the bar and the report of every load and save: weights that are there and not needed
    are no news."""
    logging: Any = transformers_logging
    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
