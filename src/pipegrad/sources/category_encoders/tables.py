"""Encoders of category_encoders, which are tables from categories to numbers."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from ...modules import NONE, Lookup, LookupColumns, OrdinalEncode
from ...registry import Example, Translation, register
from ..arrays import to_array, to_tensor


def _examples(*several: dict[str, Any] | Example) -> tuple[Example, ...]:
    """Examples for the versions that these rows serve."""
    made = (one if isinstance(one, Example) else Example(one) for one in several)
    return tuple(replace(one, since="2.11") for one in made)


class CategoryEncodersTranslation(Translation):
    """Base class: the library itself checks the table and finds the category of each entry."""

    data = "categories"
    missing = True
    raw_numbers = False
    refused_inputs: ClassVar[Any] = {
        "columns turned": "the source keeps their order, and the module that of the fit"
    }
    unchanged_attributes: ClassVar[Any] = {
        "composite_members_": "which columns are joined does not change",
        "feature_dtypes_in_": "the types of the input do not change",
        "feature_names_out_": "the names of the output do not change",
        "lab_encoder_": "the labels do not change",
        "min_group_lumping_": "which categories are joined does not change",
    }

    def container(self, operator: Any) -> str:
        return "pandas" if operator.return_df else "default"

    def refuse(self, operator: Any) -> str | None:
        names = getattr(operator, "feature_names_in_", None)
        if names is None:
            return None
        types = getattr(operator, "feature_dtypes_in_", None)
        if types is None:
            return "it was fitted by category_encoders before 2.11"
        if getattr(operator, "composite_members_", None):
            return "composite_cols joins columns"
        pairs = zip(names, types, strict=True)
        others = [kind for name, kind in pairs if name not in operator.cols]
        if not all(pd.api.types.is_numeric_dtype(kind) for kind in others):
            return "columns that it passes through hold something else than numbers"
        return None

    def encode(self, operator: Any, X: Any) -> Any:
        if hasattr(X, "columns") and list(X.columns) != operator.feature_names_in_:
            raise ValueError(
                f"X must have the columns of the fit, {operator.feature_names_in_}, in this order, "
                f"got {list(X.columns)}."
            )
        return self.codes(operator, X)

    def codes(self, operator: Any, X: Any) -> NDArray[np.float64]:
        """The output of the operator, with codes in the place of trainable numbers."""
        plain = copy.copy(operator)
        plain.return_df = True
        plain._sklearn_output_config = {"transform": "default"}
        self.with_codes(plain)
        return plain.transform(X).to_numpy(dtype=np.float64)

    def with_codes(self, plain: Any) -> None:
        """Replace the tables of a shallow copy by tables of codes."""


class _Tables(CategoryEncodersTranslation):
    """Each encoded column has one table of numbers, ``mapping[column]``."""

    def refuse(self, operator: Any) -> str | None:
        if operator.drop_invariant and operator.invariant_cols:
            return "drop_invariant=True dropped columns"
        return super().refuse(operator)

    def trainable(self, operator: Any) -> bool:
        return any(_known(table).any() for table in operator.mapping.values())

    def otherwise(self, operator: Any, column: Any) -> float:
        """The output for entries without a number in the table."""
        return float("nan")

    def codes(self, operator: Any, X: Any) -> NDArray[np.float64]:
        found = super().codes(operator, X)
        places = self.places(operator)
        found[:, places] = np.nan_to_num(found[:, places], nan=float(NONE))
        return found

    def with_codes(self, plain: Any) -> None:
        plain.mapping = {column: _codes(table) for column, table in plain.mapping.items()}

    def places(self, operator: Any) -> list[int]:
        """Positions of the encoded columns."""
        return [operator.feature_names_in_.index(column) for column in operator.mapping]

    def to_torch(self, operator: Any) -> nn.Module:
        tables = [to_tensor(_numbers(table)) for table in operator.mapping.values()]
        otherwise = to_tensor([self.otherwise(operator, column) for column in operator.mapping])
        places = self.places(operator)
        return LookupColumns(Lookup(tables, places, otherwise), places)

    def write_back(self, module: LookupColumns, operator: Any) -> None:
        pairs = zip(operator.mapping.items(), module.lookup.tables(), strict=True)
        operator.mapping = {
            column: _with_numbers(table, to_array(values)) for (column, table), values in pairs
        }


def _known(table: Any) -> NDArray[np.bool_]:
    return np.asarray(table.notna())


def _numbers(table: Any) -> NDArray[np.float64]:
    return np.asarray(table, dtype=np.float64)[_known(table)]


def _codes(table: Any) -> Any:
    """The same index, with the place of each number among those that are not missing."""
    known = _known(table)
    return pd.Series(np.where(known, np.cumsum(known) - 1.0, np.nan), index=table.index)


def _with_numbers(table: Any, values: NDArray[np.float64]) -> Any:
    if np.array_equal(values, _numbers(table)):
        return table
    out = np.asarray(table, dtype=np.float64).copy()
    out[_known(table)] = values
    return pd.Series(out, index=table.index, name=table.name)


@register("category_encoders.TargetEncoder", "category_encoders.JamesSteinEncoder")
class TargetStatistics(_Tables):
    """The numbers of all categories in mapping are trainable, with those for unknown ones."""

    examples: ClassVar[Any] = _examples(
        {},
        {"return_df": False, "min_group_size": 5},
        Example({"handle_missing": "return_nan", "handle_unknown": 1.5}, data="categories_missing"),
        Example({"handle_unknown": "return_nan"}, data="categories_missing"),
        Example({"handle_unknown": "error"}, data="categories_of_pandas"),
    )


@register("category_encoders.CountEncoder")
class CountEncoder(_Tables):
    """The shares of all categories in mapping are trainable; counts are whole numbers and stay."""

    examples: ClassVar[Any] = _examples(
        {},
        {"normalize": True, "min_group_size": 0.2},
        Example({"handle_unknown": 3, "handle_missing": "return_nan"}, data="categories_missing"),
        Example({"handle_unknown": "return_nan"}, data="categories_missing"),
        Example({"handle_unknown": "error"}, data="categories_of_pandas"),
    )

    def trainable(self, operator: Any) -> bool:
        return all(table.dtype.kind == "f" for table in operator.mapping.values())

    def otherwise(self, operator: Any, column: Any) -> float:
        unknown = operator._handle_unknown[column]
        if isinstance(unknown, int | np.integer):
            return float(unknown)
        counts = unknown == "value" and operator._handle_missing[column] != "return_nan"
        return 0.0 if counts else float("nan")

    def with_codes(self, plain: Any) -> None:
        super().with_codes(plain)
        # Otherwise zero or another number would be a code.
        plain._handle_unknown = {
            column: "error" if isinstance(given, str) and given == "error" else "return_nan"
            for column, given in plain._handle_unknown.items()
        }


@register("category_encoders.OrdinalEncoder", "category_encoders.OneHotEncoder")
class Indicators(CategoryEncodersTranslation):
    """Whole numbers. Nothing is trainable."""

    examples: ClassVar[Any] = _examples(
        {},
        {"return_df": False, "min_group_size": 5, "drop_invariant": True},
        Example({"handle_missing": "return_nan"}, data="categories_missing"),
        Example({"handle_unknown": "error"}, data="categories_of_pandas"),
    )

    def trainable(self, operator: Any) -> bool:
        return False

    def to_torch(self, operator: Any) -> nn.Module:
        return OrdinalEncode()

    def write_back(self, module: nn.Module, operator: Any) -> None:
        """Do nothing: there are no learned parameters."""
