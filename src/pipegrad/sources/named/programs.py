"""Formulas as lists of operations, which parsers of sources build.

A definition that occurs several times is one operation: the number of operations is bounded by the
length of the text, which as a tree could be exponential in it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

Operation: TypeAlias = tuple[Any, ...]
"""A name and the places of its arguments; leaves such as ("input", i) hold values instead."""
Program: TypeAlias = tuple[Operation, ...]
"""Operations in order, each on the results of earlier ones; the last is the result."""

LEAVES = ("number", "truth", "text", "null", "input")


class NotServedError(Exception):
    """The formula is not supported, for the given reason."""


def operands(operation: Operation) -> tuple[int, ...]:
    """The places of the arguments of an operation."""
    return () if operation[0] in LEAVES else operation[1:]


class Operations:
    """A program under construction, in which equal operations are one."""

    def __init__(self) -> None:
        self.places: dict[Operation, int] = {}

    def add(self, *operation: Any) -> int:
        """The place of an operation."""
        return self.places.setdefault(operation, len(self.places))

    def program(self, result: int) -> Program:
        """The operations that a result needs, which is the last of them."""
        operations = list(self.places)[: result + 1]
        needed = [False] * result + [True]
        for place in range(result, -1, -1):
            if needed[place]:
                for operand in operands(operations[place]):
                    needed[operand] = True
        moved: dict[int, int] = {}
        kept: list[Operation] = []
        for place, operation in enumerate(operations):
            if needed[place]:
                moved[place] = len(kept)
                arguments = [moved[operand] for operand in operands(operation)]
                kept.append((operation[0], *arguments) if arguments else operation)
        return tuple(kept)
