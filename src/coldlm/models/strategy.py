"""Fine-tuning strategies: functions Backbone -> Backbone that say which parameters train. With
``models/backbones/layouts.py`` the only door to peft.

Which modules a strategy touches is written once per family in ``models/parts/target_modules.py``,
so that BERT and RoBERTa of one shape train the same number of parameters under the same strategy.
``layers`` are counted from above, null for all of them; what lies below the lowest is constant and
computed once. ``match_params`` chooses a strategy's size instead: the one whose number of trained
parameters comes closest.
"""

from __future__ import annotations

import math
import warnings
from typing import Annotated, Any, Literal

import torch
from torch import nn

from coldlm.core.columns import Above0, Count, Range, Share
from coldlm.models.backbones.backbone_module import Backbone
from coldlm.models.backbones.families import final_norm
from coldlm.models.parts.adalora import Ranks
from coldlm.models.parts.adapters import Adapted
from coldlm.models.parts.prefixes import Prefixed, Table
from coldlm.models.parts.stream_adapters import adapter_name, adapter_number
from coldlm.models.parts.target_modules import (
    adapt,
    fit_size,
    is_transposed,
    modules_of,
    outputs,
    require_staged,
)

Targets = Literal["attention", "attention_all", "ffn", "all"]


def frozen(backbone: Backbone) -> Backbone:
    """Train nothing of the backbone; every text is encoded once."""
    backbone.model.requires_grad_(False)
    backbone.depth, backbone.base_trained = backbone.stages, False
    return backbone


def full(backbone: Backbone) -> Backbone:
    """Train every parameter; nothing can be cached."""
    backbone.model.requires_grad_(True)
    backbone.depth, backbone.base_trained = 0, True
    return backbone


def top(backbone: Backbone, *, layers: Count = 1) -> Backbone:
    """Train the top ``layers`` transformer layers, and the final norm where there is one;
    the output below them is cached, but not in models that are run as one stage.

    Raises:
        ValueError: more layers than the backbone has.
    """
    for i in adapt(backbone, layers):
        backbone.layers[i].requires_grad_(True)
    if norm := final_norm(backbone.model):
        norm.requires_grad_(True)
    backbone.base_trained = True
    return backbone


def bitfit(backbone: Backbone) -> Backbone:
    """Train every bias, those of the norms too (Ben Zaken et al. 2022, section 3).

    Raises:
        ValueError: the backbone has no bias (Llama and the like).
    """
    biases = [p for name, p in backbone.model.named_parameters() if name.endswith("bias")]
    if not biases:
        raise ValueError(
            f"strategy=bitfit: backbone {backbone.name!r} has no bias; use strategy=lora"
        )
    backbone.model.requires_grad_(False)
    for bias in biases:
        bias.requires_grad_(True)
    # GPT-2's embeddings have no bias
    backbone.depth, backbone.base_trained = int(backbone.family == "gpt2"), True
    return backbone


