"""Pre-trained bodies, cut into stages so that what is frozen can be computed once.

Stage 0 is the embeddings, stage i (1..L) the i-th transformer layer. ``depth`` says how many leading stages are
constant: 0 when everything trains, L + 1 when nothing does. Shapes: B texts, T tokens, D width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from safetensors import safe_open
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2Model,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
)
from transformers.utils import logging as transformers_logging

from coldlm.columns import Range
from coldlm.errors import CheckpointError
from coldlm.models.checkpoints import FAMILIES, find
from coldlm.models.past import Past
from coldlm.models.ranks import Ranks
from coldlm.seeding import torch_seed


class Backbone(nn.Module):
    """One text encoder: BERT, RoBERTa or GPT-2, without pooler, in float32.

    ``output``: [V, D], a language-model head of its own; None where it is the word embeddings', or not there. It stays
    as it was loaded.

    A strategy (see ``models/strategy.py``) sets ``depth``; ``base_trained``: whether parameters of the backbone's own
    train; ``starts_untouched``: whether vectors are those of the untouched backbone before training; ``prompt``: [P, D]
    vectors that enter the first layer before the text; ``ranks``: a budget that moves while training; ``matched``: the
    size that it chose by itself. ``checkpointing``: layers keep their input only and are computed again going back
    (Chen et al. 2016). ``fingerprint`` identifies the weights as loaded, for caches.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str,
        pooling: str,
        max_tokens: int,
        item_prefix: str = "",
        query_prefix: str = "",
        released: str | None = None,
        fingerprint: str = "",
        output: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.output: Tensor | None
        self.register_buffer("output", output, persistent=False)
        self.model, self.tokenizer = model, tokenizer
        self.name, self.pooling, self.max_tokens = name, pooling, max_tokens
        self.item_prefix, self.query_prefix = item_prefix, query_prefix
        self.released, self.fingerprint = released, fingerprint
        self.family = FAMILIES[model.config.model_type]
        self.causal = self.family == "gpt2"
        self.layers: nn.ModuleList = model.h if self.causal else model.encoder.layer
        self.width: int = model.config.hidden_size
        self.depth = len(self.layers) + 1
        self.base_trained, self.starts_untouched = False, True
        self.prompt: nn.Parameter | None
        self.register_parameter("prompt", None)
        self.ranks: Ranks | None = None
        self.matched: dict[str, int] = {}
        self.checkpointing = False
        self.requires_grad_(False)
        self.eval()

    @property
    def is_frozen(self) -> bool:
        return self.depth == len(self.layers) + 1

    def compile_layers(self) -> None:
        """Compile the layers that are not constant, for blocks of any shape; values change by rounding only."""
        for layer in self.layers[max(self.depth - 1, 0) :]:
            layer.compile(dynamic=True)

    def train(self, mode: bool = True) -> Backbone:
        """Frozen stages stay in eval mode, whatever ``mode`` says: their dropout would be noise on constants."""
        super().train(False)
        if self.base_trained:
            final = [self.model.ln_f] if self.causal else []
            for stage in [self._embeddings(), *self.layers, *final][self.depth :]:
                stage.train(mode)
        for part_name, part in self.model.named_modules():
            if "lora_dropout" in part_name:
                part.train(mode)
        self.training = mode
        return self

    def lower(self, x: Tensor, mask: Tensor, first: int = 0) -> Tensor:
        """[B, T, D] output of the constant stages from ``first`` on, without gradient.

        ``x``: [B, T] int64 token ids for stage 0, else [B, T, D] hidden states; ``mask``: [B, T] bool.
        """
        with torch.no_grad():
            return self._run(x, mask, first, self.depth)

    def upper(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """[B, D] pooled vectors from the output of ``lower``."""
        return self._pool(self._run(hidden, mask, self.depth, len(self.layers) + 1), mask)

    def forward(self, ids: Tensor, mask: Tensor, types: Tensor | None = None) -> Tensor:
        """[B, D] vectors of right-padded texts, [B, T] int64; ``mask``: [B, T] bool, True on tokens.

        ``types``: [B, T] int64, 0 in the first text and 1 in the second; backbones that know no types do not look.
        """
        with torch.no_grad():
            x = self._run(ids, mask, 0, self.depth, types)
        return self._pool(self._run(x, mask, self.depth, len(self.layers) + 1, types), mask)

    @property
    def speaks(self) -> bool:
        """Whether it can say how probable the next token is."""
        return self.causal and (self.model.config.tie_word_embeddings or self.output is not None)

    def hidden(self, ids: Tensor, mask: Tensor) -> Tensor:
        """[B, T, D] output of a causal model for right-padded texts, what ``vocabulary`` reads."""
        with torch.no_grad():
            x = self._run(ids, mask, 0, self.depth)
        out: Tensor = self.model.ln_f(self._run(x, mask, self.depth, len(self.layers) + 1))
        return out

    @torch.no_grad()
    def proceed(self, ids: Tensor, mask: Tensor, past: Past) -> Tensor:
        """[B, T, D] the same for texts that go on behind ``past``, which then holds them too."""
        before = 0 if self.prompt is None else len(self.prompt)
        first = max(past.length - before, 0)  # a prompt takes no position
        positions = torch.arange(first, first + ids.shape[1], device=ids.device)[None]
        x = self.model.drop(self.model.wte(ids) + self.model.wpe(positions))
        if self.prompt is not None and not past.length:
            x = torch.cat([self.prompt.expand(len(x), -1, -1).to(x.dtype), x], 1)
            mask = F.pad(mask, (before, 0), value=True)
        length = mask.shape[1]
        attend = mask[:, None, None, :] & torch.ones(length, length, dtype=torch.bool, device=mask.device).tril()
        attend = F.pad(attend, (past.length, 0), value=True)
        for layer in self.layers:
            x = layer(x, past_key_values=past, attention_mask=attend)
        out: Tensor = self.model.ln_f(x[:, -ids.shape[1] :])
        return out

    @staticmethod
    def nothing_read() -> Past:
        """What ``proceed`` begins with."""
        return Past()

    def vocabulary(self, hidden: Tensor) -> Tensor:
        """[..., V] logits of the next token."""
        return F.linear(hidden, self.model.wte.weight if self.output is None else self.output)

    def _embeddings(self) -> nn.Module:
        # GPT-2 has no embeddings module of its own: word and position tables and a dropout stand side by side
        return (
            nn.ModuleList([self.model.wte, self.model.wpe, self.model.drop]) if self.causal else self.model.embeddings
        )

    def _embed(self, ids: Tensor, types: Tensor | None = None) -> Tensor:
        positions = torch.arange(ids.shape[1], device=ids.device)[None]
        embedded: Tensor
        if self.causal:
            embedded = self.model.drop(self.model.wte(ids) + self.model.wpe(positions))
        else:
            # RoBERTa numbers its positions from behind the padding's
            first = self.model.embeddings.padding_idx + 1 if self.family == "roberta" else 0
            types = types if self.model.config.type_vocab_size > 1 else None
            embedded = self.model.embeddings(input_ids=ids, position_ids=positions + first, token_type_ids=types)
        return embedded

    def _run(self, x: Tensor, mask: Tensor, first: int, last: int, types: Tensor | None = None) -> Tensor:
        """Stages ``first`` to ``last`` (excluded); ``x`` holds ids for stage 0, hidden states otherwise."""
        if first == 0 < last:
            x = self._embed(x, types)
        layers = self.layers[max(first - 1, 0) : max(last - 1, 0)]
        if self.prompt is None or not len(layers):
            return self._attend(x, mask, layers)
        # behind the embeddings, so the text's positions are its own; dropped again before pooling
        before = self.prompt.expand(len(x), -1, -1).to(x.dtype)
        mask = F.pad(mask, (before.shape[1], 0), value=True)
        return self._attend(torch.cat([before, x], 1), mask, layers)[:, before.shape[1] :]

    def _attend(self, x: Tensor, mask: Tensor, layers: nn.ModuleList) -> Tensor:
        """[B, T, D] hidden states behind ``layers``."""
        # texts of one length need no mask, and attention without one is faster
        attend = None if not self.causal and bool(mask.all()) else mask[:, None, None, :]
        if attend is not None and self.causal:
            attend = attend & torch.ones(mask.shape[1], mask.shape[1], dtype=torch.bool, device=mask.device).tril()
        for layer in layers:
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(layer, x, attention_mask=attend, use_reentrant=False)
            else:
                x = layer(x, attention_mask=attend)
        return x

    def _pool(self, hidden: Tensor, mask: Tensor) -> Tensor:
        hidden = self.model.ln_f(hidden) if self.causal else hidden
        if self.pooling == "cls":
            return hidden[:, 0]
        if self.pooling == "last":
            return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(1) - 1]
        weight = mask[:, :, None].to(hidden.dtype)
        return (hidden * weight).sum(1) / weight.sum(1)


