"""The differences of two models: of their numbers, and of their predictions on a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..translate import to_torch


def different_numbers(one: Any, other: Any) -> list[dict[str, Any]]:
    """The fitted numbers in which two models differ.

    Returns
    -------
    list of dict
        For each tensor "name", "kind" ("changed", "shape", "only in the first" or "only in the
        second"), and for those that changed "largest", the largest absolute difference, and
        "relative", that difference over the largest absolute value.
    """
    first, second = _numbers(one), _numbers(other)
    found = [_difference(name, first, second) for name in dict.fromkeys([*first, *second])]
    return [entry for entry in found if entry is not None]


def different_predictions(one: Any, other: Any, X: Any) -> dict[str, Any]:
    """How the predictions of two models differ on the same rows."""
    first, second = (np.asarray(model.predict(X)) for model in (one, other))
    differ = first != second
    if first.dtype.kind == "f" or second.dtype.kind == "f":
        gap = np.abs(first.astype(float) - second.astype(float))
        size = float(np.abs(first).max(initial=0.0))
        return {
            "rows": len(first),
            "different": int(differ.reshape(len(first), -1).any(1).sum()),
            "largest": float(gap.max(initial=0.0)),
            "mean": float(gap.mean()) if gap.size else 0.0,
            "size": size,
        }
    return {"rows": len(first), "different": int(differ.reshape(len(first), -1).any(1).sum())}


def _numbers(model: Any) -> dict[str, Any]:
    net = to_torch(model)
    return {name: value.detach().cpu().numpy() for name, value in net.state_dict().items()}


def _difference(
    name: str, first: Mapping[str, Any], second: Mapping[str, Any]
) -> dict[str, Any] | None:
    if name not in first or name not in second:
        return {"name": name, "kind": f"only in the {'first' if name in first else 'second'}"}
    a, b = first[name], second[name]
    if a.shape != b.shape:
        return {"name": name, "kind": "shape", "shapes": [list(a.shape), list(b.shape)]}
    if np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
        return None
    a, b = a.astype(float), b.astype(float)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    gap = np.abs(np.where(same, 0.0, a - b))
    size = float(np.abs(np.nan_to_num(a)).max(initial=0.0))
    largest = float(np.nanmax(gap, initial=0.0))
    relative = largest / size if size else float("inf")
    return {"name": name, "kind": "changed", "largest": largest, "relative": relative}
