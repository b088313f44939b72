"""The engine's view of a translated pipeline: forward pass, encoding, targets, parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .array_cache import check_cache
from .calls import has_hooks
from .errors import ArgumentError
from .evaluation import Evaluation, batching_is_possible
from .glue import Glue
from .graph import INPUT, Graph, Step, copy_source
from .half_precision import check_half_precision
from .host import DEEP, Encoded, HostPart, cached
from .modules import (
    AlikeModules,
    Block,
    Head,
    LeafIndices,
    Linear,
    ParameterStack,
    Predictor,
    QuantizedLinear,
    SparseRows,
    TreeEnsemble,
    converted_modules,
    settle_after_fork,
    standard_settings,
    structure,
    tensors_on_cpu,
    unwrap_head,
)
from .registry import Objective, Translation
from .row_parts import evaluated_in_parts
from .schedule import Call, Group, Schedule
from .sources.array_arguments import check_targets_form, dense_targets, number_targets
from .sources.arrays import to_block, without_tensors
from .sources.arrow import (
    columns_of_source,
    numeric_matrix,
    rows_of_source,
    target_arrays,
)

Optim: TypeAlias = Callable[[Any], torch.optim.Optimizer]


Network = TypeVar("Network", bound="PipelineNetwork")


@dataclass(frozen=True)
class TranslationOptions:
    """The options of `to_torch` from which the same module can be made again.

    Parameters
    ----------
    translate, trees : str
        As given.
    train, freeze : tuple of str, optional
        Patterns of steps.
    temperature : float
        Width of soft splits.
    train_zeros : bool
        Whether zeros of a selection train.
    through : dict of str to str, optional
        By patterns of steps, how gradients are estimated; None for a torch module.
    """

    translate: str
    train: tuple[str, ...] | None
    freeze: tuple[str, ...] | None
    trees: str
    temperature: float
    train_zeros: bool
    through: dict[str, str | None] | None

    def arguments(self) -> dict[str, Any]:
        """The options as keyword arguments."""
        return dict(vars(self))


class PipelineNetwork(nn.Module):
    """A partitioned graph with a module for each translated step.

    Training, online learning and the report see a pipeline through this class only. The methods
    that `PipelineModule` does not document are internal to the package.

    Parameters
    ----------
    source : object
        A copy of the fitted pipeline, which training does not change.
    graph : Graph
        The partitioned graph of its steps.
    steps : mapping of str to Module
        A module for each translated step, by name.
    """

    # Also of modules that were pickled before there were any.
    translation_options: TranslationOptions | None = None

    def __init__(self, source: Any, graph: Graph, steps: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.source = source
        self.graph = graph
        self.history: Any = None
        self.init = "fitted"
        self.steps = nn.ModuleDict({_key(name): module for name, module in steps.items()})
        self.host_part = HostPart(graph)
        ports = self.host_part.ports
        self.plan = [
            Call(step, _key(step.name), [ports.get((step.name, i)) for i in step.inputs])
            for step in self.neural_steps()
        ]
        self.host_part.join({c.step.name for c in self.plan if structure(self.steps[c.key])})
        self._needed = self.host_part.needed
        last = self.step_module(graph.output)
        self.head: Head | None = None
        if isinstance(last, Predictor) and last.method == "score":
            self.head = last.head
        self._fusable = self._fusable_maps()
        self._fusing = False
        self._batching = True
        self._schedule: Schedule | None = None
        self.stacks: list[ParameterStack] = []
        self._leaves: list[nn.Parameter] = []

    def forward(self, X: Any) -> Any:
        """The differentiable score (or columns) of raw input, `Encoded` rows or tensors.

        Parameters
        ----------
        X : array, DataFrame, sparse matrix, list, Tensor, Encoded or dict of Tensor
            Raw input goes through the host part first, and so does a tensor, which means the same
            as the array of its numbers. Where modules take these numbers themselves, a floating
            point tensor stays a tensor, and gradients with respect to it are available. `Encoded`
            rows, and a dict of their blocks, enter the neural part directly.

        Returns
        -------
        Tensor
            Raw score (n,) or (n, k), or columns (n, k).

        Raises
        ------
        ArgumentError
            If ``X`` requires a gradient and a step that is no module reads it.
        """
        if torch.compiler.is_compiling():
            return self._forward(X)
        settle_after_fork()
        with tensors_on_cpu():
            return self._forward(X)

    def _forward(self, X: Any) -> Any:
        blocks = self._rows_of_tensor(X) if isinstance(X, Tensor) else None
        blocks = self._blocks(X) if blocks is None else blocks
        return self.evaluate_steps(blocks, self._needed)[self.graph.output]

    @standard_settings
    def encode(self, X: Any, cache: Any = None) -> Encoded:
        """Run the host part once and return the input of the neural part.

        Parameters
        ----------
        X : array, DataFrame, sparse matrix, list or Tensor
            Data in the format of the source; a tensor means the array of its numbers.
        cache : str or path, optional
            Folder that caches the result, as arrays: the same input of the same pipeline is not
            encoded again. It grows by the size of the result for each input; delete it to clear it.

        Returns
        -------
        Encoded
            Input blocks with the dtype and on the device of the module.
        """
        check_cache(cache)
        if cache is None:
            return self.encoded_rows(self.host_arrays(X))
        return self.encoded_rows(cached(self.host_part, self._host_input(X), cache))

    def host_arrays(self, X: Any) -> dict[str, Any]:
        """The output of the host part: dense and CSR arrays by port."""
        return self.host_part.run(self._host_input(X))

    def encoded_rows(self, arrays: Mapping[str, Any], shared: bool = False) -> Encoded:
        """The input of the neural part, of the output of the host part."""
        return Encoded(self._as_blocks(arrays, shared))

    def input_columns(self, names: list[str]) -> list[str]:
        """The columns of a table that the pipeline reads, in its order.

        Parameters
        ----------
        names : list of str
            The columns of the table, without targets and weights.

        Raises
        ------
        ArgumentError
            If columns are missing, or without names are more or fewer than the pipeline takes.
        """
        return columns_of_source(self.source, names)

    def input_of_arrow(self, batch: Any) -> Any:
        """Rows of Arrow as the pipeline takes them: a DataFrame, or an array or list."""
        return rows_of_source(self.source, batch)

    def numbers_of_arrow(self, batch: Any) -> NDArray[np.float64] | None:
        """Finite rows of Arrow as numbers that enter the modules as they are; None for others.

        What `input_of_arrow` and `encode` would make of them is the same, in more time.
        """
        readers = [s for s in self.graph if INPUT in s.inputs and s.name in self._needed]
        if not all(self._reads_numbers(step) for step in readers):
            return None
        width = getattr(readers[0].operator, "n_features_in_", None)
        matrix = numeric_matrix(batch) if width == batch.num_columns else None
        return matrix if matrix is not None and np.isfinite(matrix.sum()) else None

    def kept_of_arrow(self, batch: Any) -> Any:
        """The rows of Arrow that the pipeline does not leave out of its answers."""
        return batch

    def target_column(self, names: list[str]) -> str | None:
        """The column of the targets, where the source keeps its name."""
        return None

    def targets_of_arrow(self, batch: Any, several: bool) -> Any:
        """Targets (n,), or (n, k) if there are several, of a record batch of their columns."""
        return target_arrays(batch, several)

    def _host_input(self, X: Any) -> Any:
        """Rows as the host part takes them."""
        return without_tensors(X)

    def _as_blocks(self, arrays: Mapping[str, Any], shared: bool = False) -> dict[str, Block]:
        like = self.reference_tensor()
        return {n: to_block(a, like.dtype, like.device, shared) for n, a in arrays.items()}

    def _blocks(self, X: Any, shared: bool = False) -> Mapping[str, Block | LeafIndices]:
        """The blocks of rows in any form; with ``shared``, they may have the memory of an array."""
        if isinstance(X, Encoded):
            return X.blocks
        if isinstance(X, SparseRows):
            ports = sorted(set(self.host_part.ports.values()))
            if len(ports) != 1:
                raise ArgumentError(
                    f"{len(ports)} blocks enter the neural part; pass a dict with {ports}, or the "
                    "raw input."
                )
            return {ports[0]: X}
        # A DOK matrix is a dict, too.
        values = list(X.values()) if isinstance(X, dict) else []
        if values and all(isinstance(v, Tensor | SparseRows) for v in values):
            like = self.reference_tensor()
            return {name: block.to(like.dtype).to(like.device) for name, block in X.items()}
        if shared:
            return self._as_blocks(self.host_arrays(X), shared)
        return self.encode(X).blocks

    def _rows_of_tensor(self, X: Tensor) -> Mapping[str, Block | LeafIndices] | None:
        """The blocks of rows that modules take as they are; None for rows to be encoded."""
        readers = [s for s in self.graph if INPUT in s.inputs and s.name in self._needed]
        encoding = [step for step in readers if not self._reads_numbers(step)]
        exact = X.is_floating_point() and X.dtype.itemsize > 2  # Sources compute others alike.
        if encoding or X.layout != torch.strided or not (exact or X.requires_grad):
            if X.requires_grad and torch.is_grad_enabled():
                what = f"step {encoding[0].name!r} is" if encoding else "sparse tensors are"
                raise ArgumentError(
                    f"X must not require a gradient, since {what} not differentiable.\n"
                    "Hint: pass X.detach(), or net.encode(X) as the input of the modules."
                )
            return None
        _check_shape(X, readers[0])
        like = self.reference_tensor()
        if X.is_inference() and torch.is_grad_enabled() and not torch.is_inference_mode_enabled():
            X = X.clone()  # Autograd saves no tensors of inference mode.
        rows = X.to(like.dtype).to(like.device)
        return {port: rows for (_, name), port in self.host_part.ports.items() if name == INPUT}

    def _reads_numbers(self, step: Step) -> bool:
        row = step.translation
        on_host = step.name in self.host_part.host
        return not on_host and row is not None and row.reads_raw_numbers(step.operator)

    def evaluate_steps(
        self,
        blocks: Mapping[str, Block | LeafIndices],
        wanted: set[str],
        check: bool = False,
        evaluating: bool = False,
        views: dict[str, nn.Module] | None = None,
    ) -> dict[str, Any]:
        """The outputs of the wanted neural steps by name.

        ``check`` rejects NaN between steps. ``evaluating`` computes in evaluation mode, without a
        change of the mode of the module; ``views`` keeps its modules for further rows.
        """
        views = {} if evaluating and views is None else views
        fusing = self._fusing and self.training and views is None
        schedule = self._current_schedule()
        joint = self.stacks or (self._batching and batching_is_possible())
        tasks = schedule.tasks if joint else self.plan
        fusable = self._fusable if fusing else None
        return Evaluation(schedule, blocks, fusable, check, views).run(tasks, wanted)

    def _current_schedule(self) -> Schedule:
        known = self._schedule
        if known is None or not (self.stacks or known.valid):
            known = self._schedule = Schedule(self.plan, self.steps, self.host_part.joint)
        return known

    def alike_modules(self) -> list[AlikeModules]:
        """The modules that are computed as one."""
        if not (self._batching and batching_is_possible()) or self._compiled_call_impl is not None:
            return []
        tasks = self._current_schedule().tasks
        return [task.module for task in tasks if isinstance(task, Group)]

    @contextmanager
    def trained_as(self, stacks: list[ParameterStack]) -> Iterator[None]:
        """Context in which gradients reach the stacks of `alike_modules`."""
        modules = self.alike_modules()
        for module in modules:
            module.keep_buffers()
        members = {id(p) for stack in stacks for p in stack.members}
        own = [p for p in self.parameters() if p.requires_grad and id(p) not in members]
        self._leaves = [*own, *(leaf for stack in stacks for leaf in stack.leaves)]
        self.stacks = stacks
        try:
            yield
        finally:
            self.stacks, self._leaves = [], []
            for module in modules:
                module.forget()

    def leaves(self) -> list[nn.Parameter]:
        """The tensors that gradients reach: trainable parameters, or stacks in their place."""
        return self._leaves if self.stacks else [p for p in self.parameters() if p.requires_grad]

    @contextmanager
    def separate_members(self) -> Iterator[None]:
        """Context in which each module is called on its own, to compare with joint calls."""
        before, self._batching = self._batching, False
        try:
            yield
        finally:
            self._batching = before

    def _fusable_maps(self) -> set[str]:
        """Linear maps whose output only linear maps consume."""
        linear: set[str] = set()
        others = {self.graph.output}
        for call in self.plan:
            read = linear if isinstance(unwrap_head(self.steps[call.key]), Linear) else others
            pairs = zip(call.step.inputs, call.ports, strict=True)
            read.update(name for name, port in pairs if port is None)
        maps = {c.step.name for c in self.plan if hasattr(self.steps[c.key], "deferred")}
        return maps & linear - others

    @contextmanager
    def fused_linear_maps(self) -> Iterator[None]:
        """Context in which consecutive linear maps are multiplied first, in training mode.

        This is faster and rounds differently.
        """
        before, self._fusing = self._fusing, True
        try:
            yield
        finally:
            self._fusing = before

    def neural_steps(self) -> list[Step]:
        """The steps that have a module, in topological order."""
        return [step for step in self.graph if step.name not in self.host_part.host]

    def step_module(self, name: str) -> nn.Module:
        """The module of a step."""
        return self.steps[_key(name)]

    @property
    def quantized(self) -> bool:
        """Whether the linear maps compute with 8 bits, so that the module only answers."""
        return any(isinstance(part, QuantizedLinear) for part in self.modules())

    def forget_plans(self) -> None:
        """Plan evaluation again, after modules have been replaced."""
        self._schedule = None
        self._fusable = self._fusable_maps()

    def reference_tensor(self) -> Tensor:
        """A tensor with the dtype and on the device of the module."""
        return _first_number(self)

    @property
    def classes_(self) -> Any:
        """Class labels of the source; a list of them for several targets."""
        if self.head is not None and self.head.task == "several":
            return list(self.source.classes_)
        if self.head is None or self.head.task != "classification":
            return self.source.classes_
        return np.asarray(self.source.classes_)

    @property
    def target_classes(self) -> Any:
        """Class labels by target: in another order than `classes_` for a chain of classifiers."""
        order = None if self.head is None else self.head.order
        return self.classes_ if order is None else [self.classes_[place] for place in order]

    @property
    def objective(self) -> Objective | None:
        """The loss that the last operator minimizes, or None for a transformer."""
        step = self.graph[self.graph.output]
        if self.head is None:
            return None
        return required_translation(step).objective(step.operator)

    @standard_settings
    def raw_score(self, X: Any, check: bool = True) -> Tensor:
        """The raw score (or columns) in evaluation mode, without gradients.

        Nothing of the module changes, so that any number of threads may call it at once, also
        while others call the module itself in training mode.
        """
        return self._raw_score(X, check)

    def _raw_score(self, X: Any, check: bool = True) -> Tensor:
        """The raw score, for callers in torch's usual settings."""
        with torch.no_grad():
            # A copy of the rows would take longer than a linear map of them.
            blocks = self._blocks(X, shared=True)
            views: dict[str, nn.Module] = {}
            evaluate = partial(self._scored, check=check, views=views)
            out = evaluated_in_parts(blocks, evaluate, self._is_watched)
            return _of_its_own(self._scored(blocks, check, views), blocks) if out is None else out

    def _is_watched(self) -> bool:
        """Whether someone watches a module, who then sees all rows at once."""
        watched = any(has_hooks(module) for module in self.steps.values())
        return watched or not batching_is_possible()

    def _scored(
        self,
        blocks: Mapping[str, Block | LeafIndices],
        check: bool,
        views: dict[str, nn.Module] | None = None,
    ) -> Any:
        values = self.evaluate_steps(blocks, self._needed, check, evaluating=True, views=views)
        return values[self.graph.output]

    def ask_source(self, method: str, X: Any) -> Any:
        """The answer of the fitted source, which is not changed.

        Deeply nested composites run step by step, as in the host part.
        """
        last = self.graph[self.graph.output]
        nested = max(self.graph.nesting, default=0) > DEEP
        if not nested or isinstance(last.operator, Glue) or len(last.inputs) != 1:
            return getattr(self.source, method)(X)
        return getattr(last.operator, method)(self.host_part.value(last.inputs[0], {INPUT: X}))

    def encode_target(self, y: Any) -> Tensor:
        """Encode targets for the loss.

        Parameters
        ----------
        y : array of shape (n,) or (n, k), or sparse matrix
            Targets, with the labels of the source.

        Returns
        -------
        Tensor
            Class indices (n,) of int64 for classification; floats otherwise, on the scale on
            which the last operator was fitted.

        Raises
        ------
        ArgumentError
            For labels unknown to the source, and for values that are not finite.
        """
        like, y = self.reference_tensor(), dense_targets(without_tensors(y))
        if self.head is not None and self.head.task == "classification":
            check_targets_form(y, dimensions=1)
            return torch.as_tensor(_places(y, self.classes_), device=like.device)
        if self.head is not None and self.head.task == "several":
            check_targets_form(y)
            return torch.as_tensor(self._several_places(y), device=like.device)
        values = number_targets(y)
        if self.graph.target is not None:
            values = self._transformed_target(np.asarray(y))
        if not np.isfinite(values).all():
            raise ArgumentError("y contains NaN or infinity.")
        largest = torch.finfo(like.dtype).max
        if (np.abs(values) > largest).any():
            raise ArgumentError(
                f"y must be between -{largest:.3g} and {largest:.3g}, the range of {like.dtype}, "
                f"got {values[np.abs(values) > largest][0]:g}."
            )
        if self.head is not None and self.head.task == "multilabel":
            beyond = values[(values < 0) | (values > 1)]
            if beyond.size:
                raise ArgumentError(f"y must be between 0 and 1 for labels, got {beyond[0]:g}.")
        return torch.as_tensor(values, dtype=like.dtype, device=like.device)

    def _several_places(self, y: Any) -> NDArray[np.int64]:
        table, classes = np.asarray(y), self.target_classes
        if table.ndim != 2 or table.shape[1] != len(classes):
            raise ArgumentError(f"y must have {len(classes)} columns, got shape {table.shape}.")
        columns = zip(table.T, classes, strict=True)
        return np.column_stack([_places(column, labels) for column, labels in columns])

    def _transformed_target(self, y: NDArray[Any]) -> NDArray[Any]:
        # Whole numbers keep their type, in which a function of the source may wrap.
        y = y if y.dtype.kind in "fiub" else y.astype(np.float64)
        column = y.reshape(-1, 1) if y.ndim == 1 else y
        out = np.asarray(self.graph.target.transformer_.transform(column), dtype=np.float64)
        return out[:, 0] if out.ndim == 2 and out.shape[1] == 1 else out

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """The trainable parameters by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    @property
    def trains_last(self) -> bool:
        """Whether the last step trains."""
        return self.graph[self.graph.output].status == "trainable"

    def parameter_prefix(self, step: str) -> str:
        """The common prefix of the names of a step's parameters."""
        return f"steps.{_key(step)}."

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PipelineNetwork:
        """Move or cast all tensors, as `torch.nn.Module.to` asks for."""
        modules = {step.name: self.step_module(step.name) for step in self.neural_steps()}
        check_half_precision(modules, self.reference_tensor(), fn)
        super()._apply(fn, recurse)
        return self

    def _lasting_state(self) -> dict[str, Any]:
        return {**self.__dict__, "_schedule": None, "stacks": [], "_leaves": []}

    def __getstate__(self) -> dict[str, Any]:
        # The graph first: a pickle then refers to its composites wherever they are nested, so that
        # its recursion does not grow with their nesting.
        return {"graph": self.graph, **self._lasting_state()}

    def __deepcopy__(self, memo: dict[int, Any]) -> PipelineNetwork:
        copy_source(self.source, memo)
        new = type(self).__new__(type(self))
        memo[id(self)] = new
        new.__dict__.update(copy.deepcopy(self._lasting_state(), memo))
        return new


