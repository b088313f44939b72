"""From a fitted source object to a module, and back."""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from .errors import ArgumentError, WriteBackError
from .graph import Graph, Step, copy_source, unfold
from .module import PipelineModule
from .modules import Predictor, SplitMode, SplitRelaxation, unwrap_head
from .named import NamedPipeline
from .network import fresh_module, required_translation
from .partition import Translate, check, partition
from .registry import load_file, lookup, translation
from .source_catalog import file_attribute


def to_torch(
    source: Any,
    *,
    train: Iterable[str] | None = None,
    freeze: Iterable[str] | None = None,
    translate: Translate = "trainable",
    init: Literal["fitted", "random"] = "fitted",
    data: tuple[Any, Any] | None = None,
    dtype: torch.dtype | None = None,
    trees: SplitMode = "leaves",
    temperature: float = 0.005,
) -> PipelineModule:
    """Translate a fitted pipeline into one module with the same predictions.

    Parameters
    ----------
    source : estimator, or path of a model file
        A fitted pipeline, or any fitted operator of the mapping table. It is copied, never changed.
        Or a NimbusML pipeline, or the path of a model that ML.NET, LightGBM, XGBoost or CatBoost
        saved (``"model.zip"``, ``"model.txt"``, ``"model.ubj"``, ``"model.cbm"``, ``".json"``).
    train : list of str, optional
        Patterns of the steps to train (``"pca"``, ``"columntransformer/num/*"``); all others stay
        as they are. Default: everything that holds numbers.
    freeze : list of str, optional
        Patterns of the steps that stay as they are.
    translate : {"trainable", "all"}
        "trainable": trainable steps and what follows them become modules, the rest runs in its own
        library (the paper's rule). "all": everything that the table allows.
    init : {"fitted", "random"}
        "random" keeps the structure and forgets the numbers of the steps that train.
    data : (X, y), optional
        With ``init="random"``: data that give an unfitted pipeline its shapes.
    dtype : torch.dtype, optional
        Type of the parameters; the source's own precision by default.
    trees : {"leaves", "soft", "straight-through"}
        How decision trees train. "leaves": what their leaves give; the splits stay as they are, and
        no gradient reaches what stands before them. "soft": each split becomes a sigmoid, so that
        thresholds train as well, and what stands before the trees. "straight-through": hard
        splits, with the gradients of sigmoids. Whatever is chosen, predictions, validation losses
        and what is written back are those of hard splits; ``net(X)`` in training mode alone is
        soft.
    temperature : float
        Width of those sigmoids, as a share of the spread of each feature. Larger ones train more
        rows at each split, and lose more when the splits are hard again.

    Returns
    -------
    PipelineModule
        An ordinary `torch.nn.Module`.

    Raises
    ------
    UntranslatableError
        Names every step that has no module and needs one.
    sklearn.exceptions.NotFittedError
        When the pipeline is not fitted.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> import pipegrad as pg
    >>> X = np.array([[0.0, 1.0], [1.0, 3.0], [2.0, 2.0]])
    >>> pipe = make_pipeline(StandardScaler(), Ridge()).fit(X, [0.0, 1.0, 2.0])
    >>> net = pg.to_torch(pipe)
    >>> bool(np.allclose(net.predict(X), pipe.predict(X)))
    True
    """
    check_arguments(translate, init, data, trees, temperature)
    fitted = own_copy(open_source(source), data)
    splits = SplitRelaxation(trees, temperature)
    graph = partition(unfold(fitted), translate, train, freeze, splits)
    check(graph)
    made = NamedPipeline if graph.columns else PipelineModule
    net = made(fitted, graph, _modules(graph, splits))
    if init == "random":
        _randomise(net)
        net.init = init
    return net.to(_widest_type(net) if dtype is None else dtype)


def from_torch(net: PipelineModule, path: Any = None) -> Any:
    """Translate the numbers of a module back into the kind of object it came from.

    Parameters
    ----------
    net : PipelineModule
        What `to_torch` made, trained or not.
    path : str or path, optional
        Where the model file goes, for sources that their own library keeps in files.

    Returns
    -------
    estimator
        A new object of the source's own kind. Steps whose numbers did not change are bit-identical
        copies.

    Raises
    ------
    WriteBackError
        When a number is not finite; nothing is written then.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> import pipegrad as pg
    >>> ridge = Ridge().fit([[0.0], [1.0]], [0.0, 1.0])
    >>> again = pg.from_torch(pg.to_torch(ridge))
    >>> type(again).__name__, bool(again.coef_ == ridge.coef_)
    ('Ridge', True)
    """
    if not isinstance(net, PipelineModule):
        raise ArgumentError(
            f"from_torch takes what to_torch made, not a {type(net).__name__}; from_torch(net)."
        )
    if path is not None:
        _check_path(net.source, path)
    changes = list(_changes(net))
    memo: dict[int, Any] = {}
    result = copy_source(net.source, memo)
    for step, module in changes:
        required_translation(step).write_back(module, memo[id(step.operator)])
    if path is not None:
        _save(result, path)
    return result


def _check_path(source: Any, path: Any) -> None:
    if hasattr(source, "save"):
        return
    row = translation(source)
    suffixes = () if row is None else row.file_suffixes
    if not suffixes:
        raise ArgumentError(
            f"A {type(source).__name__} lives in no file of its own: from_torch(net) gives it, "
            "and joblib or skops saves it."
        )
    if Path(path).suffix.lower() not in suffixes:
        raise ArgumentError(
            f"{path!s}: the file of a {type(source).__name__} ends in {' or '.join(suffixes)}."
        )
    if not Path(path).parent.is_dir():
        raise ArgumentError(f"{path!s}: there is no folder {str(Path(path).parent)!r}.")


