"""The translated pipeline: one torch module that answers as its source does."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.metaestimators import available_if
from torch import Tensor, nn

from .errors import ArgumentError
from .glue import Glue
from .graph import Graph, Step, copied, translation
from .host import Encoded, HostPart, cached, in_container
from .modules import Block, Head, Linear, Predictor, Routed, SparseRows, bare
from .registry import Objective
from .sources.arrays import to_block, to_csr

Optim: TypeAlias = Callable[[Any], torch.optim.Optimizer]


def _answers(method: str) -> Callable[[PipelineModule], bool]:
    def check(net: PipelineModule) -> bool:
        return net.head is not None and method in net.head.responses

    return check


def _transforms(net: PipelineModule) -> bool:
    return hasattr(net.source, "transform") and (net.head is None or net._gives_distances)


class PipelineModule(nn.Module):
    """A fitted pipeline as one differentiable module; made by `pipegrad.to_torch`.

    ``net(X)`` is the differentiable forward pass: the raw score of the last predictor ((n,) for
    one target or two classes, (n, k) otherwise), or the columns (n, k) of the last transformer.
    ``predict`` and its kin take what the source takes and return what the source returns.

    Parameters
    ----------
    source : object
        A copy of the fitted pipeline, which stays as it was translated.
    graph : Graph
        Its steps, partitioned.
    steps : mapping of str to Module
        A module for each translated step, by name.
    """

    def __init__(self, source: Any, graph: Graph, steps: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.source = source
        self.graph = graph
        self.history: Any = None
        self.init = "fitted"
        self.steps = nn.ModuleDict({_key(name): module for name, module in steps.items()})
        self._host = HostPart(graph)
        self._plan = [
            (step, _key(step.name), [self._host.doors.get((step.name, i)) for i in step.inputs])
            for step in self._neural()
        ]
        self._needed = self._host.needed
        last = self._module(graph.output)
        self.head: Head | None = None
        if isinstance(last, Predictor) and last.method == "score":
            self.head = last.head
        self._joined = self._before_linear()
        self._joining = False

    # -- the forward pass --------------------------------------------------------------------

    def forward(self, X: Any) -> Any:
        """The differentiable score (or columns) of raw input, `Encoded` rows or tensors.

        Parameters
        ----------
        X : array, DataFrame, sparse matrix, list, Encoded, Tensor or dict of Tensor
            Raw input goes through the host part first. Tensors enter the neural part directly;
            a single one will do where a single block enters.

        Returns
        -------
        Tensor
            Score (n,) or (n, k), or columns (n, k).
        """
        return self._walk(self._blocks(X), check=False)

    def encode(self, X: Any, cache: Any = None) -> Encoded:
        """Run the host part once; give what flows into the neural part.

        Parameters
        ----------
        X : array, DataFrame, sparse matrix or list
            What the source takes.
        cache : str or path, optional
            A folder that keeps the result, to be found again for the same input.

        Returns
        -------
        Encoded
            Tensors of the module's type, on its device.
        """
        arrays = self._host.run(X) if cache is None else cached(self._host, X, cache)
        like = self._like()
        blocks = {name: to_block(a, like.dtype, like.device) for name, a in arrays.items()}
        return Encoded(blocks)

    def _blocks(self, X: Any) -> Mapping[str, Block | Routed]:
        if isinstance(X, Encoded):
            return X.blocks
        if isinstance(X, Tensor | SparseRows):
            doors = sorted(set(self._host.doors.values()))
            if len(doors) != 1:
                raise ArgumentError(
                    f"{len(doors)} blocks enter the neural part; pass a dict with {doors}, or the "
                    "raw input."
                )
            return {doors[0]: X}
        if isinstance(X, dict) and all(isinstance(v, Tensor | SparseRows) for v in X.values()):
            return X
        return self.encode(X).blocks

    def _walk(self, blocks: Mapping[str, Block | Routed], check: bool) -> Any:
        return self._values(blocks, self._needed, check)[self.graph.output]

    def _values(
        self, blocks: Mapping[str, Block | Routed], wanted: set[str], check: bool = False
    ) -> dict[str, Any]:
        """What each of the wanted neural steps gives."""
        joining = self._joining and self.training
        values: dict[str, Any] = {}
        for step, key, doors in self._plan:
            if step.name not in wanted:
                continue
            given = blocks.get(f">{step.name}")
            if given is not None:
                inputs = [given]
            else:
                inputs = [
                    values[name] if door is None else blocks[door]
                    for name, door in zip(step.inputs, doors, strict=True)
                ]
                if check:
                    between = zip(inputs, doors, strict=True)
                    _check_finite(step, [value for value, door in between if door is None])
            offset = blocks.get(f"+{step.name}")
            module = self.steps[key]
            if joining and offset is None and step.name in self._joined:
                values[step.name] = module.deferred(*inputs)  # type: ignore[operator]
                continue
            values[step.name] = module(*inputs)
            if offset is not None:
                values[step.name] = values[step.name] + offset
        return values

    def _before_linear(self) -> set[str]:
        """Linear maps whose columns only linear maps read."""
        linear: set[str] = set()
        others = {self.graph.output}
        for step, key, doors in self._plan:
            read = linear if isinstance(bare(self.steps[key]), Linear) else others
            pairs = zip(step.inputs, doors, strict=True)
            read.update(name for name, door in pairs if door is None)
        maps = {step.name for step, key, _ in self._plan if hasattr(self.steps[key], "deferred")}
        return maps & linear - others

    @contextmanager
    def joining(self) -> Iterator[None]:
        """While in it and in training mode, linear maps in a row are multiplied with each other.

        That is quicker, and rounds in another way.
        """
        before, self._joining = self._joining, True
        try:
            yield
        finally:
            self._joining = before

    def _neural(self) -> list[Step]:
        return [step for step in self.graph if step.name not in self._host.host]

    def _module(self, name: str) -> nn.Module:
        return self.steps[_key(name)]

    def _like(self) -> Tensor:
        """A tensor with the type and the device of the module."""
        for tensor in [*self.parameters(), *self.buffers()]:
            if tensor.is_floating_point():
                return tensor.detach()
        return torch.zeros((), dtype=torch.float64)

    # -- what the source answers -------------------------------------------------------------

    @property
    def classes_(self) -> Any:
        """Labels of the classes, in the user's own kind; a list for several targets."""
        if self.head is not None and self.head.task == "several":
            return list(self.source.classes_)
        if self.head is None or self.head.task != "classification":
            raise AttributeError(f"{type(self.source).__name__} has no classes_")
        return np.asarray(self.source.classes_)

    @property
    def objective(self) -> Objective | None:
        """The loss of the last operator, or None for a transformer."""
        step = self.graph[self.graph.output]
        row = translation(step.operator)
        assert row is not None
        return None if self.head is None else row.objective(step.operator)

    def _score(self, X: Any) -> Tensor:
        was_training = self.training
        self.eval()
        try:
            with torch.no_grad():
                return self._walk(self._blocks(X), check=True)
        finally:
            self.train(was_training)

    @available_if(_answers("predict"))
    def predict(self, X: Any) -> NDArray[Any]:
        """Predictions as the source gives them: means (n,) or (n, k), or labels (n,)."""
        assert self.head is not None
        answer = self.head.predict(self._score(X)).cpu().numpy()
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
    def predict_proba(self, X: Any) -> Any:
        """Class probabilities (n, classes), in the order of ``classes_``; a list if several."""
        assert self.head is not None
        return _arrays(self.head.predict_proba(self._score(X)))

    @available_if(_answers("predict_log_proba"))
    def predict_log_proba(self, X: Any) -> Any:
        """Logarithms of the class probabilities (n, classes)."""
        assert self.head is not None
        return _arrays(self.head.predict_log_proba(self._score(X)))

    @available_if(_answers("decision_function"))
    def decision_function(self, X: Any) -> NDArray[Any]:
        """Decision values: (n,) for two classes, (n, k) otherwise."""
        assert self.head is not None
        return self.head.decision_function(self._score(X)).cpu().numpy()

    @available_if(_transforms)
    def transform(self, X: Any) -> Any:
        """Columns (n, k): dense, CSR or a DataFrame, as the source gives them."""
        out = self._score(X)
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
        """The operator whose ``transform`` gives the last columns, and their container."""
        last = self.graph[self.graph.output]
        if last.method == "transform" and not isinstance(last.operator, Glue):
            return last.operator
        around = [c.operator for c in self.graph.composites if c.value == last.name]
        return next((o for o in around if hasattr(o, "_sklearn_auto_wrap_output_keys")), None)

    # -- targets -------------------------------------------------------------------------------

    def encode_target(self, y: Any) -> Tensor:
        """Targets as the loss takes them.

        Parameters
        ----------
        y : array of shape (n,) or (n, k)
            Targets of the user's own kind.

        Returns
        -------
        Tensor
            Class indices (n,) of int64 for classification; floats otherwise, on the scale on
            which the last operator was trained.

        Raises
        ------
        ArgumentError
            For labels that the source never saw, and for values that are not finite.
        """
        like = self._like()
        if self.head is not None and self.head.task == "classification":
            return torch.as_tensor(_places(y, self.classes_), device=like.device)
        if self.head is not None and self.head.task == "several":
            return torch.as_tensor(self._several_places(y), device=like.device)
        values = np.array(y, dtype=np.float64)
        if self.graph.target is not None:
            values = self._transformed_target(values)
        if not np.isfinite(values).all():
            raise ArgumentError("y contains NaN or infinity.")
        return torch.as_tensor(values, dtype=like.dtype, device=like.device)

    def _several_places(self, y: Any) -> NDArray[np.int64]:
        table, classes = np.asarray(y), self.classes_
        if table.ndim != 2 or table.shape[1] != len(classes):
            raise ArgumentError(f"y has shape {table.shape}; it needs {len(classes)} columns.")
        columns = zip(table.T, classes, strict=True)
        return np.column_stack([_places(column, labels) for column, labels in columns])

    def _transformed_target(self, y: NDArray[Any]) -> NDArray[Any]:
        column = y.reshape(-1, 1) if y.ndim == 1 else y
        out = np.asarray(self.graph.target.transformer_.transform(column), dtype=np.float64)
        return out[:, 0] if out.ndim == 2 and out.shape[1] == 1 else out

    def _decode_target(self, prediction: NDArray[Any]) -> NDArray[Any]:
        if self.graph.target is None:
            return prediction
        from .glue import InverseTarget

        owner = self.graph.target
        return InverseTarget(owner.transformer_, owner._training_dim == 1).run(prediction)

    # -- training --------------------------------------------------------------------------------

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters that training changes, by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def prefix(self, step: str) -> str:
        """How the names of the parameters of a step begin."""
        return f"steps.{_key(step)}."

    def fit(
        self, X: Any, y: Any = None, *, optim: Optim = torch.optim.Adam, **options: Any
    ) -> PipelineModule:
        """Fine-tune everything that is trainable; see `pipegrad.finetune.fit` for the options.

        Parameters
        ----------
        X : array, DataFrame, sparse matrix or list
            What the source takes, n rows.
        y : array of shape (n,) or (n, k), optional
            Targets of the user's own kind.
        optim : callable
            From parameters to an optimizer: ``torch.optim.Adam``, ``torch.optim.LBFGS``,
            ``lambda p: torch.optim.SGD(p, lr=0.1)``.
        **options
            ``loss``, ``epochs``, ``batch_size``, ``validation`` and so on.

        Returns
        -------
        PipelineModule
            Itself.
        """
        from .training.fit import fit

        return fit(self, X, y, optim=optim, **options)

    def partial_fit(
        self, X: Any, y: Any = None, *, optim: Any = torch.optim.Adam, **options: Any
    ) -> PipelineModule:
        """One pass over new rows; see `pipegrad.finetune.partial_fit` for the options.

        Parameters
        ----------
        X : array, DataFrame, sparse matrix or list
            What the source takes, n rows.
        y : array of shape (n,) or (n, k), optional
            Targets of the user's own kind.
        optim : callable or Optimizer
            As in `fit`; or an optimizer over this module's parameters, which keeps its state from
            call to call.
        **options
            ``loss``, ``epochs``, ``batch_size``, ``lr``, ``anchor``, ``sample_weight``, ``seed``.

        Returns
        -------
        PipelineModule
            Itself.
        """
        from .finetune.incremental import partial_fit

        return partial_fit(self, X, y, optim=optim, **options)

    def __deepcopy__(self, memo: dict[int, Any]) -> PipelineModule:
        copied(self.source, memo)
        new = type(self).__new__(type(self))
        memo[id(self)] = new
        new.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return new

    # -- how it looks ----------------------------------------------------------------------------

    def __repr__(self) -> str:
        count = sum(p.numel() for p in self.trainable_parameters().values())
        return f"PipelineModule of {type(self.source).__name__}, {count} parameters\n{self.graph}"

    def _repr_html_(self) -> str:
        return self.graph._repr_html_()


