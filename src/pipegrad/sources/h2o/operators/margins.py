"""Linear support vector machines of Sparkling Water."""

from __future__ import annotations

from dataclasses import dataclass

from ...named.operators import Derive, LinearMap, Step
from ..mojo import Mojo
from ..numbers import listed
from ..plan import Answer, Plan, reads
from .answers import add_labels, add_regression
from .expansion import Expand


@dataclass(eq=False, kw_only=True)
class MarginColumns(Step):
    """What H2O answers for two classes: the margin itself, moved to the side of its decision.

    Parameters
    ----------
    threshold : float
        Larger margins decide for the second class.
    least : float
        The least answer for the second class when it is decided for.
    """

    threshold: float
    least: float


@reads("svm")
def _margins(mojo: Mojo, plan: Plan) -> Answer:
    width = len(mojo.features)
    means = listed(mojo, "means", shape=(width,)) if mojo.flag("meanImputation") else None
    source = plan.row(mojo)
    if means is not None:
        operator = Expand(sizes=[], first=0, modes=None, means=means, numeric=width)
        source = plan.step(mojo, operator, source, name="impute")
    count = mojo.integer("n_classes")
    if count not in (1, 2):
        mojo.fail(f"it has {count} classes.")
    linear = LinearMap(
        weight=listed(mojo, "weights", shape=(width,)),
        bias=listed(mojo, "interceptor", shape=(1,)),
        gaps=means is None,
        task="squared_error" if count == 1 else "hinge",
    )
    score = plan.step(mojo, linear, source, method="score")
    if count == 1:
        return add_regression(mojo, plan, score, score)
    threshold = mojo.number("threshold")
    columns = MarginColumns(threshold=threshold, least=mojo.number("defaultThreshold"))
    shares = plan.step(mojo, columns, score, name="columns")
    decide = plan.step(mojo, Derive(what="above", numbers_=[threshold]), score, name="predict")
    answer = add_labels(mojo, plan, score, shares, decide)
    # These are no probabilities.
    answer.shares, answer.score = "", score
    return answer
