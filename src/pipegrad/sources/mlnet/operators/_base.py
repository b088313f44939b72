"""What all operators share, and the tables of readers by signature."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from ....glue import Glue
from ..binary import Block, Numbers
from ..types import ColumnType

if TYPE_CHECKING:
    from ..builder import Builder, Node


@dataclass
class Entry:
    """What ML.NET's own graph says of a step.

    Parameters
    ----------
    column : str
        The column that it gives.
    of : str
        The first step of the predictor that it belongs to.
    label : str
        The column that a predictor learned from, where the file says so.
    calibrated : bool
        Whether a calibrator follows the predictor.
    """

    column: str = ""
    of: str = ""
    label: str = ""
    calibrated: bool = False


@dataclass(eq=False, kw_only=True)
class Operator(Glue):
    """One learned function of an ML.NET model: its numbers, and nothing of torch.

    Parameters
    ----------
    loader : str
        ML.NET's name of the class that loads it.
    entry : Entry
        Its place in ML.NET's graph.
    """

    loader: str = ""
    entry: Entry = field(default_factory=Entry, repr=False)
    # Whether `run` keeps digits that single precision has no room for.
    exact: ClassVar[bool] = False

    def run(self, *values: Any) -> Any:
        """Its answer for arrays with the same rows: that of its module."""
        from ..translations._base import evaluate

        return evaluate(self, *values)

    def numbers(self) -> Iterator[Numbers]:
        """Every number that training may change, those of inner operators as well."""
        for one in fields(self):
            yield from _numbers(getattr(self, one.name))

    def patches(self) -> Iterator[tuple[Any, bytes]]:
        """Places in the file and the bytes that go there."""
        for one in fields(self):
            yield from _patches(getattr(self, one.name))


def _patches(value: Any) -> Iterator[tuple[Any, bytes]]:
    if isinstance(value, Numbers):
        if value.changed:
            yield value.place, value.bytes()
    elif isinstance(value, Operator):
        yield from value.patches()
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _patches(item)


def _numbers(value: Any) -> Iterator[Numbers]:
    if isinstance(value, Numbers):
        yield value
    elif isinstance(value, Operator):
        yield from value.numbers()
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _numbers(item)


@dataclass
class Predictor:
    """A predictor as a scorer uses it.

    Parameters
    ----------
    task : str
        "binary", "regression", "ranking", "multiclass", "clustering" or "anomaly".
    score : Operator
        Gives what training looks at.
    link : Operator, optional
        Turns that into the column Score; None where it is the Score itself.
    calibrator : Operator, optional
        Turns the Score into Probability.
    classes : int
        How many classes or clusters there are.
    labels : array, optional
        Their names, where the predictor has them.
    probabilities : bool
        Whether the scores of several classes are probabilities.
    """

    task: str
    score: Operator
    link: Operator | None = None
    calibrator: Operator | None = None
    classes: int = 0
    labels: Any = None
    probabilities: bool = False


Transform = Callable[["Node", "Builder"], None]
PredictorReader = Callable[["Node", int], Predictor]
CalibratorReader = Callable[["Node"], Operator]


@dataclass(frozen=True)
class Row:
    """A reader and the versions that it knows."""

    read: Any
    versions: tuple[int, ...]

    def check(self, block: Block) -> None:
        """Refuse a version that is not known."""
        if block.version not in self.versions:
            raise block.fail(f"has version {block.version:#x}, which is not known")


TRANSFORMS: dict[str, Row] = {}
PREDICTORS: dict[str, Row] = {}
CALIBRATORS: dict[str, Row] = {}
OPAQUE: dict[str, tuple[str, ColumnType]] = {}
"""Why some signatures are not translated, and what they give."""


def _into(table: dict[str, Row], signatures: tuple[str, ...], versions: tuple[int, ...]) -> Any:
    def decorate(function: Any) -> Any:
        for signature in signatures:
            table[signature] = Row(function, versions)
        return function

    return decorate


def transform(*signatures: str, versions: tuple[int, ...] = (0x00010001,)) -> Any:
    """Register ``read(node, builder)``, which adds the columns of a transform."""
    return _into(TRANSFORMS, signatures, versions)


def predictor(*signatures: str, versions: tuple[int, ...] = (0x00010001,)) -> Any:
    """Register ``read(node, features) -> Predictor``."""
    return _into(PREDICTORS, signatures, versions)


def calibrator(*signatures: str, versions: tuple[int, ...] = (0x00010001,)) -> Any:
    """Register ``read(node) -> Operator``."""
    return _into(CALIBRATORS, signatures, versions)


def read_predictor(node: Node, features: int) -> Predictor:
    """The predictor in a folder, with its calibrator if there is one."""
    if node.block.signature in _CALIBRATED:
        Row(None, (0x00010001,)).check(node.block)
        inner = read_predictor(node.child("Predictor"), features)
        inner.calibrator = read_calibrator(node.child("Calibrator"))
        return inner
    row = PREDICTORS.get(node.block.signature)
    if row is None:
        raise node.unknown()
    row.check(node.block)
    return row.read(node, features)


def read_calibrator(node: Node) -> Operator:
    """The calibrator in a folder."""
    row = CALIBRATORS.get(node.block.signature)
    if row is None:
        raise node.unknown()
    row.check(node.block)
    return row.read(node)


def differ(width: int, features: int) -> bool:
    """Whether a predictor takes other than the features before it; 0 if their number varies."""
    return features not in (0, width)


_CALIBRATED = ("PMIXCALP", "CALIPRED", "FTWTCALP")


@dataclass(eq=False, kw_only=True)
class Host(Operator):
    """An operator that runs on the host, on arrays."""

    exact = True

    def run(self, *values: Any) -> Any:
        """Its answer for arrays with the same rows."""
        raise NotImplementedError


@dataclass(eq=False, kw_only=True)
class Input(Host):
    """A raw column of the user's table.

    Parameters
    ----------
    name : str
        Name of the column.
    type : ColumnType
        What ML.NET reads it as.
    missing : str
        Why the table must have it, if the model itself would compute it.
    """

    name: str
    type: Any = field(repr=False)
    missing: str = ""

    def run(self, *values: Any) -> Any:
        """The column as ML.NET's type."""
        from ..input_table import raw_column

        return raw_column(values[0], self)
