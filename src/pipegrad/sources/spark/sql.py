"""Parses the statements of SQLTransformer, as far as they add columns to rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from ..named.programs import NotServedError, Operations, Program

_LONGEST = 10_000
_DEEPEST = 64
_TOKEN = re.compile(
    r"""\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?P<suffix>BD|[dDfFlL])?(?!\w)
    |(?P<name>[A-Za-z_]\w*)|`(?P<quoted>(?:[^`]|``)+)`
    |'(?P<text>[^'\\]*)'|"(?P<text2>[^"\\]*)"
    |(?P<sign><=>|<=|>=|<>|!=|==|\|\||[-+*/%<>=(),.]))""",
    re.VERBOSE,
)
_COMPARISONS = {
    "=": "eq", "==": "eq", "<>": "ne", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge",
    "<=>": "same",
}  # fmt: skip
_SUMS = {"+": "add", "-": "sub", "||": "concat"}
_PRODUCTS = {"*": "mul", "/": "div", "%": "mod"}
_RESERVED = {
    "select", "from", "as", "and", "or", "not", "is", "null", "in", "between", "case", "when",
    "then", "else", "end", "true", "false", "cast", "where", "group", "order", "having", "limit",
    "join", "union", "distinct", "over", "like", "rlike", "div",
}  # fmt: skip
_KINDS = {
    "double": "double", "float": "float", "real": "float", "int": "int", "integer": "int",
    "bigint": "long", "long": "long", "string": "text", "boolean": "truth",
}  # fmt: skip
# Name in SQL to the operation, and how many arguments it takes at least and at most.
_FUNCTIONS: dict[str, tuple[str, int, int]] = {
    **{name: (name, 1, 1) for name in (
        "abs", "sqrt", "cbrt", "exp", "ln", "log10", "log2", "log1p", "expm1", "sin", "cos", "tan",
        "asin", "acos", "atan", "sinh", "cosh", "tanh", "floor", "ceil", "isnull", "isnotnull",
        "isnan", "lower", "upper", "trim", "length", "degrees", "radians",
    )},
    "sign": ("sign", 1, 1), "signum": ("sign", 1, 1), "ceiling": ("ceil", 1, 1),
    "lcase": ("lower", 1, 1), "ucase": ("upper", 1, 1), "char_length": ("length", 1, 1),
    "negative": ("neg", 1, 1), "pow": ("pow", 2, 2), "power": ("pow", 2, 2),
    "mod": ("mod", 2, 2), "atan2": ("atan2", 2, 2), "nanvl": ("nanvl", 2, 2),
    "ifnull": ("coalesce", 2, 2), "nvl": ("coalesce", 2, 2), "coalesce": ("coalesce", 1, 99),
    "greatest": ("greatest", 2, 99), "least": ("least", 2, 99), "concat": ("concat", 1, 99),
    "if": ("where", 3, 3), "nullif": ("nullif", 2, 2), "round": ("round", 1, 2),
}  # fmt: skip
_FOLDED = ("coalesce", "greatest", "least", "concat")


def parse(statement: str) -> tuple[bool, list[tuple[str, Program, list[str]]]]:
    """Parse ``SELECT ... FROM __THIS__``.

    Parameters
    ----------
    statement : str
        The statement.

    Returns
    -------
    whole : bool
        Whether all columns stay.
    columns : list of (name, program, inputs)
        The new columns, with the columns that each is computed from.

    Raises
    ------
    NotServedError
        If the statement does anything else than compute columns, with functions that are known.
    """
    if len(statement) > _LONGEST:
        raise NotServedError(f"is longer than {_LONGEST} characters")
    return _Parser(_tokens(statement)).statement()


def _tokens(text: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    place, text = 0, text.rstrip().removesuffix(";").rstrip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise NotServedError(f"has {text[place:].strip()[:10]!r}, which is not known")
        place = match.end()
        if match["sign"] is not None and text[place - 1 : place + 1] in ("--", "/*"):
            raise NotServedError("has a comment")
        if match["number"] is not None:
            found.append(("number", _number(match["number"], match["suffix"] or "")))
        elif match["name"] is not None:
            found.append(("name", match["name"]))
        elif match["quoted"] is not None:
            found.append(("quoted", match["quoted"].replace("``", "`")))
        elif match["sign"] is not None:
            found.append(("sign", match["sign"]))
        else:
            found.append(("text", match["text"] if match["text"] is not None else match["text2"]))
    return found


