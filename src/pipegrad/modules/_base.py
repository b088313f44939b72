"""Base classes of all modules."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


def from_parameters(method: Any) -> Any:
    """Mark a method without arguments whose result depends on parameters and buffers alone.

    Exported programs hold the result instead of the computation: see `with_results_held`.
    """
    method.from_parameters = True
    return method


def with_results_held(module: nn.Module) -> None:
    """Let the methods of all parts that depend on parameters alone return what they now return.

    Parameters
    ----------
    module : torch.nn.Module
        A module that nothing trains any more; it changes.
    """
    for part in module.modules():
        for name in dir(type(part)):
            method = getattr(type(part), name)
            if getattr(method, "from_parameters", False):
                with torch.no_grad():
                    vars(part)[name] = partial(_held, method(part))


def _held(result: Any) -> Any:
    return result


class Module(nn.Module):
    """Base class: parameters, a forward pass, and a random initialization.

    A subclass keeps trainable values as parameters and fixed ones as buffers, takes dense tensors
    of shape (n, d) (and `SparseRows` where documented), and is independent of any source library.
    """

    def reset_parameters(self) -> None:
        """Re-initialize every parameter with a random or neutral value."""
        for child in self.children():
            reset = getattr(child, "reset_parameters", None)
            if reset is not None:
                reset()


class Positive(Module):
    """A tensor that stays positive while it trains: ``initial * exp(log_ratio)``.

    Initially the value is bit-identical to ``initial``. An optimizer step changes it by a relative
    amount, whatever its unit.

    Parameters
    ----------
    initial : Tensor
        Positive values of any shape. Those that are not finite, such as the scale of a column
        without numbers, do not train.
    """

    initial: Tensor

    def __init__(self, initial: Tensor) -> None:
        super().__init__()
        self.register_buffer("initial", initial.clone())
        self.log_ratio = nn.Parameter(torch.zeros_like(initial))
        self._whole = is_finite(initial)

    def forward(self) -> Tensor:
        """The current value, with the shape of ``initial``."""
        ratio: Tensor = self.log_ratio
        if not self._whole:
            ratio = fixed_unless(torch.isfinite(self.initial), ratio)
        return self.initial * torch.exp(ratio)

    def reset_parameters(self) -> None:
        """Set all values to one."""
        with torch.no_grad():
            self.initial.fill_(1.0)
            self.log_ratio.zero_()


def is_finite(values: Tensor) -> bool:
    """Whether all values are finite."""
    if values.device.type == "cpu":
        # If a sum is finite, then so are all terms; it needs no masks in memory.
        total = values.detach().sum().item()
        if math.isfinite(total):
            return True
    return bool(torch.isfinite(values).all())


def may_overwrite(*tensors: Tensor) -> bool:
    """Whether a new result of these tensors may be changed in place, which saves memory traffic.

    It may not where gradients are recorded, in a traced graph, and under `torch.func.vmap`.
    """
    return (
        not torch.is_grad_enabled() and not torch.compiler.is_compiling() and has_memory(*tensors)
    )


def has_memory(*tensors: Tensor) -> bool:
    """Whether tensors have memory of their own; those that `torch.func` wraps have none."""
    try:
        for tensor in tensors:
            tensor.data_ptr()
    except RuntimeError:
        return False
    return True


def fixed_unless(trains: Tensor, values: Tensor) -> Tensor:
    """The values, with gradients only where ``trains``; other gradients are zero, never NaN."""
    return torch.where(trains, values, values.detach())


class NonNegative(Module):
    """A tensor whose negative entries count as zero while it trains.

    An entry at zero still receives gradients that would increase it.

    Parameters
    ----------
    initial : Tensor
        Values of any shape.
    """

    def __init__(self, initial: Tensor) -> None:
        super().__init__()
        self.weight = parameter(initial)

    def forward(self) -> Tensor:
        """The current value, with the shape of ``initial``."""
        return clamp_at_zero(self.weight)

    def reset_parameters(self) -> None:
        """Set all values to one."""
        with torch.no_grad():
            self.weight.fill_(1.0)


def clamp_at_zero(x: Tensor) -> Tensor:
    """max(x, 0) that also passes gradients below zero if a descent step would increase x."""
    result: Tensor = _ClampAtZero.apply(x)
    return result


class _ClampAtZero(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.clamp(min=0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return torch.where((x > 0) | (grad < 0), grad, torch.zeros_like(grad))


def clamp_between(x: Tensor, low: float, high: float) -> Tensor:
    """Clamp x, and pass gradients outside if a descent step would bring x back."""
    result: Tensor = _ClampBetween.apply(x, low, high)
    return result


class _ClampBetween(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, low: float, high: float) -> Tensor:
        return x.clamp(low, high)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float, float], output: Tensor) -> None:
        x, ctx.low, ctx.high = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        free = ((x >= ctx.low) | (grad < 0)) & ((x <= ctx.high) | (grad > 0))
        return torch.where(free, grad, torch.zeros_like(grad)), None, None


def parameter(values: Tensor) -> nn.Parameter:
    """A parameter with a copy of the values."""
    return nn.Parameter(values.detach().clone(memory_format=torch.contiguous_format))
