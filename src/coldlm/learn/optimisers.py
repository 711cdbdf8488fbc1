"""Optimisers: functions of named parameters. The backbone ("encoder.") has its own, smaller learning rate; the query of
attention pooling is as new as the head, and learns at the head's."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from coldlm.columns import Range

POOLING = "encoder.body.query"

Named = list[tuple[str, nn.Parameter]]


def adamw(
    named: Named,
    /,
    *,
    lr: Annotated[float, Range(0, above=True)] = 1e-3,
    body_lr: Annotated[float, Range(0, above=True)] = 5e-5,
    weight_decay: Annotated[float, Range(0)] = 0.01,
    betas: tuple[Annotated[float, Range(0, 1)], Annotated[float, Range(0, 1)]] = (0.9, 0.999),
) -> Optimizer:
    """AdamW (Loshchilov and Hutter 2019); no decay on vectors, that is on biases, norms and scales."""
    return AdamW(groups(named, lr, body_lr, weight_decay), betas=(betas[0], betas[1]))


def sgd(
    named: Named,
    /,
    *,
    lr: Annotated[float, Range(0, above=True)] = 0.1,
    body_lr: Annotated[float, Range(0, above=True)] = 0.01,
    weight_decay: Annotated[float, Range(0)] = 0.0,
    momentum: Annotated[float, Range(0, 1)] = 0.9,
) -> Optimizer:
    """Stochastic gradient descent with momentum; no decay on vectors."""
    return SGD(groups(named, lr, body_lr, weight_decay), momentum=momentum)


def groups(named: Named, lr: float, body_lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups: head or backbone x with or without decay; parameters that do not train are left out."""
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


def warm_up(optimizer: Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Learning rates rise linearly over the first ``steps`` steps and stay there."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / max(steps, 1)))