def lora(
    backbone: Backbone,
    *,
    rank: Count = 8,
    alpha: Above0 = 16,
    dropout: Share = 0.0,
    layers: Count | None = None,
    targets: Targets = "attention",
    use_rslora: bool = False,
    use_dora: bool = False,
    stream_adapters: Annotated[int, Range(0)] = 0,
    match_params: Count | None = None,
) -> Backbone:
    """Add low-rank products to the matrices ``targets``: Hu et al. 2021, eq. 3.

    W x becomes W x + (alpha / rank) * B A x with B = 0 at the start, so the untrained model is
    unchanged.

    Args:
        use_rslora: alpha / sqrt(rank) instead (Kalajdzievski 2023, eq. 4).
        use_dora: the norms of the rows of W + (alpha / rank) * B A train apart (Liu et al. 2024,
            eq. 5).
        stream_adapters: so many further products beside the first, all of them added up, which
            wait for the stream (``models/parts/stream_adapters.py``): W x + (alpha / rank) * (B A x +
            B1 A1 x + ...).

    Raises:
        ValueError: more layers than the backbone has.
    """
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.lora import LoraLayer

    modules = dict(modules_of(backbone, targets, adapt(backbone, layers)))
    ends = sum(sum(module.weight.shape) for module in modules.values())
    norms = sum(outputs(module) for module in modules.values()) if use_dora else 0
    rank = fit_size(backbone, "rank", rank, match_params, lambda r: r * ends + norms)
    scaling: Any = alpha  # peft annotates an int, and divides it
    config = LoraConfig(
        r=rank,
        lora_alpha=scaling,
        lora_dropout=dropout,
        target_modules=list(modules),
        fan_in_fan_out=any(map(is_transposed, modules.values())),
        use_rslora=use_rslora,
        use_dora=use_dora,
    )
    further = [adapter_name(number + 1) for number in range(stream_adapters)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        inject_adapter_in_model(config, backbone.model)
        warnings.filterwarnings("ignore", "Already found a `peft_config`")
        for name in further:
            inject_adapter_in_model(config, backbone.model, adapter_name=name)
    if further:
        for module in backbone.model.modules():
            if isinstance(module, LoraLayer):
                module.set_adapter(["default", *further])
        for name, parameter in backbone.model.named_parameters():
            if adapter_number(name):
                parameter.requires_grad_(False)
    return backbone


def adalora(
    backbone: Backbone,
    *,
    rank: Count = 8,
    start: Annotated[float, Range(1, above=True)] = 1.5,
    alpha: Above0 = 16,
    layers: Count | None = None,
    targets: Targets = "attention",
    tinit: Share = 0.1,
    tfinal: Share = 0.3,
    orthogonality: Annotated[float, Range(0)] = 0.5,
    match_params: Count | None = None,
) -> Backbone:
    """Add low-rank products whose ranks move to the matrices that need them: Zhang et al. 2023, see
    ``models/parts/adalora.py``.

    W x becomes W x + (alpha / r) * P diag(lambda) Q x with lambda = 0 at the start, so the
    untrained model is unchanged. r = ceil(``start`` * ``rank``) at first, ``rank`` on average at
    the end. What was given up stays in the count of trained parameters.

    Args:
        tinit, tfinal: shares of the training's steps before the first cut and after the last.
        orthogonality: weight of the penalty on P and Q.

    Raises:
        ValueError: more layers than the backbone has.
    """
    from peft import AdaLoraConfig, inject_adapter_in_model
    from peft.tuners.adalora import RankAllocator

    modules = dict(modules_of(backbone, targets, adapt(backbone, layers)))
    ends = sum(sum(module.weight.shape) + 1 for module in modules.values())
    rank = fit_size(backbone, "rank", rank, match_params, lambda r: math.ceil(start * r) * ends)
    scaling: Any = alpha
    allocator: Any = RankAllocator

    def configure(steps: int, first: int, last: int) -> Any:
        return AdaLoraConfig(
            init_r=math.ceil(start * rank),
            target_r=rank,
            lora_alpha=scaling,
            target_modules=list(modules),
            fan_in_fan_out=any(map(is_transposed, modules.values())),
            total_step=steps,
            tinit=first,
            tfinal=last,
        )

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        inject_adapter_in_model(configure(1, 0, 0), backbone.model)
    backbone.ranks = Ranks(
        backbone.model,
        lambda *steps: allocator(backbone.model, configure(*steps), "default"),
        first=tinit,
        last=tfinal,
        orthogonality=orthogonality,
    )
    return backbone


def ia3(backbone: Backbone, *, layers: Count | None = None) -> Backbone:
    """Multiply keys, values and the inner activations of the feed-forward network by trained
    factors that are one at the start: Liu et al. 2022, section 3.3. GPT-2's queries get one
    too, as its three are one matrix.

    Raises:
        ValueError: more layers than the backbone has.
    """
    from peft import IA3Config, inject_adapter_in_model
    from peft.tuners.ia3 import IA3Layer

    where = adapt(backbone, layers)
    modules = dict(modules_of(backbone, "ia3", where))
    config = IA3Config(
        target_modules=list(modules),
        feedforward_modules=[name for name, _ in modules_of(backbone, "pfeiffer", where)],
        fan_in_fan_out=any(map(is_transposed, modules.values())),
    )
    inject_adapter_in_model(config, backbone.model)
    for module in backbone.model.modules():
        if isinstance(module, IA3Layer):
            # peft stores [n, 1] or [1, n]; factors are no matrices, which decay towards zero
            module.ia3_l["default"] = nn.Parameter(module.ia3_l["default"].detach().flatten())
    return backbone


def adapter(
    backbone: Backbone,
    *,
    variant: Literal["houlsby", "pfeiffer"] = "pfeiffer",
    bottleneck: Count = 16,
    activation: Literal["gelu", "relu", "tanh"] = "gelu",
    layers: Count | None = None,
    match_params: Count | None = None,
) -> Backbone:
    """Put small networks behind the feed-forward network of each layer (Pfeiffer et al. 2021), or
    behind attention too (Houlsby et al. 2019); before the sum with what went around, see
    ``models/parts/adapters.py``. Norms stay frozen.

    Args:
        bottleneck: size of their inner layer.

    Raises:
        ValueError: more layers than the backbone has.
    """
    modules = dict(modules_of(backbone, variant, adapt(backbone, layers)))
    width, n = backbone.width, len(modules)
    size = fit_size(
        backbone,
        "bottleneck",
        bottleneck,
        match_params,
        lambda size: n * (size * (2 * width + 1) + width),
    )
    for name, module in modules.items():
        backbone.model.set_submodule(
            name, Adapted(module, width=width, size=size, activation=activation)
        )
    return backbone


def prefix(
    backbone: Backbone,
    *,
    length: Count = 10,
    projection: Count | None = None,
    layers: Count | None = None,
    match_params: Count | None = None,
) -> Backbone:
    """Put trained keys and values before those of the text in each layer's attention: see
    ``models/parts/prefixes.py``.

    Not quite a no-op before training: every token attends to the prefix, whose values are zero,
    beside the text.

    Args:
        projection: hidden width of the network that makes keys and values from a table; null trains
            them themselves.

    Raises:
        ValueError: more layers than the backbone has.
    """
    modules = dict(modules_of(backbone, "prefix", adapt(backbone, layers)))
    width, shared, each = backbone.width, 0, 2 * len(modules) * backbone.width
    if projection is not None:
        shared, each = (width + 1) * projection + each * (projection + 1), width
    length = fit_size(backbone, "length", length, match_params, lambda n: shared + n * each)
    table = None if projection is None else Table(length, width, projection)
    heads = backbone.model.config.num_attention_heads
    for name, module in modules.items():
        backbone.model.set_submodule(
            name, Prefixed(module, length=length, heads=heads, width=width, table=table)
        )
    backbone.starts_untouched = False
    return backbone


def prompt(
    backbone: Backbone, *, length: Count = 10, match_params: Count | None = None
) -> Backbone:
    """Put trained vectors before the text, into the first layer: Lester et al. 2021, section 2.

    They begin as embedded words drawn from the vocabulary (their section 3.2), so this is no no-op
    before training. The text keeps its positions, and its vector is pooled from its own tokens
    alone.

    Raises:
        ValueError: the backbone is run as one stage, which leaves no place between embeddings and
            layers.
    """
    require_staged(backbone)
    adapt(backbone, None)
    length = fit_size(backbone, "length", length, match_params, lambda n: n * backbone.width)
    drawn = torch.randint(backbone.model.config.vocab_size, (length, 1))
    # every stage is frozen now and the first is constant: what is below the trained vectors
    backbone.prompt = nn.Parameter(
        backbone.lower(drawn, torch.ones_like(drawn, dtype=torch.bool))[:, 0]
    )
    backbone.starts_untouched = False
    return backbone
