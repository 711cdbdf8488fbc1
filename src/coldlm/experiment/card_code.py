"""The lines of a card that make vectors of texts with transformers and peft alone."""

from __future__ import annotations

from collections.abc import Sequence

from coldlm.models.backbones.backbone_module import Backbone
from coldlm.models.backbones.checkpoints import BOTTLENECK
from coldlm.models.backbones.layouts import Layout

STAGED = {"prefix", "prompt"}
"""Layouts that are run layer by layer."""


def code(
    backbone: Backbone, layout: Layout, base: str | None, revision: str | None, where: str | None
) -> str:
    """Return a program that ends with ``vectors``, a function of a list of texts.

    Args:
        base, revision: of the base on the hub; None where it lies in the folder ``base``.
        where: OWNER/NAME of this folder on the hub, None where it is read as it lies.
    """
    imports = ["import torch", "from transformers import AutoModel, AutoTokenizer"]
    if where:
        imports.insert(0, "from huggingface_hub import snapshot_download")
    if layout in ("peft", *STAGED):
        imports.insert(-1, "from peft import PeftModel")
    if layout == "bottleneck" or backbone.query is not None:
        imports.insert(-1, "from safetensors.torch import load_file")
    if layout == "bottleneck":
        imports[:0] = ["import json", "from pathlib import Path", ""]
    folder = f'snapshot_download("{where}")' if where else '"."  # where this card lies'
    lines = [
        *imports,
        "",
        f"folder = {folder}",
        "tokenizer = AutoTokenizer.from_pretrained(folder)",
        *_load(backbone, layout, base, revision),
        "",
        "",
        "@torch.no_grad()",
        "def vectors(texts):",
        *(f"    {line}" if line else "" for line in (*_read(backbone), *_hidden(backbone, layout))),
        *(f"    {line}" for line in _pool(backbone)),
        "",
        "",
        f"print(vectors([{backbone.item_prefix + 'what is written about an item'!r}]).shape)",
    ]
    return "\n".join(lines)


def _load(backbone: Backbone, layout: Layout, base: str | None, revision: str | None) -> list[str]:
    place = "folder" if layout == "whole" else 'f"{folder}/base"'
    if layout != "whole" and base:
        place = f'"{base}", revision="{revision}"'
    extra = ', attn_implementation="sdpa"' if layout in STAGED else ""
    if backbone.family in ("bert", "roberta"):
        extra += ", add_pooling_layer=False"
    load = f"AutoModel.from_pretrained({place}{extra}).eval()"
    if layout in ("whole", "bottleneck"):
        lines = [f"model = {load}"]
        return lines if layout == "whole" else [*lines, *_hooks()]
    return [f"base = {load}", "model = PeftModel.from_pretrained(base, folder).eval()"]


def _hooks() -> list[str]:
    """Put the bottlenecks behind their dense layers."""
    name = BOTTLENECK.removesuffix(".json")
    return [
        f'about = json.loads(Path(folder, "{BOTTLENECK}").read_text())',
        f'weights = load_file(f"{{folder}}/{name}.safetensors")',
        'f = getattr(torch.nn.functional, about["f"])',
        "linear = torch.nn.functional.linear",
        'for name in about["behind"]:',
        '    down = [weights[f"{name}.down.{part}"] for part in ("weight", "bias")]',
        '    up = [weights[f"{name}.up.{part}"] for part in ("weight", "bias")]',
        "    model.get_submodule(name).register_forward_hook(",
        "        lambda module, inputs, h, down=down, up=up: h + linear(f(linear(h, *down)), *up)",
        "    )",
    ]


def _read(backbone: Backbone) -> Sequence[str]:
    """``ids`` and ``mask`` of texts, padded on the right."""
    if not backbone.causal:
        return (
            "read = tokenizer(",
            f"    texts, truncation=True, max_length={backbone.max_tokens},",
            '    padding=True, padding_side="right", return_tensors="pt",',
            ")",
            'ids, mask = read["input_ids"], read["attention_mask"].bool()',
        )
    return (
        "end = [tokenizer.eos_token_id]  # a causal model reads it last",
        f'rows = [torch.tensor(row[:{backbone.max_tokens - 1}] + end) for row in tokenizer(texts)["input_ids"]]',
        "pad = torch.nn.utils.rnn.pad_sequence",
        "ids, mask = pad(rows, True), pad([torch.ones_like(row, dtype=torch.bool) for row in rows], True)",
    )


def _hidden(backbone: Backbone, layout: Layout) -> Sequence[str]:
    """``hidden``, [n, T, D]."""
    if layout not in STAGED:
        return ("hidden = model(input_ids=ids, attention_mask=mask.long()).last_hidden_state",)
    causal = backbone.causal
    embedded = (
        "base.wte(ids) + base.wpe(torch.arange(ids.shape[1]))" if causal else "base.embeddings(ids)"
    )
    layers = "base.h" if causal else "base.encoder.layer"
    lines = [
        f"hidden = {embedded}",
        f"before = model.get_prompt(len(ids))  # the trained {layout}",
        "n = model.active_peft_config.num_virtual_tokens",
        "see = torch.nn.functional.pad(mask, (n, 0), value=True)[:, None, None, :]",
    ]
    if causal:
        own = "" if layout == "prompt" else "[n:]"
        lines.append(
            f"see = see & torch.ones(see.shape[-1], see.shape[-1], dtype=torch.bool).tril(){own}"
        )
    if layout == "prompt":
        lines.append("hidden = torch.cat([before, hidden], 1)")
    past = ", past_key_values=before" if layout == "prefix" else ""
    lines += [f"for layer in {layers}:", f"    hidden = layer(hidden, attention_mask=see{past})"]
    if layout == "prompt":
        lines.append("hidden = hidden[:, n:]")
    return [*lines, *(["hidden = base.ln_f(hidden)"] if causal else [])]


def _pool(backbone: Backbone) -> Sequence[str]:
    if backbone.pooling == "cls":
        return ("return hidden[:, 0]",)
    if backbone.pooling == "last":
        return ("return hidden[torch.arange(len(ids)), mask.sum(1) - 1]",)
    if backbone.query is not None:
        return (
            'query = load_file(f"{folder}/head/head.safetensors")["pooling.query"]',
            "asked = (hidden @ query / len(query) ** 0.5).masked_fill(~mask, -torch.inf)",
            "return (asked.softmax(1)[:, :, None] * hidden).sum(1)",
        )
    return ("weight = mask[:, :, None].float()", "return (weight * hidden).sum(1) / weight.sum(1)")
