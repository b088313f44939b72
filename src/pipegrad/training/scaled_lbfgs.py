"""Coordinates in which all parameters matter alike, and L-BFGS in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .optimizers import magnitudes

if TYPE_CHECKING:
    from .criterion import Criterion
    from .dataset import EncodedDataset

# Rows and random signs by which gradients are measured.
_ROWS, _PROBES = 2048, 8
# Rounding errors, in units of the last place of the largest effect, that are no gradient.
_ROUNDING = 100.0


def fisher_scales(
    net: nn.Module,
    criterion: Criterion,
    rows: EncodedDataset,
    parameters: Sequence[nn.Parameter],
    seed: int = 0,
) -> list[float]:
    """One length for each parameter: the change that changes the loss of a row by about one.

    It is the inverse root of the mean squared gradient of a row (the diagonal of the empirical
    Fisher information, averaged over the tensor). Rows are not taken one by one: with random
    signs, the square of a sum of gradients has the sum of their squares as its mean
    (Hutchinson's estimator).

    Parameters
    ----------
    net : Module
        Maps encoded rows to scores.
    criterion : Criterion
        Gives the loss of each row.
    rows : EncodedDataset
        Those that train.
    parameters : sequence of Parameter
        What trains.
    seed : int
        Of the signs.

    Returns
    -------
    list of float
        Positive; where no gradient arrives but rounding, or the loss cannot be told by row, the
        parameter's own size.
    """
    stride = max(1, len(rows) // _ROWS)
    batch = rows.batch(rows.index[::stride][:_ROWS])
    encoded, target = batch
    with torch.enable_grad():
        losses = criterion.rows(net(encoded), target)
    if losses.ndim == 0:
        return magnitudes(parameters)
    generator = torch.Generator().manual_seed(seed)
    total = [0.0] * len(parameters)
    for probe in range(_PROBES):
        signs = torch.randint(0, 2, losses.shape, generator=generator).to(losses) * 2 - 1
        found = torch.autograd.grad(
            losses, list(parameters), signs, retain_graph=probe < _PROBES - 1, allow_unused=True
        )
        for place, gradient in enumerate(found):
            if gradient is not None:
                total[place] += float(gradient.square().mean()) / (_PROBES * len(losses))
    own = magnitudes(parameters)
    # By how much the loss of a row changes with each parameter's own size.
    effects = [mean**0.5 * s for mean, s in zip(total, own, strict=True)]
    least = _ROUNDING * torch.finfo(losses.dtype).eps * max(effects)
    return [
        mean**-0.5 if least < effect < float("inf") else s
        for mean, effect, s in zip(total, effects, own, strict=True)
    ]


class ScaledLBFGS(Optimizer):
    """L-BFGS with a strong Wolfe line search, in coordinates of a given length for each parameter.

    L-BFGS takes its first direction, and all that its memory does not yet know, from the plain
    gradient: parameters of different scales then move as their units happen to be. Coordinates
    count from where the parameters are at the first step.

    Parameters
    ----------
    parameters : sequence of Parameter
        What trains.
    lengths : sequence of float
        Length of the unit of each.

    Attributes
    ----------
    lengths : dict of Parameter to float
        They may change before the first step.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], lengths: Sequence[float]) -> None:
        super().__init__(list(parameters), {"max_iter": 20, "max_eval": 25, "lr": 1.0})
        self._parameters = list(parameters)
        self.scales = dict(zip(self._parameters, lengths, strict=True))
        self._starts: list[Tensor] = []
        self._flat = nn.Parameter(torch.cat([torch.zeros_like(p).flatten() for p in parameters]))
        self._inner = torch.optim.LBFGS([self._flat], line_search_fn="strong_wolfe")

    def step(self, closure: Callable[[], Tensor]) -> Tensor:  # type: ignore[override]
        """Up to ``max_iter`` iterations; ``closure`` computes the loss and the gradients."""
        options = ("max_iter", "max_eval", "lr")
        self._inner.param_groups[0].update({key: self.param_groups[0][key] for key in options})
        self._starts = self._starts or [p.detach().clone() for p in self._parameters]

        def scaled() -> Tensor:
            self._place()
            with torch.enable_grad():
                loss = closure()
            self._flat.grad = self._gradient()
            return loss

        loss = self._inner.step(scaled)
        self._place()
        return loss

    def _place(self) -> None:
        """Parameters from coordinates."""
        parts = self._flat.detach().split([p.numel() for p in self._parameters])
        triples = zip(self._parameters, self._starts, parts, strict=True)
        with torch.no_grad():
            for parameter, start, part in triples:
                length = self.scales[parameter]
                torch.add(start, part.view_as(start), alpha=length, out=parameter)

    def _gradient(self) -> Tensor:
        return torch.cat(
            [
                (torch.zeros_like(p) if p.grad is None else p.grad * self.scales[p]).flatten()
                for p in self._parameters
            ]
        )
