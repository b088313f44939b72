"""Unfolding of a fitted source object into a graph."""

from __future__ import annotations

from typing import Any

from ..registry import Translation, dotted_name, lookup
from .graph import INPUT, Composite, Graph, Step

_ALWAYS_FITTED = (
    *("Pipeline", "FeatureUnion", "FrozenEstimator", "FixedThresholdClassifier"),
    *("FeatureHasher", "HashingVectorizer", "PatchExtractor", "SparseCoder"),
    "GaussianProcessRegressor",  # Without a fit it answers from its prior.
)


class GraphBuilder:
    """Collects the steps of a graph while composites unfold."""

    def __init__(self) -> None:
        self.steps: dict[str, Step] = {}
        self.composites: list[Composite] = []
        self.frozen = False
        self.target: Any = None
        self.columns: dict[str, str] = {}
        self._copies: dict[str, int] = {}

    def expand(self, operator: Any, source: str, path: str, method: str = "transform") -> str:
        """Unfold an operator that takes ``source``; return the name of its output value."""
        row = lookup(type(operator))
        if row is not None:
            _check_fitted(operator, path)
        if isinstance(row, Translation):
            row = row.expansion(operator)
        if row is not None and row.refuse(operator) is None:
            value = row.expand(operator, self, source, path, method)
            self.composites.append(Composite(path, source, method, value, operator))
            return value
        return self.add(path or _default_name(operator), operator, (source,), method)

    def add(
        self,
        path: str,
        operator: Any,
        inputs: tuple[str, ...],
        method: str = "transform",
        kind: str | None = None,
    ) -> str:
        """Add one step; return its name. ``kind`` replaces the dotted name of its class."""
        # Counted for each path, so that many steps of one name do not count each other.
        copies = self._copies.get(path, 1)
        name = path if copies == 1 else f"{path}#{copies}"
        while name in self.steps or name == INPUT:
            copies += 1
            name = f"{path}#{copies}"
        self._copies[path] = copies
        self.steps[name] = Step(
            name=name,
            kind=kind or dotted_name(type(operator)),
            inputs=inputs,
            method=method,
            frozen=self.frozen,
            operator=operator,
        )
        return name

    def operator(self, name: str) -> Any:
        """The operator of a step."""
        return self.steps[name].operator

    def build(self, output: str) -> Graph:
        """The finished graph."""
        return Graph(
            tuple(self.steps.values()), output, tuple(self.composites), self.target, self.columns
        )


def unfold(source: Any) -> Graph:
    """Unfold a fitted source object.

    Parameters
    ----------
    source : object
        A fitted pipeline or operator.

    Returns
    -------
    Graph
        The graph of its steps, not yet partitioned.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        When a part of it is not fitted.
    """
    builder = GraphBuilder()
    method = "score" if _predicts(source) else "transform"
    return builder.build(builder.expand(source, INPUT, "", method))


def join(path: str, name: str) -> str:
    """The path of the child ``name`` of the composite at ``path``."""
    return f"{path}/{name}" if path else name


def _check_fitted(operator: Any, path: str) -> None:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    # Composites are fitted if their parts are, each of which is checked itself; the others have
    # nothing to fit, which scikit-learn says only since 1.6.
    through = type(operator).__name__ in _ALWAYS_FITTED
    if through or not hasattr(operator, "fit"):
        return
    try:
        check_is_fitted(operator)
    except NotFittedError:
        place = f" at {path!r}" if path else ""
        raise NotFittedError(f"The {type(operator).__name__}{place} is not fitted yet.") from None


def _default_name(operator: Any) -> str:
    return type(operator).__name__.lower()


def _predicts(source: Any) -> bool:
    if hasattr(source, "predict"):
        return True
    # Estimates of densities and covariances have scores only.
    scores = any(hasattr(source, name) for name in ("score_samples", "mahalanobis", "score"))
    return scores and not hasattr(source, "transform")
