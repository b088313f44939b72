"""Sample weights and other metadata on their way to the ``fit`` of a source."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from sklearn import get_config

from ..errors import ArgumentError
from ..typing import Estimator, SampleWeight

# Attributes in which composites keep the single estimator that they pass their arguments on to.
_PASSED_TO = ("estimator", "regressor", "classifier")


def fit_arguments(
    estimator: Estimator, weight: SampleWeight, metadata: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the keyword arguments with which the estimator's ``fit`` receives the metadata.

    Parameters
    ----------
    estimator : estimator
        The pipeline, fitted or not.
    weight : array of shape (n,), optional
        Weight of each sample.
    metadata : mapping, optional
        Further arguments by name, which are passed on as they are.

    Returns
    -------
    dict
        The arguments.

    Raises
    ------
    ArgumentError
        If weights are given, and the estimator or one that it passes them on to does not take them.
    """
    found = dict(metadata or {})
    if weight is not None:
        found[weight_argument(estimator)] = weight
    return found


def weight_argument(estimator: Estimator) -> str:
    """Return the name by which ``fit`` takes sample weights.

    With scikit-learn's metadata routing, this is "sample_weight", and the estimator decides which
    of its parts receive them. Without it, the last step of a pipeline receives them
    (``"ridge__sample_weight"``), and all members of an ensemble do.

    Raises
    ------
    ArgumentError
        If the estimator, or one that it passes weights on to, does not take them.
    """
    if _routes():
        if not _takes(estimator, "sample_weight"):
            raise _no_weights(estimator, estimator)
        return "sample_weight"
    return _unrouted(estimator, estimator)


def takes_weight(estimator: Estimator) -> bool:
    """Whether ``fit(X, y, sample_weight=...)`` of the estimator uses weights."""
    if _routes():
        return _requests(estimator, "fit", "sample_weight")
    try:
        return _unrouted(estimator, estimator) == "sample_weight"
    except ArgumentError:
        return False


def takes_groups(estimator: Estimator) -> bool:
    """Whether ``fit(X, y, groups=...)`` uses groups, as searches with a group splitter do."""
    if _routes():
        return _requests(estimator, "fit", "groups")
    splitter = getattr(estimator, "cv", None)
    return _requests(splitter, "split", "groups") and _takes(estimator, "groups")


def _unrouted(estimator: Estimator, asked: Estimator) -> str:
    if _is_pipeline(estimator):
        name, last = [step for step in estimator.steps if step[1] not in (None, "passthrough")][-1]
        return f"{name}__{_unrouted(last, asked)}"
    named, further = _signature(estimator)
    # Before scikit-learn 1.7, votes and stacks name what they only pass on.
    if "sample_weight" in named and not _is_ensemble(estimator):
        return "sample_weight"
    if "sample_weight" not in named and not further:
        raise _no_weights(estimator, asked)
    for attribute in _PASSED_TO:
        inner = getattr(estimator, attribute, None)
        if hasattr(inner, "fit"):
            return _unrouted(inner, asked)
    for member in _members(estimator):
        if _unrouted(member, asked) != "sample_weight":
            raise _no_weights(member, asked)
    return "sample_weight"


def _members(estimator: Estimator) -> Iterator[Estimator]:
    """The estimators to which an ensemble passes weights on, unchanged."""
    for _, member in getattr(estimator, "estimators", None) or ():
        if member not in (None, "drop", "passthrough"):
            yield member
    final = getattr(estimator, "final_estimator", None)
    if final is not None:
        yield final


def _routes() -> bool:
    return bool(get_config().get("enable_metadata_routing"))


def _requests(consumer: Any, method: str, argument: str) -> bool:
    """Whether the metadata routing of an object passes an argument to its method, or beyond."""
    if not hasattr(consumer, "get_metadata_routing"):
        return False
    try:
        routing = consumer.get_metadata_routing()
    except NotImplementedError:  # stacks and transformed targets before scikit-learn 1.6
        return False
    return argument in routing.consumes(method, [argument])


def _is_pipeline(estimator: Estimator) -> bool:
    from sklearn.pipeline import Pipeline  # loads rich, which waits until it is needed

    return isinstance(estimator, Pipeline)


def _is_ensemble(estimator: Estimator) -> bool:
    from sklearn import ensemble  # loads much, like pipelines

    kinds = (
        *(ensemble.VotingClassifier, ensemble.VotingRegressor),
        *(ensemble.StackingClassifier, ensemble.StackingRegressor),
    )
    return isinstance(estimator, kinds)


def _takes(estimator: Estimator, argument: str) -> bool:
    named, further = _signature(estimator)
    return argument in named or further


def _signature(estimator: Estimator) -> tuple[set[str], bool]:
    """The names that ``fit`` takes, and whether it takes others as well."""
    parameters = inspect.signature(estimator.fit).parameters
    further = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    return set(parameters), further


def _no_weights(estimator: Estimator, asked: Estimator) -> ArgumentError:
    kind, whole = type(estimator).__name__, type(asked).__name__
    within = "" if kind == whole else f", to which {whole} passes it on,"
    way = "fit does not take it"
    if _is_pipeline(estimator):
        way = "fit takes it only under the name of a step, which needs metadata routing"
    return ArgumentError(
        f"sample_weight was given, but {kind}{within} has no use for it: {kind}.{way}.\n"
        "Hint: omit sample_weight, or use steps whose fit takes it."
    )
