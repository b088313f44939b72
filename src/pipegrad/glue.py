"""Structural steps that composites need between their children; they have no learned parameters.

Each can run on the host (`run`, with arrays) and has a translation that makes it a module.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse


def has_fitted_names(operator: Any, X: Any) -> bool:
    """Whether an input is a table of pandas with the very columns of the operator's fit."""
    names = getattr(operator, "feature_names_in_", None)
    return names is not None and is_pandas_table(X) and X.columns.tolist() == names.tolist()


def is_pandas_table(X: Any) -> bool:
    """Whether an input is a table of pandas, which need not be installed."""
    kind = type(X)
    return kind.__name__ == "DataFrame" and kind.__module__.partition(".")[0] == "pandas"


class Glue:
    """Base class of structural steps."""

    def run(self, *values: Any) -> Any:
        """Apply the step to host values."""
        raise NotImplementedError


@dataclass(eq=False)
class Columns(Glue):
    """A selection of columns of a table.

    Parameters
    ----------
    indices : array of int
        Positions of the columns.
    names : list of str, optional
        Names of the columns, used if the input has column names.
    scalar : bool
        Whether to return one column as one-dimensional values, as text vectorizers expect.
    owner : object, optional
        Fitted composite whose ``feature_names_in_`` or ``n_features_in_`` the input is checked
        against.
    needed : frozenset of str
        Names that the input must have, including those for other parts of the owner.
    by_name : bool
        Whether the user selected the columns by name, so that an array without names is refused.
    """

    indices: Any
    names: list[str] | None = None
    scalar: bool = False
    owner: Any = None
    needed: frozenset[str] = frozenset()
    by_name: bool = False

    def run(self, *values: Any) -> Any:
        """Select the columns, with the same input checks as the source."""
        from sklearn.compose._column_transformer import _check_X
        from sklearn.utils import _safe_indexing

        (X,) = values
        X = _check_X(X)
        if self.names is not None and hasattr(X, "columns"):
            missing = set(self.needed.difference(X.columns))
            if missing:
                raise ValueError(f"columns are missing: {missing}")
            if not self.scalar and has_fitted_names(self.owner, X):
                return X.take(self.indices, axis=1)  # takes a fifth of the time
            return _safe_indexing(X, self.names[0] if self.scalar else self.names, axis=1)
        self._check_width(X)
        columns = int(self.indices[0]) if self.scalar else np.asarray(self.indices, dtype=int)
        return _safe_indexing(X, columns, axis=1)

    def _check_width(self, X: Any) -> None:
        if X.ndim != 2:
            raise ValueError(f"Expected a table (rows, columns), got an array of shape {X.shape}.")
        width = getattr(self.owner, "n_features_in_", X.shape[1])
        if X.shape[1] != width:
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(self.owner).__name__} is expecting "
                f"{width} features as input."
            )
        if self.by_name and not hasattr(X, "columns"):
            raise ValueError(
                "The columns were selected by name, but an array has no names; pass a DataFrame."
            )


@dataclass(eq=False)
class Checked(Glue):
    """The values of a table after its owner has checked the names and the width.

    Parameters
    ----------
    owner : object
        Fitted composite whose children were fitted on arrays without names.
    check : callable
        ``check(owner, X)`` returns a dense or CSR array; it must be a top-level function of its
        module, so that it can be pickled.
    """

    owner: Any
    check: Callable[[Any, Any], Any]

    def run(self, *values: Any) -> Any:
        """Check the table and return its values."""
        (X,) = values
        return self.check(self.owner, X)


