"""Training inputs: encoded rows, targets, weights and groups, with their checks."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ArgumentError
from ..losses.checks import check_targets
from ..losses.composition import LossLike
from ..losses.group_penalty import group_codes
from ..sources.array_arguments import as_numbers, check_rows, check_targets_form
from .samples import WEIGHT_HINT, Samples, Validation

if TYPE_CHECKING:
    from ..network import PipelineNetwork


def check_trainable(net: PipelineNetwork) -> None:
    """Reject a module without parameters that gradients can train."""
    if net.quantized:
        raise ArgumentError(
            "A quantized module does not train.\n"
            "Hint: train the module that quantize() was called on, and quantize it again."
        )
    frozen = [name for name, p in net.trainable_parameters().items() if p.is_inference()]
    if frozen:
        raise ArgumentError(
            f"Parameters must not be tensors of torch's inference mode, got {frozen[0]!r}.\n"
            "Hint: cast, move, copy or load the module outside of torch.inference_mode()."
        )
    if not net.trainable_parameters():
        raise ArgumentError(
            "Nothing to train: every parameter is frozen.\nHint: pipegrad.inspect shows why."
        )


def check_fit_targets(net: PipelineNetwork, y: Any) -> None:
    """Reject targets that are in range, but on which the source itself would not be fitted."""
    task = None if net.head is None else net.head.task
    if y is None or task not in ("classification", "regression"):
        return
    target = net.encode_target(y).cpu().numpy()
    steps = net.graph if task == "classification" else [net.graph[net.graph.output]]
    for step in steps:
        row = step.translation
        reason = None if row is None else row.refuse_targets(step.operator, target)
        if reason is not None:
            raise ArgumentError(
                f"The targets {reason}, which the fit of {type(step.operator).__name__} refuses.\n"
                "Hint: train on more rows, or use partial_fit, which takes rows as they come."
            )


@dataclass(frozen=True)
class Data:
    """Encoded rows with targets, weights, the user's own targets and groups.

    Each field has one entry, or a second one for validation rows that the user provided.
    """

    blocks: tuple[Any, ...]
    targets: tuple[Tensor | None, ...]
    weights: tuple[Tensor | None, ...]
    raw: tuple[Any, ...]
    groups: tuple[Tensor | None, ...] = (None, None)


def encode_samples(
    net: PipelineNetwork,
    samples: Samples,
    validation: Validation = None,
    cache: str | PathLike[str] | None = None,
    loss: LossLike | None = None,
) -> Data:
    """Check the samples, and encode them by one run of the host part.

    Parameters
    ----------
    net : PipelineNetwork
        The network that encodes them.
    samples : Samples
        The training samples, or the samples to split into both sets.
    validation : float, Samples or None
        If `Samples`, the second set.
    cache : str or path, optional
        Directory that caches the output of the host part.
    loss : str, Objective or callable, optional
        The loss that the targets have to suit; by default, the objective of the last operator.

    Returns
    -------
    Data
        One encoded set, or two.
    """
    sets = [samples]
    if isinstance(validation, Samples):
        sets.append(validation)
    names = ("", "validation: ")
    # Targets first: they are cheap, and the host part may not be.
    targets, weights, codes = [], [], []
    for one, name in zip(sets, names, strict=False):
        check_rows(one.X)
        count = _count(one.X)
        targets.append(_target(net, one.y, count, name))
        check_targets(loss, net.objective, targets[-1], name)
        weights.append(_weights(one.weight, count, name, targets[-1], net))
        grouped = samples.groups is not None
        codes.append(_groups(net, one.groups, count, name) if grouped else None)
    blocks = [net.encode(one.X) if cache is None else net.encode(one.X, cache) for one in sets]
    for block, name in zip(blocks, names, strict=False):
        if len(block) == 0:
            raise ArgumentError(f"{name}X has no rows.")
    if any(w is not None for w in weights):
        pairs = zip(weights, blocks, strict=True)
        weights = [ones_like_parameters(net, len(b)) if w is None else w for w, b in pairs]
    raw = tuple(one.y for one in sets)
    return Data(tuple(blocks), tuple(targets), tuple(weights), raw, tuple(codes))


def match_score_shape(net: PipelineNetwork, data: Data) -> list[Tensor | None]:
    """Reshape a single numeric target to the shape of the score, (n,) or (n, 1)."""
    with torch.no_grad():
        score = net(data.blocks[0][:1])
    return [
        t.reshape(-1, *score.shape[1:])
        if t is not None and t.is_floating_point() and t[:1].numel() == score.numel() == 1
        else t
        for t in data.targets
    ]


def _target(net: PipelineNetwork, y: Any, count: int | None, name: str) -> Tensor | None:
    if net.head is not None and net.head.task == "clustering":
        return None
    if y is None:
        if net.head is not None:
            raise ArgumentError(f"{name}y is missing, but the loss requires targets.")
        return None
    check_targets_form(y)
    given = _count(y)
    if count is not None and given is not None and count != given:
        raise ArgumentError(f"{name}X has {count} rows, but y has {given}.")
    return net.encode_target(y)


def _weights(
    weight: Any, count: int | None, name: str, target: Tensor | None, net: PipelineNetwork
) -> Tensor | None:
    if weight is None:
        return None
    values = as_numbers("sample_weight", weight, WEIGHT_HINT)
    if count is None and target is not None:
        count = target.shape[0]
    if values.ndim != 1 or (count is not None and len(values) != count):
        raise ArgumentError(
            f"{name}sample_weight must have one weight for each of {count} rows, got shape "
            f"{values.shape}."
        )
    if not np.isfinite(values).all() or (values < 0).any() or not values.any():
        raise ArgumentError(f"{name}sample_weight must be finite, non-negative and not all zero.")
    return torch.from_numpy(values).to(ones_like_parameters(net, 1))


def _groups(net: PipelineNetwork, groups: Any, count: int | None, name: str) -> Tensor:
    if groups is None:
        raise ArgumentError(
            f"{name}groups are missing.\nHint: validation=(X, y, sample_weight or None, groups)."
        )
    return torch.from_numpy(group_codes(groups, count, name)).to(
        ones_like_parameters(net, 1).device
    )


def ones_like_parameters(net: PipelineNetwork, count: int) -> Tensor:
    """Ones of the dtype of the module, on its device."""
    like = next(iter(net.trainable_parameters().values()))
    return torch.ones(count, dtype=like.dtype, device=like.device)


def _count(rows: Any) -> int | None:
    shape = getattr(rows, "shape", None)
    if shape is not None and len(shape):
        return int(shape[0])
    return len(rows) if hasattr(rows, "__len__") else None
