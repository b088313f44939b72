"""Live models of pyspark, through folders that Spark writes and reads itself."""

from __future__ import annotations

import atexit
from contextlib import ExitStack
from importlib import import_module
from typing import Any

from ...errors import ArgumentError
from ...file_writing import scratch_folder
from .model import Model, load


def is_fitted(thing: Any) -> bool:
    """Whether an object of pyspark is a model, which an estimator's ``fit`` returns."""
    return not hasattr(thing, "fit")


def from_object(thing: Any) -> Any:
    """The source object of a live model.

    Parameters
    ----------
    thing : object
        A model of ``pyspark.ml``, which Spark saves to a local folder; anything else comes back as
        it is.

    Returns
    -------
    Model
        Columns and operators.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If it is an estimator, such as a ``Pipeline`` instead of the ``PipelineModel`` that it fits.
    ArgumentError
        If Spark does not write to folders of this machine.
    """
    kind = type(thing)
    if not kind.__module__.startswith("pyspark.ml."):
        return thing
    if not is_fitted(thing):
        from sklearn.exceptions import NotFittedError

        raise NotFittedError(
            f"This {kind.__name__} of Spark is not fitted.\n"
            "Hint: to_torch takes the model that its fit(df) returns."
        )
    if not (hasattr(thing, "transform") and hasattr(thing, "write")):
        return thing
    with scratch_folder() as folder:
        place = folder / "model"
        thing.write().overwrite().save(f"file://{place}")
        # Workers on other machines wrote to folders of theirs.
        if not any((place / "metadata").glob("part-*")):
            raise ArgumentError(
                f"The {kind.__name__} must be saved where this process can read it; Spark did not "
                "write to a folder of this machine.\n"
                "Hint: model.write().save(path) to a shared folder, then to_torch(path)."
            )
        model = load(place)
    model.live = f"{kind.__module__}.{kind.__qualname__}"
    return model


def live_model(model: Model) -> Any:
    """A live model of pyspark with the present numbers; it starts Spark if it does not run."""
    from pyspark.sql import SparkSession

    SparkSession.builder.getOrCreate()
    module, _, name = model.live.rpartition(".")
    with ExitStack() as files:
        place = files.enter_context(scratch_folder()) / "model"
        model.save(place)
        loaded = getattr(import_module(module), name).load(f"file://{place}")
        if model.plan.reads_later:
            atexit.register(files.pop_all().close)
    return loaded
