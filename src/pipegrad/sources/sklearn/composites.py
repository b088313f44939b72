"""Composites of scikit-learn and how each expands into steps and edges."""

from __future__ import annotations

from itertools import chain
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._indexing import _determine_key_type
from torch import nn

from ... import glue, modules
from ...graph import join
from ...registry import Builder, Expansion, lookup, register
from ._members import member, why_no_score


@register("sklearn.pipeline.Pipeline")
class Pipeline(Expansion):
    """Steps in sequence."""

    always_fitted: ClassVar[bool] = True

    def expand(self, operator: Any, builder: Builder, source: str, path: str, method: str) -> str:
        value = source
        last = len(operator.steps) - 1
        for place, (name, step) in enumerate(operator.steps):
            if not self.passes(step):
                asked = method if place == last else "transform"
                value = builder.expand(step, value, join(path, name), asked)
        if value == source:
            value = builder.add(join(path, "passthrough"), glue.Concatenate(), (source,))
        return value

    def passes(self, step: Any) -> bool:
        """Whether a step does nothing to its input."""
        return step is None or (isinstance(step, str) and step == "passthrough")

    def inverse(self, operator: Any) -> nn.Module | None:
        back = [_inverse(step) for _, step in reversed(operator.steps) if not self.passes(step)]
        if any(module is None for module in back):
            return None
        return modules.Sequential(*[module for module in back if module is not None])

    def last(self, operator: Any) -> Any:
        step = operator.steps[-1][1]
        return None if self.passes(step) else step

    def before_last(self, operator: Any, X: Any, y: Any) -> tuple[Any, Any]:
        return (operator[:-1].transform(X) if len(operator.steps) > 1 else X), y


def _inverse(operator: Any) -> nn.Module | None:
    row = lookup(type(operator))
    return None if row is None else row.inverse(operator)


@register("sklearn.pipeline.FeatureUnion")
class FeatureUnion(Expansion):
    """Several transformers of the same input, with their outputs concatenated."""

    always_fitted: ClassVar[bool] = True

    def expand(self, operator: Any, builder: Builder, source: str, path: str, method: str) -> str:
        weights = operator.transformer_weights or {}
        values, factors = [], []
        for name, child in operator.transformer_list:
            if child == "drop":
                continue
            through = source
            if child != "passthrough":
                through = builder.expand(child, source, join(path, name))
            values.append(through)
            factors.append(weights.get(name))
        joined = glue.Concatenate(weights=_unless_none(factors))
        return builder.add(join(path, "concatenate"), joined, tuple(values))

    def refuse(self, operator: Any) -> str | None:
        kept = [child for _, child in operator.transformer_list if child != "drop"]
        return None if kept else "every transformer is dropped"


@register("sklearn.compose.ColumnTransformer")
class ColumnTransformer(Expansion):
    """Each transformer gets its own columns; the rest is dropped, passed through or transformed."""

    def expand(self, operator: Any, builder: Builder, source: str, path: str, method: str) -> str:
        weights = operator.transformer_weights or {}
        names = getattr(operator, "feature_names_in_", None)
        parts = [part for part in operator.transformers_ if not _is_dropped(operator, part)]
        needed = _needed(operator, parts, names)
        values, factors = [], []
        for name, child, columns in parts:
            indices = np.asarray(operator._transformer_to_input_indices[name], dtype=int)
            picked = glue.Columns(
                indices,
                None if names is None else [names[i] for i in indices],
                scalar=bool(np.isscalar(columns)),
                owner=operator,
                needed=needed,
                by_name=name != "remainder" and _determine_key_type(columns) == "str",
            )
            value = builder.add(join(path, f"{name}/columns"), picked, (source,))
            if child != "passthrough":
                value = builder.expand(child, value, join(path, name))
            values.append(value)
            factors.append(weights.get(name))
        joined = glue.Concatenate(sparse=operator.sparse_output_, weights=_unless_none(factors))
        return builder.add(join(path, "concatenate"), joined, tuple(values))

    def refuse(self, operator: Any) -> str | None:
        if all(_is_dropped(operator, part) for part in operator.transformers_):
            return "every column is dropped"
        return None


