"""An ML.NET model file as an object that can be read, translated and written back."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...file_writing import check_target, write_file
from ...printable import printable
from ..named.model import has_column, require_columns
from ..named.operators import BuiltStep
from ..protocol import NamedSource
from ..zip_archive import Archive
from .binary import Block
from .builder import Builder
from .idv import Table
from .node import Node
from .operators._base import Input
from .operators.scoring import read_last
from .plan import ModelOutput
from .readers import read_transform
from .schema import Column, Schema

_CHAIN, _LOADER = "TransformerChain", "DataLoaderModel"
# Text files that ML.NET writes for people and never reads; outdated once the parameters change.
_SIDE_FILES = re.compile(r"(Affine|Cdf|Bin)Normalizer\.txt|Calibrator\.txt")


_CLASSIFIES = ("binary", "multiclass", "anomaly", "clustering")


class Model:
    """An ML.NET model: columns by name, and the operators that compute them.

    Read it with `load`; `pipegrad.to_torch` does so when it is given a path.

    Attributes
    ----------
    archive : Archive
        The original file.
    schema : Schema
        The columns, raw ones first.
    steps : dict of str to BuiltStep
        The operators by name, in execution order.
    answer : ModelOutput or None
        What the model predicts.
    """

    file_suffixes: ClassVar[tuple[str, ...]] = (".zip", ".mlnet")

    def __init__(self, archive: Archive, builder: Builder) -> None:
        self.archive = archive
        self.schema: Schema = builder.schema
        self.steps: dict[str, BuiltStep] = builder.steps
        self.answer: ModelOutput | None = builder.answer

    def __repr__(self) -> str:
        raw = sum(column.raw for column in self.schema.columns)
        return f"<ML.NET model {printable(self.archive.name)}: {len(self.steps) - raw} steps>"

    @property
    def output(self) -> str:
        """The step on whose output the loss is computed."""
        if self.answer is not None:
            return self.answer.output
        made = [column for column in self.schema.columns if not column.raw]
        if not made:
            raise self.archive.fail("the model computes no column.")
        operators = {c.value: self.steps[c.value].operator for c in made}
        own = [c for c in made if not isinstance(operators[c.value], Input)]
        if not own and not any(getattr(op, "missing", "") for op in operators.values()):
            raise self.archive.fail("the model only moves columns and computes none.")
        return (own or made)[-1].value

    @property
    def classes_(self) -> Any:
        """The class labels, if the model has classes."""
        if self.answer is None or self.answer.task not in _CLASSIFIES:
            raise AttributeError("this model has no classes_")
        if self.answer.classes is None:
            return np.arange(1, self.answer.predict.type.count + 1)
        return self.answer.classes

    # -- interface for modules with named columns ----------------------------------------------

    @property
    def answers(self) -> dict[str, str]:
        """The column that each method of a predictor returns."""
        if self.answer is None:
            return {}
        names = {column.value: name for name, column in self._named.items()}
        found = {"predict": names.get(self.answer.predict.value)}
        if self.answer.proba is not None:
            found["predict_proba"] = names.get(self.answer.proba.value)
        if self.answer.score is not None:
            found["decision_function"] = names.get(self.answer.score.value)
        return {method: name for method, name in found.items() if name is not None}

    def answer_of(self, method: str, values: NDArray[Any]) -> NDArray[Any]:
        """Convert the values of a column to the result of a method."""
        assert self.answer is not None
        if method == "predict" and self.answer.predict.type.kind == "Key":
            return self._labels(values.astype(np.int64))
        if method == "predict_proba" and values.ndim == 1:
            return np.stack([1 - values, values], 1)
        return values

    def _labels(self, keys: NDArray[np.int64]) -> NDArray[Any]:
        labels = np.asarray(self.classes_)
        if keys.all():
            return labels[keys - 1]
        # Rows without a score have no label.
        none = "" if labels.dtype == object else np.nan
        return np.where(keys > 0, labels[keys - 1], none)

    def column(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        """Convert the values of a column to its ML.NET type."""
        return self._named[name].type.array(values)

    @cached_property
    def _named(self) -> dict[str, Column]:
        return self.schema.named()

    def reads(self, operator: Any, table: Any) -> bool:
        """Whether a table has the column that a step reads from it."""
        return not isinstance(operator, Input) or has_column(table, operator.name)

    def require(self, operators: list[Any], table: Any) -> None:
        """Reject a table that lacks columns and name all of them."""
        lacking = [op for op in operators if not self.reads(op, table)]
        require_columns(lacking, "ML.NET", len(self.steps))

    def to_bytes(self) -> bytes:
        """The file with the current learned parameters of the operators."""
        patches: dict[str, dict[Any, bytes]] = {}
        for made in self.steps.values():
            for place, new in made.operator.patches():
                patches.setdefault(place.entry, {})[place] = new
        changes: dict[str, bytes | None] = {}
        for entry, places in patches.items():
            block = Block.read(self.archive, entry)
            changes[entry] = block.spliced(list(places.items()))
            folder = entry.rpartition("/")[0]
            for beside in self.archive.folder(folder):
                if _SIDE_FILES.fullmatch(beside[len(folder) + 1 :]):
                    changes[beside] = None
        return self.archive.replaced(changes)

    def save(self, path: Any) -> None:
        """Write the model file completely or not at all.

        Unchanged numbers are preserved byte for byte. The text files next to changed numbers,
        which ML.NET writes for people and never reads, are omitted.
        """
        check_target(path, "an ML.NET model", self.file_suffixes)
        content = self.to_bytes()
        read_model(Archive(content, str(path)))  # Verify that the result can be read.
        write_file(path, content)


if TYPE_CHECKING:
    _offers: type[NamedSource] = Model


def load(path: Any, trusted: bool = False) -> Model:
    """Load the model in a ``.zip`` or ``.mlnet`` file.

    Parameters
    ----------
    path : str or path
        A file written by ``MLContext.Model.Save`` or NimbusML.
    trusted : bool
        Without effect, since no other library reads the file.

    Returns
    -------
    Model
        Columns and operators.

    Raises
    ------
    ModelFileError
        If the file is damaged, malicious or of unknown kind.
    """
    return read_model(Archive.read(path))


def read_model(archive: Archive) -> Model:
    """Read the model in an archive."""
    builder = Builder(archive)
    if f"{_LOADER}/Model.key" in archive:
        _read_loader_model(archive, builder)
    elif f"{_CHAIN}/Model.key" in archive:
        _read_schema(archive, "Schema", builder)
        node = Node(archive, _CHAIN)
        if node.block.signature != "XF CHAIN":
            raise node.unsupported_error()
        read_transform(node, builder)
    else:
        raise archive.fail(f"it holds neither {_CHAIN} nor {_LOADER}: not a model of ML.NET.")
    if not builder.schema.columns:
        raise archive.fail("the model has no columns.")
    return Model(archive, builder)


def _read_loader_model(archive: Archive, builder: Builder) -> None:
    """Read NimbusML's layout: a loader with its transforms, and the last predictor next to it."""
    node = Node(archive, _LOADER)
    if node.block.signature != "PIPELODR" or node.block.version != 0x00010002:
        raise node.unsupported_error()
    _read_schema(archive, f"{_LOADER}/Loader/Schema.idv", builder)
    reader = node.block.reader()
    reader.float_size()
    count = reader.count(8, "steps")
    for i in range(count):
        read_transform(node.child(f"Transform_{i:03d}"), builder)
    if "Predictor/Model.key" in archive:
        read_last(archive, builder)


def _read_schema(archive: Archive, entry: str, builder: Builder) -> None:
    table = Table(archive, entry)
    builder.add([builder.input_column(c.name, c.type) for c in table.columns])
