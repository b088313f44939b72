"""Live models of a server of H2O, through MOJOs that the server exports and imports."""

from __future__ import annotations

from typing import Any

from ...errors import ArgumentError
from ...file_writing import scratch_folder
from .model import Model, load


def is_fitted(thing: Any) -> bool:
    """Whether an object of the package h2o is a trained model."""
    return getattr(thing, "end_time", None) is not None


def from_object(thing: Any) -> Any:
    """The source object of a live model.

    Parameters
    ----------
    thing : object
        A trained model of the package h2o, or an ``H2OAutoML`` with its best one; anything else
        comes back as it is.

    Returns
    -------
    Model
        Columns and operators.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If it is an estimator that is not trained.
    ArgumentError
        If H2O exports no MOJO of it.
    """
    kind = type(thing)
    thing = getattr(thing, "leader", thing) if kind.__name__ == "H2OAutoML" else thing
    if not (kind.__module__.startswith("h2o.") and hasattr(thing, "download_mojo")):
        return thing
    if not is_fitted(thing):
        from sklearn.exceptions import NotFittedError

        raise NotFittedError(
            f"This {kind.__name__} of H2O is not trained.\nHint: model.train(...), then to_torch."
        )
    if not thing.have_mojo:
        raise ArgumentError(f"H2O exports no MOJO of a model of the algorithm {thing.algo!r}.")
    with scratch_folder() as folder:
        model = load(thing.download_mojo(str(folder)))
    model.live = True
    return model


def live_model(model: Model) -> Any:
    """A model of the server with the present numbers; H2O calls it a generic model.

    Raises
    ------
    ArgumentError
        If the server does not import MOJOs of the algorithm.
    """
    import h2o

    with scratch_folder() as folder:
        place = folder / "model.zip"
        model.save(place)
        try:
            return h2o.upload_mojo(str(place))
        except OSError as error:  # how the package reports errors of the server
            said = str(error).partition("stacktrace")[0].strip()
            raise ArgumentError(
                f"The server of H2O imports no MOJO of a {model.mojo.algorithm} model: {said:.200}"
                "\nHint: from_torch(net, path) writes the file, which H2O's scorer for MOJOs reads."
            ) from error
