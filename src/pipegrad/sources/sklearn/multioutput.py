"""Composites with a member for each target, independent of each other or in a chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import glue
from ...graph import join
from ...modules import Head, MultioutputMembersHead, MultioutputRegressionHead, RegressionHead
from ...registry import Builder, Expansion, register
from ._base import validate
from ._members import Member, expanded, first_reason, joint_objective, member, why_no_score


class _PerTarget(Expansion):
    """A member for each target, with the same input."""

    def expand(self, operator: Any, builder: Builder, source: str, path: str, method: str) -> str:
        sources = [source] * len(operator.estimators_)
        members = expanded(operator.estimators_, builder, sources, path)
        return _joined(operator, builder, path, method, members)

    def refuse(self, operator: Any) -> str | None:
        return first_reason(operator.estimators_, binary=False)


@register("sklearn.multioutput.MultiOutputRegressor")
class MultiOutputRegressor(_PerTarget):
    """A regressor for each target; the members train, each on its own loss."""


@register("sklearn.multioutput.MultiOutputClassifier")
class MultiOutputClassifier(_PerTarget):
    """A classifier for each target; the members train, each on its own loss."""


class _Chain(Expansion):
    """A member for each target; the answers of those before it are columns of its input."""

    def expand(self, operator: Any, builder: Builder, source: str, path: str, method: str) -> str:
        checked = glue.Checked(operator, _checked)
        source = builder.add(join(path, "checked"), checked, (source,))
        asked = getattr(operator, "chain_method_", "predict")
        members: list[Member] = []
        links: list[str] = []
        for number, estimator in enumerate(operator.estimators_):
            name = join(path, f"estimators_/{number}")
            through = source
            if links:
                columns = (source, *links)
                through = builder.add(f"{name}/columns", glue.Concatenate(), columns)
            members.append(member(estimator, builder, through, name))
            if number + 1 < len(operator.estimators_):
                links.append(_link(builder, members[-1], asked, f"{name}/{asked}"))
        order = np.argsort(operator.order_)
        by_target = [members[place] for place in order]
        return _joined(operator, builder, path, method, by_target, order.tolist())

    def refuse(self, operator: Any) -> str | None:
        asked = getattr(operator, "chain_method_", "predict")
        for estimator in operator.estimators_:
            if asked != "predict" and len(estimator.classes_) != 2:
                return (
                    f"with chain_method={asked!r}, scikit-learn itself cannot predict targets of "
                    f"{len(estimator.classes_)} classes"
                )
        for estimator in operator.estimators_[:-1]:
            reason = why_no_score(estimator, (asked,))
            if reason:
                return reason
        return first_reason(operator.estimators_, binary=False)


@register("sklearn.multioutput.RegressorChain")
class RegressorChain(_Chain):
    """A regressor for each target; gradients pass through the predictions that link them."""


@register("sklearn.multioutput.ClassifierChain")
class ClassifierChain(_Chain):
    """A classifier for each target; gradients pass through links that are no hard labels."""


def _checked(operator: Any, X: Any) -> Any:
    return validate(operator, X, sparse=True)


def _link(builder: Builder, member: Member, method: str, path: str) -> str:
    """Add the answer of a member as a column for later members."""
    classes = np.asarray(member.labels) if member.labels else None
    return builder.add(path, glue.Response(member.head, method, classes), (member.value,))


def _joined(
    operator: Any,
    builder: Builder,
    path: str,
    method: str,
    members: Sequence[Member],
    order: Sequence[int] | None = None,
) -> str:
    """Add the step that joins the scores, members sorted by target."""
    classifies = hasattr(operator, "classes_")
    head = _classification(operator, members, order) if classifies else _regression(members)
    objective = joint_objective(members, labels=True, numbers=not classifies)
    joint = glue.Members(head, objective)
    values = tuple(m.value for m in members)
    value = builder.add(join(path, "members"), joint, values, method)
    if method == "predict" and classifies:
        classes = [np.asarray(m.labels) for m in members]
        value = builder.add(join(path, "labels"), glue.Labels(classes), (value,))
    return value


def _regression(members: Sequence[Member]) -> Head:
    heads = [m.head for m in members]
    links = {(h.link, h.scale) if isinstance(h, RegressionHead) else None for h in heads}
    alike = links.pop() if len(links) == 1 and len(members) > 1 else None
    return MultioutputRegressionHead(heads) if alike is None else RegressionHead(*alike)


def _classification(operator: Any, members: Sequence[Member], order: Sequence[int] | None) -> Head:
    return MultioutputMembersHead(
        [m.head for m in members],
        [m.width for m in members],
        [m.used for m in members],
        responses=("predict", *_responses(operator, members, order is not None)),
        binary=order is not None,
        order=order,
    )


def _responses(operator: Any, members: Sequence[Member], chain: bool) -> list[str]:
    """Return the methods beside ``predict`` that the members answer as the source does."""
    asked = ["predict_proba"]
    if chain:
        asked = ["predict_proba", "predict_log_proba", "decision_function"]
        if any(len(m.labels) != 2 for m in members):
            return []
    found = []
    for method in asked:
        needed = "predict_proba" if method == "predict_log_proba" else method
        if hasattr(operator, needed) and all(needed in m.head.responses for m in members):
            found.append(method)
    return found
