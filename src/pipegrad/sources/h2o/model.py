"""A MOJO file of H2O as an object that can be read, translated and written back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...errors import ArgumentError
from ...file_writing import check_target, write_file
from ...printable import printable
from ..named.model import has_column, require_columns
from ..protocol import NamedSource
from ..zip_archive import Archive
from .input_table import Row, category_codes
from .input_table import numbers as read_numbers
from .mojo import Mojo, shown_of, with_lists, without_results
from .numbers import Numbers, rewritten
from .plan import Answer, Plan, read

SHARES = "probabilities"
"""The column with the probabilities of all classes side by side."""


class Model:
    """A MOJO of H2O: columns by name, and the operators that compute them.

    Read it with `load`; `pipegrad.to_torch` does so when it is given a path.

    Attributes
    ----------
    mojo : Mojo
        The original file.
    plan : Plan
        The operators by name, in execution order.
    answer : Answer
        What the model predicts.
    live : bool
        Whether it was made of a model of H2O's server.
    """

    file_suffixes: ClassVar[tuple[str, ...]] = (".zip", ".mojo")

    def __init__(self, mojo: Mojo, plan: Plan, answer: Answer) -> None:
        self.mojo, self.plan, self.answer = mojo, plan, answer
        self.live = False
        self.columns = dict(answer.columns)
        if answer.shares:
            self.columns[SHARES] = answer.shares
        if answer.score:
            self.columns["score"] = answer.score

    def __repr__(self) -> str:
        steps = sum(not isinstance(s.operator, Row) for s in self.plan.steps.values())
        name = printable(self.mojo.archive.name)
        return f"<H2O {self.mojo.algorithm} model {name}: {steps} steps>"

    @property
    def output(self) -> str:
        """The step on whose output the loss is computed."""
        return self.answer.output

    @property
    def classes_(self) -> Any:
        """The levels of the targets."""
        if self.answer.classes is None:
            raise AttributeError("this model has no classes_")
        return np.array(self.answer.classes, dtype=object)

    # -- interface for modules with named columns ----------------------------------------------

    @property
    def answers(self) -> dict[str, str]:
        """The column that each method of a predictor returns."""
        found = {
            "predict": self.answer.predict,
            "predict_proba": SHARES if self.answer.shares else "",
            "decision_function": "score" if self.answer.score else "",
        }
        return {method: name for method, name in found.items() if name in self.columns}

    def answer_of(self, method: str, values: NDArray[Any]) -> NDArray[Any]:
        """Convert the values of a column to the result of a method."""
        return values

    def column(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        """Convert the values of a column to its type in H2O."""
        if name in self.answer.views:
            return self.answer.views[name](values)
        if name not in self.answer.texts:
            return values
        labels = np.array([*self.answer.texts[name], None], dtype=object)
        known = np.isfinite(values)
        return labels[np.where(known, values, len(labels) - 1).astype(np.int64)]

    def reads(self, operator: Any, table: Any) -> bool:
        """Whether a table has the columns that a step reads from it."""
        return not isinstance(operator, Row) or not operator.lacking(table)

    def require(self, operators: list[Any], table: Any) -> None:
        """Reject a table that lacks columns and name all of them."""
        lacking = {n: op for op in operators if isinstance(op, Row) for n in op.lacking(table)}
        single = [Row(names=(name,), kind=op.kind) for name, op in lacking.items()]
        require_columns(single, "H2O", len(self.plan.steps))

    def target_name(self, table: Any, name: str | None) -> str | None:
        """The column of the targets; None where nothing names it."""
        return name or self.mojo.response or None

    def target(self, table: Any, name: str | None) -> Any:
        """The targets in a table, as `classes_` names them.

        Parameters
        ----------
        table : DataFrame
            The rows.
        name : str, optional
            Their column; by default the one that the model itself was trained on.
        """
        wanted = self.target_name(table, name)
        if not wanted:
            return None
        if not has_column(table, wanted):
            raise ArgumentError(
                f"The table has no column {wanted!r}, which holds the targets of the model.\n"
                "Hint: net.fit(table, y) takes them as an array, or by the name of a column."
            )
        if self.answer.classes is None:
            return read_numbers(table[wanted], wanted)
        codes = category_codes(table[wanted], self.answer.classes, wanted)
        if np.isnan(codes).any():
            raise ArgumentError(
                f"Column {wanted!r} must hold {self.answer.classes!r:.80}, and no other values."
            )
        return self.classes_[codes.astype(np.int64)]

    # -- the way back --------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """The file with the current numbers of the operators.

        Where a number changed, what H2O shows of the model keeps its settings alone: metrics and
        coefficients would be those before.
        """
        archive = self.mojo.archive
        changed: dict[str, list[Numbers]] = {}
        for made in self.plan.steps.values():
            for numbers in made.operator.numbers():
                if numbers.changed:
                    changed.setdefault(numbers.entry, []).append(numbers)
        files: dict[str, bytes | None] = {}
        for entry, several in changed.items():
            content = archive.unpack(entry)
            lists = _lists([one for one in several if one.key], content, archive, entry)
            content = with_lists(content, lists) if lists else content
            files[entry] = rewritten(content, [one for one in several if not one.key])
        if files:
            files.update({n: without_results(archive.unpack(n)) for n in shown_of(archive)})
        return archive.replaced(files)

    def as_object(self) -> Any:
        """A model of H2O's server, where it was made of one; otherwise the object itself."""
        from .live import live_model

        return live_model(self) if self.live else self

    def save(self, path: Any) -> None:
        """Write the MOJO completely or not at all; unchanged files are preserved byte for byte."""
        check_target(path, "a MOJO", self.file_suffixes)
        content = self.to_bytes()
        read_model(Archive(content, str(path)))  # Verify that the result can be read.
        write_file(path, content)


def _lists(
    several: list[Numbers], content: bytes, archive: Archive, entry: str
) -> dict[str, NDArray[Any]]:
    """Whole lists of a description with other numbers in some places."""
    if not several:
        return {}
    before = Mojo.read(archive, entry[: -len("model.ini")])
    lists: dict[str, NDArray[Any]] = {}
    for numbers in several:
        key = numbers.key
        if key not in lists:
            single = not before.text(key).startswith("[")
            lists[key] = np.array(before.number(key)) if single else before.numbers(key)
            lists[key] = lists[key].astype(numbers.stored)
        if lists[key].ndim:
            lists[key][numbers.places] = numbers.values.reshape(-1)
        else:
            lists[key] = numbers.values.reshape(()).astype(numbers.stored)
    return lists


if TYPE_CHECKING:
    _offers: type[NamedSource] = Model


def load(path: Any, trusted: bool = False) -> Model:
    """Load the model in a MOJO file.

    Parameters
    ----------
    path : str or path
        A file written by ``model.download_mojo`` or ``model.save_mojo``.
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
    from . import operators  # noqa: F401  which registers the readers

    mojo = Mojo.read(archive)
    plan = Plan()
    return Model(mojo, plan, read(mojo, plan))
