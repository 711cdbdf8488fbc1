"""A network of texts that is taught by factors to say what they say."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coldlm.core.seeding import generator, torch_seed
from coldlm.core.tables import Ints
from coldlm.evaluate.judge import ScoreFunction
from coldlm.rivals.bpr import moved_users, warm_factors
from coldlm.rivals.known import Known
from coldlm.rivals.learned import WIDTH, OthersOfTheTime, batches, fit, spread_texts

BATCH, RATE, HIDDEN = 1024, 1e-3, 128
RANKS, OTHERS, RATINGS = 0.9, 0.05, 0.1
"""Of the three that are aligned, as in the authors' code (zfnWong/ALDI, main.py)."""


def aldi(known: Known, weight: float) -> ScoreFunction:
    """Return p_u(t) . q_i for an item that somebody took in what was learned from, else f_U(p_u(t)) . f_I(x_i),
    by Huang et al. 2023, "Aligning distillation for cold-start item recommendation" (ALDI): factors p and q,
    learned before, are the teacher; networks f of p and of text vectors x the student, which sees
    trained items as if they were new. Of an event (u, i) and a drawn item j let t_i = p_u . q_i and s_i = f_U(p_u) .
    f_I(x_i); with H(a, b) the cross-entropy of sigmoid(b) to sigmoid(a) the student minimises

        -ln sigmoid(s_i - s_j) + weight * (.9 H(t_i - t_j, s_i - s_j)           ranking
            + .05 H(q_i . q_i - q_i . mean q_j, f_i . f_i - f_i . mean f_j)     identification
            + .1 (|t_i - s_i| + |t_j - s_j|)),                                  distribution of ratings

    means over the j of a batch, f_i = f_I(x_i). So scores of both kinds can stand in one list.

    The factors are those of ``bpr``; users move as there, by the items of what was learned from alone, as a
    text's f_I is no factor. The student stops when it is best on validation alone, where it ranks
    trained items too: few are new there. Simpler than the paper's: the teacher's words weigh alike,
    however often an item was taken, as by default in the authors' code; f has one hidden layer
    without batch normalisation.
    """
    factors, log, others = warm_factors(known), known.data.log, OthersOfTheTime(known)
    p, q = factors.users.detach(), factors.items.detach()
    texts = spread_texts(known)
    with torch_seed(known.seed, "aldi"):
        student = _Student(texts.shape[1])

    def losses(epoch: int) -> Iterator[Tensor]:
        rng = generator(known.seed, "aldi", epoch)
        for rows in batches(known.positives, BATCH, rng):
            other = others.draw(rows, rng)
            # whom nobody took the teacher knows nothing of
            taught = (other >= 0) & known.seen[other]
            rows, other = rows[taught], other[taught]
            if len(rows):
                user, item, negative = map(
                    torch.from_numpy, (log.user[rows], log.item[rows], other)
                )
                teacher = _Words(p[user], q[item], q[negative])
                said = _Words(
                    student.users(p[user]),
                    student.items(texts[item]),
                    student.items(texts[negative]),
                )
                yield F.softplus(-said.ranks).mean() + weight * _apart(teacher, said)

    now = moved_users(known, p.double().numpy(), q.double().numpy(), known.seen)

    def student_alone() -> ScoreFunction:
        with torch.no_grad():
            said = student.items(texts).T

        @torch.no_grad()
        def score(users: Ints, times: Ints) -> Tensor:
            found: Tensor = student.users(now(users, times).float()) @ said
            return found

        return score

    by_text = fit(known, student, losses, student_alone, name="aldi", rate=RATE, every=3)
    seen = torch.from_numpy(known.seen)
    return lambda users, times: torch.where(
        seen, now(users, times).float() @ q.T, by_text(users, times)
    )


class _Student(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.users, self.items = (
            nn.Sequential(nn.Linear(inputs, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, WIDTH))
            for inputs in (WIDTH, width)
        )


class _Words:
    """What is said of a batch's users, items and drawn items, whose vectors are [B, D] each.

    ``liked``, ``other``: [B] scores. ``ranks``: [B] their difference. ``itself``: [B] how much more an item
    is like itself than like the drawn ones.
    """

    def __init__(self, user: Tensor, item: Tensor, negative: Tensor) -> None:
        self.liked, self.other = (user * item).sum(1), (user * negative).sum(1)
        self.ranks = self.liked - self.other
        self.itself = item.square().sum(1) - item @ negative.mean(0)


def _apart(teacher: _Words, said: _Words) -> Tensor:
    """How far the student is from its teacher."""
    cross = F.binary_cross_entropy_with_logits
    ratings = (teacher.liked - said.liked).abs() + (teacher.other - said.other).abs()
    return (
        RANKS * cross(said.ranks, torch.sigmoid(teacher.ranks))
        + OTHERS * cross(said.itself, torch.sigmoid(teacher.itself))
        + RATINGS * ratings.mean()
    )
