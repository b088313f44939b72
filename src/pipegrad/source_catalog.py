"""The catalog of sources, the libraries that pipelines come from.

No other module of the core knows a source by name. The catalog imports nothing; the registry loads
the modules that it names when they are needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Source:
    """A library whose fitted objects become modules.

    Parameters
    ----------
    name : str
        Name of the source.
    module : str
        Module that registers its translations.
    packages : tuple of str
        Top-level packages of the classes that these translations serve.
    library : str
        Optional package that ``module`` imports; "" if there is none.
    extra : str
        Extra of pipegrad that installs ``library``.
    loaders : dict of str to str
        By file suffix, the module whose ``load(path, trusted)`` returns the source object.
    folder_loader : str
        The module whose ``load(path, trusted)`` returns the source object in a folder; "" if its
        models are files.
    object_loader : str
        The module whose ``from_object(thing)`` returns the source object of an object of the
        library, and anything that has no fitted numbers as it is, and whose ``is_fitted(thing)``
        tells models from estimators; "" if the library's objects are source objects themselves.
    zip_entries : tuple of str
        Files or folders that identify the library's models among zip archives.
    json_key : str
        Top-level key that identifies the library's own JSON model files.
    graph_format : str
        Module that writes (``to_json``) and reads (``from_json``) the library's own graph format;
        "" if it has none.
    file_attributes : dict of str to str
        By the top-level package of objects that refer to a model file, the attribute with its path.
    """

    name: str
    module: str
    packages: tuple[str, ...] = ()
    library: str = ""
    extra: str = ""
    loaders: dict[str, str] = field(default_factory=dict)
    folder_loader: str = ""
    object_loader: str = ""
    zip_entries: tuple[str, ...] = ()
    json_key: str = ""
    graph_format: str = ""
    file_attributes: dict[str, str] = field(default_factory=dict)


_JSON = {".json": "pipegrad.sources.boosted_json"}
_ZIP = {".zip": "pipegrad.sources.zip_models"}

SOURCES: tuple[Source, ...] = (
    Source(
        name="sklearn",
        module="pipegrad.sources.sklearn",
        packages=("sklearn", "pipegrad"),
    ),
    Source(
        name="skorch",
        module="pipegrad.sources.skorch",
        packages=("skorch",),
    ),
    Source(
        name="imblearn",
        module="pipegrad.sources.imblearn",
        packages=("imblearn",),
        library="imblearn",
        extra="imbalanced",
    ),
    Source(
        name="skrub",
        module="pipegrad.sources.skrub",
        packages=("skrub",),
        library="skrub",
        extra="skrub",
    ),
    Source(
        name="category_encoders",
        module="pipegrad.sources.category_encoders",
        packages=("category_encoders",),
        library="category_encoders",
        extra="encoders",
    ),
    Source(
        name="feature_engine",
        module="pipegrad.sources.feature_engine",
        packages=("feature_engine",),
        library="feature_engine",
        extra="encoders",
    ),
    Source(
        name="mlnet",
        module="pipegrad.sources.mlnet",
        packages=("mlnet",),
        loaders={**_ZIP, ".mlnet": "pipegrad.sources.mlnet"},
        zip_entries=("TransformerChain", "DataLoaderModel"),
        graph_format="pipegrad.sources.mlnet.entrypoints",
        file_attributes={"nimbusml": "model"},
    ),
    Source(
        name="spark",
        module="pipegrad.sources.spark",
        packages=("pyspark",),
        loaders={".spark": "pipegrad.sources.spark", **_ZIP},
        zip_entries=("metadata",),
        folder_loader="pipegrad.sources.spark",
        object_loader="pipegrad.sources.spark",
    ),
    Source(
        name="h2o",
        module="pipegrad.sources.h2o",
        packages=("h2o",),
        loaders={".mojo": "pipegrad.sources.h2o", **_ZIP},
        zip_entries=("model.ini",),
        object_loader="pipegrad.sources.h2o",
    ),
    Source(
        name="lightgbm",
        module="pipegrad.sources.lightgbm",
        packages=("lightgbm",),
        library="lightgbm",
        extra="trees",
        loaders={".txt": "pipegrad.sources.lightgbm"},
    ),
    Source(
        name="xgboost",
        module="pipegrad.sources.xgboost",
        packages=("xgboost",),
        library="xgboost",
        extra="trees",
        loaders={".ubj": "pipegrad.sources.xgboost", **_JSON},
        json_key="learner",
    ),
    Source(
        name="catboost",
        module="pipegrad.sources.catboost",
        packages=("catboost",),
        library="catboost",
        extra="trees",
        loaders={".cbm": "pipegrad.sources.catboost", **_JSON},
        json_key="features_info",
    ),
)


def source_of(kind: type) -> Source | None:
    """The source that serves the top-level package of a class, or None."""
    package = _package(kind)
    return next((source for source in SOURCES if package in source.packages), None)


def optional_source(library: str | None) -> Source | None:
    """The source that needs an optional library, or None."""
    return next((s for s in SOURCES if s.library and s.library == library), None)


def sources_of_file(suffix: str) -> list[Source]:
    """The sources whose model files have this suffix."""
    return [source for source in SOURCES if suffix in source.loaders]


def folder_loaders() -> list[str]:
    """The modules that load models which are folders."""
    return [source.folder_loader for source in SOURCES if source.folder_loader]


def file_suffixes() -> list[str]:
    """All suffixes of model files."""
    return list(dict.fromkeys(suffix for source in SOURCES for suffix in source.loaders))


def graph_formats() -> dict[str, str]:
    """By the name of a source, the module of its own graph format."""
    return {source.name: source.graph_format for source in SOURCES if source.graph_format}


def json_keys() -> Iterator[tuple[str, str]]:
    """Keys that identify a library's JSON model files, each with the module of the library."""
    return ((source.json_key, source.module) for source in SOURCES if source.json_key)


def zip_entries() -> dict[str, str]:
    """Files and folders that identify a library's zip archives, each with its module."""
    return {entry: source.module for source in SOURCES for entry in source.zip_entries}


def file_attribute(kind: type) -> str | None:
    """The attribute with the path of the model file that an object refers to, or None."""
    package = _package(kind)
    return next((s.file_attributes[package] for s in SOURCES if package in s.file_attributes), None)


def _package(kind: type) -> str:
    return kind.__module__.split(".")[0]