def load(
    *,
    name: str,
    hub: str | None = None,
    revision: str | None = None,
    package: str | None = None,
    path: str | None = None,
    sha256: str | None = None,
    pooling: Literal["mean", "cls", "last"] = "mean",
    max_tokens: Annotated[int, Range(4, 512)] = 64,
    item_prefix: str = "",
    query_prefix: str = "",
    dropout: Annotated[float, Range(0, 1)] | None = None,
    released: str | None = None,
) -> Backbone:
    """A checkpoint from the hub's local cache, an installed package or a folder; never code from the checkpoint.

    Args:
        sha256: of the weight file; refused if it differs.
        dropout: replaces the checkpoint's own dropout rates (they act in trained layers only).
        released: 'YYYY-MM' of the checkpoint's first publication; tables flag what is newer than T_test.

    Raises:
        CheckpointError: files missing, a wrong hash, a family other than BERT, RoBERTa and GPT-2, or too few positions.
    """
    folder = find(name=name, hub=hub, revision=revision, package=package, path=path, sha256=sha256)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    if config.model_type not in FAMILIES:
        raise CheckpointError(
            f"backbone {name!r} in {folder} is a {config.model_type!r} model; allowed are {', '.join(FAMILIES)}"
        )
    # RoBERTa's first position stands behind its padding id
    behind = config.pad_token_id + 1 if FAMILIES[config.model_type] == "roberta" else 0
    if max_tokens > (positions := config.max_position_embeddings - behind):
        raise CheckpointError(
            f"backbone.max_tokens={max_tokens}: {name!r} has {positions} positions; choose up to that"
        )
    if dropout is not None:
        for key in ("hidden_dropout_prob", "attention_probs_dropout_prob", "resid_pdrop", "embd_pdrop", "attn_pdrop"):
            if hasattr(config, key):
                setattr(config, key, dropout)
    extra = {} if FAMILIES[config.model_type] == "gpt2" else {"add_pooling_layer": False}
    with _quiet():
        model, loaded = AutoModel.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation="sdpa",
            output_loading_info=True,
            **extra,
        )
    # the library would fill them with random numbers and only warn
    if absent := sorted(loaded["missing_keys"]):
        raise CheckpointError(
            f"backbone {name!r}: {len(absent)} weights are not in {folder}, the first is {absent[0]!r}; is the "
            "download complete, and of the family that its config.json says?"
        )
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    files = sorted(Path(folder).glob("*.safetensors"))
    return Backbone(
        model,
        tokenizer,
        name=name,
        pooling=pooling,
        max_tokens=max_tokens,
        item_prefix=item_prefix,
        query_prefix=query_prefix,
        released=released,
        fingerprint=_fingerprint(files, pooling),
        output=None if config.tie_word_embeddings else _read_output(files),
    )


