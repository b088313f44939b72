"""Selection of columns."""

from __future__ import annotations

from torch import Tensor

from ._base import Module
from ._sparse import Block, SparseRows


class Select(Module):
    """Select columns in their order.

    Parameters
    ----------
    keep : Tensor of int64, shape (outputs,)
        Increasing indices of the columns.
    """

    keep: Tensor

    def __init__(self, keep: Tensor) -> None:
        super().__init__()
        self.register_buffer("keep", keep)

    def forward(self, x: Block) -> Block:
        """Map (n, features) to (n, outputs); sparse rows stay sparse unless no column is left."""
        if not isinstance(x, SparseRows):
            return x.index_select(1, self.keep)
        kept = x.select(self.keep)
        return kept if self.keep.numel() else kept.to_dense()
