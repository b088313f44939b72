"""Naive Bayes: normal densities, counts, occurrences and categories."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import logsumexp
from sklearn.utils.validation import check_non_negative
from torch import nn

from ...modules import (
    BernoulliEvents,
    CategoryEvents,
    ComplementEvents,
    DiagonalGaussians,
    Head,
    JointLogLikelihood,
    LikelihoodHead,
    MultinomialEvents,
    Sequential,
    Threshold,
)
from ...registry import Example, Objective, register
from ..arrays import to_array, to_tensor
from ._base import SklearnTranslation, checked

_LOWEST_SMOOTHING = 1e-10
_LARGEST = -float(np.finfo(np.float64).epsneg)
"""The largest log-probability below that of certainty."""


class NaiveBayes(SklearnTranslation):
    """The scores are joint log-likelihoods of the classes; training minimizes the log loss."""

    kept: ClassVar[tuple[str, ...]] = ("probabilities",)

    def head(self, operator: Any) -> Head:
        return LikelihoodHead()

    def objective(self, operator: Any) -> Objective:
        return Objective("log_loss")


@register("sklearn.naive_bayes.GaussianNB")
class GaussianNB(NaiveBayes):
    """theta_, var_ and class_prior_ are trainable; class_count_ follows the prior.

    A prior that the user set stays as it is.
    """

    data = "multiclass"
    kept: ClassVar[tuple[str, ...]] = ("probabilities", "scale")
    examples: ClassVar[Any] = (
        {},
        Example({"var_smoothing": 1e-2}, data="binary_strings"),
        Example({"priors": [0.2, 0.3, 0.5]}, unchanged_attributes=("class_prior_", "class_count_")),
    )
    unchanged_attributes: ClassVar[Any] = {"epsilon_": "the smoothing of the source's fit"}

    def to_torch(self, operator: Any) -> nn.Module:
        densities = DiagonalGaussians(to_tensor(operator.theta_), to_tensor(operator.var_))
        with np.errstate(divide="ignore"):
            prior = to_tensor(np.log(operator.class_prior_))
        return JointLogLikelihood(densities, prior, fixed=operator.priors is not None)

    def write_back(self, module: Any, operator: Any) -> None:
        operator.theta_ = to_array(module.likelihood.mean(), operator.theta_)
        operator.var_ = to_array(module.likelihood.variance(), operator.var_)
        if operator.priors is None:
            before = operator.class_prior_
            with np.errstate(divide="ignore"):
                same = to_array(module.prior(), before) == np.log(before)
            after = np.where(same, before, np.exp(to_array(module.prior(), before)))
            count = np.where(same, operator.class_count_, after * operator.class_count_.sum())
            operator.class_prior_ = after.astype(before.dtype)
            operator.class_count_ = count.astype(operator.class_count_.dtype)


class EventModel(NaiveBayes):
    """feature_log_prob_ and class_log_prior_ are trainable; the counts follow them."""

    data = "word_counts"
    sparse = True

    def prior_is_given(self, operator: Any) -> bool:
        """Return whether the prior is one that the user set, which does not train."""
        return operator.class_prior is not None or not operator.fit_prior

    def to_torch(self, operator: Any) -> nn.Module:
        prior = to_tensor(operator.class_log_prior_)
        return JointLogLikelihood(self.events(operator), prior, self.prior_is_given(operator))

    def events(self, operator: Any) -> nn.Module:
        """Return the module of the log-likelihoods."""
        raise NotImplementedError

    def write_prior(self, module: Any, operator: Any) -> None:
        """Write the prior, and the counts of rows that it follows from."""
        if self.prior_is_given(operator):
            return
        before = operator.class_log_prior_
        after = to_array(module.prior(), before)
        count = np.exp(after) * operator.class_count_.sum()
        operator.class_count_ = np.where(after == before, operator.class_count_, count)
        operator.class_log_prior_ = after


def _smoothing(operator: Any) -> NDArray[Any]:
    """Return the additive smoothing that the source's fit used."""
    alpha = np.asarray(operator.alpha, dtype=float)
    least = 0.0 if operator.force_alpha else _LOWEST_SMOOTHING
    return np.maximum(alpha, least)


