"""Decompositions into a dictionary of atoms or sparse components, of which each row is a sum."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from torch import nn

from ...modules import Coding, RidgeScores, SparseCodes
from ...registry import Example, register
from ..arrays import to_array, to_tensor
from ._base import SKLEARN, SklearnTranslation, parse_version

# Since this version, coordinate descent leaves out atoms that cannot be part of the solution, and
# goes on to a smaller duality gap.
_SCREENS = parse_version("1.8.dev0") <= SKLEARN
_OF_THE_FIT = "records how the source was fitted"

_SOLVER = "its answer to each row is the end of iterations, whose number depends on the row"


class SparseComponents(SklearnTranslation):
    """components_ and mean_ are trainable; entries of the components that are zero stay zero."""

    kept: ClassVar[tuple[str, ...]] = ("zeros",)
    not_kept = "components have unit length"
    examples: ClassVar[Any] = (
        {"n_components": 3, "random_state": 0, "max_iter": 20},
        {"n_components": 2, "alpha": 0.1, "ridge_alpha": 10.0, "random_state": 0, "max_iter": 5},
        {"n_components": 3, "ridge_alpha": 0.0, "method": "cd", "random_state": 0, "max_iter": 5},
        {"n_components": None, "alpha": 5.0, "random_state": 0, "max_iter": 5},
        {"n_components": 8, "random_state": 0, "max_iter": 5},
    )
    unchanged_attributes: ClassVar[Any] = {
        "error_": _OF_THE_FIT,
        "n_components_": "the number of components does not change",
    }

    def to_torch(self, operator: Any) -> nn.Module:
        parts = to_tensor(operator.components_), to_tensor(operator.mean_)
        return RidgeScores(*parts, float(operator.ridge_alpha))

    def write_back(self, module: RidgeScores, operator: Any) -> None:
        operator.components_ = to_array(module.present_components(), operator.components_)
        operator.mean_ = to_array(module.mean, operator.mean_)

    def keeps_zeros(self, operator: Any) -> bool:
        return True


@register("sklearn.decomposition.SparsePCA")
class SparsePCA(SparseComponents):
    """components_ and mean_ train, entries that are zero stay zero; each row's ridge is solved."""


@register("sklearn.decomposition.MiniBatchSparsePCA")
class MiniBatchSparsePCA(SparseComponents):
    """components_ and mean_ train, entries that are zero stay zero; each row's ridge is solved."""


class SparseCoding(SklearnTranslation):
    """The dictionary is trainable; its non-negative entries stay so with ``positive_dict``."""

    not_exported = _SOLVER
    kept: ClassVar[tuple[str, ...]] = ("components",)
    not_kept = "atoms have unit length"

    def atoms(self, operator: Any) -> Any:
        """The dictionary, as numbers."""
        raise NotImplementedError

    def refuse(self, operator: Any) -> str | None:
        algorithm = operator.transform_algorithm
        if operator.positive_code and algorithm in ("omp", "lars"):
            return f"positive_code=True is not possible with transform_algorithm={algorithm!r}"
        count = operator.transform_n_nonzero_coefs
        if algorithm == "omp" and count is not None and count > len(self.atoms(operator)):
            return f"transform_n_nonzero_coefs={count} is more than the number of atoms"
        return None

    def coding(self, operator: Any) -> Coding:
        """How the operator finds codes."""
        atoms, width = self.atoms(operator).shape
        count = operator.transform_n_nonzero_coefs
        penalty = operator.transform_alpha
        if penalty is None:
            penalty = getattr(operator, "alpha", 1.0)
        return Coding(
            operator.transform_algorithm,
            float(penalty),
            int(min(max(width / 10, 1), atoms) if count is None else count),
            int(operator.transform_max_iter),
            bool(operator.positive_code),
            _SCREENS,
            1e-8 if _SCREENS else 1e-4,
        )

    def to_torch(self, operator: Any) -> nn.Module:
        positive = getattr(operator, "positive_dict", False)
        return SparseCodes(
            to_tensor(self.atoms(operator)), self.coding(operator), operator.split_sign, positive
        )


