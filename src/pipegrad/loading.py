"""Loads modules that `PipelineModule.save` wrote; nothing in such a file is run."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from .errors import ArgumentError, ModelFileError, PipegradError
from .file_writing import scratch_folder
from .module import PipelineModule
from .module_files import SKOPS, SavedModule, read_module
from .modules import OwnNetwork
from .network import TranslationOptions
from .registry import load_file
from .skops_files import read_skops
from .sources.document import Place
from .through import WAYS
from .translate import to_torch

_HINT = "pg.load(path, trusted=[{quoted}])"
_DTYPES = {str(d): d for d in (torch.float16, torch.bfloat16, torch.float32, torch.float64)}


def load(path: Any, trusted: Collection[str] = ()) -> PipelineModule:
    """Load a module that ``net.save(path)`` wrote.

    Parameters
    ----------
    path : str or path
        The ``.safetensors`` file or the folder.
    trusted : collection of str
        Dotted names of types of the source object that may be loaded, beside those that are known
        to be safe: classes of libraries that skops does not know, or your own.

    Returns
    -------
    PipelineModule
        A module with the same parameters, predictions and trainable steps.

    Raises
    ------
    ArgumentError
        If the source contains other types; the error lists them, and none of them is loaded.
    ModelFileError
        If the file is damaged, inconsistent or of unknown kind.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.linear_model import Ridge
    >>> import pipegrad as pg
    >>> net = pg.to_torch(Ridge().fit([[0.0], [1.0]], [0.0, 1.0]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     again = pg.load(net.save(f"{folder}/net.safetensors"))
    >>> bool(again.predict([[3.0]]) == net.predict([[3.0]]))
    True
    """
    if isinstance(trusted, str) or not all(isinstance(name, str) for name in trusted):
        raise ArgumentError(f"trusted must be a list of names of types, got {trusted!r:.80}.")
    return loaded(read_module(path), str(path), trusted, _HINT)


def loaded(
    saved: SavedModule, name: str, trusted: Collection[str] = (), hint: str = _HINT
) -> PipelineModule:
    """The module that a file or folder holds.

    Parameters
    ----------
    saved : SavedModule
        What was read.
    name : str
        The path, for errors.
    trusted : collection of str
        Types of the source object that may be loaded.
    hint : str
        How users name such types; see `read_skops`.
    """
    about = Place(saved.about, name)
    options, dtype = _options(about["options"])
    names = [place.text() for place in about["trainable"].elements()]
    training, init = about["training"].boolean(), about["init"].one_of(("fitted", "random"))
    net = _translated(_source(saved, name, trusted, hint), options, name).to(dtype)
    if _structure(json.loads(net.graph.to_json())) != _structure(about["graph"].object()):
        about["graph"].fail(
            "the source object does not have this structure here.\n"
            f"Hint: it was saved with {_shown_versions(about)}."
        )
    _check_tensors(net, saved, name)
    parameters, trainable = dict(net.named_parameters()), set(names)
    unknown = next((one for one in names if one not in parameters), None)
    if unknown is not None:
        about["trainable"].fail(f"{unknown!r:.80} is no parameter.")
    net.load_state_dict(dict(saved.tensors))
    for one, parameter in parameters.items():
        parameter.requires_grad_(one in trainable)
    net.init = init
    return net.train(training)


def _options(place: Place) -> tuple[TranslationOptions, torch.dtype]:
    through = place["through"]
    ways: dict[str, str | None] | None = None
    if through.value is not None:
        ways = {step: way.one_of(WAYS) for step, way in through.members()}
    options = TranslationOptions(
        translate=place["translate"].one_of(("trainable", "all")),
        train=_patterns(place["train"]),
        freeze=_patterns(place["freeze"]),
        trees=place["trees"].one_of(("leaves", "soft", "straight-through")),
        temperature=place["temperature"].number(),
        train_zeros=place["train_zeros"].boolean(),
        through=ways,
    )
    return options, _DTYPES[place["dtype"].one_of(_DTYPES)]


def _patterns(place: Place) -> tuple[str, ...] | None:
    return None if place.value is None else tuple(place.texts())


def _source(saved: SavedModule, name: str, trusted: Collection[str], hint: str) -> Any:
    suffix = saved.about["source_suffix"]
    if suffix == SKOPS:
        return read_skops(saved.source, name, trusted, hint)
    with scratch_folder() as folder:
        place = folder / f"source{suffix}"
        place.write_bytes(saved.source)
        try:
            return load_file(place)
        except ModelFileError as error:
            raise ModelFileError(str(error).replace(str(place), f"{name}: source")) from error


def _translated(source: Any, options: TranslationOptions, name: str) -> PipelineModule:
    try:
        return to_torch(source, **options.arguments())
    except OSError:
        raise
    except Exception as error:  # Whatever a strange source leads to.
        kind = "" if isinstance(error, PipegradError) else f"{type(error).__name__}: "
        text = f"{name}: the source object cannot be translated: {kind}{error!s:.500}"
        raise ModelFileError(text) from error


def _structure(graph: dict[str, Any]) -> str:
    """A graph as text, without the reasons, whose words may change between versions."""
    steps = graph.get("steps")
    if isinstance(steps, list) and all(isinstance(step, dict) for step in steps):
        steps = [{k: v for k, v in step.items() if k != "reason"} for step in steps]
    return json.dumps({**graph, "steps": steps}, sort_keys=True)


def _shown_versions(about: Place) -> str:
    versions = about["versions"].members()
    return ", ".join(f"{name} {version.text()}" for name, version in versions)[:300]


def _check_tensors(net: PipelineModule, saved: SavedModule, name: str) -> None:
    """Compare the names, shapes and types of the tensors with those of the module.

    Whole numbers, such as the places of nodes, do not train, and strange ones could crash.
    """
    wanted = net.state_dict()
    fixed = wanted.keys() - _of_own_networks(net)
    for key in sorted(wanted.keys() ^ saved.tensors.keys()):
        what = "lacks" if key in wanted else "has an unknown tensor,"
        raise ModelFileError(f"{name} {what} {key!r:.120}.")
    for key, tensor in wanted.items():
        found = saved.tensors[key]
        if (found.shape, found.dtype) != (tensor.shape, tensor.dtype):
            raise ModelFileError(
                f"{name}: {key!r:.120} must be {_form(tensor)}, not {_form(found)}."
            )
        if key in fixed and not tensor.is_floating_point() and not torch.equal(found, tensor):
            raise ModelFileError(f"{name}: {key!r:.120} does not belong to the source object.")


def _form(tensor: Tensor) -> str:
    return f"{tensor.dtype} of shape {tuple(tensor.shape)}"


def _of_own_networks(net: PipelineModule) -> set[str]:
    """The names of the tensors of networks of users, whose counters train."""
    own = [path for path, part in net.named_modules() if isinstance(part, OwnNetwork)]
    return {key for key in net.state_dict() if any(key.startswith(f"{path}.") for path in own)}
