"""A model that Spark saved as an object that can be read, translated and written back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...errors import ArgumentError
from ...file_writing import (
    check_folder_target,
    check_target,
    folder_replacement,
    write_checked,
    write_file,
)
from ...printable import printable
from ..named.model import has_column, require_columns
from ..protocol import NamedSource
from ._base import Input
from .folder import Folder, Stage, _pyarrow, zipped
from .input_table import as_texts, raw_column
from .numbers import Numbers
from .plan import ModelOutput, Plan, nested

UNKNOWN = "__unknown"


class Model:
    """A model of Spark: columns by name, and the operators that compute them.

    Read it with `load`; `pipegrad.to_torch` does so when it is given a path.

    Attributes
    ----------
    folder : Folder
        The original files.
    plan : Plan
        The operators by name, in execution order, and the columns.
    live : str
        Dotted name of the class of pyspark whose object this was; "" if it was a folder.
    """

    file_suffixes: ClassVar[tuple[str, ...]] = (".spark",)

    def __init__(self, folder: Folder, plan: Plan) -> None:
        self.folder, self.plan, self.live = folder, plan, ""
        if not plan.columns:
            raise folder.fail("the model computes no column.")

    def __repr__(self) -> str:
        stages = sum(not isinstance(s.operator, Input) for s in self.plan.steps.values())
        return f"<Spark model {printable(self.folder.name)}: {stages} steps>"

    @property
    def answer(self) -> ModelOutput | None:
        """What the last predictor answers."""
        return self.plan.answer

    @property
    def output(self) -> str:
        """The step on whose output the loss is computed."""
        if self.answer is not None:
            return self.answer.output
        names = [name for name in self.plan.columns if name not in self.plan.texts]
        if not names:
            self.folder.fail("the model computes texts only.")
        return self.plan.columns[names[-1]]

    @property
    def classes_(self) -> Any:
        """The class labels: those of the column of targets, if the model indexes it."""
        if self.answer is None or not self.answer.classes:
            raise AttributeError("this model has no classes_")
        labels = self._labels()
        if labels is None:
            return np.arange(self.answer.classes, dtype=np.float64)
        more = [UNKNOWN] + [f"{UNKNOWN}{n}" for n in range(1, self.answer.classes)]
        filled = [*labels, *[name for name in more if name not in labels]]
        return np.array(filled[: self.answer.classes], dtype=object)

    def _labels(self) -> list[str] | None:
        answer = self.answer
        assert answer is not None
        for made, source in self.plan.sources.items():
            if source == answer.predict:
                return self.plan.texts[made]
        return self.plan.labels[answer.label][1] if answer.label in self.plan.labels else None

    @property
    def lists(self) -> frozenset[str]:
        """Columns that are lists of vectors of one entry in Spark."""
        return frozenset(self.plan.lists)

    # -- interface for modules with named columns ----------------------------------------------

    @property
    def answers(self) -> dict[str, str]:
        """The column that each method of a predictor returns."""
        if self.answer is None:
            return {}
        found = {
            "predict": self.answer.predict,
            "predict_proba": self.answer.proba,
            "decision_function": self.answer.score,
        }
        return {method: name for method, name in found.items() if name}

    def answer_of(self, method: str, values: NDArray[Any]) -> NDArray[Any]:
        """Convert the values of a column to the result of a method."""
        assert self.answer is not None
        if method == "predict" and self.answer.classes:
            return np.asarray(self.classes_)[values.astype(np.int64)]
        return values

    def column(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        """Convert the values of a column to its type in Spark."""
        if name in self.plan.texts:
            labels = self.plan.texts[name]
            places = np.asarray(values).astype(np.int64)
            if ((places < 0) | (places >= len(labels))).any():
                raise ArgumentError(f"Column {name!r} has indices beyond its {len(labels)} labels.")
            return np.array(labels, dtype=object)[places]
        if name in self.plan.single:
            return values.astype(np.float32)
        return values.astype(np.int32) if name in self.plan.whole else values

    def reads(self, operator: Any, table: Any) -> bool:
        """Whether a table has the column that a step reads from it."""
        return not isinstance(operator, Input) or has_column(table, operator.name)

    def require(self, operators: list[Any], table: Any) -> None:
        """Reject a table that lacks columns and name all of them."""
        lacking = [op for op in operators if not self.reads(op, table)]
        require_columns(lacking, "Spark", len(self.plan.steps))

    @property
    def leaves_out(self) -> bool:
        """Whether a stage skips rows with values that it does not take."""
        operators = [step.operator for step in self.plan.steps.values()]
        skips = (getattr(operator, "invalid", "") == "skip" for operator in operators)
        return any(skips) or any(getattr(operator, "drops", False) for operator in operators)

    @property
    def _label(self) -> str:
        return "" if self.answer is None else self.answer.label

    def target_name(self, table: Any, name: str | None) -> str | None:
        """The column of the targets in a table; None where nothing names it."""
        label = self._label
        source, _ = self.plan.labels.get(label, (self.plan.targets.get(label, label), []))
        return (source if name in (None, label) and not _has(table, name) else name) or None

    def target(self, table: Any, name: str | None) -> Any:
        """The targets in a table, as `classes_` names them.

        Parameters
        ----------
        table : DataFrame
            The rows.
        name : str, optional
            Their column; by default the one that the model itself was fitted to.
        """
        label, wanted = self._label, self.target_name(table, name)
        if not wanted:
            return None
        if not has_column(table, wanted):
            raise ArgumentError(
                f"The table has no column {wanted!r}, which holds the targets of the model.\n"
                "Hint: net.fit(table, y) takes them as an array, or by the name of a column."
            )
        values = raw_column(table, wanted)
        if self.answer is not None and self.answer.classes and self._labels() is not None:
            if wanted == label and values.dtype.kind in "fiu":
                return np.asarray(self.classes_)[values.astype(np.int64)]
            return np.array(as_texts(values), dtype=object)
        return values

    # -- the way back --------------------------------------------------------------------------

    def files(self) -> dict[str, bytes]:
        """All files with the current numbers of the operators."""
        changed: dict[str, list[Numbers]] = {}
        for made in self.plan.steps.values():
            for numbers in made.operator.numbers():
                if numbers.changed:
                    changed.setdefault(numbers.folder, []).append(numbers)
        pa, _ = _pyarrow()
        tables = {}
        for place, several in changed.items():
            table = self.folder.table(place)
            rows = table.to_pylist()
            for numbers in several:
                numbers.write(rows)
            tables[place] = pa.Table.from_pylist(rows, schema=table.schema)
        return self.folder.replaced(tables)

    def as_object(self) -> Any:
        """A live model of pyspark, where it was made of one; otherwise the object itself."""
        from .live import live_model

        return live_model(self) if self.live else self

    def check_target(self, path: Any) -> None:
        """Reject a path at which neither a folder nor an archive can be written."""
        if _is_archive(path):
            check_target(path, "a model of Spark", self.file_suffixes)
        elif isinstance(path, str | os.PathLike):
            check_folder_target(path, "a model of Spark", _holds_model)
        else:
            raise ArgumentError(f"path must be the name of a folder, got {path!r:.80}.")

    def save(self, path: Any) -> None:
        """Write the folder completely or not at all; an archive of it if ``path`` ends in .spark.

        Files of stages that did not change are preserved byte for byte. A changed file has no
        checksum beside it, which Hadoop does not require.
        """
        self.check_target(path)
        files = self.files()
        read_model(Folder(str(path), files))  # Verify that the result can be read.
        if _is_archive(path):
            write_file(path, zipped(files))
            return
        with folder_replacement(path) as partial:
            for name, content in files.items():
                place = partial / name
                place.parent.mkdir(parents=True, exist_ok=True)
                write_checked(place, content)


def _is_archive(path: Any) -> bool:
    named = isinstance(path, str | os.PathLike)
    return named and Path(path).suffix.lower() in Model.file_suffixes and not Path(path).is_dir()


def _has(table: Any, name: str | None) -> bool:
    return name is not None and has_column(table, name)


def _holds_model(path: Path) -> bool:
    return (path / "metadata").is_dir() or not any(path.iterdir())


if TYPE_CHECKING:
    _offers: type[NamedSource] = Model


def load(path: Any, trusted: bool = False) -> Model:
    """Load the model in a folder.

    Parameters
    ----------
    path : str or path
        A folder written by ``model.write().save(path)``, or a zip archive of one (``.spark``).
    trusted : bool
        Without effect, since no other library reads the folder but pyarrow.

    Returns
    -------
    Model
        Columns and operators.

    Raises
    ------
    ModelFileError
        If the folder is damaged, malicious or of unknown kind.
    """
    return read_model(Folder.read(path))


def read_model(folder: Folder) -> Model:
    """Read the model in a folder."""
    plan = Plan()
    nested(Stage.read(folder), plan)
    return Model(folder, plan)
