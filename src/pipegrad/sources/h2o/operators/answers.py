"""What predictors answer: predictions, and probabilities of classes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...named.operators import Derive, Step
from ..mojo import Mojo
from ..plan import Answer, Plan


@dataclass(eq=False, kw_only=True)
class DrawnClass(Step):
    """The most likely class; H2O draws among several by the bits of the row.

    Parameters
    ----------
    priors : list of float
        Shares of the classes in training.
    """

    priors: list[float]


# The threshold is a probability that the model predicted in training, and sums in another
# order differ from it in the last digits.
_NEARLY = 1 - 1e-13


def add_regression(mojo: Mojo, plan: Plan, score: str, mean: str) -> Answer:
    """The answer of a regressor."""
    return Answer(score, {"predict": mean})


def add_binary(mojo: Mojo, plan: Plan, score: str, share: str) -> Answer:
    """The answer of a classifier of two classes.

    Parameters
    ----------
    mojo : Mojo
        The model.
    plan : Plan
        Where steps go.
    score : str
        The step on whose output the loss is computed.
    share : str
        The step with the probability of the second class.
    """
    shares = plan.step(mojo, Derive(what="two_shares"), share, name=SHARES)
    return add_binary_shares(mojo, plan, score, shares, share)


def add_binary_shares(
    mojo: Mojo, plan: Plan, score: str, shares: str, share: str | None = None
) -> Answer:
    """The answer of a classifier of two classes whose probabilities a step has."""
    if share is None:
        share = plan.step(mojo, Derive(what="second"), shares, name="second")
    threshold = mojo.number("default_threshold", 0.5) * _NEARLY
    decide = Derive(what="at_least", numbers_=[threshold])
    return add_labels(mojo, plan, score, shares, plan.step(mojo, decide, share, name="predict"))


def add_classes(mojo: Mojo, plan: Plan, score: str, shares: str, row: str = "") -> Answer:
    """The answer of a classifier whose probabilities a step has.

    Parameters
    ----------
    mojo : Mojo
        The model.
    plan : Plan
        Where steps go.
    score, shares : str
        The steps with that on which the loss is computed, and with the probabilities.
    row : str
        The step with the features, by which H2O chooses among classes of the same probability;
        the first one is chosen without it.
    """
    if row and mojo.has("prior_class_distrib"):
        priors = mojo.numbers("prior_class_distrib")
        if len(priors) != mojo.integer("n_classes") or not (priors >= 0).all():
            mojo.fail("its shares of classes are damaged.")
        drawn = DrawnClass(priors=priors.tolist())
        predict = plan.step(mojo, drawn, shares, row, name="predict")
    else:
        predict = plan.step(mojo, Derive(what="largest"), shares, name="predict")
    return add_labels(mojo, plan, score, shares, predict)


def add_shares(mojo: Mojo, plan: Plan, score: str, shares: str, row: str = "") -> Answer:
    """The answer of a classifier of any number of classes, whose probabilities a step has."""
    if mojo.integer("n_classes") > 2:
        return add_classes(mojo, plan, score, shares, row)
    return add_binary_shares(mojo, plan, score, shares)


SHARES = "probabilities"


def add_labels(mojo: Mojo, plan: Plan, score: str, shares: str, predict: str) -> Answer:
    """The answer of a classifier whose probabilities and predictions steps have."""
    labels = classes_of(mojo)
    columns = plan.entries(mojo, shares, [column_of(label) for label in labels])
    return Answer(
        score,
        {"predict": predict, **columns},
        shares=shares,
        classes=labels,
        texts={"predict": labels},
    )


def classes_of(mojo: Mojo) -> list[str]:
    """The labels of the classes; numbers of two classes have none in the file."""
    count = mojo.integer("n_classes")
    labels = mojo.classes or ["0", "1"]
    if len(labels) != count:
        mojo.fail(f"it states {count} classes, but names {len(labels)}.")
    return labels


def column_of(label: str) -> str:
    """The column of H2O with the probability of a class."""
    return f"p{label}" if re.fullmatch(r"[+-]?\d{1,9}", label) else label
