"""Computes expressions of Spark's SQL on columns, with its types and its null."""

from __future__ import annotations

import decimal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ArgumentError
from ..named.cells import is_null
from ..named.programs import Program
from .input_table import as_texts

_TYPES: dict[str, Any] = {
    "truth": np.bool_, "int": np.int32, "long": np.int64, "float": np.float32,
    "double": np.float64,
}  # fmt: skip
_NUMBERS = ("int", "long", "decimal", "float", "double")
_CONTEXT = decimal.Context(prec=38, rounding=decimal.ROUND_HALF_UP)


@dataclass(frozen=True)
class Cells:
    """Values of one type, some of which may be null.

    Parameters
    ----------
    kind : {"truth", "int", "long", "decimal", "float", "double", "text", "null"}
        The type.
    values : array (n,)
        Numbers, or objects for texts and decimals; anything where it is null.
    null : array of bool (n,)
        Which are null.
    """

    kind: str
    values: NDArray[Any]
    null: NDArray[np.bool_]

    def column(self) -> NDArray[Any]:
        """The values with None for null, as steps read columns."""
        if not self.null.any():
            return self.values
        cells = self.values.astype(object)
        cells[self.null] = None
        return cells


def cells_of_column(values: NDArray[Any]) -> Cells:
    """The cells of a column of the table or of another step."""
    if values.ndim != 1:
        raise ArgumentError("SQLTransformer computes with numbers and texts, not with vectors.")
    null = is_null(values)
    if values.dtype != object:
        kind = {"b": "truth", "f": "float" if values.dtype == np.float32 else "double"}.get(
            values.dtype.kind, "int" if values.dtype.itemsize <= 4 else "long"
        )
        return Cells(kind, values.astype(_TYPES[kind]), null)
    known = values[~null].tolist()
    kind = _kind_of(known)
    if kind == "null":
        return _nothing(len(values))
    if kind in ("text", "decimal"):
        return Cells(kind, values, null)
    filled = np.where(null, 0, values)
    return Cells(kind, filled.astype(_TYPES[kind]), null)


def _kind_of(known: list[Any]) -> str:
    tests: list[tuple[str, Any]] = [
        ("truth", bool | np.bool_),
        ("text", str),
        ("decimal", Decimal),
        ("long", int | np.integer),
        ("float", np.float32),
        ("double", int | float | np.number),
    ]
    found = [kind for kind, types in tests if all(isinstance(cell, types) for cell in known)]
    if not found:
        raise ArgumentError("SQLTransformer computes with columns of one type each.")
    return found[0] if known else "null"


def _nothing(count: int) -> Cells:
    return Cells("null", np.zeros(count, dtype=object), np.ones(count, dtype=bool))


def evaluate(program: Program, columns: Sequence[NDArray[Any]], count: int) -> NDArray[Any]:
    """The result of a program for columns with ``count`` rows."""
    found: list[Cells] = []
    with np.errstate(all="ignore"), decimal.localcontext(_CONTEXT):
        for name, *arguments in program:
            found.append(_operation(name, arguments, found, columns, count))
    return found[-1].column()


def _operation(
    name: str, arguments: list[Any], found: list[Cells], columns: Sequence[Any], count: int
) -> Cells:
    none = np.zeros(count, dtype=bool)
    if name == "input":
        return cells_of_column(np.asarray(columns[arguments[0]]))
    if name == "null":
        return _nothing(count)
    if name == "truth":
        return Cells("truth", np.full(count, bool(arguments[0])), none)
    if name == "text":
        return Cells("text", np.full(count, arguments[0], dtype=object), none)
    if name == "number":
        value, kind = arguments
        made = np.full(count, value, dtype=_TYPES.get(kind, object))
        return Cells(kind, made, none)
    return _OPERATIONS[name](*(found[place] for place in arguments))


def _wrong(what: str, *cells: Cells) -> ArgumentError:
    kinds = ", ".join(cell.kind for cell in cells)
    return ArgumentError(
        f"SQLTransformer must compute {what} of types that pipegrad knows for it, got {kinds}.\n"
        "Hint: cast(... as double) in the statement, or give the table the column itself."
    )


# -- types -----------------------------------------------------------------------------------------


def _common(*cells: Cells, numbers: bool = False, what: str = "a value") -> list[Cells]:
    """The cells in the type that all of them fit."""
    kinds = {cell.kind for cell in cells} - {"null"}
    if len(kinds) > 1 or numbers:
        if not kinds <= set(_NUMBERS):
            raise _wrong(what, *cells)
        if "float" in kinds and kinds & {"int", "long", "decimal"}:
            raise _wrong(what, *cells)  # A float or a double, by the settings of Spark.
        kinds = {_widest(kinds)} if kinds else {"double"}
    (kind,) = kinds or {"null"}
    return [_as(cell, kind) for cell in cells]


