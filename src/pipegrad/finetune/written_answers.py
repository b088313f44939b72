"""Whether a pipeline that was written back answers as the module that it was written from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from ..module import PipelineModule
from ..typing import Estimator, Features

# That many rows, evenly spaced, are compared.
_ROWS = 500
# Largest mean difference in units of the mean absolute answer: far above rounding, also of float32,
# and far below any gain that matters.
_TOLERANCE = 1e-3
UNLIKE = (
    "written back, it did not answer as the trained module; this is a defect of a translation, "
    "please report it with the repr of the pipeline"
)
_METHODS = ("predict_proba", "decision_function", "predict", "score_samples")


def answers_alike(net: PipelineModule, written: Estimator, X: Features) -> bool:
    """Compare the answers of a trained module and of the pipeline written back from it.

    Parameters
    ----------
    net : PipelineModule
        The trained module.
    written : estimator
        The result of `pipegrad.from_torch`.
    X : array and the like
        Training rows, (n, d).

    Returns
    -------
    bool
        Whether the answers are equal up to rounding.
    """
    method = next((m for m in _METHODS if hasattr(written, m) and hasattr(net, m)), None)
    if method is None:
        return True
    count = _num_samples(X)
    rows = _safe_indexing(X, np.linspace(0, count - 1, min(count, _ROWS)).astype(int))
    found, wanted = (_columns(getattr(model, method)(rows)) for model in (net, written))
    return found.shape == wanted.shape and _difference(found, wanted) <= _TOLERANCE


def _columns(answer: Any) -> NDArray[Any]:
    """Answers for several outputs side by side."""
    parts = answer if isinstance(answer, list) else [answer]
    return np.hstack([np.reshape(part, (len(part), -1)) for part in parts])


def _difference(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    if wanted.dtype.kind not in "fiu":
        return float((found != wanted).mean())
    apart = np.where(found == wanted, 0.0, np.abs(found - wanted))  # infinite answers may be equal
    size = np.abs(wanted[np.isfinite(wanted)])
    return float(apart.mean() / max(size.mean() if size.size else 0.0, np.finfo(float).tiny))
