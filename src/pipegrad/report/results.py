"""The report of a fine-tuning run: its candidates, the selected one and the evidence."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..file_writing import check_target, write_file
from .calibration import Calibration
from .learning_curves import Curve
from .metrics import MetricResult
from .model_summary import ModelSummary
from .parameter_changes import MovedStep
from .timing import Timings

HTML, JSON, MARKDOWN = (".html", ".htm"), (".json",), (".md",)
FORMATS = (*HTML, *JSON, *MARKDOWN)  # the ends of the names of files that `Report.save` writes


@dataclass(frozen=True)
class Tried:
    """The result of one candidate on the validation rows.

    Attributes
    ----------
    name : str
        Name of the candidate.
    epochs : int
        Its best checkpoint.
    gain : float
        Reduction of the validation loss at that checkpoint, compared with the fitted pipeline.
        The best of many is optimistically biased; the report's own gain is not.
    error : float
        Standard error of ``gain``, from paired differences per row.
    rows : int
        Number of validation rows; fewer than the report's if the candidate was eliminated early.
    seconds : float
        Training time over all splits.
    """

    name: str
    epochs: int
    gain: float
    error: float
    rows: int
    seconds: float


@dataclass(frozen=True)
class Report:
    """The candidates, the selected one, and why; ``print`` it, or display it in a notebook.

    `pipegrad.report` draws parts of it with matplotlib.

    Attributes
    ----------
    chosen : str, optional
        Name of the selected candidate; None if the fitted pipeline is kept unchanged.
    why : str
        Why the pipeline is unchanged; empty otherwise.
    before : float
        Validation loss of the fitted pipeline, in the unit of ``metric``; so are all other losses,
        gains and errors of the report.
    gain : float
        Reduction of the validation loss by training, measured on rows that took no part in
        selecting the candidate.
    error : float
        Standard error of ``gain``; NaN if it was not measured.
    wanted : float
        Critical value: the number of standard errors that a gain has to exceed.
    rows, splits : int
        Number of validation rows, and of the splits that they come from.
    tried : tuple of Tried
        The candidates.
    seconds : float
        Total time.
    loss : str
        Name of the loss that training minimizes.
    metric : str
        Name of the metric that this loss amounts to: "mean squared error" for half of it,
        "mean Poisson deviance" and so on, as in scikit-learn. If a score decided (``scoring=``),
        the name of that score, whose values ``before``, ``gain`` and ``error`` then are.
    higher_is_better : bool
        Whether larger values of ``metric`` are better, and ``gain`` is an increase.
    metrics : tuple of MetricResult
        Metrics beside the loss (accuracy, ROC AUC, log loss; R2, root mean squared error, mean
        absolute error) on the same validation rows and for the same selections as ``gain``; empty
        where predictions are not compared with targets.
    steps : tuple of MovedStep
        How far the parameters of each trained step are from their fitted values, in the order of
        the pipeline; empty if the pipeline is unchanged.
    curves : tuple of Curve
        Learning curves of each candidate on each split.
    calibration : Calibration, optional
        Calibration before and after training, on held-out rows of equal weight. None if
        calibration is not defined: for clusters, columns, classes without probabilities.
    times : Timings, optional
        Time spent in each stage.
    recalibrated : str
        How raw scores were scaled and shifted at the end; empty if they were not.
    validation : str
        How and why the validation rows were chosen; empty if they were random or those of ``cv``.
    max_seconds : float, optional
        The time limit, if there was one.
    left_out : tuple of str
        What the time limit, or an interrupt by the user (Ctrl-C), left out or cut short.
    model : ModelSummary, optional
        What the pipeline consists of, and on how many rows it was fitted.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> import pipegrad as pg
    >>> X, y = load_diabetes(return_X_y=True)
    >>> pipe = make_pipeline(StandardScaler(), Ridge(alpha=1000.0))
    >>> report = pg.FineTuner(pipe, random_state=0).fit(X, y).report_
    >>> sorted(step.name for step in report.moved())
    ['ridge', 'standardscaler']
    >>> report.calibration.of
    'mean'
    >>> page = report.to_html()
    >>> page[:15]
    '<!DOCTYPE html>'
    """

    chosen: str | None
    why: str
    before: float = math.nan
    gain: float = 0.0
    error: float = math.nan
    wanted: float = math.nan
    rows: int = 0
    splits: int = 0
    tried: tuple[Tried, ...] = ()
    seconds: float = 0.0
    loss: str = ""
    metric: str = ""
    higher_is_better: bool = False
    metrics: tuple[MetricResult, ...] = ()
    steps: tuple[MovedStep, ...] = ()
    curves: tuple[Curve, ...] = ()
    calibration: Calibration | None = None
    times: Timings | None = None
    recalibrated: str = ""
    validation: str = ""
    max_seconds: float | None = None
    left_out: tuple[str, ...] = ()
    model: ModelSummary | None = None

    @property
    def after(self) -> float:
        """The validation loss, or the score that decided, after training."""
        return self.before + (self.gain if self.higher_is_better else -self.gain)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% confidence interval: ``gain`` minus and plus two standard errors."""
        return self.gain - 2 * self.error, self.gain + 2 * self.error

    @property
    def verdict(self) -> str:
        """Whether training helped, in one line without a full stop."""
        if self.chosen is None:
            return f"Unchanged: {self.why}"
        if self.higher_is_better:
            return f"Improved: {self.metric} is {self.gain:.3g} higher"
        if not self.before > 0:
            return f"Improved: the validation loss is {self.gain:.3g} lower"
        share = self.gain / self.before
        amount = "more than 99.9%" if share > 0.9995 else f"{share:.1%}"
        return f"Improved: the validation loss is {amount} lower"

    def moved(self) -> tuple[MovedStep, ...]:
        """The trained steps, in descending order of their relative change."""
        return tuple(sorted(self.steps, key=lambda step: -step.share))

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """The report as one self-contained HTML page, without scripts or links.

        Parameters
        ----------
        path : str or path, optional
            File to write the page to (``"report.html"``). It is written as a whole or not at all.

        Returns
        -------
        str
            The page.

        Raises
        ------
        ArgumentError
            When the path does not end in ``.html`` or its folder does not exist; nothing is
            written.
        """
        from .page import page

        return _written(path, lambda: page(self), HTML)

    def to_markdown(self, path: str | os.PathLike[str] | None = None) -> str:
        """The report as Markdown, for pull requests and wikis.

        Parameters
        ----------
        path : str or path, optional
            File to write to (``"report.md"``), as a whole or not at all.

        Returns
        -------
        str
            The text. Names of others, such as those of columns and steps, are escaped.

        Examples
        --------
        >>> print(Report(None, "30 rows are too few").to_markdown())
        # Fine-tuning report
        <BLANKLINE>
        **Unchanged: 30 rows are too few.**
        ...
        """
        from .markdown import markdown

        return _written(path, lambda: markdown(self), MARKDOWN)

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """The report as JSON, for programs.

        Parameters
        ----------
        path : str or path, optional
            File to write to (``"report.json"``), as a whole or not at all.

        Returns
        -------
        str
            One object, which follows the JSON Schema in `pipegrad.report.schema`. Numbers that JSON
            does not have, such as NaN, are null.

        Examples
        --------
        >>> import json
        >>> content = json.loads(Report(None, "30 rows are too few").to_json())
        >>> content["improved"], content["error"]
        (False, None)
        """
        from .json_form import json_text

        return _written(path, lambda: json_text(self), JSON)

    def card(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        name: str | None = None,
        dataset: str | None = None,
        file: str | None = None,
    ) -> str:
        """The report as a model card: Markdown after YAML metadata, as hubs of models read it.

        It says what the model is, what was measured before and after training, what moved, how it
        was chosen, its limits, and how to load it. Losses are stated as plainly as gains. There
        is no license in it.

        Parameters
        ----------
        path : str or path, optional
            File to write to (``"README.md"``), as a whole or not at all.
        name : str, optional
            Name of the model.
        dataset : str, optional
            Name of the data.
        file : str, optional
            Name of the file with the model, for the lines that load it: a skops file, a saved
            module (``.safetensors``) or the folder of one. By default there are lines for either.

        Returns
        -------
        str
            The card. All texts of the user are escaped.

        Examples
        --------
        >>> card = Report(None, "30 rows are too few").card(name="Churn")
        >>> print(card)
        ---
        tags:
        - "pipegrad"
        ---
        <BLANKLINE>
        # Churn
        <BLANKLINE>
        **Unchanged: 30 rows are too few.**
        ...
        """
        from .model_card import model_card

        return _written(path, lambda: model_card(self, name, dataset, file), MARKDOWN)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the report to a file, in the form that the end of its name says.

        Parameters
        ----------
        path : str or path
            File to write: ``.html`` for `to_html`, ``.json`` for `to_json`, ``.md`` for
            `to_markdown`.

        Returns
        -------
        Path
            The path of the file.

        Raises
        ------
        ArgumentError
            When the name ends differently, or its folder does not exist; nothing is written.
        """
        target = check_target(path, "a report", FORMATS)
        suffix = target.suffix.lower()
        forms = {JSON[0]: self.to_json, MARKDOWN[0]: self.to_markdown}
        forms.get(suffix, self.to_html)(target)
        return target

    def _repr_html_(self) -> str:
        from .page import fragment

        return fragment(self)

    def __str__(self) -> str:
        from .text import text

        return text(self)


def _written(
    path: str | os.PathLike[str] | None, text_of: Callable[[], str], suffixes: tuple[str, ...]
) -> str:
    """The text, which is also written to a path if there is one."""
    if path is not None:
        check_target(path, "a report", suffixes)
    text = text_of()
    if path is not None:
        write_file(path, text.encode())
    return text
