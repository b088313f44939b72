"""The mapping table: which class becomes which module, and how its parameters are written back."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from torch import nn

from . import source_catalog
from .errors import ArgumentError, RegistrationError
from .file_writing import scratch_folder
from .modules import Head, SplitRelaxation, TreeEnsemble
from .remote_files import fetch, is_remote

_ENTRY_POINTS = "pipegrad.translations"

# Fitted attributes that describe the input or the fit, not learned parameters; training does not
# change them.
KEPT_ALWAYS: Mapping[str, str] = {
    "n_features_in_": "the shape of the input does not change",
    "feature_names_in_": "the names of the input do not change",
    "classes_": "the labels do not change",
    "n_iter_": "describes how the source was fitted",
    "n_samples_seen_": "describes how the source was fitted",
}


KEPT: Mapping[str, str] = {
    "monotone": "monotone constraints",
    "features": "the features that the trees use, with interaction constraints",
    "zeros": "coefficients that are zero (`train_zeros=True` frees them)",
    "nonnegative": "`positive=True`",
    "components": "components are not negative",
    "pattern": "entries of the matrix that are zero",
    "probabilities": "probabilities add to one",
    "positive": "predictions are positive where a logarithm links them to the score",
    "scale": "scales and variances are positive",
    "weights": "the weights of the members do not change",
    "inliers": "the inliers do not change",
}
"""Guarantees of operators that training keeps."""


@dataclass(frozen=True)
class Objective:
    """The loss that a predictor minimizes.

    Parameters
    ----------
    name : str
        Name of a loss in `pipegrad.finetune.losses`.
    options : mapping
        Parameters of that loss (``{"quantile": 0.9}``).
    class_weight : mapping, "balanced" or None
        Class weights as in scikit-learn; the keys are labels.
    zeros : bool
        Whether the operator accepts targets of zero where the loss is defined above zero only.
    any_target : bool
        Whether the operator accepts any number, also outside of the range of the loss.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    class_weight: Any = None
    zeros: bool = field(default=False, repr=False)
    any_target: bool = field(default=False, repr=False)


@dataclass(frozen=True)
class Example:
    """A configuration of an operator for the contract tests, if a dict of arguments is not enough.

    Parameters
    ----------
    params : mapping
        Arguments of the class.
    data : str, optional
        Name of a data set in `pipegrad.testing.DATASETS`; ``data`` of the translation by default.
    tolerance : float, optional
        Largest relative difference allowed; ``tolerance`` of the translation by default.
    unchanged_attributes : tuple of str
        Fitted attributes that training does not change in this configuration.
    refused_inputs : tuple of str
        Edge cases of the contract tests that the module rejects in this configuration although the
        operator accepts them.
    since, before : str, optional
        Versions of the source between which the configuration exists (``"1.7"``).
    fit : mapping
        Further arguments of ``fit``.
    """

    params: Mapping[str, Any] = field(default_factory=dict)
    data: str | None = None
    tolerance: float | None = None
    unchanged_attributes: tuple[str, ...] = ()
    refused_inputs: tuple[str, ...] = ()
    since: str | None = None
    before: str | None = None
    fit: Mapping[str, Any] = field(default_factory=dict)


