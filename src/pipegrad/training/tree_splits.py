"""Trees in training: precomputed leaves, feature spreads, and hardening of soft splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeGuard

import torch
from torch import Tensor, nn

from ..host import Encoded
from ..modules import Block, LeafIndices, TreeEnsemble, dense

if TYPE_CHECKING:
    from ..graph import Step
    from ..network import PipelineNetwork
    from .dataset import EncodedDataset

# Batch size for routing.
_ROWS = 8192
# Number of rows on which the spread of features is measured.
_MEASURED = 4096
# Distance between the 0.1 and 0.9 quantiles of the standard normal distribution.
_INNER = 2.563
# Maximum number of leaf indices (rows times trees) kept in memory, 4 bytes each.
_MOST_KEPT = 1 << 29


def precompute_leaves(net: PipelineNetwork, encoded: Encoded) -> Encoded:
    """Return the rows with precomputed leaf indices, where training cannot change them."""
    found = {}
    for step in net.neural_steps():
        module = net.step_module(step.name)
        route = getattr(module, "route", None)
        if route is None or not _leaves_are_constant(net, step.name):
            continue
        parts = [
            route(_input(net, step, encoded[first : first + _ROWS]))
            for first in range(0, len(encoded), _ROWS)
        ]
        if parts and len(encoded) * parts[0].shape[1] <= _MOST_KEPT:
            found[f">{step.name}"] = _joined(parts)
    return Encoded({**encoded.blocks, **found}) if found else encoded


def _leaves_are_constant(net: PipelineNetwork, name: str) -> bool:
    """Whether training changes neither the inputs nor the splits of the trees."""
    if any(_soft(part) for part in net.step_module(name).modules()):
        return False
    return not any(p.requires_grad for p in _parameters_before(net, name))


def _parameters_before(net: PipelineNetwork, name: str) -> Iterator[nn.Parameter]:
    before = net.graph.ancestors(name) - {name}
    for step in net.neural_steps():
        if step.name in before:
            yield from net.step_module(step.name).parameters()


def _soft(part: nn.Module) -> TypeGuard[TreeEnsemble]:
    return isinstance(part, TreeEnsemble) and part.way != "leaves"


def _input(net: PipelineNetwork, step: Step, encoded: Encoded) -> Block | LeafIndices:
    (name,) = step.inputs
    port = net.host_part.ports.get((step.name, name))
    if port is not None:
        return encoded.blocks[port]
    with torch.no_grad():
        return net.evaluate_steps(encoded.blocks, net.graph.ancestors(name))[name]


def _joined(parts: list[LeafIndices]) -> LeafIndices:
    leaves = torch.cat([part.leaves for part in parts])
    rests = [part.rest for part in parts]
    if any(rest is None for rest in rests):
        return LeafIndices(leaves)
    return LeafIndices(leaves, torch.cat([dense(rest) for rest in rests]))


def soft_ensembles(net: PipelineNetwork) -> list[TreeEnsemble]:
    """Return the ensembles whose splits are trained."""
    return [part for part in net.modules() if _soft(part)]


def measure_spreads(net: PipelineNetwork, rows: EncodedDataset) -> None:
    """Set the spread of each feature over the training rows for soft splits."""
    for ensemble, x in _sample_inputs(net, rows):
        ensemble.spread_over(_spread(x))
        ensemble.keep_apart(x)


def centre_splits(net: PipelineNetwork, rows: EncodedDataset) -> None:
    """Move the thresholds of soft splits away from the values of the training rows."""
    for ensemble, x in _sample_inputs(net, rows):
        if ensemble.shift is not None and ensemble.shift.requires_grad:
            ensemble.centre(x)


def _sample_inputs(
    net: PipelineNetwork, rows: EncodedDataset
) -> Iterator[tuple[TreeEnsemble, Tensor]]:
    """Yield the ensembles whose splits are trained, with a sample of their inputs."""
    ensembles = soft_ensembles(net)
    if not ensembles:
        return
    stride = max(1, len(rows) // _MEASURED)
    encoded, _ = rows.batch(rows.index[::stride][:_MEASURED])
    with _capture_inputs(ensembles) as seen, torch.no_grad():
        net.eval()
        net(encoded)
        net.train()
    for ensemble in ensembles:
        if id(ensemble) in seen:
            yield ensemble, dense(ensemble._numbers(seen[id(ensemble)])).detach()


def _spread(x: Tensor) -> Tensor:
    """Standard deviation of each column, estimated from inner quantiles where they differ."""
    x = torch.where(torch.isfinite(x), x, torch.nan)
    low, high = torch.nanquantile(x, torch.tensor([0.1, 0.9], dtype=x.dtype, device=x.device), 0)
    inner = (high - low) / _INNER
    gap = torch.nan_to_num(x - x.nanmean(0))
    return torch.where(inner > 0, inner, gap.square().mean(0).sqrt())


@contextmanager
def _capture_inputs(ensembles: list[TreeEnsemble]) -> Iterator[dict[int, Block]]:
    """Capture the inputs of the ensembles."""
    seen: dict[int, Block] = {}

    def note(module: nn.Module, inputs: tuple[Block, ...]) -> None:
        seen[id(module)] = inputs[0]

    hooks = [ensemble.register_forward_pre_hook(note) for ensemble in ensembles]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


class HardSplits:
    """Makes soft splits hard and freezes all parameters before them while the leaves are refit.

    Parameters
    ----------
    net : PipelineNetwork
        The network after training with soft splits.
    """

    def __init__(self, net: PipelineNetwork) -> None:
        self.net = net
        self.ways = [(ensemble, ensemble.way) for ensemble in soft_ensembles(net)]
        self.kept = [p for p in self._before() if p.requires_grad]

    def harden(self, rows: EncodedDataset, fitted: Mapping[nn.Parameter, Tensor]) -> None:
        """Make the splits hard; leaves that no row reaches get their fitted values back.

        Parameters
        ----------
        rows : EncodedDataset
            The training rows.
        fitted : mapping of Parameter to Tensor
            The parameters before training.
        """
        for parameter in self.kept:
            parameter.requires_grad_(False)
        for ensemble, _ in self.ways:
            ensemble.way = "leaves"
        self._restore_empty_leaves(rows, fitted)

    def _before(self) -> Iterator[nn.Parameter]:
        for step in self.net.neural_steps():
            soft = [part for part in self.net.step_module(step.name).modules() if _soft(part)]
            for ensemble in soft:
                assert isinstance(ensemble.shift, nn.Parameter)
                yield ensemble.shift
            if soft:
                yield from _parameters_before(self.net, step.name)

    def _restore_empty_leaves(
        self, rows: EncodedDataset, fitted: Mapping[nn.Parameter, Tensor]
    ) -> None:
        ensembles = [ensemble for ensemble, _ in self.ways]
        reached = {id(e): torch.zeros(e.leaf_table().shape[0], dtype=torch.bool) for e in ensembles}
        self.net.eval()
        with torch.no_grad():
            for start in range(0, len(rows), _ROWS):
                encoded, _ = rows.batch(rows.index[start : start + _ROWS])
                with _capture_inputs(ensembles) as seen:
                    self.net(encoded)
                for e in ensembles:
                    if id(e) in seen:
                        reached[id(e)][e.leaves(seen[id(e)]).flatten().long().cpu()] = True
            for e in ensembles:
                empty = ~reached[id(e)].to(e.threshold.device)
                for parameter in e.leaf_parameters():
                    if parameter in fitted:
                        parameter[empty] = fitted[parameter][empty]
        self.net.train()

    def soften(self) -> None:
        """Make the splits soft and trainable again."""
        for ensemble, way in self.ways:
            ensemble.way = way
        for parameter in self.kept:
            parameter.requires_grad_(True)
