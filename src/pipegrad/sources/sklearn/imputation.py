"""Imputation and indicators of missing values."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils._mask import _get_mask
from sklearn.utils._missing import is_scalar_nan
from sklearn.utils.validation import FLOAT_DTYPES
from torch import nn

from ... import glue
from ...graph import join
from ...modules import Impute, Missing, NearestDonors, WithGradientOf
from ...registry import Builder, Example, Expansion, register
from ..arrays import to_array, to_tensor
from ._base import (
    SKLEARN,
    SklearnTranslation,
    as_float,
    parse_version,
    reject_entries_stored_twice,
    validate,
)
from ._neighbors import Answers


class _AboutMissing(SklearnTranslation):
    sparse = True
    missing = True

    def encode(self, operator: Any, X: Any) -> Any:
        return as_float(operator._validate_input(X, in_fit=False))


@register("sklearn.impute.SimpleImputer")
class SimpleImputer(_AboutMissing):
    """statistics_ become trainable fill values; text is filled on the host."""

    examples = (
        Example({}, data="missing"),
        Example({"strategy": "median"}, data="missing"),
        Example({"strategy": "most_frequent"}, data="missing"),
        Example({"strategy": "constant", "fill_value": -1.5}, data="missing"),
        Example({"strategy": "constant"}, data="missing"),
        Example({"strategy": np.max}, data="missing"),
        Example({"add_indicator": True}, data="missing"),
        Example({"keep_empty_features": True, "add_indicator": True}, data="missing"),
        Example({"missing_values": -99.0, "strategy": "median"}, data="marked"),
        Example({"add_indicator": True}, data="sparse_missing"),
        Example({"strategy": "constant", "fill_value": 2.5}, data="sparse_missing"),
        Example({"strategy": "constant", "fill_value": np.float32(2)}, data="missing"),
        Example({"strategy": "most_frequent"}, data="categories_missing"),
        Example({"strategy": "constant", "add_indicator": True}, data="categories_missing"),
        Example({"strategy": "most_frequent", "missing_values": "red"}, data="categories"),
        Example(
            {"strategy": "most_frequent", "missing_values": None, "add_indicator": True},
            data="text_missing",
        ),
        Example(
            {
                "strategy": "constant",
                "missing_values": None,
                "fill_value": "?",
                "keep_empty_features": True,
            },
            data="text_missing",
        ),
    )
    unchanged_attributes: ClassVar[Any] = {
        "indicator_": "marks missing entries; it holds no fill values"
    }

    def no_numbers(self, operator: Any) -> str | None:
        if operator._fit_dtype.kind == "O":
            return "it fills text or other objects, which tensors cannot hold"
        return None

    def trainable(self, operator: Any) -> bool:
        # The source keeps integer fill values as integers, which would round trained values.
        return bool(operator._fit_dtype.kind == "f")

    def to_torch(self, operator: Any) -> nn.Module:
        if self.no_numbers(operator) is not None:
            return nn.Identity()
        kept = _kept(operator)
        flags = operator.indicator_.features_ if operator.add_indicator else None
        return Impute(
            to_tensor(_numbers(operator, kept)),
            _mark(operator.missing_values),
            None if kept.all() else np.flatnonzero(kept).tolist(),
            flags,
            trainable=self.trainable(operator),
        )

    def write_back(self, module: nn.Module, operator: Any) -> None:
        if not isinstance(module, Impute):
            return
        kept = _kept(operator)
        statistics = operator.statistics_.copy()
        before = _numbers(operator, kept)
        fill = to_array(module.fill, before)
        statistics[kept] = np.where(fill == before, statistics[kept], fill)
        operator.statistics_ = statistics


@register("sklearn.impute.MissingIndicator")
class MissingIndicator(_AboutMissing):
    """Zeros and ones. Nothing is trainable; gradients stop here."""

    examples = (
        Example({}, data="missing"),
        Example({"features": "all"}, data="missing"),
        Example({"sparse": True}, data="missing"),
        Example({"missing_values": -99, "sparse": False}, data="marked"),
        Example({}, data="sparse_missing"),
        Example({"sparse": False}, data="sparse_missing"),
        Example({"error_on_new": False, "sparse": True}, data="sparse_missing"),
        Example({"missing_values": "red"}, data="categories"),
        Example({"features": "all"}, data="categories_missing"),
        Example({"missing_values": None, "features": "all"}, data="text_missing"),
    )
    refused_inputs: ClassVar[Any] = {
        "csr with entries stored twice": "the mask has an entry for each of them"
    }
    differentiable = False

    def trainable(self, operator: Any) -> bool:
        return False

    def reads_raw_numbers(self, operator: Any) -> bool:
        return _no_number(operator) is None

    def has_private_encoding(self, operator: Any) -> bool:
        return True  # Entries of any type may be encoded as missing or not.

    def encode(self, operator: Any, X: Any) -> Any:
        # The source rejects missing values in a column that had none during fit.
        operator.transform(X)
        checked = operator._validate_input(X, in_fit=False)
        if checked.dtype.kind == "O":
            mark = _mark(operator.missing_values)
            there = 0.0 if math.isnan(mark) else mark + 1
            return np.where(_get_mask(checked, operator.missing_values), mark, there)
        encoded = as_float(checked)
        reject_entries_stored_twice(operator, encoded)
        # Request dense output.
        if operator.sparse is False and sparse.issparse(encoded):
            return encoded.toarray()
        return encoded

    def to_torch(self, operator: Any) -> nn.Module:
        whole = len(operator.features_) == operator.n_features_in_
        columns = None if whole else operator.features_
        return Missing(_mark(operator.missing_values), columns, sparse=operator.sparse is True)

    def write_back(self, module: nn.Module, operator: Any) -> None:
        pass


def _no_number(operator: Any) -> str | None:
    """Why a marker of missing entries has no module, or None."""
    if isinstance(operator.missing_values, str) or operator.missing_values is None:
        return f"missing_values={operator.missing_values!r} is not a number"
    return None


def _finite(operator: Any) -> bool | str:
    """What the source allows beside finite numbers."""
    return "allow-nan" if is_scalar_nan(operator.missing_values) else True


class _Filled(Answers):
    """The rows as the imputer fills them."""

    def _asked(self, rows: Any) -> NDArray[Any]:
        # With copy=False, the source fills the rows in place.
        return np.asarray(self._ask(self.method, rows.copy()))


@register("sklearn.impute.KNNImputer")
class KNNImputer(SklearnTranslation):
    """Means of the nearest rows. Nothing is trainable; steps before it train by soft weights."""

    missing = True
    data = "missing"
    examples = (
        {"n_neighbors": 3},
        {"weights": "distance", "copy": False},
        {"n_neighbors": 100, "add_indicator": True, "metric": "nan_euclidean"},
        {"n_neighbors": 2, "keep_empty_features": True},
        Example({"missing_values": -99.0, "weights": "distance"}, data="marked"),
        Example({"add_indicator": True}, data="missing_binary"),
    )

    def refuse(self, operator: Any) -> str | None:
        if callable(operator.metric):
            name = getattr(operator.metric, "__name__", operator.metric)
            return f"metric={name!r} is Python code that torch cannot differentiate"
        if callable(operator.weights):
            return "weights is Python code that torch cannot differentiate"
        return _no_number(operator)

    def encode(self, operator: Any, X: Any) -> Any:
        return validate(operator, X, finite=_finite(operator))

    def to_torch(self, operator: Any) -> nn.Module:
        points = np.where(operator._mask_fit_X, np.nan, operator._fit_X).astype(np.float64)
        smooth = NearestDonors(
            to_tensor(points),
            int(operator.n_neighbors),
            _mark(operator.missing_values),
            operator.weights == "distance",
            operator.keep_empty_features,
            operator.indicator_.features_ if operator.add_indicator else None,
            undefined=parse_version("1.6") > SKLEARN,
        )
        return WithGradientOf(smooth, _Filled(operator, "transform"))

    def write_back(self, module: nn.Module, operator: Any) -> None:
        """Do nothing: stored rows do not train."""


@register("sklearn.impute.IterativeImputer")
class IterativeImputer(Expansion):
    """The initial imputer and each of the fitted estimators, one after the other."""

    def expand(self, operator: Any, builder: Builder, source: str, path: str, method: str) -> str:
        mark, kept = _mark(operator.missing_values), _not_empty(operator)
        places = _places(operator)
        checked = glue.Checked(operator, _with_missing)
        raw = builder.add(join(path, "input"), checked, (source,))
        initial = builder.expand(operator.initial_imputer_, raw, join(path, "initial_imputer"))
        if _width(operator.initial_imputer_) > kept.sum() and not operator.keep_empty_features:
            picked = glue.Columns(np.flatnonzero(kept))
            initial = builder.add(join(path, "kept"), picked, (initial,))
        value = initial
        if operator.n_iter_:
            value = _imputed(operator, builder, raw, initial, path)
            # Rows without any entry at all stay as the initial imputer fills them.
            if len(places) == kept.sum():
                whole = glue.UnlessAllMissing(mark, places)
                value = builder.add(join(path, "output"), whole, (value, initial, raw))
        if operator.add_indicator:
            flags = glue.MissingFlags(mark, operator.indicator_.features_)
            shown = builder.add(join(path, "indicator"), flags, (raw,))
            value = builder.add(join(path, "concatenate"), glue.Concatenate(), (value, shown))
        return value

    def refuse(self, operator: Any) -> str | None:
        if operator.sample_posterior:
            return "sample_posterior=True draws the values at random"
        if operator.keep_empty_features and not hasattr(operator, "_is_empty_feature"):
            return "keep_empty_features=True replaces known entries, too, before scikit-learn 1.6"
        return _no_number(operator)


def _imputed(operator: Any, builder: Builder, raw: str, value: str, path: str) -> str:
    """Add the estimators of all rounds; return the name of the filled table."""
    mark, places = _mark(operator.missing_values), _places(operator)
    imputable = set(_imputable(operator))
    for number, (column, others, estimator) in enumerate(operator.imputation_sequence_):
        place = int(places[column])
        if place not in imputable:
            continue
        name = join(path, str(number))
        picked = builder.add(f"{name}/columns", glue.Columns(np.asarray(others)), (value,))
        prediction = builder.expand(estimator, picked, f"{name}/estimator", "predict")
        limits = float(operator._min_value[column]), float(operator._max_value[column])
        step = glue.ImputedColumn(int(column), place, mark, *limits)
        value = builder.add(f"{name}/imputed", step, (value, raw, prediction))
    return value


def _not_empty(operator: Any) -> NDArray[np.bool_]:
    """Which columns had an entry in fit."""
    empty = getattr(operator, "_is_empty_feature", None)
    if empty is None:  # before scikit-learn 1.6
        empty = np.isnan(operator.initial_imputer_.statistics_)
    return ~np.asarray(empty)


def _places(operator: Any) -> NDArray[np.int64]:
    """The input column of each column of the output."""
    if operator.keep_empty_features:
        return np.arange(operator.n_features_in_)
    return np.flatnonzero(_not_empty(operator))


def _imputable(operator: Any) -> list[int]:
    """The input columns whose missing entries are predicted."""
    return [int(place) for place in np.flatnonzero(_not_empty(operator))]


def _width(operator: Any) -> int:
    return len(operator.get_feature_names_out())


def _with_missing(operator: Any, X: Any) -> Any:
    return validate(operator, X, finite=_finite(operator), dtype=FLOAT_DTYPES)


def _mark(missing_values: Any) -> float:
    """Return the marker of a missing entry; NaN stands for pandas' NA, None and text."""
    if isinstance(missing_values, str):
        return math.nan
    try:
        return float(missing_values)
    except TypeError:
        return math.nan


def _numbers(operator: Any, kept: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the fill values in the source's dtype."""
    kind = getattr(operator, "_fill_dtype", operator._fit_dtype)
    numbers: NDArray[Any] = operator.statistics_[kept].astype(kind)
    return numbers


def _kept(operator: Any) -> NDArray[np.bool_]:
    """Return a mask of the output columns, which are those with a fill value."""
    if operator.keep_empty_features:
        return np.ones(len(operator.statistics_), dtype=bool)
    return ~np.isnan(operator.statistics_.astype(np.float64))
