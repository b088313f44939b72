"""Support vector machines: weighted sums of kernel values at stored rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from ._base import Module, parameter
from ._distances import squares
from ._kernels import Kernel, trained_gamma
from ._projection import SparseParameter
from ._sparse import Block, SparseRows, dense

# Scores this close to zero, relative to the terms that they are sums of, may be ties.
_TIE = 1e-9
# Relative error of kernel values that expanded squares may have.
_LOST = 1e-9
# Most kernel values, and most differences of coordinates, that exist at a time.
_MOST_VALUES = 1 << 22


class SupportVectorMachine(Module):
    """Weighted sums of kernel values at support vectors, plus a bias.

    Several classes have a sum for each pair of classes ("one against one"), which takes the support
    vectors of both. See Cortes and Vapnik, *Support-vector networks*, 1995, and Chang and Lin,
    *LIBSVM: a library for support vector machines*, 2011.

    Without gradients, sums near zero are computed again term by term in the order of LIBSVM, so
    that rows on a boundary fall on the side on which they fall there.

    Parameters
    ----------
    points : Tensor or SparseParameter, shape (points, features)
        Support vectors, in the order of their classes; or a Tensor of int64, shape (points,), with
        their columns in rows that are kernel values themselves.
    coef : Tensor, shape (max(1, classes - 1), points)
        Dual coefficients. With several classes, row ``j - 1`` has those of the support vectors of
        class ``i < j`` against ``j``, and row ``i`` those of ``j`` against ``i``.
    bias : Tensor, shape (outputs,)
        Biases, one for each pair of classes.
    kernel : Kernel
        The kernel; its ``gamma`` trains if it is positive and the kernel has one.
    counts : tuple of int
        Number of support vectors of each class; empty for regression.
    term_by_term : bool
        Whether all sums are computed term by term, and not only those near zero.
    """

    places: Tensor | None
    rows: Tensor
    used: Tensor

    def __init__(
        self,
        points: Tensor | SparseParameter,
        coef: Tensor,
        bias: Tensor,
        kernel: Kernel,
        counts: tuple[int, ...] = (),
        term_by_term: bool = False,
    ) -> None:
        super().__init__()
        self.kernel, self.counts, self.term_by_term = kernel, counts, term_by_term
        self.points: nn.Parameter | SparseParameter | None = None
        self.register_buffer("places", None)
        if isinstance(points, SparseParameter):
            self.points = points
        elif points.is_floating_point():
            self.points = parameter(points)
        else:
            self.places = points.clone()
        self.coef = parameter(coef)
        self.bias = parameter(bias)
        self.gamma = None if self.points is None else trained_gamma(kernel, coef)
        rows, used = _rows_of_pairs(counts)
        self.register_buffer("rows", rows)
        self.register_buffer("used", used)

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n,), or to (n, pairs) with more than two classes."""
        if torch.is_grad_enabled() or torch.jit.is_tracing() or torch.compiler.is_compiling():
            out = self._sums(self._similarities(x))
        else:
            out = torch.cat([self._exact_sums(part) for part in self._parts(x)])
        return out.squeeze(1) if out.shape[1] == 1 else out

    def weight(self) -> Tensor:
        """The coefficients by pair, shape (points, outputs)."""
        if len(self.counts) < 3:
            return self.coef.T
        return self.coef.T.gather(1, self.rows) * self.used.to(self.coef.dtype)

    def _sums(self, values: Tensor) -> Tensor:
        return values @ self.weight() + self.bias

    def _similarities(self, x: Block) -> Tensor:
        if self.places is not None:
            return dense(x).index_select(1, self.places)
        rows, points = self._near_origin(x)
        return self._present_kernel()(rows, points).to(self.coef.dtype)

    def _near_origin(self, x: Block) -> tuple[Block, Tensor]:
        """Rows and support vectors, where distances alone count with another origin.

        Distances do not depend on the origin, and lose no digits near it.
        """
        points = self._vectors()
        if self.kernel.name != "rbf" or isinstance(x, SparseRows) or not len(points):
            return x, points
        origin = points.detach().mean(0)
        return x - origin, points - origin

    def _vectors(self) -> Tensor:
        assert self.points is not None
        return self.points if isinstance(self.points, Tensor) else self.points()

    def _present_kernel(self) -> Kernel:
        return self.kernel if self.gamma is None else replace(self.kernel, gamma=self.gamma())

    def _parts(self, x: Block) -> Iterator[Block]:
        """Some rows at a time, so that their kernel values fit into memory."""
        size = max(1, _MOST_VALUES // max(1, self.coef.shape[1]))
        for start in range(0, max(1, x.shape[0]), size):
            piece = slice(start, min(start + size, x.shape[0]))
            yield x if x.shape[0] <= size else _picked(x, piece)

    def _exact_sums(self, x: Block) -> Tensor:
        values = self._similarities(x)
        out = self._sums(values)
        if not self.coef.shape[1] or not out.shape[0]:
            return out
        size = values.abs().amax(1)[:, None] * self.weight().abs().sum(0) + self.bias.abs()
        near = (out.abs() <= _TIE * size).any(1)
        try:
            which = (near | self._loses_digits(x)).nonzero()[:, 0]
        except RuntimeError:  # Under torch.func.vmap, which cannot branch on data.
            return out
        for some in which.split(self._rows_at_once()):
            out[some] = self._terms_in_order(self._exact_similarities(_picked(x, some)))
        return out

    def _loses_digits(self, x: Block) -> Tensor:
        """Rows (n,) whose distances are too small beside their lengths for an expanded square."""
        if self.term_by_term or self.points is None or self.kernel.name != "rbf":
            return torch.full((x.shape[0],), self.term_by_term, device=x.device)
        rows, points = self._near_origin(x)
        longest = squares(rows) + squares(points).amax()
        return self._present_kernel().gamma * longest * torch.finfo(x.dtype).eps > _LOST

    def _rows_at_once(self) -> int:
        points, width = self.coef.shape[1], 1
        if self.points is not None:
            width = self._vectors().shape[1]
        return max(1, _MOST_VALUES // max(1, points * width))

    def _exact_similarities(self, x: Block) -> Tensor:
        """Kernel values without the cancellation of an expanded square, term by term."""
        if self.points is None or (isinstance(x, SparseRows) and self._rows_at_once() == 1):
            return self._similarities(x)
        points = self._vectors()
        kernel, rows = self._present_kernel(), dense(x)[:, None]
        if kernel.name == "rbf":
            return torch.exp(-kernel.gamma * (rows - points).square().sum(2))
        return kernel.of_products((rows * points).sum(2))

    def _terms_in_order(self, values: Tensor) -> Tensor:
        """The sums (n, outputs), class by class and one term after the other."""
        if not self.counts:
            return self._in_order(values * self.coef[0])[:, None] + self.bias
        blocks, terms = values.split(self.counts, 1), self.coef.split(self.counts, 1)
        sums = []
        for i in range(len(self.counts)):
            for j in range(i + 1, len(self.counts)):
                both = blocks[i] * terms[i][j - 1], blocks[j] * terms[j][i]
                sums.append(self._in_order(torch.cat(both, 1)))
        return torch.stack(sums, 1) + self.bias

    @staticmethod
    def _in_order(terms: Tensor) -> Tensor:
        return terms.cumsum(1)[:, -1] if terms.shape[1] else terms.sum(1)

    def reset_parameters(self) -> None:
        """Draw standard normal points and small coefficients; set zero biases."""
        super().reset_parameters()
        if isinstance(self.points, Tensor):
            nn.init.normal_(self.points)
        nn.init.normal_(self.coef, std=1 / max(1, self.coef.shape[1]))
        nn.init.zeros_(self.bias)


def _rows_of_pairs(counts: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """For each point and pair of classes the row of its coefficient, and whether it has one."""
    classes = len(counts)
    owner = torch.repeat_interleave(torch.arange(classes), torch.tensor(counts, dtype=torch.long))
    first, second = torch.triu_indices(classes, classes, 1)
    is_first, is_second = owner[:, None] == first, owner[:, None] == second
    rows = torch.where(is_first, second - 1, torch.where(is_second, first, 0))
    return rows, is_first | is_second


def _picked(x: Block, some: Tensor | slice) -> Block:
    return x.take(some) if isinstance(x, SparseRows) else x[some]