def _widest(kinds: set[str]) -> str:
    if "float" in kinds and kinds != {"float"}:
        return "double"
    return max(kinds, key=_NUMBERS.index)


def _as(cells: Cells, kind: str) -> Cells:
    if cells.kind == kind:
        return cells
    if cells.kind == "null":
        filler = "" if kind == "text" else 0
        values = np.full(len(cells.null), filler, dtype=_TYPES.get(kind, object))
        return Cells(kind, values, cells.null)
    if kind == "decimal":
        return Cells(kind, _each(lambda v: Decimal(int(v)), cells), cells.null)
    values = np.where(cells.null, 0, cells.values) if cells.kind == "decimal" else cells.values
    return Cells(kind, values.astype(_TYPES[kind]), cells.null)


def _each(function: Callable[..., Any], *cells: Cells) -> NDArray[Any]:
    """A function of Python for each row without a null; 0 elsewhere."""
    null = np.any([cell.null for cell in cells], axis=0)
    rows = zip(null, *(cell.values.tolist() for cell in cells), strict=True)
    out = np.empty(len(null), dtype=object)
    out[:] = [0 if lacks else function(*values) for lacks, *values in rows]
    return out


# -- operations ------------------------------------------------------------------------------------


def _arithmetic(name: str, function: Callable[..., Any]) -> Callable[..., Cells]:
    def compute(*given: Cells) -> Cells:
        cells = _common(*given, numbers=True, what=name)
        kind, null = cells[0].kind, np.any([cell.null for cell in cells], axis=0)
        if kind == "decimal":
            return Cells(kind, _each(function, *cells), null)
        if kind not in ("int", "long"):
            return Cells(kind, function(*(cell.values for cell in cells)), null)
        values = function(*(cell.values.astype(np.int64) for cell in cells))
        rough = function(*(cell.values.astype(np.float64) for cell in cells))
        largest = np.iinfo(_TYPES[kind]).max
        if (np.abs(rough[~null]) > largest).any():
            raise ArgumentError(f"SQLTransformer must compute numbers that fit into {kind}.")
        return Cells(kind, values.astype(_TYPES[kind]), null)

    return compute


def _divide(*given: Cells) -> Cells:
    if any(cell.kind == "decimal" for cell in given) and not any(
        cell.kind in ("float", "double") for cell in given
    ):
        raise _wrong("quotients", *given)  # The number of digits follows from declared types.
    a, b = (_as(cell, "double") for cell in _common(*given, numbers=True, what="quotients"))
    # Spark 4 refuses to divide by zero, unless it is told to give null, as it did before.
    zero = b.values == 0
    return Cells("double", a.values / np.where(zero, 1.0, b.values), a.null | b.null | zero)


def _modulo(*given: Cells) -> Cells:
    a, b = _common(*given, numbers=True, what="remainders")
    zero = b.values == 0
    null = a.null | b.null | zero
    if a.kind == "decimal":
        return Cells(a.kind, _each(lambda x, y: x % y, a, Cells(b.kind, b.values, null)), null)
    divisor = np.where(zero, 1, b.values).astype(b.values.dtype)
    return Cells(a.kind, np.fmod(a.values, divisor), null)


def _compare(name: str) -> Callable[..., Cells]:
    def compute(*given: Cells) -> Cells:
        a, b = _common(*given, what="comparisons")
        null = a.null | b.null
        less, equal = _order(a, b, null)
        greater = ~less & ~equal
        found = {
            "eq": equal, "same": equal, "ne": ~equal, "lt": less, "le": less | equal,
            "gt": greater, "ge": greater | equal,
        }[name]  # fmt: skip
        if name == "same":
            both = a.null & b.null
            return Cells("truth", np.where(null, both, found), np.zeros(len(null), dtype=bool))
        return Cells("truth", found, null)

    return compute


def _order(a: Cells, b: Cells, null: NDArray[np.bool_]) -> tuple[Any, Any]:
    """Whether values are less and whether they are equal; NaN is the largest, and is NaN."""
    if a.kind in ("text", "decimal", "null"):
        x, y = (Cells(cell.kind, cell.values, null) for cell in (a, b))
        less, equal = (
            _each(f, x, y).astype(bool) for f in (lambda p, q: p < q, lambda p, q: p == q)
        )
        return less, equal
    first, second = a.values, b.values
    odd, odd_second = first != first, second != second
    return (first < second) | (~odd & odd_second), (first == second) | (odd & odd_second)


