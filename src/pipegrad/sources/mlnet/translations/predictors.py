"""Translations of predictors, of calibrators and of the steps between their columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ....modules import (
    BernoulliHead,
    BestColumn,
    Elementwise,
    FieldFactorization,
    Head,
    KeyAbove,
    Linear,
    LocalDeepSVM,
    LogOdds,
    MulticlassHead,
    OneVersusRest,
    PairwiseCoupling,
    PiecewiseLinear,
    ProbabilityHead,
    RegressionHead,
    Sequential,
    StepFunction,
    StepFunctions,
    Threshold,
)
from ....modules import ReconstructionError as ResidualShareModule
from ....registry import Objective, register
from ...arrays import to_array
from ...named.translations import index, write_numbers
from ..operators import calibrators, combinations, factors, linear, projections, scoring
from ._base import MLNetTranslation, build, single, write_inner

_AT = "pipegrad.sources.mlnet.operators"


# -- linear ------------------------------------------------------------------------------------


@register(f"{_AT}.linear.Linear")
class LinearRow(MLNetTranslation):
    """Weights and bias train; of the loss, the file stores only the task."""

    def to_torch(self, operator: linear.Linear) -> nn.Module:
        weight = single(operator.weights.array())[:, None]
        return Linear(weight, single(operator.bias)[None], squeeze=True)

    def write_back(self, module: Linear, operator: linear.Linear) -> None:
        operator.weights.put(to_array(module.weight))
        write_numbers(operator.bias, module.bias)

    def head(self, operator: linear.Linear) -> Head:
        if operator.kind == "binary":
            return BernoulliHead()
        return RegressionHead("log" if operator.kind == "poisson" else "identity")

    def objective(self, operator: linear.Linear) -> Objective:
        names = {"binary": "hinge", "poisson": "poisson"}
        return Objective(names.get(operator.kind, "squared_error"))


@register(f"{_AT}.linear.MulticlassLinear")
class MulticlassLinear(MLNetTranslation):
    """A row of weights for each class."""

    def to_torch(self, operator: linear.MulticlassLinear) -> nn.Module:
        return Linear(single(operator.weights.array()).T, single(operator.biases))

    def write_back(self, module: Linear, operator: linear.MulticlassLinear) -> None:
        operator.weights.put(to_array(module.weight.T))
        write_numbers(operator.biases, module.bias)

    def head(self, operator: linear.MulticlassLinear) -> Head:
        return MulticlassHead("softmax" if operator.probabilities else None)

    def objective(self, operator: linear.MulticlassLinear) -> Objective:
        return Objective("log_loss" if operator.probabilities else "crammer_singer")


@register(f"{_AT}.linear.Constant")
class Constant(MLNetTranslation):
    """The prior: the same score for every row."""

    raw_numbers = False

    def encode(self, operator: linear.Constant, X: Any) -> Any:
        return np.zeros(len(X), dtype=np.float32)

    def to_torch(self, operator: linear.Constant) -> nn.Module:
        probability = single(operator.probability)[None, None]
        return Sequential(
            Elementwise(torch.unsqueeze, {"dim": 1}, elementwise=False),
            Linear(torch.zeros(1, 1), 2 * probability[0] - 1, squeeze=True).requires_grad_(False),
        )

    def head(self, operator: linear.Constant) -> Head:
        return BernoulliHead()


@register(f"{_AT}.linear.ConstantProbability")
class ConstantProbability(MLNetTranslation):
    """The probability for the score of the prior."""

    def to_torch(self, operator: linear.ConstantProbability) -> nn.Module:
        return Sequential(
            Elementwise(torch.add, {"other": 1.0}), Elementwise(torch.div, {"other": 2.0})
        )


# -- calibrators and columns of a predictor ----------------------------------------------------


@register(f"{_AT}.calibrators.Platt")
class Platt(MLNetTranslation):
    """Slope and offset train; the loss is computed on the log-odds."""

    def to_torch(self, operator: calibrators.Platt) -> nn.Module:
        return LogOdds(single(operator.slope), single(operator.offset))

    def write_back(self, module: LogOdds, operator: calibrators.Platt) -> None:
        write_numbers(operator.slope, module.slope)
        write_numbers(operator.offset, module.offset)

    def head(self, operator: calibrators.Platt) -> Head:
        return BernoulliHead("logistic")

    def objective(self, operator: calibrators.Platt) -> Objective:
        return Objective("log_loss")


@register(f"{_AT}.calibrators.Isotonic")
class Isotonic(MLNetTranslation):
    """The pieces stay fixed."""

    tolerance = 1e-4  # Steep pieces magnify rounding errors of the score.
    _LEAST = 1e-15

    def to_torch(self, operator: calibrators.Isotonic) -> nn.Module:
        low, high, level = single(operator.low), single(operator.high), single(operator.level)
        knots, values = torch.stack([low, high], 1).flatten(), level.repeat_interleave(2)
        return PiecewiseLinear(knots, values, (self._LEAST, 1 - self._LEAST))


@register(f"{_AT}.calibrators.Binned")
class Binned(MLNetTranslation):
    """The bins stay fixed; no gradient passes."""

    differentiable = False

    def to_torch(self, operator: calibrators.Binned) -> nn.Module:
        return StepFunction(single(operator.level), operator.start, operator.width)


@register(f"{_AT}.scoring.Exponential")
class Exponential(MLNetTranslation):
    """Converts log-rates to rates."""

    def to_torch(self, operator: scoring.Exponential) -> nn.Module:
        return Elementwise(torch.exp)


@register(f"{_AT}.scoring.Sigmoid")
class Sigmoid(MLNetTranslation):
    """Converts log-odds to probabilities."""

    def to_torch(self, operator: scoring.Sigmoid) -> nn.Module:
        return Elementwise(torch.sigmoid)


@register(f"{_AT}.scoring.Softmax")
class Softmax(MLNetTranslation):
    """Converts scores to probabilities."""

    def to_torch(self, operator: scoring.Softmax) -> nn.Module:
        return Elementwise(torch.softmax, {"dim": 1}, elementwise=False)


@register(f"{_AT}.scoring.Above")
class Above(MLNetTranslation):
    """The label; no gradient passes and the threshold stays fixed."""

    differentiable = False

    def to_torch(self, operator: scoring.Above) -> nn.Module:
        threshold = 0.0 if operator.threshold is None else float(operator.threshold.values)
        return KeyAbove(threshold) if operator.key else Threshold(threshold)


@register(f"{_AT}.scoring.Largest")
class Largest(MLNetTranslation):
    """The label; no gradient passes."""

    differentiable = False

    def to_torch(self, operator: scoring.Largest) -> nn.Module:
        return BestColumn(operator.smallest)


# -- other predictors --------------------------------------------------------------------------


@register(f"{_AT}.factors.Factorization")
class Factorization(MLNetTranslation):
    """Weights and latent vectors train."""

    def to_torch(self, operator: factors.Factorization) -> nn.Module:
        linear_weights, latent = single(operator.linear), single(operator.latent)
        return FieldFactorization(linear_weights, latent, operator.normalize)

    def write_back(self, module: FieldFactorization, operator: factors.Factorization) -> None:
        write_numbers(operator.linear, module.linear)
        write_numbers(operator.latent, module.latent)

    def head(self, operator: factors.Factorization) -> Head:
        return BernoulliHead("logistic")

    def objective(self, operator: factors.Factorization) -> Objective:
        return Objective("log_loss")


@register(f"{_AT}.factors.LocalMachine")
class LocalMachineRow(MLNetTranslation):
    """Scores and gates train; the routing stays fixed."""

    def to_torch(self, operator: factors.LocalMachine) -> nn.Module:
        return LocalDeepSVM(
            single(operator.weight),
            single(operator.weight_bias),
            single(operator.gate),
            single(operator.gate_bias),
            single(operator.route),
            single(operator.route_bias),
            float(operator.sharpness.values),
        )

    def write_back(self, module: LocalDeepSVM, operator: factors.LocalMachine) -> None:
        write_numbers(operator.weight, module.weight)
        write_numbers(operator.weight_bias, module.bias)
        write_numbers(operator.gate, module.gate)
        write_numbers(operator.gate_bias, module.gate_bias)

    def head(self, operator: factors.LocalMachine) -> Head:
        return BernoulliHead()

    def objective(self, operator: factors.LocalMachine) -> Objective:
        return Objective("hinge")


@register(f"{_AT}.factors.NaiveBayes")
class NaiveBayes(MLNetTranslation):
    """The counts stay fixed; no gradient passes."""

    differentiable = False

    def to_torch(self, operator: factors.NaiveBayes) -> nn.Module:
        labels, counts = operator.labels.astype(np.float64), operator.counts.astype(np.float64)
        present = np.log(counts + 1) - np.log(labels[:, None] - counts + 1)
        present[labels == 0] = 0
        with np.errstate(divide="ignore"):
            prior = np.log(labels / labels.sum())
        weight, bias = single(present.T), single(operator.absent + prior)
        return Sequential(Threshold(0.0), Linear(weight, bias).requires_grad_(False))

    def trainable(self, operator: factors.NaiveBayes) -> bool:
        return False

    def head(self, operator: factors.NaiveBayes) -> Head:
        return MulticlassHead()

    def objective(self, operator: factors.NaiveBayes) -> Objective:
        return Objective("log_loss")


@register(f"{_AT}.factors.Additive")
class Additive(MLNetTranslation):
    """Effects and bias train; no gradient passes to the input."""

    differentiable = False

    def to_torch(self, operator: factors.Additive) -> nn.Module:
        effects = [_double(e.values) for e in operator.effects]
        bounds = [_double(b) for b in operator.bounds]
        features, bias = index(operator.features), _double(operator.bias.values)
        return StepFunctions(effects, bounds, features, bias, torch.float32)

    def write_back(self, module: StepFunctions, operator: factors.Additive) -> None:
        write_numbers(operator.bias, module.bias)
        for numbers, part in zip(operator.effects, module.parts(), strict=True):
            write_numbers(numbers, part)

    def head(self, operator: factors.Additive) -> Head:
        binary = operator.loader.startswith("Binary")
        return BernoulliHead() if binary else RegressionHead()

    def objective(self, operator: factors.Additive) -> Objective:
        binary = isinstance(self.head(operator), BernoulliHead)
        return Objective("log_loss" if binary else "squared_error")


def _double(values: Any) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float64))


@register(f"{_AT}.projections.Residual")
class Residual(MLNetTranslation):
    """Mean and directions train if a later step uses the score and trains."""

    def to_torch(self, operator: projections.Residual) -> nn.Module:
        mean = None if operator.mean is None else single(operator.mean)
        return ResidualShareModule(mean, single(operator.directions))

    def write_back(self, module: ResidualShareModule, operator: projections.Residual) -> None:
        write_numbers(operator.mean, module.mean)
        write_numbers(operator.directions, module.directions)


# -- combinations ------------------------------------------------------------------------------


@register(f"{_AT}.combinations.Calibrated")
class Calibrated(MLNetTranslation):
    """A binary classifier inside another predictor: gives its probability if it has one."""

    def to_torch(self, operator: combinations.Calibrated) -> nn.Module:
        links = [build(operator.score)]
        if operator.calibrator is not None:
            links.append(build(operator.calibrator))
            if isinstance(operator.calibrator, calibrators.Platt):
                links.append(Elementwise(torch.sigmoid))
        return Sequential(*links)

    def write_back(self, module: Sequential, operator: combinations.Calibrated) -> None:
        write_inner(module.links[0], operator.score)
        if operator.calibrator is not None:
            write_inner(module.links[1], operator.calibrator)


@register(f"{_AT}.combinations.OneVersusAll")
class OneVersusAll(MLNetTranslation):
    """All parts train together."""

    def to_torch(self, operator: combinations.OneVersusAll) -> nn.Module:
        parts = [build(part if operator.normalize else part.score) for part in operator.parts]
        return OneVersusRest(*parts, normalize=operator.normalize)

    def write_back(self, module: OneVersusRest, operator: combinations.OneVersusAll) -> None:
        for inner, part in zip(module.parts, operator.parts, strict=True):
            write_inner(inner, part if operator.normalize else part.score)

    def head(self, operator: combinations.OneVersusAll) -> Head:
        return ProbabilityHead() if operator.normalize else MulticlassHead()

    def objective(self, operator: combinations.OneVersusAll) -> Objective:
        return Objective("negative_log_likelihood" if operator.normalize else "hinge")


@register(f"{_AT}.combinations.PairwiseCoupling")
class PairwiseCouplingRow(MLNetTranslation):
    """All parts train together."""

    def to_torch(self, operator: combinations.PairwiseCoupling) -> nn.Module:
        parts = [build(part) for part in operator.parts]
        return PairwiseCoupling(*parts, classes=operator.classes)

    def write_back(self, module: PairwiseCoupling, operator: combinations.PairwiseCoupling) -> None:
        for inner, part in zip(module.parts, operator.parts, strict=True):
            write_inner(inner, part)

    def head(self, operator: combinations.PairwiseCoupling) -> Head:
        return ProbabilityHead()

    def objective(self, operator: combinations.PairwiseCoupling) -> Objective:
        return Objective("negative_log_likelihood")
