"""The linear model of items by items, through a map of their texts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coldlm.core.seeding import generator
from coldlm.core.tables import Ints
from coldlm.evaluate.baselines import centred
from coldlm.evaluate.judge import ScoreFunction
from coldlm.models.losses import item_to_item
from coldlm.rivals.known import Known
from coldlm.rivals.learned import batches, fit

BATCH, EVERY = 128, 2
"""Users of a batch; and epochs between two looks at validation."""


def elsa_text(known: Known, rate: float) -> ScoreFunction:
    """Return x (A A' - I) of the user's last items x, where row i of A is W v_i at length 1, v_i the text
    vector of item i, and W minimises, at Adam's ``rate``, the sum over users, x what each took in what is
    learned from, of ``models.losses.item_to_item``: ELSA with texts behind A, as beeFormer has it (Vančura et
    al. 2024, "beeFormer: Bridging the gap between semantic and interaction similarity in recommender systems").

    beeFormer trains the encoder of the texts, as ``pretrain=item_to_item`` does; here the encoder is not
    trained, only a linear map W of its vectors, which begins as the identity: scores begin as sums of cosines
    of texts. A new item is placed by its text, as all are. Items that nobody took are no columns of the loss.
    """
    texts = centred(known.vectors, known.vectors, known.known)
    taken, old = known.taken(), np.flatnonzero(known.seen)
    who = np.flatnonzero(np.asarray(taken.sum(1))[:, 0] > 0)
    taken, of_old = taken[:, old], texts[torch.from_numpy(old)]
    module = nn.Linear(texts.shape[1], texts.shape[1], bias=False)
    nn.init.eye_(module.weight)

    def losses(epoch: int) -> Iterator[Tensor]:
        rng = generator(known.seed, "elsa_text", epoch)
        for users in batches(who, BATCH, rng):
            x = torch.from_numpy(taken[users].toarray()).float()
            a = F.normalize(module(of_old), dim=1)
            yield item_to_item(x, a).mean()

    def snapshot() -> ScoreFunction:
        with torch.no_grad():
            a = F.normalize(module(texts), dim=1).double().numpy()

        def score(users: Ints, times: Ints) -> Tensor:
            x = known.past(users, times)
            return torch.from_numpy(x @ a @ a.T - x.toarray())

        return score

    return fit(known, module, losses, snapshot, name="elsa_text", rate=rate, every=EVERY)
