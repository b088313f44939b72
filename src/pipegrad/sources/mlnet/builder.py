"""Collects the columns and steps of a model while its folders are read."""

from __future__ import annotations

from ..named.operators import TABLE, BuiltStep, unused_name
from ..zip_archive import Archive
from .node import Node
from .operators._base import Input, Operator
from .plan import ModelOutput
from .schema import Column, Schema
from .types import SINGLE, ColumnType

_MOST_COLUMNS = 20_000
_WIDEST = 1 << 24
# Numbers of each row in the columns that a model computes, as far as they are not sparse.
_MOST_NUMBERS = 1 << 22


class Builder:
    """Collects columns and steps in the order of the file."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.schema = Schema()
        self.steps: dict[str, BuiltStep] = {}
        self.answer: ModelOutput | None = None
        self.unserved: list[str] = []
        self._named: set[str] = set()
        self._sparse: set[str] = set()
        self._numbers = 0

    # -- columns -------------------------------------------------------------------------------

    def input_column(
        self, name: str, kind: ColumnType, missing: str = "", node: Node | None = None
    ) -> Column:
        """A column of the user's table; ``missing`` says why the model cannot compute it."""
        loader = "column" if node is None else node.block.loader
        operator = Input(loader=loader, name=name, type=kind, missing=missing)
        value = self.step(operator, (TABLE,), name, node)
        return Column(name, kind, value, raw=not missing)

    def require_column(self, name: str, width: int | None = None, where: str = "") -> Column:
        """The column that a step reads; checks its width if given."""
        column = self.schema.find(name)
        if column is None:
            if not self.unserved:
                raise self.archive.fail(
                    f"{where or 'a step'!r} reads column {name!r}, which is missing."
                )
            reason = f"it is written by {', '.join(self.unserved)}"
            kind = SINGLE if width is None else SINGLE.sized(width)
            column = self.input_column(name, kind, missing=reason)
            self.add([column])
        if width is not None and column.type.size != 0 and column.type.width != width:
            raise self.archive.fail(
                f"{where or 'a step'!r} takes {width} numbers, but column {name!r} has "
                f"{column.type.width}."
            )
        return column

    def replace_schema(self, columns: list[Column]) -> None:
        """Go on with these columns alone."""
        self._check_number(len(columns))
        self.schema = Schema(columns)

    def _check_number(self, columns: int) -> None:
        if columns > _MOST_COLUMNS:
            raise self.archive.fail(f"it has more than {_MOST_COLUMNS} columns.")

    def add(self, columns: list[Column]) -> None:
        """Add all output columns of a step at once."""
        self._check_number(len(self.schema.columns) + len(columns))
        for column in columns:
            if column.type.width > _WIDEST:
                raise self.archive.fail(f"column {column.name!r:.80} is wider than {_WIDEST}.")
            if not column.raw and column.value not in self._sparse:
                self._numbers += column.type.width
            if self._numbers > _MOST_NUMBERS:
                raise self.archive.fail(
                    f"its columns that are not sparse, such as {column.name!r:.80}, have more than "
                    f"{_MOST_NUMBERS:,} numbers in each row."
                )
            if column.name in self._named:
                self.archive.charge(len(self.schema.columns) // 8)
            self._named.add(column.name)
        self.schema.add(columns)

    def with_required_inputs(self, kept: list[Column]) -> list[Column]:
        """Require columns in the table if they are built from dropped columns that need .NET.

        NimbusML's text featurizer ends this way: it drops the parts, which only ML.NET can compute.
        """
        values = {column.value for column in kept}
        reasons = {
            column.value: reason
            for column in self.schema.columns
            if column.value not in values
            and (reason := getattr(self.steps[column.value].operator, "missing", ""))
        }
        for made in self.steps.values() if reasons else ():
            why = next((reasons[name] for name in made.inputs if name in reasons), "")
            if why and any(True for _ in made.operator.numbers()):
                return kept  # Training the step outweighs requiring one more column.
            if why:
                reasons[made.name] = why
        bound = [
            self.input_column(c.name, c.type, reasons[c.value]) if c.value in reasons else c
            for c in kept
        ]
        for name in reasons:
            del self.steps[name]
        return bound

    def step(
        self,
        operator: Operator,
        inputs: tuple[str, ...],
        name: str,
        node: Node | None = None,
        method: str = "transform",
    ) -> str:
        """Add a step and return its name."""
        path = name if node is None else f"{_short(node.path)}/{name}"
        unique = unused_name(path, self.steps)
        self.archive.charge(1 + int(unique[len(path) + 1 :] or 1))
        if node is not None and not operator.loader:
            operator.loader = node.block.loader
        if operator.gives_sparse(not self._sparse.isdisjoint(inputs)):
            self._sparse.add(unique)
        self.steps[unique] = BuiltStep(unique, operator, inputs, method)
        return unique

    def add_step(
        self, node: Node, name: str, kind: ColumnType, operator: Operator, *inputs: Column
    ) -> Column:
        """Add a step and return its output column, which is not added yet."""
        operator.entry.column = name
        return Column(name, kind, self.step(operator, tuple(c.value for c in inputs), name, node))

    def external(self, node: Node, names: list[str], reason: str, kind: ColumnType) -> None:
        """Require the output columns of an unsupported transform in the table."""
        self.unserved.append(f"{_short(node.path)!r} ({node.block.loader})")
        self.add([self.input_column(name, kind.sized(0), reason, node) for name in names])


def _short(path: str) -> str:
    for root in ("TransformerChain/", "DataLoaderModel/"):
        path = path.removeprefix(root)
    return path.replace("/Mapper", "")