@dataclass(eq=False)
class Concatenate(Glue):
    """Horizontal concatenation of blocks.

    Parameters
    ----------
    sparse : bool, optional
        Whether the result is sparse. By default, it is sparse if any of the blocks is.
    weights : tuple of float, optional
        A factor for each block; a block with None is not scaled.
    """

    sparse: bool | None = None
    weights: tuple[float | None, ...] | None = None

    def run(self, *values: Any) -> Any:
        """Concatenate the blocks."""
        blocks = [v.reshape(-1, 1) if np.ndim(v) == 1 else v for v in values]
        if self.weights is not None:
            blocks = [b if w is None else b * w for b, w in zip(blocks, self.weights, strict=True)]
        any_sparse = any(sparse.issparse(block) for block in blocks)
        if any_sparse if self.sparse is None else self.sparse:
            return sparse.hstack([_csr(b) for b in blocks]).tocsr()
        return np.hstack([b.toarray() if sparse.issparse(b) else np.asarray(b) for b in blocks])


def _csr(block: Any) -> Any:
    return block if sparse.issparse(block) else sparse.csr_matrix(np.asarray(block, dtype=float))


@dataclass(eq=False)
class Average(Glue):
    """Weighted mean of predictions, of class probabilities or of one-hot votes.

    Parameters
    ----------
    task : {"regression", "classification", "votes"}
        What the inputs are.
    weights : tuple of float, optional
        A weight for each input.
    places : tuple of tuple of int, optional
        The classes of each input, where some did not see all.
    classes : int
        Number of classes, with ``places``.
    """

    task: str
    weights: tuple[float, ...] | None = None
    places: tuple[tuple[int, ...], ...] | None = None
    classes: int = 0

    def run(self, *values: Any) -> Any:
        """Average over the inputs."""
        if self.places is not None:
            eye = np.eye(self.classes)
            pairs = zip(values, self.places, strict=True)
            values = tuple(v[:, : len(p)] @ eye[list(p)] for v, p in pairs)
        return np.average(np.stack([np.asarray(v) for v in values]), axis=0, weights=self.weights)


@dataclass(eq=False)
class Vote(Glue):
    """Weighted number of votes for each class; inputs are one-hot votes."""

    weights: tuple[float, ...] | None = None

    def run(self, *values: Any) -> Any:
        """Sum the votes, (n, classes)."""
        weights = self.weights or (1.0,) * len(values)
        return sum(np.asarray(v) * w for v, w in zip(values, weights, strict=True))


@dataclass(eq=False)
class Median(Glue):
    """The weighted median of predictions (n,).

    Parameters
    ----------
    weights : array
        A weight for each input.
    """

    weights: Any

    def run(self, *values: Any) -> Any:
        """The median of the inputs in each row."""
        table = np.column_stack(values)
        order = np.argsort(table, axis=1)
        reached = np.cumsum(np.asarray(self.weights)[order], axis=1)
        half = (reached >= 0.5 * reached[:, -1:]).argmax(axis=1)
        rows = np.arange(len(table))
        return table[rows, order[rows, half]]


@dataclass(eq=False)
class BoostedVotes(Glue):
    """The weighted mean of one-hot votes, in which the votes against all classes add up to zero.

    Parameters
    ----------
    weights : tuple of float
        A weight for each input.
    total : float
        Sum of the weights.
    classes : int
        Number of classes.
    """

    weights: tuple[float, ...]
    total: float
    classes: int

    def run(self, *values: Any) -> Any:
        """Values (n, classes), or (n,) for two classes."""
        rest = -1 / (values[0].shape[1] - 1)
        pairs = zip(values, self.weights, strict=True)
        out: Any = sum(np.where(v == 1, w, rest * w) for v, w in pairs) / self.total
        return out[:, 1] - out[:, 0] if out.shape[1] == 2 else out


@dataclass(eq=False)
class Members(Glue):
    """The raw scores of the members of a composite side by side.

    Parameters
    ----------
    head : Head
        What the composite makes of them.
    objective : Objective
        The loss of the composite.
    """

    head: Any
    objective: Any

    def run(self, *values: Any) -> Any:
        """Join the scores (n,) or (n, k_i); a single one stays as it is."""
        return np.column_stack(values) if len(values) > 1 else values[0]


