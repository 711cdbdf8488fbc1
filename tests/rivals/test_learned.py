"""Rivals that learn by steps: their formulas by hand, what they see, and when they stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import AsOf
from coldlm.config.build import resolve
from coldlm.core.seeding import torch_seed
from coldlm.core.tables import Dataset, Ints
from coldlm.evaluate.baselines import centred
from coldlm.evaluate.judge import ScoreFunction
from coldlm.models.losses import item_to_item
from coldlm.rivals import aldi, heater, learned
from coldlm.rivals.bpr import Factors, warm_factors
from coldlm.rivals.gru4rec import Recurrent
from coldlm.rivals.known import Known, Stopping
from coldlm.rivals.learned import OthersOfTheTime, fit, unseen_last
from coldlm.rivals.lightgcn import LAYERS, _graph, _scorer
from coldlm.rivals.sasrec import SelfAttention
from coldlm.rivals.sequences import Sequential, _states_before

MakeData = Callable[..., Dataset]

GRAPHS = ("bpr", "lightgcn")
SEQUENCES = ("sasrec", "gru4rec")
TEXTS = ("dropoutnet", "clcrec", "heater", "aldi")
ENOUGH = {"heater": 30, "aldi": 30}
"""Epochs of those that need fewer than others."""


def _known(data: Dataset, until: int, epochs: int = 30, history: int = 5, seed: int = 1) -> Known:
    catalogue = Catalogue(data)
    sizes = len(data.users), len(data.items)
    as_of = AsOf(data.log, *sizes, catalogue.enters_at, data.half_lives_days)
    rows = np.flatnonzero(data.log.time < until)
    return Known(
        data,
        catalogue,
        as_of,
        rows,
        catalogue.enters_at < until,
        history,
        _vectors(len(data.items)),
        seed,
        0,
        Stopping(epochs=epochs),
    )


def _vectors(n_items: int) -> Tensor:
    """[N, 4]: items 0 to 7 and the 17th are written about alike, and so are all others."""
    first = (np.arange(n_items) < 8) | (np.arange(n_items) == 16)
    noise = 0.1 * np.random.default_rng(3).standard_normal((n_items, 4))
    return torch.from_numpy(noise + np.outer(np.where(first, 1, -1), np.ones(4))).float()


def _make(name: str, known: Known, value: float) -> Callable[[Ints, Ints], Tensor]:
    made: Callable[[Ints, Ints], Tensor] = resolve(f"coldlm.rivals.{name}.{name}")(known, value)
    return made


@pytest.fixture
def two_tastes(make_data: MakeData) -> Dataset:
    """Users 0 to 19 take five of items 0 to 7, users 20 to 39 of items 8 to 15, by second 1,000. At
    2,000 users 40 and 41, of whom nothing is known, begin: with items 0 1 2 and 8 9 10. Item 16, there
    from 1,500 on, is taken by nobody."""
    draw, events = np.random.default_rng(0), []
    for user in range(40):
        for item in draw.choice(8, 5, replace=False):
            events.append((user, int(item) + 8 * (user >= 20), int(draw.integers(1, 1000))))
    for item in range(3):
        events += [(40, item, 2000 + item), (41, 8 + item, 2000 + item)]
    return make_data(events, items=17, released=dict.fromkeys(range(16), 0) | {16: 1500})


@pytest.mark.parametrize("name", [*GRAPHS, *TEXTS])
def test_who_took_alike_is_given_alike(name: str, two_tastes: Dataset) -> None:
    scorer = _make(name, _known(two_tastes, 1000, epochs=ENOUGH.get(name, 100)), 0.0)
    users, times = np.array([0, 20, 40, 41]), np.full(4, 3000)
    first = scorer(users, times)
    mine, others = first[:, :8].mean(1), first[:, 8:16].mean(1)
    # a newcomer is placed by what it took since
    assert (mine > others).tolist() == [True, False, True, False]
    before = scorer(np.array([40, 41]), np.array([2000, 2000]))
    assert torch.equal(before[0], before[1])  # nothing is known of either yet


@pytest.mark.parametrize("name", TEXTS)
def test_an_item_that_nobody_took_is_placed_by_its_text(name: str, two_tastes: Dataset) -> None:
    scorer = _make(name, _known(two_tastes, 1000, epochs=ENOUGH.get(name, 100)), 0.5)
    scores = scorer(np.array([0, 20, 40, 41]), np.full(4, 3000))
    mean = scores[:, :16].mean(1)
    assert (scores[:, 16] > mean).tolist() == [True, False, True, False]


@pytest.mark.parametrize("name", [*GRAPHS, *SEQUENCES])
def test_items_that_nobody_took_tie_below_all_others(name: str, two_tastes: Dataset) -> None:
    scores = _make(name, _known(two_tastes, 1000, epochs=1), 0.001)(np.array([3]), np.array([3000]))
    assert scores[0, 16] < scores[0, :16].min()
    assert torch.equal(
        unseen_last(torch.tensor([[3.0, 1.0, 2.0, 9.0]]), np.array([True, True, False, False])),
        torch.tensor([[3.0, 1.0, 0.0, 0.0]]),
    )


@pytest.mark.parametrize("name", [*GRAPHS, *SEQUENCES, *TEXTS])
def test_a_seed_says_it_all(name: str, two_tastes: Dataset) -> None:
    ask = np.array([3, 40]), np.array([3000, 3000])
    one, same, other = (
        _make(name, _known(two_tastes, 1000, epochs=2, seed=seed), 0.001)(*ask)
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("name", SEQUENCES)
def test_what_comes_next_is_learned(name: str, make_data: MakeData) -> None:
    """Each user walks around a ring of 12 items, from wherever: nothing is more popular."""
    events = [(user, (user + step) % 12, 10 * step + 1) for user in range(48) for step in range(9)]
    data = make_data([*events, (48, 5, 500)], repeats=True, released=dict.fromkeys(range(12), 0))
    scorer = _make(name, _known(data, 400, epochs=60), 0.01)
    users, times = np.arange(12), np.full(12, 400)
    assert scorer(users, times).argmax(1).tolist() == [(user + 9) % 12 for user in range(12)]
    assert int(scorer(np.array([48]), np.array([501])).argmax()) == 6


@pytest.mark.parametrize("network", [SelfAttention(9, 6), Recurrent(9)], ids=SEQUENCES)
def test_a_place_knows_itself_and_those_before(network: Sequential) -> None:
    network.eval()
    one, other = torch.tensor([[9, 1, 2, 3, 4]]), torch.tensor([[9, 1, 2, 7, 7]])
    with torch.no_grad():
        a, b = network.states(one)[0], network.states(other)[0]
    torch.testing.assert_close(a[:3], b[:3])
    assert not torch.allclose(a[3:], b[3:], atol=1e-3)


def test_an_event_sees_nothing_of_its_own_second() -> None:
    class Sums(Sequential):
        """A place is the set of items up to it."""

        def states(self, inputs: Tensor) -> Tensor:
            return nn.functional.one_hot(inputs, 10).cumsum(1)

    item, time = np.array([1, 2, 3, 4, 5, 6]), np.array([10, 20, 20, 30, 7, 7])
    found = _states_before(Sums(9), item, time, np.array([0, 4, 6]))
    seen = [[i for i in row.nonzero()[:, 0].tolist() if i != 9] for row in found]
    assert seen == [[], [1], [1], [1, 2, 3], [], []]


def test_bpr_is_its_formula() -> None:
    factors = Factors(2, 3, seed=1)
    p, q = factors.users.detach(), factors.items.detach()
    expected = []
    for u, i, j in ((0, 1, 2), (1, 0, 1)):
        x = float(p[u] @ (q[i] - q[j]))
        norms = float(p[u] @ p[u] + q[i] @ q[i] + q[j] @ q[j])
        expected.append(np.log1p(np.exp(-x)) + 0.3 / 2 * norms)
    got = factors.loss(torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor([2, 1]), 0.3)
    assert got.item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_an_expert_speaks_as_loud_as_its_gate_lets_it() -> None:
    with torch_seed(1):
        mixture, x = heater._Mixture(3), torch.randn(2, 3)
    said = torch.zeros(2, learned.WIDTH)
    for k in range(heater.EXPERTS):
        rows = slice(k * learned.WIDTH, (k + 1) * learned.WIDTH)
        expert = torch.tanh(x @ mixture.experts.weight[rows].T + mixture.experts.bias[rows])
        gate = torch.tanh(x @ mixture.gates.weight[k] + mixture.gates.bias[k])
        said = said + gate[:, None] * expert
    torch.testing.assert_close(mixture(x), said)


def test_heater_holds_texts_to_the_factors(
    two_tastes: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the similarity constraint is for: without it what is made of a text may lie anywhere."""
    models: list[nn.Module] = []

    def spy(known: Known, model: nn.Module, *args: Any, **keys: Any) -> ScoreFunction:
        models.append(model)
        return fit(known, model, *args, **keys)

    monkeypatch.setattr(heater, "fit", spy)
    monkeypatch.setattr(heater, "RATE", 0.02)
    known = _known(two_tastes, 1000, epochs=40)
    texts = 2 * centred(known.vectors, known.vectors, known.known)[:16]
    items = heater._standard(warm_factors(known).items, known.seen)[:16]
    for likeness in (0.0, 10.0):
        heater.heater(known, likeness)
    with torch.no_grad():
        free, held = (
            (m.get_submodule("mixture")(texts) - items).square().mean().item() for m in models
        )
    assert held < 0.85 * free, (held, free)


