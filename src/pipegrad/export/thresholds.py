"""Rows whose values fall on another side of a tree's threshold in single precision."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..module import PipelineModule
from ..modules import Block, TreeEnsemble


def rows_across_thresholds(
    exact: PipelineModule, rounded: PipelineModule, rows: Any
) -> NDArray[np.bool_]:
    """Which rows reach another leaf in one module of a pipeline than in another one.

    Parameters
    ----------
    exact : PipelineModule
        The module in the precision of the pipeline.
    rounded : PipelineModule
        The same in single precision.
    rows : object
        Rows in the format of the pipeline.

    Returns
    -------
    array of bool, shape (n,)
        Whether a value lies between a threshold and where rounding moves it, for each row.
    """
    pairs = list(zip(_leaves(exact, rows), _leaves(rounded, rows), strict=True))
    if not pairs:
        return np.zeros(len(exact.encode(rows)), dtype=bool)
    return np.logical_or.reduce([(one != other).any(1).numpy() for one, other in pairs])


def _leaves(net: PipelineModule, rows: Any) -> list[Tensor]:
    """The leaves (n, trees) that rows reach in each ensemble of a module."""
    found: dict[int, Block] = {}
    own = [part for part in net.modules() if isinstance(part, TreeEnsemble) and len(part.levels)]
    hooks = []
    for number, part in enumerate(own):
        vars(part)["_numbers"] = partial(_noted, part, found, number)
        hooks.append(part.register_forward_pre_hook(_alone))
    try:
        with torch.no_grad():
            net.eval()(net.encode(rows))
    finally:
        for part, hook in zip(own, hooks, strict=True):
            vars(part).pop("_numbers", None)
            hook.remove()
    return [own[number].leaves(found[number]) for number in sorted(found)]


def _noted(part: TreeEnsemble, found: dict[int, Block], number: int, x: Block) -> Tensor:
    found[number] = x
    return type(part)._numbers(part, x)


def _alone(module: nn.Module, inputs: Any) -> None:
    """Nothing; members of a composite that have a hook are called one by one."""
