"""Support vector machines with kernels, of LIBSVM."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from ...modules import (
    Head,
    Kernel,
    OneVsOneHead,
    OutlierHead,
    PlattScaling,
    RegressionHead,
    SparseParameter,
    SupportVectorMachine,
)
from ...registry import Example, Objective, register
from ..arrays import sparse_to_pattern, stores_entries_twice, to_array, to_tensor
from ..target_refusals import one_class
from ._base import SklearnTranslation

_NAMES = {"poly": "polynomial"}
_FITTED = "records how the source was fitted"
_OLD = "1.11"
"""From this version on, there is no ``probability``."""


class LibSVM(SklearnTranslation):
    """support_vectors_, dual_coef_, intercept_ and _gamma train, and all copies of them follow."""

    sparse = True
    adds_entries = False
    refused_inputs: ClassVar[Any] = {
        "csr with entries stored twice": "LIBSVM does not add up such entries"
    }
    unchanged_attributes: ClassVar[Any] = {
        "support_": "which training rows the support vectors were initially",
        "fit_status_": _FITTED,
        "shape_fit_": "the shape of the training rows, which are not stored",
    }

    def refuse(self, operator: Any) -> str | None:
        if callable(operator.kernel):
            name = getattr(operator.kernel, "__name__", operator.kernel)
            return (
                f"kernel={name!r} is Python code that torch cannot differentiate; the kernels that "
                "scikit-learn names have modules"
            )
        return None

    def encode(self, operator: Any, X: Any) -> Any:
        # A copy, since the source sorts the entries of the matrix that it is given.
        out = operator._validate_for_predict(copy.deepcopy(X) if sparse.issparse(X) else X)
        if sparse.issparse(out) and stores_entries_twice(out):
            raise ValueError(
                f"X stores some entries twice, which {type(operator).__name__} does not add up.\n"
                "Hint: call X.sum_duplicates() first."
            )
        return out

    def to_torch(self, operator: Any) -> nn.Module:
        coef = operator.dual_coef_
        return SupportVectorMachine(
            _points(operator),
            to_tensor(coef.toarray() if sparse.issparse(coef) else coef),
            to_tensor(operator.intercept_),
            Kernel(
                _NAMES.get(operator.kernel, operator.kernel),
                gamma=float(operator._gamma),
                coef0=float(operator.coef0),
                degree=float(operator.degree),
            ),
            counts=self.counts(operator),
            term_by_term=bool(getattr(operator, "break_ties", False)),
        )

    def counts(self, operator: Any) -> tuple[int, ...]:
        """Return the number of support vectors of each class; nothing for regression."""
        return ()

    def write_back(self, module: SupportVectorMachine, operator: Any) -> None:
        operator.intercept_ = to_array(module.bias, operator.intercept_)
        operator.dual_coef_ = _with_values(operator.dual_coef_, module.coef)
        if module.gamma is not None:
            operator._gamma = float(to_array(module.gamma()))
        if isinstance(module.points, SparseParameter):
            operator.support_vectors_ = _with_values(
                operator.support_vectors_, module.points.values
            )
        elif module.points is not None:
            operator.support_vectors_ = to_array(module.points, operator.support_vectors_)
        self.write_copies(operator)

    def write_copies(self, operator: Any) -> None:
        """Set what LIBSVM itself is given: the numbers with its own signs."""
        operator._dual_coef_ = operator.dual_coef_
        operator._intercept_ = operator.intercept_.copy()


def _points(operator: Any) -> Tensor | SparseParameter:
    vectors = operator.support_vectors_
    if operator.kernel == "precomputed":
        return torch.from_numpy(operator.support_.astype(np.int64))
    return sparse_to_pattern(vectors) if sparse.issparse(vectors) else to_tensor(vectors)


def _with_values(matrix: Any, values: Tensor) -> Any:
    """The matrix, which may be sparse, with other values in the same places."""
    if not sparse.issparse(matrix):
        return to_array(values, matrix)
    matrix = matrix.copy()
    matrix.data = to_array(values, matrix.data)
    return matrix


class KernelClassifier(LibSVM):
    """One score for each pair of classes; the votes of the pairs decide."""

    data = "multiclass"
    kept: ClassVar[tuple[str, ...]] = ("probabilities",)
    unchanged_attributes: ClassVar[Any] = {
        **LibSVM.unchanged_attributes,
        "class_weight_": "the weights of the classes do not change",
    }

    def refuse(self, operator: Any) -> str | None:
        if operator.break_ties and operator.decision_function_shape == "ovo":
            return "break_ties=True cannot predict with decision_function_shape='ovo'"
        return super().refuse(operator)

    def counts(self, operator: Any) -> tuple[int, ...]:
        return tuple(int(count) for count in operator.n_support_)

    def write_copies(self, operator: Any) -> None:
        super().write_copies(operator)
        if len(operator.classes_) == 2:
            operator._dual_coef_ = -operator.dual_coef_
            operator._intercept_ = -operator.intercept_

    def head(self, operator: Any) -> Head:
        platt = None
        if hasattr(operator, "predict_proba") and operator._probA.size:
            platt = PlattScaling(to_tensor(operator._probA), to_tensor(operator._probB))
        shape, ties = operator.decision_function_shape, bool(operator.break_ties)
        return OneVsOneHead(len(operator.classes_), shape == "ovr", ties, platt)

    def objective(self, operator: Any) -> Objective:
        several = len(operator.classes_) > 2
        return Objective(
            "one_vs_one_hinge" if several else "hinge", class_weight=operator.class_weight
        )

    def refuse_targets(self, operator: Any, y: Any) -> str | None:
        return one_class(y)


_PLATT = {"probability": True, "random_state": 0}
_SIMILARITIES = "similarities_multiclass"


@register("sklearn.svm.SVC")
class SVC(KernelClassifier):
    """A support vector machine with penalty ``C``."""

    examples = (
        {},
        {"kernel": "linear", "C": 0.01, "max_iter": 2000, "decision_function_shape": "ovo"},
        {"kernel": "poly", "degree": 2, "coef0": 1.0, "gamma": "auto", "max_iter": 2000},
        {"kernel": "sigmoid", "gamma": 1e-3, "coef0": 0.5, "break_ties": True},
        Example({"kernel": "precomputed"}, data=_SIMILARITIES),
        Example({**_PLATT, "class_weight": "balanced"}, before=_OLD),
        Example({"class_weight": {"yes": 2.0}, "shrinking": False}, data="binary_strings"),
        Example(_PLATT, data="binary", before=_OLD),
        Example({}, data="sparse_multiclass"),
        Example({"kernel": "linear"}, data="sparse_multiclass"),
    )


@register("sklearn.svm.NuSVC")
class NuSVC(KernelClassifier):
    """A support vector machine whose share of support vectors is ``nu``; its margin is one, too."""

    examples = (
        {"nu": 0.3},
        {"nu": 0.3, "kernel": "poly", "gamma": 1e-2, "coef0": 1.0, "degree": 1},
        {"nu": 0.4, "kernel": "sigmoid", "gamma": 1e-4},
        Example({"nu": 0.3, "kernel": "precomputed"}, data=_SIMILARITIES),
        Example({"nu": 0.3, "kernel": "linear", "max_iter": 2000}, data="binary"),
        Example({"nu": 0.3, **_PLATT}, data="sparse_multiclass", before=_OLD),
    )


class KernelRegressor(LibSVM):
    """One sum; there are no classes."""

    data = "regression"

    def head(self, operator: Any) -> Head:
        return RegressionHead()


@register("sklearn.svm.SVR")
class SVR(KernelRegressor):
    """Support vector regression; errors below ``epsilon`` do not count."""

    examples = (
        {},
        {"kernel": "linear", "epsilon": 0.5, "max_iter": 2000},
        {"kernel": "poly", "coef0": 1.0, "gamma": 1e-2, "max_iter": 2000},
        {"kernel": "sigmoid", "gamma": 1e-4},
        Example({"kernel": "precomputed"}, data="similarities"),
        Example({"gamma": "auto"}, data="sparse"),
    )

    def objective(self, operator: Any) -> Objective:
        return Objective("epsilon_insensitive", {"epsilon": float(operator.epsilon)})


@register("sklearn.svm.NuSVR")
class NuSVR(KernelRegressor):
    """Support vector regression whose tube leaves out a share ``nu`` of the rows."""

    examples = (
        {},
        {"nu": 0.2, "kernel": "linear", "max_iter": 2000},
        {"kernel": "poly", "coef0": 1.0, "gamma": 1e-2, "max_iter": 2000},
        {"kernel": "sigmoid", "gamma": 1e-4},
        Example({"kernel": "precomputed"}, data="similarities"),
        Example({}, data="sparse"),
    )

    def objective(self, operator: Any) -> Objective:
        return Objective("nu_insensitive", {"nu": float(operator.nu)})


@register("sklearn.svm.OneClassSVM")
class OneClassSVM(LibSVM):
    """The score is the decision function. It has no loss of its own for single rows."""

    examples = (
        {"nu": 0.2},
        {"nu": 0.2, "kernel": "linear"},
        {"nu": 0.3, "kernel": "poly", "coef0": 1.0, "gamma": 1e-3},
        {"nu": 0.2, "kernel": "sigmoid", "gamma": 1e-4},
        Example({"nu": 0.2, "kernel": "precomputed"}, data="similarities"),
        Example({"nu": 0.2}, data="sparse"),
    )

    def head(self, operator: Any) -> Head:
        return OutlierHead(inclusive=True)

    def write_copies(self, operator: Any) -> None:
        super().write_copies(operator)
        operator.offset_ = -operator._intercept_
