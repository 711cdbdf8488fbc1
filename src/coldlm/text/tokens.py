"""Texts as ragged token ids: no padding is stored. Shapes: N texts, S tokens in all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from coldlm.core.tables import Ints


@dataclass(frozen=True)
class Tokens:
    """``ids``: [S] int64. ``start``: [N + 1] offsets. ``lost``: tokens cut off by the length limit.
    ``unknown``: share of tokens that the tokenizer does not know."""

    ids: Ints
    start: Ints
    lost: int
    unknown: float

    @property
    def lengths(self) -> Ints:
        return np.diff(self.start)


def tokenize(texts: Sequence[str], tokenizer: Any, max_tokens: int, *, causal: bool) -> Tokens:
    """Return the tokens of every text, at most ``max_tokens`` each, special tokens included.

    A causal model gets an end-of-text token behind every text: it is what "last" pooling reads, and
    it gives an empty text one token.
    """
    # no tokenizer here needs 40 characters for a token; a 100,000-character text need not be
    # tokenized whole
    whole = tokenizer([text[: max_tokens * 40] for text in texts], truncation=False, verbose=False)[
        "input_ids"
    ]
    room = max_tokens - 1 if causal else max_tokens
    lost = sum(max(0, len(ids) - room) for ids in whole)
    if causal:
        kept = [[*ids[:room], tokenizer.eos_token_id] for ids in whole]
    else:
        # keep the closing special token when a text is cut
        kept = [ids if len(ids) <= room else [*ids[: room - 1], ids[-1]] for ids in whole]
    start = np.cumsum([0, *map(len, kept)]).astype(np.int64)
    flat = np.fromiter((i for ids in kept for i in ids), np.int64, count=int(start[-1]))
    known_special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    plain = ~np.isin(flat, list(known_special))
    # where the unknown token doubles as end-of-text (GPT-2), byte-level vocabularies know
    # everything
    has_unknown = (
        tokenizer.unk_token_id is not None and tokenizer.unk_token_id != tokenizer.eos_token_id
    )
    unknown = (
        float((flat[plain] == tokenizer.unk_token_id).mean())
        if has_unknown and plain.any()
        else 0.0
    )
    return Tokens(flat, start, lost, unknown)


def blocks(lengths: Ints, tokens_per_block: int, step: int) -> list[tuple[Ints, int, int]]:
    """Group texts of similar length: (positions, rows, padded length) with rows * length about
    ``tokens_per_block``.

    ``rows`` and the padded length depend on a text's own length alone, and a text's place in its
    block on the texts in front of it alone; so adding texts behind it cannot change a bit of its
    vector.
    """
    padded = np.maximum(-(-lengths // step) * step, step)
    out = []
    for length in np.unique(padded):
        members = np.flatnonzero(padded == length)
        rows = max(1, tokens_per_block // int(length))
        out += [(members[i : i + rows], rows, int(length)) for i in range(0, len(members), rows)]
    return out
