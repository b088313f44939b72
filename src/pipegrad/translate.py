"""Translation of a fitted source object into a module, and back."""

from __future__ import annotations

import math
import numbers
import os
import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from .errors import ArgumentError, warn
from .file_writing import check_target, replacement
from .graph import Graph, Step, copy_source, unfold
from .module import PipelineModule
from .modules import (
    GradientOf,
    Linear,
    Predictor,
    RidgeScores,
    SplitMode,
    SplitRelaxation,
    TreeEnsemble,
    standard_settings,
    unwrap_head,
)
from .named import NamedPipeline
from .network import TranslationOptions, required_translation
from .partition import Translate, as_patterns, check, partition
from .registry import dotted_name, load_file, lookup, translation
from .remote_files import refuse_remote
from .source_catalog import file_attribute, source_of
from .sources.arrays import without_tensors
from .through import Through, check_through
from .training.seeding import own_generator
from .write_back import written_back


@standard_settings
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
    train_zeros: bool = False,
    through: Through | None = None,
    trusted: bool = False,
) -> PipelineModule:
    """Translate a fitted pipeline into one module with the same predictions.

    Parameters
    ----------
    source : estimator, or path of a model file
        A fitted pipeline, or any fitted operator in the mapping table. It is copied, never changed.
        It can also be a NimbusML pipeline, a model of pyspark.ml, or the path of a model that
        ML.NET, Spark, LightGBM, XGBoost or CatBoost saved (``"model.zip"``, a folder,
        ``"model.txt"``, ``"model.ubj"``, ``"model.cbm"``, ``".json"``), also on other machines
        that fsspec reaches (``"s3://bucket/model"``).
    train : list of str, optional
        Patterns of the steps to train (``"pca"``, ``"columntransformer/num/*"``); all others are
        frozen. By default, all steps with learned parameters train.
    freeze : list of str, optional
        Patterns of the steps to freeze.
    translate : {"trainable", "all"}
        "trainable": trainable steps and their successors become modules, and the rest runs in its
        own library (the paper's rule). "all": every step that can become a module does.
    init : {"fitted", "random"}
        "random" keeps the structure and re-initializes the parameters of the trainable steps. The
        numbers follow from the state of torch's random generator (`torch.manual_seed`), which does
        not change.
    data : (X, y), optional
        Data that determine the shapes of an unfitted pipeline, with ``init="random"``; or rows on
        which the modules of ``through`` are compared with their steps (``y`` may be None).
    dtype : torch.dtype, optional
        Type of the parameters; the precision of the source by default.
    trees : {"leaves", "soft", "straight-through"}
        How decision trees train. "leaves": only leaf values train; splits are fixed, and no
        gradient reaches the steps before the trees. "soft": each split becomes a sigmoid, so that
        thresholds and the steps before the trees train as well. "straight-through": hard splits in
        the forward pass, gradients of sigmoids in the backward pass. In every mode, predictions,
        validation losses and the pipeline written back use hard splits; only ``net(X)`` in training
        mode is soft.
    temperature : float
        Width of the sigmoids, as a share of the spread of each feature. With a larger width, more
        rows train each split, but more accuracy is lost when the splits are hard again.
    train_zeros : bool
        Whether coefficients that an L1 penalty or another selection of features set to zero train.
        By default they stay zero, so that the model keeps its features.
    through : dict, optional
        By patterns of steps, how the gradients of steps are estimated that have no module, such as
        those of another library, or Python functions: "straight-through", "finite-differences", or
        a torch module whose gradient is used. Their output stays that of their own library, and
        they do not train. A step that has a module can be named as well, by its name alone. See
        https://pipegrad.readthedocs.io, "Steps without gradients".
    trusted : bool
        Whether the library that wrote a model file may read it at once. By default, pipegrad checks
        the structure of the file, and the library then reads it in a child process first, since
        malformed files crash these libraries. No file is ever unpickled.

    Returns
    -------
    PipelineModule
        A `torch.nn.Module` with the predictions of the pipeline.

    Raises
    ------
    UntranslatableError
        When steps that must become modules have none; the error lists all of them.
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
    check_arguments(translate, init, data, trees, temperature, train_zeros, dtype, through)
    if not isinstance(trusted, bool):
        raise ArgumentError(f"trusted must be True or False, got {trusted!r:.80}.")
    train, freeze = (None if given is None else as_patterns(given) for given in (train, freeze))
    fitted = own_copy(open_source(source, trusted), data if init == "random" else None)
    splits = SplitRelaxation(trees, temperature)
    graph = partition(unfold(fitted), translate, train, freeze, splits, through)
    check(graph)
    made = NamedPipeline if graph.columns else PipelineModule
    net = made(fitted, graph, _modules(graph, splits, train_zeros))
    net.translation_options = TranslationOptions(
        translate, train, freeze, trees, float(temperature), train_zeros, _ways_by_name(through)
    )
    _warn_about_broken_constraints(net)
    if init == "random":
        with own_generator():
            _randomise(net)
        net.init = init
    net = net.to(_widest_type(net) if dtype is None else dtype)
    if data is not None and _has_modules(through):
        _compare_modules(net, data[0])
    return net


def _ways_by_name(through: Through | None) -> dict[str, str | None] | None:
    if through is None:
        return None
    return {step: way if isinstance(way, str) else None for step, way in through.items()}


def _has_modules(through: Through | None) -> bool:
    return any(isinstance(way, nn.Module) for way in (through or {}).values())


def _compare_modules(net: PipelineModule, X: Any) -> None:
    """Compare modules that stand for the gradient of a step with that step."""
    blocks = net.encode(X).blocks
    for step in net.neural_steps():
        module = unwrap_head(net.step_module(step.name))
        if isinstance(module, GradientOf):
            before = net.graph.ancestors(step.inputs[0])
            module.compare(net.evaluate_steps(blocks, before, evaluating=True)[step.inputs[0]])


def _warn_about_broken_constraints(net: PipelineModule) -> None:
    for step in net.neural_steps():
        caution = required_translation(step).caution(step.operator)
        if caution is not None:
            warn(f"{step.name}: {caution}.")
        for part in net.step_module(step.name).modules():
            if isinstance(part, TreeEnsemble) and part.free_pairs:
                warn(
                    f"{step.name}: {part.free_pairs} pairs of adjacent leaves violate the monotone "
                    "constraints in the fitted model itself; training keeps those of all other "
                    "pairs."
                )


@standard_settings
def from_torch(net: PipelineModule, path: Any = None) -> Any:
    """Write the parameters of a module back into an object of the source's type.

    Parameters
    ----------
    net : PipelineModule
        The result of `to_torch`, trained or not.
    path : str or path, optional
        Model file to write, for sources whose library stores models in files.

    Returns
    -------
    estimator
        A new object of the same type as the source. Steps whose parameters did not change are
        bit-identical copies.

    Raises
    ------
    WriteBackError
        When a parameter is not finite; nothing is written then.

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
            f"from_torch takes the result of to_torch, not a {type(net).__name__}.\n"
            "Hint: net = to_torch(pipeline), net.fit(X, y), from_torch(net)."
        )
    if path is not None:
        _check_target(net.source, path)
    result = written_back(net)
    if path is not None:
        _save(result, path)
        return result
    return result.as_object() if hasattr(result, "as_object") else result