_CODERS = (
    {"transform_algorithm": "omp"},
    {"transform_algorithm": "omp", "transform_n_nonzero_coefs": 3, "split_sign": True},
    {"transform_algorithm": "lars", "transform_n_nonzero_coefs": 2},
    {"transform_algorithm": "lars", "transform_n_nonzero_coefs": 4, "split_sign": True},
    {"transform_algorithm": "lasso_lars", "transform_alpha": 0.5},
    {"transform_algorithm": "lasso_lars", "transform_alpha": 0.3, "positive_code": True},
    {"transform_algorithm": "lasso_lars", "transform_alpha": 0.1, "transform_max_iter": 2},
    {"transform_algorithm": "lasso_cd", "transform_alpha": 0.5, "split_sign": True},
    {"transform_algorithm": "lasso_cd", "transform_alpha": 0.3, "positive_code": True},
    {"transform_algorithm": "lasso_cd", "transform_alpha": 0.1, "transform_max_iter": 20},
    {"transform_algorithm": "threshold", "transform_alpha": 0.2},
    {"transform_algorithm": "threshold", "positive_code": True, "split_sign": True, "n_jobs": 1},
)


def _dictionary() -> Any:
    atoms = np.random.default_rng(0).normal(size=(5, 6))
    return atoms / np.linalg.norm(atoms, axis=1)[:, None]


@register("sklearn.decomposition.SparseCoder")
class SparseCoder(SparseCoding):
    """The dictionary trains; codes are found by the source's algorithm, with exact gradients."""

    kept: ClassVar[tuple[str, ...]] = ()
    always_fitted: ClassVar[bool] = True
    examples: ClassVar[Any] = tuple({"dictionary": _dictionary(), **coder} for coder in _CODERS)
    unchanged_attributes: ClassVar[Any] = {
        "n_components_": "the number of components does not change"
    }

    def atoms(self, operator: Any) -> Any:
        return np.asarray(operator.dictionary)

    def write_back(self, module: SparseCodes, operator: Any) -> None:
        before = np.asarray(operator.dictionary)
        like = before if before.dtype.kind == "f" else before.astype(np.float64)
        operator.dictionary = to_array(module.present_atoms(), like)


class LearnedDictionary(SparseCoding):
    """components_ are trainable."""

    unchanged_attributes: ClassVar[Any] = {
        "error_": _OF_THE_FIT,
        "n_steps_": _OF_THE_FIT,
    }

    def atoms(self, operator: Any) -> Any:
        return operator.components_

    def write_back(self, module: SparseCodes, operator: Any) -> None:
        operator.components_ = to_array(module.present_atoms(), operator.components_)


_SHORT = {"n_components": 5, "max_iter": 5, "random_state": 0}
# Columns of one scale, for which coordinate descent takes few sweeps; more atoms than columns.
_SCALED = (
    Example(
        {**_SHORT, "n_components": None, "transform_algorithm": "lasso_cd"}, data="word_counts"
    ),
    Example(
        {**_SHORT, "n_components": 9, "transform_algorithm": "lasso_lars", "transform_alpha": 0.5},
        data="word_counts",
    ),
)
_LEARNED: tuple[dict[str, Any], ...] = (
    {},
    {"transform_algorithm": "lars", "transform_n_nonzero_coefs": 3, "split_sign": True},
    {"fit_algorithm": "cd", "positive_dict": True, "alpha": 0.5},
    {"transform_algorithm": "lasso_lars", "alpha": 0.3},
    {"transform_algorithm": "lasso_lars", "fit_algorithm": "cd", "positive_code": True},
    {"transform_algorithm": "threshold", "transform_alpha": 0.2},
)


@register("sklearn.decomposition.DictionaryLearning")
class DictionaryLearning(LearnedDictionary):
    """components_ train; codes are found by the source's algorithm, with exact gradients."""

    examples: ClassVar[Any] = (*({**_SHORT, **more} for more in _LEARNED), *_SCALED)


@register("sklearn.decomposition.MiniBatchDictionaryLearning")
class MiniBatchDictionaryLearning(LearnedDictionary):
    """components_ train; codes are found by the source's algorithm, with exact gradients."""

    examples: ClassVar[Any] = (
        *({**_SHORT, **more} for more in _LEARNED),
        {**_SHORT, "batch_size": 20, "shuffle": False},
        *_SCALED,
    )
