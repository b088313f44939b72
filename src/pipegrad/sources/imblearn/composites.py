"""The pipeline of imbalanced-learn, whose samplers act while it is fitted."""

from __future__ import annotations

from typing import Any

from ...registry import register
from ..sklearn.composites import Pipeline


@register("imblearn.pipeline.Pipeline")
class ResamplingPipeline(Pipeline):
    """Steps in sequence; samplers do nothing to rows that are predicted."""

    not_kept = "the share of each class that samplers make: training sees the rows as they are"

    def passes(self, step: Any) -> bool:
        return super().passes(step) or hasattr(step, "fit_resample")

    def before_last(self, operator: Any, X: Any, y: Any) -> tuple[Any, Any]:
        for _, step in operator.steps[:-1]:
            if not self.passes(step):
                X = step.transform(X)
        return X, y
