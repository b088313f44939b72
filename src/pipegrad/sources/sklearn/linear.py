"""Linear regressors, and code shared by all linear predictors."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.linear_model import ARDRegression
from torch import nn

from ...modules import Head, Linear, RegressionHead
from ...registry import Example, Objective, register
from ..arrays import to_array, to_tensor
from ._base import SklearnTranslation, as_float

PATH = "the path of the source's fit"
SEARCH = "the result of the source's search"
POSTERIOR = "the posterior of the source's fit: predicted standard deviations do not change"
OPTIMUM = "records how far the source's solver converged"
TRAINING_ROWS = "describes the source's training rows"


class LinearPredictor(SklearnTranslation):
    """coef_ and intercept_ become weight and bias."""

    sparse = True
    kept: ClassVar[tuple[str, ...]] = ("nonnegative",)

    def to_torch(self, operator: Any) -> nn.Module:
        coef = dense_coef(operator)
        # Coefficients that were set by hand may still be negative.
        nonnegative = getattr(operator, "positive", False) and bool((coef >= 0).all())
        module = Linear(
            to_tensor(np.atleast_2d(coef).T),
            to_tensor(np.atleast_1d(operator.intercept_)) if has_bias(operator) else None,
            squeeze=self.squeeze(operator),
            nonnegative=nonnegative,
        )
        if module.bias is not None and not operator.fit_intercept:
            module.bias.requires_grad_(False)
        return module

    def keeps_zeros(self, operator: Any) -> bool:
        return has_l1_penalty(operator)

    def squeeze(self, operator: Any) -> bool:
        """Return whether the score has the shape (n,)."""
        return np.ndim(dense_coef(operator)) == 1

    def write_back(self, module: Linear, operator: Any) -> None:
        coef = to_array(module.effective_weight().T, dense_coef(operator))
        if sparse.issparse(operator.coef_):
            coef = _like_csr(coef, operator.coef_)
        operator.coef_ = coef
        if module.bias is not None:
            intercept = to_array(module.bias, operator.intercept_)
            operator.intercept_ = intercept[()] if intercept.ndim == 0 else intercept


def dense_coef(operator: Any) -> NDArray[Any]:
    """Return ``coef_`` as an array, also after ``sparsify``."""
    coef = operator.coef_
    return coef.toarray() if sparse.issparse(coef) else np.asarray(coef)


def _like_csr(coef: NDArray[Any], like: Any) -> Any:
    # Some versions leave a one-dimensional csr_matrix, which cannot be constructed directly.
    filled, out = sparse.csr_matrix(np.atleast_2d(coef)), copy.copy(like)
    out.data, out.indices, out.indptr = filled.data, filled.indices, filled.indptr
    return out


def has_l1_penalty(operator: Any) -> bool:
    """Return whether a part of the penalty is the sum of the absolute coefficients."""
    share = getattr(operator, "l1_ratio_", getattr(operator, "l1_ratio", None))
    penalty = getattr(operator, "penalty", "deprecated")
    if penalty == "deprecated":  # From 1.8 on, l1_ratio alone decides.
        return share is not None and bool(np.any(np.asarray(share, dtype=float) > 0))
    return penalty in ("l1", "elasticnet")


def has_bias(operator: Any) -> bool:
    """Return whether the intercept is fitted or nonzero."""
    return bool(operator.fit_intercept or np.any(operator.intercept_))


def no_intercept(data: str | None = None, **params: Any) -> Example:
    """Return an example without intercept; its intercept stays zero."""
    return Example(
        {**params, "fit_intercept": False}, data=data, unchanged_attributes=("intercept_",)
    )


class LinearRegressor(LinearPredictor):
    """The score is the predicted mean."""

    data = "regression"

    def head(self, operator: Any) -> Head:
        return RegressionHead()

    def objective(self, operator: Any) -> Objective:
        return Objective("squared_error")


@register("sklearn.linear_model.LinearRegression")
class LinearRegression(LinearRegressor):
    """Ordinary least squares."""

    examples = (
        {},
        no_intercept(),
        {"positive": True},
        Example({}, data="multioutput"),
        no_intercept("multioutput"),
        Example({"positive": True}, data="multioutput"),
        Example({}, data="sparse"),
    )
    unchanged_attributes = {"rank_": TRAINING_ROWS, "singular_": TRAINING_ROWS}


@register("sklearn.linear_model.Ridge")
class Ridge(LinearRegressor):
    """Least squares with an L2 penalty."""

    examples = (
        {},
        no_intercept(),
        {"positive": True},
        {"solver": "saga", "random_state": 0},
        Example({"alpha": 3.0}, data="multioutput"),
        no_intercept("multioutput"),
        Example({}, data="sparse"),
    )
    unchanged_attributes = {"solver_": "records how the source was fitted"}


@register("sklearn.linear_model.RidgeCV")
class RidgeCV(LinearRegressor):
    """Ridge regression with a cross-validated penalty."""

    examples = (
        {},
        no_intercept(),
        {"cv": 3},
        Example({"store_cv_results": True}),
        Example({}, data="multioutput"),
        Example({"alpha_per_target": True}, data="multioutput"),
    )
    unchanged_attributes = {
        "alpha_": SEARCH,
        "best_score_": SEARCH,
        "cv_results_": SEARCH,
        "cv_values_": SEARCH,
    }


class Selecting(LinearRegressor):
    """Least squares with few nonzero coefficients."""

    kept: ClassVar[tuple[str, ...]] = ("zeros", "nonnegative")

    def keeps_zeros(self, operator: Any) -> bool:
        return True


class Coordinatewise(Selecting):
    """Least squares with an L1 penalty; sparse_coef_ is derived from coef_."""

    def encode(self, operator: Any, X: Any) -> Any:
        if not sparse.issparse(X):
            return super().encode(operator, X)
        # These accept sparse input unchecked, even with zero rows or NaN.
        if X.shape[1] != operator.n_features_in_:
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(operator).__name__} is expecting "
                f"{operator.n_features_in_} features as input."
            )
        return as_float(X)


@register("sklearn.linear_model.Lasso", "sklearn.linear_model.ElasticNet")
class Lasso(Coordinatewise):
    """Lasso and elastic net with one target."""

    examples = (
        {"alpha": 0.1},
        no_intercept(alpha=0.1),
        {"alpha": 0.1, "positive": True},
        {"alpha": 0.1, "selection": "random", "random_state": 0},
        Example({"alpha": 0.1}, data="multioutput"),
        Example({"alpha": 0.01}, data="sparse"),
    )
    unchanged_attributes = {"dual_gap_": OPTIMUM}


@register("sklearn.linear_model.MultiTaskLasso", "sklearn.linear_model.MultiTaskElasticNet")
class MultiTaskLasso(Coordinatewise):
    """Lasso and elastic net with several targets that share their selected features."""

    examples = ({"alpha": 0.1}, no_intercept(alpha=0.1))
    data = "multioutput"
    unchanged_attributes = {"dual_gap_": OPTIMUM, "eps_": OPTIMUM}


_SEARCH_OF_PENALTY = {
    "alpha_": SEARCH,
    "alphas_": SEARCH,
    "l1_ratio_": SEARCH,
    "mse_path_": SEARCH,
    "dual_gap_": OPTIMUM,
}


@register("sklearn.linear_model.LassoCV", "sklearn.linear_model.ElasticNetCV")
class LassoCV(Selecting):
    """Lasso and elastic net with a cross-validated penalty."""

    examples = (
        {"cv": 3},
        no_intercept(cv=3),
        {"cv": 3, "positive": True},
    )
    unchanged_attributes = _SEARCH_OF_PENALTY


@register("sklearn.linear_model.MultiTaskLassoCV", "sklearn.linear_model.MultiTaskElasticNetCV")
class MultiTaskLassoCV(Selecting):
    """Multi-task lasso and elastic net with a cross-validated penalty."""

    examples = ({"cv": 3}, no_intercept(cv=3))
    data = "multioutput"
    unchanged_attributes = _SEARCH_OF_PENALTY


_PATHS = {"alphas_": PATH, "active_": PATH, "coef_path_": PATH}


@register("sklearn.linear_model.Lars")
class Lars(Selecting):
    """Least-angle regression."""

    examples = (
        {},
        no_intercept(),
        {"n_nonzero_coefs": 3},
        {"fit_path": False},
        {"jitter": 1e-4, "random_state": 0},
        Example({}, data="multioutput"),
        no_intercept("multioutput"),
    )
    unchanged_attributes = _PATHS


@register("sklearn.linear_model.LassoLars")
class LassoLars(Selecting):
    """The lasso, fitted by least-angle regression."""

    examples = (
        {"alpha": 0.01},
        no_intercept(alpha=0.01),
        {"alpha": 0.01, "positive": True},
        {"alpha": 0.01, "fit_path": False},
        Example({"alpha": 0.01}, data="multioutput"),
    )
    unchanged_attributes = _PATHS


@register("sklearn.linear_model.LarsCV", "sklearn.linear_model.LassoLarsCV")
class LarsCV(Selecting):
    """Least-angle regression with a cross-validated path length."""

    examples = ({"cv": 3}, no_intercept(cv=3))
    unchanged_attributes = {**_PATHS, "alpha_": SEARCH, "cv_alphas_": SEARCH, "mse_path_": SEARCH}


@register("sklearn.linear_model.LassoLarsIC")
class LassoLarsIC(Selecting):
    """The lasso by least-angle regression; an information criterion selects the penalty."""

    examples = ({}, {"criterion": "bic"}, no_intercept(), {"positive": True})
    unchanged_attributes = {
        **_PATHS,
        "alpha_": SEARCH,
        "criterion_": SEARCH,
        "noise_variance_": SEARCH,
    }


_CHOSEN = {"n_nonzero_coefs_": "the source's selection of features does not change"}


@register("sklearn.linear_model.OrthogonalMatchingPursuit")
class OrthogonalMatchingPursuit(Selecting):
    """Least squares on a few greedily selected features."""

    examples = (
        {},
        {"n_nonzero_coefs": 3},
        {"tol": 1.0},
        no_intercept(),
        Example({"n_nonzero_coefs": 3}, data="multioutput"),
    )
    unchanged_attributes = _CHOSEN


@register("sklearn.linear_model.OrthogonalMatchingPursuitCV")
class OrthogonalMatchingPursuitCV(Selecting):
    """Orthogonal matching pursuit with a cross-validated number of features."""

    examples = ({"cv": 3}, no_intercept(cv=3))
    unchanged_attributes = _CHOSEN


@register("sklearn.linear_model.BayesianRidge", "sklearn.linear_model.ARDRegression")
class BayesianRidge(LinearRegressor):
    """The posterior mean is trainable; the posterior covariance is fixed."""

    examples = ({}, no_intercept(), {"compute_score": True})
    unchanged_attributes = {
        "alpha_": POSTERIOR,
        "lambda_": POSTERIOR,
        "sigma_": POSTERIOR,
        "scores_": "the log marginal likelihood during the source's fit",
        "X_offset_": TRAINING_ROWS,
        "X_scale_": TRAINING_ROWS,
    }

    def keeps_zeros(self, operator: Any) -> bool:
        # ARD prunes coefficients whose precision exceeds a threshold.
        return isinstance(operator, ARDRegression)


@register("sklearn.svm.LinearSVR")
class LinearSVR(LinearRegressor):
    """A linear support vector machine for regression."""

    examples = (
        {"random_state": 0},
        {"epsilon": 0.2, "random_state": 0},
        {"loss": "squared_epsilon_insensitive", "dual": False},
        {"intercept_scaling": 10.0, "random_state": 0},
        no_intercept(random_state=0),
        Example({"random_state": 0}, data="sparse"),
    )

    def objective(self, operator: Any) -> Objective:
        return Objective(operator.loss, {"epsilon": operator.epsilon})
