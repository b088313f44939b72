"""Answers of functions that have no gradient, inside of modules that have one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ._base import Module
from ._sparse import Block, SparseRows


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


def answered(x: Block, answer: Callable[[Block], Tensor]) -> Tensor:
    """The answer of a Python function to rows, without a gradient."""
    values = x.values if isinstance(x, SparseRows) else x
    out: Tensor = _Answer.apply(values.detach(), x, answer)
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
        lost = ~finite.reshape(len(x), -1).all(1)
    if out.is_floating_point():
        out[lost] = torch.nan
    return out


def is_exported() -> bool:
    """Whether a program is being traced, which cannot call Python functions."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()


class _Answer(torch.autograd.Function):
    """Calls a Python function, once for each candidate under `torch.func.vmap`."""

    @staticmethod
    def forward(values: Tensor, x: Block, answer: Callable[[Block], Tensor]) -> Tensor:
        return answer_or_nan(x.with_values(values) if isinstance(x, SparseRows) else values, answer)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None, None]:
        return None, None, None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], values: Tensor, x: Block, answer: Any
    ) -> tuple[Tensor, int]:
        """Candidates one after the other."""
        assert in_dims[0] is not None
        found = [_Answer.apply(one, x, answer) for one in values.unbind(in_dims[0])]
        return torch.stack(found), 0
