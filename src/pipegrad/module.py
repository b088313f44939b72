"""The user-facing module: predictions in the source's format, and training methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.metaestimators import available_if
from torch import Tensor

from .glue import Glue
from .host import in_container
from .modules import SparseRows
from .network import Optim, PipelineNetwork
from .sources.answer_types import in_types_of_source
from .sources.arrays import to_csr


def _answers(method: str) -> Callable[[PipelineModule], bool]:
    def check(net: PipelineModule) -> bool:
        return net.head is not None and method in net.head.responses

    return check


def _transforms(net: PipelineModule) -> bool:
    return hasattr(net.source, "transform") and (net.head is None or net._gives_distances)


class PipelineModule(PipelineNetwork):
    """A fitted pipeline as one differentiable module; made by `pipegrad.to_torch`.

    ``net(X)`` is the differentiable forward pass: the raw score of the last predictor ((n,) for
    one target or two classes, (n, k) otherwise), or the columns (n, k) of the last transformer.
    ``predict`` and the other prediction methods take and return what those of the source do.

    Parameters
    ----------
    source : object
        A copy of the fitted pipeline, which training does not change.
    graph : Graph
        The partitioned graph of its steps.
    steps : mapping of str to Module
        A module for each translated step, by name.
    """

    @available_if(_answers("predict"))
    @in_types_of_source
    def predict(self, X: Any) -> NDArray[Any]:
        """Predictions in the source's format: means (n,) or (n, k), or labels (n,)."""
        assert self.head is not None
        answer = self.head.predict(self.raw_score(X)).cpu().numpy()
        if self.head.task == "classification":
            return self.classes_[answer]
        if self.head.task == "several":
            columns = zip(self.classes_, answer.T, strict=True)
            first = self.classes_[0].dtype
            return np.column_stack([labels[place].astype(first) for labels, place in columns])
        if self.head.task == "clustering":
            return answer.astype(np.int32)
        return self._decode_target(answer)

    @available_if(_answers("predict_proba"))
    @in_types_of_source
    def predict_proba(self, X: Any) -> Any:
        """Class probabilities (n, classes), in the order of ``classes_``; a list if several."""
        assert self.head is not None
        return _arrays(self.head.predict_proba(self.raw_score(X)))

    @available_if(_answers("predict_log_proba"))
    @in_types_of_source
    def predict_log_proba(self, X: Any) -> Any:
        """Logarithms of the class probabilities (n, classes)."""
        assert self.head is not None
        return _arrays(self.head.predict_log_proba(self.raw_score(X)))

    @available_if(_answers("decision_function"))
    @in_types_of_source
    def decision_function(self, X: Any) -> NDArray[Any]:
        """Decision values: (n,) for two classes, (n, k) otherwise."""
        assert self.head is not None
        return self.head.decision_function(self.raw_score(X)).cpu().numpy()

    @available_if(_transforms)
    @in_types_of_source
    def transform(self, X: Any) -> Any:
        """Columns (n, k) in the source's format: dense, CSR or a DataFrame."""
        out = self.raw_score(X)
        if isinstance(out, SparseRows):
            return to_csr(out)
        return self._in_container(out.cpu().numpy(), X)

    @property
    def _gives_distances(self) -> bool:
        return self.head is not None and self.head.task == "clustering"

    def _in_container(self, columns: NDArray[Any], X: Any) -> Any:
        operator = self._emitter()
        if operator is None:
            return columns
        has_names = operator is self.source or hasattr(operator, "feature_names_in_")
        return in_container(operator, columns, X if has_names else None)

    def _emitter(self) -> Any:
        """The operator whose ``transform`` returns the last columns and sets their container."""
        last = self.graph[self.graph.output]
        if last.method == "transform" and not isinstance(last.operator, Glue):
            return last.operator
        around = [c.operator for c in self.graph.composites if c.value == last.name]
        return next((o for o in around if hasattr(o, "_sklearn_auto_wrap_output_keys")), None)

    def _decode_target(self, prediction: NDArray[Any]) -> NDArray[Any]:
        if self.graph.target is None:
            return prediction
        from .glue import InverseTarget

        owner = self.graph.target
        return InverseTarget(owner.transformer_, owner._training_dim == 1).run(prediction)

    def fit(
        self, X: Any, y: Any = None, *, optim: Optim = torch.optim.Adam, **options: Any
    ) -> PipelineModule:
        """Fine-tune all trainable steps; see `pipegrad.finetune.fit` for the options.

        Parameters
        ----------
        X : array, DataFrame, sparse matrix or list
            Training data in the format of the source, n rows.
        y : array of shape (n,) or (n, k), optional
            Targets, with the labels of the source.
        optim : callable
            Makes an optimizer from parameters: ``torch.optim.Adam``, ``torch.optim.LBFGS``,
            ``lambda p: torch.optim.SGD(p, lr=0.1)``.
        **options
            Options such as ``loss``, ``epochs``, ``batch_size`` and ``validation``.

        Returns
        -------
        PipelineModule
            The module itself.
        """
        from .training.fit import fit

        return fit(self, X, y, optim=optim, **options)

    def partial_fit(
        self, X: Any, y: Any = None, *, optim: Any = torch.optim.Adam, **options: Any
    ) -> PipelineModule:
        """Train on a batch of new rows; see `pipegrad.finetune.partial_fit` for the options.

        Parameters
        ----------
        X : array, DataFrame, sparse matrix or list
            Training data in the format of the source, n rows.
        y : array of shape (n,) or (n, k), optional
            Targets, with the labels of the source.
        optim : callable or Optimizer
            As in `fit`; or an optimizer over the parameters of this module, whose state persists
            between calls.
        **options
            ``loss``, ``epochs``, ``batch_size``, ``lr``, ``anchor``, ``sample_weight``, ``seed``.

        Returns
        -------
        PipelineModule
            The module itself.
        """
        from .online.partial_fit import partial_fit

        return partial_fit(self, X, y, optim=optim, **options)

    def __repr__(self) -> str:
        count = sum(p.numel() for p in self.trainable_parameters().values())
        return f"PipelineModule of {type(self.source).__name__}, {count} parameters\n{self.graph}"

    def _repr_html_(self) -> str:
        return self.graph._repr_html_()


def _arrays(answer: Tensor | list[Tensor]) -> Any:
    if isinstance(answer, list):
        return [part.cpu().numpy() for part in answer]
    return answer.cpu().numpy()
