"""Fit, translate, fine-tune and translate back, as one scikit-learn estimator."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import is_classifier, is_regressor
from sklearn.utils import check_random_state, indexable
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _num_samples, check_is_fitted

from ..devices import Device, checked_device
from ..errors import ArgumentError, warn
from ..losses.checks import check_loss
from ..losses.group_penalty import GroupPenalty, group_codes
from ..modules import sent_as_copy, standard_settings
from ..named import is_table_file
from ..report.model_summary import summarize_model
from ..report.results import Report
from ..row_sources import is_row_source
from ..sources.arrays import without_tensors
from ..through import check_through
from ..training.deadline import Deadline
from ..training.metadata import takes_groups
from ..training.samples import Samples
from .fitted_model import is_fitted_already
from .incremental import (
    OldSample,
    check_first_labels,
    check_same_labels,
    sample_of_old_rows,
    weighted_samples,
)
from .pipeline import (
    DelegatingEstimator,
    TunablePipeline,
    check_data,
    check_last_step,
    checked_weight,
    usable_rows,
)
from .progress import without_old_rows
from .scores.scoring import check_scoring, is_single
from .validation.splits import Index, RowSplitter, ValidationSplits, given_splits

if TYPE_CHECKING:
    from ..module import PipelineModule
    from ..modules import SplitMode
    from ..online.batches import ClassCounts
    from ..online.stream import Stream, StreamRecord
    from ..through import Through
    from ..training.criterion import LossLike
    from ..training.optimizers import Optim
    from ..training.options import Options


def _has_score(tuner: FineTuner) -> bool:
    fitted = getattr(tuner, "estimator_", tuner.estimator)
    if is_fitted_already(tuner.estimator):
        return is_single(tuner.scoring) or is_classifier(tuner) or is_regressor(tuner)
    return is_single(tuner.scoring) or hasattr(fitted, "score")


@sent_as_copy
class FineTuner(DelegatingEstimator):
    """Fit a pipeline, then fine-tune all of its steps end to end.

    `fit` holds out validation rows, fits a clone of the pipeline on the training rows, trains all
    of its steps jointly by backpropagation, and keeps whatever has the lowest validation loss. The
    fitted pipeline itself is the baseline and one of the candidates. Predictions come from
    ``estimator_``, which is an object of the same type as ``estimator``.

    Parameters
    ----------
    estimator : estimator, path, or fitted model without a ``fit``
        The pipeline, or a single operator. It is cloned and never changed. It can also be a model
        that is fitted already: the path of a model file or folder that `pipegrad.to_torch` takes,
        or a model of pyspark.ml. Every split and the training on all rows then start from its
        numbers, and nothing is fitted anew; `fit` should get rows that the model was not fitted on.
    optim : callable, optional
        A callable that takes the parameters and returns an optimizer; see `pipegrad.finetune.fit`.
        Setting ``optim``, ``epochs`` or ``lr`` turns the recipe off; the default optimizer is then
        `torch.optim.Adam`.
    loss : str, Objective or callable, optional
        The name of a loss, a function ``(score, y)``, or a composite loss built with `named`,
        `Weighted`, `Sum` or `GroupPenalty` from `pipegrad.finetune.losses`. By default, training
        minimizes the objective of the last operator.
    epochs : int, optional
        Maximum number of passes over the training rows; 100 without the recipe.
    batch_size : int or "auto", default="auto"
        Number of samples per optimizer step.
    lr : float or "auto", optional
        Learning rate that is passed to ``optim``, the same for all parameters. With "auto", a
        learning-rate search selects it, see `pipegrad.finetune.fit`; the selected rate is in
        ``history_[0]["lr"]``.
    anchor : float, optional
        Strength of the L2-SP penalty, which pulls the parameters towards their fitted values; see
        `pipegrad.finetune.fit`. By default, the recipe tries one on small data sets, and training
        without the recipe uses none.
    validation_fraction : float, default=0.2
        Share of the rows to hold out for validation, stratified by class for a classifier. The
        recipe holds out at most 10,000 rows, and uses further splits, until each row was held out
        once, while the result is inconclusive.
    validation_split : {"auto", "random", "ordered", "grouped"}, optional
        Which rows to hold out: "random" ones; the later ones ("ordered"), for rows in the order of
        time, the oldest first, unless an index or a column of dates falls; or whole groups
        ("grouped", with ``groups=``). The default, "auto", validates on later rows if an index or a
        column of dates rises or falls from row to row, or if neighbouring rows have similar
        residuals where they were not fitted; on whole groups if rows with the same value of a
        column have; and on random rows otherwise. The report says what was found.
    cv : int, splitter or iterable, optional
        Cross-validation splits that replace those of ``validation_split``, as in scikit-learn's
        searches: `TimeSeriesSplit` or `GroupKFold` (with ``groups=``), for example. Splits are used
        from the last to the first, at most five of them; no row may be in more than one validation
        set.
    patience : int, default=10
        Number of epochs without progress after which training stops; None disables early stopping.
        The recipe has its own patience.
    train, freeze : list of str, optional
        Patterns of the steps to train, or to keep as fitted; see `pipegrad.to_torch`. By default,
        every step that can be trained is trained; see ``frozen_`` for the exceptions.
    callbacks : list of skorch callbacks, optional
        Callbacks for the training loop, which they see as a `skorch.NeuralNet`. A callback ends a
        training run by raising `pipegrad.finetune.StopTraining`.
    trees : {"leaves", "soft", "straight-through"}, default="leaves"
        How decision trees are trained; see `pipegrad.to_torch`.
    train_zeros : bool, default=False
        Whether coefficients that an L1 penalty or another selection of features set to zero are
        trained; see `pipegrad.to_torch`.
    through : dict, optional
        How the gradients are estimated of steps that have none, so that the steps before them
        train as well; see `pipegrad.to_torch`.
    recipe : "auto" or None, default="auto"
        With "auto", several training strategies are compared on rows that were used neither to fit
        nor to train. If the best of them improves on the baseline by more than noise, the pipeline
        is fitted on all rows and trained with that strategy; otherwise the result is the pipeline
        fitted on all rows. With None, there is a single run with the settings above on the training
        rows.
    forget : bool, optional
        Whether `partial_fit` may make the pipeline worse on rows like those that it was fitted on.
        With False, its loss on such rows rises by at most 1%. By default, this bound applies to
        pipelines that end in boosted trees to which trees can be added, and to no others.
    scoring : str, callable, list or dict, optional
        A score of scikit-learn ("roc_auc", "neg_mean_absolute_error", "r2", "f1"), or a function
        ``(estimator, X, y)`` that returns a number. Training minimizes the loss; the score then
        selects the candidate and its checkpoint, and the improvement of the score has to be
        significant. `score` returns it too. With a list of names, or a dict of names and scores,
        the report shows them all, and the loss selects. In a single run (``epochs=``, ``lr=`` or
        ``optim=``) and in `partial_fit`, the loss selects, too.
    random_state : int, RandomState or None
        Seed for the validation split and for shuffling.
    max_seconds : float, optional
        Maximum time of `fit`, in seconds. The fit of the pipeline itself always takes place; the
        comparison of training strategies and the training on all rows share the time that it
        leaves, and the result is the best that was found and measured by then. ``report_.left_out``
        says what there was no time for. `partial_fit` has no limit.
    device : {"auto", "cpu", "cuda", "mps"} or torch.device, optional
        Where modules are trained; "auto" takes a GPU of CUDA where there is one. ``estimator_``
        does not depend on it. By default, training takes place on the CPU.
    verbose : int, default=0
        With 1, training shows the stage and, after the first split, an estimate of the remaining
        time; with settings of your own, it shows the epoch, the losses and the remaining time.

    Attributes
    ----------
    estimator_ : estimator or PipelineModule
        The trained pipeline. For a model that was fitted already, its module:
        ``pipegrad.from_torch(tuner.estimator_, path)`` writes the file or folder.
    improved_ : bool
        Whether training improved on the fitted pipeline. If not, ``estimator_`` is the fitted
        pipeline.
    frozen_ : list of str
        Steps that were not trained. Either a step without a module follows them (a nearest-neighbor
        estimator, for example), which runs in its own library, or they precede the cluster centers
        of a clustering, where training would only shrink the distances. All other steps train.
    history_ : skorch.history.History
        Losses per epoch; the first row is the fitted pipeline. With the recipe, this is the history
        of the best candidate on the first split, or None if there were too few rows to compare
        candidates.
    report_ : pipegrad.finetune.Report
        Which candidates were compared, which one was selected and why, and which parameters
        changed; ``print`` it, or ``save`` it as HTML, Markdown or JSON.
    stream_ : list of dict
        One entry for each of the last 1,000 calls of `partial_fit`: "rows", the number of rows;
        "loss", the loss of the learner that was in use until then; "losses", the losses of all
        learners by name before they trained on these rows; and "kept", the learner whose parameters
        ``estimator_`` has after the call.
    classes_ : array
        The class labels, for a classifier.
    n_features_in_, feature_names_in_
        The same as those of the pipeline.

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

    frozen_: list[str]
    report_: Report
    stream_: list[StreamRecord]
    _stream: Stream[PipelineModule] | None
    _known: ClassCounts

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
        validation_split: Literal["auto", "random", "ordered", "grouped"] | None = None,
        cv: Any = None,
        patience: int | None = 10,
        train: Sequence[str] | None = None,
        freeze: Sequence[str] | None = None,
        callbacks: Sequence[Any] | None = None,
        trees: SplitMode = "leaves",
        train_zeros: bool = False,
        through: Through | None = None,
        recipe: Literal["auto"] | None = "auto",
        forget: bool | None = None,
        scoring: Any = None,
        random_state: Any = None,
        verbose: int = 0,
        max_seconds: float | None = None,
        device: Device = None,
    ) -> None:
        self.estimator = estimator
        self.optim = optim
        self.loss = loss
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.anchor = anchor
        self.validation_fraction = validation_fraction
        self.validation_split = validation_split
        self.cv = cv
        self.patience = patience
        self.train = train
        self.freeze = freeze
        self.callbacks = callbacks
        self.trees = trees
        self.train_zeros = train_zeros
        self.through = through
        self.recipe = recipe
        self.forget = forget
        self.scoring = scoring
        self.random_state = random_state
        self.verbose = verbose
        self.max_seconds = max_seconds
        self.device = device

    @standard_settings
    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        groups: Any = None,
        **fit_params: Any,
    ) -> FineTuner:
        """Fit the pipeline, fine-tune it, and keep the result with the lowest validation loss.

        Parameters
        ----------
        X : array, DataFrame, sparse matrix or list
            Input of the pipeline, with n rows; for a model with named columns, what its module
            takes: a table, or the path of one.
        y : array of shape (n,) or (n, k), or str, optional
            Targets; for a model with named columns also the name of their column, or nothing where
            the model knows it.
        sample_weight : array of shape (n,), optional
            Weight of each sample, for fitting and for training. Samples of weight zero are dropped.
        groups : array of shape (n,), optional
            Group label of each sample, for `losses.GroupPenalty`, for ``cv``, for
            ``validation_split="grouped"``, and for a search in the pipeline that splits by groups.
        **fit_params
            Further arguments for the ``fit`` of the pipeline, as in scikit-learn's searches. Those
            with an entry for each sample are split along with the samples. A model that is fitted
            already takes none.

        Returns
        -------
        FineTuner
            The fitted estimator itself.

        Raises
        ------
        KeyboardInterrupt
            If the user interrupts the fit (Ctrl-C). Once the pipeline itself is fitted, the tuner
            is fitted: ``estimator_`` is the best known so far, usually the pipeline as fitted, and
            ``report_.left_out`` says what is missing. Before that, the tuner is as it was.
        """
        from .validation.rule import check_rule  # loads skorch, which waits until it is needed

        began = Deadline.clock()
        if is_row_source(X) and not (is_fitted_already(self.estimator) and is_table_file(X)):
            return self._fit_on_table(X, y, sample_weight, groups, fit_params, began)
        X, y, sample_weight, groups = map(without_tensors, (X, y, sample_weight, groups))
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        options = self._options(seed)
        deadline = Deadline.after(self.max_seconds, began)
        pipeline = self._pipeline()
        pipeline.check_last_step()
        given = pipeline.samples_of(Samples(X, y, sample_weight, groups))
        X, y, sample_weight, groups = given.X, given.y, given.weight, given.groups
        estimator = pipeline.described
        check_data(estimator, self.loss, X, y)
        X, y = indexable(X, y)
        weight = checked_weight(sample_weight, X)
        pipeline.check_metadata(weight, fit_params)
        metadata = fit_params
        if groups is not None and takes_groups(estimator):
            metadata = {"groups": groups, **fit_params}
        rows, classes = usable_rows(estimator, X, y, weight)
        check_rule(self.validation_split, self.cv, groups)
        if groups is not None:
            groups = group_codes(groups, _num_samples(X), "")
        splits = self._splits(estimator, Samples(X, y, weight, groups), rows, classes, seed)
        by_groups = self.cv is not None or self.validation_split == "grouped"
        if (by_groups or "groups" in metadata) and not isinstance(self.loss, GroupPenalty):
            groups = None  # They only served the splitters.
        check_loss(self.loss, y, None if groups is None else groups[rows])
        scoring = check_scoring(self.scoring, estimator, X, y)
        samples = Samples(X, y, weight, groups, metadata)
        known = None if is_fitted_already(self.estimator) else self._counts(samples)
        if self._by_recipe:
            from .recipe import tune

            result = tune(pipeline, samples, splits, options, deadline, scoring)
        else:
            from .single_run import tune_once

            result = tune_once(pipeline, samples, splits, options, deadline, scoring)
        old = None
        # Another fit of the pipeline has no place in a time limit.
        if not deadline.limited and result.interrupt is None:
            try:
                old = self._old_rows(result.estimator, samples, 1)
            except KeyboardInterrupt as interrupt:
                result = without_old_rows(result, interrupt)
        told = " ".join(filter(None, (result.report.validation, pipeline.caution)))
        model = summarize_model(result.estimator, len(rows))
        self._keep(
            result.estimator,
            improved_=result.improved,
            history_=result.history,
            report_=replace(result.report, model=model, validation=told),
            frozen_=pipeline.frozen,
            _stream=None,
            _known=known,
            _old=old,
        )
        if result.interrupt is not None:
            raise result.interrupt
        if self._by_recipe and not result.improved:
            warn(f"Fine-tuning kept the fitted pipeline: {result.report.why}.")
        return self

    def _fit_on_table(
        self, rows: Any, y: Any, weight: Any, groups: Any, metadata: Any, began: float
    ) -> FineTuner:
        """Fit on a sample of a table, and train on all of its rows."""
        from .large_tables import LargeTable, needs_classes, train_on_all_rows
        from .table_checks import check_rows, check_settings

        check_settings(self)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        options, pipeline = self._options(seed), self._pipeline()
        pipeline.check_last_step()
        table = LargeTable.open(pipeline, rows, y, weight, groups, seed)
        if not table.whole:
            check_rows(table.source, table.roles.targets, self.loss)
        samples, count = table.sample(needs_classes(pipeline.described))
        self.fit(samples.X, samples.y, samples.weight, samples.groups, **metadata)
        if table.whole:
            return self
        deadline = Deadline.after(self.max_seconds, began)
        told = f"The pipeline was fitted on a sample of {len(samples.X):,} of {count:,} rows."
        own = not self._by_recipe
        done = train_on_all_rows(
            self._pipeline(), self.estimator_, table, options, self.report_.chosen, deadline, own
        )
        report = self.report_
        told = " ".join(filter(None, (report.validation, told, done.told)))
        self.report_ = replace(report, validation=told)
        if done.improved:
            self.estimator_, self.improved_ = done.estimator, True
            self.history_ = done.history
        return self

    def _keep(self, estimator: Any, **found: Any) -> None:
        """Set all fitted attributes at once, so that an interrupt leaves none half-written."""
        names = ("classes_", "n_features_in_", "feature_names_in_")
        kept = {k: v for k, v in vars(self).items() if k not in (*names, "stream_")}
        own = {name: getattr(estimator, name) for name in names if hasattr(estimator, name)}
        self.__dict__ = {**kept, **own, **found, "estimator_": estimator}

    @available_if(_has_score)
    def score(
        self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None, **options: Any
    ) -> float:
        """Return the score of ``estimator_``: that of ``scoring`` if it names a single one.

        Parameters
        ----------
        X : array, DataFrame, sparse matrix or list
            Input of the pipeline, with n rows.
        y : array of shape (n,) or (n, k), optional
            Targets.
        sample_weight : array of shape (n,), optional
            Weight of each sample.
        **options
            Further arguments of the estimator's own ``score``.

        Returns
        -------
        float
            The score; larger is better.
        """
        own = is_fitted_already(self.estimator)
        if not own and not is_single(self.scoring):
            return super().score(X, y, sample_weight, **options)
        from sklearn.metrics import check_scoring as scorer_of

        check_is_fitted(self)
        weight = {} if sample_weight is None else {"sample_weight": sample_weight}
        X, y = without_tensors(X), without_tensors(y)
        if not own:
            scorer = scorer_of(self.estimator_, scoring=self.scoring)
            return float(scorer(self.estimator_, X, y, **weight))
        usual = "accuracy" if is_classifier(self) else "r2"
        scorer = scorer_of(self, scoring=self.scoring if is_single(self.scoring) else usual)
        samples = self._pipeline().samples_of(Samples(X, y, sample_weight))
        if samples.weight is not None:
            weight = {"sample_weight": samples.weight}
        return float(scorer(self, samples.X, samples.y, **weight))

    @standard_settings
    def partial_fit(
        self,
        X: Any,
        y: Any = None,
        classes: Any = None,
        sample_weight: ArrayLike | None = None,
    ) -> FineTuner:
        """Update the whole pipeline with new rows, with the fitted pipeline as the baseline.

        The first call fits the pipeline, unless `fit` was called before; models that are fitted
        already are refused, whose modules have a ``partial_fit`` of their own. Each later call
        updates several learners, which differ in their learning rate and in whether they train all
        steps or only the last one. Prequential evaluation (Dawid 1984; Gama et al. 2013) selects
        among them: each learner is tested on the new rows before it trains on them. The baseline is
        one of the learners, and another learner replaces it only if it is better by more than
        noise. For a pipeline that ends in boosted trees, three learners also add trees that fit the
        new rows, by the library's own continuation. No rows are stored, except up to 1,000 of those
        that the pipeline was fitted on where ``forget`` bounds the loss on them.

        Parameters
        ----------
        X : array, DataFrame, sparse matrix or list
            Input of the pipeline, with n rows; a single row suffices once the pipeline is fitted.
        y : array of shape (n,) or (n, k), optional
            Targets.
        classes : array, or list of arrays for several targets, optional
            All class labels, as in scikit-learn. Classes cannot be added later, so the first call
            must contain at least one row of each.
        sample_weight : array of shape (n,), optional
            Weight of each sample. Samples of weight zero are dropped.

        Returns
        -------
        FineTuner
            The estimator itself. ``estimator_`` is replaced by a new object when its parameters
            change, and ``stream_`` records the last 1,000 calls.

        Raises
        ------
        ArgumentError
            If ``y`` contains unknown labels. This error leaves the tuner unchanged, and so do
            errors of the pipeline.

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
        X, y, classes, sample_weight = map(without_tensors, (X, y, classes, sample_weight))
        check_through(self.through)
        if is_fitted_already(self.estimator):
            raise ArgumentError(
                "partial_fit takes a pipeline that it can fit, not a model that is fitted already."
                "\nHint: net = to_torch(model), and net.partial_fit(X, y) for each new batch."
            )
        check_last_step(self.estimator, self.loss is None, self.through)
        check_loss(self.loss, y)
        check_data(self.estimator, self.loss, X, y)
        fitted = hasattr(self, "estimator_")
        if not fitted:
            self._options(0)
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
        old = self._old_rows(fitted, samples)
        stream, frozen = self._open_stream(fitted, known, old)
        why = "partial_fit fitted the pipeline; later calls evaluate it"
        rows = _num_samples(samples.X)
        self._keep(
            fitted,
            improved_=False,
            history_=None,
            report_=Report(None, why, model=summarize_model(fitted, rows)),
            frozen_=frozen,
            stream_=[],
            _stream=stream,
            _known=known,
        )

    def _learn(self, samples: Samples, classes: Any) -> None:
        """Test all learners on new samples, then train them on these samples."""
        if classes is not None:
            check_same_labels(classes, self.classes_)
        stream, frozen = self._stream, self.frozen_
        if stream is None:
            stream, frozen = self._open_stream(self.estimator_, self._known, self._old)

        def keep() -> None:
            moved = stream.moved
            estimator = self._pipeline().write_back(stream.write()) if moved else stream.origin
            found = {"estimator_": estimator, "stream_": stream.history, "frozen_": frozen}
            self.__dict__.update(found, _stream=stream)  # all at once, as in `_keep`

        stream.learn(samples.X, samples.y, samples.weight, keep)

    def _open_stream(
        self, fitted: Any, known: ClassCounts, old: OldSample | None = None
    ) -> tuple[Stream[PipelineModule], list[str]]:
        """A stream that starts from a fitted pipeline, and the steps that it cannot train."""
        from ..online.stream import Stream

        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        # With "auto", the learners of several rates take the place of the search.
        rate = None if self.lr == "auto" else self.lr
        own = any(setting is not None for setting in (self.optim, rate, self.epochs))
        options = replace(self._options(seed), epochs=self.epochs or 1)
        pipeline = self._pipeline()
        net = pipeline.translate(fitted)
        grows = self._may_grow(fitted) and net.trains_last and (old is not None or self.forget)
        stream = Stream(fitted, net, known, options, own, self._pipeline() if grows else None)
        if old is not None:
            stream.remember(old.samples, old.score)
        return stream, pipeline.frozen

    def _may_grow(self, fitted: Any) -> bool:
        """Whether boosting may continue: only with its own loss and without the user's settings."""
        from ..online.growth import boosting_rounds

        return self.loss is None and self._by_recipe and boosting_rounds(fitted) is not None

    def _old_rows(self, fitted: Any, samples: Samples, fits: int = 5) -> OldSample | None:
        """Rows on which to measure forgetting, if it is bounded."""
        if is_fitted_already(self.estimator):
            return None  # There is no fit without some of the rows.
        if self.forget or (self.forget is None and not self._may_grow(fitted)):
            return None
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        # A search need not search again.
        found = getattr(fitted, "best_estimator_", self.estimator)
        return sample_of_old_rows(replace(self._pipeline(), estimator=found), samples, seed, fits)

    def _counts(self, samples: Samples) -> ClassCounts:
        from ..online.batches import count_classes

        labels = is_classifier(self.estimator)
        return count_classes(samples.X, samples.y, samples.weight, labels)

    def _pipeline(self) -> TunablePipeline:
        kind: type[TunablePipeline] = TunablePipeline
        if is_fitted_already(self.estimator):
            from .fitted_pipeline import FittedPipeline  # translates, which loads more

            kind = FittedPipeline
        return kind(
            self.estimator,
            self.train,
            self.freeze,
            self.trees,
            self.train_zeros,
            self.loss is None,
            self.through,
            self.device,
        )

    def _options(self, seed: int) -> Options:
        from ..training.optimizers import try_optim
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
            max_seconds=self.max_seconds,
        )
        if self.recipe not in ("auto", None):
            raise ArgumentError(f"recipe must be 'auto' or None, got {self.recipe!r}.")
        if self.forget not in (True, False, None):
            raise ArgumentError(f"forget must be True, False or None, got {self.forget!r}.")
        options.check()
        try_optim(options.optim, options.rate, alone=True)
        check_arguments(
            "trainable", trees=self.trees, train_zeros=self.train_zeros, through=self.through
        )
        checked_device(self.device)
        share = self.validation_fraction
        if not isinstance(share, numbers.Real) or not 0 < share < 1:
            raise ArgumentError(
                f"validation_fraction must be a number between 0 and 1, got {share!r}."
            )
        return options

    def _splits(
        self, estimator: Any, samples: Samples, rows: Index, classes: Index | None, seed: int
    ) -> ValidationSplits:
        if self.cv is not None:
            found = given_splits(self.cv, estimator, samples, rows, classes)
            return ValidationSplits(rows, iter(found), "given")
        from .validation.rule import SplitChoice

        share, single = float(self.validation_fraction), not self._by_recipe
        splitter = RowSplitter(rows, classes, share, seed, single)
        return SplitChoice(splitter, self.validation_split or "auto").initial(samples)

    @property
    def _by_recipe(self) -> bool:
        own = (self.optim, self.lr, self.epochs)
        return self.recipe is not None and all(setting is None for setting in own)
