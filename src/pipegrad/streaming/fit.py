"""Fine-tuning on rows in memory, or on a table that is read in pieces."""

from __future__ import annotations

import inspect
from typing import Any, TypeVar

from ..errors import ArgumentError
from ..network import PipelineNetwork
from ..row_sources import is_row_source
from ..training.fit import fit as fit_in_memory

Network = TypeVar("Network", bound=PipelineNetwork)

_OPTIONS = ("optim", "loss", "epochs", "batch_size", "lr", "patience", "seed", "callbacks",
            "verbose", "anchor", "cross_fit", "max_seconds")  # fmt: skip
_KNOWN = inspect.signature(fit_in_memory).parameters


def fit(net: Network, X: Any, y: Any = None, **options: Any) -> Network:
    if not is_row_source(X):
        return fit_in_memory(net, X, y, **options)
    unknown = [name for name in options if name not in _KNOWN]
    if unknown:
        raise TypeError(f"fit() got an unexpected keyword argument {unknown[0]!r}")
    from ..training.options import Options
    from .stream_fit import fit_on_table

    own = {name: value for name, value in options.items() if name in _OPTIONS}
    columns = {name: options.get(name) for name in ("sample_weight", "groups")}
    more: dict[str, Any] = {
        name: options[name] for name in ("validation", "cache") if name in options
    }
    held = more.get("validation")
    if isinstance(held, tuple) and held and is_row_source(held[0]):
        raise ArgumentError(
            "validation must be held-out data in memory (X, y), a number or None, got a path.\n"
            "Hint: read these rows, or let validation=0.2 hold out rows of the table."
        )
    if options.get("checkpoint") is not None:
        from .checkpoint import CheckpointOptions

        names = {"checkpoint": "folder", "checkpoint_seconds": "seconds", "resume": "resume"}
        given = {own: options[name] for name, own in names.items() if name in options}
        more["checkpoints"] = CheckpointOptions(**given)
    read = fit_on_table(net, X, y, Options(**own), **columns, **more)
    if read is not None:
        given = {**options, "sample_weight": read.weight, "groups": read.groups}
        return fit_in_memory(net, read.X, read.y, **given)
    return net


# The options, and what they mean, are those of training in memory.
fit.__doc__ = fit_in_memory.__doc__
fit.__signature__ = inspect.signature(fit_in_memory)  # type: ignore[attr-defined]
