"""Models in the format of MLflow: a saved module, a signature, an example of the input."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, ModelFileError
from ..file_writing import scratch_folder, write_file
from ..finetune.tuner import FineTuner
from ..loading import loaded
from ..module import PipelineModule
from ..module_files import read_module
from ..translate import to_torch
from .library import mlflow_library
from .requirements import requirements
from .signatures import METHODS, example_of, infer_signature, main_method, saved_quietly

FLAVOR = "pipegrad"
_FOLDER = "module"
_HINT = "pipegrad.mlflow.load_model(uri, trusted=[{quoted}])"
_PYFUNC_HINT = "mlflow.pyfunc.load_model(uri, model_config={{'trusted': [{quoted}]}})"


def save_model(
    thing: Any,
    path: Any,
    *,
    input_example: Any = None,
    signature: Any = None,
    pip_requirements: Any = None,
    extra_pip_requirements: Any = None,
    metadata: Mapping[str, Any] | None = None,
    trusted: Collection[str] = (),
    mlflow_model: Any = None,
) -> None:
    """Save a pipeline as a folder that MLflow loads, serves and registers.

    Parameters
    ----------
    thing : estimator, PipelineModule or FineTuner
        A fitted pipeline, the module of one, or a fitted `FineTuner`, whose report and model card
        are saved, too. It is not changed.
    path : str or path
        The folder, which must not exist or be empty.
    input_example : array, DataFrame or list, optional
        Some rows, which are stored as they are. By default, a row of zeros for a pipeline that
        reads numbers alone, and none for others.
    signature : mlflow.models.ModelSignature or False, optional
        Names and types of inputs and outputs; inferred from ``input_example`` by default. Without
        either, there is a signature where the pipeline reads numbers alone. False: none.
    pip_requirements, extra_pip_requirements : list of str or path, optional
        What a server installs, as in MLflow; the installed versions of pipegrad, torch, and the
        libraries of the steps by default.
    metadata : mapping, optional
        Further entries of the file ``MLmodel``.
    trusted : collection of str
        Types of the source that ``mlflow.pyfunc`` may load, as in `pipegrad.load`, because a server
        has no place to name them. `load_model` does not go by this list.
    mlflow_model : mlflow.models.Model, optional
        The metadata to add to; MLflow itself gives it.

    Raises
    ------
    ArgumentError
        If the pipeline cannot be saved, or MLflow is not installed.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.linear_model import Ridge
    >>> import pipegrad as pg
    >>> pipe = Ridge().fit([[0.0], [1.0]], [0.0, 1.0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pg.mlflow.save_model(pipe, f"{folder}/model")
    ...     net = pg.mlflow.load_model(f"{folder}/model")
    >>> bool(net.predict([[3.0]]) == pipe.predict([[3.0]]))
    True
    """
    mlflow, net = mlflow_library(), module_of(thing)
    if isinstance(trusted, str) or not all(isinstance(name, str) for name in trusted):
        raise ArgumentError(f"trusted must be a list of names of types, got {trusted!r:.80}.")
    if input_example is None and signature is None:
        input_example = example_of(net)
    if signature is None and input_example is not None:
        signature = infer_signature(net, input_example)
    model = mlflow.models.Model() if mlflow_model is None else mlflow_model
    from .. import __version__

    model.add_flavor(FLAVOR, pipegrad_version=__version__, module=f"data/{_FOLDER}")
    with scratch_folder() as folder, saved_quietly():
        mlflow.pyfunc.save_model(
            path=str(path),
            loader_module="pipegrad.mlflow",
            data_path=str(net.save(folder / _FOLDER)),
            mlflow_model=model,
            signature=signature or None,
            input_example=input_example,
            pip_requirements=requirements(net) if pip_requirements is None else pip_requirements,
            extra_pip_requirements=extra_pip_requirements,
            metadata=None if metadata is None else dict(metadata),
            model_config={"trusted": list(trusted)},
        )
    if isinstance(thing, FineTuner):
        thing.report_.to_json(Path(path) / "report.json")
        card = thing.report_.card()
        write_file(Path(path) / "README.md", card.encode())


def log_model(thing: Any, name: str = "model", **options: Any) -> Any:
    """Log a pipeline to the active run of MLflow, or to a new one.

    Parameters
    ----------
    thing : estimator, PipelineModule or FineTuner
        See `save_model`.
    name : str
        Name of the model in the run.
    **options
        Options of `save_model`, and those that MLflow's own flavors have, such as
        ``registered_model_name``, ``params``, ``tags`` and ``step``.

    Returns
    -------
    mlflow.models.model.ModelInfo
        Its ``model_uri`` is what `load_model` takes.

    Notes
    -----
    ``info = pg.mlflow.log_model(tuner, input_example=X[:3])`` logs a tuned pipeline, and
    ``mlflow.pyfunc.load_model(info.model_uri).predict(X, params={"method": "predict_proba"})``
    asks it for probabilities.
    """
    import pipegrad.mlflow as flavor

    mlflow = mlflow_library()
    module_of(thing)
    return mlflow.models.Model.log(
        artifact_path=None, name=name, flavor=flavor, thing=thing, **options
    )


def load_model(
    model_uri: Any, trusted: Collection[str] = (), dst_path: str | None = None
) -> PipelineModule:
    """Load a model that `log_model` or `save_model` wrote; nothing in it is run.

    Parameters
    ----------
    model_uri : str or path
        A folder, or an address such as ``"runs:/RUN/model"`` or ``"models:/NAME/VERSION"``.
    trusted : collection of str
        Dotted names of types of the source that may be loaded; see `pipegrad.load`.
    dst_path : str, optional
        Folder to download the model to.

    Returns
    -------
    PipelineModule
        The module; `pipegrad.from_torch` makes the pipeline of it. `save_model` has an example.

    Raises
    ------
    ArgumentError
        If the source contains other types; the error lists them, and none of them is loaded.
    ModelFileError
        If the model is of another flavor, damaged or inconsistent.
    """
    mlflow = mlflow_library()
    folder = mlflow.artifacts.download_artifacts(artifact_uri=str(model_uri), dst_path=dst_path)
    flavors = mlflow.models.Model.load(folder).flavors
    if FLAVOR not in flavors:
        raise ModelFileError(f"{model_uri} is no model of pipegrad, but of {', '.join(flavors)}.")
    saved = read_module(Path(folder) / "data" / _FOLDER)
    return loaded(saved, str(model_uri), trusted, _HINT)


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> PyfuncModel:
    """The model as ``mlflow.pyfunc.load_model`` uses it."""
    trusted = (model_config or {}).get("trusted") or ()
    return PyfuncModel(loaded(read_module(path), path, trusted, _PYFUNC_HINT))


class PyfuncModel:
    """Answers rows by the method that the parameter "method" names.

    Parameters
    ----------
    net : PipelineModule
        The module.
    """

    def __init__(self, net: PipelineModule) -> None:
        self.net = net

    def predict(self, data: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Answer rows.

        Parameters
        ----------
        data : DataFrame, array or list
            Rows, as MLflow hands them over after it has checked them against the signature.
        params : mapping, optional
            ``{"method": "predict_proba"}`` and so on.

        Returns
        -------
        array
            The answers of the method.
        """
        method = (params or {}).get("method") or main_method(self.net)
        known = [name for name in METHODS if hasattr(self.net, name)]
        if method not in known:
            raise ArgumentError(f"method must be one of {', '.join(known)}, got {method!r:.60}.")
        if getattr(data, "ndim", 0) == 2 and not hasattr(self.net.source, "n_features_in_"):
            data = _texts(data)
        return getattr(self.net, method)(data)

    def get_raw_model(self) -> PipelineModule:
        """The module."""
        return self.net


def _texts(data: Any) -> Any:
    """The only column of a table without names, which MLflow makes of a list of texts."""
    columns = list(getattr(data, "columns", ()))
    return data[0].tolist() if columns == [0] else data


def module_of(thing: Any) -> PipelineModule:
    """The module of anything that can be logged."""
    if isinstance(thing, PipelineModule):
        return thing
    if not isinstance(thing, FineTuner):
        return to_torch(thing)
    if not hasattr(thing, "estimator_"):
        raise ArgumentError("log_model takes a fitted FineTuner.\nHint: call fit(X, y) first.")
    fitted = thing.estimator_
    return fitted if isinstance(fitted, PipelineModule) else to_torch(fitted)
