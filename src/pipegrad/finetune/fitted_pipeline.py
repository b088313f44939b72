"""Models that are fitted already, such as model files: `FineTuner` starts from their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ..errors import ArgumentError
from ..module import PipelineModule
from ..named import NamedPipeline
from ..training.data import check_trainable
from ..training.samples import Samples
from ..translate import open_source
from ..write_back import written_back
from .fitted_model import FittedModel
from .pipeline import TunablePipeline


@dataclass
class FittedPipeline(TunablePipeline):
    """A model that is fitted already, and how it is translated to a module and written back.

    ``fit`` changes nothing: every split starts from the numbers of the model.
    """

    caution = (
        "The model was fitted before. If it was fitted on these rows, gains may be missed, and "
        "those of trees, whose splits have seen the held-out rows, be overstated."
    )

    @cached_property
    def baseline(self) -> PipelineModule:
        """The module of the model as it is."""
        return self._translate(open_source(self.estimator))

    @cached_property
    def described(self) -> Any:
        return FittedModel(self.baseline)

    def check_last_step(self) -> None:
        net = self.baseline
        check_trainable(net)
        if self.own_loss and net.objective is None:
            raise ArgumentError(
                f"The last step, {net.graph.output!r}, has no objective: it minimizes no loss that "
                "training could lower.\n"
                "Hint: name the loss to train on, loss=lambda score, y: ... (a tensor)."
            )

    def check_metadata(self, weight: Any, metadata: Mapping[str, Any]) -> None:
        if metadata:
            names = ", ".join(metadata)
            raise ArgumentError(
                f"fit takes no {names} for a model that is fitted already.\n"
                "Hint: sample_weight= and groups= are what training uses."
            )

    def samples_of(self, samples: Samples) -> Samples:
        net = self.baseline
        if not isinstance(net, NamedPipeline):
            return samples
        table, y = net.training_table(samples.X, samples.y)
        return net.without_left_out(replace(samples, X=table, y=y))

    def fit(self, samples: Samples) -> PipelineModule:
        return self.baseline

    def translate(self, fitted: PipelineModule) -> PipelineModule:
        return super().translate(fitted.source)

    def write_back(self, net: PipelineModule) -> PipelineModule:
        return self._translate(written_back(net))
