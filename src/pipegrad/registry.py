"""The mapping table: which class becomes which module, and how its numbers go back."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from torch import nn

from . import source_catalog
from .errors import ArgumentError, RegistrationError
from .modules import Head, SplitRelaxation, TreeEnsemble

_ENTRY_POINTS = "pipegrad.translations"

# Learned attributes that say what was seen, not what was learned; no training changes them.
KEPT_ALWAYS: Mapping[str, str] = {
    "n_features_in_": "the shape of the input does not change",
    "feature_names_in_": "the names of the input do not change",
    "classes_": "the labels do not change",
    "n_iter_": "says how the source itself was fitted",
    "n_samples_seen_": "says how the source itself was fitted",
}


@dataclass(frozen=True)
class Objective:
    """The loss that a predictor minimises.

    Parameters
    ----------
    name : str
        A name that `pipegrad.finetune.losses` knows.
    options : mapping
        Numbers of that loss (``{"quantile": 0.9}``).
    class_weight : mapping, "balanced" or None
        As in scikit-learn; keys are the labels.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    class_weight: Any = None


@dataclass(frozen=True)
class Example:
    """Parameters of an operator for the contract tests, where a plain dict does not say enough.

    Parameters
    ----------
    params : mapping
        Arguments of the class.
    data : str, optional
        Name of a data set in `pipegrad.testing.DATASETS`; the row's ``data`` by default.
    tolerance : float, optional
        Largest relative difference allowed; the row's ``tolerance`` by default.
    unchanged_attributes : tuple of str
        Learned attributes that this configuration leaves as they are.
    since, before : str, optional
        Versions of the source between which the configuration exists (``"1.7"``).
    fit : mapping
        Further arguments of ``fit``.
    """

    params: Mapping[str, Any] = field(default_factory=dict)
    data: str | None = None
    tolerance: float | None = None
    unchanged_attributes: tuple[str, ...] = ()
    since: str | None = None
    before: str | None = None
    fit: Mapping[str, Any] = field(default_factory=dict)


class Translation:
    """A row of the mapping table: one operator class (or several alike) and its module.

    Subclass it, fill in `to_torch` and `write_back`, and decorate it with `register`. Predictors
    also say what their score means (`head`) and what they minimise (`objective`).

    Attributes
    ----------
    examples : tuple of dict or Example
        Configurations for the contract tests.
    data : str
        Data set of the contract tests, a name in `pipegrad.testing.DATASETS`.
    unchanged_attributes : mapping of str to str
        Learned attributes that stay as they are when others change, each with its reason.
    tolerance : float
        Largest relative difference between module and operator (float64).
    differentiable : bool
        Whether gradients pass through to what stands before the operator.
    sparse : bool
        Whether the module takes `SparseRows`.
    missing : bool
        Whether the operator lets NaN pass.
    refused_inputs : mapping of str to str
        Unusual input of the contract tests that the module refuses although the operator takes
        it, each with its reason.
    raw_numbers : bool
        Whether `encode` gives the numbers of the input itself, not codes of it.
    has_splits : bool
        Whether the module holds trees whose splits may be softened: they train then, and
        gradients pass through.
    file_suffixes : tuple of str
        How the names of the files end that `save` writes.
    """

    examples: ClassVar[tuple[Mapping[str, Any] | Example, ...]] = ({},)
    data: ClassVar[str] = "features"
    unchanged_attributes: ClassVar[Mapping[str, str]] = {}
    tolerance: ClassVar[float] = 1e-9
    differentiable: ClassVar[bool] = True
    sparse: ClassVar[bool] = False
    missing: ClassVar[bool] = False
    refused_inputs: ClassVar[Mapping[str, str]] = {}
    raw_numbers: ClassVar[bool] = True
    has_splits: ClassVar[bool] = False
    file_suffixes: ClassVar[tuple[str, ...]] = ()

    name: str = ""

    def to_torch(self, operator: Any) -> nn.Module:
        """A module with the operator's numbers, in memory of its own.

        Transformers map (n, d) to (n, k); predictors give their score.
        """
        raise NotImplementedError

    def write_back(self, module: Any, operator: Any) -> None:
        """Put the module's numbers into ``operator``, which is already a copy."""
        raise NotImplementedError

    def refuse(self, operator: Any) -> str | None:
        """Why this configuration has no module, or None."""
        return None

    def trainable(self, operator: Any) -> bool:
        """Whether the operator holds numbers that training may change."""
        return any(True for _ in self.to_torch(operator).parameters())

    def head(self, operator: Any) -> Head | None:
        """What the score means; None for a transformer."""
        return None

    def objective(self, operator: Any) -> Objective | None:
        """The loss that the operator itself minimises; None for a transformer."""
        return None

    def encode(self, operator: Any, X: Any) -> Any:
        """Turn raw input into the numbers (dense or CSR) that the module takes.

        Runs once, outside of torch, when the operator is the first of the neural part. Checks
        that the source would do belong here.
        """
        return X

    def reads_raw_numbers(self, operator: Any) -> bool:
        """Whether the module takes the numbers of the input, not what `encode` makes of it."""
        return self.raw_numbers

    def has_private_encoding(self, operator: Any) -> bool:
        """Whether `encode` gives what is not for other operators with the same input."""
        return not self.reads_raw_numbers(operator)

    def duplicate(self, operator: Any) -> Any:
        """A copy of the operator, where `copy.deepcopy` would lose something; else None."""
        return None

    def save(self, operator: Any, path: Path) -> None:
        """Write the operator as a file of its own library; see `file_suffixes`."""
        raise NotImplementedError

    def expansion(self, operator: Any) -> Expansion | None:
        """How this operator unfolds if, of its class, it is one that stands for its parts."""
        return None

    def is_differentiable(self, operator: Any) -> bool:
        """Whether gradients pass through to what stands before the operator."""
        return self.differentiable

    def module(self, operator: Any, splits: SplitRelaxation) -> nn.Module:
        """What `to_torch` gives, with splits that train as it is asked for."""
        module = self.to_torch(operator)
        if self.has_splits and splits.soft:
            for part in module.modules():
                if isinstance(part, TreeEnsemble):
                    part.soften(splits.way, splits.temperature)
        return module

    def inverse(self, operator: Any) -> nn.Module | None:
        """A module that undoes the operator (for transformed targets); None if there is none."""
        return None


