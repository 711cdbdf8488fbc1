"""A trained backbone as files that other software reads: a plain model of transformers, an adapter of peft, and for
bottleneck adapters, for which neither has a layout, tensors by name.

Shapes: P length of a prefix or a prompt, D width, L layers.
"""

from __future__ import annotations

import math
from copy import copy
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from coldlm.core.files import write_json
from coldlm.models.backbones.backbone_module import Backbone
from coldlm.models.backbones.checkpoints import BOTTLENECK
from coldlm.models.backbones.families import quiet
from coldlm.models.parts.adapters import ACTIVATIONS, Adapted
from coldlm.models.parts.prefixes import Prefixed

Layout = Literal["whole", "peft", "prefix", "prompt", "bottleneck"]
"""``prefix`` and ``prompt`` are files of peft's too, but peft's own forward would read them otherwise: it counts the
text's positions from behind a prefix, and puts a prompt before the embeddings' norm."""


def layout_of(backbone: Backbone, untouched: Backbone) -> Layout:
    """Return the layout of what a strategy has made of the backbone ``untouched``.

    Raises:
        ValueError: parts that no layout has room for.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    kinds: dict[Layout, Any] = {"peft": BaseTunerLayer, "prefix": Prefixed, "bottleneck": Adapted}
    found: list[Layout] = [
        layout
        for layout, kind in kinds.items()
        if any(isinstance(module, kind) for module in backbone.model.modules())
    ]
    found += ["prompt"] * (backbone.prompt is not None)
    if not found and backbone.model.state_dict().keys() == untouched.model.state_dict().keys():
        return "whole"
    if len(found) != 1:
        raise ValueError(
            f"the strategy's parts ({', '.join(found) or 'of its own'}) have no layout that other software "
            "reads; there is one for each strategy of coldlm alone"
        )
    if found == ["prefix"] and len(_prefixes(backbone)) < len(backbone.layers):
        raise ValueError(
            f"a prefix in {len(_prefixes(backbone))} of {len(backbone.layers)} layers has no layout that other "
            "software reads: peft's has one in every layer; train with strategy.layers=null"
        )
    return found[0]


def save_whole(backbone: Backbone, folder: Path) -> None:
    """Write model and tokenizer as transformers reads them."""
    with quiet():
        backbone.model.save_pretrained(folder)
    backbone.tokenizer.save_pretrained(folder)


def save_added(
    backbone: Backbone, layout: Layout, folder: Path, *, base: str | None, revision: str | None
) -> None:
    """Write what a strategy has added, in any layout but ``whole``.

    Args:
        base: where peft may find the untouched model, None where no public name leads to it.
        revision: of it.
    """
    if layout == "bottleneck":
        _save_bottlenecks(backbone, folder)
        return
    config, state = _of_peft(backbone) if layout == "peft" else _of_prompts(backbone)
    config.base_model_name_or_path, config.revision, config.inference_mode = base, revision, True
    config.save_pretrained(folder)
    save_tensors(state, folder / "adapter_model.safetensors")


def save_tensors(state: dict[str, Tensor], file: Path) -> None:
    """Write tensors, which may be parameters on any device."""
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, file)


def _of_peft(backbone: Backbone) -> tuple[Any, dict[str, Tensor]]:
    """The configuration of low-rank products or factors, and their tensors by peft's names."""
    from peft import get_peft_model_state_dict
    from peft.tuners.ia3 import IA3Layer

    model = backbone.model
    config, n = copy(model.peft_config["default"]), len(model.peft_config)
    config.target_modules = sorted(config.target_modules)
    parts = [get_peft_model_state_dict(model, adapter_name=name) for name in model.peft_config]
    state = parts[0]
    if n > 1:  # a sum of n products of rank r is one product of rank n r, whose scale must stay
        state = {
            name: torch.cat([part[name] for part in parts], 0 if "lora_A" in name else 1)
            for name in state
        }
        config.r, config.lora_alpha = (
            n * config.r,
            config.lora_alpha * (math.sqrt(n) if config.use_rslora else n),
        )
    for name, module in model.named_modules():
        if isinstance(module, IA3Layer):
            # peft multiplies a layer's input by a row, its output by a column
            shape = (1, -1) if module.is_feedforward else (-1, 1)
            state[f"{name}.ia3_l"] = state[f"{name}.ia3_l"].reshape(shape)
    return config, {f"base_model.model.{name}": tensor for name, tensor in state.items()}


def _of_prompts(backbone: Backbone) -> tuple[Any, dict[str, Tensor]]:
    """The same of a prompt, [P, D], or of prefixes, [P, 2 L D]: keys and values of the first layer, of the second, and
    so on; a network behind them is worked out."""
    from peft import PrefixTuningConfig, PromptTuningConfig

    kind: Any = PromptTuningConfig
    rows: Any = backbone.prompt
    if rows is None:
        kind = PrefixTuningConfig
        with torch.no_grad():
            pairs = [part for each in _prefixes(backbone) for part in each.before(torch.zeros(1))]
        rows = torch.cat([part[0].transpose(0, 1).flatten(1) for part in pairs], 1)
    config = kind(
        task_type="FEATURE_EXTRACTION",
        num_virtual_tokens=len(rows),
        token_dim=backbone.width,
        num_layers=len(backbone.layers),
        num_attention_heads=backbone.model.config.num_attention_heads,
        num_transformer_submodules=1,
    )
    return config, {"prompt_embeddings": rows}


def _prefixes(backbone: Backbone) -> list[Prefixed]:
    return [module for module in backbone.model.modules() if isinstance(module, Prefixed)]


def _save_bottlenecks(backbone: Backbone, folder: Path) -> None:
    """Tensors by the name of the dense layer that they stand behind."""
    found = {n: m for n, m in backbone.model.named_modules() if isinstance(m, Adapted)}
    state = {
        f"{name}.{part}": tensor
        for name, module in found.items()
        for part, tensor in module.state_dict().items()
        if part.startswith(("down.", "up."))
    }
    (activation,) = {
        name
        for name, kind in ACTIVATIONS.items()
        if isinstance(next(iter(found.values())).activation, kind)
    }
    about = {"behind": list(found), "adds": "up(f(down(h)))", "f": activation}
    write_json(folder / BOTTLENECK, about)
    save_tensors(state, (folder / BOTTLENECK).with_suffix(".safetensors"))