_KEEPS_PRIOR = ("class_log_prior_", "class_count_")


@register("sklearn.naive_bayes.MultinomialNB")
class MultinomialNB(EventModel):
    """Log-probabilities of counted events; they stay those of a distribution for each class."""

    examples: ClassVar[Any] = (
        {},
        Example({"alpha": 0.5, "fit_prior": False}, unchanged_attributes=_KEEPS_PRIOR),
        Example(
            {"class_prior": [0.3, 0.7], "alpha": 1e-12, "force_alpha": False},
            data="word_counts_binary",
            unchanged_attributes=_KEEPS_PRIOR,
        ),
        {"alpha": [0.1, 0.2, 0.3, 1.0, 2.0, 0.5]},
        Example({}, data="sparse_multiclass"),
    )

    def events(self, operator: Any) -> nn.Module:
        return MultinomialEvents(to_tensor(operator.feature_log_prob_))

    def write_back(self, module: Any, operator: Any) -> None:
        self.write_prior(module, operator)
        before, alpha = operator.feature_log_prob_, _smoothing(operator)
        after = to_array(module.likelihood.weight(), before)
        total = (operator.feature_count_ + alpha).sum(1, keepdims=True)
        count = np.exp(after) * total - alpha
        operator.feature_count_ = np.where(after == before, operator.feature_count_, count)
        operator.feature_log_prob_ = after


@register("sklearn.naive_bayes.ComplementNB")
class ComplementNB(EventModel):
    """Weights by the probability of events in the other classes; the counts follow them.

    The prior has no effect, except with a single class, and does not train.
    """

    examples: ClassVar[Any] = (
        {},
        {"norm": True, "alpha": 0.5, "force_alpha": False},
        Example({"norm": True, "class_prior": [0.3, 0.7]}, data="word_counts_binary"),
        Example({"fit_prior": False}, data="sparse_multiclass"),
    )
    unchanged_attributes: ClassVar[Any] = {
        "class_count_": "predictions do not use the prior",
        "class_log_prior_": "predictions do not use the prior",
    }

    def to_torch(self, operator: Any) -> nn.Module:
        only = len(operator.classes_) == 1
        prior = to_tensor(operator.class_log_prior_) if only else None
        weight = to_tensor(operator.feature_log_prob_)
        return JointLogLikelihood(ComplementEvents(weight, operator.norm), prior, fixed=True)

    def write_back(self, module: Any, operator: Any) -> None:
        before = operator.feature_log_prob_
        after = to_array(module.likelihood.weight(), before)
        operator.feature_log_prob_ = after
        if len(before) > 1 and not np.array_equal(after, before):
            self._write_counts(operator, after)

    def _write_counts(self, operator: Any, weight: NDArray[Any]) -> None:
        """Find counts that give these weights, with as many events in all."""
        alpha, classes = _smoothing(operator), len(weight)
        total = (operator.feature_all_ + alpha - operator.feature_count_).sum(1, keepdims=True)
        logged = -weight
        if operator.norm:
            logged = logged * np.array([_scale_of_logarithms(row) for row in weight])[:, None]
        others = np.exp(logged) * total
        together = (others.sum(0) - classes * alpha) / (classes - 1)
        operator.feature_all_ = together
        operator.feature_count_ = together + alpha - others


def _scale_of_logarithms(weight: NDArray[Any]) -> float:
    """Return the number by which to divide log-probabilities to get these weights."""

    def surplus(scale: float) -> float:
        return float(logsumexp(-scale * weight))

    most = 1.0
    while surplus(most) > 0:
        most *= 2
    return float(brentq(surplus, 0.0, most, xtol=1e-12, rtol=1e-14))