def test_aldi_is_its_formula() -> None:
    with torch_seed(1):
        (u, i, j), (v, g, h) = torch.randn(3, 4, 5), torch.randn(3, 4, 5)

    def cross(a: Tensor, b: Tensor) -> Tensor:
        p, q = torch.sigmoid(a), torch.sigmoid(b)
        return -(p * q.log() + (1 - p) * (1 - q).log()).mean()

    t_i, t_j, s_i, s_j = ((a * b).sum(1) for a, b in ((u, i), (u, j), (v, g), (v, h)))
    itself, said = ((a * a).sum(1) - (a @ b.T).mean(1) for a, b in ((i, j), (g, h)))
    ratings = ((t_i - s_i).abs() + (t_j - s_j).abs()).mean()
    expected = 0.9 * cross(t_i - t_j, s_i - s_j) + 0.05 * cross(itself, said) + 0.1 * ratings
    found = aldi._apart(aldi._Words(u, i, j), aldi._Words(v, g, h))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_aldi_leaves_trained_items_to_its_teacher(two_tastes: Dataset) -> None:
    known = _known(two_tastes, 1000)
    ask = np.array([0, 20]), np.full(2, 1500)
    factors = warm_factors(known)
    taught = factors.users[[0, 20]] @ factors.items.T
    scores = _make("aldi", known, 1.0)(*ask)
    torch.testing.assert_close(scores[:, :16], taught[:, :16].detach(), atol=1e-4, rtol=1e-3)
    assert not torch.allclose(scores[:, 16], taught[:, 16].detach(), atol=1e-3)


