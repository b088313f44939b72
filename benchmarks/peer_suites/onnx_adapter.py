"""`skl2onnx.convert_sklearn`, `to_onnx` and ONNX sessions that answer with pipegrad.

A converted model is an ONNX file without operators; its metadata say which module answers. A
session on it asks the module for what the model would put out: labels and probabilities (or raw
scores, or dictionaries of them) of classifiers, predictions, clusters, columns.
"""

from __future__ import annotations

import itertools
import os
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnx.reference
import onnxruntime
import pandas as pd
from answers import Answers, NotApplicableError, translate
from scipy import sparse
from sklearn.base import is_classifier, is_clusterer, is_regressor
from sklearn.ensemble import VotingClassifier

RULES: tuple[tuple[str, str], ...] = (
    (r"CDIST is not implemented|str_model_onnx|_shape_inference", "the text of a graph"),
    (r"update_registered_converter|custom_conversion_functions|custom_parsers", "own converters"),
    (r"\bOnnx[A-Z]\w*\(|OnnxOperatorMixin|onnx_helper|select_model_inputs", "ONNX operators"),
    (r"\.graph\.|\.opset_import|\.ir_version|\.node\b|enumerate_model_node", "the text of a graph"),
    (r"(assert(Not)?In\(.*|\bin )str\(\w*(onx|onnx)\w*\)", "the text of a graph"),
    (r"assertRaises|Expecting an error|except InvalidArgument", "expects the peer's own refusal"),
    (r"\[\"nan\"\] = True|vect\.tokenizer = None", "tokenizers that only the converter has"),
    (r"final_types|white_op|black_op|naming=|intermediate=", "names and types of a graph"),
    (
        r"CastTransformer|CastRegressor|ReplaceTransformer|WOETransformer|Traceable",
        "own estimators",
    ),
)
"""Patterns in the text of a test that concerns the peer's own machinery."""

_KEY = "pipegrad"
_NUMBERS = itertools.count()
_MODELS: dict[str, Converted] = {}


class Converted:
    """A module with the options of its conversion.

    Parameters
    ----------
    model : estimator
        The fitted estimator.
    options : mapping, optional
        Options as `convert_sklearn` takes them, by estimator, by class or for all.
    """

    def __init__(self, model: Any, options: Any) -> None:
        self.answers: Answers = translate(model)
        self.model = self.answers.model
        self.last = _last(model)
        self.options = _merged(options or {}, model, self.last)

    def run(self, X: Any) -> dict[str, Any]:
        """The outputs by name."""
        return {name: _numpy(value) for name, value in self._outputs(self._rows(X)).items()}

    # -- input ---------------------------------------------------------------------------------

    def _rows(self, inputs: dict[str, Any]) -> Any:
        """Rows in the format that the estimator was fitted on."""
        values = {name: _as_rows(value) for name, value in inputs.items()}
        names = getattr(self.model, "feature_names_in_", None)
        if names is not None and set(names) <= set(values):
            return pd.DataFrame({name: np.ravel(values[name]) for name in names})
        if len(values) > 1:
            return _side_by_side(list(values.values()))
        (rows,) = values.values()
        if _reads_text(self.model) and getattr(rows, "ndim", 1) == 2 and rows.shape[1] == 1:
            return rows.ravel()
        if names is not None and getattr(rows, "ndim", 0) == 2:
            return pd.DataFrame(rows, columns=names)
        return rows

    # -- output --------------------------------------------------------------------------------

    def _outputs(self, X: Any) -> dict[str, Any]:
        outputs = self._main(X)
        if self.options.get("score_samples"):
            outputs["score_samples"] = _column(self.answers.ask("score_samples", X))
        if self.options.get("decision_path"):
            outputs["decision_path"] = _paths(self.answers.ask("decision_path", X))
        if self.options.get("decision_leaf"):
            leaves = self.answers.ask("apply", X)
            outputs["decision_leaf"] = leaves if leaves.ndim == 2 else leaves[:, None]
        return outputs

    def _main(self, X: Any) -> dict[str, Any]:
        ask, has, last = self.answers.ask, self.answers.has, self.last
        if has("get_support"):  # a selector, which may predict, too
            return {"variable": _dense(ask("transform", X))}
        if is_classifier(last):
            return self._classes(X)
        if has("kneighbors") and not has("predict") and not has("transform"):
            distances, places = ask("kneighbors", X)
            return {"index": places, "distance": distances}
        if has("predict") and has("predict_proba"):  # a mixture
            return {"label": ask("predict", X), "probabilities": ask("predict_proba", X)}
        if has("predict") and is_clusterer(last):
            return {"label": ask("predict", X), "scores": ask("transform", X)}
        if has("predict") and has("decision_function"):  # outliers
            scores = _column(ask("decision_function", X))
            return {"label": _column(ask("predict", X)), "scores": scores}
        if has("predict") and (is_regressor(last) or not has("transform")):
            return self._numbers(X)
        return {"variable": _dense(ask("transform", X))}

    def _numbers(self, X: Any) -> dict[str, Any]:
        for option, name in (("return_std", "GPstd"), ("return_cov", "GPcov")):
            if self.options.get(option):
                mean, spread = self.answers.ask("predict", X, **{option: True})
                return {"GPmean": _column(mean), name: spread}
        return {"variable": _column(self.answers.ask("predict", X))}

    def _classes(self, X: Any) -> dict[str, Any]:
        label = self.answers.ask("predict", X)
        classes = getattr(self.model, "classes_", None)
        if self.options.get("nocl") and label.ndim == 1:
            label = np.searchsorted(classes, label)
        scores = self._scores(X)
        if scores is None:
            return {"label": label}
        if not self.answers.has("predict_proba") and not self.options.get("raw_scores"):
            return {"label": label, "probabilities": _column(scores)}
        zipmap = self.options.get("zipmap", True)
        single = not isinstance(scores, list) and np.ndim(scores) == 2
        if zipmap == "columns" and single:
            places = classes if not self.options.get("nocl") else range(scores.shape[1])
            return {"output_label": label, **dict(zip(_names(places), scores.T, strict=True))}
        outputs = {"label": label, "probabilities": scores}
        if zipmap and single and classes is not None and len(classes) == scores.shape[1]:
            names = [c if isinstance(c, str) else int(c) for c in classes]
            tables = [dict(zip(names, row, strict=True)) for row in scores]
            outputs = {"output_label": label, "output_probability": tables}
        if self.options.get("output_class_labels"):
            outputs["class_labels"] = classes
        return outputs

    def _scores(self, X: Any) -> Any:
        if self.answers.has("predict_proba") and not self.options.get("raw_scores"):
            return self.answers.ask("predict_proba", X)
        if not self.answers.has("decision_function"):
            return None
        scores = self.answers.ask("decision_function", X)
        if self.options.get("raw_scores") and scores.ndim == 1:
            return np.stack([-scores, scores], axis=1)
        return scores