class Builder(Protocol):
    """The graph under construction, as far as an expansion needs it."""

    frozen: bool
    target: Any

    def expand(self, operator: Any, source: str, path: str, method: str = "transform") -> str:
        """Unfold an operator that takes ``source``; return the name of its value."""

    def add(
        self,
        path: str,
        operator: Any,
        inputs: tuple[str, ...],
        method: str = "transform",
        kind: str | None = None,
    ) -> str:
        """Add one step; return its name."""


class Expansion:
    """A row for a composite: how it unfolds into steps and edges."""

    name: str = ""

    def expand(self, operator: Any, builder: Builder, source: str, path: str, method: str) -> str:
        """Add the operator's steps to ``builder``.

        Parameters
        ----------
        operator : object
            The fitted composite.
        builder : Builder
            ``builder.expand(child, source, path, method)`` unfolds a child,
            ``builder.add(path, operator, inputs)`` adds a step.
        source : str
            Name of the value that flows in.
        path : str
            Path of the composite in the source object; a child's is ``f"{path}/{name}"``.
        method : str
            What the composite is asked for: "transform", "score", "predict", "predict_proba",
            "decision_function" or "features".

        Returns
        -------
        str
            Name of the value that flows out.
        """
        raise NotImplementedError

    def refuse(self, operator: Any) -> str | None:
        """Why this configuration cannot be unfolded, or None."""
        return None

    def inverse(self, operator: Any) -> nn.Module | None:
        """A module that undoes the operator (for transformed targets); None if there is none."""
        return None


Row = Translation | Expansion
R = TypeVar("R", bound=type[Any])

_ROWS: dict[str, Row] = {}
_REFUSED: dict[str, str] = {}
_FOUND: dict[type, Row | None] = {}
_LOADED: set[str] = set()


def register(*names: str) -> Callable[[R], R]:
    """Add a row to the mapping table.

    Parameters
    ----------
    *names : str
        Public dotted names of the classes that the row serves
        (``"sklearn.preprocessing.StandardScaler"``).

    Returns
    -------
    callable
        A class decorator.

    Raises
    ------
    RegistrationError
        When a name is taken, is not dotted, or the class is not a row.

    Examples
    --------
    >>> import pipegrad as pg
    >>> @pg.register("my_package.Doubler")
    ... class Doubler(pg.Translation):
    ...     def to_torch(self, operator): ...
    ...     def write_back(self, module, operator): ...
    """

    def decorate(row: R) -> R:
        if not (isinstance(row, type) and issubclass(row, (Translation, Expansion))):
            raise RegistrationError(f"{row!r} is neither a Translation nor an Expansion.")
        if not names:
            raise RegistrationError(f"{row.__name__}: name the class that the row serves.")
        for name in names:
            if "." not in name:
                raise RegistrationError(f"{name!r} is not a dotted name such as 'package.Class'.")
            known = _ROWS.get(name)
            if known is not None and type(known).__qualname__ != row.__qualname__:
                raise RegistrationError(
                    f"{name!r} already has a row ({type(known).__module__}."
                    f"{type(known).__qualname__})."
                )
        for name in names:
            instance = row()
            instance.name = name
            _ROWS[name] = instance
        _FOUND.clear()
        return row

    return decorate


