"""Predictors that ignore their input."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import _num_samples
from torch import nn

from ...modules import (
    Constant,
    ConstantProbabilities,
    Head,
    MultioutputHead,
    ProbabilityHead,
    RegressionHead,
)
from ...registry import Example, Objective, Translation, register
from ..arrays import to_array, to_tensor


class Dummy(Translation):
    """The input counts rows only, and may be of any kind."""

    differentiable = False
    raw_numbers = False
    unchanged_attributes: ClassVar[Any] = {
        "n_classes_": "the number of classes does not change",
        "n_outputs_": "the number of outputs does not change",
        "sparse_output_": "records how the source was fitted",
    }

    def encode(self, operator: Any, X: Any) -> Any:
        return np.zeros((_num_samples(X), 1))

    def reads_raw_numbers(self, operator: Any) -> bool:
        # The output of a module has rows to count as well.
        return True

    def has_private_encoding(self, operator: Any) -> bool:
        return True


@register("sklearn.dummy.DummyClassifier")
class DummyClassifier(Dummy):
    """class_prior_ is trainable where it is the answer (`strategy="prior"`).

    Predictions of `"most_frequent"` and `"constant"` do not train. Those of `"stratified"` and
    `"uniform"` are drawn at random, by scikit-learn.
    """

    data = "multiclass"
    kept: ClassVar[tuple[str, ...]] = ("probabilities",)
    examples: ClassVar[Any] = (
        {},
        Example({"strategy": "most_frequent"}, data="binary_strings"),
        {"strategy": "constant", "constant": "cat"},
        Example({}, data="several"),
        Example({"strategy": "constant", "constant": [3, 0, 1]}, data="several"),
        {"strategy": "stratified", "random_state": 0},
        {"strategy": "uniform", "random_state": 0},
        Example({"strategy": "stratified", "random_state": 0}, data="several"),
        Example({"strategy": "uniform", "random_state": 0}, data="several"),
    )

    def to_torch(self, operator: Any) -> nn.Module:
        parts = [_answer(operator, k) for k in range(operator.n_outputs_)]
        groups = tuple(map(len, parts))
        module = ConstantProbabilities(to_tensor(np.concatenate(parts)), groups)
        return module.requires_grad_(operator.strategy == "prior")

    def trainable(self, operator: Any) -> bool:
        return operator.strategy == "prior"

    def write_back(self, module: ConstantProbabilities, operator: Any) -> None:
        if operator.strategy != "prior":
            return
        before = _listed(operator, operator.class_prior_)
        after = [to_array(p, b) for p, b in zip(module.parts(), before, strict=True)]
        operator.class_prior_ = after[0] if operator.n_outputs_ == 1 else after

    def head(self, operator: Any) -> Head:
        if operator.n_outputs_ == 1:
            head: Head = ProbabilityHead(log=True)
        else:
            head = MultioutputHead(tuple(int(n) for n in operator.n_classes_))
        labels = _listed(operator, operator.classes_)
        if operator.strategy in ("stratified", "uniform"):
            head.responses = ()
        elif operator.sparse_output_ or any(np.asarray(c).dtype.kind in "USO" for c in labels):
            # It predicts a sparse matrix, or text of the length of what it predicts.
            head.responses = ("predict_proba", "predict_log_proba")
        return head

    def objective(self, operator: Any) -> Objective:
        if operator.n_outputs_ == 1:
            return Objective("negative_log_likelihood")
        counts = tuple(int(n) for n in operator.n_classes_)
        return Objective("negative_log_likelihood", {"counts": counts})


def _listed(operator: Any, values: Any) -> list[Any]:
    return [values] if operator.n_outputs_ == 1 else list(values)


def _answer(operator: Any, k: int) -> NDArray[Any]:
    """Return the probabilities of the classes of one target."""
    prior = np.asarray(_listed(operator, operator.class_prior_)[k], dtype=float)
    if operator.strategy in ("prior", "stratified"):
        return prior
    if operator.strategy == "uniform":
        return np.full(len(prior), 1 / len(prior))
    if operator.strategy == "most_frequent":
        return np.eye(len(prior))[prior.argmax()]
    chosen = _listed(operator, operator.constant)[k]
    return np.asarray(_listed(operator, operator.classes_)[k] == chosen, dtype=float)


@register("sklearn.dummy.DummyRegressor")
class DummyRegressor(Dummy):
    """constant_ is trainable, except where the user set it (`strategy="constant"`)."""

    data = "regression"
    examples: ClassVar[Any] = (
        {},
        {"strategy": "median"},
        {"strategy": "quantile", "quantile": 0.8},
        {"strategy": "constant", "constant": 3},
        Example({}, data="multioutput"),
        Example({"strategy": "constant", "constant": [1.0, 2.0, 3.0]}, data="multioutput"),
    )

    def to_torch(self, operator: Any) -> nn.Module:
        module = Constant(to_tensor(operator.constant_[0]), squeeze=operator.n_outputs_ == 1)
        return module.requires_grad_(self.trainable(operator))

    def trainable(self, operator: Any) -> bool:
        return operator.strategy != "constant"

    def write_back(self, module: Constant, operator: Any) -> None:
        operator.constant_ = to_array(module.values, operator.constant_)

    def head(self, operator: Any) -> Head:
        return RegressionHead()

    def objective(self, operator: Any) -> Objective:
        if operator.strategy == "median":
            return Objective("absolute_error")
        if operator.strategy == "quantile":
            return Objective("pinball", {"quantile": operator.quantile})
        return Objective("squared_error")

    def quantiles(self, operator: Any) -> tuple[float, ...] | None:
        if operator.strategy != "quantile":
            return None
        return (float(operator.quantile),) * operator.n_outputs_
