"""Steps that composites need between their children; they hold no learned numbers.

Each can run on the host (`run`, with arrays) and has a row in the table that makes it a module.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse


class Glue:
    """A step of our own making."""

    def run(self, *values: Any) -> Any:
        """The step's result on host values."""
        raise NotImplementedError


@dataclass(eq=False)
class Columns(Glue):
    """Some columns of a table.

    Parameters
    ----------
    indices : array of int
        Positions of the columns.
    names : list of str, optional
        Their names, used when the input has column names.
    scalar : bool
        One column as one-dimensional values (what text vectorizers take).
    owner : object, optional
        Fitted composite with ``feature_names_in_`` / ``n_features_in_`` to check against.
    needed : frozenset of str
        Names that must be there (of the owner's other parts as well).
    by_name : bool
        Whether the user chose them by name, so that an array without names is refused.
    """

    indices: Any
    names: list[str] | None = None
    scalar: bool = False
    owner: Any = None
    needed: frozenset[str] = frozenset()
    by_name: bool = False

    def run(self, *values: Any) -> Any:
        """Pick the columns, checking the table as the source does."""
        from sklearn.compose._column_transformer import _check_X
        from sklearn.utils import _safe_indexing

        (X,) = values
        X = _check_X(X)
        if self.names is not None and hasattr(X, "columns"):
            missing = set(self.needed.difference(X.columns))
            if missing:
                raise ValueError(f"columns are missing: {missing}")
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
                "The columns were chosen by name, which an array does not have; pass a DataFrame."
            )


@dataclass(eq=False)
class Checked(Glue):
    """The numbers of a table, once its owner has checked the names and the width.

    Parameters
    ----------
    owner : object
        Fitted composite whose children were fitted to arrays without names.
    check : callable
        ``check(owner, X)`` gives dense or CSR numbers; a function at the top of its module.
    """

    owner: Any
    check: Callable[[Any, Any], Any]

    def run(self, *values: Any) -> Any:
        """The numbers."""
        (X,) = values
        return self.check(self.owner, X)


@dataclass(eq=False)
class Concatenate(Glue):
    """Blocks side by side.

    Parameters
    ----------
    sparse : bool, optional
        Whether the result is sparse; None: if any of the blocks is.
    weights : tuple of float, optional
        A factor for each block; None leaves it alone.
    """

    sparse: bool | None = None
    weights: tuple[float | None, ...] | None = None

    def run(self, *values: Any) -> Any:
        """Stack horizontally."""
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
    """Weighted mean of predictions (``task="regression"``) or of class probabilities."""

    task: str
    weights: tuple[float, ...] | None = None

    def run(self, *values: Any) -> Any:
        """The mean over the inputs."""
        return np.average(np.stack([np.asarray(v) for v in values]), axis=0, weights=self.weights)


@dataclass(eq=False)
class Vote(Glue):
    """Weighted count of votes for each class; inputs are one-hot votes."""

    weights: tuple[float, ...] | None = None

    def run(self, *values: Any) -> Any:
        """The counts (n, classes)."""
        weights = self.weights or (1.0,) * len(values)
        return sum(np.asarray(v) * w for v, w in zip(values, weights, strict=True))


@dataclass(eq=False)
class InverseTarget(Glue):
    """Predictions back on the scale of the user's target.

    Parameters
    ----------
    transformer : object
        Fitted transformer of the target.
    squeeze : bool
        Whether the answer is (n,).
    """

    transformer: Any
    squeeze: bool = True

    def run(self, *values: Any) -> Any:
        """``inverse_transform`` of the predictions."""
        (prediction,) = values
        column = prediction.reshape(-1, 1) if prediction.ndim == 1 else prediction
        out = self.transformer.inverse_transform(column)
        return out.squeeze(1) if self.squeeze and out.ndim == 2 and out.shape[1] == 1 else out


@dataclass(eq=False)
class Labels(Glue):
    """Class indices become the labels of the composite that was asked to predict.

    Parameters
    ----------
    classes : array
        Its labels.
    """

    classes: Any

    def run(self, *values: Any) -> Any:
        """Labels (n,) of indices (n,)."""
        (codes,) = values
        return np.asarray(self.classes)[np.asarray(codes).astype(int)]
