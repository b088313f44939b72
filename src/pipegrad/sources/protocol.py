"""What a source with named columns offers, so that `NamedPipeline` can serve it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray


class NamedSource(Protocol):
    """A fitted object that reads a table by the names of its columns and computes more of them.

    Its `Expansion` sets ``builder.columns``, the step behind each column; that alone makes
    `pipegrad.to_torch` give a `NamedPipeline`.

    Beyond this, a classifier has ``classes_``. A source that its library keeps in a file has
    ``save(path)``, which writes the file as a whole or not at all, and ``file_suffixes``, the
    endings that the name of the file may have; one that is a folder has ``check_target(path)``,
    which refuses a path that cannot be written. A source that was made of an object of its library
    has ``as_object()``, which makes such an object again. A source that keeps the name of the
    targets has ``target(table, name)``, which finds them in a table; ``name`` is None if the user
    gives none. One whose steps may leave rows out of the answer (`named.left_out`) has a true
    ``leaves_out``.
    An operator whose attribute ``exact`` is true keeps more digits than its module does:
    ``NamedPipeline.columns`` asks the operator itself where nothing before it is a module.
    """

    @property
    def answers(self) -> Mapping[str, str]:
        """The column behind each method of a predictor.

        Keys are "predict", "predict_proba" and "decision_function", as far as the source has
        them; the module has the same methods.
        """
        ...

    def answer_of(self, method: str, values: NDArray[Any]) -> NDArray[Any]:
        """What a method returns, from the values of its column."""
        ...

    def column(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        """The values of a column in the type that the library gives it."""
        ...

    def reads(self, operator: Any, table: Any) -> bool:
        """Whether the table has what an operator takes from it."""
        ...

    def require(self, operators: list[Any], table: Any) -> None:
        """Raise an error that names every column that these operators lack in the table."""
        ...