def _key(name: str) -> str:
    # ModuleDict takes neither dots nor the names of its own attributes; "%" alone marks the latter.
    key = name.replace("%", "%25").replace(".", "%2E")
    return f"{key}%" if hasattr(nn.ModuleDict(), key) else key


def _arrays(answer: Tensor | list[Tensor]) -> Any:
    if isinstance(answer, list):
        return [part.cpu().numpy() for part in answer]
    return answer.cpu().numpy()


def _places(y: Any, classes: NDArray[Any]) -> NDArray[np.int64]:
    """The place of each label among the classes."""
    labels = np.asarray(y).ravel()
    place = {label: i for i, label in enumerate(classes.tolist())}
    unseen = sorted({str(v) for v in labels.tolist() if v not in place})
    if unseen:
        raise ArgumentError(
            f"y has labels that the pipeline was not fitted on: {', '.join(unseen[:5])}. "
            f"It knows {', '.join(map(str, list(place)[:10]))}. Fit the pipeline on all labels."
        )
    return np.array([place[label] for label in labels.tolist()], dtype=np.int64)


def _check_finite(step: Step, inputs: list[Any]) -> None:
    """Refuse NaN between steps as the source does; those from outside are checked on entry."""
    row = translation(step.operator)
    if row is None or row.missing:
        return
    for value in inputs:
        numbers = value.values if isinstance(value, SparseRows) else value
        if not torch.isfinite(numbers).all():
            what = "NaN" if torch.isnan(numbers).any() else "infinity"
            raise ValueError(f"Input X of step {step.name!r} ({step.kind}) contains {what}.")
