"""Translations of the steps that sources with named columns share."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy import sparse
from torch import Tensor, nn

from ...errors import ArgumentError
from ...modules import (
    ChosenColumns,
    Elementwise,
    Head,
    InverseLink,
    JoinScores,
    Linear,
    Multiples,
    OneColumn,
    PlacedColumns,
    Product,
    ScaledLargest,
    Sequential,
    SparseRows,
    Threshold,
    Total,
    TreeEnsemble,
    first_less_second,
    place_of_first_positive,
    place_of_largest,
    place_of_smallest,
    place_of_smallest_finite,
    second_column,
    shares_with_floor,
    single_exp,
    single_sigmoid,
    single_softmax,
    single_two_shares,
    softmax_above_zero,
    two_scores,
    two_shares,
)
from ...registry import Objective, Translation, lookup, register
from ..arrays import to_array, to_block, to_csr, to_tensor
from . import operators
from .cells import doubles_of
from .operators import LearnedNumbers
from .tasks import head_of, objective_of


class NamedTranslation(Translation):
    """A translation for columns (n,) or (n, k) of one precision; NaN passes."""

    examples = ()
    missing = True
    sparse = True
    precision: ClassVar[Any] = np.float64

    def encode(self, operator: Any, X: Any) -> Any:
        """Convert columns of numbers or vectors to the precision of the source."""
        if sparse.issparse(X):
            return X.tocsr().astype(self.precision)
        values = np.asarray(X)
        if values.dtype == object:
            found = doubles_of(values)
            if found is None:
                raise ArgumentError(f"{operator.title} takes numbers, but a column holds texts.")
            values = found
        return values.astype(self.precision)

    def write_back(self, module: Any, operator: Any) -> None:
        """Write nothing, as most translations have no learned parameters."""

    def head(self, operator: Any) -> Head | None:
        return head_of(getattr(operator, "task", ""), getattr(operator, "options", {}))

    def objective(self, operator: Any) -> Objective | None:
        return objective_of(getattr(operator, "task", ""), getattr(operator, "options", {}))


def numbers_of(values: ArrayLike | LearnedNumbers) -> Tensor:
    """A float64 tensor that shares no memory with the values."""
    array = values.values if isinstance(values, LearnedNumbers) else values
    return to_tensor(np.asarray(array, dtype=np.float64))


def write_numbers(numbers: LearnedNumbers | None, tensor: Tensor | None) -> None:
    """Write learned parameters back to where they came from, if anywhere."""
    if numbers is not None and tensor is not None:
        numbers.put(to_array(tensor))


def index(values: ArrayLike) -> Tensor:
    """An int64 tensor."""
    return torch.from_numpy(np.array(values, dtype=np.int64))


def tree_ensemble(
    at: operators.TreeStructure, threshold: ArrayLike, values: ArrayLike, **options: Any
) -> TreeEnsemble:
    """The module for trees; options are those of `TreeEnsemble`."""
    if at.category_width.any():
        options |= {
            "category_width": index(at.category_width),
            "category_left": torch.from_numpy(at.category_left.copy()),
            "unknown_left": torch.from_numpy(at.unknown_left.copy()),
        }
    return TreeEnsemble(
        index(at.roots),
        index(at.feature),
        numbers_of(threshold),
        index(at.left),
        index(at.right),
        numbers_of(values),
        **options,
    )


def evaluate(operator: Any, *values: Any) -> Any:
    """Compute an operator's output on the host with its module."""
    row = row_of(operator)
    dtype = torch.float32 if row.precision == np.float32 else torch.float64
    with torch.no_grad():
        arrays = [row.encode(operator, value) for value in values]
        blocks = [to_block(array, dtype, torch.device("cpu")) for array in arrays]
        out = row.to_torch(operator).eval()(*blocks)
    return to_csr(out) if isinstance(out, SparseRows) else out.numpy()


def row_of(operator: Any) -> NamedTranslation:
    """The translation of an operator."""
    row = lookup(type(operator))
    assert isinstance(row, NamedTranslation)
    return row


