"""From what the user calls ``optim`` to an optimizer."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import ArgumentError

# What ``optim=`` takes: a class, or a function from parameters to an optimizer.
Optim: TypeAlias = type[Optimizer] | Callable[..., Optimizer]
# Parameters with a rate of their own, as torch takes them: "params" and "lr".
ParameterGroup: TypeAlias = dict[str, Any]


LEARNING_RATE = 1e-2
_HINT = (
    "Hint: optim= takes a class (torch.optim.Adam) or a function from parameters to an optimizer "
    "(lambda p: torch.optim.Adam(p, lr=1e-3))."
)
# Share of the typical size that counts as one at least.
_SMALLEST = 1e-2
_FUSED = (torch.optim.Adam, torch.optim.AdamW)
# Their steps are as long as the learning rate, whatever the gradient.
_NORMALIZED_STEP = (
    *_FUSED,
    torch.optim.Adamax,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.RMSprop,
)


def make_optimizer(
    optim: Optim, parameters: Sequence[nn.Parameter | ParameterGroup], lr: float | None = None
) -> Optimizer:
    """Call ``optim``; a bare class gets settings that work.

    Parameters
    ----------
    optim : callable
        Class of an optimizer, or any function from parameters to one.
    parameters : sequence of Parameter, or of groups of them
        What it is to train; groups come with rates of their own.
    lr : float, optional
        Learning rate of all parameters. A class without one gets `LEARNING_RATE`, for Adam and
        its kin times the size of each parameter; L-BFGS gets 1 and a line search.
    """
    check_optim(optim)
    try:
        optimizer = _call(optim, list(parameters), lr)
    except Exception as error:
        raise ArgumentError(
            f"optim={_name(optim)} failed: {type(error).__name__}: {error}\n{_HINT}"
        ) from error
    if not isinstance(optimizer, Optimizer):
        raise ArgumentError(
            f"optim={_name(optim)} gave {type(optimizer).__name__}, no optimizer.\n{_HINT}"
        )
    return optimizer


def check_optim(optim: object) -> None:
    """Refuse what cannot be called, or plainly gives no optimizer."""
    if not callable(optim):
        raise ArgumentError(f"optim={optim!r} cannot be called.\n{_HINT}")
    if isinstance(optim, type) and not issubclass(optim, Optimizer):
        raise ArgumentError(f"optim={_name(optim)} is no optimizer.\n{_HINT}")


def try_optim(optim: Optim, lr: float | None = None) -> None:
    """Refuse early what gives no optimizer for a parameter of its own."""
    check_optim(optim)
    try:
        optimizer = _call(optim, [nn.Parameter(torch.zeros(2, 2))], lr)
    except Exception:
        return  # It may ask for the real parameters; those come later.
    if not isinstance(optimizer, Optimizer):
        raise ArgumentError(
            f"optim={_name(optim)} gave {type(optimizer).__name__}, no optimizer.\n{_HINT}"
        )


def check_normalized_steps(optim: object) -> None:
    """Refuse what has no rate to search for."""
    if optim not in _NORMALIZED_STEP:
        known = ", ".join(kind.__name__ for kind in _NORMALIZED_STEP)
        raise ArgumentError(
            f"lr='auto' with optim={_name(optim)}: rates are searched for {known} alone, given as "
            "a bare class.\nHint: lr=1e-3, or optim=torch.optim.Adam."
        )


def is_loss_scale_invariant(optimizer: Optimizer) -> bool:
    """Whether its steps are the same for a loss in other units, but for its tolerances."""
    if isinstance(optimizer, torch.optim.AdamW):
        return True  # Its weights decay apart from the gradient.
    decays = any(group.get("weight_decay") for group in optimizer.param_groups)
    return isinstance(optimizer, (torch.optim.LBFGS, *_NORMALIZED_STEP)) and not decays


def is_number(value: object) -> bool:
    """Whether it is a finite real number, as rates and strengths are."""
    return isinstance(value, numbers.Real) and math.isfinite(float(value))


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Another rate, relative to sizes, for an optimizer that was made without one."""
    for group in optimizer.param_groups:
        group["lr"] *= rate / LEARNING_RATE


def _call(
    optim: Optim, parameters: Sequence[nn.Parameter | ParameterGroup], lr: float | None
) -> Optimizer:
    make: Callable[..., Optimizer] = optim
    if not isinstance(optim, type):
        return make(parameters) if lr is None else make(parameters, lr=lr)
    if issubclass(optim, torch.optim.LBFGS):
        return make(parameters, lr=1.0 if lr is None else lr, line_search_fn="strong_wolfe")
    groups = parameters
    if lr is None:
        lr = LEARNING_RATE
        if optim in _NORMALIZED_STEP:
            # Groups come with a rate.
            groups = groups_by_size(cast("Sequence[nn.Parameter]", parameters), lr)
    if optim in _FUSED:
        try:
            return make(groups, lr=lr, fused=True)
        except (RuntimeError, TypeError):
            pass  # Not offered for this device or type.
    return make(groups, lr=lr)


def groups_by_size(parameters: Sequence[nn.Parameter], lr: float) -> list[ParameterGroup]:
    """Parameters with rates relative to their size.

    Operators differ in scale by orders of magnitude, and so must the steps.

    Sizes are rounded to powers of four: few groups, since each costs a call in every step.
    """
    found: dict[int, list[nn.Parameter]] = {}
    for parameter in parameters:
        found.setdefault(round(math.log(magnitude(parameter), 4)), []).append(parameter)
    return [{"params": those, "lr": lr * 4.0**power} for power, those in found.items()]


def groups_with_scales(
    parameters: Sequence[nn.Parameter], lengths: Sequence[float], lr: float
) -> list[ParameterGroup]:
    """Parameters with rates times a length each: for Adam, one rate in coordinates so scaled."""
    pairs = zip(parameters, lengths, strict=True)
    return [{"params": [p], "lr": lr * length} for p, length in pairs]


def magnitude(parameter: Tensor) -> float:
    """The median of what is not zero; 1 where all is."""
    values = parameter.detach().abs()
    values = values[(values > 0) & values.isfinite()]
    if values.numel() == 2:
        return float(values.mean())  # torch's median would be the smaller one
    return float(values.median()) if values.numel() else 1.0


def magnitudes(parameters: Sequence[Tensor]) -> list[float]:
    """The `size` of each, or a hundredth of the typical one.

    What is nearly zero beside the others (the mean of centred columns) has no size to speak of.
    """
    found = [magnitude(p) for p in parameters]
    typical = math.exp(sum(math.log(s) for s in found) / len(found))
    return [max(s, _SMALLEST * typical) for s in found]


def _name(optim: object) -> str:
    return getattr(optim, "__qualname__", repr(optim))