def _last(model: Any) -> Any:
    """The estimator whose answers a composite gives."""
    for attribute in ("best_estimator_", "estimator_"):
        if hasattr(model, "cv_results_") and hasattr(model, attribute):
            return _last(getattr(model, attribute))
    if hasattr(model, "steps"):
        steps = [part for _, part in model.steps if part is not None and part != "passthrough"]
        return _last(steps[-1]) if steps else model
    return model


def _first(model: Any) -> Any:
    model = getattr(model, "best_estimator_", model)
    return _first(model.steps[0][1]) if hasattr(model, "steps") else model


def _reads_text(model: Any) -> bool:
    first = _first(model)
    if hasattr(first, "transformer_list"):
        return any(_reads_text(part) for _, part in first.transformer_list)
    if isinstance(first, VotingClassifier):
        return _reads_text(first.estimators_[0])
    texts = ("CountVectorizer", "TfidfVectorizer", "HashingVectorizer")
    labels = ("LabelEncoder", "LabelBinarizer", "FeatureHasher")
    return type(first).__name__ in texts + labels


def _merged(options: Any, model: Any, last: Any) -> dict[str, Any]:
    """The options that hold for the answers of a model."""
    merged: dict[str, Any] = {}
    owners = {id(model), type(model), id(last), type(last)}
    for key, value in options.items():
        if isinstance(value, dict):
            if key in owners:
                merged.update(value)
        elif isinstance(key, str):
            merged[key.split("__")[-1]] = value
    return merged


def _as_rows(value: Any) -> Any:
    if isinstance(value, dict):
        return [{key: np.asarray(one).item() for key, one in value.items()}]
    if isinstance(value, pd.DataFrame):
        return value.to_numpy()
    return value if isinstance(value, list) or np.ndim(value) else np.array([value])


def _side_by_side(columns: list[Any]) -> Any:
    tables = [np.asarray(one).reshape(len(one), -1) for one in columns]
    if len({table.dtype.kind in "fiub" for table in tables}) > 1:
        tables = [table.astype(object) for table in tables]
    return np.hstack(tables)


def _column(values: Any) -> Any:
    return values[:, None] if np.ndim(values) == 1 else values


def _dense(values: Any) -> Any:
    if hasattr(values, "columns"):
        return values.to_numpy()
    return values.toarray() if sparse.issparse(values) else values