def _check_target(source: Any, path: Any) -> None:
    refuse_remote(path)
    if hasattr(source, "check_target"):
        source.check_target(path)
        return
    writer = source if hasattr(source, "save") else translation(source)
    suffixes = getattr(writer, "file_suffixes", ())
    if not suffixes and writer is not source:
        raise ArgumentError(
            f"A {type(source).__name__} has no model file format: from_torch(net) returns it, and "
            "joblib or skops saves it."
        )
    check_target(path, f"a {type(source).__name__}", suffixes)


def _save(source: Any, path: Any) -> None:
    """Write the model file of a source; the old file stays if the new one is incomplete."""
    if hasattr(source, "save"):
        source.save(path)
        return
    row = translation(source)
    assert row is not None
    with replacement(path) as partial:
        row.save(source, partial)


def check_arguments(
    translate: Any,
    init: Any = "fitted",
    data: Any = None,
    trees: Any = "leaves",
    temperature: Any = 0.005,
    train_zeros: Any = False,
    dtype: Any = None,
    through: Any = None,
) -> None:
    """Reject invalid arguments of `to_torch` before any work is done."""
    if translate not in ("trainable", "all"):
        raise ArgumentError(f"translate must be 'trainable' or 'all', got {translate!r}.")
    if init not in ("fitted", "random"):
        raise ArgumentError(f"init must be 'fitted' or 'random', got {init!r}.")
    if trees not in ("leaves", "soft", "straight-through"):
        raise ArgumentError(f"trees must be 'leaves', 'soft' or 'straight-through', got {trees!r}.")
    if not (isinstance(temperature, numbers.Real) and 0 < float(temperature) < math.inf):
        raise ArgumentError(f"temperature must be a positive number, got {temperature!r}.")
    if not isinstance(train_zeros, bool):
        raise ArgumentError(f"train_zeros must be True or False, got {train_zeros!r}.")
    _check_dtype(dtype)
    check_through(through)
    if data is not None and init != "random" and not _has_modules(through):
        raise ArgumentError(
            "data=(X, y) requires init='random' or a module in through=; to train, use "
            "net.fit(X, y)."
        )