class Translation:
    """An entry of the mapping table: one operator class (or several similar ones) and its module.

    Subclass it, implement `to_torch` and `write_back`, and decorate it with `register`. Predictors
    also define what their score means (`head`) and which loss they minimize (`objective`).

    Attributes
    ----------
    examples : tuple of dict or Example
        Configurations for the contract tests.
    data : str
        Name of the data set of the contract tests in `pipegrad.testing.DATASETS`.
    unchanged_attributes : mapping of str to str
        Fitted attributes that training does not change, each with the reason.
    tolerance : float
        Largest relative difference between module and operator (float64).
    differentiable : bool
        Whether gradients pass through to the preceding steps.
    sparse : bool
        Whether the module accepts `SparseRows`.
    missing : bool
        Whether the operator accepts NaN.
    refused_inputs : mapping of str to str
        Edge cases of the contract tests that the module rejects although the operator accepts
        them, each with the reason.
    raw_numbers : bool
        Whether `encode` returns the numbers of the input itself, not codes.
    has_splits : bool
        Whether the module contains trees whose splits can be relaxed, so that they train and pass
        gradients on.
    keeps_integers : bool
        Whether the operator computes with whole numbers in their own type, in which they may wrap,
        while its module computes with floating point numbers.
    rounds_parameters : bool
        Whether the operator rounds its parameters to the precision of its input, so that its own
        library transforms input of low precision.
    file_suffixes : tuple of str
        Suffixes of the files that `save` writes.
    kept : tuple of str
        Guarantees of the operator that training keeps, by their names in `KEPT`.
    not_kept : str
        What the operator guarantees and training does not keep; nothing by default.
    on_host : str
        Why the operator's own library computes its output, which the module passes on; empty where
        the module computes it. It is for every configuration of an operator that turns raw values
        into numbers: the numbers are input of the module, and the operator may be a step of it.
        Where the output is no numbers, so that no module can pass it on, `no_numbers` is the place.
    always_fitted : bool
        Whether the operator learns nothing in ``fit``, so that it predicts without one.
    not_exported : str
        Why `pipegrad.export` cannot write the operator into a file; empty where it can.
    export_tolerance : float
        Largest relative difference between exported file and operator (float64).
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
    keeps_integers: ClassVar[bool] = False
    rounds_parameters: ClassVar[bool] = False
    file_suffixes: ClassVar[tuple[str, ...]] = ()
    kept: ClassVar[tuple[str, ...]] = ()
    not_kept: ClassVar[str] = ""
    on_host: ClassVar[str] = ""
    always_fitted: ClassVar[bool] = False
    not_exported: ClassVar[str] = ""
    export_tolerance: ClassVar[float] = 1e-12

    name: str = ""

    def to_torch(self, operator: Any) -> nn.Module:
        """A module with the operator's learned parameters, which shares no memory with it.

        Transformers map (n, d) to (n, k); predictors return their raw score.
        """
        raise NotImplementedError

    def write_back(self, module: Any, operator: Any) -> None:
        """Write the module's parameters into ``operator``, which is already a copy."""
        raise NotImplementedError

    def holder(self, operator: Any) -> Any:
        """The part of the source that has the step's numbers, which `write_back` gets.

        It is the operator itself, unless that is a structural step.
        """
        return operator

    def refuse(self, operator: Any) -> str | None:
        """Why this configuration has no module, or None."""
        return None

    def no_numbers(self, operator: Any) -> str | None:
        """Why the operator returns text or other objects in this configuration, or None.

        Tensors hold numbers only, so that its own library alone computes what it returns, for the
        user or for a step that reads raw values. Such an operator reads raw values itself, trains
        nothing and passes no gradients on; `encode` is never asked, and `to_torch` returns a module
        that is never called. The reason follows the name of the class: "it fills text". Where an
        operator of raw values returns numbers, `on_host` is the place.
        """
        return None

    def trainable(self, operator: Any) -> bool:
        """Whether the operator has trainable parameters."""
        if self.no_numbers(operator) is not None:
            return False
        return any(one.requires_grad for one in self.to_torch(operator).parameters())

    def head(self, operator: Any) -> Head | None:
        """The head that maps raw scores to predictions; None for a transformer."""
        return None

    def objective(self, operator: Any) -> Objective | None:
        """The loss that the operator itself minimizes; None for a transformer."""
        return None

    def encode(self, operator: Any, X: Any) -> Any:
        """Convert raw input into the numbers (dense or CSR) that the module takes.

        Runs once, outside torch, if the operator is the first of the neural part. Input checks of
        the source belong here.
        """
        return X

    def encoding_key(self, operator: Any) -> Hashable | None:
        """What `encode` depends on beside the number of columns and their names; None if unknown.

        Alike operators of the same key may share a call. `encode` must then check and convert each
        number alone.
        """
        return () if type(self).encode is Translation.encode else None

    def native_input(self, operator: Any, X: Any) -> Any:
        """Raw input as the operator's own methods take it, if a module takes other types too."""
        return X

    def reads_raw_numbers(self, operator: Any) -> bool:
        """Whether the module takes the numbers of the input itself, not codes from `encode`."""
        return self.raw_numbers and self.no_numbers(operator) is None

    def transformed(self, operator: Any, X: Any) -> Any:
        """What the operator's ``transform`` returns, where its checks are known to pass.

        A step that stays with its own library is asked here first, because checks of the input take
        most of the time for a few rows.

        Returns
        -------
        object
            The output; None where the operator itself has to be called.
        """
        return None

    def has_private_encoding(self, operator: Any) -> bool:
        """Whether other operators with the same input cannot share the result of `encode`."""
        return not self.reads_raw_numbers(operator)

    def depends_on_type(self, operator: Any, dtype: Any) -> bool:
        """Whether only the operator's own library answers as it does for input of a NumPy dtype.

        Modules compute with floating point numbers of one type; a search for neighbors, say, finds
        others among those at equal distances if its input has another type.
        """
        return False

    def container(self, operator: Any) -> str:
        """What ``transform`` returns where `set_output` is not used: "default" or "pandas"."""
        return "default"

    def duplicate(self, operator: Any) -> Any:
        """A copy of the operator if `copy.deepcopy` would lose something; otherwise None."""
        return None

    def save(self, operator: Any, path: Path) -> None:
        """Write the operator to an empty file in its library's format; see `file_suffixes`.

        Raises
        ------
        OSError
            If the file does not hold all of it. Some libraries do not notice that a disk is full,
            so that the file must be read back; see `pipegrad.file_writing`.
        """
        raise NotImplementedError

    def expansion(self, operator: Any) -> Expansion | None:
        """The expansion of an operator that, unlike others of its class, unfolds into its parts."""
        return None

    def caution(self, operator: Any) -> str | None:
        """What training will not keep of this configuration although it looks so, or None."""
        return None

    def refuse_targets(self, operator: Any, y: Any) -> str | None:
        """What is wrong with targets that the operator's own fit refuses, or None.

        ``y`` holds indices of classes (n,) for a classifier, and numbers otherwise; each is in the
        range of the loss. The reason follows "The targets": "are of one class only".
        """
        return None

    def quantiles(self, operator: Any) -> tuple[float, ...] | None:
        """The level of each output of an operator that predicts quantiles; None for others."""
        return None

    def keeps_zeros(self, operator: Any) -> bool:
        """Whether weights of linear maps are zero because the operator selects features.

        They stay zero in training unless ``train_zeros=True``.
        """
        return False

    def is_differentiable(self, operator: Any) -> bool:
        """Whether gradients pass through to the preceding steps."""
        return self.differentiable and self.no_numbers(operator) is None

    def projection(self, operator: Any) -> nn.Module | None:
        """The module of ``transform`` of a predictor that also transforms; None for others.

        `write_back` gets this module where the predictor is a transformer of later steps.
        """
        return None

    def body(self, operator: Any, method: str) -> nn.Module:
        """The module that a step needs for a method: of scores, or of ``transform``."""
        module = self.projection(operator) if method == "transform" else None
        return self.to_torch(operator) if module is None else module

    def module(self, operator: Any, splits: SplitRelaxation, method: str = "score") -> nn.Module:
        """The module of `body`, with its tree splits relaxed as ``splits`` specifies."""
        module = self.body(operator, method)
        if self.has_splits and splits.soft:
            for part in module.modules():
                if isinstance(part, TreeEnsemble):
                    part.soften(splits.way, splits.temperature)
        return module

    def inverse(self, operator: Any) -> nn.Module | None:
        """A module that inverts the operator (for transformed targets); None if there is none."""
        return None

    def rounds(self, operator: Any) -> int | None:
        """The number of boosting rounds, if `grow` can add to them; otherwise None."""
        return None

    def grow(self, operator: Any, X: Any, y: Any, weight: Any, rounds: int) -> None:
        """Add boosting rounds to ``operator``, which is already a copy, by its own library.

        The library fits the new trees to new rows, with the operator's own objective and
        hyperparameters, and leaves the trees that are there as they are.
        """
        raise NotImplementedError


