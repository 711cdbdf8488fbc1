"""Lists that a causal model writes itself, kept to the texts that may be said (De Cao et al. 2021,
section 3.2).

Shapes: W beams, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


class Trie:
    """Token sequences by their beginnings. ``children``: next token -> what may follow; ``here``:
    the items whose whole sequence ends here, several where items have one text."""

    def __init__(self) -> None:
        self.children: dict[int, Trie] = {}
        self.here: list[int] = []

    @classmethod
    def of(cls, sequences: Mapping[int, Sequence[int]]) -> Trie:
        """Make of item code -> its tokens, the last of which closes it and stands nowhere
        else."""
        root = cls()
        for item, tokens in sequences.items():
            node = root
            for token in tokens:
                node = node.children.setdefault(token, cls())
            node.here.append(item)
        return root


@torch.no_grad()
def search(body: Any, past: Any, last: Tensor, trie: Trie, beams: int) -> dict[int, float]:
    """Item code -> mean log-probability per token of its text, for the texts that beam search finds
    in the trie.

    All beams of a step are equally long, so the best sums are the best means. Beams that are
    complete leave the search and do not count; with as many beams as there are texts every text is
    found.

    Args:
        body: a causal backbone. past, last: a prompt as read, and its last hidden state [1, 1, D].
        beams: W, most beginnings that are followed at once.
    """
    found: dict[int, float] = {}
    nodes, sums, length = [trie], torch.zeros(1, device=last.device), 0
    while nodes:
        length += 1
        spoken = body.vocabulary(last[:, -1]).log_softmax(-1)
        row = [r for r, node in enumerate(nodes) for _ in node.children]
        token = [token for node in nodes for token in node.children]
        if not row:
            break
        total = sums[row] + spoken[row, token]
        follow = [nodes[r].children[t] for r, t in zip(row, token, strict=True)]
        for n, node in enumerate(follow):
            found |= dict.fromkeys(node.here, float(total[n]) / length)
        # ties in the order of the trie, so that a list is the same every time
        order = torch.argsort(total, descending=True, stable=True).tolist()
        kept = [n for n in order if follow[n].children][:beams]
        nodes, sums = [follow[n] for n in kept], total[kept]
        if kept:
            ids = torch.tensor([[token[n]] for n in kept], device=last.device)
            past = past.fork(torch.tensor([row[n] for n in kept], device=last.device))
            last = body.proceed(ids, torch.ones_like(ids, dtype=torch.bool), past)
    return found
