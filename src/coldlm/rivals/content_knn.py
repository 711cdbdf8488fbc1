"""Items whose text is near that of one of the user's last."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from coldlm.core.tables import Ints
from coldlm.evaluate.baselines import centred
from coldlm.evaluate.judge import ScoreFunction
from coldlm.rivals.known import Known


def content_knn(known: Known, last: float) -> ScoreFunction:
    """Return the largest cosine between the text vector of an item, of the untouched backbone, and
    those of the user's ``last`` items (nearest neighbours by content: Lops et al. 2011, "Content-based
    recommender systems"). Baseline ``zero_shot`` has the mean where this has the largest. All items
    tie for a user without history."""
    unit = centred(known.vectors, known.vectors, known.known)

    def score(users: Ints, times: Ints) -> Tensor:
        history = known.as_of.history(users, times, int(last))
        items, place = np.unique(history, return_inverse=True)
        # -1, which stands for no item, comes first: nothing is nearer than it only where it is alone
        cosine = unit[torch.from_numpy(items.clip(0))] @ unit.T
        cosine[torch.from_numpy(items < 0)] = -1
        return cosine[torch.from_numpy(place.reshape(history.shape))].amax(1)

    return score
