"""Shared code of the translations for Spark."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy import sparse
from torch import Tensor

from ....errors import ArgumentError
from ....modules import (
    BernoulliHead,
    Head,
    LikelihoodHead,
    LinkHead,
    MulticlassHead,
    NearestHead,
    ProbabilityHead,
    RegressionHead,
    SparseRows,
)
from ....registry import Objective, Translation, lookup
from ...arrays import to_array, to_block, to_csr, to_tensor
from ..numbers import Numbers


class SparkTranslation(Translation):
    """A translation for Spark: float64 arithmetic, columns (n,) or (n, k)."""

    examples = ()
    missing = True
    sparse = True

    def encode(self, operator: Any, X: Any) -> Any:
        """Convert columns of numbers or vectors to double precision."""
        if sparse.issparse(X):
            return X.tocsr().astype(np.float64)
        values = np.asarray(X)
        if values.dtype == object:
            raise ArgumentError(f"{operator.kind} takes numbers, but a column holds texts.")
        return values.astype(np.float64)

    def write_back(self, module: Any, operator: Any) -> None:
        """Write nothing, as most translations have no learned parameters."""

    def head(self, operator: Any) -> Head | None:
        task = getattr(operator, "task", "")
        return _HEADS[task](operator.options) if task else None

    def objective(self, operator: Any) -> Objective | None:
        task = getattr(operator, "task", "")
        return _objective(task, dict(operator.options)) if task else None


_HEADS: dict[str, Any] = {
    "squared_error": lambda options: RegressionHead(),
    "absolute_error": lambda options: RegressionHead(),
    "huber": lambda options: RegressionHead(),
    "tweedie": lambda options: RegressionHead(options["link"]),
    "log_scale": lambda options: RegressionHead("log"),
    "logistic_shares": lambda options: RegressionHead("logistic"),
    "logistic": lambda options: BernoulliHead("logistic"),
    "logistic_twice": lambda options: LinkHead("logistic", scale=2.0),
    "hinge": lambda options: BernoulliHead(),
    "softmax": lambda options: MulticlassHead("softmax"),
    "shares": lambda options: ProbabilityHead(),
    "likelihood": lambda options: LikelihoodHead(),
    "one_vs_rest": lambda options: MulticlassHead(),
    "inertia": lambda options: NearestHead(),
    "mixture": lambda options: LikelihoodHead("clustering", ("predict", "predict_proba")),
}


def _objective(task: str, options: dict[str, Any]) -> Objective:
    if task == "tweedie":
        return Objective("tweedie", {"power": options["power"], "link": options["link"]})
    if task == "huber":
        return Objective("huber", options)
    named = {
        "log_scale": Objective("gamma"),
        "logistic_shares": Objective("cross_entropy"),
        "logistic_twice": Objective("log_loss", {"scale": 2.0}),
        "shares": Objective("negative_log_likelihood"),
        "one_vs_rest": Objective("one_vs_rest_log_loss"),
        "inertia": Objective("inertia", {"squared": True}),
        "mixture": Objective("mixture_negative_log_likelihood"),
        **dict.fromkeys(("logistic", "softmax", "likelihood"), Objective("log_loss")),
    }
    return named.get(task, Objective(task))


def numbers_of(values: ArrayLike | Numbers) -> Tensor:
    """A float64 tensor that shares no memory with the values."""
    array = values.values if isinstance(values, Numbers) else values
    return to_tensor(np.asarray(array, dtype=np.float64))


def write_numbers(numbers: Numbers | None, tensor: Tensor | None) -> None:
    """Write learned parameters back to where they came from, if anywhere."""
    if numbers is not None and tensor is not None:
        numbers.put(to_array(tensor))


def index(values: ArrayLike) -> Tensor:
    """An int64 tensor."""
    return torch.from_numpy(np.array(values, dtype=np.int64))


def evaluate(operator: Any, *values: Any) -> Any:
    """Compute an operator's output on the host with its module."""
    row = lookup(type(operator))
    assert isinstance(row, Translation)
    with torch.no_grad():
        arrays = [row.encode(operator, value) for value in values]
        blocks = [to_block(array, torch.float64, torch.device("cpu")) for array in arrays]
        out = row.to_torch(operator).eval()(*blocks)
    return to_csr(out) if isinstance(out, SparseRows) else out.numpy()
