"""Steps that read raw values, on operators of ONNX: one function for each class.

A category is looked up among those of the fit, and the number that stands for it is asked of the
operator itself, whatever its options make of categories that are rare, dropped, missing or unknown.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import glue
from ..graph import Step
from ..network import required_translation
from . import texts
from .table import GraphWriter, Part, Table, column_kind

Emitter = Callable[[GraphWriter, Step, Table], Table]
Asks = Callable[[list[list[Any]]], NDArray[np.float64]]

ENCODERS: dict[str, Emitter] = {}
"""By the name of a class, what `Translation.encode` computes of a raw table."""

TRANSFORMERS: dict[str, Emitter] = {}
"""By the name of a class, what ``transform`` computes of a raw table; results need no numbers."""

_UNKNOWN = "\x00 none of the categories"


def emitter(table: dict[str, Emitter], *names: str) -> Callable[[Emitter], Emitter]:
    """Add a function to a table under some names."""

    def add(function: Emitter) -> Emitter:
        table.update(dict.fromkeys(names, function))
        return function

    return add


def why_not(step: Step, on_host: bool) -> str | None:
    """Why ONNX cannot express how a step reads raw values, or None."""
    if on_host:
        return _why_no_transform(step)
    row = required_translation(step)
    if row.not_in_onnx:
        return row.not_in_onnx
    if step.kind in ENCODERS:
        return _LIMITS.get(step.kind, lambda operator: None)(step.operator)
    if not row.reads_raw_numbers(step.operator):
        known = row.no_numbers(step.operator) or row.on_host
        return known or "only its own library reads its raw values"
    return None


def _why_no_transform(step: Step) -> str | None:
    if isinstance(step.operator, glue.Columns | glue.Concatenate | glue.Checked):
        return None
    if step.method == "transform" and step.kind in TRANSFORMERS:
        return _LIMITS.get(step.kind, lambda operator: None)(step.operator)
    row = step.translation
    if row is not None and row.not_in_onnx:
        return row.not_in_onnx
    return step.reason.partition(" (")[2].rstrip(")") or f"{step.reason}, in its own library"


def encoded(writer: GraphWriter, step: Step, table: Table) -> Part:
    """What the module of a step takes for a raw table."""
    emit = ENCODERS.get(step.kind)
    return writer.numbers(table if emit is None else emit(writer, step, table))


def host_value(writer: GraphWriter, step: Step, inputs: Sequence[Table]) -> Table:
    """The output of a step that stays outside of the modules."""
    if isinstance(step.operator, glue.Columns):
        return writer.select(inputs[0], np.asarray(step.operator.indices, dtype=int).tolist())
    if isinstance(step.operator, glue.Concatenate):
        return Table(tuple(part for table in inputs for part in table.parts))
    if isinstance(step.operator, glue.Checked):
        return inputs[0]
    return TRANSFORMERS[step.kind](writer, step, inputs[0])


def reads(step: Step, width: int) -> list[str | None]:
    """The type of each column that a step was fitted on; None if unknown."""
    known = getattr(step.operator, "categories_", None)
    if known is None and step.kind in _OF_LABELS and not _is_multilabel(step.operator):
        known = [step.operator.classes_]
    if known is None and step.kind == _IMPUTER and step.operator._fit_dtype.kind == "O":
        known = [[value] for value in step.operator.statistics_]
    if known is None and step.kind in _ENCODERS_OF_TABLES:
        known = _categories_of_table(step.operator)
        return ["float64" if values is None else _kind(values) for values in known]
    if step.kind in _HISTOGRAMS and step.operator._preprocessor is not None:
        known = _categories_of_histograms(step.operator)
    if known is None and step.kind in _OF_TEXT:
        return ["string"] * width
    if isinstance(known, list) and len(known) == width:
        return [_kind(values) for values in known]
    return [None] * width


def _kind(values: Any) -> str | None:
    """The type of a column of which some values are known."""
    if values is None:
        return None
    array = np.asarray(values)
    if array.dtype.kind != "O":
        return column_kind(array)
    present = [value for value in array.tolist() if not is_missing(value)]
    return "string" if any(isinstance(value, str) for value in present) else "float64"


def is_missing(value: Any) -> bool:
    """Whether a value is None, NaN or the missing value of pandas."""
    return value is None or type(value).__name__ == "NAType" or bool(value != value)


# -- categories ----------------------------------------------------------------------------------

_ENCODERS = (
    "sklearn.preprocessing.OneHotEncoder",
    "sklearn.preprocessing.OrdinalEncoder",
    "sklearn.preprocessing.TargetEncoder",
)
_OF_LABELS = ("sklearn.preprocessing.LabelBinarizer", "sklearn.preprocessing.LabelEncoder")
_IMPUTER = "sklearn.impute.SimpleImputer"
_ENCODERS_OF_TABLES = tuple(
    f"category_encoders.{name}Encoder"
    for name in ("Count", "JamesStein", "OneHot", "Ordinal", "Target")
)
_OF_TEXT = ("sklearn.feature_extraction.text.CountVectorizer",)
_WITHOUT_WIDTH = (*_OF_LABELS, "sklearn.isotonic.IsotonicRegression")


def columns_of(step: Step) -> int | None:
    """The number of columns of a step that does not know it; None if unknown."""
    if _is_multilabel(step.operator):
        return len(step.operator.classes_)
    return 1 if step.kind in (*_WITHOUT_WIDTH, *_OF_TEXT) else None


def _is_multilabel(operator: Any) -> bool:
    return str(getattr(operator, "y_type_", "")).startswith("multilabel")


def code_columns(
    writer: GraphWriter,
    table: Table,
    categories: Sequence[Any],
    ask: Asks,
) -> Table:
    """The numbers that stand for the categories of each column.

    Parameters
    ----------
    writer : GraphWriter
        The graph.
    table : Table
        The columns.
    categories : sequence of array
        The categories of each column.
    ask : callable
        Maps columns of as many values to their numbers (n, columns); ValueError for values that the
        operator rejects.
    """
    codes = _asked(categories, ask)
    names = []
    for (part, place), known, numbers in zip(table.places(), categories, codes, strict=True):
        column = writer.select(Table((part,)), [place]).parts[0]
        index = _index(writer, column, list(known))
        names.append(writer.node("Gather", writer.reals(numbers), index, axis=0))
    return Table(tuple(Part(name, 1, writer.real) for name in names))


def _asked(categories: Sequence[Any], ask: Asks) -> list[NDArray[np.float64]]:
    """For each column, the number of each category, and at the end that of unknown ones."""
    known = [list(values) for values in categories]
    count = max(map(len, known), default=0)
    turns = [[values[i % len(values)] for i in range(count)] for values in known]
    answers = ask(turns)
    found = []
    for place, values in enumerate(known):
        otherwise = _otherwise(known, place, ask, answers)
        found.append(np.append(answers[: len(values), place], otherwise[place]))
    return found


def _otherwise(
    known: list[list[Any]],
    place: int,
    ask: Asks,
    answers: NDArray[np.float64],
) -> NDArray[np.float64]:
    """What an operator gives for an unknown category of a column, and the first of the others."""
    row = [[column[0]] for column in known]
    row[place] = [_unknown(known[place])]
    try:
        return ask(row)[0]
    except ValueError:  # rejected; a file has no errors
        missing = np.isnan(answers).any(axis=0)
        return np.where(missing, np.nan, -1.0)


def _unknown(values: list[Any]) -> Any:
    present = [value for value in values if not is_missing(value)]
    if any(isinstance(value, str) for value in present):
        return _UNKNOWN
    numbers = {float(value) for value in present} or {0.0}
    around = (
        max(numbers) + 1,
        np.nextafter(max(numbers), np.inf),
        np.nextafter(min(numbers), -1e308),
    )
    return next(number for number in around if number not in numbers and np.isfinite(number))


def _index(writer: GraphWriter, column: Part, categories: list[Any]) -> str:
    """The place (n, 1) of each entry among some categories; their number if it is none of them."""
    missing = [place for place, value in enumerate(categories) if is_missing(value)]
    present = [place for place, value in enumerate(categories) if not is_missing(value)]
    count = len(categories)
    if any(isinstance(categories[place], str) for place in present):
        keys = [str(categories[place]) for place in present]
        places = [*present, *missing]
        return writer.node(
            "LabelEncoder",
            column.name if column.kind == "string" else writer.cast(column.name, "string"),
            domain="ai.onnx.ml",
            keys_strings=[*keys, *("" for _ in missing)],
            values_int64s=places,
            default_int64=count,
        )
    return _index_of_numbers(writer, column, categories, present, missing)


def _index_of_numbers(
    writer: GraphWriter, column: Part, categories: list[Any], present: list[int], missing: list[int]
) -> str:
    number = writer.cast(column.name, "float64", column.kind)
    values = [float(categories[place]) for place in present]
    hits = writer.node("Equal", number, writer.constant(np.array([values])))
    if missing:
        hits = writer.node("Concat", hits, writer.node("IsNaN", number), axis=1)
        present = [*present, missing[0]]
    # No more than one hit, so that the sum of the places after the last one is exact.
    ranks = np.array([[place - len(categories)] for place in present], dtype=np.float64)
    rank = writer.node("MatMul", writer.cast(hits, "float64"), writer.constant(ranks))
    rank = writer.cast(rank, "int64")
    return writer.node("Add", rank, writer.constant(np.array([len(categories)])))


def _frame(operator: Any, columns: list[list[Any]]) -> Any:
    """Columns of values in the format that the operator was fitted on."""
    names = getattr(operator, "feature_names_in_", None)
    if names is not None:
        import pandas as pd

        pairs = zip(names, columns, strict=True)
        table = pd.DataFrame({name: pd.Series(values) for name, values in pairs})
        kinds = zip(names, getattr(operator, "feature_dtypes_in_", ()), strict=False)
        return table.astype({name: kind for name, kind in kinds if str(kind) == "category"})
    text = any(_kind(values) == "string" for values in columns)
    return np.array(
        [list(row) for row in zip(*columns, strict=True)], dtype=object if text else float
    )


@emitter(ENCODERS, *_ENCODERS)
def _encoder(writer: GraphWriter, step: Step, table: Table) -> Table:
    return code_columns(writer, table, step.operator.categories_, _asks(step))


def _asks(step: Step) -> Asks:
    """What maps columns of values to the numbers that an encoder gives for them."""
    row, operator = required_translation(step), step.operator

    def ask(columns: list[list[Any]]) -> NDArray[np.float64]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(row.encode(operator, _frame(operator, columns)), dtype=np.float64)

    return ask


def _several_missing(operator: Any) -> str | None:
    for values in operator.categories_:
        absent = [value for value in values if is_missing(value)]
        if len(absent) > 1:
            return "None and NaN are different categories, and ONNX has one missing text"
        if absent and "" in [value for value in values if isinstance(value, str)]:
            return "'' is a category beside missing text, and ONNX has no other missing text"
    return None


_LIMITS: dict[str, Callable[[Any], str | None]] = dict.fromkeys(_ENCODERS, _several_missing)


def _categories_of_table(operator: Any) -> list[Any]:
    """The categories of each column of a table; None for columns that are not encoded."""
    tables = getattr(operator, "mapping", None)
    ordinal = getattr(operator, "ordinal_encoder", None)
    if ordinal is not None:
        tables = ordinal.mapping
    if isinstance(tables, list):
        known = {table["col"]: table["mapping"].index.tolist() for table in tables}
    else:
        known = {column: table.index.tolist() for column, table in (tables or {}).items()}
    return [known.get(name) for name in operator.feature_names_in_]


@emitter(ENCODERS, *_ENCODERS_OF_TABLES)
def _encoder_of_tables(writer: GraphWriter, step: Step, table: Table) -> Table:
    """Each column gives one or more columns, which depend on it alone."""
    operator, ask = step.operator, _asks(step)
    categories = _categories_of_table(operator)
    if "error" in _ways_with_missing(operator):
        categories = [values and [v for v in values if not is_missing(v)] for values in categories]
    known = [[0.0, 1.0] if values is None else values for values in categories]
    base = ask([[values[0]] for values in known])
    parts: list[tuple[int, Part]] = []
    for place, (part, values) in enumerate(zip(table.places(), known, strict=True)):
        turns = [values if i == place else [v[0]] * len(values) for i, v in enumerate(known)]
        answers = ask(turns)
        last = _otherwise(known, place, ask, answers)
        every = np.vstack([answers, last])
        own = np.flatnonzero(((every != base) & ~(np.isnan(every) & np.isnan(base))).any(axis=0))
        own = own if own.size else np.array([place])
        column = writer.select(Table((part[0],)), [part[1]]).parts[0]
        if categories[place] is None:
            parts.append((own[0], Part(writer.numbers(Table((column,))).name, 1, writer.real)))
            continue
        index = writer.node("Squeeze", _index(writer, column, list(values)), writer.constant([1]))
        name = writer.node("Gather", writer.reals(every[:, own]), index, axis=0)
        parts.append((own[0], Part(name, len(own), writer.real)))
    return Table(tuple(part for _, part in sorted(parts, key=lambda pair: pair[0])))


def _ways_with_missing(operator: Any) -> list[Any]:
    """What an encoder does with missing entries, for each column where that may differ."""
    ways = getattr(operator, "_handle_missing", operator.handle_missing)
    return list(ways.values()) if isinstance(ways, dict) else [ways]


def _joins_categories(operator: Any) -> str | None:
    if getattr(operator, "min_group_size", None) or getattr(
        operator, "_min_group_categories", None
    ):
        return "min_group_size joins categories"
    return None


_LIMITS.update(dict.fromkeys(_ENCODERS_OF_TABLES, _joins_categories))


@emitter(ENCODERS, "xgboost.XGBRanker")
def _without_groups(writer: GraphWriter, step: Step, table: Table) -> Table:
    return Table(tuple(part for part in table.parts if part.name != "qid"))


@emitter(ENCODERS, *_OF_LABELS)
def _labels(writer: GraphWriter, step: Step, table: Table) -> Table:
    row, operator = required_translation(step), step.operator
    if _is_multilabel(operator):
        numbers = writer.numbers(table)
        absent = writer.node("Equal", numbers.name, writer.reals([0.0]))
        off, on = writer.reals([operator.neg_label]), writer.reals([operator.pos_label])
        return Table((Part(writer.node("Where", absent, off, on), numbers.width, writer.real),))

    def ask(columns: list[list[Any]]) -> NDArray[np.float64]:
        values = np.array(columns[0], dtype=operator.classes_.dtype)
        if values[0] not in operator.classes_:
            raise ValueError("an unknown label")
        codes = np.asarray(row.encode(operator, values), dtype=np.float64)
        return codes.reshape(len(values), -1)

    return code_columns(writer, table, [operator.classes_], ask)


@emitter(ENCODERS, "sklearn.naive_bayes.CategoricalNB")
def _whole(writer: GraphWriter, step: Step, table: Table) -> Table:
    numbers = writer.numbers(table)
    whole = writer.cast(numbers.name, "int64", numbers.kind)
    return Table((Part(writer.cast(whole, writer.real), numbers.width, writer.real),))


@emitter(ENCODERS, "sklearn.dummy.DummyClassifier", "sklearn.dummy.DummyRegressor")
def _nothing(writer: GraphWriter, step: Step, table: Table) -> Table:
    part = table.parts[0]
    shape = writer.node("Shape", part.name, start=0, end=1)
    shape = writer.node("Concat", shape, writer.constant(np.array([1])), axis=0)
    zeros = writer.node("Expand", writer.reals([0.0]), shape)
    return Table((Part(zeros, 1, writer.real),))


_HISTOGRAMS = tuple(
    f"sklearn.ensemble.HistGradientBoosting{kind}" for kind in ("Classifier", "Regressor")
)


@emitter(ENCODERS, *_HISTOGRAMS)
def _of_histograms(writer: GraphWriter, step: Step, table: Table) -> Table:
    """Codes of the categorical columns, and then the others."""
    operator = step.operator
    if operator._preprocessor is None:
        return table
    encoder = operator._preprocessor.named_transformers_["encoder"]

    def ask(columns: list[list[Any]]) -> NDArray[np.float64]:
        return np.asarray(encoder.transform(_frame(encoder, columns)), dtype=np.float64)

    chosen = np.asarray(operator.is_categorical_, dtype=bool)
    codes = writer.select(table, np.flatnonzero(chosen).tolist())
    others = writer.select(table, np.flatnonzero(~chosen).tolist())
    return Table((*code_columns(writer, codes, encoder.categories_, ask).parts, *others.parts))


def _categories_of_histograms(operator: Any) -> list[Any]:
    encoder = operator._preprocessor.named_transformers_["encoder"]
    found = dict(zip(np.flatnonzero(operator.is_categorical_), encoder.categories_, strict=True))
    return [found.get(place) for place in range(len(operator.is_categorical_))]


# -- text that is filled -------------------------------------------------------------------------


@emitter(TRANSFORMERS, _IMPUTER)
def _filled(writer: GraphWriter, step: Step, table: Table) -> Table:
    operator = step.operator
    parts = []
    for (part, place), fill in zip(table.places(), operator.statistics_, strict=True):
        column = writer.select(Table((part,)), [place]).parts[0]
        absent = _absent(writer, column, operator.missing_values)
        text = column.kind == "string"
        value = writer.constant(np.array([str(fill)], dtype=object) if text else [float(fill)])
        if not text:
            value = writer.cast(value, column.kind)
        parts.append(Part(writer.node("Where", absent, value, column.name), 1, column.kind))
    return Table(tuple(parts))


def _absent(writer: GraphWriter, column: Part, mark: Any) -> str:
    if column.kind == "string":
        text = "" if is_missing(mark) else str(mark)
        return writer.node("Equal", column.name, writer.constant(np.array([text], dtype=object)))
    if is_missing(mark):
        return writer.node("IsNaN", column.name)
    value = writer.cast(writer.constant(np.array([float(mark)])), column.kind)
    return writer.node("Equal", column.name, value)


def _fills_text(operator: Any) -> str | None:
    if operator.add_indicator:
        return "it adds indicators to text"
    if any(is_missing(value) for value in operator.statistics_):
        return "it drops columns without any entry"
    return None


_LIMITS[_IMPUTER] = _fills_text


@emitter(ENCODERS, "sklearn.impute.MissingIndicator")
def _marks(writer: GraphWriter, step: Step, table: Table) -> Table:
    """Text becomes the mark of missing entries, or another number."""
    mark = step.operator.missing_values
    number = np.nan if is_missing(mark) or isinstance(mark, str) else float(mark)
    other = 0.0 if np.isnan(number) else number + 1
    parts = []
    for part, place in table.places():
        column = writer.select(Table((part,)), [place]).parts[0]
        if column.kind == "string":
            absent = _absent(writer, column, mark)
            name = writer.node("Where", absent, writer.reals([number]), writer.reals([other]))
            column = Part(name, 1, writer.real)
        parts.append(column)
    return Table(tuple(parts))


# -- text that is counted ------------------------------------------------------------------------


@emitter(ENCODERS, *_OF_TEXT)
@emitter(TRANSFORMERS, *_OF_TEXT)
def _counts(writer: GraphWriter, step: Step, table: Table) -> Table:
    return texts.counts(writer, step.operator, table)


_LIMITS.update(dict.fromkeys(_OF_TEXT, texts.why_not_counts))
