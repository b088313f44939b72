"""Translations of linear models, clusters, naive Bayes and networks."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ....modules import (
    BernoulliEvents,
    DiagonalGaussians,
    Distances,
    FactorProducts,
    FullGaussians,
    JointLogLikelihood,
    Linear,
    MonotoneInterpolation,
    MultilayerPerceptron,
    NearestDescent,
    OneColumn,
    PairwiseProducts,
    Sequential,
)
from ....registry import register
from ...arrays import to_array
from ...named.translations import NamedTranslation, index, numbers_of, write_numbers
from ..operators import clusters, linear, naive_bayes, networks, recommendation

_AT = "pipegrad.sources.spark.operators"


@register(f"{_AT}.linear.Interpolate")
class Interpolate(NamedTranslation):
    """Values at the boundaries train, and stay isotonic, which Spark requires."""

    sparse = False

    def to_torch(self, operator: linear.Interpolate) -> nn.Module:
        bounds, values = numbers_of(operator.bounds), numbers_of(operator.values)
        curve = MonotoneInterpolation(bounds, values, operator.increasing, clip=True)
        return Sequential(OneColumn(operator.place), curve)

    def write_back(self, module: Sequential, operator: linear.Interpolate) -> None:
        curve = module.links[1]
        assert isinstance(curve, MonotoneInterpolation)
        write_numbers(operator.values, curve.values())


@register(f"{_AT}.linear.FactorizationMachine")
class FactorizationMachine(NamedTranslation):
    """Weights and factors train, and the intercept if there is one."""

    def to_torch(self, operator: linear.FactorizationMachine) -> nn.Module:
        weight = None if operator.weight is None else numbers_of(operator.weight)
        bias = None if operator.bias is None else numbers_of(operator.bias)
        return PairwiseProducts(numbers_of(operator.factors), weight, bias)

    def write_back(self, module: PairwiseProducts, operator: linear.FactorizationMachine) -> None:
        write_numbers(operator.factors, module.factors)
        write_numbers(operator.weight, module.weight)
        write_numbers(operator.bias, module.bias)


@register(f"{_AT}.networks.Perceptron")
class PerceptronRow(NamedTranslation):
    """All layers train."""

    def to_torch(self, operator: networks.Perceptron) -> nn.Module:
        layers, start = [], 0
        for size, width in pairwise(operator.layers):
            # Spark stores (outputs, inputs) by columns, which is (inputs, outputs) by rows.
            middle, end = start + size * width, start + (size + 1) * width
            weight = operator.weights.values[start:middle].reshape(size, width)
            layers.append(
                Linear(numbers_of(weight), numbers_of(operator.weights.values[middle:end]))
            )
            start = end
        return MultilayerPerceptron(*layers, activation=torch.sigmoid)

    def write_back(self, module: MultilayerPerceptron, operator: networks.Perceptron) -> None:
        parts: list[Tensor] = []
        for layer in module.layers:
            assert layer.bias is not None
            parts += [layer.weight.reshape(-1), layer.bias]
        write_numbers(operator.weights, torch.cat(parts))


@register(f"{_AT}.clusters.SquaredDistances")
class SquaredDistances(NamedTranslation):
    """Centers train."""

    def to_torch(self, operator: clusters.SquaredDistances) -> nn.Module:
        return Distances(numbers_of(_centers(operator)), squared=True)

    def write_back(self, module: Distances, operator: clusters.SquaredDistances) -> None:
        before, now = _centers(operator), to_array(module.centers)
        found = operator.centers.values.copy()
        same = before == now
        found[operator.places] = np.where(same, found[operator.places], now)
        operator.centers.put(found)


def _centers(operator: clusters.SquaredDistances) -> Any:
    found = operator.centers.values[operator.places]
    if not operator.cosine:
        return found
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    return found / np.where(lengths == 0, 1.0, lengths)


@register(f"{_AT}.clusters.CenterTree")
class CenterTree(NamedTranslation):
    """Centers stay fixed."""

    differentiable = False

    def to_torch(self, operator: clusters.CenterTree) -> nn.Module:
        width = max(1, *map(len, operator.children))
        children = [[*found, *[-1] * (width - len(found))] for found in operator.children]
        return NearestDescent(
            numbers_of(operator.centers),
            index(children),
            index(operator.numbers_),
            operator.root,
            operator.depth,
        )


@register(f"{_AT}.clusters.Mixture")
class Mixture(NamedTranslation):
    """Weights, means and covariances train."""

    sparse = False

    def to_torch(self, operator: clusters.Mixture) -> nn.Module:
        roots = np.linalg.cholesky(np.linalg.inv(operator.covariances.values))
        densities = FullGaussians(numbers_of(operator.means), numbers_of(roots))
        return JointLogLikelihood(densities, numbers_of(np.log(operator.weights.values)))

    def refuse(self, operator: clusters.Mixture) -> str | None:
        smallest = np.linalg.eigvalsh(operator.covariances.values)
        singular = (smallest[:, 0] <= 1e-12 * smallest[:, -1]).any()
        return "a covariance is singular" if singular else None

    def write_back(self, module: JointLogLikelihood, operator: clusters.Mixture) -> None:
        densities = module.likelihood
        assert isinstance(densities, FullGaussians)
        assert module.prior is not None
        unchanged = to_array(densities.unchanged())
        factors = to_array(densities.current())
        for number, factor in enumerate(factors):
            if not unchanged[number]:
                inverse = np.linalg.inv(factor)
                found = operator.covariances.values.copy()
                found[number] = inverse.T @ inverse
                operator.covariances.put(found)
        write_numbers(operator.means, densities.mean())
        before = operator.weights.values
        now = np.exp(to_array(module.prior()).reshape(-1))
        operator.weights.put(np.where(np.isclose(now, before, rtol=1e-14, atol=0), before, now))


@register(f"{_AT}.naive_bayes.JointLogProbabilities")
class JointLogProbabilities(NamedTranslation):
    """Priors and the numbers of the distributions train."""

    def to_torch(self, operator: naive_bayes.JointLogProbabilities) -> nn.Module:
        theta, prior = numbers_of(operator.theta), numbers_of(operator.prior)
        if operator.variant == "complement":
            return Linear(theta.T)
        if operator.variant == "multinomial":
            return Linear(theta.T, prior)
        if operator.variant == "bernoulli":
            odds = operator.theta.values - np.log1p(-np.exp(operator.theta.values))
            return _joint(BernoulliEvents(numbers_of(odds)), operator)
        assert operator.sigma is not None
        densities = DiagonalGaussians(theta, numbers_of(operator.sigma))
        # Spark leaves out the constant of the densities.
        constant = 0.5 * math.log(2 * math.pi) * theta.shape[1]
        return _joint(densities, operator, torch.full_like(prior, constant))

    def write_back(self, module: Any, operator: naive_bayes.JointLogProbabilities) -> None:
        if isinstance(module, Linear):
            write_numbers(operator.theta, module.weight.T)
            write_numbers(operator.prior, module.bias)
            return
        prior = to_array(module.prior().reshape(-1))
        operator.prior.put(prior)
        inner = module.likelihood
        if isinstance(inner, BernoulliEvents):
            operator.theta.put(to_array(inner.log_probability()))
        else:
            write_numbers(operator.theta, inner.mean())
            write_numbers(operator.sigma, inner.variance())


def _joint(
    likelihood: nn.Module,
    operator: naive_bayes.JointLogProbabilities,
    offset: Tensor | None = None,
) -> nn.Module:
    return JointLogLikelihood(likelihood, numbers_of(operator.prior), offset=offset)


@register(f"{_AT}.recommendation.Factors")
class Factors(NamedTranslation):
    """Factors of users and items train, in the single precision in which Spark keeps them."""

    sparse = False

    def to_torch(self, operator: recommendation.Factors) -> nn.Module:
        return FactorProducts(numbers_of(operator.users), numbers_of(operator.items))

    def write_back(self, module: FactorProducts, operator: recommendation.Factors) -> None:
        operator.users.put(to_array(module.first).astype(np.float32))
        operator.items.put(to_array(module.second).astype(np.float32))
