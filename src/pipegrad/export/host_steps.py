"""Steps that read raw values, as operations on a table: one function for each class.

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
from ..registry import dotted_name
from .table import Part, Table, TableWriter, column_kind, is_missing

Emitter = Callable[[TableWriter, Step, Table], Table]
Asks = Callable[[list[list[Any]]], NDArray[np.float64]]

ENCODERS: dict[str, Emitter] = {}
"""By the name of a class, what `Translation.encode` computes of a raw table."""

TRANSFORMERS: dict[str, Emitter] = {}
"""By the name of a class, what ``transform`` computes of a raw table; results need no numbers."""

LIMITS: dict[str, Callable[[Any], str | None]] = {}
"""By the name of a class, what tells why an operator reads raw values as no file can, or None."""

NOT_IN_TORCH: dict[str, str] = {}
"""By the name of a class that ONNX can express, why a program of torch cannot."""

READS: dict[str, Callable[[Any], list[str | None] | None]] = {}
"""By the name of a class, what tells the types of columns as `reads` does; None if unknown."""

_UNKNOWN = "\x00 none of the categories"


def emitter(table: dict[str, Emitter], *names: str) -> Callable[[Emitter], Emitter]:
    """Add a function to a table under some names."""

    def add(function: Emitter) -> Emitter:
        table.update(dict.fromkeys(names, function))
        return function

    return add


def onnx_emitter(reason: str, table: dict[str, Emitter], *names: str) -> Callable[[Any], Any]:
    """Add a function to a table that writes operators of ONNX; a program of torch has a reason."""

    def add(function: Emitter) -> Emitter:
        NOT_IN_TORCH.update(dict.fromkeys(names, reason))
        return emitter(table, *names)(function)

    return add


def key_of(step: Step) -> str:
    """The name of the class of a step in these tables."""
    # ML.NET calls several classes by one name.
    return dotted_name(type(step.operator)) if step.kind.startswith("mlnet.") else step.kind


def encoded(writer: TableWriter, step: Step, table: Table) -> Part:
    """What the module of a step takes for a raw table."""
    emit = ENCODERS.get(key_of(step))
    return writer.numbers(table if emit is None else emit(writer, step, table))


def host_value(writer: TableWriter, step: Step, inputs: Sequence[Table]) -> Table:
    """The output of a step that stays outside of the modules."""
    if isinstance(step.operator, glue.Columns):
        return writer.select(inputs[0], np.asarray(step.operator.indices, dtype=int).tolist())
    if isinstance(step.operator, glue.Concatenate):
        return Table(tuple(part for table in inputs for part in table.parts))
    if isinstance(step.operator, glue.Checked):
        return inputs[0]
    table = Table(tuple(part for table in inputs for part in table.parts))
    return TRANSFORMERS[key_of(step)](writer, step, table)


def reads(step: Step, width: int) -> list[str | None]:
    """The type of each column that a step was fitted on; None if unknown."""
    own = READS.get(step.kind)
    found = None if own is None else own(step.operator)
    if found is not None and len(found) == width:
        return found
    known = getattr(step.operator, "categories_", None)
    if known is None and step.kind in _OF_LABELS and not _is_multilabel(step.operator):
        known = [step.operator.classes_]
    if known is None and step.kind == _IMPUTER and step.operator._fit_dtype.kind == "O":
        known = [[value] for value in step.operator.statistics_]
    if known is None and step.kind in _ENCODERS_OF_TABLES:
        known = _categories_of_table(step.operator)
        return ["float64" if values is None else kind_of(values) for values in known]
    if step.kind in _HISTOGRAMS and step.operator._preprocessor is not None:
        known = _categories_of_histograms(step.operator)
    if known is None and step.kind in _OF_TEXT:
        return ["string"] * width
    if isinstance(known, list) and len(known) == width:
        return [kind_of(values) for values in known]
    return [None] * width


def kind_of(values: Any) -> str | None:
    """The type of a column of which some values are known."""
    if values is None:
        return None
    array = np.asarray(values)
    if array.dtype.kind != "O":
        return column_kind(array)
    present = [value for value in array.tolist() if not is_missing(value)]
    return "string" if any(isinstance(value, str) for value in present) else "float64"


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
    writer: TableWriter,
    table: Table,
    categories: Sequence[Any],
    ask: Asks,
) -> Table:
    """The numbers that stand for the categories of each column.

    Parameters
    ----------
    writer : TableWriter
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
    parts = []
    for place, (known, numbers) in enumerate(zip(categories, codes, strict=True)):
        column = writer.select(table, [place]).parts[0]
        parts.append(writer.look_up(column, list(known), numbers[:, None]))
    return Table(tuple(parts))


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


def _frame(operator: Any, columns: list[list[Any]]) -> Any:
    """Columns of values in the format that the operator was fitted on."""
    names = getattr(operator, "feature_names_in_", None)
    if names is not None:
        import pandas as pd

        pairs = zip(names, columns, strict=True)
        table = pd.DataFrame({name: pd.Series(values) for name, values in pairs})
        kinds = zip(names, getattr(operator, "feature_dtypes_in_", ()), strict=False)
        return table.astype({name: kind for name, kind in kinds if str(kind) == "category"})
    text = any(kind_of(values) == "string" for values in columns)
    return np.array(
        [list(row) for row in zip(*columns, strict=True)], dtype=object if text else float
    )


