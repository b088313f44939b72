"""What the source itself computes, so that there is nothing to train."""

from __future__ import annotations

import copy
from typing import Any

from scipy import sparse
from torch import nn

from ._base import SklearnTranslation


class OnHost(SklearnTranslation):
    """The source itself computes the columns; the module passes them on."""

    differentiable = False
    raw_numbers = False

    def trainable(self, operator: Any) -> bool:
        return False

    def encode(self, operator: Any, X: Any) -> Any:
        # A shallow copy, since some operators note what they have checked when they first answer.
        try:
            out = with_options(operator).transform(X)
        except StopIteration as error:
            raise ValueError("X must hold at least one row, got none.") from error
        return out.tocsr() if sparse.issparse(out) else out

    def to_torch(self, operator: Any) -> nn.Module:
        return nn.Identity()

    def write_back(self, module: nn.Module, operator: Any) -> None:
        pass


def with_options(operator: Any, **params: Any) -> Any:
    """Return a shallow copy with other options that always outputs arrays."""
    plain = copy.copy(operator)
    vars(plain).update(params)
    plain._sklearn_output_config = {"transform": "default"}
    return plain