class Builder(Protocol):
    """The part of the graph under construction that an expansion needs."""

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

    def operator(self, name: str) -> Any:
        """The operator of a step."""


class Expansion:
    """A translation of a composite: how it unfolds into steps and edges.

    Attributes
    ----------
    kept, not_kept
        See `Translation`.
    responses : tuple of str, optional
        Methods that the module of a predictor has, if they are fewer than those of the composite.
    separate : tuple of str
        Further methods that unfold into steps of their own, beside those of the score.
    always_fitted : bool
        Whether the composite is fitted if its parts are, each of which is checked itself.
    """

    kept: ClassVar[tuple[str, ...]] = ()
    not_kept: ClassVar[str] = ""
    responses: ClassVar[tuple[str, ...] | None] = None
    separate: ClassVar[tuple[str, ...]] = ()
    always_fitted: ClassVar[bool] = False

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
            Name of the input value.
        path : str
            Path of the composite in the source object; the path of a child is
            ``f"{path}/{name}"``.
        method : str
            Requested output of the composite: "transform", "score", "predict", "predict_proba",
            "decision_function" or "features".

        Returns
        -------
        str
            Name of the output value.
        """
        raise NotImplementedError

    def refuse(self, operator: Any) -> str | None:
        """Why this configuration cannot be unfolded, or None."""
        return None

    def inverse(self, operator: Any) -> nn.Module | None:
        """A module that inverts the operator (for transformed targets); None if there is none."""
        return None

    def last(self, operator: Any) -> Any:
        """The fitted part whose output is the composite's own; None if there is no such part."""
        return None

    def before_last(self, operator: Any, X: Any, y: Any) -> tuple[Any, Any]:
        """Convert rows of the composite into rows of its last part."""
        return X, y


