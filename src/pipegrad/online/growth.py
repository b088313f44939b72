"""Continued boosting: new rounds for a pipeline that ends in boosted trees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..errors import warn
from ..registry import Expansion, Translation, lookup
from ..training.samples import Samples
from ..typing import Estimator
from .learner import Learner, RelativeAdam

if TYPE_CHECKING:
    from ..network import PipelineNetwork

# The fewest rows of a call on which trees grow.
FEWEST_ROWS = 70
# The most rounds, as a multiple of those of the pipeline as fitted.
_MOST_ROUNDS = 20


class Translator(Protocol):
    """The two directions of translation, which belong to a higher layer."""

    def translate(self, fitted: Any) -> Any:
        """Translate a fitted pipeline."""

    def write_back(self, net: Any) -> Any:
        """Translate a trained module back into a fitted pipeline."""


def boosting_rounds(source: Estimator) -> int | None:
    """Return the number of rounds of the boosted trees in which a fitted pipeline ends.

    Parameters
    ----------
    source : estimator
        A fitted pipeline or operator.

    Returns
    -------
    int or None
        None if it ends in something else, or in trees that their library cannot add to.
    """
    row = lookup(type(source))
    if isinstance(row, Expansion):
        last = row.last(source)
        return None if last is None else boosting_rounds(last)
    return row.rounds(source) if isinstance(row, Translation) else None


def grow(source: Estimator, samples: Samples, rounds: int) -> bool:
    """Add boosting rounds to a fitted pipeline, in place, by its library's own continuation.

    The steps before the trees transform the samples and stay as they are, and so do the trees
    that are there.

    Parameters
    ----------
    source : estimator
        A fitted pipeline that ends in boosted trees; see `boosting_rounds`.
    samples : Samples
        The samples to fit the new trees to, without weights of zero.
    rounds : int
        The number of rounds to add.

    Returns
    -------
    bool
        False if the samples lack one of the classes, which the libraries do not accept.
    """
    last, X, y = _rows_of_last(source, samples.X, samples.y)
    classes = getattr(last, "classes_", None)
    if isinstance(classes, np.ndarray) and np.ndim(y) == 1 and len(np.unique(y)) < len(classes):
        return False
    row = lookup(type(last))
    assert isinstance(row, Translation)
    row.grow(last, X, y, samples.weight, rounds)
    return True


def _rows_of_last(source: Estimator, X: Any, y: Any) -> tuple[Any, Any, Any]:
    """Return the last operator, and the rows as they reach it."""
    row = lookup(type(source))
    if isinstance(row, Expansion):
        return _rows_of_last(row.last(source), *row.before_last(source, X, y))
    return source, X, y


class GrowingLearner(Learner):
    """A learner that adds boosting rounds, and trains the leaves of all trees.

    Parameters
    ----------
    name : str
        The name in the history.
    net : PipelineNetwork
        The network of a pipeline that ends in boosted trees.
    rate : float
        Relative learning rate of the leaves.
    share : float
        Rounds to add in a call, as a share of those of the pipeline as fitted.
    translator : Translator
        Translates the longer pipeline.
    """

    def __init__(
        self, name: str, net: PipelineNetwork, rate: float, share: float, translator: Translator
    ) -> None:
        super().__init__(name, net, RelativeAdam(rate))
        fitted = boosting_rounds(net.source)
        assert fitted is not None
        self.translator = translator
        self.rounds = max(1, round(share * fitted))
        self.most = _MOST_ROUNDS * fitted

    def grow(self, samples: Samples) -> bool:
        """Add rounds fitted to the samples; return whether any could be added."""
        known = boosting_rounds(self.net.source)
        assert known is not None
        rounds = min(self.rounds, self.most - known)
        if rounds < 1:
            return False
        longer = self.translator.write_back(self.written())
        try:
            if not grow(longer, samples, rounds):
                return False
            net = self.translator.translate(longer)
        except Exception as error:
            # The stream goes on without growth where a library refuses to continue.
            warn(f"{self.name} adds no more trees: {type(error).__name__}: {error}")
            self.most = 0
            return False
        self.adopt(net, net.trainable_parameters())
        return True