_AT = "pipegrad.sources.named.operators"


@register(f"{_AT}.LinearMap")
class LinearMap(NamedTranslation):
    """Coefficients train, and the intercept if there is one."""

    def to_torch(self, operator: operators.LinearMap) -> nn.Module:
        weight = numbers_of(np.atleast_2d(operator.weight.values))
        bias = None
        if operator.bias is not None:
            bias = numbers_of(np.atleast_1d(operator.bias.values))
        squeeze = operator.task != "softmax" and weight.shape[0] == 1
        return Linear(weight.T, bias, squeeze=squeeze, gaps=operator.gaps)

    def write_back(self, module: Linear, operator: operators.LinearMap) -> None:
        write_numbers(operator.weight, module.weight.T)
        write_numbers(operator.bias, module.bias)


@register(f"{_AT}.Sum")
class Sum(NamedTranslation):
    """A linear predictor and its offset."""

    def to_torch(self, operator: operators.Sum) -> nn.Module:
        return Total()


@register(f"{_AT}.Mean")
class Mean(NamedTranslation):
    """Converts linear predictors to means."""

    def to_torch(self, operator: operators.Mean) -> nn.Module:
        return InverseLink(operator.link, operator.power)


@register(f"{_AT}.Beside")
class Beside(NamedTranslation):
    """Scores of members side by side."""

    def to_torch(self, operator: operators.Beside) -> nn.Module:
        return JoinScores()


@register(f"{_AT}.ChooseColumns")
class ChooseColumns(NamedTranslation):
    """Has no parameters to train."""

    sparse = False

    def to_torch(self, operator: operators.ChooseColumns) -> nn.Module:
        if -1 in operator.places:
            return PlacedColumns(index(operator.places))
        return ChosenColumns(index(operator.places))


_FUNCTIONS = {
    "two_scores": two_scores,
    "two_shares": two_shares,
    "second": second_column,
    "first_less_second": first_less_second,
    "first_positive": place_of_first_positive,
    "largest": place_of_largest,
    "smallest": place_of_smallest,
    "smallest_finite": place_of_smallest_finite,
    "shares_with_floor": shares_with_floor,
    "softmax_above_zero": softmax_above_zero,
    "sigmoid": torch.sigmoid,
    "single_exp": single_exp,
    "single_sigmoid": single_sigmoid,
    "single_softmax": single_softmax,
    "single_two_shares": single_two_shares,
}
_DECISIONS = (
    "first_positive",
    "largest",
    "smallest",
    "smallest_finite",
    "above",
    "at_least",
    "scaled_largest",
)


@register(f"{_AT}.Derive")
class Derive(NamedTranslation):
    """A function of a score; no gradient passes through decisions."""

    sparse = False

    def to_torch(self, operator: operators.Derive) -> nn.Module:
        what, numbers = operator.what, operator.numbers_
        if what in _FUNCTIONS:
            return Elementwise(_FUNCTIONS[what], elementwise=False)
        if what in ("softmax", "log_softmax"):
            return Elementwise(getattr(torch, what), {"dim": 1}, elementwise=False)
        if what == "twice_sigmoid":
            return Sequential(
                Multiples(numbers_of(2.0)), Elementwise(torch.sigmoid, elementwise=False)
            )
        if what == "clamp":
            low, high = numbers
            return Elementwise(torch.clamp, {"min": low, "max": high}, elementwise=False)
        if what == "above":
            return Threshold(numbers[0])
        if what == "at_least":
            return Threshold(float(np.nextafter(numbers[0], -np.inf)))
        if what == "entry":
            return OneColumn(int(numbers[0]))
        if what == "scaled_largest":
            return ScaledLargest(numbers_of(numbers))
        if what == "times":
            return Product()
        return Multiples(numbers_of(numbers[0] if what == "multiple" else numbers))

    def is_differentiable(self, operator: operators.Derive) -> bool:
        return operator.what not in _DECISIONS