@dataclass(eq=False)
class Response(Glue):
    """What one method of a predictor gives for its raw score, (n,); see `modules.Response`.

    Parameters
    ----------
    head : Head
        What the score means.
    method : str
        The method.
    classes : array, optional
        Labels of the classes; none for regression.
    """

    head: Any
    method: str
    classes: Any = None

    def run(self, *values: Any) -> Any:
        """Apply the method to the scores."""
        import torch

        (score,) = values
        answer = self.head.respond(torch.as_tensor(np.asarray(score)), self.method).numpy()
        if self.method in ("predict_proba", "predict_log_proba"):
            return answer[:, 1]
        named = self.method == "predict" and self.classes is not None
        return np.asarray(self.classes)[answer] if named else answer


@dataclass(eq=False)
class InverseTarget(Glue):
    """Predictions transformed back to the scale of the user's target.

    Parameters
    ----------
    transformer : object
        Fitted transformer of the target.
    squeeze : bool
        Whether a single column becomes one-dimensional, (n,).
    """

    transformer: Any
    squeeze: bool = True

    def run(self, *values: Any) -> Any:
        """Apply ``inverse_transform`` to the predictions."""
        (prediction,) = values
        column = prediction.reshape(-1, 1) if prediction.ndim == 1 else prediction
        out = self.transformer.inverse_transform(column)
        return out.squeeze(1) if self.squeeze and out.ndim == 2 and out.shape[1] == 1 else out


@dataclass(eq=False)
class Labels(Glue):
    """Class indices mapped to the labels of a composite that predicts.

    Parameters
    ----------
    classes : array or list of array
        Labels of the composite; a list of them for several targets.
    """

    classes: Any

    def run(self, *values: Any) -> Any:
        """Map indices (n,) or (n, targets) to labels of the same shape."""
        (codes,) = values
        if isinstance(self.classes, list):
            columns = zip(self.classes, np.asarray(codes).astype(int).T, strict=True)
            return np.column_stack([np.asarray(labels)[place] for labels, place in columns])
        return np.asarray(self.classes)[np.asarray(codes).astype(int)]


@dataclass(eq=False)
class MissingFlags(Glue):
    """Indicators of the missing entries of some columns.

    Parameters
    ----------
    missing : float
        Marker of a missing entry, NaN or a number.
    columns : array of int
        Columns to report.
    """

    missing: float
    columns: Any

    def run(self, *values: Any) -> Any:
        """Indicators (n, number of columns)."""
        (X,) = values
        return _missing(np.asarray(X)[:, self.columns], self.missing).astype(np.float64)


@dataclass(eq=False)
class ImputedColumn(Glue):
    """A table in which predictions replace the missing entries of one column.

    Parameters
    ----------
    column : int
        The column of the table.
    raw : int
        The same column in the table with missing entries.
    missing : float
        Marker of a missing entry, NaN or a number.
    low, high : float
        The range to which predictions are clipped.
    """

    column: int
    raw: int
    missing: float
    low: float
    high: float

    def run(self, *values: Any) -> Any:
        """A filled table, the table with missing entries and predictions to a filled table."""
        table, X, prediction = values
        out = np.array(table)
        clipped = np.clip(np.ravel(prediction), self.low, self.high)
        absent = _missing(np.asarray(X)[:, self.raw], self.missing)
        out[:, self.column] = np.where(absent, clipped, out[:, self.column])
        return out


@dataclass(eq=False)
class UnlessAllMissing(Glue):
    """The first of two tables; the second if all entries of a third one are missing.

    Parameters
    ----------
    missing : float
        Marker of a missing entry, NaN or a number.
    columns : array of int
        Columns of the third table that count.
    """

    missing: float
    columns: Any

    def run(self, *values: Any) -> Any:
        """One of the first two tables."""
        table, other, X = values
        return other if _missing(np.asarray(X)[:, self.columns], self.missing).all() else table


def _missing(values: Any, marker: float) -> Any:
    return np.isnan(values) if np.isnan(marker) else values == marker
