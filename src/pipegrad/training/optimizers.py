"""Optimizers from the ``optim`` argument, and the magnitudes of parameters."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import ArgumentError

# Type of the ``optim`` argument: an optimizer class, or a function from parameters to an optimizer.
Optim: TypeAlias = type[Optimizer] | Callable[..., Optimizer]
# Parameter group of torch with its own learning rate: "params" and "lr".
ParameterGroup: TypeAlias = dict[str, Any]


LEARNING_RATE = 1e-2
_HINT = (
    "Hint: pass a class (torch.optim.Adam) or a function from parameters to an optimizer "
    "(lambda p: torch.optim.Adam(p, lr=1e-3))."
)
# Smallest magnitude of a parameter, as a share of the typical one.
_SMALLEST = 1e-2
_FUSED = (torch.optim.Adam, torch.optim.AdamW)
# The step length of these optimizers is the learning rate, whatever the gradient.
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
    """Call ``optim`` with suitable defaults for an optimizer class.

    Parameters
    ----------
    optim : callable
        An optimizer class, or a function from parameters to an optimizer.
    parameters : sequence of Parameter, or of parameter groups
        The parameters to train; groups have their own learning rates.
    lr : float, optional
        Learning rate of all parameters. Without it, a class gets `LEARNING_RATE`, multiplied by the
        magnitude of each parameter for Adam and its variants; L-BFGS gets 1 and a line search.

    Returns
    -------
    Optimizer
        The optimizer of these parameters.
    """
    check_optim(optim)
    try:
        optimizer = _call(optim, list(parameters), lr)
    except Exception as error:
        raise ArgumentError(
            f"optim={_name(optim)} failed: {type(error).__name__}: {error}\n{_HINT}"
        ) from error
    _check_returned(optim, optimizer)
    given = [p for one in parameters for p in (one["params"] if isinstance(one, dict) else [one])]
    check_own_parameters(f"optim={_name(optim)}", optimizer, given)
    return optimizer


def _check_returned(optim: object, optimizer: object) -> None:
    if not isinstance(optimizer, Optimizer):
        raise ArgumentError(
            f"optim={_name(optim)} must return an optimizer, got {type(optimizer).__name__}.\n"
            f"{_HINT}"
        )


def check_own_parameters(
    name: str, optimizer: Optimizer, parameters: Sequence[nn.Parameter]
) -> None:
    """Reject an optimizer of parameters that would not train, or of those of another module."""
    own = {id(parameter) for parameter in parameters}
    found = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
    foreign = [p for p in found if id(p) not in own]
    if foreign or not found:
        what = f"{len(foreign)} that belong to no trainable step of this module"
        raise ArgumentError(
            f"{name} must be over the parameters that are trained, but it has "
            f"{what if foreign else 'none of them'}.\nHint: use the parameters that it is given "
            "(lambda p: torch.optim.Adam(p, lr=1e-3)); net.parameters() are those of a module."
        )


def check_optim(optim: object) -> None:
    """Reject what is not callable, or is a class but not an optimizer class."""
    if isinstance(optim, Optimizer):
        kind = type(optim).__name__
        raise ArgumentError(
            f"optim must be callable, got an optimizer ({kind}), which is over parameters of its "
            f"own.\n{_HINT}"
        )
    if not callable(optim):
        raise ArgumentError(f"optim must be callable, got {optim!r:.60}.\n{_HINT}")
    if isinstance(optim, type) and not issubclass(optim, Optimizer):
        raise ArgumentError(f"optim must be an optimizer class, got {_name(optim)}.\n{_HINT}")


def try_optim(optim: Optim, lr: float | None = None, alone: bool = False) -> None:
    """Reject early what does not return an optimizer for a test parameter.

    With ``alone``, the parameters do not exist yet, and it has to be over those that it is given.
    """
    check_optim(optim)
    parameters = [nn.Parameter(torch.zeros(2, 2))]
    try:
        optimizer = _call(optim, parameters, lr)
    except Exception:
        return  # It may need the real parameters, which come later.
    _check_returned(optim, optimizer)
    if alone:
        check_own_parameters(f"optim={_name(optim)}", optimizer, parameters)


def check_normalized_steps(optim: object) -> None:
    """Reject optimizers whose learning rate cannot be searched for."""
    if optim not in _NORMALIZED_STEP:
        known = ", ".join(kind.__name__ for kind in _NORMALIZED_STEP)
        raise ArgumentError(
            f"lr='auto' with optim={_name(optim)}: the search supports only {known}, passed as "
            "a class.\nHint: lr=1e-3, or optim=torch.optim.Adam."
        )


def is_loss_scale_invariant(optimizer: Optimizer) -> bool:
    """Whether the steps do not depend on the scale of the loss, except for tolerances."""
    if isinstance(optimizer, torch.optim.AdamW):
        return True  # Its weight decay is decoupled from the gradient.
    decays = any(group.get("weight_decay") for group in optimizer.param_groups)
    return isinstance(optimizer, (torch.optim.LBFGS, *_NORMALIZED_STEP)) and not decays


def is_number(value: object) -> bool:
    """Whether a value is a finite real number."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and _finite(value)


def _finite(value: numbers.Real) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:  # a whole number beyond all floats
        return False


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Set another relative learning rate on an optimizer that was made without one."""
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
            # The groups have their own rates.
            groups = groups_by_size(cast("Sequence[nn.Parameter]", parameters), lr)
    if optim in _FUSED:
        try:
            return make(groups, lr=lr, fused=True)
        except (RuntimeError, TypeError):
            pass  # There is no fused form for this device or dtype.
    return make(groups, lr=lr)


def groups_by_size(parameters: Sequence[nn.Parameter], lr: float) -> list[ParameterGroup]:
    """Return parameter groups with learning rates relative to the magnitude of each parameter.

    The magnitudes of operators differ by orders of magnitude, and so must the steps. Magnitudes are
    rounded to powers of four to keep the number of groups small, since each group costs a call per
    step.
    """
    found: dict[int, list[nn.Parameter]] = {}
    for parameter in parameters:
        found.setdefault(round(math.log(magnitude(parameter), 4)), []).append(parameter)
    return [{"params": those, "lr": lr * 4.0**power} for power, those in found.items()]


def groups_with_scales(
    parameters: Sequence[nn.Parameter], lengths: Sequence[float], lr: float
) -> list[ParameterGroup]:
    """Return one group per parameter, with the rate times its scale.

    For Adam, this is a single rate in scaled coordinates.
    """
    pairs = zip(parameters, lengths, strict=True)
    return [{"params": [p], "lr": lr * length} for p, length in pairs]


def magnitude(parameter: Tensor) -> float:
    """Median of the nonzero absolute values; 1 if all values are zero."""
    values = parameter.detach().abs()
    values = values[(values > 0) & values.isfinite()]
    if values.numel() == 2:
        return float(values.mean())  # torch's median is the lower one
    return float(values.median()) if values.numel() else 1.0


def magnitudes(parameters: Sequence[Tensor]) -> list[float]:
    """Return the `magnitude` of each parameter, at least one hundredth of the typical one.

    Parameters that are nearly zero compared with the others (the mean of centered columns) have no
    meaningful magnitude.
    """
    found = [magnitude(p) for p in parameters]
    typical = math.exp(sum(math.log(s) for s in found) / len(found))
    return [max(s, _SMALLEST * typical) for s in found]


def _name(optim: object) -> str:
    return getattr(optim, "__qualname__", repr(optim))
