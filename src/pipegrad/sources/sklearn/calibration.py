"""Classifiers whose probabilities are calibrated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from ...glue import Glue
from ...graph import join
from ...modules import (
    CalibratedMean,
    Head,
    MonotoneColumns,
    MonotoneInterpolation,
    NormalizedColumns,
    ProbabilityHead,
    SigmoidColumns,
    TemperatureScaling,
)
from ...registry import Builder, Example, Expansion, Objective, Translation, register
from ..arrays import to_array, to_tensor
from ..structural import GlueTranslation

_SCALED = make_pipeline(StandardScaler(), LogisticRegression())
_BAYES = make_pipeline(StandardScaler(), GaussianNB())


class CalibratedMembers(Expansion):
    """The classifiers are steps; their calibrators and the mean are one step more."""

    def expand(self, operator: Any, builder: Builder, source: str, path: str, method: str) -> str:
        values: dict[int, str] = {}
        for number, one in enumerate(operator.calibrated_classifiers_):
            # Copies of a frozen classifier are that classifier itself.
            if id(one.estimator) not in values:
                name = join(path, f"calibrated_classifiers_/{number}")
                asked = _method(one.estimator)
                values[id(one.estimator)] = builder.expand(one.estimator, source, name, asked)
        inputs = tuple(values[id(one.estimator)] for one in operator.calibrated_classifiers_)
        return builder.add(join(path, "calibrators"), Calibrators(operator), inputs, method)


def _method(estimator: Any) -> str:
    """Return what the calibrator takes; of two classes, it is the second one's probability."""
    if hasattr(estimator, "decision_function"):
        return "decision_function"
    return "rest_proba" if len(estimator.classes_) == 2 else "predict_proba"


@dataclass(eq=False)
class Calibrators(Glue):
    """The mean of calibrated probabilities, from the scores of the calibrated classifiers.

    Parameters
    ----------
    owner : CalibratedClassifierCV
        The composite whose calibrators are applied.
    """

    owner: Any

    @property
    def classes_(self) -> Any:
        """Labels of the classes."""
        return self.owner.classes_

    def run(self, *values: Any) -> Any:
        """Apply the calibrators, and average over the classifiers."""
        module = calibrators(self.owner).double()
        with torch.no_grad():
            return module(*[torch.as_tensor(np.array(v, dtype=float)) for v in values]).numpy()


def calibrators(operator: Any) -> CalibratedMean:
    """Return the module that maps the scores of the classifiers to the mean probabilities."""
    return CalibratedMean([_calibrator(one) for one in operator.calibrated_classifiers_])


def _calibrator(one: Any) -> nn.Module:
    if one.method == "temperature":
        beta = to_tensor(one.calibrators[0].beta_)
        return TemperatureScaling(beta, _method(one.estimator) != "decision_function")
    columns: nn.Module
    if one.method == "sigmoid":
        slopes = [part.a_ for part in one.calibrators]
        columns = SigmoidColumns(to_tensor(slopes), to_tensor([p.b_ for p in one.calibrators]))
    else:
        columns = MonotoneColumns([_monotone(part) for part in one.calibrators], _single(one))
    # As the source pairs them, also where a classifier did not see every class.
    places = np.searchsorted(one.classes, one.estimator.classes_)[: len(one.calibrators)]
    return NormalizedColumns(columns, torch.from_numpy(places), len(one.classes))


def _monotone(part: Any) -> MonotoneInterpolation:
    return MonotoneInterpolation(
        to_tensor(part.X_thresholds_, torch.float64),
        to_tensor(part.y_thresholds_, torch.float64),
        increasing=bool(part.increasing_),
        bounds=(0.0, 1.0),
        clip=True,
    )


def _single(one: Any) -> bool:
    return all(part.X_thresholds_.dtype == np.float32 for part in one.calibrators)


def _write(module: Any, one: Any) -> None:
    """Write one classifier's calibrators."""
    if isinstance(module, TemperatureScaling):
        one.calibrators[0].beta_ = to_array(module.beta(), one.calibrators[0].beta_)[()]
        return
    columns = module.calibration
    for number, part in enumerate(one.calibrators):
        if isinstance(columns, SigmoidColumns):
            part.a_ = to_array(columns.slope)[number]
            part.b_ = to_array(columns.offset)[number]
        else:
            part.y_thresholds_ = to_array(columns.parts[number].values(), part.y_thresholds_)
            part._build_f(part.X_thresholds_, part.y_thresholds_)


@register("sklearn.calibration.CalibratedClassifierCV")
class CalibratedClassifierCV(Translation):
    """The classifiers are steps, and all calibrators are one step more; both train."""

    data = "multiclass"
    kept: ClassVar[tuple[str, ...]] = ("probabilities",)
    sparse = True
    examples = (
        {"estimator": _SCALED, "cv": 3},
        {"estimator": _SCALED, "cv": 3, "method": "isotonic"},
        {"estimator": _BAYES, "cv": 3, "ensemble": False},
        {"estimator": _BAYES, "cv": 3, "method": "isotonic", "ensemble": False},
        Example({"estimator": _SCALED, "cv": 3}, data="binary_strings"),
        Example({"estimator": _BAYES, "cv": 3, "method": "isotonic"}, data="binary"),
        Example({"estimator": _SCALED, "cv": 3, "method": "temperature"}, since="1.8"),
        Example(
            {"estimator": _BAYES, "cv": 3, "method": "temperature", "ensemble": False},
            since="1.8",
        ),
        Example(
            {"estimator": _SCALED, "cv": 3, "method": "temperature"}, data="binary", since="1.8"
        ),
        Example(
            {"estimator": _BAYES, "cv": 3, "method": "temperature"},
            data="binary_strings",
            since="1.8",
        ),
        Example({"estimator": LogisticRegression(), "cv": 3}, data="sparse_multiclass"),
    )

    def refuse(self, operator: Any) -> str | None:
        if len(operator.classes_) < 2:
            return "it has only one class, which scikit-learn itself does not calibrate"
        for one in operator.calibrated_classifiers_:
            if one.method == "temperature" and len(one.estimator.classes_) < len(one.classes):
                return (
                    "scikit-learn itself cannot predict with method='temperature' where a fold "
                    "lacks a class"
                )
        return None

    def expansion(self, operator: Any) -> Expansion | None:
        return None if self.refuse(operator) else _MEMBERS

    def to_torch(self, operator: Any) -> nn.Module:
        return calibrators(operator)

    def write_back(self, module: CalibratedMean, operator: Any) -> None:
        for part, one in zip(module.parts, operator.calibrated_classifiers_, strict=True):
            _write(part, one)

    def head(self, operator: Any) -> Head:
        return ProbabilityHead()

    def objective(self, operator: Any) -> Objective:
        return Objective("negative_log_likelihood")


_MEMBERS = CalibratedMembers()


@register("pipegrad.sources.sklearn.calibration.Calibrators")
class CalibratorsOfAll(GlueTranslation):
    """The calibrators of all classifiers, and the mean of their probabilities."""

    kept: ClassVar[tuple[str, ...]] = ("probabilities",)

    def holder(self, operator: Calibrators) -> Any:
        return operator.owner

    def trainable(self, operator: Calibrators) -> bool:
        return True

    def to_torch(self, operator: Calibrators) -> nn.Module:
        return calibrators(operator.owner)

    def write_back(self, module: CalibratedMean, operator: Any) -> None:
        CalibratedClassifierCV().write_back(module, operator)

    def head(self, operator: Calibrators) -> Head:
        return ProbabilityHead()

    def objective(self, operator: Calibrators) -> Objective:
        return Objective("negative_log_likelihood")