@dataclass(frozen=True)
class RandomVectors:
    """No backbone: the control in which every item has a fixed random vector (see ``text.encode.RandomEncoder``)."""

    width: int
    seed: int


def random_vectors(*, width: Annotated[int, Range(1)] = 384, seed: int = 0) -> RandomVectors:
    """A fixed random vector of ``width`` per item."""
    return RandomVectors(width, seed)


def tiny(
    *,
    family: Literal["bert", "roberta", "gpt2"],
    layers: Annotated[int, Range(1)] = 2,
    width: Annotated[int, Range(4)] = 32,
    heads: Annotated[int, Range(1)] = 2,
    pooling: Literal["mean", "cls", "last"] = "mean",
    max_tokens: Annotated[int, Range(4, 512)] = 64,
    seed: int = 0,
) -> Backbone:
    """A small random model over bytes: it exercises every code path in seconds and knows no language."""
    tokenizer = _byte_tokenizer(family)
    vocabulary, positions = len(tokenizer), max_tokens + 2
    with torch_seed(seed, "tiny", family):
        model: Any
        if family == "gpt2":
            model = GPT2Model(
                GPT2Config(
                    vocab_size=vocabulary,
                    n_positions=positions,
                    n_embd=width,
                    n_layer=layers,
                    n_head=heads,
                    bos_token_id=tokenizer.eos_token_id,
                    eos_token_id=tokenizer.eos_token_id,
                )
            )
        else:
            config_class: Any = BertConfig if family == "bert" else RobertaConfig
            model_class: Any = BertModel if family == "bert" else RobertaModel
            model = model_class(
                config_class(
                    vocab_size=vocabulary,
                    max_position_embeddings=positions,
                    hidden_size=width,
                    num_hidden_layers=layers,
                    num_attention_heads=heads,
                    intermediate_size=4 * width,
                    pad_token_id=tokenizer.pad_token_id,
                    type_vocab_size=1,
                ),
                add_pooling_layer=False,
            )
    return Backbone(
        model,
        tokenizer,
        name=f"tiny_{family}",
        pooling=pooling,
        max_tokens=max_tokens,
        fingerprint=f"tiny {family} {layers} {width} {heads} {seed} {pooling}",
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the bar and the report of every load: weights that are there and not needed are no news."""
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


def _byte_tokenizer(family: str) -> Any:
    """One token per byte, no merges: works for every language, needs no file."""
    causal = family == "gpt2"
    special = ["<|endoftext|>"] if causal else ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    symbols = special + sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: number for number, symbol in enumerate(symbols)}
    wrap: Any = PreTrainedTokenizerFast
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token=None if causal else "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if causal:
        return wrap(tokenizer_object=tokenizer, eos_token=special[0])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair=f"[CLS] $A [SEP]{' [SEP]' if family == 'roberta' else ''} $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    return wrap(tokenizer_object=tokenizer, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]")


def _read_output(files: list[Path]) -> Tensor | None:
    """[V, D] the language-model head of a checkpoint whose head is not its word embeddings, None if it has none."""
    for file in files:
        with safe_open(file, "pt") as stored:
            if "lm_head.weight" in stored.keys():  # noqa: SIM118
                head: Tensor = stored.get_tensor("lm_head.weight").float()
                return head
    return None


def _fingerprint(files: list[Path], pooling: str) -> str:
    digest = hashlib.sha256(pooling.encode())
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
