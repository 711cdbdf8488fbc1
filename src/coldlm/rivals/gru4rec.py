"""A recurrent network over a user's last items."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from coldlm.core.seeding import torch_seed
from coldlm.evaluate.judge import ScoreFunction
from coldlm.rivals.known import Known
from coldlm.rivals.learned import WIDTH
from coldlm.rivals.sequences import DROPOUT, Sequential, fit_sequences


def gru4rec(known: Known, rate: float) -> ScoreFunction:
    """Return h . q_i, where h is the state of one layer of gated recurrent units behind the user's last
    items (Hidasi et al. 2016, "Session-based recommendations with recurrent neural networks", eq. 1
    to 4), learned by cross-entropy over sampled candidates of the event's time (Hidasi and Karatzoglou
    2018, eq. 5), input and output vectors shared. Items that nobody took in what was learned from
    tie below all others."""
    with torch_seed(known.seed, "gru4rec"):
        network = Recurrent(len(known.data.items))
        return fit_sequences(known, network, "gru4rec", rate)


class Recurrent(Sequential):
    """One layer of gated recurrent units."""

    def __init__(self, n_items: int) -> None:
        super().__init__(n_items)
        self.dropout = nn.Dropout(DROPOUT)
        self.layer = nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.out = nn.Linear(WIDTH, WIDTH)

    def states(self, inputs: Tensor) -> Tensor:
        """[B, L] -> [B, L, D]."""
        x = self.dropout(F.embedding(inputs, self.items) * WIDTH**0.5)
        states: Tensor = self.out(self.layer(x)[0])
        return states
