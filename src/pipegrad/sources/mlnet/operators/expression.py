"""The Expression transform: parses its small language into trees of operations."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..builder import Builder
from ..node import Node
from ..readers import transform
from ..schema import Column
from ..types import SINGLE, ColumnType
from ._base import Operator

Formula: TypeAlias = tuple[Any, ...]
"""An operation and its arguments; the leaves are ("number", v) and ("input", i)."""

_LONGEST = 10_000
_DEEPEST = 64
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?P<suffix>[fFdDlL]?)"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<sign>=>|\?\?|==|!=|<>|<=|>=|&&|\|\||[-+*/%^<>=!?:(),;]))"
)
_BINARY: Sequence[dict[str, str]] = (
    {"||": "or", "or": "or"},
    {"&&": "and", "and": "and"},
    {"==": "eq", "=": "eq", "!=": "ne", "<>": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"},
    {"+": "add", "-": "sub"},
    {"*": "mul", "/": "div", "%": "mod"},
)
_COMPARISONS = {"eq", "ne", "lt", "le", "gt", "ge"}
_FUNCTIONS = {
    "abs": 1, "sign": 1, "exp": 1, "ln": 1, "log": 1, "sqrt": 1, "sin": 1, "cos": 1, "tan": 1,
    "sinh": 1, "cosh": 1, "tanh": 1, "asin": 1, "acos": 1, "atan": 1, "floor": 1, "ceil": 1,
    "ceiling": 1, "round": 1, "trunc": 1, "truncate": 1, "min": 2, "max": 2, "atan2": 2,
    "atanyx": 2, "isna": 1, "deg": 1, "rad": 1, "na": 1, "default": 1, "pi": 0,
    "float": 1, "single": 1, "double": 1, "int": 1,
}  # fmt: skip
_SUFFIXES = {"": "Single", "f": "Single", "d": "Double", "l": "Int64"}


class NotServedError(Exception):
    """The program is not supported, for the given reason."""


@dataclass(eq=False, kw_only=True)
class Expression(Operator):
    """A formula over columns.

    Parameters
    ----------
    formula : tuple
        The operations.
    source : str
        The program text in ML.NET.
    """

    formula: Formula
    source: str


class _Parser:
    def __init__(self, source: str) -> None:
        if len(source) > _LONGEST:
            raise NotServedError(f"is longer than {_LONGEST} characters")
        self.tokens = _tokens(source)
        self.place = 0
        self.depth = 0
        self.inputs: list[str] = []
        self.known: dict[str, Formula] = {}

    def program(self) -> Formula:
        """``x => ...`` or ``(x, y) => ...``."""
        if self.accept("("):
            self.inputs.append(self.name())
            while self.accept(","):
                self.inputs.append(self.name())
            self.expect(")")
        else:
            self.inputs.append(self.name())
        self.expect("=>")
        formula = self.choice()
        if _depth(formula) > _DEEPEST:
            raise NotServedError("is nested too deeply")
        if self.place != len(self.tokens):
            raise NotServedError(f"has {self.tokens[self.place]!r} where it should end")
        return formula

    # -- tokens

    def peek(self) -> Any:
        return self.tokens[self.place] if self.place < len(self.tokens) else None

    def next(self) -> Any:
        token = self.peek()
        if token is None:
            raise NotServedError("ends too early")
        self.place += 1
        return token

    def accept(self, sign: str) -> bool:
        if self.peek() == sign:
            self.place += 1
            return True
        return False

    def expect(self, sign: str) -> None:
        token = self.next()
        if token != sign:
            raise NotServedError(f"has {token!r} where {sign!r} is expected")

    def name(self) -> str:
        token = self.next()
        if not isinstance(token, str) or not re.fullmatch(r"[A-Za-z_]\w*", token):
            raise NotServedError(f"has {token!r} where a name is expected")
        return token

    # -- grammar

    def choice(self) -> Formula:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise NotServedError("is nested too deeply")
        formula = self.binary(0)
        if self.accept("??"):
            formula = ("where", ("isna", formula), self.choice(), formula)
        if self.accept("?"):
            first = self.choice()
            self.expect(":")
            second = self.choice()
            formula = ("where", formula, first, second)
        self.depth -= 1
        return formula

    def binary(self, level: int) -> Formula:
        if level == len(_BINARY):
            return self.unary()
        formula = last = self.binary(level + 1)
        chained: Formula | None = None
        while self.peek() in _BINARY[level]:
            name, right = _BINARY[level][self.next()], self.binary(level + 1)
            if name not in _COMPARISONS:
                formula = (name, formula, right)
                continue
            # a < b < c requires both comparisons.
            link = (name, last, right)
            formula = chained = link if chained is None else ("and", chained, link)
            last = right
        return formula

    def unary(self) -> Formula:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise NotServedError("is nested too deeply")
        if self.accept("-"):
            formula: Formula = ("neg", self.unary())
        elif self.accept("!") or self.accept("not"):
            formula = ("not", self.unary())
        elif self.accept("+"):
            formula = self.unary()
        else:
            formula = self.power()
        self.depth -= 1
        return formula

    def power(self) -> Formula:
        formula = self.primary()
        return ("pow", formula, self.unary()) if self.accept("^") else formula

    def primary(self) -> Formula:
        token = self.next()
        if isinstance(token, tuple):
            return token
        if token == "(":
            formula = self.choice()
            self.expect(")")
            return formula
        if token in ("true", "false"):
            return ("truth", float(token == "true"))
        if token in self.known:
            return self.known[token]
        if token in self.inputs:
            return ("input", self.inputs.index(token))
        if token == "with":
            return self.definitions()
        if self.accept("("):
            return self.call(token)
        raise NotServedError(f"has {token!r}, which is unknown")

    def definitions(self) -> Formula:
        """``with(y = ..., z = ...; formula)``."""
        self.expect("(")
        outer = dict(self.known)
        while True:
            name = self.name()
            self.expect("=")
            self.known[name] = self.choice()
            if not self.accept(","):
                break
        self.expect(";")
        formula = self.choice()
        self.expect(")")
        self.known = outer
        return formula

    def call(self, name: str) -> Formula:
        arguments = [] if self.peek() == ")" else [self.choice()]
        while self.accept(","):
            arguments.append(self.choice())
        self.expect(")")
        if name == "log" and len(arguments) == 2:
            return ("div", *(("log", argument) for argument in arguments))
        if name in ("sind", "cosd", "tand") and len(arguments) == 1:
            return (name[:3], ("rad", *arguments))
        if _FUNCTIONS.get(name) != len(arguments):
            raise NotServedError(f"calls {name} with {len(arguments)} arguments")
        if name == "pi":
            return ("number", math.pi, "Double")
        return (_ALIASES.get(name, name), *arguments)


_ALIASES = {
    "ln": "log",
    "truncate": "trunc",
    "ceiling": "ceil",
    "atanyx": "atan2",
    "float": "Single",
    "single": "Single",
    "double": "Double",
    "int": "Int32",
}


def _tokens(source: str) -> list[Any]:
    found: list[Any] = []
    place = 0
    source = source.rstrip()
    while place < len(source):
        match = _TOKEN.match(source, place)
        if match is None:
            raise NotServedError(f"has {source[place:].strip()[:10]!r}, which is unknown")
        place = match.end()
        number, suffix = match["number"], match["suffix"]
        if number:
            plain = number.isdigit() and not suffix
            kind = "Int32" if plain else _SUFFIXES[suffix.lower()]
            found.append(("number", float(number), kind))
        else:
            found.append(match["name"] or match["sign"])
    return found


def _depth(formula: Formula) -> int:
    """Nesting depth of the operations, computed without recursion."""
    level, depth = [formula], 0
    while level:
        depth += 1
        level = [inner for f in level for inner in f[1:] if isinstance(inner, tuple)]
    return depth


def parse(source: str) -> tuple[Formula, int]:
    """Parse a program into its formula and the number of inputs.

    Raises
    ------
    NotServedError
        If the program uses unsupported features.
    """
    parser = _Parser(source)
    return parser.program(), len(parser.inputs)


_RANKS = ("Int32", "Int64", "Single", "Double")
_SAME = {"add", "sub", "mul", "div", "mod", "pow", "neg", "abs", "sign", "min", "max"}


def typed(formula: Formula, kinds: list[str]) -> tuple[Formula, str]:
    """Add the rounding that types require to a formula, and infer the type of its result.

    Raises
    ------
    NotServedError
        If types do not match.
    """
    name, *rest = formula
    if name == "number":
        return formula, rest[1]
    if name == "truth":
        return formula, "Boolean"
    if name == "input":
        return formula, kinds[rest[0]]
    inner = [typed(argument, kinds) for argument in rest]
    arguments, given = [f for f, _ in inner], [kind for _, kind in inner]
    if name in ("and", "or", "not"):
        if set(given) != {"Boolean"}:
            raise NotServedError(f"calls {name} for {', '.join(given)}")
        return (name, *arguments), "Boolean"
    if name == "where":
        if given[0] != "Boolean":
            raise NotServedError(f"chooses by {given[0]}")
        same = given[1] == given[2]
        return (name, *arguments), given[1] if same else _promoted(given[1:])
    if name in ("eq", "ne") and set(given) == {"Boolean"}:
        return (name, *arguments), "Boolean"
    return _numeric(name, arguments, _promoted(given))


def _numeric(name: str, arguments: list[Formula], kind: str) -> tuple[Formula, str]:
    whole = kind in ("Int32", "Int64")
    if name in _COMPARISONS or name == "isna":
        return (name, *arguments), "Boolean"
    if name in ("Single", "Double"):
        return arguments[0], name
    if name == "Int32":
        return ("round", arguments[0]), name
    if name in ("na", "default"):
        if name == "na" and whole:
            raise NotServedError("asks for a missing integer")
        return (name, *arguments), kind
    if name in _SAME:
        formula = (name, *arguments)
        return ("trunc", formula) if whole and name in ("div", "pow") else formula, kind
    return (name, *arguments), {"Int32": "Single", "Int64": "Double"}.get(kind, kind)


def _promoted(kinds: list[str]) -> str:
    if not set(kinds) <= set(_RANKS):
        raise NotServedError(f"computes with {', '.join(sorted(set(kinds)))}")
    if {"Int64", "Single"} <= set(kinds):
        return "Double"
    return max(kinds, key=_RANKS.index)


@transform("EXPRTRNF")
def read_expression(node: Node, builder: Builder) -> None:
    """Read one program per output."""
    reader = node.block.reader()
    added = []
    for _ in range(reader.count(16, "columns")):
        names = [reader.name() for _ in range(reader.count(4, "columns"))]
        source, out, vector = reader.name(), reader.name(), reader.i4()
        reader.array(len(names))  # Skip the kinds of the inputs.
        added.append(_expression(node, builder, names, source, out, vector))
    reader.done()
    builder.add(added)


def _expression(
    node: Node,
    builder: Builder,
    names: list[str],
    source: str,
    out: str,
    vector: int,
) -> Column:
    columns = [builder.require_column(name, where=node.path) for name in names]
    taken = [column.type.kind for column in columns]
    try:
        formula, count = parse(source)
        plain = set(taken) <= {*_RANKS, "Boolean"}
        if count != len(columns) or not plain or vector not in range(-1, len(columns)):
            raise NotServedError(f"takes columns that are not supported ({', '.join(taken)})")
        formula, kind = typed(formula, taken)
    except NotServedError as error:
        why = f"runs {source!r:.60}, which {error}"
        return builder.input_column(out, SINGLE, why, node)
    size = columns[vector].type.size if vector >= 0 else None
    operator = Expression(formula=formula, source=source)
    return builder.add_step(node, out, ColumnType(kind, size), operator, *columns)