def _both(a: Cells, b: Cells) -> Cells:
    a, b = (_truth(cell) for cell in (a, b))
    false = (~a.null & ~a.values) | (~b.null & ~b.values)
    return Cells("truth", ~false, (a.null | b.null) & ~false)


def _either(a: Cells, b: Cells) -> Cells:
    return _negated(_both(_negated(a), _negated(b)))


def _negated(cells: Cells) -> Cells:
    truth = _truth(cells)
    return Cells("truth", ~truth.values, truth.null)


def _truth(cells: Cells) -> Cells:
    if cells.kind not in ("truth", "null"):
        raise _wrong("conditions", cells)
    return _as(cells, "truth")


def _where(condition: Cells, *given: Cells) -> Cells:
    truth = _truth(condition)
    first, second = _common(*given, what="choices")
    chosen = truth.values & ~truth.null
    values = np.where(chosen, first.values, second.values)
    return Cells(first.kind, values, np.where(chosen, first.null, second.null))


def _coalesce(*given: Cells) -> Cells:
    first, *others = _common(*given, what="coalesce")
    for other in others:
        first = Cells(
            first.kind, np.where(first.null, other.values, first.values), first.null & other.null
        )
    return first


def _extreme(largest: bool) -> Callable[..., Cells]:
    def compute(*given: Cells) -> Cells:
        a, b = _common(*given, what="greatest" if largest else "least")
        less, _ = _order(a, b, a.null | b.null)
        second = a.null | (~b.null & (less == largest))
        return Cells(a.kind, np.where(second, b.values, a.values), a.null & b.null)

    return compute


def _doubles(function: Callable[..., Any], null_at: Any = None) -> Callable[..., Cells]:
    """A function of doubles, which is null where ``null_at`` of its first argument is true."""

    def compute(*given: Cells) -> Cells:
        cells = [_as(cell, "double") for cell in _common(*given, numbers=True, what="functions")]
        null = np.any([cell.null for cell in cells], axis=0)
        values = [cell.values for cell in cells]
        if null_at is not None:
            null = null | null_at(values[0])
        return Cells("double", function(*values), null)

    return compute


def _to_whole(function: Callable[..., Any]) -> Callable[[Cells], Cells]:
    def compute(given: Cells) -> Cells:
        if given.kind in ("int", "long"):
            return _as(given, "long")
        (numbers,) = _common(given, numbers=True, what="whole numbers")
        cells = _as(numbers, "double")
        values = function(cells.values)
        bounds = np.iinfo(np.int64)
        # Java turns NaN into zero, and what is too large into the largest number.
        whole = np.where(np.isnan(values), 0, np.clip(values, -(2.0**63), 2.0**63 - 1024))
        whole = np.where(values >= 2.0**63, bounds.max, whole.astype(np.int64))
        return Cells("long", whole.astype(np.int64), cells.null)

    return compute


def _round(given: Cells, digits: Cells | None = None) -> Cells:
    places = 0 if digits is None else int(digits.values[0]) if len(digits.values) else 0
    fixed = digits is None or (digits.kind == "int" and len(set(digits.values.tolist())) <= 1)
    if not fixed or places < 0 or given.kind not in ("int", "long", "float", "double"):
        raise _wrong("roundings", *([given] if digits is None else [given, digits]))
    if given.kind in ("int", "long"):
        return given
    unit = Decimal(1).scaleb(-places)

    def rounded(value: float) -> float:
        if not np.isfinite(value) or abs(value) >= 1e22:
            return value
        return float(Decimal(repr(value)).quantize(unit, decimal.ROUND_HALF_UP))

    return Cells(given.kind, _each(rounded, given).astype(_TYPES[given.kind]), given.null)


def _text(function: Callable[[str], Any], kind: str = "text") -> Callable[[Cells], Cells]:
    def compute(given: Cells) -> Cells:
        if given.kind not in ("text", "null"):
            raise _wrong("functions of texts", given)
        cells = _as(given, "text")
        return Cells(kind, _each(function, cells).astype(_TYPES.get(kind, object)), cells.null)

    return compute


def _concat(*given: Cells) -> Cells:
    if any(cell.kind not in ("text", "null") for cell in given):
        raise _wrong("concatenations", *given)
    cells = [_as(cell, "text") for cell in given]
    null = np.any([cell.null for cell in cells], axis=0)
    return Cells("text", _each(lambda *texts: "".join(texts), *cells), null)


