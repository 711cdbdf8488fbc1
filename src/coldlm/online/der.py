"""Dark experience replay: replayed events are held to the scores that they had when they were new."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from coldlm.core import ranks
from coldlm.core.columns import Above0, Count
from coldlm.core.tables import Ints
from coldlm.learn.batches import Batch
from coldlm.online.regularisers import Ground, Regulariser


class DER(Regulariser):
    """strength * mean over a batch of (score now - score then)^2 over the columns that a replayed
    event had then and has again (DER++: Buzzega et al. 2020, eq. 6; its replay is
    ``online/data=replay``, which this is made for).

    Scores are kept of the latest ``size`` events that were learned from, over the columns of the
    batch in which each was, as the model had them when that update was through. Columns are drawn,
    so a part of them alone is there again; what is not counts for nothing.
    """

    def __init__(self, *, strength: Above0 = 0.5, size: Count = 2000) -> None:
        super().__init__()
        self._strength, self._size = strength, size

    def begin(self, ground: Ground) -> None:
        """Find what is known of the events of each batch."""
        self._ground = ground
        rows = self.state.get("rows", torch.zeros(0, dtype=torch.int64)).tolist()
        self._place = {row: place for place, row in enumerate(rows)}

    def penalty(self, batch: Batch, logits: Tensor, place: tuple[int, int]) -> Tensor | None:
        """Return the squared difference, None where no event of the batch is known."""
        rows = _own_rows(self._ground, *place)
        known = [(b, self._place[row]) for b, row in enumerate(rows) if row in self._place]
        if not known:
            return None
        here, there = (
            torch.tensor(part, device=logits.device) for part in zip(*known, strict=True)
        )
        codes = batch.items[batch.columns]
        then = self.state["codes"].to(logits.device)[there]
        # [n, M, C] would be large: columns are looked up in the sorted codes of the batch
        order = torch.argsort(codes)
        at = torch.searchsorted(codes[order], then).clamp(max=len(codes) - 1)
        column = order[at]
        alike = codes[column] == then
        now = logits[here].float().gather(1, column)
        squared = ((now - self.state["logits"].to(logits.device)[there]) ** 2).masked_fill(
            ~alike, 0
        )
        each = squared.sum(1) / alike.sum(1).clamp(min=1)
        world = ranks.world() if ranks.in_group() else 1
        return self._strength * each.sum() * world / batch.size

    @torch.no_grad()
    def end(self, ground: Ground) -> None:
        """Keep the scores of this update's events, and of earlier ones as many as there is room
        for."""
        parts = [self.state] if self.state else []
        batches, width = ground.epochs[0], self.state["codes"].shape[1] if self.state else 0
        for number in range(len(batches)):
            batch = batches[number].to(ground.ranker.device)
            codes = batch.items[batch.columns].cpu()
            logits = ground.ranker(batch).float().cpu()
            seen = torch.isfinite(batch.log_weight.cpu())
            seen[torch.arange(len(seen)), batch.positive.cpu()] = True
            parts.append(
                {
                    "rows": torch.from_numpy(_own_rows(ground, 0, number)),
                    # a column that the event does not see is none
                    "codes": torch.where(seen, codes[None], -1),
                    "logits": logits.masked_fill(~seen, 0),
                }
            )
            width = max(width, len(codes))
        self.state = _latest(parts, width, self._size)


def _own_rows(ground: Ground, epoch: int, number: int) -> Ints:
    """The rows of the log of this rank's events in a batch."""
    rank, world = (ranks.rank(), ranks.world()) if ranks.in_group() else (0, 1)
    mine: Ints = np.array_split(ground.epochs[epoch].rows(number), world)[rank]
    return mine


def _latest(parts: list[dict[str, Tensor]], width: int, size: int) -> dict[str, Tensor]:
    """The last ``size`` events of all parts, each once, as it was last."""
    joined = {
        name: torch.cat([torch.nn.functional.pad(p[name], (0, width - p[name].shape[1]), value=fill) for p in parts])
        for name, fill in (("codes", -1), ("logits", 0))
    }  # fmt: skip
    rows = torch.cat([part["rows"] for part in parts]).numpy()
    _, last = np.unique(rows[::-1], return_index=True)
    keep = torch.from_numpy(np.sort(len(rows) - 1 - last)[-size:].copy())
    return {"rows": torch.from_numpy(rows)[keep], **{n: t[keep] for n, t in joined.items()}}
