"""`partial_fit`: of a module, one pass over new rows; of a tuner, a stream of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.utils import check_random_state, indexable
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _num_samples

from ..errors import ArgumentError
from ..losses.checks import check_loss
from ..online.batches import count_classes
from ..report.results import Report
from .input_checks import checked_weight, part_of

if TYPE_CHECKING:
    from ..online.batches import ClassCounts
    from ..online.stream import Stream
    from .tuner import FineTuner


def partial_fit_tuner(tuner: FineTuner, X: Any, y: Any, classes: Any, weight: Any) -> None:
    """What `FineTuner.partial_fit` does."""
    check_loss(tuner.loss, y)
    X, y = indexable(X, y)
    rows = np.arange(_num_samples(X))
    if weight is not None and hasattr(tuner, "estimator_") and not np.any(weight):
        return
    weight = checked_weight(weight, X)
    if weight is not None:
        rows = rows[weight > 0]
    if classes is not None and not is_classifier(tuner.estimator):
        raise ArgumentError("classes= was given, and the pipeline is no classifier.")
    part: tuple[Any, ...] = (X, y, weight)
    if len(rows) < _num_samples(X):
        part = part_of(part, rows)
    if hasattr(tuner, "estimator_"):
        _later_call(tuner, part, classes)
    else:
        _first_call(tuner, part, classes)


def _first_call(tuner: FineTuner, part: tuple[Any, ...], classes: Any) -> None:
    """The first rows: the pipeline is fitted on all of them."""
    X, y, weight = part
    if classes is not None:
        _check_all_classes_present(classes, y)
    if is_classifier(tuner.estimator) and y is not None:
        check_classification_targets(y)
    fitted = tuner._fitted(part)
    known = count_classes(X, y, weight, is_classifier(tuner.estimator))
    stream = _stream(tuner, fitted, known)
    tuner.estimator_, tuner._stream, tuner._known = fitted, stream, known
    tuner.improved_, tuner.history_, tuner.stream_ = False, None, []
    tuner.report_ = Report(None, "partial_fit fitted it; rows that come later are its test")
    tuner._take_attributes()


def _later_call(tuner: FineTuner, part: tuple[Any, ...], classes: Any) -> None:
    """Further rows."""
    from ..translate import from_torch

    X, y, weight = part
    if classes is not None:
        _check_same(classes, tuner.classes_)
    stream = tuner._stream
    if stream is None:
        stream = _stream(tuner, tuner.estimator_, tuner._known)
    stream.learn(X, y, weight)
    tuner._stream, tuner.stream_ = stream, stream.history
    tuner.estimator_ = from_torch(stream.write()) if stream.moved else stream.origin


def _stream(tuner: FineTuner, fitted: Any, known: ClassCounts) -> Stream:
    from ..online.stream import Stream

    seed = int(check_random_state(tuner.random_state).randint(np.iinfo(np.int32).max))
    # "auto" asks for a rate that is found, and learners of several rates find it.
    rate = None if tuner.lr == "auto" else tuner.lr
    own = any(setting is not None for setting in (tuner.optim, rate, tuner.epochs))
    options = replace(tuner._options(seed), epochs=tuner.epochs or 1)
    return Stream(fitted, tuner._translated(fitted), known, options, own)


def _check_all_classes_present(classes: Any, y: Any) -> None:
    """The pipeline is fitted on these rows and knows their labels for ever."""
    from ..online.batches import columns_of

    for wanted, column in zip(_lists(classes), columns_of(y), strict=True):
        shown = np.unique(column)
        missing = [str(label) for label in wanted if label not in shown]
        if missing:
            raise ArgumentError(
                f"No row of the first call has the labels {', '.join(missing[:5])}, and the "
                "pipeline cannot grow classes.\nHint: let the first rows show every label of "
                "classes=, or fit on rows that do."
            )
        unknown = [str(label) for label in shown if label not in wanted]
        if unknown:
            raise ArgumentError(f"y has labels that classes= lacks: {', '.join(unknown[:5])}.")


def _check_same(classes: Any, known: Any) -> None:
    given, had = _lists(classes), _lists(known)
    if [sorted(g.tolist()) for g in given] != [sorted(h.tolist()) for h in had]:
        raise ArgumentError(
            f"classes={classes!r:.60} is not what the pipeline was fitted on, {known!r:.60}.\n"
            "Hint: leave classes out, or fit anew."
        )


def _lists(classes: Any) -> list[NDArray[Any]]:
    """Labels of each target, also where there is but one."""
    several = isinstance(classes, list) and len(classes) and np.ndim(classes[0]) == 1
    return [np.asarray(one) for one in (classes if several else [classes])]
