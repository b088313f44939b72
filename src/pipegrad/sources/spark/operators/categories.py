"""Stages that index and encode categories."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from ....errors import ArgumentError
from ...named.cells import doubles_of, is_null
from ...named.left_out import LeftOutRowsError
from ...named.operators import Host, Step
from ..folder import Stage
from ..input_table import as_texts
from ..numbers import Numbers
from ..plan import Plan, reads


def refuse_rows(kind: str, invalid: Any, how: str, what: str) -> None:
    """Raise an error for rows that Spark refuses, or that it leaves out of its answer."""
    rows = np.flatnonzero(invalid)
    if not len(rows):
        return
    places = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
    if how in ("skip", "drop"):
        setting = "handleInvalid='skip'" if how == "skip" else "coldStartStrategy='drop'"
        raise LeftOutRowsError(
            f"{kind} leaves out rows with {what} ({setting}), which are rows {places}.\n"
            "Hint: leave them out of the table.",
            np.asarray(invalid, dtype=bool),
        )
    raise ArgumentError(f"{kind} refuses {what} (handleInvalid='error'), in rows {places}.")


@dataclass(eq=False, kw_only=True)
class IndexTexts(Host):
    """The index of each text in a list; ``len(labels)`` for others, if they are kept."""

    labels: list[str]
    invalid: str

    @cached_property
    def places(self) -> dict[str | None, float]:
        """The index of each text."""
        # Of two equal labels, which Spark never writes, the later one counts, as in its own map.
        return {label: float(place) for place, label in enumerate(self.labels)}

    def run(self, *values: Any) -> Any:
        """Indices (n,)."""
        texts = as_texts(np.asarray(values[0]))
        out = np.array([self.places.get(text, -1.0) for text in texts], dtype=np.float64)
        unknown = out < 0
        if self.invalid == "keep":
            return np.where(unknown, float(len(self.labels)), out)
        refuse_rows(self.kind, unknown, self.invalid, "labels that are missing or unseen")
        return out


@reads("feature.StringIndexerModel")
def _string_indexer(stage: Stage, plan: Plan) -> None:
    row = stage.row()
    lists: Any = row.get("labelsArray")
    if lists is None and "labels" in row:  # Spark 2
        lists = [row["labels"]]
    pairs = stage.inputs_and_outputs()
    texts = isinstance(lists, list) and all(
        isinstance(labels, list) and all(isinstance(label, str) for label in labels)
        for labels in lists
    )
    if not texts or len(lists) != len(pairs):
        stage.fail("its labels are damaged.")
    invalid = stage.text("handleInvalid", "error")
    for (source, made), labels in zip(pairs, lists, strict=True):
        operator = IndexTexts(labels=labels, invalid=invalid)
        step = plan.step(stage, operator, plan.column(source), name=made)
        plan.name(stage, made, step)
        kept = ["__unknown"] if invalid == "keep" else []
        plan.labels[made] = source, [*labels, *kept]


@dataclass(eq=False, kw_only=True)
class TextOfIndex(Step):
    """Indices, whose texts `Model.column` looks up; a module cannot hold texts."""


@reads("feature.IndexToString")
def _index_to_string(stage: Stage, plan: Plan) -> None:
    labels = stage.texts("labels")
    ((source, made),) = stage.inputs_and_outputs()
    if not labels:
        labels = plan.labels.get(source, ("", []))[1]
    if not labels:
        from ..unsupported import require_columns

        require_columns(stage, plan, "its labels are attributes of a column, which are not saved")
        return
    step = plan.step(stage, TextOfIndex(), plan.column(source), name=made)
    plan.name(stage, made, step)
    plan.texts[made] = labels
    plan.sources[made] = source


@dataclass(eq=False, kw_only=True)
class Indicators(Step):
    """One-hot encoding of indices."""

    size: int
    drop_last: bool
    invalid: str

    @property
    def width(self) -> int:
        """Number of columns of the encoding."""
        return max(0, self.size + (self.invalid == "keep") - self.drop_last)


@reads("feature.OneHotEncoderModel")
def _one_hot_encoder(stage: Stage, plan: Plan) -> None:
    sizes: Any = stage.row().get("categorySizes")
    pairs = stage.inputs_and_outputs()
    whole = isinstance(sizes, list) and all(isinstance(n, int) and n >= 0 for n in sizes)
    if not whole or len(sizes) != len(pairs):
        stage.fail("its sizes are damaged.")
    for (source, made), size in zip(pairs, sizes, strict=True):
        operator = Indicators(
            size=size,
            drop_last=stage.flag("dropLast", True),
            invalid=stage.text("handleInvalid", "error"),
        )
        plan.name(stage, made, plan.step(stage, operator, plan.column(source), name=made))


@dataclass(eq=False, kw_only=True)
class IndexValues(Step):
    """Values of some columns of a vector replaced by their indices.

    Parameters
    ----------
    maps : dict
        By column, the values in the order of their indices.
    """

    maps: dict[int, list[float]]
    invalid: str


@reads("feature.VectorIndexerModel")
def _vector_indexer(stage: Stage, plan: Plan) -> None:
    row = stage.row()
    try:
        maps = {int(c): dict(pairs) for c, pairs in row["categoryMaps"]}
        lists = {c: sorted(pairs, key=pairs.__getitem__) for c, pairs in maps.items()}
    except (KeyError, TypeError, ValueError, OverflowError):
        stage.fail("its categories are damaged.")
    if any(sorted(pairs.values()) != list(range(len(pairs))) for pairs in maps.values()):
        stage.fail("its categories are not numbered from zero.")
    ((source, made),) = stage.inputs_and_outputs()
    operator = IndexValues(maps=lists, invalid=stage.text("handleInvalid", "error"))
    plan.name(stage, made, plan.step(stage, operator, plan.column(source)))


@dataclass(eq=False, kw_only=True)
class IndexNumbers(Host):
    """The index of each number in a list, or of the list's last entry for others, if kept."""

    categories: list[float]
    invalid: str

    def run(self, *values: Any) -> Any:
        """Indices (n,)."""
        numbers = doubles_of(np.asarray(values[0]))
        if numbers is None or numbers.ndim != 1:
            raise ArgumentError(f"{self.kind} takes columns of numbers.")
        # A missing number is a category of its own where there were some in training.
        given = np.where(np.isnan(numbers), _MISSING, numbers)
        order = np.argsort(self.categories)
        ranked = np.asarray(self.categories)[order]
        place = np.searchsorted(ranked, given).clip(max=len(ranked) - 1)
        unknown = (ranked[place] != given) | (given == _UNSEEN)
        if self.invalid != "keep":
            refuse_rows(self.kind, unknown, self.invalid, "unseen categories")
        last = len(self.categories) - 1
        return np.where(unknown, last, order[place]).astype(np.float64)


