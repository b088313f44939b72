"""Evaluation of many rows part by part, so that results stay in the cache of a processor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from .host import Encoded, rows_of
from .modules import Block, LeafIndices, SparseRows, map_in_threads, threads_for

# Numbers of the input that are evaluated at a time: two megabytes of float64.
_PART = 1 << 18


def evaluated_in_parts(
    blocks: Mapping[str, Block | LeafIndices],
    evaluate: Callable[[Any], Any],
    is_watched: Callable[[], bool],
) -> Tensor | None:
    """The output for many rows, part by part in the threads of torch.

    Parameters
    ----------
    blocks : mapping of str to Block or LeafIndices
        The blocks of all rows, by port.
    evaluate : callable
        Maps the blocks of some rows to their output.
    is_watched : callable
        Whether someone has to see all rows at once.

    Returns
    -------
    Tensor or None
        The output of all rows; None where they are to be evaluated at once, because they are few,
        watched or not on the CPU, or their output is no plain tensor.
    """
    tensors: list[Any]
    tensors = [x.values if isinstance(x, SparseRows) else x for x in blocks.values()]
    if not all(isinstance(x, Tensor) and x.layout == torch.strided for x in tensors):
        return None
    numbers = sum(x.numel() for x in tensors)
    if numbers <= _PART or any(x.device.type != "cpu" for x in tensors):
        return None
    if is_watched():
        return None
    threads = threads_for(*tensors)
    rows = rows_of(blocks)
    parts = -(-numbers // _PART)
    size = -(-rows // (-(-parts // threads) * threads))
    cut = [(Encoded(blocks)[start : start + size].blocks,) for start in range(0, rows, size)]
    outs = map_in_threads(evaluate, cut, threads)
    plain = all(isinstance(out, Tensor) and out.layout == torch.strided for out in outs)
    return torch.cat(outs) if plain else None
