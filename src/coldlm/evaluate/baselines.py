"""The baselines that need no training. Each is a ``ScoreFunction``: it sees only events earlier
than the query."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import AsOf
from coldlm.core.seeding import generator
from coldlm.core.tables import Bools, Dataset, Ints, Users
from coldlm.evaluate.judge import ScoreFunction

CJK = r"\u4e00-\u9fff\u3040-\u30ff\uac00-\ud7af"
WORD = re.compile(rf"[{CJK}]|[^\W_{CJK}]+")
"""A word of TF-IDF: one CJK character, or a run of other letters and digits."""


def random(seed: int, n_items: int, user_ids: Sequence[str]) -> ScoreFunction:
    """Return uniform scores; a query's draws depend on (seed, the user's id, time) alone, whoever
    else there is."""

    def score(users: Ints, times: Ints) -> Tensor:
        asked = zip(users % len(user_ids), times, strict=True)
        rows = [
            generator(seed, "random", user_ids[u], t).random(n_items, np.float32) for u, t in asked
        ]
        return torch.from_numpy(np.stack(rows))

    return score


def constant(n_items: int) -> ScoreFunction:
    """Return all items tied: equal to random in expectation, and exactly the metrics' value of
    it."""
    return lambda users, times: torch.zeros(len(users), n_items)


def popularity(as_of: AsOf) -> ScoreFunction:
    """Return the number of positives so far."""
    return lambda users, times: torch.from_numpy(as_of.counts(times))


def recent_popularity(as_of: AsOf, half_life: int) -> ScoreFunction:
    """Return the decayed number of positives so far, at half-life 0, 1 or 2 (chosen on validation), as
    logarithms."""
    return lambda users, times: torch.from_numpy(as_of.log_decayed_counts(times, half_life))


def newest(catalogue: Catalogue) -> ScoreFunction:
    """Return the latest entry first. A canary too: it must not shine at n = 0.

    A list may show what has not entered yet: such items are equally new, since when they will enter
    is not known.
    """
    order = np.unique(catalogue.enters_at, return_inverse=True)[1].astype(np.float32)
    last = np.float32(len(order))
    return lambda users, times: torch.from_numpy(
        np.where(catalogue.enters_at <= times[:, None], order, last)
    )


def fewest_events(data: Dataset, catalogue: Catalogue) -> ScoreFunction:
    """Fewest events so far first, of any label: a canary only. It finds what is a candidate just
    because it is going to be taken."""
    log = replace(data.log, positive=np.ones(len(data.log), bool))
    sizes = len(data.users), len(data.items)
    as_of = AsOf(log, *sizes, catalogue.enters_at, data.half_lives_days, catalogue.masked_until)
    return lambda users, times: -torch.from_numpy(as_of.counts(times))


def own_repeats(as_of: AsOf, data: Dataset) -> ScoreFunction:
    """Return what this user had before, most often first; for domains where items repeat."""

    def score(users: Ints, times: Ints) -> Tensor:
        out = np.zeros((len(users), len(data.items)), np.float32)
        longest = int(as_of.n_user(users, times).max(initial=1))
        history = as_of.history(users, times, max(longest, 1))
        rows, columns = np.nonzero(history >= 0)
        np.add.at(out, (rows, history[rows, columns]), 1)
        return torch.from_numpy(out)

    return score


class TfIdf:
    """Cosine between TF-IDF vectors of an item's text and of the user's last ``history`` items (and
    what was typed, else the profile text).

    Document frequencies come from the items that had entered by ``known_until`` only; without any
    word in them, all items tie.

    Args:
        query_alone: whoever typed something is answered by that text alone, without history.
    """

    def __init__(
        self,
        data: Dataset,
        catalogue: Catalogue,
        as_of: AsOf,
        history: int,
        known_until: int,
        *,
        query_alone: bool = False,
    ) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._as_of, self._history, self._users = as_of, history, data.users
        self._query_alone = query_alone
        self._vectorizer = TfidfVectorizer(
            token_pattern=None, tokenizer=WORD.findall, sublinear_tf=True
        )
        known = [
            text
            for text, t in zip(data.items.texts, catalogue.enters_at, strict=True)
            if t <= known_until
        ]
        self._knows = any(WORD.search(text) for text in known)
        self._vectorizer.fit(known if self._knows else ["nothing"])
        self._vectors = self._vectorizer.transform(data.items.texts)
        self._texts = self._vectorizer.transform(data.users.read)

    def remembering(self, as_of: AsOf) -> TfIdf:
        """Return the same words with another memory."""
        other = copy.copy(self)
        other._as_of = as_of
        return other

    @property
    def idf(self) -> dict[str, float]:
        """The inverse document frequency of every word, for the leak meter; {} where no known text
        has a word."""
        if not self._knows:
            return {}
        return dict(
            zip(
                self._vectorizer.get_feature_names_out().tolist(),
                self._vectorizer.idf_.tolist(),
                strict=True,
            )
        )

    @property
    def vectors(self) -> Any:
        """[N, W] scipy.sparse: the words of each item's text, of length 1, or 0 without any."""
        return self._vectors

    def __call__(self, users: Ints, times: Ints) -> Tensor:
        """[Q, N] float32."""
        past = _read_of(self._as_of, users, times, self._history, self._users, self._query_alone)
        return self._score(past, self._texts[self._users.place(users)])

    def answer(self, time: int, *, text: str = "", history: Sequence[int] = ()) -> Tensor:
        """Return [N] for a typed text and/or a history of item codes, newest first."""
        length = 0 if text and self._query_alone else self._history
        past = np.array([[*history[:length]]], np.int64)
        return self._score(past, self._vectorizer.transform([text]))[0]

    def _score(self, past: Ints, text: Any) -> Tensor:
        from scipy.sparse import csr_matrix

        rows, columns = np.nonzero(past >= 0)
        shape = len(past), self._vectors.shape[0]
        pick = csr_matrix((np.ones(len(rows)), (rows, past[rows, columns])), shape=shape)
        profile = pick @ self._vectors + text
        return torch.from_numpy((profile @ self._vectors.T).toarray().astype(np.float32))


