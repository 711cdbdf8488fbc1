"""A user's text and an item's text, read together in one pass of the backbone.

Shapes: Q users, H history, n pairs, T tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from coldlm.core.errors import CheckpointError
from coldlm.core.tables import Ints
from coldlm.text.again import within
from coldlm.text.tokens import blocks

STEP = 4
"""Lengths of blocks are rounded up to multiples of this: the padding of a pair is at most three
tokens."""

BETWEEN = "; "
"""Stands between the texts of a history."""


class Body(Protocol):
    """What this module needs of a backbone (``models.backbones.backbone_module.Backbone`` is
    one)."""

    name: str
    width: int
    causal: bool
    max_tokens: int
    item_prefix: str
    query_prefix: str
    graph_tokens: int | None
    tokenizer: Any

    def __call__(self, ids: Tensor, mask: Tensor, types: Tensor) -> Tensor: ...


class PairReader(nn.Module):
    """Vectors of (user text, item text) pairs.

    The user's text is the typed query or profile if there is one, then the texts of the last H
    items, newest first. Of ``max_tokens`` an item has half at least, and what the user leaves free;
    what is too long loses its end, so of a history the oldest items.

    ```
    BERT      [CLS] user [SEP] item [SEP]      token types 0 up to the first [SEP], then 1
    RoBERTa   <s> user </s></s> item </s>
    GPT-2     user <eos> item <eos>            "last" pooling reads the final one
    ```

    Args:
        body: the backbone, its strategy already applied.
        texts: [N] item texts.
    """

    def __init__(self, body: Any, texts: Sequence[str]) -> None:
        super().__init__()
        self.body: Any = body
        self.width: int = body.width
        self.texts = texts
        tokenizer = body.tokenizer
        if not body.causal and None in (tokenizer.cls_token_id, tokenizer.sep_token_id):
            raise CheckpointError(
                f"the tokenizer of backbone {body.name!r} has no tokens that stand around two "
                "texts (cls, sep); use head=towers"
            )
        close = [tokenizer.eos_token_id if body.causal else tokenizer.sep_token_id]
        self.before: list[int] = [] if body.causal else [tokenizer.cls_token_id]
        # the tokenizer says how two texts are joined: some BERTs have that of a RoBERTa
        several = 1 if body.causal else tokenizer.num_special_tokens_to_add(pair=True) - 2
        self.between, self.behind = close * several, close
        self.second = int("token_type_ids" in tokenizer.model_input_names)
        self.room: int = body.max_tokens - len(self.before) - len(self.between) - len(self.behind)
        self.items = self._tokenize([body.item_prefix + text for text in texts])
        self._anchor: Tensor
        self.register_buffer("_anchor", torch.empty(0), persistent=False)

    def forward(self, texts: Sequence[str], history: Ints, row: Ints, item: Ints) -> Tensor:
        """Return [n, D] vectors of pairs; with gradient where the backbone trains.

        Args:
            texts: [Q] typed texts or profiles, "" for none.
            history: [Q, H] item codes, newest first, -1 for none.
            row: [n] user of each pair.
            item: [n] item code of each pair.
        """
        users = self._tokenize(
            [self.body.query_prefix + text for text in self.user_texts(texts, history)]
        )
        pairs = [
            self._join(users[r], self.items[i])
            for r, i in zip(row.tolist(), item.tolist(), strict=True)
        ]
        lengths = np.array([len(ids) for ids, _ in pairs], np.int64)
        size, body = within(self.body.graph_tokens, int(lengths.sum()), self.body)
        parts, places = [], []
        for place, _, length in blocks(lengths, size, STEP):
            ids, types, mask = (np.zeros((len(place), length), np.int64) for _ in range(3))
            for r, p in enumerate(place.tolist()):
                tokens, second = pairs[p]
                ids[r, : len(tokens)], types[r, second : len(tokens)], mask[r, : len(tokens)] = (
                    tokens,
                    self.second,
                    1,
                )
            block = (
                torch.from_numpy(array).to(self._anchor.device) for array in (ids, mask > 0, types)
            )
            parts.append(body(*block))
            places.append(place)
        if not parts:
            return torch.zeros(0, self.width, device=self._anchor.device)
        back = torch.from_numpy(np.argsort(np.concatenate(places))).to(self._anchor.device)
        return torch.cat(parts)[back]

    def user_texts(self, texts: Sequence[str], history: Ints) -> list[str]:
        """Return [Q] what the backbone reads of each user; "" where nothing is known."""
        return [
            BETWEEN.join(filter(None, [text, *(self.texts[code] for code in codes if code >= 0)]))
            for text, codes in zip(texts, history.tolist(), strict=True)
        ]

    def lost(self, texts: Sequence[str], history: Ints) -> tuple[int, int]:
        """Return the tokens of these users' texts that are cut off beside an item of average length,
        and all of them."""
        lengths = [len(ids) for ids in self._tokenize(self.user_texts(texts, history))]
        free = self.room - min(int(np.mean([len(ids) for ids in self.items])), self.room // 2)
        return sum(max(0, length - free) for length in lengths), sum(lengths)

    def _join(self, user: list[int], item: list[int]) -> tuple[list[int], int]:
        """The tokens of a pair, and where its second part begins."""
        item = item[: max(self.room // 2, self.room - len(user))]
        first = [*self.before, *user[: self.room - len(item)], *self.between]
        return [*first, *item, *self.behind], len(first)

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        # no tokenizer here needs 40 characters for a token; a 100,000-character text need not be
        # tokenized whole
        cut = [text[: self.body.max_tokens * 40] for text in texts]
        whole = self.body.tokenizer(cut, add_special_tokens=False, truncation=False, verbose=False)
        ids: list[list[int]] = whole["input_ids"]
        return ids
