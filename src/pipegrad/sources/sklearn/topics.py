"""Latent Dirichlet allocation: the shares of topics in documents."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy import sparse
from sklearn.decomposition._online_lda_fast import _dirichlet_expectation_2d
from torch import nn

from ...modules import Inference, TopicShares
from ...registry import Example, register
from ..arrays import to_array, to_tensor
from ._base import SklearnTranslation

_SHORT = {"n_components": 3, "max_iter": 3, "random_state": 0}
_OF_THE_FIT = "records how the source was fitted"
_PRIOR = "an argument"

_SOLVER = "its answer to each row is the end of iterations, whose number depends on the row"


@register("sklearn.decomposition.LatentDirichletAllocation")
class LatentDirichletAllocation(SklearnTranslation):
    """components_ train, above zero; exp_dirichlet_component_ follows them."""

    not_exported = _SOLVER
    sparse = True
    data = "word_counts"
    kept: ClassVar[tuple[str, ...]] = ("components",)
    examples: ClassVar[Any] = (
        _SHORT,
        {**_SHORT, "n_components": 2, "doc_topic_prior": 0.1, "topic_word_prior": 0.9},
        {**_SHORT, "learning_method": "online", "batch_size": 20, "total_samples": 500.0},
        {**_SHORT, "learning_decay": 0.9, "learning_offset": 50.0, "evaluate_every": 1},
        {**_SHORT, "mean_change_tol": 1e-5, "max_doc_update_iter": 50},
        {**_SHORT, "max_doc_update_iter": 3, "n_jobs": 1, "perp_tol": 0.5},
        Example({**_SHORT, "n_components": 10}, data="positive"),
        Example(_SHORT, data="sparse"),
        Example({**_SHORT, "n_components": 5, "mean_change_tol": 1e-6}, data="sparse"),
    )
    unchanged_attributes: ClassVar[Any] = {
        "doc_topic_prior_": _PRIOR,
        "topic_word_prior_": _PRIOR,
        "random_state_": _OF_THE_FIT,
        "n_batch_iter_": _OF_THE_FIT,
        "bound_": _OF_THE_FIT,
    }

    def encode(self, operator: Any, X: Any) -> Any:
        out = super().encode(operator, X)
        values = out.data if sparse.issparse(out) else out
        if (values < 0).any():
            raise ValueError("Negative values in data passed to LatentDirichletAllocation.")
        return out

    def to_torch(self, operator: Any) -> nn.Module:
        inference = Inference(
            float(operator.doc_topic_prior_),
            int(operator.max_doc_update_iter),
            float(operator.mean_change_tol),
        )
        return TopicShares(to_tensor(operator.components_), inference)

    def write_back(self, module: TopicShares, operator: Any) -> None:
        operator.components_ = to_array(module.words(), operator.components_)
        expected = _dirichlet_expectation_2d(operator.components_)
        operator.exp_dirichlet_component_ = np.exp(expected)