def test_the_loss_of_elsa_is_its_formula() -> None:
    x = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    with torch_seed(1):
        a = F.normalize(torch.randn(3, 4), dim=1)
    expected = 0.0
    for row in x:
        said = [max(0.0, float(row @ (a @ a.T - torch.eye(3))[:, i])) for i in range(3)]
        length = sum(value**2 for value in said) ** 0.5
        of_x = row / row.norm()
        expected += sum((float(of_x[i]) - said[i] / length) ** 2 for i in range(3)) / 2
    assert item_to_item(x, a).mean().item() == pytest.approx(expected, rel=1e-5)


def test_elsa_learns_which_of_what_texts_say_matters(two_tastes: Dataset) -> None:
    """Each text says its taste softly, and something else loudly."""
    known = _known(two_tastes, 1000, epochs=60)
    loud = torch.from_numpy(np.random.default_rng(5).standard_normal((17, 6))).float()
    known = replace(known, vectors=torch.cat([0.3 * known.vectors[:, :1], loud], 1))
    users, times = np.array([0, 20, 40, 41]), np.full(4, 3000)
    untrained = replace(known, stopping=Stopping(epochs=0))
    unit = centred(known.vectors, known.vectors, known.known)
    x = torch.from_numpy(known.past(users, times).toarray()).float()
    begin = _make("elsa_text", untrained, 0.01)(users, times)
    torch.testing.assert_close(begin.float(), x @ unit @ unit.T - x)
    scores = _make("elsa_text", known, 0.01)(users, times)

    def told_apart(of: Tensor) -> Tensor:
        """[4] how far the items of a user's own taste, whom it took none of, are above the others."""
        mine = torch.from_numpy((np.arange(17) < 8) | (np.arange(17) == 16))
        own = torch.stack([mine, ~mine, mine, ~mine])
        new = x == 0
        return torch.stack(
            [s[o & n].mean() - s[~o & n].mean() for s, o, n in zip(of, own, new, strict=True)]
        )

    assert (told_apart(scores) > 0).all()
    assert (told_apart(scores) > 2 * told_apart(begin)).all()
    # nobody took item 16: its text alone says whose it is
    assert (scores[:, 16] > scores[:, :16].mean(1)).tolist() == [True, False, True, False]


