"""Imputers and scalers of feature-engine, where they are plain tables of numbers."""

from __future__ import annotations

import numbers
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ...modules import Impute, Standardize
from ...registry import Example, Translation, register
from ..arrays import to_array, to_tensor


class FeatureEngineTranslation(Translation):
    """Base class: a table of numbers in the order of the fit."""

    unchanged_attributes: ClassVar[Any] = {
        "variables_": "the columns that it transforms do not change"
    }

    def container(self, operator: Any) -> str:
        return "pandas"

    def refuse(self, operator: Any) -> str | None:
        names = getattr(operator, "feature_names_in_", None)
        if names is not None and set(operator.variables_) != set(names):
            return "columns that it passes through may hold something else than numbers"
        return None

    def encode(self, operator: Any, X: Any) -> Any:
        try:
            table = self.checked(operator, X)
        except KeyError as error:
            raise ValueError(f"X lacks columns: {error}") from error
        return table.to_numpy(dtype=np.float64)

    def checked(self, operator: Any, X: Any) -> Any:
        """The table after feature-engine's own checks."""
        raise NotImplementedError


def _column(operator: Any, values: dict[Any, Any]) -> Tensor:
    return to_tensor(np.array([float(values[name]) for name in operator.feature_names_in_]))


def _dict(values: NDArray[Any], operator: Any, before: dict[Any, Any]) -> dict[Any, Any]:
    """Numbers by column, in the order of those before, which stay the same objects if equal."""
    found = dict(zip(operator.feature_names_in_, values.tolist(), strict=True))
    return {name: old if old == found[name] else found[name] for name, old in before.items()}


@register(
    "feature_engine.imputation.MeanMedianImputer",
    "feature_engine.imputation.ArbitraryNumberImputer",
    "feature_engine.imputation.EndTailImputer",
)
class FillValues(FeatureEngineTranslation):
    """imputer_dict_ becomes trainable fill values."""

    data = "missing"
    missing = True
    examples = ({},)

    def refuse(self, operator: Any) -> str | None:
        values = getattr(operator, "imputer_dict_", {}).values()
        if not all(isinstance(value, numbers.Real) for value in values):
            return "its fill values are not numbers"
        return super().refuse(operator)

    def checked(self, operator: Any, X: Any) -> Any:
        return operator._transform(X)

    def to_torch(self, operator: Any) -> nn.Module:
        return Impute(_column(operator, operator.imputer_dict_))

    def write_back(self, module: Impute, operator: Any) -> None:
        fill = to_array(module.fill)
        operator.imputer_dict_ = _dict(fill, operator, operator.imputer_dict_)


@register("feature_engine.imputation.CategoricalImputer")
class CategoricalImputer(FillValues):
    """imputer_dict_ becomes trainable fill values; text is filled on the host."""

    examples: ClassVar[Any] = (
        Example({"fill_value": -1.5, "ignore_format": True}),
        Example({"fill_value": -1.5, "ignore_format": True, "return_object": True}),
        Example({}, data="categories_missing"),
        Example({"fill_value": "?", "variables": ["size"]}, data="text_missing"),
        Example({"return_object": True}, data="categories_of_pandas"),
        Example({"imputation_method": "frequent"}, data="text_missing"),
    )

    def refuse(self, operator: Any) -> str | None:
        return None if self.no_numbers(operator) else super().refuse(operator)

    def no_numbers(self, operator: Any) -> str | None:
        if operator.return_object:
            return "it returns objects (return_object=True), which tensors cannot hold"
        values = operator.imputer_dict_.values()
        if not all(isinstance(value, numbers.Real) for value in values):
            return "it fills text or other objects, which tensors cannot hold"
        return None

    def to_torch(self, operator: Any) -> nn.Module:
        return nn.Identity() if self.no_numbers(operator) else super().to_torch(operator)

    def write_back(self, module: Any, operator: Any) -> None:
        if isinstance(module, Impute):
            super().write_back(module, operator)


@register("feature_engine.scaling.MeanNormalizationScaler")
class MeanNormalizationScaler(FeatureEngineTranslation):
    """mean_ and range_ become a trainable shift and scale, and ranges stay positive."""

    kept: ClassVar[tuple[str, ...]] = ("scale",)

    def checked(self, operator: Any, X: Any) -> Any:
        return operator._check_transform_input_and_state(X)

    def to_torch(self, operator: Any) -> nn.Module:
        return Standardize(_column(operator, operator.mean_), _column(operator, operator.range_))

    def write_back(self, module: Standardize, operator: Any) -> None:
        assert module.shift is not None
        assert module.scale is not None
        operator.mean_ = _dict(to_array(module.shift), operator, operator.mean_)
        operator.range_ = _dict(to_array(module.scale()), operator, operator.range_)