def _numpy(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind == "S":
        return value.astype(str)
    return value


def _names(classes: Any) -> list[str]:
    """The names of the columns of probabilities, as sklearn-onnx forms them."""
    return [f"s{one}" if isinstance(one, str) else f"i{int(one)}" for one in classes]


def _paths(paths: Any) -> Any:
    """The nodes that rows pass, as texts of zeros and ones, a column for each tree."""
    if not isinstance(paths, tuple):
        paths = (paths, np.array([0, paths.shape[1]]))
    nodes, starts = paths[0].toarray(), paths[1]
    trees = [nodes[:, a:b] for a, b in itertools.pairwise(starts)]
    texts = [["".join(map(str, row)) for row in tree] for tree in trees]
    return np.array(texts).T


# -- what the tests call -----------------------------------------------------------------------


def convert_sklearn(
    model: Any,
    name: Any = None,
    initial_types: Any = None,
    *_: Any,
    options: Any = None,
    **others: Any,
) -> Any:
    """Translate as `skl2onnx.convert_sklearn` does."""
    for own in ("custom_conversion_functions", "custom_parsers", "intermediate", "final_types"):
        if others.get(own):
            raise NotApplicableError(f"the argument {own}")
    key = str(next(_NUMBERS))
    _MODELS[key] = Converted(model, options)
    return _file(key, initial_types or [])


def to_onnx(
    model: Any, X: Any = None, name: Any = None, initial_types: Any = None, *_: Any, **others: Any
) -> Any:
    """Translate as `skl2onnx.to_onnx` does."""
    from skl2onnx.algebra.type_helper import guess_initial_types

    types = initial_types if X is None else guess_initial_types(X, None)
    return convert_sklearn(model, name, types, **others)


def _file(key: str, types: Any) -> Any:
    inputs = [onnx.helper.make_value_info(name, kind.to_onnx_type()) for name, kind in types]
    graph = onnx.helper.make_graph([], "answers of pipegrad", inputs, [])
    model = onnx.helper.make_model(graph)
    onnx.helper.set_model_props(model, {_KEY: key})
    return model


class Session:
    """An ONNX session on a converted model; others are onnxruntime's."""

    own: Any = onnxruntime.InferenceSession

    def __new__(cls, model: Any, *arguments: Any, **options: Any) -> Any:
        converted, proto = _found(model)
        if converted is None:
            return cls.own(model, *arguments, **options)
        session = super().__new__(cls)
        session.converted, session.proto = converted, proto
        return session

    def run(self, output_names: Any, input_feed: Any, *_: Any, **__: Any) -> list[Any]:
        """The outputs with these names, or all."""
        outputs = self.converted.run(input_feed)
        if output_names is None or not set(output_names) <= set(outputs):
            values = list(outputs.values())
            return values if output_names is None else values[: len(output_names)]
        return [outputs[name] for name in output_names]

    def get_inputs(self) -> list[Any]:
        """Names, shapes and types of the inputs."""
        return [_argument(value) for value in self.proto.graph.input]

    def get_outputs(self) -> list[Any]:
        """Names and types of the outputs; they follow from the options."""
        return [self._output(name) for name in self._names()]

    def _output(self, name: str) -> Any:
        shape = [None] if name.endswith("label") else [None, None]
        return SimpleNamespace(name=name, type=self._type(name), shape=shape)

    def _type(self, name: str) -> str:
        classes = np.asarray(getattr(self.converted.model, "classes_", []))
        label = "int64" if classes.dtype.kind in "iub" else "string"
        if name == "output_probability":
            return f"seq(map({label},tensor(float)))"
        return f"tensor({label})" if name.endswith("label") else "tensor(float)"

    def _names(self) -> list[str]:
        answers, options = self.converted.answers, self.converted.options
        last = self.converted.last
        names = ["variable"]
        if is_classifier(last):
            names = ["label", "probabilities"]
            if options.get("zipmap", True) is True:
                names = ["output_label", "output_probability"]
            elif options.get("zipmap") == "columns":
                names = ["output_label", *_names(self.converted.model.classes_)]
        elif answers.has("kneighbors") and not answers.has("predict"):
            names = ["index", "distance"]
        elif answers.has("predict_proba"):
            names = ["label", "probabilities"]
        elif answers.has("predict") and (is_clusterer(last) or answers.has("decision_function")):
            names = ["label", "scores"]
        extra = ("score_samples", "decision_path", "decision_leaf")
        return names + [option for option in extra if options.get(option)]


def _argument(value: Any) -> Any:
    kind = value.type.tensor_type
    names = {1: "float", 11: "double", 7: "int64", 6: "int32", 8: "string", 9: "bool"}
    shape = [axis.dim_value or None for axis in kind.shape.dim]
    return SimpleNamespace(
        name=value.name, shape=shape, type=f"tensor({names.get(kind.elem_type, 'float')})"
    )


def _found(model: Any) -> tuple[Any, Any]:
    if isinstance(model, str | os.PathLike):
        proto = onnx.load(os.fspath(model))
    elif isinstance(model, bytes):
        proto = onnx.load_from_string(model)
    else:
        proto = model
    props = {entry.key: entry.value for entry in getattr(proto, "metadata_props", ())}
    return _MODELS.get(props.get(_KEY, "")), proto


class Evaluator(Session):
    """The same for the evaluator of the package onnx."""

    own = onnx.reference.ReferenceEvaluator


def install() -> None:
    """Put the stand-ins where the tests import them from."""
    import skl2onnx
    import skl2onnx.convert

    for module in (skl2onnx, skl2onnx.convert):
        module.convert_sklearn = convert_sklearn
        module.to_onnx = to_onnx
    onnxruntime.InferenceSession = Session
    import test_utils
    import test_utils.tests_helper as helper

    helper.is_backend_enabled = lambda backend: backend == "onnxruntime"
    test_utils.ReferenceEvaluatorEx = onnx.reference.ReferenceEvaluator = Evaluator