@emitter(ENCODERS, *_ENCODERS)
def _encoder(writer: TableWriter, step: Step, table: Table) -> Table:
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


LIMITS.update(dict.fromkeys(_ENCODERS, _several_missing))


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
def _encoder_of_tables(writer: TableWriter, step: Step, table: Table) -> Table:
    """Each column gives one or more columns, which depend on it alone."""
    operator, ask = step.operator, _asks(step)
    categories = _categories_of_table(operator)
    if "error" in _ways_with_missing(operator):
        categories = [values and [v for v in values if not is_missing(v)] for values in categories]
    known = [[0.0, 1.0] if values is None else values for values in categories]
    base = ask([[values[0]] for values in known])
    parts: list[tuple[int, Part]] = []
    for place, values in enumerate(known):
        turns = [values if i == place else [v[0]] * len(values) for i, v in enumerate(known)]
        answers = ask(turns)
        last = _otherwise(known, place, ask, answers)
        every = np.vstack([answers, last])
        own = np.flatnonzero(((every != base) & ~(np.isnan(every) & np.isnan(base))).any(axis=0))
        own = own if own.size else np.array([place])
        column = writer.select(table, [place])
        if categories[place] is None:
            parts.append((own[0], writer.numbers(column)))
            continue
        parts.append((own[0], writer.look_up(column.parts[0], list(values), every[:, own])))
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


LIMITS.update(dict.fromkeys(_ENCODERS_OF_TABLES, _joins_categories))


@emitter(ENCODERS, *_OF_LABELS)
def _labels(writer: TableWriter, step: Step, table: Table) -> Table:
    row, operator = required_translation(step), step.operator
    if _is_multilabel(operator):
        numbers = writer.numbers(table)
        return Table((writer.replaced(numbers, 0.0, operator.neg_label, operator.pos_label),))

    def ask(columns: list[list[Any]]) -> NDArray[np.float64]:
        values = np.array(columns[0], dtype=operator.classes_.dtype)
        if values[0] not in operator.classes_:
            raise ValueError("an unknown label")
        codes = np.asarray(row.encode(operator, values), dtype=np.float64)
        return codes.reshape(len(values), -1)

    return code_columns(writer, table, [operator.classes_], ask)


@emitter(ENCODERS, "sklearn.naive_bayes.CategoricalNB")
def _whole(writer: TableWriter, step: Step, table: Table) -> Table:
    return Table((writer.whole(writer.numbers(table)),))


@emitter(ENCODERS, "sklearn.dummy.DummyClassifier", "sklearn.dummy.DummyRegressor")
def _nothing(writer: TableWriter, step: Step, table: Table) -> Table:
    return Table((writer.zeros(table),))


_HISTOGRAMS = tuple(
    f"sklearn.ensemble.HistGradientBoosting{kind}" for kind in ("Classifier", "Regressor")
)


@emitter(ENCODERS, *_HISTOGRAMS)
def _of_histograms(writer: TableWriter, step: Step, table: Table) -> Table:
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
def _filled(writer: TableWriter, step: Step, table: Table) -> Table:
    operator = step.operator
    parts = []
    for place, fill in enumerate(operator.statistics_):
        column = writer.select(table, [place]).parts[0]
        parts.append(writer.replaced(column, operator.missing_values, fill))
    return Table(tuple(parts))


def _fills_text(operator: Any) -> str | None:
    if operator.add_indicator:
        return "it adds indicators to text"
    if any(is_missing(value) for value in operator.statistics_):
        return "it drops columns without any entry"
    return None


LIMITS[_IMPUTER] = _fills_text


@emitter(ENCODERS, "sklearn.impute.MissingIndicator")
def _marks(writer: TableWriter, step: Step, table: Table) -> Table:
    """Text becomes the mark of missing entries, or another number."""
    mark = step.operator.missing_values
    number = np.nan if is_missing(mark) or isinstance(mark, str) else float(mark)
    other = 0.0 if np.isnan(number) else number + 1
    parts = []
    for place in range(table.width):
        column = writer.select(table, [place]).parts[0]
        text = column.kind == "string"
        parts.append(writer.replaced(column, mark, number, other) if text else column)
    return Table(tuple(parts))


# -- text that is counted ------------------------------------------------------------------------


_NO_TEXT = "a program of torch takes numbers, and it counts the words of text"
NOT_IN_TORCH["sklearn.feature_extraction.text.TfidfVectorizer"] = _NO_TEXT  # which has it inside


@onnx_emitter(_NO_TEXT, ENCODERS, *_OF_TEXT)
@onnx_emitter(_NO_TEXT, TRANSFORMERS, *_OF_TEXT)
def _counts(writer: Any, step: Step, table: Table) -> Table:
    from .texts import counts

    return counts(writer, step.operator, table)


def _why_no_counts(operator: Any) -> str | None:
    from .texts import why_not_counts

    return why_not_counts(operator)


LIMITS.update(dict.fromkeys(_OF_TEXT, _why_no_counts))
