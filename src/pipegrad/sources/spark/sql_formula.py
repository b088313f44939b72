"""Expressions of SQL as operations on floating-point numbers, where NaN stands for null."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..named.programs import LEAVES, NotServedError, Operations, Program

_ALIKE = {
    **{name: name for name in (
        "add", "sub", "mul", "neg", "abs", "exp", "expm1", "sqrt", "sin", "cos", "tan", "asin",
        "acos", "atan", "atan2", "sinh", "cosh", "tanh", "pow", "sign", "floor", "ceil",
    )},
    "degrees": "deg", "radians": "rad", "to_int": "trunc", "to_long": "trunc",
}  # fmt: skip
_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
# Where functions are null: at this number and below.
_NULL_BELOW = {"ln": 0.0, "log10": 0.0, "log2": 0.0, "log1p": -1.0}


def formula(program: Program) -> Program:
    """Operations of `pipegrad.modules.ExpressionProgram`.

    Raises
    ------
    NotServedError
        If an operation is not one on numbers.
    """
    made = _Formula()
    places: list[int] = []
    for name, *arguments in program:
        given = arguments if name in LEAVES else [places[place] for place in arguments]
        places.append(made.operation(name, given))
    return made.operations.program(places[-1])


class _Formula:
    def __init__(self) -> None:
        self.operations = Operations()
        self.add = self.operations.add
        self.special: dict[str, Callable[..., int]] = {
            "div": self.quotient,
            "mod": self.remainder,
            "and": self.conjunction,
            "or": lambda a, b: self.negated(self.conjunction(self.negated(a), self.negated(b))),
            "not": self.negated,
            "where": self.chosen,
            "coalesce": self.coalesce,
            "greatest": lambda a, b: self.extreme("max", a, b),
            "least": lambda a, b: self.extreme("min", a, b),
            "isnull": lambda a: self.add("isna", a),
            "isnotnull": lambda a: self.add("not", self.add("isna", a)),
            "nullif": lambda a, b: self.null_if(self.add("eq", a, b), a),
            "to_double": lambda a: a,
        }

    def operation(self, name: str, given: list[Any]) -> int:
        if name == "input":
            return self.add("input", *given)
        if name == "null":
            return self.add("na")
        if name in ("number", "truth"):
            return self.number(float(given[0]))
        if name in _ALIKE:
            return self.add(_ALIKE[name], *given)
        if name in _COMPARISONS:
            return self.null_if(self.missing(*given), self.add(name, *given))
        if name in _NULL_BELOW:
            outside = self.add("le", given[0], self.number(_NULL_BELOW[name]))
            return self.null_if(outside, self.add(name.replace("ln", "log"), *given))
        if name not in self.special:
            raise NotServedError(f"computes {name} of a column that stages compute")
        return self.special[name](*given)

    def number(self, value: float) -> int:
        return self.add("number", value)

    def missing(self, *places: int) -> int:
        """Whether one of several numbers is missing."""
        first, *others = (self.add("isna", place) for place in places)
        for other in others:
            first = self.add("or", first, other)
        return first

    def null_if(self, condition: int, place: int) -> int:
        return self.add("where", condition, self.add("na"), place)

    def quotient(self, a: int, b: int) -> int:
        return self.null_if(self.add("eq", b, self.number(0.0)), self.add("div", a, b))

    def remainder(self, a: int, b: int) -> int:
        return self.null_if(self.add("eq", b, self.number(0.0)), self.add("mod", a, b))

    def chosen(self, condition: int, first: int, second: int) -> int:
        return self.add("where", self.add("eq", condition, self.number(1.0)), first, second)

    def coalesce(self, a: int, b: int) -> int:
        return self.add("where", self.add("isna", a), b, a)

    def extreme(self, name: str, a: int, b: int) -> int:
        second = self.add("where", self.add("isna", b), a, self.add(name, a, b))
        return self.add("where", self.add("isna", a), b, second)

    def negated(self, a: int) -> int:
        return self.null_if(self.add("isna", a), self.add("eq", a, self.number(0.0)))

    def conjunction(self, a: int, b: int) -> int:
        zero = self.number(0.0)
        false = self.add("or", self.add("eq", a, zero), self.add("eq", b, zero))
        return self.add("where", false, zero, self.null_if(self.missing(a, b), self.number(1.0)))
