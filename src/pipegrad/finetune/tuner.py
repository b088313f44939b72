"""Fit, translate, fine-tune and translate back, as one scikit-learn estimator."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import is_classifier
from sklearn.utils import check_random_state, indexable
from sklearn.utils.validation import _num_samples

from ..errors import ArgumentError, warn
from ..losses.checks import check_loss
from ..losses.group_penalty import GroupPenalty, group_codes
from ..report.results import Report
from ..training.samples import Samples
from .incremental import check_first_labels, check_same_labels, weighted_samples
from .pipeline import (
    DelegatingEstimator,
    TunablePipeline,
    check_last_step,
    checked_weight,
    usable_rows,
)
from .validation_splits import (
    Index,
    ValidationSplits,
    given_splits,
    one_split,
    random_splits,
)

if TYPE_CHECKING:
    from ..module import PipelineModule
    from ..modules import SplitMode
    from ..online.batches import ClassCounts
    from ..online.stream import Stream, StreamRecord
    from ..training.criterion import LossLike
    from ..training.optimizers import Optim
    from ..training.options import Options


class FineTuner(DelegatingEstimator):
    """A pipeline that is fitted, and then trained end to end.

    `fit` puts some rows aside, fits a clone of the pipeline on the others, trains all of it
    together by backpropagation, and keeps what did best on the rows put aside; the fitted pipeline
    itself is among the candidates. Predictions come from ``estimator_``, which is the same kind of
    object as ``estimator``.

    Parameters
    ----------
    estimator : estimator
        The pipeline (or single operator); it is cloned, never changed.
    optim : callable, optional
        From parameters to an optimizer; see `pipegrad.finetune.fit`. Setting it, ``epochs`` or
        ``lr`` turns the recipe off; the default is then torch.optim.Adam.
    loss : str, Objective or callable, optional
        A name, a function ``(score, y)``, or what `pipegrad.finetune.losses` makes of them:
        `named`, `Weighted`, `Sum`, `GroupPenalty`. Default: what the last operator itself
        minimises.
    epochs : int, optional
        Largest number of passes over the rows that train; 100 without a recipe.
    batch_size : int or "auto", default="auto"
        Rows of a step.
    lr : float or "auto", optional
        Learning rate, given to ``optim``: the same for all parameters. "auto" searches for one, see
        `pipegrad.finetune.fit`; ``history_[0]["lr"]`` tells which.
    anchor : float, optional
        Strength of a pull towards the fitted parameters; see `pipegrad.finetune.fit`. Default:
        the recipe tries one on few rows, and without a recipe there is none.
    validation_fraction : float, default=0.2
        Share of rows put aside; of each class for a classifier. The recipe puts at most 10,000
        aside, and every row once where one split cannot tell.
    cv : int, splitter or iterable, optional
        How rows are put aside instead, as in scikit-learn's searches: `TimeSeriesSplit` for rows
        in order of time, `GroupKFold` for rows that belong together (with ``groups=``). The last
        split comes first, and at most five are used; no row may validate twice.
    patience : int, default=10
        Epochs without progress after which training stops; None: never. The recipe has its own.
    train, freeze : list of str, optional
        Patterns of the steps to train, or to leave as fitted; see `pipegrad.to_torch`. By default
        all steps train that can, see ``frozen_``.
    callbacks : list of skorch callbacks, optional
        They see the loop as a `skorch.NeuralNet`.
    trees : {"leaves", "soft", "straight-through"}, default="leaves"
        How decision trees train; see `pipegrad.to_torch`.
    recipe : "auto" or None, default="auto"
        "auto": several ways to train are compared on rows that neither the pipeline nor the
        training saw. If the best of them is better by more than chance explains, the pipeline is
        fitted and trained that way on all rows; otherwise the result is the pipeline, fitted on
        all rows. None: one run with the settings above, on the rows not put aside.
    random_state : int, RandomState or None
        Of the split and of the order of rows.
    verbose : int, default=0
        1 shows epoch, losses and the time left.

    Attributes
    ----------
    estimator_ : estimator
        The trained pipeline.
    improved_ : bool
        Whether training beat the fitted pipeline; if not, ``estimator_`` is as it was fitted.
    frozen_ : list of str
        Steps left as fitted because a step that has no module stands after them (an estimator of
        nearest neighbors, say), which runs in its own library; or because they stand before the
        centers of a clustering, whose distances they would only shrink. The other steps train.
    history_ : skorch.history.History
        Losses by epoch; the first row is the fitted pipeline. With a recipe: of the best
        candidate on the first split; None where there were too few rows to try any.
    report_ : pipegrad.finetune.Report
        What was tried and chosen, why, and what moved; ``print`` it, or ``save`` it as a page.
    stream_ : list of dict
        After `partial_fit`, for each of the last 1,000 calls: "rows"; "loss" of what answered until
        then; "losses" of all learners, by name, before they learned; "kept", whose numbers
        ``estimator_`` has since.
    classes_ : array
        The labels, for a classifier.
    n_features_in_, feature_names_in_
        As the pipeline has them.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> import pipegrad as pg
    >>> X, y = load_diabetes(return_X_y=True)
    >>> pipe = make_pipeline(StandardScaler(), Ridge(alpha=1000.0))
    >>> tuner = pg.FineTuner(pipe, random_state=0).fit(X, y)
    >>> tuner.improved_
    True
    >>> low, high = tuner.report_.interval
    >>> low > 0
    True
    >>> tuner.estimator_
    Pipeline(steps=[('standardscaler', StandardScaler()),
                    ('ridge', Ridge(alpha=1000.0))])
    """

    def __init__(
        self,
        estimator: Any,
        *,
        optim: Optim | None = None,
        loss: LossLike | None = None,
        epochs: int | None = None,
        batch_size: int | Literal["auto"] = "auto",
        lr: float | Literal["auto"] | None = None,
        anchor: float | None = None,
        validation_fraction: float = 0.2,
        cv: Any = None,
        patience: int | None = 10,
        train: Sequence[str] | None = None,
        freeze: Sequence[str] | None = None,
        callbacks: Sequence[Any] | None = None,
        trees: SplitMode = "leaves",
        recipe: Literal["auto"] | None = "auto",
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.optim = optim
        self.loss = loss
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.anchor = anchor
        self.validation_fraction = validation_fraction
        self.cv = cv
        self.patience = patience
        self.train = train
        self.freeze = freeze
        self.callbacks = callbacks
        self.trees = trees
        self.recipe = recipe
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None, groups: Any = None
    ) -> FineTuner:
        """Fit the pipeline on most rows, train it, and keep what did best on the others.

        Parameters
        ----------
        X : array, DataFrame, sparse matrix or list
            What the pipeline takes, n rows.
        y : array of shape (n,) or (n, k), optional
            Targets.
        sample_weight : array of shape (n,), optional
            Weight of each row, in the fit and in training. Rows that weigh nothing are left out.
        groups : array of shape (n,), optional
            Group of each row, any labels, for `losses.GroupPenalty`, and for ``cv``.

        Returns
        -------
        FineTuner
            Itself.
        """
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        options = self._options(seed)
        check_last_step(self.estimator)
        X, y = indexable(X, y)
        weight = checked_weight(sample_weight, X)
        rows, classes = usable_rows(self.estimator, X, y, weight)
        if groups is not None:
            groups = group_codes(groups, _num_samples(X), "")
        splits = self._splits(Samples(X, y, weight, groups), rows, classes, seed)
        if self.cv is not None and not isinstance(self.loss, GroupPenalty):
            groups = None  # They told what belongs together, no more.
        check_loss(self.loss, y, None if groups is None else groups[rows])
        samples, pipeline = Samples(X, y, weight, groups), self._pipeline()
        if self._by_recipe:
            from .recipe import tune

            result = tune(pipeline, samples, splits, options)
        else:
            from .single_run import tune_once

            result = tune_once(pipeline, samples, next(splits.pairs), options)
        self.estimator_, self.improved_ = result.estimator, result.improved
        self.history_, self.report_, self.frozen_ = result.history, result.report, pipeline.frozen
        if self._by_recipe and not result.improved:
            warn(f"The pipeline is as it was fitted: {result.report.why}.")
        self.__dict__.pop("stream_", None)
        self._stream: Stream[PipelineModule] | None = None
        self._known = self._counts(samples)
        self._take_attributes()
        return self

    def _take_attributes(self) -> None:
        for name in ("classes_", "n_features_in_", "feature_names_in_"):
            self.__dict__.pop(name, None)
            if hasattr(self.estimator_, name):
                setattr(self, name, getattr(self.estimator_, name))

    def partial_fit(
        self,
        X: Any,
        y: Any = None,
        classes: Any = None,
        sample_weight: ArrayLike | None = None,
    ) -> FineTuner:
        """Let the whole pipeline learn from new rows; what it was before is the one to beat.

        The first call fits the pipeline, unless `fit` did. From then on several learners take the
        new rows, fast ones and slow ones, of all steps or of the last alone; their losses on rows
        that they have not learned from yet say whose numbers ``estimator_`` has. One of them is the
        pipeline as it was, and a learner has to be better by more than chance explains. No rows
        are kept.

        Parameters
        ----------
        X : array, DataFrame, sparse matrix or list
            What the pipeline takes, n rows; one is enough once the pipeline is fitted.
        y : array of shape (n,) or (n, k), optional
            Targets.
        classes : array, or list of arrays for several targets, optional
            All labels, as scikit-learn has it. The pipeline cannot grow further ones, so that the
            rows of the first call have to show each of them.
        sample_weight : array of shape (n,), optional
            Weight of each row. Rows that weigh nothing are left out.

        Returns
        -------
        FineTuner
            Itself; ``estimator_`` is another object than before where its numbers are others, and
            ``stream_`` tells of the last 1,000 calls.

        Raises
        ------
        ArgumentError
            For labels that the pipeline does not know. Nothing changed then, nor after errors of
            the pipeline itself.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.linear_model import LogisticRegression
        >>> import pipegrad as pg
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(3000, 2))
        >>> y = X[:, 0] > 0
        >>> y[500:] = X[500:, 1] > 0
        >>> tuner = pg.FineTuner(LogisticRegression(), random_state=0)
        >>> for start in range(0, 2500, 100):
        ...     tuner = tuner.partial_fit(X[start : start + 100], y[start : start + 100])
        >>> tuner.score(X[2500:], y[2500:]) > 0.9
        True
        >>> sorted(tuner.stream_[-1])
        ['kept', 'loss', 'losses', 'rows']
        """
        check_last_step(self.estimator)
        check_loss(self.loss, y)
        fitted = hasattr(self, "estimator_")
        if fitted and sample_weight is not None and not np.any(sample_weight):
            return self
        samples = weighted_samples(self.estimator, X, y, classes, sample_weight)
        if fitted:
            self._learn(samples, classes)
        else:
            self._fit_first(samples, classes)
        return self

    def _fit_first(self, samples: Samples, classes: Any) -> None:
        """Fit the pipeline on all samples of the first call."""
        check_first_labels(self.estimator, samples.y, classes)
        fitted, known = self._pipeline().fit(samples), self._counts(samples)
        stream = self._open_stream(fitted, known)
        self.estimator_, self._stream, self._known = fitted, stream, known
        self.improved_, self.history_ = False, None
        self.stream_: list[StreamRecord] = []
        self.report_ = Report(None, "partial_fit fitted it; rows that come later are its test")
        self._take_attributes()

    def _learn(self, samples: Samples, classes: Any) -> None:
        """Test what was learned on further samples, then learn from them."""
        if classes is not None:
            check_same_labels(classes, self.classes_)
        stream = self._stream
        if stream is None:
            stream = self._open_stream(self.estimator_, self._known)
        stream.learn(samples.X, samples.y, samples.weight)
        self._stream, self.stream_ = stream, stream.history
        moved = stream.moved
        self.estimator_ = self._pipeline().write_back(stream.write()) if moved else stream.origin

    def _open_stream(self, fitted: Any, known: ClassCounts) -> Stream[PipelineModule]:
        from ..online.stream import Stream

        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        # "auto" asks for a rate that is found, and learners of several rates find it.
        rate = None if self.lr == "auto" else self.lr
        own = any(setting is not None for setting in (self.optim, rate, self.epochs))
        options = replace(self._options(seed), epochs=self.epochs or 1)
        pipeline = self._pipeline()
        net = pipeline.translate(fitted)
        self.frozen_ = pipeline.frozen
        return Stream(fitted, net, known, options, own)

    def _counts(self, samples: Samples) -> ClassCounts:
        from ..online.batches import count_classes

        labels = is_classifier(self.estimator)
        return count_classes(samples.X, samples.y, samples.weight, labels)

    def _pipeline(self) -> TunablePipeline:
        own_loss = self.loss is None
        return TunablePipeline(self.estimator, self.train, self.freeze, self.trees, own_loss)

    def _options(self, seed: int) -> Options:
        from ..training.options import Options
        from ..translate import check_arguments

        options = Options(
            optim=torch.optim.Adam if self.optim is None else self.optim,
            loss=self.loss,
            epochs=100 if self.epochs is None else self.epochs,
            batch_size=self.batch_size,
            lr=self.lr,
            patience=self.patience,
            seed=seed,
            callbacks=self.callbacks,
            verbose=self.verbose,
            anchor=0.0 if self.anchor is None else self.anchor,
        )
        if self.recipe not in ("auto", None):
            raise ArgumentError(f"recipe={self.recipe!r}; it is 'auto' or None.")
        options.check()
        check_arguments("trainable", trees=self.trees)
        share = self.validation_fraction
        if not isinstance(share, numbers.Real) or not 0 < share < 1:
            raise ArgumentError(f"validation_fraction={share!r}; it is a share between 0 and 1.")
        return options

    def _splits(
        self, samples: Samples, rows: Index, classes: Index | None, seed: int
    ) -> ValidationSplits:
        if self.cv is not None:
            found = given_splits(self.cv, self.estimator, samples, rows, classes)
            return ValidationSplits(rows, iter(found), own=True)
        share = float(self.validation_fraction)
        drawn = random_splits if self._by_recipe else one_split
        return ValidationSplits(rows, drawn(rows, classes, share, seed), own=False)

    @property
    def _by_recipe(self) -> bool:
        own = (self.optim, self.lr, self.epochs)
        return self.recipe is not None and all(setting is None for setting in own)
