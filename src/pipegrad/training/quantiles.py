"""Several quantiles of one model: whether training makes them cross."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import warn
from ..registry import translation

if TYPE_CHECKING:
    from ..network import PipelineNetwork
    from .dataset import EncodedDataset

# Number of rows on which crossing is measured.
_MEASURED = 4096


def crossing_rows(net: PipelineNetwork, rows: EncodedDataset) -> Tensor | None:
    """Which rows have a higher quantile below a lower one.

    Parameters
    ----------
    net : PipelineNetwork
        The network.
    rows : EncodedDataset
        The rows, of which a sample is measured.

    Returns
    -------
    Tensor of bool, shape (measured,), or None
        None if the last operator does not predict several quantiles.
    """
    operator = net.graph[net.graph.output].operator
    row = translation(operator)
    levels = None if row is None else row.quantiles(operator)
    if levels is None or len(levels) < 2:
        return None
    stride = max(1, len(rows) // _MEASURED)
    encoded, _ = rows.batch(rows.index[::stride][:_MEASURED])
    score = net.raw_score(encoded, check=False)
    return (score[:, torch.tensor(levels).argsort()].diff(dim=1) < 0).any(1)


def warn_about_crossing(before: Tensor | None, after: Tensor | None) -> None:
    """Warn if quantiles cross in rows in which they did not before training."""
    if before is None or after is None:
        return
    count = int((after & ~before).sum())
    if count:
        warn(
            f"Quantiles cross in {count} of {len(before)} training rows in which they did not "
            f"before training ({int(before.sum())} crossed before).\n"
            "Hint: pass validation rows, a smaller lr, or anchor= to stay close to the source."
        )
