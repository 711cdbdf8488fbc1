"""Training: what each part of a budget does, and that it can be repeated bit by bit."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from coldlm.core.errors import Diverged
from coldlm.core.seeding import torch_seed
from coldlm.learn.fit import Budget, Fitted, Machine, fit
from coldlm.learn.optimisers import Named, adamw
from coldlm.models.backbone import RandomVectors
from coldlm.models.losses import FullSoftmax
from coldlm.models.rankers.ranker import Ranker
from coldlm.models.towers import Towers
from coldlm.text.constant import RandomEncoder


def _ranker(**head: Any) -> Ranker:
    with torch_seed(0):
        return Ranker(
            RandomEncoder(12, RandomVectors(8, 0)), Towers(8, **{"width": 8, "history": 3, **head})
        )


def _weights(ranker: Ranker) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in ranker.trainable().items()}


def _same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, two[name]) for name, tensor in one.items())


class Steps:
    """An optimiser factory that writes down the rate of each step and how far the weights moved."""

    def __init__(self, lr: float = 0.1) -> None:
        self.lr, self.rates, self.moves = lr, list[float](), list[float]()

    def __call__(self, named: Named) -> Optimizer:
        params: list[nn.Parameter] = [p for _, p in named]
        optimiser = SGD(params, lr=self.lr)

        def before(*_: Any) -> None:
            self.rates.append(optimiser.param_groups[0]["lr"])
            self._old = torch.cat([p.detach().flatten() for p in params])

        def after(*_: Any) -> None:
            self.moves.append(
                float((torch.cat([p.detach().flatten() for p in params]) - self._old).norm())
            )

        optimiser.register_step_pre_hook(before)
        optimiser.register_step_post_hook(after)
        return optimiser


def _fit(
    small: Any, ranker: Ranker, budget: Budget, *, seed: int = 0, loss: Any = None, **keys: Any
) -> Fitted:
    wants = FullSoftmax()
    return fit(
        ranker,
        loss or wants,
        lambda epoch: small.batches(wants, epoch=epoch),
        keys.pop("optimiser", lambda named: adamw(named, lr=0.02)),
        budget,
        Machine(),
        seed=seed,
        name="test",
        **keys,
    )


def _n_batches(small: Any) -> int:
    return len(small.batches(FullSoftmax()))


def test_the_loss_falls_on_what_can_be_learned(small: Any) -> None:
    fitted = _fit(small, _ranker(), Budget(epochs=20))
    n = _n_batches(small)
    first, last = sum(fitted.losses[:n]) / n, sum(fitted.losses[-n:]) / n
    assert last < 0.7 * first
    assert fitted.epochs == 20
    assert len(fitted.losses) == 20 * n
    assert fitted.examples == 20 * int(small.data.log.positive[small.rows].sum())
    assert fitted.seconds > 0


@pytest.mark.parametrize("max_steps", [1, 5])
def test_max_steps_cap_all_epochs_together(small: Any, max_steps: int) -> None:
    assert len(_fit(small, _ranker(), Budget(epochs=9, max_steps=max_steps)).losses) == max_steps


def test_each_epoch_has_batches_of_its_own(small: Any) -> None:
    seen: list[int] = []

    def batches(epoch: int) -> Any:
        made = small.batches(FullSoftmax(), epoch=epoch)
        original = made.rows
        made.rows = lambda number: seen.append(epoch) or original(number)
        return made

    fit(
        _ranker(),
        FullSoftmax(),
        batches,
        lambda named: adamw(named),
        Budget(epochs=3),
        Machine(),
        seed=0,
        name="test",
    )
    assert {epoch: seen.count(epoch) for epoch in set(seen)} == dict.fromkeys(
        range(3), _n_batches(small)
    )


def test_accumulation_takes_one_step_per_so_many_batches(small: Any) -> None:
    n, counts = _n_batches(small), []
    for accumulate in (1, 2, n):
        steps = Steps()
        _fit(small, _ranker(), Budget(epochs=1, accumulate=accumulate), optimiser=steps)
        counts.append(len(steps.rates))
    assert counts == [n, -(-n // 2), 1]


def test_an_accumulated_step_follows_the_mean_gradient(small: Any) -> None:
    n, loss = _n_batches(small), FullSoftmax()
    one, two = _ranker(), _ranker()
    _fit(small, one, Budget(epochs=1, accumulate=n, clip=None), optimiser=Steps(0.5))
    batches = list(small.batches(loss))
    total = sum(loss(two(b), b.log_weight, b.positive, b.label).mean() for b in batches) / n
    total.backward()
    with torch.no_grad():
        for p in two.parameters():
            p -= 0.5 * p.grad
    for name, tensor in one.trainable().items():
        torch.testing.assert_close(tensor, two.trainable()[name], atol=1e-5, rtol=0)


def test_clipping_bounds_the_gradient_norm(small: Any) -> None:
    clipped, free = Steps(1.0), Steps(1.0)
    _fit(small, _ranker(), Budget(epochs=1, clip=0.01), optimiser=clipped)
    _fit(small, _ranker(), Budget(epochs=1, clip=None), optimiser=free)
    assert max(clipped.moves) <= 0.01 + 1e-5
    assert max(free.moves) > 0.1


@pytest.mark.parametrize(("accumulate", "max_steps"), [(1, None), (2, None), (1, 5)])
def test_a_schedule_ends_with_the_last_step_of_all_epochs(
    small: Any, accumulate: int, max_steps: int | None
) -> None:
    steps, n = Steps(lr=1.0), -(-_n_batches(small) // accumulate)
    total = min(3 * n, max_steps or 3 * n)
    budget = Budget(epochs=3, max_steps=max_steps, accumulate=accumulate, schedule="linear")
    _fit(small, _ranker(), budget, optimiser=steps)
    assert steps.rates == pytest.approx([1 - step / total for step in range(total)])


def test_warm_up_is_a_share_of_one_epochs_steps(small: Any) -> None:
    n, steps = _n_batches(small), Steps(0.1)
    _fit(small, _ranker(), Budget(epochs=2, warmup=0.5), optimiser=steps)
    rise = int(0.5 * n)
    assert rise >= 2
    assert steps.rates == pytest.approx([0.1 * min(1, (i + 1) / rise) for i in range(2 * n)])
    plain = Steps(0.1)
    _fit(small, _ranker(), Budget(epochs=1), optimiser=plain)
    assert set(plain.rates) == {0.1}


@pytest.mark.parametrize(
    ("patience", "values", "n_epochs", "best"),
    [
        (1, [3, 2, 9, 9, 9], 2, 1),
        (2, [3, 2, 4, 1, 1], 5, 3),
        (2, [3, 2, 1, 9, 9], 3, 1),
        (1, [1, 2, 3, 4, 5], 5, 5),
        (1, [2, 2, 9, 9, 9], 2, 1),
    ],
)
def test_patience_stops_and_the_best_epoch_is_put_back(
    small: Any, patience: int, values: list[float], n_epochs: int, best: int
) -> None:
    ranker, seen = _ranker(), list[dict[str, Tensor]]()

    def validate() -> float:
        assert not ranker.training
        seen.append(_weights(ranker))
        return values[len(seen) - 1]

    fitted = _fit(small, ranker, Budget(epochs=5, patience=patience), validate=validate)
    assert len(seen) == n_epochs
    assert fitted.values == values[:n_epochs]
    assert fitted.epochs == best
    assert _same(_weights(ranker), seen[best - 1])
    assert not _same(seen[0], seen[-1])


def test_validating_changes_nothing_of_the_training(small: Any) -> None:
    plain, watched = _ranker(dropout=0.3), _ranker(dropout=0.3)
    _fit(small, plain, Budget(epochs=3))
    value = iter([1.0, 2.0, 3.0])
    _fit(small, watched, Budget(epochs=3), validate=lambda: next(value))
    assert _same(_weights(plain), _weights(watched))


def test_the_same_seed_gives_the_same_bits_and_another_seed_another_dropout(small: Any) -> None:
    made = []
    for seed in (0, 0, 1):
        ranker = _ranker(dropout=0.3)
        _fit(small, ranker, Budget(epochs=2), seed=seed)
        made.append(_weights(ranker))
    assert _same(made[0], made[1])
    assert not _same(made[0], made[2])


def test_the_global_random_state_is_left_as_it_was(small: Any) -> None:
    before = torch.random.get_rng_state()
    _fit(small, _ranker(dropout=0.3), Budget(epochs=1))
    assert torch.equal(torch.random.get_rng_state(), before)


def _nan_from(batch: int) -> Callable[..., Tensor]:
    calls, loss = [0], FullSoftmax()

    def call(*args: Tensor) -> Tensor:
        calls[0] += 1
        return loss(*args) * (math.nan if calls[0] > batch else 1.0)

    return call


def test_a_loss_that_is_not_finite_ends_training_in_eval_mode(small: Any) -> None:
    ranker = _ranker()
    with pytest.raises(Diverged, match="epoch 0, batch 2"):
        _fit(small, ranker, Budget(epochs=3), loss=_nan_from(2))
    assert not ranker.training


def test_weights_that_the_last_step_made_infinite_are_not_returned(small: Any) -> None:
    with pytest.raises(Diverged, match=r"weights are not finite after .*: lower optim.lr"):
        _fit(small, _ranker(), Budget(epochs=1, max_steps=1), optimiser=Steps(math.inf))


def test_training_ends_in_eval_mode_and_a_second_training_goes_on(small: Any) -> None:
    ranker = _ranker()
    first = _fit(small, ranker, Budget(epochs=3, max_steps=4))
    assert not ranker.training
    before = _weights(ranker)
    second = _fit(small, ranker, Budget(epochs=3, max_steps=4))
    assert len(first.losses) == len(second.losses) == 4
    assert not _same(before, _weights(ranker))


def test_a_termination_signal_exits_with_143(small: Any) -> None:
    previous = signal.getsignal(signal.SIGTERM)

    def terminate() -> float:
        os.kill(os.getpid(), signal.SIGTERM)
        return 0.0

    try:
        with pytest.raises(SystemExit) as caught:
            _fit(small, _ranker(), Budget(epochs=5, patience=5), validate=terminate)
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert caught.value.code == 143


def test_an_interrupt_stays_an_interrupt(small: Any) -> None:
    previous = signal.getsignal(signal.SIGINT)

    def interrupt() -> float:
        os.kill(os.getpid(), signal.SIGINT)
        return 0.0

    try:
        with pytest.raises(KeyboardInterrupt):
            _fit(small, _ranker(), Budget(epochs=5, patience=5), validate=interrupt)
    finally:
        signal.signal(signal.SIGINT, previous)


def test_nothing_to_learn_from_changes_nothing(small: Any) -> None:
    ranker = _ranker()
    before = _weights(ranker)
    nothing = type(small)(small.data, small.catalogue, small.as_of, small.rows[:0])
    fitted = _fit(nothing, ranker, Budget(epochs=2))
    assert (fitted.losses, fitted.examples) == ([], 0)
    assert _same(before, _weights(ranker))
    assert not ranker.training
