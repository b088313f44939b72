"""The Expression transform: parses its small language into a list of operations."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...named.programs import NotServedError, Operation, Operations, Program, operands
from ..builder import Builder
from ..node import Node
from ..readers import transform
from ..schema import Column
from ..types import SINGLE, ColumnType
from ._base import Operator

_LONGEST = 10_000
_DEEPEST = 64
# Each character counts as this many objects, since it takes as long to read.
_CHARGE = 4
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


@dataclass(eq=False, kw_only=True)
class Expression(Operator):
    """A formula over columns.

    Parameters
    ----------
    program : tuple of tuple
        The operations.
    source : str
        The program text in ML.NET.
    """

    program: Program
    source: str


class _Parser:
    def __init__(self, source: str) -> None:
        if len(source) > _LONGEST:
            raise NotServedError(f"is longer than {_LONGEST} characters")
        self.tokens = _tokens(source)
        self.operations = Operations()
        self.add = self.operations.add
        self.place = 0
        self.depth = 0
        self.inputs: list[str] = []
        self.known: dict[str, int] = {}

    def program(self) -> Program:
        """``x => ...`` or ``(x, y) => ...``."""
        if self.accept("("):
            self.inputs.append(self.name())
            while self.accept(","):
                self.inputs.append(self.name())
            self.expect(")")
        else:
            self.inputs.append(self.name())
        self.expect("=>")
        result = self.choice()
        if self.place != len(self.tokens):
            raise NotServedError(f"has {self.tokens[self.place]!r} where it should end")
        return self.operations.program(result)

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

    # -- grammar: each rule adds operations and returns the place of the last one

    def choice(self) -> int:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise NotServedError("is nested too deeply")
        place = self.binary(0)
        if self.accept("??"):
            place = self.add("where", self.add("isna", place), self.choice(), place)
        if self.accept("?"):
            first = self.choice()
            self.expect(":")
            second = self.choice()
            place = self.add("where", place, first, second)
        self.depth -= 1
        return place

    def binary(self, level: int) -> int:
        if level == len(_BINARY):
            return self.unary()
        place = last = self.binary(level + 1)
        chained: int | None = None
        while self.peek() in _BINARY[level]:
            name, right = _BINARY[level][self.next()], self.binary(level + 1)
            if name not in _COMPARISONS:
                place = self.add(name, place, right)
                continue
            # a < b < c requires both comparisons.
            link = self.add(name, last, right)
            place = chained = link if chained is None else self.add("and", chained, link)
            last = right
        return place

    def unary(self) -> int:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise NotServedError("is nested too deeply")
        if self.accept("-"):
            place = self.add("neg", self.unary())
        elif self.accept("!") or self.accept("not"):
            place = self.add("not", self.unary())
        elif self.accept("+"):
            place = self.unary()
        else:
            place = self.power()
        self.depth -= 1
        return place

    def power(self) -> int:
        place = self.primary()
        return self.add("pow", place, self.unary()) if self.accept("^") else place

    def primary(self) -> int:
        token = self.next()
        if isinstance(token, tuple):
            return self.add(*token)
        if token == "(":
            place = self.choice()
            self.expect(")")
            return place
        if token in ("true", "false"):
            return self.add("truth", float(token == "true"))
        if token in self.known:
            return self.known[token]
        if token in self.inputs:
            return self.add("input", self.inputs.index(token))
        if token == "with":
            return self.definitions()
        if self.accept("("):
            return self.call(token)
        raise NotServedError(f"has {token!r}, which is unknown")

    def definitions(self) -> int:
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
        place = self.choice()
        self.expect(")")
        self.known = outer
        return place

    def call(self, name: str) -> int:
        arguments = [] if self.peek() == ")" else [self.choice()]
        while self.accept(","):
            arguments.append(self.choice())
        self.expect(")")
        if name == "log" and len(arguments) == 2:
            return self.add("div", *(self.add("log", argument) for argument in arguments))
        if name in ("sind", "cosd", "tand") and len(arguments) == 1:
            return self.add(name[:3], self.add("rad", *arguments))
        if _FUNCTIONS.get(name) != len(arguments):
            raise NotServedError(f"calls {name} with {len(arguments)} arguments")
        if name == "pi":
            return self.add("number", math.pi, "Double")
        return self.add(_ALIASES.get(name, name), *arguments)


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


def parse(source: str) -> tuple[Program, int]:
    """Parse a text into its operations and the number of inputs.

    Raises
    ------
    NotServedError
        If the program uses unsupported features.
    """
    parser = _Parser(source)
    return parser.program(), len(parser.inputs)


_RANKS = ("Int32", "Int64", "Single", "Double")
_SAME = {"add", "sub", "mul", "div", "mod", "pow", "neg", "abs", "sign", "min", "max"}


def typed(program: Program, kinds: list[str]) -> tuple[Program, str]:
    """Add the rounding that types require to a program, and infer the type of its result.

    Raises
    ------
    NotServedError
        If types do not match.
    """
    rounded = Operations()
    found: list[tuple[int, str]] = []
    for operation in program:
        found.append(_typed(operation, [found[i] for i in operands(operation)], kinds, rounded))
    result, kind = found[-1]
    return rounded.program(result), kind


def _typed(
    operation: Operation, inner: list[tuple[int, str]], kinds: list[str], rounded: Operations
) -> tuple[int, str]:
    """The place and the type of an operation, given those of its arguments."""
    name, *rest = operation
    if name == "number":
        return rounded.add(*operation), rest[1]
    if name == "truth":
        return rounded.add(*operation), "Boolean"
    if name == "input":
        return rounded.add(*operation), kinds[rest[0]]
    arguments, given = [place for place, _ in inner], [kind for _, kind in inner]
    if name in ("and", "or", "not"):
        if set(given) != {"Boolean"}:
            raise NotServedError(f"calls {name} for {', '.join(given)}")
        return rounded.add(name, *arguments), "Boolean"
    if name == "where":
        if given[0] != "Boolean":
            raise NotServedError(f"chooses by {given[0]}")
        same = given[1] == given[2]
        return rounded.add(name, *arguments), given[1] if same else _promoted(given[1:])
    if name in ("eq", "ne") and set(given) == {"Boolean"}:
        return rounded.add(name, *arguments), "Boolean"
    return _numeric(name, arguments, _promoted(given), rounded)


def _numeric(name: str, arguments: list[int], kind: str, rounded: Operations) -> tuple[int, str]:
    whole = kind in ("Int32", "Int64")
    if name in _COMPARISONS or name == "isna":
        return rounded.add(name, *arguments), "Boolean"
    if name in ("Single", "Double"):
        return arguments[0], name
    if name == "Int32":
        return rounded.add("round", arguments[0]), name
    if name in ("na", "default"):
        if name == "na" and whole:
            raise NotServedError("asks for a missing integer")
        return rounded.add(name), kind
    place = rounded.add(name, *arguments)
    if name in _SAME:
        return rounded.add("trunc", place) if whole and name in ("div", "pow") else place, kind
    return place, {"Int32": "Single", "Int64": "Double"}.get(kind, kind)


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
    # Any number of columns may refer to one text.
    builder.archive.charge(_CHARGE * len(source))
    columns = [builder.require_column(name, where=node.path) for name in names]
    taken = [column.type.kind for column in columns]
    try:
        program, count = parse(source)
        plain = set(taken) <= {*_RANKS, "Boolean"}
        if count != len(columns) or not plain or vector not in range(-1, len(columns)):
            raise NotServedError(f"takes columns that are not supported ({', '.join(taken)})")
        program, kind = typed(program, taken)
    except NotServedError as error:
        why = f"runs {source!r:.60}, which {error}"
        return builder.input_column(out, SINGLE, why, node)
    size = columns[vector].type.size if vector >= 0 else None
    operator = Expression(program=program, source=source)
    return builder.add_step(node, out, ColumnType(kind, size), operator, *columns)