Row = Translation | Expansion
R = TypeVar("R", bound=type[Any])

_ROWS: dict[str, Row] = {}
_REFUSED: dict[str, str] = {}
_FOUND: dict[type, Row | None] = {}
_LOADED: set[str] = set()


def register(*names: str) -> Callable[[R], R]:
    """Add a translation to the mapping table.

    Parameters
    ----------
    *names : str
        Public dotted names of the classes that the translation serves
        (``"sklearn.preprocessing.StandardScaler"``).

    Returns
    -------
    callable
        A class decorator.

    Raises
    ------
    RegistrationError
        When a name is taken or not dotted, or the class is not a translation.

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
            raise RegistrationError(f"{row.__name__}: name the class that the translation serves.")
        for name in names:
            if "." not in name:
                raise RegistrationError(f"{name!r} is not a dotted name such as 'package.Class'.")
            known = _ROWS.get(name)
            if known is not None and type(known).__qualname__ != row.__qualname__:
                raise RegistrationError(
                    f"{name!r} already has a translation ({type(known).__module__}."
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
    """The translation or expansion that serves exactly this class, or None."""
    if kind not in _FOUND:
        _load_rows(kind)
        _FOUND[kind] = next((row for name, row in list(_ROWS.items()) if _names(name, kind)), None)
    return _FOUND[kind]


def load_file(path: Any, trusted: bool = False) -> Any:
    """Load the source object in a model file with the loader for its suffix.

    Parameters
    ----------
    path : str or path
        The model file or folder; through fsspec also one on another machine (``s3://...``).
    trusted : bool
        Whether the library of the source may read the file at once.

    Returns
    -------
    object
        The source object.

    Raises
    ------
    ArgumentError
        When no loader serves the suffix, or its library is not installed.
    """
    if is_remote(path):
        with scratch_folder() as folder:
            return load_file(fetch(path, folder), trusted)
    suffix = Path(path).suffix.lower()
    served = source_catalog.sources_of_file(suffix)
    if Path(path).is_dir() and not (served and not (Path(path) / "metadata").is_dir()):
        return _load_folder(path, trusted)
    if not served:
        known = ", ".join(source_catalog.file_suffixes())
        raise ArgumentError(
            f"to_torch takes a fitted pipeline, or the path of a file that ends in {known}; got "
            f"{str(path)!r}.{_how_to_open(suffix)}"
        )
    if not Path(path).exists():
        raise FileNotFoundError(f"{path!s}: there is no such file.")
    try:
        source = importlib.import_module(served[0].loaders[suffix])
    except ModuleNotFoundError as error:
        lacking = source_catalog.optional_source(error.name)
        if lacking is None:
            raise
        raise ArgumentError(
            f"{path!s} requires {error.name}: pip install 'pipegrad[{lacking.extra}]'."
        ) from error
    return source.load(path, trusted)


def _load_folder(path: Any, trusted: bool) -> Any:
    (loader,) = source_catalog.folder_loaders()
    return importlib.import_module(loader).load(path, trusted)


def _how_to_open(suffix: str) -> str:
    """A hint for files of other kinds."""
    if suffix in (".pkl", ".pickle", ".joblib"):
        return "\nHint: to_torch(joblib.load(path)), if you trust the file: it can run any code."
    if suffix in (".skops", ".onnx", ".pt", ".pth", ".npz", ".npy", ".h5"):
        return "\nHint: load the fitted pipeline with the library that saved it, and pass it."
    return ""


def refuse(reasons: Mapping[str, str]) -> None:
    """Record why some classes of a source have no translation, by dotted name."""
    _REFUSED.update(reasons)


def rows() -> Iterator[tuple[str, Row]]:
    """All translations and expansions by name, from every source and plug-in."""
    for source in source_catalog.SOURCES:
        if not source.library or find_spec(source.library) is not None:
            _load(source.module)
    _load_plugins()
    yield from sorted(_ROWS.items())


def dotted_name(kind: type) -> str:
    """The public name of a class in the mapping table, or else the shortest importable name."""
    row = lookup(kind)
    if row is not None:
        return row.name
    parts = kind.__module__.split(".")
    for depth in range(1, len(parts)):
        module = ".".join(parts[:depth])
        with suppress(ImportError):  # See `_names`.
            if getattr(sys.modules.get(module), kind.__qualname__, None) is kind:
                return f"{module}.{kind.__qualname__}"
    return f"{kind.__module__}.{kind.__qualname__}"


def why_missing(kind: type) -> str:
    """The reason why a class has no translation."""
    for base in kind.__mro__[1:]:
        row = lookup(base)
        if row is not None:
            return (
                f"no translation in the mapping table; it is a subclass of {base.__name__}, whose "
                "translation serves that exact class only"
            )
    return _REFUSED.get(dotted_name(kind), "no translation in the mapping table")


def _names(name: str, kind: type) -> bool:
    module, _, attribute = name.rpartition(".")
    if attribute != kind.__qualname__ or module.split(".")[0] != kind.__module__.split(".")[0]:
        return False
    if module not in sys.modules:
        # The package is loaded, since an object of it exists, but a submodule may not be.
        try:
            importlib.import_module(module)
        except ImportError:
            return False
    try:
        return getattr(sys.modules[module], attribute, None) is kind
    except ImportError:  # An experimental class that is not enabled, such as one in a pickle.
        return kind.__module__.startswith(f"{module}.")


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
