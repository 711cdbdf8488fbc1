"""BM25 of an item's text under the words that a user typed, or of what they took."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from coldlm.core.tables import Ints
from coldlm.evaluate.baselines import WORD
from coldlm.evaluate.judge import ScoreFunction
from coldlm.rivals.known import Known

B = 0.75
"""How much long texts are held back, as is usual."""


def bm25(known: Known, k1: float) -> ScoreFunction:
    """Return the sum over words w of what the user typed, else of their last items' texts and profile, of
    q_w * idf_w * f_w (k1 + 1) / (f_w + k1 (1 - b + b |d| / avg |d|)), with f_w in the item's text d, q_w
    in the user's words, and idf_w = ln(1 + (N - n_w + .5) / (n_w + .5)) (Robertson and Zaragoza 2009,
    "The probabilistic relevance framework", eq. 3.15). N, n_w and avg |d| are those of the items that had
    entered by the end of what may be learned from."""
    from scipy.sparse import csr_matrix, diags
    from sklearn.feature_extraction.text import CountVectorizer

    texts, users = known.data.items.texts, known.data.users
    there = [text for text, is_known in zip(texts, known.known, strict=True) if is_known]
    if not any(WORD.search(text) for text in there):
        return lambda users, times: torch.zeros(len(users), len(texts))
    counter = CountVectorizer(token_pattern=None, tokenizer=WORD.findall)
    seen = csr_matrix(counter.fit_transform(there))
    number, length = seen.getnnz(axis=0), max(float(seen.sum(1).mean()), 1.0)
    idf = np.log1p((len(there) - number + 0.5) / (number + 0.5))
    words = csr_matrix(counter.transform(texts), dtype=np.float64)
    longer = 1 - B + B * np.asarray(words.sum(1))[:, 0] / length
    weights = words.copy()
    weights.data *= (k1 + 1) / (words.data + k1 * np.repeat(longer, np.diff(words.indptr)))
    items = (weights @ diags(idf)).T.tocsr()
    read = csr_matrix(counter.transform(users.read), dtype=np.float64)

    def score(who: Ints, times: Ints) -> Tensor:
        past = known.past(who, times)
        past.data[np.repeat(who >= len(users), np.diff(past.indptr))] = 0
        query = past @ words + read[users.place(who)]
        return torch.from_numpy((query @ items).toarray())

    return score