def _is_dropped(operator: Any, part: tuple[str, Any, Any]) -> bool:
    name, child, _ = part
    return (isinstance(child, str) and child == "drop") or not len(
        operator._transformer_to_input_indices[name]
    )


def _needed(operator: Any, parts: list[Any], names: Any) -> frozenset[str]:
    if names is None:
        return frozenset()
    indices = operator._transformer_to_input_indices
    return frozenset(names[i] for i in chain(*(indices[part[0]] for part in parts)))


def _unless_none(factors: list[float | None]) -> tuple[float | None, ...] | None:
    return None if all(factor is None for factor in factors) else tuple(factors)


@register("sklearn.ensemble.StackingRegressor", "sklearn.ensemble.StackingClassifier")
class Stacking(Expansion):
    """The concatenated predictions of the first layer feed the final estimator."""

    def expand(self, operator: Any, builder: Builder, source: str, path: str, method: str) -> str:
        values = []
        for (name, child), asked in zip(_fitted(operator), operator.stack_method_, strict=True):
            if asked == "predict_proba":
                asked = _shares(operator)
            values.append(builder.expand(child, source, join(path, name), asked))
        if operator.passthrough:
            values.append(source)
        value = builder.add(join(path, "concatenate"), glue.Concatenate(), tuple(values))
        if method == "transform":
            return value
        final, name = operator.final_estimator_, join(path, "final_estimator")
        if _several_labels(operator):
            inner = member(final, builder, value, name)
            joint = glue.Members(modules.FirstSharesHead(inner.head), inner.objective)
            value = builder.add(join(path, "joint"), joint, (inner.value,), method)
        else:
            value = builder.expand(final, value, name, method)
        # The final estimator knows the classes only by index.
        if method == "predict" and _has_labels(operator):
            value = builder.add(join(path, "labels"), glue.Labels(operator.classes_), (value,))
        return value

    def refuse(self, operator: Any) -> str | None:
        if not _several_labels(operator):
            return None
        if any(labels.tolist() != [0, 1] for labels in operator.classes_):
            return "its labels are not zero and one"
        return why_no_score(operator.final_estimator_)


def _several_labels(operator: Any) -> bool:
    return isinstance(getattr(operator, "_label_encoder", None), list)


def _shares(operator: Any) -> str:
    """Return the probabilities of members that the final estimator takes."""
    if len(getattr(operator, "classes_", ())) == 2:
        return "rest_proba"
    return "label_proba" if _several_labels(operator) else "predict_proba"


@register("sklearn.ensemble.VotingRegressor")
class VotingRegressor(Expansion):
    """The weighted mean of the predictions."""

    kept: ClassVar[tuple[str, ...]] = ("weights",)

    def expand(self, operator: Any, builder: Builder, source: str, path: str, method: str) -> str:
        values = _children(operator, builder, source, path, "predict")
        if method == "transform":
            return builder.add(join(path, "concatenate"), glue.Concatenate(), values)
        average = glue.Average("regression", _weights(operator))
        return builder.add(join(path, "average"), average, values, method)


@register("sklearn.ensemble.VotingClassifier")
class VotingClassifier(Expansion):
    """The majority of hard votes or the weighted mean of probabilities."""

    kept: ClassVar[tuple[str, ...]] = ("weights",)

    def expand(self, operator: Any, builder: Builder, source: str, path: str, method: str) -> str:
        soft = operator.voting == "soft"
        if method == "transform" and soft and not operator.flatten_transform:
            return builder.add(path, operator, (source,), method)
        if method == "transform":
            asked = "predict_proba" if soft else "predict"
            values = _children(operator, builder, source, path, asked)
            return builder.add(join(path, "concatenate"), glue.Concatenate(), values)
        values = _children(operator, builder, source, path, "predict_proba" if soft else "votes")
        weights = _weights(operator)
        joint = glue.Average("classification", weights) if soft else glue.Vote(weights)
        value = builder.add(join(path, "average" if soft else "vote"), joint, values, method)
        if method == "predict":
            value = builder.add(join(path, "labels"), glue.Labels(operator.classes_), (value,))
        return value


