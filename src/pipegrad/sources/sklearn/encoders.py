"""Categorical encoders: the source maps categories to codes, and the modules continue."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils._set_output import _get_output_config
from torch import nn

from ...glue import has_fitted_names
from ...modules import NONE, Bins, Lookup, OneHot, OrdinalEncode, Sequential
from ...registry import Example, register
from ..arrays import to_array, to_tensor
from ._base import SklearnTranslation, validate
from ._host import OnHost, with_options


class _Encoder(SklearnTranslation):
    """Gradients stop at categories, and only the source can read the raw input."""

    data = "categories"
    differentiable = False
    raw_numbers = False

    def trainable(self, operator: Any) -> bool:
        return False

    def write_back(self, module: Any, operator: Any) -> None:
        pass


@register("sklearn.preprocessing.OneHotEncoder")
class OneHotEncoder(_Encoder):
    """One column per category that is not dropped; sparse if the source's output is."""

    examples: ClassVar[Any] = (
        {},
        {"sparse_output": False},
        {"drop": "first"},
        {"drop": "if_binary", "sparse_output": False},
        {"handle_unknown": "ignore", "drop": "first"},
        {"handle_unknown": "infrequent_if_exist", "min_frequency": 15},
        {"max_categories": 3, "sparse_output": False},
        {"max_categories": 2, "drop": "if_binary"},
        {"min_frequency": 0.2, "drop": "first", "handle_unknown": "ignore"},
        {"dtype": np.float32},
        Example({"drop": "first"}, data="categories_missing"),
        Example({"drop": ["red", np.nan, 2.0]}, data="categories_missing"),
        Example({"max_categories": 2}, data="categories_missing"),
        Example({"handle_unknown": "warn"}, since="1.6"),
    )

    def encode(self, operator: Any, X: Any) -> Any:
        codes = _codes_of_strings(operator, X)
        if codes is not None:
            return codes
        sizes = operator._n_features_outs
        rows = with_options(operator, sparse_output=True).transform(X).tocsr()
        return _codes(rows, sizes)

    def transformed(self, operator: Any, X: Any) -> Any:
        if _get_output_config("transform", operator)["dense"] != "default":
            return None
        codes = _codes_of_strings(operator, X)
        return None if codes is None else _one_hot(operator, codes)

    def to_torch(self, operator: Any) -> nn.Module:
        return OneHot(operator._n_features_outs, sparse=operator.sparse_output)


@register("sklearn.preprocessing.OrdinalEncoder")
class OrdinalEncoder(_Encoder):
    """Ordinal codes, identical to the source's."""

    examples: ClassVar[Any] = (
        {},
        {"handle_unknown": "use_encoded_value", "unknown_value": -2},
        {"handle_unknown": "use_encoded_value", "unknown_value": np.nan},
        Example({}, data="categories_missing"),
        Example({"encoded_missing_value": -1}, data="categories_missing"),
        {"max_categories": 3},
        {"min_frequency": 0.2, "dtype": np.int64},
    )
    missing = True

    def encode(self, operator: Any, X: Any) -> Any:
        return np.asarray(with_options(operator).transform(X), dtype=np.float64)

    def to_torch(self, operator: Any) -> nn.Module:
        return OrdinalEncode()


@register("sklearn.preprocessing.TargetEncoder")
class TargetEncoder(_Encoder):
    """encodings_ become trainable parameters, one per category (and class)."""

    examples: ClassVar[Any] = (
        {},
        {"smooth": 3.0},
        {"smooth": 0.0, "target_type": "binary"},
        Example({}, data="categories_missing"),
    )
    unchanged_attributes: ClassVar[Any] = {
        "categories_": "the categories do not change",
        "target_type_": "records the type of the target",
        "target_mean_": "the mean of the target, used only for unknown categories",
    }

    def encode(self, operator: Any, X: Any) -> Any:
        parameters = inspect.signature(operator._transform).parameters
        finite = "ensure_all_finite" if "ensure_all_finite" in parameters else "force_all_finite"
        codes, known = operator._transform(X, handle_unknown="ignore", **{finite: "allow-nan"})
        return np.where(known, codes, NONE).astype(np.float64)

    def trainable(self, operator: Any) -> bool:
        return True

    def to_torch(self, operator: Any) -> nn.Module:
        means = np.atleast_1d(np.asarray(operator.target_mean_, dtype=np.float64))
        features = range(operator.n_features_in_)
        tables = [to_tensor(table) for table in operator.encodings_]
        columns = [feature for feature in features for _ in means]
        return Lookup(tables, columns, to_tensor(np.tile(means, len(features))))

    def write_back(self, module: Lookup, operator: Any) -> None:
        tables = zip(module.tables(), operator.encodings_, strict=True)
        operator.encodings_ = [to_array(table, before) for table, before in tables]


@register("sklearn.preprocessing.LabelBinarizer")
class LabelBinarizer(_Encoder):
    """One column per label, or a single column for two labels."""

    examples = (
        {},
        {"neg_label": -1, "pos_label": 2},
        {"neg_label": -3, "pos_label": 0},
        {"sparse_output": True, "pos_label": 4},
        Example({}, data="indicators"),
        Example({"neg_label": -1, "pos_label": 3}, data="indicators"),
        Example({"sparse_output": True, "pos_label": 2}, data="indicators"),
        Example({"neg_label": -1}, data="two_labels"),
    )
    data = "labels"

    def encode(self, operator: Any, X: Any) -> Any:
        if _is_multilabel(operator):
            out = with_options(operator).transform(X)
            return out.tocsr() if sparse.issparse(out) else out
        plain = with_options(operator, sparse_output=True, neg_label=0, pos_label=1)
        rows = plain.transform(X).tocsr()
        size = _label_columns(operator)
        if rows.shape[1] != size:
            raise ValueError(f"y holds labels other than the two seen in fit: {operator.classes_}")
        return _codes(rows, [size])

    def to_torch(self, operator: Any) -> nn.Module:
        if _is_multilabel(operator):
            return nn.Identity()
        return OneHot(
            [_label_columns(operator)],
            off=float(operator.neg_label),
            on=float(operator.pos_label),
            sparse=operator.sparse_output,
        )


