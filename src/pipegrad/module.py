"""The user-facing module: predictions in the source's format, and training methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.metaestimators import available_if
from torch import Tensor, nn

from .answer_differences import largest_differences
from .errors import ArgumentError
from .glue import Glue
from .graph import INPUT
from .host import Encoded, in_container
from .modules import SparseRows, sent_as_copy
from .network import Optim, PipelineNetwork
from .quantization import quantized
from .registry import translation
from .source_methods import SourceMethods, source_has
from .sources.answer_types import in_types_of_source, is_narrow
from .sources.arrays import to_csr, without_tensors
from .write_back import latest_source


@sent_as_copy
class PipelineModule(SourceMethods, PipelineNetwork):
    """A fitted pipeline as one differentiable module; made by `pipegrad.to_torch`.

    ``net(X)`` is the differentiable forward pass: the raw score of the last predictor ((n,) for
    one target or two classes, (n, k) otherwise), or the columns (n, k) of the last transformer.

    The module has the inference methods of its source and no others; they take and return what
    those of the source do, with the present parameters of the module. ``predict``,
    ``predict_proba``, ``predict_log_proba``, ``decision_function``, ``score_samples``,
    ``mahalanobis`` and ``transform`` run in torch where the translation of the last step has them.
    All others, such as ``inverse_transform``, ``score``, ``apply`` and ``decision_path``, and calls
    with further arguments (``predict(X, return_std=True)``), run in the source's own library, on
    the object that `pipegrad.from_torch` would give; it is kept until parameters change.

    Parameters
    ----------
    source : object
        A copy of the fitted pipeline, which training does not change.
    graph : Graph
        The partitioned graph of its steps.
    steps : mapping of str to Module
        A module for each translated step, by name.
    """

    @available_if(source_has("predict"))
    @in_types_of_source
    def predict(self, X: Any, *arguments: Any, **options: Any) -> Any:
        """Predictions in the source's format: means (n,) or (n, k), or labels (n,).

        Parameters
        ----------
        X : array, DataFrame, sparse matrix or list
            Data in the format of the source, n rows.
        *arguments, **options
            Further arguments of the source's own method, such as ``return_std=True`` or
            ``raw_score=True``; with any of them, the source's library computes the predictions.

        Returns
        -------
        array
            Predictions; other types as the arguments ask for.
        """
        if X is None or arguments or options or not self._answers("predict", X):
            return self._ask("predict", X, *arguments, **options)
        assert self.head is not None
        return self.decoded(without_tensors(self.head.predict(self._raw_score(X))))

    @available_if(source_has("predict_proba"))
    @in_types_of_source
    def predict_proba(self, X: Any, *arguments: Any, **options: Any) -> Any:
        """Class probabilities (n, classes), in the order of ``classes_``; a list if several."""
        if X is None or arguments or options or not self._answers("predict_proba", X):
            return self._ask("predict_proba", X, *arguments, **options)
        assert self.head is not None
        return _arrays(self.head.predict_proba(self._raw_score(X)))

    @available_if(source_has("predict_log_proba"))
    @in_types_of_source
    def predict_log_proba(self, X: Any, *arguments: Any, **options: Any) -> Any:
        """Logarithms of the class probabilities (n, classes); a list if several."""
        if arguments or options or not self._answers("predict_log_proba", X):
            return self._ask("predict_log_proba", X, *arguments, **options)
        assert self.head is not None
        return _arrays(self.head.predict_log_proba(self._raw_score(X)))

    @available_if(source_has("decision_function"))
    @in_types_of_source
    def decision_function(self, X: Any, *arguments: Any, **options: Any) -> Any:
        """Decision values: (n,) for two classes, (n, k) otherwise."""
        if arguments or options or not self._answers("decision_function", X):
            return self._ask("decision_function", X, *arguments, **options)
        assert self.head is not None
        return without_tensors(self.head.decision_function(self._raw_score(X)))

    @available_if(source_has("score_samples"))
    @in_types_of_source
    def score_samples(self, X: Any, *arguments: Any, **options: Any) -> Any:
        """Scores (n,) of the rows, such as log-likelihoods."""
        if arguments or options or not self._answers("score_samples", X):
            return self._ask("score_samples", X, *arguments, **options)
        assert self.head is not None
        return without_tensors(self.head.score_samples(self._raw_score(X)))

    @available_if(source_has("mahalanobis"))
    @in_types_of_source
    def mahalanobis(self, X: Any, *arguments: Any, **options: Any) -> Any:
        """Squared Mahalanobis distances (n,) of the rows."""
        if arguments or options or not self._answers("mahalanobis", X):
            return self._ask("mahalanobis", X, *arguments, **options)
        assert self.head is not None
        return without_tensors(self.head.mahalanobis(self._raw_score(X)))

    @available_if(source_has("transform"))
    @in_types_of_source
    def transform(self, X: Any, *arguments: Any, **options: Any) -> Any:
        """Columns (n, k) in the source's format: dense, CSR or a DataFrame."""
        if arguments or options or not self._answers("transform", X) or self._is_rounded(X):
            return self._ask("transform", X, *arguments, **options)
        out = self._raw_score(X)
        if isinstance(out, SparseRows):
            return to_csr(out)
        return self._in_container(without_tensors(out), X)

    def apply(  # type: ignore[override]  # rows or a function
        self, X: Any = None, *arguments: Any, **options: Any
    ) -> Any:
        """Leaf indices of rows, where the source has them; or torch's own ``apply``.

        Parameters
        ----------
        X : array, DataFrame, sparse matrix or list; or callable
            Rows for the source's own ``apply``. A function is called with each submodule and with
            the module itself, as `torch.nn.Module.apply` does; ``fn=function`` is the same.
        *arguments, **options
            Further arguments of the source's own method.

        Returns
        -------
        array or PipelineModule
            Leaf indices, (n,) for a tree, (n, trees) for several and (n, trees, classes) for
            boosting of several classes; the module itself if a function was given.

        Raises
        ------
        ArgumentError
            When ``X`` is not a function and the source has no ``apply``.
        """
        function = options.get("fn", X)
        if callable(function):
            return nn.Module.apply(self, function)
        if not self._offers("apply"):
            raise ArgumentError(
                f"fn must be a function of a module, got {type(X).__name__}.\nHint: "
                f"{type(self.source).__name__} has no leaves and no method 'apply' of its own."
            )
        return super().apply(X, *arguments, **options)

    @property
    def n_features_in_(self) -> int:
        """Number of columns of the source's input."""
        return self.source.n_features_in_

    @property
    def feature_names_in_(self) -> NDArray[Any]:
        """Names of the columns of the source's input."""
        return self.source.feature_names_in_

    largest_differences: dict[str, float] | None = None
    """Of a quantized copy, how far its answers are from those of the module, by method."""

    # -- internals -----------------------------------------------------------------------------

    def _offers(self, method: str) -> bool:
        return hasattr(self.source, method)

    def _ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        given = [_own_format(value) for value in arguments]
        named = {name: _own_format(value) for name, value in options.items()}
        row = translation(self.source)
        if row is not None and given:
            given[0] = row.native_input(self.source, given[0])
        return getattr(latest_source(self), method)(*given, **named)

    def _answers(self, method: str, X: Any) -> bool:
        """Whether the module itself answers, not the source's own library."""
        return self._runs_in_torch(method) and not self.host_part.depends_on_type(X)

    def _runs_in_torch(self, method: str) -> bool:
        if method == "transform":
            return (self.head is None and not self._returns_objects()) or self._gives_distances
        return self.head is not None and method in self.head.responses

    def _returns_objects(self) -> bool:
        """Whether text or other objects, which a module cannot return, are among the columns."""
        waiting = [self.graph.output]
        while waiting:
            step = self.graph[waiting.pop()]
            row = step.translation
            if row is not None and row.no_numbers(step.operator) is not None:
                return True
            if isinstance(step.operator, Glue):  # Such as a concatenation, it passes objects on.
                waiting += [name for name in step.inputs if name != INPUT]
        return False

    def _is_rounded(self, X: Any) -> bool:
        """Whether the source rounds its parameters to the precision of X, which a module cannot."""
        row = translation(self.source)
        if row is None or not row.rounds_parameters or isinstance(X, Encoded | SparseRows):
            return False
        return is_narrow(X)

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

    def decoded(self, answer: NDArray[Any]) -> NDArray[Any]:
        """Predictions of the head as the source gives them: labels, or numbers in its unit."""
        assert self.head is not None
        if self.head.task == "classification":
            return self.classes_[answer]
        if self.head.task == "several":
            return _labels_of_targets(self.target_classes, answer, self.classes_[0].dtype)
        if self.head.task == "clustering":
            return answer.astype(np.int32)
        return self.decode_target(answer)

    def decode_target(self, prediction: NDArray[Any]) -> NDArray[Any]:
        """Numbers in the user's unit, for predictions on the scale of the last operator."""
        if self.graph.target is None:
            return prediction
        from .glue import InverseTarget

        owner = self.graph.target
        return InverseTarget(owner.transformer_, owner._training_dim == 1).run(prediction)

    # -- training ------------------------------------------------------------------------------

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
        from .streaming.fit import fit

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

    def quantize(self, rows: Any = None) -> PipelineModule:
        """A copy whose linear maps compute with whole numbers of 8 bits, for answers only.

        Weights have a scale for each output, and each row gets one as it comes. Steps without
        linear maps, and the results of all steps, stay in the precision of the module.

        Parameters
        ----------
        rows : array, DataFrame, sparse matrix or list, optional
            Rows in the format of the source, on which ``largest_differences`` compares the answers
            of the copy with those of this module.

        Returns
        -------
        PipelineModule
            The copy; this module does not change. It cannot train, be saved or be written back.

        Raises
        ------
        ArgumentError
            If there is no linear map.

        Examples
        --------
        >>> import pipegrad as pg
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.linear_model import RidgeClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> net = pg.to_torch(RidgeClassifier().fit(X, y))
        >>> small = net.quantize(rows=X)
        >>> small.largest_differences["decision_function"] < 0.05
        True
        """
        new = quantized(self)
        new.largest_differences = None if rows is None else largest_differences(new, self, rows)
        return new

    def save(self, path: Any) -> Path:
        """Save the module for `pipegrad.load`, as a whole or not at all, without pickles.

        Parameters
        ----------
        path : str or path
            A file whose name ends in ``.safetensors``, or a folder, whose name has no suffix. A
            saved module that is there is replaced.

        Returns
        -------
        Path
            The path.

        Raises
        ------
        ArgumentError
            If nothing can be written there, a gradient is estimated by a torch module
            (``through``), or skops cannot store the source. Nothing is written then.
        """
        from .saving import save_module

        return save_module(self, path)

    def __repr__(self) -> str:
        count = sum(p.numel() for p in self.trainable_parameters().values())
        return f"PipelineModule of {type(self.source).__name__}, {count} parameters\n{self.graph}"

    def _repr_html_(self) -> str:
        return self.graph._repr_html_()


def _labels_of_targets(
    classes: list[NDArray[Any]], places: NDArray[Any], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """The labels (n, targets) at these places, as the source gives them."""
    if len(set(map(len, classes))) == 1 and {labels.dtype for labels in classes} == {dtype}:
        return np.stack(classes)[np.arange(len(classes)), places]
    columns = zip(classes, places.T, strict=True)
    return np.column_stack([labels[place].astype(dtype) for labels, place in columns])


def _own_format(value: Any) -> Any:
    """An argument as the source's library takes it: tensors become arrays."""
    if isinstance(value, Encoded | SparseRows):
        raise ArgumentError(
            f"X must be in the format of the source for this method, got {type(value).__name__}."
        )
    return without_tensors(value)


def _arrays(answer: Tensor | list[Tensor]) -> Any:
    if isinstance(answer, list):
        return [without_tensors(part) for part in answer]
    return without_tensors(answer)
