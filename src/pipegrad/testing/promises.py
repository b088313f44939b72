"""What a fitted operator guarantees, and whether it still does with other parameters.

The names are those of ``Translation.kept``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from ..modules import InitializedBoosting, TreeEnsemble
from ..registry import Translation

_PAIRS = 2000


@dataclass(frozen=True)
class Promise:
    """A guarantee of a fitted operator.

    Parameters
    ----------
    applies : callable
        Whether an operator gives the guarantee: ``applies(row, operator, X)``.
    holds : callable
        Whether the operator ``after`` keeps it: ``holds(row, before, after, X)``.
    """

    applies: Callable[[Translation, Any, Any], bool]
    holds: Callable[[Translation, Any, Any, Any], bool]


def signs(operator: Any) -> dict[int, int]:
    """The monotone constraints of an operator by column; empty if there are none."""
    params = operator.get_params(deep=False) if hasattr(operator, "get_params") else {}
    given = params.get("monotonic_cst", params.get("monotone_constraints"))
    if given is None or isinstance(given, str | dict):
        return {}
    return {column: int(sign) for column, sign in enumerate(given) if sign}


def _monotone(row: Translation, before: Any, after: Any, X: Any) -> bool:
    rng = np.random.default_rng(0)
    low = np.array(X[rng.integers(0, len(X), _PAIRS)], dtype=float)
    high = low.copy()
    for column, sign in signs(before).items():
        high[:, column] += sign * X[:, column].std() * rng.exponential(size=_PAIRS)
    return bool((_score(after, high) >= _score(after, low)).all())


def _score(operator: Any, X: Any) -> NDArray[Any]:
    if hasattr(operator, "predict_proba"):
        return np.asarray(operator.predict_proba(X))[:, 1]
    return np.asarray(operator.predict(X))


def _coefficients(operator: Any) -> NDArray[Any]:
    coef = operator.coef_ if hasattr(operator, "coef_") else operator.components_
    return np.asarray(coef.toarray() if sparse.issparse(coef) else coef)


def _has_zeros(row: Translation, operator: Any, X: Any) -> bool:
    return row.keeps_zeros(operator) and bool((_coefficients(operator) == 0).any())


def _zeros(row: Translation, before: Any, after: Any, X: Any) -> bool:
    return not _coefficients(after)[_coefficients(before) == 0].any()


def _adds_up(row: Translation, operator: Any, X: Any) -> bool:
    """Whether the probabilities of each target are positive and add to one."""
    if not hasattr(operator, "predict_proba"):
        return False
    found = operator.predict_proba(X)
    return all(
        np.ndim(part) == 2
        and bool((part >= 0).all())
        and bool((np.abs(part.sum(1) - 1) < 1e-5).all())
        for part in (found if isinstance(found, list) else [np.asarray(found)])
    )


def _is_probable(row: Translation, operator: Any, X: Any) -> bool:
    # With the identity as the link, a source calls unbounded scores probabilities.
    head = row.head(operator)
    return getattr(head, "link", "") != "identity" and _adds_up(row, operator, X)


def _positive(row: Translation, operator: Any, X: Any) -> bool:
    return bool((np.asarray(operator.predict(X)) > 0).all())


def _logarithmic(row: Translation, operator: Any, X: Any) -> bool:
    return getattr(row.head(operator), "link", "") == "log"


_SPREADS = ("scale_", "explained_variance_")


def _spreads(operator: Any) -> list[NDArray[Any]]:
    found = [getattr(operator, name, None) for name in _SPREADS]
    return [np.asarray(values) for values in found if isinstance(values, np.ndarray)]


def _scales(row: Translation, before: Any, after: Any, X: Any) -> bool:
    return all(
        bool((now[then > 0] > 0).all())
        for then, now in zip(_spreads(before), _spreads(after), strict=True)
    )


def _unused(row: Translation, operator: Any, X: Any) -> list[int]:
    """Columns that no tree tests, if only trees see the columns as they are."""
    if not (row.has_splits and isinstance(X, np.ndarray) and row.reads_raw_numbers(operator)):
        return []
    module = row.to_torch(operator)
    trees = [part for part in module.modules() if isinstance(part, TreeEnsemble)]
    if not trees or isinstance(module, InitializedBoosting):
        return []
    used = {int(column) for part in trees for column in part.feature}
    return sorted(set(range(X.shape[1])) - used)


def _features(row: Translation, before: Any, after: Any, X: Any) -> bool:
    moved, columns = X.copy(), _unused(row, before, X)
    moved[:, columns] = X[::-1][:, columns]
    score = "decision_function" if hasattr(after, "decision_function") else "predict"
    return np.array_equal(getattr(after, score)(moved), getattr(after, score)(X))


def _pattern(row: Translation, before: Any, after: Any, X: Any) -> bool:
    then, now = before.components_ != 0, after.components_ != 0
    return bool((now > then).sum() == 0)


def _has_no_negative_components(row: Translation, operator: Any, X: Any) -> bool:
    options = operator.get_params(deep=False) if hasattr(operator, "get_params") else {}
    # Factorizations of rows that are not negative have one of the last two.
    known = options.get("positive_dict") or {"beta_loss", "doc_topic_prior"} & set(options)
    return bool(known) and hasattr(operator, "components_")


PROMISES: dict[str, Promise] = {
    "monotone": Promise(lambda row, operator, X: bool(signs(operator)), _monotone),
    "features": Promise(
        lambda row, operator, X: hasattr(operator, "predict") and bool(_unused(row, operator, X)),
        _features,
    ),
    "zeros": Promise(_has_zeros, _zeros),
    "nonnegative": Promise(
        lambda row, operator, X: getattr(operator, "positive", False) is True,
        lambda row, before, after, X: bool((_coefficients(after) >= 0).all()),
    ),
    "components": Promise(
        _has_no_negative_components,
        lambda row, before, after, X: bool((after.components_ >= 0).all()),
    ),
    "pattern": Promise(
        lambda row, operator, X: sparse.issparse(getattr(operator, "components_", None)), _pattern
    ),
    "probabilities": Promise(_is_probable, lambda row, before, after, X: _adds_up(row, after, X)),
    "positive": Promise(_logarithmic, lambda row, before, after, X: _positive(row, after, X)),
    "scale": Promise(
        lambda row, operator, X: any((values > 0).any() for values in _spreads(operator)), _scales
    ),
}
"""The guarantees by name."""


def shake(net: Any, seed: int = 0) -> None:
    """Change all trainable parameters by random amounts of their own size, and their signs."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.trainable_parameters().values():
            scale = parameter.square().mean().sqrt()
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.add_(noise * torch.where(scale > 0, scale, torch.ones_like(scale)))
