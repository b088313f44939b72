"""Translations of hashes and of topics."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from ....modules import Inference, MinHashes, ProjectionHashes, TopicShares
from ....registry import register
from ...arrays import to_array
from ...named.translations import NamedTranslation, numbers_of
from ..operators import hashes, topics
from ..operators.categories import refuse_rows

_AT = "pipegrad.sources.spark.operators"
# Spark stops after the first change that is at most this large.
_TOLERANCE = float(np.nextafter(1e-3, 1))
# Spark has no limit; changes shrink in each iteration.
_MOST_ITERATIONS = 10_000


@register(f"{_AT}.hashes.BucketsOnLines")
class BucketsOnLines(NamedTranslation):
    """The lines stay fixed; gradients do not pass."""

    differentiable = False

    def to_torch(self, operator: hashes.BucketsOnLines) -> nn.Module:
        return ProjectionHashes(numbers_of(operator.directions), operator.length)


@register(f"{_AT}.hashes.LeastHashes")
class LeastHashes(NamedTranslation):
    """The functions stay fixed; gradients do not pass."""

    differentiable = False

    def to_torch(self, operator: hashes.LeastHashes) -> nn.Module:
        return MinHashes(torch.from_numpy(operator.coefficients.copy()))

    def encode(self, operator: hashes.LeastHashes, X: Any) -> Any:
        found = super().encode(operator, X)
        used = np.asarray((found != 0).sum(1)).reshape(-1)
        refuse_rows(operator.kind, used == 0, "error", "vectors of zeros")
        return found


@register(f"{_AT}.topics.Topics")
class Topics(NamedTranslation):
    """Counts of words in topics train, above zero; the priors of documents stay fixed."""

    not_exported = "its answer to each row is the end of iterations, whose number depends on it"

    def to_torch(self, operator: topics.Topics) -> nn.Module:
        inference = Inference(
            tuple(operator.prior),
            _MOST_ITERATIONS,
            _TOLERANCE,
            tuple(operator.start),
            commons=True,
        )
        return TopicShares(numbers_of(operator.words.values.T), inference)

    def write_back(self, module: TopicShares, operator: topics.Topics) -> None:
        operator.words.put(to_array(module.words()).T)
