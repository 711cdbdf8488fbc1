"""How probable a causal model finds an item's text behind a prompt that says what is known of the
user.

Shapes: Q users, H history, n pairs, P tokens of a prompt, T tokens of a text, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coldlm.core.tables import Ints
from coldlm.text.again import TRAIN_TOKENS, within
from coldlm.text.beams import Trie, search
from coldlm.text.forest import forests
from coldlm.text.pairs import BETWEEN, STEP
from coldlm.text.tokens import blocks

FOREST = 384
"""Tokens of texts that are read behind a prompt at once: attention among them grows with the square."""


class PromptReader(nn.Module):
    """Mean log-probability per token of an item's text, the end-of-text token that closes it
    included:

    score(u, i) = 1 / T * sum over t = 1..T of log p(w_t | prompt(u), w_1 .. w_(t-1)).

    Without gradient the prompt is encoded once and all items continue from its keys and values: side
    by side as one sequence (``text.forest``) where the model is run layer by layer, else padded. A
    text that is too long loses its end (half of ``max_tokens`` are its own at most), a prompt its
    oldest items, then its beginning.

    Args:
        body: a causal backbone, its strategy already applied.
        texts: [N] item texts.
        prompt: with the fields {history} and {query}.
    """

    def __init__(self, body: Any, texts: Sequence[str], prompt: str) -> None:
        super().__init__()
        self.body: Any = body
        self.width: int = body.width
        self.texts, self.prompt = texts, prompt
        self.end: int = body.tokenizer.eos_token_id
        most = body.max_tokens // 2
        # a text follows a space, as it would in a sentence
        self.items = [
            [*ids[: most - 1], self.end] for ids in self._tokenize([f" {text}" for text in texts])
        ]
        self.room: int = body.max_tokens - max(map(len, self.items), default=1)
        self._anchor: Tensor
        self.register_buffer("_anchor", torch.empty(0), persistent=False)

    def forward(self, texts: Sequence[str], history: Ints, row: Ints, item: Ints) -> Tensor:
        """Return [n] scores of pairs; arguments as in ``PairReader.forward``."""
        prompts = self.prompts(texts, history)
        if torch.is_grad_enabled():
            return self.whole(
                [prompts[r] for r in row.tolist()], [self.items[i] for i in item.tolist()]
            )
        scores = torch.zeros(len(row), device=self._anchor.device)
        for r in np.unique(row):
            here = np.flatnonzero(row == r)
            scores[torch.from_numpy(here)] = self.score(
                prompts[r], [self.items[i] for i in item[here]]
            )
        return scores

    def score(self, prompt: list[int], items: Sequence[list[int]]) -> Tensor:
        """Return [n] scores of token sequences behind one prompt, which is encoded once."""
        past, last = self.start(prompt)
        if self.body.branches:
            return self._branch(past, last[0], items)
        out = torch.zeros(len(items), device=self._anchor.device)
        for place, _, length in blocks(
            np.array([len(ids) for ids in items], np.int64), TRAIN_TOKENS, STEP
        ):
            ids, mask = self._pad([items[i] for i in place], length)
            hidden = self.body.proceed(ids, mask, past.fork())
            before = torch.cat([last.expand(len(place), 1, -1), hidden[:, :-1]], 1)
            out[torch.from_numpy(place)] = self._mean(before, ids, mask)
        return out

    def _branch(self, past: Any, last: Tensor, items: Sequence[list[int]]) -> Tensor:
        """[n] scores of token sequences behind ``past``, whose last hidden state is ``last`` [1, D];
        beginnings that several share are read once, and none is padded."""
        out = torch.zeros(len(items), device=last.device)
        for place, forest in forests(items, FOREST):
            ids, depth, sees, said, behind, text, edge, here = (
                torch.from_numpy(array).to(last.device) for array in (*astuple(forest), place)
            )
            hidden = self.body.branch(ids[None], depth[None], sees[None], past.fork())[0]
            # what is said at once follows the prompt, whose place is -1
            logits = self.body.vocabulary(torch.cat([hidden, last])).float()
            spoken = logits[behind, said] - logits.logsumexp(1)[behind]
            total = torch.zeros(len(place), device=last.device).index_add(0, text, spoken[edge])
            out[here] = total / torch.bincount(text)
        return out

    def generate(self, text: str, history: Ints, items: Ints, beams: int) -> dict[int, float]:
        """Item code -> score of those among ``items`` [n] whose texts the model finds itself,
        ``beams`` wide.

        Args:
            text: typed, "" for none.
            history: [H] item codes, newest first, -1 for none.
        """
        trie = Trie.of({item: self.items[item] for item in items.tolist()})
        return search(self.body, *self.start(self.prompts([text], history[None])[0]), trie, beams)

    def start(self, prompt: list[int]) -> tuple[Any, Tensor]:
        """Return the keys and values of a prompt, and the last hidden state, [1, 1, D]."""
        ids, mask = self._pad([prompt], len(prompt))
        past = self.body.nothing_read()
        return past, self.body.proceed(ids, mask, past)[:, -1:]

    def prompts(self, texts: Sequence[str], history: Ints) -> list[list[int]]:
        """Return [Q] tokens of each user's prompt: as many items, newest first, as fit."""
        past = self._past(history)
        filled = self._fill(texts, past)
        while long := [q for q, tokens in enumerate(filled) if len(tokens) > self.room and past[q]]:
            for q in long:
                past[q].pop()
            shorter = self._fill([texts[q] for q in long], [past[q] for q in long])
            for q, tokens in zip(long, shorter, strict=True):
                filled[q] = tokens
        return [tokens[-self.room :] for tokens in filled]

    def lost(self, texts: Sequence[str], history: Ints) -> tuple[int, int]:
        """Return the tokens of these users' prompts that do not fit, and all of them."""
        whole = sum(map(len, self._fill(texts, self._past(history))))
        return whole - sum(map(len, self.prompts(texts, history))), whole

    def _past(self, history: Ints) -> list[list[str]]:
        return [[self.texts[code] for code in codes if code >= 0] for codes in history.tolist()]

    def _fill(self, texts: Sequence[str], past: Sequence[Sequence[str]]) -> list[list[int]]:
        filled = [
            self.prompt.format(history=BETWEEN.join(items), query=text)
            for text, items in zip(texts, past, strict=True)
        ]
        # a causal model must read something before it can say anything
        return [tokens or [self.end] for tokens in self._tokenize(filled)]

    def whole(self, prompts: list[list[int]], items: list[list[int]]) -> Tensor:
        """Return [n] scores, each prompt read anew with its item: for training."""
        sizes = np.array([len(p) + len(i) for p, i in zip(prompts, items, strict=True)], np.int64)
        size, read = within(self.body.graph_tokens, int(sizes.sum()), self._read)
        parts, places = [], []
        for place, _, length in blocks(sizes, size, STEP):
            ids, mask = self._pad([prompts[n] + items[n] for n in place], length)
            own = mask.clone()
            for r, n in enumerate(place.tolist()):
                own[r, : len(prompts[n])] = False
            parts.append(read(ids, mask, own))
            places.append(place)
        if not parts:
            return torch.zeros(0, device=self._anchor.device)
        back = torch.from_numpy(np.argsort(np.concatenate(places))).to(self._anchor.device)
        return torch.cat(parts)[back]

    def _read(self, ids: Tensor, mask: Tensor, own: Tensor) -> Tensor:
        """[B] scores of the tokens ``own`` of texts, [B, T] each."""
        return self._mean(self.body.hidden(ids, mask)[:, :-1], ids[:, 1:], own[:, 1:])

    def _mean(self, before: Tensor, ids: Tensor, own: Tensor) -> Tensor:
        """[B] means of log p(ids) from the hidden states ``before`` them, [B, T, D], over the
        tokens ``own`` [B, T]."""
        said = before[own]
        chosen = -nn.functional.cross_entropy(
            self.body.vocabulary(said), ids[own], reduction="none"
        )
        total = torch.zeros(len(ids), device=ids.device)
        row = torch.arange(len(ids), device=ids.device)[:, None].expand_as(ids)[own]
        return total.index_add(0, row, chosen.float()) / own.sum(1)

    def _pad(self, sequences: Sequence[list[int]], length: int) -> tuple[Tensor, Tensor]:
        ids = np.zeros((len(sequences), length), np.int64)
        mask = np.zeros((len(sequences), length), bool)
        for r, tokens in enumerate(sequences):
            ids[r, : len(tokens)], mask[r, : len(tokens)] = tokens, True
        return torch.from_numpy(ids).to(self._anchor.device), torch.from_numpy(mask).to(
            self._anchor.device
        )

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        cut = [text[: self.body.max_tokens * 40] for text in texts]
        whole = self.body.tokenizer(cut, add_special_tokens=False, truncation=False, verbose=False)
        ids: list[list[int]] = whole["input_ids"]
        return ids
