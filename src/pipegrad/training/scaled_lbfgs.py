"""Diagonal preconditioning by the empirical Fisher information, and L-BFGS with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .optimizers import magnitudes
from .row_blocks import score_of

if TYPE_CHECKING:
    from .criterion import Criterion
    from .dataset import EncodedDataset

# Numbers of rows and of random sign vectors that estimate squared gradients.
_ROWS, _PROBES = 2048, 8
# Effects below so many units of rounding of the largest effect count as no gradient.
_ROUNDING = 100.0


def fisher_scales(
    net: nn.Module,
    criterion: Criterion,
    rows: EncodedDataset,
    parameters: Sequence[nn.Parameter],
    seed: int = 0,
) -> list[float]:
    """Return a scale for each parameter: the change that alters a per-sample loss by about one.

    The scale is the inverse square root of the mean squared per-sample gradient (the diagonal of
    the empirical Fisher information, averaged over the tensor). Per-sample gradients are not
    computed one by one: the squared sum of gradients with random signs has the sum of their squares
    as its expectation (Hutchinson's estimator, 1990).

    Parameters
    ----------
    net : Module
        The network, which maps encoded rows to scores.
    criterion : Criterion
        The criterion, which gives per-sample losses.
    rows : EncodedDataset
        The training rows.
    parameters : sequence of Parameter
        The parameters to train.
    seed : int
        Seed for the random signs.

    Returns
    -------
    list of float
        The positive scales. A parameter whose gradient is no more than rounding error gets its
        magnitude as its scale, and so do all parameters if there is no per-sample loss.
    """
    stride = max(1, len(rows) // _ROWS)
    batch = rows.batch(rows.index[::stride][:_ROWS])
    encoded, target = batch
    with torch.enable_grad():
        losses = criterion.rows(score_of(net, encoded), target)
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
    # Change of the per-sample loss when a parameter changes by its magnitude.
    effects = [mean**0.5 * s for mean, s in zip(total, own, strict=True)]
    least = _ROUNDING * torch.finfo(losses.dtype).eps * max(effects)
    return [
        mean**-0.5 if least < effect < float("inf") else s
        for mean, effect, s in zip(total, effects, own, strict=True)
    ]


class ScaledLBFGS(Optimizer):
    """L-BFGS with a strong Wolfe line search, in coordinates scaled per parameter.

    The first direction of L-BFGS, and every direction that its memory does not cover, is the plain
    gradient, whose relative step sizes depend on the units of the parameters. Scaled coordinates
    remove this dependence. Their origin is the parameters at the first step.

    Parameters
    ----------
    parameters : sequence of Parameter
        The parameters to train.
    lengths : sequence of float
        The scale of each parameter.

    Attributes
    ----------
    scales : dict of Parameter to float
        The scales, which may be changed before the first step.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], lengths: Sequence[float]) -> None:
        super().__init__(list(parameters), {"max_iter": 20, "max_eval": 25, "lr": 1.0})
        self._parameters = list(parameters)
        self.scales = dict(zip(self._parameters, lengths, strict=True))
        self._starts: list[Tensor] = []
        self._flat = nn.Parameter(torch.cat([torch.zeros_like(p).flatten() for p in parameters]))
        self._inner = torch.optim.LBFGS([self._flat], line_search_fn="strong_wolfe")

    def step(self, closure: Callable[[], Tensor]) -> Tensor:  # type: ignore[override]
        """Run up to ``max_iter`` iterations; ``closure`` computes the loss and the gradients."""
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

    def saved(self) -> dict[str, Any]:
        """All numbers that later steps depend on."""
        return {
            "inner": self._inner.state_dict(),
            "coordinates": self._flat.detach(),
            "starts": list(self._starts),
            "scales": list(self.scales.values()),
            "groups": [{k: v for k, v in g.items() if k != "params"} for g in self.param_groups],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Give the optimizer what `saved` returned."""
        self._inner.load_state_dict(state["inner"])
        with torch.no_grad():
            self._flat.copy_(state["coordinates"])
        self._starts = [start.to(self._flat) for start in state["starts"]]
        self.scales = dict(zip(self._parameters, state["scales"], strict=True))
        for group, own in zip(self.param_groups, state["groups"], strict=True):
            group.update(own)

    def forget(self) -> None:
        """Free the memory of earlier steps, after the last one."""
        self._inner.state.clear()

    def _place(self) -> None:
        """Set the parameters from the scaled coordinates."""
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