def _is_nan(given: Cells) -> Cells:
    (numbers,) = _common(given, numbers=True, what="isnan")
    values = _as(numbers, "double").values
    return Cells("truth", np.isnan(values) & ~given.null, np.zeros(len(given.null), dtype=bool))


def _cast(kind: str) -> Callable[[Cells], Cells]:
    def compute(given: Cells) -> Cells:
        if given.kind in (kind, "null"):
            return _as(given, kind)
        if kind == "text":
            texts = np.array(as_texts(given.column()), dtype=object)
            return Cells("text", texts, given.null)
        if given.kind == "text":
            raise _wrong("casts", given)
        if kind == "truth":
            values = np.where(given.null, 0, given.values)
            return Cells("truth", values != 0, given.null)
        if given.kind in ("decimal", "float", "double") and kind in ("int", "long"):
            numbers = _as(given, "double").values
            bounds = np.iinfo(_TYPES[kind])
            wrong = ~(np.trunc(numbers) >= bounds.min) | ~(np.trunc(numbers) <= bounds.max)
            if (wrong & ~given.null).any():
                raise ArgumentError(f"SQLTransformer must cast numbers that fit into {kind}.")
            whole = np.trunc(np.where(wrong | given.null, 0, numbers))
            return Cells(kind, whole.astype(_TYPES[kind]), given.null)
        if kind == "int" and given.kind == "long":
            bounds = np.iinfo(np.int32)
            if ((given.values > bounds.max) | (given.values < bounds.min))[~given.null].any():
                raise ArgumentError("SQLTransformer must cast numbers that fit into int.")
        return _as(given, kind)

    return compute


def _null_if(a: Cells, b: Cells) -> Cells:
    equal = _compare("eq")(a, b)
    return Cells(a.kind, a.values, a.null | (equal.values & ~equal.null))


def _nan_value(*given: Cells) -> Cells:
    a, b = (_as(cell, "double") for cell in _common(*given, numbers=True, what="nanvl"))
    odd = np.isnan(a.values) & ~a.null
    return Cells("double", np.where(odd, b.values, a.values), np.where(odd, b.null, a.null))


def _present(wanted: bool) -> Callable[[Cells], Cells]:
    def compute(given: Cells) -> Cells:
        found = given.null if wanted else ~given.null
        return Cells("truth", found, np.zeros(len(found), dtype=bool))

    return compute


_OPERATIONS: dict[str, Callable[..., Cells]] = {
    "add": _arithmetic("sums", lambda a, b: a + b),
    "sub": _arithmetic("differences", lambda a, b: a - b),
    "mul": _arithmetic("products", lambda a, b: a * b),
    "neg": _arithmetic("negatives", lambda a: -a),
    "abs": _arithmetic("absolute values", abs),
    "div": _divide,
    "mod": _modulo,
    **{name: _compare(name) for name in ("eq", "ne", "lt", "le", "gt", "ge", "same")},
    "and": _both,
    "or": _either,
    "not": _negated,
    "where": _where,
    "coalesce": _coalesce,
    "greatest": _extreme(True),
    "least": _extreme(False),
    "nullif": _null_if,
    "nanvl": _nan_value,
    "isnull": _present(True),
    "isnotnull": _present(False),
    "isnan": _is_nan,
    "ln": _doubles(np.log, lambda x: x <= 0),
    "log10": _doubles(np.log10, lambda x: x <= 0),
    "log2": _doubles(np.log2, lambda x: x <= 0),
    "log1p": _doubles(np.log1p, lambda x: x <= -1),
    **{name: _doubles(getattr(np, name)) for name in (
        "sqrt", "cbrt", "exp", "expm1", "sin", "cos", "tan", "sinh", "cosh", "tanh", "sign",
        "degrees", "radians",
    )},
    "asin": _doubles(np.arcsin),
    "acos": _doubles(np.arccos),
    "atan": _doubles(np.arctan),
    "atan2": _doubles(np.arctan2),
    "pow": _doubles(np.power),
    "floor": _to_whole(np.floor),
    "ceil": _to_whole(np.ceil),
    "round": _round,
    "lower": _text(str.lower),
    "upper": _text(str.upper),
    "trim": _text(lambda text: text.strip(" ")),
    "length": _text(len, "int"),
    "concat": _concat,
    **{f"to_{kind}": _cast(kind) for kind in ("double", "float", "int", "long", "text", "truth")},
}  # fmt: skip