def _number(digits: str, suffix: str) -> tuple[Any, str]:
    """A literal and its type: a number with a point is a decimal in Spark."""
    suffix = suffix.upper()
    if suffix in ("D", "F") or (not suffix and "e" in digits.lower()):
        return float(digits), "float" if suffix == "F" else "double"
    if suffix == "BD" or not digits.isdigit():
        return Decimal(digits), "decimal"
    kind = "long" if suffix == "L" or int(digits) >= 1 << 31 else "int"
    if int(digits) >= 1 << 63:
        raise NotServedError(f"has the number {digits:.30}, which is no bigint")
    return int(digits), kind


class _Parser:
    """Each rule adds operations and returns the place of the last one."""

    def __init__(self, tokens: Sequence[tuple[str, Any]]) -> None:
        self.tokens, self.place, self.depth = tokens, 0, 0
        self.operations, self.inputs = Operations(), list[str]()

    def statement(self) -> tuple[bool, list[tuple[str, Program, list[str]]]]:
        self.expect("select")
        whole, columns = False, []
        while True:
            if self.star():
                whole = True
            else:
                columns.append(self.column())
            if not self.accept(","):
                break
        self.expect("from")
        self.expect("__this__")
        if self.place != len(self.tokens):
            raise NotServedError(f"has {self.tokens[self.place][1]!r} after the table")
        return whole, columns

    def star(self) -> bool:
        if self.word(0) == "__this__" and self.word(1) == "." and self.word(2) == "*":
            self.place += 3
            return True
        return self.accept("*")

    def column(self) -> tuple[str, Program, list[str]]:
        self.operations, self.inputs = Operations(), []
        start, result = self.place, self.choice()
        plain = self.operations.program(result)
        named = self.accept("as") or self.token()[0] in ("name", "quoted")
        if named and self.word(0) != "from":
            return self.name(), plain, self.inputs
        if plain != (("input", 0),):
            raise NotServedError(f"computes a column without a name, {self.text(start)!r:.40}")
        return self.inputs[0], plain, self.inputs

    # -- tokens

    def token(self, ahead: int = 0) -> tuple[str, Any]:
        place = self.place + ahead
        return self.tokens[place] if place < len(self.tokens) else ("end", "")

    def word(self, ahead: int = 0) -> str:
        """A keyword or sign, in lower case."""
        kind, value = self.token(ahead)
        return str(value).lower() if kind in ("name", "sign") else ""

    def text(self, start: int) -> str:
        return " ".join(str(value) for _, value in self.tokens[start : self.place])

    def accept(self, *words: str) -> bool:
        if any(self.word(i) != word for i, word in enumerate(words)):
            return False
        self.place += len(words)
        return True

    def expect(self, word: str) -> None:
        if not self.accept(word):
            found = self.token()[1] or "nothing"
            raise NotServedError(f"has {found!r:.40} where {word.upper()!r} is expected")

    def name(self) -> str:
        kind, value = self.token()
        if kind not in ("name", "quoted") or (kind == "name" and value.lower() in _RESERVED):
            raise NotServedError(f"has {value!r:.40} where a name is expected")
        self.place += 1
        return str(value)

    # -- grammar

    def add(self, *operation: Any) -> int:
        return self.operations.add(*operation)

    def choice(self) -> int:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise NotServedError("is nested too deeply")
        place = self.chain(self.conjunction, {"or": "or"})
        self.depth -= 1
        return place

    def conjunction(self) -> int:
        return self.chain(self.negation, {"and": "and"})

    def chain(self, inner: Callable[[], int], signs: dict[str, str]) -> int:
        place = inner()
        while self.word() in signs:
            name = signs[self.word()]
            self.place += 1
            place = self.add(name, place, inner())
        return place

    def negation(self) -> int:
        denied = 0
        while self.accept("not"):
            denied += 1
        place = self.predicate()
        for _ in range(denied % 2):
            place = self.add("not", place)
        return place

    def predicate(self) -> int:
        place = self.sum()
        while True:
            if self.word() in _COMPARISONS:
                name = _COMPARISONS[self.word()]
                self.place += 1
                place = self.add(name, place, self.sum())
            elif self.accept("is"):
                denied = self.accept("not")
                self.expect("null")
                place = self.add("isnotnull" if denied else "isnull", place)
            elif self.word() in ("in", "between") or self.denied("in") or self.denied("between"):
                denied = self.accept("not")
                found = self.among(place)
                place = self.add("not", found) if denied else found
            else:
                return place

    def denied(self, word: str) -> bool:
        return self.word() == "not" and self.word(1) == word

    def among(self, place: int) -> int:
        if self.accept("between"):
            low = self.add("ge", place, self.sum())
            self.expect("and")
            return self.add("and", low, self.add("le", place, self.sum()))
        self.expect("in")
        self.expect("(")
        found = self.add("eq", place, self.sum())
        while self.accept(","):
            found = self.add("or", found, self.add("eq", place, self.sum()))
        self.expect(")")
        return found

    def sum(self) -> int:
        return self.chain(self.product, _SUMS)

    def product(self) -> int:
        return self.chain(self.unary, _PRODUCTS)

    def unary(self) -> int:
        denied = 0
        while self.word() in ("-", "+"):
            denied += self.word() == "-"
            self.place += 1
        place = self.primary()
        for _ in range(denied % 2):
            place = self.add("neg", place)
        return place

    def primary(self) -> int:
        kind, value = self.token()
        if kind in ("number", "text"):
            self.place += 1
            return self.add("number", *value) if kind == "number" else self.add("text", value)
        if self.accept("("):
            place = self.choice()
            self.expect(")")
            return place
        for word, leaf in (("null", ("null",)), ("true", ("truth", 1)), ("false", ("truth", 0))):
            if self.accept(word):
                return self.add(*leaf)
        if self.accept("case"):
            return self.cases()
        if self.accept("cast"):
            return self.cast()
        if kind == "name" and self.word(1) == "(":
            return self.call()
        if self.word() == "__this__" and self.word(1) == ".":
            self.place += 2
        name = self.name()
        if self.word() == ".":
            raise NotServedError(f"reads a part of {name!r}")
        if name not in self.inputs:
            self.inputs.append(name)
        return self.add("input", self.inputs.index(name))

    def cases(self) -> int:
        subject = None if self.word() == "when" else self.choice()
        branches = []
        while self.accept("when"):
            condition = self.choice()
            if subject is not None:
                condition = self.add("eq", subject, condition)
            self.expect("then")
            branches.append((condition, self.choice()))
        place = self.choice() if self.accept("else") else self.add("null")
        self.expect("end")
        if not branches:
            raise NotServedError("has a CASE without a WHEN")
        for condition, result in reversed(branches):
            place = self.add("where", condition, result, place)
        return place

    def cast(self) -> int:
        self.expect("(")
        place = self.choice()
        self.expect("as")
        kind = self.word()
        if kind not in _KINDS:
            raise NotServedError(f"casts to {self.token()[1]!r:.30}")
        self.place += 1
        self.expect(")")
        return self.add(f"to_{_KINDS[kind]}", place)

    def call(self) -> int:
        name = self.word()
        self.place += 2
        arguments = [] if self.word() == ")" else [self.choice()]
        while self.accept(","):
            arguments.append(self.choice())
        self.expect(")")
        if name in _KINDS and len(arguments) == 1:
            return self.add(f"to_{_KINDS[name]}", *arguments)
        if name == "log" and len(arguments) in (1, 2):
            *base, number = (self.add("ln", argument) for argument in arguments)
            return self.add("div", number, base[0]) if base else number
        operation, least, most = _FUNCTIONS.get(name, ("", 0, -1))
        if not least <= len(arguments) <= most:
            raise NotServedError(f"calls {name} for {len(arguments)} arguments")
        if operation not in _FOLDED:
            return self.add(operation, *arguments)
        place = arguments[0] if len(arguments) > 1 else self.add(operation, *arguments)
        for argument in arguments[1:]:
            place = self.add(operation, place, argument)
        return place
