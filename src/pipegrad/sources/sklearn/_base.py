"""Code shared by the translations for scikit-learn."""

from __future__ import annotations

import inspect
from collections.abc import Hashable
from typing import Any, ClassVar

import numpy as np
import sklearn
from scipy import sparse
from sklearn.utils.fixes import parse_version

from ...glue import has_fitted_names
from ...registry import Translation
from ..arrays import FLOATS, stores_entries_twice

SKLEARN = parse_version(sklearn.__version__)

# One-versus-rest predicts the last of several classes of the same confidence, later the first.
LAST_OF_EQUALS = parse_version("1.8") > SKLEARN

try:
    from sklearn.utils.validation import validate_data as _validate_data
except ImportError:  # scikit-learn 1.5 has it as a method

    def _validate_data(_estimator: Any, /, X: Any, **kwargs: Any) -> Any:
        return _estimator._validate_data(X, **kwargs)


_FINITE = (
    "ensure_all_finite"
    if "ensure_all_finite" in inspect.signature(sklearn.utils.check_array).parameters
    else "force_all_finite"
)


def validate(
    operator: Any,
    X: Any,
    *,
    sparse: bool = False,
    finite: bool | str = True,
    dtype: Any = "numeric",
) -> Any:
    """Check the input as the operator does (names, width, NaN, sparsity); return dense or CSR."""
    return as_float(checked(operator, X, sparse=sparse, finite=finite, dtype=dtype))


def checked(
    operator: Any,
    X: Any,
    *,
    sparse: bool = False,
    finite: bool | str = True,
    dtype: Any = "numeric",
) -> Any:
    """Run the same checks and keep the dtype of the values."""
    if dtype == "numeric":
        rows = _values_of_table(X) if has_fitted_names(operator, X) else X
        if _passes_checks(operator, rows, finite, named=rows is not X):
            return rows
    options: dict[str, Any] = {_FINITE: finite}
    return _validate_data(
        operator,
        X,
        reset=False,
        accept_sparse=["csr", "csc", "coo"] if sparse else False,
        dtype=dtype,
        **options,
    )


def _values_of_table(X: Any) -> Any:
    """The numbers of a table that has nothing but float64; the table itself otherwise."""
    return X.to_numpy() if all(dtype == np.float64 for dtype in X.dtypes) else X


def _passes_checks(operator: Any, X: Any, finite: bool | str, named: bool) -> bool:
    """Whether the checks would return this very array; False where only they can tell.

    ``named`` tells that the array comes from a table whose names are known to be right.

    They take longer than a linear map of a few rows.
    """
    if type(X) is not np.ndarray or X.ndim != 2 or X.dtype not in FLOATS or not len(X):
        return False
    width = getattr(operator, "n_features_in_", None)
    if width != X.shape[1] or hasattr(operator, "feature_names_in_") != named:
        return False
    if finite is False:
        return True
    # If a sum is finite, then so are all terms.
    with np.errstate(all="ignore"):
        return bool(np.isfinite(X.sum()))


def as_float(X: Any) -> Any:
    """Return dense or CSR values as floating point; integers and booleans become float64."""
    if sparse.issparse(X):
        X = X.tocsr()
    if X.dtype.kind in "mM":
        raise TypeError(
            f"X must hold numbers, got {X.dtype}.\nHint: make numbers of dates and durations "
            "first, such as days: (dates - dates.min()) / np.timedelta64(1, 'D')."
        )
    return X if X.dtype.kind == "f" else X.astype(np.float64)


def reject_entries_stored_twice(operator: Any, X: Any) -> None:
    """Reject CSR rows that store an entry twice, for operators that do not add such entries up."""
    if sparse.issparse(X) and stores_entries_twice(X):
        raise ValueError(
            f"X stores some entries twice, which {type(operator).__name__} does not add up.\n"
            "Hint: call X.sum_duplicates() first."
        )


class SklearnTranslation(Translation):
    """A translation for scikit-learn that checks its input as the operator does.

    Attributes
    ----------
    adds_entries : bool
        Whether the operator, like the module, adds up what it computes for entries that a sparse
        matrix stores twice. Otherwise such a matrix is rejected.
    """

    adds_entries: ClassVar[bool] = True

    def encode(self, operator: Any, X: Any) -> Any:
        """Return numeric values, dense or CSR, after scikit-learn's own checks."""
        finite = "allow-nan" if self.missing else True
        out = validate(operator, X, sparse=self.sparse, finite=finite)
        if not self.adds_entries:
            reject_entries_stored_twice(operator, out)
        return out

    def encoding_key(self, operator: Any) -> Hashable | None:
        return () if type(self).encode is SklearnTranslation.encode else None
