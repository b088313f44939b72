"""Classifiers of several classes or labels that consist of binary ones."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from sklearn.multiclass import _threshold_for_binary_predict
from sklearn.utils.fixes import parse_version
from torch import nn

from ... import glue, modules
from ...graph import join
from ...losses.members import Codes
from ...modules import Head, OneVsRestHead, OutputCodeHead, PairsHead
from ...registry import Builder, Expansion, register
from ..arrays import to_tensor
from ._base import LAST_OF_EQUALS, SKLEARN, SklearnTranslation, validate
from ._members import Member, expanded, first_reason, joint_objective

# Before, rows that no member claims had no probabilities.
_ZEROS = parse_version("1.7") <= SKLEARN


@register("sklearn.multiclass._ConstantPredictor")
class ConstantPredictor(SklearnTranslation):
    """The only target that a member has seen; nothing trains."""

    examples = ()
    sparse = True
    missing = True
    differentiable = False

    def to_torch(self, operator: Any) -> nn.Module:
        values = to_tensor(np.asarray(operator.y_, dtype=np.float64).reshape(-1))
        return modules.Constant(values, squeeze=True).requires_grad_(False)

    def trainable(self, operator: Any) -> bool:
        return False

    def write_back(self, module: Any, operator: Any) -> None:
        """Do nothing: there are no trainable parameters."""

    def encode(self, operator: Any, X: Any) -> Any:
        return validate(operator, X, sparse=True, finite=False, dtype=None)

    def head(self, operator: Any) -> Head:
        return modules.ConstantHead()

    def objective(self, operator: Any) -> None:
        return None


class _BinaryMembers(Expansion):
    """Members that tell two groups of classes apart, asked only how sure they are."""

    def refuse(self, operator: Any) -> str | None:
        return first_reason(operator.estimators_, separate=True)


@register("sklearn.multiclass.OneVsRestClassifier")
class OneVsRestClassifier(_BinaryMembers):
    """A member for each class or label, with the scores of all side by side; members train."""

    def expand(self, operator: Any, builder: Builder, source: str, path: str, method: str) -> str:
        sources = [source] * len(operator.estimators_)
        members = expanded(operator.estimators_, builder, sources, path, sure=True)
        objective = joint_objective(members, labels=operator.multilabel_)
        joint = glue.Members(_one_vs_rest_head(operator, members), objective)
        return _joined(operator, builder, path, method, members, joint)


def _joined(
    operator: Any,
    builder: Builder,
    path: str,
    method: str,
    members: list[Member],
    joint: glue.Members,
) -> str:
    """Add the step that joins the scores of the members."""
    values = tuple(m.value for m in members)
    value = builder.add(join(path, "members"), joint, values, method)
    if method == "predict" and joint.head.task == "classification":
        value = builder.add(join(path, "labels"), glue.Labels(operator.classes_), (value,))
    return value


def _one_vs_rest_head(operator: Any, members: list[Member]) -> Head:
    return OneVsRestHead(
        [m.head for m in members],
        [m.width for m in members],
        [m.used for m in members],
        boundary=_threshold_for_binary_predict(operator.estimators_[0]),
        labels=operator.multilabel_,
        alone=len(operator.classes_) == 1,
        responses=_responses(operator, members),
        last=LAST_OF_EQUALS,
        zeros=_ZEROS,
    )


def _responses(operator: Any, members: list[Member]) -> tuple[str, ...]:
    """Return the methods that the members answer; others, and sparse answers, are the source's."""
    found = []
    if not operator.label_binarizer_.sparse_input_:
        found.append("predict")
    for method in ("predict_proba", "decision_function"):
        if hasattr(operator, method) and all(method in m.head.responses for m in members):
            found.append(method)
    return tuple(found)


@register("sklearn.multiclass.OneVsOneClassifier")
class OneVsOneClassifier(_BinaryMembers):
    """A member for each pair of classes, which votes; members train on the rows of their pair."""

    def refuse(self, operator: Any) -> str | None:
        # Members vote as they predict, and only where they agree are they asked how sure they are.
        return first_reason(operator.estimators_)

    def expand(self, operator: Any, builder: Builder, source: str, path: str, method: str) -> str:
        source = builder.add(join(path, "checked"), glue.Checked(operator, _checked), (source,))
        count, classes = len(operator.estimators_), len(operator.classes_)
        sources = [source] * count
        if operator.pairwise_indices_ is not None:
            # Each member knows the kernel of its own rows only.
            sources = [
                builder.add(
                    join(path, f"estimators_/{n}/columns"), glue.Columns(indices), (source,)
                )
                for n, indices in enumerate(operator.pairwise_indices_)
            ]
        members = expanded(operator.estimators_, builder, sources, path)
        head = PairsHead(
            [m.head for m in members],
            [m.width for m in members],
            [m.used for m in members],
            classes,
            boundary=_threshold_for_binary_predict(operator.estimators_[0]),
        )
        codes = _pair_codes(classes) if classes > 2 else None
        joint = glue.Members(head, joint_objective(members, codes))
        return _joined(operator, builder, path, method, members, joint)


def _checked(operator: Any, X: Any) -> Any:
    return validate(operator, X, sparse=True, finite=False)


def _pair_codes(classes: int) -> Codes:
    """Return the target of each pair's member for each class; -1 for the classes of other pairs."""
    pairs = list(combinations(range(classes), 2))
    return tuple(
        tuple(pair.index(one) if one in pair else -1 for pair in pairs) for one in range(classes)
    )


@register("sklearn.multiclass.OutputCodeClassifier")
class OutputCodeClassifier(_BinaryMembers):
    """A member for each column of the code book, the nearest row of which is predicted."""

    def expand(self, operator: Any, builder: Builder, source: str, path: str, method: str) -> str:
        sources = [source] * len(operator.estimators_)
        members = expanded(operator.estimators_, builder, sources, path, sure=True)
        head = OutputCodeHead(
            [m.head for m in members],
            [m.width for m in members],
            [m.used for m in members],
            to_tensor(operator.code_book_),
        )
        codes = tuple(tuple(int(code == 1) for code in row) for row in operator.code_book_)
        joint = glue.Members(head, joint_objective(members, codes))
        return _joined(operator, builder, path, method, members, joint)