def test_lightgcn_places_a_user_of_its_graph_where_the_graph_has_it(two_tastes: Dataset) -> None:
    known = _known(two_tastes, 1000)
    factors = Factors(42, 17, seed=1)
    e = torch.cat([factors.users, factors.items]).detach().double()
    taken = torch.from_numpy(known.taken().toarray())
    whole = torch.zeros(59, 59, dtype=torch.float64)
    whole[:42, 42:], whole[42:, :42] = taken, taken.T
    size = whole.sum(1).clamp(min=1)
    normed = whole / (size[:, None] * size[None, :]).sqrt()
    layers = [e]
    for _ in range(LAYERS):
        layers.append(normed @ layers[-1])
    mean = torch.stack(layers).mean(0)
    expected = mean[:40] @ mean[42:].T
    scores = _scorer(known, factors, _graph(known))(np.arange(40), np.full(40, 1500))
    torch.testing.assert_close(scores[:, :16], expected[:, :16], atol=1e-6, rtol=1e-4)


def test_what_stands_against_an_event_was_there_and_is_not_the_users(make_data: MakeData) -> None:
    # items 0 to 3 are there from 0 on, 4 from 50 on; user 0 takes 0, then 1
    released = dict.fromkeys(range(4), 0) | {4: 50}
    data = make_data([(0, 0, 10), (0, 1, 60), (1, 2, 60, 0)], items=5, released=released)
    known = _known(data, 100)
    draw = OthersOfTheTime(known).draw
    rng = np.random.default_rng(0)
    early, late = (draw(np.full(4000, row), rng) for row in (0, 1))
    assert np.bincount(early, minlength=5).tolist()[:2] == [0, 0]
    assert sorted(set(early)) == [2, 3]
    assert sorted(set(late)) == [2, 3, 4]
    assert abs((late == 4).mean() - 1 / 3) < 0.03
    short = make_data([(0, 0, 10), (0, 1, 60)], items=2, released={0: 0, 1: 0})
    assert OthersOfTheTime(_known(short, 100)).draw(np.array([0, 1]), rng).tolist() == [-1, -1]
    gone = make_data([(0, 1, 60)], items=3, released={0: 0, 1: 55, 2: 55}, ttl_seconds=20)
    assert set(OthersOfTheTime(_known(gone, 100)).draw(np.zeros(50, np.int64), rng)) == {2}


class _Number(nn.Module):
    """One weight that grows by about 1 an epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


def _grow(known: Known) -> tuple[_Number, int]:
    module, epochs = _Number(), 0

    def losses(epoch: int) -> Iterator[Tensor]:
        nonlocal epochs
        epochs = epoch
        yield -module.weight.sum()

    fit(
        known,
        module,
        losses,
        lambda: lambda users, times: module.weight,
        name="it",
        rate=1.0,
        every=3,
    )
    return module, epochs


def test_training_stops_on_validation_and_keeps_what_was_best(
    make_data: MakeData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learned, "PATIENCE", 2)
    known = _known(make_data([(0, 0, 1)]), 10)
    none = np.zeros(0, np.int64)
    known.stopping.measure = lambda scorer: -abs(scorer(none, none).item() - 7)
    known.stopping.epochs = None
    module, epochs = _grow(known)
    assert known.stopping.epochs == 6  # of 3, 6, 9, 12
    assert epochs == 12
    assert module.weight.item() == pytest.approx(6, abs=1e-3)


def test_what_validation_chose_is_how_long_all_is_learned_from(make_data: MakeData) -> None:
    module, epochs = _grow(_known(make_data([(0, 0, 1)]), 10, epochs=4))
    assert epochs == 4
    assert module.weight.item() == pytest.approx(4, abs=1e-3)