@register("sklearn.naive_bayes.BernoulliNB")
class BernoulliNB(EventModel):
    """Log-odds of whether events occur; a threshold, if there is one, passes no gradients."""

    examples: ClassVar[Any] = (
        {},
        Example({"binarize": 1.5, "fit_prior": False}, unchanged_attributes=_KEEPS_PRIOR),
        Example({"binarize": None, "alpha": 0.5, "force_alpha": False}, data="sparse_multiclass"),
        Example(
            {"class_prior": [0.3, 0.7]},
            data="word_counts_binary",
            unchanged_attributes=_KEEPS_PRIOR,
        ),
        Example({"binarize": 0.5}, data="sparse_multiclass"),
    )

    def is_differentiable(self, operator: Any) -> bool:
        return operator.binarize is None

    def events(self, operator: Any) -> nn.Module:
        events = BernoulliEvents(to_tensor(_log_odds(operator)))
        if operator.binarize is None:
            return events
        return Sequential(Threshold(operator.binarize), events)

    def write_back(self, module: Any, operator: Any) -> None:
        rows, alpha = operator.class_count_, _smoothing(operator)
        self.write_prior(module, operator)
        events: Any = module.likelihood
        events = events.links[1] if isinstance(events, Sequential) else events
        before = operator.feature_log_prob_
        same = to_array(events.log_odds, before) == _log_odds(operator)
        # The source takes the logarithm of what is left to one.
        after = np.minimum(to_array(events.log_probability(), before), _LARGEST)
        after = np.where(same, before, after)
        total = (operator.class_count_ + alpha * 2).reshape(-1, 1)
        kept = same & (operator.class_count_ == rows).reshape(-1, 1)
        count = np.exp(after) * total - alpha
        operator.feature_count_ = np.where(kept, operator.feature_count_, count)
        operator.feature_log_prob_ = after


def _log_odds(operator: Any) -> NDArray[Any]:
    """Return the log-odds of events, as the source computes them, to the last digit."""
    present = operator.feature_log_prob_
    with np.errstate(divide="ignore", invalid="ignore"):
        return present - np.log(1 - np.exp(present))


@register("sklearn.naive_bayes.CategoricalNB")
class CategoricalNB(EventModel):
    """Log-probabilities of categories, given as whole numbers from zero."""

    sparse = False
    differentiable = False
    raw_numbers = False
    examples: ClassVar[Any] = (
        {},
        Example(
            {"min_categories": 8, "alpha": 0.5, "fit_prior": False},
            unchanged_attributes=_KEEPS_PRIOR,
        ),
        Example(
            {
                "class_prior": [0.3, 0.7],
                "alpha": 1e-12,
                "force_alpha": False,
                "min_categories": [6, 6, 7, 6, 6, 6],
            },
            data="word_counts_binary",
            unchanged_attributes=_KEEPS_PRIOR,
        ),
    )
    unchanged_attributes: ClassVar[Any] = {
        "n_categories_": "the number of categories does not change"
    }

    def encode(self, operator: Any, X: Any) -> Any:
        codes = checked(operator, X, dtype="int")
        check_non_negative(codes, "CategoricalNB (input X)")
        sizes = np.array([table.shape[1] for table in operator.feature_log_prob_])
        beyond = np.argwhere(codes >= sizes)
        if beyond.size:
            row, column = beyond[0]
            raise ValueError(
                f"X must hold categories that CategoricalNB was fitted on: column {column} has "
                f"0 to {sizes[column] - 1}, got {codes[row, column]}.\n"
                "Hint: fit with min_categories= to leave room for further categories."
            )
        return codes.astype(np.float64)

    def events(self, operator: Any) -> nn.Module:
        return CategoryEvents([to_tensor(table) for table in operator.feature_log_prob_])

    def write_back(self, module: Any, operator: Any) -> None:
        self.write_prior(module, operator)
        alpha, probabilities, counts = _smoothing(operator), [], []
        columns = zip(
            module.likelihood.tables(),
            operator.feature_log_prob_,
            operator.category_count_,
            strict=True,
        )
        for table, before, count in columns:
            after = to_array(table, before)
            total = (count + alpha).sum(1, keepdims=True)
            probabilities.append(after)
            counts.append(np.where(after == before, count, np.exp(after) * total - alpha))
        operator.feature_log_prob_, operator.category_count_ = probabilities, counts
