"""Optimisers: functions of named parameters. The backbone ("encoder.") has its own, smaller
learning rate; the query of attention pooling is as new as the head, and learns at the head's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from coldlm.core.columns import Above0, Range, Share

POOLING = "encoder.body.query"

Named = list[tuple[str, nn.Parameter]]


def adamw(
    named: Named,
    /,
    *,
    lr: Above0 = 1e-3,
    body_lr: Above0 = 5e-5,
    weight_decay: Annotated[float, Range(0)] = 0.01,
    betas: tuple[Share, Share] = (0.9, 0.999),
) -> Optimizer:
    """AdamW (Loshchilov and Hutter 2019); no decay on vectors, that is on biases, norms and
    scales."""
    return AdamW(groups(named, lr, body_lr, weight_decay), betas=(betas[0], betas[1]))


def sgd(
    named: Named,
    /,
    *,
    lr: Above0 = 0.1,
    body_lr: Above0 = 0.01,
    weight_decay: Annotated[float, Range(0)] = 0.0,
    momentum: Share = 0.9,
) -> Optimizer:
    """Stochastic gradient descent with momentum; no decay on vectors."""
    return SGD(groups(named, lr, body_lr, weight_decay), momentum=momentum)


def groups(named: Named, lr: float, body_lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups: head or backbone x with or without decay; parameters that do not train are
    left out."""
    out = []
    for rate, in_body in ((lr, False), (body_lr, True)):
        for decay, is_matrix in ((weight_decay, True), (0.0, False)):
            params = [
                p
                for name, p in named
                if p.requires_grad
                and (name.startswith("encoder.") and name != POOLING) == in_body
                and (p.dim() > 1) == is_matrix
            ]
            if params:
                out.append({"params": params, "lr": rate, "weight_decay": decay})
    return out


def rate(schedule: str, warm_up: int, total: int) -> Callable[[int], float]:
    """Step (from 0) -> factor of the learning rates. It rises linearly over the first ``warm_up``
    steps; from the step behind them it is 1 ("constant"), or falls from 1 towards 0 after ``total``
    steps, along a line ("linear") or half a cosine wave ("cosine"; Loshchilov and Hutter 2017, eq.
    5, without restarts)."""

    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        done = min(1.0, (step - warm_up) / max(total - warm_up, 1))
        return {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}[
            schedule
        ]

    return factor