# Spark's numbers for missing and for unseen categories.
_MISSING, _UNSEEN = -1.0, float((1 << 31) - 1)


@dataclass(eq=False, kw_only=True)
class TargetMeans(Step):
    """The mean target of each category, drawn to that of all.

    Parameters
    ----------
    stats : Numbers
        The mean of each category, or its sum for targets of two classes; that of all comes last.
    counts : list of float
        Number of rows of each category.
    smoothing : float
        Number of rows that the mean of all counts as.
    sums : bool
        Whether the statistics are sums.
    order : list of int
        Place of each category in the file.
    """

    stats: Numbers
    counts: list[float]
    smoothing: float
    sums: bool
    order: list[int]


@reads("feature.TargetEncoderModel")
def _target_encoder(stage: Stage, plan: Plan) -> None:
    rows = sorted(enumerate(stage.rows()), key=lambda pair: str(pair[1].get("index")).zfill(12))
    pairs, invalid = stage.inputs_and_outputs(), stage.text("handleInvalid", "error")
    if len(rows) != len(pairs):
        stage.fail("it has other statistics than columns.")
    sums = stage.text("targetType", "binary") == "binary"
    for (source, made), (place, row) in zip(pairs, rows, strict=True):
        stats = Numbers(np.zeros(0), stage.at("data"), ("stats",), "list", [place])
        try:
            categories = [float(value) for value in row["categories"]]
            counts = [float(value) for value in row["counts"]]
            stats.values = np.array([row["stats"]], dtype=np.float64)
        except (KeyError, TypeError, ValueError, OverflowError):
            stage.fail("its statistics are damaged.")
        alike = len(categories) == len(counts) == stats.values.size == len(set(categories))
        if not alike or _UNSEEN not in categories or not all(count > 0 for count in counts):
            stage.fail("its statistics are damaged.")
        order = [n for n, value in enumerate(categories) if value != _UNSEEN]
        order.append(categories.index(_UNSEEN))
        index = IndexNumbers(categories=[categories[n] for n in order], invalid=invalid)
        operator = TargetMeans(
            stats=stats,
            counts=[counts[n] for n in order],
            smoothing=stage.number("smoothing", 0.0),
            sums=sums,
            order=order,
        )
        step = plan.step(stage, index, plan.column(source), name=f"{made}/index")
        plan.name(stage, made, plan.step(stage, operator, step, name=made))


@dataclass(eq=False, kw_only=True)
class Buckets(Step):
    """The index of the interval that contains a number."""

    exact = True

    splits: list[float]
    invalid: str

    def run(self, *values: Any) -> Any:
        """Indices (n,); NaN has one of its own if it is kept, and None has none, as in Spark."""
        (cells,) = values
        missing = is_null(cells)
        if self.invalid == "skip":
            refuse_rows(self.kind, missing, "skip", "null")
        if not missing.any():
            return super().run(cells)
        out = np.full(len(cells), np.nan)
        out[~missing] = super().run(cells[~missing])
        return out


@reads("feature.Bucketizer")
def _bucketizer(stage: Stage, plan: Plan) -> None:
    pairs = stage.inputs_and_outputs()
    lists = stage.lists_of_numbers("splitsArray") or [stage.numbers("splits")] * len(pairs)
    if len(lists) != len(pairs):
        stage.fail("it has another number of splits than of columns.")
    for (source, made), splits in zip(pairs, lists, strict=True):
        if len(splits) < 3 or any(a >= b for a, b in pairwise(splits)):
            stage.fail("its splits do not increase.")
        operator = Buckets(splits=splits, invalid=stage.text("handleInvalid", "error"))
        plan.name(stage, made, plan.step(stage, operator, plan.column(source), name=made))
