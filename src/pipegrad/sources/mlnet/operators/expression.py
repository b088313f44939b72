"""The Expression transform: a small language, read into trees of operations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from ..kinds import BOOLEAN, SINGLE
from ..schema import Column
from ._base import Operator, transform

if TYPE_CHECKING:
    from ..builder import Builder, Node

Formula: TypeAlias = tuple[Any, ...]
"""An operation and its arguments; ("number", v) and ("input", i) end it."""

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
_TRUTH = {"or", "and", "not", "eq", "ne", "lt", "le", "gt", "ge", "isna", "truth"}
_FUNCTIONS = {
    "abs": 1, "sign": 1, "exp": 1, "ln": 1, "log": 1, "sqrt": 1, "sin": 1, "cos": 1, "tan": 1,
    "sinh": 1, "cosh": 1, "tanh": 1, "asin": 1, "acos": 1, "atan": 1, "floor": 1, "ceil": 1,
    "round": 1, "trunc": 1, "truncate": 1, "pow": 2, "min": 2, "max": 2, "atan2": 2, "isna": 1,
    "deg": 1, "rad": 1, "na": 1, "default": 1, "float": 1, "single": 1,
}  # fmt: skip


class NotServedError(Exception):
    """A program that is not served, and why."""


@dataclass(eq=False, kw_only=True)
class Expression(Operator):
    """A formula over columns.

    Parameters
    ----------
    formula : tuple
        The operations.
    source : str
        As ML.NET has it.
    truth : bool
        Whether it gives true or false.
    """

    formula: Formula
    source: str
    truth: bool


class _Parser:
    def __init__(self, source: str) -> None:
        if len(source) > _LONGEST:
            raise NotServedError(f"is longer than {_LONGEST} characters")
        self.tokens = _tokens(source)
        self.place = 0
        self.depth = 0
        self.inputs: list[str] = []

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
            raise NotServedError(f"has {token!r} where {sign!r} should be")

    def name(self) -> str:
        token = self.next()
        if not isinstance(token, str) or not re.fullmatch(r"[A-Za-z_]\w*", token):
            raise NotServedError(f"has {token!r} where a name should be")
        return token

    # -- grammar

    def choice(self) -> Formula:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise NotServedError("is nested too deeply")
        formula = self.binary(0)
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
        formula = self.binary(level + 1)
        while self.peek() in _BINARY[level]:
            formula = (_BINARY[level][self.next()], formula, self.binary(level + 1))
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
        if isinstance(token, float):
            return ("number", token)
        if token == "(":
            formula = self.choice()
            self.expect(")")
            return formula
        if token in ("true", "false"):
            return ("truth", float(token == "true"))
        if token in self.inputs:
            return ("input", self.inputs.index(token))
        if self.accept("("):
            return self.call(token)
        raise NotServedError(f"has {token!r}, which is not known")

    def call(self, name: str) -> Formula:
        arguments = [] if self.peek() == ")" else [self.choice()]
        while self.accept(","):
            arguments.append(self.choice())
        self.expect(")")
        if _FUNCTIONS.get(name) != len(arguments):
            raise NotServedError(f"calls {name} with {len(arguments)} arguments")
        if name in ("float", "single"):
            return arguments[0]
        return (_ALIASES.get(name, name), *arguments)


_ALIASES = {"ln": "log", "truncate": "trunc"}


def _tokens(source: str) -> list[Any]:
    found: list[Any] = []
    place = 0
    source = source.rstrip()
    while place < len(source):
        match = _TOKEN.match(source, place)
        if match is None:
            raise NotServedError(f"has {source[place:].strip()[:10]!r}, which is not known")
        place = match.end()
        number = match["number"]
        found.append(float(number) if number else match["name"] or match["sign"])
    return found


def _depth(formula: Formula) -> int:
    """How deep the operations are nested, without nesting itself."""
    level, depth = [formula], 0
    while level:
        depth += 1
        level = [inner for f in level for inner in f[1:] if isinstance(inner, tuple)]
    return depth


def parse(source: str) -> tuple[Formula, int]:
    """The formula of a program and how many inputs it has.

    Raises
    ------
    NotServedError
        When the program uses what is not served.
    """
    parser = _Parser(source)
    return parser.program(), len(parser.inputs)


def gives_truth(formula: Formula) -> bool:
    """Whether a formula gives true or false."""
    if formula[0] == "where":
        return gives_truth(formula[2])
    return formula[0] in _TRUTH


@transform("EXPRTRNF")
def read_expression(node: Node, builder: Builder) -> None:
    """A program for each output."""
    reader = node.block.reader()
    added = []
    for _ in range(reader.count(16, "columns")):
        names = [reader.name() for _ in range(reader.count(4, "columns"))]
        source, out, vector = reader.name(), reader.name(), reader.i4()
        kinds = reader.array(len(names)).tolist()
        added.append(_expression(node, builder, names, source, out, vector, kinds))
    reader.done()
    builder.add(added)


def _expression(
    node: Node,
    builder: Builder,
    names: list[str],
    source: str,
    out: str,
    vector: int,
    kinds: list[int],
) -> Column:
    columns = [builder.see(name, where=node.path) for name in names]
    plain = all(c.type.kind in ("Single", "Boolean") for c in columns)
    try:
        formula, count = parse(source)
        if count != len(columns) or not plain or vector not in range(-1, len(columns)):
            raise NotServedError(f"takes columns that are not served ({kinds})")
    except NotServedError as error:
        why = f"runs {source!r:.60}, which {error}"
        return builder.raw(out, SINGLE, why, node)
    truth = gives_truth(formula)
    size = columns[vector].type.size if vector >= 0 else None
    operator = Expression(formula=formula, source=source, truth=truth)
    kind = (BOOLEAN if truth else SINGLE).sized(size)
    return builder.give(node, out, kind, operator, *columns)