class _Targets(OnHost):
    on_host = "it encodes targets, which have no gradient"


@register("sklearn.preprocessing.LabelEncoder")
class LabelEncoder(_Targets):
    """The index of each label, on the host."""

    examples = ({}, Example({}, data="two_labels"), Example({}, data="numbers"))
    data = "labels"


@register("sklearn.preprocessing.MultiLabelBinarizer")
class MultiLabelBinarizer(_Targets):
    """Zeros and ones for sets of labels, on the host."""

    not_exported = "an exported file takes columns, not sets of labels"
    examples = (
        {},
        {"sparse_output": True},
        {"classes": ["bee", "ant", "cow", "cat"]},
    )
    data = "sets_of_labels"


@register("sklearn.preprocessing.KBinsDiscretizer")
class KBinsDiscretizer(SklearnTranslation):
    """Bins as ordinal codes or one-hot. Nothing is trainable; gradients stop here."""

    examples: ClassVar[Any] = (
        {"strategy": "uniform"},
        {"strategy": "uniform", "encode": "onehot-dense", "n_bins": 3},
        {"strategy": "kmeans", "encode": "ordinal", "n_bins": [2, 3, 4, 5, 6, 7]},
        {"encode": "ordinal", "dtype": np.float32},
    )
    tolerance = 0.0
    differentiable = False

    def encode(self, operator: Any, X: Any) -> Any:
        return validate(operator, X, dtype=operator.dtype or (np.float64, np.float32))

    def trainable(self, operator: Any) -> bool:
        return False

    def to_torch(self, operator: Any) -> nn.Module:
        bins = Bins([to_tensor(edges[1:-1]) for edges in operator.bin_edges_])
        if operator.encode == "ordinal":
            return bins
        sizes = [int(count) for count in operator.n_bins_]
        return Sequential(bins, OneHot(sizes, sparse=operator.encode == "onehot"))

    def write_back(self, module: Any, operator: Any) -> None:
        pass


def _is_multilabel(operator: Any) -> bool:
    return str(operator.y_type_).startswith("multilabel")


def _label_columns(operator: Any) -> int:
    count = len(operator.classes_)
    return 1 if count == 2 else count


# For each encoder, its categories and what `_string_codes` made of them.
_KNOWN: WeakKeyDictionary[Any, tuple[Any, list[dict[str, float]] | None]] = WeakKeyDictionary()


def _codes_of_strings(operator: Any, X: Any) -> NDArray[np.float64] | None:
    """The codes of a table whose entries all are known strings; None if only the source can tell.

    A dictionary finds them in a fraction of the time that the source's checks take.
    """
    if not len(X) or not has_fitted_names(operator, X):
        return None
    known = _KNOWN.get(operator)
    if known is None or known[0] is not operator.categories_:
        known = _KNOWN[operator] = operator.categories_, _string_codes(operator)
    if known[1] is None:
        return None
    columns = []
    for name, codes in zip(X.columns, known[1], strict=True):
        try:
            found = list(map(codes.get, X[name].tolist()))
        except TypeError:  # an entry that cannot be hashed
            return None
        if None in found:
            return None
        columns.append(found)
    return np.array(columns, dtype=np.float64).T


def _string_codes(operator: Any) -> list[dict[str, float]] | None:
    """The code of each category by column; None if not all are strings, or some are infrequent."""
    if operator._infrequent_enabled:
        return None
    dropped = operator.drop_idx_
    found = []
    for number, categories in enumerate(operator.categories_):
        if not all(isinstance(category, str) for category in categories):
            return None
        kept = list(categories)
        gone = None if dropped is None else dropped[number]
        codes = {} if gone is None else {kept.pop(gone): float(NONE)}
        codes.update((category, float(code)) for code, category in enumerate(kept))
        found.append(codes)
    return found


def _one_hot(operator: Any, codes: NDArray[np.float64]) -> Any:
    """What the source returns for known categories with these codes."""
    sizes = np.asarray(operator._n_features_outs)
    known = (codes != NONE).ravel()
    column = (codes + (np.cumsum(sizes) - sizes)).astype(np.int32).ravel()[known]
    starts = np.append(0, (codes != NONE).sum(1).cumsum()).astype(np.int32)
    ones = np.ones(len(column), dtype=operator.dtype)
    rows = sparse.csr_matrix((ones, column, starts), shape=(len(codes), int(sizes.sum())))
    return rows if operator.sparse_output else rows.toarray()


def _codes(rows: Any, sizes: list[int]) -> NDArray[np.float64]:
    """Return the codes of one-hot rows, which have at most one entry per input column."""
    ends = np.cumsum(sizes)
    column = np.searchsorted(ends, rows.indices, side="right")
    row = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    codes = np.full((rows.shape[0], len(sizes)), float(NONE))
    codes[row, column] = rows.indices - (ends - sizes)[column]
    return codes
