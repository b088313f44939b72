"""Training strategies behind the recipe's rules: its own candidates and the rejected variants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode

import pipegrad as pg
from pipegrad.finetune.portfolio import Candidate, _plan
from pipegrad.finetune.problem import TrainingProblem
from pipegrad.modules import unwrap_head
from pipegrad.network import required_translation
from pipegrad.training.dataset import EncodedDataset, Loader
from pipegrad.training.optimizers import (
    LEARNING_RATE,
    groups_with_scales,
    magnitude,
    make_optimizer,
)
from pipegrad.training.scaled_lbfgs import ScaledLBFGS

Parameters = Sequence[nn.Parameter]
# The recipe's candidates, by their names in the report.
SCALED, RAW, RESET_HEAD = "L-BFGS, scaled", "L-BFGS", "L-BFGS, reset head"
ANCHORED = "L-BFGS, anchored"
ADAM, RELATIVE = "Adam, scaled", "Adam, relative rates"
RECIPE = (SCALED, RAW, RESET_HEAD, ADAM, RELATIVE)
# Variants that were tried as well.
SIZE, WHITENED = "L-BFGS, by size", ("L-BFGS, whitened 0.1", "L-BFGS, whitened 0.001")
SOLVED = ("L-BFGS, solved beside", "L-BFGS, solved between")
RAW_RESET_HEAD = "L-BFGS, plain, reset head"
SHORT = "L-BFGS, scaled, 250 iterations"
RANDOM = "L-BFGS, scaled, from random weights"
ONE_RATE, FASTER = "Adam, one rate", "Adam, scaled, three times the rate"
# Number of rows from which whitening is estimated.
_ROWS = 2048


@dataclass(frozen=True)
class Variant(Candidate):
    """A candidate whose optimizer is made by a function of the parameters and their scales."""

    make: Callable[[Parameters, Sequence[float]], Optimizer] | None = None

    def optimizer(self, parameters: Parameters, lengths: Sequence[float] = ()) -> Optimizer:
        if self.make is None:
            return super().optimizer(parameters, lengths)
        return self.make(parameters, lengths)


def own(task: TrainingProblem) -> dict[str, Candidate]:
    """The recipe's candidates by name, with relative rates also where it does without them."""
    known = {c.name: c for c in task.portfolio()}
    return {**known, RELATIVE: replace(known[ADAM], name=RELATIVE, kind="relative")}


def _like(candidate: Candidate, name: str, make: Any, **changes: Any) -> Variant:
    return Variant(**{**vars(candidate), "name": name, **changes}, make=make)


def several(task: TrainingProblem, y: np.ndarray) -> list[Candidate]:
    """The recipe's candidates and all variants that were tried."""
    known = own(task)
    lbfgs, adam = partial(_like, known[SCALED]), partial(_like, known[ADAM])
    return [
        *(known[name] for name in RECIPE if name in known),
        lbfgs(SIZE, lambda p, _: ScaledLBFGS(p, [magnitude(one) for one in p])),
        *(
            lbfgs(name, partial(_whitened, task=task, eps=eps))
            for name, eps in zip(WHITENED, (1e-1, 1e-3), strict=True)
        ),
        *(
            lbfgs(name, partial(_solving, task=task, y=y, goes_on=goes_on))
            for name, goes_on in zip(SOLVED, (False, True), strict=True)
        ),
        *(
            [replace(known[RAW], name=RAW_RESET_HEAD, reset_head=True)]
            if RESET_HEAD in known
            else []
        ),
        replace(known[SCALED], name=SHORT, epochs=checkpoints(250)),
        lbfgs(RANDOM, partial(_from_random, task=task)),
        adam(ONE_RATE, _one_rate),
        adam(FASTER, partial(_faster, times=3)),
    ]


def by_hand(task: TrainingProblem) -> list[Candidate]:
    """What a user would write: L-BFGS, one-cycle Adam, and one-cycle Adam with relative rates."""
    known = own(task)
    full = [replace(known[RAW], epochs=checkpoints(250))] if RAW in known else []
    return [*full, _like(known[ADAM], ONE_RATE, _one_rate), known[RELATIVE]]


def checkpoints(iterations: int) -> int:
    """Number of checkpoints that L-BFGS has reached after so many iterations."""
    return int(np.searchsorted(np.cumsum(_plan()), iterations)) + 1