def lookup(kind: type) -> Row | None:
    """The row that serves exactly this class, or None."""
    if kind not in _FOUND:
        _load_rows(kind)
        _FOUND[kind] = next((row for name, row in list(_ROWS.items()) if _names(name, kind)), None)
    return _FOUND[kind]


def load_file(path: Any) -> Any:
    """The source object in a file, by the loader that serves the end of its name.

    Raises
    ------
    ArgumentError
        When no loader does.
    """
    suffix = Path(path).suffix.lower()
    served = source_catalog.sources_of_file(suffix)
    if not served:
        known = ", ".join(source_catalog.file_suffixes())
        raise ArgumentError(
            f"to_torch takes a fitted pipeline, or the path of a file that ends in {known}; not "
            f"{str(path)!r}."
        )
    if served[0].library and not Path(path).is_file():
        raise FileNotFoundError(f"{path!s}: there is no such file.")
    try:
        source = importlib.import_module(served[0].loaders[suffix])
    except ModuleNotFoundError as error:
        lacking = source_catalog.optional_source(error.name)
        if lacking is None:
            raise
        raise ArgumentError(
            f"{path!s} needs {error.name}: pip install 'pipegrad[{lacking.extra}]'."
        ) from error
    return source.load(path)


def refuse(reasons: Mapping[str, str]) -> None:
    """Note why some classes of a source have no row, by dotted name."""
    _REFUSED.update(reasons)


def rows() -> Iterator[tuple[str, Row]]:
    """All rows by name, those of every source and plug-in."""
    for source in source_catalog.SOURCES:
        if not source.library or find_spec(source.library) is not None:
            _load(source.module)
    _load_plugins()
    yield from sorted(_ROWS.items())


def dotted_name(kind: type) -> str:
    """The public name of a class if the table has it, else the shortest that leads to it."""
    row = lookup(kind)
    if row is not None:
        return row.name
    parts = kind.__module__.split(".")
    for depth in range(1, len(parts)):
        module = ".".join(parts[:depth])
        if getattr(sys.modules.get(module), kind.__qualname__, None) is kind:
            return f"{module}.{kind.__qualname__}"
    return f"{kind.__module__}.{kind.__qualname__}"


def why_missing(kind: type) -> str:
    """The reason that a class has no row, with a hint where there is one."""
    for base in kind.__mro__[1:]:
        row = lookup(base)
        if row is not None:
            return (
                f"no row in the mapping table; it is a subclass of {base.__name__}, whose row "
                "serves that exact class only"
            )
    return _REFUSED.get(dotted_name(kind), "no row in the mapping table")


def _names(name: str, kind: type) -> bool:
    module, _, attribute = name.rpartition(".")
    if attribute != kind.__qualname__ or module.split(".")[0] != kind.__module__.split(".")[0]:
        return False
    if module not in sys.modules:
        # The package is loaded, since one of its objects is here; a part of it may not be.
        try:
            importlib.import_module(module)
        except ImportError:
            return False
    return getattr(sys.modules[module], attribute, None) is kind


def _load_rows(kind: type) -> None:
    for base in kind.__mro__:
        source = source_catalog.source_of(base)
        if source is not None:
            _load(source.module)
    _load_plugins()


def _load(module: str) -> None:
    if module not in _LOADED:
        _LOADED.add(module)
        importlib.import_module(module)


def _load_plugins() -> None:
    if _ENTRY_POINTS not in _LOADED:
        _LOADED.add(_ENTRY_POINTS)
        for point in entry_points(group=_ENTRY_POINTS):
            point.load()


def translation(operator: Any) -> Translation | None:
    """The translation that serves an operator's exact class, or None."""
    row = lookup(type(operator))
    return row if isinstance(row, Translation) else None
