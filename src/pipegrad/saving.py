"""Saves a module: parameters, structure, source object, and how it was made."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import ArgumentError
from .file_writing import scratch_folder
from .module_files import SKOPS, SavedModule, check_module_target, write_module
from .network import PipelineNetwork, TranslationOptions
from .registry import translation
from .skops_files import skops_content


def save_module(net: PipelineNetwork, path: Any) -> Path:
    """Write a module to a file or folder; see `PipelineModule.save`."""
    target = check_module_target(path)
    if net.quantized:
        raise ArgumentError(
            "A quantized module cannot be saved.\n"
            "Hint: save the module that quantize() was called on, and quantize it again."
        )
    options = _storable(net.translation_options)
    content, suffix = _source_content(net.source, str(target))
    about = {
        "graph": json.loads(net.graph.to_json(indent=None)),
        "options": {**options.arguments(), "dtype": str(net.reference_tensor().dtype)},
        "trainable": list(net.trainable_parameters()),
        "training": net.training,
        "init": net.init,
        "tuned": _tuned(net.history),
        "versions": _versions(net),
        "source_suffix": suffix,
    }
    write_module(target, SavedModule(about, net.state_dict(), content))
    return target


def _storable(options: TranslationOptions | None) -> TranslationOptions:
    if options is None:
        raise ArgumentError("Only what to_torch has made can be saved.")
    for step, way in (options.through or {}).items():
        if way is None:
            raise ArgumentError(
                f"through[{step!r}] must be a text for a module to be saved, not a torch module.\n"
                "Hint: from_torch(net) returns the pipeline, which skops or joblib saves."
            )
    return options


def _source_content(source: Any, path: str) -> tuple[bytes, str]:
    """The bytes of a source object, and the suffix of their format."""
    if hasattr(source, "get_params"):  # The file formats of libraries hold no estimators.
        return skops_content(source, path), SKOPS
    own = hasattr(source, "save")
    row: Any = source if own else translation(source)
    suffixes = getattr(row, "file_suffixes", ())
    if not suffixes:
        return skops_content(source, path), SKOPS
    with scratch_folder() as folder:
        place = folder / f"source{suffixes[0]}"
        place.touch()
        if own:
            source.save(place)
        else:
            row.save(source, place)
        return place.read_bytes(), suffixes[0]


def _tuned(history: Any) -> dict[str, Any] | None:
    """The number of epochs of the last training, and its best losses."""
    if not history:
        return None
    best: dict[str, float] = {}
    for name in ("train_loss", "valid_loss"):
        losses = [row[name] for row in history if isinstance(row.get(name), float)]
        finite = [loss for loss in losses if math.isfinite(loss)]
        best |= {name: min(finite)} if finite else {}
    return {"epochs": int(history[-1]["epoch"]), "best": best}


def _versions(net: PipelineNetwork) -> dict[str, str]:
    """The versions of this package, of torch, and of the libraries of the steps."""
    used = {step.kind.partition(".")[0] for step in net.graph}
    names = {"numpy", "pipegrad", "sklearn", "torch", "skops", *used}
    found: Mapping[str, Any] = {name: sys.modules.get(name) for name in sorted(names)}
    versions = {name: getattr(module, "__version__", None) for name, module in found.items()}
    python = ".".join(map(str, sys.version_info[:3]))
    return {"python": python, **{name: str(v) for name, v in versions.items() if v}}
