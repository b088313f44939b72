"""Binary classifiers with a threshold of their own, and classifiers fitted on few labels."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import is_classifier

from ... import glue
from ...graph import join
from ...modules import ThresholdHead
from ...registry import Builder, Expansion, register
from ._base import validate
from ._members import member, why_no_score


class _Thresholded(Expansion):
    """Another threshold for a classifier, which trains; the threshold stays."""

    not_kept = "the threshold was chosen for the scores before training, and stays as it is"

    def expand(self, operator: Any, builder: Builder, source: str, path: str, method: str) -> str:
        child, name = _classifier(operator), join(path, "estimator_")
        if method not in ("score", "predict", "votes"):
            return builder.expand(child, source, name, method)
        inner = member(child, builder, source, name)
        positive = _positive(child, self.positive_label(operator))
        head = ThresholdHead(inner.head, _method(operator), self.threshold(operator), positive)
        joint = glue.Members(head, inner.objective)
        value = builder.add(join(path, "threshold"), joint, (inner.value,), method)
        if method == "predict":
            value = builder.add(join(path, "labels"), glue.Labels(child.classes_), (value,))
        return value

    def refuse(self, operator: Any) -> str | None:
        child = _classifier(operator)
        if not hasattr(child, "classes_"):
            return None  # It is not fitted, which is found when it unfolds.
        if not is_classifier(child) or len(child.classes_) != 2:
            return "it does not have two classes"
        return why_no_score(child, (_method(operator),))

    def threshold(self, operator: Any) -> float:
        """Return the threshold."""
        raise NotImplementedError

    def positive_label(self, operator: Any) -> Any:
        """Return the label of the positive class; None for the second one."""
        raise NotImplementedError


def _classifier(operator: Any) -> Any:
    return getattr(operator, "estimator_", operator.estimator)


def _method(operator: Any) -> str:
    """Return the method whose values are compared with the threshold."""
    if operator.response_method != "auto":
        return str(operator.response_method)
    known = hasattr(_classifier(operator), "predict_proba")
    return "predict_proba" if known else "decision_function"


def _positive(classifier: Any, label: Any) -> int:
    return 1 if label is None else int(np.flatnonzero(classifier.classes_ == label)[0])


@register("sklearn.model_selection.FixedThresholdClassifier")
class FixedThresholdClassifier(_Thresholded):
    """A fixed threshold; the classifier trains."""

    always_fitted: ClassVar[bool] = True

    def threshold(self, operator: Any) -> float:
        if operator.threshold != "auto":
            return float(operator.threshold)
        return 0.5 if _method(operator) == "predict_proba" else 0.0

    def positive_label(self, operator: Any) -> Any:
        return operator.pos_label

    def refuse(self, operator: Any) -> str | None:
        label, classes = operator.pos_label, getattr(_classifier(operator), "classes_", None)
        if label is not None and classes is not None and label not in np.asarray(classes).tolist():
            return f"pos_label={label!r} is none of its classes"
        return super().refuse(operator)


@register("sklearn.model_selection.TunedThresholdClassifierCV")
class TunedThresholdClassifierCV(_Thresholded):
    """best_threshold_ stays; the classifier trains."""

    def threshold(self, operator: Any) -> float:
        return float(operator.best_threshold_)

    def positive_label(self, operator: Any) -> Any:
        return operator._curve_scorer._get_pos_label()


@register("sklearn.semi_supervised.SelfTrainingClassifier")
class SelfTrainingClassifier(Expansion):
    """A self-trained classifier is replaced by its fitted estimator."""

    def expand(self, operator: Any, builder: Builder, source: str, path: str, method: str) -> str:
        # The estimator was fitted on arrays without names.
        source = builder.add(join(path, "checked"), glue.Checked(operator, _checked), (source,))
        return builder.expand(self.last(operator), source, join(path, "estimator_"), method)

    def last(self, operator: Any) -> Any:
        # The second name is that of scikit-learn 1.5.
        known = getattr(operator, "estimator_", None)
        return operator.base_estimator_ if known is None else known

    def before_last(self, operator: Any, X: Any, y: Any) -> tuple[Any, Any]:
        return _checked(operator, X), y


def _checked(operator: Any, X: Any) -> Any:
    return validate(operator, X, sparse=True, finite=False)