def steps(task: TrainingProblem, y: np.ndarray) -> list[Candidate]:
    """Adam with other schedules, batch sizes and numbers of passes."""
    adam = own(task)[ADAM]
    passes, batch = adam.epochs, adam.batch_size
    named: dict[str, Candidate] = {"no cycle": _like(adam, ADAM, _steady)}
    named |= {"half the passes": replace(adam, epochs=max(1, passes // 2))}
    named |= {"twice the passes": replace(adam, epochs=2 * passes)}
    # The number of steps stays the same in both cases.
    named |= {"half the batch": replace(adam, batch_size=batch // 2, epochs=-(-passes // 2))}
    named |= {"twice the batch": replace(adam, batch_size=2 * batch, epochs=2 * passes)}
    return [adam, *(replace(one, name=f"{ADAM}, {name}") for name, one in named.items())]


def anchors(task: TrainingProblem, y: np.ndarray) -> list[Candidate]:
    """L-BFGS on few rows, with and without a penalty on the distance from the start (L2-SP)."""
    known = own(task)
    if ANCHORED not in known:
        return [known[RAW], known[SCALED]]  # A negative loss gives no noise level.
    anchored = known[ANCHORED]
    times = {10: "ten times", 0.1: "a tenth of"}
    return [
        known[RAW],
        known[SCALED],
        anchored,
        *(
            replace(anchored, name=f"{ANCHORED}, {word} that", anchor=factor * anchored.anchor)
            for factor, word in times.items()
        ),
        replace(known[SCALED], name=f"{SCALED}, anchored", anchor=anchored.anchor),
    ]


class Steady(torch.optim.Adam):
    """Adam that ignores the learning-rate schedule."""

    def __init__(self, groups: Sequence[Any], lr: float) -> None:
        super().__init__(groups, lr=lr, fused=True)
        self._rates = [group["lr"] for group in self.param_groups]

    def step(self, closure: Any = None) -> Any:
        for group, rate in zip(self.param_groups, self._rates, strict=True):
            group["lr"] = rate
        return super().step(closure)


def _steady(parameters: Parameters, lengths: Sequence[float]) -> Optimizer:
    return Steady(groups_with_scales(parameters, lengths, LEARNING_RATE), LEARNING_RATE)


def _one_rate(parameters: Parameters, _: Sequence[float]) -> Optimizer:
    return torch.optim.Adam(parameters, lr=LEARNING_RATE, fused=True)


def _from_random(parameters: Parameters, _: Sequence[float], task: TrainingProblem) -> Optimizer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        other = pg.to_torch(task.net.source, init="random")
    with torch.no_grad():
        for own, new in zip(parameters, other.trainable_parameters().values(), strict=True):
            own.copy_(new)
    task.__dict__.pop("lengths", None)  # Measured at the new start.
    return ScaledLBFGS(parameters, task.scales)


def _faster(parameters: Parameters, lengths: Sequence[float], times: float) -> Optimizer:
    groups = groups_with_scales(parameters, lengths, times * LEARNING_RATE)
    return torch.optim.Adam(groups, fused=True)


# Whitened coordinates


class WhitenedLBFGS(ScaledLBFGS):
    """L-BFGS in coordinates in which the inputs of each linear map are white.

    ``maps`` holds a matrix (inputs, inputs) for each parameter that multiplies inputs; for the
    others it holds None, and their coordinates are scaled by ``lengths``.
    """

    def __init__(
        self, parameters: Parameters, lengths: Sequence[float], maps: Sequence[Tensor | None]
    ) -> None:
        super().__init__(parameters, lengths)
        self._maps = list(maps)

    def _place(self) -> None:
        super()._place()
        parts = self._flat.detach().split([p.numel() for p in self._parameters])
        with torch.no_grad():
            for p, start, part, white in zip(
                self._parameters, self._starts, parts, self._maps, strict=True
            ):
                if white is not None:
                    p.copy_(start + white @ part.view_as(start))

    def _gradient(self) -> Tensor:
        found = []
        for p, white in zip(self._parameters, self._maps, strict=True):
            gradient = torch.zeros_like(p) if p.grad is None else p.grad
            found.append(self.scales[p] * gradient if white is None else white.T @ gradient)
        return torch.cat([gradient.flatten() for gradient in found])


class _Products(TorchFunctionMode):
    """Records the inputs and the product of each parameter matrix."""

    def __init__(self, parameters: Parameters) -> None:
        self.places = {id(p): place for place, p in enumerate(parameters) if p.ndim == 2}
        self.found: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        out = function(*args, **(kwargs or {}))
        if getattr(function, "__name__", "") in ("matmul", "__matmul__", "mm"):
            place = self.places.get(id(args[1]))
            if place is not None and args[0].ndim == 2:
                self.found.setdefault(place, (args[0].detach(), out))
        return out


def _whitened(parameters: Parameters, lengths: Sequence[float], task: TrainingProblem, eps: float):
    return WhitenedLBFGS(parameters, lengths, whitening(task, parameters, eps))


def whitening(task: TrainingProblem, parameters: Parameters, eps: float) -> list[Tensor | None]:
    """Inverse root of the input covariance of each linear map, divided by its gradient's RMS.

    ``eps`` times the mean variance is added to each variance.
    """
    rows = task.training
    index = rows.index[:: max(1, len(rows) // _ROWS)][:_ROWS]
    encoded, target = rows.batch(index)
    with torch.enable_grad(), _Products(parameters) as products:
        losses = task.criterion.rows(task.net(encoded), target)
    maps: list[Tensor | None] = [None] * len(parameters)
    found = products.found
    outputs = [out for _, out in found.values()]
    # The loss of a row depends on the products of that row only.
    gradients = torch.autograd.grad(losses.sum(), outputs) if outputs else ()
    for (place, (x, _)), gradient in zip(found.items(), gradients, strict=True):
        x = x - x.mean(0)
        covariance = x.T @ x / len(x)
        more = eps * covariance.diagonal().mean() * torch.eye(len(covariance)).to(covariance)
        values, vectors = torch.linalg.eigh(covariance + more)
        root = (vectors / values.clamp(min=1e-30).sqrt()) @ vectors.T
        maps[place] = root / gradient.square().mean().clamp(min=1e-30).sqrt()
    return maps


# Solving for the last operator (variable projection)


class Solving(Optimizer):
    """L-BFGS; after each round the last operator is refitted by its own solver.

    Parameters
    ----------
    parameters : sequence of Parameter
        The trainable parameters.
    solve : callable
        Writes the solution into the parameters.
    judge : callable
        Returns the loss that decides whether the solution is kept.
    goes_on : bool
        Whether training continues from the solution or from the parameters before it.
    """

    def __init__(
        self,
        parameters: Parameters,
        solve: Callable[[], None],
        judge: Callable[[], float],
        goes_on: bool,
    ) -> None:
        super().__init__(list(parameters), {"max_iter": 20, "max_eval": 25, "lr": 1.0})
        self.parameters, self.goes_on = list(parameters), goes_on
        self.solve, self.judge = solve, judge
        self._path: list[Tensor] | None = None
        self._start()

    def _start(self) -> None:
        self._inner = make_optimizer(torch.optim.LBFGS, self.parameters)

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        if self._path is not None:
            self._put(self._path)
        given = {key: self.param_groups[0][key] for key in ("max_iter", "max_eval", "lr")}
        self._inner.param_groups[0].update(given)
        loss = self._inner.step(closure)
        before, self._path = self.judge(), [p.detach().clone() for p in self.parameters]
        self.solve()
        if not self.judge() <= before:
            self._put(self._path)
            self._path = None
        elif self.goes_on:
            self._path = None
            self._start()
        return loss

    def _put(self, values: Sequence[Tensor]) -> None:
        with torch.no_grad():
            for parameter, value in zip(self.parameters, values, strict=True):
                parameter.copy_(value)


def _solving(
    parameters: Parameters, _: Any, task: TrainingProblem, y: np.ndarray, goes_on: bool
) -> Optimizer:
    assert task.validating is not None
    judge = partial(mean_loss, task, task.validating)
    return Solving(parameters, partial(solve_last, task, y), judge, goes_on)


def solve_last(task: TrainingProblem, y: np.ndarray) -> None:
    """Fit the last operator to its inputs on the training rows."""
    net = task.net
    step = net.graph[net.graph.output]
    encoded, _ = task.training.batch(task.training.index)
    net.eval()
    with torch.no_grad():
        values = net.evaluate_steps(encoded.blocks, net.graph.ancestors(step.name))
        fitted = clone(step.operator).fit(values[step.inputs[0]].numpy(), y)
        solution = required_translation(step).to_torch(fitted)
        module = unwrap_head(net.step_module(step.name))
        for own, new in zip(module.parameters(), solution.parameters(), strict=True):
            own.copy_(new)
    net.train()


def mean_loss(task: TrainingProblem, rows: EncodedDataset) -> float:
    """Mean loss of the rows with the current parameters."""
    task.net.eval()
    with torch.no_grad():
        parts = [task.criterion.rows(task.net(b[0]), b[1]) for b in Loader(rows, 4096)]
    task.net.train()
    return float(torch.cat(parts).mean())
