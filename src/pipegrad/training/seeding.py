"""Isolated random numbers for training, which leave the global state unchanged."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    pass


@contextlib.contextmanager
def isolated_rng(seed: int | None, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Seed torch within the context, and restore its global random state afterwards."""
    device = next(p.device for group in optimizer.param_groups for p in group["params"])
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        if seed is not None:
            torch.default_generator.manual_seed(int(seed))
            for one in cuda:
                with torch.cuda.device(one):
                    torch.cuda.manual_seed(int(seed))
        yield