def _save(source: Any, path: Any) -> None:
    """Write the file of a source; it is there as a whole or not at all."""
    if hasattr(source, "save"):
        source.save(path)
        return
    row = translation(source)
    assert row is not None
    with TemporaryDirectory(dir=Path(path).parent) as folder:
        partial = Path(folder, Path(path).name)
        row.save(source, partial)
        partial.replace(path)


def check_arguments(
    translate: Any,
    init: Any = "fitted",
    data: Any = None,
    trees: Any = "leaves",
    temperature: Any = 0.005,
) -> None:
    """Refuse wrong arguments of `to_torch` before any work is done."""
    if translate not in ("trainable", "all"):
        raise ArgumentError(f"translate={translate!r}; it is 'trainable' or 'all'.")
    if init not in ("fitted", "random"):
        raise ArgumentError(f"init={init!r}; it is 'fitted' or 'random'.")
    if trees not in ("leaves", "soft", "straight-through"):
        raise ArgumentError(f"trees={trees!r}; it is 'leaves', 'soft' or 'straight-through'.")
    if not (isinstance(temperature, numbers.Real) and 0 < float(temperature) < math.inf):
        raise ArgumentError(f"temperature={temperature!r}; it is a positive number.")
    if data is not None and init != "random":
        raise ArgumentError("data=(X, y) goes with init='random'; to train, use net.fit(X, y).")


def open_source(source: Any) -> Any:
    """The source object: that in a file, if a path or an object that stands for one is given."""
    attribute = file_attribute(type(source))
    if attribute is not None:
        source = getattr(source, attribute)
    return load_file(source) if isinstance(source, str | os.PathLike) else source


def own_copy(source: Any, data: tuple[Any, Any] | None = None) -> Any:
    """A copy that later changes of the user's object cannot reach; fitted, or an error."""
    from sklearn.exceptions import NotFittedError

    known = hasattr(source, "get_params") or lookup(type(source)) is not None
    if isinstance(source, type) or not known:
        raise ArgumentError(
            f"to_torch takes a fitted pipeline or operator, not {source!r:.60}. Fit one first."
        )
    own = copy_source(source)
    try:
        unfold(own)
    except NotFittedError as error:
        if data is not None:
            return own.fit(*data)
        raise NotFittedError(
            f"{error} Call fit first, or pass to_torch(..., init='random', data=(X, y)) for "
            "random weights."
        ) from None
    return own


def _modules(graph: Graph, splits: SplitRelaxation) -> dict[str, nn.Module]:
    bodies: dict[int, nn.Module] = {}
    modules = {}
    for step in graph:
        if step.status == "host":
            continue
        row = required_translation(step)
        # An operator that stands in several places is one module in several places.
        body = bodies.setdefault(id(step.operator), row.module(step.operator, splits))
        if step.status != "trainable":
            body.requires_grad_(False)
        head = row.head(step.operator)
        modules[step.name] = body if head is None else _predictor(step, body, head)
    return modules


def _predictor(step: Step, body: nn.Module, head: Any) -> nn.Module:
    classes = None
    single = head.task == "classification"
    if step.method == "predict" and single and hasattr(step.operator, "classes_"):
        labels = np.asarray(step.operator.classes_)
        classes = torch.from_numpy(labels.astype(np.float64))
    return Predictor(body, head, step.method, classes)


def _widest_type(net: nn.Module) -> torch.dtype:
    """The type that holds every number, so that steps of different precision fit together."""
    widest = torch.float32
    for tensor in [*net.parameters(), *net.buffers()]:
        if tensor.is_floating_point():
            widest = torch.promote_types(widest, tensor.dtype)
    return widest


def _randomise(net: PipelineModule) -> None:
    for step in net.neural_steps():
        if step.status == "trainable":
            reset = getattr(unwrap_head(net.step_module(step.name)), "reset_parameters", None)
            if reset is None:
                raise ArgumentError(
                    f"init='random': the module of {step.name!r} has no reset_parameters()."
                )
            reset()


def _changes(net: PipelineModule) -> Iterator[tuple[Step, nn.Module]]:
    """The steps whose numbers differ from what their operators hold, each operator once."""
    seen: set[int] = set()
    for step in net.neural_steps():
        if id(step.operator) in seen:
            continue
        seen.add(id(step.operator))
        module = unwrap_head(net.step_module(step.name))
        then = fresh_module(net, step).state_dict()
        now = {name: value.cpu() for name, value in module.state_dict().items()}
        if not all(_same(now[name], then[name].to(now[name].dtype)) for name in now):
            _check_finite(step, now, then)
            yield step, module


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())


def _check_finite(step: Step, now: dict[str, Tensor], then: dict[str, Tensor]) -> None:
    for name, value in now.items():
        # A number that was missing in the source may stay so.
        before = then[name] if then[name].shape == value.shape else torch.zeros_like(value)
        if (~torch.isfinite(value) & torch.isfinite(before)).any():
            raise WriteBackError(
                f"Training left numbers that are not finite in {step.name!r} ({name}); nothing was "
                "written. Train again from the start, with a smaller learning rate."
            )
