"""Translations of scalers, projections and imputation."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from torch import nn

from ....modules import Affine, Centered, Impute, Linear, OrdinalEncode, Sequential, Shift
from ....registry import register
from ...arrays import to_array
from ...named.cells import is_null
from ...named.translations import NamedTranslation, numbers_of, write_numbers
from ..operators import scaling

_AT = "pipegrad.sources.spark.operators.scaling"


@register(f"{_AT}.Scale")
class Scale(NamedTranslation):
    """Center and spread train; entries without spread stay so."""

    def to_torch(self, operator: scaling.Scale) -> nn.Module:
        if operator.spread is None:
            center = operator.center
            return OrdinalEncode() if center is None else Centered(numbers_of(center))
        factor = _factor(operator.spread.values, 1.0 if operator.keeps else 0.0)
        offset = None if operator.center is None else numbers_of(operator.center)
        return Affine(numbers_of(factor), offset)

    def write_back(self, module: Any, operator: scaling.Scale) -> None:
        if operator.spread is None:
            write_numbers(operator.center, module.center)
            return
        write_numbers(operator.center, module.offset)
        before = operator.spread.values
        after = _inverse(module, before)
        operator.spread.put(after if operator.keeps else np.where(before == 0, 0.0, after))


def _factor(spread: Any, otherwise: float) -> Any:
    none = spread == 0
    return np.where(none, otherwise, 1.0 / np.where(none, 1.0, spread))


def _inverse(module: Affine, before: Any) -> Any:
    """The spread for the factors of a module; those that did not change stay bit-identical."""
    ratio = np.exp(-to_array(module.scale.log_ratio))
    moved = np.where(before == 0, 1.0, before) * ratio
    kept = ratio == 1
    return np.where(kept, before, moved)


@register(f"{_AT}.ToRange")
class ToRange(NamedTranslation):
    """The range of the input trains; constant entries stay so."""

    sparse = False

    def to_torch(self, operator: scaling.ToRange) -> nn.Module:
        width, height = _ranges(operator)
        constant = width == 0
        factor = np.where(constant, 0.0, height / np.where(constant, 1.0, width))
        added = np.where(constant, 0.5 * height, 0.0) + operator.low
        offset = numbers_of(operator.smallest)
        return Sequential(Affine(numbers_of(factor), offset), Shift(numbers_of(added)))

    def write_back(self, module: Sequential, operator: scaling.ToRange) -> None:
        affine = module.links[0]
        assert isinstance(affine, Affine)
        assert affine.offset is not None
        width, _ = _ranges(operator)
        start = np.where(width == 0, operator.smallest.values, to_array(affine.offset))
        same = (start == operator.smallest.values) & (to_array(affine.scale.log_ratio) == 0)
        end = start + _inverse(affine, width)
        operator.largest.put(np.where(same | (width == 0), operator.largest.values, end))
        operator.smallest.put(start)


def _ranges(operator: scaling.ToRange) -> tuple[Any, float]:
    width = operator.largest.values - operator.smallest.values
    return width, operator.high - operator.low


@register(f"{_AT}.Project")
class Project(NamedTranslation):
    """The matrix trains."""

    def to_torch(self, operator: scaling.Project) -> nn.Module:
        return Linear(numbers_of(operator.matrix))

    def write_back(self, module: Linear, operator: scaling.Project) -> None:
        write_numbers(operator.matrix, module.weight)


@register(f"{_AT}.Fill")
class Fill(NamedTranslation):
    """The number in the place of missing ones trains."""

    def to_torch(self, operator: scaling.Fill) -> nn.Module:
        return Impute(numbers_of([float(operator.fill.values)]), operator.missing)

    def has_private_encoding(self, operator: scaling.Fill) -> bool:
        return True

    def encode(self, operator: scaling.Fill, X: Any) -> Any:
        """Missing numbers as the number that marks them; filled, where Spark rounds the filling."""
        values = X if sparse.issparse(X) else np.asarray(X)
        found = super().encode(operator, X)
        if values.dtype.kind == "f" or sparse.issparse(X):
            return found
        missing = np.isnan(found) | (found == operator.missing)
        if values.dtype == object:
            null = is_null(values)
            missing |= null
            found = np.where(null, operator.missing, found)
        filling = _rounded(float(operator.fill.values), values)
        return found if filling is None else np.where(missing, filling, found)

    def write_back(self, module: Impute, operator: scaling.Fill) -> None:
        write_numbers(operator.fill, module.fill)


def _rounded(filling: float, values: NDArray[Any]) -> float | None:
    """A filling as Spark rounds it to the type of a column; None for floating-point numbers."""
    known = [cell for cell in values.ravel().tolist() if cell is not None]
    if any(isinstance(cell, float) for cell in known) or not known:
        return None
    decimals = [cell for cell in known if isinstance(cell, Decimal)]
    if not decimals:
        return float(np.trunc(filling))
    unit = min(decimals, key=lambda cell: cell.as_tuple().exponent)
    return float(Decimal(repr(filling)).quantize(unit, ROUND_HALF_UP))


@register(f"{_AT}.TermWeights")
class TermWeights(NamedTranslation):
    """Weights train; a zero stays zero."""

    def to_torch(self, operator: scaling.TermWeights) -> nn.Module:
        return Affine(numbers_of(operator.weights))

    def write_back(self, module: Affine, operator: scaling.TermWeights) -> None:
        write_numbers(operator.weights, module.scale())
