"""Answers of functions that have no gradient, inside of modules that have one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ._base import Module
from ._sparse import Block, SparseRows

Gradient: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]


class WithGradientOf(Module):
    """The answers of a function that has no gradient, with the gradient of a module beside it.

    Parameters
    ----------
    smooth : torch.nn.Module
        Module whose answers are close to those of the function; ``smooth(x, soft=False)`` gives the
        same up to rounding and ties. Exported programs have the latter, because they cannot call
        Python functions.
    answer : callable
        ``answer(x)`` gives the answers as a Tensor, without a gradient.
    """

    def __init__(self, smooth: nn.Module, answer: Callable[[Block], Tensor]) -> None:
        super().__init__()
        self.smooth, self.answer = smooth, answer

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to what the function gives."""
        if is_exported():
            out: Tensor = self.smooth(x, soft=False)
            return out
        exact = answered(x, self.answer)
        if not torch.is_grad_enabled():
            return exact
        near = self.smooth(x)
        # Rows without an answer, such as those without neighbors, train with the smooth one.
        exact = torch.where(exact.isfinite(), exact.to(near.dtype), near.detach())
        return exact + (near - near.detach())


def answered(x: Block, answer: Callable[[Any], Tensor], gradient: Gradient | None = None) -> Tensor:
    """The answer of a Python function to rows, with an estimated gradient or without one.

    Parameters
    ----------
    x : Tensor or SparseRows
        Rows (n, d); dense ones with ``gradient``.
    answer : callable
        ``answer(x)`` gives the answers as a Tensor.
    gradient : callable, optional
        ``gradient(x, out, grad)`` gives the gradient of rows, with their shape.
    """
    pattern = x if isinstance(x, SparseRows) else None
    values = x.values if isinstance(x, SparseRows) else x
    values = values.detach() if gradient is None else values
    out: Tensor = _Answer.apply(values, pattern, answer, gradient)
    return out


def answer_or_nan(x: Block, answer: Callable[[Any], Tensor]) -> Tensor:
    """The answer of a Python function; NaN for rows that are not finite if it refuses them.

    Training that diverges leads to such rows, and it notices that by a loss that is NaN.
    """
    try:
        return answer(x)
    except Exception:
        values = x.values if isinstance(x, SparseRows) else x
        finite = values.isfinite()
        if finite.all():
            raise
    known = torch.where(finite, values, 0)
    if isinstance(x, SparseRows):
        out = answer(x.with_values(known))
        lost = torch.zeros(x.shape[0], dtype=torch.bool, device=x.device)
        lost[x.rows()[~finite]] = True
    else:
        out = answer(known)
        lost = ~finite.reshape(x.shape[0], -1).all(1)
    if out.is_floating_point():
        out[lost] = torch.nan
    return out


def is_exported() -> bool:
    """Whether a program is being traced, which cannot call Python functions."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()


class _Answer(torch.autograd.Function):
    """Calls a Python function, once for each candidate under `torch.func.vmap`."""

    @staticmethod
    def forward(values: Tensor, pattern: SparseRows | None, answer: Any, gradient: Any) -> Tensor:
        values = values.detach()
        return answer_or_nan(values if pattern is None else pattern.with_values(values), answer)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        values, _, _, ctx.gradient = inputs
        if ctx.gradient is None:
            ctx.mark_non_differentiable(output)
        else:
            ctx.save_for_backward(values, output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, None, None]:
        found = None if ctx.gradient is None else ctx.gradient(*ctx.saved_tensors, grad)
        return found, None, None, None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], values: Tensor, *others: Any
    ) -> tuple[Tensor, int]:
        """Candidates one after the other."""
        assert in_dims[0] is not None
        found = [_Answer.apply(one, *others) for one in values.unbind(in_dims[0])]
        return torch.stack(found), 0