def _children(
    operator: Any, builder: Builder, source: str, path: str, method: str
) -> tuple[str, ...]:
    return tuple(
        builder.expand(child, source, join(path, name), method) for name, child in _fitted(operator)
    )


def _fitted(operator: Any) -> list[tuple[str, Any]]:
    """Return names and fitted members of an ensemble, without the dropped ones."""
    named = operator.named_estimators_.items()
    names = [name for name, child in named if not isinstance(child, str)]
    return list(zip(names, operator.estimators_, strict=True))


def _has_labels(operator: Any) -> bool:
    classes = getattr(operator, "classes_", None)
    return classes is not None and not np.array_equal(classes, np.arange(len(classes)))


def _weights(operator: Any) -> tuple[float, ...] | None:
    weights = operator._weights_not_none
    return None if weights is None else tuple(float(w) for w in weights)


@register("sklearn.compose.TransformedTargetRegressor")
class TransformedTargetRegressor(Expansion):
    """A regressor on a transformed target.

    If it is the last step, its score and loss stay on the transformed scale, on which the source
    minimizes its loss; predictions are transformed back.
    """

    def expand(self, operator: Any, builder: Builder, source: str, path: str, method: str) -> str:
        path = join(path, "regressor")
        # Only the outermost transformation belongs to the loss; inner ones are steps.
        if method == "score" and builder.target is None:
            builder.target = operator
            return builder.expand(operator.regressor_, source, path, method)
        value = builder.expand(operator.regressor_, source, path, "predict")
        back = glue.InverseTarget(operator.transformer_, operator._training_dim == 1)
        return builder.add(join(path, "inverse"), back, (value,), method)

    def last(self, operator: Any) -> Any:
        return operator.regressor_

    def before_last(self, operator: Any, X: Any, y: Any) -> tuple[Any, Any]:
        table = np.asarray(y)
        table = operator.transformer_.transform(table.reshape(len(table), -1))
        return X, table[:, 0] if table.ndim == 2 and table.shape[1] == 1 else table


@register("sklearn.frozen.FrozenEstimator")
class FrozenEstimator(Expansion):
    """The wrapped estimator stays frozen."""

    always_fitted: ClassVar[bool] = True

    def expand(self, operator: Any, builder: Builder, source: str, path: str, method: str) -> str:
        before, builder.frozen = builder.frozen, True
        try:
            return builder.expand(operator.estimator, source, path, method)
        finally:
            builder.frozen = before

    def inverse(self, operator: Any) -> nn.Module | None:
        return _inverse(operator.estimator)


@register(
    "sklearn.model_selection.GridSearchCV",
    "sklearn.model_selection.RandomizedSearchCV",
    "sklearn.model_selection.HalvingGridSearchCV",
    "sklearn.model_selection.HalvingRandomSearchCV",
)
class Search(Expansion):
    """A search is replaced by its best estimator."""

    def expand(self, operator: Any, builder: Builder, source: str, path: str, method: str) -> str:
        return builder.expand(operator.best_estimator_, source, path, method)

    def refuse(self, operator: Any) -> str | None:
        return None if operator.refit else "refit=False leaves no best estimator"

    def last(self, operator: Any) -> Any:
        return operator.best_estimator_


@register("pipegrad.Featurizer")
class Featurizer(Expansion):
    """A predictor's scores and probabilities become feature columns."""

    def expand(self, operator: Any, builder: Builder, source: str, path: str, method: str) -> str:
        return builder.expand(operator.estimator_, source, path, "features")
