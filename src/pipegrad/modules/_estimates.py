"""Steps that Python functions compute, with gradients that are estimated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from ._answers import answer_or_nan, answered
from ._base import Module
from ._evaluation import evaluation_view
from ._sparse import Block, SparseRows

Answer: TypeAlias = Callable[[Tensor], Tensor]

# Half the width of a difference, in standard deviations of the column.
_STEP = 0.05
# Upper limit on the numbers that one call of a function gets.
_AT_ONCE = 4_000_000
# Rounding of sums that depend on the number of rows.
_ROUNDING = 1e-4
_FEWEST_ROWS = 8


class _Estimated(Module):
    """Base class: the forward pass is the answer of a Python function.

    Parameters
    ----------
    answer : callable
        Maps detached rows (n, d) to (n, k) or (n,), with the same dtype and on the same device.
    name : str
        Name of the step, for error messages.
    """

    def __init__(self, answer: Answer, name: str) -> None:
        super().__init__()
        self.answer, self.name = answer, name

    @torch.compiler.disable
    def forward(self, x: Block) -> Tensor:
        """Map (n, d) to what the function gives."""
        if isinstance(x, SparseRows):
            raise ValueError(
                f"{self.name!r} must follow a step with dense output, since the gradients of "
                "sparse rows are not estimated.\nHint: freeze the steps before it."
            )
        if torch.jit.is_tracing() or not _holds_numbers(x):
            raise ValueError(
                f"{self.name!r} runs in its own library, so that the module cannot be exported.\n"
                "Hint: export the pipeline of from_torch(net) by the means of its library."
            )
        return self.estimated(x)

    def estimated(self, x: Tensor) -> Tensor:
        """The answer of the function, with its estimated gradient."""
        raise NotImplementedError


def _holds_numbers(x: Tensor) -> bool:
    """False for the stand-ins of tensors with which `torch.export` runs a module."""
    return type(x).__name__ not in ("FakeTensor", "FunctionalTensor")


class StraightThrough(_Estimated):
    """The answer of a function, with the gradient of the identity (Bengio and others, 2013).

    Parameters
    ----------
    answer : callable
        Maps detached rows (n, d) to (n, d); or one column to (n,).
    name : str
        Name of the step, for error messages.
    """

    def estimated(self, x: Tensor) -> Tensor:
        """The answer of the function."""
        out = answered(x, self.answer, _identity)
        given, width = (1 if each.ndim == 1 else each.shape[1] for each in (x, out))
        if width != given:
            raise ValueError(
                f"through[{self.name!r}]='straight-through' must name a step with as many columns "
                f"in its output as in its input, got {width} from {given}.\n"
                "Hint: through='finite-differences' takes any number of columns."
            )
        return out


class FiniteDifferences(_Estimated):
    """The answer of a function, with a gradient of central differences.

    A backward pass calls the function with ``2 * d`` copies of the rows, in as few calls as memory
    allows, and with half of them, to see that each row counts on its own. Columns move by a
    twentieth of their standard deviation over the rows, so that functions with steps, such as
    trees, have a slope.

    Parameters
    ----------
    answer : callable
        Maps detached rows (n, d) to (n, k) or (n,), each row on its own.
    name : str
        Name of the step, for error messages.
    """

    def estimated(self, x: Tensor) -> Tensor:
        """The answer of the function."""
        return answered(x, self.answer, self._gradient)

    def _gradient(self, x: Tensor, out: Tensor, grad: Tensor) -> Tensor:
        if not x.numel():
            return torch.zeros_like(x)
        self._check_rows(x, out)
        table = x[:, None] if x.ndim == 1 else x
        result = torch.zeros_like(table)
        out, grad = out.reshape(len(x), -1), grad.reshape(len(x), -1)
        for some in torch.arange(table.shape[1], device=x.device).split(
            max(1, _AT_ONCE // (2 * x.numel()))
        ):
            slopes = self._slopes(table, out, some, x.shape[1:])
            result[:, some] = (slopes * grad).sum(-1).T
        return result.reshape(x.shape)

    def _slopes(self, x: Tensor, out: Tensor, some: Tensor, width: torch.Size) -> Tensor:
        """Slopes (some, n, k) along some of the columns."""
        count, step = len(some), _steps(x)
        move = torch.zeros(count, 1, x.shape[1], dtype=x.dtype, device=x.device)
        move[torch.arange(count, device=x.device), 0, some] = step[some]
        rows = torch.cat([x + move, x - move])
        high, low = answer_or_nan(rows.reshape(-1, *width), self.answer).reshape(
            2, count, len(x), -1
        )
        places = rows.gather(2, some.repeat(2)[:, None, None].expand(-1, len(x), 1))
        above, below = places.split(count)
        return _slope(out, high, low, x.T[some][:, :, None], above, below)

    def _check_rows(self, x: Tensor, out: Tensor) -> None:
        """Compare half of the rows alone with the same rows among all."""
        half = len(x) // 2
        if not half:
            return
        again, out = answer_or_nan(x[:half], self.answer), out[:half]
        size = out.abs().nan_to_num(0, 0, 0).amax() if out.numel() else out.new_zeros(())
        if not torch.allclose(again, out, _ROUNDING, float(_ROUNDING * size), equal_nan=True):
            raise ValueError(
                f"through[{self.name!r}]='finite-differences' must name a step that computes each "
                "row on its own, and always the same, but the same rows among others gave another "
                "result.\nHint: 'straight-through' and modules take such steps as well."
            )


def _steps(x: Tensor) -> Tensor:
    """By how much each column moves, (d,)."""
    known = x.isfinite()
    numbers = torch.where(known, x, 0)
    count = known.sum(0).clamp(min=1)
    gaps = torch.where(known, numbers - numbers.sum(0) / count, 0)
    spread = (gaps.square().sum(0) / count).sqrt()
    size = numbers.abs().amax(0)
    # A constant column has a spread of rounding errors only.
    constant = spread <= size * torch.finfo(x.dtype).eps * 8
    return _STEP * torch.where(constant, torch.where(size > 0, size, 1), spread)


def _slope(
    here: Tensor, high: Tensor, low: Tensor, x: Tensor, above: Tensor, below: Tensor
) -> Tensor:
    """Central differences; one-sided ones next to values where the function has none."""
    central = (high - low) / (above - below)
    right, left = (high - here) / (above - x), (here - low) / (x - below)
    one_sided = torch.where(high.isfinite(), right, left)
    slope = torch.where(high.isfinite() & low.isfinite(), central, one_sided)
    return torch.where(slope.isfinite(), slope, 0)


class GradientOf(_Estimated):
    """The answer of a function, with the gradient of a module.

    The module is in evaluation mode and does not train. In training, its first answers are compared
    with those of the function.

    Parameters
    ----------
    answer : callable
        Maps detached rows (n, d) to (n, k) or (n,).
    name : str
        Name of the step, for error messages.
    module : torch.nn.Module
        Maps (n, d) to tensors of the same shape as the function does.
    """

    def __init__(self, answer: Answer, name: str, module: nn.Module) -> None:
        super().__init__(answer, name)
        self.module = module.requires_grad_(False)
        self._compared = False

    def estimated(self, x: Tensor) -> Tensor:
        """The answer of the function."""
        exact = answered(x, self.answer)
        if not torch.is_grad_enabled():
            return exact
        near = evaluation_view(self.module)(x)
        self._check_shape(near, exact)
        if self.training and not self._compared and len(x) >= _FEWEST_ROWS:
            try:
                self._check_numbers(near.detach(), exact)
                self._compared = True
            except RuntimeError:  # Under torch.func.vmap, which cannot branch on data.
                pass
        result: Tensor = _Replaced.apply(near, exact)
        return result

    def compare(self, x: Tensor) -> None:
        """Raise a ValueError if the module answers rows (n, d) otherwise than the function."""
        with torch.no_grad():
            near, exact = evaluation_view(self.module)(x), self.answer(x)
            self._check_shape(near, exact)
            self._check_numbers(near, exact)
        self._compared = True

    def _check_shape(self, near: Any, exact: Tensor) -> None:
        shape = tuple(near.shape) if isinstance(near, Tensor) else type(near).__name__
        if shape != tuple(exact.shape):
            raise ValueError(
                f"through[{self.name!r}] must be a module whose output has the shape of the "
                f"step's, which is {tuple(exact.shape)}, got {shape}."
            )

    def _check_numbers(self, near: Tensor, exact: Tensor) -> None:
        near, exact = near.reshape(len(near), -1), exact.reshape(len(exact), -1)
        known = near.isfinite() & exact.isfinite()
        gap = torch.where(known, near - exact, 0)
        explained = _explained(gap, torch.where(known, exact, 0), known)
        if explained < 0.5:
            row, column = divmod(int(gap.abs().argmax()), gap.shape[1])
            raise ValueError(
                f"through[{self.name!r}] must be a module that computes about what the step does, "
                f"but its output differs by up to {float(gap[row, column].abs()):.3g} (in column "
                f"{column}, {float(near[row, column]):.3g} instead of "
                f"{float(exact[row, column]):.3g}) and explains {max(explained, 0.0):.0%} of the "
                "variance.\nHint: check units, signs and the order of columns."
            )


def _explained(gap: Tensor, exact: Tensor, known: Tensor) -> float:
    """The share of the variance that is explained, as a mean over the columns that vary."""
    count = known.sum(0).clamp(min=1)
    around = torch.where(known, exact - exact.sum(0) / count, 0).square().sum(0)
    varies = around > torch.finfo(exact.dtype).eps * exact.square().sum(0)
    if not bool(varies.any()):
        return 1.0
    missed = gap.square().sum(0)[varies] / around[varies]
    return 1.0 - float(missed.clamp(max=1.0).mean())


def _identity(x: Tensor, out: Tensor, grad: Tensor) -> Tensor:
    return grad.reshape(x.shape)


class _Replaced(torch.autograd.Function):
    """The second tensor with the gradient of the first."""

    generate_vmap_rule = True

    @staticmethod
    def forward(near: Tensor, exact: Tensor) -> Tensor:
        return exact.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None