_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def _check_dtype(dtype: Any) -> None:
    # torch takes Python's own float for float64.
    if dtype is None or dtype is float or any(dtype is one for one in _DTYPES):
        return
    hint = "Hint: by default, a module has the precision of its source."
    known = ", ".join(map(str, _DTYPES))
    raise ArgumentError(f"dtype must be one of {known}, or None, got {dtype!r:.60}.\n{hint}")


def open_source(source: Any, trusted: bool = False) -> Any:
    """The source object itself, or the one that a path or an object refers to."""
    attribute = file_attribute(type(source))
    if attribute is not None:
        source = getattr(source, attribute)
    catalogued = source_of(type(source))
    if catalogued is not None and catalogued.object_loader:
        return import_module(catalogued.object_loader).from_object(source)
    return load_file(source, trusted) if isinstance(source, str | os.PathLike) else source


def own_copy(source: Any, data: tuple[Any, Any] | None = None) -> Any:
    """A fitted copy, independent of the user's object; an error if it is not fitted."""
    from sklearn.exceptions import NotFittedError

    known = hasattr(source, "get_params") or lookup(type(source)) is not None
    if isinstance(source, PipelineModule):
        raise ArgumentError(
            "to_torch takes a fitted pipeline or operator, not a module that it made.\n"
            "Hint: copy.deepcopy(net) copies the module, and to_torch(from_torch(net)) translates "
            "what it has learned."
        )
    if dotted_name(type(source)) == "pipegrad.FineTuner":
        raise ArgumentError(
            "to_torch takes a fitted pipeline or operator, not a FineTuner.\n"
            "Hint: to_torch(tuner.estimator_) translates the pipeline that it has fitted."
        )
    if isinstance(source, type) or not known:
        raise ArgumentError(
            f"to_torch takes a fitted pipeline or operator, not {source!r:.60}. Fit one first."
        )
    try:
        own = copy_source(source)
        unfold(own)
    except RecursionError:
        raise ArgumentError(
            f"The {type(source).__name__} must not be nested more deeply than Python's recursion "
            f"limit allows, which is {sys.getrecursionlimit()}.\n"
            "Hint: put the steps of inner pipelines into the outer one, or raise the limit with "
            "sys.setrecursionlimit."
        ) from None
    except NotFittedError as error:
        if data is not None:
            return own.fit(*map(without_tensors, data))
        raise NotFittedError(
            f"{error} Call fit first, or pass to_torch(..., init='random', data=(X, y)) for "
            "random weights."
        ) from None
    return own


def _modules(graph: Graph, splits: SplitRelaxation, train_zeros: bool) -> dict[str, nn.Module]:
    bodies: dict[tuple[int, Any], nn.Module] = {}
    modules = {}
    for step in graph:
        if step.status == "host":
            continue
        row = required_translation(step)
        # An operator that occurs several times in the graph has one shared module.
        body = row.module(step.operator, splits, step.method)
        kind = step.projects if step.through is None else step.method
        body = bodies.setdefault((id(step.holder), kind), body)
        if not train_zeros and row.keeps_zeros(step.operator):
            for part in body.modules():
                if isinstance(part, Linear | RidgeScores):
                    part.fix_zeros()
        if step.status != "trainable":
            body.requires_grad_(False)
        head = None if step.projects else row.head(step.operator)
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
    """The dtype that can represent all parameters, so that steps of any precision connect."""
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
