"""Non-negative matrix factorization: each row's weights minimize a divergence."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import torch
from scipy import sparse
from torch import nn

from ...modules import Factorization, NonNegativeWeights
from ...registry import Example, register
from ..arrays import to_array, to_tensor
from ._base import SklearnTranslation

_OF_THE_FIT = "records how the source was fitted"

_SOLVER = "its answer to each row is the end of iterations, whose number depends on the row"


class NonNegativeFactorization(SklearnTranslation):
    """components_ are trainable and stay at least zero.

    Answers equal the source's for the same rows passed at once: the iterations of all rows end
    together, in the source and in the module.
    """

    not_exported = _SOLVER
    sparse = True
    adds_entries = False
    kept: ClassVar[tuple[str, ...]] = ("components",)
    refused_inputs: ClassVar[Any] = {
        "csr with entries stored twice": "divergences treat entries one by one"
    }
    unchanged_attributes: ClassVar[Any] = {
        "n_components_": "the number of components does not change",
        "reconstruction_err_": _OF_THE_FIT,
        "n_steps_": _OF_THE_FIT,
    }
    rule: ClassVar[str] = "loss"

    def encode(self, operator: Any, X: Any) -> Any:
        out = super().encode(operator, X)
        if sparse.issparse(X) and X.format == "csc" and operator._beta_loss != 2:
            raise TypeError(
                f"{type(operator).__name__} mixes up the values of a csc matrix for beta_loss="
                f"{operator.beta_loss!r}.\nHint: pass X.tocsr()."
            )
        values = out.data if sparse.issparse(out) else out
        if (values < 0).any():
            raise ValueError(f"Negative values in data passed to {type(operator).__name__}.")
        return out

    def limit(self, operator: Any) -> int:
        """The largest number of iterations of a transformation."""
        return int(operator.max_iter)

    def factorization(self, operator: Any) -> Factorization:
        """The loss of the weights, and the rule by which its minimization ends."""
        share = operator.n_features_in_ * operator.alpha_W
        return Factorization(
            float(operator._beta_loss),
            float(share * operator.l1_ratio),
            float(share * (1.0 - operator.l1_ratio)),
            self.limit(operator),
            float(operator.tol),
            self.rule,
        )

    def to_torch(self, operator: Any) -> nn.Module:
        return NonNegativeWeights(to_tensor(operator.components_), self.factorization(operator))

    def write_back(self, module: NonNegativeWeights, operator: Any) -> None:
        operator.components_ = to_array(module.components(), operator.components_)


_MU = {"n_components": 3, "solver": "mu", "max_iter": 300, "random_state": 0}


@register("sklearn.decomposition.NMF")
class NMF(NonNegativeFactorization):
    """components_ train, at least zero; weights by the source's iterations, exact gradients."""

    data = "positive"
    examples: ClassVar[Any] = (
        {"n_components": 3, "max_iter": 500},
        {"n_components": 2, "init": "random", "random_state": 0, "tol": 1e-2},
        {"n_components": None, "alpha_W": 0.1, "l1_ratio": 0.5, "max_iter": 30},
        {"n_components": 3, "alpha_W": 0.05, "alpha_H": 0.0, "l1_ratio": 1.0, "init": "nndsvd"},
        {"n_components": 3, "shuffle": True, "random_state": 3, "max_iter": 100},
        _MU,
        {**_MU, "beta_loss": "kullback-leibler", "alpha_W": 0.01, "l1_ratio": 0.3},
        {**_MU, "beta_loss": "itakura-saito", "tol": 1e-3},
        {**_MU, "beta_loss": 0.5},
        {**_MU, "beta_loss": 1.5, "tol": 0.0, "max_iter": 40},
        {**_MU, "beta_loss": 3, "alpha_W": 0.01},
        Example({"n_components": "auto", "max_iter": 500}, data="positive", since="1.6"),
        Example({"n_components": 4, "max_iter": 500}, data="sparse"),
        Example({**_MU, "beta_loss": "frobenius"}, data="sparse"),
        Example({**_MU, "beta_loss": "kullback-leibler"}, data="sparse", refused_inputs=("csc",)),
        Example({**_MU, "beta_loss": 1.3}, data="sparse", refused_inputs=("csc",)),
        Example(
            {"n_components": 2, "init": "custom", "max_iter": 300},
            data="positive",
            fit={"W": np.linspace(0.1, 1, 160).reshape(80, 2), "H": np.ones((2, 6))},
        ),
    )

    def refuse(self, operator: Any) -> str | None:
        if not _shuffles(operator) or isinstance(operator.random_state, Integral):
            return None
        return "shuffle=True without a number as random_state changes from call to call"

    def encode(self, operator: Any, X: Any) -> Any:
        out = super().encode(operator, X)
        if operator._beta_loss <= 0 and out.shape[0] and out.min() == 0:
            raise ValueError(
                f"X contains zeros, for which beta_loss={operator.beta_loss!r} is not defined.\n"
                "Hint: add small values to X."
            )
        return out

    def factorization(self, operator: Any) -> Factorization:
        found = super().factorization(operator)
        return found if operator.solver == "mu" else _by_descent(found)

    def to_torch(self, operator: Any) -> nn.Module:
        components = to_tensor(operator.components_)
        orders = _orders(operator) if _shuffles(operator) else None
        return NonNegativeWeights(components, self.factorization(operator), orders)


def _by_descent(found: Factorization) -> Factorization:
    return Factorization(
        found.beta, found.absolute, found.squared, found.limit, found.tolerance, "slope"
    )


def _shuffles(operator: Any) -> bool:
    return bool(operator.shuffle) and operator.solver == "cd"


def _orders(operator: Any) -> torch.Tensor:
    """The order of the components in each sweep, as the source draws it in every call."""
    random = np.random.RandomState(operator.random_state)
    count = len(operator.components_)
    drawn = [random.permutation(count) for _ in range(operator.max_iter)]
    return torch.from_numpy(np.stack(drawn).astype(np.int64))


_BATCHES = {"n_components": 3, "batch_size": 20, "random_state": 0, "max_iter": 50}


@register("sklearn.decomposition.MiniBatchNMF")
class MiniBatchNMF(NonNegativeFactorization):
    """components_ train, at least zero; weights by the source's iterations, exact gradients."""

    data = "positive"
    rule = "change"
    examples: ClassVar[Any] = (
        _BATCHES,
        {**_BATCHES, "beta_loss": "kullback-leibler", "alpha_W": 0.01, "l1_ratio": 0.3},
        {**_BATCHES, "beta_loss": "itakura-saito", "transform_max_iter": 20},
        {**_BATCHES, "beta_loss": 0.5, "fresh_restarts": True, "forget_factor": 0.5},
        {**_BATCHES, "beta_loss": 2.5, "alpha_W": 0.01, "alpha_H": 0.0, "init": "nndsvda"},
        {**_BATCHES, "n_components": None, "tol": 0.0, "max_no_improvement": None, "max_iter": 9},
        Example({**_BATCHES, "n_components": 4}, data="sparse"),
        Example(
            {**_BATCHES, "beta_loss": "kullback-leibler"}, data="sparse", refused_inputs=("csc",)
        ),
    )

    def limit(self, operator: Any) -> int:
        return int(operator._transform_max_iter)

    def write_back(self, module: NonNegativeWeights, operator: Any) -> None:
        before = operator.components_
        super().write_back(module, operator)
        if not np.array_equal(before, operator.components_):
            # partial_fit goes on from the quotient of the two, whose power are the components.
            root = operator.components_ ** (1 / operator._gamma)
            operator._components_numerator = root * operator._components_denominator
