"""What composites of several predictors share: their members' steps, heads and losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import is_regressor

from ...graph import join
from ...losses import Part, get_loss
from ...losses.members import Codes
from ...modules import BernoulliHead, Head
from ...registry import Builder, Expansion, Objective, Translation, lookup, translation


@dataclass(frozen=True)
class Member:
    """A member of a composite with the step that computes its raw score.

    Parameters
    ----------
    estimator : object
        The member.
    value : str
        Name of the step.
    head : Head
        What the score means.
    objective : Objective, optional
        The loss of the member; none if it is a constant.
    """

    estimator: Any
    value: str
    head: Head
    objective: Objective | None

    @property
    def labels(self) -> tuple[Any, ...]:
        """The labels of the member's classes; none for regressors."""
        if is_regressor(self.estimator):
            return ()
        return tuple(np.asarray(getattr(self.estimator, "classes_", (0, 1))).tolist())

    @property
    def width(self) -> int:
        """Number of columns of the score; 0 for (n,)."""
        return 0 if is_regressor(self.estimator) else self.head.columns(len(self.labels))

    @property
    def used(self) -> str:
        """The method that composites of binary members ask."""
        return method_used(self.estimator)

    @property
    def part(self) -> Part:
        """The member as its loss sees it."""
        if self.objective is None:
            return Part(None, {}, self.width, self.labels)
        return Part(self.objective.name, self.objective.options, self.width, self.labels)


def method_used(estimator: Any) -> str:
    """The method of a binary member that tells how sure it is."""
    if is_regressor(estimator):
        return "predict"
    return "decision_function" if hasattr(estimator, "decision_function") else "predict_proba"


def expanded(
    estimators: Sequence[Any],
    builder: Builder,
    sources: Sequence[str],
    path: str,
    sure: bool = False,
) -> list[Member]:
    """Add the steps of all members, each of which takes its own source; see `member`."""
    pairs = enumerate(zip(estimators, sources, strict=True))
    return [member(e, builder, s, join(path, f"estimators_/{n}"), sure) for n, (e, s) in pairs]


def member(estimator: Any, builder: Builder, source: str, path: str, sure: bool = False) -> Member:
    """Add the steps of one member, whose output is its raw score.

    If the composite only asks how ``sure`` a binary member is, the decision values of a member
    whose score does not tell them take the place of its score.
    """
    asked = method_used(estimator)
    separate = sure and why_no_score(estimator, (asked,)) is not None
    before = builder.target
    # A transformed target within a member is a step of its own.
    builder.target = estimator if before is None else before
    try:
        value = builder.expand(estimator, source, path, asked if separate else "score")
    finally:
        builder.target = before
    if separate:
        return Member(estimator, value, BernoulliHead(), Objective("log_loss"))
    operator = builder.operator(value)
    row = translation(operator)
    head = None if row is None else row.head(operator)
    assert row is not None
    assert head is not None
    return Member(estimator, value, head, row.objective(operator))


def why_no_score(estimator: Any, methods: Sequence[str] = (), separate: bool = False) -> str | None:
    """Why a member has no raw score from which these methods follow, or None.

    With ``separate``, methods that unfold into steps of their own are no reason.
    """
    row = lookup(type(estimator))
    if row is None:
        return f"its member {type(estimator).__name__} has no translation"
    expansion = row if isinstance(row, Expansion) else row.expansion(estimator)
    if expansion is not None:
        inner = expansion.last(estimator)
        wanted = [m for m in methods if not (separate and m in expansion.separate)]
        own = expansion.refuse(estimator) or _lacks(estimator, wanted, expansion.responses)
        return own if own or inner is None else why_no_score(inner, methods, separate)
    assert isinstance(row, Translation)
    reason = row.refuse(estimator)
    if reason:
        return f"its member {type(estimator).__name__} has no module: {reason}"
    head = row.head(estimator)
    return _lacks(estimator, methods, () if head is None else head.responses)


def _lacks(estimator: Any, wanted: Sequence[str], known: Sequence[str] | None) -> str | None:
    """Say which of the wanted methods is not among the known ones; None stands for all."""
    lacking = [method for method in wanted if known is not None and method not in known]
    name = type(estimator).__name__
    return f"its member {name} has no module for {lacking[0]}" if lacking else None


def first_reason(
    estimators: Sequence[Any], binary: bool = True, separate: bool = False
) -> str | None:
    """The first member's reason of `why_no_score`, or None; ``binary`` members tell how sure."""
    for estimator in estimators:
        reason = why_no_score(estimator, (method_used(estimator),) if binary else (), separate)
        if reason:
            return reason
    return None


def joint_objective(
    members: Sequence[Member],
    codes: Codes | None = None,
    labels: bool = False,
    numbers: bool = False,
) -> Objective:
    """The sum of the losses of the members.

    Parameters
    ----------
    members : sequence of Member
        The members.
    codes : tuple of tuple of int, optional
        The target of each member (column) for each class; one class against the rest by default.
    labels : bool
        Whether targets are columns, one for each member.
    numbers : bool
        Whether they are numbers; of the same loss for all, it is then the mean over targets.
    """
    first = members[0].objective
    if numbers and first is not None and all(m.objective == first for m in members):
        return first
    weights = [m.objective.class_weight for m in members if m.objective is not None]
    weight = next((w for w in weights if w is not None), None)
    plain = None if weight is not None or codes is not None else _plain(members, labels)
    if plain is not None:
        return plain
    parts = tuple(m.part for m in members)
    return Objective("member_losses", {"parts": parts, "codes": codes}, weight)


def _plain(members: Sequence[Member], labels: bool) -> Objective | None:
    """The loss of the table that adds up the same losses of all members, or None."""
    first = members[0].objective
    if first is None or any(m.width or m.objective != first for m in members):
        return None
    if get_loss(first.name).target != "class":
        return None
    options = {name: value for name, value in first.options.items() if name != "weigh"}
    if first.name == "log_loss" and not labels and len(members) > 1:
        return None if "positive" in options else Objective("one_vs_rest_log_loss", options)
    return Objective(first.name, options)