def _of_its_own(output: Any, blocks: Mapping[str, Any]) -> Any:
    """An output that shares no memory with the blocks, nor with an array that they share."""
    tensors = [block for block in blocks.values() if isinstance(block, Tensor)]
    if not isinstance(output, Tensor) or output.layout != torch.strided:
        return output
    own = output.untyped_storage().data_ptr()
    kept = any(block.untyped_storage().data_ptr() == own for block in tensors)
    return output.clone() if kept else output


def _first_number(module: nn.Module) -> Tensor:
    """The first floating-point tensor of a module; a float64 number if it has none.

    Networks that keep a precision of their own say what they have where there is nothing else.
    """
    # Not from a list of all tensors, nor by torch's own iterators, since every prediction asks.
    parameters = (p for part in converted_modules(module) for p in part._parameters.values())
    buffers = (b for part in converted_modules(module) for b in part._buffers.values())
    for tensor in chain(parameters, buffers, module.parameters(), module.buffers()):
        if tensor is not None and tensor.is_floating_point():
            return tensor.detach()
    return torch.zeros((), dtype=torch.float64)


_EMPTY = nn.ModuleDict()


def _key(name: str) -> str:
    # ModuleDict accepts neither dots nor the names of its own attributes; a trailing "%" marks the
    # latter.
    key = name.replace("%", "%25").replace(".", "%2E")
    return f"{key}%" if hasattr(_EMPTY, key) else key


