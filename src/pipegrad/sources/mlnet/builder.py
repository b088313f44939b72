"""Turns the folders of a model into operators and edges between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ...errors import ModelFileError
from .archive import Archive
from .binary import Block, Numbers
from .operators._base import OPAQUE, TRANSFORMS, Input, Operator, Predictor
from .schema import Column, Schema
from .types import SINGLE, ColumnType

_DEEPEST = 16
_MOST_COLUMNS = 20_000
_WIDEST = 1 << 24
TABLE = "input"


@dataclass(frozen=True)
class Node:
    """A folder of the archive that holds a block.

    Parameters
    ----------
    archive : Archive
        The file.
    path : str
        The folder.
    file : str
        Name of the block in it.
    """

    archive: Archive = field(repr=False)
    path: str
    file: str = "Model.key"

    @cached_property
    def block(self) -> Block:
        """Its block."""
        return Block.read(self.archive, f"{self.path}/{self.file}")

    def has(self, name: str) -> bool:
        """Whether there is such a folder with a block in it, or such a file."""
        inner = f"{self.path}/{name}"
        return f"{inner}/Model.key" in self.archive or inner in self.archive

    def child(self, name: str) -> Node:
        """A folder below."""
        if self.path.count("/") > _DEEPEST:
            raise self.archive.fail("its folders are nested too deeply.")
        path = f"{self.path}/{name}" if self.path else name
        binary = f"{path}/Model.key" not in self.archive and f"{path}/Model.bin" in self.archive
        return Node(self.archive, path, "Model.bin" if binary else "Model.key")

    def unknown(self) -> ModelFileError:
        """An error that says that nobody knows this block."""
        kind = f"{self.block.loader} [{self.block.signature.strip()}]"
        return self.archive.fail(f"{self.path!r} holds {kind}, which is not served.")


@dataclass
class Made:
    """A step of the graph."""

    name: str
    operator: Operator
    inputs: tuple[str, ...]
    method: str = "transform"


@dataclass
class Answer:
    """What the model answers, by the columns that hold it."""

    task: str
    output: str
    predict: Column
    proba: Column | None = None
    classes: Any = None
    score: Column | None = None


class Builder:
    """Collects columns and steps in the order of the file."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.schema = Schema()
        self.steps: dict[str, Made] = {}
        self.answer: Answer | None = None
        self.unserved: list[str] = []
        self._named: set[str] = set()

    # -- columns -------------------------------------------------------------------------------

    def raw(
        self, name: str, kind: ColumnType, missing: str = "", node: Node | None = None
    ) -> Column:
        """A column of the user's table; ``missing`` says why the model cannot give it."""
        loader = "column" if node is None else node.block.loader
        operator = Input(loader=loader, name=name, type=kind, missing=missing)
        value = self.step(operator, (TABLE,), name, node)
        return Column(name, kind, value, raw=not missing)

    def see(self, name: str, width: int | None = None, where: str = "") -> Column:
        """The column that a step reads; its width is checked if given."""
        column = self.schema.find(name)
        if column is None:
            if not self.unserved:
                raise self.archive.fail(f"{where or 'a step'!r} reads column {name!r}: not there.")
            reason = f"it is written by {', '.join(self.unserved)}"
            kind = SINGLE if width is None else SINGLE.sized(width)
            column = self.raw(name, kind, missing=reason)
            self.add([column])
        if width is not None and column.type.size != 0 and column.type.width != width:
            raise self.archive.fail(
                f"{where or 'a step'!r} takes {width} numbers, and column {name!r} has "
                f"{column.type.width}."
            )
        return column

    def add(self, columns: list[Column]) -> None:
        """Columns that a step gives, all at once."""
        if len(self.schema.columns) + len(columns) > _MOST_COLUMNS:
            raise self.archive.fail(f"it has more than {_MOST_COLUMNS} columns.")
        for column in columns:
            if column.type.width > _WIDEST:
                raise self.archive.fail(f"column {column.name!r:.80} is wider than {_WIDEST}.")
            if column.name in self._named:
                self.archive.charge(len(self.schema.columns) // 8)
            self._named.add(column.name)
        self.schema.add(columns)

    def bounded(self, kept: list[Column]) -> list[Column]:
        """Columns made of ones that need .NET and that are dropped: the table must have them.

        So NimbusML's text featurizer ends: it drops the parts, and nobody but ML.NET has them.
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
                return kept  # what trains is worth more than a column less to ask for
            if why:
                reasons[made.name] = why
        bound = [
            self.raw(c.name, c.type, reasons[c.value]) if c.value in reasons else c for c in kept
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
        """Add a step; give its name."""
        path = name if node is None else f"{_short(node.path)}/{name}"
        unique, copies = path, 1
        while unique in self.steps or unique == TABLE:
            copies += 1
            unique = f"{path}#{copies}"
        self.archive.charge(1 + copies)
        if node is not None and not operator.loader:
            operator.loader = node.block.loader
        self.steps[unique] = Made(unique, operator, inputs, method)
        return unique

    def give(
        self, node: Node, name: str, kind: ColumnType, operator: Operator, *inputs: Column
    ) -> Column:
        """A step that gives a column; the column is still to be added."""
        operator.entry.column = name
        return Column(name, kind, self.step(operator, tuple(c.value for c in inputs), name, node))

    # -- transforms ----------------------------------------------------------------------------

    def read(self, node: Node) -> None:
        """Read one transform."""
        signature = node.block.signature
        if signature in OPAQUE:
            self._opaque(node)
            return
        row = TRANSFORMS.get(signature)
        if row is None:
            self._unknown(node)
            return
        row.check(node.block)
        row.read(node, self)

    def _opaque(self, node: Node) -> None:
        """A transform that needs .NET: the table must have its columns."""
        reason, kind = OPAQUE[node.block.signature]
        self.opaque(node, _opaque_columns(node), reason, kind)

    def _unknown(self, node: Node) -> None:
        """A transform that nobody knows: most begin with the names of what they give and take."""
        try:
            pairs = _names(node)
        except ModelFileError:
            raise node.unknown() from None
        if not pairs or any(self.schema.find(source) is None for _, source in pairs):
            raise node.unknown()
        self.opaque(node, [out for out, _ in pairs], "is not known here", SINGLE)

    def opaque(self, node: Node, names: list[str], reason: str, kind: ColumnType) -> None:
        """Columns that the table must have, of a transform that we do not run."""
        self.unserved.append(f"{_short(node.path)!r} ({node.block.loader})")
        self.add([self.raw(name, kind.sized(0), reason, node) for name in names])

    # -- predictors ----------------------------------------------------------------------------

    def predict(
        self,
        node: Node,
        predictor: Predictor,
        features: tuple[Column, ...],
        *,
        threshold: Numbers | None = None,
        by: str = "Score",
        label: Column | None = None,
        target: str | None = None,
        names: tuple[str, str, str] = ("PredictedLabel", "Score", "Probability"),
    ) -> None:
        """Add the columns that a predictor gives: label, score, probability."""
        from .operators.scoring import columns_of_predictor

        entry = predictor.score.entry
        entry.label, entry.calibrated = target or "", predictor.calibrator is not None

        columns_of_predictor(self, node, predictor, features, threshold, by, label, names)


def _short(path: str) -> str:
    for root in ("TransformerChain/", "DataLoaderModel/"):
        path = path.removeprefix(root)
    return path.replace("/Mapper", "")


def _names(node: Node) -> list[tuple[str, str]]:
    """Outputs and inputs, as indices of strings or, in native libraries, as strings."""
    try:
        return node.block.reader().columns()
    except ModelFileError:
        pairs, reader = [], node.block.reader()
        for _ in range(reader.count(7, "columns")):
            pairs.append((reader.inline(), reader.inline()))
            reader.inline()
            reader.array(reader.i4(), "u1")
        reader.done()
        return pairs


def _opaque_columns(node: Node) -> list[str]:
    if node.block.signature == "TEXT XFR":
        return _text_columns(node)
    return [out for out, _ in node.block.reader().columns()]


def _text_columns(node: Node) -> list[str]:
    """What the chain inside of a text featurizer leaves: what its last step but one gives."""
    chain = node.child("Chain")
    count = chain.block.reader().count(4, "steps")
    for i in reversed(range(count)):
        inner = chain.child(f"Transform_{i:03d}").block
        if inner.signature == "CONCAT F":
            reader = inner.reader()
            return [reader.name() for _ in range(min(reader.i4(), 1))]
    raise node.unknown()
