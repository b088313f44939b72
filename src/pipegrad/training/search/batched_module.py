"""Evaluates a module at many parameter values, in one batched pass or sequentially."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import vmap

from ...modules import preserved_modes
from ...warning_filters import ignored_warnings
from ..criterion import Criterion
from ..dataset import Batch, EncodedDataset, Loader
from ..trainer import per_sample_loader

if TYPE_CHECKING:
    from ...network import PipelineNetwork

_PROBED_ROWS = 16
# Upper limit on rows times candidates in one call.
_AT_ONCE = 16_384


class NotBatchable(Exception):  # noqa: N818
    """The module or its loss cannot be batched over candidates."""


class BatchedModule:
    """Evaluates a module and its loss at many values of the trainable parameters.

    Values have shape (candidates, numbers); each row is the concatenation of all trainable
    parameters. Candidates run in one batched pass, or sequentially with the module's own
    parameters; both give the same results.

    Parameters
    ----------
    net : PipelineNetwork
        The module; sequential evaluation overwrites its parameters.
    criterion : Criterion
        The loss.
    """

    def __init__(self, net: PipelineNetwork, criterion: Criterion) -> None:
        self.net, self.criterion = net, criterion
        self.batched = False
        self.parameters = list(net.trainable_parameters().values())
        self.sizes = [p.numel() for p in self.parameters]
        self._dtype = max((p.dtype for p in self.parameters), key=lambda d: torch.finfo(d).bits)
        numbers_of = {id(p): i for i, p in enumerate(self.parameters)}
        # Every attribute that holds a parameter; a shared parameter has several.
        self._places = [
            (module, name, numbers_of[id(p)])
            for module in net.modules()
            for name, p in module._parameters.items()
            if id(p) in numbers_of
        ]

    def flat_parameters(self) -> Tensor:
        """The current parameters of the module, shape (numbers,)."""
        return torch.cat([p.detach().reshape(-1).to(self._dtype) for p in self.parameters])

    def load_flat(self, values: Tensor) -> None:
        """Write one candidate's values, shape (numbers,), into the module."""
        with torch.no_grad():
            for parameter, part in zip(self.parameters, values.split(self.sizes), strict=True):
                parameter.copy_(part.view_as(parameter))

    def unflatten(self, values: Tensor) -> list[Tensor]:
        """Split values (candidates, numbers) into a tensor (candidates, *shape) per parameter."""
        parts = zip(values.split(self.sizes, 1), self.parameters, strict=True)
        return [part.view(-1, *p.shape).to(p.dtype) for part, p in parts]

    def broadcast(self, parts: Sequence[Tensor | float]) -> Tensor:
        """Repeat one number per parameter for all of its entries; shape (numbers,)."""
        return torch.cat(
            [
                torch.full((count,), float(part), dtype=self._dtype, device=p.device)
                for part, count, p in zip(parts, self.sizes, self.parameters, strict=True)
            ]
        )

    # The loss and its gradient

    def gradient(self, values: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Losses (candidates,) and gradients (candidates, numbers) on a batch."""
        if self.batched:
            return self._gradient_together(values, batch)
        found = [self._gradient_alone(row, batch) for row in values]
        return torch.stack([loss for loss, _ in found]), torch.stack([g for _, g in found])

    def _gradient_together(self, values: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        values = values.detach().requires_grad_()

        def loss(parts: list[Tensor]) -> Tensor:
            with self._swap_parameters(parts):
                return self.criterion(self.net(batch[0]), batch[1], batch.weight, batch.groups)

        losses = vmap(loss)(self.unflatten(values))
        (gradient,) = torch.autograd.grad(losses.sum(), values)
        return losses.detach(), gradient

    def _gradient_alone(self, row: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        self.load_flat(row)
        loss = self.criterion(self.net(batch[0]), batch[1], batch.weight, batch.groups)
        found = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        parts = [
            torch.zeros_like(p) if g is None else g
            for p, g in zip(self.parameters, found, strict=True)
        ]
        return loss.detach(), torch.cat([part.reshape(-1).to(row.dtype) for part in parts])

    # Per-sample losses

    def terms(self, values: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Weighted losses (candidates, rows) and scores (candidates, rows, ...) on a batch."""
        if self.batched:
            return self._terms_together(values, batch)
        found = []
        for row in values:
            self.load_flat(row)
            found.append(self._terms(batch))
        return torch.stack([terms for terms, _ in found]), torch.stack([s for _, s in found])

    def _terms_together(self, values: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        def terms(parts: list[Tensor]) -> tuple[Tensor, Tensor]:
            with self._swap_parameters(parts):
                return self._terms(batch)

        found = vmap(terms)(self.unflatten(values))
        return found[0], found[1]

    def _terms(self, batch: Batch) -> tuple[Tensor, Tensor]:
        score = self.net(batch[0])
        return self.criterion.terms(score, batch[1], batch.weight, batch.groups), score

    def measure(
        self, values: Tensor, rows: EncodedDataset
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Losses (candidates, rows) and scores (candidates, rows, ...) in evaluation mode."""
        self.net.eval()
        with torch.no_grad():
            parts = [self._terms_of_few(values, batch) for batch in self._measured(rows)]
        losses, scores = (torch.cat(some, 1).cpu() for some in zip(*parts, strict=True))
        return losses.double().numpy(), scores.float().numpy()

    def _terms_of_few(self, values: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        few = max(1, _AT_ONCE // len(batch[0]))
        parts = [self.terms(some, batch) for some in values.split(few)]
        losses, scores = (torch.cat(some) for some in zip(*parts, strict=True))
        return losses, scores

    def _measured(self, rows: EncodedDataset) -> Loader:
        if self.criterion.penalty is not None:
            return Loader(rows, len(rows))  # Groups are compared over all rows.
        return per_sample_loader(self.net, self.criterion, rows)

    @contextmanager
    def _swap_parameters(self, parts: Sequence[Tensor]) -> Iterator[None]:
        """Temporarily replace the parameters of the module by other tensors.

        Equivalent to `torch.func.functional_call`, which searches for shared parameters in every
        call.
        """
        try:
            for module, name, number in self._places:
                module._parameters[name] = parts[number]  # type: ignore[assignment]
            yield
        finally:
            for module, name, number in self._places:
                module._parameters[name] = self.parameters[number]

    # Whether one batched pass is possible

    def try_batched(self, rows: EncodedDataset) -> None:
        """Switch to one batched pass over all candidates.

        Raises
        ------
        NotBatchable
            If the module or the loss cannot be batched, or batching changes the results.
        """
        batch = rows.batch(rows.index[:_PROBED_ROWS])
        now = self.flat_parameters()
        values = torch.stack([now, now * (1 + 1e-3) + 1e-6])
        ways = []
        for batched in (False, True):
            self.batched = batched
            try:
                ways.append(self._probe(values, batch))
            except Exception as error:
                if not batched:
                    raise
                self.batched = False
                first_line = str(error).split("\n")[0].split(". ")[0]
                raise NotBatchable(f"{type(error).__name__}: {first_line}") from error
            finally:
                self.load_flat(now)
        for alone, together in zip(*ways, strict=True):
            if not _alike(together, alone):
                self.batched = False
                raise NotBatchable("The batched module gives other numbers.")

    def _probe(self, values: Tensor, batch: Batch) -> list[Tensor]:
        self.net.train()
        with self.net.fused_linear_maps():
            found = list(self.gradient(values, batch))
        self.net.eval()
        with torch.no_grad():
            return found + list(self.terms(values, batch))


def _alike(actual: Tensor, desired: Tensor) -> bool:
    if actual.shape != desired.shape:
        return False
    width = math.sqrt(torch.finfo(desired.dtype).eps) if desired.is_floating_point() else 0.0
    finite = desired[desired.isfinite()].abs()
    most = float(finite.max()) if finite.numel() else 0.0
    return torch.allclose(actual, desired, rtol=width, atol=width * most, equal_nan=True)


@contextmanager
def preserve_state(net: PipelineNetwork) -> Iterator[None]:
    """Restore parameters, gradients and mode on exit; suppress torch's batching warnings."""
    parameters = list(net.trainable_parameters().values())
    before = [(p.detach().clone(), p.grad) for p in parameters]
    try:
        # Torch loops over candidates for operations that have no batched form.
        with preserved_modes(net), ignored_warnings("There is a performance drop"):
            yield
    finally:
        with torch.no_grad():
            for parameter, (values, gradient) in zip(parameters, before, strict=True):
                parameter.copy_(values)
                parameter.grad = gradient
