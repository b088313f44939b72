"""What a training run depends on, to tell whether a checkpoint is of the same run."""

from __future__ import annotations

import sys
from dataclasses import fields, is_dataclass
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..training.optimizers import make_optimizer
from ..training.samples import Samples, Validation

if TYPE_CHECKING:
    from ..network import PipelineNetwork
    from ..row_sources import RowSource
    from ..training.options import Options
    from .column_roles import ColumnRoles

_OPTIONS = ("loss", "batch_size", "lr", "patience", "anchor", "seed")


def run_of(
    net: PipelineNetwork,
    source: RowSource,
    roles: ColumnRoles,
    options: Options,
    validation: Validation,
    cached: bool,
) -> dict[str, str]:
    """What a run depends on, by names that the user knows.

    The number of epochs and the time limit are not part of it, so that a run can be prolonged, nor
    is the number of processes.
    """
    return {
        "module": _module_digest(net),
        "rows": source.identity(),
        "columns": repr(roles),
        "validation": _validation(validation),
        "optim": _optimizer(net, options),
        "cache": str(cached),
        "version of pipegrad": getattr(sys.modules["pipegrad"], "__version__", ""),
        **{name: _described(getattr(options, name)) for name in _OPTIONS},
    }


def _module_digest(net: PipelineNetwork) -> str:
    digest = sha256(net.graph.to_json().encode())
    for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}{tensor.requires_grad}".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: torch.Tensor) -> bytes:
    values = tensor.detach().to_dense().cpu().contiguous().reshape(-1)
    return values.view(torch.uint8).numpy().tobytes()


def _validation(validation: Validation) -> str:
    if not isinstance(validation, Samples):
        return repr(validation)
    from joblib import hash as hash_of

    return str(hash_of((validation.X, validation.y, validation.weight, validation.groups)))


def _optimizer(net: PipelineNetwork, options: Options) -> str:
    # Its settings, as the text of a function does not tell what it refers to.
    parameters = list(net.trainable_parameters().values())
    optimizer = make_optimizer(options.optim, parameters, options.rate)
    groups = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
    return f"{type(optimizer).__qualname__} {groups}"


def _described(value: Any) -> str:
    """A text that is the same in each process; the default text of an object has an address."""
    if value is None or isinstance(value, bool | int | float | str | np.generic):
        return repr(value)
    if isinstance(value, torch.Tensor):
        return sha256(_bytes(value)).hexdigest()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufSU":
        return sha256(value.tobytes()).hexdigest()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_described, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k}: {_described(v)}' for k, v in value.items())}}}"
    if isinstance(value, partial):
        return _described([value.func, list(value.args), value.keywords])
    if is_dataclass(value) and not isinstance(value, type):
        own = {field.name: getattr(value, field.name) for field in fields(value)}
        return f"{type(value).__qualname__}{_described(own)}"
    name = getattr(value, "__qualname__", type(value).__qualname__)
    code = getattr(value, "__code__", None)
    return f"{name} {'' if code is None else sha256(_code(code)).hexdigest()}"


def _code(code: Any) -> bytes:
    constants = [c for c in code.co_consts if c is None or isinstance(c, int | float | str)]
    return bytes(code.co_code) + repr((constants, code.co_names)).encode()