def zero_shot(
    vectors: Tensor,
    texts: Tensor,
    users: Users,
    known: Bools,
    as_of: AsOf,
    history: int,
    *,
    query_alone: bool = False,
) -> ScoreFunction:
    """Return the cosine between the untouched backbone's vectors: an item against the mean of the
    user's last items and what was typed, else the profile.

    Args:
        vectors: [N, D] item vectors.
        texts: [U + T, D] vectors of ``users.read``, all 0 where there is no text.
        known: [N] items that had entered before the stream, see ``centred``.
        query_alone: see ``TfIdf``.
    """
    unit = centred(vectors, vectors, known)
    read = centred(texts, vectors, known) * texts.any(1, keepdim=True)

    def score(who: Ints, times: Ints) -> Tensor:
        past = torch.from_numpy(_read_of(as_of, who, times, history, users, query_alone))
        mean = (unit[past.clamp(min=0)] * (past >= 0)[:, :, None]).sum(1) + read[
            torch.from_numpy(users.place(who))
        ]
        return mean @ unit.T

    return score


def _read_of(
    as_of: AsOf, who: Ints, times: Ints, length: int, users: Users, query_alone: bool
) -> Ints:
    """[Q, H] histories, empty with ``query_alone`` where something was typed."""
    past = as_of.history(who, times, length)
    if query_alone:
        past[who >= len(users)] = -1
    return past


def centred(rows: Tensor, vectors: Tensor, known: Bools) -> Tensor:
    """Return ``rows``, [R, D], minus the mean of the ``vectors`` of ``known`` items, at length 1: the
    cosines of language models crowd together otherwise."""
    return torch.nn.functional.normalize(rows - vectors[torch.from_numpy(known)].mean(0), dim=1)