def _places(y: Any, classes: NDArray[Any]) -> NDArray[np.int64]:
    """The index of each label among the classes."""
    labels = np.asarray(y).ravel()
    if labels.dtype.kind in "biuf" and labels.dtype.kind == classes.dtype.kind:
        found = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
        if np.array_equal(classes[found], labels):
            return found.astype(np.int64, copy=False)
    place = {label: i for i, label in enumerate(classes.tolist())}
    unseen = sorted({str(v) for v in labels.tolist() if v not in place})
    if unseen:
        raise ArgumentError(
            f"y has labels that the pipeline was not fitted on: {', '.join(unseen[:5])}. "
            f"It knows {', '.join(map(str, list(place)[:10]))}. Fit the pipeline on all labels."
        )
    return np.array([place[label] for label in labels.tolist()], dtype=np.int64)


def _check_shape(X: Tensor, step: Step) -> None:
    """Reject rows of another width as the source does."""
    width = getattr(step.operator, "n_features_in_", None)
    if X.ndim != 2:
        raise ValueError(f"Expected 2D array, got {X.ndim}D tensor instead.")
    if width is not None and X.shape[1] != width:
        raise ValueError(
            f"X has {X.shape[1]} features, but {type(step.operator).__name__} is expecting "
            f"{width} features as input."
        )


def required_translation(step: Step) -> Translation:
    """The translation of a step that is known to have one."""
    row = step.translation
    assert row is not None
    return row


def fresh_module(net: PipelineNetwork, step: Step) -> nn.Module:
    """A new module of a step with its fitted parameters, without its head."""
    fresh = required_translation(step).body(step.operator, step.method)
    present = unwrap_head(net.step_module(step.name))
    for new, old in zip(fresh.modules(), present.modules(), strict=True):
        if isinstance(new, TreeEnsemble) and isinstance(old, TreeEnsemble):
            new.soften(old.way, old.temperature)
    return fresh.to(_first_number(present).dtype)
